"""Dependencies and arrays in a live session: what is refused at the door, and that they outlive a crash."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.errors import InvalidRequest
from emulator.engine.job_control import JobState
from emulator.report.files import jobs_table
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.runtime.submissions import jobs_of, payload_of
from emulator.scenario import Scenario
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.session.conftest import QUIET

FIRST = 10**9


def jobs(count: int = 1, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 95 * SECOND} | columns)


def after(job_id: int, *, any_end: bool = False, **columns: Any) -> JobColumns:
    return jobs(after=0, afters=(((job_id, any_end),),), **columns)


def test_a_dependency_on_nobody_is_refused(paused: Callable[..., Any]) -> None:
    made = paused()
    for unknown in (FIRST, 7, -1):
        (error,) = made.submit(after(unknown)).errors.values()
        assert isinstance(error, InvalidRequest)
        assert (str(error), error.field) == (f"no job {unknown}", "after")
    assert made.submit(jobs()).job_ids == [FIRST]
    assert made.submit(after(FIRST)).job_ids == [FIRST + 1]  # submitted in the same cycle
    made.step(2)
    why = made.explain(FIRST + 1)
    assert (why.kind, why.text, why.remedy) == (
        "dependency",
        f"waits for the end of job {FIRST}",
        f"may start when job {FIRST} has finished",
    )
    assert made.snapshot().pending_jobs_by_reason["dependency"] == 1
    made.cancel(FIRST)
    made.step(1)
    job = made.job(FIRST + 1)
    assert (job.state, job.reason) == (JobState.CANCELLED, "dependency never satisfied")


def test_requests_that_differ_in_them_differ(paused: Callable[..., Any]) -> None:
    made = paused()
    made.submit(jobs(2))
    made.submit(after(FIRST), "r")
    for other in (jobs(), after(FIRST + 1), after(FIRST, any_end=True), jobs(array=0, arrays=(1,)), jobs(deadline_ns=SECOND)):
        with pytest.raises(InvalidRequest, match="was used for another request"):
            made.submit(other, "r")


def test_they_outlive_a_crash(paused: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    """An array of three, one at a time, and a job for the end of its second: as if there had been no crash."""
    made = paused(state_dir=tmp_path / "state")
    made.submit(jobs(3, array=0, arrays=(1,), names=("a[0]", "a[1]", "a[2]")))
    made.submit(after(FIRST + 1, any_end=True))
    made.step(4)
    shutil.copytree(tmp_path / "state", tmp_path / "crashed")
    again: Any = open_session(scenario(QUIET), state_dir=tmp_path / "crashed")
    again.pause()
    again.start()
    digests = []
    for one in (made, again):
        with closing(one):
            assert [one.job(FIRST + number).state for number in range(4)] == [JobState.RUNNING, *[JobState.PENDING] * 3]
            one.step(11)
            assert [one.job(FIRST + number).reason for number in (2, 3)] == [
                "at most 1 of its array run at a time",
                f"waits for the end of job {FIRST + 1}",
            ]
            one.step(40)
            assert {one.job(FIRST + number).state for number in range(4)} == {JobState.FINISHED}
            one.stop()
            digests.append(one.outcome().digest)
    assert digests[0] == digests[1]


def test_older_journals_have_none() -> None:
    payload = payload_of(jobs(2))
    assert payload_of(jobs_of(payload)) == payload
    assert "deadline_ns" not in payload
    assert jobs_of(payload_of(jobs(2, deadline_ns=[0, 5]))).deadline_ns.tolist() == [0, 5]
    for word in ("after", "afters", "array", "arrays"):
        del payload[word]
    read = jobs_of(payload)
    assert read.deadline_ns.tolist() == [0, 0]
    assert (read.after.tolist(), read.afters, read.array.tolist(), read.arrays) == ([-1, -1], (), [-1, -1], ())


def test_a_deadline_is_told_and_outlives_a_crash(paused: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    """Submitted at 0 s, to end by 70 s; it runs from 10 s to 105 s, and goes on when the deadline has passed."""
    made = paused(state_dir=tmp_path / "state")
    made.submit(jobs(2, deadline_ns=[0, 70 * SECOND]))
    made.step(2)
    shutil.copytree(tmp_path / "state", tmp_path / "crashed")
    again: Any = open_session(scenario(QUIET), state_dir=tmp_path / "crashed")
    again.pause()
    again.start()
    for one in (made, again):
        with closing(one):
            assert [one.job(FIRST + number).deadline_seconds for number in range(2)] == [None, 70.0]
            assert one.explain(FIRST + 1).text.endswith("; should end by 70 s")
            one.step(7)
            why = one.explain(FIRST + 1)
            assert why.text.endswith("; should end by 70 s, which has passed")
            assert why.numbers["deadline_seconds"] == 70.0
            one.step(10)
            assert (one.job(FIRST + 1).state, one.explain(FIRST + 1).text) == (JobState.FINISHED, "finished")
            one.stop()
            values = summary(one.outcome())["deadlines"]
            assert (values["jobs"], values["met"], values["missed"], values["met_ratio"]) == (1, 0, 1, 0.0)
            table = jobs_table(one.outcome().jobs)
            assert table["deadline_seconds"].to_pylist() == [None, 70.0]
            assert values["tardiness_seconds"]["mean"] == table["end_seconds"].to_pylist()[1] - 70.0


def test_jobs_of_a_batch_depend_on_each_other(paused: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    """A diamond behind a job of before; what is not before it, or refused, takes those with it that depend on it; and all after a crash."""
    made = paused("scheduler.pending_limit=6", state_dir=tmp_path / "state")
    made.submit(jobs())
    diamond = jobs(
        7,
        gpus=[8, 8, 8, 8, 65, 8, 8],
        after=[0, 1, 1, 2, -1, 3, 4],
        afters=(((FIRST, True),), (), ((FIRST, True),), (), ()),
        afters_here=((), ((0, False),), ((1, False), (2, True)), ((4, True),), ((6, False),)),
    )
    answer = made.submit(diamond, "d")
    assert answer.job_ids == [*range(FIRST + 1, FIRST + 5), -1, -1, -1]
    assert [str(answer.errors[row]) for row in (5, 6)] == ["depends on a job of the batch that was refused"] * 2
    assert made.submit(diamond, "d") == answer
    with pytest.raises(InvalidRequest, match="was used for another request"):
        made.submit(replace(diamond, afters_here=((),) * 5), "d")
    late = jobs(4, after=[-1, 0, 1, 2], afters=((),) * 3, afters_here=(((0, False),), ((1, False),), ((2, False),)))
    assert made.submit(late).job_ids == [FIRST + 5, -1, -1, -1]  # one had room
    made.step(3)
    shutil.copytree(tmp_path / "state", tmp_path / "crashed")
    again: Any = open_session(scenario(QUIET, "scheduler.pending_limit=6"), state_dir=tmp_path / "crashed")
    again.pause()
    again.start()
    digests = []
    for one in (made, again):
        with closing(one):
            reasons = [one.job(FIRST + number).reason for number in range(1, 5)]
            assert reasons == [f"waits for the end of {what}" for what in (
                f"job {FIRST}", f"job {FIRST + 1}", f"job {FIRST + 1}", f"jobs {FIRST}, {FIRST + 2}, {FIRST + 3}",
            )]  # fmt: skip
            one.step(60)
            ends = [one.job(FIRST + number).end_seconds for number in range(5)]
            assert ends == sorted(ends)
            assert ends[2] == ends[3] < ends[4]
            one.stop()
            digests.append(one.outcome().digest)
    assert digests[0] == digests[1]
