"""The scheduler: queues, placements and the indexes of free GPUs, in one place. The only time that it knows is that of the cycle.

Hosts of one type are a *partition* (``emulator.scheduler.partition``), and a job runs in one partition. A job that names no type is
bound when it arrives: to the partition with the least demand, that is GPUs held and waited for over its GPUs, of those in which it could
ever fit; of equal ones the first. It stays there.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from emulator.racks.power import GAMMA
from emulator.scheduler.accounts import NO_TENANT_LIMITS, Accounts, TenantLimits
from emulator.scheduler.draft import Draft, Preemption
from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.held import Held
from emulator.scheduler.ledger import Ledger
from emulator.scheduler.limits import Limits
from emulator.scheduler.partition import Partition
from emulator.scheduler.placement import Placement, could_ever_fit
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy, explained, queue_for
from emulator.scheduler.quota import Quotas
from emulator.scheduler.reclaim import Reclaim, Reclaims, reclaim
from emulator.scheduler.table import JobTable, State
from emulator.workload.jobs import ANY_LEVEL, ANY_TYPE, LEVEL_NAMES, JobColumns
from topology.cluster import Cluster


@dataclass(frozen=True)
class SchedulerSettings:
    """As the scenario's section of this name, with times in nanoseconds."""

    policy: Policy = POLICIES["easy"]
    placement: Placement = PLACEMENTS["topology"]
    pending_limit: int = 200_000
    preemption: bool = False
    preempt_after_ns: int = 0
    preempt_interval_ns: int = 0
    queue_priority: Mapping[str, int] = field(default_factory=dict)  # added to the priority of a queue's jobs
    quotas: Quotas | None = None
    tenant_limits: TenantLimits = NO_TENANT_LIMITS
    strict_queues: Collection[str] = ()  # in which nobody passes a job that waits for quota
    reclaims: Mapping[str, Reclaims] = field(default_factory=dict)  # by queue: whose jobs may be stopped for its own
    power_gamma: float = GAMMA  # as of racks.power


@dataclass
class QueueCounts:
    """How much one queue has waiting and running."""

    pending_jobs: int = 0
    pending_gpus: int = 0
    running_jobs: int = 0
    running_gpus: int = 0

    def wait(self, gpus: int, jobs: int = 1) -> None:
        self.pending_jobs += jobs
        self.pending_gpus += gpus * jobs

    def run(self, gpus: int, jobs: int = 1) -> None:
        self.running_jobs += jobs
        self.running_gpus += gpus * jobs


