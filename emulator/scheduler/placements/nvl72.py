"""NVL72 blocks with segments and spares: for clusters whose NVLink domains are racks of several hosts (18 trays of 4 GPUs).

As Slurm's topology/block plugin places (slurm.schedmd.com/topology.html): a domain is a block, and a slice of the domain's level is what
``--segment`` asks for. In each domain ``spares`` trays are kept free as long as others have room: two of 18 by default, since operators
guarantee 16 of the 18 trays of a rack, and train on 64 of its 72 GPUs. When a tray fails, the job that starts again has another one in the
same domain.

A job that one domain holds goes into one: best fit among the domains that keep their spares, else among all. So small jobs fill the domains
that are broken into, and whole ones stay for large jobs. A larger job takes whole segments of as few domains as hold it, the emptiest first
and the last by best fit, in the innermost unit that has room beside the spares. There a tray that is down counts as a spare.

Where there is no room beside the spares, and for slices of other levels than the domain's, the job goes where ``topology`` puts it. So it
does on clusters whose domains are single hosts.
"""

from emulator.scheduler.free import FreeIndex, Row, lowest_bits
from emulator.scheduler.packing import fewest_free, fill_with_rest, holds, last_host_in_part, search
from emulator.scheduler.placement import Ask, Placement
from emulator.scheduler.placements import topology
from emulator.scheduler.policy import Count
from emulator.scheduler.slices import Cut, cut_of, pack_slices, search_slices
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES

DOMAIN = LEVEL_NAMES.index("domain")


def place(free: FreeIndex, ask: Ask, spares: Count = 2) -> list[Row] | None:
    """``spares``: trays of each domain that are kept free as long as others have room."""
    required, cut = ask.require_level, None
    if ask.slice_gpus:
        required, cut = cut_of(ask.gpus, required, ask.slice_gpus, ask.slice_level, free.gpus_per_host)
    rows = None
    inner = required if cut is None else cut.level
    if free.depths[DOMAIN] == 1 and ask.milli_gpus == 1000 and not ANY_LEVEL < inner < DOMAIN:
        hosts, rest = divmod(ask.gpus, free.gpus_per_host)
        if hosts or free.split_host(rest) < 0:
            rows = _in_one_domain(free, hosts, rest, spares)
            if rows is None and hosts:
                rows = _in_several(free, hosts + (rest > 0), rest, spares, required, cut)
    if rows is not None:
        return rows
    if cut is not None:
        return pack_slices(free, ask.gpus, required, ask.prefer_level, cut)
    return topology.place(free, ask._replace(require_level=required))


def _in_one_domain(free: FreeIndex, hosts: int, rest: int, spares: int) -> list[Row] | None:
    """Whole trays, and ``rest`` GPUs on one more, in one domain; of those, one that keeps its spares before others."""
    trays = hosts + (rest > 0)
    domain = free.levels[0].best(trays + spares)
    if domain < 0:
        return search(free, hosts, rest, 1) if hosts else None
    if not hosts or not rest:
        rows = _lowest(free, domain, trays)
        return last_host_in_part(rows, rest) if rest else rows
    split = [host for host in free.split if holds(free, host, rest)]
    return fill_with_rest(free, 0, domain, hosts, rest, split, fewest_free)


def _in_several(free: FreeIndex, trays: int, rest: int, spares: int, required: int, cut: Cut | None) -> list[Row] | None:
    """Whole segments of trays in as few domains as hold them beside their spares; of the last tray ``rest`` GPUs, where there is a rest."""
    if cut is not None and free.depths[cut.level] != 1:
        return None
    size = 1 if cut is None else cut.hosts
    depth = len(free.levels) if required == ANY_LEVEL else free.depths[required]
    room = [usable // size for usable in _usable(free, spares)]
    rows = search_slices(free, 0, depth, room, trays // size, lambda domain, segments: _lowest(free, domain, segments * size))
    return last_host_in_part(rows, rest) if rows and rest else rows


def _lowest(free: FreeIndex, domain: int, trays: int) -> list[Row]:
    return [(domain, lowest_bits(free.block_free[domain], trays), free.full)]


def _usable(free: FreeIndex, spares: int) -> list[int]:
    """By domain, how many more of its trays may be used, so that ``spares`` are not, those that are down included."""
    level = free.levels[0]
    return [
        max(0, min(idle, size - spares - (free.offered(domain).bit_count() - idle)))
        for domain, (size, idle) in enumerate(zip(level.capacity, level.counts, strict=True))
    ]


PLACEMENT = Placement("nvl72", place, slices=True)
