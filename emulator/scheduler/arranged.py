"""Policies that arrange the jobs of each partition anew in every cycle, and then start them in that order."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.backfilling import backfill
from emulator.scheduler.draft import Draft
from emulator.scheduler.in_turn import start_in_turn
from emulator.scheduler.partition import Partition
from emulator.scheduler.pool import Int64, Pool

#: (draft, partition, columns of who waits) -> the keys to sort by, the first first.
Keys = Callable[[Draft, Partition, dict[str, Int64]], Iterable[NDArray[np.generic]]]


def plan_arranged(draft: Draft, keys: Keys, *, backfilling: bool, again_seconds: float = 0.0) -> None:
    """Arrange by ``keys``, and start in that order: with backfilling behind the first job that does not fit, or strictly in turn.

    ``again_seconds``: look again after so much time, where GPUs are free and somebody waits; 0 where time alone changes no order.
    """
    for partition in draft.partitions():
        pool = partition.pending
        assert isinstance(pool, Pool), "what is arranged is a pool"
        if partition.free.has_room() or draft.preemption is not None:
            pool.arrange(*keys(draft, partition, pool.columns()))
            (backfill if backfilling else start_in_turn)(draft, partition)
            if again_seconds and len(pool) and partition.free.has_room():
                draft.reconsider(partition, draft.after(again_seconds))
