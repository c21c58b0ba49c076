"""Least attained service: who has run for the shortest time runs (Nuyens and Wierman, "The foreground-background queue: a survey", 2008).

It needs no estimates. Service counts in whole quanta, so that jobs are not stopped for each other all the time: of those with equally many
quanta the first submitted runs. Priority comes first.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.draft import Draft
from emulator.scheduler.policy import Policy, Positive
from emulator.scheduler.pool import Int64
from emulator.scheduler.time_sharing import attained_service_ns, share_time
from emulator.workload.jobs import SECOND


def plan(draft: Draft, quantum_minutes: Positive = 30.0) -> None:
    """Rank by quanta of service; look again when the next of a running job is full."""
    quantum_ns = max(1, round(quantum_minutes * 60 * SECOND))

    def ranks(draft: Draft, slots: Int64, runs: NDArray[np.bool_]) -> tuple[NDArray[np.generic]]:
        return (attained_service_ns(draft, slots, runs) // quantum_ns,)

    for partition in draft.partitions():
        share_time(draft, partition, ranks, "preempted for a job that has run for less time")
        running = np.array(sorted(partition.running), dtype=np.int64)
        if len(partition.pending) and len(running):
            attained_ns = attained_service_ns(draft, running, np.ones(len(running), dtype=bool))
            draft.reconsider(partition, draft.now_ns + int((quantum_ns - attained_ns % quantum_ns).min()))


POLICY = Policy("las", plan, arranges=True)
