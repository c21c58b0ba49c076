"""Every job of an emulation, as a struct of columns; a job's number in them is its *slot*, given in order of submission.

Columns are Python lists: the cycle touches single jobs, where a list is three times as fast as an array. Times are int nanoseconds.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from emulator.scheduler.free import Row
from emulator.workload.jobs import JobColumns, JobKind, TrainingShape

NEVER = 2**63 - 1
#: The estimate of a service that runs until it is cancelled: 146 years in ns, so that a time of day can still be added to it.
ENDLESS = 2**62


class State(IntEnum):
    """Of a job in `JobTable`. Results are hashed over these numbers: never renumber."""

    FUTURE = 0  # known from a trace, not submitted yet
    PENDING = 1
    RUNNING = 2
    FINISHED = 3
    FAILED = 4
    CANCELLED = 5
    INFEASIBLE = 6
    REJECTED = 7


@dataclass
class JobTable:
    """What was asked (as in ``JobColumns``) and what became of it."""

    job_id: list[int] = field(default_factory=list)
    submit_ns: list[int] = field(default_factory=list)
    gpus: list[int] = field(default_factory=list)
    duration_ns: list[int] = field(default_factory=list)
    estimate_ns: list[int] = field(default_factory=list)
    milli_gpus: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    priority: list[int] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)
    tenant: list[int] = field(default_factory=list)
    utilization: list[float] = field(default_factory=list)
    checkpoint_ns: list[int] = field(default_factory=list)
    require_level: list[int] = field(default_factory=list)
    prefer_level: list[int] = field(default_factory=list)
    preemptible: list[bool] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)
    #: The host type, once the job has arrived also that of a job that named none; ANY_TYPE otherwise.
    host_type: list[int] = field(default_factory=list)
    source_row: list[int] = field(default_factory=list)

    #: What is left of ``duration_ns``, as of ``since_ns``; and the part of full speed at which it goes down.
    remaining_ns: list[int] = field(default_factory=list)
    since_ns: list[int] = field(default_factory=list)
    speed: list[float] = field(default_factory=list)
    state: list[State] = field(default_factory=list)
    first_start_ns: list[int] = field(default_factory=list)  # -1: never
    start_ns: list[int] = field(default_factory=list)  # of the current or last run
    end_ns: list[int] = field(default_factory=list)  # -1: not ended
    #: Rises whenever the expected end changes, so that older entries of the completion heap are known to be stale.
    version: list[int] = field(default_factory=list)
    rows: list[list[Row]] = field(default_factory=list)  # current or last placement
    preemptions: list[int] = field(default_factory=list)
    restarts: list[int] = field(default_factory=list)
    run_ns: list[int] = field(default_factory=list)  # held its GPUs, runs that ended
    work_ns: list[int] = field(default_factory=list)  # of full-speed work done in them, lost work included
    lost_ns: list[int] = field(default_factory=list)  # of that work, what had to be done again
    overhead_ns: list[int] = field(default_factory=list)  # restart overhead still ahead of the current run
    overhead_run_ns: list[int] = field(default_factory=list)  # restart overhead done

    shapes: list[TrainingShape] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)
    tenants: list[str] = field(default_factory=list)
    queue_of: dict[str, int] = field(default_factory=dict)  # name -> its place in queues
    tenant_of: dict[str, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    slot_of: dict[int, int] = field(default_factory=dict)  # job id -> slot

    def __len__(self) -> int:
        return len(self.job_id)

    def queue_number(self, name: str) -> int:
        """The number of a queue, which is there from now on."""
        return _number(self.queues, self.queue_of, name)

    def extend(self, jobs: JobColumns, queue_priority: dict[str, int], state: State) -> range:
        """Append ``jobs``; queue and tenant names are merged, a queue's priority is added to its jobs'. Returns their slots.

        Raises ValueError where a job id is there already.
        """
        first, count = len(self), len(jobs)
        ids = jobs.job_id.tolist()
        slots = range(first, first + count)
        fresh = dict(zip(ids, slots, strict=True))
        if len(fresh) < count or not self.slot_of.keys().isdisjoint(fresh):
            twice = next(job for job, times in Counter(ids).items() if times > 1 or job in self.slot_of)
            raise ValueError(f"job id {twice} is given twice; ids must be unique")
        self.slot_of.update(fresh)
        queues = [self.queue_number(name) for name in jobs.queues]
        tenants = [_number(self.tenants, self.tenant_of, name) for name in jobs.tenants]
        first_shape = len(self.shapes)
        self.shapes.extend(jobs.shapes)
        self.job_id += ids
        self.queue += [queues[queue] for queue in jobs.queue.tolist()]
        self.tenant += [tenants[tenant] for tenant in jobs.tenant.tolist()]
        self.shape += [shape + first_shape if shape >= 0 else -1 for shape in jobs.shape.tolist()]
        extra = [queue_priority.get(name, 0) for name in jobs.queues]
        self.priority += [p + extra[q] for p, q in zip(jobs.priority.tolist(), jobs.queue.tolist(), strict=True)]
        for name in (
            "submit_ns", "gpus", "duration_ns", "estimate_ns", "milli_gpus", "kind", "utilization", "checkpoint_ns",
            "require_level", "prefer_level", "preemptible", "host_type", "source_row",
        ):  # fmt: skip
            getattr(self, name).extend(getattr(jobs, name).tolist())
        self.remaining_ns += jobs.duration_ns.tolist()
        for row in np.flatnonzero((jobs.kind == JobKind.SERVICE) & (jobs.duration_ns == 0)).tolist():
            self.estimate_ns[first + row] = ENDLESS
        for name, value in (
            ("since_ns", 0), ("speed", 1.0), ("state", state), ("first_start_ns", -1), ("start_ns", -1), ("end_ns", -1), ("version", 0),
            ("preemptions", 0), ("restarts", 0), ("run_ns", 0), ("work_ns", 0), ("lost_ns", 0), ("overhead_ns", 0),
            ("overhead_run_ns", 0),
        ):  # fmt: skip
            getattr(self, name).extend([value] * count)
        self.rows += [_NO_ROWS] * count
        if jobs.names is not None:
            self.names.update((slot, name) for slot, name in zip(slots, jobs.names, strict=True) if name)
        return slots


#: Shared by all jobs without a placement; rows are replaced, never changed in place.
_NO_ROWS: list[Row] = []


def _number(names: list[str], places: dict[str, int], name: str) -> int:
    """The place of ``name`` in ``names``, at the end where it is new."""
    number = places.setdefault(name, len(names))
    if number == len(names):
        names.append(name)
    return number
