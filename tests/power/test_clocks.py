"""The curve of clocks: what it says at its points, and what draws and speeds make of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.power.clocks import (
    CLOCK_RATIO,
    CLOCKS,
    DYNAMIC_RATIO,
    FULL,
    IDLE_WATTS,
    LOWEST,
    MEASURED,
    SLOWDOWN,
    Parts,
    draw_milliwatts,
    parts_at,
    speed_at,
)

ratios = st.floats(0.0, 1.0)


def test_the_points_are_those_of_the_artifact() -> None:
    """At 1,260 MHz the artifact has 0.053566 + 0.098791 s and 20.794 + 38.215 J; at the full clock 0.050162 + 0.092954 s and 23.805 +
    44.584 J.
    """
    clock = [mhz for mhz, _, _ in MEASURED].index(1260)
    seconds, full = 0.053566 + 0.098791, 0.050162 + 0.092954
    assert SLOWDOWN[clock] == pytest.approx(seconds / full, rel=1e-4)
    watts, full_watts = (20.794 + 38.215) / seconds, (23.805 + 44.584) / full
    assert DYNAMIC_RATIO[clock] == pytest.approx((watts - IDLE_WATTS) / (full_watts - IDLE_WATTS), rel=1e-3)


def test_a_lower_clock_draws_less_and_takes_longer() -> None:
    assert len(MEASURED) == CLOCKS == LOWEST + 1
    assert (CLOCK_RATIO[FULL], DYNAMIC_RATIO[FULL], SLOWDOWN[FULL]) == (1.0, 1.0, 1.0)
    for column, order in ((CLOCK_RATIO, 1), (DYNAMIC_RATIO, 1), (SLOWDOWN, -1)):
        assert sorted(column, reverse=order > 0) == list(column)
        assert len(set(column)) == CLOCKS


def test_power_falls_faster_than_speed() -> None:
    """To a sixth less power a sixth of the time is not given: 600 of 700 W cost some 5 % in the curve."""
    capped = next(clock for clock in range(CLOCKS) if (DYNAMIC_RATIO[clock] * (700 - IDLE_WATTS) + IDLE_WATTS) <= 600)
    assert 1.03 < SLOWDOWN[capped] < 1.07


@given(computing=ratios, waiting=ratios, clock=st.integers(0, LOWEST), full=st.integers(0, 10**7), ratio=ratios)
def test_draws_are_those_of_a_step_piece_by_piece(computing: float, waiting: float, clock: int, full: int, ratio: float) -> None:
    total = computing + waiting
    if total:
        computing, waiting = computing / max(1.0, total), waiting / max(1.0, total)
    parts = Parts(computing, waiting)
    at = parts_at(parts, clock)
    assert at.computing + at.waiting == pytest.approx(computing + waiting, abs=1e-12)
    longer = computing * SLOWDOWN[clock] + waiting
    if longer > 1e-9:
        energy = DYNAMIC_RATIO[clock] * full * (computing * SLOWDOWN[clock] + waiting * ratio)
        expected = energy / longer * (computing + waiting)
        assert draw_milliwatts(full, parts, ratio, 1000, clock) == pytest.approx(expected, abs=1.01)
    if clock:
        assert draw_milliwatts(full, parts, ratio, 1000, clock) <= draw_milliwatts(full, parts, ratio, 1000, clock - 1)


@given(speed=st.floats(0.0, 1.0), computing=ratios, clock=st.integers(0, LOWEST))
def test_only_what_computes_slows_a_step(speed: float, computing: float, clock: int) -> None:
    """A step of 1 / speed, of which the part ``computing`` takes longer."""
    slowed = speed_at(speed, computing, clock)
    assert slowed * (1 - computing + computing * SLOWDOWN[clock]) == pytest.approx(speed)
