"""The section ``jobs`` of a scenario: what the life of a job costs, and what becomes of it after a fault."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from emulator.scenario.section import Int, Rate, Section
from emulator.scenario.units import DAY, YEAR, Bandwidth, Bytes, Duration, format_duration, parse_bandwidth, parse_bytes, parse_duration
from emulator.workload.jobs import DALY, YOUNG


def _as_interval(value: Any) -> Any:
    rule = {"young": YOUNG, "daly": DALY}.get(value) if isinstance(value, str) else None
    try:
        every_ns = rule or parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}; or young, or daly") from None
    if not every_ns:
        raise ValueError(f"{value!r} is no interval: allowed are times above 0, young and daly")
    return every_ns


#: Work between two checkpoints: a time, or the formula by which it is worked out when a run starts.
CheckpointInterval = Annotated[
    int,
    BeforeValidator(_as_interval),
    Field(le=YEAR),
    PlainSerializer(lambda every: {YOUNG: "young", DALY: "daly"}.get(every) or format_duration(every)),
    WithJsonSchema({"type": "string", "examples": ["young", "daly", "30m"]}),
]


class RequeueBackoff(Section):
    """How long a job that a fault interrupted waits before it is in its queue again: initial, then each time ``factor`` times as long."""

    initial: Annotated[Duration, Field(ge=0, le=YEAR)] = 0  # 0: it is there at once
    factor: Annotated[Rate, Field(ge=1, le=1000)] = 2.0
    max: Annotated[Duration, Field(ge=0, le=YEAR)] = parse_duration("1h")


class CheckpointSettings(Section):
    """What a checkpoint costs a job that writes some; sources: `emulator.jobs.costs`."""

    interval: CheckpointInterval | None = None  # of jobs that say none, but for services; default none: they begin anew after a fault
    writing: Literal["blocking", "asynchronous", "free"] = "blocking"
    gpu_bandwidth: Bandwidth = parse_bandwidth("1.2Gbps")  # of a GPU's part of its host's way to storage
    copy_bandwidth: Bandwidth = parse_bandwidth("200Gbps")  # asynchronous: of a GPU to its host's memory
    storage_bandwidth: Bandwidth | None = None  # of a site; default 0.976Gbps for each of its GPUs (Llama 3)
    state_per_gpu: Annotated[Bytes, Field(ge=1, le=10**15)] = parse_bytes("840MB")  # of jobs that do not say what they save


class StragglerSettings(Section):
    """What makes steps of training longer than their model says; sources: `emulator.jobs.stragglers`. All of it is off by default, since
    the step times that the model was fitted to have it in them.
    """

    host_spread: Annotated[Rate, Field(ge=0, le=1)] = 0.0  # of hosts' compute times: deviation over mean; MLPerf's steps have 0.004
    stall_ratio: Annotated[Rate, Field(ge=0, le=1)] = 0.0  # part of the steps that stall; MLPerf on H100: 0.02
    stall_median: Annotated[Duration, Field(ge=1, le=DAY)] = parse_duration("2s")
    fail_slow: Literal["drawn", "none"] = "none"  # episodes of some minutes, of the jobs that GREYHOUND found


class JobSettings(Section):
    """What the life of a job costs beside its work, and how long it may run."""

    #: Before work goes on after an interruption, of jobs that do not train. arXiv 2410.21680 (RSC): u0 of 5 to 20 min.
    restart_overhead: Annotated[Duration, Field(ge=0, le=YEAR)] = parse_duration("5m")
    stall_timeout: Annotated[Duration, Field(ge=1, le=YEAR)] = parse_duration("10m")  # without any bandwidth; NCCL's default
    max_restarts: Annotated[Int, Field(ge=0, le=1_000_000_000)] = 100  # a job interrupted more often has failed
    requeue_backoff: RequeueBackoff = Field(default_factory=RequeueBackoff)
    #: What becomes of a job that a fault interrupted, where it does not say itself: `emulator.workload.jobs.Recovery`.
    recovery: Literal["requeue", "in-place", "spares", "elastic"] = "requeue"
    spares: Annotated[Int, Field(ge=0, le=64)] = 0  # hosts for each 1,024 GPUs that stand by; ByteRobust has 4 (arXiv 2509.16293)
    #: That a job has to save what it did, once it is asked to stop for another or a reservation (Slurm's GraceTime); 0: it stops at once.
    grace_period: Annotated[Duration, Field(ge=0, le=DAY)] = 0
    start_up: Literal["drawn", "none"] = "drawn"  # of training jobs, at their first start: `emulator.jobs.costs`
    restart: Literal["by-size", "overhead"] = "by-size"  # of training jobs; overhead: that of all others, restart_overhead
    detection: Literal["by-cause", "none"] = "by-cause"  # how long a training job hangs after a fault: `emulator.racks.faults`
    checkpoint: CheckpointSettings = Field(default_factory=CheckpointSettings)
    stragglers: StragglerSettings = Field(default_factory=StragglerSettings)
    time_limit: Literal["none", "estimate"] = "none"  # estimate: a run that is not over after the job's estimate is ended (Slurm: TIMEOUT)
    time_limit_factor: Annotated[Rate, Field(ge=0.001, le=1000)] = 1.0  # of the estimate
