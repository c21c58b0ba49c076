"""What others may ask of a running emulation: the interface that the gRPC service and the metrics use.

``emulator.runtime.session.Session`` implements it; calls are thread-safe and take effect at cycle boundaries. Times are emulated
seconds from the scenario's start, floats; ids are int64.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

from emulator.engine.power_control import PowerCapRequest, PowerView
from emulator.workload.jobs import JobColumns

Told = TypeVar("Told")


class JobState(StrEnum):
    """Where a job stands. All but the first two are final. Infeasible: it could never fit this cluster; rejected: too many were pending."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INFEASIBLE = "infeasible"
    REJECTED = "rejected"


class ControlError(Exception):
    """A request that cannot be carried out. ``field`` names the request's field, ``allowed`` says what would be accepted."""

    def __init__(self, message: str, *, field: str = "", allowed: str = "") -> None:
        super().__init__(message)
        self.field, self.allowed = field, allowed


class InvalidRequest(ControlError):
    """INVALID_ARGUMENT."""


def depends_on_refused(field: str) -> InvalidRequest:
    """Of a job of a batch that depends on another of it."""
    return InvalidRequest("depends on a job of the batch that was refused", field=field, allowed="jobs of it that are accepted")


class NotFound(ControlError):
    """NOT_FOUND."""


class NeverFits(ControlError):
    """FAILED_PRECONDITION: no placement on this cluster could ever hold the job."""


