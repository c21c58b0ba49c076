"""What lies in the output directory."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from emulator.report.files import EVENTS, FILES, OutputError, prepare, write
from emulator.report.outcome import JobTable, Outcome, timeline
from topology.cluster import TIERS

JOB_COLUMNS = """
    job_id name source_row queue tenant kind priority gpus min_gpus gpu_type submit_seconds start_seconds end_seconds estimate_seconds state
    reason preemptions restarts gpu_seconds lost_gpu_seconds placement_level hosts energy_joules tokens network_slowdown_ratio
    deadline_seconds
"""


def test_the_four_files_and_nothing_else(tmp_path: Path, outcome: Outcome) -> None:
    values = write(tmp_path, outcome)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert json.loads((tmp_path / "summary.json").read_text()) == values


def test_jobs_are_the_contracts_columns_in_order_of_id(tmp_path: Path, outcome: Outcome) -> None:
    write(tmp_path, outcome)
    table = parquet.read_table(tmp_path / "jobs.parquet")
    assert table.column_names == JOB_COLUMNS.split()
    assert table["job_id"].to_pylist() == [1, 2, 3, 7, 8, 9]
    assert table["name"].to_pylist() == ["one", "two", "three", "seven", "", "nine"]
    assert table["source_row"].to_pylist() == [2, 3, 4, 8, None, 10]
    assert table["priority"].to_pylist() == [0, 0, 5, 0, 0, -1]
    assert table["gpu_type"].to_pylist() == ["H100-SXM5-80GB"] * 5 + [""]
    assert table["estimate_seconds"].to_pylist() == [None, 3600.0, 7200.0, 3600.0, 3600.0, 3600.0]
    assert table["hosts"].to_pylist() == ["r[00000-00001]-h[00-03]", "", "r00000-h[00-01]", "r00000-h00", "", ""]
    assert table["start_seconds"].to_pylist() == [7200.0, None, 3600.0, 0.0, None, None]
    assert table["end_seconds"].to_pylist() == [None, None, 10800.0, 3600.0, 0.0, 7200.0]
    assert table["state"].to_pylist() == ["running", "pending", "finished", "finished", "infeasible", "rejected"]
    assert table["kind"].to_pylist()[:3] == ["training", "gang", "training"]
    assert table["reason"].to_pylist()[:3] == ["", "capacity: 96 of 128 GPUs are free", ""]
    assert table["placement_level"].to_pylist() == ["pod", "", "leaf", "host", "", ""]
    assert table["queue"].to_pylist() == ["default", "default", "research", "default", "research", "default"]


def test_the_timeline_has_a_column_per_tier_and_per_reason(tmp_path: Path, outcome: Outcome) -> None:
    write(tmp_path, outcome)
    table = parquet.read_table(tmp_path / "timeline.parquet")
    assert table["time_seconds"].to_pylist() == [0.0, 900.0, 1800.0, 2700.0, 3600.0]
    assert table["pending_capacity_jobs"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["pending_quota_jobs"].to_pylist() == [0] * 5
    assert table["leaf_spine_peak_ratio"].to_pylist() == [0.5] * 5
    assert {f"{tier}_load_ratio" for tier in TIERS} <= set(table.column_names)


def test_the_same_outcome_gives_the_same_bytes(tmp_path: Path, outcome: Outcome) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write(tmp_path / "a", outcome)
    write(tmp_path / "b", outcome)
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in FILES)


def test_the_page_needs_nothing_from_outside_and_escapes(tmp_path: Path, outcome: Outcome, altered: Callable[..., JobTable]) -> None:
    hostile = "<script>alert(1)</script>&"
    jobs = altered(reasons=(hostile, "queue is full", "too large"))
    write(tmp_path, replace(outcome, scenario=hostile, jobs=jobs))
    text = (tmp_path / "report.html").read_text()
    assert "<script" not in text
    assert not re.search(r"(src|href)=|url\(|@import", text)
    assert text.count("<svg") == 5
    assert "Pending jobs, by what they wait for" in text
    assert "free GPUs" in text
    assert "NaN" not in text
    assert "queue is full" in text


def test_a_page_without_samples_says_so(tmp_path: Path, outcome: Outcome) -> None:
    write(tmp_path, replace(outcome, timeline=timeline([])))
    assert "no line to draw" in (tmp_path / "report.html").read_text()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, outcome)
    old = (tmp_path / "summary.json").read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("emulator.report.files.to_json", full_disk)
    with pytest.raises(OutputError, match="No space left on device"):
        write(tmp_path, outcome)
    assert (tmp_path / "summary.json").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_prepare_makes_the_directory_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    prepare(tmp_path / "out")
    prepare(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_prepare_refuses_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is not a directory"):
        prepare(tmp_path / "no" / "such")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="it is a file"):
        prepare(tmp_path / "file")
    with pytest.raises(OutputError, match="is not a directory"):
        prepare(tmp_path / "file" / "below")
    with pytest.raises(OutputError, match="cannot write to /proc"):
        prepare(Path("/proc/gigawatt"))


def test_events_are_written_where_they_were_kept_and_those_of_another_run_do_not_stay(tmp_path: Path, outcome: Outcome) -> None:
    write(tmp_path, replace(outcome, events_table=lambda: pa.table({"kind": ["started"]})))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((*FILES, EVENTS))
    assert parquet.read_table(tmp_path / EVENTS).to_pylist() == [{"kind": "started"}]
    write(tmp_path, outcome)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
