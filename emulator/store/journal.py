"""The journal: every input that was accepted, on disk before its sender hears so (SQLite, WAL, synchronous)."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Rises when a journal written before cannot be read any more.
FORMAT = 1

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
    """One accepted input: what, and the cycle in which it acts."""

    sequence: int
    stamp_ns: int
    kind: str
    request_id: str
    payload: dict[str, Any]


class Journal:
    """The journal of one live emulation in a directory of its own.

    One thread at a time may use it. Raises JournalError where the directory holds the journal of another scenario, or of another version.
    """

    def __init__(self, directory: Path, *, scenario: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "journal.sqlite"
        try:
            self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise JournalError(f"--state: {self._path}: {error}") from error
        about = {"format": str(FORMAT), "scenario": scenario}
        for key, value in about.items():
            held = self._database.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
            if held is not None and held[0] != value:
                self.close()
                raise JournalError(f"--state: {self._path} is the journal of another {key}; allowed: an empty directory, or the same {key}")
            self._database.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (key, value))

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM input").fetchone()[0])

    def append(self, stamp_ns: int, kind: str, payload: dict[str, Any], request_id: str = "") -> None:
        """On disk when this returns."""
        self._database.execute(
            "INSERT INTO input (stamp_ns, kind, request_id, payload) VALUES (?, ?, ?, ?)",
            (stamp_ns, kind, request_id, json.dumps(payload, separators=(",", ":"))),
        )

    def inputs(self) -> Iterator[Input]:
        """All inputs in order of acceptance."""
        for sequence, stamp_ns, kind, request_id, payload in self._database.execute("SELECT * FROM input ORDER BY sequence"):
            yield Input(sequence, stamp_ns, kind, request_id, json.loads(payload))

    def close(self) -> None:
        self._database.close()