class QueueFull(ControlError):
    """RESOURCE_EXHAUSTED, with the wall seconds after which to try again."""

    def __init__(self, message: str, *, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class WrongState(ControlError):
    """FAILED_PRECONDITION: the clock or the job is not in a state that allows this."""


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
class QuotaView:
    """How a queue stands with one kind of GPU, in GPUs; shares of a GPU count as such."""

    flavor: str  # the host types whose GPUs are counted together, joined by a plus sign; "*": all
    nominal_gpus: float
    used_gpus: float
    borrowed_gpus: float
    lent_gpus: float
    available_gpus: float  # that a job may start with now, as far as this quota goes
    borrowing_limit_gpus: float | None  # None: no limit
    lending_limit_gpus: float | None


@dataclass(frozen=True)
class QueueView:
    """How many jobs of one queue wait and run, and on how many GPUs; ended jobs count no more."""

    name: str
    pending_jobs: int
    pending_gpus: int
    running_jobs: int
    running_gpus: int
    cohort: str = ""
    held_jobs: int = 0  # of those that wait: held back by the quota, or by the limit of their tenant
    quotas: tuple[QuotaView, ...] = ()  # none: it is not limited


@dataclass(frozen=True)
class SiteView:
    """One site, where jobs are dispatched to sites. Demand is GPUs that jobs hold or wait for at the site, over its GPUs;
    a job of the global queue is demand of all sites that it could go to, by their GPUs.
    """

    name: str
    gpus: int
    free_gpus: int
    pending_jobs: int  # in its queue, or waiting for their data on the way there
    pending_gpus: int
    dispatched_jobs: int  # so far, each time that a job was
    moved_jobs: int  # so far, that went to another site from its queue
    received_bytes: int  # so far: data of jobs
    demand_ratio: float
    mean_demand_ratio: float  # over time
    mean_high_demand_ratio: float  # of jobs of high priority (scheduler.sites.high_priority)


@dataclass(frozen=True)
class SitesView:
    """The global queue, and the sites to which its jobs are dispatched. The mean is over time and over the cluster's GPUs."""

    sites: tuple[SiteView, ...]
    queued_jobs: int
    queued_gpus: float
    mean_queued_ratio: float

    @property
    def overload_ratio(self) -> float:
        """Demand over supply of the most overloaded site for jobs of high priority, as MAST gives it (Choudhury et al., OSDI'24)."""
        return max(site.mean_high_demand_ratio for site in self.sites)


@dataclass(frozen=True)
class RackView:
    """One rack. Of its GPUs, ``gpus_down`` are on hosts with a fault."""

    rack: int
    name: str
    site: str
    gpus: int
    gpus_busy: int
    gpus_down: int
    cordoned: bool
    power_watts: float  # of its hosts
    gpu_model: str = ""
    in_service: bool = True  # False while the rack is planned
    reserved: str = ""  # for what its hosts are reserved now


class HostState(StrEnum):
    """What a host is to the scheduler; only a healthy one is given new jobs."""

    HEALTHY = "healthy"
    DOWN = "down"
    CORDONED = "cordoned"  # new jobs are kept off it
    PLANNED = "planned"  # not in service yet
    MAINTENANCE = "maintenance"  # reserved for nobody
    RESERVED = "reserved"  # reserved for some


@dataclass(frozen=True)
class HostView:
    """One host, a server or a compute tray, with the jobs that run on it."""

    host: int
    name: str
    rack: str  # its name
    site: str
    host_type: str
    gpu_model: str
    gpus: int
    gpus_busy: int
    state: HostState
    job_ids: tuple[int, ...]  # of the jobs that run there
    power_watts: float


@dataclass(frozen=True)
class LinkView:
    """A trunk: all cables between the same two nodes."""

    link: int
    name: str
    tier: str
    lower: str
    upper: str
    lanes: int  # cables
    bytes_per_second: float
    utilization_ratio: float
    healthy_ratio: float  # of the nominal capacity
    carried_up_bytes: float = 0.0  # since the start
    carried_down_bytes: float = 0.0
    peak_demand_ratio: float = (
        0.0  # most that its flows would have sent at once, each at its cap, over the capacity; above 1: they were held back
    )
    downs: int = 0  # faults that took it or one of its cables down
    down_seconds: float = 0.0  # while half of its cables are down, a second counts half


@dataclass(frozen=True)
class FaultRequest:
    """``target`` is one of `engine.fault_requests.OF_HOSTS` or a part of the fabric (`engine.fault_targets`), ``name`` a name or a number.

    What is part of the fabric keeps ``remaining_ratio`` of its capacity; or it flaps: down for ``flap_seconds`` every ``every_seconds``.
    """

    target: str
    name: str
    duration_seconds: float
    remaining_ratio: float = 0.0
    flap_seconds: float = 0.0
    every_seconds: float = 0.0
    cause: str = ""  # a name in `racks.faults.CAUSES`; "": injected


@dataclass(frozen=True)
class FaultView:
    """Something that is broken now."""

    fault_id: int
    target: str
    name: str
    cause: str
    since_seconds: float
    until_seconds: float | None  # None: not known yet
    takes: str  # what it takes down, in words
    host_count: int  # hosts that it has down, or withdrawn
    job_ids: tuple[int, ...]  # that it stopped


@dataclass(frozen=True)
class ReservationRequest:
    """Hosts to be reserved: ``hosts`` by name (racks, pods, hostlists), or ``host_count`` of them. Times as of the emulation's start."""

    name: str
    duration_seconds: float
    hosts: tuple[str, ...] = ()
    host_count: int = 0
    gpu_type: str = ""
    start_seconds: float = -1.0  # below 0: from the next cycle on
    every_seconds: float = 0.0  # 0: once
    times: int = 0
    maintenance: bool = False
    queues: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    running: str = "drain"


@dataclass(frozen=True)
class ReservationView:
    """A reservation, with the window that is open, or else the next one."""

    name: str
    hosts: str  # a hostlist
    host_count: int
    maintenance: bool
    is_open: bool
    begin_seconds: float  # -1 where it is over
    end_seconds: float
    windows_left: int
    queues: tuple[str, ...]  # whose jobs may use it; none named: all
    tenants: tuple[str, ...]
    running: str  # what becomes of jobs that run on its hosts when a window begins: drain, requeue or kill
    pending_jobs: int  # that wait for it


@dataclass(frozen=True)
class ClusterView:
    """The whole cluster: what it is made of, and its GPUs and power now."""

    name: str
    gpu_model: str
    gpus: int
    gpus_busy: int
    gpus_down: int
    gpus_cordoned: int
    hosts: int
    racks: int
    domains: int
    links: int  # cables, of every tier
    leaf_switches: int
    spine_switches: int
    core_switches: int
    power_watts: float  # IT: hosts and switches
    power_cap_watts: float  # 0: none
    sites: tuple[str, ...]
    gpus_planned: int = 0  # in racks that have not come into service yet
    racks_in_service: int = 0
    inter_building_switches: int = 0
    wan_switches: int = 0
    switch_power_watts: float = 0.0  # the part of power_watts that switches draw
    gpus_reserved: int = 0  # that no job holds, on hosts that are reserved now, for maintenance or for some
    trunks: int = 0  # cables between the same two nodes count as one


@dataclass(frozen=True)
class ClockView:
    """Emulated time against wall time."""

    emulated_seconds: float
    cycle_seconds: float
    speed: float  # emulated seconds per wall second asked for; inf: as fast as it can
    achieved_speed: float  # over the last 10 s of wall time: report.speed
    lag_seconds: float  # emulated seconds behind the asked speed
    paused: bool
    finished: bool


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


@dataclass(frozen=True)
class Histogram:
    """Counts between bounds, as Prometheus has them: a value equal to a bound is in the bucket below it."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]  # per bucket, not cumulative; one more than bounds
    total: float


@dataclass(frozen=True)
class Snapshot:
    """The head's numbers at one publication: everything that its /metrics shows."""

    clock: ClockView
    cluster: ClusterView
    queues: tuple[QueueView, ...]
    jobs_by_state: Mapping[str, int]  # current: pending, running; since the start: the others
    jobs_submitted: int
    jobs_started: int
    preemptions: int
    migrations: int
    resizes: int
    restarts: int
    queue_wait_seconds: Histogram
    held_gpus_by_phase: Mapping[str, int]  # GPUs of running jobs by what these do: jobs.life.COUNTED_PHASES
    gpus_by_state: Mapping[str, int]  # busy, idle, down, cordoned, planned, maintenance, reserved
    gpus_by_model: Mapping[tuple[str, str], int]  # (state, GPU model) -> GPUs
    gpu_allocation_ratio: float
    gpu_utilization_ratio: float
    gpu_seconds_allocated: float
    power_watts: float  # IT: hosts and switches
    switch_power_watts: float
    power_clock_ratio: float  # of the GPUs' full clock, the lowest of all sites
    power_capped_seconds: float  # so far, while a cap lowered a clock or paused a job
    gpu_celsius: float  # of a GPU that computes all the time, where it is hottest; 0 where heat is not modelled
    power_throttled_seconds: float  # so far, while heat bounded a clock
    facility_power_watts: float
    energy_joules: float  # IT
    switch_energy_joules: float
    link_load_ratio: Mapping[str, float]  # by tier
    link_peak_ratio: Mapping[str, float]
    link_bytes_per_second: Mapping[str, float]
    faults: Mapping[str, int]  # by cause
    trunks_down: Mapping[str, int]  # by tier: trunks that have lost some or all of their capacity now
    link_downs: Mapping[str, int]  # by tier: faults so far that took a trunk or one of its cables down
    link_down_seconds: Mapping[str, float]  # by tier: a trunk with half of its cables down counts half
    link_faults: Mapping[str, int]  # by kind: cable, switch and flap as drawn, injected
    cycles: int
    events: int
    commands_failed: int  # inputs that were accepted and then failed for an error of the emulator
    policy_fallback: bool  # a policy outside is gone, and another decides in its place
    policy_refused: Mapping[str, int]  # actions of a policy outside by the rule that they broke
    cycle_wall_seconds: float  # of the last cycle
    actors: int
    pending_jobs_by_reason: Mapping[str, int] = field(default_factory=dict)  # by kind of reason, as in Explanation
    pending_gpus_by_reason: Mapping[str, float] = field(default_factory=dict)
    sites: SitesView | None = None  # None: jobs are not dispatched to sites


class Watch(Protocol[Told]):
    """One reader's place in the changes of jobs: a snapshot, one event a job, then every change with the job as it was then.

    One thread at a time may use it. A watch that is not read holds nothing but its place.
    """

    @property
    def ended(self) -> bool:
        """Whether everything has been told: all jobs that were asked for have ended, or the emulation has."""
        ...

    @property
    def needs_turn(self) -> bool:
        """Whether the next ``take`` may wait for the emulation, as for a part of a snapshot."""
        ...

    def take(self, most: int) -> list[Told]:
        """Of the next ``most`` changes, or of the next jobs of the snapshot, those that are to be told; none may be among them.

        Raises WrongState when changes that were not read are no longer held, and at the end when an error has ended the emulation.
        """
        ...

    def wait(self, woken: Callable[[], None]) -> bool:
        """Have ``woken`` called once, from any thread, when there may be more; False where there may be now, and it is not called."""
        ...

    def close(self) -> None:
        """``woken`` is called no more."""
        ...


class Control(Protocol):
    """Reads answer from the last finished cycle; changes are journalled before the call returns."""

    def submit_all(self, submissions: Sequence[Submission]) -> list[Submitted | ControlError]:
        """Accept submissions now, in their order, each by itself; all that are accepted are in the journal by one write.

        Each gets what became of it, or why it was refused: QueueFull when none of its jobs finds room, InvalidRequest for a request_id
        that was used for another request, WrongState when the journal could not store it. Raises WrongState when the emulation has ended.
        """
        ...

    def cancel(self, job_id: int, request_id: str = "") -> JobView: ...

    def hold(self, job_id: int, request_id: str = "") -> JobView:
        """The job does not start until it is released; one on hold already stays so. Raises WrongState where it is not pending."""
        ...

    def release(self, job_id: int, request_id: str = "") -> JobView:
        """The reverse of ``hold``; one that is not on hold stays as it is. Raises WrongState where it is not pending."""
        ...

    def set_priority(self, job_id: int, priority: int, request_id: str = "") -> JobView:
        """The job has this priority, and that of its queue, from the next cycle on. Raises WrongState where it has ended."""
        ...

    def job(self, job_id: int) -> JobView: ...

    def job_named(self, name: str) -> JobView:
        """The one job that was submitted under ``name``. Raises NotFound; InvalidRequest with the ids of several, newest first."""
        ...

    def jobs(self, *, states: frozenset[JobState] = frozenset(), queue: str = "", after_id: int = -1, limit: int = 100) -> list[JobView]:
        """Jobs with an id above ``after_id``, by id: those that wait or run, and the last ``ENDED_KEPT`` that have ended."""
        ...

    def job_count(self, *, states: frozenset[JobState] = frozenset(), queue: str = "") -> int:
        """How many jobs ``jobs`` lists in all."""
        ...

    def explain(self, job_id: int) -> Explanation: ...

    def watch(self, form: Callable[[JobEvent], Told], *, job_ids: frozenset[int] = frozenset(), after_sequence: int = -1) -> Watch[Told]:
        """A watch of all jobs, or of those in ``job_ids``, that begins with a snapshot, or behind the change ``after_sequence``.

        ``form`` makes of an event what is told; of a change it is made once for all watches that give the same function. Raises NotFound,
        and WrongState when ``after_sequence`` is no longer held.
        """
        ...

    def queues(self) -> list[QueueView]: ...

    def cluster(self) -> ClusterView: ...

    def racks(self, *, after: int = -1, limit: int = 100) -> list[RackView]: ...

    def rack(self, name: str) -> RackView:
        """One rack, by name or number. Raises NotFound."""
        ...

    def hosts(
        self, *, after: int = -1, limit: int = 100, names: str = "", rack: str = "", states: frozenset[HostState] = frozenset()
    ) -> tuple[list[HostView], int]:
        """Hosts with a number above ``after``, and how many there are in all: those in the hostlist ``names``, in a rack (name or number),
        in one of ``states``, where these are given. Raises NotFound."""
        ...

    def host(self, name: str) -> HostView:
        """One host, by name or number. Raises NotFound."""
        ...

    def links(self, *, after: int = -1, limit: int = 100, tier: str = "", unhealthy: bool = False, busiest: bool = False) -> list[LinkView]:
        """Trunks with a number above ``after``; ``unhealthy``: only those that are not whole; ``busiest``: the fullest first, from place
        ``after`` + 1 in that order on."""
        ...

    def link_count(self, *, tier: str = "", unhealthy: bool = False) -> int:
        """How many trunks ``links`` lists in all."""
        ...

    def link(self, name: str) -> LinkView:
        """One trunk, by name or number. Raises NotFound."""
        ...

    def cordon(self, rack: int, *, cordoned: bool, request_id: str = "") -> RackView: ...

    def reservations(self) -> list[ReservationView]:
        """All reservations that ever were, in the order in which they came."""
        ...

    def reserve(self, asked: ReservationRequest, *, request_id: str = "") -> ReservationView:
        """Reserve hosts from the next cycle on, or later. Raises InvalidRequest."""
        ...

    def end_reservation(self, name: str, *, request_id: str = "") -> ReservationView:
        """The reservation is over at the next cycle. Raises NotFound, and WrongState where it is over already."""
        ...

    def inject_fault(self, fault: FaultRequest, *, request_id: str = "") -> str:
        """Break something for a while. Returns a sentence saying what was done."""
        ...

    def faults(self) -> list[FaultView]: ...

    def clear_fault(self, name: str, *, request_id: str = "") -> str:
        """End a fault by its number, or all of what is called so, at the next cycle. Raises NotFound. Returns a sentence as well."""
        ...

    def power(self) -> PowerView: ...

    def cap_power(self, asked: PowerCapRequest, *, request_id: str = "") -> str:
        """A place draws no more than this from the next cycle on. Returns a sentence saying what was done. Raises NotFound and
        WrongState.
        """
        ...

    def clock(self) -> ClockView: ...

    def pause(self) -> ClockView: ...

    def resume(self) -> ClockView: ...

    def set_speed(self, speed: float) -> ClockView: ...

    def step(self, cycles: int) -> ClockView:
        """Run ``cycles`` cycles while paused. Raises WrongState if the clock is not paused."""
        ...

    def snapshot(self) -> Snapshot: ...

    def metrics_targets(self) -> tuple[str, ...]:
        """host:port of every /metrics, the head's first."""
        ...
