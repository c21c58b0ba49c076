"""Uplinks spread over the bank above: even for the switches, even for the units, and what two units share."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.striping import striped, worst_pair_ratio

LANES = st.lists(st.integers(1, 60), min_size=2, max_size=9)


def by_hand(lanes: list[int], switches: int) -> list[list[int]]:
    """Cables of each unit on each switch: cables in order of (k + 1/2) / L fill one switch after the other."""
    queue = sorted((Fraction(2 * k + 1, 2 * many), unit) for unit, many in enumerate(lanes) for k in range(many))
    every, more = divmod(len(queue), switches)
    table = [[0] * switches for _ in lanes]
    at = 0
    for switch in range(switches):
        for _, unit in queue[at : at + every + (switch < more)]:
            table[unit][switch] += 1
        at += every + (switch < more)
    return table


@given(lanes=LANES, switches=st.integers(1, 40))
@settings(max_examples=200)
def test_against_a_sort_of_exact_fractions(lanes: list[int], switches: int) -> None:
    table = by_hand(lanes, switches)
    found = np.split(striped(np.array(lanes), switches), np.cumsum(lanes)[:-1])
    for unit, switch in enumerate(found):
        assert (np.diff(switch) >= 0).all()
        assert np.bincount(switch, minlength=switches).tolist() == table[unit]
    load = np.array(table).sum(axis=0)
    assert load.max() - load.min() <= 1
    shared = [sum(map(min, table[one], table[other])) / min(lanes[one], lanes[other]) for one, other in combinations(range(len(lanes)), 2)]
    assert worst_pair_ratio(tuple(lanes), switches) == pytest.approx(min(shared))


@given(times=st.lists(st.integers(1, 5), min_size=1, max_size=6), switches=st.integers(1, 40))
def test_units_of_a_multiple_of_the_switches_have_as_much_on_each(times: list[int], switches: int) -> None:
    lanes = np.array(times) * switches
    found = np.split(striped(lanes, switches), np.cumsum(lanes)[:-1])
    for many, switch in zip(times, found, strict=True):
        assert np.bincount(switch, minlength=switches).tolist() == [many] * switches
    assert worst_pair_ratio(tuple(lanes.tolist()), switches) == 1.0


def test_two_small_units_among_many_do_not_miss_each_other() -> None:
    """Cabled in turn, two of 120 cables would share 44 of 196 switches, and the last two of the second row none."""
    assert worst_pair_ratio((160,) * 36 + (120,) * 3 + (130,), 196) > 0.7
    assert worst_pair_ratio((3456,) * 96 + (1728,), 5208) > 0.48
    # No wiring that is even can help these: each switch has a cable of either large unit and one more.
    assert worst_pair_ratio((10, 10, 20, 20), 20) == 0.0
