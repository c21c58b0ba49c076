"""What a journal says of its session: all that the result depends on besides the inputs."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emulator.store.errors import JournalError

#: Parts of a scenario that change no result: where it runs and how fast, what it is called, how fine its metrics are. Files are compared
#: by what is in them, wherever they are.
_NO_MATTER = (
    *(("runtime",), ("clock", "speed"), ("clock", "until"), ("description",), ("assumptions",), ("telemetry", "detail")),
    *(("workload", "path"), ("cluster", "path"), ("cluster", "parts", "*", "path")),
    ("services", "*", "requests", "path"),
)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class FileMark:
    """A file that the scenario reads, and what was in it."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Recorded:
    """``scenario`` is all of it, as JSON, its files named from the root. ``until_ns`` None: ends with its work or, ``endless``, never."""

    scenario: Mapping[str, Any]
    until_ns: int | None
    endless: bool
    files: tuple[FileMark, ...]
    version: str
    source: str

    def to_text(self) -> dict[str, str]:
        """As rows of a key and a JSON text."""
        return {key: json.dumps(value) for key, value in asdict(self).items()}

    @classmethod
    def from_text(cls, rows: Mapping[str, str]) -> "Recorded":
        """The reverse. Raises KeyError, TypeError or ValueError for rows that are none."""
        values = {key: json.loads(rows[key]) for key in cls.__dataclass_fields__}
        return cls(**values | {"files": tuple(FileMark(**mark) for mark in values["files"])})

    def difference(self, now: "Recorded") -> str | None:
        """The first thing that differs in ``now`` and could change the result, as a clause; None where nothing does."""
        before, after = dict(_flat(self.scenario)), dict(_flat(now.scenario))
        for key in [*before, *(key for key in after if key not in before)]:
            if before.get(key) != after.get(key) and not any(_matches(key, rule) for rule in _NO_MATTER):
                return f"{'.'.join(key)} was {_shown(before, key)} and is now {_shown(after, key)}"
        if (self.until_ns, self.endless) != (now.until_ns, now.endless):
            return f"its end was {_end(self)} and is now {_end(now)}"
        for old, new in zip(self.files, now.files, strict=False):
            if (old.size, old.sha256) != (new.size, new.sha256):
                return f"the file {new.path} {_change(old, new)}"
        return None

    def other_program(self, version: str, source: str) -> str | None:
        """A sentence where another version of gigawatt, or changed source, wrote the journal: it may come to another result."""
        if (self.version, self.source) == (version, source):
            return None
        written = f"gigawatt {self.version}" if self.version != version else f"other sources of gigawatt {self.version}"
        return f"it was written by {written}, so what is repeated may come out differently"


def recorded(scenario: Mapping[str, Any], files: list[Path], *, until_ns: int | None, endless: bool, code: tuple[str, str]) -> Recorded:
    """What is to be written of a session, by a program of this ``code`` (version, hash). Raises JournalError for an unreadable file."""
    return Recorded(scenario, until_ns, endless, tuple(_mark(path) for path in files), *code)


def check_files(written: Recorded) -> None:
    """Raises JournalError where a file that the session read is gone or has changed."""
    for old in written.files:
        new = _mark(Path(old.path))
        if (old.size, old.sha256) != (new.size, new.sha256):
            raise JournalError(f"the file {old.path} {_change(old, new)}; allowed: the file as it was")


def _change(old: FileMark, new: FileMark) -> str:
    sizes = f": it had {old.size:,} bytes and has {new.size:,}" if old.size != new.size else ""
    return f"has changed since the session began{sizes}"


def _mark(path: Path) -> FileMark:
    if not path.is_file():
        raise JournalError(f"{path}: {'not a file' if path.exists() else 'no such file'}; allowed: the file that the session reads")
    total, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while part := file.read(_CHUNK):
                total.update(part)
                size += len(part)
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error
    return FileMark(str(path.absolute()), size, total.hexdigest())


def _flat(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every single value of nested mappings and lists, by its path."""
    if isinstance(value, Mapping | list | tuple) and value:
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _flat(inner, (*place, str(key)))
    else:
        yield place, value


def _matches(key: tuple[str, ...], rule: tuple[str, ...]) -> bool:
    return len(key) >= len(rule) and all(part in ("*", step) for step, part in zip(key, rule, strict=False))


def _shown(values: Mapping[tuple[str, ...], Any], key: tuple[str, ...]) -> str:
    return f"{values[key]!r:.80}" if key in values else "not there"


def _end(session: Recorded) -> str:
    if session.until_ns is not None:
        return f"{session.until_ns / 1e9:g} s (--until)"
    return "open (no --until)" if session.endless else "that of its work"
