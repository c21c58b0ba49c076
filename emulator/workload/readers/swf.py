"""Standard Workload Format of the Parallel Workloads Archive: 18 numbers a line, -1 for unknown, comments after ``;``.

Chapin et al., "Benchmarks and Standards for the Evaluation of Parallel Job Schedulers", JSSPP'99;
cs.huji.ac.il/labs/parallel/workload/swf.html. Processors stand for GPUs, ``processors_per_gpu`` to one, rounded up. The wait that the log
observed is never read. Decisions:

- a job without a known running time, or that never ran (0 s), is dropped; so is one without processors;
- an unknown requested time means that the running time is the estimate; a known one is kept even where the job overran it;
- status 2 to 4 under a number already kept are the pieces of a job listed whole before, and are dropped.
"""

from collections.abc import Iterator, Mapping
from operator import itemgetter

from emulator.workload.jobs import JobSource
from emulator.workload.readers.batches import UNKNOWN_DURATION, ZERO_DURATION, Ids, Kept, job_batches
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import MAX_GPUS, Interned, Row, Trace
from emulator.workload.readers.window import choice, window

#: Where the fields that are read stand in a line.
PLACES = {"id": 0, "submission": 1, "run_time": 3, "allocated": 4, "requested": 7, "requested_time": 8, "status": 10, "user": 11}
FIELD_COUNT = 18
_read_of = itemgetter(*PLACES.values())
OPTIONS = {
    "from": "seconds of the log's clock",
    "until": "seconds of the log's clock",
    "processors": "`allocated` (default) or `requested`; each falls back to the other where unknown",
    "processors_per_gpu": "processors that stand for one GPU, rounded up; default 1",
    "status": "the codes to keep, e.g. `1` or `0,1,5`; default all",
}


def _rows(trace: Trace) -> Iterator[Row | TraceError]:
    found = False
    for line, text in trace.lines():
        values = text.split()
        if not values or values[0].startswith(";"):
            continue
        found = True
        if len(values) == FIELD_COUNT:
            yield Row(trace, line, dict(zip(PLACES, _read_of(values), strict=True)))
        else:
            yield trace.error(f"{len(values)} fields", line, allowed=f"{FIELD_COUNT} fields separated by blanks, -1 for unknown")
    if not found:
        raise trace.error("the file has no job", allowed="lines of 18 fields after the comments")


def read(trace: Trace, options: Mapping[str, str]) -> JobSource:
    """Jobs of the log. Raises TraceError."""
    first, second = ("allocated", "requested") if choice(options, "processors", ("allocated", "requested")) == "allocated" else (
        "requested", "allocated",
    )  # fmt: skip
    try:
        per_gpu = int(options.get("processors_per_gpu", "1"))
    except ValueError:
        per_gpu = 0
    if not 1 <= per_gpu <= 1_000_000:
        raise TraceError(f"trace option processors_per_gpu={options['processors_per_gpu']}", allowed="a whole number from 1 to 1000000")
    keep_status = frozenset(options["status"].split(",")) if "status" in options else None
    if keep_status is not None and not keep_status <= {"-1", "0", "1", "2", "3", "4", "5"}:
        raise TraceError(f"trace option status={options['status']}", allowed="codes from -1 to 5, separated by commas")
    limits = window(options, seconds=True, dates=False)
    tenants, ids, whole = Interned(), Ids(trace), set[str]()

    def parse(row: Row) -> Kept | str:
        number = ids.read(row)
        submit_ns = row.nanoseconds("submission")
        duration_ns = row.nanoseconds("run_time", -1)
        processors = row.integer(first, -1, MAX_GPUS)
        if processors <= 0:
            processors = row.integer(second, -1, MAX_GPUS)
        requested_ns = row.nanoseconds("requested_time", -1)
        status = row.integer("status", -1, 5)
        user = row.integer("user", -1, 2**62)
        name = row.fields["id"]
        if 2 <= status <= 4 and name in whole:
            return "part of a job that was listed before"
        if keep_status is not None and str(status) not in keep_status:
            return f"status {status}"
        if reason := limits.outside(submit_ns):
            return reason
        if duration_ns < 0:
            return UNKNOWN_DURATION
        if duration_ns == 0:
            return ZERO_DURATION
        if processors <= 0:
            return "no processors"
        whole.add(name)
        return Kept(
            row.source_row,
            submit_ns,
            -(-processors // per_gpu),
            duration_ns,
            requested_ns if requested_ns > 0 else duration_ns,
            name=name,
            job_id=number,
            tenant=tenants[f"user-{user}" if user >= 0 else "default"],
        )

    return job_batches(trace, _rows(trace), parse, limits, id_word="id", tenants=tenants)
