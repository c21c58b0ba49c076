"""The arithmetic of a comparison against scipy and slow, plain oracles; and its runs against runs by themselves."""

import logging
import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from emulator.experiments.compare.cells import Cell, Group, Variant, Window, cells, cut
from emulator.experiments.compare.comparison import Comparison
from emulator.experiments.compare.fairness import bounded_slowdown, jain_index
from emulator.experiments.compare.intervals import Estimate, estimate, paired_difference, t_quantile
from emulator.experiments.compare.metrics import WAIT_GRID_SECONDS, metrics, started_ratios
from emulator.experiments.compare.one_run import Failed, Ran, one_run
from emulator.experiments.compare.run_all import Runs
from emulator.experiments.compare.tables import Table, markdown, notes, parts, tables
from emulator.report.outcome import NEVER, STATES
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.scenario import load
from emulator.workload.jobs import SECOND
from tests.report.example import HOUR, build_outcome

values = st.lists(st.integers(-(10**6), 10**6).map(lambda value: value / 8), min_size=2, max_size=12, unique=True)
DAY = 24 * HOUR
FIFO, EASY = Variant("fifo", "topology"), Variant("easy", "topology")


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("freedom", [*range(1, 32), 99, 100, 1000])
def test_quantiles_of_t_are_those_of_scipy(freedom: int, confidence: float) -> None:
    assert t_quantile(confidence, freedom) == pytest.approx(stats.t.ppf((1 + confidence) / 2, freedom), rel=1e-9)


def test_a_quantile_of_students_table() -> None:
    assert round(t_quantile(0.95, 9), 3) == 2.262


@given(values)
def test_an_interval_is_that_of_scipy(sample: list[float]) -> None:
    found = estimate(sample)
    low, high = stats.t.interval(0.95, len(sample) - 1, loc=np.mean(sample), scale=stats.sem(sample))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(sample), low, high), rel=1e-6, abs=1e-6)


@given(values)
def test_a_paired_difference_is_that_of_scipy(sample: list[float]) -> None:
    base = [value / 2 + 3 for value in reversed(sample)]
    assume(len({round(value - other, 3) for value, other in zip(sample, base, strict=True)}) > 1)
    found = paired_difference(sample, base)
    expected = stats.ttest_rel(sample, base).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-6)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert estimate([2.5, 2.5, 2.5]) == Estimate(2.5, 2.5, 2.5, 3)


def test_what_is_missing_is_left_out_in_pairs() -> None:
    assert paired_difference([1.0, None, 5.0, 7.0], [0.0, 1.0, None, 5.0]) == estimate([1.0, 2.0])
    assert estimate([None, 3.0]).low is None
    assert estimate([None]).mean is None


def test_jains_index() -> None:
    """Of the paper: where k of n have all, alike, it is k / n."""
    assert jain_index([1.0] * 20 + [0.0] * 80) == pytest.approx(0.2)
    assert jain_index([3.0, 3.0, 3.0]) == 1
    assert jain_index([]) is jain_index([0.0]) is None


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=20), st.floats(0.001, 1000))
def test_jains_index_is_bounded_and_has_no_unit(sample: list[float], scale: float) -> None:
    found = jain_index(sample)
    assert found is not None
    assert 1 / len(sample) - 1e-9 <= found <= 1 + 1e-9
    assert jain_index([scale * value for value in sample]) == pytest.approx(found)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1))
def test_bounded_slowdown(jobs: list[tuple[float, float]]) -> None:
    plain = [max(1.0, (wait + run) / (max(10, run))) for wait, run in jobs]
    wait, run = np.array(jobs).T
    assert bounded_slowdown(wait + run, run).tolist() == pytest.approx(plain)


