"""One way in to all trace formats."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from emulator.workload.jobs import JobColumns, JobSource, SourceReport
from emulator.workload.readers import helios, openb, philly, plain, sacct, swf
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.openb import Nodes, Pods
from emulator.workload.readers.rows import Trace
from emulator.workload.readers.streams import TraceLimits
from emulator.workload.readers.window import check_options, choice
from topology.catalog import HostType


@dataclass(frozen=True)
class Format:
    """A reader and its own options, with what each means."""

    read: Callable[[Trace, Mapping[str, str]], JobSource]
    options: Mapping[str, str]


FORMATS: Mapping[str, Format] = {
    "csv": Format(plain.read, plain.OPTIONS),
    "philly": Format(philly.read, philly.OPTIONS),
    "helios": Format(helios.read, helios.OPTIONS),
    "sacct": Format(sacct.read, sacct.OPTIONS),
    "openb": Format(openb.read, openb.OPTIONS),
    "swf": Format(swf.read, swf.OPTIONS),
}
#: Options of every format.
COMMON_OPTIONS: Mapping[str, str] = {
    "sort": "`yes`: read the whole file and sort it by submission; `no` (default): rows are in that order already",
    "ids": "`keep` (default): ids are unique; `renumber`: jobs are numbered from 0 in order of submission, and the id is the name",
    "bad_rows": "`error` (default): a malformed row ends the reading; `skip`: it is left out and counted",
}


def open_trace(
    path: str | Path,
    format: str,
    options: Mapping[str, str] | None = None,
    limits: TraceLimits | None = None,
    host_types: Sequence[HostType] = (),
) -> tuple[JobSource, SourceReport]:
    """The jobs of a trace file, plain or compressed, in batches, and a report that is complete when the batches have been read.

    Time counts from the first job kept, or from the option ``from``. Jobs that name GPU models are bound to the first of ``host_types``
    that one of them means; the report says how many name none of them, and may run anywhere. The first batch is read at once, so that a
    wrong file or option fails here; later rows may still raise while streaming. Memory holds one batch, except where the input is
    sorted (always for ``philly``, ``helios`` and ``sacct``, elsewhere with the option ``sort=yes``). Raises TraceError.
    """
    options = options or {}
    if format not in FORMATS:
        raise TraceError(f"no trace format {format!r}", allowed=", ".join(FORMATS))
    known = FORMATS[format].options
    check_options(format, options, (*known, *COMMON_OPTIONS))
    trace = Trace(
        Path(path),
        limits or TraceLimits(),
        skip_bad_rows=choice(options, "bad_rows", ("error", "skip")) == "skip",
        sort=choice(options, "sort", ("no", "yes")) == "yes",
        renumber=choice(options, "ids", ("keep", "renumber")) == "renumber",
        host_types=host_types,
        report=SourceReport(path=str(path), format=format),
    )
    batches: Iterator[JobColumns] = FORMATS[format].read(trace, options)
    first = next(batches)
    return chain((first,), batches), trace.report


def open_pods(path: str | Path) -> Pods:
    """What the pods of an openb pod list ask for, also of one without times. Raises TraceError."""
    return openb.read_pods(Trace(Path(path), TraceLimits(), skip_bad_rows=False, sort=False))


def open_nodes(path: str | Path) -> Nodes:
    """The hosts of an openb node list. Raises TraceError."""
    return openb.read_nodes(Trace(Path(path), TraceLimits(), skip_bad_rows=False, sort=False))
