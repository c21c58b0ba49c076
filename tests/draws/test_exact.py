"""The elementary functions against mpmath, to their documented bounds, and what IEEE 754 says of special values."""

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from emulator import draws
from emulator.draws.exact import exp, exp2, log, power, sine_of_turns
from emulator.draws.normal import normal_quantile

Float64 = NDArray[np.float64]
SUBNORMAL, LEAST_NORMAL, LARGEST = 5e-324, 2.0**-1022, 1.7976931348623157e308
COUNT = 4_000


def ulps(function: Callable[..., Float64], exact: Callable[..., Any], *arguments: Float64) -> Float64:
    """The errors, in units in the last place of the exact results."""
    with mpmath.workprec(240):
        errors = []
        for found, *point in zip(function(*arguments).tolist(), *(column.tolist() for column in arguments), strict=True):
            wanted = exact(*map(mpmath.mpf, point))
            spacing = np.spacing(abs(float(wanted))) if wanted else 1.0
            errors.append(float(abs(mpmath.mpf(found) - wanted) / mpmath.mpf(float(spacing))))
    return np.array(errors)


def evenly(low: float, high: float, stream: int = 0) -> Float64:
    return low + (high - low) * draws.uniform(5, stream, np.arange(COUNT), 0)


def of_turns(turns: Any) -> Any:
    return mpmath.sin(2 * mpmath.pi * turns)


@pytest.mark.parametrize(
    ("function", "exact", "points", "bound"),
    [
        (log, mpmath.log, np.ldexp(evenly(0.5, 1.0), np.arange(COUNT) % 2097 - 1072), 1.0),
        (log, mpmath.log, evenly(0.5, 2.0), 1.0),
        (log, mpmath.log, 1.0 + evenly(-1e-3, 1e-3), 1.0),
        (log, mpmath.log, 1.0 + np.arange(-50, 51) * 2.0**-52, 1.0),
        (log, mpmath.log, np.array([SUBNORMAL, 7 * SUBNORMAL, LEAST_NORMAL - SUBNORMAL, LEAST_NORMAL, LARGEST]), 1.0),
        (exp, mpmath.exp, evenly(-708.3, 709.78), 1.0),
        (exp, mpmath.exp, evenly(-745.1, -708.4), 1.5),
        (exp, mpmath.exp, evenly(-1.0, 1.0), 1.0),
        (exp, mpmath.exp, np.ldexp(evenly(-1.0, 1.0), -(np.arange(COUNT) % 1070)), 1.0),
        (exp, mpmath.exp, np.arange(-1000, 1001) * math.log(2) / 2, 1.0),  # where the nearest power of two changes
        (exp2, lambda x: mpmath.power(2, x), evenly(-1022.0, 1024.0), 1.5),
        (exp2, lambda x: mpmath.power(2, x), evenly(-1074.0, -1022.0), 1.5),
        (exp2, lambda x: mpmath.power(2, x), evenly(-1.0, 1.0), 1.5),
        (sine_of_turns, of_turns, evenly(-1.0, 1.0), 2.0),
        (sine_of_turns, of_turns, evenly(-1e6, 1e6), 2.0),
        (sine_of_turns, of_turns, np.ldexp(evenly(-1.0, 1.0), -(np.arange(COUNT) % 1000)), 2.0),
        (sine_of_turns, of_turns, np.arange(-800, 801) / 800 + 1e-9, 2.0),
    ],
)
def test_errors_are_within_the_bounds(function: Callable[..., Float64], exact: Callable[..., Any], points: Float64, bound: float) -> None:
    assert ulps(function, exact, points).max() < bound


def test_powers_are_within_their_bound() -> None:
    base, exponent = evenly(0.0, 1.0, 1), evenly(0.0, 10.0, 2)
    errors = ulps(power, mpmath.power, base, exponent)
    assert bool((errors < 2.0 + 2.0 * np.abs(exponent * np.log(base))).all())


