"""The opposite of packing: hosts distributed evenly over the cluster."""

from emulator.scheduler.free import FreeIndex, Row, lowest_bits


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
