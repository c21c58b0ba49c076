"""Jobs as a client describes them: plain records and columns in, messages out."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from emulator.engine.errors import InvalidRequest
from emulator.service.draft import MAX_BATCH_JOBS
from emulator.service.errors import seconds_message
from emulator.v1 import job_pb2
from emulator.workload.jobs import LEVEL_NAMES, JobColumns, JobKind, TrainingShape

#: What a message's Duration holds, 10,000 years; the server allows less.
MAX_SECONDS = 315_576_000_000.0


@dataclass(frozen=True)
class TrainingSpec:
    """A model and its parallelism, or a measured ``step``; what is None is left to the server (job.proto has the defaults)."""

    name: str = ""  # a model that the emulator knows, e.g. "llama3-70b"
    steps: int = 0  # this or the job's duration
    parameters: float | None = None
    layers: int | None = None
    hidden_size: int | None = None
    attention_heads: int | None = None
    sequence_length: int | None = None
    vocabulary_size: int | None = None
    global_batch_size: int | None = None
    micro_batch_size: int | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    interleave: int | None = None
    recompute: bool = False
    expert_parallel: int | None = None
    collective: str = ""  # ring or tree
    context_parallel: int | None = None
    precision: str = ""  # bf16, fp8 or nvfp4
    zero_stage: int | None = None  # 1 or 3
    step: TrainingShape | None = None  # instead of a model


@dataclass(frozen=True)
class JobSpec:
    """A job to submit: a gang, unless ``training`` or ``replicas`` (then a service) is given. Durations are emulated seconds."""

    gpus: int
    name: str = ""
    queue: str = ""
    tenant: str = ""
    priority: int = 0
    milli_gpus: int = 1000
    duration_seconds: float = 0.0
    estimate_seconds: float = 0.0
    deadline_seconds: float = 0.0  # by so long after its submission it should have ended; 0: no deadline
    require_level: str = ""
    prefer_level: str = ""
    preemptible: bool = True
    checkpoint_seconds: float = 0.0
    checkpoint: str = ""  # young or daly, in place of checkpoint_seconds
    recovery: str = ""  # requeue, in-place, spares or elastic, in place of the scenario's
    utilization_ratio: float = 1.0
    training: TrainingSpec | None = None
    replicas: int | None = None
    gpu_type: str = ""  # a GPU's model or a host type of the cluster; any without
    slice_gpus: int = 0  # cut into slices of so many GPUs, each inside one unit of slice_level
    slice_level: str = ""
    after: Sequence[int] = ()  # ids of jobs that must have finished
    after_any: Sequence[int] = ()  # ids of jobs that must have ended, in any way
    array_size: int | None = None  # so many jobs like this one, called name[0] and so on
    array_parallel: int | None = None  # at most so many of them run at a time
    reservation: str = ""  # whose hosts it uses, while the reservation lasts
    site: str = ""  # the only site at which it may run, where jobs are dispatched to sites
    prefer_site: str = ""
    dataset: str = ""  # that it reads
    min_gpus: int = 0  # the fewest that it may run with; 0: it runs with all of gpus


@dataclass(frozen=True)
class Refusal:
    """``count`` consecutive jobs from ``index`` (in the order sent) that were refused for one reason."""

    index: int
    count: int
    code: str
    text: str
    field: str
    allowed: str
    retry_seconds: float  # 0: trying again will not help


@dataclass(frozen=True, eq=False)
class Submitted:
    """What became of a bulk submission; ``job_ids`` in the order sent, -1 where refused."""

    job_ids: NDArray[np.int64]
    accepted: int
    refused: int
    refusals: tuple[Refusal, ...]


def spec_message(spec: JobSpec) -> job_pb2.JobSpec:
    """``spec`` as a message. Raises InvalidRequest for values that a message cannot hold; what is allowed the server says."""
    message = job_pb2.JobSpec(
        name=spec.name,
        queue=spec.queue,
        tenant=spec.tenant,
        priority=_integer("priority", spec.priority),
        gpus=_integer("gpus", spec.gpus),
        min_gpus=_integer("min_gpus", spec.min_gpus),
        milli_gpus=_integer("milli_gpus", spec.milli_gpus),
        require_level=spec.require_level,
        prefer_level=spec.prefer_level,
        preemptible=spec.preemptible,
        gpu_type=spec.gpu_type,
        slice_gpus=_integer("slice_gpus", spec.slice_gpus),
        slice_level=spec.slice_level,
        site=spec.site,
        prefer_site=spec.prefer_site,
        dataset=spec.dataset,
        after=[_integer("after", job_id, 63) for job_id in spec.after],
        after_any=[_integer("after_any", job_id, 63) for job_id in spec.after_any],
        array_size=None if spec.array_size is None else _integer("array_size", spec.array_size),
        array_parallel=None if spec.array_parallel is None else _integer("array_parallel", spec.array_parallel),
        reservation=spec.reservation,
        checkpoint=spec.checkpoint,
        recovery=spec.recovery,
    )
    for field, seconds in (
        ("duration", spec.duration_seconds),
        ("estimate", spec.estimate_seconds),
        ("deadline", spec.deadline_seconds),
        ("checkpoint_interval", spec.checkpoint_seconds),
    ):
        if seconds:
            getattr(message, field).CopyFrom(_duration(field, seconds))
    if spec.training is not None:
        if spec.training.step is not None:
            message.training.step.CopyFrom(job_pb2.TrainingStep(**_whole_numbers(vars(spec.training.step))))
        else:
            model = {name: value for name, value in vars(spec.training).items() if name not in ("steps", "step")}
            message.training.model.CopyFrom(job_pb2.TrainingModel(**_whole_numbers(model)))
        message.training.steps = _integer("steps", spec.training.steps, 63)
    elif spec.replicas is not None:
        message.service.CopyFrom(
            job_pb2.ServiceWorkload(replicas=_integer("replicas", spec.replicas), utilization_ratio=spec.utilization_ratio)
        )
    else:
        message.gang.utilization_ratio = spec.utilization_ratio
    return message


def _whole_numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, its whole numbers checked to fit a message."""
    return {name: _integer(name, value) if type(value) is int else value for name, value in given.items() if value is not None}


