"""Adaptive routing of a dragonfly by the demand of all jobs: the part of the traffic between two groups that takes detours.

UGAL (Singh, PhD thesis, Stanford 2005; Kim et al., ISCA'08, 4.2; Slingshot: De Sensi et al., SC'20) sends a packet directly unless the
queues there are longer than those of a detour by another group. As a fluid: a pair keeps on its direct links what fits below some *level*
of load, with what others' detours put there, and spills the rest over all other groups in equal parts. The level is the least at
which everything fits, and at least the links' capacity: nothing is spilled while the direct links are not full.

For a given level the spills have a least solution (they grow with the load that they cause), found by iterating from none. If any
division of the pairs' traffic between direct links and equal detours stays below a level, then so does this one, for its spills are no
larger: no link between groups is loaded more than by the best of them, minimal and Valiant's included, but for the step of levels and
parts. Where a group can do no better its pairs stay at their level, and that of the others goes on falling.

The result is a function of the demand and the links' health alone.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.draws.exact import exp2
from emulator.draws.sums import add_up
from emulator.fabric.detours import first_legs, second_legs
from topology.cluster import Float64, Int64

#: Levels an octave, and the bits of a part's mantissa: less than 9 % and 6 % are lost, and small changes of demand turn no job's routes.
LEVELS, PART_BITS = 8, 4
#: Octaves that are looked at between the least and the most loaded direct links; loads beyond count as the nearest.
OCTAVES = 20
#: Iterations in which the spills at a level have to settle, and their relative change that counts as settled.
ITERATIONS, SETTLED = 60, 1e-4
#: Times that groups may turn out to be the bottleneck before the level of the rest is left as it is.
BOTTLENECKS = 12


def spill_parts(demand: Int64 | Float64, capacity: Float64, ways: Float64) -> Float64:
    """The part of the demand of each pair of groups that takes the detour, 0 to 1. All arrays are (groups, groups).

    ``demand`` and ``capacity`` (of the direct links as they are) have the same unit; ``ways`` are the groups by which a pair can go.
    """
    asked = np.asarray(demand, dtype=np.float64)
    joined = capacity > 0.0
    if not bool((asked > capacity).any()):
        return np.zeros_like(asked)
    problem = _Problem(asked, capacity, joined, ways)
    level = np.full(asked.shape, LEVELS * OCTAVES)
    found = problem.spills(level, np.zeros_like(asked))[0]
    low, high = -1, LEVELS * OCTAVES  # the least level for all is above the one and at most the other
    while high - low > 1:
        middle = (low + high) // 2
        spilled, over = problem.spills(np.full(asked.shape, middle), np.zeros_like(asked))
        if over is None:
            high, found = middle, spilled
        else:
            low = middle
    level[:] = high
    falling = np.ones(asked.shape, dtype=np.bool_)
    bottlenecks = 0
    while bottlenecks < BOTTLENECKS and bool((falling & (level > 0)).any()):
        lower = level - (falling & (level > 0))
        spilled, over = problem.spills(lower, found)
        if over is None:
            level, found = lower, spilled
            continue
        bottlenecks += 1
        leaving, entering = over
        falling_before = int(falling.sum())
        falling[leaving.any(axis=1)] = False
        falling[:, entering.any(axis=0)] = False
        if int(falling.sum()) == falling_before:
            falling[(leaving | entering).any(axis=1)] = False
            falling[:, (leaving | entering).any(axis=0)] = False
    return _rounded(found, asked)


#: Overloaded pairs, by what more of the load comes from: traffic that leaves the source group, or that enters the target group.
_Over = tuple[NDArray[np.bool_], NDArray[np.bool_]]


class _Problem:
    def __init__(self, asked: Float64, capacity: Float64, joined: NDArray[np.bool_], ways: Float64) -> None:
        self._asked, self._capacity, self._joined = asked, capacity, joined
        self._can_turn, self._ways = ways > 0.0, np.maximum(1.0, ways)
        self._enough = SETTLED * add_up(asked)

    def spills(self, level: NDArray[np.integer], spilled: Float64) -> tuple[Float64, _Over | None]:
        """The least spills at these levels, from some that are no larger; and the pairs whose links are overloaded by detours alone."""
        room = self._capacity * exp2(level / LEVELS)
        for _ in range(ITERATIONS):
            by_way = spilled / self._ways
            leaving, entering = first_legs(by_way, self._joined), second_legs(by_way, self._joined)
            detours = leaving + entering
            over = detours > room * (1.0 + SETTLED)
            if bool(over.any()):
                return spilled, (over & (leaving >= entering), over & (leaving < entering))
            more = np.where(self._can_turn, np.maximum(0.0, self._asked - np.maximum(0.0, room - detours)), 0.0)
            if add_up(more - spilled) <= self._enough:
                return more, None
            spilled = more
        over = detours > 0.5 * room  # it would take too long to settle
        return spilled, (over & (leaving >= entering), over & (leaving < entering))


def _rounded(spilled: Float64, asked: Float64) -> Float64:
    """Parts whose rest has few bits, rounded so that no more stays on the direct links."""
    direct = 1.0 - np.divide(spilled, asked, out=np.zeros_like(asked), where=asked > 0.0)
    mantissa, exponent = np.frexp(np.clip(direct, 0.0, 1.0) + 2.0**-40)
    steps = float(1 << (PART_BITS + 1))
    direct = np.ldexp(np.floor(mantissa * steps) / steps, exponent)
    return np.asarray(1.0 - np.where(direct < 2.0**-12, 0.0, direct))
