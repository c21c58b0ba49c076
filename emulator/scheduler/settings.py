"""What a scenario says of its scheduler."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from emulator.scheduler.accounts import NO_TENANT_LIMITS, TenantLimits
from emulator.scheduler.calendar import HostReservation
from emulator.scheduler.elastic import Elastic
from emulator.scheduler.placement import Placement
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy
from emulator.scheduler.quota import Quotas
from emulator.scheduler.reclaim import Reclaims
from emulator.scheduler.sites import Sites
from emulator.scheduler.usage import NO_CAP, SitePower
from emulator.workload.jobs import SECOND


@dataclass(frozen=True)
class SchedulerSettings:
    """As the scenario's section of this name, with times in nanoseconds."""

    policy: Policy = POLICIES["easy"]
    placement: Placement = PLACEMENTS["topology"]
    pending_limit: int = 200_000
    preemption: bool = False
    preempt_after_ns: int = 0
    preempt_interval_ns: int = 0
    grace_ns: int = 0  # that a job has to save what it did, once it is asked to stop for another
    defragment: bool = False
    queue_priority: Mapping[str, int] = field(default_factory=dict)  # added to the priority of a queue's jobs
    quotas: Quotas | None = None
    tenant_limits: TenantLimits = NO_TENANT_LIMITS
    strict_queues: Collection[str] = ()  # in which nobody passes a job that waits for quota
    reclaims: Mapping[str, Reclaims] = field(default_factory=dict)  # by queue: whose jobs may be stopped for its own
    power: SitePower = NO_CAP
    elastic: Elastic = Elastic.START
    elastic_interval_ns: int = 600 * SECOND
    sites: Sites | None = None  # None: a job goes to whatever site has room for it
    dispatched: bool = False  # somebody else dispatches jobs to sites: each says on its arrival at which partitions it waits
    reservations: tuple[HostReservation, ...] = ()
