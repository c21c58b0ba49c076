"""What crashes, full disks and people do to a directory: mended where nothing acknowledged can be lost, one sentence where it can."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from emulator.store.errors import JournalError
from emulator.store.journal import Journal
from emulator.store.wal import frames
from tests.store.conftest import Other


def jobs(journal: Journal) -> list[int]:
    return [row.payload["job_id"] for row in journal.inputs()]


def test_a_crash_leaves_everything_in_the_log(crashed: Path, keep: Callable[..., Journal]) -> None:
    journal = keep(crashed)
    assert (jobs(journal), journal.notes) == ([7, 8], ())


@pytest.mark.parametrize("cut", [1, 4000, 24 + 4096 + 7])
def test_a_torn_record_is_left_out_and_said(crashed: Path, keep: Callable[..., Journal], cut: int) -> None:
    """The last record's frames are cut short: nobody was told that it is there, for the log was never synced with it."""
    log = crashed / "journal.sqlite-wal"
    os.truncate(log, log.stat().st_size - cut)
    journal = keep(crashed)
    assert jobs(journal) == [7]
    assert journal.notes == (
        f"{crashed / 'journal.sqlite'}: a record that was incomplete after the crash was left out; nothing in it had been acknowledged",
    )
    journal.append(30, "cancel", {"job_id": 9})
    journal.close()
    assert (jobs(again := keep(crashed)), again.notes) == ([7, 9], ())


def test_a_frame_of_zeros_is_a_torn_record_too(crashed: Path, keep: Callable[..., Journal]) -> None:
    log = crashed / "journal.sqlite-wal"
    data = bytearray(log.read_bytes())
    data[-4096:] = bytes(4096)
    log.write_bytes(data)
    journal = keep(crashed)
    assert (jobs(journal), len(journal.notes)) == ([7], 1)


def test_a_log_that_is_gone_is_not_taken_for_an_empty_one(crashed: Path, keep: Callable[..., Journal]) -> None:
    (crashed / "journal.sqlite-wal").unlink()
    for open_it in (keep, Journal.copy):
        with pytest.raises(
            JournalError, match=r"was not closed, and journal.sqlite-wal, which held the latest inputs, is gone; to go on without"
        ):
            open_it(crashed)
    (crashed / "journal.sqlite-wal").touch()
    assert jobs(keep(crashed)) == [7]


def test_who_is_refused_changes_nothing(crashed: Path, keep: Callable[..., Journal]) -> None:
    for _ in range(2):
        with pytest.raises(JournalError, match="holds a session that differs"):
            keep(crashed, Other.session)
    assert jobs(keep(crashed)) == [7, 8]


