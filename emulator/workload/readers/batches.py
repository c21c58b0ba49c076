"""From rows to batches of jobs: the part that all formats share."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from emulator.workload.jobs import ANY_LEVEL, ANY_TYPE, NO_WISH, SECOND, Dependency, JobColumns, JobSource, Locality, Recovery, job_columns
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import MAX_ID, Interned, Row, Trace
from emulator.workload.readers.times import format_date
from emulator.workload.readers.window import Window

#: Reasons to leave out a row that several formats share.
NO_GPU = "no GPU"
NEVER_STARTED = "never started"
STILL_RUNNING = "had not ended, so its running time is unknown"
ZERO_DURATION = "zero duration"
UNKNOWN_DURATION = "unknown running time"
NO_SUBMISSION = "no submission time"
OTHER_CLUSTER = "other virtual cluster"
NOT_BEFORE = "depends on a job that is not before it among those kept"


class Kept(NamedTuple):
    """One job of a trace; what a format does not know stays at its default. Submission is by the trace's own clock."""

    source_row: int
    submit_ns: int
    gpus: int
    duration_ns: int
    estimate_ns: int
    name: str = ""
    job_id: int | None = None  # None: numbered in the order of submission
    milli_gpus: int = 1000
    priority: int = 0
    queue: int = 0
    tenant: int = 0
    preemptible: bool = True
    host_type: int = ANY_TYPE
    slice_gpus: int = 0
    slice_level: int = ANY_LEVEL
    locality: Locality = NO_WISH
    deadline_ns: int = 0  # after the submission; 0: none
    min_gpus: int = 0
    key: str = ""  # its id as the file has it, where others may name it
    after: tuple[str, ...] = ()  # ids, as the file has them, of the jobs that must have finished before
    reservation: str = ""  # whose hosts it uses
    checkpoint_ns: int = 0  # as in JobColumns
    recovery: int = Recovery.DEFAULT


#: Turns a row into a job, or says why it is dropped. Raises TraceError on a malformed one.
Parse = Callable[[Row], Kept | str]


class _Intake:
    """Takes in rows: parses them, checks them against the rows before, and counts those that are left out."""

    def __init__(self, trace: Trace, parse: Parse, window: Window, id_word: str) -> None:
        self._trace, self._parse, self._id_word = trace, parse, id_word
        self._outside = None if window.from_ns is None and window.until_ns is None else window.outside
        self._lines_of: dict[int | str, int] = {}
        self._last_ns = -(2**63)

    def take(self, row: Row | TraceError) -> Kept | None:
        """The job of a row; None where there is none to keep. Raises TraceError, unless malformed rows are to be skipped."""
        trace = self._trace
        try:
            if isinstance(row, TraceError):
                raise row
            job = self._parse(row)
            reason = job if isinstance(job, str) else self._left_out(job)
            if not reason and isinstance(job, Kept):
                self._check(row, job)
                return job
        except TraceError:
            if not trace.skip_bad_rows:
                raise
            reason = "malformed"
        trace.drop(reason)
        return None

    def _left_out(self, job: Kept) -> str:
        reason = self._outside(job.submit_ns) if self._outside else ""
        return reason or ("" if job.gpus else NO_GPU) or ("" if job.duration_ns else ZERO_DURATION)

    def _check(self, row: Row, job: Kept) -> None:
        """Raises TraceError if the job was submitted before the previous one, or its id has appeared before."""
        if not self._trace.sort and job.submit_ns < self._last_ns:
            raise row.error("submission", "earlier than the row before", "rows in order of submission, or the option sort=yes")
        key = row.fields.get(self._id_word) if job.job_id is None else job.job_id
        if key is not None and not self._trace.renumber:
            if key in self._lines_of:
                problem = f"{key if isinstance(key, int) else repr(key[:40])} is there already, in line {self._lines_of[key]}"
                raise row.error(self._id_word, problem, "ids that differ, or the option ids=renumber")
            self._lines_of[key] = row.line
        self._last_ns = job.submit_ns


