"""Drawn faults of cables and switches: their rates, whom they hit, how long they last."""

from itertools import takewhile
from typing import Any

import numpy as np
import pytest

from emulator.fabric.link_faults import MONTH_NS, DrawnFault, LinkFaultSettings, drawn_faults

MONTHS = 24
CABLES, SWITCHES = 100_000, 2_000
SETTINGS = LinkFaultSettings(enabled=True, switch_percent_per_month=5.1, flaps_per_cable_month=0.0005)


@pytest.fixture(scope="module")
def drawn() -> list[DrawnFault]:
    return list(takewhile(lambda fault: fault.time_ns < MONTHS * MONTH_NS, drawn_faults(SETTINGS, 7, CABLES, SWITCHES)))


@pytest.mark.parametrize(
    ("target", "monthly", "parts", "seconds"),
    [
        ("cable", 0.00057, CABLES, SETTINGS.cable_repair_seconds),
        ("switch", 0.051, SWITCHES, SETTINGS.switch_repair_seconds),
        ("flap", 0.0005, CABLES, SETTINGS.flap_seconds),
    ],
)
def test_rates_parts_and_durations_are_as_said(
    drawn: list[DrawnFault], target: str, monthly: float, parts: int, seconds: tuple[float, float]
) -> None:
    """Within four standard errors: Poisson counts, exponential waits, parts and durations drawn evenly. Draws are by counter, so this holds
    for ever or never."""
    mine = [fault for fault in drawn if fault.target == target]
    expected = monthly * parts * MONTHS
    assert abs(len(mine) - expected) < 4 * expected**0.5
    waits = np.diff([0, *(fault.time_ns for fault in mine)]) / (MONTH_NS / (monthly * parts))
    assert abs(waits.mean() - 1.0) < 4 / len(mine) ** 0.5
    assert abs(waits.std() - 1.0) < 4 * 2 / len(mine) ** 0.5  # of an exponential, its mean
    number = np.array([fault.number for fault in mine])
    assert 0 <= number.min() <= number.max() < parts
    assert abs(number.mean() / parts - 0.5) < 4 / (12 * len(mine)) ** 0.5
    lasts = np.array([fault.duration_ns for fault in mine]) / 1e9
    low, high = seconds
    assert low <= lasts.min() <= lasts.max() <= high
    assert abs(lasts.mean() - (low + high) / 2) < 4 * (high - low) / (12 * len(mine)) ** 0.5


def test_they_come_in_order_and_are_the_same_again(drawn: list[DrawnFault]) -> None:
    assert [fault.time_ns for fault in drawn] == sorted(fault.time_ns for fault in drawn)
    again = drawn_faults(SETTINGS, 7, CABLES, SWITCHES)
    assert [next(again) for _ in range(100)] == drawn[:100]
    other = drawn_faults(SETTINGS, 8, CABLES, SWITCHES)
    assert next(other) != drawn[0]


def test_none_where_none_are_asked_for() -> None:
    assert list(drawn_faults(LinkFaultSettings(), 7, CABLES, SWITCHES)) == []
    assert list(drawn_faults(LinkFaultSettings(enabled=True, cable_percent_per_month=0.0), 7, CABLES, 0)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"cable_percent_per_month": -0.1},
        {"flaps_per_cable_month": float("nan")},
        {"flap_seconds": (3.0, 1.0)},
        {"flap_seconds": (0.0, 1.0)},
    ],
)
def test_settings_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"fabric.faults.{next(iter(wrong))}"):
        LinkFaultSettings(**wrong)
