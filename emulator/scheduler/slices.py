"""Slices: a gang that is cut into equal parts, each inside one unit of a level.

They are Kueue's (``podset-slice-size`` and ``podset-slice-required-topology``, kueue.sigs.k8s.io/docs/concepts/topology_aware_scheduling)
and the segments of Slurm's topology/block plugin (``--segment``, slurm.schedmd.com/topology.html). A slice is a part of a host or whole
hosts. Slices of up to a host ask for nothing more than a gang of whole hosts does, since what is left of a gang lies on one host.
"""

from collections.abc import Callable
from typing import NamedTuple

from emulator.scheduler.free import FreeIndex, Row, lowest_bits
from emulator.scheduler.packing import RACK, fill, in_small_rack, search
from emulator.workload.jobs import ANY_LEVEL


class Cut(NamedTuple):
    """Slices of so many whole hosts, 2 or more, each inside one unit of the level."""

    hosts: int
    level: int


def is_possible(gpus: int, slice_gpus: int, gpus_per_host: int) -> bool:
    """Whether slices of this size are parts of hosts or whole hosts, and make up the job."""
    return gpus % slice_gpus == 0 and (slice_gpus % gpus_per_host == 0 or gpus_per_host % slice_gpus == 0)


def cut_of(gpus: int, require_level: int, slice_gpus: int, slice_level: int, gpus_per_host: int) -> tuple[int, Cut | None]:
    """The level that the whole job requires, and how it is cut besides; None where that level alone says as much."""
    if slice_gpus <= gpus_per_host or ANY_LEVEL < require_level <= slice_level:
        return require_level, None
    if slice_gpus == gpus:
        return slice_level, None
    return require_level, Cut(slice_gpus // gpus_per_host, slice_level)


def pack_slices(free: FreeIndex, gpus: int, require_level: int, prefer_level: int, cut: Cut) -> list[Row] | None:
    """As ``packing.pack``, for a gang that is cut.

    The innermost unit that holds all slices is taken, of these the one with room for the fewest. Where it takes several sub-units, those
    with room for the most are filled and the last is chosen by best fit.
    """
    hosts, slices = gpus // free.gpus_per_host, gpus // free.gpus_per_host // cut.hosts
    depth, base = _depth(free, require_level), free.depths[cut.level]
    if not base and cut.level != RACK:
        return None  # no host holds several
    if prefer_level == RACK and free.depths[RACK] == 0 and (rows := in_small_rack(free, hosts, 0, _no_rank)) is not None:
        return rows
    if base:
        counts = free.levels[base - 1].counts
        rows = search(free, hosts, 0, min(base, depth))
        return rows or search_slices(
            free,
            base - 1,
            depth,
            [count // cut.hosts for count in counts],
            slices,
            lambda unit, part: fill(free, base - 1, unit, part * cut.hosts),
        )
    racks = _free_racks(free)
    room = _rack_room(free, racks, cut.hosts)
    return search_slices(free, 0, depth, room, slices, lambda block, part: _fill_racks(free, racks, block, part, cut.hosts))


def search_slices(
    free: FreeIndex, base: int, depth: int, room: list[int], slices: int, take: Callable[[int, int], list[Row]]
) -> list[Row] | None:
    """So many slices in one unit of the innermost of the search levels ``base`` to ``depth`` - 1 that holds them; None where none does.

    ``room`` says how many slices each unit of ``base`` holds, and ``take`` gives so many of one.
    """
    rooms = _rooms(free, base, depth, room)
    for above, held in enumerate(rooms):
        counts = free.levels[base + above].counts
        fitting = [(held[unit], counts[unit], unit) for unit in range(len(held)) if held[unit] >= slices]
        if fitting:
            return _fill_slices(free, base, rooms, above, min(fitting)[2], slices, take)
    return None


def most_slices(free: FreeIndex, require_level: int, cut: Cut, *, now: bool = False) -> int:
    """How many slices one unit of the level that the job requires holds at most: when it is empty and healthy, or ``now``."""
    depth, base = _depth(free, require_level), free.depths[cut.level]
    if base:
        level, base = free.levels[base - 1], base - 1
        room = [hosts // cut.hosts for hosts in (level.counts if now else level.capacity)]
    elif cut.level == RACK and now:
        room = _rack_room(free, _free_racks(free), cut.hosts)
    elif cut.level == RACK:
        room = [0] * len(free.block_free)
        for first, end in free.racks():
            room[free.host_block[first]] += (end - first) // cut.hosts
    else:
        return 0
    rooms = _rooms(free, base, depth, room)
    return max(rooms[-1]) if rooms else 0


def _depth(free: FreeIndex, require_level: int) -> int:
    return len(free.levels) if require_level == ANY_LEVEL else free.depths[require_level]


def _rooms(free: FreeIndex, base: int, depth: int, room: list[int]) -> list[list[int]]:
    """``room``, and what it makes in each of the search levels above ``base``."""
    rooms = [room][: max(0, depth - base)]
    for index in range(base + 1, depth):
        first = free.levels[index].first_child
        rooms.append([sum(rooms[-1][first[unit] : first[unit + 1]]) for unit in range(len(first) - 1)])
    return rooms


def _fill_slices(
    free: FreeIndex, base: int, rooms: list[list[int]], above: int, unit: int, slices: int, take: Callable[[int, int], list[Row]]
) -> list[Row]:
    """``slices`` in a unit, ``above`` levels above ``base``, that has room for as many."""
    if above == 0:
        return take(unit, slices)
    first, held = free.levels[base + above].first_child, rooms[above - 1]
    counts = free.levels[base + above - 1].counts
    children = sorted((child for child in range(first[unit], first[unit + 1]) if held[child]), key=lambda child: (-held[child], child))
    rows: list[Row] = []
    for place, child in enumerate(children):
        if held[child] >= slices:
            _, _, last = min((held[other], counts[other], other) for other in children[place:] if held[other] >= slices)
            return rows + _fill_slices(free, base, rooms, above - 1, last, slices, take)
        rows += _fill_slices(free, base, rooms, above - 1, child, held[child], take)
        slices -= held[child]
    raise AssertionError("a unit has room for fewer slices than its parts together")


# -- racks smaller than a block -----------------------------------------------------------------------------------------------------


def _free_racks(free: FreeIndex) -> list[tuple[int, int]]:
    """(block, mask of whole free hosts) of every rack that has some."""
    found = []
    for first, end in free.racks():
        block = free.host_block[first]
        idle = free.block_free[block] & ((1 << (end - first)) - 1) << (first - free.first_host[block])
        if idle:
            found.append((block, idle))
    return found


def _rack_room(free: FreeIndex, racks: list[tuple[int, int]], hosts: int) -> list[int]:
    """How many slices of ``hosts`` the racks of each block hold."""
    room = [0] * len(free.block_free)
    for block, idle in racks:
        room[block] += idle.bit_count() // hosts
    return room


def _fill_racks(free: FreeIndex, racks: list[tuple[int, int]], block: int, slices: int, hosts: int) -> list[Row]:
    """So many slices of ``hosts`` in the racks of ``block``: those with room for the most first, the last by best fit."""
    mine = sorted((idle for other, idle in racks if other == block), key=lambda idle: (-(idle.bit_count() // hosts), idle))
    taken = 0
    for place, idle in enumerate(mine):
        room = idle.bit_count() // hosts
        if room >= slices:
            _, last = min((other.bit_count(), other) for other in mine[place:] if other.bit_count() // hosts >= slices)
            return [(block, taken | lowest_bits(last, slices * hosts), free.full)]
        if room:
            taken |= lowest_bits(idle, room * hosts)
            slices -= room
    raise AssertionError("a block has room for fewer slices than its racks together")


def _no_rank(_: FreeIndex, host: int) -> int:
    return host
