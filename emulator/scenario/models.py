"""What a scenario says: one frozen pydantic model per section, strict, with no unknown keys.

Quantities have units in the YAML (`emulator.scenario.units`); a field whose name ends in ``_per_kwh`` or the like is a plain number of it.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from emulator.scenario.cluster import ClusterSettings
from emulator.scenario.faults import FaultSettings
from emulator.scenario.life import CheckpointInterval, JobSettings
from emulator.scenario.policies import check_placement, check_policy
from emulator.scenario.power import PowerSettings
from emulator.scenario.queues import Cohorts, QueueSettings, TenantLimits
from emulator.scenario.reservations import MOST_RESERVATIONS, ReservationSettings
from emulator.scenario.section import Int, Rate, Real, Section, as_int, as_texts, as_tuple
from emulator.scenario.services import ServiceSettings, ServingSettings
from emulator.scenario.sites import SiteSettings
from emulator.scenario.units import DAY, NANOSECONDS, YEAR, Duration, Speed, format_duration, parse_duration

MILLISECOND = NANOSECONDS["ms"]


class ClockSettings(Section):
    """Emulated time: the length of a scheduling cycle, and how long a run lasts."""

    cycle: Annotated[Duration, Field(ge=MILLISECOND, le=7 * DAY)] = parse_duration("10s")
    until: Annotated[Duration, Field(gt=0)] = parse_duration("24h")
    speed: Speed = 1.0  # of `gigawatt up`: emulated seconds per wall second


class GeneratedWorkload(Section):
    """Settings of the generator of a day of jobs, under its own names: see `emulator.workload.generate`."""

    load: Annotated[Real, Field(ge=0.001, le=10)] = 0.95  # GPU time of the arrivals over GPU time there is
    reference_gpus: Annotated[Int, Field(ge=1, le=100_000_000)] | None = None  # size the workload for a cluster of this many GPUs instead
    jobs_per_day: Annotated[Real, Field(ge=0.001, le=1e7)] | None = None
    diurnal_ratio: Annotated[Real, Field(ge=0, lt=1)] = 0.3
    peak_hour: Annotated[Real, Field(ge=0, le=24)] = 15.0
    day: Annotated[Duration, Field(ge=60 * 10**9, le=32_000_000 * 10**9)] = parse_duration("24h")
    carry_over: bool = True  # jobs of the days before still run at the start
    largest_gang_ratio: Annotated[Real, Field(ge=1e-6, le=1)] = 0.25
    tenants: Annotated[Int, Field(ge=1, le=100_000)] = 24
    checkpoint: CheckpointInterval | None = None  # of training jobs; default Young's for RSC-1's faults and 40 s a checkpoint


class WorkloadSettings(Section):
    """``generated`` work, a ``trace`` file (``path``, ``format``, ``options`` of its reader), or ``none``."""

    kind: Literal["generated", "trace", "none"] = "generated"
    generated: GeneratedWorkload = GeneratedWorkload()
    path: str | None = None
    format: str | None = None
    options: Annotated[dict[str, str], BeforeValidator(as_texts)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _trace_has_path(self) -> Self:
        if self.kind == "trace" and not (self.path and self.format):
            raise ValueError("a trace needs both path and format")
        return self


class SchedulerSettings(Section):
    """Who is next (``policy``), where it goes (``placement``), and whether it may push others out."""

    policy: Annotated[str, AfterValidator(check_policy)] = "easy"  # a name, FILE.py:FUNCTION, or grpc://HOST:PORT
    policy_options: Annotated[dict[str, str], BeforeValidator(as_texts)] = Field(default_factory=dict)  # of the types that the policy says
    placement: Annotated[str, AfterValidator(check_placement)] = "topology"  # a name, or FILE.py:FUNCTION
    placement_options: Annotated[dict[str, str], BeforeValidator(as_texts)] = Field(default_factory=dict)  # of the types that it says
    pending_limit: Annotated[Int, Field(ge=1, le=10_000_000)] = 200_000
    preemption: bool = False
    defragment: bool = False  # migrate small jobs for one that does not fit because free GPUs lie scattered
    preempt_interval: Annotated[Duration, Field(ge=0, le=YEAR)] = parse_duration(
        "1m"
    )  # between two searches for victims for one job; assumed
    preempt_after: Annotated[Duration, Field(ge=0, le=YEAR)] = parse_duration("2h")  # a victim has run for so long (RSC: arXiv 2410.21680)
    elastic: Literal["never", "start", "always"] = "start"  # when a job of several sizes (min_gpus) may have another than its largest
    elastic_interval: Annotated[Duration, Field(ge=0, le=YEAR)] = parse_duration("10m")  # that it keeps a size before it grows; assumed
    queues: Annotated[tuple[QueueSettings, ...], BeforeValidator(as_tuple), Field(min_length=1, max_length=1000)] = (
        QueueSettings(name="default"),
    )
    cohorts: Annotated[Cohorts, BeforeValidator(as_tuple)] = ()
    tenant_limits: TenantLimits = TenantLimits()
    sites: SiteSettings | None = None
    reservations: Annotated[tuple[ReservationSettings, ...], BeforeValidator(as_tuple), Field(max_length=MOST_RESERVATIONS)] = ()

    @model_validator(mode="after")
    def _queues_differ(self) -> Self:
        names = [queue.name for queue in self.queues]
        if len(set(names)) < len(names):
            raise ValueError(f"queues need different names; given: {', '.join(names)}")
        cohorts = [cohort.name for cohort in self.cohorts]
        for queue in self.queues:
            if queue.cohort is not None and queue.cohort not in cohorts:
                known = ", ".join(cohorts) or "none, since scheduler.cohorts lists none"
                raise ValueError(f"queue {queue.name}: there is no cohort {queue.cohort!r:.80}; allowed: {known}")
        return self


class LinkFaultSettings(Section):
    """Drawn faults of cables and switches; sources and what is assumed: `emulator.fabric.link_faults`."""

    enabled: bool = False  # host faults have the cause network_switch_or_cable already
    cable_percent_per_month: Annotated[Rate, Field(ge=0, le=1e6)] = 0.057  # Alibaba HPN (SIGCOMM'24), NIC-ToR links
    switch_percent_per_month: Annotated[Rate, Field(ge=0, le=1e6)] = 0.051  # the same, ToR switches
    flaps_per_cable_month: Annotated[Rate, Field(ge=0, le=10_000)] = 0.0


class FabricSettings(Section):
    """How traffic is routed, and what part of the line rate is payload."""

    routing: Literal["adaptive", "ecmp", "minimal", "valiant"] = "adaptive"  # the last two are a dragonfly's
    efficiency: Annotated[Real, Field(ge=0.001, le=1)] = 0.95  # NVIDIA's claim for Spectrum-X; collisions under ecmp come on top
    collective: Literal["ring", "tree", "auto"] = "ring"  # of jobs that do not say; auto: the faster for each, as NCCL's tuner chooses
    queue_pairs: Annotated[Int, Field(ge=1, le=64)] = 1  # that a connection is hashed as, under ecmp
    polarised: bool = False  # under ecmp: all switches hash alike
    faults: LinkFaultSettings = LinkFaultSettings()


class TelemetrySettings(Section):
    """How fine metrics are, and how often shards are read for them."""

    detail: Literal["cluster", "pod", "rack"] = "rack"
    publish_interval: Annotated[Duration, Field(ge=MILLISECOND, le=YEAR)] = parse_duration("1m")  # emulated


def _actors(value: Any) -> Any:
    value = as_int(value)
    if value in ("auto", "inline") or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000):
        return value
    raise ValueError(f"{value!r} is not a number of actors: allowed are auto, inline and 1 to 10000")


class RuntimeSettings(Section):
    """Where shards run, how soon a lost one is noticed (Ray's own defaults), and how long a lost node may take to be replaced."""

    actors: Annotated[int | str, BeforeValidator(_actors)] = "auto"
    health_check_initial_delay: Annotated[Duration, Field(ge=0, le=DAY)] = parse_duration("5s")
    health_check_period: Annotated[Duration, Field(ge=MILLISECOND, le=DAY)] = parse_duration("3s")
    health_check_timeout: Annotated[Duration, Field(ge=MILLISECOND, le=DAY)] = parse_duration("10s")
    health_check_failure_threshold: Annotated[Int, Field(ge=1, le=1_000_000)] = 5
    #: An actor that has not answered for so long, or 20 times the longest of the last 100 barriers, is taken for dead.
    answer_timeout: Annotated[Duration, Field(ge=MILLISECOND, le=30 * DAY)] = parse_duration("60s")
    #: Where no node is left that can take over a lost one's actors.
    node_wait: Annotated[Duration, Field(ge=0, le=30 * DAY)] = parse_duration("5m")


class Scenario(Section):
    """Everything that a result depends on, except the inputs that arrive during the run."""

    name: Annotated[str, Field(min_length=1)]
    description: str = ""
    assumptions: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    seed: Annotated[Int, Field(ge=0, lt=2**63)] = 1
    cluster: ClusterSettings
    clock: ClockSettings = ClockSettings()
    workload: WorkloadSettings = WorkloadSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    jobs: JobSettings = JobSettings()
    faults: FaultSettings = FaultSettings()
    fabric: FabricSettings = FabricSettings()
    power: PowerSettings = PowerSettings()
    services: Annotated[tuple[ServiceSettings, ...], BeforeValidator(as_tuple), Field(max_length=100)] = ()
    serving: ServingSettings = ServingSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="after")
    def _services_differ(self) -> Self:
        names = [service.name for service in self.services]
        if len(set(names)) < len(names):
            raise ValueError(f"services need different names; given: {', '.join(names)}")
        if names and self.serving.interval % self.clock.cycle:
            raise ValueError(
                f"serving.interval is {format_duration(self.serving.interval)} and clock.cycle {format_duration(self.clock.cycle)}; "
                "allowed: an interval of whole cycles"
            )
        return self
