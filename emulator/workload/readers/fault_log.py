"""Faults from a CSV file: a script of what is to fail, or a log of what has failed, told apart by the header.

A script has ``time,kind,name`` and optionally ``cause,duration,remaining,flap,every``: times and durations as in a scenario (``2h``) or in
seconds. A log has a node, when it failed and when it was back, under names that such logs have: ``node,start,end``; without an end it did
not come back. A date or a Unix time counts from ``zero``, or from the first failure.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from emulator.workload.jobs import SECOND, SourceReport
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import Columns, Row, Trace, csv_rows, named
from emulator.workload.readers.streams import TraceLimits
from emulator.workload.readers.times import UNITS, format_date, parse_date, parse_number

#: Faults of one file.
MOST_FAULTS = 100_000
#: What logs call a node, its failure and its return.
NODE = ("node", "host", "hostname", "node_name", "node_id", "nodename", "nodenum")
START = ("start", "start_time", "started", "failed", "prob_started", "event_start_time", "timestart")
END = ("end", "end_time", "ended", "stop", "stop_time", "repaired", "prob_fixed", "event_end_time", "timeend")
#: And why. Slurm's own: `sacctmgr -P show event` has NodeName|TimeStart|TimeEnd|...|Reason.
CAUSE = ("cause", "reason", "category")
#: From here on a number is a Unix time (2001).
UNIX_FROM = 10**9 * SECOND

_SCRIPT = Columns(named("time", "kind", "name"), named("cause", "duration", "remaining", "flap", "every"), any_case=True)
_SEPARATORS = ",;\t|"
_UNITS = UNITS | {"m": UNITS["min"]}
_EXAMPLES = "a number of seconds, or one with a unit such as 90m"


@dataclass(frozen=True)
class LoggedFault:
    """One row. ``duration_ns`` None: it says none, 0: it is never over."""

    row: Row
    at_ns: int
    kind: str
    name: str
    cause: str = ""
    duration_ns: int | None = None
    remaining_ratio: float = 0.0
    flap_ns: int = 0
    every_ns: int = 0


def read_faults(path: str | Path, zero: str | None = None) -> tuple[list[LoggedFault], SourceReport]:
    """The faults of the file in order of time, those of one instant as they stand there. Raises TraceError naming file, line and column."""
    trace = Trace(Path(path), TraceLimits(), skip_bad_rows=False, sort=True, report=SourceReport(path=str(path), format="faults"))
    header = next((text.lower() for _, text in trace.lines() if text.strip()), "")
    names = _names(header)
    found: list[LoggedFault] = []
    for fault in _scripted(trace) if "time" in names else _logged(trace, names):
        if len(found) == MOST_FAULTS:
            raise fault.row.error("", f"more than {MOST_FAULTS:,} faults", f"at most {MOST_FAULTS:,} in one file")
        found.append(fault)
    kept = list(_from(trace, found, zero))
    trace.report.kept = len(kept)
    return sorted(kept, key=lambda fault: fault.at_ns), trace.report


def _rows(trace: Trace, columns: Columns) -> Iterator[Row]:
    for row in csv_rows(trace, columns, separators=_SEPARATORS):
        if isinstance(row, TraceError):
            raise row
        yield row


def _scripted(trace: Trace) -> Iterator[LoggedFault]:
    for row in _rows(trace, _SCRIPT):
        given = {word: not row.missing(word) for word in _SCRIPT.optional}
        duration_ns = _time(row, "duration") if given["duration"] else None
        if duration_ns == 0:
            raise row.error("duration", "a fault lasts for no time", "more than 0")
        yield LoggedFault(
            row,
            _time(row, "time"),
            row.fields["kind"].lower().replace("-", "_"),
            row.fields["name"],
            row.fields["cause"] if given["cause"] else "",
            duration_ns,
            row.number("remaining", 0.0, 1.0) if given["remaining"] else 0.0,
            _time(row, "flap") if given["flap"] else 0,
            _time(row, "every") if given["every"] else 0,
        )


def _names(header: str) -> list[str]:
    """The columns of a header in small letters."""
    separator = max(_SEPARATORS, key=header.count)
    return [name.strip() for name in header.split(separator)]


def _logged(trace: Trace, names: list[str]) -> Iterator[LoggedFault]:
    def called(words: tuple[str, ...]) -> str:
        return next((word for word in words if word in names), words[0])

    columns = Columns(
        {"node": called(NODE), "start": called(START)},
        {"end": called(END), "cause": called(CAUSE)},
        any_case=True,
        hint="; or a script: time,kind,name",
    )
    for row in _rows(trace, columns):
        if row.missing("node"):
            trace.drop("of no node")
            continue
        at_ns = _time(row, "start")
        duration_ns = 0 if row.missing("end") else _time(row, "end") - at_ns
        if duration_ns <= 0 and not row.missing("end"):
            raise row.error("end", f"{row.fields['end'][:40]!r} is not after the start", "a time after the start, or none")
        yield LoggedFault(row, at_ns, "host", row.fields["node"], "" if row.missing("cause") else row.fields["cause"], duration_ns)


def _time(row: Row, word: str) -> int:
    """A number of seconds, one with a unit, or a date."""
    text = row.fields[word]
    found = parse_number(text)
    if found is None:
        found = parse_date(text)
    if found is None:
        unit = text.lstrip("0123456789.")
        found = parse_number(text.removesuffix(unit), _UNITS[unit]) if unit in _UNITS else None
    if found is None or found < 0:
        raise row.error(word, f"{text[:40]!r} is not a time", f"{_EXAMPLES}, or a date")
    return found


def _from(trace: Trace, found: list[LoggedFault], zero: str | None) -> Iterator[LoggedFault]:
    """The faults with times from the start; those that were over by then are left out."""
    zero_ns = 0
    if zero is not None:
        when = parse_date(zero)
        when = parse_number(zero) if when is None else when
        if when is None or when < 0:
            raise TraceError(f"script_from is {zero!r:.60}", allowed="a date such as 2017-10-01, or Unix seconds")
        zero_ns = when
    elif found and (first_ns := min(fault.at_ns for fault in found)) >= UNIX_FROM:
        zero_ns = first_ns
        trace.report.notes.append(f"time counts from {format_date(zero_ns)}, the first failure; faults.script_from says otherwise")
    trace.report.zero_seconds = zero_ns / SECOND
    for fault in found:
        at_ns, duration_ns = fault.at_ns - zero_ns, fault.duration_ns
        if at_ns < 0 and duration_ns:
            duration_ns = max(0, duration_ns + at_ns)
        if at_ns < 0 and not duration_ns and fault.duration_ns != 0:
            trace.drop("over before the start")
        else:
            yield replace(fault, at_ns=max(0, at_ns), duration_ns=duration_ns)
