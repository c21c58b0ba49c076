"""Jobs that get another priority while they wait or run."""

import random
from typing import Any

import numpy as np
import pytest

from emulator.engine.commands import Cancel, Hold, SetPriority
from emulator.engine.engine import Engine
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.engine.small import clos, engine, run, run_until

HOSTS, JOBS = 6, 24
#: The first job has all hosts until 1,000 s, and nobody stops it.
FREE_SECONDS = 1000


def gangs(count: int, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 16, "duration_ns": 1000 * SECOND} | columns)


def work(luck: random.Random, priorities: list[int]) -> JobColumns:
    """Jobs that arrive while nothing is free, of many sizes; some are a share of a GPU."""
    seconds = np.array([FREE_SECONDS, *(luck.choice((50, 300, 900)) for _ in range(JOBS))])
    milli = np.array([1000, *(luck.choice((1000, 1000, 1000, 250)) for _ in range(JOBS))])
    gpus = np.array([8 * HOSTS, *(luck.choice((2, 4, 8, 16, 24)) for _ in range(JOBS))])
    return job_columns(
        JOBS + 1,
        submit_ns=np.array([0, *sorted(luck.randrange(300) for _ in range(JOBS))]) * SECOND,
        gpus=np.where(milli < 1000, 1, gpus),
        milli_gpus=milli,
        duration_ns=seconds * SECOND,
        estimate_ns=np.array([FREE_SECONDS, *(luck.choice((1, 1, 2)) * int(second) for second in seconds[1:])]) * SECOND,
        priority=[10**6, *priorities],
        preemptible=[False, *[True] * JOBS],
        tenant=[0, *(luck.randrange(2) for _ in range(JOBS))],
        tenants=("a", "b"),
    )


def starts(made: Engine) -> list[tuple[int, int, list[tuple[int, int, int]]]]:
    """(job, first start, last place), by job."""
    table = made.table
    return [(table.job_id[slot], table.first_start_ns[slot] // SECOND, sorted(table.rows[slot])) for slot in range(JOBS + 1)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_job_goes_to_the_place_that_it_would_have_had_from_the_start(policy: str) -> None:
    for seed in range(3):
        luck = random.Random(f"{policy} {seed}")
        before, after = ([luck.choice((-3, 0, 0, 4, 9)) for _ in range(JOBS)] for _ in range(2))
        state = luck.getstate()
        expected = engine(clos(HOSTS), [work(luck, after)], policy=policy, cycle_ns=10 * SECOND)
        luck.setstate(state)
        made = engine(clos(HOSTS), [work(luck, before)], policy=policy, cycle_ns=10 * SECOND)
        for job in range(1, JOBS + 1):
            for priority in (luck.randrange(-9, 9), after[job - 1]):  # there and back
                made.post(SetPriority(job, priority), (310 + 10 * luck.randrange(20) + 300 * (priority == after[job - 1])) * SECOND)
        run_until(made, (FREE_SECONDS - 10) * SECOND)
        table = made.table
        for partition in made.scheduler.partitions:
            assert sorted(partition.pending.in_order()) == list(range(1, JOBS + 1))  # each once
        assert [table.priority[slot] for slot in range(1, JOBS + 1)] == after
        assert starts(run(made)) == starts(run(expected)), seed


def test_what_runs_is_preempted_by_its_new_priority_and_waits_by_it() -> None:
    """One host. Job 0 runs, and job 1 of the same priority waits; job 2 may not be preempted, whatever its priority."""
    jobs = gangs(3, gpus=[8, 8, 8], submit_ns=np.array([0, 5, 15]) * SECOND, preemptible=[True, True, False])
    made = engine(clos(2), [jobs], policy="easy", preemption=True)
    run_until(made, 20 * SECOND)
    (partition,) = made.scheduler.partitions
    assert partition.preemptible is not None
    assert +partition.preemptible == {0: 2}
    made.post(SetPriority(0, -1), 30 * SECOND)
    made.post(Hold(0, held=True), 30 * SECOND)  # it runs
    run_until(made, 30 * SECOND)
    assert [made.table.state[slot] for slot in range(3)] == [State.PENDING, State.RUNNING, State.RUNNING]
    assert made.chronicle.reasons[0] == "preempted for job 2 of priority 0, above -1"
    assert +partition.preemptible == {0: 1}
    made.post(SetPriority(2, -5), 40 * SECOND)  # it may not be preempted
    made.post(SetPriority(0, 3), 50 * SECOND)  # so it preempts job 1
    run_until(made, 60 * SECOND)
    assert [made.table.state[slot] for slot in range(3)] == [State.RUNNING, State.PENDING, State.RUNNING]
    assert +partition.preemptible == {3: 1}
    run(made)
    assert not +partition.preemptible


def test_on_hold_it_counts_when_the_job_is_back_and_nothing_happens_to_one_that_has_ended() -> None:
    made = engine(clos(2), [gangs(4)])
    run_until(made, 0)
    made.post(Hold(3, held=True), 10 * SECOND)
    made.post(SetPriority(3, 7), 20 * SECOND)
    made.post(SetPriority(1, 0), 20 * SECOND)  # it has it
    made.post(SetPriority(99, 7), 20 * SECOND)  # there is none
    run_until(made, 20 * SECOND)
    assert (made.table.on_hold, made.table.priority, made.chronicle.commands_failed) == ({3}, [0, 0, 0, 7], 0)
    made.post(Hold(3, held=False), 30 * SECOND)
    made.post(SetPriority(2, 2), 40 * SECOND)
    made.post(Cancel(2), 50 * SECOND)
    made.post(SetPriority(2, 1), 60 * SECOND)  # it has ended
    run_until(made, 60 * SECOND)
    (partition,) = made.scheduler.partitions
    assert (list(partition.pending.in_order()), made.table.priority) == ([3, 1], [0, 0, 2, 7])
    assert partition.position(1) == 1
