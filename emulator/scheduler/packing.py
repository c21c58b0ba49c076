"""Packing, which several placements share: whole hosts for a gang inside the innermost unit that has them, and the rest on one more.

A gang of n GPUs gets ``n // g`` whole hosts of g GPUs, and the rest on one more host. It is never torn into smaller pieces: a gang spread
over half-used hosts would cross the fabric where NVLink could have served it. These are pure choices: they return rows of the index of free
GPUs and take nothing.
"""

from collections.abc import Callable
from typing import Any

from emulator.scheduler.free import FreeIndex, Row, lowest_bits
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES

RACK = LEVEL_NAMES.index("rack")
#: Puts split hosts in order, the best first: (index, host) -> key.
Rank = Callable[[FreeIndex, int], Any]


def fewest_free(free: FreeIndex, host: int) -> tuple[int, int]:
    """The order of best fit: the split host with the fewest free GPUs, the first such."""
    return free.split[host].bit_count(), host


def shared_gpu(free: FreeIndex, milli_gpus: int) -> list[Row] | None:
    """The shared GPU with the least room that is still enough, the first such; None where no GPU that is in use has as much."""
    found = free.shared_gpu(milli_gpus)
    if found is None:
        return None
    host, gpu = found
    block = free.host_block[host]
    return [(block, 1 << (host - free.first_host[block]), 1 << gpu)]


def pack(
    free: FreeIndex, gpus: int, require_level: int = ANY_LEVEL, prefer_level: int = ANY_LEVEL, rank: Rank = fewest_free
) -> list[Row] | None:
    """A host's worth of GPUs or more, by the rule that the placement ``topology`` describes; of split hosts ``rank`` chooses."""
    hosts, rest = divmod(gpus, free.gpus_per_host)
    if gpus == free.gpus_per_host:
        require_level = prefer_level = ANY_LEVEL
    depth = len(free.levels) if require_level == ANY_LEVEL else free.depths[require_level]
    if ANY_LEVEL < require_level < RACK and not depth:
        return None
    if RACK in (require_level, prefer_level) and free.depths[RACK] == 0:
        rows = in_small_rack(free, hosts, rest, rank)
        if rows is not None or require_level == RACK:
            return rows
    return search(free, hosts, rest, depth, rank) if free.whole >= hosts else None


def search(free: FreeIndex, hosts: int, rest: int, depth: int, rank: Rank = fewest_free) -> list[Row] | None:
    """``hosts`` whole hosts and ``rest`` GPUs on one more, in one unit of the innermost of the ``depth`` finest levels that has them."""
    split = [host for host in free.split if free.split[host].bit_count() >= rest and free.is_offered(host)] if rest else []
    for index in range(depth):
        level = free.levels[index]
        if not rest:
            unit = level.best(hosts)
            if unit >= 0:
                return fill(free, index, unit, hosts)
            continue
        candidates = {free.unit_of_block(index, free.host_block[host]) for host in split}
        fitting = [(level.counts[unit], unit) for unit in candidates if level.counts[unit] >= hosts]
        unit = level.best(hosts + 1)
        if unit >= 0:
            fitting.append((level.counts[unit], unit))
        if fitting:
            return fill_with_rest(free, index, min(fitting)[1], hosts, rest, split, rank)
    return None


def fill(free: FreeIndex, index: int, unit: int, hosts: int) -> list[Row]:
    """``hosts`` whole hosts of a unit that has as many."""
    if index == 0:
        return [(unit, lowest_bits(free.block_free[unit], hosts), free.full)]
    level, finer = free.levels[index], free.levels[index - 1].counts
    first, end = level.first_child[unit], level.first_child[unit + 1]
    children = sorted((-finer[child], child) for child in range(first, end) if finer[child])
    rows: list[Row] = []
    for position, (negative, child) in enumerate(children):
        if -negative >= hosts:
            # The last part: the child that it fills best.
            _, last = min((-n, c) for n, c in children[position:] if -n >= hosts)
            return rows + fill(free, index - 1, last, hosts)
        rows += fill(free, index - 1, child, -negative)
        hosts += negative
    raise AssertionError("a unit has fewer free hosts than its counter says")


def fill_with_rest(free: FreeIndex, index: int, unit: int, hosts: int, rest: int, split: list[int], rank: Rank) -> list[Row]:
    """As ``fill``, and ``rest`` GPUs more; ``split`` are the split hosts that hold those."""
    rows = fill(free, index, unit, hosts)
    blocks = {block for block, _, _ in rows}
    inside = [host for host in split if free.unit_of_block(index, free.host_block[host]) == unit]
    near = [host for host in inside if free.host_block[host] in blocks]
    if not near and free.levels[index].counts[unit] > hosts:
        return last_host_in_part(fill(free, index, unit, hosts + 1), rest)
    chosen = min(near or inside, key=lambda host: rank(free, host))
    return [*rows, part_of_split(free, chosen, rest)]


def in_small_rack(free: FreeIndex, hosts: int, rest: int, rank: Rank) -> list[Row] | None:
    """As ``search``, inside one rack, where racks are parts of blocks."""
    best: tuple[int, int, int] | None = None  # whole free hosts, block, mask of them
    best_split = -1
    for first, end in free.racks():
        block = free.host_block[first]
        idle = free.block_free[block] & ((1 << (end - first)) - 1) << (first - free.first_host[block])
        count = idle.bit_count()
        if count < hosts or (best is not None and count >= best[0]):
            continue
        holding = (host for host in range(first, end) if holds(free, host, rest))
        split = min(holding, key=lambda host: rank(free, host), default=-1)
        if not rest or split >= 0 or count > hosts:
            best, best_split = (count, block, idle), split
    if best is None:
        return None
    _, block, idle = best
    if rest and best_split < 0:
        return last_host_in_part([(block, lowest_bits(idle, hosts + 1), free.full)], rest)
    rows = [(block, lowest_bits(idle, hosts), free.full)]
    return [*rows, part_of_split(free, best_split, rest)] if rest else rows


def holds(free: FreeIndex, host: int, gpus: int) -> bool:
    """Whether ``host`` is split, offered, and has ``gpus`` free."""
    return host in free.split and gpus <= free.split[host].bit_count() and free.is_offered(host)


def part_of_split(free: FreeIndex, host: int, gpus: int) -> Row:
    """The ``gpus`` lowest free GPUs of a split host."""
    block = free.host_block[host]
    return block, 1 << (host - free.first_host[block]), lowest_bits(free.split[host], gpus)


def part_of_whole(row: Row, gpus: int) -> Row:
    """The ``gpus`` lowest GPUs of the whole hosts of ``row``."""
    return row[0], row[1], (1 << gpus) - 1


def last_host_in_part(rows: list[Row], rest: int) -> list[Row]:
    """``rows`` of whole hosts with all but ``rest`` GPUs of the last host given back."""
    block, mask, full = rows[-1]
    last = 1 << (mask.bit_length() - 1)
    whole = [(block, mask ^ last, full)] if mask != last else []
    return [*rows[:-1], *whole, (block, last, (1 << rest) - 1)]
