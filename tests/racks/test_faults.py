"""Drawn faults: rates, causes and repair times of the sources, and what is refused."""

from typing import Any

import numpy as np
import pytest

from emulator.racks.faults import CAUSES, DAY_NS, NEVER, SECOND_NS, FaultSettings, causes, later, repair_ns, up_ns

HOSTS = np.arange(200_000)
ZERO = np.zeros(len(HOSTS), np.int64)


def test_causes_are_table_5_of_llama_3() -> None:
    assert sum(cause.count for cause in CAUSES) == 419
    drawn = np.bincount(causes(FaultSettings(), 1, HOSTS, ZERO), minlength=len(CAUSES))
    expected = np.array([cause.count for cause in CAUSES]) / 419 * len(HOSTS)
    assert drawn[-1] == 0, "nothing is injected by itself"
    assert np.all(np.abs(drawn - expected) < 5 * np.sqrt(expected) + 1e-9)


def test_a_job_on_16384_gpus_is_interrupted_every_three_hours() -> None:
    """Llama 3: 419 interruptions in 54 days on 2,048 hosts, one in 3.09 h."""
    up = up_ns(FaultSettings(), 1, HOSTS, ZERO)
    mean_days = up.mean() / DAY_NS
    assert mean_days == pytest.approx(1000 / 3.79, rel=5 / np.sqrt(len(HOSTS)))
    assert mean_days / 2048 * 24 == pytest.approx(3.09, rel=0.02)


def test_repair_times_follow_the_cause() -> None:
    names = [cause.name for cause in CAUSES]
    settings = FaultSettings(repair_seconds={"nic": 100.0})
    for name, low, high in (("software_bug", 60, 300), ("gpu_hbm3_memory", 600, 1800), ("faulty_gpu", 3600, 14400), ("nic", 50, 150)):
        seconds = repair_ns(settings, 1, HOSTS, ZERO, np.full(len(HOSTS), names.index(name), np.int16)) / SECOND_NS
        assert low <= seconds.min() < low * 1.01
        assert high * 0.99 < seconds.max() <= high


def test_a_host_keeps_its_luck_whoever_asks() -> None:
    settings = FaultSettings()
    assert up_ns(settings, 1, HOSTS, ZERO)[777] == up_ns(settings, 1, np.array([777]), np.array([0]))[0]
    assert up_ns(settings, 1, HOSTS, ZERO + 1)[777] != up_ns(settings, 1, HOSTS, ZERO)[777]
    assert up_ns(settings, 2, HOSTS, ZERO)[777] != up_ns(settings, 1, HOSTS, ZERO)[777]


@pytest.mark.parametrize("settings", [FaultSettings(enabled=False), FaultSettings(host_rate_per_1000_node_days=0)])
def test_no_faults_is_never(settings: FaultSettings) -> None:
    assert np.all(up_ns(settings, 1, HOSTS[:5], ZERO[:5]) == NEVER)


def test_times_beyond_the_clock_are_never() -> None:
    rare = FaultSettings(host_rate_per_1000_node_days=1e-9)
    assert np.all(up_ns(rare, 1, HOSTS[:50], ZERO[:50]) == NEVER)
    assert later(np.array([NEVER, 5, NEVER - 1, 5]), np.array([5, NEVER, NEVER - 1, 6])).tolist() == [NEVER, NEVER, NEVER, 11]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"host_rate_per_1000_node_days": -1}, "outside 0"),
        ({"host_rate_per_1000_node_days": float("nan")}, "outside 0"),
        ({"repair_seconds": {"gremlins": 5.0}}, "unknown cause 'gremlins'; allowed: faulty_gpu"),
        ({"repair_seconds": {"nic": 0.0}}, r"faults.repair.nic: 0.0 seconds"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FaultSettings(**wrong)
