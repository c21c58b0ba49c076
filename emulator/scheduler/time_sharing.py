"""Time sharing: policies that rank the jobs that run together with those that wait, and stop some for others."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Partition
from emulator.scheduler.pool import Int64, Pool
from emulator.scheduler.preemption import fewest_victims

#: (draft, slots of jobs that wait or run, which of them run) -> the keys to rank by, the first first, the smallest value in front.
Ranks = Callable[[Draft, Int64, NDArray[np.bool_]], Iterable[NDArray[np.generic]]]


def column(values: Sequence[int], slots: Int64) -> Int64:
    """Of a column of the table, what these slots have."""
    return np.array([values[slot] for slot in slots.tolist()], dtype=np.int64)


def kept_service_ns(draft: Draft, slots: Int64, runs: NDArray[np.bool_]) -> Int64:
    """How long each job has run, without what was lost: its progress, as far as a scheduler can see."""
    table = draft.table
    kept = column(table.lives.work_ns, slots) - column(table.lives.lost_ns, slots)
    return kept + np.where(runs, draft.now_ns - column(table.start_ns, slots), 0)


def attained_service_ns(draft: Draft, slots: Int64, runs: NDArray[np.bool_]) -> Int64:
    """How long each job has held its GPUs, in all its runs."""
    return column(draft.table.lives.run_ns, slots) + np.where(runs, draft.now_ns - column(draft.table.start_ns, slots), 0)


def share_time(draft: Draft, partition: Partition, ranks: Ranks, cause: str) -> None:
    """Give the GPUs to the first by ``ranks``; ties by submission, then id. ``cause`` is what the users of stopped jobs are told.

    Jobs are *chosen* in rank order as long as GPUs are left, counted without regard to hosts; one that is larger than what is left is
    passed over. A chosen job that waits starts where it fits; where it does not, jobs that run and were not chosen are stopped for it, the
    last by rank first, and no more of them than it needs. Where that would not do, since what is left lies scattered, it waits and nobody
    is stopped. A job that may not be preempted, or that started in this cycle, keeps its GPUs. Stopped jobs are suspended: they write a
    checkpoint as they stop (Gu et al., "Tiresias", NSDI 2019, section 4; Xiao et al., "Gandiva", OSDI 2018), since policies that stop jobs
    often would lose all work else.
    """
    table, pool = draft.table, partition.pending
    assert isinstance(pool, Pool), "what is ranked is a pool"
    running = sorted(slot for slot in partition.running if table.preemptible[slot] and table.start_ns[slot] < draft.now_ns)
    waiting = pool.columns()["slot"]
    slots = np.concatenate((waiting, np.array(running, dtype=np.int64)))
    runs = np.arange(len(slots)) >= len(waiting)
    keys = [-column(table.priority, slots), *ranks(draft, slots, runs), column(table.submit_ns, slots), column(table.job_id, slots)]
    pool.arrange(*(key[: len(waiting)] for key in keys))
    order = np.lexsort(keys[::-1])
    need = column(table.size_gpus, slots) * column(table.milli_gpus, slots)
    room = partition.free.free_milli_gpus() + int(need[runs].sum(dtype=np.int64))
    chosen = order[_chosen(need[order], room)]
    passed = np.ones(len(slots), dtype=bool)
    passed[chosen] = False
    losers = slots[order[::-1][(passed & runs)[order[::-1]]]].tolist()
    start_chosen(draft, partition, slots[chosen[~runs[chosen]]].tolist(), losers, cause)


def _chosen(need: Int64, room: int) -> NDArray[np.bool_]:
    """Which are chosen, in order: each that fits into what the ones before it leave of ``room``."""
    chosen = np.zeros(len(need), dtype=bool)
    smallest = np.minimum.accumulate(need[::-1])[::-1].tolist()  # from here on
    for place, amount in enumerate(need.tolist()):
        if smallest[place] > room:
            break
        if amount <= room:
            chosen[place] = True
            room -= amount
    return chosen


def start_chosen(draft: Draft, partition: Partition, chosen: Sequence[int], losers: list[int], cause: str) -> None:
    """Start those of ``chosen`` that fit, in order; where one does not, stop the first of ``losers`` that are enough for it."""
    unfit: set[tuple[Any, ...]] = set()  # kinds for which nobody's stop would do, until somebody is stopped
    for slot in chosen:
        kind = draft.kind_of(partition, slot)
        if kind in unfit:
            continue
        if not draft.may_start(partition, slot):
            draft.wait_for_quota(partition, slot)
            draft.reconsider(partition, draft.now_ns + draft.cycle_ns)  # others are chosen then
            continue
        rows = draft.choose(partition, slot)
        if rows is None:
            victims = fewest_victims(draft, partition, slot, losers)
            for victim in victims:
                draft.preempt(victim, cause, suspend=True)
                losers.remove(victim)
                unfit.clear()
            rows = draft.choose(partition, slot) if victims else None
        if rows is None:
            unfit.add(kind)
        else:
            draft.start_in(partition, slot, rows)
    if draft.has_preempted(partition):
        draft.reconsider(partition, draft.now_ns + draft.cycle_ns)
