"""Rows of a trace file: opened, decompressed, numbered and checked, so that every complaint names its file, line and field."""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from emulator.workload.jobs import ANY_TYPE, API_FIRST_ID, SECOND, JobColumns, JobSource, SourceReport, job_columns
from topology.catalog import HostType

#: Times beyond this are taken for garbage: a century, well inside the 292 years of int64 nanoseconds.
MAX_SECONDS = 100 * 366 * 86_400
#: No cluster has more: what a row may ask for at most.
MAX_GPUS = 100_000_000
#: The largest id of a job from a trace.
MAX_ID = API_FIRST_ID - 1


class TraceError(ValueError):
    """A trace that cannot be read: what is wrong, where, and what is allowed there."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: str = "", allowed: str = "") -> None:
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(place + (f"{column}: " if column else "") + message + (f" (allowed: {allowed})" if allowed else ""))
        self.file, self.line, self.column, self.allowed = file, line, column, allowed


@dataclass(frozen=True)
class TraceLimits:
    """How much of a file is held at once."""

    chunk_rows: int = 8_192
    line_bytes: int = 65_536


@dataclass
class Trace:
    """One open trace: where it is read from, what was asked, and what has been kept and dropped so far."""

    path: Path
    limits: TraceLimits
    skip_bad_rows: bool
    sort: bool
    host_types: Sequence[HostType] = ()  # of the cluster that the jobs are for
    report: SourceReport = field(default_factory=SourceReport)

    def error(self, message: str, line: int = 0, column: str = "", allowed: str = "") -> TraceError:
        return TraceError(message, file=str(self.path), line=line, column=column, allowed=allowed)

    def drop(self, reason: str) -> None:
        self.report.dropped[reason] = self.report.dropped.get(reason, 0) + 1

    def note(self, what: str) -> None:
        """Count a job that is kept, of which ``what`` is to be said."""
        self.report.noted[what] = self.report.noted.get(what, 0) + 1


@dataclass(frozen=True)
class Row:
    """The fields of one line by column, with checked conversions."""

    trace: Trace
    line: int
    fields: Mapping[str, str]

    def error(self, column: str, message: str, allowed: str) -> TraceError:
        return self.trace.error(message, self.line, column, allowed)

    def number(self, column: str, low: float, high: float, *, whole: bool = False) -> float:
        """The field as a finite number in low..high, a whole one if asked ('8.0' is whole)."""
        text = self.fields[column]
        try:
            value = math.nan if "_" in text else float(text)
        except ValueError:
            value, wrong = math.nan, "is not a number"
        else:
            wrong = "is out of range"
        if low <= value <= high and not (whole and value != math.floor(value)):
            return value
        allowed = f"a {'whole ' if whole else ''}number from {low:.15g} to {high:.15g}"
        raise self.error(column, f"{text[:40]!r} {wrong}", allowed)

    def integer(self, column: str, low: int, high: int, otherwise: str = "") -> int:
        """The field as an integer in low..high; exact also where a float would not be. ``otherwise``: what else is allowed."""
        text = self.fields[column]
        try:
            value = int(text) if len(text) <= 20 and "_" not in text else high + 1
        except ValueError:
            return int(self.number(column, low, high, whole=True))
        if not low <= value <= high:
            raise self.error(column, f"{text[:40]!r} is out of range", f"a whole number from {low} to {high}{otherwise}")
        return value

    def nanoseconds(self, column: str, low: float = 0.0) -> int:
        """Seconds, at least ``low``, as nanoseconds: exactly, where they are written as decimals without exponent."""
        seconds = self.number(column, low, MAX_SECONDS)
        whole, _, fraction = self.fields[column].partition(".")
        if whole.isdecimal() and (not fraction or fraction.isdecimal()):
            return int(whole) * SECOND + round(int(fraction[:18].ljust(18, "0")) / SECOND)
        return int(seconds) * SECOND + round((seconds - int(seconds)) * SECOND)


class Interned:
    """Names by number, in order of first appearance; ``names`` only ever grows, so numbers keep their meaning from batch to batch."""

    def __init__(self, *first: str) -> None:
        self._numbers = {name: number for number, name in enumerate(first)}

    def __getitem__(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._numbers)


@dataclass(frozen=True)
class Kept:
    """One job of a trace; what a format does not know stays at its default."""

    submit_ns: int
    gpus: int
    duration_ns: int
    estimate_ns: int
    job_id: int | None = None  # None: numbered in the order read
    milli_gpus: int = 1000
    priority: int = 0
    queue: int = 0
    tenant: int = 0
    preemptible: bool = True
    name: str = ""
    host_type: int = ANY_TYPE


#: Turns a row into a job, or says why it is dropped. Raises TraceError on a malformed one.
Parse = Callable[[Row], Kept | str]


def lines(trace: Trace) -> Iterator[tuple[int, str]]:
    """Lines of a plain or gzip text file with their numbers from 1. Raises TraceError for anything that is not such a file."""
    try:
        with trace.path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if compressed else raw
            number = 0
            while line := stream.readline(trace.limits.line_bytes + 1):
                number += 1
                if len(line) > trace.limits.line_bytes:
                    raise trace.error("the line is too long", number, allowed=f"at most {trace.limits.line_bytes} bytes")
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    raise trace.error("not text", number, allowed="UTF-8 text, plain or gzip") from None
                if "\0" in text:
                    raise trace.error("not text: a NUL byte", number, allowed="UTF-8 text, plain or gzip")
                yield number, text
    except (EOFError, zlib.error, gzip.BadGzipFile) as damage:
        raise trace.error(f"damaged gzip: {damage}") from None
    except OSError as failure:
        raise trace.error(f"cannot be read: {failure.strerror or failure}") from None


def csv_rows(trace: Trace, required: Sequence[str], optional: Sequence[str] | None = ()) -> Iterator[Row | TraceError]:
    """Rows of a CSV whose header names every ``required`` column; others must be ``optional``, where that is not None.

    A row that does not match the header comes out as the error, for the caller to raise or count. Blank lines are passed over.
    """
    numbered = lines(trace)
    line, text = next(((line, text) for line, text in numbered if text.strip()), (0, ""))
    allowed = ",".join(required) + ("" if not optional else f", and optionally {','.join(optional)}")
    if not line:
        raise trace.error("the file is empty", allowed=f"a header {allowed}, then a row per job")
    header = [name.strip() for name in _split(trace, line, text)]
    for name in required:
        if name not in header:
            raise trace.error("the header lacks this column", line, name, allowed)
    for name in header:
        if optional is not None and name not in required and name not in optional:
            raise trace.error("no such column", line, name or "(empty)", allowed)
        if header.count(name) > 1:
            raise trace.error("the column is there twice", line, name or "(empty)", "every column once")
    for line, text in numbered:
        if not text.strip():
            continue
        try:
            values = _split(trace, line, text)
            if len(values) != len(header):
                raise trace.error(f"{len(values)} fields", line, allowed=f"{len(header)} fields, as in the header")
            yield Row(trace, line, {name: value.strip() for name, value in zip(header, values, strict=True)})
        except TraceError as error:
            yield error


def _split(trace: Trace, line: int, text: str) -> list[str]:
    if '"' not in text:
        return text.rstrip("\r\n").split(",")
    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration) as error:
        raise trace.error(f"not a CSV row: {error}", line, allowed="fields separated by commas, quotes closed on the line") from None


def job_batches(
    trace: Trace, rows: Iterator[Row | TraceError], parse: Parse, queues: Interned, tenants: Interned, *, rebase: bool = False
) -> JobSource:
    """Parsed rows as batches in order of submission; the report of ``trace`` grows with every batch handed out.

    Sorted input is streamed a chunk at a time. With ``trace.sort`` everything is read first (stable by submission); otherwise a
    row that goes back in time is an error. ``rebase`` counts the time from the first job kept.
    """
    batch: list[Kept] = []
    first_ns, last_ns, last_id = None if rebase else 0, -(2**63), -1

    def handed_out(jobs: list[Kept]) -> JobColumns:
        nonlocal first_ns
        first_ns = jobs[0].submit_ns if first_ns is None else first_ns
        before = trace.report.kept
        trace.report.kept += len(jobs)
        return _columns(jobs, before, first_ns, (queues.names, tenants.names))

    for row in rows:
        try:
            if isinstance(row, TraceError):
                raise row
            job = parse(row)
            if isinstance(job, str):
                trace.drop(job)
                continue
            if job.job_id is not None and job.job_id <= last_id:
                raise row.error("id", f"{job.job_id} after {last_id}", "ids that rise from row to row, or the option ids=renumber")
            if not trace.sort and job.submit_ns < last_ns:
                raise row.error("submission", "earlier than the row before", "rows in order of submission, or the option sort=yes")
        except TraceError:
            if not trace.skip_bad_rows:
                raise
            trace.drop("malformed")
            continue
        last_ns = job.submit_ns
        last_id = last_id if job.job_id is None else job.job_id
        batch.append(job)
        if len(batch) >= trace.limits.chunk_rows and not trace.sort:
            yield handed_out(batch)
            batch = []
    batch.sort(key=lambda job: job.submit_ns)
    for start in range(0, len(batch), trace.limits.chunk_rows):
        yield handed_out(batch[start : start + trace.limits.chunk_rows])
    if not trace.report.kept:
        dropped = ", ".join(f"{count} {reason}" for reason, count in trace.report.dropped.items())
        raise trace.error("no job in it" + (f": dropped {dropped}" if dropped else ""), allowed="at least one job")


def _columns(jobs: list[Kept], read: int, first_ns: int, names: tuple[tuple[str, ...], tuple[str, ...]]) -> JobColumns:
    numbered = jobs[0].job_id is not None
    return job_columns(
        len(jobs),
        job_id=[job.job_id for job in jobs] if numbered else np.arange(read, read + len(jobs)),
        submit_ns=[job.submit_ns - first_ns for job in jobs],
        gpus=[job.gpus for job in jobs],
        duration_ns=[job.duration_ns for job in jobs],
        estimate_ns=[job.estimate_ns for job in jobs],
        milli_gpus=[job.milli_gpus for job in jobs],
        priority=[job.priority for job in jobs],
        queue=[job.queue for job in jobs],
        tenant=[job.tenant for job in jobs],
        preemptible=[job.preemptible for job in jobs],
        host_type=[job.host_type for job in jobs],
        queues=names[0],
        tenants=names[1],
        names=tuple(job.name for job in jobs) if any(job.name for job in jobs) else None,
    )
