"""Submissions as columns, before they are validated: a JobSpec is a batch of its replicas.

A draft's columns all have the shape (jobs,) and may hold any value that the message can hold; ``validate`` says which jobs are sound.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from emulator.engine.bounds import LONGEST_YEARS
from emulator.engine.errors import InvalidRequest
from emulator.service.errors import Malformed
from emulator.v1 import job_pb2
from emulator.workload.jobs import DALY, NO_WISH, RECOVERIES, SECOND, YOUNG, Dependency, JobKind, Locality, Recovery

#: Jobs that one batch may hold.
MAX_BATCH_JOBS = 65_536
#: Replicas that one service may be submitted with, and jobs of one array.
MAX_REPLICAS = 10_000
#: Jobs that one job may depend on, and all jobs of a batch together.
MAX_DEPENDENCIES = 1000
MAX_BATCH_DEPENDENCIES = 1_000_000

#: Columns that a JobSpec and a batch call as a draft does.
_SAME_WORDS = ("gpus", "milli_gpus", "require_level", "prefer_level", "slice_gpus", "slice_level", "gpu_type", "min_gpus")

KIND_NUMBER = {None: JobKind.GANG, "gang": JobKind.GANG, "training": JobKind.TRAINING, "service": JobKind.SERVICE}


@dataclass(frozen=True, eq=False)
class Draft:
    """What was submitted. ``fields`` gives each column the name that its submitter knows it by."""

    count: int
    gpus: NDArray[np.int64]
    min_gpus: NDArray[np.int64]
    milli_gpus: NDArray[np.int64]
    duration_ns: NDArray[np.int64]
    estimate_ns: NDArray[np.int64]
    checkpoint_ns: NDArray[np.int64]
    deadline_ns: NDArray[np.int64]
    priority: NDArray[np.int64]
    preemptible: NDArray[np.bool_]
    utilization: NDArray[np.float64]
    queue: NDArray[np.int64]
    tenant: NDArray[np.int64]
    workload: NDArray[np.int64]
    require_level: NDArray[np.int64]
    prefer_level: NDArray[np.int64]
    slice_gpus: NDArray[np.int64]
    slice_level: NDArray[np.int64]
    names: Sequence[str]  # none, or count of them
    queues: tuple[str, ...]
    tenants: tuple[str, ...]
    workloads: tuple[job_pb2.Workload, ...]
    levels: tuple[str, ...]
    gpu_type: NDArray[np.int64]
    gpu_types: tuple[str, ...]
    fields: Mapping[str, str]
    dependency: NDArray[np.int64]
    afters: tuple[tuple[Dependency, ...], ...]  # ids, by dependency
    afters_here: tuple[tuple[Dependency, ...], ...]  # places in the draft
    array: NDArray[np.int64]
    arrays: tuple[int, ...]  # so many of the jobs may run at a time; 0: all
    locality: Locality = NO_WISH  # of all of the jobs
    reservation: str = ""  # whose hosts all of them use
    recovery: int = Recovery.DEFAULT  # of all of them

    def field(self, column: str) -> str:
        return self.fields.get(column, column)


def duration_ns(duration: Duration, field: str) -> int:
    """A Duration in nanoseconds, as large as it may be. Raises InvalidRequest where its two halves disagree."""
    if not -SECOND < duration.nanos < SECOND or duration.seconds * duration.nanos < 0:
        raise InvalidRequest(
            f"{field} has {duration.seconds} s and {duration.nanos} ns",
            field=field,
            allowed="nanos within a second, of the same sign as seconds",
        )
    return max(-(2**63), min(2**63 - 1, duration.seconds * SECOND + duration.nanos))


def kind_of(workload: job_pb2.Workload) -> JobKind:
    """What the message's ``kind`` asks for; a gang where it asks for nothing."""
    return KIND_NUMBER[workload.WhichOneof("kind")]


