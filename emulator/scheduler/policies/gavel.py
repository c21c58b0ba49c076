"""Gavel's max-min fairness over GPUs of several generations, in rounds (Narayanan et al., OSDI 2020).

Each job is to have a part of its time on each type of GPU: such parts that the smallest throughput, over what the job would do with an
equal share of all types, is as large as possible (section 4.1; ``emulator.scheduler.max_min``). In every round the pairs of job and type
are taken by what they should have had by now over what they had (section 5), and each job runs for the round where its pair comes first.
Jobs that are left over take what GPUs are left over, and make room for those that come first. A job that is to run elsewhere is suspended
and starts there in the next cycle. Priority comes first.

How fast a job is on a type is its pace there: jobs name them with their GPU types (``GB200=2.5,H100=1``).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.draft import Draft
from emulator.scheduler.max_min import max_min_shares
from emulator.scheduler.partition import Partition
from emulator.scheduler.policy import Policy, Positive
from emulator.scheduler.pool import Int64, Pool
from emulator.scheduler.time_sharing import column, start_chosen
from emulator.workload.jobs import SECOND

Float64 = NDArray[np.float64]

#: With more kinds of job than this, sizes count as the next power of two.
_MOST_KINDS = 48
#: A smaller part of its time is none.
_NO_SHARE = 1e-6


class Jobs(NamedTuple):
    """Who waits and who may be stopped, in order of priority, then submission, then id."""

    slots: Int64
    milli_gpus: Int64
    pace: Float64  # (jobs, types), 0 where it may not run
    runs_on: Int64  # type, -1: waits


def plan(draft: Draft, round_minutes: Positive = 6.0) -> None:
    """Plan a round when the last one is over, and give what is free to those who were chosen, then to others, at any time."""
    memory, ledger = draft.memory, draft.ledger
    looked_at = list(draft.partitions())
    new_round = draft.now_ns >= memory.get("next_round_ns", 0) and any(len(partition.pending) for partition in ledger.partitions)
    if new_round:
        _note_time(draft)
        memory["next_round_ns"] = draft.now_ns + round(round_minutes * 60 * SECOND)
        memory["places"] = _places_of_round(draft, _jobs(draft))
        looked_at = list(ledger.partitions)
    for partition in looked_at:
        if new_round or len(partition.pending):
            _start_in(draft, partition, memory["places"], new_round=new_round)
            draft.reconsider(partition, memory["next_round_ns"])


def _start_in(draft: Draft, partition: Partition, places: Mapping[int, int], *, new_round: bool) -> None:
    """Start those whose place is here, in place of others where it must be, and whoever fits into the rest."""
    pool, table, number = partition.pending, draft.table, partition.number
    assert isinstance(pool, Pool), "what is ranked is a pool"
    ids = table.job_id
    pool.arrange(-pool.columns()["priority"])
    waiting = list(pool.in_order())
    chosen = [slot for slot in waiting if places.get(ids[slot], -1) == number]
    leaving: list[int] = []
    if new_round or chosen:
        leaving = [slot for slot in partition.running if places.get(ids[slot], -1) != number]
        leaving = [slot for slot in leaving if table.preemptible[slot] and table.start_ns[slot] < draft.now_ns]
        leaving.sort(key=lambda slot: (table.priority[slot], -table.submit_ns[slot], -ids[slot]))
    if new_round:
        for slot in leaving:
            if ids[slot] in places:
                draft.preempt(slot, "preempted to run on another type of GPU in this round", suspend=True)
        leaving = [slot for slot in leaving if ids[slot] not in places]
    if chosen or partition.free.has_room():
        start_chosen(draft, partition, chosen, leaving, "preempted for a job that has had less than its share")
        others = [slot for slot in waiting if places.get(ids[slot], -1) != number and partition.waits(slot)]
        start_chosen(draft, partition, others, [], "")


def _note_time(draft: Draft) -> None:
    """Note the time that the jobs that run have had on their type in the last round."""
    memory, table = draft.memory, draft.table
    had: dict[int, dict[int, int]] = memory.setdefault("had_ns", {})
    for job_id in [job_id for job_id in had if job_id not in table.slot_of]:
        del had[job_id]
    since = memory.get("noted_ns", 0)
    for partition in draft.ledger.partitions:
        for slot in partition.running:
            of_job = had.setdefault(table.job_id[slot], {})
            of_job[partition.number] = of_job.get(partition.number, 0) + draft.now_ns - max(since, table.start_ns[slot])
    memory["noted_ns"] = draft.now_ns


def _jobs(draft: Draft) -> Jobs:
    table, partitions = draft.table, draft.ledger.partitions
    waiting: set[int] = set()
    running: dict[int, int] = {}
    for partition in partitions:
        assert isinstance(partition.pending, Pool), "what is ranked is a pool"
        waiting.update(partition.pending.columns()["slot"].tolist())
        running |= {slot: partition.number for slot in partition.running if table.preemptible[slot] and table.start_ns[slot] < draft.now_ns}
    order = sorted({*waiting, *running}, key=lambda slot: (-table.priority[slot], table.submit_ns[slot], table.job_id[slot]))
    slots = np.array(order, dtype=np.int64)
    kinds: dict[tuple[int, ...], Float64] = {}
    rows = []
    for slot in order:
        allowed, paces = table.partitions[slot], table.paces.get(slot)
        if paces is None and allowed in kinds:
            rows.append(kinds[allowed])
            continue
        row = np.zeros(len(partitions))
        for number in allowed:
            row[number] = 1.0 if paces is None else paces.by_type.get(partitions[number].host_type, 1.0)
        if paces is None:
            kinds[allowed] = row
        rows.append(row)
    pace = np.array(rows).reshape(len(order), len(partitions))
    milli = column(table.size_gpus, slots) * column(table.milli_gpus, slots)
    return Jobs(slots, milli, pace, np.array([running.get(slot, -1) for slot in order], dtype=np.int64))


def _shares(jobs: Jobs, capacity: Float64) -> Float64:
    """The part of its time that each job is to have on each type, shape (jobs, types); jobs of one kind have the same."""
    kinds, which, count = _kinds(jobs.pace, jobs.milli_gpus)
    if len(kinds) > _MOST_KINDS:
        powers = np.array([1 << (milli - 1).bit_length() for milli in jobs.milli_gpus.tolist()], dtype=np.int64)
        kinds, which, count = _kinds(jobs.pace, powers)
    return max_min_shares(kinds[:, :-1], kinds[:, -1], count, capacity, np.ones(len(kinds)))[which]


def _kinds(pace: Float64, milli_gpus: Int64) -> tuple[Float64, Int64, Float64]:
    """Paces and size of each kind of job, the kind of each job, and how many there are of each."""
    rows = np.concatenate((pace, milli_gpus[:, None].astype(np.float64)), axis=1)
    kinds, which, count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return kinds, which.reshape(-1), count.astype(np.float64)


def _places_of_round(draft: Draft, jobs: Jobs) -> dict[int, int]:
    """The type of each job that is chosen for the round, by job id."""
    table, partitions = draft.table, draft.ledger.partitions
    held = np.zeros(len(partitions), dtype=np.int64)
    np.add.at(held, jobs.runs_on[jobs.runs_on >= 0], jobs.milli_gpus[jobs.runs_on >= 0])
    room = [partition.free.free_milli_gpus() + int(held[partition.number]) for partition in partitions]
    shares = _shares(jobs, np.maximum(1.0, np.array(room, dtype=np.float64)))
    had: dict[int, dict[int, int]] = draft.memory["had_ns"]
    had_ns = np.zeros(shares.shape)
    ids = column(table.job_id, jobs.slots).tolist()
    for row, job_id in enumerate(ids):
        for number, amount in had.get(job_id, {}).items():
            had_ns[row, number] = amount
    due = shares * (draft.now_ns - column(table.submit_ns, jobs.slots) + draft.cycle_ns)[:, None] / np.maximum(1.0, had_ns)
    due[shares < _NO_SHARE] = -1.0
    order = np.lexsort(
        (np.tile(np.arange(len(partitions)), len(ids)), -due.reshape(-1), np.repeat(-column(table.priority, jobs.slots), len(partitions)))
    )
    places: dict[int, int] = {}
    need = jobs.milli_gpus.tolist()
    smallest = min(need)
    allowed = (jobs.pace > 0).reshape(-1)
    for pair in order[allowed[order]].tolist():
        row, number = divmod(pair, len(partitions))
        if need[row] <= room[number] and ids[row] not in places:
            places[ids[row]] = number
            room[number] -= need[row]
            if max(room) < smallest:
                break
    return places


POLICY = Policy("gavel", plan, arranges=True)
