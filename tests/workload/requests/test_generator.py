"""The generator against theory: counts, days, bursts, lengths and sessions."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from emulator.workload.requests import (
    NAMED_LENGTHS,
    SLICE_NS,
    WORLD,
    Arrivals,
    Generator,
    GeneratorSettings,
    Length,
    Lengths,
    constant,
    lognormal,
    uniform_between,
)
from emulator.workload.requests.fitted import FITTED
from emulator.workload.requests.statistics import burst_dispersion, counts_in, dispersion, gap_variation
from tests.workload.requests.helpers import SECOND, same, taken

DAY = 86_400
SHORT = Lengths(constant(100), constant(10))
PLAIN = GeneratorSettings(requests_per_second=5.0, lengths=SHORT)


def test_counts_over_seeds_are_poisson() -> None:
    """Of 2,000 seeds, 35 s each: mean 175, and variance over mean within four standard errors, sqrt(2 / 2000), of 1."""
    counts = np.array([len(taken(Generator(PLAIN), [35 * SECOND], seed)) for seed in range(2000)])
    assert abs(counts.mean() - 175) < 4 * np.sqrt(175 / 2000)
    assert dispersion(counts) == pytest.approx(1.0, abs=4 * np.sqrt(2 / 2000))


def test_arrivals_within_a_day_are_a_poisson_process() -> None:
    arrival_ns = taken(Generator(PLAIN), [DAY * SECOND]).arrival_ns
    assert (np.diff(arrival_ns) >= 0).all()
    assert gap_variation(arrival_ns) == pytest.approx(1.0, abs=0.01)
    for seconds in (1, 7, 10, 60):  # whatever the slices are
        windows = counts_in(arrival_ns, seconds * SECOND)
        assert dispersion(windows) == pytest.approx(1.0, abs=4 * np.sqrt(2 / len(windows)))


@pytest.mark.parametrize("name", FITTED)
def test_bursts_have_the_dispersion_of_the_formula(name: str) -> None:
    """A month, so that some 9,000 periods or more are averaged."""
    fit = FITTED[name]
    settings = replace(PLAIN, burst_shape=fit.burst_shape, burst_period_seconds=fit.burst_period_seconds)
    arrival_ns = taken(Generator(settings), [30 * DAY * SECOND]).arrival_ns
    for seconds in (17, 61, 293, 701):  # none in step with the periods
        found = dispersion(counts_in(arrival_ns, seconds * SECOND))
        assert found == pytest.approx(burst_dispersion(5.0 * seconds, fit.burst_shape, seconds / fit.burst_period_seconds), rel=0.06)
    k = fit.burst_shape
    assert gap_variation(arrival_ns) == pytest.approx(np.sqrt((k + 1) / (k - 1)), rel=0.01)


def test_bursts_are_common_to_all_pools() -> None:
    """Counts of two pools by period are as correlated as the factor makes them: its variance m**2 / k beside Poisson's m."""
    settings = replace(PLAIN, burst_shape=1.0, burst_period_seconds=10.0)
    counts = [
        np.bincount(taken(Generator(settings), [DAY * SECOND], pool=pool, share=share).arrival_ns // SLICE_NS, minlength=8640)
        for pool, share in enumerate(((0.0, 0.5), (0.5, 1.0)))
    ]
    assert np.corrcoef(counts[0], counts[1])[0, 1] == pytest.approx(25.0**2 / (25.0**2 + 25.0), abs=0.02)


def test_the_day_is_that_of_the_zones() -> None:
    """By the hour: each zone's cosine at its own clock, weighted. One zone of UTC+8 that peaks at 15:00 peaks at 07:00 UTC."""
    china = GeneratorSettings(requests_per_second=20.0, lengths=SHORT, diurnal_ratio=0.6, peak_hour=15.0, zones=((8.0, 1.0),))
    world = replace(china, zones=WORLD)
    for settings in (china, world):
        hours = counts_in(taken(Generator(settings), [DAY * SECOND]).arrival_ns, 3600 * SECOND)
        clock = np.arange(len(hours)) + 0.5
        weights = np.array([weight for _, weight in settings.zones])
        swings = [1 + 0.6 * np.cos(2 * np.pi * (clock + offset - 15.0) / 24) for offset, _ in settings.zones]
        expected = 72_000 * (weights @ np.array(swings)) / weights.sum()
        assert (np.abs(hours - expected) < 5 * np.sqrt(expected)).all()
    swing = [np.ptp(Generator(settings).expected(0, 8640)) for settings in (china, world)]
    assert swing[1] < 0.6 * swing[0], "the world's day is flatter"


def test_days_add_up_to_the_rate() -> None:
    settings = replace(PLAIN, diurnal_ratio=0.9, zones=WORLD)
    assert Generator(settings).expected(8640 * 500, 8640 * 501).sum() == pytest.approx(5.0 * DAY, rel=1e-9)


@pytest.mark.parametrize("name", FITTED)
def test_fitted_lengths_are_those_of_the_table(name: str) -> None:
    requests = taken(Generator(replace(PLAIN, requests_per_second=100.0, lengths=NAMED_LENGTHS[name])), [2000 * SECOND])
    fit = FITTED[name]
    edges = fit.prompt[16:64:16]
    assert requests.prompt.mean() == pytest.approx(NAMED_LENGTHS[name].prompt.mean, rel=0.01)
    assert requests.prompt.min() >= fit.prompt[0]
    assert requests.prompt.max() < fit.prompt[-1]
    for share, edge in zip((0.25, 0.5, 0.75), edges, strict=True):
        assert np.mean(requests.prompt < edge) == pytest.approx(share, abs=0.005)
    for quarter, (low, high) in enumerate(zip((fit.prompt[0], *edges), (*edges, fit.prompt[-1]), strict=True)):
        output = requests.output[(requests.prompt > low) & (requests.prompt < high - 1)]
        assert np.mean(output < fit.output[quarter][32]) == pytest.approx(0.5, abs=0.02)


def test_lognormal_lengths() -> None:
    requests = taken(
        Generator(replace(PLAIN, requests_per_second=50.0, lengths=Lengths(lognormal(900.0, 1.5), lognormal(200.0, 0.4)))), [4000 * SECOND]
    )
    for tokens, mean, cv in ((requests.prompt, 900.0, 1.5), (requests.output, 200.0, 0.4)):
        assert tokens.mean() == pytest.approx(mean, rel=0.02)
        assert tokens.std() / tokens.mean() == pytest.approx(cv, rel=0.06)
        assert tokens.min() >= 1


def test_uniform_lengths_reach_both_ends() -> None:
    requests = taken(Generator(replace(PLAIN, lengths=Lengths(uniform_between(8, 10), uniform_between(1, 1)))), [2000 * SECOND])
    values, counts = np.unique(requests.prompt, return_counts=True)
    assert values.tolist() == [8, 9, 10]
    assert counts / len(requests) == pytest.approx([1 / 3] * 3, abs=0.02)
    assert set(requests.output.tolist()) == {1}


def test_reasoning_answers_are_long() -> None:
    output = taken(Generator(replace(PLAIN, lengths=NAMED_LENGTHS["reasoning"])), [8000 * SECOND]).output
    assert output.mean() == pytest.approx(12_000, rel=0.03)


def test_sessions_are_conversations() -> None:
    """Each prompt is the system's, all that was said before and something new; the same blocks have the same hashes, and no others."""
    settings = replace(PLAIN, session_ratio=0.6, session_turns=4.0, think_seconds=20.0, system_tokens=100, block_tokens=16,
                       lengths=Lengths(uniform_between(20, 90), uniform_between(5, 60)))  # fmt: skip
    cursor = Arrivals(Generator(settings), 1, 0, 0)
    cursor.take(3600 * SECOND, 0.0, 1.0)  # sessions from before the start have lost their first turns
    requests = cursor.take(3 * 3600 * SECOND, 0.0, 1.0)
    assert abs(len(requests) - 36_000) < 5 * np.sqrt(36_000 * 4)
    by_key: dict[int, list[int]] = {}
    for row, key in enumerate(requests.key.tolist()):
        by_key.setdefault(key, []).append(row)
    owner: dict[int, set[int]] = {}
    for key, rows in by_key.items():
        said = 0
        blocks: list[int] = []
        for row in rows:
            prompt, hashes = int(requests.prompt[row]), requests.hashes[requests.hash_start[row] : requests.hash_start[row + 1]].tolist()
            assert len(hashes) == prompt // 16
            assert hashes[: len(blocks)] == blocks
            if said:
                assert 20 <= prompt - said <= 90
            said, blocks = prompt + int(requests.output[row]), hashes
        for place, block in enumerate(blocks):
            owner.setdefault(block, set()).add(key if place >= 6 else -place - 1)
    assert all(len(keys) == 1 for keys in owner.values())
    assert sum(min(keys) < 0 for keys in owner.values()) == 6  # whole blocks of 100 common tokens


def test_turns_and_thinking_have_their_means() -> None:
    """Sessions that begin in the second hour, seen until they are over."""
    settings = replace(PLAIN, requests_per_second=20.0, session_ratio=1.0, session_turns=5.0, think_seconds=30.0, context_tokens=1 << 24)
    cursor = Arrivals(Generator(settings), 1, 0, 0)
    cursor.take(3600 * SECOND, 0.0, 1.0)
    first = cursor.take(7200 * SECOND, 0.0, 1.0)
    later = cursor.take(4 * 3600 * SECOND, 0.0, 0.0)
    fresh = np.unique(first.key[first.prompt == 100])
    keys, arrivals = np.concatenate((first.key, later.key)), np.concatenate((first.arrival_ns, later.arrival_ns))
    ours = np.isin(keys, fresh)
    _, turns = np.unique(keys[ours], return_counts=True)
    assert turns.mean() == pytest.approx(5.0, rel=0.03)
    assert turns.var() == pytest.approx(5.0 * 4.0, rel=0.1)  # geometric
    order = np.lexsort((arrivals[ours], keys[ours]))
    key, time = keys[ours][order], arrivals[ours][order]
    gaps = np.diff(time)[key[1:] == key[:-1]] / SECOND
    assert gaps.mean() == pytest.approx(30.0, rel=0.03)
    assert gaps.std() == pytest.approx(30.0, rel=0.05)


def test_a_conversation_ends_at_the_context() -> None:
    settings = replace(PLAIN, session_ratio=1.0, session_turns=50.0, think_seconds=1.0, context_tokens=500, system_tokens=60)
    requests = taken(Generator(settings), [1000 * SECOND])
    assert int((requests.prompt + requests.output).max()) == 60 + 4 * 110  # a fifth turn would need 610


def test_nothing_shared_has_no_hashes() -> None:
    assert not len(taken(Generator(PLAIN), [60 * SECOND]).hashes)


def test_a_generator_can_be_sent_after_use() -> None:
    source = Generator(replace(PLAIN, lengths=NAMED_LENGTHS["azure-conv"], session_ratio=0.5))
    found = taken(source, [60 * SECOND])
    assert same(taken(pickle.loads(pickle.dumps(source)), [60 * SECOND]), found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"requests_per_second": -1.0}, "requests_per_second: -1.0"),
        ({"requests_per_second": float("nan")}, "requests_per_second: nan"),
        ({"diurnal_ratio": 1.0}, "diurnal_ratio"),
        ({"zones": ()}, "zones"),
        ({"zones": ((30.0, 1.0),)}, "zones"),
        ({"zones": ((3.0, 0.0),)}, "zones"),
        ({"burst_shape": float("inf")}, "burst_shape: inf"),
        ({"burst_period_seconds": 15.0}, "a multiple of 10"),
        ({"session_turns": 0.5}, "session_turns"),
        ({"session_ratio": 1.5}, "session_ratio"),
        ({"think_seconds": 0.0}, "think_seconds"),
        ({"block_tokens": 0}, "block_tokens"),
        ({"system_tokens": 200_000}, "system_tokens"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(PLAIN, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "first", "second", "table"),
    [
        ("constant", 0, 0, ""),
        ("constant", 1.5, 0, ""),
        ("uniform", 5, 4, ""),
        ("uniform", 0, 4, ""),
        ("lognormal", 0.5, 1, ""),
        ("lognormal", 10, float("nan"), ""),
        ("lognormal", float("inf"), 1, ""),
        ("constant", float("inf"), 0, ""),
        ("fitted", 0, 0, "none"),
        ("normal", 1, 1, ""),
    ],
)
def test_lengths_that_cannot_be(kind: str, first: float, second: float, table: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Length(kind, first, second, table)
