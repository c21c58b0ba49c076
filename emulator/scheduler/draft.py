"""The draft of one cycle: what a policy sees and decides, over all partitions.

A policy acts through it alone, and each decision sees the ones before it. Beyond that it reads, and its answer depends on the state alone.
What it may remember from cycle to cycle is what it could compute again, and only until a partition's ``surprises`` rises.
"""

from dataclasses import dataclass, field

from emulator.scheduler.free import Row
from emulator.scheduler.job import Job, job_of
from emulator.scheduler.ledger import Ledger
from emulator.scheduler.partition import Partition
from emulator.scheduler.placement import Ask, Placement
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.table import NEVER, JobTable, State
from emulator.workload.jobs import SECOND


@dataclass(frozen=True)
class Preemption:
    """That there is preemption: of jobs that have run for ``after_ns`` (RSC preempts after two hours: Kokolis et al., HPCA'25).

    A job for which no room could be made is not tried again for ``interval_ns``, since the search looks at every running job below it.
    """

    after_ns: int
    interval_ns: int
    refused: dict[int, int] = field(default_factory=dict)  # slot -> when it may be tried again


@dataclass(slots=True)
class Draft:
    """The decisions of the cycle at ``now_ns``. ``reconsider_at_ns``: when they may change without any event (the engine never leaps over
    that).
    """

    cycle_ns: int
    ledger: Ledger
    table: JobTable
    placement: Placement
    preemption: Preemption | None  # None: nothing is preempted
    now_ns: int = -1
    starts: list[tuple[int, list[Row]]] = field(default_factory=list)  # (slot, placement), in order
    preempted: list[int] = field(default_factory=list)  # slots, stopped before the starts
    reconsider_at_ns: int = NEVER
    causes: dict[int, str] = field(default_factory=dict)  # slot -> why it was preempted, where it was not for a higher priority
    whys: dict[int, str] = field(default_factory=dict)  # slot -> what a policy outside says of why the job waits

    def begin(self, now_ns: int) -> None:
        """A new cycle: what was decided before stands."""
        self.ledger.settle()
        self.now_ns, self.starts, self.preempted, self.reconsider_at_ns = now_ns, [], [], NEVER
        self.causes.clear()

    def partitions(self) -> list[Partition]:
        """Those that have to be looked at: something happened there, or its time has come, and somebody waits."""
        found = []
        for partition in self.ledger.partitions:
            if partition.held:
                self._bring_back(partition)
            if partition.stirred or partition.reconsider_ns <= self.now_ns:
                partition.stirred, partition.reconsider_ns = False, NEVER
                partition.arrived, partition.arriving = partition.arriving, []
                if len(partition.pending):
                    found.append(partition)
            elif partition.reconsider_ns < self.reconsider_at_ns:
                self.reconsider_at_ns = partition.reconsider_ns
        return found

    def reconsider(self, partition: Partition, at_ns: int) -> None:
        """Look at ``partition`` again at ``at_ns``, though nothing may happen until then."""
        partition.reconsider_ns = min(partition.reconsider_ns, at_ns)
        self.reconsider_at_ns = min(self.reconsider_at_ns, at_ns)

    # -- quotas and limits ----------------------------------------------------------------------------------------------------------

    def may_start(self, partition: Partition, slot: int) -> bool:
        """Whether the quota of the waiting job's queue and the limit of its tenant allow that it starts now."""
        accounts = self.ledger.accounts
        if accounts is None:
            return True
        assert partition.held is not None, "where there are accounts, jobs may be held"
        return accounts.allows(slot, self.table.host_type[slot]) and not partition.held.bars(slot, partition.pending.key)

    def hold(self, partition: Partition, slot: int) -> None:
        """Pass over a waiting job that may not start: it is in nobody's way, and comes back when there is quota for it."""
        assert partition.held is not None, "where there are accounts, jobs may be held"
        partition.pending.remove(slot)
        partition.held.add(slot)

    def keep_for(self, slot: int, *, keep: bool = True) -> None:
        """Keep quota for a waiting job that may start but does not fit yet, while others are looked at; then let go of it."""
        accounts = self.ledger.accounts
        if accounts is not None:
            (accounts.take if keep else accounts.give)(slot, self.table.host_type[slot])

    def _bring_back(self, partition: Partition) -> None:
        """Those that wait for quota and may start now wait as the others do."""
        held, accounts = partition.held, self.ledger.accounts
        if held is None or accounts is None:
            return
        for slot in held.return_those_with_room(accounts, partition.pending.key):
            partition.pending.push(slot)
            partition.arriving.append(slot)
            partition.stirred = True

    def choose(self, partition: Partition, slot: int) -> list[Row] | None:
        """Where the job would go now in its partition, or None."""
        table = self.table
        levels = table.require_level[slot], table.prefer_level[slot]
        return self.placement.place(partition.free, Ask(table.gpus[slot], table.milli_gpus[slot], *levels, table.job_id[slot]))

    def choose_again(self, partition: Partition, slot: int) -> list[Row] | None:
        """As ``choose``, for one job that may be asked for in every cycle: it is not looked for again while nothing came free."""
        asked = self.table.job_id[slot], partition.freed
        if partition.no_room == asked:
            return None
        rows = self.choose(partition, slot)
        if rows is None:
            partition.no_room = asked
        return rows

    def start(self, partition: Partition, slot: int, rows: list[Row]) -> None:
        """Start the job there, in this cycle. Raises Refused where that breaks a rule."""
        self.ledger.start(slot, rows, self.now_ns)
        if partition.held:
            partition.held.discard(slot)
        if self.preemption is not None:
            self.preemption.refused.pop(slot, None)
        if self.whys:
            self.whys.pop(slot, None)
        table = self.table
        partition.pending.remove(slot)
        partition.waiting_milli_gpus -= table.gpus[slot] * table.milli_gpus[slot]
        self.starts.append((slot, rows))

    def preempt(self, slot: int, cause: str = "") -> None:
        """Stop the running job, which waits again from the next cycle on; ``cause`` is what its user is told. Raises Refused where it does
        not run, or started in this cycle.
        """
        if self.table.start_ns[slot] == self.now_ns and self.table.state[slot] == State.RUNNING:
            raise Refused(Rule.RUNNING, f"job {self.table.job_id[slot]} starts in this cycle, so it does not run yet")
        self.ledger.stop(slot, self.now_ns)
        if cause:
            self.causes[slot] = cause
        self.preempted.append(slot)
        self.ledger.partition_of(slot).surprises += 1

    # -- job by job -----------------------------------------------------------------------------------------------------------------

    @property
    def now_seconds(self) -> float:
        """Emulated time."""
        return self.now_ns / SECOND

    def waiting(self) -> list[Job]:
        """All jobs that wait, by partition, in the order of the queues."""
        self.partitions()
        return [job_of(self.table, slot, running=False) for partition in self.ledger.partitions for slot in partition.waiting()]

    def running(self) -> list[Job]:
        """All jobs that run, by id; those started in this cycle too."""
        slots = sorted((slot for partition in self.ledger.partitions for slot in partition.running), key=self.table.job_id.__getitem__)
        return [job_of(self.table, slot, running=True) for slot in slots]

    def free_gpus(self) -> int:
        """GPUs that could be given out now."""
        return sum(partition.free.free_gpus for partition in self.ledger.partitions)

    def try_start(self, job: Job) -> bool:
        """Start a job that waits where the placement puts it; False where it does not fit now, or there is no quota for it."""
        partition = self.ledger.partition_of(job.slot)
        if not self.may_start(partition, job.slot):
            return False
        rows = self.choose(partition, job.slot)
        if rows is None:
            return False
        self.start(partition, job.slot, rows)
        return True

    def ask_again(self, after_seconds: float) -> None:
        """Ask the policy again after so much time, though nothing may happen until then: without this it is asked after events alone."""
        at_ns = self.now_ns + max(1, round(after_seconds * SECOND))
        for partition in self.ledger.partitions:
            self.reconsider(partition, at_ns)

    # -- taking back ----------------------------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """The present moment, for ``undo``."""
        return self.ledger.mark()

    def undo(self, mark: int) -> None:
        """Take back what was decided since ``mark``."""
        for slot, started in self.ledger.undo(mark):
            if started:
                self.starts.pop()
                partition = self.ledger.partition_of(slot)
                partition.pending.push(slot)
                partition.arriving.append(slot)
                partition.waiting_milli_gpus += self.table.gpus[slot] * self.table.milli_gpus[slot]
            else:
                self.causes.pop(self.preempted.pop(), None)
        for partition in self.ledger.partitions:
            if partition.held:
                self._bring_back(partition)

    def has_turn(self, partition: Partition, slot: int) -> bool:
        """Whether the waiting job comes before all jobs that were preempted in this cycle; jobs behind a preempted one wait for the next
        cycle, as it does.
        """
        ledger = self.ledger
        return all(partition.pending.comes_before(slot, victim) for victim in self.preempted if ledger.partition_of(victim) is partition)

    def has_preempted(self, partition: Partition) -> bool:
        """Whether a job of ``partition`` was preempted in this cycle."""
        return any(self.ledger.partition_of(victim) is partition for victim in self.preempted)
