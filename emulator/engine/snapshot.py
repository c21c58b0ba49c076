"""The clock, and everything that the head's /metrics shows at one publication."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from emulator.engine.hardware_control import ClusterView
from emulator.engine.queue_control import QueueView, SitesView
from emulator.engine.service_control import ServiceView


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
    services: tuple[ServiceView, ...] = ()  # in the order of the scenario
