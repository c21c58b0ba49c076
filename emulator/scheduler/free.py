"""The index of free GPUs, in which the cost of placing a job depends on the blocks that it touches, not on the size of the cluster.

A host is in one of three states: whole and free (a bit of its block's mask), wholly held by one job (a bit of ``_held``), or *split*
(in ``split``, with the mask of its free GPUs). Hosts that are down or cordoned are not offered, whatever their state.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush

import numpy as np

from emulator.scheduler.host_states import HostStates
from emulator.scheduler.levels import LevelCounters
from emulator.workload.jobs import LEVEL_NAMES
from topology.cluster import Cluster

#: Hosts of all sites.
ANY_SITE = -1
#: Part of a placement: on every host of ``host_mask`` in ``block``, the GPUs of ``gpu_mask``.
Row = tuple[int, int, int]


def mask_bits(mask: int) -> list[int]:
    """Numbers of the set bits, lowest first."""
    bits = []
    while mask:
        low = mask & -mask
        bits.append(low.bit_length() - 1)
        mask ^= low
    return bits


def lowest_bits(mask: int, count: int) -> int:
    """The ``count`` (1 or more) lowest set bits of ``mask``, which has at least as many."""
    low = mask & -mask
    run = low * ((1 << count) - 1)
    if run & mask == run:
        return run
    if mask.bit_count() == count:
        return mask
    taken = 0
    for _ in range(count):
        low = mask & -mask
        taken |= low
        mask ^= low
    return taken


class FreeIndex:
    """Free GPUs of the hosts of one type, at all sites or at one. Its tables run over all blocks of the cluster; others hold nothing.

    ``like``: another index of the same cluster, with which the tables of where hosts are are shared.
    """

    def __init__(self, cluster: Cluster, host_type: int = 0, like: "FreeIndex | None" = None, site: int = ANY_SITE) -> None:
        self._cluster, self._host_type, self.site = cluster, host_type, site
        self.gpus_per_host = cluster.host_types[host_type].gpus
        self.full = (1 << self.gpus_per_host) - 1
        self.first_host: list[int] = like.first_host if like else cluster.block.first_host.tolist()
        self.host_block: Sequence[int] = like.host_block if like else cluster.block.host_unit.tolist()
        alike = like if like is not None and (like._host_type, like.site) == (host_type, site) else None
        self._sizes: list[int] = alike._sizes if alike else _hosts_of_blocks(cluster, host_type, site)
        sizes = self._sizes
        self.host_count = sum(sizes)
        self.block_free: list[int] = [(1 << size) - 1 for size in sizes]
        self._offered: list[int] = list(self.block_free)
        self._held: list[int] = [0] * len(sizes)
        self.split: dict[int, int] = {}
        self.whole = self.host_count
        self.split_gpus = 0  # free GPUs on split hosts that are offered
        self.split_count = [0] * self.gpus_per_host  # those hosts, by how many of their GPUs are free
        self._split_by_free: list[list[int]] = [[] for _ in range(self.gpus_per_host)]
        self._open: list[int] = [block for block, size in enumerate(sizes) if size]
        self._is_open = bytearray(size > 0 for size in sizes)
        levels, units, depths = (alike.levels, alike.units, alike.depths) if alike else _search_levels(cluster, sizes)
        self.levels: tuple[LevelCounters, ...] = tuple([level.all_free() for level in levels]) if alike else levels
        self.units: tuple[list[int], ...] = units
        self.depths: tuple[int, ...] = depths
        self._counted = tuple(zip(self.levels, self.units, strict=True))
        self.rack_first: list[int] = cluster.level("rack").first_host.tolist()
        self._shared: dict[tuple[int, int], int] = {}  # (host, gpu) -> free milli-GPU
        self._shared_by_free: dict[int, list[tuple[int, int]]] = {}  # and back, each list sorted
        self._states: HostStates | None = None  # where a placement scores hosts

    def copy(self) -> "FreeIndex":
        """Another in the same state, which changes by itself; tables of where hosts are are shared."""
        other = FreeIndex(self._cluster, self._host_type, self, self.site)
        other.block_free, other._offered, other._held = list(self.block_free), list(self._offered), list(self._held)
        other.whole, other.split, other.split_gpus = self.whole, dict(self.split), self.split_gpus
        other.split_count, other._split_by_free = list(self.split_count), [list(heap) for heap in self._split_by_free]
        other._open, other._is_open = list(self._open), bytearray(self._is_open)
        other._shared, other._shared_by_free = dict(self._shared), {free: list(gpus) for free, gpus in self._shared_by_free.items()}
        other.levels = tuple([level.copy() for level in self.levels])
        other._counted = tuple(zip(other.levels, other.units, strict=True))
        other._states = None if self._states is None else self._states.copy()
        return other

    # -- what is free ------------------------------------------------------------------------------------------------------------

    @property
    def free_gpus(self) -> int:
        """GPUs that could be given out now, split hosts included."""
        return self.whole * self.gpus_per_host + self.split_gpus

    def free_milli_gpus(self) -> int:
        """The same in milli-GPUs, with what is left of GPUs that are shared."""
        return 1000 * self.free_gpus + sum(free * len(gpus) for free, gpus in self._shared_by_free.items())

    def fits(self, gpus: int) -> bool:
        """Whether a gang of ``gpus`` has a placement anywhere: whole hosts, and the rest on one more."""
        hosts, rest = divmod(gpus, self.gpus_per_host)
        return self.whole >= hosts and (rest == 0 or self.whole > hosts or self.split_host(rest) >= 0)

    def most_that_could_fit(self) -> int:
        """The largest gang of whole GPUs that fits now; every smaller one does too."""
        for free in range(self.gpus_per_host - 1, 0, -1):
            if self.split_count[free]:
                return self.whole * self.gpus_per_host + free
        return self.whole * self.gpus_per_host

    def split_host(self, gpus: int) -> int:
        """The split host with the fewest free GPUs that are still at least ``gpus`` (under a whole host), the first such; -1 if none."""
        for free in range(gpus, self.gpus_per_host):
            host = self.first_split(free)
            if host >= 0:
                return host
        return -1

    def first_split(self, free: int) -> int:
        """The first split host with exactly ``free`` free GPUs, -1 when there is none."""
        heap = self._split_by_free[free]
        split, first, blocks = self.split, self.first_host, self.host_block
        while heap:
            host = heap[0]
            mask = split.get(host, 0)
            block = blocks[host]
            if mask.bit_count() == free and self._offered[block] >> (host - first[block]) & 1:
                return host
            heappop(heap)
        return -1

    def first_whole_hosts(self, hosts: int) -> list[Row]:
        """The first ``hosts`` whole free hosts by number, which must exist, as rows. Takes nothing."""
        rows: list[Row] = []
        seen: list[int] = []
        while hosts:
            block = heappop(self._open)
            free = self.block_free[block]
            if not free:
                self._is_open[block] = 0
                continue
            seen.append(block)
            count = min(hosts, free.bit_count())
            rows.append((block, lowest_bits(free, count), self.full))
            hosts -= count
        for block in seen:
            heappush(self._open, block)
        return rows

    def hosts(self) -> Iterator[int]:
        """All hosts of the type, by number."""
        for first, count in zip(self.first_host, self.levels[0].capacity, strict=False):
            yield from range(first, first + count)

    def is_offered(self, host: int) -> bool:
        block = self.host_block[host]
        return bool(self._offered[block] >> (host - self.first_host[block]) & 1)

    def free_mask(self, host: int) -> int:
        """GPUs of ``host`` that could be given out now, shares apart."""
        block, bit = self._place(host)
        if not self._offered[block] >> bit & 1:
            return 0
        return self.full if self.block_free[block] >> bit & 1 else self.split.get(host, 0)

    def held_by_nobody(self, host: int) -> int:
        """How many GPUs of ``host`` no job has a part of, whether it is offered or not."""
        return self.unheld_mask(host).bit_count()

    def unheld_mask(self, host: int) -> int:
        """Which they are."""
        block, bit = self._place(host)
        return 0 if self._held[block] >> bit & 1 else self.split.get(host, self.full)

    def has_free(self, block: int, hosts: int, gpus: int) -> bool:
        """Whether ``hosts`` is one split host on which the GPUs of ``gpus`` could be given out now."""
        if hosts & (hosts - 1) or not hosts & self._offered[block]:
            return False
        return self.split.get(self.first_host[block] + hosts.bit_length() - 1, 0) & gpus == gpus

    def offered(self, block: int) -> int:
        """Mask of the block's hosts that are neither down nor cordoned."""
        return self._offered[block]

    # -- taking and giving back -----------------------------------------------------------------------------------------------------

    def take(self, rows: Iterable[Row]) -> None:
        """Hold the GPUs of ``rows``, which must be free (though their hosts may be withdrawn: a victim of preemption that stays)."""
        for block, hosts, gpus in rows:
            if gpus == self.full:
                self._held[block] |= hosts
                self._close(block, hosts & self._offered[block])
            else:
                for bit in mask_bits(hosts):
                    self._take_part(block, bit, gpus)
                    if self._states is not None:
                        self._states.begin(self.first_host[block] + bit, 1 << gpus.bit_count(), 1)

    def give(self, rows: Iterable[Row]) -> None:
        """Free the GPUs of ``rows`` again."""
        for block, hosts, gpus in rows:
            if gpus == self.full:
                self._held[block] &= ~hosts
                self._reopen(block, hosts & self._offered[block])
            else:
                for bit in mask_bits(hosts):
                    self._give_part(block, bit, gpus)
                    if self._states is not None:
                        self._states.begin(self.first_host[block] + bit, 1 << gpus.bit_count(), -1)

    def _take_part(self, block: int, bit: int, gpus: int) -> None:
        host = self.first_host[block] + bit
        before = self.split.get(host)
        if not self._offered[block] >> bit & 1:
            self.split[host] = (self.full if before is None else before) & ~gpus
            return
        if before is None:
            self._close(block, 1 << bit)
            before = self.full
        else:
            self._uncount_split(before)
        self._put_split(host, before & ~gpus)

    def _give_part(self, block: int, bit: int, gpus: int) -> None:
        host = self.first_host[block] + bit
        before = self.split[host]
        after = before | gpus
        offered = self._offered[block] >> bit & 1
        if offered:
            self._uncount_split(before)
        if after == self.full:
            del self.split[host]
            if offered:
                self._reopen(block, 1 << bit)
        elif offered:
            self._put_split(host, after)
        else:
            self.split[host] = after

    def _put_split(self, host: int, mask: int) -> None:
        self.split[host] = mask
        free = mask.bit_count()
        self.split_gpus += free
        self.split_count[free] += 1
        if free:
            heap = self._split_by_free[free]
            heappush(heap, host)
            if len(heap) > 2 * len(self.split) + 64:
                heap[:] = {other for other in heap if self.split.get(other, 0).bit_count() == free and self.is_offered(other)}
                heapify(heap)

    def _uncount_split(self, mask: int) -> None:
        free = mask.bit_count()
        self.split_gpus -= free
        self.split_count[free] -= 1

    def _close(self, block: int, hosts: int) -> None:
        self.block_free[block] &= ~hosts
        self._count(block, -hosts.bit_count())

    def _reopen(self, block: int, hosts: int) -> None:
        if not hosts:
            return
        self.block_free[block] |= hosts
        self._count(block, hosts.bit_count())
        if not self._is_open[block]:
            self._is_open[block] = 1
            heappush(self._open, block)

    def _count(self, block: int, change: int) -> None:
        self.whole += change
        for level, units in self._counted:
            level.add(units[block], change)

    # -- availability -------------------------------------------------------------------------------------------------------------

    def withdraw(self, host: int) -> None:
        """Stop offering a host (down or cordoned). Jobs on it keep their GPUs until they are given back."""
        block, bit = self._place(host)
        if not self._offered[block] >> bit & 1:
            return
        self._offered[block] &= ~(1 << bit)
        if self._states is not None:
            self._states.changed.add(host)
        if host in self.split:
            self._uncount_split(self.split[host])
        elif self.block_free[block] >> bit & 1:
            self._close(block, 1 << bit)

    def offer(self, host: int) -> None:
        """Offer a withdrawn host again."""
        block, bit = self._place(host)
        if self._offered[block] >> bit & 1:
            return
        self._offered[block] |= 1 << bit
        if self._states is not None:
            self._states.changed.add(host)
        if host in self.split:
            self._put_split(host, self.split[host])
        elif not self._held[block] >> bit & 1:
            self._reopen(block, 1 << bit)

    def _place(self, host: int) -> tuple[int, int]:
        block = self.host_block[host]
        return block, host - self.first_host[block]

    def unit_of_block(self, level: int, block: int) -> int:
        """The unit of search level ``level`` that ``block`` is in."""
        return self.units[level][block]

    def racks(self) -> Iterator[tuple[int, int]]:
        """First host and end of every rack with hosts of the type; they are the whole rack where racks are smaller than a block."""
        capacity, block_of = self.levels[0].capacity, self.host_block
        return ((first, end) for first, end in zip(self.rack_first, self.rack_first[1:], strict=False) if capacity[block_of[first]])

    def rack_of_host(self) -> list[int]:
        """The rack of every host."""
        return np.repeat(np.arange(len(self.rack_first) - 1), np.diff(self.rack_first)).tolist()

    # -- states of split hosts ----------------------------------------------------------------------------------------------------

    def host_states(self) -> HostStates:
        """Split hosts by state; kept from the first call on, which has to come before what is to be told apart by its tasks."""
        if self._states is None:
            self._states = HostStates(self.gpus_per_host)
            self._states.changed.update(self.split)
        states = self._states
        for host in states.changed:
            states.put(host, self.rooms(host) if host in self.split and self.is_offered(host) else None)
        states.changed.clear()
        return states

    def asks_with(self, other: "FreeIndex") -> None:
        """What is asked for of ``other``, if a placement scores its hosts, counts as asked for here."""
        if other._states is not None:
            self.host_states().like = other._states

    def rooms(self, host: int) -> tuple[int, ...]:
        """Milli-GPU free on each GPU of ``host``."""
        mask, shared = self.split.get(host, self.full), self._shared
        return tuple(1000 if mask >> gpu & 1 else shared.get((host, gpu), 0) for gpu in range(self.gpus_per_host))

    # -- shares of one GPU --------------------------------------------------------------------------------------------------------

    def shared_gpu(self, milli: int) -> tuple[int, int] | None:
        """The first (host, gpu) among the shared ones with the least room that is still at least ``milli``."""
        for free in sorted(self._shared_by_free):
            if free >= milli:
                for host, gpu in self._shared_by_free[free]:
                    if self.is_offered(host):
                        return host, gpu
        return None

    def has_room(self) -> bool:
        """Whether anything could be given out now, even if only a share of a GPU."""
        return self.free_gpus > 0 or len(self._shared_by_free) > (0 in self._shared_by_free)

    def share(self, host: int, gpu: int) -> int:
        """Milli-GPU free on a GPU that is shared or wholly free."""
        return self._shared.get((host, gpu), 1000)

    def take_share(self, host: int, gpu: int, milli: int) -> bool:
        """Take ``milli`` of a GPU; True when that opened it (it was free and counts as held from now on)."""
        if self._states is not None:
            self._states.begin(host, 1, 1)
        free = self._shared.get((host, gpu))
        if free is None:
            block, bit = self._place(host)
            self._take_part(block, bit, 1 << gpu)
            self._set_share((host, gpu), None, 1000 - milli)
            return True
        self._set_share((host, gpu), free, free - milli)
        return False

    def give_share(self, host: int, gpu: int, milli: int) -> bool:
        """Give ``milli`` back; True when the GPU is wholly free again."""
        if self._states is not None:
            self._states.begin(host, 1, -1)
        free = self._shared[host, gpu]
        if free + milli < 1000:
            self._set_share((host, gpu), free, free + milli)
            return False
        self._set_share((host, gpu), free, None)
        block, bit = self._place(host)
        self._give_part(block, bit, 1 << gpu)
        return True

    def _set_share(self, key: tuple[int, int], before: int | None, after: int | None) -> None:
        if before is not None:
            peers = self._shared_by_free[before]
            del peers[bisect_left(peers, key)]
            if not peers:
                del self._shared_by_free[before]
        if after is None:
            del self._shared[key]
        else:
            self._shared[key] = after
            insort(self._shared_by_free.setdefault(after, []), key)


