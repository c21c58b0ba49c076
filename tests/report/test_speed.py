"""The speed is that of the last ten seconds of wall time, whatever was before."""

import pytest

from emulator.report.speed import MARK_SECONDS, WINDOW_SECONDS, RecentSpeed


def drive(speed: RecentSpeed, wall: float, emulated: float, rate: float, seconds: float, step: float = 0.1) -> tuple[float, float]:
    """Emulated time goes by at ``rate`` for so many wall seconds, and somebody marks at every step."""
    for _ in range(round(seconds / step)):
        wall, emulated = wall + step, emulated + rate * step
        speed.mark(wall, emulated)
    return wall, emulated


def test_a_change_is_forgotten_after_the_window() -> None:
    """408x for a minute, then 60x: half of a window later it reads half of each, a window (and a mark) later 60x."""
    speed = RecentSpeed(1000.0)
    now = drive(speed, 1000.0, 0.0, 408.0, 60.0)
    assert speed.ratio(*now) == pytest.approx(408.0)
    now = drive(speed, *now, 60.0, WINDOW_SECONDS / 2)
    assert speed.ratio(*now) == pytest.approx((408.0 + 60.0) / 2, rel=0.05)
    now = drive(speed, *now, 60.0, WINDOW_SECONDS / 2 + 2 * MARK_SECONDS)
    assert speed.ratio(*now) == pytest.approx(60.0)
    assert len(speed._marks) < WINDOW_SECONDS / MARK_SECONDS + 3


def test_at_first_it_is_since_the_start() -> None:
    speed = RecentSpeed(5.0)
    assert speed.ratio(5.0, 0.0) == 0.0
    assert speed.ratio(7.0, 600.0) == 300.0


def test_a_clock_that_stands_has_no_speed_after_the_window() -> None:
    speed = RecentSpeed(0.0)
    now = drive(speed, 0.0, 0.0, 100.0, 20.0)
    now = drive(speed, *now, 0.0, 5.0)
    assert speed.ratio(*now) == pytest.approx(50.0, rel=0.1)
    now = drive(speed, *now, 0.0, 6.0)
    assert speed.ratio(*now) == 0.0


def test_a_step_longer_than_the_window_counts_whole() -> None:
    speed = RecentSpeed(0.0)
    speed.mark(1.0, 100.0)
    speed.mark(41.0, 8100.0)
    assert speed.ratio(41.0, 8100.0) == pytest.approx(200.0)
