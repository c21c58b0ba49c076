"""Jobs that wait for others, and arrays: who starts when, and what becomes of those whose turn never comes."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine.backoff import Backoff
from emulator.engine.commands import Cancel, Hold, Submit
from emulator.engine.ends import NEVER_SATISFIED
from emulator.engine.views import explanation, job_view
from emulator.scheduler.backlog import pending_by_reason
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, Dependency, JobColumns, job_columns
from tests.engine.small import clos, ends, engine, run, run_until

OK, ANY = False, True


def gangs(count: int, after: dict[int, tuple[Dependency, ...]] | None = None, **columns: Any) -> JobColumns:
    """Jobs of one host each; ``after``: what each depends on, by its number."""
    rows, entries = list(after or {}), tuple((after or {}).values())
    index = [rows.index(job) if job in rows else -1 for job in range(count)]
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 1000 * SECOND, "after": index, "afters": entries} | columns)


def test_a_chain_runs_one_after_the_other_though_there_is_room_for_all() -> None:
    made = engine(clos(4), [gangs(3, {1: ((0, OK),), 2: ((0, OK), (1, OK))})])
    run_until(made, 0)
    why = explanation(made, 2)
    assert (why.kind, why.text, why.position) == ("dependency", "waits for the end of jobs 0, 1", -1)
    assert (why.remedy, dict(why.numbers)) == ("may start when jobs 0, 1 have finished", {"jobs_awaited": 2})
    assert job_view(made, 1).reason == "waits for the end of job 0"
    mixed = engine(clos(4), [gangs(3, {2: ((0, OK), (1, ANY))})])
    run_until(mixed, 0)
    assert explanation(mixed, 2).remedy == "may start when they have ended, job 0 as finished"
    jobs, gpus = pending_by_reason(made.scheduler)
    assert (jobs["dependency"], gpus["dependency"], sum(jobs.values())) == (2, 16.0, 2)
    assert ends(run(made)) == {0: 1000.0, 1: 2000.0, 2: 3000.0}


def test_others_do_not_wait_behind_it() -> None:
    """One host, strictly in order: job 1 waits for job 0, and job 2 for nobody."""
    made = engine(clos(2), [gangs(3, {1: ((0, OK),)}, gpus=[8, 16, 8])], policy="fifo")
    run_until(made, 0)
    assert [made.table.state[slot] for slot in range(3)] == [State.RUNNING, State.PENDING, State.RUNNING]


def test_what_ends_otherwise_takes_all_that_depend_on_it_along() -> None:
    """Job 0 fails at its time limit: 1 and, with it, 2 and 3 can never start; 4 wanted any end, and 5 the end of a cancelled one."""
    jobs = gangs(
        6,
        {1: ((0, OK),), 2: ((1, OK), (0, OK)), 3: ((4, ANY), (2, OK)), 4: ((0, ANY),), 5: ((2, ANY),)},
        estimate_ns=np.array([500, 2000, 2000, 2000, 2000, 2000]) * SECOND,
    )
    made = engine(clos(1), [jobs], time_limit_factor=1.0)
    seen = []
    made.chronicle.on_change = lambda slot, at_ns: seen.append((slot, made.table.state[slot], at_ns))
    run(made)
    assert [made.table.state[slot] for slot in range(6)] == [State.FAILED, *[State.CANCELLED] * 3, State.FINISHED, State.FINISHED]
    assert {slot: made.chronicle.reasons[slot] for slot in (1, 2, 3)} == dict.fromkeys((1, 2, 3), NEVER_SATISFIED)
    assert [made.table.end_ns[slot] for slot in (1, 2, 3)] == [500 * SECOND] * 3
    assert [job for job, state, _ in seen if state == State.CANCELLED] == [1, 2, 3]
    assert job_view(made, 2).reason == explanation(made, 2).text == "dependency never satisfied"
    assert (made.scheduler.pending_jobs, made.scheduler.counts[0].pending_jobs, made.table.on_hold) == (0, 0, set())
    assert made.chronicle.ended[State.CANCELLED] == 3


@pytest.mark.parametrize(("any_end", "state"), [(OK, State.CANCELLED), (ANY, State.FINISHED)])
@pytest.mark.parametrize("end", ["infeasible", "cancelled", "left"])
def test_a_job_that_had_ended_before(end: str, any_end: bool, state: State) -> None:
    """Job 0 does not fit the cluster, or is cancelled; job 1 comes later, when job 0 may have left the engine."""
    jobs = gangs(2, {1: ((0, any_end),)}, gpus=[64 if end == "infeasible" else 8, 8], submit_ns=[0, 500 * SECOND])
    made = engine(clos(1), [jobs], ended_kept=0, retired_at_once=1)
    if end == "left":
        made.ends.retire = lambda slots: None
    if end != "infeasible":
        made.post(Cancel(0), 100 * SECOND)
    run_until(made, 490 * SECOND)
    assert (0 in made.table.slot_of) == (end != "left")
    slot = made.table.slot_of[1]
    made.ends.retire = None
    run(made)
    assert made.table.state[slot] == state
    if state == State.CANCELLED:
        assert (made.chronicle.reasons[slot], made.table.end_ns[slot]) == (NEVER_SATISFIED, 500 * SECOND)


def test_a_long_chain_falls_in_one_go() -> None:
    count = 5000
    made = engine(clos(1), [gangs(count, {job: ((job - 1, OK),) for job in range(1, count)})])
    made.post(Cancel(0), 10 * SECOND)
    run(made)
    assert made.chronicle.ended[State.CANCELLED] == count


def test_one_that_waits_may_be_cancelled_held_and_released() -> None:
    made = engine(clos(4), [gangs(4, {1: ((0, OK),), 2: ((0, OK),), 3: ((1, ANY),)})])
    run_until(made, 0)
    made.post(Cancel(1), 10 * SECOND)
    made.post(Hold(2, held=True), 10 * SECOND)
    run_until(made, 10 * SECOND)
    assert made.table.state[3] == State.RUNNING
    assert explanation(made, 2).text == "on hold; waits for the end of job 0"
    run_until(made, 1000 * SECOND)
    assert explanation(made, 2).text == "on hold"
    made.post(Hold(2, held=False), 2000 * SECOND)
    assert ends(run(made)) == {0: 1000.0, 3: 1010.0, 2: 3000.0}


def test_interrupted_it_does_not_count_as_ended() -> None:
    made = engine(clos(3), [gangs(2, {1: ((0, ANY),)})], fail_at={0: 505 * SECOND}, restart_overhead_ns=0)
    assert ends(run(made)) == {0: 1510.0, 1: 2510.0}


def test_at_most_so_many_of_an_array_run() -> None:
    """Four of an array, two at a time; the third is held when its turn comes, so the fourth goes first."""
    made = engine(clos(8), [gangs(5, array=[0, 0, 0, 0, -1], arrays=(2,), duration_ns=np.array([100, 300, 100, 100, 100]) * SECOND)])
    run_until(made, 0)
    assert [made.table.state[slot] == State.RUNNING for slot in range(5)] == [True, True, False, False, True]
    why = explanation(made, 2)
    assert (why.kind, why.text) == ("dependency", "at most 2 of its array run at a time")
    assert why.remedy == "may start when another of its array has ended"
    made.post(Hold(2, held=True), 50 * SECOND)
    run_until(made, 100 * SECOND)
    assert [made.table.state[slot] == State.RUNNING for slot in range(4)] == [False, True, False, True]
    made.post(Hold(2, held=False), 150 * SECOND)
    assert ends(run(made)) == {0: 100.0, 1: 300.0, 2: 300.0, 3: 200.0, 4: 100.0}


def test_one_on_hold_gives_its_place_to_the_next() -> None:
    """Job 0 has the only host, job 1 the only place of the array, for which it waits in its queue."""
    made = engine(clos(1), [gangs(3, array=[-1, 0, 0], arrays=(1,))])
    run_until(made, 0)
    assert made.table.on_hold == {2}
    made.post(Hold(1, held=True), 10 * SECOND)
    run_until(made, 10 * SECOND)
    assert made.table.on_hold == {1}
    made.post(Hold(1, held=False), 20 * SECOND)
    assert ends(run(made)) == {0: 1000.0, 2: 2000.0, 1: 3000.0}


def test_one_that_backs_off_gives_its_place_to_the_next() -> None:
    """One at a time. Host 0 fails at 505 s, job 0 backs off until 1,105 s, and has its place again when job 1 has ended."""
    jobs = gangs(3, array=[0, 0, 0], arrays=(1,))
    made = engine(clos(3), [jobs], fail_at={0: 505 * SECOND}, requeue_backoff=Backoff(600 * SECOND, 2.0, 10**13), restart_overhead_ns=0)
    assert ends(run(made)) == {1: 1510.0, 0: 2510.0, 2: 3510.0}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_random_graphs_of_jobs(seed: int) -> None:
    """Random dependencies, arrays, holds and cancellations, with faults and back-off: nobody starts before what it waits for has ended as
    asked; who is cancelled for it had cause; never more of an array run than may; the books balance."""
    draw = random.Random(seed)
    count = 20
    after = {
        job: tuple((other, draw.random() < 0.3) for other in sorted(draw.sample(range(job), min(job, draw.randint(1, 3)))))
        for job in range(1, count)
        if draw.random() < 0.6
    }
    arrays = [draw.choice([-1, 0, 1]) for _ in range(count)]
    seconds = [draw.randint(50, 600) for _ in range(count)]
    jobs = gangs(
        count, after, array=arrays, arrays=(1, 2), duration_ns=np.array(seconds) * SECOND,
        submit_ns=np.sort([draw.randint(0, 500) for _ in range(count)]) * SECOND, gpus=[draw.choice([4, 8, 16, 64]) for _ in range(count)],
        estimate_ns=np.array([second * draw.choice([1, 1, 2, 0.8]) for second in seconds]).astype(np.int64) * SECOND,
    )  # fmt: skip
    made = engine(
        clos(5), [jobs], policy=draw.choice(["fifo", "easy", "las"]), fail_at={1: 300 * SECOND}, time_limit_factor=1.0,
        requeue_backoff=Backoff(40 * SECOND, 2.0, 10**12), restart_overhead_ns=0,
    )  # fmt: skip
    held = draw.sample(range(count), 3)
    for job in held:
        made.post(Hold(job, held=True), 200 * SECOND)
        made.post(Hold(job, held=False), 900 * SECOND)
    made.post(Cancel(draw.randrange(count)), 400 * SECOND)
    table, running = made.table, set[int]()
    ended_ns: dict[int, int] = {}

    def changed(slot: int, at_ns: int) -> None:
        state = table.state[slot]
        (running.add if state == State.RUNNING else running.discard)(slot)
        if state == State.RUNNING:
            for other, any_end in after.get(slot, ()):
                assert other in ended_ns
                assert any_end or table.state[other] == State.FINISHED
            for array, most in ((0, 1), (1, 2)):
                assert sum(arrays[one] == array for one in running) <= most
        elif state not in (State.PENDING, State.FUTURE):
            ended_ns[slot] = at_ns

    made.chronicle.on_change = changed
    while made.next_cycle_ns() <= 10**7 * SECOND:
        made.run_cycle(made.next_cycle_ns())
        scheduler = made.scheduler
        waiting = set(scheduler.queued())
        assert not waiting & table.on_hold
        assert scheduler.pending_jobs == len(waiting) + len(table.on_hold) == sum(state == State.PENDING for state in table.state)
    assert all(state not in (State.PENDING, State.RUNNING, State.FUTURE) for state in table.state)
    for slot in range(count):
        if made.chronicle.reasons.get(slot) == NEVER_SATISFIED:
            assert any(not any_end and table.state[other] != State.FINISHED for other, any_end in after[slot])
    room = made.scheduler.room
    assert [len(kept) for kept in (room._held, room._until_ns, room._awaited, room._waiters)] == [0, 0, 0, 0]
    assert not any(array.taken for array in table.array_of.values())


def test_jobs_of_the_api_depend_on_each_other_within_one_turn() -> None:
    made = engine(clos(2))
    slots = made.scheduler.add(gangs(2, {1: ((0, OK),)}))
    made.post(Submit([slots[0]]), 10 * SECOND)
    made.post(Submit([slots[1]]), 10 * SECOND)
    run_until(made, 10 * SECOND)
    assert [made.table.state[slot] for slot in slots] == [State.RUNNING, State.PENDING]
