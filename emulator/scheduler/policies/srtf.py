"""Shortest remaining time first, by the estimates: a job with less left stops those with more (Schrage, Operations Research 1968).

``weigh_gpus`` ranks by remaining time times GPUs: shortest remaining service first (Gu et al., "Tiresias", NSDI 2019, section 2). Priority
comes first.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.draft import Draft
from emulator.scheduler.policy import Policy
from emulator.scheduler.pool import Int64
from emulator.scheduler.time_sharing import column, kept_service_ns, share_time


def plan(draft: Draft, weigh_gpus: bool = False) -> None:
    """Rank by what is left of the estimate; what has run for longer than estimated goes first."""

    def ranks(draft: Draft, slots: Int64, runs: NDArray[np.bool_]) -> tuple[NDArray[np.generic]]:
        left_ns = np.maximum(0, column(draft.table.estimate_ns, slots) - kept_service_ns(draft, slots, runs))
        # In whole milliseconds, so that the product stays within 64 bits.
        return (left_ns // 10**6 * column(draft.table.size_gpus, slots) if weigh_gpus else left_ns,)

    for partition in draft.partitions():
        share_time(draft, partition, ranks, "preempted for a job with less left to do")


POLICY = Policy("srtf", plan, arranges=True)
