"""Our own CSV: ``id,submit_s,gpus,duration_s``, and optionally ``name, priority, queue, tenant, estimate_s, gpu_milli``.

Rows stand in order of submission (or ``sort=yes``); ids rise (or ``ids=renumber``: the rows are numbered and the id is the name). A
job of ``gpu_milli`` below 1000 asks for that share of one GPU. An empty optional field means its default.
"""

from collections.abc import Mapping

from emulator.workload.jobs import SECOND, JobSource
from emulator.workload.readers.rows import MAX_GPUS, MAX_ID, Interned, Kept, Row, Trace, csv_rows, job_batches
from emulator.workload.readers.window import Window, choice, seconds_window

REQUIRED = ("id", "submit_s", "gpus", "duration_s")
OPTIONAL = ("name", "priority", "queue", "tenant", "estimate_s", "gpu_milli")
OPTIONS = ("from", "until", "ids")


def read(trace: Trace, options: Mapping[str, str]) -> JobSource:
    """Jobs of the CSV. Raises TraceError."""
    window: Window = seconds_window(options)
    renumber = choice(options, "ids", ("keep", "renumber")) == "renumber"
    queues, tenants = Interned("default"), Interned("default")

    def parse(row: Row) -> Kept | str:
        fields = row.fields
        number = 0 if renumber else row.integer("id", 0, MAX_ID, "; or the option ids=renumber")
        submit_ns = row.nanoseconds("submit_s")
        gpus = row.integer("gpus", 1, MAX_GPUS)
        duration_ns = row.nanoseconds("duration_s")
        milli = row.integer("gpu_milli", 1, 1000) if fields.get("gpu_milli") else 1000
        if milli < 1000 and gpus != 1:
            raise row.error("gpus", f"{gpus} GPUs with gpu_milli {milli}", "1 where gpu_milli is below 1000")
        estimate_ns = row.nanoseconds("estimate_s", 1 / SECOND) if fields.get("estimate_s") else duration_ns
        priority = row.integer("priority", -(2**31), 2**31 - 1) if fields.get("priority") else 0
        if reason := window.outside(submit_ns):
            return reason
        if duration_ns == 0:
            return "zero duration"
        return Kept(
            window.shift(submit_ns),
            gpus,
            duration_ns,
            estimate_ns,
            job_id=None if renumber else number,
            milli_gpus=milli,
            priority=priority,
            queue=queues[fields.get("queue") or "default"],
            tenant=tenants[fields.get("tenant") or "default"],
            name=fields.get("name") or (fields["id"] if renumber else ""),
        )

    return job_batches(trace, csv_rows(trace, REQUIRED, OPTIONAL), parse, queues, tenants)
