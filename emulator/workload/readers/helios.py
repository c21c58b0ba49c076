"""SenseTime's Helios clusters: ``cluster_log.csv`` of S-Lab's HeliosData, one file per cluster.

Hu et al., "Characterization and Prediction of Deep Learning Workloads in Large-Scale GPU Datacenters", SC'21;
github.com/S-Lab-System-Group/HeliosData. The virtual cluster is the job's tenant. ``queue`` is the wait that was observed, and ``node_num``
how the job was placed: neither is read. Jobs that failed or were cancelled while they ran are jobs like others.
"""

from collections.abc import Mapping

from emulator.workload.jobs import JobSource
from emulator.workload.readers.batches import NEVER_STARTED, NO_SUBMISSION, OTHER_CLUSTER, STILL_RUNNING, Ids, Kept, job_batches
from emulator.workload.readers.clusters import VirtualClusters
from emulator.workload.readers.rows import MAX_GPUS, Columns, Interned, Row, Trace, csv_rows, named
from emulator.workload.readers.window import window

COLUMNS = Columns(
    named("job_id", "vc", "gpu_num", "submit_time", "start_time", "duration"),
    named("end_time"),
    unread=("user", "jobname", "cpu_num", "node_num", "state", "queue"),
)
OPTIONS = {
    "virtual_cluster": "keep the jobs of this one",
    "from": "a date",
    "until": "a date",
}


def read(trace: Trace, options: Mapping[str, str]) -> JobSource:
    """Jobs of the log, sorted stably by submission. Raises TraceError, also where no such virtual cluster is in it."""
    trace.sort = trace.dates = True
    limits = window(options, seconds=False, dates=True)
    clusters, tenants, ids = VirtualClusters(trace, options), Interned(), Ids(trace, "job_id")

    def parse(row: Row) -> Kept | str:
        fields = row.fields
        number = ids.read(row)
        gpus = 0 if row.missing("gpu_num") else row.integer("gpu_num", 0, MAX_GPUS)
        submit_ns = None if row.missing("submit_time") else row.date("submit_time")
        started = not row.missing("start_time") and row.date("start_time") >= 0
        duration_ns = 0 if row.missing("duration") else row.duration("duration")
        tenant = fields["vc"] or "default"
        if not clusters.wants(tenant):
            return OTHER_CLUSTER
        if not started:
            return NEVER_STARTED
        if "end_time" in fields and row.missing("end_time"):
            return STILL_RUNNING
        if submit_ns is None:
            return NO_SUBMISSION
        name = fields["job_id"]
        return Kept(row.source_row, submit_ns, gpus, duration_ns, duration_ns, name=name, job_id=number, tenant=tenants[tenant])

    rows = clusters.checked(csv_rows(trace, COLUMNS))
    return job_batches(trace, rows, parse, limits, id_word="job_id", tenants=tenants)
