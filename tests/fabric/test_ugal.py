"""Detours of a dragonfly against linear programs: the best of all divisions between direct links and equal detours, and the best of all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog

from emulator.fabric.detours import first_legs, second_legs, way_counts
from emulator.fabric.ugal import LEVELS, PART_BITS, spill_parts

#: What the steps of levels and of parts may cost.
STEP = 2 ** (1 / LEVELS) * (1 + 2**-PART_BITS) ** 2


def linked(groups: int, links: float = 4.0) -> NDArray[np.float64]:
    return links * (1.0 - np.eye(groups))


def load_of(demand: NDArray[np.float64], capacity: NDArray[np.float64], part: NDArray[np.float64]) -> NDArray[np.float64]:
    alive = capacity > 0.0
    by_way = part * demand / np.maximum(1.0, way_counts(alive))
    return (1.0 - part) * demand + first_legs(by_way, alive) + second_legs(by_way, alive)


def most_loaded(demand: NDArray[np.float64], capacity: NDArray[np.float64], part: NDArray[np.float64]) -> float:
    """Of the links that are alive, relative to their capacity; at least 1, for below it nobody is held back."""
    alive = capacity > 0.0
    return max(1.0, float((load_of(demand, capacity, part)[alive] / capacity[alive]).max()))


def best_equal_detours(demand: NDArray[np.float64], capacity: NDArray[np.float64]) -> float:
    """The least that any parts can make of ``most_loaded``, by HiGHS: a part of each pair is a variable."""
    alive, ways = capacity > 0.0, way_counts(capacity > 0.0)
    pairs = np.argwhere(demand > 0.0)
    columns = []
    for pair in pairs:
        only = np.zeros_like(demand)
        only[tuple(pair)] = 1.0
        columns.append((load_of(demand * only, capacity, only) - demand * only)[alive])
    table = np.column_stack([*columns, -capacity[alive]])
    bounds = [(0.0 if alive[g, h] else 1.0, 1.0) if ways[g, h] else (0.0, 0.0) for g, h in pairs.tolist()]
    return float(linprog(np.append(np.zeros(len(pairs)), 1.0), A_ub=table, b_ub=-demand[alive], bounds=[*bounds, (1.0, None)]).fun)


def best_flow(demand: NDArray[np.float64], capacity: NDArray[np.float64]) -> float:
    """The least load of the most loaded link over all ways of any length (multi-commodity flow, a commodity a source)."""
    groups, arcs = len(demand), np.argwhere(capacity > 0.0)
    count = len(arcs)
    kept, net = np.zeros((groups * groups, groups * count + 1)), np.zeros(groups * groups)
    full = np.zeros((count, groups * count + 1))
    for source in range(groups):
        for arc, (u, v) in enumerate(arcs):
            kept[source * groups + u, source * count + arc] += 1.0
            kept[source * groups + v, source * count + arc] -= 1.0
            full[arc, source * count + arc] = 1.0
        net[source * groups : (source + 1) * groups] = -demand[source]
        net[source * groups + source] = demand[source].sum()
    full[:, -1] = -capacity[tuple(arcs.T)]
    goal = np.append(np.zeros(groups * count), 1.0)
    bounds = [(0.0, None)] * (groups * count) + [(1.0, None)]
    return float(linprog(goal, A_ub=full, b_ub=np.zeros(count), A_eq=kept, b_eq=net, bounds=bounds).fun)


@st.composite
def demands(draw: st.DrawFn, groups: int) -> NDArray[np.float64]:
    """Shifts, random pairs and a background, as jobs' rings, stages and all-to-alls make them."""
    rng, demand = np.random.default_rng(draw(st.integers(0, 10**6))), np.zeros((groups, groups))
    for shift in draw(st.lists(st.integers(1, groups - 1), max_size=2)):
        demand[np.arange(groups), (np.arange(groups) + shift) % groups] += draw(st.floats(0.0, 60.0))
    for _ in range(draw(st.integers(0, 3 * groups))):
        demand[tuple(rng.integers(0, groups, 2))] += rng.exponential(8.0)
    demand += draw(st.sampled_from([0.0, 3.0])) * rng.random((groups, groups))
    np.fill_diagonal(demand, 0.0)
    return demand


