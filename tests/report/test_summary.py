"""The summary has the contract's keys and the documented arithmetic, and is always JSON."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest

from emulator.report.outcome import JobTable, Outcome, timeline
from emulator.report.summary import summary, to_json
from emulator.report.tables import sections
from emulator.report.terminal import summary_table
from emulator.scheduler.deadlines import NO_DEADLINE
from tests.report.example import HOUR

DISTRIBUTION = {"mean": None, "p50": None, "p90": None, "p99": None}


def names(words: str) -> dict[str, None]:
    return dict.fromkeys(words.split())


#: The contract, written out apart from the code.
CONTRACT = {
    **names("scenario seed policy digest actors outside_policy sites gpus hosts racks links trunks emulated_seconds wall_seconds"),
    **names("cpu_seconds peak_rss_bytes events"),
    "jobs": names("submitted rejected infeasible pending running finished failed cancelled started preemptions restarts resizes"),
    "wait_seconds": DISTRIBUTION,
    "completion_seconds": DISTRIBUTION,
    "deadlines": None,
    **names("gpu_allocation_ratio gpu_utilization_ratio goodput_ratio mfu_ratio fragmentation_ratio"),
    "power_watts": {"mean": None, "peak": None},
    **names("it_energy_joules switch_energy_joules facility_energy_joules water_litres power"),
    "fabric": {
        **names("peak_link_utilization_ratio mean_slowdown_ratio"),
        "by_tier": {
            tier: names("mean_utilization_ratio busiest_trunk busiest_mean_utilization_ratio peak_utilization_ratio")
            for tier in ("host_leaf", "leaf_spine")
        },
    },
    "gpu_seconds": names(
        "productive network_wait power_wait redone starting restarting checkpoint stalled detecting draining paused idle down"
    ),
    **names("inference interrupted"),
    "sources": None,
}  # fmt: skip


def keys(value: object) -> object:
    return {key: keys(item) for key, item in value.items()} if isinstance(value, dict) else None


def empty_jobs(full: JobTable) -> JobTable:
    none: dict[str, Any] = {name: column[:0] for name, column in vars(full).items() if isinstance(column, np.ndarray)}
    return replace(full, **none)


def test_every_key_of_the_contract_and_no_other(outcome: Outcome) -> None:
    values = summary(outcome)
    assert keys(values) == CONTRACT
    (source,) = values["sources"]
    assert source == {
        "path": "/data/trace.csv", "format": "csv", "read": 8, "kept": 6, "dropped": {"malformed": 2},
        "zero_seconds": 0.0, "notes": ["columns not read: colour"],
    }  # fmt: skip


def test_arithmetic(outcome: Outcome) -> None:
    """256 GPUs x 4 h = 1,024 GPU hours; jobs held 8 + 32 + 128 = 168 of them, lost 16.8, and 160 were training."""
    values = summary(outcome)
    assert values["jobs"] == {
        "submitted": 6, "rejected": 1, "infeasible": 1, "pending": 1, "running": 1, "finished": 2, "failed": 0, "cancelled": 0,
        "started": 3, "preemptions": 1, "restarts": 3, "resizes": 0,
    }  # fmt: skip
    assert values["gpu_allocation_ratio"] == pytest.approx(168 / 1024)
    assert values["gpu_utilization_ratio"] == pytest.approx(0.1)
    assert values["goodput_ratio"] == pytest.approx(0.9)
    assert values["mfu_ratio"] == pytest.approx(0.4)
    assert values["fragmentation_ratio"] == 0.25
    assert values["power_watts"] == {"mean": 1e5, "peak": 2e5}
    assert values["fabric"]["mean_slowdown_ratio"] == 1.5
    assert sum(values["gpu_seconds"].values()) == pytest.approx(1024 * 3600)
    assert values["inference"] is None
    assert values["interrupted"] is False
    # waits 0, 1 h, 1 h; completions 1 h, 3 h (rejected and infeasible jobs never count)
    assert values["wait_seconds"] == {"mean": 2400.0, "p50": 3600.0, "p90": 3600.0, "p99": 3600.0}
    assert values["completion_seconds"]["mean"] == 7200.0
    assert values["completion_seconds"]["p90"] == pytest.approx(3600 + 0.9 * 7200)


def test_the_most_loaded_link_is_one_between_switches_where_there_are_any(outcome: Outcome) -> None:
    assert summary(outcome)["fabric"]["peak_link_utilization_ratio"] == 0.741
    one_leaf = replace(outcome, tiers={"host_leaf": outcome.tiers["host_leaf"]})
    assert summary(one_leaf)["fabric"]["peak_link_utilization_ratio"] == 0.95


def test_no_jobs_and_no_time_give_nulls_not_nan(outcome: Outcome) -> None:
    nothing = replace(
        outcome,
        jobs=empty_jobs(outcome.jobs),
        emulated_ns=0,
        capacity_gpu_seconds=0.0,
        training_peak_flops=0.0,
        idle_gpu_seconds=0.0,
        timeline=timeline([]),
    )
    values = json.loads(to_json(summary(nothing)))
    assert values["wait_seconds"] == DISTRIBUTION
    assert [values[key] for key in ("gpu_allocation_ratio", "goodput_ratio", "mfu_ratio", "fragmentation_ratio")] == [None] * 4
    assert values["power_watts"]["mean"] is None
    assert values["fabric"]["mean_slowdown_ratio"] is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float64("-inf")])
def test_what_json_cannot_hold_is_null(outcome: Outcome, bad: float) -> None:
    assert json.loads(to_json(summary(replace(outcome, water_litres=bad))))["water_litres"] is None


def test_numpy_scalars_become_plain(outcome: Outcome) -> None:
    scalars: dict[str, Any] = {"seed": np.int64(5), "gpus": np.int32(256), "wall_seconds": np.float32(0.5)}
    values = summary(replace(outcome, **scalars))
    assert json.loads(to_json(values))["seed"] == 5


def test_the_terminal_table_shows_the_figures(outcome: Outcome) -> None:
    from rich.console import Console

    console = Console(width=120, record=True, file=StringIO())
    console.print(summary_table(summary(outcome)))
    text = console.export_text()
    for shown in (
        "laptop, seed 1, policy easy",
        "16.4 %",
        "Ray, 2 actors",
        "ab" * 32,
        "trace.csv, format csv",
        "6 of 8 rows",
        "2: malformed",
        "columns not read: colour",
        "400 kWh",
        "infeasible",
        "mean 20.0 %, busiest trunk 30.0 % (leaf-00000/spine-00000), peak 74.1 %",
        "productive 13.6 %, network wait 1.2 %, redone 1.4 %, restarting 0.3 %",
        "idle 81.2 %, down 2.3 %",
        "10.0 % of it by switches",
    ):
        assert shown in text


def test_deadlines(outcome: Outcome, altered: Callable[..., JobTable]) -> None:
    """Jobs 0 and 1 finished after 1 h and 3 h, job 2 runs, job 3 waits and job 4 was rejected; it is 4 h now. Job 5 has no deadline."""
    jobs = altered(deadline_ns=np.array([1, 2, 3, 5, 9, -1]) * HOUR)
    jobs.deadline_ns[5] = NO_DEADLINE
    values = summary(replace(outcome, jobs=jobs))["deadlines"]
    late = values.pop("tardiness_seconds")
    assert values == {"jobs": 5, "met": 1, "missed": 3, "met_ratio": 0.25}
    assert (late["mean"], late["p50"]) == (1800.0, 1800.0)
    assert dict(sections(summary(replace(outcome, jobs=jobs))))["Jobs"][-1] == ("deadlines met, missed", "1, 3 (1 still to come)")
