"""The state of the cluster at a reservation: which GPUs will be free when the head of the queue starts.

It follows from the running jobs' estimates. It is kept from cycle to cycle: what starts and stops changes it, and a reservation that has to
be made again goes on from the one before, a few expected ends earlier or later.
"""

from bisect import bisect_right
from dataclasses import dataclass, field

from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.shares import share_of
from emulator.scheduler.slices import Cut, cut_of
from emulator.scheduler.table import ENDLESS, NEVER, JobTable
from emulator.workload.jobs import ANY_LEVEL

#: What decides how free hosts are counted for a head: the level that it requires, its GPUs beyond whole hosts, and how it is cut.
Kind = tuple[int, int, Cut | None]
#: Above every slot.
_LAST_SLOT = 2**62


def kind_of(table: JobTable, free: FreeIndex, slot: int) -> Kind:
    """Of the job: one that fits on a host is counted as one that requires no level."""
    hosts, rest = divmod(table.size_gpus[slot], free.gpus_per_host)
    level, cut = table.require_level[slot], None
    if table.slice_gpus[slot]:
        level, cut = cut_of(table.size_gpus[slot], level, table.slice_gpus[slot], table.slice_level[slot], free.gpus_per_host)
    return (ANY_LEVEL if hosts + (rest > 0) == 1 else level), rest, cut


