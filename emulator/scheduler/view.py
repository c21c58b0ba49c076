"""The input and the answer of a policy.

A policy is a function ``plan(view) -> Plan``. It decides job by job and says so to the view (``view.start``, ``preempt.make_room``), so
that each decision sees the ones before it; beyond that it reads, and its answer depends on the view alone. What it may remember from cycle
to cycle is what it could compute again, and only until ``view.surprises`` rises, when something differs from the estimates.
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.pending import Pending
from emulator.scheduler.placement import Placement
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


@dataclass(frozen=True)
class Preemption:
    """That there is preemption, and of what: running jobs that may be preempted, by priority.

    A job for which no room could be made is not tried again for ``interval_ns``, since the search looks at every running job below it.
    """

    after_ns: int
    interval_ns: int
    jobs_by_priority: Mapping[int, int]
    refused: dict[int, int] = field(default_factory=dict)  # slot -> when it may be tried again

    def lowest_priority(self) -> int:
        """Of the jobs that may be preempted; above every priority where there is none."""
        return min((priority for priority, jobs in self.jobs_by_priority.items() if jobs), default=2**31)


@dataclass(slots=True)
class View:
    """The queue, the running jobs and the free GPUs at one cycle.

    ``free``, ``pending``, ``by_end`` and the table's ``rows`` change under a policy only through ``start`` and ``preempt.make_room``.
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
    by_end: list[tuple[int, int]] | None  # (start + estimate, slot) of the running jobs, sorted; no answer may depend on the slots' order
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

    def has_turn(self, slot: int) -> bool:
        """Whether the waiting job comes before all jobs that this plan preempts; jobs behind a preempted one wait for the next cycle, as it
        does.
        """
        return not self.plan.preempted or all(self.pending.comes_before(slot, victim) for victim in self.plan.preempted)

    def forget_end(self, slot: int) -> None:
        """Remove the running job from the expected ends."""
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
