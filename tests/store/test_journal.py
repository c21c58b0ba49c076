"""The journal on disk."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from emulator.store.errors import JournalError
from emulator.store.journal import Journal, Record
from tests.store.conftest import SESSION, Other


def test_what_was_appended_is_there_again_in_order(keep: Callable[..., Journal], tmp_path: Path) -> None:
    journal = keep()
    journal.append(10, "cancel", {"job_id": 7}, "r1", "f00", {"told": [1, None]})
    journal.append(0, "submit", {"gpus": [8, 1], "names": None})
    journal.reach(77)
    journal.close()
    journal.close()
    again = keep()
    assert [(i.sequence, i.stamp_ns, i.kind, i.request_id, i.asked, i.payload, i.answer) for i in again.inputs()] == [
        (1, 10, "cancel", "r1", "f00", {"job_id": 7}, {"told": [1, None]}),
        (2, 0, "submit", "", "", {"gpus": [8, 1], "names": None}, None),
    ]
    assert (len(again), again.reached_ns, again.recorded, again.notes) == (2, 77, SESSION, ())
    last = again.last()
    assert last is not None
    assert last.sequence == 2


def test_it_is_synchronous(keep: Callable[..., Journal], tmp_path: Path) -> None:
    journal = keep()
    run = journal._database.execute
    assert run("PRAGMA journal_mode").fetchone() == ("wal",)
    assert run("PRAGMA synchronous").fetchone() == (2,)  # FULL
    journal.append(0, "end", {})
    assert not journal._database.in_transaction
    with closing(sqlite3.connect(tmp_path / "state" / "journal.sqlite")) as other:
        assert other.execute("SELECT count(*) FROM input").fetchone() == (1,)


def test_another_format_is_refused(keep: Callable[..., Journal], tmp_path: Path) -> None:
    journal = keep()
    journal._database.execute("UPDATE about SET value = '2' WHERE key = 'format'")
    journal.close()
    with pytest.raises(JournalError, match="has format 2, and this gigawatt reads format 3; allowed: another directory"):
        keep()


def test_another_session_is_refused_with_the_first_difference(keep: Callable[..., Journal]) -> None:
    keep().close()
    with pytest.raises(JournalError, match="holds a session that differs: seed was 1 and is now 2; allowed: the same scenario"):
        keep(session=Other.session)


def test_a_session_that_came_to_its_end_is_not_gone_on_with(keep: Callable[..., Journal], tmp_path: Path) -> None:
    journal = keep()
    journal.finish(5 * 10**9, "stop", "d1")
    journal.close()
    journal = keep()
    journal.finish(9 * 10**9, "end", "d2")
    journal.close()
    with pytest.raises(JournalError, match=r"ended at 9 s; allowed: `gigawatt replay"):
        keep()
    with closing(Journal.copy(tmp_path / "state")) as copy:
        last = copy.last()
        assert last is not None
        assert (last.kind, last.payload, copy.reached_ns) == ("end", {"digest": "d2"}, 9 * 10**9)


def test_a_copy_leaves_the_directory_as_it_is(crashed: Path) -> None:
    before = {path.name: path.read_bytes() for path in crashed.iterdir()}
    crashed.chmod(0o555)
    with closing(Journal.copy(crashed)) as copy:
        assert [row.payload["job_id"] for row in copy.inputs()] == [7, 8]
    crashed.chmod(0o755)
    assert {path.name: path.read_bytes() for path in crashed.iterdir()} == before


def test_a_directory_without_a_journal_cannot_be_copied(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(JournalError, match=r"holds no journal.sqlite; allowed: a directory that `gigawatt up --state` has kept"):
            Journal.copy(directory)


def test_several_records_are_written_by_one_commit_or_not_at_all(keep: Callable[..., Journal], tmp_path: Path) -> None:
    journal = keep()
    commits: list[str] = []
    journal._database.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    journal.append_all([Record(0, "cancel", {"job_id": number}) for number in range(5)])
    assert (len(commits), len(journal)) == (1, 5)
    with pytest.raises(JournalError):
        journal.append_all([Record(0, "cancel", {"job_id": 6}), Record(0, None, {})])  # type: ignore[arg-type]  # NULL is not taken
    assert len(journal) == 5
    journal.append(0, "cancel", {"job_id": 7})
    journal.close()
    assert [row.payload["job_id"] for row in keep().inputs()] == [0, 1, 2, 3, 4, 7]
