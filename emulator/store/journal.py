"""The journal: every input that was accepted, on disk before its sender hears so (SQLite, WAL, synchronous)."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Rises when a journal written before cannot be read any more.
FORMAT = 2

_FILE = "journal.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS input (
    sequence INTEGER PRIMARY KEY,
    stamp_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    request_id TEXT NOT NULL,
    payload TEXT NOT NULL
);
"""


class JournalError(ValueError):
    """A journal that cannot be used, and why."""


@dataclass(frozen=True)
class Input:
    """One accepted input: what, and the cycle in which it acts. The last one of a session that came to its end is an ``end``."""

    sequence: int
    stamp_ns: int
    kind: str
    request_id: str
    payload: dict[str, Any]


class Journal:
    """The journal of one live emulation in a directory of its own.

    ``scenario`` is all that the result depends on besides the inputs: with it the journal is enough to repeat the session. One thread at a
    time may use it. Every method raises JournalError where the file cannot be read or written; opening it also where the directory
    holds the journal of another scenario or version, or (with ``fresh``) one that has inputs already.
    """

    def __init__(self, directory: Path, *, scenario: str, fresh: bool = False) -> None:
        self._path = directory / _FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise self._error(error) from error
        try:
            self._open(scenario, fresh=fresh)
        except BaseException as error:
            self._database.close()
            if isinstance(error, sqlite3.Error):
                raise self._error(error) from error
            raise

    def _open(self, scenario: str, *, fresh: bool) -> None:
        run = self._database.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)
        for key, value in {"format": str(FORMAT), "scenario": scenario}.items():
            held = run("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
            if held is not None and held[0] != value:
                raise JournalError(f"--state: {self._path} is the journal of another {key}; allowed: an empty directory, or the same {key}")
            run("INSERT OR IGNORE INTO about VALUES (?, ?)", (key, value))
        if fresh and (count := len(self)):
            raise JournalError(
                f"--state: {self._path} holds {count} inputs of an earlier session, which cannot go on yet; allowed: an empty directory"
            )

    def _error(self, error: Exception) -> JournalError:
        return JournalError(f"--state: {self._path}: {error}; allowed: a directory that can be written, empty or with a sound journal")

    def __len__(self) -> int:
        try:
            return int(self._database.execute("SELECT count(*) FROM input").fetchone()[0])
        except sqlite3.Error as error:
            raise self._error(error) from error

    def append(self, stamp_ns: int, kind: str, payload: dict[str, Any], request_id: str = "") -> None:
        """On disk when this returns."""
        try:
            self._database.execute(
                "INSERT INTO input (stamp_ns, kind, request_id, payload) VALUES (?, ?, ?, ?)",
                (stamp_ns, kind, request_id, json.dumps(payload, separators=(",", ":"))),
            )
        except sqlite3.Error as error:
            raise self._error(error) from error

    def inputs(self) -> Iterator[Input]:
        """All inputs in order of acceptance."""
        try:
            for sequence, stamp_ns, kind, request_id, payload in self._database.execute("SELECT * FROM input ORDER BY sequence"):
                yield Input(sequence, stamp_ns, kind, request_id, json.loads(payload))
        except (sqlite3.Error, json.JSONDecodeError) as error:
            raise self._error(error) from error

    def close(self) -> None:
        """May be called again."""
        self._database.close()
