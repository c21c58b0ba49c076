"""Jobs that a fault interrupted, and when they are in their queue again."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.engine.backoff import NO_BACKOFF, Backoff
from emulator.engine.commands import Cancel, Hold
from emulator.engine.views import explanation, job_view
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.engine.small import clos, ends, engine, run, run_until

#: In the middle of a cycle.
FAULT = 505 * SECOND
MINUTE = Backoff(60 * SECOND, 2.0, 3600 * SECOND)


def gangs(count: int, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 1000 * SECOND, "checkpoint_ns": 100 * SECOND} | columns)


@given(st.integers(1, 10**15), st.integers(1, 64), st.integers(1, 60), st.integers(0, 10**15))
def test_it_grows_by_the_factor_up_to_the_most(initial: int, factor: int, times: int, most: int) -> None:
    exact = min(Fraction(initial * factor ** (times - 1)), Fraction(most))
    found = Backoff(initial, float(factor), most).until_ns(7, times) - 7
    assert abs(found - exact) <= exact / 2**48


def test_the_largest_numbers_are_no_trouble() -> None:
    assert Backoff(10**16, 1000.0, 10**16).until_ns(0, 10**9) == 10**16
    assert Backoff(5, 1.0, 10).until_ns(100, 10**9) == 105
    assert NO_BACKOFF.until_ns(100, 3) == 0


def test_an_interrupted_job_waits_and_another_takes_its_turn() -> None:
    """Host 0 fails at 505 s, and host 1 is free. Job 0 is back at 565 s, that is in the cycle at 570 s; job 1, which came later and wants a
    host for 50 s, has had host 1 from 510 s on. Without a back-off job 0 is first."""
    jobs = gangs(2, submit_ns=[0, 508 * SECOND], duration_ns=[1000 * SECOND, 50 * SECOND])
    made = engine(clos(2), [jobs], fail_at={0: FAULT}, requeue_backoff=MINUTE)
    run_until(made, 510 * SECOND)
    assert [made.table.state[slot] for slot in (0, 1)] == [State.PENDING, State.RUNNING]
    why = explanation(made, 0)
    assert (why.kind, why.text, why.position) == ("hold", "backs off after an interruption, until 565 s", -1)
    assert (why.remedy, dict(why.numbers)) == ("may start at 565 s", {"until_seconds": 565.0, "restarts": 1})
    assert job_view(made, 0).reason.startswith("backs off after an interruption, until 565 s (last stop: host ")
    assert made.has_work()
    assert ends(run(made)) == {1: 560.0, 0: 570.0 + 300.0 + 500.0}
    assert made.scheduler.room.next_ns() == NEVER
    at_once = engine(clos(2), [jobs], fail_at={0: FAULT})
    assert ends(run(at_once)) == {0: 510.0 + 300.0 + 500.0, 1: 1310.0 + 50.0}


def test_nothing_else_happens_and_it_is_woken_all_the_same() -> None:
    made = engine(clos(2), [gangs(1)], fail_at={0: FAULT}, requeue_backoff=Backoff(100_000 * SECOND, 2.0, 10**18))
    assert ends(run(made)) == {0: 100_510.0 + 300.0 + 500.0}


def test_each_time_twice_as_long() -> None:
    """Host 0 fails at 505 s, host 1 at 1,005 s: back at 565 s and, 120 s after the second fault, at 1,125 s."""
    made = engine(clos(3), [gangs(1)], fail_at={0: FAULT, 1: 1005 * SECOND}, requeue_backoff=MINUTE)
    run_until(made, 1010 * SECOND)
    assert explanation(made, 0).numbers["until_seconds"] == 1125.0


def test_it_may_be_cancelled_held_and_released_while_it_waits() -> None:
    made = engine(clos(2), [gangs(2)], fail_at={0: FAULT, 1: FAULT}, requeue_backoff=MINUTE)
    made.post(Cancel(0), 510 * SECOND)
    made.post(Hold(1, held=True), 510 * SECOND)
    run_until(made, 510 * SECOND)
    assert made.table.state[0] == State.CANCELLED
    why = explanation(made, 1)
    assert (why.kind, why.text) == ("hold", "on hold; backs off after an interruption, until 565 s")
    assert why.remedy == "may start once it is released: gigawatt job release 1, and at 565 s"
    run_until(made, 600 * SECOND)
    assert (made.table.on_hold, explanation(made, 1).text) == ({1}, "on hold")
    made.post(Hold(1, held=False), 700 * SECOND)
    run_until(made, 700 * SECOND)
    assert (made.table.on_hold, made.scheduler.pending_jobs) == (set(), 1)


@pytest.mark.parametrize("preempt", [True, False])
def test_preemption_is_no_interruption(preempt: bool) -> None:
    jobs = gangs(2, priority=[0, 5 * preempt], submit_ns=[0, 95 * SECOND])
    made = engine(clos(1), [jobs], policy="easy", preemption=True, requeue_backoff=MINUTE)
    run_until(made, 100 * SECOND)
    assert not made.table.on_hold
    assert made.chronicle.preemptions == preempt
