"""Microsoft's Philly clusters: as published (JSON), or as CSV with ``timestamp, duration, num_gpus, gpu_time, cluster``; unsorted.

Jeon et al., "Analysis of Large-Scale Multi-Tenant GPU Clusters for DNN Training Workloads", ATC'19; github.com/msr-fiddle/philly-traces.
Which of the two a file is, its first character tells. The virtual cluster is the job's tenant. Of the CSV, ``gpu_time`` is duration times
GPUs and is not read. Of the JSON (``cluster_job_log``: ``jobid, vc, submitted_time, attempts``):

- a job asks for the GPUs of its first attempt, as in the authors' own analysis;
- it runs for the sum of its attempts: Philly started a failed job anew, and each attempt held the GPUs. The authors take the time from
  the first start to the last end, which holds the waits between attempts too; those were the scheduler's, and are not handed on;
- a job without attempts never started; one with an attempt whose start or end is not known has no running time. Both are dropped.
"""

import re
from collections.abc import Mapping
from typing import Any

from emulator.workload.jobs import JobSource
from emulator.workload.readers.batches import NEVER_STARTED, NO_SUBMISSION, OTHER_CLUSTER, STILL_RUNNING, Kept, job_batches
from emulator.workload.readers.clusters import VirtualClusters
from emulator.workload.readers.objects import json_rows
from emulator.workload.readers.rows import MAX_GPUS, Columns, Interned, Row, Trace, csv_rows, named
from emulator.workload.readers.streams import first_character
from emulator.workload.readers.times import DATE_EXAMPLES, MISSING, parse_date
from emulator.workload.readers.window import window

COLUMNS = Columns(named("timestamp", "duration", "num_gpus", "cluster"), unread=("gpu_time",))
#: Half of a character, which JSON can write and no file can hold.
_SURROGATE = re.compile("[\ud800-\udfff]")
OPTIONS = {
    "virtual_cluster": "keep the jobs of this one",
    "from": "a date",
    "until": "a date",
}


def read(trace: Trace, options: Mapping[str, str]) -> JobSource:
    """Jobs of the trace, sorted stably by submission. Raises TraceError, also where no such virtual cluster is in it."""
    trace.sort = trace.dates = True
    limits = window(options, seconds=False, dates=True)
    clusters, tenants = VirtualClusters(trace, options), Interned()
    if first_character(trace.path) in ("[", "{"):
        rows, parse = json_rows(trace), _of_json
    else:
        rows, parse = csv_rows(trace, COLUMNS), _of_csv
    return job_batches(trace, clusters.checked(rows), lambda row: parse(row, clusters, tenants), limits, id_word="jobid", tenants=tenants)


def _of_csv(row: Row, clusters: VirtualClusters, tenants: Interned) -> Kept | str:
    submit_ns = row.date("timestamp")
    duration_ns = row.nanoseconds("duration")
    gpus = row.integer("num_gpus", 0, MAX_GPUS)
    tenant = row.fields["cluster"]
    if not clusters.wants(tenant):
        return OTHER_CLUSTER
    return Kept(row.source_row, submit_ns, gpus, duration_ns, duration_ns, tenant=tenants[tenant])


def _of_json(row: Row, clusters: VirtualClusters, tenants: Interned) -> Kept | str:
    tenant, name = _text(row, "vc"), _text(row, "jobid")
    attempts = [_attempt(row, attempt) for attempt in _list(row, row.fields.get("attempts"), "attempts")]
    submit_ns = _date(row, row.fields.get("submitted_time"), "submitted_time")
    if not clusters.wants(tenant):
        return OTHER_CLUSTER
    if not attempts:
        return NEVER_STARTED
    gpus, duration_ns = attempts[0][0], 0
    for _, ran_ns in attempts:
        if ran_ns is None:
            return STILL_RUNNING
        duration_ns += ran_ns
    if submit_ns is None:
        return NO_SUBMISSION
    return Kept(row.source_row, submit_ns, gpus, duration_ns, duration_ns, name=name, tenant=tenants[tenant])


def _attempt(row: Row, attempt: Any) -> tuple[int, int | None]:
    """(GPUs, running time in ns or None where a start or an end is not known) of one attempt."""
    if not isinstance(attempt, dict):
        raise row.error("attempts", f"{str(attempt)[:40]!r} is no attempt", "objects with start_time, end_time and detail")
    gpus = 0
    for machine in _list(row, attempt.get("detail"), "detail"):
        gpus += len(_list(row, machine.get("gpus") if isinstance(machine, dict) else machine, "gpus"))
    start_ns = _date(row, attempt.get("start_time"), "start_time")
    end_ns = _date(row, attempt.get("end_time"), "end_time")
    if start_ns is None or end_ns is None:
        return gpus, None
    if end_ns < start_ns:
        raise row.error("end_time", f"{attempt['end_time']!r} is before start_time {attempt['start_time']!r}", "an end after its start")
    return gpus, end_ns - start_ns


def _text(row: Row, word: str) -> str:
    value = row.fields.get(word)
    if not isinstance(value, str) or not value or _SURROGATE.search(value):
        raise row.error(word, f"{str(value)[:40]!r} is not a name", "a text")
    return value


def _list(row: Row, value: Any, word: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise row.error(word, f"{str(value)[:40]!r} is not a list", "a list")
    return value


def _date(row: Row, value: Any, word: str) -> int | None:
    """Nanoseconds of a date; None where it says that there is none."""
    if value is None or (isinstance(value, str) and value.lower() in MISSING):
        return None
    when = parse_date(value) if isinstance(value, str) else None
    if when is None:
        raise row.error(word, f"{str(value)[:40]!r} is not a date", f"{DATE_EXAMPLES}, or None")
    return when
