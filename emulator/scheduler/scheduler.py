"""The scheduler: queue, placements and the free-GPU index, in one place. It knows no time but the cycle it is asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.pending import HeadQueue, Pending, ScanQueue
from emulator.scheduler.placement import PLACEMENTS, could_ever_fit
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.preempt import Preemption
from emulator.scheduler.shares import let_go
from emulator.scheduler.table import JobTable, State
from emulator.scheduler.view import Plan, View
from emulator.workload.jobs import JobColumns
from topology.cluster import Cluster


@dataclass(frozen=True)
class SchedulerSettings:
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
        self.settings, self.cycle_ns = settings, cycle_ns
        self.table = JobTable()
        self.free = FreeIndex(cluster)
        self.running: set[int] = set()
        policy = POLICIES[settings.policy]
        self._policy = policy.make()
        self.pending: Pending = (ScanQueue if policy.looks_behind else HeadQueue)(self.table, policy.order)
        self._jobs_of_block: list[set[int]] = [set() for _ in self.free.block_free]
        self._down: set[int] = set()
        self._cordoned: set[int] = set()
        self._preemptible: dict[int, int] = {}  # priority -> running jobs that may be preempted
        self._view = View(
            now_ns=0,
            cycle_ns=cycle_ns,
            table=self.table,
            pending=self.pending,
            free=self.free,
            placement=PLACEMENTS[settings.placement],
            running=self.running,
            by_end=[] if policy.looks_behind else None,
            preemption=Preemption(settings.preempt_after_ns, settings.preempt_interval_ns, self._preemptible)
            if settings.preemption
            else None,
        )
        self.counts: list[QueueCounts] = []  # by queue

    # -- jobs come and go -----------------------------------------------------------------------------------------------------------

    def add(self, jobs: JobColumns, state: State = State.FUTURE) -> range:
        """Take note of jobs; each counts from ``arrive`` on."""
        slots = self.table.extend(jobs, dict(self.settings.queue_priority), state)
        self.counts += [QueueCounts() for _ in self.table.queues[len(self.counts) :]]
        return slots

    def arrive(self, slot: int, *, accepted: bool = False) -> State:
        """The job is submitted: pending, or infeasible when no placement on this cluster could ever hold it, or rejected by the limit.

        ``accepted``: somebody was told that it is in the queue, so that the limit does not count any more.
        """
        table = self.table
        if not could_ever_fit(self.free, table.gpus[slot], table.require_level[slot]):
            state = State.INFEASIBLE
        elif len(self.pending) >= self.settings.pending_limit and not accepted:
            state = State.REJECTED
        else:
            state = State.PENDING
            self._wait(slot)
        table.state[slot] = state
        return state

    def add_queue(self, name: str) -> None:
        """A queue that is there before its first job."""
        if name not in self.table.queues:
            self.table.queues.append(name)
            self.counts.append(QueueCounts())

    def _wait(self, slot: int) -> None:
        self.pending.push(slot)
        self.counts[self.table.queue[slot]].wait(self.table.gpus[slot])

    def requeue(self, slot: int) -> None:
        """A stopped job waits again, in the place that its submission gives it."""
        self.table.state[slot] = State.PENDING
        self._wait(slot)

    def cancel_pending(self, slot: int) -> None:
        """A waiting job does not want to run any more."""
        self.pending.remove(slot)
        self.counts[self.table.queue[slot]].wait(self.table.gpus[slot], -1)

    def release(self, slot: int, *, at_ns: int) -> None:
        """The job stopped at ``at_ns``: its GPUs are free again."""
        table = self.table
        let_go(self.free, table.rows[slot], table.milli_gpus[slot])
        self._forget_running(slot)
        if self._view.by_end is not None:
            self._view.forget_end(slot)
            # An end by the expected cycle is no surprise, nor is a later one: reservations expect what is overdue at any moment.
            expected_ns = table.start_ns[slot] + table.estimate_ns[slot]
            if at_ns < expected_ns and -(-at_ns // self.cycle_ns) < -(-expected_ns // self.cycle_ns):
                self._view.surprises += 1

    def _forget_running(self, slot: int) -> None:
        table = self.table
        self.running.discard(slot)
        self.counts[table.queue[slot]].run(table.gpus[slot], -1)
        for block, _, _ in table.rows[slot]:
            self._jobs_of_block[block].discard(slot)
        if table.preemptible[slot]:
            self._preemptible[table.priority[slot]] -= 1

    # -- one cycle ------------------------------------------------------------------------------------------------------------------

    def plan(self, now_ns: int) -> Plan:
        """Decide the cycle at ``now_ns``; GPUs and queue are as decided when it returns, the table gets rows, state and start."""
        if not len(self.pending):
            return Plan()
        table = self.table
        view = self._view
        view.now_ns, view.plan = now_ns, Plan()
        plan = self._policy(view)
        for slot in plan.preempted:
            self._forget_running(slot)
        for slot, rows in plan.starts:
            table.state[slot] = State.RUNNING
            table.start_ns[slot] = now_ns
            self.running.add(slot)
            counts = self.counts[table.queue[slot]]
            counts.wait(table.gpus[slot], -1)
            counts.run(table.gpus[slot])
            for block, _, _ in rows:
                self._jobs_of_block[block].add(slot)
            if table.preemptible[slot]:
                priority = table.priority[slot]
                self._preemptible[priority] = self._preemptible.get(priority, 0) + 1
        return plan

    # -- hosts come and go ----------------------------------------------------------------------------------------------------------

    def host_down(self, host: int) -> list[int]:
        """The host is broken. Returns the slots of the jobs on it, by slot."""
        self._down.add(host)
        self._withdraw(host)
        return self.jobs_on(host)

    def host_up(self, host: int) -> None:
        self._down.discard(host)
        self._offer(host)

    def cordon(self, hosts: range, *, cordoned: bool) -> None:
        """Stop (or go on) placing jobs on ``hosts``; what runs there stays."""
        for host in hosts:
            if cordoned:
                self._cordoned.add(host)
                self._withdraw(host)
            else:
                self._cordoned.discard(host)
                self._offer(host)

    def jobs_on(self, host: int) -> list[int]:
        """Slots of the jobs that hold GPUs of ``host``, by slot."""
        block = self.free.host_block[host]
        bit = 1 << (host - self.free.first_host[block])
        return sorted(slot for slot in self._jobs_of_block[block] if any(row[0] == block and row[1] & bit for row in self.table.rows[slot]))

    @property
    def cordoned_hosts(self) -> frozenset[int]:
        return frozenset(self._cordoned)

    @property
    def down_hosts(self) -> frozenset[int]:
        return frozenset(self._down)

    def _withdraw(self, host: int) -> None:
        self.free.withdraw(host)
        self._view.surprises += 1

    def _offer(self, host: int) -> None:
        if host not in self._down and host not in self._cordoned:
            self.free.offer(host)
            self._view.surprises += 1

    # -- reading --------------------------------------------------------------------------------------------------------------------

    def hosts_of(self, rows: list[Row]) -> Iterator[int]:
        """Host numbers of a placement, in the order of its rows."""
        for block, host_mask, _ in rows:
            for bit in mask_bits(host_mask):
                yield self.free.first_host[block] + bit
