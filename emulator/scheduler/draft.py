"""The draft of one cycle: what a policy sees and decides, over all partitions.

A policy acts through it alone, and each decision sees the ones before it. Beyond that it reads, and its answer depends on the state alone.
What it could compute again it may remember until a partition's ``surprises`` rises; anything else is in ``memory``.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from emulator.jobs.life import Phase
from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.held import EVERYBODY, Span
from emulator.scheduler.job import Job, job_of
from emulator.scheduler.ledger import Ledger
from emulator.scheduler.partition import Partition
from emulator.scheduler.placement import Ask, Placement
from emulator.scheduler.reasons import KINDS, Why
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.sizes import gpus_in, largest
from emulator.scheduler.table import NEVER, JobTable, State
from emulator.workload.jobs import SECOND

#: So many times what is left of a quota is more than all that wait for it.
_ALL = 2**62


@dataclass(frozen=True)
class Preemption:
    """That there is preemption: of jobs that have run for ``after_ns`` (RSC preempts after two hours: Kokolis et al., HPCA'25).

    A job for which no room could be made is not tried again for ``interval_ns``, since the search looks at every running job below it.
    """

    after_ns: int
    interval_ns: int
    refused: dict[int, int] = field(default_factory=dict)  # slot -> when it may be tried again
    grace_ns: int = 0  # that a job has to save what it did, once it is asked to stop


@dataclass(frozen=True)
class Defragmentation:
    """That jobs are migrated for one that does not fit only because free GPUs lie scattered; not again for ``interval_ns`` in vain."""

    interval_ns: int
    refused: dict[int, int] = field(default_factory=dict)  # slot -> when it may be tried again


@dataclass(frozen=True)
class Elasticity:
    """That jobs of several sizes change theirs while they run: a job that has run with one for ``interval_ns`` may grow, if ``grows``."""

    interval_ns: int
    grows: bool = True  # False: that is for somebody else to do
    refused: dict[int, int] = field(default_factory=dict)  # slot of a job for which others would not shrink enough -> when to try again
    stuck: dict[int, int] = field(default_factory=dict)  # slot of a job that could not grow -> ``Partition.freed`` then


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
    defragmentation: Defragmentation | None  # None: nothing is migrated to make room
    elasticity: Elasticity | None = None  # None: no size changes while a job runs
    passes_over: bool = False  # of the policy: it starts jobs in turn, and whoever waits for hosts is in the way of those behind it
    head_first: bool = False  # and the turn is that of ``pending.key``
    now_ns: int = -1
    starts: list[tuple[int, list[Row]]] = field(default_factory=list)  # (slot, placement), in order
    preempted: list[int] = field(default_factory=list)  # slots, stopped before the starts
    migrated: dict[int, tuple[list[Row], int, int]] = field(default_factory=dict)  # slot -> placement, start and size before
    asked: list[list[int]] = field(default_factory=list)  # slots that are asked to stop and may save before; each list for one job
    suspended: set[int] = field(default_factory=set)  # those of them that write a checkpoint as they stop
    reconsider_at_ns: int = NEVER
    #: What the policy keeps from cycle to cycle, where it cannot be computed again; by whatever key it likes.
    memory: dict[Any, Any] = field(default_factory=dict)
    causes: dict[int, str] = field(default_factory=dict)  # slot -> why it was preempted or resized
    whys: dict[int, Why] = field(default_factory=dict)  # slot -> what the policy says of why it waits
    #: For placements that ask the fabric: slot -> ``Ask.probe``. Who knows the fabric sets it.
    prospect: Callable[[int], Callable[[list[Row]], float] | None] | None = None

    def begin(self, now_ns: int) -> None:
        """A new cycle: what was decided before stands."""
        self.ledger.settle()
        self.now_ns, self.starts, self.reconsider_at_ns = now_ns, [], NEVER
        if self.preempted:
            self.preempted = []
            self.suspended.clear()
            self.causes.clear()
        if self.migrated or self.asked:
            self.migrated.clear()
            self.asked.clear()
            self.causes.clear()
        if self.ledger.accounts is not None:
            for partition in self.ledger.partitions:
                if partition.held:
                    partition.held.begin()

    def partitions(self) -> Iterator[Partition]:
        """Those that have to be looked at: something happened there, or its time has come, and somebody waits. One is given again when
        there may be quota for more jobs than were looked at, or none any longer for the first in its queue.
        """
        for partition in self.ledger.partitions:
            if partition.held:
                self._bring_back(partition, 1 if self.head_first else _ALL)
            if partition.stirred or partition.reconsider_ns <= self.now_ns:
                partition.reconsider_ns = NEVER
                self._look(partition)
                if len(partition.pending):
                    yield partition
            elif partition.reconsider_ns < self.reconsider_at_ns:
                self.reconsider_at_ns = partition.reconsider_ns
        if self.passes_over and self.ledger.accounts is not None:
            yield from self._partitions_again()

    def _partitions_again(self) -> Iterator[Partition]:
        times, again = 1, True
        while again:
            times, again = 2 * times, False
            for partition in self.ledger.partitions:
                if self.head_first and partition.held and partition.held.unseen:
                    self._bring_back(partition, times)
                if self._pass_over_heads(partition) or partition.arriving:
                    again = True
                    self._look(partition)
                    yield partition

    def _pass_over_heads(self, partition: Partition) -> bool:
        """Hold jobs that waited for hosts and whose quota others took, in another partition perhaps. Returns whether there are any."""
        found = False
        while (head := partition.pending.head()) >= 0 and not self.may_start(partition, head):
            self.wait_for_quota(partition, head)
            found = True
        return found and len(partition.pending) > 0

    @staticmethod
    def _look(partition: Partition) -> None:
        partition.stirred = False
        partition.arrived, partition.arriving = partition.arriving, []

    def reconsider(self, partition: Partition, at_ns: int) -> None:
        """Look at ``partition`` again at ``at_ns``, though nothing may happen until then."""
        partition.reconsider_ns = min(partition.reconsider_ns, at_ns)
        self.reconsider_at_ns = min(self.reconsider_at_ns, at_ns)

    def after(self, seconds: float) -> int:
        """The time in ns so much after this cycle."""
        return self.now_ns + max(1, round(seconds * SECOND))

    # -- quotas and limits ----------------------------------------------------------------------------------------------------------

    def may_start(self, partition: Partition, slot: int) -> bool:
        """Whether the quota of the waiting job's queue and the limit of its tenant allow that it starts now."""
        accounts = self.ledger.accounts
        if accounts is None:
            return True
        assert partition.held is not None, "where there are accounts, jobs may be held"
        return accounts.allows(slot, partition.host_type) and not partition.held.bars(slot)

    def wait_for_quota(self, partition: Partition, slot: int) -> None:
        """Pass over a waiting job that may not start: it is in nobody's way, and comes back when there is quota for it."""
        assert partition.held is not None, "where there are accounts, jobs may be held"
        partition.pending.remove(slot)
        partition.held.add(slot)

    def head(self, partition: Partition) -> int:
        """The first waiting job that may start, -1 where there is none. Those before it are held."""
        slot = partition.pending.head()
        if self.ledger.accounts is None:
            return slot
        assert partition.held is not None, "where there are accounts, jobs may be held"
        while True:
            if slot >= 0 and not self.may_start(partition, slot):
                self.wait_for_quota(partition, slot)
            elif not (self.head_first and partition.held.unseen) or not self._bring_back(partition) or partition.pending.head() == slot:
                return slot
            slot = partition.pending.head()

    def keep_for(self, partition: Partition, slot: int, *, keep: bool = True) -> None:
        """Keep quota for a waiting job that may start but does not fit yet, while others are looked at; then let go of it."""
        accounts = self.ledger.accounts
        if accounts is not None:
            (accounts.take if keep else accounts.give)(slot, partition.host_type)

    def _bring_back(self, partition: Partition, times: int = 1) -> bool:
        """Those that wait for quota and may start now wait as the others do, as many as would fill ``times`` what is left of it. Returns
        whether there are any.
        """
        held, accounts = partition.held, self.ledger.accounts
        assert held is not None, "asked where jobs are held"
        assert accounts is not None, "where jobs are held, there are accounts"
        head = partition.pending.head() if self.head_first else -1
        if head < 0 or not self.may_start(partition, head):
            slots = held.return_those_with_room(accounts, EVERYBODY, times)
        else:
            key = partition.pending.key(head)
            slots = held.return_those_with_room(accounts, Span(key, before=True), times)
            if not slots:  # as the policy does: those behind for whom nothing is left would only be held again
                self.keep_for(partition, head)
                slots = held.return_those_with_room(accounts, Span(key, before=False), times)
                self.keep_for(partition, head, keep=False)
        self._wait_again(partition, slots)
        return bool(slots)

    @staticmethod
    def _wait_again(partition: Partition, slots: list[int]) -> None:
        """They wait as the others do."""
        for slot in slots:
            partition.pending.push(slot)
            partition.arriving.append(slot)
            partition.stirred = True

    def choose(self, partition: Partition, slot: int, gpus: int = 0) -> list[Row] | None:
        """Where the job would go now in its partition, or None: with the largest of its sizes that fits and that its quota allows, or with
        ``gpus``, where they are given.
        """
        placement = self.placement
        ask = Ask(*self.table.asks[slot], self.table.job_id[slot])
        if placement.asks_fabric and self.prospect is not None:
            ask = ask._replace(probe=self.prospect(slot))
        if self.table.sizes and slot in self.table.sizes:
            return self._choose_size(partition, slot, ask, gpus)
        return placement.choose(self.free_for(partition, slot), ask)

    def free_for(self, partition: Partition, slot: int) -> FreeIndex:
        """What the job sees of the free GPUs of the partition: all that is offered, but for hosts that are reserved before it would end."""
        return partition.free if partition.views is None else self.ledger.free_for(partition, slot, self.now_ns)

    def kind_of(self, partition: Partition, slot: int) -> tuple[Any, ...]:
        """Jobs of one kind go to the same place in the partition."""
        if partition.views is None:
            return self.table.asks[slot]
        if slot in self.table.reservation:
            return *self.table.asks[slot], self.table.reservation[slot]
        return *self.table.asks[slot], partition.views.closed(self.now_ns + self.table.expected_on(slot, partition.host_type))

    def _choose_size(self, partition: Partition, slot: int, ask: Ask, gpus: int) -> list[Row] | None:
        """As ``choose``, of a job of several sizes. They are halved, since what fits with some GPUs fits with fewer."""

        def place(gpus: int) -> list[Row] | None:
            return self.placement.choose(self.ledger.free_for(partition, slot, self.now_ns, gpus), ask._replace(gpus=gpus))

        if gpus:
            return place(gpus)
        free, accounts = partition.free, self.ledger.accounts
        room = free.host_count * free.gpus_per_host if partition.views is not None else free.free_gpus
        if accounts is not None:
            room = min(room, accounts.room(slot, partition.host_type))
        return largest(self.table.sizes[slot].up_to(room, free.gpus_per_host), place)

    def choose_again(self, partition: Partition, slot: int) -> list[Row] | None:
        """As ``choose``, for one job that may be asked for in every cycle: it is not looked for again while nothing came free."""
        asked = self.table.job_id[slot], partition.freed
        if partition.no_room == asked:
            return None
        rows = self.choose(partition, slot)
        if rows is None:
            partition.no_room = asked
        return rows

    def start(self, slot: int, rows: list[Row]) -> None:
        """Start the job there, in this cycle. Raises Refused where that breaks a rule."""
        self.ledger.start(slot, rows, self.now_ns)
        self.forget(slot)
        if self.whys:
            self.whys.pop(slot, None)
        partitions = self.ledger.partitions_for(slot)
        for partition in partitions:
            partition.leaves(slot)
        if len(partitions) > 1:
            for partition in partitions:
                if partition.host_type != self.table.host_type[slot]:  # others have their turn there
                    self.reconsider(partition, self.now_ns + self.cycle_ns)
        self.starts.append((slot, rows))

    def start_in(self, partition: Partition, slot: int, rows: list[Row]) -> None:
        """As ``start``, of a job that has its turn in ``partition``: in one that it prefers, if it has its turn and room there."""
        for preferred in self.ledger.partitions_for(slot):
            if preferred is partition:
                break
            if preferred.pending.head() == slot and self.may_start(preferred, slot):
                there = self.choose(preferred, slot)
                if there is not None:
                    rows = there
                    break
        self.start(slot, rows)

    def forget(self, slot: int) -> None:
        """The job no longer waits, so what was tried for it in vain is of no interest."""
        if self.preemption is not None:
            self.preemption.refused.pop(slot, None)
        if self.defragmentation is not None:
            self.defragmentation.refused.pop(slot, None)
        if self.elasticity is not None:
            self.elasticity.refused.pop(slot, None)

    def forget_refusals(self) -> None:
        """Whatever was tried in vain may be tried again."""
        for one in (self.preemption, self.defragmentation, self.elasticity):
            if one is not None:
                one.refused.clear()

    def lift(self, slot: int) -> None:
        """Take the running job off its GPUs; ``set_down`` comes in the same cycle. Raises Refused where it does not run."""
        self._check_ran_before(slot)
        before = self.table.rows[slot], self.table.start_ns[slot], self.table.size_gpus[slot]
        self.ledger.lift(slot, self.now_ns)
        self.migrated[slot] = before
        self.ledger.partition_of(slot).surprises += 1

    def set_down(self, slot: int, rows: list[Row]) -> None:
        """A lifted job goes on there. Raises Refused where that breaks a rule."""
        self.ledger.start(slot, rows, self.now_ns)

    def migrate(self, slot: int, rows: list[Row]) -> None:
        """The running job goes on on other GPUs: it writes a checkpoint and pays the restart overhead. Raises Refused where that breaks a
        rule; nothing was changed then.
        """
        gpus, given = self.table.size_gpus[slot], gpus_in(rows)
        if gpus != given:
            raise Refused(Rule.SIZE, f"job {self.table.job_id[slot]} holds {gpus} GPUs and is given {given}")
        self.resize(slot, rows)

    def resize(self, slot: int, rows: list[Row], cause: str = "") -> None:
        """As ``migrate``, with any of the job's sizes: it goes on at a pace in proportion to them. ``cause`` is what its user is told."""
        mark = self.mark()
        self.lift(slot)
        try:
            self.set_down(slot, rows)
        except Refused:
            self.undo(mark)
            raise
        if cause:
            self.causes[slot] = cause

    def preempt(self, slot: int, cause: str = "", *, suspend: bool = False) -> None:
        """Stop the running job, which waits again from the next cycle on; ``cause`` is what its user is told.

        It goes back to its last checkpoint; with ``suspend`` it writes one as it stops, and loses nothing but the restart overhead. Raises
        Refused where it does not run, or started in this cycle.
        """
        self._check_ran_before(slot)
        self.ledger.stop(slot, self.now_ns)
        if cause:
            self.causes[slot] = cause
        self.preempted.append(slot)
        if suspend:
            self.suspended.add(slot)
        self.ledger.partition_of(slot).surprises += 1

    def ask_to_stop(self, victims: dict[int, str], grace_ns: int) -> bool:
        """Ask running jobs to stop, each with its cause, where there is a time of grace and one of them would use it. False otherwise: then
        they can as well be stopped at once.
        """
        drains = grace_ns > 0 and any(self.table.lives.drain_ns(slot) for slot in victims)
        if drains:
            self.asked.append(list(victims))
            self.causes |= victims
        return drains

    def drains(self, slot: int) -> bool:
        """Whether the running job has been asked to stop already."""
        return self.table.lives.out.get(slot) == Phase.DRAINING or any(slot in slots for slots in self.asked)

    def _check_ran_before(self, slot: int) -> None:
        if self.table.start_ns[slot] == self.now_ns and self.table.state[slot] == State.RUNNING:
            job = f"job {self.table.job_id[slot]}"
            if slot in self.migrated:
                raise Refused(Rule.RUNNING, f"{job} is given other GPUs in this cycle already")
            raise Refused(Rule.RUNNING, f"{job} starts in this cycle, so it does not run yet")

    # -- job by job -----------------------------------------------------------------------------------------------------------------

    @property
    def now_seconds(self) -> float:
        """Emulated time."""
        return self.now_ns / SECOND

    def waiting(self) -> list[Job]:
        """All jobs that wait, by partition, in the order of the queues."""
        for _ in self.partitions():
            pass
        slots = dict.fromkeys(slot for partition in self.ledger.partitions for slot in partition.waiting())
        return [job_of(self.table, slot, running=False) for slot in slots]

    def running(self) -> list[Job]:
        """All jobs that run, by id; those started in this cycle too."""
        slots = sorted((slot for partition in self.ledger.partitions for slot in partition.running), key=self.table.job_id.__getitem__)
        return [job_of(self.table, slot, running=True) for slot in slots]

    def free_gpus(self) -> int:
        """GPUs that could be given out now."""
        return sum(partition.free.free_gpus for partition in self.ledger.partitions)

    def try_start(self, job: Job) -> bool:
        """Start a job that waits where the placement puts it; False where it does not fit now, or there is no quota for it."""
        for partition in self.ledger.partitions_for(job.slot):
            rows = self.choose(partition, job.slot) if self.may_start(partition, job.slot) else None
            if rows is not None:
                self.start(job.slot, rows)
                return True
        return False

    def hold(self, slot: int, why: Why) -> None:
        """Leave a job waiting, and say why: kept until it starts, is held anew, or is ``let_go``."""
        self.whys[slot] = why

    def let_go(self, slots: Iterable[int]) -> None:
        """Whatever held these jobs does no longer."""
        if self.whys:
            for slot in slots:
                self.whys.pop(slot, None)

    def explain(self, job: Job, text: str, /, *, kind: str = "policy", remedy: str = "", **numbers: float) -> None:
        """Say why a job waits, and what would let it start, for ``gigawatt job explain``: kept until it starts or is explained anew. An
        empty ``text`` takes it back.

        ``kind`` is one of ``reasons.KINDS``. Raises Refused where the job does not wait, ValueError for another kind.
        """
        if not any(partition.waits(job.slot) for partition in self.ledger.partitions_for(job.slot)):
            raise Refused(Rule.PENDING, f"job {job.job_id} does not wait")
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r:.80}; allowed: {', '.join(KINDS)}")
        if text:
            self.hold(job.slot, Why(text, numbers, kind, remedy))
        else:
            self.let_go((job.slot,))

    def ask_again(self, after_seconds: float) -> None:
        """Ask the policy again after so much time, though nothing may happen until then: without this it is asked after events alone."""
        for partition in self.ledger.partitions:
            self.reconsider(partition, self.after(after_seconds))

    # -- taking back ----------------------------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """The present moment, for ``undo``."""
        return self.ledger.mark()

    def undo(self, mark: int) -> None:
        """Take back what was decided since ``mark``."""
        for slot, started in self.ledger.undo(mark):
            if slot in self.migrated:
                if not started:
                    del self.migrated[slot]
                    self.causes.pop(slot, None)
            elif started:
                self.starts.pop()
                for partition in self.ledger.partitions_for(slot):
                    partition.pending.push(slot)
                    partition.arriving.append(slot)
            else:
                self.preempted.pop()
                self.suspended.discard(slot)
                self.causes.pop(slot, None)
        for partition in self.ledger.partitions:
            if partition.held:
                self._wait_again(partition, partition.held.return_all())

    def has_turn(self, partition: Partition, slot: int) -> bool:
        """Whether the waiting job comes before all jobs that were preempted in this cycle; jobs behind a preempted one wait for the next
        cycle, as it does.
        """
        ledger = self.ledger
        return all(partition.pending.comes_before(slot, victim) for victim in self.preempted if ledger.partition_of(victim) is partition)

    def has_preempted(self, partition: Partition) -> bool:
        """Whether a job of ``partition`` was preempted in this cycle."""
        return any(self.ledger.partition_of(victim) is partition for victim in self.preempted)
