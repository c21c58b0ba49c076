"""Options of a trace: which part of it to keep, and how options are checked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from emulator.workload.jobs import SECOND
from emulator.workload.readers.rows import MAX_SECONDS, TraceError

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - traces give local times without a zone; only differences of them are used


@dataclass(frozen=True)
class Window:
    """Submissions in from_ns <= t < until_ns are kept, and counted from ``from_ns``; None is open."""

    from_ns: int | None
    until_ns: int | None

    def outside(self, submit_ns: int) -> str:
        """Why a submission is dropped, or ''."""
        if self.from_ns is not None and submit_ns < self.from_ns:
            return "before from"
        return "at or after until" if self.until_ns is not None and submit_ns >= self.until_ns else ""

    def shift(self, submit_ns: int) -> int:
        return submit_ns - (self.from_ns or 0)


def choice(options: Mapping[str, str], name: str, values: Sequence[str]) -> str:
    """The option, the first of ``values`` by default. Raises TraceError on any other."""
    value = options.get(name, values[0])
    if value not in values:
        raise TraceError(f"trace option {name}={value}", allowed=" or ".join(values))
    return value


def _checked(from_ns: int | None, until_ns: int | None) -> Window:
    if from_ns is not None and until_ns is not None and until_ns <= from_ns:
        raise TraceError("trace option until is not later than from", allowed="until > from")
    return Window(from_ns, until_ns)


def seconds_window(options: Mapping[str, str]) -> Window:
    """``from`` and ``until`` in seconds of the trace's own clock."""

    def nanoseconds(name: str) -> int | None:
        if name not in options:
            return None
        try:
            value = float(options[name])
        except ValueError:
            value = math.nan
        if not 0 <= value <= MAX_SECONDS:
            raise TraceError(f"trace option {name}={options[name]}", allowed=f"seconds from 0 to {MAX_SECONDS}")
        return round(value * SECOND)

    return _checked(nanoseconds("from"), nanoseconds("until"))


def dates_window(options: Mapping[str, str]) -> Window:
    """``from`` and ``until`` as dates, ``2017-10-01`` or ``2017-10-01T12:00:00``; nanoseconds from 1970 in the trace's own time zone."""

    def nanoseconds(name: str) -> int | None:
        if name not in options:
            return None
        when = parse_date(options[name])
        if when is None:
            raise TraceError(f"trace option {name}={options[name]}", allowed="a date such as 2017-10-01 or 2017-10-01T12:00:00")
        return when

    return _checked(nanoseconds("from"), nanoseconds("until"))


def parse_date(text: str) -> int | None:
    """Nanoseconds from 1970-01-01 of a date from 1970 to 2199 without time zone; None where it is not one."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    if when.tzinfo is not None or not 1970 <= when.year < 2200:
        return None
    return (when - EPOCH) // timedelta(microseconds=1) * 1000
