"""Rows of a trace file, numbered and checked, so that every error names its file, line and field."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from emulator.workload.gpu_models import matching
from emulator.workload.jobs import ANY_TYPE, API_FIRST_ID, SECOND, SourceReport
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.streams import TraceLimits, lines
from emulator.workload.readers.times import (
    DATE_EXAMPLES,
    DURATION_EXAMPLES,
    MAX_SECONDS,
    MISSING,
    parse_clock,
    parse_date,
    parse_duration,
    parse_number,
)
from topology.catalog import HostType

#: Most GPUs that a row may ask for: no cluster has more.
MAX_GPUS = 100_000_000
#: The largest id of a job from a trace.
MAX_ID = API_FIRST_ID - 1


@dataclass
class Trace:
    """One open trace: where it is read from, what was asked, and what has been kept and dropped so far."""

    path: Path
    limits: TraceLimits
    skip_bad_rows: bool
    sort: bool
    renumber: bool = False  # ids are names only, and may repeat
    host_types: Sequence[HostType] = ()  # of the cluster that the jobs are for
    dates: bool = False  # its clock is the calendar
    report: SourceReport = field(default_factory=SourceReport)

    def error(self, message: str, line: int = 0, column: str = "", allowed: str = "") -> TraceError:
        return TraceError(message, file=str(self.path), line=line, column=column, allowed=allowed)

    def lines(self) -> Iterator[tuple[int, str]]:
        return lines(self.path, self.limits)

    def drop(self, reason: str) -> None:
        self.report.dropped[reason] = self.report.dropped.get(reason, 0) + 1

    def note(self, what: str) -> None:
        """Count a kept job under the note ``what``."""
        self.report.noted[what] = self.report.noted.get(what, 0) + 1

    def host_type(self, models: Iterable[str]) -> int:
        """The host type of the first of ``models`` that the cluster has; ANY_TYPE where it has none."""
        named = [model for model in models if model]
        found = [number for model in named for number in matching(self.host_types, model)]
        if named and not found:
            self.note("kept for any GPU, since the cluster has none of the models that they ask for")
        return found[0] if found else ANY_TYPE


class Row:
    """The fields of one row by the reader's word for them, with checked conversions.

    ``source_row`` is what leads back to the input: the line, in a JSON file the number of the object, both from 1. ``columns`` says how the
    file calls a field, where that differs.
    """

    __slots__ = ("columns", "fields", "line", "source_row", "trace")

    def __init__(self, trace: Trace, line: int, fields: Mapping[str, Any], columns: Mapping[str, str] = {}, source_row: int = 0) -> None:
        self.trace, self.line, self.fields, self.columns = trace, line, fields, columns
        self.source_row = source_row or line

    def error(self, word: str, message: str, allowed: str) -> TraceError:
        return self.trace.error(message, self.line, self.columns.get(word, word), allowed)

    def missing(self, word: str) -> bool:
        """Whether the field has no value: empty, None, Unknown, NaN and the like."""
        return self.fields.get(word, "").lower() in MISSING

    def number(self, word: str, low: float, high: float, *, whole: bool = False, otherwise: str = "") -> float:
        """The field as a finite number in low..high, a whole one if asked ('8.0' is whole). ``otherwise``: what else is allowed."""
        text = self.fields[word]
        try:
            value = math.nan if "_" in text else float(text)
        except ValueError:
            value, wrong = math.nan, "is not a number"
        else:
            wrong = "is out of range"
        if low <= value <= high and not (whole and value != math.floor(value)):
            return value
        allowed = f"a {'whole ' if whole else ''}number from {low:.15g} to {high:.15g}{otherwise}"
        raise self.error(word, f"{text[:40]!r} {wrong}", allowed)

    def integer(self, word: str, low: int, high: int, otherwise: str = "") -> int:
        """The field as an integer in low..high; exact also where a float would not be. ``otherwise``: what else is allowed."""
        text = self.fields[word]
        try:
            value = int(text) if len(text) <= 20 and "_" not in text else high + 1
        except ValueError:
            return int(self.number(word, low, high, whole=True, otherwise=otherwise))
        if not low <= value <= high:
            raise self.error(word, f"{text[:40]!r} is out of range", f"a whole number from {low} to {high}{otherwise}")
        return value

    def nanoseconds(self, word: str, low: float = 0.0) -> int:
        """Seconds, at least ``low``, as nanoseconds: exactly, where they are written as decimals without exponent."""
        text = self.fields[word]
        if len(text) < 10 and text.isdecimal() and low <= 0:  # most are, and none of so few digits is too large
            return int(text) * SECOND
        seconds = self.number(word, low, MAX_SECONDS)
        whole, _, fraction = text.partition(".")
        if whole.isdecimal() and (not fraction or fraction.isdecimal()):
            return int(whole) * SECOND + round(int(fraction[:18].ljust(18, "0")) / SECOND)
        return int(seconds) * SECOND + round((seconds - int(seconds)) * SECOND)

    def date(self, word: str) -> int:
        """A date, or Unix seconds, as nanoseconds from 1970 UTC."""
        text = self.fields[word]
        when = parse_date(text)
        if when is None:
            when = parse_number(text)
        if when is None or when < 0:
            raise self.error(word, f"{text[:40]!r} is not a date", f"{DATE_EXAMPLES}, or Unix seconds")
        return when

    def duration(self, word: str, unit_ns: int = SECOND) -> int:
        """A number of units, or a clock's reading, as nanoseconds."""
        text = self.fields[word]
        value = parse_duration(text, unit_ns)
        if value is None:
            wrong = "is not a duration" if parse_number(text) is None and parse_clock(text) is None else "is out of range"
            raise self.error(word, f"{text[:40]!r} {wrong}", f"{DURATION_EXAMPLES}, up to a century")
        return value


