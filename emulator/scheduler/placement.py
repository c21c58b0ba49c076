"""Where a gang is placed. Pure choices: they return rows of the index of free GPUs and take nothing.

A gang of n GPUs gets ``n // g`` whole hosts of g GPUs, and the rest on one more host. It is never torn into smaller pieces: a gang
spread over half-used hosts would cross the fabric where NVLink could have served it.
"""

from collections.abc import Callable

from emulator.scheduler.free import FreeIndex, Row, lowest_bits
from emulator.scheduler.scatter import deal
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES

#: A placement policy: (index, gpus, required level, preferred level) -> rows, or None when it does not fit now.
#: Levels are indexes into LEVEL_NAMES or ANY_LEVEL. No choice depends on anything but what is free.
Placement = Callable[[FreeIndex, int, int, int], list[Row] | None]

_RACK = LEVEL_NAMES.index("rack")


def consolidate(free: FreeIndex, gpus: int, require_level: int = ANY_LEVEL, prefer_level: int = ANY_LEVEL) -> list[Row] | None:
    """Best fit on one host, whole hosts in order of number for more (the rule of the Helios and Philly reference schedules).

    Up to a host's worth goes to the host with the fewest free GPUs that still holds it, the first such; more takes whole free hosts and
    the remainder from the next host in order of most free GPUs (stable). A job that asks for a level goes where ``topology`` puts it.
    """
    if require_level != ANY_LEVEL or prefer_level != ANY_LEVEL:
        return topology(free, gpus, require_level, prefer_level)
    hosts, rest = divmod(gpus, free.gpus_per_host)
    if hosts == 0:
        host = free.split_host(rest)
        if host >= 0:
            return [_part_of_split(free, host, rest)]
        return [_part_of_whole(free.first_whole_hosts(1)[0], rest)] if free.whole else None
    if free.whole < hosts:
        return None
    if not rest:
        return free.first_whole_hosts(hosts)
    if free.whole > hosts:
        return _last_host_in_part(free.first_whole_hosts(hosts + 1), rest)
    emptiest = _emptiest_split_host(free, rest)
    return [*free.first_whole_hosts(hosts), _part_of_split(free, emptiest, rest)] if emptiest >= 0 else None


def topology(free: FreeIndex, gpus: int, require_level: int = ANY_LEVEL, prefer_level: int = ANY_LEVEL) -> list[Row] | None:
    """Fewest levels crossed, best fit in each (as Slurm's topology plugin and Kueue's topology-aware scheduling pack).

    Less than a host goes to the split host with the fewest free GPUs that holds it, else to a whole host by the rule for more: the
    innermost unit that holds the gang is taken, of these the one with the fewest whole free hosts, of these the first. Where it takes
    several sub-units, those with the most whole free hosts are filled and the last is chosen by best fit, of equal ones
    the first. The remainder goes to the split host with the fewest free GPUs that holds it, of a block that the gang is in, else to
    another whole host of the unit, else to such a split host anywhere in the unit.

    With ``require_level`` nothing coarser is tried. ``prefer_level`` is what the search does anyway (a unit of that level before several
    of them), except for a rack smaller than the hosts that share its leaves: no switch tells such racks apart, so they count only when
    named. One host satisfies every level.
    """
    hosts, rest = divmod(gpus, free.gpus_per_host)
    if hosts == 0:
        host = free.split_host(rest)
        if host >= 0:
            return [_part_of_split(free, host, rest)]
        whole = _search(free, 1, 0, len(free.levels))
        return [_part_of_whole(whole[0], rest)] if whole else None
    if gpus == free.gpus_per_host:
        require_level = prefer_level = ANY_LEVEL
    depth = len(free.levels) if require_level == ANY_LEVEL else free.depths[require_level]
    if ANY_LEVEL < require_level < _RACK and not depth:
        return None
    if _RACK in (require_level, prefer_level) and free.depths[_RACK] == 0:
        rows = _in_small_rack(free, hosts, rest)
        if rows is not None or require_level == _RACK:
            return rows
    return _search(free, hosts, rest, depth) if free.whole >= hosts else None


def spread(free: FreeIndex, gpus: int, require_level: int = ANY_LEVEL, prefer_level: int = ANY_LEVEL) -> list[Row] | None:
    """Whole hosts distributed evenly over the cluster, outermost units first, as with Slurm's ``--spread-job``: the opposite of packing.

    The remainder goes to the split host with the fewest free GPUs that holds it, else to one more whole host. With ``require_level`` the
    gang is spread over the unit of that level with the most whole free hosts. A preferred level is not read. Gangs of up to
    a host, and of a rack whose hosts share all their leaves, have nothing to be spread over: they go where ``topology`` puts them.
    """
    hosts, rest = divmod(gpus, free.gpus_per_host)
    depth = len(free.levels) if require_level == ANY_LEVEL else free.depths[require_level]
    if gpus <= free.gpus_per_host or depth == 0:
        return topology(free, gpus, require_level, prefer_level)
    index = depth - 1
    holding = [host for host in free.split if _holds(free, host, rest)] if rest else []
    for negative, unit in sorted((-count, unit) for unit, count in enumerate(free.levels[index].counts) if count >= hosts):
        inside = [host for host in holding if free.unit_of_block(index, free.host_block[host]) == unit]
        if not rest:
            return deal(free, index, unit, hosts)
        if inside:
            chosen = min(inside, key=lambda host: (free.split[host].bit_count(), host))
            return [*deal(free, index, unit, hosts), _part_of_split(free, chosen, rest)]
        if -negative > hosts:
            return _last_host_in_part(deal(free, index, unit, hosts + 1), rest)
    return None


