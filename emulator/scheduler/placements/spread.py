"""Whole hosts distributed evenly over the cluster, outermost units first, as with Slurm's ``--spread-job``: the opposite of packing.

The remainder goes to the split host with the fewest free GPUs that holds it, else to one more whole host. With a required level the
gang is spread over the unit of that level with the most whole free hosts. A preferred level is not read. Gangs of up to
a host, and of a rack whose hosts share all their leaves, have nothing to be spread over: they go where ``topology`` puts them.
"""

from emulator.scheduler.free import FreeIndex, Row, lowest_bits
from emulator.scheduler.packing import fewest_free, holds, last_host_in_part, part_of_split
from emulator.scheduler.placement import Ask, Placement
from emulator.scheduler.placements import topology
from emulator.workload.jobs import ANY_LEVEL


def place(free: FreeIndex, ask: Ask) -> list[Row] | None:
    """Where the job goes now."""
    hosts, rest = divmod(ask.gpus, free.gpus_per_host)
    depth = len(free.levels) if ask.require_level == ANY_LEVEL else free.depths[ask.require_level]
    if ask.gpus <= free.gpus_per_host or depth == 0:
        return topology.place(free, ask)
    index = depth - 1
    holding = [host for host in free.split if holds(free, host, rest)] if rest else []
    for negative, unit in sorted((-count, unit) for unit, count in enumerate(free.levels[index].counts) if count >= hosts):
        inside = [host for host in holding if free.unit_of_block(index, free.host_block[host]) == unit]
        if not rest:
            return deal(free, index, unit, hosts)
        if inside:
            chosen = min(inside, key=lambda host: fewest_free(free, host))
            return [*deal(free, index, unit, hosts), part_of_split(free, chosen, rest)]
        if -negative > hosts:
            return last_host_in_part(deal(free, index, unit, hosts + 1), rest)
    return None


def deal(free: FreeIndex, index: int, unit: int, hosts: int) -> list[Row]:
    """``hosts`` whole hosts of ``unit``, of search level ``index``, which has as many free; rows in order of block.

    They are dealt evenly over the units of the next finer level, in each of these over the units inside, and so on down to the blocks.
    A unit that has fewer free hosts than its part gives all of them, and the others share the rest. A remainder of the division goes to the
    units with the most free hosts, and among equal ones to the first.
    """
    if index == 0:
        return [(unit, lowest_bits(free.block_free[unit], hosts), free.full)]
    level, counts = free.levels[index], free.levels[index - 1].counts
    children = range(level.first_child[unit], level.first_child[unit + 1])
    parts: dict[int, int] = {}
    # Fewest free first: each gives an even part of what is left to give, or all it has.
    for place, child in enumerate(sorted(children, key=lambda child: (counts[child], -child))):
        parts[child] = min(counts[child], hosts // (len(children) - place))
        hosts -= parts[child]
    return [row for child in children if parts[child] for row in deal(free, index - 1, child, parts[child])]


PLACEMENT = Placement("spread", place)
