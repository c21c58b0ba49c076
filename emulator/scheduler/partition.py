"""A partition (Slurm's word): the hosts of one type, what is free of them, who holds the rest and who waits for them.

Where jobs are dispatched to sites, the hosts of one type at one site are a partition. A gang runs on hosts of one type. One that may run
on several types waits in the partition of each, until it starts in one of them.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge

from emulator.scheduler.free import ANY_SITE, FreeIndex, Row
from emulator.scheduler.free_views import FreeViews
from emulator.scheduler.held import Held
from emulator.scheduler.pending import HeadQueue, ScanQueue
from emulator.scheduler.pool import Pool
from emulator.scheduler.shadow import Shadow
from emulator.scheduler.shares import hold, let_go
from emulator.scheduler.table import NEVER

Pending = HeadQueue | ScanQueue | Pool


@dataclass(slots=True)
class Partition:
    """The state of one partition. The ledger changes what is held, the scheduler and the draft who waits.

    ``by_end`` is None for policies that make no reservations, ``preemptible`` where nothing is preempted. ``surprises`` rises with
    everything that estimates and decisions did not foresee and that can let a job start earlier or keep one from starting: an early end, a
    cancellation, hosts that come or go, a preemption. ``freed`` rises when GPUs come free or hosts are offered: until then, what did not
    fit does not fit. ``stirred``: something happened since the last cycle that can change the next decision; without that, and before
    ``reconsider_ns``, a policy would start and stop nothing.
    """

    number: int  # its place among the partitions
    host_type: int  # of its hosts
    name: str
    gpu_model: str
    free: FreeIndex
    pending: Pending
    by_end: list[tuple[int, int]] | None  # (start + estimate, slot) of the running jobs, sorted; nothing may depend on the slots' order
    preemptible: Counter[int] | None  # priority -> running jobs that may be preempted
    #: Who waits for quota, and not in ``pending``; None where there are no quotas and limits.
    held: Held | None = None
    site: int = ANY_SITE
    #: What jobs see of ``free``; None where no host of the partition is reserved at any time.
    views: FreeViews | None = None
    running: set[int] = field(default_factory=set)
    #: Where EASY's reservation stands; dropped when hosts come or go.
    shadow: Shadow | None = None
    surprises: int = 0
    freed: int = 0
    no_room: tuple[int, int] = (-1, -1)  # id of the job of ``Draft.choose_again`` that did not fit, and ``freed`` then
    arriving: list[int] = field(default_factory=list)  # who began to wait since the last cycle
    arrived: list[int] = field(default_factory=list)  # and before this cycle
    stirred: bool = False
    reconsider_ns: int = NEVER

    @property
    def gpus(self) -> int:
        """All GPUs of the partition, in service or not."""
        return self.free.host_count * self.free.gpus_per_host

    @property
    def waiting_jobs(self) -> int:
        """How many jobs wait, those for quota included."""
        return len(self.pending) + (0 if self.held is None else len(self.held))

    def hold(self, rows: list[Row], milli_gpus: int) -> None:
        """A job takes ``rows``."""
        hold(self.free, rows, milli_gpus)
        if self.views is not None:
            self.views.hold(rows, milli_gpus)

    def let_go(self, rows: list[Row], milli_gpus: int) -> None:
        """A job gives them back."""
        let_go(self.free, rows, milli_gpus)
        if self.views is not None:
            self.views.let_go(rows, milli_gpus)

    def leaves(self, slot: int) -> None:
        """The job no longer waits here."""
        self.pending.remove(slot)
        if self.held:
            self.held.discard(slot)

    def waits(self, slot: int) -> bool:
        """Whether it does."""
        return slot in self.pending or (self.held is not None and slot in self.held)

    def waiting(self) -> Iterator[int]:
        """All of them, in the queue's order."""
        if not self.held:
            return self.pending.in_order()
        return merge(self.pending.in_order(), self.held, key=self.pending.key)

    def queued(self) -> list[int]:
        """All of them, in no order."""
        return [*self.pending.slots(), *(self.held or ())]

    def position(self, slot: int) -> int:
        """How many jobs are before the slot, which waits."""
        if not self.held:
            return self.pending.position(slot)
        return next(place for place, other in enumerate(self.waiting()) if other == slot)

    def lowest_preemptible(self) -> int:
        """The lowest priority of the running jobs that may be preempted; above every priority where there is none."""
        assert self.preemptible is not None, "asked only where there is preemption"
        return min((priority for priority, jobs in self.preemptible.items() if jobs), default=2**31)