PLACEMENTS: dict[str, Placement] = {"consolidate": consolidate, "topology": topology, "spread": spread}


def could_ever_fit(free: FreeIndex, gpus: int, require_level: int) -> bool:
    """Whether the gang fits on the empty, healthy hosts of the type, including hosts that are not in service yet."""
    needed = -(-gpus // free.gpus_per_host)
    if require_level == ANY_LEVEL or needed <= 1:
        return needed <= free.host_count
    depth = free.depths[require_level]
    if depth == 0:
        return require_level == _RACK and needed <= max((end - start for start, end in free.racks()), default=0)
    return needed <= free.levels[depth - 1].most_capacity()


def _search(free: FreeIndex, hosts: int, rest: int, depth: int) -> list[Row] | None:
    """``hosts`` whole hosts and ``rest`` GPUs on one more, in one unit of the innermost of the ``depth`` finest levels that has them."""
    split = [host for host in free.split if free.split[host].bit_count() >= rest and free.is_offered(host)] if rest else []
    for index in range(depth):
        level = free.levels[index]
        if not rest:
            unit = level.best(hosts)
            if unit >= 0:
                return _fill(free, index, unit, hosts)
            continue
        candidates = {free.unit_of_block(index, free.host_block[host]) for host in split}
        fitting = [(level.counts[unit], unit) for unit in candidates if level.counts[unit] >= hosts]
        unit = level.best(hosts + 1)
        if unit >= 0:
            fitting.append((level.counts[unit], unit))
        if fitting:
            return _fill_with_rest(free, index, min(fitting)[1], hosts, rest, split)
    return None


def _fill(free: FreeIndex, index: int, unit: int, hosts: int) -> list[Row]:
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
            return rows + _fill(free, index - 1, last, hosts)
        rows += _fill(free, index - 1, child, -negative)
        hosts += negative
    raise AssertionError("a unit has fewer free hosts than its counter says")


def _fill_with_rest(free: FreeIndex, index: int, unit: int, hosts: int, rest: int, split: list[int]) -> list[Row]:
    """As ``_fill``, and ``rest`` GPUs more; ``split`` are the split hosts that hold those."""
    rows = _fill(free, index, unit, hosts)
    blocks = {block for block, _, _ in rows}
    inside = [host for host in split if free.unit_of_block(index, free.host_block[host]) == unit]
    near = [host for host in inside if free.host_block[host] in blocks]
    if not near and free.levels[index].counts[unit] > hosts:
        return _last_host_in_part(_fill(free, index, unit, hosts + 1), rest)
    chosen = min(near or inside, key=lambda host: (free.split[host].bit_count(), host))
    return [*rows, _part_of_split(free, chosen, rest)]


def _in_small_rack(free: FreeIndex, hosts: int, rest: int) -> list[Row] | None:
    """As ``_search``, inside one rack, where racks are parts of blocks."""
    best: tuple[int, int, int] | None = None  # whole free hosts, block, mask of them
    best_split = -1
    for first, end in free.racks():
        block = free.host_block[first]
        idle = free.block_free[block] & ((1 << (end - first)) - 1) << (first - free.first_host[block])
        count = idle.bit_count()
        if count < hosts or (best is not None and count >= best[0]):
            continue
        split = min(
            ((free.split[host].bit_count(), host) for host in range(first, end) if _holds(free, host, rest)),
            default=(0, -1),
        )[1]
        if not rest or split >= 0 or count > hosts:
            best, best_split = (count, block, idle), split
    if best is None:
        return None
    _, block, idle = best
    if rest and best_split < 0:
        return _last_host_in_part([(block, lowest_bits(idle, hosts + 1), free.full)], rest)
    rows = [(block, lowest_bits(idle, hosts), free.full)]
    return [*rows, _part_of_split(free, best_split, rest)] if rest else rows


def _holds(free: FreeIndex, host: int, gpus: int) -> bool:
    """Whether ``host`` is split, offered, and has ``gpus`` free."""
    return host in free.split and gpus <= free.split[host].bit_count() and free.is_offered(host)


def _part_of_split(free: FreeIndex, host: int, gpus: int) -> Row:
    block = free.host_block[host]
    return block, 1 << (host - free.first_host[block]), lowest_bits(free.split[host], gpus)


def _part_of_whole(row: Row, gpus: int) -> Row:
    return row[0], row[1], (1 << gpus) - 1


def _last_host_in_part(rows: list[Row], rest: int) -> list[Row]:
    """``rows`` of whole hosts with all but ``rest`` GPUs of the last host given back."""
    block, mask, full = rows[-1]
    last = 1 << (mask.bit_length() - 1)
    whole = [(block, mask ^ last, full)] if mask != last else []
    return [*rows[:-1], *whole, (block, last, (1 << rest) - 1)]


def _emptiest_split_host(free: FreeIndex, rest: int) -> int:
    """The split host with the most free GPUs (at least ``rest``), the first such; -1 when there is none."""
    for gpus in range(free.gpus_per_host - 1, rest - 1, -1):
        host = free.first_split(gpus)
        if host >= 0:
            return host
    return -1