def test_two_groups_of_five_by_hand() -> None:
    """32 lanes over 4 direct links and 3 ways of 4 links each: 16 links leave the group, so the least level is 2: 8 lanes direct, 24
    around, 8 by each way."""
    demand, capacity = np.zeros((5, 5)), linked(5)
    demand[0, 1] = 32.0
    part = spill_parts(demand, capacity, way_counts(capacity > 0.0))
    assert part[0, 1] == pytest.approx(0.75)
    assert np.count_nonzero(part) == 1


def test_nothing_leaves_direct_links_that_are_enough() -> None:
    capacity = linked(6)
    assert not spill_parts(capacity, capacity, way_counts(capacity > 0.0)).any()


def test_pairs_without_direct_links_count_in_the_load_of_others() -> None:
    """Groups 0 and 1 have no link left and 30 lanes: 10 on each leg by 2, 3 and 4, which have 4 links. So 0 and 2 have no room below
    level 2.5 for anything but detours."""
    demand, capacity = np.zeros((5, 5)), linked(5)
    capacity[0, 1] = capacity[1, 0] = 0.0
    demand[0, 1] = 30.0
    part = spill_parts(demand, capacity, way_counts(capacity > 0.0))
    assert part[0, 1] == 1.0
    demand[0, 2] = 4.0
    assert 2.5 <= most_loaded(demand, capacity, spill_parts(demand, capacity, way_counts(capacity > 0.0))) <= 2.9 * STEP


def test_one_crowded_corner_does_not_keep_others_from_detours() -> None:
    """Group 0 sends 120 lanes to each of its 9 peers, far beyond its 36 links; between 5 and 6, 8 lanes over 4 links could go around."""
    demand, capacity = np.zeros((10, 10)), linked(10)
    demand[0, 1:] = 120.0
    demand[5, 6] = 8.0
    part = spill_parts(demand, capacity, way_counts(capacity > 0.0))
    load = load_of(demand, capacity, part)
    assert load[5, 6] <= 4.0 * STEP
    assert load[0].max() <= 121.0  # what 5 sends to 6 by way of 0 comes on top


@given(groups=st.integers(4, 8), data=st.data())
@settings(max_examples=60, deadline=None)
def test_as_good_as_the_best_division_and_never_worse_than_minimal_or_valiant(groups: int, data: st.DataObject) -> None:
    demand, capacity = data.draw(demands(groups)), linked(groups)
    for _ in range(data.draw(st.integers(0, 2))):  # cables or all of two groups' links are dead
        one, other = data.draw(st.tuples(st.integers(0, groups - 1), st.integers(0, groups - 1)))
        if one != other:
            capacity[one, other] = capacity[other, one] = data.draw(st.sampled_from([0.0, 1.0, 3.0]))
    ways = way_counts(capacity > 0.0)
    if ((demand > 0.0) & (capacity == 0.0) & (ways == 0.0)).any():
        return
    part = np.where(capacity > 0.0, spill_parts(demand, capacity, ways), 1.0)
    assert 0.0 <= part.min() <= part.max() <= 1.0
    found = most_loaded(demand, capacity, part)
    assert found <= best_equal_detours(demand, capacity) * STEP * (1 + 1e-3)
    minimal, valiant = (
        most_loaded(demand, capacity, np.where(capacity > 0.0, 0.0, 1.0)),
        most_loaded(demand, capacity, np.where(ways > 0.0, 1.0, 0.0)),
    )
    assert found <= min(minimal, valiant) * STEP * (1 + 1e-3)


def test_against_the_best_of_all_ways() -> None:
    """On healthy dragonflies within 1.5 of the optimum of multi-commodity flow, on average 1.2: detours are equal, and not planned."""
    rng, ratios = np.random.default_rng(5), []
    for number in range(40):
        groups = 4 + number % 5
        demand, capacity = rng.exponential(3.0, (groups, groups)) * (rng.random((groups, groups)) < 0.4), linked(groups)
        demand += np.roll(np.diag(rng.exponential(20.0, groups)), 1, axis=1)
        np.fill_diagonal(demand, 0.0)
        part = spill_parts(demand, capacity, way_counts(capacity > 0.0))
        ratios.append(most_loaded(demand, capacity, part) / best_flow(demand, capacity))
    assert max(ratios) <= 1.5
    assert np.mean(ratios) <= 1.25
    assert min(ratios) >= 1.0 - 1e-9
