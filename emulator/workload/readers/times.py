"""Times and durations as trace files write them, for all readers.

A time is a date (ISO 8601, with or without a zone) or a number of seconds of the trace's own clock. A date without a zone counts as UTC:
only differences matter, and a trace is written in one zone. A duration is a number, or a clock's reading as Slurm and pandas write it.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from emulator.workload.jobs import SECOND

#: Times beyond this are errors: a century, well inside the 292 years of int64 nanoseconds.
MAX_SECONDS = 100 * 366 * 86_400
#: Units of numbers, in nanoseconds.
UNITS = {"s": SECOND, "ms": 10**6, "us": 10**3, "ns": 1, "min": 60 * SECOND, "h": 3600 * SECOND, "d": 86_400 * SECOND}
#: What stands where there is no value, in small letters.
MISSING = frozenset(("", "none", "null", "nan", "nat", "n/a", "na", "unknown", "-", "\\n"))
DATE_EXAMPLES = "a date such as 2017-10-01, 2017-10-01 12:00:00 or 2017-10-01T12:00:00+01:00"
DURATION_EXAMPLES = "a number, [days-]hours:minutes:seconds or minutes:seconds"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK = re.compile(r"(?:(\d{1,6})(?:-| days?,? ))?(\d{1,9})(?::(\d{1,2}))?(?::(\d{1,2}))?(?:[.](\d{1,9}))?", re.ASCII)
_SPACED_ZONE = re.compile(r"\s+(?=[+-]\d\d:?\d\d$)")


def parse_date(text: str) -> int | None:
    """Nanoseconds from 1970-01-01 UTC of a date from 1970 to 2199; None where it is not one."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(_plain_zone(text))
        except ValueError:
            return None
    if not 1970 <= when.year < 2200:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    nanoseconds = (when - _EPOCH) // timedelta(microseconds=1) * 1000
    return nanoseconds if nanoseconds >= 0 else None


def _plain_zone(text: str) -> str:
    """The zone as ISO 8601 has it: ``... UTC``, ``... GMT`` and a blank before ``+0100`` are as common."""
    text = text.strip()
    if text[-3:].upper() in ("UTC", "GMT"):
        return text[:-3].rstrip() + "Z"
    return _SPACED_ZONE.sub("", text[:-1] + "Z" if text.endswith("z") else text)


def format_date(nanoseconds: int) -> str:
    """The reverse, in UTC."""
    return (_EPOCH + timedelta(microseconds=nanoseconds // 1000)).replace(tzinfo=None).isoformat()


def parse_number(text: str, unit_ns: int = SECOND) -> int | None:
    """``text`` times the unit in nanoseconds, exactly (rounded to one); None where it is no number, or its size is over a century."""
    try:
        value = Decimal(text) * unit_ns if "_" not in text and len(text) <= 64 else Decimal("nan")
    except InvalidOperation:
        return None
    return round(value) if value.is_finite() and abs(value) <= MAX_SECONDS * SECOND else None


def parse_clock(text: str) -> int | None:
    """Nanoseconds of ``4-00:00:00``, ``01:00:00``, ``30:00`` (minutes), ``1-12`` (days, hours) or ``0 days 01:00:00``; None otherwise."""
    match = _CLOCK.fullmatch(text)
    if match is None or (match[1] is None and match[3] is None):
        return None
    days, first, second, third, fraction = match.groups()
    if fraction and third is None and (days is not None or second is None):
        return None  # of hours or of minutes
    if days is None and third is None:
        hours, minutes, seconds = "0", first, second
    else:
        hours, minutes, seconds = first, second or "0", third or "0"
    total = ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
    return total * SECOND + int((fraction or "").ljust(9, "0")) if total <= MAX_SECONDS else None


def parse_duration(text: str, unit_ns: int = SECOND) -> int | None:
    """Nanoseconds of a number of units or a clock's reading; None where it is neither, or negative."""
    value = parse_number(text, unit_ns)
    if value is None:
        return parse_clock(text)
    return value if value >= 0 else None