class Scheduler:
    """State of one emulation's scheduler."""

    def __init__(self, cluster: Cluster, settings: SchedulerSettings, cycle_ns: int) -> None:
        self.settings = settings
        self.table = JobTable()
        self.policy = policy = settings.policy
        first = FreeIndex(cluster)
        indexes = [first, *(FreeIndex(cluster, number, first) for number in range(1, len(cluster.host_types)))]
        #: One per host type, in their order.
        self.partitions = tuple(
            Partition(
                name=host_type.name,
                gpu_model=host_type.gpu.name,
                free=free,
                pending=queue_for(policy, self.table),
                by_end=[] if policy.reserves else None,
                preemptible=Counter() if settings.preemption else None,
            )
            for host_type, free in zip(cluster.host_types, indexes, strict=True)
        )
        self.counts: list[QueueCounts] = []  # by queue
        self.accounts = self._open_accounts() if settings.quotas is not None or settings.tenant_limits.any() else None
        self.ledger = Ledger(cluster, self.table, self.partitions, cycle_ns, self.accounts, settings.power_gamma)
        self._reclaim = Reclaim({self.table.queue_of[name]: how for name, how in settings.reclaims.items()}, settings.preempt_interval_ns)
        preemption = Preemption(settings.preempt_after_ns, settings.preempt_interval_ns) if settings.preemption else None
        self.draft = Draft(cycle_ns, self.ledger, self.table, settings.placement, preemption)
        self.limits = Limits(cluster)
        #: What a job that requires no level stays inside: an island, where nothing joins the sites.
        self.islands = cluster.islands
        self._widest = LEVEL_NAMES.index("site") if cluster.islands else ANY_LEVEL

    def _open_accounts(self) -> Accounts:
        """Queues with a quota have the first numbers, in the quotas' order."""
        settings = self.settings
        for name in settings.quotas.names if settings.quotas is not None else ():
            self.add_queue(name)
        for name in (*settings.strict_queues, *settings.reclaims):
            self.add_queue(name)
        strict = frozenset(self.table.queue_of[name] for name in settings.strict_queues)
        for number, partition in enumerate(self.partitions):
            partition.held = Held(self.table, number, strict)
        return Accounts(self.table, settings.quotas, settings.tenant_limits)

    # -- jobs come and go -----------------------------------------------------------------------------------------------------------

    def add(self, jobs: JobColumns, state: State = State.FUTURE) -> list[int]:
        """Take note of jobs; each counts from ``arrive`` on. Returns their slots, in their order."""
        if self._widest != ANY_LEVEL:
            jobs = replace(jobs, require_level=np.where(jobs.require_level == ANY_LEVEL, self._widest, jobs.require_level).astype(np.int8))
        slots = self.table.extend(jobs, self.settings.queue_priority, state)
        self.counts += [QueueCounts() for _ in self.table.queues[len(self.counts) :]]
        return slots

    def arrive(self, slot: int, *, accepted: bool = False) -> State:
        """The job is submitted: pending, or infeasible when no placement on this cluster could ever hold it, or rejected by the limit.

        ``accepted``: a client has been told that it is in the queue, so the limit no longer applies.
        """
        table = self.table
        number = self._partition_for(slot)
        if number < 0:
            state = State.INFEASIBLE
        elif not accepted and (self.pending_jobs >= self.settings.pending_limit or not self._tenant_has_room(slot)):
            state = State.REJECTED
        else:
            state = State.PENDING
            table.host_type[slot] = number
            if self.settings.placement.may_score:
                self.partitions[number].free.host_states().ask(table.gpus[slot], table.milli_gpus[slot])
            self._wait(slot)
        table.state[slot] = state
        return state

    def _tenant_has_room(self, slot: int) -> bool:
        """Whether its tenant may have one more job waiting."""
        return self.accounts is None or self.accounts.pending_room(self.table.tenants[self.table.tenant[slot]]) > 0

    def _partition_for(self, slot: int) -> int:
        """Where the job that arrives is to wait; -1 where it can never run."""
        table = self.table
        gpus, level, named = table.gpus[slot], table.require_level[slot], table.host_type[slot]
        partitions = self.partitions
        if named != ANY_TYPE or len(partitions) == 1:
            number = max(0, named)
            return number if could_ever_fit(partitions[number].free, gpus, level) else -1
        fitting = [number for number, partition in enumerate(partitions) if could_ever_fit(partition.free, gpus, level)]
        if self.accounts is not None:  # where its queue will never have quota for it, it would wait for ever
            queue, milli_gpus = table.queue[slot], gpus * table.milli_gpus[slot]
            fitting = [number for number in fitting if self.accounts.quotas.could_ever_fit(queue, number, milli_gpus)] or fitting
        return min(fitting, key=lambda number: partitions[number].wanted_milli_gpus / partitions[number].gpus, default=-1)

    def could_ever_fit(self, gpus: int, require_level: int, host_type: int) -> bool:
        """Whether some placement on this cluster, when empty and healthy, holds such a job (``host_type``: of that type, or ANY_TYPE)."""
        named = self.partitions if host_type == ANY_TYPE else (self.partitions[host_type],)
        level = self._widest if require_level == ANY_LEVEL else require_level
        return any(could_ever_fit(partition.free, gpus, level) for partition in named)

    def add_queue(self, name: str) -> None:
        """Add a queue before its first job."""
        if self.table.queue_number(name) == len(self.counts):
            self.counts.append(QueueCounts())

    def _wait(self, slot: int) -> None:
        table, partition = self.table, self.ledger.partition_of(slot)
        self.ledger.expect(slot)
        partition.pending.push(slot)
        partition.arriving.append(slot)
        partition.waiting_milli_gpus += table.gpus[slot] * table.milli_gpus[slot]
        # Where only the head of the queue is looked at, who waits behind it changes nothing.
        partition.stirred = partition.stirred or not self.policy.heads_only or partition.pending.head() == slot
        self.counts[table.queue[slot]].wait(table.gpus[slot])
        if self.accounts is not None:
            self.accounts.wait(slot)

    def requeue(self, slot: int) -> None:
        """A stopped job waits again, in the place that its submission gives it."""
        self.table.state[slot] = State.PENDING
        self._wait(slot)

    def cancel_pending(self, slot: int) -> None:
        """Remove a waiting job from its queue."""
        table, partition = self.table, self.ledger.partition_of(slot)
        partition.pending.remove(slot)
        if self.accounts is not None:
            self.accounts.wait(slot, -1)
            if partition.held:
                partition.held.discard(slot)
        if self.draft.preemption is not None:
            self.draft.preemption.refused.pop(slot, None)
        partition.waiting_milli_gpus -= table.gpus[slot] * table.milli_gpus[slot]
        partition.stirred = True
        self.counts[table.queue[slot]].wait(table.gpus[slot], -1)

    def release(self, slot: int, *, at_ns: int) -> None:
        """The job stopped at ``at_ns``: its GPUs are free again."""
        self.ledger.stop(slot, at_ns)
        self.counts[self.table.queue[slot]].run(self.table.gpus[slot], -1)

    def finish(self, slot: int, *, at_ns: int) -> None:
        """The job stopped since it has done all its work."""
        self.release(slot, at_ns=at_ns)
        self.ledger.books.finish(slot)

    # -- one cycle ------------------------------------------------------------------------------------------------------------------

    def plan(self, now_ns: int) -> Draft:
        """Decide the cycle at ``now_ns``; the ledger and the queues are as decided when it returns."""
        draft = self.draft
        draft.begin(now_ns)
        if self._reclaim.how:
            reclaim(draft, self._reclaim)
        try:
            self.policy.plan(draft)
        except Exception as error:
            if (told := explained(self.policy, self.settings.placement, error)) is not None:
                raise told from error
            raise
        table = self.table
        for slot in draft.preempted:
            self.counts[table.queue[slot]].run(table.gpus[slot], -1)
        for slot, _ in draft.starts:
            counts = self.counts[table.queue[slot]]
            counts.wait(table.gpus[slot], -1)
            counts.run(table.gpus[slot])
            if self.accounts is not None:
                self.accounts.wait(slot, -1)
        return draft

    # -- reading --------------------------------------------------------------------------------------------------------------------

    @property
    def running(self) -> Collection[int]:
        """Slots of the running jobs, in no order."""
        if len(self.partitions) == 1:
            return self.partitions[0].running
        return set().union(*(partition.running for partition in self.partitions))

    @property
    def pending_jobs(self) -> int:
        """How many jobs wait."""
        return sum([partition.waiting_jobs for partition in self.partitions])

    def waits(self, slot: int) -> bool:
        """Whether the job is in a queue."""
        if self.table.host_type[slot] == ANY_TYPE:
            return False
        partition = self.ledger.partition_of(slot)
        return slot in partition.pending or (partition.held is not None and slot in partition.held)

    def free_gpus(self) -> tuple[int, int]:
        """GPUs that could be given out now, and how many of them are on hosts that also hold a job."""
        idle = split = 0
        for partition in self.partitions:
            idle += partition.free.free_gpus
            split += partition.free.split_gpus
        return idle, split

    def hosts_of(self, rows: list[Row]) -> Iterator[int]:
        """Host numbers of a placement, in the order of its rows."""
        for block, host_mask, _ in rows:
            for bit in mask_bits(host_mask):
                yield self.ledger.first_host[block] + bit
