"""The profile: which GPUs of a partition will be held when, by jobs that run and by jobs that have a reservation.

Its cost follows the jobs in it, not the hosts: a holding is a row per block (or per host, where it takes a part of one). To find when a job
fits, counts of free hosts over time say where to look, and the hosts that are free for the whole time say whether it does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.placement import Ask, Placement
from emulator.scheduler.table import NEVER
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
        self._first_host = np.array(free.first_host[:-1], dtype=np.int64)
        self._all = np.array(self._then.block_free, dtype=np.uint64)
        self._out = np.zeros_like(self._all)  # hosts that are not offered
        self._rows_of: dict[int, list[int]] = {}  # owner -> its rows in the columns
        self._columns = {name: np.zeros(64, dtype=np.int64) for name in _COLUMNS}
        self._hosts = np.zeros(64, dtype=np.uint64)
        self._unused: list[int] = []  # rows
        self._end = 0  # rows in use
        self._on_host: dict[int, list[int]] = {}  # host -> rows of those who have a part of it
        self._shares = 0
        #: At each time, from it to the next: how many hosts have at least k GPUs free, shape (k, times).
        self._count = np.zeros((self.gpus_per_host + 1, 64), dtype=np.int32)
        self._times = np.zeros(64, dtype=np.int64)
        self._time_count = 1
        #: What ``_then`` lacks.
        self._busy = np.zeros_like(self._all)
        self._part = np.zeros(cluster.host_count, dtype=np.int64)
        self._shared: dict[tuple[int, int], int] = {}
        self._recount()

    # -- holdings -------------------------------------------------------------------------------------------------------------------

    def hold(self, owner: int, rows: Sequence[Row], milli_gpus: int, start_ns: int, end_ns: int) -> None:
        """Add a holding. One that the owner has already is of other hosts, or of another time."""
        mine, added = self._rows_of.setdefault(owner, []), list[int]()
        for block, hosts, gpus in rows:
            if gpus == self._full and milli_gpus == 1000:
                added.append(self._add(start_ns, end_ns, owner, block, -1, gpus, milli_gpus, hosts))
            else:
                for bit in mask_bits(hosts):
                    host = self._offered.first_host[block] + bit
                    added.append(self._add(start_ns, end_ns, owner, block, host, gpus, milli_gpus, 1 << bit))
        for row in added:
            self._note(row, 1)
        mine += added

    def drop(self, owner: int) -> list[Row]:
        """Take the owner's holdings away. Returns where they were."""
        mine = self._rows_of.pop(owner)
        for row in mine:
            self._note(row, -1)
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
        return row

    def _live(self, start_ns: int, end_ns: int) -> Int64:
        """The rows of those who hold something at some time between."""
        columns, end = self._columns, self._end
        return np.flatnonzero((columns["start_ns"][:end] < end_ns) & (columns["end_ns"][:end] > start_ns))

    # -- counts ---------------------------------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        """It is ``now_ns``."""
        self.now_ns = now_ns
        past = int(np.searchsorted(self._times[: self._time_count], now_ns, side="right")) - 1
        if past > 0:
            kept = self._time_count - past
            self._times[:kept] = self._times[past : self._time_count].copy()
            self._count[:, :kept] = self._count[:, past : self._time_count].copy()
            self._time_count = kept
        self._times[0] = now_ns
        if self._time_count > 4 * len(self._rows_of) + 256:  # times at which nothing begins or ends any longer
            self._recount()

    def look_at_hosts(self, free: FreeIndex) -> UInt64 | None:
        """See which hosts are offered in ``free``. Returns which of them, by block, are no longer; None where there was no change."""
        offered = np.array([free.offered(block) for block in range(len(self._all))], dtype=np.uint64)
        out = self._all & ~offered
        if np.array_equal(out, self._out):
            return None
        lost: UInt64 = out & ~self._out
        self._out = out
        self._recount()
        return lost

    def _recount(self) -> None:
        live = self._live(self.now_ns, NEVER)
        start, end = np.maximum(self._columns["start_ns"][live], self.now_ns), self._columns["end_ns"][live]
        times = np.unique(np.concatenate(([self.now_ns], start, end)))
        self._time_count = count = len(times)
        self._times = np.concatenate((times, np.zeros(count + 64, dtype=np.int64)))
        change = np.zeros(count, dtype=np.int64)
        whole = self._columns["host"][live] < 0
        hosts = np.bitwise_count(self._hosts[live] & ~self._out[self._columns["block"][live]]).astype(np.int64)
        np.add.at(change, np.searchsorted(times, start[whole]), -hosts[whole])
        np.add.at(change, np.searchsorted(times, end[whole]), hosts[whole])
        self._count = np.zeros((self.gpus_per_host + 1, 2 * count + 64), dtype=np.int32)
        self._count[:, :count] = int(np.bitwise_count(self._all & ~self._out).sum(dtype=np.int64)) + np.cumsum(change)
        self._on_host, self._shares = {}, 0
        for row in np.flatnonzero((self._columns["host"][: self._end] >= 0) & (self._columns["end_ns"][: self._end] >= 0)).tolist():
            self._note(row, 1)

    def _note(self, row: int, sign: int) -> None:
        """Count a row that was added (``sign`` 1) or is to be taken away (-1)."""
        start_ns, end_ns = max(self.now_ns, int(self._columns["start_ns"][row])), int(self._columns["end_ns"][row])
        host = int(self._columns["host"][row])
        if host >= 0:
            self._note_part(row, host, start_ns, end_ns, sign)
        elif start_ns < end_ns:
            hosts = int(self._hosts[row]) & ~int(self._out[self._columns["block"][row]])
            first = self._place(start_ns)
            self._count[:, first : self._place(end_ns)] -= sign * hosts.bit_count()

    def _note_part(self, row: int, host: int, start_ns: int, end_ns: int, sign: int) -> None:
        others = self._on_host.setdefault(host, [])
        self._shares += sign * (self._columns["milli"][row] < 1000)
        if sign < 0:
            others.remove(row)
        if start_ns < end_ns and not self._hosts[row] & self._out[self._columns["block"][row]]:
            mine = int(self._columns["gpus"][row])
            start, end, gpus = (self._columns[name][others].tolist() for name in ("start_ns", "end_ns", "gpus"))
            there = [
                (max(a, start_ns), min(b, end_ns), mask) for a, b, mask in zip(start, end, gpus, strict=True) if a < end_ns and b > start_ns
            ]
            marks = sorted({start_ns, end_ns, *(a for a, _, _ in there), *(b for _, b, _ in there)})
            for begin, until in pairwise(marks):
                held = 0
                for a, b, mask in there:
                    if a <= begin < b:
                        held |= mask
                first, end = self._place(begin), self._place(until)  # also where no count changes: a share may come free then
                before, after = self.gpus_per_host - held.bit_count(), self.gpus_per_host - (held | mine).bit_count()
                self._count[after + 1 : before + 1, first:end] -= sign
        if sign > 0:
            others.append(row)
        elif not others:
            del self._on_host[host]

    def _place(self, time_ns: int) -> int:
        """The place of a time, which is in ``_times`` from now on."""
        count = self._time_count
        place = int(np.searchsorted(self._times[:count], time_ns))
        if place < count and self._times[place] == time_ns:
            return place
        if count == len(self._times):
            self._times, self._count = np.pad(self._times, (0, count)), np.pad(self._count, ((0, 0), (0, count)))
        self._times[place + 1 : count + 1] = self._times[place:count].copy()
        self._count[:, place + 1 : count + 1] = self._count[:, place:count].copy()
        self._times[place] = time_ns
        self._count[:, place] = self._count[:, place - 1]
        self._time_count += 1
        return place

    # -- finding room ---------------------------------------------------------------------------------------------------------------

    def earliest(self, ask: Ask, duration_ns: int, placement: Placement, from_ns: int, before_ns: int) -> tuple[int, list[Row]] | None:
        """When the job can start, from ``from_ns`` on and before ``before_ns``, and where the placement puts it then: the first time at
        which it finds room among the GPUs that nobody holds for as long as it takes. None where there is none.
        """
        passed_ns = from_ns
        for start_ns in self._promising(ask, duration_ns, from_ns, before_ns):
            if start_ns < passed_ns:
                continue
            held = self._live(start_ns, start_ns + duration_ns)
            room = self._room(ask, held)
            if room is None:
                passed_ns = self._first_room(ask, held)
                continue
            self._move(*room, start_ns)
            rows = placement.choose(self._then, ask)
            if rows is not None:
                return start_ns, rows
        return None

    def _promising(self, ask: Ask, duration_ns: int, from_ns: int, before_ns: int) -> Iterator[int]:
        """Times from which on enough hosts are free at each moment, though perhaps not the same ones."""
        times, count = self._times[: self._time_count], self._count[:, : self._time_count]
        hosts, rest = self._needs(ask)
        lacks = count[self.gpus_per_host] < hosts
        if rest and not (ask.milli_gpus < 1000 and self._shares):
            lacks |= count[rest] <= hosts
        first, end = int(np.searchsorted(times, from_ns)), int(np.searchsorted(times, before_ns))
        blocked = np.flatnonzero(lacks)
        until = np.append(times[blocked], NEVER)[np.searchsorted(blocked, np.arange(first, end))]
        found = (until - times[first:end] >= duration_ns) & ~lacks[first:end]
        return iter(times[first:end][found].tolist())

    def _needs(self, ask: Ask) -> tuple[int, int]:
        """Whole hosts, and GPUs on one more."""
        return divmod(ask.gpus, self.gpus_per_host) if ask.milli_gpus == 1000 else (0, 1)

    def _room(self, ask: Ask, rows: Int64) -> tuple[UInt64, Int64] | None:
        """Of those who hold ``rows``: the hosts that are held, by block, and the rows in which a part of another host is. None where too
        few hosts are left for the job.
        """
        in_part = self._columns["host"][rows] >= 0
        whole, parts = rows[~in_part], rows[in_part]
        busy = self._out.copy()
        np.bitwise_or.at(busy, self._columns["block"][whole], self._hosts[whole])
        taken = busy.copy()
        np.bitwise_or.at(taken, self._columns["block"][parts], self._hosts[parts])
        free = int(np.bitwise_count(self._all & ~taken).sum(dtype=np.int64))
        hosts, rest = self._needs(ask)
        if free < hosts or (free == hosts and rest and not len(parts)):
            return None
        parts = parts[(busy[self._columns["block"][parts]] & self._hosts[parts]) == 0]
        if free == hosts and rest and ask.milli_gpus == 1000 and not self._any_split(parts, rest):
            return None
        return busy, parts

    def _first_room(self, ask: Ask, rows: Int64) -> int:
        """When enough of those who hold ``rows`` will have ended for the job to find room: it cannot start before that."""
        end_ns = self._columns["end_ns"][rows]
        order = np.argsort(end_ns, kind="stable")
        least, most = 1, len(rows)
        while least < most:
            ended = (least + most) // 2
            if self._room(ask, rows[order[ended:]]) is None:
                least = ended + 1
            else:
                most = ended
        return int(end_ns[order[least - 1]]) if len(rows) else NEVER

    def _any_split(self, parts: Int64, rest: int) -> bool:
        """Whether a host of those who are held in ``parts`` has ``rest`` GPUs free."""
        held = np.zeros_like(self._part)
        np.bitwise_or.at(held, self._columns["host"][parts], self._columns["gpus"][parts])
        held = held[self._columns["host"][parts]]
        return bool((np.bitwise_count(held) <= self.gpus_per_host - rest).any())

    def _move(self, busy: UInt64, parts: Int64, start_ns: int) -> None:
        """Make ``_then`` lack the hosts of ``busy`` and what is held in ``parts``."""
        then, full = self._then, self._full
        host, gpus, milli = (self._columns[name][parts] for name in ("host", "gpus", "milli"))
        part, shared = np.zeros_like(self._part), milli < 1000
        np.bitwise_or.at(part, host[~shared], gpus[~shared])
        shared &= (part[host] & gpus) == 0
        shares = self._most_shared(parts[shared], start_ns) if shared.any() else {}
        changed = np.flatnonzero(part != self._part).tolist()
        for (other, gpu), held in self._shared.items():
            then.give_share(other, gpu, held)
        for other in changed:
            if self._part[other]:
                then.give([self._row(other, int(self._part[other]))])
        for block in np.flatnonzero(self._busy & ~busy).tolist():
            then.give([(block, int(self._busy[block] & ~busy[block]), full)])
        for block in np.flatnonzero(busy & ~self._busy).tolist():
            then.take([(block, int(busy[block] & ~self._busy[block]), full)])
        for other in changed:
            if part[other]:
                then.take([self._row(other, int(part[other]))])
        for (other, gpu), held in shares.items():
            then.take_share(other, gpu, held)
        self._busy, self._part, self._shared = busy, part, shares

    def _row(self, host: int, gpus: int) -> Row:
        block = self._then.host_block[host]
        return block, 1 << (host - self._then.first_host[block]), gpus

    def _most_shared(self, rows: Int64, start_ns: int) -> dict[tuple[int, int], int]:
        """Of each shared GPU, (host, gpu), the most that is held of it at any time from ``start_ns`` on, in milli-GPUs."""
        start, end, host, gpus, milli = (self._columns[name][rows].tolist() for name in ("start_ns", "end_ns", "host", "gpus", "milli"))
        changes: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for begin, until, where, mask, held in zip(start, end, host, gpus, milli, strict=True):
            changes.setdefault((where, mask.bit_length() - 1), []).extend(((max(begin, start_ns), held), (until, -held)))
        most = {}
        for key, steps in changes.items():
            now = top = 0
            for _, change in sorted(steps):  # ends are before starts at the same time
                now += change
                top = max(top, now)
            most[key] = top
        return most

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
