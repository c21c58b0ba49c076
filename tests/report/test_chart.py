"""Axes, thinning and words for numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.report.chart import Series, chart, nice_step, thin, time_ticks
from emulator.report.units import percent, si, span


@pytest.mark.parametrize(
    ("value", "text"),
    [(147.2e6, "147 MW"), (0.0, "0 W"), (999.7, "1 kW"), (1e3, "1 kW"), (12.0, "12 W"), (0.5, "0.5 W"), (3e18, "3,000 PW"), (None, "-")],
)
def test_si(value: float | None, text: str) -> None:
    assert si(value, "W") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (0.25, "0.25 s"), (75.4, "1 min 15 s"), (3600, "1 h"), (90061, "1 d 1 h"), (86399.9, "1 d"), (None, "-")],
)
def test_span(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_percent() -> None:
    assert percent(0.1234) == "12.3 %"
    assert percent(None) == "-"


@given(st.floats(1e-6, 1e12))
def test_a_nice_step_is_just_above(raw: float) -> None:
    step = nice_step(raw)
    assert raw * (1 - 1e-6) <= step <= raw * 2.5 * (1 + 1e-6)


@given(st.floats(0, 1e7), st.floats(1, 4e7))
def test_time_ticks_are_few_and_inside(start: float, length: float) -> None:
    ticks = time_ticks(start, start + length)
    assert len(ticks) <= 11
    assert all(start - 1e-6 <= tick <= start + length + 1e-6 for tick, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


def test_a_day_reads_as_a_clock() -> None:
    assert [label for _, label in time_ticks(0.0, 86400.0)][:3] == ["00:00", "04:00", "08:00"]


def test_thinning_keeps_ends_and_mean() -> None:
    times = np.arange(10_000.0)
    thinned, (line,) = thin(times, [np.sin(times / 500)])
    assert len(thinned) <= 720
    assert (thinned[0], thinned[-1]) == (0.0, 9999.0)
    assert (np.diff(thinned) > 0).all()
    assert abs(line.mean() - np.sin(times / 500).mean()) < 0.01


def test_a_peak_is_not_thinned_away() -> None:
    times, peaks = np.arange(10_000.0), np.zeros(10_000)
    peaks[1234] = 95.0
    _, (highest, mean) = thin(times, [peaks, peaks], [True, False])
    assert highest.max() == 95.0
    assert mean.max() < 10.0


def test_a_flat_zero_still_has_an_axis() -> None:
    svg = chart("Power", "MW", np.array([0.0, 10.0]), [Series("IT", np.zeros(2), "--blue")])
    assert "nan" not in svg.lower()
    assert "polyline" in svg
