"""How the uplinks of several units are spread over the switches of the bank above them, and what two units then share.

Every unit spreads its cables evenly: cable k of L stands at (k + 1/2) / L, and the cables of all units in this order (at equal places by
unit) fill one switch after the other. So no switch has more than one cable more than another; where S switches divide L, each has exactly
L / S of a unit's; and among many units two small ones do not miss each other's switches, as neighbours can that are cabled in turn. The
switches of a unit, which have its cables in turn, spread theirs too.
"""

from functools import lru_cache

import numpy as np

from topology.cluster import Int32, Int64

#: Units compared with all others: a core has at most a port for each of as many pods as its radix.
_MOST_COMPARED = 256


def _stripes(lanes: Int64, switches: int) -> Int64:
    """Cables of every unit on every switch, shape (units, switches)."""
    total = int(lanes.sum())
    unit = np.repeat(np.arange(len(lanes)), lanes)
    number = np.arange(total) - (np.cumsum(lanes) - lanes)[unit]
    order = np.argsort((2 * number + 1) / (2 * lanes[unit]), kind="stable")
    every, more = divmod(total, switches)
    cell = unit[order] * switches + np.repeat(np.arange(switches), every + (np.arange(switches) < more))
    return np.bincount(cell, minlength=len(lanes) * switches).reshape(len(lanes), switches)


def striped(lanes: Int64, switches: int) -> Int32:
    """The switch, from 0, of every cable of units with ``lanes`` cables each, unit after unit, shape (sum of lanes,)."""
    cables = _stripes(lanes, switches)
    return np.repeat(np.broadcast_to(np.arange(switches, dtype=np.int32), cables.shape).ravel(), cables.ravel())


@lru_cache(maxsize=64)
def worst_pair_ratio(lanes: tuple[int, ...], switches: int) -> float:
    """Worst bandwidth between two units over the smaller one's uplinks, 0 to 1, given how the uplinks are `striped`.

    Between two units a switch carries min(cables of the one, cables of the other), so the pair has the sum of that over the switches, which
    counts of ports do not show. Of more than 256 units the 256 smallest are compared with all.
    """
    up = np.asarray(lanes, dtype=np.int64)
    if not (up % switches).any():
        return 1.0
    cables = _stripes(up, switches)
    worst = 1.0
    order = np.argsort(up, kind="stable")
    cables, up = cables[order], up[order]
    for unit in range(min(len(up) - 1, _MOST_COMPARED)):
        shared = np.minimum(cables[unit], cables[unit + 1 :]).sum(axis=1, dtype=np.int64)
        worst = min(worst, float((shared / up[unit]).min()))
    return worst
