"""Lines of Slurm's configuration files: ``Key=value`` pairs, ``#`` for comments, a backslash at the end for a line that goes on."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from topology.formats.errors import FormatError

#: A value is quoted, or without blanks; it may be missing, as in what ``scontrol show topology`` prints.
_PAIR = re.compile(r'([A-Za-z_]+)\s*=\s*("[^"]*"|(?![A-Za-z_]+\s*=)[^\s"]*)(?=\s|$)')


class Record(NamedTuple):
    """One line's keys, in small letters and in its order, and values."""

    line: int
    values: dict[str, str]
    written: dict[str, str]  # the keys as they are written


def records(text: str, source: str) -> Iterator[Record]:
    """All lines that say something. Raises FormatError for a line that is not of pairs."""
    for number, line in logical_lines(text):
        record = pairs(line, source, number)
        if record.values:
            yield record


def pairs(line: str, source: str, number: int) -> Record:
    """Raises FormatError."""
    values: dict[str, str] = {}
    written: dict[str, str] = {}
    rest = line.strip()
    while rest:
        match = _PAIR.match(rest)
        if not match:
            raise FormatError(f"{rest[:40]!r} is not of the form Key=value", source, number)
        key = match[1].lower()
        if key in values:
            raise FormatError(f"{match[1]} is given twice", source, number)
        values[key], written[key] = match[2].strip('"'), match[1]
        rest = rest[match.end() :].lstrip()
    return Record(number, values, written)


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of the first, text) of lines without comments, continued ones joined."""
    joined: list[str] = []
    first = 1
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.partition("#")[0].rstrip()
        first = first if joined else number
        joined.append(content.removesuffix("\\"))
        if not content.endswith("\\"):
            yield first, " ".join(joined)
            joined = []
    if joined:
        yield first, " ".join(joined)
