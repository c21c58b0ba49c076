"""Jobs on hold in a run, and what preempted jobs are told."""

from typing import Any

import numpy as np

from emulator.engine.commands import Hold
from emulator.engine.views import explanation, job_view
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.engine.small import clos, ends, engine, run, run_until


def gangs(count: int, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 16, "duration_ns": 1000 * SECOND} | columns)


def test_a_run_ends_when_only_jobs_on_hold_are_left() -> None:
    """Two hosts, so one job at a time. Host 0 fails when job 0 has ended, which would be worth waiting for if job 1 could start."""
    made = engine(clos(2), [gangs(3)], fail_at={0: 1500 * SECOND})
    run_until(made, 0)
    made.post(Hold(1, held=True), 10 * SECOND)
    made.post(Hold(0, held=True), 10 * SECOND)  # it runs
    made.post(Hold(2, held=False), 10 * SECOND)  # it is not on hold
    run_until(made, 10 * SECOND)
    assert [job_view(made, slot).reason for slot in range(3)] == ["", "on hold", "needs 16 GPUs, 0 are free"]
    made.post(Hold(2, held=True), 20 * SECOND)
    assert ends(run(made)) == {0: 1000.0}
    assert [made.table.state[slot] for slot in (1, 2)] == [State.PENDING, State.PENDING]


def test_a_preempted_job_is_told_for_whom_and_when_it_goes_on() -> None:
    jobs = gangs(2, gpus=8, priority=[0, 5], submit_ns=np.array([0, 95]) * SECOND)
    made = engine(clos(1), [jobs], policy="easy", preemption=True)
    run_until(made, 100 * SECOND)
    why = explanation(made, 0)
    assert (why.kind, why.text, why.last_stop) == (
        "capacity", "needs 8 GPUs, 0 are free", "preempted for job 1 of priority 5, above 0",
    )  # fmt: skip
    assert job_view(made, 0).reason == f"{why.text} (last stop: {why.last_stop})"
    assert why.remedy == "fits when 1 more whole host is free; by the running jobs' estimates at 1,100 s at the earliest"
    assert why.numbers["earliest_start_seconds"] == 1100.0
    run(made)
    assert job_view(made, 0).reason == ""
