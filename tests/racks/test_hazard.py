"""Lemons, new hosts and the kinds of memory errors: how often hosts fail, against what was asked for and against a plain sum."""

import numpy as np
import pytest

from emulator.racks.faults import CAUSES, DAY_NS, NEVER, FaultSettings, Scope, causes, up_ns
from emulator.racks.hazard import Hazard, intervals, lemons

HOSTS = np.arange(200_000)
ZERO = np.zeros(len(HOSTS), np.int64)
AGES = np.array([0, 1, 5, 20, 29, 30, 31, 400], np.int64) * DAY_NS


def test_without_any_the_bits_are_those_of_a_plain_exponential() -> None:
    plain, with_age = up_ns(FaultSettings(), 1, HOSTS, ZERO), up_ns(FaultSettings(), 1, HOSTS, ZERO, ZERO)
    assert plain.tobytes() == with_age.tobytes()


def test_lemons_are_as_many_as_asked_fail_as_much_more_and_leave_the_mean() -> None:
    settings = FaultSettings(hazard=Hazard(lemon_ratio=0.012, lemon_factor=10.0))
    chosen = lemons(settings.hazard, 7, HOSTS)
    assert abs(chosen.sum() - 2400) < 4 * np.sqrt(2400)
    assert (lemons(settings.hazard, 7, HOSTS[777:]) == chosen[777:]).all(), "a host's luck is its own"
    rate = 1.0 / np.array([up_ns(settings, 7, HOSTS[which], ZERO[which]).mean() for which in (chosen, ~chosen)])
    assert rate[0] / rate[1] == pytest.approx(10.0, rel=0.1)
    mean = 0.012 * rate[0] + 0.988 * rate[1]
    assert mean * 1000 * DAY_NS == pytest.approx(3.79, rel=0.01)


@pytest.mark.parametrize("factor", [1.5, 4.0, 100.0])
@pytest.mark.parametrize("drawn_days", [0.001, 1.0, 30.0, 10_000.0])
def test_the_cumulative_hazard_over_an_interval_is_what_was_drawn(factor: float, drawn_days: float) -> None:
    """Added up in small steps, with the hazard itself and no formula of its integral."""
    hazard = Hazard(new_factor=factor)
    found = intervals(hazard, 1, np.zeros(len(AGES), np.int64), np.full(len(AGES), drawn_days * DAY_NS), AGES)
    for age, interval in zip(AGES.tolist(), found.tolist(), strict=True):
        steps = 200_001
        at = age + (np.arange(steps) + 0.5) * (interval / steps)
        rate = np.where(at < hazard.new_ns, 1.0 + (factor - 1.0) * (1.0 - at / hazard.new_ns), 1.0)
        assert rate.mean() * interval == pytest.approx(drawn_days * DAY_NS, rel=1e-4)


def test_new_hosts_fail_more_often_at_first_and_later_as_others() -> None:
    settings = FaultSettings(host_rate_per_1000_node_days=30.0, hazard=Hazard(new_factor=5.0, new_ns=30 * DAY_NS))
    age, faults = ZERO.copy(), np.zeros(3)
    for number in range(60):
        step = up_ns(settings, 3, HOSTS, ZERO + number, age)
        age = np.where(age > NEVER // 2 - step, NEVER // 2, age + step)
        faults += np.histogram(age, np.array([0, 15, 30, 60]) * DAY_NS)[0]
    expected = np.array([15 * 4.0, 15 * 2.0, 30.0]) * 0.03 * len(HOSTS)
    assert (np.abs(faults - expected) < 4 * np.sqrt(expected)).all()


def test_memory_errors_told_apart_leave_the_rate_of_what_stops_a_job() -> None:
    settings = FaultSettings(by_scope=True, all_memory_errors=True)
    drawn = np.bincount(causes(settings, 1, HOSTS, ZERO), minlength=len(CAUSES)) / len(HOSTS)
    rate = 1000 * DAY_NS / up_ns(settings, 1, HOSTS, ZERO).mean()
    stops = np.array([settings.scopes[number] != Scope.NOTHING for number in range(len(CAUSES))])
    assert rate * drawn[stops].sum() == pytest.approx(3.79, rel=0.01)
    by_name = {cause.name: drawn[number] * rate / 3.79 * 419 for number, cause in enumerate(CAUSES)}
    memory = [by_name[name] for name in ("gpu_hbm3_memory", "gpu_memory_contained", "gpu_memory_remapped")]
    assert memory == pytest.approx([41, 31, 167], rel=0.03)
    assert (memory[0] + memory[1]) / sum(memory) == pytest.approx(88_768 / (21.2e6 / 72), rel=0.03), "one in three stops a job"


@pytest.mark.parametrize(
    "wrong",
    [{"lemon_ratio": 1.1}, {"lemon_ratio": -0.1}, {"lemon_factor": 0.5}, {"new_factor": 0.0}, {"new_ns": 0}],
)
def test_wrong_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="faults"):
        Hazard(**wrong)  # type: ignore[arg-type]
