"""One way in to all trace formats."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from emulator.workload.jobs import JobColumns, JobSource, SourceReport
from emulator.workload.readers import openb, philly, plain, swf
from emulator.workload.readers.openb import Pods
from emulator.workload.readers.rows import Trace, TraceError, TraceLimits
from emulator.workload.readers.window import choice
from topology.catalog import HostType

#: Reader and its own options, by format.
FORMATS: dict[str, tuple[Callable[[Trace, Mapping[str, str]], JobSource], tuple[str, ...]]] = {
    "csv": (plain.read, plain.OPTIONS),
    "philly": (philly.read, philly.OPTIONS),
    "openb": (openb.read, openb.OPTIONS),
    "swf": (swf.read, swf.OPTIONS),
}
#: Options of every format: what to do with a malformed row, and whether to read everything and sort it.
COMMON_OPTIONS = ("bad_rows", "sort")


def open_trace(
    path: str | Path,
    format: str,
    options: Mapping[str, str] | None = None,
    limits: TraceLimits | None = None,
    host_types: Sequence[HostType] = (),
) -> tuple[JobSource, SourceReport]:
    """The jobs of a trace file, plain or gzip, in batches, and a report that is complete when the batches have been read.

    Jobs that name GPU models are bound to the first of ``host_types`` that one of them means; the report says how many name none of
    them, and may run anywhere. The first batch is read at once, so that a wrong file or option fails here; later rows may still raise
    while streaming. Memory holds one batch, except where the input is sorted (always for ``philly``, elsewhere with the option
    ``sort=yes``). Raises TraceError.
    """
    options = options or {}
    if format not in FORMATS:
        raise TraceError(f"no trace format {format!r}", allowed=", ".join(FORMATS))
    reader, known = FORMATS[format]
    for name in options:
        if name not in known and name not in COMMON_OPTIONS:
            raise TraceError(f"format {format} has no trace option {name!r}", allowed=", ".join((*known, *COMMON_OPTIONS)))
    trace = Trace(
        Path(path),
        limits or TraceLimits(),
        skip_bad_rows=choice(options, "bad_rows", ("error", "skip")) == "skip",
        sort=choice(options, "sort", ("no", "yes")) == "yes",
        host_types=host_types,
    )
    batches: Iterator[JobColumns] = reader(trace, options)
    first = next(batches)
    return chain((first,), batches), trace.report


def open_pods(path: str | Path) -> Pods:
    """What the pods of an openb pod list ask for, also of one without times. Raises TraceError."""
    return openb.read_pods(Trace(Path(path), TraceLimits(), skip_bad_rows=False, sort=False))
