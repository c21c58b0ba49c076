"""How many replicas a service should have, against the rule written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.engine.scaling import MOST_FACTOR, TOLERANCE, Observed, Scaler, Scaling
from emulator.racks.latencies import BINS, PS_PER_SECOND, bin_of
from emulator.racks.serving_messages import LATENCIES, TALLIES, Latency, Tally
from emulator.workload.jobs import SECOND

MINUTE = 60 * SECOND


def seen(
    *, arrived: int = 100, running: int = 0, waiting: int = 0, kv: float = 0.0, ttft_seconds: float = 0.0, tpot_seconds: float = 0.0
) -> Observed:
    counts, tallies = np.zeros((LATENCIES, BINS), np.int64), np.zeros(TALLIES, np.int64)
    tallies[Tally.ARRIVED] = arrived
    for latency, seconds in ((Latency.TTFT, ttft_seconds), (Latency.TPOT, tpot_seconds)):
        counts[latency, bin_of(np.array([round(seconds * PS_PER_SECOND)]))] = 10
    return Observed(counts, tallies, running, waiting, kv)


def looked(scaler: Scaler, at_ns: int, up: int, coming: int, what: Observed) -> int:
    scaler.look(at_ns, up, coming, what)
    return scaler.count


@given(st.integers(1, 500), st.integers(0, 50_000))
def test_up_follows_the_rule(up: int, running: int) -> None:
    """ceil(replicas metric / target), unless the metric is within the tolerance of its target."""
    scaler = Scaler(Scaling("concurrency", 20.0, 1, 10_000), MINUTE, up)
    ratio = running / up / 20.0
    wanted = up if abs(ratio - 1.0) <= TOLERANCE else int(np.ceil(up * min(ratio, MOST_FACTOR)))
    assert looked(scaler, MINUTE, up, 0, seen(running=running)) == max(1, wanted)


@pytest.mark.parametrize(
    ("metric", "target", "what"),
    [
        ("queue", 2.0, seen(waiting=60)),
        ("kv", 0.5, seen(kv=0.75)),
        ("ttft", 2.0, seen(ttft_seconds=3.0)),
        ("tpot", 0.04, seen(tpot_seconds=0.06)),
    ],
)
def test_every_metric_half_above_its_target_asks_for_half_as_many_more(metric: str, target: float, what: Observed) -> None:
    scaler = Scaler(Scaling(metric, target, 1, 100), MINUTE, 20)
    assert looked(scaler, MINUTE, 20, 0, what) in (30, 31)  # a quantile is known within 2 %


def test_down_waits_for_its_cooldown() -> None:
    scaler = Scaler(Scaling("concurrency", 10.0, 1, 100, down_ns=5 * MINUTE), MINUTE, 20)
    assert looked(scaler, MINUTE, 20, 0, seen(running=200)) == 20
    for minute in range(2, 6):
        assert looked(scaler, minute * MINUTE, 20, 0, seen(running=50)) == 20
    assert looked(scaler, 6 * MINUTE, 20, 0, seen(running=50)) == 5


def test_up_waits_between_two_steps() -> None:
    scaler = Scaler(Scaling("concurrency", 10.0, 1, 100, up_ns=3 * MINUTE), MINUTE, 10)
    assert looked(scaler, MINUTE, 10, 0, seen(running=200)) == 20
    assert looked(scaler, 2 * MINUTE, 20, 0, seen(running=400)) == 20
    assert looked(scaler, 4 * MINUTE, 20, 0, seen(running=400)) == 40


def test_replicas_that_come_are_not_asked_for_again() -> None:
    """The metric is that of those that are up, and it wants 20 in all, of which 10 are on their way."""
    scaler = Scaler(Scaling("concurrency", 10.0, 1, 100), MINUTE, 20)
    assert looked(scaler, MINUTE, 10, 10, seen(running=200)) == 20


def test_to_zero_and_back() -> None:
    scaler = Scaler(Scaling("concurrency", 10.0, 0, 100, idle_ns=10 * MINUTE, down_ns=0), MINUTE, 1)
    assert looked(scaler, 5 * MINUTE, 1, 0, seen(arrived=0)) in (0, 1)
    assert looked(scaler, 20 * MINUTE, 1, 0, seen(arrived=0)) == 0
    assert looked(scaler, 21 * MINUTE, 0, 0, seen(arrived=3, waiting=3)) == 1


def test_a_forecast_asks_before_the_load_is_there() -> None:
    """Arrivals that grow by a tenth of the first a minute, looked at ten minutes ahead."""
    plain, ahead = (Scaler(Scaling("concurrency", 10.0, 1, 1000, lead_ns=lead), MINUTE, 20) for lead in (0, 10 * MINUTE))
    for minute in range(1, 31):
        what = seen(arrived=1000 + 100 * minute, running=200)
        wanted = looked(plain, minute * MINUTE, 20, 0, what), looked(ahead, minute * MINUTE, 20, 0, what)
    assert wanted[0] == 20
    assert 24 <= wanted[1] <= 26  # 4,000 now, 5,000 then


def test_what_somebody_asks_for_stands_until_the_next_look() -> None:
    scaler = Scaler(Scaling("concurrency", 10.0, 1, 100, down_ns=0), MINUTE, 20)
    scaler.hold(50, MINUTE)
    assert looked(scaler, 2 * MINUTE, 20, 30, seen(running=200)) == 50
    assert looked(scaler, 3 * MINUTE, 50, 0, seen(running=200)) == 20


def test_without_a_metric_the_number_stays() -> None:
    scaler = Scaler(Scaling(least=0, most=10), MINUTE, 4)
    assert looked(scaler, MINUTE, 2, 1, seen(running=1000)) == 4
    scaler.hold(7, MINUTE)
    assert looked(scaler, 2 * MINUTE, 4, 3, seen()) == 7