def _integer(field: str, value: int, bits: int = 31) -> int:
    if not -(2**bits) <= value < 2**bits:
        raise InvalidRequest(f"{field} is {value}", field=field, allowed=f"{-(2**bits)} to {2**bits - 1}")
    return value


def _duration(field: str, seconds: float) -> Duration:
    if not math.isfinite(seconds) or abs(seconds) >= MAX_SECONDS:
        raise InvalidRequest(f"{field} is {seconds} s", field=field, allowed="a finite number of seconds")
    return seconds_message(seconds)


def batches_of(jobs: Iterable[JobColumns], batch_jobs: int) -> Iterator[job_pb2.JobBatch]:
    """``jobs`` as batches of at most ``batch_jobs``."""
    size = max(1, min(batch_jobs, MAX_BATCH_JOBS))
    for columns in jobs:
        for first in range(0, len(columns), size):
            yield batch_message(columns, slice(first, first + size))


def batch_message(jobs: JobColumns, rows: slice) -> job_pb2.JobBatch:
    """Some rows of ``jobs``, at least one, as a batch; a column of equal values goes as one.

    Raises InvalidRequest where one depends on a job of another batch by its place, is of an array with jobs in another, uses a reservation,
    or names a site or dataset: a batch has no columns for the last.
    """
    for field, values in (("reservation", jobs.reservation), ("site or dataset", jobs.locality)):
        if (values[rows] >= 0).any():
            raise InvalidRequest(f"{field} cannot be sent in a batch", field=field, allowed="in a JobSpec, one submission each")

    def column(values: NDArray[Any]) -> list[Any]:
        part = values[rows]
        return list((part[:1] if (part == part[0]).all() else part).tolist())

    kind, shape = jobs.kind[rows].astype(np.int64), jobs.shape[rows].astype(np.int64)
    pairs, workload = np.unique(np.stack([kind, shape]), axis=1, return_inverse=True)
    levels = ("", *LEVEL_NAMES)
    return job_pb2.JobBatch(
        count=len(kind),
        names=jobs.names[rows] if jobs.names is not None else (),
        gpus=column(jobs.gpus),
        min_gpus=column(jobs.min_gpus),
        duration_nanoseconds=column(jobs.duration_ns),
        estimate_nanoseconds=column(jobs.estimate_ns),
        milli_gpus=column(jobs.milli_gpus),
        priority=column(jobs.priority),
        checkpoint_nanoseconds=column(jobs.checkpoint_ns),
        deadline_nanoseconds=column(jobs.deadline_ns) if jobs.deadline_ns.any() else (),
        **_dependencies(jobs, rows),
        **_arrays(jobs, rows),
        preemptible=column(jobs.preemptible),
        queue=column(jobs.queue),
        queues=jobs.queues,
        tenant=column(jobs.tenant),
        tenants=jobs.tenants,
        workload=workload.tolist(),
        workloads=[_workload(jobs, int(kind), int(shape)) for kind, shape in pairs.T],
        require_level=(jobs.require_level[rows].astype(np.int64) + 1).tolist(),
        prefer_level=(jobs.prefer_level[rows].astype(np.int64) + 1).tolist(),
        slice_gpus=column(jobs.slice_gpus),
        slice_level=column(jobs.slice_level.astype(np.int64) + 1),
        levels=levels,
        utilization_ratio=column(jobs.utilization),
    )


