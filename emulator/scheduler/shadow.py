"""The state of the cluster at a reservation: which GPUs will be free when the head of the queue starts.

Built from the running jobs' estimates, then kept up to date with what is backfilled, so that it is computed once per head.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.shares import share_of
from emulator.scheduler.table import ENDLESS, NEVER
from emulator.workload.jobs import ANY_LEVEL

if TYPE_CHECKING:
    from emulator.scheduler.view import View


@dataclass
class Shadow:
    """Free GPUs at ``time_ns``, as differences from what is free now.

    A *unit* is one of the level that the head requires; where it requires none, all hosts are one unit. ``time_ns`` is NEVER when no end of
    a running job lets the head in (hosts are down): then nothing can delay it further.
    """

    head: int  # the id of its job
    free: FreeIndex
    hosts: int  # whole hosts that the head needs in one unit
    rest: int  # and GPUs on one more
    unit_of_block: list[int] | None  # None: see unit_of_host
    unit_of_host: list[int] | None  # where racks smaller than a block are required; both None: one unit
    whole: list[int]  # whole hosts, by unit
    part: list[int]  # split hosts with ``rest`` free GPUs or more, by unit; not kept where rest is 0
    gpus: int  # free GPUs on hosts that are offered
    fitting: int = 0  # units that hold the head
    time_ns: int = NEVER
    masks: dict[int, int] = field(default_factory=dict)  # host -> free GPUs then, for the hosts where part of a host came or went
    shares: dict[tuple[int, int], int] = field(default_factory=dict)  # (host, gpu) -> free milli-GPU then, likewise

    @classmethod
    def of(cls, view: "View", head: int) -> "Shadow":
        """The reservation of ``head``, which does not fit now."""
        assert view.by_end is not None, "a policy that makes reservations asks for the running jobs by their ends"
        shadow = cls.now(view, head)
        table, cycle_ns = view.table, view.cycle_ns
        for expected_ns, slot in view.by_end:
            if expected_ns >= ENDLESS:
                break
            # An overdue job is expected to end at the next cycle, and its GPUs are free at the cycle after its end.
            boundary_ns = max(-(-expected_ns // cycle_ns) * cycle_ns, view.now_ns + cycle_ns)
            if boundary_ns > shadow.time_ns:
                break
            shadow.release(table.rows[slot], table.milli_gpus[slot])
            if shadow.fitting and shadow.time_ns == NEVER:
                shadow.time_ns = boundary_ns
        return shadow

    @classmethod
    def now(cls, view: "View", head: int) -> "Shadow":
        """What is free now; ``time_ns`` is not set."""
        table, free = view.table, view.free
        level = table.require_level[head]
        hosts, rest = divmod(table.gpus[head], free.gpus_per_host)
        unit_of_block = unit_of_host = None
        if level == ANY_LEVEL or hosts + (rest > 0) == 1:
            whole = [free.whole]
        elif free.depths[level]:
            unit_of_block = free.units[free.depths[level] - 1]
            whole = list(free.levels[free.depths[level] - 1].counts)
        else:
            unit_of_host = free.rack_of_host()
            whole = [0] * (len(free.rack_first) - 1)
            for block, mask in enumerate(free.block_free):
                for bit in mask_bits(mask):
                    whole[unit_of_host[free.first_host[block] + bit]] += 1
        shadow = cls(table.job_id[head], free, hosts, rest, unit_of_block, unit_of_host, whole, [0] * len(whole), free.free_gpus)
        if rest:
            for host, mask in free.split.items():
                if mask.bit_count() >= rest and free.is_offered(host):
                    shadow.part[shadow._unit(host)] += 1
        shadow.fitting = sum(map(shadow._fits_in, range(len(whole))))
        return shadow

    def spare_gpus(self) -> int:
        """An upper bound on the GPUs that could be held at the shadow time without delaying the head."""
        if self.time_ns == NEVER:
            return self.free.host_count * self.free.gpus_per_host
        return self.gpus - self.hosts * self.free.gpus_per_host - self.rest

    def lends(self, rows: list[Row], milli_gpus: int) -> None:
        """A job takes ``rows`` but will free them by the shadow time: note their state at that time."""
        if milli_gpus < 1000:
            host, gpu = key = share_of(self.free, rows)
            self.shares.setdefault(key, self.free.share(host, gpu))
        for block, host_mask, gpu_mask in rows:
            if gpu_mask != self.free.full or milli_gpus < 1000:
                for host in self._hosts(block, host_mask):
                    self.masks.setdefault(host, self.free.split.get(host, self.free.full))

    def spares(self, rows: list[Row], milli_gpus: int) -> bool:
        """Whether the head still fits then when a job takes ``rows`` now and keeps them; if so they count as taken from now on."""
        self.take(rows, milli_gpus)
        if self.fitting:
            return True
        self.release(rows, milli_gpus)
        return False

    def holds(self, milli_gpus: int) -> bool:
        """Whether the head fits then; with less than 1000 ``milli_gpus`` it may also share a GPU of which a part came free."""
        if self.fitting or milli_gpus == 1000:
            return self.fitting > 0
        return any(milli_gpus <= share < 1000 and self.free.is_offered(host) for (host, _), share in self.shares.items())

    def take(self, rows: list[Row], milli_gpus: int) -> None:
        """A job takes ``rows`` and keeps them."""
        if milli_gpus < 1000:
            host, gpu = key = share_of(self.free, rows)
            before = self.shares.get(key, self.free.share(host, gpu))
            self.shares[key] = before - milli_gpus
            if before < 1000:
                return
        for block, host_mask, gpu_mask in rows:
            self._change(block, host_mask & self.free.offered(block), gpu_mask, share=milli_gpus < 1000, take=True)

    def release(self, rows: list[Row], milli_gpus: int) -> None:
        """A job gives ``rows`` back by then."""
        if milli_gpus < 1000:
            host, gpu = key = share_of(self.free, rows)
            self.shares[key] = self.shares.get(key, self.free.share(host, gpu)) + milli_gpus
            if self.shares[key] < 1000:
                return
        for block, host_mask, gpu_mask in rows:
            self._change(block, host_mask & self.free.offered(block), gpu_mask, share=milli_gpus < 1000, take=False)

    def _change(self, block: int, host_mask: int, gpu_mask: int, *, share: bool, take: bool) -> None:
        if share or gpu_mask != self.free.full:
            self._change_part(block, host_mask, gpu_mask, take=take)
            return
        hosts = -host_mask.bit_count() if take else host_mask.bit_count()
        self.gpus += hosts * self.free.gpus_per_host
        if self.unit_of_host is None:
            self._count(self.unit_of_block[block] if self.unit_of_block else 0, hosts, 0)
        else:
            for host in self._hosts(block, host_mask):
                self._count(self.unit_of_host[host], -1 if take else 1, 0)

    def _change_part(self, block: int, host_mask: int, gpu_mask: int, *, take: bool) -> None:
        full, rest = self.free.full, self.rest
        for host in self._hosts(block, host_mask):
            before = self.masks.get(host, self.free.split.get(host, full))
            after = self.masks[host] = before & ~gpu_mask if take else before | gpu_mask
            self.gpus += after.bit_count() - before.bit_count()
            part = (rest <= after.bit_count() and after != full) - (rest <= before.bit_count() and before != full)
            self._count(self._unit(host), (after == full) - (before == full), part)

    def _count(self, unit: int, whole: int, part: int) -> None:
        """``whole`` more whole hosts and ``part`` more split ones of enough free GPUs in ``unit``."""
        before = self._fits_in(unit)
        self.whole[unit] += whole
        self.part[unit] += part
        self.fitting += self._fits_in(unit) - before

    def _fits_in(self, unit: int) -> bool:
        spare = self.whole[unit] - self.hosts
        return spare > 0 or (spare == 0 and (self.rest == 0 or self.part[unit] > 0))

    def _unit(self, host: int) -> int:
        if self.unit_of_block:
            return self.unit_of_block[self.free.host_block[host]]
        return self.unit_of_host[host] if self.unit_of_host else 0

    def _hosts(self, block: int, host_mask: int) -> Iterator[int]:
        first = self.free.first_host[block]
        return (first + bit for bit in mask_bits(host_mask))
