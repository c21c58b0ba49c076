"""The journal: every input that was accepted, on disk before its sender hears so (SQLite, WAL, synchronous).

A directory holds ``journal.sqlite``, while it is open or after a crash also its ``-wal`` and ``-shm``, and ``lock``. The file is made under
another name and renamed when it is whole, and it says of itself whether it was closed in good order: so a file that is empty, or a log that
is missing, is damage and is never taken for a new beginning.
"""

import json
import os
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from emulator.store.errors import JournalError
from emulator.store.lock import DirectoryLock, check_unlocked
from emulator.store.recorded import Recorded, check_files
from emulator.store.wal import frames

#: Rises when a journal written before cannot be read any more.
FORMAT = 3

FILE = "journal.sqlite"
_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE input (
    sequence INTEGER PRIMARY KEY,
    stamp_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    request_id TEXT NOT NULL,
    asked TEXT NOT NULL,
    payload TEXT NOT NULL,
    answer TEXT NOT NULL,
    crc32 INTEGER NOT NULL
);
"""
_INSERT = "INSERT INTO input (stamp_ns, kind, request_id, asked, payload, answer, crc32) VALUES (?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT sequence, stamp_ns, kind, request_id, asked, payload, answer, crc32 FROM input ORDER BY sequence"
#: Kinds of records that are no inputs: the emulation came to its end, or was stopped before.
END, STOP = "end", "stop"


@dataclass(frozen=True)
class Record:
    """One accepted input: what, and the cycle in which it acts; or, of the kinds ``end`` and ``stop``, where the emulation ended.

    ``asked`` is the fingerprint of the request and ``answer`` what its sender was told, for requests that may be repeated.
    """

    stamp_ns: int
    kind: str
    payload: dict[str, Any]
    request_id: str = ""
    asked: str = ""
    answer: Any = None


@dataclass(frozen=True)
class Input(Record):
    """A record as it stands in the journal, numbered from 1."""

    sequence: int = 0


class Journal:
    """The journal of one live emulation in a directory of its own: ``Journal.keep`` to go on with, ``Journal.copy`` to read.

    One thread at a time may use it. Every method raises JournalError where the file cannot be read or written. ``recorded`` is the
    session as it was written. ``notes`` are sentences on what was found and mended. ``reached_ns`` is how far the emulated clock may have
    been read, -1 before its start.
    """

    def __init__(self, path: Path, *, lock: DirectoryLock | None, copied_to: "tempfile.TemporaryDirectory[str] | None" = None) -> None:
        self._path, self._lock, self._copied_to = path, lock, copied_to
        self.notes: tuple[str, ...] = ()
        self._log_is_due = _log(path).exists()  # the file says of itself that it is open, so that its log must be there
        try:
            self._database = sqlite3.connect(path.absolute().as_uri() + "?mode=rw", uri=True, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._error(error) from error
        try:
            self._open(frames(_log(path)), logged=self._log_is_due)
        except BaseException as error:
            self._shut()
            if isinstance(error, sqlite3.Error | OSError):
                raise self._error(error) from error
            raise

    @classmethod
    def keep(cls, directory: Path, session: Recorded) -> Self:
        """The journal in ``directory``, for this process alone: a new one, or that of ``session`` to go on with.

        Raises JournalError also where another process has it, where it is another session's (the message names the first difference), and
        where that came to its end.
        """
        if not directory.absolute().parent.is_dir():
            raise JournalError(
                f"{directory.absolute().parent} is not a directory; allowed: a new or existing directory inside an existing one"
            )
        try:
            directory.mkdir(exist_ok=True)
        except OSError as error:
            raise JournalError(f"{directory}: {error.strerror}; allowed: a directory that can be written") from error
        lock = DirectoryLock(directory)
        try:
            path = directory / FILE
            if not _present(path):
                _create(path, session)
            journal = cls(path, lock=lock)
            try:
                journal._take_up(session)
            except BaseException:
                journal._shut()
                raise
        except BaseException:
            lock.close()
            raise
        return journal

    @classmethod
    def copy(cls, directory: Path) -> Self:
        """A copy of the journal in ``directory``, which is left as it is. Raises JournalError also where a process has it open."""
        path = directory / FILE
        if not _present(path):
            raise JournalError(f"{directory} holds no {FILE}; allowed: a directory that `gigawatt up --state` has kept")
        check_unlocked(directory)
        folder = tempfile.TemporaryDirectory(prefix="gigawatt-replay-")
        try:
            for name in (path, _log(path)):
                if name.exists():
                    shutil.copyfile(name, Path(folder.name) / name.name)
            return cls(Path(folder.name) / FILE, lock=None, copied_to=folder)
        except BaseException as error:
            folder.cleanup()
            if isinstance(error, OSError):
                raise JournalError(f"{path}: cannot be read: {error.strerror}") from error
            raise

    def _open(self, left: Any, *, logged: bool) -> None:
        """See that the file is whole and ours, and read what it says of itself. ``left``: the frames that a crash left in the log."""
        run = self._database.execute
        if run("SELECT count(*) FROM sqlite_master WHERE name IN ('about', 'input')").fetchone() != (2,):
            raise self._damaged("it is not a gigawatt journal")
        if (verdict := run("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise self._damaged(verdict)
        about = dict(run("SELECT key, value FROM about").fetchall())
        if about.get("format") != str(FORMAT):
            raise JournalError(
                f"{self._path} has format {about.get('format')}, and this gigawatt reads format {FORMAT}; "
                "allowed: another directory, or the gigawatt that wrote it"
            )
        if about.get("open") == "1" and not logged:
            raise self._damaged(
                f"it was not closed, and {_log(self._path).name}, which held the latest inputs, is gone; "
                "to go on without them, make an empty file of that name"
            )
        run("PRAGMA synchronous=FULL")
        sound = max(0, run("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
        if left.partial_bytes or left.whole > sound:
            self.notes += (f"{self._path}: a record that was incomplete after the crash was left out; nothing in it had been acknowledged",)
        try:
            self.recorded = Recorded.from_text(about)
            self.reached_ns = int(about["reached_ns"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(f"its description of the session cannot be read ({type(error).__name__}: {error})") from error

    def _take_up(self, session: Recorded) -> None:
        """Go on with the journal as that of ``session``."""
        if (difference := self.recorded.difference(session)) is not None:
            raise JournalError(
                f"{self._path.parent} holds a session that differs: {difference}; "
                "allowed: the same scenario and options, or another directory"
            )
        last = self.last()
        if last is not None and last.kind == END:
            raise JournalError(
                f"the session in {self._path.parent} ended at {last.stamp_ns / 1e9:g} s; "
                f"allowed: `gigawatt replay {self._path.parent}`, or another directory"
            )
        if (sentence := self.recorded.other_program(session.version, session.source)) is not None:
            self.notes += (f"{self._path}: {sentence}",)
        self._log_is_due = True
        try:
            self._database.execute("UPDATE about SET value = '1' WHERE key = 'open'")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the file itself says so, whatever becomes of the log
        except sqlite3.Error as error:
            raise self._error(error) from error

    def check_files(self) -> None:
        """Raises JournalError where a file that the session read is gone or has changed."""
        check_files(self.recorded)

    def _error(self, error: Exception) -> JournalError:
        return JournalError(f"{self._path}: {error}; allowed: a directory that can be written, new or with an undamaged journal")

    def _damaged(self, what: object) -> JournalError:
        words = " ".join(str(what).split())
        return JournalError(f"{self._path} is damaged: {words}; allowed: the file from a backup, or another directory")

    def __len__(self) -> int:
        try:
            return int(self._database.execute("SELECT count(*) FROM input").fetchone()[0])
        except sqlite3.Error as error:
            raise self._error(error) from error

    def append(self, stamp_ns: int, kind: str, payload: dict[str, Any], request_id: str = "", asked: str = "", answer: Any = None) -> None:
        """``append_all`` of one record."""
        self.append_all([Record(stamp_ns, kind, payload, request_id, asked, answer)])

    def append_all(self, records: Sequence[Record]) -> None:
        """On disk when this returns, all of them by one write; none of them where it raises."""
        rows = []
        for record in records:
            texts = (json.dumps(record.payload, separators=(",", ":")), json.dumps(record.answer, separators=(",", ":")))
            row = (record.stamp_ns, record.kind, record.request_id, record.asked, *texts)
            rows.append((*row, _crc(row)))
        try:
            self._database.execute("BEGIN")
            try:
                self._database.executemany(_INSERT, rows)
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # where the error has undone it already
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._error(error) from error

    def reach(self, at_ns: int) -> None:
        """From now on the emulated clock may be read up to ``at_ns``. On disk when this returns."""
        try:
            self._database.execute("UPDATE about SET value = ? WHERE key = 'reached_ns'", (str(at_ns),))
        except sqlite3.Error as error:
            raise self._error(error) from error
        self.reached_ns = at_ns

    def finish(self, at_ns: int, kind: str, digest: str) -> None:
        """The emulation has ended at ``at_ns`` with this digest: ``end`` by itself and for good, ``stop`` to go on another time."""
        self.append(at_ns, kind, {"digest": digest})
        self.reach(at_ns)

    def last(self) -> Input | None:
        """The last record."""
        return next(self._rows(_SELECT + " DESC LIMIT 1"), None)

    def inputs(self) -> Iterator[Input]:
        """All records in order of acceptance."""
        expected = 1
        for row in self._rows(_SELECT):
            if row.sequence != expected:
                raise self._damaged(f"input {expected} is missing")
            expected += 1
            yield row

    def _rows(self, query: str) -> Iterator[Input]:
        try:
            for sequence, *row, crc in self._database.execute(query):
                if _crc(row) != crc:
                    raise self._damaged(f"input {sequence} is not what was written")
                *head, payload, answer = row
                stamp_ns, kind, request_id, asked = head
                yield Input(stamp_ns, kind, json.loads(payload), request_id, asked, json.loads(answer), sequence)
        except (sqlite3.Error, json.JSONDecodeError) as error:
            raise self._error(error) from error

    def close(self) -> None:
        """May be called again."""
        if self._lock is not None:
            with suppress(sqlite3.Error):  # a full disk, or it is closed already
                self._database.execute("UPDATE about SET value = '0' WHERE key = 'open'")
                self._log_is_due = False
            self._shut()
            self._lock.close()
        else:
            self._database.close()
        if self._copied_to is not None:
            self._copied_to.cleanup()

    def _shut(self) -> None:
        """Close the file. SQLite removes a log when nothing is left in it; where it would be missed, an empty one says so."""
        self._database.close()
        with suppress(OSError):
            if self._log_is_due and self._path.exists():
                _log(self._path).touch()


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _present(path: Path) -> bool:
    """Whether there is a journal. Raises JournalError for what is left of one."""
    try:
        if path.exists() and not path.is_file():
            raise JournalError(f"{path} is not a file; allowed: a directory that is new, empty or a journal's")
        if path.exists() and path.stat().st_size == 0:
            raise JournalError(f"{path} is damaged: it is empty; allowed: the file from a backup, or another directory")
        if not path.exists() and _log(path).exists():
            raise JournalError(f"{path} is missing, but its log exists; allowed: the file from a backup, or another directory")
        return path.exists()
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}; allowed: a directory that can be read") from error


def _create(path: Path, session: Recorded) -> None:
    """Make a journal without inputs, whole or not at all."""
    new = path.with_name(path.name + ".new")
    try:
        for name in (new, _log(new)):
            name.unlink(missing_ok=True)
        database = sqlite3.connect(new, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.executescript(_SCHEMA)
            rows = {"format": str(FORMAT), "open": "0", "reached_ns": "-1"} | session.to_text()
            database.executemany("INSERT INTO about VALUES (?, ?)", rows.items())
        finally:
            database.close()
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise JournalError(f"{path}: {reason}; allowed: a directory on a local disk that can be written, with room") from error


def _crc(row: Any) -> int:
    return zlib.crc32("\n".join(map(str, row)).encode())
