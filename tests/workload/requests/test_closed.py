"""Closed loops: how many users a pool has, and what they ask."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.workload.requests import ClosedLoop, Lengths, constant, uniform_between

LENGTHS = Lengths(uniform_between(820, 1024), uniform_between(8, 16))
NUMBER = np.arange(20_000)


@given(st.integers(1, 10**9), st.lists(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True), max_size=9))
def test_pools_side_by_side_have_all_users(concurrency: int, ends: list[float]) -> None:
    """However they are divided, and each has its part of them but for less than one."""
    loop, edges = ClosedLoop(concurrency, LENGTHS), [0.0, *sorted(ends), 1.0]
    parts = list(pairwise(edges))
    users = [loop.users(low, high) for low, high in parts]
    assert sum(users) == concurrency
    assert all(abs(count - concurrency * (high - low)) < 1 + 1e-6 for count, (low, high) in zip(users, parts, strict=True))


def test_a_request_is_known_by_its_number() -> None:
    loop = ClosedLoop(8, LENGTHS, 5.0, ((0.5, 1),))
    whole = loop.requests(1, 0, 3, NUMBER)
    for column, some in zip(whole, loop.requests(1, 0, 3, NUMBER[7:9]), strict=True):
        assert some.tolist() == column[7:9].tolist()
    assert 820 <= whole.prompt.min() < whole.prompt.max() <= 1024
    assert 8 <= whole.output.min() < whole.output.max() <= 16
    assert not any(np.array_equal(whole.prompt, loop.requests(*other, NUMBER).prompt) for other in ((1, 0, 4), (1, 1, 3), (2, 0, 3)))


def test_users_think_for_a_time_that_is_exponential() -> None:
    """Its mean and its variance within four standard errors: sigma / sqrt(n), and sigma^2 sqrt(8 / n) (the fourth moment is 9 sigma^4)."""
    seconds = ClosedLoop(8, LENGTHS, 5.0).requests(1, 0, 3, NUMBER).think_ns / 1e9
    assert abs(seconds.mean() - 5.0) < 4 * 5.0 / np.sqrt(len(seconds))
    assert abs(seconds.var() - 25.0) < 4 * 25.0 * np.sqrt(8 / len(seconds))
    assert not ClosedLoop(8, LENGTHS).requests(1, 0, 3, NUMBER).think_ns.any()


def test_classes_have_their_parts() -> None:
    priority = ClosedLoop(8, LENGTHS, classes=((0.3, 4),)).requests(1, 0, 3, NUMBER).priority
    assert abs((priority == 4).mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(priority))
    assert set(priority.tolist()) == {0, 4}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0, LENGTHS), "concurrency: 0 .allowed: 1 to 1000000000"),
        ((8, LENGTHS, -1.0), "think_seconds: -1.0 .allowed: 0 to 86400"),
        ((8, LENGTHS, float("nan")), "think_seconds: nan"),
        ((8, Lengths(constant(1), constant(1)), 0.0, ((2.0, 1),)), "ratio: 2.0"),
    ],
)
def test_what_cannot_be(given: tuple[object, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ClosedLoop(*given)  # type: ignore[arg-type]
