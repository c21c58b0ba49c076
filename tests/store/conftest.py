"""Directories of state as sessions and crashes leave them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from emulator.store.journal import Journal
from emulator.store.recorded import Recorded, recorded

SESSION = recorded({"name": "a", "seed": 1}, [], until_ns=None, endless=True, code=("1.0", "abc"))


@dataclass
class Other:
    """The session of another seed."""

    session = replace(SESSION, scenario={"name": "a", "seed": 2})


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[..., Journal]]:
    """Opens journals to write in, and closes what is still open."""
    opened: list[Journal] = []

    def make(directory: Path = tmp_path / "state", session: Recorded = SESSION) -> Journal:
        opened.append(Journal.keep(directory, session))
        return opened[-1]

    yield make
    for journal in opened:
        journal.close()


@pytest.fixture
def crashed(keep: Callable[..., Journal], tmp_path: Path) -> Path:
    """A directory with two inputs, the second in the log alone, as a process leaves it that was killed."""
    journal = keep()
    journal.append(10, "cancel", {"job_id": 7}, "r1", "f00", {"told": 1})
    journal._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal.append(20, "cancel", {"job_id": 8})
    directory = tmp_path / "crashed"
    directory.mkdir()
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        (directory / name).write_bytes((tmp_path / "state" / name).read_bytes())
    journal.close()
    return directory
