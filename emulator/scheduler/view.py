"""What a policy sees, and what it answers."""

from dataclasses import dataclass, field

from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.pending import Pending
from emulator.scheduler.placement import Placement
from emulator.scheduler.table import NEVER, JobTable


@dataclass
class Plan:
    """The answer of one cycle. ``reconsider_at_ns``: when it may change without any event (the engine never leaps over that)."""

    starts: list[tuple[int, list[Row]]] = field(default_factory=list)  # (slot, placement), in order
    preempted: list[int] = field(default_factory=list)  # slots, stopped before the starts
    reconsider_at_ns: int = NEVER


@dataclass
class View:
    """The queue, the running jobs and the free GPUs at one cycle.

    ``free`` and ``pending`` change under a policy only through ``start``, so that each decision sees the ones before it.
    """

    now_ns: int
    cycle_ns: int
    table: JobTable
    pending: Pending
    free: FreeIndex
    placement: Placement
    running: list[tuple[int, int]]  # (start + estimate, slot), sorted; kept for policies that ask for it
    plan: Plan = field(default_factory=Plan)

    def choose(self, slot: int) -> list[Row] | None:
        """Where the job would go now, or None."""
        table = self.table
        if table.milli_gpus[slot] < 1000:
            return self._choose_share(table.milli_gpus[slot])
        return self.placement(self.free, table.gpus[slot], table.require_level[slot])

    def start(self, slot: int, rows: list[Row]) -> None:
        """Start the job there, in this cycle."""
        milli = self.table.milli_gpus[slot]
        if milli < 1000:
            self.free.take_share(*share_of(self.free, rows), milli)
        else:
            self.free.take(rows)
        self.pending.remove(slot)
        self.plan.starts.append((slot, rows))

    def _choose_share(self, milli: int) -> list[Row] | None:
        free = self.free
        shared = free.shared_gpu(milli)
        if shared is None:
            return self.placement(free, 1, -1)
        host, gpu = shared
        block = free.host_block[host]
        return [(block, 1 << (host - free.first_host[block]), 1 << gpu)]


def share_of(free: FreeIndex, rows: list[Row]) -> tuple[int, int]:
    """The (host, gpu) of a fractional job's placement."""
    block, host_mask, gpu_mask = rows[0]
    return free.first_host[block] + host_mask.bit_length() - 1, gpu_mask.bit_length() - 1
