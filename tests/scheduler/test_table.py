"""Slots are places: when a job has left, another has its slot, and nothing of the first is taken for the second's."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from emulator.scheduler.pending import HeadQueue, ScanQueue, by_submission
from emulator.scheduler.table import JobTable, State
from emulator.workload.jobs import SECOND, JobColumns, JobKind, TrainingShape, job_columns
from tests.scheduler.drive import make_cluster, make_scheduler, plan_at, submit
from tests.scheduler.oracle import Job

SHAPES = tuple(TrainingShape(1.0, ring, 1.0, 1e-4, 1e15) for ring in (1.0, 2.0, 3.0))


def jobs(*ids: int, **columns: object) -> JobColumns:
    return job_columns(len(ids), **{"job_id": np.array(ids), "submit_ns": 0, "gpus": 8, "duration_ns": SECOND} | columns)


def lives_of(table: JobTable) -> list[Any]:
    lives = table.lives
    return [lives.remaining_ns, lives.since_ns, lives.speed, lives.again, *lives._times()]


def test_slots_are_given_again_as_new_but_for_their_version() -> None:
    table, plain = JobTable(), JobTable()
    first = table.extend(replace(jobs(5, 6, 7), names=("five", "six", "seven")), {}, State.FUTURE)
    for name in ("first_start_ns", "start_ns", "end_ns", "preemptions", "restarts", "version"):
        getattr(table, name)[first[1]] = 3
    lives = table.lives
    for column in (lives.since_ns, *lives._times()):
        column[first[1]] = 3
    lives.speed[first[1]], lives.again[first[1]] = 0.5, True
    table.rows[first[1]], table.state[first[1]] = [(0, 1, 1)], State.FINISHED
    table.drop([first[1]])
    assert table.slot_of == {5: first[0], 7: first[2]}
    new = jobs(8, 6, 9, gpus=np.array([1, 2, 3]), priority=4)
    slots, wanted = table.extend(new, {}, State.FUTURE), plain.extend(new, {}, State.FUTURE)
    assert sorted([first[0], first[2], *slots]) == list(range(5)), "and an id is free again with its slot"
    assert [table.job_id[slot] for slot in slots] == [8, 6, 9]
    for name in (field.name for field in fields(plain)):
        column = getattr(plain, name)
        if isinstance(column, list) and len(column) == len(plain) and name != "version":
            assert [getattr(table, name)[slot] for slot in slots] == [column[slot] for slot in wanted], name
    for mine, other in zip(lives_of(table), lives_of(plain), strict=True):
        assert [mine[slot] for slot in slots] == [other[slot] for slot in wanted]
    assert [table.version[slot] for slot in slots] == [3, 0, 0], "stale entries of the heap of ends stay stale"
    assert table.names == {first[0]: "five", first[2]: "seven"}


def test_shapes_are_kept_once_and_as_long_as_a_job_has_them() -> None:
    table = JobTable()
    for number in range(100):
        own = tuple(replace(shape, compute_seconds=1.0 + number) for shape in SHAPES)
        batch = jobs(*range(4 * number, 4 * number + 4), kind=int(JobKind.TRAINING), shape=np.array([0, 2, 0, -1]), shapes=own)
        slots = table.extend(batch, {}, State.FUTURE)
        assert [table.shapes[table.shape[slot]] for slot in slots[:3]] == [own[0], own[2], own[0]]
        assert table.shape[slots[3]] == -1
        again = table.extend(replace(batch, job_id=batch.job_id + 1000), {}, State.FUTURE)
        assert [table.shape[slot] for slot in again] == [table.shape[slot] for slot in slots]
        table.drop(slots)
        assert [table.shapes[table.shape[slot]] for slot in again[:3]] == [own[0], own[2], own[0]]
        table.drop(again)
    assert len(table.shapes) == 2
    assert len(table) == 8


@pytest.mark.parametrize("queue", [HeadQueue, ScanQueue])
def test_a_key_left_behind_is_not_that_of_a_later_job(queue: type[HeadQueue] | type[ScanQueue]) -> None:
    table = JobTable()
    pending = queue(table, by_submission)
    kept, leaves = table.extend(jobs(1, 2, priority=np.array([5, 9])), {}, State.FUTURE)
    pending.push(kept)
    pending.push(leaves)
    pending.remove(leaves)  # its key is still there, before the other's
    table.drop([leaves])
    (later,) = table.extend(jobs(3, priority=1, gpus=16), {}, State.FUTURE)
    assert later == leaves
    assert later not in pending
    pending.push(later)
    assert (pending.head(), list(pending.in_order()), len(pending)) == (kept, [kept, later], 2)
    assert [pending.position(slot) for slot in (kept, later)] == [0, 1]
    if isinstance(pending, ScanQueue):
        assert pending.head() == kept
        assert list(pending.behind_head(100, SECOND, 100)) == [later]


def test_a_refused_preemption_is_forgotten_with_a_job_that_is_cancelled() -> None:
    scheduler = make_scheduler(make_cluster("hgx"), policy="easy", preemption=True, preempt_after_ns=10**6 * SECOND)
    submit(scheduler, Job(1, 0, 128, 10**6))
    assert plan_at(scheduler, 0)[0] == [1]
    (waits,) = submit(scheduler, Job(2, 0, 128, 10**6, priority=5))
    assert plan_at(scheduler, 10)[0] == []
    preemption = scheduler.draft.preemption
    assert preemption is not None
    assert list(preemption.refused) == [waits]
    scheduler.cancel_pending(waits)
    assert not preemption.refused


def test_a_reservation_is_for_the_job_and_not_for_its_slot() -> None:
    """Half of 128 GPUs are taken. The head wants all and leaves; the one in its slot wants 72, which leaves 56 for one behind it."""
    scheduler = make_scheduler(make_cluster("hgx"), policy="easy")
    submit(scheduler, Job(1, 0, 64, 1000))
    assert plan_at(scheduler, 0)[0] == [1]
    head, behind = submit(scheduler, Job(2, 1, 128, 1000), Job(3, 1, 64, 5000))
    assert plan_at(scheduler, 1)[0] == []
    scheduler.cancel_pending(head)
    scheduler.cancel_pending(behind)
    scheduler.table.drop([head])
    assert submit(scheduler, Job(4, 2, 72, 1000), Job(5, 2, 8, 5000))[0] == head
    assert plan_at(scheduler, 2)[0] == [5]
