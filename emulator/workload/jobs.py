"""Jobs as columns, which is how every source of work (generator, trace reader, API) gives them to the engine."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SECOND = 1_000_000_000  # ns

#: Ids of jobs from the API start here; those of a trace or a generator are lower, so an id is never used by both.
API_FIRST_ID = 1_000_000_000


#: In ``JobColumns.checkpoint_ns``: the interval of Young's, or of Daly's formula, worked out when a run starts.
YOUNG, DALY = -1, -2
#: No formula gives a longer interval between checkpoints (assumed).
LONGEST_CHECKPOINT_SECONDS = 3_600.0


class JobKind(IntEnum):
    """What a job does with its GPUs."""

    GANG = 0  # N GPUs for a duration
    TRAINING = 1  # a gang whose speed follows its share of the fabric
    SERVICE = 2  # one replica of a service; runs for its duration, or until cancelled where that is 0


class Recovery(IntEnum):
    """What becomes of a job that a fault has interrupted, once that is noticed."""

    DEFAULT = 0  # what the scenario says
    REQUEUE = 1  # it gives back its GPUs, and waits for others
    IN_PLACE = 2  # it keeps them, where the fault took a process, or what a reset brings back
    SPARES = 3  # it keeps them, and spares stand in for broken hosts
    ELASTIC = 4  # it goes on with those that are left, where it is of several sizes


#: By the words of scenarios and requests.
RECOVERIES = {one.name.lower().replace("_", "-"): one for one in Recovery if one != Recovery.DEFAULT}

#: In ``JobColumns.require_level`` and ``prefer_level``: any level.
ANY_LEVEL = -1
#: In ``JobColumns.host_type``: any type.
ANY_TYPE = -1
#: In ``JobColumns.source_row``: the job comes from no file.
NO_ROW = 0
#: Names of levels a job may require or prefer, in the order of ``JobColumns.require_level``.
LEVEL_NAMES = ("host", "domain", "rack", "leaf", "pod", "building", "site")


#: A host type, and how fast the job runs there: ``duration_ns`` and ``estimate_ns`` are those at a pace of 1.
TypeAndPace = tuple[int, float]
#: The id of a job that another depends on, and whether any end of it will do (Slurm's afterany); otherwise it must finish (afterok).
Dependency = tuple[int, bool]


class Locality(NamedTuple):
    """Names of sites and of a dataset; "": it says none. Read only where jobs are dispatched to sites."""

    site: str = ""  # it runs there and nowhere else
    prefer_site: str = ""
    dataset: str = ""  # that it reads


NO_WISH = Locality()


@dataclass(frozen=True)
class TrainingShape:
    """How one training job uses the fabric: a step is compute plus the part of the communication that is not hidden behind it.

    With b the bytes per second that each lane of the job gets and a the latency of the placement's slowest hop, a step takes
    ``compute_seconds + max(exposed_ratio r, r - overlap_seconds) + max(0, 2 pipeline_bytes / b - pipeline_overlap_seconds)
    + max(0, context_bytes / b - context_overlap_seconds) + expert_bytes / b`` where ``r = ring_bytes / b + hops a + latency_seconds``; what
    sends nothing adds nothing. The formula is in ``workload.training.step``; which links the bytes load is worked out by ``fabric.traffic``
    from the placement.

    The job's GPUs in order of host number are laid out tensor, context, stages, replicas from the inside out: replica k is GPUs
    ``k * replica_gpus`` up to ``(k + 1) * replica_gpus``.
    """

    compute_seconds: float
    ring_bytes: float  # bytes each lane sends per step for data parallelism, 2 (n - 1) / n of the gradient shard included
    overlap_seconds: float
    latency_seconds: float  # a fixed part
    model_flops: float  # per step over the whole job, for MFU
    hops: float = 0.0  # latencies of the slowest hop in one step
    collective: str = "ring"  # of the data parallelism, on each rail between domains: ring or tree (double binary)
    replica_gpus: int = 1  # GPUs of one replica, or of several whose stages share domains: the stride of the data-parallel rings
    stage_gpus: int = 1  # GPUs of one pipeline stage of these: the stride of the point-to-point traffic
    pipeline_bytes: float = 0.0  # bytes each lane sends per step to the next stage, and as many back
    expert_gpus: int = 1  # GPUs of one expert-parallel group
    expert_bytes: float = 0.0  # bytes each lane sends per step in all-to-alls to the members of its group outside its domain
    pipeline_overlap_seconds: float = 0.0  # of the point-to-point traffic, what hides behind compute
    exposed_ratio: float = 0.0  # the part of the data-parallel communication that nothing hides: that of the last gradients
    context_gpus: int = 1  # consecutive GPUs that share the tokens of a sequence
    context_bytes: float = 0.0  # bytes each lane sends per step to those of them in other domains
    context_overlap_seconds: float = 0.0  # of that traffic, what hides behind compute
    peak_ratio: float = 1.0  # dense peak of the precision over that of bf16, for MFU
    state_bytes: float = 0.0  # of a checkpoint of the whole job; 0: not known
    step_tokens: float = 0.0  # that a step trains on, over the whole job; 0: not known

    @property
    def lane_bytes(self) -> float:
        """What each lane sends per step over the fabric."""
        return self.ring_bytes + 2.0 * self.pipeline_bytes + self.expert_bytes + self.context_bytes


@dataclass(frozen=True, eq=False)
class JobColumns:
    """Jobs in order of submission; every array has the shape (jobs,). Job ids are unique and given by the source.

    ``duration_ns`` is the running time when nothing disturbs the job and the fabric gives it all it asks for. ``estimate_ns`` is the
    running time that the submitter states (backfill plans with it); sources without one repeat the duration. Both are those with all of
    ``gpus``; a job of ``min_gpus`` above 0 may run with fewer, down to that many, and takes longer in proportion. ``milli_gpus`` below 1000
    means a share of one GPU (then ``gpus`` is 1). A job of ``slice_gpus`` above 0 is cut into slices of so many GPUs, each of which lies
    inside one unit of ``slice_level`` (Kueue's slices, Slurm's ``--segment``). ``utilization`` is SM activity while computing, 0 to 1: it
    sets the power. ``shape`` indexes ``shapes`` for training jobs and is -1 for the rest.
    """

    job_id: NDArray[np.int64]
    submit_ns: NDArray[np.int64]
    gpus: NDArray[np.int32]
    min_gpus: NDArray[np.int32]  # 0: it runs with all of ``gpus`` and no other number
    duration_ns: NDArray[np.int64]
    estimate_ns: NDArray[np.int64]
    milli_gpus: NDArray[np.int32]
    kind: NDArray[np.int8]
    priority: NDArray[np.int32]
    queue: NDArray[np.int32]  # index into queues
    tenant: NDArray[np.int32]  # index into tenants
    utilization: NDArray[np.float64]
    checkpoint_ns: NDArray[np.int64]  # YOUNG, DALY; 0: the scenario's, and by default it begins anew after an interruption
    deadline_ns: NDArray[np.int64]  # after its submission, by when it should have ended; 0: no deadline
    require_level: NDArray[np.int8]  # index into LEVEL_NAMES or ANY_LEVEL
    prefer_level: NDArray[np.int8]
    slice_gpus: NDArray[np.int32]  # 0: it is not cut
    slice_level: NDArray[np.int8]  # ANY_LEVEL where it is not cut
    preemptible: NDArray[np.bool_]
    shape: NDArray[np.int32]
    host_type: NDArray[np.int8]  # index into the cluster's host types, or ANY_TYPE
    choice: NDArray[np.int32]  # index into choices, of a job that may run on several types; or -1
    after: NDArray[np.int32]  # index into afters, of a job that depends on others; or -1
    array: NDArray[np.int32]  # index into arrays, of a job of an array of which not all may run at a time; or -1
    locality: NDArray[np.int32]  # index into localities, of a job that says where it wants to run, or what it reads; or -1
    reservation: NDArray[np.int32]  # index into reservations, of a job that uses the hosts of one (Slurm's --reservation); or -1
    recovery: NDArray[np.int8]  # a ``Recovery``
    source_row: NDArray[np.int64]  # of the trace: its line, or the number of its object, from 1; NO_ROW where there is none
    shapes: tuple[TrainingShape, ...] = ()
    choices: tuple[tuple[TypeAndPace, ...], ...] = ()  # the preferred first
    afters: tuple[tuple[Dependency, ...], ...] = ()
    #: Beside ``afters``, by places in these columns in place of ids: of jobs that have none yet. None of it where no job depends so.
    afters_here: tuple[tuple[Dependency, ...], ...] = ()
    arrays: tuple[int, ...] = ()  # how many of its jobs may run at a time
    localities: tuple[Locality, ...] = ()
    reservations: tuple[str, ...] = ()  # names
    queues: tuple[str, ...] = ("default",)
    tenants: tuple[str, ...] = ("default",)
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.job_id)

    def types(self) -> list[tuple[int, ...]]:
        """The host types on which each job may run, the preferred first; none where it may run on any."""
        single = {number: (() if number == ANY_TYPE else (number,)) for number in np.unique(self.host_type).tolist()}
        of_one: list[tuple[int, ...]] = [single[number] for number in self.host_type.tolist()]
        for row in np.flatnonzero(self.choice >= 0).tolist():
            of_one[row] = tuple([number for number, _ in self.choices[self.choice[row]]])
        return of_one


def job_columns(count: int, **columns: object) -> JobColumns:
    """``count`` jobs with the defaults of a plain gang, and ``columns`` instead where given (arrays or scalars)."""
    defaults: dict[str, Any] = {
        "job_id": np.arange(count),
        "min_gpus": 0,
        "milli_gpus": 1000,
        "kind": int(JobKind.GANG),
        "priority": 0,
        "queue": 0,
        "tenant": 0,
        "utilization": 1.0,
        "checkpoint_ns": 0,
        "deadline_ns": 0,
        "require_level": ANY_LEVEL,
        "prefer_level": ANY_LEVEL,
        "slice_gpus": 0,
        "slice_level": ANY_LEVEL,
        "preemptible": True,
        "shape": -1,
        "host_type": ANY_TYPE,
        "choice": -1,
        "after": -1,
        "array": -1,
        "locality": -1,
        "reservation": -1,
        "recovery": int(Recovery.DEFAULT),
        "source_row": NO_ROW,
    }
    given = defaults | columns
    given.setdefault("estimate_ns", given["duration_ns"])
    dtypes = {
        "job_id": np.int64, "submit_ns": np.int64, "gpus": np.int32, "min_gpus": np.int32, "duration_ns": np.int64, "estimate_ns": np.int64,
        "milli_gpus": np.int32, "kind": np.int8, "priority": np.int32, "queue": np.int32, "tenant": np.int32,
        "utilization": np.float64, "checkpoint_ns": np.int64, "deadline_ns": np.int64, "require_level": np.int8, "prefer_level": np.int8,
        "slice_gpus": np.int32, "slice_level": np.int8, "preemptible": np.bool_, "shape": np.int32,
        "host_type": np.int8, "choice": np.int32, "after": np.int32, "array": np.int32, "locality": np.int32, "reservation": np.int32,
        "recovery": np.int8, "source_row": np.int64,
    }  # fmt: skip
    for name, dtype in dtypes.items():
        column: NDArray[Any] = np.asarray(given[name], dtype=dtype)
        given[name] = np.ascontiguousarray(column if column.shape == (count,) else np.broadcast_to(column, (count,)))
    return JobColumns(**given)


@dataclass
class SourceReport:
    """What a source of work kept, and why it dropped the rest."""

    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)  # notes on some of the kept rows, with their count
    notes: list[str] = field(default_factory=list)  # notes on the source as a whole
    path: str = ""
    format: str = ""
    zero_seconds: float = 0.0  # emulated time 0 on the source's own clock

    def as_dict(self) -> dict[str, Any]:
        """As ``sources`` of ``summary.json`` has it; ``read`` is the rows that were looked at so far."""
        return {
            "path": self.path,
            "format": self.format,
            "read": self.kept + sum(self.dropped.values()),
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "zero_seconds": self.zero_seconds,
            "notes": [*self.notes, *(f"{count:,} of the kept rows: {what}" for what, count in self.noted.items())],
        }


#: A source of work: batches in order of submission; ``submit_ns`` never decreases from batch to batch.
JobSource = Iterator[JobColumns]

COLUMN_NAMES = tuple(
    f.name
    for f in fields(JobColumns)
    if f.name not in ("shapes", "choices", "afters", "afters_here", "arrays", "localities", "reservations", "queues", "tenants", "names")
)
