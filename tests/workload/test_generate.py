"""The generated day: the load that was asked for, the published mix, and a job's luck of its own."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import emulator.workload.generate as generator
from emulator.workload.generate import GeneratorSettings, generate
from emulator.workload.jobs import COLUMN_NAMES, SECOND, JobColumns, JobKind
from emulator.workload.mix import CLASSES, QUEUES, fitted
from emulator.workload.stratified import BLOCK, arrivals, points
from topology.catalog import GpuType

H100 = GpuType("H100", 989e12, 1979e12, 794.5e12, 80e9, 3.35e12, 450e9, 700.0)
DAY = 86_400 * SECOND


def day(gpus: int = 100_000, seed: int = 1, until_ns: int = DAY, gpus_per_host: int = 8, **settings: Any) -> list[JobColumns]:
    return list(generate(GeneratorSettings(**settings), gpus, seed, until_ns, H100, gpus_per_host))


def column(batches: list[JobColumns], name: str) -> np.ndarray:
    return np.concatenate([getattr(batch, name) for batch in batches])


def load(batches: list[JobColumns], gpus: int) -> float:
    return float((column(batches, "gpus") * column(batches, "duration_ns").astype(float)).sum() / (gpus * DAY))


def demand(batches: list[JobColumns], at_ns: int) -> int:
    """GPUs asked for at an instant, had no job to wait."""
    start = column(batches, "submit_ns")
    return int(column(batches, "gpus")[(start <= at_ns) & (at_ns < start + column(batches, "duration_ns"))].sum())


@pytest.mark.parametrize("asked", [0.9, 0.95, 1.1])
def test_the_load_is_the_one_asked_for(asked: float) -> None:
    """Its mean over seeds within half a percent, each seed within 4 % (its standard deviation is 1 %)."""
    loads = [load(day(seed=seed, load=asked, carry_over=False), 100_000) / asked for seed in range(12)]
    assert abs(np.mean(loads) - 1) < 0.005
    assert np.abs(np.array(loads) - 1).max() < 0.04


@pytest.mark.parametrize(("gpus", "gpus_per_host"), [(256, 8), (14_400, 8), (37_632, 4), (63_744, 6)])
def test_other_clusters_get_the_load_and_jobs_that_fit(gpus: int, gpus_per_host: int) -> None:
    loads = []
    for seed in range(12):
        batches = day(gpus, seed, gpus_per_host=gpus_per_host, carry_over=False)
        sizes = column(batches, "gpus")
        assert sizes.max() <= gpus // 4
        assert ((sizes <= gpus_per_host) | (sizes % gpus_per_host == 0)).all()
        loads.append(load(batches, gpus) / 0.95)
    assert abs(np.mean(loads) - 1) < 0.02


def test_a_day_of_colossus() -> None:
    """About 30,000 jobs; demand, smoothed by the durations, is above the cluster for part of the day and below it for another."""
    batches = day()
    assert 29_000 < sum(len(batch) for batch in batches[1:]) < 31_000
    by_hour = np.array([demand(batches, hour * 3_600 * SECOND) for hour in range(24)]) / 100_000
    assert 0.85 < by_hour[0] < 1.15, "the cluster starts as full as it goes on"
    assert by_hour.max() > 1.05
    assert by_hour.min() < 0.9
    assert 0.85 < by_hour.mean() < 1.1


def test_the_carried_over_jobs_are_named_and_come_first() -> None:
    batches = day()
    assert batches[0].names is not None
    assert all(name.startswith("carried-over-") for name in batches[0].names)
    assert (batches[0].submit_ns == 0).all()
    assert all(batch.names is None for batch in batches[1:])
    without = day(carry_over=False)
    np.testing.assert_array_equal(column(batches[1:], "duration_ns"), column(without, "duration_ns"))


def test_the_contract_of_a_source() -> None:
    batches = day()
    ids = column(batches, "job_id")
    np.testing.assert_array_equal(ids, np.arange(len(ids)))
    submit = column(batches, "submit_ns")
    assert (np.diff(submit) >= 0).all()
    assert submit[0] >= 0
    assert submit[-1] < DAY
    for batch in batches:
        assert (batch.duration_ns >= 1).all()
        assert (batch.estimate_ns >= batch.duration_ns).all()
        assert (batch.duration_ns <= 7 * DAY).all()
        training = batch.kind == JobKind.TRAINING
        np.testing.assert_array_equal(training, batch.shape >= 0)
        assert batch.shape.max() < len(batch.shapes)
        assert ((batch.checkpoint_ns > 0) == training).all()
        assert batch.queue.max() < len(QUEUES) == len(batch.queues)
        assert batch.tenant.max() < len(batch.tenants)
    assert len(batches[0].shapes) <= 3 * len(CLASSES)


def test_estimates_are_round_and_some_are_the_maximum() -> None:
    """Tsafrir: a handful of values, the longest among the popular ones."""
    batch = day(carry_over=False)[0]
    values, counts = np.unique(batch.estimate_ns[batch.kind != JobKind.SERVICE] / (3_600 * SECOND), return_counts=True)
    assert set(values) <= set(generator.ESTIMATE_HOURS)
    assert counts[-1] > 0.05 * counts.sum()


def test_the_mix_is_the_one_cited() -> None:
    """RSC and HPN, as cited in mix.py, some of it recalled."""
    jobs = {size: sum(row.job_share for row in CLASSES if row.gpus == size) for size in {row.gpus for row in CLASSES}}
    time = {size: sum(row.time_share for row in CLASSES if row.gpus == size) for size in jobs}
    assert sum(jobs.values()) == pytest.approx(100)
    assert sum(time.values()) == pytest.approx(100)
    assert jobs[1] > 40
    assert sum(share for size, share in jobs.items() if size <= 8) > 90
    assert sum(share for size, share in time.items() if size <= 8) == pytest.approx(10)
    assert sum(share for size, share in time.items() if size >= 256) == pytest.approx(66)
    assert jobs[4096] < 1
    assert time[4096] == pytest.approx(12)
    training = sum(row.job_share for row in CLASSES if row.kind == JobKind.TRAINING)
    large = sum(row.job_share for row in CLASSES if row.kind == JobKind.TRAINING and row.gpus >= 1024)
    assert 1 - large / training == pytest.approx(0.963, abs=0.0005)


def test_the_generated_day_has_the_mix() -> None:
    batches = day(carry_over=False)
    sizes = column(batches, "gpus")
    time = sizes * column(batches, "duration_ns").astype(float)
    assert np.mean(sizes == 1) == pytest.approx(0.405, abs=0.005)
    assert time[sizes >= 256].sum() / time.sum() == pytest.approx(0.66, abs=0.03)
    assert time[sizes == 4096].sum() / time.sum() == pytest.approx(0.12, abs=0.03)


def test_the_same_jobs_on_a_larger_cluster() -> None:
    small, large = day(), day(4_000_000, reference_gpus=100_000)
    for name in COLUMN_NAMES:
        np.testing.assert_array_equal(column(small, name), column(large, name))


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short, long = day(until_ns=DAY // 3, gpus=14_400), day(until_ns=2 * DAY, gpus=14_400)
    count = sum(len(batch) for batch in short)
    for name in COLUMN_NAMES:
        np.testing.assert_array_equal(column(short, name), column(long, name)[:count])


def test_the_size_of_batches_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = day(gpus=14_400)
    monkeypatch.setattr(generator, "CHUNK_JOBS", BLOCK)
    other = day(gpus=14_400)
    assert len(other) > len(expected)
    for name in COLUMN_NAMES:
        np.testing.assert_array_equal(column(expected, name), column(other, name))


def test_seeds_differ() -> None:
    assert not np.array_equal(column(day(256, seed=1), "duration_ns")[:100], column(day(256, seed=2), "duration_ns")[:100])


def test_arrivals_follow_the_day() -> None:
    """With a swing of 0.5 around a peak at 15 h, the rate is 1.5 of the mean then and half of it at 3 h; a day in all is unchanged."""
    submit = column(day(until_ns=4 * DAY, diurnal_ratio=0.5, carry_over=False), "submit_ns")
    hour = submit % DAY // (3_600 * SECOND)
    per_hour = np.bincount(hour, minlength=24) / (len(submit) / 24)
    assert per_hour[14:16].mean() == pytest.approx(1.5, abs=0.05)
    assert per_hour[2:4].mean() == pytest.approx(0.5, abs=0.05)
    assert np.bincount(submit // DAY) == pytest.approx([30_000] * 4, abs=BLOCK)


def test_an_endless_run_is_a_stream() -> None:
    batches = generate(GeneratorSettings(), 256, 1, 2**62, H100, 8)
    assert next(batches).names is not None
    assert len(next(batches)) == generator.CHUNK_JOBS


def test_no_time_no_jobs() -> None:
    assert day(until_ns=0) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("load", 0), ("load", float("nan")), ("reference_gpus", 0), ("jobs_per_day", -1), ("diurnal_ratio", 1.0), ("peak_hour", 25),
        ("day_seconds", 0), ("largest_gang_ratio", 0), ("tenants", 0),
    ],
)  # fmt: skip
def test_bad_settings_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*allowed"):
        GeneratorSettings(**{name: value})  # type: ignore[arg-type]  # some are of the wrong type on purpose


def test_a_load_that_cannot_be_had_says_what_to_change() -> None:
    with pytest.raises(ValueError, match=r"run .* s on average .*allowed: 60 to .* jobs_per_day"):
        day(gpus=4_000_000, jobs_per_day=100.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3_000), st.integers(0, 2**64 - 1), st.sampled_from([1, 4, 6, 8]))
def test_any_cluster_gets_jobs_that_fit(gpus: int, seed: int, gpus_per_host: int) -> None:
    batches = list(generate(GeneratorSettings(), gpus, seed, DAY // 4, H100, gpus_per_host))
    assert column(batches, "gpus").max() <= max(gpus // 4, min(gpus, gpus_per_host))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(-4, 4))
def test_points_are_even(seed: int, block: int) -> None:
    """1,024 aligned jobs have one point in each cell of every grid of 1,024 cells (a (0, 2)-sequence)."""
    one, two = points(seed, block * 1024, 1024)
    for bits in range(11):
        cell = np.floor(one * 2**bits) * 2 ** (10 - bits) + np.floor(two * 2 ** (10 - bits))
        assert len(np.unique(cell)) == 1024


def test_points_and_arrivals_do_not_depend_on_where_one_starts() -> None:
    whole = points(7, 0, 4 * BLOCK)
    part = points(7, 2 * BLOCK, BLOCK)
    np.testing.assert_array_equal(whole[0][2 * BLOCK : 3 * BLOCK], part[0])
    np.testing.assert_array_equal(whole[1][2 * BLOCK : 3 * BLOCK], part[1])
    np.testing.assert_array_equal(arrivals(7, 0, 4 * BLOCK)[2 * BLOCK : 3 * BLOCK], arrivals(7, 2 * BLOCK, BLOCK))


def test_neighbours_are_unrelated() -> None:
    """The shuffle leaves no correlation from one job to the next, and gaps look exponential: mean 1, as many below ln 2 as above."""
    one, two = points(3, 0, 64 * BLOCK)
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.03
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.03
    gaps = np.diff(arrivals(3, 0, 64 * BLOCK))
    assert gaps.mean() == pytest.approx(1, abs=0.02)
    assert np.mean(gaps < np.log(2)) == pytest.approx(0.5, abs=0.02)


def test_the_normal_quantile() -> None:
    probability = np.array([1e-9, 0.001, 0.1, 0.5, 0.975, 1 - 1e-9])
    np.testing.assert_allclose(
        generator._normal_quantile(probability), [-5.997807, -3.090232, -1.281552, 0.0, 1.959964, 5.997807], atol=2e-5
    )


def test_fitted_shares_add_up() -> None:
    for largest in (1, 8, 64, 8192):
        rows = fitted(largest, 8)
        assert sum(row.job_share for row in rows) == pytest.approx(100)
        assert sum(row.time_share for row in rows) == pytest.approx(100)
    assert fitted(48, 6)[0] == fitted(64, 6)[0]
    with pytest.raises(ValueError, match="no job fits"):
        fitted(0, 8)


def test_columns_have_their_types() -> None:
    batch = day(256)[0]
    for field in fields(JobColumns):
        if field.name in COLUMN_NAMES:
            assert getattr(batch, field.name).shape == (len(batch),), field.name
    assert batch.submit_ns.dtype == batch.duration_ns.dtype == batch.job_id.dtype == np.int64


def test_jobs_so_rare_that_the_next_one_is_beyond_all_time_do_not_come() -> None:
    assert day(1000, jobs_per_day=1e-3, load=1e-6, carry_over=False) == []
