"""The scheduler: queues, placements and the indexes of free GPUs, in one place. The only time that it knows is that of the cycle.

Hosts of one type are a *partition* (``emulator.scheduler.partition``), and a job runs in one partition. A job that names no type is
bound when it arrives: to the partition with the least demand, that is GPUs held and waited for over its GPUs, of those in which it could
ever fit; of equal ones the first. It stays there.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.limits import Limits
from emulator.scheduler.partition import Partition, PartitionSettings
from emulator.scheduler.placement import PLACEMENTS, could_ever_fit
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.table import JobTable, State
from emulator.scheduler.view import Plan
from emulator.workload.jobs import ANY_LEVEL, ANY_TYPE, LEVEL_NAMES, JobColumns
from topology.cluster import Cluster


@dataclass(frozen=True)
class SchedulerSettings:
    """As the scenario's section of this name, with times in nanoseconds."""

    policy: str = "easy"
    placement: str = "topology"
    pending_limit: int = 200_000
    preemption: bool = False
    preempt_after_ns: int = 0
    preempt_interval_ns: int = 0
    queue_priority: Mapping[str, int] = field(default_factory=dict)  # added to the priority of a queue's jobs


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
    """State of one emulation's scheduler.

    Raises ValueError for an unknown policy or placement.
    """

    def __init__(self, cluster: Cluster, settings: SchedulerSettings, cycle_ns: int) -> None:
        if settings.policy not in POLICIES:
            raise ValueError(f"unknown policy {settings.policy!r}; there are {', '.join(POLICIES)}")
        if settings.placement not in PLACEMENTS:
            raise ValueError(f"unknown placement {settings.placement!r}; there are {', '.join(PLACEMENTS)}")
        self.settings = settings
        self.table = JobTable()
        preempt_ns = (settings.preempt_after_ns, settings.preempt_interval_ns) if settings.preemption else None
        alike = PartitionSettings(POLICIES[settings.policy], PLACEMENTS[settings.placement], cycle_ns, preempt_ns)
        first = FreeIndex(cluster)
        indexes = [first, *(FreeIndex(cluster, number, first) for number in range(1, len(cluster.host_types)))]
        #: One per host type, in their order.
        self.partitions = tuple(
            Partition.of(host_type.name, host_type.gpu.name, free, self.table, alike)
            for host_type, free in zip(cluster.host_types, indexes, strict=True)
        )
        self.limits = Limits(cluster)
        #: What a job that requires no level stays inside: an island, where nothing joins the sites.
        self.islands = cluster.islands
        self._widest = LEVEL_NAMES.index("site") if cluster.islands else ANY_LEVEL
        self.first_host, self.host_block = first.first_host, first.host_block
        #: The partition of every block.
        self.block_type: list[int] = cluster.block_type.tolist()
        self._jobs_of_block: list[set[int]] = [set() for _ in self.block_type]
        self._down: set[int] = set()
        self._cordoned: set[int] = set()
        self._planned: set[int] = set()
        self.counts: list[QueueCounts] = []  # by queue

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
        elif not accepted and self.pending_jobs >= self.settings.pending_limit:
            state = State.REJECTED
        else:
            state = State.PENDING
            table.host_type[slot] = number
            self._wait(slot)
        table.state[slot] = state
        return state

    def _partition_for(self, slot: int) -> int:
        """Where the job that arrives is to wait; -1 where it can never run."""
        table = self.table
        gpus, level, named = table.gpus[slot], table.require_level[slot], table.host_type[slot]
        partitions = self.partitions
        if named != ANY_TYPE or len(partitions) == 1:
            number = max(0, named)
            return number if could_ever_fit(partitions[number].free, gpus, level) else -1
        fitting = [number for number, partition in enumerate(partitions) if could_ever_fit(partition.free, gpus, level)]
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
        table = self.table
        self.partitions[table.host_type[slot]].wait(slot)
        self.counts[table.queue[slot]].wait(table.gpus[slot])

    def requeue(self, slot: int) -> None:
        """A stopped job waits again, in the place that its submission gives it."""
        self.table.state[slot] = State.PENDING
        self._wait(slot)

    def cancel_pending(self, slot: int) -> None:
        """Remove a waiting job from its queue."""
        self.partition_of(slot).give_up(slot)
        self.counts[self.table.queue[slot]].wait(self.table.gpus[slot], -1)

    def release(self, slot: int, *, at_ns: int) -> None:
        """The job stopped at ``at_ns``: its GPUs are free again."""
        self.partitions[self.table.host_type[slot]].release(slot, at_ns)
        self._forget_running(slot)

    def _forget_running(self, slot: int) -> None:
        table = self.table
        self.counts[table.queue[slot]].run(table.gpus[slot], -1)
        for block, _, _ in table.rows[slot]:
            self._jobs_of_block[block].discard(slot)

    # -- one cycle ------------------------------------------------------------------------------------------------------------------

    def plan(self, now_ns: int) -> Plan:
        """Decide the cycle at ``now_ns``; GPUs and queue are as decided when it returns, the table gets rows, state and start."""
        plan = self._decide(now_ns)
        table = self.table
        for slot in plan.preempted:
            self._forget_running(slot)
        for slot, rows in plan.starts:
            table.state[slot] = State.RUNNING
            table.start_ns[slot] = now_ns
            counts = self.counts[table.queue[slot]]
            counts.wait(table.gpus[slot], -1)
            counts.run(table.gpus[slot])
            for block, _, _ in rows:
                self._jobs_of_block[block].add(slot)
        return plan

    def _decide(self, now_ns: int) -> Plan:
        if len(self.partitions) == 1:
            return self.partitions[0].plan(now_ns)
        together = Plan()
        for partition in self.partitions:
            if partition.stirred or partition.reconsider_ns <= now_ns:
                plan = partition.plan(now_ns)
                together.starts += plan.starts
                together.preempted += plan.preempted
            together.reconsider(partition.reconsider_ns)
        return together

    # -- hosts come and go ----------------------------------------------------------------------------------------------------------

    def host_down(self, host: int) -> list[int]:
        """The host is broken. Returns the slots of the jobs on it, by job id."""
        self._down.add(host)
        self.partition_of_host(host).withdraw(host)
        return self.jobs_on(host)

    def host_up(self, host: int) -> None:
        self._down.discard(host)
        self._offer(host)

    def cordon(self, hosts: Iterable[int], *, cordoned: bool) -> None:
        """Stop (or go on) placing jobs on ``hosts``; what runs there stays."""
        for host in hosts:
            if cordoned:
                self._cordoned.add(host)
                self.partition_of_host(host).withdraw(host)
            else:
                self._cordoned.discard(host)
                self._offer(host)

    def plan_hosts(self, hosts: Iterable[int]) -> None:
        """``hosts`` are not in service yet: nothing is placed on them until they are commissioned."""
        for host in hosts:
            self._planned.add(host)
            self.partition_of_host(host).withdraw(host)

    def commission(self, hosts: Iterable[int]) -> None:
        """``hosts``, which were planned, come into service."""
        for host in hosts:
            self._planned.discard(host)
            self._offer(host)

    def jobs_on(self, host: int) -> list[int]:
        """Slots of the jobs that hold GPUs of ``host``, by job id."""
        block, rows = self.host_block[host], self.table.rows
        bit = 1 << (host - self.first_host[block])
        slots = [slot for slot in self._jobs_of_block[block] if any(row[0] == block and row[1] & bit for row in rows[slot])]
        return sorted(slots, key=self.table.job_id.__getitem__)

    @property
    def cordoned_hosts(self) -> Collection[int]:
        return self._cordoned

    @property
    def down_hosts(self) -> Collection[int]:
        return self._down

    @property
    def planned_hosts(self) -> Collection[int]:
        """Hosts that have not come into service yet."""
        return self._planned

    def _offer(self, host: int) -> None:
        if host not in self._down and host not in self._cordoned and host not in self._planned:
            self.partition_of_host(host).offer(host)

    # -- reading --------------------------------------------------------------------------------------------------------------------

    def partition_of(self, slot: int) -> Partition:
        """The partition that the job, which has arrived and can run, is bound to."""
        return self.partitions[self.table.host_type[slot]]

    def partition_of_host(self, host: int) -> Partition:
        return self.partitions[self.block_type[self.host_block[host]]]

    @property
    def running(self) -> Collection[int]:
        """Slots of the running jobs, in no order."""
        if len(self.partitions) == 1:
            return self.partitions[0].running
        return set().union(*(partition.running for partition in self.partitions))

    @property
    def pending_jobs(self) -> int:
        """How many jobs wait."""
        return sum([len(partition.pending) for partition in self.partitions])

    def waits(self, slot: int) -> bool:
        """Whether the job is in a queue."""
        return self.table.host_type[slot] != ANY_TYPE and slot in self.partition_of(slot).pending

    def free_gpus(self) -> tuple[int, int]:
        """GPUs that could be given out now, and how many of them are on hosts that also hold a job."""
        idle = split = 0
        for partition in self.partitions:
            idle += partition.free.free_gpus
            split += partition.free.split_gpus
        return idle, split

    def gpus_of(self, hosts: Iterable[int]) -> int:
        """GPUs that ``hosts`` have, whatever their state."""
        per_host = [partition.free.gpus_per_host for partition in self.partitions]
        return sum(per_host[self.block_type[self.host_block[host]]] for host in hosts)

    def hosts_of(self, rows: list[Row]) -> Iterator[int]:
        """Host numbers of a placement, in the order of its rows."""
        for block, host_mask, _ in rows:
            for bit in mask_bits(host_mask):
                yield self.first_host[block] + bit