def test_the_metrics_of_a_run_by_hand() -> None:
    """Of the example: 7 (8 GPUs) waits 0 and runs an hour; 3 (16) waits 1 h, ends at 3 h and lost an eighth of the 2 h that it ran; 1 (64)
    runs since 2 h, submitted at 1 h; 2 (128) waits since 1 h, at 4 h; the two others were refused.
    """
    outcome = build_outcome()
    values = summary(outcome)
    found = metrics(outcome, values)
    for name in ("wait_seconds", "completion_seconds"):
        assert {key: found[f"{name}.{key}"] for key in ("mean", "p50", "p90", "p99")} == values[name]
    assert found["wait_seconds.p90.by_gpus.2-8"] == 0
    assert found["wait_seconds.mean"] == (0 + 1 + 1) * 3600 / 3
    assert found["wait_so_far_seconds.mean"] == (0 + 1 + 1 + 3) * 3600 / 4
    assert found["bounded_slowdown.mean"] == (1 + 3 / (2 * 7 / 8)) / 2
    assert found["bounded_slowdown.mean.by_gpus.2-8"] == 1
    assert found["wait_so_far_seconds.mean.by_gpus.65-512"] == 3 * 3600
    assert found["wait_seconds.mean.by_gpus.65-512"] is None
    assert found["completion_seconds.mean.by_gpus.9-64"] == 3 * 3600
    assert (found["jobs.submitted.by_gpus.9-64"], found["jobs.pending.by_gpus.65-512"]) == (2, 1)
    assert found["gpu_seconds.by_gpus.9-64"] == 160 * 3600
    assert found["goodput_ratio"] == 1 - 16.8 / 168
    assert found["makespan_seconds"] is None
    assert found["fairness.jain_index"] is None, "one tenant alone has a job that finished"


def test_fairness_is_over_the_tenants_means() -> None:
    outcome = build_outcome()
    done = STATES.index(outcome_state("finished"))
    state = np.where(outcome.jobs.job_id == 1, done, outcome.jobs.state).astype(np.int8)
    jobs = replace(outcome.jobs, state=state, end_ns=np.where(outcome.jobs.job_id == 1, 4 * HOUR, outcome.jobs.end_ns))
    outcome = replace(outcome, jobs=jobs)
    found = metrics(outcome, summary(outcome))
    slowdowns = [(1 + 3 / (2 * 7 / 8)) / 2, 3 / (2 * 0.9)]
    assert found["fairness.jain_index"] == pytest.approx(sum(slowdowns) ** 2 / (2 * sum(x * x for x in slowdowns)))
    assert found["fairness.worst_tenant_slowdown"] == pytest.approx(max(slowdowns))
    assert found["completion_seconds.mean.by_tenant.vision"] == 3 * 3600


def outcome_state(name: str) -> Any:
    return next(state for state in STATES if state == name)


def test_the_part_that_has_started() -> None:
    jobs = build_outcome().jobs
    times = zip(jobs.start_ns.tolist(), jobs.submit_ns.tolist(), strict=True)
    waits = [(start - submit) / SECOND for start, submit in times if start != NEVER]
    assert started_ratios(jobs) == [sum(wait <= at for wait in waits) / 4 for at in WAIT_GRID_SECONDS]


