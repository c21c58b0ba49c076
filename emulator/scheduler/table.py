"""The jobs that an emulation still has to do with, as a struct of columns; a job's number in them is its *slot*.

A slot is a place and no order: when a job has left (``drop``), its slot is given to another. What needs an order takes the job id.
Columns are Python lists: the cycle touches single jobs, where a list is three times as fast as an array. Times are int nanoseconds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, cast

import numpy as np

from emulator.jobs.life import Lives
from emulator.scheduler.free import Row
from emulator.scheduler.job_array import JobArray
from emulator.scheduler.sizes import Sizes, sizes_of
from emulator.scheduler.sorts import Asks, Sort
from emulator.workload.jobs import Dependency, JobColumns, JobKind, Locality, Recovery, TrainingShape

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


def priority_of(own: int, queue: int) -> int:
    """A job's priority: its own and its queue's, which is added, as far as 32 bits hold it."""
    return max(-(2**31), min(2**31 - 1, own + queue))


@dataclass(frozen=True, slots=True)
class Paces:
    """How fast a job runs on each host type that it may run on, and its duration and estimate at a pace of 1 with all of its GPUs.

    Work is GPU time: with a part of its GPUs a job goes on at that part of its pace. ``gpus``: all of them; 0 for a job of one size.
    """

    by_type: Mapping[int, float]
    duration_ns: int
    estimate_ns: int
    gpus: int = 0

    def at(self, number: int, gpus: int, time_ns: int) -> int:
        """How long with so many GPUs on hosts of this type; ANY_TYPE: at a pace of 1."""
        if self.gpus:
            time_ns = min(ENDLESS // 2, time_ns * self.gpus // gpus)
        return max(1, round(time_ns / self.by_type.get(number, 1.0))) if time_ns else 0


@dataclass
class JobTable:
    """What was asked (as in ``JobColumns``) and what became of it."""

    job_id: list[int] = field(default_factory=list)
    submit_ns: list[int] = field(default_factory=list)
    gpus: list[int] = field(default_factory=list)  # that it asks for: the most, of a job of several sizes
    #: GPUs that the job holds; while it waits, the fewest that it starts with; once it has ended, those of its last run. ``gpus``, of a job
    #: of one size.
    size_gpus: list[int] = field(default_factory=list)
    duration_ns: list[int] = field(default_factory=list)
    estimate_ns: list[int] = field(default_factory=list)
    #: How long the policy expects a run to take: what the submitter estimates, or what the ledger's predictions say.
    expected_ns: list[int] = field(default_factory=list)
    milli_gpus: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    priority: list[int] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)
    tenant: list[int] = field(default_factory=list)
    utilization: list[float] = field(default_factory=list)
    checkpoint_ns: list[int] = field(default_factory=list)
    require_level: list[int] = field(default_factory=list)
    prefer_level: list[int] = field(default_factory=list)
    slice_gpus: list[int] = field(default_factory=list)
    slice_level: list[int] = field(default_factory=list)
    preemptible: list[bool] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)
    #: The host type that the job runs on or last ran on; before that the one that it asks for, ANY_TYPE where it asks for none or several.
    host_type: list[int] = field(default_factory=list)
    source_row: list[int] = field(default_factory=list)

    lives: Lives = field(default_factory=Lives)  # how far they are, and where their time went
    state: list[State] = field(default_factory=list)
    first_start_ns: list[int] = field(default_factory=list)  # -1: never
    start_ns: list[int] = field(default_factory=list)  # of the current or last run
    end_ns: list[int] = field(default_factory=list)  # -1: not ended
    #: Of the slot: rises whenever the expected end changes, also from job to job, so that older entries of the completion heap are known
    #: to be stale.
    version: list[int] = field(default_factory=list)
    asks: list[Asks] = field(default_factory=list)  # the same columns as one
    sort: list[Sort] = field(default_factory=list)  # from its arrival on
    rows: list[list[Row]] = field(default_factory=list)  # current or last placement
    types: list[tuple[int, ...]] = field(default_factory=list)  # host types that it may run on, the preferred first; (): any
    #: The partitions in which it waits or runs, the preferred first; () until it has arrived, or until it is dispatched to a site.
    partitions: list[tuple[int, ...]] = field(default_factory=list)
    preemptions: list[int] = field(default_factory=list)
    restarts: list[int] = field(default_factory=list)
    shapes: list[TrainingShape] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)
    tenants: list[str] = field(default_factory=list)
    queue_of: dict[str, int] = field(default_factory=dict)  # name -> its place in queues
    tenant_of: dict[str, int] = field(default_factory=dict)
    paces: dict[int, Paces] = field(default_factory=dict)  # slot -> of jobs that are not equally fast on all of their types and sizes
    sizes: dict[int, Sizes] = field(default_factory=dict)  # slot -> of jobs of several sizes
    names: dict[int, str] = field(default_factory=dict)  # slot -> name, of jobs that have one
    slot_of: dict[int, int] = field(default_factory=dict)  # job id -> slot, of the jobs that are here
    on_hold: set[int] = field(default_factory=set)  # slots of pending jobs that are in no queue (scheduler.waiting_room)
    locality: dict[int, Locality] = field(default_factory=dict)  # slot -> of jobs that say where they want to run, or what they read
    after: dict[int, tuple[Dependency, ...]] = field(default_factory=dict)  # slot -> of jobs that depend on others
    recovery: dict[int, Recovery] = field(default_factory=dict)  # slot -> of jobs that say what becomes of them after a fault
    reservation: dict[int, str] = field(default_factory=dict)  # slot -> its name, of jobs that use the hosts of one
    deadline_ns: dict[int, int] = field(default_factory=dict)  # slot -> when it should have ended, of jobs with a deadline
    array_of: dict[int, JobArray] = field(default_factory=dict)  # slot -> of jobs of an array of which not all may run at a time
    left_unfinished: set[int] = field(default_factory=set)  # ids of the jobs that have left and had not finished

    _free_slots: list[int] = field(default_factory=list)
    _shape_of: dict[TrainingShape, int] = field(default_factory=dict)
    _shape_jobs: list[int] = field(default_factory=list)  # by shape: how many jobs have it
    _free_shapes: list[int] = field(default_factory=list)  # places in shapes that no job uses

    def __len__(self) -> int:
        """How many slots there are, free ones included."""
        return len(self.job_id)

    def queue_number(self, name: str) -> int:
        """The number of a queue, which is there from now on."""
        return _number(self.queues, self.queue_of, name)

    def extend(self, jobs: JobColumns, queue_priority: Mapping[str, int], state: State) -> list[int]:
        """Add ``jobs``; queue and tenant names are merged, a queue's priority is added to its jobs'. Returns their slots, in their order.

        Raises ValueError where a job id is there already.
        """
        count = len(jobs)
        ids = jobs.job_id.tolist()
        if len(set(ids)) < count or not self.slot_of.keys().isdisjoint(ids):
            twice = next(job for job, times in Counter(ids).items() if times > 1 or job in self.slot_of)
            raise ValueError(f"job id {twice} is given twice; ids must be unique")
        queues = [self.queue_number(name) for name in jobs.queues]
        tenants = [_number(self.tenants, self.tenant_of, name) for name in jobs.tenants]
        shapes = {-1: -1} | {
            shape: self._use_shape(jobs.shapes[shape], number) for shape, number in Counter(jobs.shape.tolist()).items() if shape >= 0
        }
        extra = [queue_priority.get(name, 0) for name in jobs.queues]
        reused = [self._free_slots.pop() for _ in range(min(count, len(self._free_slots)))]
        slots = reused + list(range(len(self), len(self) + count - len(reused)))
        self.slot_of.update(zip(ids, slots, strict=True))

        def fill(name: str, values: list[Any]) -> None:
            column = getattr(self, name)
            for slot, value in zip(reused, values, strict=False):
                column[slot] = value
            column += values[len(reused) :]

        fill("job_id", ids)
        fill("queue", [queues[queue] for queue in jobs.queue.tolist()])
        fill("tenant", [tenants[tenant] for tenant in jobs.tenant.tolist()])
        fill("shape", [shapes[shape] for shape in jobs.shape.tolist()])
        own = jobs.priority.tolist()
        fill("priority", [priority_of(p, extra[q]) for p, q in zip(own, jobs.queue.tolist(), strict=True)] if any(extra) else own)
        for name in (
            "submit_ns", "gpus", "duration_ns", "estimate_ns", "milli_gpus", "kind", "utilization", "checkpoint_ns",
            "require_level", "prefer_level", "slice_gpus", "slice_level", "preemptible", "host_type", "source_row",
        ):  # fmt: skip
            fill(name, getattr(jobs, name).tolist())
        fill("size_gpus", jobs.gpus.tolist())
        fill("types", jobs.types())
        known: dict[Asks, Asks] = {}
        fill("asks", [known.setdefault(asks, asks) for asks in zip(*(getattr(jobs, name).tolist() for name in _ASKED), strict=True)])
        for row in np.flatnonzero(jobs.choice >= 0).tolist():
            by_type = dict(jobs.choices[jobs.choice[row]])
            if any(pace != 1.0 for pace in by_type.values()):
                self.paces[slots[row]] = Paces(by_type, int(jobs.duration_ns[row]), int(jobs.estimate_ns[row]))
        fill("expected_ns", jobs.estimate_ns.tolist())
        self.lives.extend(reused, jobs.duration_ns.tolist())
        for row in np.flatnonzero((jobs.kind == JobKind.SERVICE) & (jobs.duration_ns == 0)).tolist():
            self.estimate_ns[slots[row]] = self.expected_ns[slots[row]] = ENDLESS
        for name, value in (
            ("state", state), ("first_start_ns", -1), ("start_ns", -1), ("end_ns", -1), ("sort", _NO_SORT), ("rows", _NO_ROWS),
            ("partitions", ()), ("preemptions", 0), ("restarts", 0),
        ):  # fmt: skip
            fill(name, [value] * count)
        self.version += [0] * (count - len(reused))
        self._note_what_few_have(slots, jobs)
        for row in np.flatnonzero(jobs.min_gpus > 0).tolist():
            self._note_sizes(slots[row], int(jobs.min_gpus[row]))
        return slots

    def _note_what_few_have(self, slots: list[int], jobs: JobColumns) -> None:
        for row in np.flatnonzero(jobs.locality >= 0).tolist():
            self.locality[slots[row]] = jobs.localities[jobs.locality[row]]
        for row in np.flatnonzero(jobs.after >= 0).tolist():
            self.after[slots[row]] = jobs.afters[jobs.after[row]]
        for row in np.flatnonzero(jobs.deadline_ns).tolist():
            self.deadline_ns[slots[row]] = int(jobs.submit_ns[row] + jobs.deadline_ns[row])
        arrays = [JobArray(parallel) for parallel in jobs.arrays]
        for row in np.flatnonzero(jobs.array >= 0).tolist():
            self.array_of[slots[row]] = arrays[jobs.array[row]]
        for row in np.flatnonzero(jobs.reservation >= 0).tolist():
            self.reservation[slots[row]] = jobs.reservations[jobs.reservation[row]]
        for row in np.flatnonzero(jobs.recovery).tolist():
            self.recovery[slots[row]] = Recovery(int(jobs.recovery[row]))
        if jobs.names is not None:
            self.names.update((slot, name) for slot, name in zip(slots, jobs.names, strict=True) if name)

    def note_asks(self, slot: int, min_gpus: int = 0) -> None:
        """What the job asks for was written into the columns one by one: bring what follows from them up to date."""
        self.size_gpus[slot] = self.gpus[slot]
        self.asks[slot] = cast(Asks, tuple([getattr(self, name)[slot] for name in _ASKED]))
        self.sizes.pop(slot, None)
        if min_gpus:
            self._note_sizes(slot, min_gpus)

    def _note_sizes(self, slot: int, min_gpus: int) -> None:
        """The job may run with ``min_gpus`` up to its ``gpus``: what it asks for is the least of its sizes."""
        shape = self.shapes[self.shape[slot]] if self.shape[slot] >= 0 else None
        sizes = sizes_of(min_gpus, self.gpus[slot], self.slice_gpus[slot], shape)
        if sizes is None:
            return
        self.sizes[slot] = sizes
        by_type = self.paces[slot].by_type if slot in self.paces else {}
        self.paces[slot] = Paces(by_type, self.duration_ns[slot], self.estimate_ns[slot], sizes.most_gpus)
        self.asks[slot] = (sizes.least_gpus, *self.asks[slot][1:])
        self.size_down(slot)

    def size_down(self, slot: int) -> None:
        """The job, of several sizes, waits: its size is the least, and all of its times are as long as they are with that."""
        self.size_gpus[slot] = self.sizes[slot].least_gpus
        self.bind(slot, self.host_type[slot])
        self.work_at_pace(slot)

    def least_gpus(self, slot: int) -> int:
        """The fewest GPUs that the job may run with."""
        return self.sizes[slot].least_gpus if slot in self.sizes else self.gpus[slot]

    def bind(self, slot: int, number: int) -> None:
        """The job is to run on hosts of this type, or is bound to none (ANY_TYPE). It is expected to take as long as it does there."""
        self.host_type[slot] = number
        if self.paces and (paces := self.paces.get(slot)) is not None:
            self.estimate_ns[slot] = self.expected_ns[slot] = paces.at(number, self.size_gpus[slot], paces.estimate_ns)

    def expected_on(self, slot: int, number: int, gpus: int = 0) -> int:
        """How long a run of the job on hosts of this type is expected to take, with so many GPUs; 0: as many as its size is."""
        if self.paces and (paces := self.paces.get(slot)) is not None:
            return paces.at(number, gpus or self.size_gpus[slot], paces.estimate_ns)
        return self.expected_ns[slot]

    def work_at_pace(self, slot: int) -> None:
        """What is left of its work, and its duration, are from now on as the job does it with the size that it has, on hosts of the type
        that it is bound to.
        """
        if (paces := self.paces.get(slot)) is not None and paces.duration_ns:
            duration_ns = paces.at(self.host_type[slot], self.size_gpus[slot], paces.duration_ns)
            self.lives.remaining_ns[slot] = self.lives.remaining_ns[slot] * duration_ns // self.duration_ns[slot]
            self.duration_ns[slot] = duration_ns
            if slot in self.sizes:
                self._count_in_size(slot, self.sizes[slot])

    def _count_in_size(self, slot: int, sizes: Sizes) -> None:
        """What the job has run is from now on as long as it would have been with its size: the GPU time is the same."""
        if sizes.counted_gpus != (gpus := self.size_gpus[slot]):
            self.lives.scale(slot, sizes.counted_gpus, gpus)
            sizes.counted_gpus = gpus

    def drop(self, slots: Iterable[int]) -> None:
        """These jobs, which have ended, leave; other jobs get their slots."""
        for slot in slots:
            del self.slot_of[self.job_id[slot]]
            self.names.pop(slot, None)
            self.paces.pop(slot, None)
            self.sizes.pop(slot, None)
            self.after.pop(slot, None)
            self.locality.pop(slot, None)
            self.array_of.pop(slot, None)
            self.reservation.pop(slot, None)
            self.recovery.pop(slot, None)
            self.deadline_ns.pop(slot, None)
            if self.state[slot] != State.FINISHED:
                self.left_unfinished.add(self.job_id[slot])
            self.rows[slot] = _NO_ROWS
            if self.shape[slot] >= 0:
                self._leave_shape(self.shape[slot])
            self._free_slots.append(slot)

    def _use_shape(self, shape: TrainingShape, jobs: int) -> int:
        """The number of a shape that so many more jobs have."""
        number = self._shape_of.get(shape)
        if number is None:
            if self._free_shapes:
                number = self._free_shapes.pop()
                self.shapes[number] = shape
            else:
                number = len(self.shapes)
                self.shapes.append(shape)
                self._shape_jobs.append(0)
            self._shape_of[shape] = number
        self._shape_jobs[number] += jobs
        return number

    def _leave_shape(self, number: int) -> None:
        """A job that has the shape leaves; with the last one the shape does."""
        self._shape_jobs[number] -= 1
        if not self._shape_jobs[number]:
            del self._shape_of[self.shapes[number]]
            self._free_shapes.append(number)


#: Shared by all jobs without a placement; rows are replaced, never changed in place.
_NO_ROWS: list[Row] = []
#: The columns that ``asks`` has as one, in this order.
_ASKED = ("gpus", "milli_gpus", "require_level", "prefer_level", "slice_gpus", "slice_level")
_NO_SORT = Sort((0,) * 6, (), (), 0, 0)


def _number(names: list[str], places: dict[str, int], name: str) -> int:
    """The place of ``name`` in ``names``, at the end where it is new."""
    number = places.setdefault(name, len(names))
    if number == len(names):
        names.append(name)
    return number
