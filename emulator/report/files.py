"""The files of a run: ``summary.json``, ``jobs.parquet``, ``timeline.parquet``, ``links.parquet`` and ``report.html`` in one directory.

Each file is written under a temporary name and then renamed, so a reader never sees half of one, and a full disk leaves the old one.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emulator.report.html import page
from emulator.report.outcome import NEVER, PLACEMENT_LEVELS, STATES, Int64, JobTable, Outcome, Timeline
from emulator.report.summary import summary, to_json
from emulator.scheduler.deadlines import NO_DEADLINE
from emulator.scheduler.reasons import KINDS
from emulator.scheduler.table import ENDLESS
from emulator.workload.jobs import NO_ROW, SECOND, JobKind
from topology.cluster import TIERS

#: The files of a run, in the order in which they are written; ``summary.json`` is last, so if it is new all are.
FILES = ("jobs.parquet", "timeline.parquet", "links.parquet", "report.html", "summary.json")
#: Written before them, where events were kept, and where anything serves.
EVENTS, REQUESTS = "events.parquet", "requests.parquet"


class OutputError(Exception):
    """The output directory cannot be written; the message says why, in one line."""


def prepare(directory: Path) -> None:
    """Make ``directory`` (its parent must exist) and check, before the run, that files can be written there.

    Raises OutputError with the reason.
    """
    if not directory.parent.is_dir():
        raise OutputError(f"cannot write to {directory}: {directory.parent} is not a directory; allowed: a new or an existing one below it")
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"cannot write to {directory}: it is a file; allowed: a directory")
    try:
        directory.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to {directory}: {error.strerror or error}") from error


def write(directory: Path, outcome: Outcome) -> dict[str, Any]:
    """Write the files and return the summary. Raises OutputError where the disk refuses."""
    from pyarrow import parquet

    values = summary(outcome)
    contents: dict[str, Callable[[Path], object]] = {
        "jobs.parquet": lambda path: parquet.write_table(jobs_table(outcome.jobs), path, compression="zstd"),
        "timeline.parquet": lambda path: parquet.write_table(timeline_table(outcome.timeline), path, compression="zstd"),
        "report.html": lambda path: path.write_text(page(outcome, values), encoding="utf-8"),
        "summary.json": lambda path: path.write_text(to_json(values), encoding="utf-8"),
    }
    if (links := outcome.link_table) is not None:
        contents["links.parquet"] = lambda path: parquet.write_table(links(), path, compression="zstd")
    if (requests := outcome.requests_table) is not None:
        contents[REQUESTS] = lambda path: parquet.write_table(requests(), path, compression="zstd")
    else:
        _remove(directory / REQUESTS)
    if (events := outcome.events_table) is not None:
        contents[EVENTS] = lambda path: parquet.write_table(events(), path, compression="zstd")
    else:
        _remove(directory / EVENTS)  # that of another run would be taken for this one's
    write_files(directory, {name: contents[name] for name in (EVENTS, REQUESTS, *FILES) if name in contents})
    return values


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {path.parent}: {error.strerror or error}") from error


def write_files(directory: Path, contents: Mapping[str, Callable[[Path], object]]) -> None:
    """Let each function write the file of its name, in this order. Raises OutputError where the disk refuses."""
    try:
        for name, fill in contents.items():
            _replace(directory / name, fill)
    except OSError as error:
        raise OutputError(f"cannot write to {directory}: {error.strerror or error}") from error


def jobs_table(jobs: JobTable) -> Any:
    """``jobs.parquet`` as a pyarrow.Table: a row per job in order of id; times in seconds from the start, null where there is none."""
    import pyarrow as pa

    order = np.argsort(jobs.job_id, kind="stable")

    def words(codes: Any, names: tuple[str, ...]) -> Any:
        """A column of names; codes below 0 are the empty string."""
        return pa.DictionaryArray.from_arrays(pa.array((codes[order] + 1).astype(np.int32)), pa.array(["", *names])).cast(pa.string())

    def texts(values: tuple[str, ...] | None) -> Any:
        return pa.array([values[row] for row in order.tolist()] if values else [""] * len(jobs), type=pa.string())

    def seconds(times_ns: Int64, none: int = NEVER) -> Any:
        ordered = times_ns[order]
        return pa.array(ordered / SECOND, mask=ordered == none, type=pa.float64())

    return pa.table(
        {
            "job_id": jobs.job_id[order],
            "name": texts(jobs.names),
            "source_row": pa.array(jobs.source_row[order], mask=jobs.source_row[order] == NO_ROW),
            "queue": words(jobs.queue, jobs.queues),
            "tenant": words(jobs.tenant, jobs.tenants),
            "kind": words(jobs.kind, tuple(kind.name.lower() for kind in JobKind)),
            "priority": jobs.priority[order],
            "gpus": jobs.gpus[order],
            "min_gpus": (jobs.gpus if jobs.min_gpus is None else jobs.min_gpus)[order],
            "gpu_type": words(jobs.host_type.astype(np.int32), jobs.gpu_types),
            "submit_seconds": pa.array(jobs.submit_ns[order] / SECOND),
            "start_seconds": seconds(jobs.start_ns),
            "end_seconds": seconds(jobs.end_ns),
            "estimate_seconds": seconds(jobs.estimate_ns, ENDLESS),
            "state": words(jobs.state, tuple(str(state) for state in STATES)),
            "reason": words(jobs.reason, jobs.reasons),
            "preemptions": jobs.preemptions[order],
            "restarts": jobs.restarts[order],
            "gpu_seconds": jobs.gpu_seconds[order],
            "lost_gpu_seconds": jobs.lost_gpu_seconds[order],
            "placement_level": words(jobs.placement_level, PLACEMENT_LEVELS),
            "hosts": texts(jobs.hosts() if jobs.hosts is not None else None),
            "energy_joules": jobs.energy_joules[order],
            "tokens": pa.array(jobs.tokens[order], mask=jobs.tokens[order] == 0.0),
            "network_slowdown_ratio": jobs.network_slowdown_ratio[order],
            "deadline_seconds": seconds(jobs.deadline_ns, NO_DEADLINE),
        }
    )


def timeline_table(timeline: Timeline) -> Any:
    """``timeline.parquet`` as a pyarrow.Table: a row per publication.

    It has a column of pending jobs per kind of reason, and a load and a peak column per link tier.
    """
    import pyarrow as pa

    columns = {name: value for name, value in vars(timeline).items() if value.ndim == 1}
    for place, kind in enumerate(KINDS):
        columns[f"pending_{kind}_jobs"] = np.ascontiguousarray(timeline.pending_jobs_by_reason[:, place])
    for place, tier in enumerate(TIERS):
        columns[f"{tier}_load_ratio"] = np.ascontiguousarray(timeline.link_load_ratio[:, place])
        columns[f"{tier}_peak_ratio"] = np.ascontiguousarray(timeline.link_peak_ratio[:, place])
    return pa.table(columns)


def _replace(path: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` write a temporary file in the same directory, then put it in ``path``'s place."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        fill(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