def _hosts_of_blocks(cluster: Cluster, host_type: int, site: int) -> list[int]:
    """Of every block, how many hosts of the type it has at the site."""
    own = cluster.block_type == host_type
    if site != ANY_SITE:
        own &= cluster.level("site").host_unit[cluster.block.first_host[:-1]] == site
    hosts: list[int] = np.where(own, np.diff(cluster.block.first_host), 0).tolist()
    return hosts


def _search_levels(cluster: Cluster, sizes: list[int]) -> tuple[tuple[LevelCounters, ...], tuple[list[int], ...], tuple[int, ...]]:
    """Levels to search, the unit of every block in each, and by level name how many of them lie within one unit of the level so named.

    ``sizes`` are the hosts of every block; only blocks with hosts count. The levels run from the innermost (the block) outwards, each
    strictly coarser than the one before. A level of the cluster that is finer than a block (a host; a rack of fewer hosts than share its
    leaves) is not among them: its depth is 0. One that the cluster does not have (a building, where there is one) is as the next coarser
    that it has.
    """
    starts, size = cluster.block.first_host[:-1], np.array(sizes)
    own = size > 0
    levels = [LevelCounters("block", list(sizes), list(range(len(sizes) + 1)))]
    units = [list(range(len(sizes)))]
    finest = int(own.sum())
    depth: dict[str, int] = {}
    for level in cluster.levels:
        inside = level.first_host[~np.isin(level.first_host, cluster.block.first_host)]  # units that begin within a block
        if own[np.searchsorted(starts, inside, side="right") - 1].any():
            depth[level.name] = 0
            continue
        unit = np.searchsorted(level.first_host, starts, side="right") - 1
        count = len(np.unique(unit[own]))
        if count < finest:
            finer = starts[np.minimum(np.searchsorted(units[-1], range(len(levels[-1].counts))), len(starts) - 1)]
            first_child = np.searchsorted(np.append(finer, cluster.host_count), level.first_host).tolist()
            hosts = np.bincount(unit, weights=size, minlength=len(level)).astype(np.int64).tolist()
            levels.append(LevelCounters(level.name, hosts, first_child))
            units.append(unit.tolist())
            finest = count
        depth[level.name] = len(levels)
    if finest > 1:
        levels.append(LevelCounters("cluster", [sum(sizes)], [0, len(levels[-1].counts)]))
        units.append([0] * len(sizes))
    depths = [0] * len(LEVEL_NAMES)
    coarser = len(levels)
    for place in reversed(range(len(LEVEL_NAMES))):
        depths[place] = coarser = depth.get(LEVEL_NAMES[place], coarser)
    return tuple(levels), tuple(units), tuple(depths)
