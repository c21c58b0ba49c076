"""Where a gang goes. Pure choices: rows in terms of the free-GPU index, nothing taken.

A gang of n GPUs gets ``n // g`` whole hosts of g GPUs, and the rest on one more host. It is never torn into smaller pieces: a gang
spread over half-used hosts would cross the fabric where NVLink could have served it.
"""

from collections.abc import Callable

from emulator.scheduler.free import FreeIndex, Row, lowest_bits
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES

#: A placement policy: (index, gpus, required level) -> rows, or None when it does not fit now.
Placement = Callable[[FreeIndex, int, int], list[Row] | None]


def consolidate(free: FreeIndex, gpus: int, require_level: int = ANY_LEVEL) -> list[Row] | None:
    """Best fit on one host, whole hosts in order of number for more (the rule of the Helios and Philly reference schedules).

    Up to a host's worth goes to the host with the fewest free GPUs that still holds it, the first such; more takes whole free hosts and
    the remainder from the next host in order of most free GPUs (stable). A required level is met by ``topology``'s search.
    """
    if require_level != ANY_LEVEL:
        return topology(free, gpus, require_level)
    hosts, rest = divmod(gpus, free.gpus_per_host)
    if hosts == 0:
        host = free.split_host(rest)
        if host >= 0:
            return [_part_of_split(free, host, rest)]
        return [_part_of_whole(free.first_whole_hosts(1)[0], rest)] if free.whole else None
    if free.whole < hosts or (rest and free.whole == hosts and free.split_host(rest) < 0):
        return None
    if not rest:
        return free.first_whole_hosts(hosts)
    if free.whole > hosts:
        return _last_host_in_part(free.first_whole_hosts(hosts + 1), rest)
    return [*free.first_whole_hosts(hosts), _part_of_split(free, _fullest_split_host(free, rest), rest)]


def topology(free: FreeIndex, gpus: int, require_level: int = ANY_LEVEL) -> list[Row] | None:
    """Fewest levels crossed, best fit in each (as Slurm's topology plugin and Kueue's topology-aware scheduling pack).

    The innermost unit that holds the gang is taken, the fullest such; where it takes several sub-units, the emptiest are filled whole
    and the last is chosen by best fit. With ``require_level`` (index into LEVEL_NAMES) nothing coarser is tried.
    """
    hosts, rest = divmod(gpus, free.gpus_per_host)
    if hosts == 0:
        host = free.split_host(rest)
        if host >= 0:
            return [_part_of_split(free, host, rest)]
        whole = whole_hosts(free, 1)
        return [_part_of_whole(whole[0], rest)] if whole else None
    if require_level != ANY_LEVEL:
        rows = whole_hosts_within(free, hosts + (rest > 0), require_level)
        return _last_host_in_part(rows, rest) if rows and rest else rows
    if free.whole < hosts:
        return None
    if not rest:
        return whole_hosts(free, hosts)
    rows = whole_hosts(free, hosts)
    if rows is None:
        return None
    near = _split_host_in(free, rows[-1][0], rest)
    if near >= 0:
        return [*rows, _part_of_split(free, near, rest)]
    if free.whole > hosts:
        more = whole_hosts(free, hosts + 1)
        return _last_host_in_part(more, rest) if more else None
    far = free.split_host(rest)
    return [*rows, _part_of_split(free, far, rest)] if far >= 0 else None


PLACEMENTS: dict[str, Placement] = {"consolidate": consolidate, "topology": topology}


def whole_hosts(free: FreeIndex, hosts: int) -> list[Row] | None:
    """``hosts`` whole hosts in the innermost unit that has them, by best fit."""
    for index, level in enumerate(free.levels):
        unit = level.best(hosts)
        if unit >= 0:
            return _fill(free, index, unit, hosts)
    return None


