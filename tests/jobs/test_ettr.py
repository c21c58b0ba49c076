"""The closed forms of faults and checkpoints, against the papers and against each other."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.jobs.ettr import daly_ettr, daly_interval, expected_ettr, mttf, young_interval

MINUTE, HOUR, DAY = 1.0, 60.0, 1440.0
#: RSC-1 and RSC-2 (arXiv 2410.21680): faults per 1,000 node-days.
RSC_1, RSC_2 = 6.50 / 1000 / DAY, 2.34 / 1000 / DAY

times = st.floats(0.01, 1e6)
writes = st.floats(0, 100)


def test_mttf_of_rsc() -> None:
    """16,384 GPUs of RSC-1: the paper says 1.8 hours; 100,000 of RSC-2's rate would have 0.82 hours."""
    assert mttf(16_384 / 8, RSC_1) / HOUR == pytest.approx(1.8, rel=0.02)
    assert mttf(100_000 / 8, RSC_2) / HOUR == pytest.approx(0.82, rel=0.01)


def test_mttf_counts_nodes_and_not_gpus() -> None:
    """A rate per node taken per GPU is eight times off: 0.23 hours."""
    assert mttf(16_384, RSC_1) / HOUR == pytest.approx(1.8 / 8, rel=0.02)


def test_rsc_does_not_predict_its_own_mttf_of_1024_gpus() -> None:
    """The paper measures 7.9 hours where its rate gives 28.8: small jobs have other faults, and the two are not one line."""
    assert mttf(1024 / 8, RSC_1) / HOUR == pytest.approx(28.8, rel=0.01)


@pytest.mark.parametrize(("interval", "ettr"), [(5, 0.93), (60, 0.68)])
def test_ettr_of_rsc(interval: float, ettr: float) -> None:
    """16,384 GPUs, 5 minutes to restart: 0.93 with checkpoints every 5 minutes (printed), 0.68 every hour (by arithmetic)."""
    assert expected_ettr(mttf(16_384 / 8, RSC_1), interval, 5) == pytest.approx(ettr, rel=0.01)


def test_llama_3_was_interrupted_every_three_hours() -> None:
    """419 unexpected interruptions in 54 days on 16,384 GPUs are 3.79 per 1,000 node-days (arXiv 2407.21783, Table 5); 47 were planned."""
    assert pytest.approx(3.79, rel=0.01) == 419 / 54 / 2048 * 1000
    assert mttf(2048, 419 / 54 / 2048) * 24 == pytest.approx(3.09, rel=0.01)


#: Llama 3, Table 5. Two of the printed percentages (30.1 for faulty GPUs, 58.7 for GPUs together) are not those of the counts.
LLAMA_3_CAUSES = {
    "faulty GPU": 148,
    "GPU HBM3": 72,
    "software": 54,
    "network": 35,
    "host maintenance": 32,
    "GPU SRAM": 19,
    "GPU processor": 17,
    "NIC": 7,
    "NCCL watchdog": 7,
    "GPU silent corruption": 6,
    "GPU thermal": 6,
    "SSD": 3,
    "power supply": 3,
    "chassis": 2,
    "IO board": 2,
    "dependency": 2,
    "CPU": 2,
    "memory": 2,
}


def test_the_counts_of_llama_3_count_and_not_its_percentages() -> None:
    total = sum(LLAMA_3_CAUSES.values())
    assert total == 419
    assert LLAMA_3_CAUSES["faulty GPU"] / total == pytest.approx(0.353, abs=5e-4)
    gpus = sum(count for cause, count in LLAMA_3_CAUSES.items() if "GPU" in cause)
    assert (gpus, round(gpus / total, 3)) == (268, 0.64)


def test_young_and_daly_by_hand() -> None:
    """2 minutes to write, a fault every 100: Young sqrt(400) = 20; Daly 20 (1 + 0.1 / 3 + 0.01 / 9) - 2."""
    assert young_interval(100, 2) == 20
    assert daly_interval(100, 2) == pytest.approx(20 * (1 + 0.1 / 3 + 0.01 / 9) - 2)
    assert daly_interval(100, 200) == 100
    assert daly_interval(100, 0) == young_interval(100, 0) == 0


def test_daly_by_hand() -> None:
    """M = 100, dt = 10, w = 1, R = 5: T = 10 e^0.05 (e^0.11 - 1) for each unit of use."""
    assert daly_ettr(100, 10, 5, 1) == pytest.approx(1 / (10 * math.exp(0.05) * (math.exp(0.11) - 1)))


@given(st.floats(1e3, 1e9), st.floats(0.1, 10), st.floats(0, 10), st.floats(0, 0.1))
def test_both_agree_where_losses_are_small(mean: float, interval: float, restart: float, write: float) -> None:
    lost = (restart + interval) / mean
    assert daly_ettr(mean, interval, restart, write) == pytest.approx(expected_ettr(mean, interval, restart, write), abs=2 * lost**2 + 1e-4)


@given(times, times, st.floats(0, 1e6), writes)
def test_a_share_of_time(mean: float, interval: float, restart: float, write: float) -> None:
    for form in (expected_ettr, daly_ettr):
        share = form(mean, interval, restart, write)
        assert 0 <= share <= 1 + 1e-9
        assert share >= form(mean, interval, restart + 1, write)
        assert share >= form(mean, interval, restart, write + 1)
        assert share <= form(2 * mean, interval, restart, write) + 1e-9


@given(st.floats(10, 1e6), st.floats(0.001, 1))
def test_dalys_interval_is_the_best(mean: float, write: float) -> None:
    best = daly_interval(mean, write)
    for other in (0.5 * best, 0.8 * best, 1.25 * best, 2 * best):
        assert daly_ettr(mean, best, 0, write) >= daly_ettr(mean, other, 0, write) * (1 - 1e-3)


def test_no_faults() -> None:
    assert mttf(0, RSC_1) == mttf(10, 0) == math.inf
    assert expected_ettr(math.inf, 10, 5, 1) == daly_ettr(math.inf, 10, 5, 1) == pytest.approx(10 / 11)
    assert expected_ettr(0, 10, 5) == daly_ettr(0, 10, 5) == 0


@pytest.mark.parametrize("bad", [-1.0, math.nan])
@pytest.mark.parametrize(
    ("form", "times"),
    [
        (mttf, 2),
        (expected_ettr, 4),
        (daly_ettr, 4),
        (young_interval, 2),
        (daly_interval, 2),
    ],
)
def test_what_is_not_a_time_is_refused(form: Callable[..., float], times: int, bad: float) -> None:
    for place in range(times):
        given = [1.0] * times
        given[place] = bad
        with pytest.raises(ValueError, match="allowed"):
            form(*given)


@pytest.mark.parametrize("interval", [0.0, math.inf])
def test_an_interval_is_a_time(interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        expected_ettr(1, interval, 1)
    with pytest.raises(ValueError, match="interval"):
        daly_ettr(1, interval, 1)
