"""Sums against exact ones, numpy's own, and their documented order."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import draws
from emulator.draws.sums import add_along, add_runs, add_up, interpolate, matrix_product

VALUES = draws.normal(3, 0, np.arange(6_000), 0)


@given(st.lists(st.floats(-1e6, 1e6), max_size=300))
def test_sums_are_close_to_exact_ones(values: list[float]) -> None:
    assert add_up(values) == pytest.approx(math.fsum(values), abs=1e-9)


def test_halves_are_added() -> None:
    a, b, c, d, e = VALUES[:5].tolist()
    assert add_up([a, b, c, d, e]) == ((a + c) + e) + (b + d)
    assert (add_up([]), add_up([a]), add_up(np.array([[a, b], [c, d]]))) == (0.0, a, (a + c) + (b + d))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_along_an_axis(axis: int) -> None:
    table = VALUES.reshape(20, 15, 20)
    found = add_along(table, axis)
    assert found == pytest.approx(table.sum(axis=axis), abs=1e-12)
    first = np.moveaxis(table, axis, 0)[:, 3, 4]
    assert found[3, 4] == add_up(first)
    assert np.array_equal(table, VALUES.reshape(20, 15, 20)), "the argument was written to"
    assert add_along(np.empty((3, 0)), 1).tolist() == [0.0, 0.0, 0.0]
    assert add_along(np.empty((0, 3)), 1).shape == (0,)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=50))
def test_runs_of_rows(sizes: list[int]) -> None:
    first = np.cumsum([0, *sizes[:-1]])
    rows = VALUES[: 2 * sum(sizes)].reshape(-1, 2)
    parts = [rows[begin : begin + size] for begin, size in zip(first, sizes, strict=True)]
    assert np.array_equal(add_runs(rows, first), [np.cumsum(part, axis=0)[-1] for part in parts])


def test_matrix_products() -> None:
    left, right = VALUES[:600].reshape(5, 10, 12), VALUES[600:840].reshape(12, 20)
    assert matrix_product(left, right) == pytest.approx(left @ right, abs=1e-12)
    assert matrix_product(left[0], right).shape == (10, 20)


def test_interpolation() -> None:
    points, values = np.array([0.0, 0.5, 2.0, 3.0]), np.array([1.0, -1.0, 4.0, 4.5])
    at = np.concatenate((np.arange(-10, 45) / 10.0, points, [-np.inf, np.inf]))
    assert interpolate(at, points, values) == pytest.approx(np.interp(at, points, values), abs=1e-15)
    assert interpolate(points, points, values).tolist() == values.tolist()