def _dependencies(jobs: JobColumns, rows: slice) -> dict[str, Any]:
    """The columns of a batch that say what its jobs depend on."""
    if not jobs.afters:
        return {}
    first, end, _ = rows.indices(len(jobs))
    used, dependency = np.unique(jobs.after[rows], return_inverse=True)
    found = []
    for entry in used.tolist():
        others = jobs.afters[entry] if entry >= 0 else ()
        places = jobs.afters_here[entry] if entry >= 0 and jobs.afters_here else ()
        if not all(first <= place < end for place, _ in places):
            allowed = "its id, when it is known; or more jobs in a batch"
            raise InvalidRequest("a job depends on the place of one of another batch", field="after", allowed=allowed)
        message = job_pb2.Dependencies(after=[job_id for job_id, any_end in others if not any_end])
        message.after_any.extend([job_id for job_id, any_end in others if any_end])
        message.after_places.extend([place - first for place, any_end in places if not any_end])
        message.after_any_places.extend([place - first for place, any_end in places if any_end])
        found.append(message)
    return {"dependency": dependency.tolist(), "dependencies": found}


def _arrays(jobs: JobColumns, rows: slice) -> dict[str, Any]:
    """The columns of a batch that say of which arrays its jobs are. Raises InvalidRequest for an array of which others are outside it."""
    if not jobs.arrays:
        return {}
    used, array = np.unique(jobs.array[rows], return_inverse=True)
    if np.isin(np.delete(jobs.array, rows), used[used >= 0]).any():
        raise InvalidRequest("an array has jobs in several batches", field="array", allowed="more jobs in a batch")
    return {"array": array.tolist(), "array_parallel": [jobs.arrays[entry] if entry >= 0 else 0 for entry in used.tolist()]}


def _workload(jobs: JobColumns, kind: int, shape: int) -> job_pb2.Workload:
    match JobKind(kind):
        case JobKind.TRAINING:
            return job_pb2.Workload(training=job_pb2.TrainingWorkload(step=job_pb2.TrainingStep(**vars(jobs.shapes[shape]))))
        case JobKind.SERVICE:
            return job_pb2.Workload(service=job_pb2.ServiceWorkload())
        case _:
            return job_pb2.Workload(gang=job_pb2.GangWorkload())