def _utilization(workload: job_pb2.Workload) -> float:
    """The ratio that ``workload`` asks for; 1 where it asks for none."""
    match workload.WhichOneof("kind"):
        case "gang":
            part: job_pb2.GangWorkload | job_pb2.ServiceWorkload = workload.gang
        case "service":
            part = workload.service
        case _:
            return 1.0
    return part.utilization_ratio if part.HasField("utilization_ratio") else 1.0


def draft_of_spec(spec: job_pb2.JobSpec) -> Draft:
    """``spec`` as a draft of one job, or of one per replica or of its array. Raises InvalidRequest where it cannot be put into columns."""
    match spec.WhichOneof("workload"):
        case "training":
            workload = job_pb2.Workload(training=spec.training)
        case "service":
            workload = job_pb2.Workload(service=spec.service)
        case _:
            workload = job_pb2.Workload(gang=spec.gang)
    replicas = spec.service.replicas if spec.HasField("service") and spec.service.HasField("replicas") else 1
    if not 1 <= replicas <= MAX_REPLICAS:
        field = "spec.service.replicas"
        raise InvalidRequest(f"{field} is {replicas}", field=field, allowed=f"1 to {MAX_REPLICAS:,}")
    count = replicas * _array_size(spec)

    if spec.slice_level and not spec.slice_gpus:
        raise InvalidRequest(
            f"spec.slice_level is {spec.slice_level!r:.80} without slice_gpus", field="spec.slice_gpus", allowed="the GPUs of a slice"
        )

    def column(value: float) -> NDArray[np.int64]:
        return np.full(count, value, dtype=np.int64)

    return Draft(
        count=count,
        gpus=column(spec.gpus),
        min_gpus=column(spec.min_gpus),
        milli_gpus=column(spec.milli_gpus if spec.HasField("milli_gpus") else 1000),
        duration_ns=column(duration_ns(spec.duration, "spec.duration")),
        estimate_ns=column(duration_ns(spec.estimate, "spec.estimate")),
        checkpoint_ns=column(_checkpoint_ns(spec)),
        deadline_ns=column(_deadline_ns(spec)),
        priority=column(spec.priority),
        preemptible=np.full(count, spec.preemptible if spec.HasField("preemptible") else True),
        utilization=np.full(count, _utilization(workload)),
        queue=column(0),
        tenant=column(0),
        workload=column(0),
        require_level=column(0),
        prefer_level=column(1),
        slice_gpus=column(spec.slice_gpus),
        slice_level=column(2),
        names=[f"{spec.name}[{place}]" for place in range(count)] if spec.name and spec.HasField("array_size") else [spec.name] * count,
        queues=(spec.queue or "default",),
        tenants=(spec.tenant or "default",),
        workloads=(workload,),
        levels=(spec.require_level, spec.prefer_level, spec.slice_level),
        gpu_type=column(0),
        gpu_types=(spec.gpu_type,),
        fields={
            "duration_ns": "spec.duration",
            "estimate_ns": "spec.estimate",
            "checkpoint_ns": "spec.checkpoint_interval",
            "deadline_ns": "spec.deadline",
            "utilization": f"spec.{spec.WhichOneof('workload') or 'gang'}.utilization_ratio",
            "training": "spec.training",
        }
        | {name: f"spec.{name}" for name in ("name", "queue", "tenant", *_SAME_WORDS)},
        dependency=column(0),
        afters=(_dependencies(spec),),
        afters_here=((),),
        array=column(0),
        arrays=(spec.array_parallel,),
        locality=Locality(spec.site, spec.prefer_site, spec.dataset),
        reservation=spec.reservation,
        recovery=_word("recovery", spec.recovery, RECOVERIES),
    )