def test_after_a_close_in_good_order_there_is_no_log_to_miss(crashed: Path, keep: Callable[..., Journal]) -> None:
    keep(crashed).close()
    assert not (crashed / "journal.sqlite-wal").exists()
    assert jobs(keep(crashed)) == [7, 8]


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (lambda path: os.truncate(path, 0), "is damaged: it is empty"),
        (lambda path: os.truncate(path, path.stat().st_size // 2), "damaged|malformed"),
        (lambda path: os.truncate(path, 100), "damaged|malformed|not a database"),
        (lambda path: path.write_bytes(b"this is not a database" * 500), "not a database"),
        (lambda path: path.unlink(), "is missing, but its log exists"),
        (lambda path: path.unlink() or path.mkdir(), "is not a file"),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(
    crashed: Path, keep: Callable[..., Journal], do: Callable[[Path], object], said: str
) -> None:
    do(crashed / "journal.sqlite")
    for open_it in (keep, Journal.copy):
        with pytest.raises(JournalError, match=said) as refused:
            open_it(crashed)
        assert "allowed: " in str(refused.value)
        assert "\n" not in str(refused.value)


def test_another_programs_database_is_no_journal(tmp_path: Path, keep: Callable[..., Journal]) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as database:
        database.execute("CREATE TABLE input (a)")
    with pytest.raises(JournalError, match="it is not a gigawatt journal"):
        keep(tmp_path)


def test_a_page_overwritten_anywhere_is_refused_or_changes_nothing(keep: Callable[..., Journal], tmp_path: Path) -> None:
    journal = keep()
    for number in range(300):
        journal.append(number, "submit", {"job_id": [number], "names": ["x" * 200]}, f"r{number}")
    expected = [(row.stamp_ns, row.payload) for row in journal.inputs()]
    journal.close()
    path = tmp_path / "state" / "journal.sqlite"
    whole = path.read_bytes()
    refused = 0
    for page in range(len(whole) // 4096):
        path.write_bytes(whole[: page * 4096] + b"\x5a" * 4096 + whole[(page + 1) * 4096 :])
        try:
            with closing(keep()) as again:
                assert [(row.stamp_ns, row.payload) for row in again.inputs()] == expected
        except JournalError:
            refused += 1
    assert refused >= len(whole) // 4096 - 2


def test_one_changed_byte_of_an_input_is_seen(keep: Callable[..., Journal], tmp_path: Path) -> None:
    journal = keep()
    journal.append(0, "submit", {"gpus": [8], "name": "a needle"})
    journal.append(0, "submit", {"gpus": [8]})
    journal.close()
    path = tmp_path / "state" / "journal.sqlite"
    path.write_bytes(path.read_bytes().replace(b"a needle", b"a noodle"))
    with pytest.raises(JournalError, match="input 1 is not what was written; allowed: the file from a backup"):
        list(keep().inputs())


def test_a_missing_input_is_seen(keep: Callable[..., Journal]) -> None:
    journal = keep()
    for number in range(3):
        journal.append(0, "cancel", {"job_id": number})
    journal._database.execute("DELETE FROM input WHERE sequence = 2")
    with pytest.raises(JournalError, match="damaged: input 2 is missing"):
        jobs(journal)


def test_a_journal_that_is_damaged_while_open_says_so(keep: Callable[..., Journal]) -> None:
    journal = keep()
    journal.append(0, "cancel", {"job_id": 1})
    journal._database.execute("DROP TABLE input")
    for call in (lambda: journal.append(0, "end", {}), lambda: len(journal), lambda: list(journal.inputs())):
        with pytest.raises(JournalError, match="no such table"):
            call()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append(0, "end", {})


def test_a_crash_while_the_journal_is_made_leaves_none(keep: Callable[..., Journal], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.sqlite.new").write_bytes(b"half of a journal")
    (tmp_path / "state" / "journal.sqlite.new-wal").write_bytes(b"and of its log")
    assert jobs(keep()) == []
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [
        "journal.sqlite",
        "journal.sqlite-shm",
        "journal.sqlite-wal",
        "lock",
    ]


def test_a_place_where_nothing_can_be_written(keep: Callable[..., Journal], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"file: File exists"):
        keep(tmp_path / "file")
    with pytest.raises(JournalError, match=r"nowhere is not a directory; allowed"):
        keep(tmp_path / "nowhere" / "state")
    with pytest.raises(JournalError, match="allowed: "):
        keep(tmp_path / "file" / "state")
    with pytest.raises(JournalError, match=r"/proc/gigawatt: .*; allowed: a directory that can be written"):
        keep(type(tmp_path)("/proc/gigawatt"))


def test_a_full_disk_refuses_the_input_and_keeps_the_others(keep: Callable[..., Journal]) -> None:
    journal = keep()
    journal.append(0, "cancel", {"job_id": 1})
    journal._database.execute("PRAGMA max_page_count=1")
    with pytest.raises(JournalError, match="disk is full"):
        journal.append(0, "cancel", {"job_id": 2, "words": "x" * 100_000})
    journal._database.execute("PRAGMA max_page_count=1000000")
    journal.append(0, "cancel", {"job_id": 3})
    assert jobs(journal) == [1, 3]


def test_a_close_that_cannot_be_noted_loses_nothing(keep: Callable[..., Journal]) -> None:
    journal = keep()
    journal.append(0, "cancel", {"job_id": 1})
    journal._database.execute("CREATE TRIGGER full BEFORE UPDATE ON about BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    journal.close()
    with closing(Journal.copy(journal._path.parent)) as copy:
        assert (jobs(copy), copy.notes) == ([1], ())


def test_frames_of_logs_that_are_none(tmp_path: Path) -> None:
    log = tmp_path / "a-wal"
    assert frames(log).whole == 0
    for content in (b"", b"short", b"\0" * 100):
        log.write_bytes(content)
        assert (frames(log).whole, frames(log).partial_bytes) == (0, len(content))
    with suppress(FileNotFoundError):
        log.unlink()
