"""What a policy sees, and what it answers.

A policy is a function ``plan(view) -> Plan``. It decides job by job and says so to the view (``start``, ``make_room``), so that each
decision sees the ones before it; beyond that it reads, and its answer depends on the view alone. What it may remember from cycle to
cycle is what it could compute anew, until ``view.surprises`` says that the world has not gone as its estimates said.
"""

from bisect import bisect_left, insort
from collections.abc import Collection
from dataclasses import dataclass, field

from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.pending import Pending
from emulator.scheduler.placement import Placement
from emulator.scheduler.preempt import Preemption, victims_for
from emulator.scheduler.shares import hold
from emulator.scheduler.table import NEVER, JobTable


@dataclass(slots=True)
class Plan:
    """The answer of one cycle. ``reconsider_at_ns``: when it may change without any event (the engine never leaps over that)."""

    starts: list[tuple[int, list[Row]]] = field(default_factory=list)  # (slot, placement), in order
    preempted: list[int] = field(default_factory=list)  # slots, stopped before the starts
    reconsider_at_ns: int = NEVER

    def reconsider(self, at_ns: int) -> None:
        self.reconsider_at_ns = min(self.reconsider_at_ns, at_ns)


@dataclass(slots=True)
class View:
    """The queue, the running jobs and the free GPUs at one cycle.

    ``free``, ``pending``, ``by_end`` and the table's ``rows`` change under a policy only through ``start`` and ``make_room``.
    ``by_end`` is None for policies that did not ask for it. ``surprises`` rises with everything that estimates and plans did not foresee
    and that can let a job start earlier or keep one from starting: an early end, a cancellation, hosts that come or go, a preemption.
    """

    now_ns: int
    cycle_ns: int
    table: JobTable
    pending: Pending
    free: FreeIndex
    placement: Placement
    running: Collection[int]  # slots, without those started in this cycle
    by_end: list[tuple[int, int]] | None  # (start + estimate, slot) of the running jobs, sorted
    surprises: int = 0
    preemption: Preemption | None = None  # None: off
    plan: Plan = field(default_factory=Plan)

    def choose(self, slot: int) -> list[Row] | None:
        """Where the job would go now, or None."""
        table = self.table
        if table.milli_gpus[slot] < 1000:
            return self._choose_share(table.milli_gpus[slot])
        return self.placement(self.free, table.gpus[slot], table.require_level[slot], table.prefer_level[slot])

    def start(self, slot: int, rows: list[Row]) -> None:
        """Start the job there, in this cycle."""
        table = self.table
        hold(self.free, rows, table.milli_gpus[slot])
        if self.preemption is not None:
            self.preemption.refused.pop(slot, None)
        self.pending.remove(slot)
        table.rows[slot] = rows
        if self.by_end is not None:
            insort(self.by_end, (self.now_ns + table.estimate_ns[slot], slot))
        self.plan.starts.append((slot, rows))

    def make_room(self, slot: int) -> list[Row] | None:
        """Where a job that does not fit would go once jobs of lower priority are preempted for it, which they then are; or None."""
        if self.preemption is None or self.preemption.lowest_priority() >= self.table.priority[slot]:
            return None
        again_ns = self.preemption.refused.get(slot, 0)
        if self.now_ns < again_ns:
            self.plan.reconsider(again_ns)
            return None
        victims = victims_for(self, slot, self.preemption.after_ns)
        if not victims:
            self.preemption.refused[slot] = self.now_ns + self.preemption.interval_ns
            return None
        self.surprises += 1
        self.plan.preempted += victims
        for victim in victims:
            self.forget_end(victim)
        # They wait again when this plan is carried out, and take their turn in the next cycle.
        self.plan.reconsider(self.now_ns + self.cycle_ns)
        return self.choose(slot)

    def has_turn(self, slot: int) -> bool:
        """Whether the waiting job comes before all that this plan preempts: what comes after a victim waits for the next cycle with it."""
        return not self.plan.preempted or all(self.pending.comes_before(slot, victim) for victim in self.plan.preempted)

    def forget_end(self, slot: int) -> None:
        """The running job's end is not awaited any more."""
        if self.by_end is not None:
            table = self.table
            del self.by_end[bisect_left(self.by_end, (table.start_ns[slot] + table.estimate_ns[slot], slot))]

    def _choose_share(self, milli: int) -> list[Row] | None:
        free = self.free
        shared = free.shared_gpu(milli)
        if shared is None:
            return self.placement(free, 1, -1, -1)
        host, gpu = shared
        block = free.host_block[host]
        return [(block, 1 << (host - free.first_host[block]), 1 << gpu)]
