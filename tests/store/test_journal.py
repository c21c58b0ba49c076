"""The journal on disk."""

import sqlite3
from pathlib import Path

import pytest

from emulator.store.journal import Journal, JournalError


def test_what_was_appended_is_there_again_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state", scenario="a")
    journal.append(10, "cancel", {"job_id": 7}, "r1")
    journal.append(0, "submit", {"gpus": [8, 1], "names": None})
    journal.close()
    journal.close()
    again = Journal(tmp_path / "state", scenario="a")
    assert [(i.sequence, i.stamp_ns, i.kind, i.request_id, i.payload) for i in again.inputs()] == [
        (1, 10, "cancel", "r1", {"job_id": 7}),
        (2, 0, "submit", "", {"gpus": [8, 1], "names": None}),
    ]
    assert len(again) == 2


def test_it_is_synchronous(tmp_path: Path) -> None:
    journal = Journal(tmp_path, scenario="a")
    run = journal._database.execute
    assert run("PRAGMA journal_mode").fetchone() == ("wal",)
    assert run("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert not journal._database.in_transaction
    journal.append(0, "end", {})
    assert not journal._database.in_transaction
    other = sqlite3.connect(tmp_path / "journal.sqlite")
    assert other.execute("SELECT count(*) FROM input").fetchone() == (1,)


@pytest.mark.parametrize(("key", "value"), [("scenario", "b"), ("format", "1")])
def test_the_journal_of_another_scenario_or_version_is_refused(tmp_path: Path, key: str, value: str) -> None:
    journal = Journal(tmp_path, scenario="a")
    journal._database.execute("UPDATE about SET value = ? WHERE key = ?", (value, key))
    journal.close()
    with pytest.raises(JournalError, match=f"--state: .*journal.sqlite is the journal of another {key}; allowed: an empty directory"):
        Journal(tmp_path, scenario="a")


def test_a_fresh_session_does_not_mix_its_inputs_with_those_of_another(tmp_path: Path) -> None:
    journal = Journal(tmp_path, scenario="a", fresh=True)
    journal.append(0, "end", {})
    journal.close()
    with pytest.raises(JournalError, match="holds 1 inputs of an earlier session"):
        Journal(tmp_path, scenario="a", fresh=True)
    assert len(Journal(tmp_path, scenario="a")) == 1


def test_files_that_are_no_journal_are_refused(tmp_path: Path) -> None:
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "journal.sqlite").write_bytes(b"this is not a database" * 500)
    (tmp_path / "folder" / "journal.sqlite").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    for name in ("garbage", "folder", "file"):
        with pytest.raises(JournalError, match="--state: "):
            Journal(tmp_path / name, scenario="a")


def test_a_journal_that_is_damaged_or_gone_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path, scenario="a")
    journal.append(0, "cancel", {"job_id": 1})
    journal._database.execute("UPDATE input SET payload = '{'")
    with pytest.raises(JournalError, match=r"journal\.sqlite"):
        list(journal.inputs())
    journal._database.execute("DROP TABLE input")
    for call in (lambda: journal.append(0, "end", {}), lambda: len(journal), lambda: list(journal.inputs())):
        with pytest.raises(JournalError, match="no such table"):
            call()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append(0, "end", {})