@dataclass
class Shadow:
    """Free GPUs once every running job that is expected to end by ``counted_ns`` has ended, as differences from what is free now.

    A *unit* is one of the level that the head requires; where it requires none, all hosts are one unit. Of a head that is cut into slices
    the hosts are counted by *part* first, a unit of the slices' level, and what a unit has is whole slices. After ``renew`` the head fits
    then, and ``time_ns`` is the first cycle at which it does; NEVER when no end of a running job lets it in (hosts are down): then nothing
    can delay it further.
    """

    head: int  # the id of its job
    kind: Kind
    free: FreeIndex
    hosts: int  # whole hosts, or slices, that the head needs in one unit
    rest: int  # and GPUs on one more
    unit_of_block: list[int] | None  # None: see unit_of_host. Of a head that is cut it is the part
    unit_of_host: list[int] | None  # where racks smaller than a block are required; both None: one unit
    whole: list[int]  # whole hosts, or slices, by unit
    part: list[int]  # split hosts with ``rest`` free GPUs or more, by unit; not kept where rest is 0
    gpus: int  # free GPUs on hosts that are offered
    fitting: int = 0  # units that hold the head
    time_ns: int = NEVER
    counted_ns: int = -1
    surprises: int = -1  # of the partition, as of the last ``renew``; -1: it is to be made again
    looked_freed: int = -1  # ``freed`` of the partition, when all who wait were last tried behind this reservation; -1: they were not
    masks: dict[int, int] = field(default_factory=dict)  # host -> free GPUs then, for the hosts where part of a host came or went
    shares: dict[tuple[int, int], int] = field(default_factory=dict)  # (host, gpu) -> free milli-GPU then, likewise
    slice_hosts: int = 1  # hosts of a slice; 1 where the head is not cut
    in_part: list[int] = field(default_factory=list)  # whole hosts, by part
    unit_of_part: list[int] = field(default_factory=list)

    @classmethod
    def now(cls, table: JobTable, free: FreeIndex, head: int) -> "Shadow":
        """What is free now, for the job ``head``: nothing is counted yet."""
        level, rest, cut = kind = kind_of(table, free, head)
        counted = level if cut is None else cut.level
        unit_of_block = unit_of_host = None
        if counted == ANY_LEVEL:
            whole = [free.whole]
        elif free.depths[counted]:
            unit_of_block = free.units[free.depths[counted] - 1]
            whole = list(free.levels[free.depths[counted] - 1].counts)
        else:
            unit_of_host = free.rack_of_host()
            whole = [0] * (len(free.rack_first) - 1)
            for block, mask in enumerate(free.block_free):
                for bit in mask_bits(mask):
                    whole[unit_of_host[free.first_host[block] + bit]] += 1
        job_id = table.job_id[head]
        shadow = cls(job_id, kind, free, 0, rest, unit_of_block, unit_of_host, whole, [0] * len(whole), free.free_gpus)
        if cut is not None:
            shadow._cut(level, cut)
        if rest:
            for host, mask in free.split.items():
                if mask.bit_count() >= rest and free.is_offered(host):
                    shadow.part[shadow._unit(host)] += 1
        shadow.aim(job_id, table.size_gpus[head])
        return shadow

    def _cut(self, level: int, cut: Cut) -> None:
        """What was counted by unit of the slices' level are parts of the units of ``level``."""
        free = self.free
        units = None if level == ANY_LEVEL else free.units[free.depths[level] - 1]
        if self.unit_of_host is not None:
            blocks = [free.host_block[first] for first in free.rack_first[:-1]]
            self.unit_of_part = [0 if units is None else units[block] for block in blocks]
        else:
            assert self.unit_of_block is not None, "slices have a level"
            self.unit_of_part = [0] * len(self.whole)
            for part, unit in zip(self.unit_of_block, units or (), strict=False):
                self.unit_of_part[part] = unit
        self.in_part, self.slice_hosts = self.whole, cut.hosts
        self.whole = [0] * (max(self.unit_of_part) + 1)
        self.part = [0] * len(self.whole)
        for part, hosts in enumerate(self.in_part):
            self.whole[self.unit_of_part[part]] += hosts // cut.hosts

    def aim(self, head: int, gpus: int) -> None:
        """From now on for another job of the same kind, of so many GPUs; ``renew`` comes next."""
        self.head, self.hosts = head, gpus // (self.slice_hosts * self.free.gpus_per_host)
        self.fitting = sum(map(self._fits_in, range(len(self.whole))))

    # -- the reservation ------------------------------------------------------------------------------------------------------------

    def renew(self, table: JobTable, ends: list[tuple[int, int]], now_ns: int, cycle_ns: int) -> None:
        """Make the reservation again: the first cycle at which the head, which does not fit now, will.

        ``ends`` are (start plus estimate, slot) of the running jobs, sorted. A job is expected to end at the first cycle at or after that;
        where it has passed, at the next cycle.
        """
        if not ends or ends[0][0] >= ENDLESS:
            self.time_ns = NEVER
            return
        first_ns = max(_boundary(ends[0][0], cycle_ns), now_ns + cycle_ns)
        if self.counted_ns < first_ns:
            self._count_to(table, ends, first_ns)
        if self.fitting:
            self.time_ns = self._earlier(table, ends, first_ns, cycle_ns)
        else:
            self.time_ns = self._later(table, ends, cycle_ns)

    def renew_from(self, table: JobTable, ends: list[tuple[int, int]], from_ns: int, cycle_ns: int) -> None:
        """Make it, of a head that does not start before the cycle ``from_ns``, which is to come, and may fit by then; nothing is counted
        yet.
        """
        self._count_to(table, ends, from_ns)
        self.time_ns = from_ns if self.fitting else self._later(table, ends, cycle_ns)

    def _earlier(self, table: JobTable, ends: list[tuple[int, int]], first_ns: int, cycle_ns: int) -> int:
        """The first cycle up to ``counted_ns`` at which the head fits, which it does then."""
        while True:
            end = bisect_right(ends, (self.counted_ns, _LAST_SLOT))
            last_ns = _boundary(ends[end - 1][0], cycle_ns)
            if last_ns <= first_ns:
                self.counted_ns = first_ns
                return first_ns
            group = ends[bisect_right(ends, (last_ns - cycle_ns, _LAST_SLOT)) : end]
            for _, slot in group:
                self.take(table.rows[slot], table.milli_gpus[slot])
            if not self.fitting:
                for _, slot in group:
                    self.release(table.rows[slot], table.milli_gpus[slot])
                self.counted_ns = last_ns
                return last_ns
            self.counted_ns = last_ns - cycle_ns

    def _later(self, table: JobTable, ends: list[tuple[int, int]], cycle_ns: int) -> int:
        """The first cycle after ``counted_ns`` at which the head fits."""
        place = bisect_right(ends, (self.counted_ns, _LAST_SLOT))
        while place < len(ends) and ends[place][0] < ENDLESS:
            boundary_ns = _boundary(ends[place][0], cycle_ns)
            place = self._count_to(table, ends, boundary_ns)
            if self.fitting:
                return boundary_ns
        self.counted_ns = ENDLESS - 1
        return NEVER

    def _count_to(self, table: JobTable, ends: list[tuple[int, int]], until_ns: int) -> int:
        """Count what ends by ``until_ns`` too; returns how many are counted then."""
        begin = bisect_right(ends, (self.counted_ns, _LAST_SLOT))
        end = bisect_right(ends, (until_ns, _LAST_SLOT), begin)
        for _, slot in ends[begin:end]:
            self.release(table.rows[slot], table.milli_gpus[slot])
        self.counted_ns = until_ns
        return end

    # -- what happens meanwhile -----------------------------------------------------------------------------------------------------

    def starts(self, rows: list[Row], milli_gpus: int, expected_ns: int) -> None:
        """A job that is expected to end at ``expected_ns`` takes ``rows``, which are free until this returns."""
        if expected_ns <= self.counted_ns:
            self._lends(rows, milli_gpus)
        else:
            self.take(rows, milli_gpus)

    def stops(self, rows: list[Row], milli_gpus: int, expected_ns: int) -> None:
        """A running job that was expected to end at ``expected_ns`` gives back ``rows``, which are held until this returns."""
        if expected_ns > self.counted_ns:
            self.release(rows, milli_gpus)

    def spare_gpus(self) -> int:
        """No job of more GPUs can be kept beyond the shadow time without delaying the head.

        A gang takes whole hosts, and its rest on one.
        """
        per_host = self.free.gpus_per_host
        if self.time_ns == NEVER:
            return self.free.host_count * per_host
        spare = self.gpus - self.hosts * self.slice_hosts * per_host - self.rest
        if len(self.whole) == 1 and not self.in_part:
            spare = min(spare, (self.whole[0] - self.hosts) * per_host + per_host - 1)
        return spare

    def _lends(self, rows: list[Row], milli_gpus: int) -> None:
        """A job takes ``rows`` but will free them by the time that is counted to: note their state at that time."""
        if milli_gpus < 1000:
            host, gpu = key = share_of(self.free, rows)
            self.shares.setdefault(key, self.free.share(host, gpu))
        for block, host_mask, gpu_mask in rows:
            if gpu_mask != self.free.full or milli_gpus < 1000:
                for host in self._hosts(block, host_mask):
                    self.masks.setdefault(host, self.free.split.get(host, self.free.full))

    def spares(self, rows: list[Row], milli_gpus: int) -> bool:
        """Whether the head still fits then when a job takes ``rows`` now and keeps them."""
        hosts = sum([host_mask.bit_count() for _, host_mask, _ in rows])
        if self.fitting > hosts or (len(self.whole) == 1 and self.whole[0] - self.hosts > hosts):
            return True  # whatever is taken of these hosts
        self.take(rows, milli_gpus)
        fits = self.fitting > 0
        self.release(rows, milli_gpus)
        return fits

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
            gpus_before, gpus_after = before.bit_count(), after.bit_count()
            self.gpus += gpus_after - gpus_before
            whole = (after == full) - (before == full)
            part = (rest <= gpus_after and after != full) - (rest <= gpus_before and before != full)
            if whole or part:
                self._count(self._unit(host), whole, part)

    def _count(self, unit: int, whole: int, part: int) -> None:
        """``whole`` more whole hosts and ``part`` more split ones of enough free GPUs in ``unit``, or in that part of one."""
        if self.in_part:
            hosts = self.in_part[unit]
            self.in_part[unit] = hosts + whole
            whole = (hosts + whole) // self.slice_hosts - hosts // self.slice_hosts
            unit = self.unit_of_part[unit]
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

    def _hosts(self, block: int, host_mask: int) -> list[int]:
        first = self.free.first_host[block]
        return [first + bit for bit in mask_bits(host_mask)]


def _boundary(time_ns: int, cycle_ns: int) -> int:
    """The first cycle at or after ``time_ns``."""
    return -(-time_ns // cycle_ns) * cycle_ns