def whole_hosts_within(free: FreeIndex, hosts: int, require_level: int) -> list[Row] | None:
    """As ``whole_hosts``, inside one unit of the required level."""
    name = LEVEL_NAMES[require_level]
    if name == "host":
        return whole_hosts(free, 1) if hosts == 1 else None
    if name == "rack" and all(level.name != "rack" for level in free.levels):
        return _hosts_in_rack(free, hosts)
    allowed = _search_depth(free, name)
    for index in range(allowed):
        unit = free.levels[index].best(hosts)
        if unit >= 0:
            return _fill(free, index, unit, hosts)
    return whole_hosts(free, 1) if allowed == 0 and hosts == 1 else None


def could_ever_fit(free: FreeIndex, gpus: int, require_level: int) -> bool:
    """Whether the gang fits on the empty, healthy cluster."""
    hosts, rest = divmod(gpus, free.gpus_per_host)
    needed = hosts + (rest > 0)
    if require_level == ANY_LEVEL or needed <= 1:
        return needed <= free.host_count
    name = LEVEL_NAMES[require_level]
    if name == "host":
        return False
    if name == "rack" and all(level.name != "rack" for level in free.levels):
        return needed <= max(end - start for start, end in zip(free.rack_first, free.rack_first[1:], strict=False))
    allowed = _search_depth(free, name)
    return allowed > 0 and needed <= free.levels[allowed - 1].most_capacity()


def _search_depth(free: FreeIndex, name: str) -> int:
    """How many search levels are at most as coarse as the level called ``name`` (which may coincide with one under another name)."""
    rank = LEVEL_NAMES.index(name)
    return sum(1 for level in free.levels if level.name in LEVEL_NAMES and LEVEL_NAMES.index(level.name) <= rank)


def _fill(free: FreeIndex, index: int, unit: int, hosts: int) -> list[Row]:
    if index == 0:
        return [(unit, lowest_bits(free.block_free[unit], hosts), free.full)]
    level, finer = free.levels[index], free.levels[index - 1].counts
    first, end = level.first_child[unit], level.first_child[unit + 1]
    children = sorted((-finer[child], child) for child in range(first, end) if finer[child])
    rows: list[Row] = []
    for position, (negative, child) in enumerate(children):
        if -negative >= hosts:
            # The last part: the child that it fills best, which is the last of those that hold it.
            _, last = max((n, -c) for n, c in children[position:] if -n >= hosts)
            return rows + _fill(free, index - 1, -last, hosts)
        rows += _fill(free, index - 1, child, -negative)
        hosts += negative
    raise AssertionError("a unit has fewer free hosts than its counter says")


def _hosts_in_rack(free: FreeIndex, hosts: int) -> list[Row] | None:
    best: tuple[int, Row] | None = None
    for first, end in zip(free.rack_first, free.rack_first[1:], strict=False):
        block = free.host_block[first]
        inside = ((1 << (end - first)) - 1) << (first - free.first_host[block])
        idle = free.block_free[block] & inside
        if idle.bit_count() >= hosts and (best is None or idle.bit_count() < best[0]):
            best = idle.bit_count(), (block, lowest_bits(idle, hosts), free.full)
    return [best[1]] if best else None


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


def _fullest_split_host(free: FreeIndex, rest: int) -> int:
    """The split host with the most free GPUs (at least ``rest``), the first such."""
    for gpus in range(free.gpus_per_host - 1, rest - 1, -1):
        host = free.first_split(gpus)
        if host >= 0:
            return host
    return -1


def _split_host_in(free: FreeIndex, block: int, gpus: int) -> int:
    """The split host of ``block`` with the fewest free GPUs that are at least ``gpus``; -1 when there is none."""
    best, chosen = free.gpus_per_host, -1
    for host in range(free.first_host[block], free.first_host[block + 1]):
        mask = free.split.get(host)
        if mask is not None and gpus <= mask.bit_count() < best and free.is_offered(host):
            best, chosen = mask.bit_count(), host
    return chosen
