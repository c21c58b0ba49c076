"""The state of the cluster at a reservation: which GPUs will be free when the head of the queue starts.

Built from the running jobs' estimates, then kept up to date with what is backfilled, so that it is computed once per head.
"""

from dataclasses import dataclass, field

from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.table import NEVER
from emulator.scheduler.view import View, share_of
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES


@dataclass
class Shadow:
    """Free GPUs at ``time_ns``: ``whole`` hosts, hosts by free GPUs, and the hosts whose mask differs from now's.

    ``time_ns`` is NEVER when no end of a running job lets the head in (hosts are down): then nothing can delay it further.
    """

    head: int
    time_ns: int
    free: FreeIndex
    hosts: int  # whole hosts that the head needs
    rest: int  # and GPUs on one more
    level: int  # search level inside which it needs them, -1: anywhere
    whole: int
    by_free: list[int]  # split hosts by their count of free GPUs
    units: list[int]  # whole hosts per unit of ``level``; empty where that is -1
    masks: dict[int, int] = field(default_factory=dict)  # host -> free GPUs then
    shares: dict[tuple[int, int], int] = field(default_factory=dict)  # (host, gpu) -> free milli-GPU then

    @classmethod
    def of(cls, view: View, head: int) -> "Shadow":
        """The reservation of ``head``, which does not fit now."""
        table, free = view.table, view.free
        hosts, rest = divmod(table.gpus[head], free.gpus_per_host)
        level = _search_level(free, table.require_level[head])
        by_free = list(free.split_count)
        units = list(free.levels[level].counts) if level >= 0 else []
        shadow = cls(head, NEVER, free, hosts, rest, level, free.whole, by_free, units)
        for expected, slot in view.running:
            boundary = max(-(-expected // view.cycle_ns) * view.cycle_ns, view.now_ns + view.cycle_ns)
            if boundary > shadow.time_ns:
                break
            shadow._release(table.rows[slot], table.milli_gpus[slot])
            if shadow.time_ns == NEVER and shadow.head_fits():
                shadow.time_ns = boundary
        return shadow

    def head_fits(self) -> bool:
        if self.level >= 0 and self.hosts + (self.rest > 0) > 1:
            return max(self.units) >= self.hosts + (self.rest > 0)
        if self.whole < self.hosts:
            return False
        return self.rest == 0 or self.whole > self.hosts or any(self.by_free[self.rest :])

    def spare_gpus(self) -> int:
        """An upper bound on the GPUs that could be held at the shadow time without delaying the head."""
        if self.time_ns == NEVER:
            return self.free.host_count * self.free.gpus_per_host
        gpus = self.free.gpus_per_host
        return self.whole * gpus + sum(free * count for free, count in enumerate(self.by_free)) - self.hosts * gpus - self.rest

    def lends(self, rows: list[Row]) -> None:
        """A job took ``rows`` but gives them back in time: remember what the hosts it split will look like then."""
        for block, host_mask, gpu_mask in rows:
            if gpu_mask != self.free.full:
                for bit in mask_bits(host_mask):
                    host = self.free.first_host[block] + bit
                    self.masks.setdefault(host, self.free.split.get(host, self.free.full))

    def spares(self, rows: list[Row], milli_gpus: int) -> bool:
        """Whether the head still fits then with ``rows`` taken too; if so they count as taken from now on."""
        if self.time_ns == NEVER:
            return True
        if milli_gpus < 1000:
            return self._spares_share(rows, milli_gpus)
        self._apply(rows, take=True)
        if self.head_fits():
            return True
        self._apply(rows, take=False)
        return False

    def _spares_share(self, rows: list[Row], milli_gpus: int) -> bool:
        host, gpu = share_of(self.free, rows)
        key = host, gpu
        before = self.shares.get(key, self.free.share(host, gpu))
        if before == 1000:
            self._apply(rows, take=True)
            if not self.head_fits():
                self._apply(rows, take=False)
                return False
        self.shares[key] = before - milli_gpus
        return True

    def _release(self, rows: list[Row], milli_gpus: int) -> None:
        if milli_gpus < 1000:
            host, gpu = key = share_of(self.free, rows)
            self.shares[key] = self.shares.get(key, self.free.share(host, gpu)) + milli_gpus
            if self.shares[key] < 1000:
                return
        self._apply(rows, take=False)

    def _apply(self, rows: list[Row], *, take: bool) -> None:
        free = self.free
        for block, host_mask, gpu_mask in rows:
            if gpu_mask == free.full:
                change = (host_mask & free.offered(block)).bit_count()
                self._count_whole(block, -change if take else change)
                continue
            for bit in mask_bits(host_mask & free.offered(block)):
                host = free.first_host[block] + bit
                before = self.masks.get(host, free.split.get(host, free.full))
                after = before & ~gpu_mask if take else before | gpu_mask
                self.masks[host] = after
                for mask, change in ((before, -1), (after, 1)):
                    if mask == free.full:
                        self._count_whole(block, change)
                    else:
                        self.by_free[mask.bit_count()] += change

    def _count_whole(self, block: int, change: int) -> None:
        self.whole += change
        if self.level >= 0:
            self.units[self.free.unit_of_block(self.level, block)] += change


def _search_level(free: FreeIndex, require_level: int) -> int:
    """The coarsest search level that is at most as coarse as the required one; -1 for none."""
    if require_level == ANY_LEVEL:
        return -1
    fine = [i for i, level in enumerate(free.levels) if level.name in LEVEL_NAMES and LEVEL_NAMES.index(level.name) <= require_level]
    return fine[-1] if fine else 0
