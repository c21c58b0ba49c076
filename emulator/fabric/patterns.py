"""How many lanes of a job cross out of a unit of the hierarchy, from counts and never from pairs of hosts.

A job's GPUs stand in order of host number, and units are ranges of hosts, so a unit holds a range ``begin`` to ``end`` of the job's
``total`` lanes. Lanes are GPUs, or GPUs of one rail; strides and ranges may be fractions of a lane where GPUs do not divide evenly over
rails (a fluid; exact where they do). Every function works on arrays of units, and gives the lanes that cross each way: what enters
a unit is what leaves it.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.draws.sums import add_along

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

COLLECTIVES = ("ring", "tree")


def member_lanes(collective: str, begin: Int64, end: Int64, members: Int64 | int) -> Float64:
    """Lanes that cross out of the unit that holds members ``begin`` to ``end`` of one ring (or double tree) of ``members``."""
    if collective == "tree":
        return tree_edges(begin, end, members) / tree_degree(members)
    inside = end - begin
    return ((inside > 0) & (inside < members)).astype(np.float64)


def strided_lanes(collective: str, begin: Float64, end: Float64, total: float, stride: float) -> Float64:
    """Lanes that cross where rings (or double trees) of lanes ``p, p + stride, ...`` run for every p below ``stride``.

    A ring goes through its members in order, so it leaves any range that holds some but not all of them once and comes back once: with
    whole replicas, max(0, min(R, m) + min(R, n - m) - R) of a range of m of n lanes. The members before lane x of ring p are
    ``floor(x / R)``, and one more where p is below the remainder: three ends cut the rings into four classes.
    """
    ends = np.stack([begin, end, np.full_like(begin, total)])  # (3, units)
    whole = np.floor(ends / stride)
    cuts = ends - whole * stride
    edges = np.sort(np.concatenate([np.zeros((1, begin.size)), cuts, np.full((1, begin.size), stride)]), axis=0)
    width = np.diff(edges, axis=0)  # (4, units): rings of each class
    ring = (edges[:-1] + edges[1:]) / 2.0
    first, last, members = (whole[:, None, :] + (ring[None] < cuts[:, None, :])).astype(np.int64)
    return add_along(width * member_lanes(collective, first, last, members), axis=0)


def tree_edges(begin: Int64, end: Int64, members: Int64 | int) -> Float64:
    """Edges of NCCL's double binary tree over ``members`` that join its members ``begin`` to ``end`` with the others.

    Sanders, Speck, Traeff, Parallel Computing 35 (2009); NCCL src/graph/trees.cc: the second tree is the first one mirrored for an even
    number of members, else shifted by one.
    """
    begin, end, members = np.broadcast_arrays(begin, end, members)
    even = members % 2 == 0
    wrapped = ~even & (begin == 0)  # shifted by one, the range would wrap: what is outside of it has the same edges
    low = np.where(even, members - end, np.where(wrapped, end - 1, begin - 1))
    high = np.where(even, members - begin, np.where(wrapped, members - 1, end - 1))
    some = (end > begin) & (end - begin < members)
    return np.where(some, _range_edges(begin, end, members) + _range_edges(low, high, members), 0).astype(np.float64)


def tree_degree(members: Int64 | int) -> Int64:
    """Edges of the busiest member, and hence edges to a lane: three as an inner node of one tree and one as a leaf of the other.

    Half of the bytes run on either tree, up and back down each edge, so every edge carries S / 2 each way.
    """
    return np.minimum(4, np.maximum(1, members))


def tree_parent(members: int) -> Int64:
    """The parent of every member in the first tree, -1 for the root, 0."""
    number = np.arange(members, dtype=np.int64)
    low = number & -number
    up = (number ^ low) | (low << 1)
    parent = np.where(up < members, up, number ^ low)
    parent[0] = -1
    return parent


def _range_edges(begin: Int64, end: Int64, members: Int64) -> Int64:
    """Edges of the first tree between members ``begin`` to ``end`` and the others.

    A member whose lowest bit is b has its parent b further or, in every other place and at the far end, b before. So each level b cuts
    the members into tiles of 2 b with one edge, over half of the tile; an edge leaves the range where it spans one of its two ends.
    """
    edges = np.zeros(begin.shape, dtype=np.int64)
    bit = 1
    while bit < int(members.max(initial=0)):
        spans = []
        for cut in (begin, end):
            tile = (cut - 1) // (2 * bit)
            child = (2 * tile + 1) * bit
            before = (tile % 2 == 1) | (child + bit >= members)
            first_half = (cut - 1) // bit % 2 == 0
            spans.append(((cut > 0) & (cut < members) & (child < members) & (first_half == before), tile))
        (at_begin, left), (at_end, right) = spans
        edges += at_begin.astype(np.int64) + at_end - 2 * (at_begin & at_end & (left == right))
        bit *= 2
    return edges


def neighbour_lanes(begin: Float64, end: Float64, total: float, stage: float, replica: float) -> Float64:
    """Pairs of lanes ``stage`` apart within one ``replica`` that have one end in the unit: a lane to the next stage, and one back."""

    def sources(lane: Float64) -> Float64:
        return stage_sources(lane, total, stage, replica)

    out = sources(end) - sources(np.maximum(begin, end - stage))
    into = sources(np.minimum(begin, end - stage)) - sources(begin - stage)
    return np.asarray(np.where(end > begin, out + into, 0.0))


def stage_sources(lane: Float64, total: float, stage: float, replica: float) -> Float64:
    """Lanes below ``lane`` that have a next stage: i has one where ``i mod replica`` is below ``replica - stage``."""
    lane = np.minimum(np.maximum(lane, 0.0), max(0.0, total - stage))
    whole = np.floor(lane / replica)
    return np.asarray(whole * (replica - stage) + np.minimum(lane - whole * replica, replica - stage))


def exchange_lanes(begin: Float64, end: Float64, total: float, group: float, local: float) -> Float64:
    """Lanes that cross in all-to-alls of groups of ``group`` consecutive lanes, where up to ``local`` of them share a scale-up domain.

    A lane sends equal parts to the members of its group outside its domain, so of a group with m lanes in the unit, m (g - m) / (g - l)
    cross. Only the groups at the two ends of a unit are cut.
    """
    if local >= group:
        return np.zeros_like(begin)

    def cut(inside: Float64, size: Float64) -> Float64:
        return np.where(size > local, inside * (size - inside) / np.maximum(size - local, 1e-300), 0.0)

    first, last = np.floor(begin / group), np.ceil(end / group) - 1.0
    first_size, last_size = (np.minimum(group, total - number * group) for number in (first, last))
    alone = first >= last
    left = np.where(alone, end - begin, (first + 1.0) * group - begin)
    right = np.where(alone, 0.0, end - last * group)
    return np.asarray(np.where(end > begin, cut(left, first_size) + np.where(alone, 0.0, cut(right, last_size)), 0.0))
