"""Jobs as the API shows them and takes them in, and why one is in its state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from emulator.engine.errors import ControlError
from emulator.workload.jobs import JobColumns


class JobState(StrEnum):
    """Where a job stands. All but the first two are final. Infeasible: it could never fit this cluster; rejected: too many were pending."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INFEASIBLE = "infeasible"
    REJECTED = "rejected"


@dataclass(frozen=True)
class JobView:
    """One job as the last finished cycle left it. A start or an end that has not come yet is None."""

    job_id: int
    name: str
    queue: str
    tenant: str
    kind: str  # gang | training | service
    state: JobState
    reason: str  # why it is pending, or how it ended; of one that runs, what has it detecting, restarting or draining
    gpus: int
    milli_gpus: int
    priority: int
    submit_seconds: float
    start_seconds: float | None
    end_seconds: float | None
    progress_ratio: float
    preemptions: int
    restarts: int
    network_slowdown_ratio: float
    placement_level: str  # "" while it has no placement
    hosts: str  # hostlist of the placement, e.g. "r00012-h[00-07]"
    gpu_type: str = ""  # model of the GPUs it runs on, last ran on, or asks for; "" for one of any or several types before it starts
    speed_ratio: float = 0.0  # its speed now over that on an idle fabric; 0 while it does not run, and while it waits for a dead link
    slice_gpus: int = 0  # 0: it is not cut into slices
    slice_level: str = ""
    deadline_seconds: float | None = None  # when it should have ended; None: it has no deadline
    min_gpus: int = 0  # the fewest that it may run with; 0: it runs with all of ``gpus``
    held_gpus: int = 0  # that it holds now
    reservation: str = ""  # whose hosts it uses; "" for a job that names none
    phase: str = ""  # what it does with them now (jobs.life.Phase); "" while it does not run
    phase_seconds: Mapping[str, float] = field(default_factory=dict)  # how long it has held GPUs, by what it did (engine.gpu_time.HELD)
    goodput_ratio: float = 0.0  # the part of it that was productive, or waited for the network or power
    energy_joules: float = 0.0  # so far: engine.job_energy
    tokens: float = 0.0  # that it trained on so far, of steps that lasted; 0 where a step's are not known
    joules_per_token: float = 0.0  # 0 before there are any


@dataclass(frozen=True)
class Explanation:
    """Why a job is in its state: a sentence and the numbers in it."""

    job_id: int
    state: JobState
    kind: str  # of emulator.scheduler.reasons.KINDS, or none
    text: str
    numbers: Mapping[str, float]
    position: int  # place in its queue, 0 first; -1 when not pending, or on hold
    remedy: str = ""  # what would let it start; "" when not pending
    last_stop: str = ""  # why it was last preempted or interrupted; "" where it never was


@dataclass(frozen=True)
class JobEvent:
    """One delta of a watch: ``sequence`` rises by one from event to event over the whole emulation."""

    sequence: int
    at_seconds: float
    job: JobView


@dataclass(frozen=True, eq=False)
class Submission:
    """A batch of jobs as one client hands it in. ``job_id`` and ``submit_ns`` of ``jobs`` are ignored; they are given on acceptance."""

    jobs: JobColumns
    request_id: str = ""


@dataclass(frozen=True)
class SubmitResult:
    """Per job of the batch, in its order: the id it got, or why not (``error`` None when accepted)."""

    job_ids: Sequence[int]
    errors: Mapping[int, ControlError]  # index in the batch -> error


@dataclass(frozen=True)
class Submitted:
    """What became of a submission. ``job`` is its first accepted job as it stands now; None where there is none."""

    result: SubmitResult
    job: JobView | None
