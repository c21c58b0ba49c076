"""Submissions that are handed in together: each is judged by itself, and all that are accepted are in the journal by one write."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.errors import InvalidRequest, NeverFits, QueueFull, WrongState
from emulator.engine.job_control import Submission, Submitted
from emulator.runtime import submissions
from emulator.runtime.opening import open_replay, open_session
from emulator.runtime.session import Session
from emulator.scenario import Scenario
from emulator.store.journal import Journal
from emulator.workload.jobs import API_FIRST_ID as FIRST_ID
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.session.conftest import BUSY


def jobs(count: int = 1, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 95 * SECOND} | columns)


def told(made: Session, *wanted: Submission) -> list[Any]:
    """Ids, or the kind of error, per submission."""
    answers = made.submit_all(wanted)
    return [list(answer.result.job_ids) if isinstance(answer, Submitted) else type(answer) for answer in answers]


def records(made: Session) -> int:
    assert made._journal is not None
    return len(made._journal)


def test_one_that_is_refused_leaves_the_others_alone(paused: Callable[..., Session], tmp_path: Path) -> None:
    """Ids follow the order of arrival, as if each had come alone; what was refused has none and is in no record."""
    made = paused("scheduler.pending_limit=4", state_dir=tmp_path / "state")
    wanted = [jobs(), jobs(2, gpus=[8, 1000]), jobs(gpus=1000), jobs(3), jobs()]
    answers = made.submit_all([Submission(batch) for batch in wanted])
    assert [answer.result.job_ids if isinstance(answer, Submitted) else type(answer) for answer in answers] == [
        [FIRST_ID],
        [FIRST_ID + 1, -1],
        [-1],
        [FIRST_ID + 2, FIRST_ID + 3, -1],
        QueueFull,
    ]
    second, third, fourth = answers[1:4]
    assert isinstance(second, Submitted)
    assert isinstance(second.result.errors[1], NeverFits)
    assert second.job == made.job(FIRST_ID + 1)
    assert isinstance(third, Submitted)
    assert third.job is None
    assert isinstance(fourth, Submitted)
    assert isinstance(fourth.result.errors[2], QueueFull)
    assert records(made) == 3
    assert len(made.jobs()) == 4


def test_request_ids_are_told_apart_within_one_hand_over(paused: Callable[..., Session], tmp_path: Path) -> None:
    """A repeat gets the first answer, another request under the id is refused, and what was refused may be tried again."""
    made = paused("scheduler.pending_limit=3", state_dir=tmp_path / "state")
    one, other = Submission(jobs(2), "a"), Submission(jobs(1), "a")
    assert told(made, one, one, other, Submission(jobs(), "b")) == [
        [FIRST_ID, FIRST_ID + 1],
        [FIRST_ID, FIRST_ID + 1],
        InvalidRequest,
        [FIRST_ID + 2],
    ]
    assert told(made, Submission(jobs(), "c"), one) == [QueueFull, [FIRST_ID, FIRST_ID + 1]]
    made.step(20)
    assert told(made, Submission(jobs(), "c"), Submission(jobs(), "c")) == [[FIRST_ID + 3], [FIRST_ID + 3]]
    assert records(made) == 3


def test_new_queues_are_counted_within_one_hand_over(paused: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    made = paused()
    known = len(made.queues())
    monkeypatch.setattr(submissions, "MOST_QUEUES", known + 2)
    wanted = [Submission(jobs(queues=(name,))) for name in ("x", "y", "x", "z")]
    assert told(made, *wanted) == [[FIRST_ID], [FIRST_ID + 1], [FIRST_ID + 2], InvalidRequest]


def test_all_are_kept_or_none_is_accepted(paused: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    """The third record cannot be written: as a crash between two of them, it leaves none behind; later the same requests are accepted."""
    made = paused(state_dir=tmp_path / "state")
    made._journal._database.execute(
        "CREATE TRIGGER full BEFORE INSERT ON input WHEN new.request_id = 'c' BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    wanted = [Submission(jobs(), name) for name in "abc"]
    assert told(made, *wanted, wanted[0]) == [WrongState] * 4
    assert (made.jobs(), records(made)) == ([], 0)
    made._journal._database.execute("DROP TRIGGER full")
    assert told(made, *wanted) == [[FIRST_ID], [FIRST_ID + 1], [FIRST_ID + 2]]
    shutil.copytree(tmp_path / "state", tmp_path / "crashed")
    with closing(open_session(scenario(), state_dir=tmp_path / "crashed")) as again:
        assert told(again, *reversed(wanted)) == [[FIRST_ID + 2], [FIRST_ID + 1], [FIRST_ID]]


def test_the_journal_repeats_what_was_handed_in_together(session: Callable[..., Session], tmp_path: Path) -> None:
    live = session(BUSY, state_dir=tmp_path / "state")
    live.pause()
    live.start()
    for _ in range(20):
        live.submit_all([Submission(jobs(2, gpus=[1, 64], names=("a", "b"))), Submission(jobs(gpus=1000)), Submission(jobs(queues=("q",)))])
        live.step(3)
    live.stop()
    digest = live.outcome().digest
    live.close()
    journal = Journal.copy(tmp_path / "state")
    with closing(journal), closing(open_replay(journal)) as again:
        assert again.replay(journal).digest == digest


def test_after_the_end_every_one_is_told_so(paused: Callable[..., Session]) -> None:
    made = paused()
    made.stop()
    with pytest.raises(WrongState, match="the emulation has ended"):
        made.submit_all([Submission(jobs()), Submission(jobs())])
