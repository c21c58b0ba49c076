"""A partition (Slurm's word): the hosts of one type, with their own queue, policy and index of free GPUs.

A gang runs on hosts of one type, so partitions have nothing in common but the cycle: each decides as a cluster of its hosts alone would.
"""

from dataclasses import dataclass, field

from emulator.scheduler.free import FreeIndex
from emulator.scheduler.pending import HeadQueue, Pending, ScanQueue
from emulator.scheduler.placement import Placement
from emulator.scheduler.policies import PlanFunction, Policy
from emulator.scheduler.shares import let_go
from emulator.scheduler.table import NEVER, JobTable
from emulator.scheduler.view import Plan, Preemption, View


@dataclass(frozen=True)
class PartitionSettings:
    """How every partition decides. ``preempt_after_ns`` and ``preempt_interval_ns`` are None where nothing is preempted."""

    policy: Policy
    placement: Placement
    cycle_ns: int
    preempt_ns: tuple[int, int] | None  # (after, interval)


@dataclass(slots=True)
class Partition:
    """The state of one partition.

    ``stirred``: something happened since the last plan that can change the next one. Without that, and before ``reconsider_ns``, a plan
    would start and stop nothing.
    """

    name: str  # of the host type
    gpu_model: str
    free: FreeIndex
    pending: Pending
    view: View
    plan_function: PlanFunction
    preemptible: dict[int, int]  # priority -> running jobs that may be preempted
    running: set[int] = field(default_factory=set)
    #: Milli-GPUs that jobs hold or wait for.
    wanted_milli_gpus: int = 0
    stirred: bool = False
    reconsider_ns: int = NEVER

    @classmethod
    def of(cls, name: str, gpu_model: str, free: FreeIndex, table: JobTable, settings: PartitionSettings) -> "Partition":
        """An empty one."""
        policy = settings.policy
        pending = (ScanQueue if policy.looks_behind else HeadQueue)(table, policy.order)
        running: set[int] = set()
        preemptible: dict[int, int] = {}
        view = View(
            now_ns=0,
            cycle_ns=settings.cycle_ns,
            table=table,
            pending=pending,
            free=free,
            placement=settings.placement,
            running=running,
            by_end=[] if policy.looks_behind else None,
            preemption=Preemption(*settings.preempt_ns, preemptible) if settings.preempt_ns else None,
        )
        return cls(name, gpu_model, free, pending, view, policy.make(), preemptible, running)

    @property
    def gpus(self) -> int:
        """All GPUs of the partition, in service or not."""
        return self.free.host_count * self.free.gpus_per_host

    def wait(self, slot: int) -> None:
        """Add the job to the queue."""
        table = self.view.table
        self.pending.push(slot)
        self.wanted_milli_gpus += table.gpus[slot] * table.milli_gpus[slot]
        self.stirred = True

    def give_up(self, slot: int) -> None:
        """The waiting job leaves the queue."""
        table = self.view.table
        self.pending.remove(slot)
        if self.view.preemption is not None:
            self.view.preemption.refused.pop(slot, None)
        self.wanted_milli_gpus -= table.gpus[slot] * table.milli_gpus[slot]
        self.stirred = True

    def plan(self, now_ns: int) -> Plan:
        """Decide the cycle: GPUs, queue and running jobs are as decided when it returns; those preempted do not run any more."""
        self.stirred, self.reconsider_ns = False, NEVER
        if not len(self.pending):
            return Plan()
        view, table = self.view, self.view.table
        view.now_ns, view.plan = now_ns, Plan()
        plan = self.plan_function(view)
        for slot in plan.preempted:
            self.forget_running(slot)
        for slot, _ in plan.starts:
            self.running.add(slot)
            if table.preemptible[slot]:
                priority = table.priority[slot]
                self.preemptible[priority] = self.preemptible.get(priority, 0) + 1
        self.reconsider_ns = plan.reconsider_at_ns
        return plan

    def release(self, slot: int, at_ns: int) -> None:
        """The job stopped at ``at_ns``: its GPUs are free again."""
        table, view = self.view.table, self.view
        let_go(self.free, table.rows[slot], table.milli_gpus[slot])
        self.forget_running(slot)
        self.stirred = True
        if view.by_end is not None:
            view.forget_end(slot)
            # An end by the expected cycle is no surprise, and neither is a later one: reservations expect overdue jobs to end at any
            # moment.
            expected_ns = table.start_ns[slot] + table.estimate_ns[slot]
            if at_ns < expected_ns and -(-at_ns // view.cycle_ns) < -(-expected_ns // view.cycle_ns):
                view.surprises += 1

    def forget_running(self, slot: int) -> None:
        table = self.view.table
        self.running.discard(slot)
        self.wanted_milli_gpus -= table.gpus[slot] * table.milli_gpus[slot]
        if table.preemptible[slot]:
            self.preemptible[table.priority[slot]] -= 1

    def withdraw(self, host: int) -> None:
        """Nothing more is placed on the host."""
        self.free.withdraw(host)
        self._surprise()

    def offer(self, host: int) -> None:
        """The host may be used again."""
        self.free.offer(host)
        self._surprise()

    def _surprise(self) -> None:
        self.view.surprises += 1
        self.stirred = True
