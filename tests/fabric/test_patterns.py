"""Counts against an oracle that walks every edge of every ring, tree, pipeline and group."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.fabric.connections import connections
from emulator.fabric.pairs import Pairs, exchange_pairs, join, neighbour_pairs, ring_pairs, tree_pairs
from emulator.fabric.patterns import exchange_lanes, neighbour_lanes, strided_lanes, tree_edges, tree_parent
from emulator.workload.jobs import TrainingShape


def tree_of(members: int) -> list[tuple[int, int]]:
    """The two trees as NCCL's ncclGetDtree builds them, as (child, parent)."""

    def parent(rank: int) -> int:
        bit = 1
        while not rank & bit:
            bit *= 2
        up = (rank ^ bit) | (bit << 1)
        return rank ^ bit if up >= members else up

    first = [(rank, parent(rank)) for rank in range(1, members)]
    if members % 2:
        return first + [((child + 1) % members, (up + 1) % members) for child, up in first]
    return first + [(members - 1 - child, members - 1 - up) for child, up in first]


def edges(pattern: str, total: int, stride: int, stage: int, group: int) -> Iterator[tuple[int, int, float]]:
    """Every (source lane, target lane, lanes) of a pattern."""
    if pattern in ("ring", "tree"):
        for place in range(stride):
            members = range(place, total, stride)
            count = len(members)
            if pattern == "ring" and count > 1:
                yield from ((members[k], members[(k + 1) % count], 1.0) for k in range(count))
            elif count > 1:
                for child, parent in tree_of(count):
                    yield members[child], members[parent], 1 / min(4, count)
                    yield members[parent], members[child], 1 / min(4, count)
    elif pattern == "stages":
        for lane in range(total - stage):
            if lane % stride + stage < stride:
                yield lane, lane + stage, 1.0
                yield lane + stage, lane, 1.0
    else:
        for first in range(0, total, group):
            members = range(first, min(total, first + group))
            yield from ((one, other, 1 / (len(members) - 1)) for one in members for other in members if one != other)


CASES = st.integers(1, 6).flatmap(
    lambda stride: st.tuples(st.just(stride), st.integers(1, 9), st.integers(1, stride), st.integers(2, 12), st.data())
)


@pytest.mark.parametrize("pattern", ["ring", "tree", "stages", "groups"])
@given(case=CASES)
@settings(max_examples=150, deadline=None)
def test_lanes_and_pairs_are_those_of_a_walk_over_every_edge(pattern: str, case: tuple[int, int, int, int, st.DataObject]) -> None:
    stride, replicas, stage, group, data = case
    total = stride * replicas
    inner = data.draw(st.lists(st.integers(0, total), max_size=4))
    bounds = np.array(sorted({0, total, *inner}), dtype=np.float64)
    unit = np.searchsorted(bounds, np.arange(total), side="right") - 1
    expected: dict[tuple[int, int], float] = defaultdict(float)
    for source, target, lanes in edges(pattern, total, stride, stage, group):
        if unit[source] != unit[target]:
            expected[unit[source], unit[target]] += lanes
    out = [sum(lanes for (one, _), lanes in expected.items() if one == number) for number in range(len(bounds) - 1)]
    begin, end = bounds[:-1], bounds[1:]
    counted = {
        "ring": lambda: strided_lanes("ring", begin, end, total, stride),
        "tree": lambda: strided_lanes("tree", begin, end, total, stride),
        "stages": lambda: neighbour_lanes(begin, end, total, stage, stride),
        "groups": lambda: exchange_lanes(begin, end, total, group, 1.0),
    }[pattern]()
    np.testing.assert_allclose(counted, out, atol=1e-9)
    pairs: Pairs = join(
        {
            "ring": lambda: ring_pairs(bounds, stride),
            "tree": lambda: tree_pairs(bounds, stride),
            "stages": lambda: neighbour_pairs(bounds, stage, stride),
            "groups": lambda: exchange_pairs(bounds, group, 1.0),
        }[pattern]()
    )
    found = dict(zip(zip(pairs.source.tolist(), pairs.target.tolist(), strict=True), pairs.lanes.tolist(), strict=True))
    assert found == pytest.approx(dict(expected))


@pytest.mark.parametrize("pattern", ["ring", "tree", "stages"])
@given(case=CASES)
@settings(max_examples=100, deadline=None)
def test_connections_are_the_edges_one_by_one(pattern: str, case: tuple[int, int, int, int, st.DataObject]) -> None:
    stride, replicas, stage, group, _ = case
    total = stride * replicas
    expected: dict[tuple[int, int], float] = defaultdict(float)
    for source, target, lanes in edges(pattern, total, stride, stage, group):
        expected[source, target] += lanes
    ring, stages = (0.0, 1.0) if pattern == "stages" else (1.0, 0.0)
    shape = TrainingShape(1.0, ring, 0.0, 0.0, 1.0, collective="tree" if pattern == "tree" else "ring", pipeline_bytes=stages)
    found: dict[tuple[int, int], float] = defaultdict(float)
    made = connections(np.ones(total, dtype=np.int64), shape, stride, stage)
    for source, target, weight in zip(made.source.tolist(), made.target.tolist(), made.weight.tolist(), strict=True):
        found[source, target] += weight * shape.lane_bytes
    assert dict(found) == pytest.approx(dict(expected))


def test_rings_that_cross_by_hand() -> None:
    """24 lanes in replicas of 8, a unit with lanes 4 to 16: 12 inside and 12 outside, so max(0, min(8, 12) + min(8, 12) - 8) = 8. With 3
    lanes inside, 3 + 8 - 8 = 3 rings cross.
    """
    assert strided_lanes("ring", np.array([4.0, 4.0]), np.array([16.0, 7.0]), 24.0, 8.0).tolist() == [8.0, 3.0]


def test_the_tree_of_14_is_that_of_ncclgetbtree() -> None:
    """The drawing in NCCL's src/graph/trees.cc: 0 above 8, 8 above 4 and 12, 12 above 10 and 13, 4 above 2 and 6."""
    assert tree_parent(14).tolist() == [-1, 2, 4, 2, 8, 6, 4, 6, 0, 10, 12, 10, 8, 12]


@given(st.integers(2, 300))
def test_a_half_of_a_tree_has_few_edges_to_the_other(members: int) -> None:
    """That is what trees in order are for: O(log n) edges between ranges, where a random tree would have about n / 2."""
    half = np.array([members // 2])
    assert tree_edges(np.array([0]), half, members)[0] <= 3 * np.log2(members) + 2
