"""Jobs that run for longer than they may: when they end, as what, and what becomes of their time."""

from typing import Any

import numpy as np
import pytest

from emulator.engine.gpu_time import held_time
from emulator.engine.times import in_words
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobColumns, JobKind, job_columns
from tests.engine.small import clos, ends, engine, run, run_until, training


def gangs(count: int, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 10_000 * SECOND, "estimate_ns": 7200 * SECOND} | columns)


def test_a_run_of_the_estimate_is_ended_to_the_nanosecond() -> None:
    """Job 1 takes exactly as long as it said: what ends in the same nanosecond as its limit has finished."""
    made = run(engine(clos(2), [gangs(2, duration_ns=[10_000 * SECOND, 7200 * SECOND])], time_limit_factor=1.0))
    table = made.table
    assert (table.state[0], table.end_ns[0], made.chronicle.reasons[0]) == (State.FAILED, 7200 * SECOND, "reached its time limit of 2 h")
    assert (table.state[1], table.end_ns[1]) == (State.FINISHED, 7200 * SECOND)
    assert (made.chronicle.ended[State.FAILED], made.chronicle.ended[State.FINISHED], made.chronicle.restarts) == (1, 1, 0)
    assert made.scheduler.partitions[0].free.free_gpus == 16


def test_without_a_limit_it_runs_to_its_end() -> None:
    assert ends(run(engine(clos(1), [gangs(1)]))) == {0: 10_000.0}


@pytest.mark.parametrize(("factor", "seconds"), [(1.25, 9000), (0.5, 3600)])
def test_the_factor_makes_it_longer_or_shorter(factor: float, seconds: int) -> None:
    made = run(engine(clos(1), [gangs(1)], time_limit_factor=factor))
    assert (made.table.state[0], made.table.end_ns[0]) == (State.FAILED, seconds * SECOND)


def test_what_it_saved_is_productive_and_the_rest_is_lost() -> None:
    """7,200 s of 8 GPUs: with a checkpoint every 2,000 s of work 6,000 s last; without checkpoints nothing does."""
    made = run(engine(clos(2), [gangs(2, checkpoint_ns=[2000 * SECOND, 0])], time_limit_factor=1.0))
    saved, lost = (held_time(made.table, [slot], made.now_ns) for slot in (0, 1))
    assert saved == (8000 * 6000 * SECOND, 0, 0, 8000 * 1200 * SECOND, *[0] * 7)
    assert lost == (0, 0, 0, 8000 * 7200 * SECOND, *[0] * 7)


def test_each_run_has_the_whole_limit_and_its_restart_overhead_counts() -> None:
    """Host 0 fails at 3,000 s: 3,000 s of the 10,000 are saved. The second run begins at 3,000 s on host 1: overhead 300 s, then 6,900 s of
    work, and the limit, 7,200 s, is reached at 10,200 s with 100 s of work left."""
    made = engine(clos(2), [gangs(1, checkpoint_ns=1000 * SECOND)], fail_at={0: 3000 * SECOND}, time_limit_factor=1.0)
    run(made)
    assert (made.table.state[0], made.table.end_ns[0]) == (State.FAILED, 10_200 * SECOND)
    enough = engine(
        clos(2), [gangs(1, checkpoint_ns=1000 * SECOND, duration_ns=9900 * SECOND)], fail_at={0: 3000 * SECOND}, time_limit_factor=1.0
    )
    assert ends(run(enough)) == {0: 10_200.0}


def test_a_service_without_an_end_is_exempt_and_one_with_an_end_is_not() -> None:
    jobs = gangs(2, kind=int(JobKind.SERVICE), duration_ns=[0, 10_000 * SECOND])
    made = engine(clos(2), [jobs], time_limit_factor=1.0)
    run_until(made, 20_000 * SECOND)
    assert [made.table.state[slot] for slot in (0, 1)] == [State.RUNNING, State.FAILED]
    assert not made.has_work()


def test_a_job_that_waits_for_the_network_reaches_its_limit_all_the_same() -> None:
    """Its limit, 500 s, is before the 600 s of the stall timeout."""
    job = training(gpus=16, duration_ns=1000 * SECOND, estimate_ns=500 * SECOND)
    made = engine(clos(2), [job], time_limit_factor=1.0)
    made.run_cycle(0)
    made.runs.set_speed(0, 0.0, 0)
    run(made)
    assert (made.table.state[0], made.table.end_ns[0], made.chronicle.restarts) == (State.FAILED, 500 * SECOND, 0)


def test_a_slowed_job_is_ended_where_its_work_would_have_ended_at_full_speed() -> None:
    made = engine(clos(2), [training(gpus=16, duration_ns=1000 * SECOND)], time_limit_factor=1.0)
    made.run_cycle(0)
    made.runs.set_speed(0, 0.5, 0)
    run(made)
    assert (made.table.state[0], made.table.end_ns[0], made.table.lives.work_ns[0]) == (State.FAILED, 1000 * SECOND, 500 * SECOND)


def test_times_in_words() -> None:
    seconds = np.array([0, 1, 60, 90, 5400, 7200, 90_000, 172_800]) * SECOND
    words = ["0 s", "1 s", "1 min", "90 s", "90 min", "2 h", "25 h", "2 d"]
    assert [in_words(int(time)) for time in seconds] == words
    assert in_words(1) == "1e-09 s"
