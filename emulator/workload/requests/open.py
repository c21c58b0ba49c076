"""One way in to all formats of request traces."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator.workload.jobs import SourceReport
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import Trace
from emulator.workload.readers.streams import TraceLimits
from emulator.workload.readers.window import check_options, choice
from emulator.workload.requests import azure, mooncake, plain
from emulator.workload.requests.reading import COMMON_OPTIONS
from emulator.workload.requests.trace import RequestTrace


@dataclass(frozen=True)
class RequestFormat:
    """A reader and its own options, with what each means."""

    read: Callable[[Trace, Mapping[str, str]], RequestTrace]
    options: Mapping[str, str]


REQUEST_FORMATS: Mapping[str, RequestFormat] = {
    "azure": RequestFormat(azure.read, azure.OPTIONS),
    "mooncake": RequestFormat(mooncake.read, mooncake.OPTIONS),
    "requests": RequestFormat(plain.read, plain.OPTIONS),
}


def open_request_trace(
    path: str | Path, format: str, options: Mapping[str, str] | None = None, limits: TraceLimits | None = None
) -> tuple[RequestTrace, SourceReport]:
    """The requests of a file, plain or compressed, and what was kept of it and why the rest was not. Raises TraceError."""
    options = options or {}
    if format not in REQUEST_FORMATS:
        raise TraceError(f"no format of request traces {format!r}", allowed=", ".join(REQUEST_FORMATS))
    known = REQUEST_FORMATS[format].options
    check_options(format, options, (*known, *COMMON_OPTIONS))
    trace = Trace(
        Path(path),
        limits or TraceLimits(),
        skip_bad_rows=choice(options, "bad_rows", ("error", "skip")) == "skip",
        sort=True,
        report=SourceReport(path=str(path), format=format),
    )
    return REQUEST_FORMATS[format].read(trace, options), trace.report