def _array_size(spec: job_pb2.JobSpec) -> int:
    """How many jobs of the spec there are to be. Raises InvalidRequest."""
    size = spec.array_size if spec.HasField("array_size") else 1
    if not 1 <= size <= MAX_REPLICAS:
        raise InvalidRequest(f"spec.array_size is {size}", field="spec.array_size", allowed=f"1 to {MAX_REPLICAS:,}")
    if spec.HasField("array_size") and spec.HasField("service"):
        raise InvalidRequest("spec.array_size is given for a service", field="spec.array_size", allowed="spec.service.replicas")
    if spec.HasField("array_parallel"):
        field, parallel = "spec.array_parallel", spec.array_parallel
        if not spec.HasField("array_size"):
            raise InvalidRequest(f"{field} is {parallel} without an array", field=field, allowed="with spec.array_size")
        if parallel < 1:
            raise InvalidRequest(f"{field} is {parallel}", field=field, allowed="1 or more")
    return size


def _word(name: str, word: str, known: Mapping[str, int]) -> int:
    """What a word of the spec stands for; 0 for none. Raises InvalidRequest naming those there are."""
    if word and word not in known:
        raise InvalidRequest(f"spec.{name} is {word!r:.80}", field=f"spec.{name}", allowed=", ".join(known))
    return known[word] if word else 0


def _checkpoint_ns(spec: job_pb2.JobSpec) -> int:
    """As ``JobColumns.checkpoint_ns``. Raises InvalidRequest where both an interval and a formula are given, or a negative one."""
    every_ns = duration_ns(spec.checkpoint_interval, "spec.checkpoint_interval")
    rule = _word("checkpoint", spec.checkpoint, {"young": YOUNG, "daly": DALY})
    if rule and every_ns:
        raise InvalidRequest("spec.checkpoint is given with an interval", field="spec.checkpoint", allowed="one of them")
    return rule or (every_ns if every_ns >= 0 else min(every_ns, DALY - 1))


def _deadline_ns(spec: job_pb2.JobSpec) -> int:
    """0 where there is none. Raises InvalidRequest for one of 0, which nobody could meet."""
    deadline = duration_ns(spec.deadline, "spec.deadline")
    if spec.HasField("deadline") and not deadline:
        raise InvalidRequest("spec.deadline is 0 s", field="spec.deadline", allowed=f"more than 0, at most {LONGEST_YEARS} years")
    return deadline


def _dependencies(spec: job_pb2.JobSpec) -> tuple[Dependency, ...]:
    """What the spec's jobs depend on, each job once, in the order of the ids. Raises InvalidRequest."""
    if len(spec.after) + len(spec.after_any) > MAX_DEPENDENCIES:
        count = len(spec.after) + len(spec.after_any)
        raise InvalidRequest(
            f"spec.after and spec.after_any have {count:,} ids", field="spec.after", allowed=f"at most {MAX_DEPENDENCIES:,}"
        )
    return _merged(spec.after, spec.after_any)


def _merged(after: Iterable[int], after_any: Iterable[int]) -> tuple[Dependency, ...]:
    """Each job once; where it is in both, the stricter counts."""
    return tuple(sorted((dict.fromkeys(after_any, True) | dict.fromkeys(after, False)).items()))