def test_windows_are_cut_from_dates_and_from_seconds() -> None:
    assert cut({"from": "2017-10-01", "until": "2017-10-16"}, 7 * DAY) == [
        Window("2017-10-01", "2017-10-08"),
        Window("2017-10-08", "2017-10-15"),
    ]
    assert cut({"from": "0", "until": "3"}, 3 * SECOND // 2) == [Window("0", "1.5"), Window("1.5", "3")]
    assert cut({"from": "2017-10-01T12:00:00+01:00", "until": "2017-10-02"}, 6 * HOUR) == [
        Window("2017-10-01T11:00:00", "2017-10-01T17:00:00"),
        Window("2017-10-01T17:00:00", "2017-10-01T23:00:00"),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"from": "0"}, "until is not given"),
        ({"from": "soon", "until": "3"}, "neither a date nor a number"),
        ({"from": "2017-10-01", "until": "3"}, "two of a kind"),
        ({"from": "0", "until": "1"}, "0 windows; allowed: 1 to 1000"),
        ({"from": "5", "until": "1"}, "0 windows"),
        ({"from": "0", "until": "9999"}, "4999 windows"),
    ],
)
def test_windows_that_are_none(options: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cut(options, 2 * SECOND)


def groups(*policies: str, more: tuple[str, ...] = ()) -> list[Group]:
    made = []
    for policy in policies:
        scenario = load("laptop", [f"scheduler.policy={policy}", "clock.until=30m", "seed=3", *more])
        made.append(Group("laptop", Variant(policy, "topology"), scenario, to_end_of_work=False))
    return made


def test_seeds_count_from_the_scenarios_own_and_are_the_same_for_all() -> None:
    assert [(cell.variant, cell.seed) for cell in cells(groups("fifo", "easy"), 2)] == [(FIFO, 3), (EASY, 3), (FIFO, 4), (EASY, 4)]
    assert [cell.seed for cell in cells(groups("fifo"), [9, 1])] == [9, 1]


def test_a_run_is_the_run_by_itself() -> None:
    (group,) = groups("fifo")
    alone = group.scenario.model_copy(update={"runtime": group.scenario.runtime.model_copy(update={"actors": "inline"}), "seed": 4})
    with closing(open_session(alone)) as session:
        expected = summary(session.run_to_end())
    ended = one_run(cells([group], 2)[1])
    assert isinstance(ended, Ran)
    cost = ("wall_seconds", "cpu_seconds", "peak_rss_bytes")
    assert {key: value for key, value in ended.summary.items() if key not in cost} == {
        key: value for key, value in expected.items() if key not in cost
    }


@pytest.mark.ray
def test_runs_on_ray_are_those_in_this_process_also_when_ray_dies(caplog: pytest.LogCaptureFixture) -> None:
    bad = Variant("gone.py:plan", "topology")
    every = cells(groups("fifo", "easy"), 4)
    every.append(replace(every[0], variant=bad, scenario={**every[0].scenario, "name": ""}))
    expected = dict(Runs(every, at_once="inline", address=None))
    found = {}
    with caplog.at_level(logging.WARNING):
        for place, ended in Runs(every, at_once=1, address="local"):
            found[place] = ended
            if len(found) == 3:
                children = psutil.Process().children(recursive=True)
                next(process for process in children if "emulator.runtime.ray_calls" in process.cmdline()).kill()
    assert "go on in this process" in caplog.text
    assert sorted(found) == list(range(9))
    assert [result(found[place]) for place in range(9)] == [result(expected[place]) for place in range(9)]
    assert isinstance(found[8], Failed)


def result(ended: Ran | Failed) -> Any:
    return ended if isinstance(ended, Failed) else (ended.summary["digest"], ended.metrics, ended.started_ratios)


def test_stop_ends_between_two_runs() -> None:
    runs = Runs(cells(groups("fifo"), 3), at_once="inline", address=None)
    found = []
    for place, _ in runs:
        found.append(place)
        runs.stop()
    assert found == [0]


@pytest.mark.ray
def test_stop_ends_runs_on_ray_and_leaves_no_process() -> None:
    runs = Runs(cells(groups("fifo"), 50), at_once=1, address="local")
    found = []
    for place, _ in runs:
        found.append(place)
        runs.stop()
    assert found == [0]
    assert not [process for process in psutil.Process().children(recursive=True) if "ray" in " ".join(process.cmdline())]


def ran(**found: float | None) -> Ran:
    return Ran({"digest": "d", "seed": 1}, {"wait_seconds.mean": found["wait"], "jobs.pending": 0.0}, [0.5, 1.0])


def made(*waits: tuple[float | None, float | None]) -> Comparison:
    """Of two policies; None for a run that failed."""
    every: list[Cell] = []
    ended: dict[int, Ran | Failed] = {}
    for replicate, pair in enumerate(waits):
        for variant, wait in zip((FIFO, EASY), pair, strict=True):
            ended[len(every)] = Failed("no") if wait is None else ran(wait=wait)
            every.append(Cell("laptop", variant, replicate, replicate + 1, None, {}, to_end_of_work=False))
    return Comparison(every, ended)


def test_differences_are_by_replicate() -> None:
    comparison = made((10.0, 8.0), (100.0, 97.0), (None, 1.0))
    row = comparison.row("laptop", EASY, "wait_seconds.mean")
    assert row is not None
    assert row.difference == estimate([-2.0, -3.0])
    assert row.value == estimate([8.0, 97.0, 1.0])
    assert comparison.baseline == FIFO
    assert [(cell.seed, run.error) for cell, run in comparison.failed] == [(3, "no")]
    assert (row.as_dict()["policy"], row.as_dict()["pairs"], row.as_dict()["replicates"]) == ("easy", 2, 3)
    half = 12.7062 * 0.5  # t of one degree of freedom, times the standard error of -2 and -3
    assert row.as_dict()["difference_high"] == pytest.approx(-2.5 + half, rel=1e-5)


def test_tables_mark_the_best_and_the_sure() -> None:
    means, differences = tables(made((100.0, 50.0), (102.0, 52.0)), "laptop")
    assert means.headings == ("policy", "wait mean (s)")
    assert means.rows == (("fifo", "101 ±13"), ("easy", "51 ±13 *"))
    assert differences.rows == (("easy", "-50.0 ±0.0 *"),)
    assert markdown(means).splitlines()[1:3] == ["| --- | ---: |", "| fifo | 101 ±13 |"]
    assert notes(made((1.0, 2.0)))[0].startswith("One run each")
    assert notes(made((None, None))) == ["No run has ended, so there are no figures."]


@given(st.integers(1, 60))
def test_a_wide_table_is_shown_in_parts(width: int) -> None:
    rows = (("fifo", "1.00 ±0.25 *", "12", "0.5"), ("sjf", "2", "9,000 ±10", "x"))
    table = Table("all", ("policy", "wait mean (s)", "jobs", "fairness"), 1, rows)
    found = parts(table, width, gap=3)
    assert [heading for part in found for heading in part.headings[1:]] == ["wait mean (s)", "jobs", "fairness"]
    assert tuple(zip(*(cell for part in found for cell in list(zip(*part.rows, strict=True))[1:]), strict=True)) == tuple(
        row[1:] for row in rows
    )
    assert [part.title for part in found] == ["all"] + [""] * (len(found) - 1)
    widths = {"wait mean (s)": 12, "jobs": 9, "fairness": 8}  # of the longest number, or word of the heading
    for part in found:
        assert len(part.headings) == 2 or 6 + sum(3 + widths[heading] for heading in part.headings[1:]) <= width
    assert (len(found) == 1) == (width >= 6 + 3 + 12 + 3 + 9 + 3 + 8)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.none() | st.floats(0, 1e9), st.none() | st.floats(0, 1e9)), min_size=1, max_size=4))
def test_any_numbers_make_tables(waits: list[tuple[float | None, float | None]]) -> None:
    for table in tables(made(*waits), "laptop"):
        assert all(len(row) == len(table.headings) for row in table.rows)
        assert not any("nan" in cell for row in table.rows for cell in row)


def test_quantiles_far_out() -> None:
    assert math.isfinite(t_quantile(0.999999, 1))


def test_an_unreadable_trace_is_a_run_that_failed(tmp_path: Path) -> None:
    (group,) = groups("fifo", more=("workload.kind=trace", f"workload.path={tmp_path}/none.csv", "workload.format=csv"))
    ended = one_run(cells([group], 1)[0])
    assert isinstance(ended, Failed)
    assert "none.csv" in ended.error
