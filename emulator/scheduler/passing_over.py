"""Jobs in order, where one that may not start or does not fit is passed over, until it has waited for too long."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Partition
from emulator.scheduler.pool import Int64

#: The columns of a pool that it looks at.
COLUMNS = ("slot", "submit_ns", "size_gpus", "milli_gpus")


def start_passing_over(
    draft: Draft, partition: Partition, jobs: Mapping[str, Int64], allows: Callable[[int], bool], patience_ns: int
) -> None:
    """Start those of ``jobs`` (these columns of a pool, in turn) that fit and that ``allows`` lets start: it is asked right before each.

    Nobody passes a job that has waited for longer than ``patience_ns``, so none waits for ever.
    """
    free = partition.free
    impatient = draft.now_ns - jobs["submit_ns"] > patience_ns
    needed = np.where(jobs["milli_gpus"] == 1000, jobs["size_gpus"], 0)
    if partition.views is not None:  # what is reserved for a job is not free for all
        needed[:] = 0
    looked_at = np.flatnonzero(impatient | (needed <= free.free_gpus))
    unfit: set[tuple[Any, ...]] = set()
    free_gpus = free.free_gpus
    columns = (jobs["slot"], needed, impatient)
    for slot, gpus, last in zip(*(column[looked_at].tolist() for column in columns), strict=True):
        rows = None
        if gpus <= free_gpus and allows(slot) and (kind := draft.kind_of(partition, slot)) not in unfit:
            if not draft.may_start(partition, slot):
                draft.wait_for_quota(partition, slot)
                continue
            rows = draft.choose(partition, slot)
            if rows is None:
                unfit.add(kind)
        if rows is not None:
            draft.start_in(partition, slot, rows)
            free_gpus = free.free_gpus
        elif last:
            return
