"""What queues and tenants may hold: the quotas of queues, and the limits of tenants. The ledger books every start and stop here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from emulator.scheduler.quota import Quotas
from emulator.scheduler.quota import gpus as in_gpus
from emulator.scheduler.rules import Rule
from emulator.scheduler.table import JobTable

#: Room where nothing limits.
NO_LIMIT = 2**62


@dataclass(frozen=True)
class TenantLimit:
    """The most that one tenant may have; None: no limit. ``max_pending_jobs`` is a matter of submission, the others of starting."""

    max_milli_gpus: int | None = None
    max_running_jobs: int | None = None
    max_pending_jobs: int | None = None


@dataclass(frozen=True)
class TenantLimits:
    """``default`` is for each tenant that ``by_name`` does not name."""

    default: TenantLimit = TenantLimit()
    by_name: Mapping[str, TenantLimit] = field(default_factory=dict)

    def of(self, tenant: str) -> TenantLimit:
        return self.by_name.get(tenant, self.default)

    def any(self) -> bool:
        """Whether anybody is limited."""
        return any(limit != TenantLimit() for limit in (self.default, *self.by_name.values()))


#: What would let a job start that is larger than its tenant may ever have.
_NEVER = "never starts without a larger limit (scheduler.tenant_limits)"

NO_TENANT_LIMITS = TenantLimits()


class Refusal(NamedTuple):
    """Why a job may not start: the rule, a sentence, the numbers in it by name, and what would let it start."""

    rule: Rule
    text: str
    numbers: Mapping[str, float]
    remedy: str


class Accounts:
    """Who holds how much of what they may. ``take`` and ``give`` are each other's inverse, in any order."""

    def __init__(self, table: JobTable, quotas: Quotas | None, limits: TenantLimits) -> None:
        self.quotas = Quotas((), (), ()) if quotas is None else quotas
        self.limits = limits
        self._table = table
        self._tenants_limited = limits.any()
        #: By tenant.
        self.held_milli_gpus: list[int] = []
        self.running_jobs: list[int] = []
        self.pending_jobs: list[int] = []
        self._limit: list[TenantLimit] = []

    def _tenant(self, slot: int) -> int:
        tenant = self._table.tenant[slot]
        self._know(tenant)
        return tenant

    def _know(self, tenant: int) -> None:
        for name in self._table.tenants[len(self._limit) : tenant + 1]:
            self._limit.append(self.limits.of(name))
            for column in (self.held_milli_gpus, self.running_jobs, self.pending_jobs):
                column.append(0)

    # -- booking --------------------------------------------------------------------------------------------------------------------

    def take(self, slot: int, host_type: int) -> None:
        """The job holds GPUs of ``host_type``, as many as its size is."""
        self._book(slot, host_type, 1)

    def give(self, slot: int, host_type: int) -> None:
        """It no longer does."""
        self._book(slot, host_type, -1)

    def _book(self, slot: int, host_type: int, sign: int) -> None:
        table = self._table
        milli_gpus = sign * table.size_gpus[slot] * table.milli_gpus[slot]
        self.quotas.add(table.queue[slot], host_type, milli_gpus)
        if self._tenants_limited:
            tenant = self._tenant(slot)
            self.held_milli_gpus[tenant] += milli_gpus
            self.running_jobs[tenant] += sign

    def wait(self, slot: int, jobs: int = 1) -> None:
        """The job waits; with -1, it no longer does."""
        if self._tenants_limited:
            self.pending_jobs[self._tenant(slot)] += jobs

    # -- asking ---------------------------------------------------------------------------------------------------------------------

    def quota_room(self, queue: int, host_type: int) -> int:
        """The milli-GPUs of ``host_type`` that the quota of this queue leaves for a job now; less than 1: none."""
        trees = self.quotas.counted(queue, host_type)
        return 0 if trees is None else min((tree.available(queue) for tree in trees), default=NO_LIMIT)

    def tenant_room(self, tenant: int) -> int:
        """The milli-GPUs that the limits of this tenant leave for a job now; less than 1: none."""
        if not self._tenants_limited:
            return NO_LIMIT
        self._know(tenant)
        limit = self._limit[tenant]
        if limit.max_running_jobs is not None and self.running_jobs[tenant] >= limit.max_running_jobs:
            return 0
        return NO_LIMIT if limit.max_milli_gpus is None else limit.max_milli_gpus - self.held_milli_gpus[tenant]

    def allows(self, slot: int, host_type: int, gpus: int = 0) -> bool:
        """Whether the job may start on ``host_type`` now, with so many GPUs; 0: as many as its size is."""
        table = self._table
        milli_gpus = (gpus or table.size_gpus[slot]) * table.milli_gpus[slot]
        return milli_gpus <= self.quota_room(table.queue[slot], host_type) and milli_gpus <= self.tenant_room(table.tenant[slot])

    def room(self, slot: int, host_type: int) -> int:
        """The most GPUs of ``host_type`` that the job's queue and tenant may have more now."""
        table = self._table
        return min(self.quota_room(table.queue[slot], host_type), self.tenant_room(table.tenant[slot])) // table.milli_gpus[slot]

    def refusal(self, slot: int, host_type: int, gpus: int = 0) -> Refusal | None:
        """Why it may not; None where it may. What its tenant may have comes before what its queue may."""
        return self.tenant_refusal(slot, gpus) or self._quota_refusal(slot, host_type, gpus or self._table.size_gpus[slot])

    def _quota_refusal(self, slot: int, host_type: int, gpus: int) -> Refusal | None:
        table = self._table
        shortage = self.quotas.shortage(table.queue[slot], host_type, gpus * table.milli_gpus[slot])
        return None if shortage is None else Refusal(Rule.QUOTA, shortage.text, shortage.numbers, shortage.remedy)

    def tenant_refusal(self, slot: int, gpus: int = 0) -> Refusal | None:
        """As ``refusal``, of the limits of its tenant alone."""
        if not self._tenants_limited:
            return None
        table, tenant = self._table, self._tenant(slot)
        limit, name = self._limit[tenant], table.tenants[tenant]
        running, held = self.running_jobs[tenant], self.held_milli_gpus[tenant]
        if limit.max_running_jobs is not None and running >= limit.max_running_jobs:
            text = f"tenant {name} has {running:,} running jobs, of {limit.max_running_jobs:,} that it may have"
            numbers = {"tenant_running_jobs": running, "tenant_max_running_jobs": limit.max_running_jobs}
            return Refusal(Rule.LIMIT, text, numbers, f"may start when a job of tenant {name} ends" if limit.max_running_jobs else _NEVER)
        needed = (gpus or table.size_gpus[slot]) * table.milli_gpus[slot]
        if limit.max_milli_gpus is not None and held + needed > limit.max_milli_gpus:
            text = f"tenant {name} holds {in_gpus(held)} GPUs, of {in_gpus(limit.max_milli_gpus)} that it may; needs {in_gpus(needed)}"
            return Refusal(
                Rule.LIMIT,
                text,
                {"tenant_gpus": held / 1000, "tenant_max_gpus": limit.max_milli_gpus / 1000, "gpus_needed": needed / 1000},
                _NEVER
                if needed > limit.max_milli_gpus
                else f"may start when jobs of tenant {name} that hold {in_gpus(held + needed - limit.max_milli_gpus)} GPUs end",
            )
        return None

    def pending_room(self, tenant: str) -> int:
        """How many more jobs the tenant may have waiting."""
        limit = self.limits.of(tenant).max_pending_jobs
        if limit is None:
            return NO_LIMIT
        number = self._table.tenant_of.get(tenant, -1)
        return limit - (self.pending_jobs[number] if 0 <= number < len(self.pending_jobs) else 0)
