"""Microsoft's Philly clusters as CSV: ``timestamp, duration, num_gpus, gpu_time, cluster``, unsorted, one row per job.

Jeon et al., "Analysis of Large-Scale Multi-Tenant GPU Clusters for DNN Training Workloads", ATC'19; github.com/msr-fiddle/philly-traces.
Options ``virtual_cluster``, ``from`` and ``until`` (dates); time then counts from ``from``, else from the first job kept. The virtual
cluster is the job's tenant. ``gpu_time`` is duration times GPUs and is not read.
"""

from collections.abc import Iterator, Mapping

from emulator.workload.jobs import JobSource
from emulator.workload.readers.rows import MAX_GPUS, Interned, Kept, Row, Trace, TraceError, csv_rows, job_batches
from emulator.workload.readers.window import dates_window, parse_date

REQUIRED = ("timestamp", "duration", "num_gpus", "cluster")
OPTIONS = ("virtual_cluster", "from", "until")


def read(trace: Trace, options: Mapping[str, str]) -> JobSource:
    """Jobs of the trace, sorted stably by submission. Raises TraceError, also where no such virtual cluster is in it."""
    trace.sort = True
    window = dates_window(options)
    cluster = options.get("virtual_cluster")
    seen: set[str] = set()
    tenants = Interned()

    def parse(row: Row) -> Kept | str:
        submit_ns = parse_date(row.fields["timestamp"])
        if submit_ns is None:
            raise row.error("timestamp", f"{row.fields['timestamp'][:40]!r} is not a date", "such as 2017-10-09 06:13:03")
        duration_ns = row.nanoseconds("duration")
        gpus = row.integer("num_gpus", 0, MAX_GPUS)
        tenant = row.fields["cluster"]
        seen.add(tenant)
        if cluster is not None and tenant != cluster:
            return "other virtual cluster"
        if reason := window.outside(submit_ns):
            return reason
        if gpus == 0:
            return "no GPU"
        if duration_ns == 0:
            return "zero duration"
        return Kept(window.shift(submit_ns), gpus, duration_ns, duration_ns, tenant=tenants[tenant])

    def rows() -> Iterator[Row | TraceError]:
        yield from csv_rows(trace, REQUIRED, None)
        if cluster is not None and cluster not in seen:
            raise trace.error(f"no virtual cluster {cluster[:40]!r}", allowed=", ".join(sorted(seen)))

    return job_batches(trace, rows(), parse, Interned("default"), tenants, rebase=window.from_ns is None)
