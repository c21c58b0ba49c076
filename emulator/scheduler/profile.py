"""The profile: which GPUs of a partition will be held when, by jobs that run and by jobs that have a reservation.

Its cost follows the jobs in it, not the hosts: a holding is a row per block (or per host, where it takes a part of one). To find when a job
fits, the times in which hosts are free (``emulator.scheduler.free_times``) say where to look, and the placement says where it goes then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.free_times import FreeTimes, Holding, Need
from emulator.scheduler.placement import Ask, Placement
from emulator.scheduler.table import NEVER
from emulator.workload.jobs import ANY_LEVEL
from topology.cluster import Cluster

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]
_COLUMNS = ("start_ns", "end_ns", "owner", "block", "host", "gpus", "milli")


@dataclass(frozen=True)
class Gap:
    """GPUs came free from ``start_ns`` to ``end_ns``. Around that they are free at most from ``since_ns`` to ``until_ns``: the first of a
    pair for jobs that take whole hosts alone, the second for others.

    A job that fits thanks to them has some of them at some of the first time, and all its time is within the second; or it is one of
    ``owners``, who hold some of them later.
    """

    start_ns: int
    end_ns: int
    since_ns: tuple[int, int]
    until_ns: tuple[int, int]
    owners: Sequence[int] = ()

    def starts(self, duration_ns: Int64, in_part: NDArray[np.int8]) -> tuple[Int64, Int64]:
        """The first and the last time at which jobs that take so long may start thanks to it; the last is before the first for none.

        ``in_part``: 0 for jobs that take whole hosts alone, 1 for others.
        """
        first = np.maximum(np.array(self.since_ns)[in_part], self.start_ns - duration_ns)
        return first, np.minimum(np.array(self.until_ns)[in_part] - duration_ns, self.end_ns - 1)


class Profile:
    """Holdings by *owner*, the id of a job: each from a start to an end, in ns. What was before ``now_ns`` is of no matter.

    Two holdings may have the same GPUs at different times.
    """

    def __init__(self, cluster: Cluster, host_type: int, free: FreeIndex) -> None:
        self.number, self.now_ns = host_type, 0
        self._offered = free
        self._then = FreeIndex(cluster, host_type, free, free.site)  # what is free for the whole of some time; see _move
        self._then.asks_with(free)
        self.gpus_per_host, self._full = free.gpus_per_host, free.full
        self._block_of = np.array(free.host_block, dtype=np.int64)
        self._first_host = np.array(free.first_host[:-1], dtype=np.int64)
        self._all = np.array(self._then.block_free, dtype=np.uint64)
        self._out = np.zeros_like(self._all)  # hosts that are not offered
        self._rows_of: dict[int, list[int]] = {}  # owner -> its rows in the columns
        self._columns = {name: np.zeros(64, dtype=np.int64) for name in _COLUMNS}
        self._hosts = np.zeros(64, dtype=np.uint64)
        self._unused: list[int] = []  # rows
        self._end = 0  # rows in use
        self._free_times = FreeTimes(self._then.block_free, free.first_host, free.full)
        self._units = [np.array(units, dtype=np.int64) for units in free.units]
        #: What ``_then`` lacks.
        self._busy = np.zeros_like(self._all)
        self._part = np.zeros(cluster.host_count, dtype=np.int64)
        self._shared: dict[tuple[int, int], int] = {}

    # -- holdings -------------------------------------------------------------------------------------------------------------------

    def hold(self, owner: int, rows: Sequence[Row], milli_gpus: int, start_ns: int, end_ns: int) -> None:
        """Add a holding. One that the owner has already is of other hosts, or of another time."""
        mine = self._rows_of.setdefault(owner, [])
        for block, hosts, gpus in rows:
            if gpus == self._full and milli_gpus == 1000:
                mine.append(self._add(start_ns, end_ns, owner, block, -1, gpus, milli_gpus, hosts))
            else:
                for bit in mask_bits(hosts):
                    host = self._offered.first_host[block] + bit
                    mine.append(self._add(start_ns, end_ns, owner, block, host, gpus, milli_gpus, 1 << bit))

    def drop(self, owner: int) -> list[Row]:
        """Take the owner's holdings away. Returns where they were."""
        mine = self._rows_of.pop(owner)
        for row in mine:
            self._free_times.drop(row, int(self._columns["block"][row]), int(self._columns["host"][row]))
            self._columns["end_ns"][row] = -1
            self._unused.append(row)
        return [(int(self._columns["block"][row]), int(self._hosts[row]), int(self._columns["gpus"][row])) for row in mine]

    def _add(self, start_ns: int, end_ns: int, owner: int, block: int, host: int, gpus: int, milli: int, hosts: int) -> int:
        if not self._unused:
            if self._end == len(self._hosts):
                for name, column in self._columns.items():
                    self._columns[name] = np.pad(column, (0, self._end))
                self._hosts = np.pad(self._hosts, (0, self._end))
            self._unused.append(self._end)
            self._end += 1
        row = self._unused.pop()
        for name, value in zip(_COLUMNS, (start_ns, end_ns, owner, block, host, gpus, milli), strict=True):
            self._columns[name][row] = value
        self._hosts[row] = hosts
        self._free_times.hold(row, block, host, Holding(start_ns, end_ns, hosts, gpus, milli))
        return row

    def _live(self, start_ns: int, end_ns: int) -> Int64:
        """The rows of those who hold something at some time between."""
        columns, end = self._columns, self._end
        return np.flatnonzero((columns["start_ns"][:end] < end_ns) & (columns["end_ns"][:end] > start_ns))

    # -- time and hosts -------------------------------------------------------------------------------------------------------------

    def look_at_hosts(self, free: FreeIndex) -> UInt64 | None:
        """See which hosts are offered in ``free``. Returns which of them, by block, are no longer; None where there was no change."""
        offered = np.array([free.offered(block) for block in range(len(self._all))], dtype=np.uint64)
        out = self._all & ~offered
        if np.array_equal(out, self._out):
            return None
        lost: UInt64 = out & ~self._out
        for block in np.flatnonzero(out != self._out).tolist():
            self._free_times.offer(block, self._offered.offered(block))
        self._out = out
        return lost

    # -- finding room ---------------------------------------------------------------------------------------------------------------

    def earliest(
        self, ask: Ask, duration_ns: int, placement: Placement, from_ns: int, before_ns: int, *, again: bool = False
    ) -> tuple[int, list[Row]] | None:
        """When the job can start, from ``from_ns`` on and before ``before_ns``, and where the placement puts it then: the first time at
        which it finds room among the GPUs that nobody holds for as long as it takes. None where there is none.

        ``again``: what it holds itself is as free.
        """
        own = (
            [(row, int(self._columns["block"][row]), int(self._columns["host"][row])) for row in self._rows_of[ask.job_id]] if again else []
        )
        for start_ns in self._free_times.starts(self._need(ask), duration_ns, self.now_ns, from_ns, before_ns, own):
            self._move(start_ns, start_ns + duration_ns, [row for row, _, _ in own])
            rows = placement.choose(self._then, ask)
            if rows is not None:
                return start_ns, rows
        return None

    def _need(self, ask: Ask) -> Need:
        hosts, rest = divmod(ask.gpus, self.gpus_per_host) if ask.milli_gpus == 1000 else (0, 1)
        apart = ask.require_level == ANY_LEVEL or ask.slice_gpus > 0 or hosts + (rest > 0) == 1
        depth = 0 if apart else self._offered.depths[ask.require_level]
        return Need(hosts, rest, ask.milli_gpus, self._units[depth - 1] if depth else None)

    def _held_then(self, start_ns: int, end_ns: int, but: Sequence[int]) -> tuple[UInt64, Int64]:
        """Of what is held at some time between: the hosts, by block, and the rows in which a part of another host is."""
        rows = self._live(start_ns, end_ns)
        if but:
            rows = rows[self._columns["owner"][rows] != self._columns["owner"][but[0]]]
        in_part = self._columns["host"][rows] >= 0
        whole, parts = rows[~in_part], rows[in_part]
        busy = self._out.copy()
        np.bitwise_or.at(busy, self._columns["block"][whole], self._hosts[whole])
        return busy, parts[(busy[self._columns["block"][parts]] & self._hosts[parts]) == 0]

    def _move(self, start_ns: int, end_ns: int, but: Sequence[int]) -> None:
        """Make ``_then`` lack what is held at some time between, but for these rows, which one job has."""
        busy, parts = self._held_then(start_ns, end_ns, but)
        then = self._then
        host, gpus, milli = (self._columns[name][parts] for name in ("host", "gpus", "milli"))
        part, shared = np.zeros_like(self._part), milli < 1000
        np.bitwise_or.at(part, host[~shared], gpus[~shared])
        shared &= (part[host] & gpus) == 0
        shares = self._most_shared(parts[shared], start_ns) if shared.any() else {}
        changed = np.flatnonzero(part != self._part)
        for (other, gpu), held in self._shared.items():
            if shares.get((other, gpu)) != held:
                then.give_share(other, gpu, held)
        then.give(self._rows_for(changed, self._part[changed], self._busy & ~busy))
        then.take(self._rows_for(changed, part[changed], busy & ~self._busy))
        for (other, gpu), held in shares.items():
            if self._shared.get((other, gpu)) != held:
                then.take_share(other, gpu, held)
        self._busy, self._part, self._shared = busy, part, shares

    def _rows_for(self, hosts: Int64, gpus: Int64, whole: UInt64) -> list[Row]:
        """These GPUs of these hosts, where there are any, and the hosts ``whole`` of each block."""
        some = np.flatnonzero(gpus)
        hosts, blocks = hosts[some], np.flatnonzero(whole)
        block = self._block_of[hosts]
        bits = np.uint64(1) << (hosts - self._first_host[block]).astype(np.uint64)
        return [
            *zip(block.tolist(), bits.tolist(), gpus[some].tolist(), strict=True),
            *((where, mask, self._full) for where, mask in zip(blocks.tolist(), whole[blocks].tolist(), strict=True)),
        ]

    def _most_shared(self, rows: Int64, start_ns: int) -> dict[tuple[int, int], int]:
        """Of each shared GPU, (host, gpu), the most that is held of it at any time from ``start_ns`` on, in milli-GPUs."""
        start, end, host, gpus, milli = (self._columns[name][rows] for name in ("start_ns", "end_ns", "host", "gpus", "milli"))
        times, change = np.concatenate((np.maximum(start, start_ns), end)), np.concatenate((milli, -milli))
        host, gpus = np.tile(host, 2), np.tile(gpus, 2)
        order = np.lexsort((change, times, gpus, host))  # ends are before starts at the same time
        host, gpus, held = host[order], gpus[order], np.cumsum(change[order])  # a GPU's changes add up to 0
        first = np.flatnonzero(np.append(True, (host[1:] != host[:-1]) | (gpus[1:] != gpus[:-1])))
        most = np.maximum.reduceat(held, first)
        return {
            (where, mask.bit_length() - 1): top
            for where, mask, top in zip(host[first].tolist(), gpus[first].tolist(), most.tolist(), strict=True)
        }

    def gap(self, rows: Sequence[Row], start_ns: int, end_ns: int) -> Gap:
        """The gap that there is where ``rows`` came free from ``start_ns`` to ``end_ns``."""
        columns, mine = self._columns, np.zeros_like(self._all)
        for block, hosts, _ in rows:
            mine[block] |= np.uint64(hosts)
        there = self._live(self.now_ns, NEVER)
        there = there[(self._hosts[there] & mine[columns["block"][there]]) != 0]
        after = there[columns["start_ns"][there] >= end_ns]
        after = after[np.argsort(columns["start_ns"][after], kind="stable")]
        before = there[columns["end_ns"][there] <= start_ns]
        before = before[np.argsort(-columns["end_ns"][before], kind="stable")]
        since_ns, until_ns = [], []
        for in_part in (False, True):
            since_ns.append(max(self.now_ns, self._covered(rows, before, "end_ns", self.now_ns, in_part=in_part)))
            until_ns.append(self._covered(rows, after, "start_ns", NEVER, in_part=in_part))
        owners = np.unique(columns["owner"][there[columns["start_ns"][there] <= max(until_ns)]]).tolist()
        return Gap(start_ns, end_ns, (since_ns[0], since_ns[1]), (until_ns[0], until_ns[1]), owners)

    def _covered(self, held: Sequence[Row], rows: Int64, column: str, otherwise: int, *, in_part: bool) -> int:
        """What ``column`` has in the row with which ``rows``, in their order, cover all that is ``held``; ``in_part``: all its GPUs, not
        just its hosts.
        """
        left: dict[tuple[int, int], int] = {}  # (block, GPUs) -> hosts
        for block, hosts, gpus in held:
            left[block, gpus if in_part else self._full] = left.get((block, gpus if in_part else self._full), 0) | hosts
        taken: dict[tuple[int, int], int] = {}  # (block, host) -> GPUs
        block_of, gpus_of, milli_of = (self._columns[name][rows].tolist() for name in ("block", "gpus", "milli"))
        for row, block, gpus, milli in zip(rows.tolist(), block_of, gpus_of, milli_of, strict=True):
            hosts = int(self._hosts[row])
            if in_part and milli < 1000:
                continue
            if gpus != self._full:
                taken[block, hosts] = taken.get((block, hosts), 0) | gpus
            whole = not in_part or gpus == self._full
            for key in [key for key in left if key[0] == block and (whole or key[1] & ~taken[block, hosts] == 0)]:
                left[key] &= ~hosts
                if not left[key]:
                    del left[key]
            if not left:
                return int(self._columns[column][row])
        return otherwise

    # -- what does not hold ---------------------------------------------------------------------------------------------------------

    def owners_on(self, hosts: UInt64, until_ns: int) -> list[int]:
        """Who holds something on ``hosts``, by block, at some time before ``until_ns``."""
        rows = self._live(self.now_ns, until_ns)
        found = rows[(self._hosts[rows] & hosts[self._columns["block"][rows]]) != 0]
        owners: list[int] = np.unique(self._columns["owner"][found]).tolist()
        return owners

    def hosts_of(self, owners: Sequence[int]) -> UInt64:
        """The hosts on which they hold something, by block."""
        hosts = np.zeros_like(self._all)
        rows = [row for owner in owners for row in self._rows_of[owner]]
        np.bitwise_or.at(hosts, self._columns["block"][rows], self._hosts[rows])
        return hosts

    def clashes(self, owner: int) -> bool:
        """Whether the owner holds what another does at the same time, or what is not offered."""
        mine = self._rows_of[owner]
        columns, hosts = self._columns, self._hosts
        if (hosts[mine] & self._out[columns["block"][mine]]).any():
            return True
        others = self._live(int(columns["start_ns"][mine[0]]), int(columns["end_ns"][mine[0]]))
        others = others[columns["owner"][others] != owner]
        for row in mine:
            there = others[(columns["block"][others] == columns["block"][row]) & ((hosts[others] & hosts[row]) != 0)]
            there = there[(columns["gpus"][there] & columns["gpus"][row]) != 0]
            if columns["milli"][row] == 1000 or (columns["milli"][there] == 1000).any():
                if len(there):
                    return True
            elif len(there):
                # The others' sums may be higher than this one's at times at which it holds nothing.
                start_ns, end_ns = int(columns["start_ns"][row]), int(columns["end_ns"][row])
                steps = [(max(start_ns, int(columns["start_ns"][other])), int(columns["milli"][other])) for other in there]
                steps += [(min(end_ns, int(columns["end_ns"][other])), -int(columns["milli"][other])) for other in there]
                now = int(columns["milli"][row])
                for _, change in sorted(steps):
                    now += change
                    if now > 1000:
                        return True
        return False
