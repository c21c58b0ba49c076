"""Ended jobs leave the engine: the oldest first, so many at a time, and what is left of them is nothing."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from emulator.engine.commands import BreakHosts, Cancel
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, job_columns
from tests.engine.small import clos, engine, run, run_until


def test_the_table_is_bounded() -> None:
    """4,000 jobs one after the other on one host, of which 20 are kept when they have ended, in batches of 50."""

    def batches() -> Iterator[Any]:
        for first in range(0, 4000, 50):
            numbers = first + np.arange(50)
            names = tuple(f"job-{number}" for number in numbers)
            yield job_columns(50, job_id=numbers, submit_ns=20 * SECOND * numbers, gpus=8, duration_ns=10 * SECOND, names=names)

    made = engine(clos(1), batches(), ended_kept=20, retired_at_once=5)  # type: ignore[arg-type]  # any iterable will do
    left: list[int] = []
    made.ends.retire = lambda slots: left.extend(made.table.job_id[slot] for slot in slots)
    run(made)
    assert left == list(range(3980)), "the oldest first"
    assert sorted(made.table.slot_of) == list(range(3980, 4000))
    assert len(made.table) <= 50 + 25
    assert set(made.table.names.values()) == {f"job-{number}" for number in range(3980, 4000)}


def test_a_cancellation_is_of_the_job_and_not_of_its_slot() -> None:
    """It comes when the job has left, and another has its slot."""
    batches = [job_columns(1, job_id=number, submit_ns=50 * SECOND * number, gpus=8, duration_ns=40 * SECOND) for number in range(3)]
    made = engine(clos(1), batches, ended_kept=0, retired_at_once=1)
    made.ends.retire = lambda slots: None
    made.post(Cancel(0), 120 * SECOND)
    run_until(made, 110 * SECOND)
    assert made.table.slot_of == {2: 0}
    run_until(made, 130 * SECOND)
    assert (made.table.state[0], made.chronicle.commands_failed) == (State.RUNNING, 0)


def test_why_a_job_stopped_leaves_with_it() -> None:
    """A host breaks under the first job, which goes on and ends; the third has its slot."""
    batches = [job_columns(1, job_id=number, submit_ns=200 * SECOND * number, gpus=8, duration_ns=40 * SECOND) for number in range(3)]
    made = engine(clos(1), batches, ended_kept=0, retired_at_once=1, restart_overhead_ns=0)
    made.ends.retire = lambda slots: None
    made.post(BreakHosts(0, 1, 20 * SECOND), 10 * SECOND)
    run_until(made, 30 * SECOND)
    assert list(made.chronicle.reasons) == [0]
    run_until(made, 400 * SECOND)
    assert (made.table.slot_of, made.chronicle.restarts, made.chronicle.reasons) == ({2: 0}, 1, {})


def test_all_stay_where_nobody_takes_them() -> None:
    made = run(engine(clos(1), [job_columns(30, submit_ns=0, gpus=8, duration_ns=SECOND)], ended_kept=0, retired_at_once=1))
    assert (len(made.table.slot_of), made.ends.retired) == (30, 0)