def job_batches(
    trace: Trace,
    rows: Iterator[Row | TraceError],
    parse: Parse,
    window: Window,
    *,
    id_word: str = "",
    queues: Interned | None = None,
    tenants: Interned | None = None,
) -> JobSource:
    """Parsed rows as batches in order of submission; the report of ``trace`` grows with every batch handed out.

    Rows outside the window, and those without GPUs or running time, are dropped. Time counts from the window's beginning, else from the
    first job kept. Sorted input is streamed a chunk at a time. With ``trace.sort`` everything is read first (stable by submission);
    otherwise a row that goes back in time is an error. Ids (``id_word`` is the field that has them) are unique, in any order, unless
    ``trace.renumber``.
    """
    names = queues or Interned("default"), tenants or Interned("default")
    intake = _Intake(trace, parse, window, id_word)
    batch: list[Kept] = []
    zero_ns = window.from_ns
    numbers: dict[str, int] = {}  # of the jobs handed out, by their ids in the file; empty where nobody can depend on them

    def handed_out(jobs: list[Kept]) -> JobColumns:
        nonlocal zero_ns
        before = trace.report.kept
        jobs, afters = _dependencies(trace, jobs, before, numbers)
        if zero_ns is None and jobs:
            zero_ns = jobs[0].submit_ns
        if not jobs or zero_ns is None:
            return job_columns(0, submit_ns=0, gpus=0, duration_ns=0)
        if not before:
            _note_zero(trace, zero_ns, given=window.from_ns is not None)
        trace.report.kept += len(jobs)
        return replace(_columns(jobs, before, zero_ns, names, renumber=trace.renumber), **afters)

    for row in rows:
        job = intake.take(row)
        if job is None:
            continue
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


def _dependencies(trace: Trace, jobs: list[Kept], before: int, numbers: dict[str, int]) -> tuple[list[Kept], dict[str, Any]]:
    """The jobs of which all that they depend on have been handed out before them, so that no circle can be, and the columns of that.

    ``before``: how many jobs were handed out; ``numbers``: the ids of those by their keys, to which these are added.
    """
    if not any(job.key for job in jobs):
        return jobs, {}
    kept: list[Kept] = []
    after: list[int] = []
    afters: dict[tuple[Dependency, ...], int] = {}
    for job in jobs:
        if any(key not in numbers for key in job.after):
            trace.drop(NOT_BEFORE)
            continue
        numbers[job.key] = before + len(kept) if trace.renumber or job.job_id is None else job.job_id
        entry = tuple([(numbers[key], False) for key in dict.fromkeys(job.after)])
        after.append(afters.setdefault(entry, len(afters)) if entry else -1)
        kept.append(job)
    return kept, {"after": np.array(after, dtype=np.int32), "afters": tuple(afters)}


def _note_zero(trace: Trace, zero_ns: int, *, given: bool) -> None:
    trace.report.zero_seconds = zero_ns / SECOND
    if zero_ns:
        shown = format_date(zero_ns) if trace.dates else f"{zero_ns / SECOND:.15g} s of the trace's clock"
        trace.report.notes.append(f"time counts from {shown}, " + ("the option from" if given else "when the first job kept was submitted"))


def _columns(jobs: list[Kept], before: int, zero_ns: int, names: tuple[Interned, Interned], *, renumber: bool) -> JobColumns:
    columns: dict[str, Any] = dict(zip(Kept._fields, zip(*jobs, strict=True), strict=True))
    given, reservation = columns.pop("name"), columns.pop("reservation")
    if any(reservation):
        places = {name: place for place, name in enumerate(sorted({name for name in reservation if name}))}
        columns |= {"reservation": [places.get(name, -1) for name in reservation], "reservations": tuple(places)}
    del columns["key"], columns["after"]
    wishes = {wish: number for number, wish in enumerate(dict.fromkeys(wish for wish in columns["locality"] if wish != NO_WISH))}
    columns["locality"] = np.array([wishes.get(wish, -1) for wish in columns["locality"]]) if wishes else -1
    numbered = renumber or jobs[0].job_id is None
    columns["job_id"] = np.arange(before, before + len(jobs)) if numbered else columns["job_id"]
    columns["submit_ns"] = np.array(columns["submit_ns"], dtype=np.int64) - zero_ns
    called = {"queues": names[0].names, "tenants": names[1].names, "names": given if any(given) else None}
    return job_columns(len(jobs), **columns, localities=tuple(wishes), **called)


class Ids:
    """The ids of a column: numbers as they are; where the first is none that a job may have, all are names, and the jobs are numbered."""

    def __init__(self, trace: Trace, word: str = "id") -> None:
        self._trace, self._word = trace, word
        self._text: bool | None = True if trace.renumber else None

    def read(self, row: Row) -> int | None:
        """The number of a job; None where ids are names. Raises TraceError."""
        text = row.fields[self._word]
        if self._text is None:
            self._text = not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= MAX_ID)
        if not self._text:
            return row.integer(self._word, 0, MAX_ID, "; or the option ids=renumber")
        if not text:
            raise row.error(self._word, "is empty", "an id")
        return None
