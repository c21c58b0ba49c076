"""Which units of the hierarchy a job's lanes run between, from counts: as `fabric.patterns`, but by pairs of units.

Needed where units are joined by links of their own (a dragonfly's chassis and groups, sites), rather than to a switch above. Units hold
consecutive ranges of the job's lanes: unit i has lanes ``bounds[i]`` up to ``bounds[i + 1]``. A pattern is a few shifts: lane x sends to
lane x + shift, wherever a measure says so; what is between two units is then an overlap of ranges.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from emulator.draws.sums import add_up
from emulator.fabric.patterns import Float64, Int64, stage_sources, tree_degree, tree_parent

#: Pairs of units up to which adding them up in a table is cheaper than sorting.
MOST_DENSE = 1 << 20

Measure = Callable[[Float64], Float64]  # lanes below x that take part


class Pairs(NamedTuple):
    """Lanes from one unit to another, all of shape (pairs,); a pair may come several times."""

    source: Int64
    target: Int64
    lanes: Float64


def join(parts: list[Pairs]) -> Pairs:
    """All of them, those of the same two units added up."""
    if not parts:
        return Pairs(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    source, target, lanes = (np.concatenate(column) for column in zip(*parts, strict=True))
    units = int(max(source.max(initial=0), target.max(initial=0))) + 1
    key = source * units + target
    if units * units <= MOST_DENSE:
        total = np.bincount(key, lanes, units * units).astype(np.float64)
        key = np.flatnonzero(total)
        return Pairs(key // units, key % units, total[key])
    key, where = np.unique(key, return_inverse=True)
    return Pairs(key // units, key % units, np.bincount(where, lanes, len(key)).astype(np.float64))


def reverse(pairs: Pairs) -> Pairs:
    """The same lanes, sending the other way."""
    return Pairs(pairs.target, pairs.source, pairs.lanes)


def shifted(bounds: Float64, shift: float, measure: Measure | None = None, low: float = 0.0, high: float = np.inf) -> Pairs:
    """Lanes x from ``low`` up to ``high`` that send to x + ``shift``, both in the job."""
    total = bounds[-1]
    low, high = max(low, 0.0, -shift), min(high, total, total - shift)
    if high <= low:
        return join([])
    cuts = np.unique(np.concatenate((bounds, bounds - shift, (low, high))))
    cuts = cuts[(cuts >= low) & (cuts <= high)]
    middle = (cuts[:-1] + cuts[1:]) / 2.0
    source = np.searchsorted(bounds, middle, side="right") - 1
    target = np.searchsorted(bounds, middle + shift, side="right") - 1
    lanes = np.diff(cuts if measure is None else measure(cuts))
    apart = (source != target) & (lanes > 0.0)
    return Pairs(source[apart], target[apart], lanes[apart])


def ring_pairs(bounds: Float64, stride: float) -> list[Pairs]:
    """Rings of lanes ``p, p + stride, ...``: each sends to the next one, the last to the first."""
    total = float(bounds[-1])
    last = np.floor(total / stride) * stride
    if total <= stride:
        return []
    return [
        shifted(bounds, stride),
        shifted(bounds, stride - last, low=total - stride, high=last),
        shifted(bounds, -last, low=last),
    ]


def tree_pairs(bounds: Float64, stride: float) -> list[Pairs]:
    """Double binary trees over the lanes ``p, p + stride, ...``, up and down every edge (``patterns.tree_edges``)."""
    members = round(float(bounds[-1]) / stride)
    if members < 2:
        return []
    first, number = tree_parent(members), np.arange(members)
    if members % 2 == 0:
        second = np.where(first[::-1] < 0, -1, members - 1 - first[::-1])
    else:
        at = (number - 1) % members
        second = np.where(first[at] < 0, -1, (first[at] + 1) % members)
    found = []
    for parent in (first, second):
        step = np.where(parent < 0, 0, parent - number)
        for jump in np.unique(step[step != 0]).tolist():
            here = step == jump
            before = np.concatenate(([0], np.cumsum(here))).astype(np.float64)

            def measure(lane: Float64, here: Int64 = here, before: Float64 = before) -> Float64:
                member = np.minimum(np.floor(lane / stride), members).astype(np.int64)
                inside = np.append(here, False)[member]
                return np.asarray(stride * before[member] + inside * (lane - member * stride))

            pairs = shifted(bounds, jump * stride, measure)
            pairs = pairs._replace(lanes=pairs.lanes / tree_degree(members))
            found += [pairs, reverse(pairs)]
    return found


def neighbour_pairs(bounds: Float64, stage: float, replica: float) -> list[Pairs]:
    """A lane to the next stage of the replica, and one back."""
    pairs = shifted(bounds, stage, lambda lane: stage_sources(lane, float(bounds[-1]), stage, replica))
    return [pairs, reverse(pairs)]


def exchange_pairs(bounds: Float64, group: float, local: float) -> list[Pairs]:
    """All-to-alls in groups of ``group`` consecutive lanes, with ``local`` of them in a domain (``patterns.exchange_lanes``)."""
    total = float(bounds[-1])
    if local >= group:
        return []
    cuts = np.unique(np.concatenate((bounds, np.arange(0.0, total, group))))
    middle = (cuts[:-1] + cuts[1:]) / 2.0
    unit, number, size = np.searchsorted(bounds, middle, side="right") - 1, np.floor(middle / group), np.diff(cuts)
    begin = np.flatnonzero(np.diff(number, prepend=-1.0))
    end = np.append(begin[1:], len(number))
    found = []
    for low, high in zip(begin.tolist(), end.tolist(), strict=True):
        mine = slice(low, high)
        members = add_up(size[mine])
        if high - low > 1 and members > local:
            lanes = size[mine, None] * size[None, mine] / (members - local)
            source, target = np.nonzero(~np.eye(high - low, dtype=bool))
            found.append(Pairs(unit[mine][source], unit[mine][target], lanes[source, target]))
    return found