def draft_of_batch(batch: job_pb2.JobBatch) -> Draft:
    """``batch`` as a draft. Raises Malformed where its columns do not fit together: that is no single job's fault."""
    count = batch.count
    if not 1 <= count <= MAX_BATCH_JOBS:
        raise Malformed(f"batch.count is {count}", field="batch.count", allowed=f"1 to {MAX_BATCH_JOBS:,}")
    if len(batch.names) not in {0, count}:
        raise Malformed(f"batch.names has {len(batch.names)} values", field="batch.names", allowed=f"none or {count:,}")
    if not batch.gpus:
        raise Malformed("batch.gpus is empty", field="batch.gpus", allowed=f"1 or {count:,} values")

    def column(name: str, default: object, dtype: type[np.generic] = np.int64) -> NDArray[Any]:
        values = getattr(batch, name)
        if len(values) not in {0, 1, count}:
            raise Malformed(f"batch.{name} has {len(values)} values", field=f"batch.{name}", allowed=f"none, 1 or {count:,}")
        if len(values) == count:
            return np.fromiter(values, dtype=dtype, count=count)
        return np.full(count, values[0] if values else default, dtype=dtype)

    def indexes(name: str, entries: str, size: int) -> NDArray[np.int64]:
        index: NDArray[np.int64] = column(name, 0)
        if int(index.max()) >= size:
            raise Malformed(
                f"batch.{name} has the index {int(index.max())}, but batch.{entries} has {size} entries",
                field=f"batch.{name}",
                allowed=f"0 to {size - 1}",
            )
        return index

    queues = tuple(name or "default" for name in batch.queues) or ("default",)
    tenants = tuple(name or "default" for name in batch.tenants) or ("default",)
    workloads = tuple(batch.workloads) or (job_pb2.Workload(),)
    levels = tuple(batch.levels) or ("",)
    gpu_types = tuple(batch.gpu_types) or ("",)
    dependencies = tuple(batch.dependencies) or (job_pb2.Dependencies(),)
    dependency = indexes("dependency", "dependencies", len(dependencies))
    _check_dependencies(dependencies, dependency)
    arrays = tuple(batch.array_parallel) or (0,)
    workload = indexes("workload", "workloads", len(workloads))
    if batch.utilization_ratio:
        utilization = column("utilization_ratio", 1.0, np.float64)
    else:
        utilization = np.array([_utilization(entry) for entry in workloads])[workload]
    return Draft(
        count=count,
        gpus=column("gpus", 0),
        min_gpus=column("min_gpus", 0),
        milli_gpus=column("milli_gpus", 1000),
        duration_ns=column("duration_nanoseconds", 0),
        estimate_ns=column("estimate_nanoseconds", 0),
        checkpoint_ns=column("checkpoint_nanoseconds", 0),
        deadline_ns=column("deadline_nanoseconds", 0),
        priority=column("priority", 0),
        preemptible=column("preemptible", True, np.bool_),
        utilization=utilization,
        queue=indexes("queue", "queues", len(queues)),
        tenant=indexes("tenant", "tenants", len(tenants)),
        workload=workload,
        require_level=indexes("require_level", "levels", len(levels)),
        prefer_level=indexes("prefer_level", "levels", len(levels)),
        slice_gpus=column("slice_gpus", 0),
        slice_level=indexes("slice_level", "levels", len(levels)),
        names=batch.names,
        queues=queues,
        tenants=tenants,
        workloads=workloads,
        levels=levels,
        gpu_type=indexes("gpu_type", "gpu_types", len(gpu_types)),
        gpu_types=gpu_types,
        fields={
            "name": "batch.names",
            "duration_ns": "batch.duration_nanoseconds",
            "estimate_ns": "batch.estimate_nanoseconds",
            "checkpoint_ns": "batch.checkpoint_nanoseconds",
            "deadline_ns": "batch.deadline_nanoseconds",
            "utilization": "batch.utilization_ratio",
            "training": "batch.workloads.training",
            "service": "batch.workloads.service",
            "queue": "batch.queues",
            "tenant": "batch.tenants",
            "dependency": "batch.dependencies",
            "array": "batch.array_parallel",
        }
        | {name: f"batch.{name}" for name in _SAME_WORDS},
        dependency=dependency,
        afters=tuple([_merged(one.after, one.after_any) for one in dependencies]),
        afters_here=tuple([_merged(one.after_places, one.after_any_places) for one in dependencies]),
        array=indexes("array", "array_parallel", len(arrays)),
        arrays=arrays,
    )


def _check_dependencies(dependencies: Sequence[job_pb2.Dependencies], dependency: NDArray[np.int64]) -> None:
    """Raises Malformed where the jobs of a batch depend on more than the emulation should remember for one call."""
    counts = [len(one.after) + len(one.after_any) + len(one.after_places) + len(one.after_any_places) for one in dependencies]
    total = int(np.array(counts, dtype=np.int64)[dependency].sum(dtype=np.int64))
    if total > MAX_BATCH_DEPENDENCIES:
        field = "batch.dependencies"
        raise Malformed(f"the jobs of the batch depend on {total:,} others", field=field, allowed=f"at most {MAX_BATCH_DEPENDENCIES:,}")
