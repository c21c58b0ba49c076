"""A job as a policy sees it."""

from dataclasses import dataclass

from emulator.scheduler.table import JobTable
from emulator.workload.jobs import SECOND, JobKind


@dataclass(frozen=True, slots=True)
class Job:
    """Times are seconds of emulated time. Nothing here says how long it will really take: ``estimate_seconds`` is what its user said."""

    slot: int  # where the table has it, until it has left
    job_id: int
    name: str
    kind: str  # gang, training or service
    gpus: int  # that it asks for, or holds where it runs
    gpu_share: float  # of each GPU; below 1 only for jobs of one GPU
    queue: str
    tenant: str
    priority: int
    submit_seconds: float
    estimate_seconds: float
    preemptible: bool
    preemptions: int
    restarts: int
    start_seconds: float | None  # of the present run; None while it waits
    deadline_seconds: float | None = None  # when it should have ended; None: it has no deadline
    min_gpus: int = 0  # the fewest that it may run with; ``gpus`` of a waiting job of one size


def job_of(table: JobTable, slot: int, *, running: bool) -> Job:
    """The job in ``slot``."""
    return Job(
        slot,
        table.job_id[slot],
        table.names.get(slot, ""),
        JobKind(table.kind[slot]).name.lower(),
        table.size_gpus[slot] if running else table.gpus[slot],
        table.milli_gpus[slot] / 1000,
        table.queues[table.queue[slot]],
        table.tenants[table.tenant[slot]],
        table.priority[slot],
        table.submit_ns[slot] / SECOND,
        table.estimate_ns[slot] / SECOND,
        table.preemptible[slot],
        table.preemptions[slot],
        table.restarts[slot],
        table.start_ns[slot] / SECOND if running else None,
        table.deadline_ns[slot] / SECOND if slot in table.deadline_ns else None,
        table.least_gpus(slot),
    )
