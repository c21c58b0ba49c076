"""Our own CSV, and with a map of its columns any other: ``id,submit_s,gpus,duration_s``, and optionally more.

Rows stand in order of submission (or ``sort=yes``). Ids are numbers, or names where the first is none; ``ids=renumber`` makes all of them
names. A job of ``gpu_milli`` below 1000 asks for that share of one GPU; one of ``min_gpus`` may run with that many GPUs up to ``gpus``.
``after`` has the ids of jobs that must finish before, with ``;`` between them; they are submitted before.
``reservation`` names the reservation whose hosts the job uses. ``site``, ``prefer_site`` and ``dataset`` count where jobs are dispatched to
sites. ``checkpoint_s`` is the work between two checkpoints, or young or daly, and ``recovery`` what becomes of the job after a fault. An
empty optional field means its default. A submission is a number of seconds or a date, the same in all rows.

With an option ``WORD=COLUMN`` for ``submit``, ``gpus``, ``duration``, ``start`` or ``end`` the table has foreign columns. Then

- only what is mapped is read, and ``submit``, ``gpus``, ``duration`` and ``id`` under our names where they are not; the id may be lacking;
- a field may say that it is not known (empty, None, Unknown, NaN): the job is dropped where it needs it;
- ``duration`` may be ``end - start``, where only those are mapped; ``start`` is read for that, and to see that the job ran;
- GPUs may be fractions: below one a share of a GPU, above rounded up. ``instances`` multiplies them, ``gpu_unit`` says what they count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation

from emulator.workload.jobs import ANY_LEVEL, ANY_TYPE, DALY, LEVEL_NAMES, RECOVERIES, SECOND, YOUNG, JobSource, Locality, Recovery
from emulator.workload.readers.batches import NEVER_STARTED, NO_SUBMISSION, STILL_RUNNING, UNKNOWN_DURATION, Ids, Kept, job_batches
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import MAX_GPUS, Columns, Interned, Row, Trace, csv_rows
from emulator.workload.readers.times import DATE_EXAMPLES, MAX_SECONDS, UNITS, parse_date, parse_number
from emulator.workload.readers.window import choice, window

#: Our names of the columns, by the word that the options map.
OURS = {
    "id": "id", "submit": "submit_s", "gpus": "gpus", "duration": "duration_s", "name": "name", "priority": "priority", "queue": "queue",
    "tenant": "tenant", "estimate": "estimate_s", "deadline": "deadline_s", "gpu_milli": "gpu_milli", "gpu_type": "gpu_type",
    "slice_gpus": "slice_gpus", "slice_level": "slice_level", "after": "after", "reservation": "reservation",
    "site": "site", "prefer_site": "prefer_site", "dataset": "dataset", "min_gpus": "min_gpus",
    "checkpoint": "checkpoint_s", "recovery": "recovery",
}  # fmt: skip
REQUIRED = ("id", "submit", "gpus", "duration")
#: Words that only a map knows.
FOREIGN = ("start", "end", "instances")
#: A map of one of these says that the table has foreign columns.
_TELLING = ("submit", "gpus", "duration", "start", "end")
#: Thousandths of a GPU that one unit of a GPU column is.
GPU_UNITS = {"gpu": 1000, "percent": 10, "milli": 1}
OPTIONS = {
    "from": "seconds of the trace's clock, or a date",
    "until": "seconds of the trace's clock, or a date",
    **{word: f"the column to read instead of `{column}`" for word, column in OURS.items()},
    "start": "the column with the start, which tells which jobs ran and, with `end`, how long. It is never used as the submission",
    "end": "the column with the end",
    "instances": "the column by which the GPUs are multiplied, such as the number of workers",
    "time_unit": f"the unit of times that are numbers: {', '.join(UNITS)}; default s",
    "duration_unit": "the unit of durations that are numbers, from the same list; default s",
    "gpu_unit": f"the unit of numbers of GPUs: {', '.join(GPU_UNITS)}; default gpu",
}


class _Clock:
    """Times of one trace: numbers or dates, according to the first one."""

    def __init__(self, trace: Trace, unit_ns: int) -> None:
        self._trace, self._unit_ns = trace, unit_ns
        self._dates: bool | None = None

    def read(self, row: Row, word: str) -> int:
        if self._dates is False and self._unit_ns == SECOND:
            return row.nanoseconds(word)
        text = row.fields[word]
        if not self._dates:
            when = parse_number(text, self._unit_ns)
            if when is not None and when >= 0:
                self._dates = False
                return when
        if self._dates is not False:
            when = parse_date(text)
            if when is not None:
                self._trace.dates = self._dates = True
                return when
        if self._dates:
            raise row.error(word, f"{text[:40]!r} is not a date", f"{DATE_EXAMPLES}, as in the rows before")
        problem = "is not a time" if parse_number(text, 1) is None else "is out of range"
        allowed = f"from 0 to {MAX_SECONDS} seconds, in the unit of the option time_unit"
        raise row.error(word, f"{text[:40]!r} {problem}", allowed + ("" if self._dates is False else f"; or {DATE_EXAMPLES}"))


def _columns(options: Mapping[str, str]) -> tuple[Columns, bool]:
    """The columns, and whether they are foreign. Raises TraceError."""
    mapped = {word: options[word] for word in (*OURS, *FOREIGN) if word in options}
    for word, column in mapped.items():
        if not column:
            raise TraceError(f"trace option {word}=", allowed="the name of a column")
    hint = "; other names by trace options such as gpus=COLUMN"
    foreign = any(word in mapped for word in _TELLING)
    if not foreign:
        names = OURS | mapped
        required = {word: names[word] for word in (*REQUIRED, *(word for word in mapped if word not in REQUIRED))}
        return Columns(required, {word: names[word] for word in OURS if word not in required}, hint=hint), False
    if ("start" in mapped) != ("end" in mapped) and "duration" not in mapped and "end" in mapped:
        raise TraceError("trace option end has no start", allowed="duration=COLUMN, or both start=COLUMN and end=COLUMN")
    timed = "start" in mapped and "end" in mapped
    own = [word for word in ("submit", "gpus", "duration") if word not in mapped and not (word == "duration" and timed)]
    optional = {} if "id" in mapped else {"id": OURS["id"]}
    return Columns(mapped | {word: OURS[word] for word in own}, optional, hint=hint), True


def read(trace: Trace, options: Mapping[str, str]) -> JobSource:
    """Jobs of the CSV. Raises TraceError."""
    columns, foreign = _columns(options)
    units = {name: UNITS[choice(options, name, tuple(UNITS))] for name in ("time_unit", "duration_unit")}
    table = _Table(
        _Clock(trace, units["time_unit"]),
        Ids(trace),
        units["duration_unit"],
        GPU_UNITS[choice(options, "gpu_unit", tuple(GPU_UNITS))],
        Interned("default"),
        Interned("default"),
    )
    limits = window(options, seconds=True, dates=True)
    rows = csv_rows(trace, columns, separators=",;\t|")
    parse = table.theirs if foreign else table.ours
    return job_batches(trace, rows, parse, limits, id_word="id", queues=table.queues, tenants=table.tenants)


@dataclass(frozen=True)
class _Table:
    """How the rows of one table are read."""

    clock: _Clock
    ids: Ids
    duration_unit_ns: int
    gpu_milli: int
    queues: Interned
    tenants: Interned

    def ours(self, row: Row) -> Kept | str:
        """A row of our own columns: strict."""
        fields = row.fields
        number = self.ids.read(row)
        submit_ns = self.clock.read(row, "submit")
        gpus = row.integer("gpus", 1, MAX_GPUS)
        duration_ns = row.nanoseconds("duration") if self.duration_unit_ns == SECOND else row.duration("duration", self.duration_unit_ns)
        milli = row.integer("gpu_milli", 1, 1000) if fields.get("gpu_milli") else 1000
        if milli < 1000 and gpus != 1:
            raise row.error("gpus", f"{gpus} GPUs with gpu_milli {milli}", "1 where gpu_milli is below 1000")
        estimate_ns = row.nanoseconds("estimate", 1 / SECOND) if fields.get("estimate") else duration_ns
        return self._job(row, number, submit_ns, (gpus, milli), duration_ns, estimate_ns)

    def theirs(self, row: Row) -> Kept | str:
        """A row with foreign columns: an unknown value is a reason to drop the job, not an error."""
        number = self.ids.read(row) if "id" in row.fields else None
        gpus = (0, 1000) if row.missing("gpus") else _gpus(row, self.gpu_milli)
        submit_ns = None if row.missing("submit") else self.clock.read(row, "submit")
        start_ns, end_ns = (None if row.missing(word) else self.clock.read(row, word) for word in ("start", "end"))
        duration_ns = self._duration(row, start_ns, end_ns)
        estimate_ns = 0 if row.missing("estimate") else row.duration("estimate", self.duration_unit_ns)
        if submit_ns is None:
            return NO_SUBMISSION
        if gpus[0] and "start" in row.fields and start_ns is None:
            return NEVER_STARTED
        if gpus[0] and "end" in row.fields and end_ns is None:
            return STILL_RUNNING
        if gpus[0] and duration_ns is None:
            return UNKNOWN_DURATION
        return self._job(row, number, submit_ns, gpus, duration_ns or 0, estimate_ns or duration_ns or 0)

    def _duration(self, row: Row, start_ns: int | None, end_ns: int | None) -> int | None:
        if "duration" in row.fields:
            return None if row.missing("duration") else row.duration("duration", self.duration_unit_ns)
        if start_ns is None or end_ns is None:
            return None
        if end_ns < start_ns:
            raise row.error("end", f"{row.fields['end'][:40]!r} is before the start", "an end after its start")
        return end_ns - start_ns

    def _deadline(self, row: Row) -> int:
        """A time after the submission, in the unit of durations, as durations are written."""
        deadline_ns = row.duration("deadline", self.duration_unit_ns)
        if not deadline_ns:
            raise row.error("deadline", f"{row.fields['deadline'][:40]!r} is out of range", "more than 0")
        return deadline_ns

    def _checkpoint(self, row: Row) -> int:
        """The work between two checkpoints, in the unit of durations; or the formula for it."""
        rule = {"young": YOUNG, "daly": DALY}.get(row.fields["checkpoint"])
        return row.duration("checkpoint", self.duration_unit_ns) if rule is None else rule

    def _job(self, row: Row, number: int | None, submit_ns: int, gpus: tuple[int, int], duration_ns: int, estimate_ns: int) -> Kept:
        fields = row.fields
        slices = _slices(row, *gpus)
        deadline_ns = self._deadline(row) if fields.get("deadline") and not row.missing("deadline") else 0
        model = fields.get("gpu_type") if gpus[0] and duration_ns else None
        return Kept(
            row.source_row,
            submit_ns,
            gpus[0],
            duration_ns,
            estimate_ns,
            name=fields.get("name") or fields.get("id") or "",
            job_id=number,
            milli_gpus=gpus[1],
            priority=row.integer("priority", -(2**31), 2**31 - 1) if fields.get("priority") else 0,
            queue=self.queues[fields.get("queue") or "default"],
            tenant=self.tenants[fields.get("tenant") or "default"],
            host_type=row.trace.host_type((model,)) if model else ANY_TYPE,
            slice_gpus=slices[0],
            slice_level=slices[1],
            locality=Locality(fields.get("site") or "", fields.get("prefer_site") or "", fields.get("dataset") or ""),
            deadline_ns=deadline_ns,
            min_gpus=_min_gpus(row, *gpus, slices[0]),
            key=_key(fields.get("id") or "", number) if "after" in fields else "",
            after=tuple([_key(one.strip(), number) for one in fields["after"].split(";") if one.strip()]) if fields.get("after") else (),
            reservation=fields.get("reservation") or "",
            checkpoint_ns=self._checkpoint(row) if fields.get("checkpoint") and not row.missing("checkpoint") else 0,
            recovery=_recovery(row),
        )


def _slices(row: Row, gpus: int, milli: int) -> tuple[int, int]:
    """(GPUs, level) of the slices that the job is cut into. Raises TraceError for slices that no cluster could place."""
    fields = row.fields
    size, level = fields.get("slice_gpus") or "0", fields.get("slice_level") or ""
    slice_gpus = 0 if size == "0" else row.integer("slice_gpus", 0, MAX_GPUS)
    if not slice_gpus:
        if level:
            raise row.error("slice_gpus", f"no slices, with the slice_level {level[:40]!r}", "the GPUs of a slice")
        return 0, ANY_LEVEL
    if milli < 1000:
        raise row.error("slice_gpus", f"slices of a shared GPU ({milli} thousandths)", "none where gpu_milli is below 1000")
    if gpus % slice_gpus:
        raise row.error("slice_gpus", f"{gpus} GPUs cannot be cut into slices of {slice_gpus}", "a divisor of gpus")
    if level not in LEVEL_NAMES:
        raise row.error("slice_level", f"{level[:40]!r} is not a level", ", ".join(LEVEL_NAMES))
    return slice_gpus, LEVEL_NAMES.index(level)


def _recovery(row: Row) -> int:
    """What becomes of the job after a fault. Raises TraceError for a word that is none."""
    word = row.fields.get("recovery") or ""
    if word and word not in RECOVERIES:
        raise row.error("recovery", f"{word[:40]!r} is no way to go on after a fault", ", ".join(RECOVERIES))
    return RECOVERIES[word] if word else Recovery.DEFAULT


def _min_gpus(row: Row, gpus: int, milli: int, slice_gpus: int) -> int:
    """The fewest GPUs that the job may run with, 0 where that is all of them. Raises TraceError for what no job can have."""
    if not gpus or (row.fields.get("min_gpus") or "0") == "0":
        return 0
    least = row.integer("min_gpus", 0, MAX_GPUS)
    if milli < 1000:
        raise row.error("min_gpus", f"{least} of a shared GPU ({milli} thousandths)", "none where gpu_milli is below 1000")
    if least > gpus:
        raise row.error("min_gpus", f"{least} is more than the {gpus} GPUs of the job", "from 1 to gpus")
    if slice_gpus and least % slice_gpus:
        raise row.error("min_gpus", f"{least} GPUs cannot be cut into slices of {slice_gpus}", "a multiple of slice_gpus")
    return least if least < gpus else 0


def _key(text: str, number: int | None) -> str:
    """An id, so that the same is the same: where a job's own id is a number, 7 and 07 are."""
    return text.lstrip("0") or "0" if number is not None else text


def _gpus(row: Row, unit_milli: int) -> tuple[int, int]:
    """(GPUs, thousandths of each) of a number that may be a fraction, times the instances."""
    milli = Decimal(unit_milli)
    for word in ("gpus", "instances"):
        if word not in row.fields:
            continue
        text = row.fields[word]
        try:
            value = Decimal(text) if "_" not in text and len(text) <= 64 else Decimal("nan")
        except InvalidOperation:
            value = Decimal("nan")
        if not (value.is_finite() and 0 <= value <= MAX_GPUS):
            raise row.error(word, f"{text[:40]!r} is not a number of GPUs", f"a number from 0 to {MAX_GPUS}")
        milli *= value
    if not milli:
        return 0, 1000
    if milli < 1000:
        return 1, int(milli.to_integral_value(ROUND_CEILING))
    gpus = int((milli / 1000).to_integral_value(ROUND_CEILING))
    if gpus * 1000 != milli:
        row.trace.note("asked for fractions of several GPUs, which were rounded up to whole GPUs")
    if gpus > MAX_GPUS:
        raise row.error("gpus", f"{gpus} GPUs", f"at most {MAX_GPUS}")
    return gpus, 1000
