"""Swings of a synchronous job: the spectrum against a plain transform, and what smoothing leaves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.power.swings import Smoothing, Swing, band_ratio, smoothed

swings = st.builds(
    lambda low, more, duty, step: Swing(low + more, low, duty, step),
    st.floats(0.1, 100.0), st.floats(0.0, 100.0), st.floats(0.01, 0.99), st.floats(0.1, 60.0),
)  # fmt: skip


@pytest.mark.parametrize(("duty", "step"), [(0.5, 2.0), (0.8, 4.0), (0.25, 0.5), (0.9, 16.0)])
def test_the_spectrum_is_that_of_the_wave(duty: float, step: float) -> None:
    """Sampled finely enough that the harmonics up to 20 Hz are right."""
    swing = Swing(10.0, 4.0, duty, step)
    count = 1 << 16
    wave = np.where(np.arange(count) < duty * count, swing.high_watts, swing.low_watts)
    energy = np.abs(np.fft.rfft(wave) / count) ** 2
    energy[1:] *= 2
    hertz = np.arange(len(energy)) / step
    inside = energy[(hertz >= 0.1) & (hertz <= 20.0) & (hertz > 0)].sum()
    assert band_ratio(swing, swing.mean_watts) == pytest.approx(inside / energy.sum(), rel=2e-3)


@given(swing=swings, more=st.floats(0.0, 1000.0))
def test_a_part_of_a_spectrum_is_a_part_and_a_steadier_site_has_less(swing: Swing, more: float) -> None:
    alone = band_ratio(swing, swing.mean_watts)
    assert 0.0 <= band_ratio(swing, swing.mean_watts + more) <= alone + 1e-12 <= 1.0


@given(swing=swings, joules=st.floats(0.0, 1e4), battery=st.floats(0.0, 1e3), gpus=st.integers(1, 100))
def test_storage_keeps_the_mean_and_makes_no_swing_larger(swing: Swing, joules: float, battery: float, gpus: int) -> None:
    left = smoothed(swing, Smoothing(0.0, joules / gpus, 1.0, battery, joules), gpus)
    assert left.mean_watts == pytest.approx(swing.mean_watts)
    assert -1e-9 <= left.watts <= swing.watts + 1e-9
    assert swing.low_watts - 1e-9 <= left.low_watts <= left.high_watts + 1e-9 <= swing.high_watts + 2e-9


def test_a_floor_is_paid_for_and_storage_is_not() -> None:
    swing = Swing(100.0, 55.0, 0.8, 4.0)
    floor = smoothed(swing, Smoothing(floor_ratio=0.9), 1)
    assert (floor.high_watts, floor.low_watts) == (100.0, 90.0)
    assert floor.mean_watts > swing.mean_watts


def test_power_supplies_with_65_joules_a_gpu() -> None:
    """A GPU of 1,000 W that waits at 550 for a fifth of 1 s: levelling it moves 450 * 0.8 * 0.2 = 72 J a step, so 65 J take 65 / 72 of
    it.
    """
    left = smoothed(Swing(1000.0, 550.0, 0.8, 1.0), Smoothing(gpu_joules=65.0), 1)
    assert left.watts == pytest.approx(450.0 * (1 - 65 / 72))
    long = smoothed(Swing(1000.0, 550.0, 0.8, 10.0), Smoothing(gpu_joules=65.0), 1)
    assert long.watts == pytest.approx(450.0 * (1 - 6.5 / 72)), "a step ten times as long leaves it a tenth"


def test_a_battery_gives_no_more_power_than_it_has() -> None:
    left = smoothed(Swing(1000.0, 500.0, 0.5, 1.0), Smoothing(battery_watts=100.0, battery_joules=1e9), 1)
    assert (left.high_watts, left.low_watts) == (900.0, 600.0)