class Interned:
    """Names by number, in order of first appearance; ``names`` only ever grows, so numbers keep their meaning from batch to batch."""

    def __init__(self, *first: str) -> None:
        self._numbers = {name: number for number, name in enumerate(first)}

    def __getitem__(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._numbers)


def named(*columns: str) -> dict[str, str]:
    """Columns that the reader calls as the file does."""
    return dict(zip(columns, columns, strict=True))


@dataclass(frozen=True)
class Columns:
    """The columns of a format: by the reader's word, what the header calls them; ``unread`` are known, and not worth a note."""

    required: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    any_case: bool = False  # capitals in the header mean nothing
    hint: str = ""  # what else is allowed if one is missing

    @property
    def allowed(self) -> str:
        optional = f", and optionally {','.join(self.optional.values())}" if self.optional else ""
        return ",".join(self.required.values()) + optional + self.hint

    def places(self, trace: Trace, line: int, header: Sequence[str]) -> dict[str, int]:
        """Where each word stands in the header; unknown columns are skipped with a note. Raises TraceError."""
        seen = [name.lower() for name in header] if self.any_case else list(header)
        for name in seen:
            if seen.count(name) > 1:
                raise trace.error("the column appears twice", line, name or "(empty)", "every column once")
        where = {name: place for place, name in enumerate(seen)}
        found: dict[str, int] = {}
        for word, column in (*self.required.items(), *self.optional.items()):
            place = where.get(column.lower() if self.any_case else column)
            if place is not None:
                found[word] = place
            elif word in self.required:
                raise trace.error("the header lacks this column", line, column, f"{self.allowed}; given: {','.join(header)[:200]}")
        known = {seen[place] for place in found.values()} | {name.lower() if self.any_case else name for name in self.unread}
        unknown = [name or "(empty)" for name, spelled in zip(header, seen, strict=True) if spelled not in known]
        self._note_unknown(trace, unknown, list(self.optional.values()))
        return found

    @staticmethod
    def _note_unknown(trace: Trace, unknown: Sequence[str], ours: Sequence[str]) -> None:
        if not unknown:
            return
        shown = []
        for given in unknown:
            name = given[:40] if given.isprintable() else repr(given[:40])
            close = get_close_matches(name, [column for column in ours if column not in unknown], n=1, cutoff=0.8)
            shown.append(f"{name} (did you mean {close[0]}?)" if close else name)
        more = f" and {len(shown) - 30} more" if len(shown) > 30 else ""
        trace.report.notes.append(f"columns not read: {', '.join(shown[:30])}{more}")


def csv_rows(trace: Trace, columns: Columns, separators: str = ",") -> Iterator[Row | TraceError]:
    """Rows of a table of text whose header names every required column; the separator is that of ``separators`` that the header has most.

    A row that does not match the header comes out as the error, for the caller to raise or count. Blank lines are skipped.
    """
    numbered = trace.lines()
    line, text = next(((line, text) for line, text in numbered if text.strip()), (0, ""))
    if not line:
        raise trace.error("the file is empty", allowed=f"a header {columns.allowed}, then a row per job")
    separator = max(separators, key=text.count)
    header = [name.strip() for name in _split(trace, line, text, separator)]
    width = len(header)
    if separator == "|" and width > 1 and not header[-1]:  # `sacct -p` ends every row with the separator
        header.pop()
    where = columns.places(trace, line, header)
    words, places = tuple(where), tuple(where.values())
    called = {word: header[place] for word, place in where.items()}
    for line, text in numbered:
        if not text.strip():
            continue
        try:
            values = _split(trace, line, text, separator)
            if len(values) != width:
                raise trace.error(f"{len(values)} fields", line, allowed=f"{width} fields, as in the header")
            yield Row(trace, line, {word: values[place].strip() for word, place in zip(words, places, strict=True)}, called)
        except TraceError as error:
            yield error


def _split(trace: Trace, line: int, text: str, separator: str) -> list[str]:
    if '"' not in text or separator == "|":  # Slurm quotes nothing
        return text.rstrip("\r\n").split(separator)
    try:
        return next(csv.reader([text], strict=True, delimiter=separator))
    except (csv.Error, StopIteration) as error:
        raise trace.error(f"not a CSV row: {error}", line, allowed="fields separated by commas, quotes closed on the line") from None
