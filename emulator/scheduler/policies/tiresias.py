"""Tiresias: discretized two-dimensional least attained service, or Gittins index (Gu et al., NSDI 2019, section 3).

A job's service is its GPUs times the time that it has held them. Thresholds of service divide the jobs into queues: a job begins in the
first, and moves on with its service. Earlier queues go first, and within a queue the first submitted. So a job is stopped only for one in
an earlier queue, and large and long ones make way for small and short ones without anybody's estimates.

With ``services_gpu_hours``, what jobs of the past took, a queue's jobs go by their Gittins index instead: the chance that a job ends within
the next bit of service, over what that bit is expected to take, for the bit for which this is best. A job that has waited for more than
``promote_knob`` times as long as it has run begins again in the first queue, and both count anew (STARVELIMIT; 0: never). Priority comes
first.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.draft import Draft
from emulator.scheduler.policy import NotNegative, Policy, Positive
from emulator.scheduler.pool import Int64
from emulator.scheduler.time_sharing import attained_service_ns, column, share_time

_MS_PER_HOUR = 3_600_000


def gittins_index(services: NDArray[np.float64], attained: NDArray[np.float64]) -> NDArray[np.float64]:
    """G(a), the largest over d of P(S - a <= d | S > a) / E[min(S - a, d) | S > a], for each attained service, shape (jobs,).

    ``services`` are samples of S, sorted. 0 for a job that has had more than all of them. The best d is the distance to a sample, since the
    numerator rises at samples alone.
    """
    count = len(services)
    totals = np.concatenate(([0.0], np.cumsum(services)))
    different, which = np.unique(attained, return_inverse=True)  # most of those that wait have had nothing
    behind = np.searchsorted(services, different, side="right")  # samples up to a
    found = np.zeros(len(different))
    for job, (a, first) in enumerate(zip(different.tolist(), behind.tolist(), strict=True)):
        ends = np.arange(first + 1, count + 1)  # samples up to a + d
        reach = services[first:]
        spent = totals[ends] - totals[first] - a * (ends - first) + (count - ends) * (reach - a)
        found[job] = ((ends - first) / spent).max(initial=0.0)
    return found[which]


def plan(
    draft: Draft,
    thresholds_gpu_hours: Sequence[Positive] = (1.0, 10.0),
    services_gpu_hours: Sequence[Positive] = (),
    promote_knob: NotNegative = 8.0,
    services: Literal["given", "learned"] = "given",
) -> None:
    """``services``: "learned" takes the last 1,000 jobs that finished, in place of ``services_gpu_hours``."""
    limits_ms = np.array(sorted(round(limit * _MS_PER_HOUR) for limit in thresholds_gpu_hours), dtype=np.int64)
    if services == "learned":
        services_ms = np.sort(np.array(draft.ledger.books.history().services_ms, dtype=np.float64))
    else:
        services_ms = np.sort(np.array(services_gpu_hours, dtype=np.float64)) * _MS_PER_HOUR

    def counted(draft: Draft, slots: Int64, runs: NDArray[np.bool_]) -> tuple[Int64, Int64, Int64]:
        """Service, time run and time waited since the job last began in the first queue, in milliseconds."""
        table, promoted = draft.table, draft.memory
        ran_ms = attained_service_ns(draft, slots, runs) // 10**6
        waited_ms = (draft.now_ns - column(table.submit_ns, slots)) // 10**6 - ran_ms
        ids = [table.job_id[slot] for slot in slots.tolist()] if promoted else []
        before = np.array([promoted.get(job_id, (0, 0)) for job_id in ids], dtype=np.int64).reshape(-1, 2)
        if promoted:
            ran_ms, waited_ms = ran_ms - before[:, 0], waited_ms - before[:, 1]
        return ran_ms * column(table.size_gpus, slots), ran_ms, waited_ms

    def ranks(draft: Draft, slots: Int64, runs: NDArray[np.bool_]) -> tuple[NDArray[np.generic], ...]:
        served_ms, ran_ms, waited_ms = counted(draft, slots, runs)
        queue = np.searchsorted(limits_ms, served_ms, side="right")
        starves = ~runs & (queue > 0) & (waited_ms > promote_knob * ran_ms) & (promote_knob > 0)
        for place in np.flatnonzero(starves).tolist():
            job_id = draft.table.job_id[slots[place]]
            ran, waited = draft.memory.get(job_id, (0, 0))
            draft.memory[job_id] = ran + int(ran_ms[place]), waited + int(waited_ms[place])
            queue[place] = served_ms[place] = 0
        if not len(services_ms):
            return (queue,)
        return queue, -gittins_index(services_ms, served_ms.astype(np.float64))

    for job_id in [job_id for job_id in draft.memory if job_id not in draft.table.slot_of]:
        del draft.memory[job_id]
    for partition in draft.partitions():
        share_time(draft, partition, ranks, "preempted for a job that has had less service")
        running = np.array(sorted(partition.running), dtype=np.int64)
        if len(partition.pending) and len(running):
            served_ms, _, _ = counted(draft, running, np.ones(len(running), dtype=bool))
            place = np.searchsorted(limits_ms, served_ms, side="right")
            moves = place < len(limits_ms)
            if moves.any():
                left_ms = (limits_ms[place[moves]] - served_ms[moves]) // column(draft.table.size_gpus, running[moves]) + 1
                draft.reconsider(partition, draft.now_ns + int(left_ms.min()) * 10**6)


POLICY = Policy("tiresias", plan, arranges=True)