@pytest.mark.parametrize(
    "points",
    [np.ldexp(evenly(0.5, 1.0)[:200], -np.arange(200) * 5), evenly(0.0, 1.0)[:200], evenly(0.4, 0.6)[:200], 1.0 - evenly(0.0, 1e-6)[:200]],
    ids=["small", "all", "centre", "large"],
)
def test_the_normal_quantile_is_that_of_the_normal_distribution(points: Float64) -> None:
    """One step of Newton's method from it moves it by less than 1e-14 of itself."""
    with mpmath.workprec(1200):
        for p, z in zip(points.tolist(), normal_quantile(points).tolist(), strict=True):
            step = (mpmath.ncdf(z) - mpmath.mpf(p)) / mpmath.npdf(z)
            assert abs(step) < 1e-14 * max(abs(z), 1e-2), p


@pytest.mark.filterwarnings("error")
def test_special_values_are_those_of_ieee_754_and_come_without_a_warning() -> None:
    inf, nan = math.inf, math.nan
    assert log([0.0, -0.0, 1.0, inf]).tolist() == [-inf, -inf, 0.0, inf]
    assert np.isnan(log([-1.0, -inf, nan, -SUBNORMAL])).all()
    assert exp([0.0, -0.0, -inf, inf, 1e4, -1e4, SUBNORMAL, 709.79, -745.14]).tolist() == [1.0, 1.0, 0.0, inf, inf, 0.0, 1.0, inf, 0.0]
    assert exp([-745.13, 709.78]).tolist() == [SUBNORMAL, pytest.approx(1.7928e308, rel=1e-4)]
    whole = np.arange(-1074, 1024)
    assert np.array_equal(exp2(whole), np.ldexp(1.0, whole))
    assert exp2([-1076.0, 1024.0, -inf, inf]).tolist() == [0.0, inf, 0.0, inf]
    assert power([0.0, 0.0, 1.0, 0.3, 0.3], [0.5, 1.0, 7.5, 1.0, 1e9]).tolist() == [0.0, 0.0, 1.0, 0.3, 0.0]
    assert sine_of_turns([0.0, 0.25, 0.5, 0.75, -0.25, 1e15, SUBNORMAL]).tolist() == [0.0, 1.0, 0.0, -1.0, -1.0, 0.0, 3e-323]
    assert np.isnan([*exp([nan]), *exp2([nan]), *sine_of_turns([nan, inf, -inf])]).all()


@pytest.mark.parametrize("function", [log, exp, exp2, sine_of_turns])
def test_shapes_and_pieces_change_nothing(function: Callable[..., Float64]) -> None:
    values = evenly(0.1, 0.2).repeat(12)
    whole = function(values)
    assert np.array_equal(whole, np.concatenate([function(part) for part in np.array_split(values, 7)]))
    assert np.array_equal(function(values[:24].reshape(2, 3, 4).T), whole[:24].reshape(2, 3, 4).T)
    assert float(function(float(values[5]))) == whole[5]
    assert function(np.empty((2, 0))).shape == (2, 0)
    assert values[0] == evenly(0.1, 0.2)[0], "the argument was written to"


@pytest.mark.parametrize(
    ("function", "points"),
    [
        (log, (np.arange(2**20 - 3000, 2**20) + 0.5) * 2.0**-20),
        (log, (np.arange(2**52 - 3000, 2**52) + 0.5) * 2.0**-52),  # the largest draws
        (log, (np.arange(2**51 - 3000, 2**51 + 3000) + 0.5) * 2.0**-52),
        (log, (np.arange(3000) + 0.5) * 2.0**-52),  # the smallest
        (log, 0.7071067811865476 + np.arange(-3000, 3000) * 2.0**-52),  # where the exponent changes
        (exp, math.log(2) / 2 + np.arange(-3000, 3000) * 2.0**-52),
        (exp, np.sort(evenly(-740.0, 709.0))),
        (normal_quantile, (np.arange(2**20) + 0.5) * 2.0**-20),
        (normal_quantile, 0.075 + np.arange(-1000, 1000) * 2.0**-46),  # where the approximations meet
        (normal_quantile, math.exp(-25.0) + np.arange(-1000, 1000) * 2.0**-52),
    ],
)
def test_draws_in_order_give_results_in_order(function: Callable[..., Float64], points: Float64) -> None:
    assert bool((np.diff(function(points)) >= 0.0).all())
