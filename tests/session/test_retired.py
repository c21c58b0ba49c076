"""Jobs that have ended long ago leave a live session: what is said of them, and that neither the journal nor a watch minds."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.errors import NotFound
from emulator.engine.job_control import JobState
from emulator.report.files import jobs_table
from emulator.runtime.opening import open_replay, open_session
from emulator.runtime.session import Session
from emulator.scenario import Scenario
from emulator.store.journal import Journal
from emulator.workload.jobs import API_FIRST_ID as FIRST_ID
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.session.conftest import BUSY


def jobs(count: int = 1, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 5 * SECOND} | columns)


def keeping(session: Session, kept: int) -> Session:
    """``session``, which keeps so many of the jobs that have ended."""
    session._engine.ends.kept, session._engine.ends.at_once = kept, 1
    return session


def test_the_last_to_end_are_found_and_older_ones_are_said_to_be_in_the_files(paused: Callable[..., Session]) -> None:
    made = keeping(paused(), 2)
    for number in range(5):
        made.submit(jobs(names=(f"n{number}",), queues=("q",)))
        made.step(2)
    made.submit(jobs(duration_ns=1000 * SECOND, queues=("q",)))
    made.step(1)
    here = [FIRST_ID + 3, FIRST_ID + 4, FIRST_ID + 5]
    assert [job.job_id for job in made.jobs()] == here
    assert [job.job_id for job in made.jobs(states=frozenset({JobState.FINISHED}), queue="q")] == here[:2]
    assert made.job_count() == 3
    assert made.job_named("n3").job_id == FIRST_ID + 3
    said = "here: of the ended the last 2 are kept; 3 older ones are in jobs.parquet at the end"
    asks: list[Callable[[int], object]] = [
        made.job,
        made.explain,
        made.cancel,
        lambda job_id: made.watch(lambda event: event, job_ids=frozenset({job_id})),
    ]
    for ask in asks:
        with pytest.raises(NotFound, match=f"no job {FIRST_ID + 1} {said}"):
            ask(FIRST_ID + 1)
    with pytest.raises(NotFound, match=f"no job called 'n0' {said}"):
        made.job_named("n0")
    assert made.snapshot().jobs_by_state["finished"] == 5, "counts are of all"
    made.stop()
    table = jobs_table(made.outcome().jobs)
    assert table["job_id"].to_pylist() == [FIRST_ID + number for number in range(6)]
    assert table["name"].to_pylist() == ["n0", "n1", "n2", "n3", "n4", ""]
    assert table["state"].to_pylist() == ["finished"] * 5 + ["running"]


def test_a_session_that_lets_jobs_go_is_repeated_to_its_digest(scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    with closing(keeping(open_session(scenario(BUSY), state_dir=tmp_path / "state"), 3)) as made:
        made.pause()
        made.start()
        for number in range(40):
            ids = made.submit(jobs(3, gpus=[1, 16, 64], duration_ns=900 * SECOND), f"r{number}").job_ids
            made.step(20)
            made.cancel(ids[2])
            made.step(20)
        made.stop()
        digest = made.outcome().digest
        assert made._engine.ends.retired > 50
    for kept in (3, 0, 10_000):
        with closing(Journal.copy(tmp_path / "state")) as journal, closing(keeping(open_replay(journal), kept)) as again:
            assert again.replay(journal).digest == digest
