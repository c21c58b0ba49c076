"""The program with the real emulation behind it, on schedules that can be worked out by hand."""

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.cli.conftest import Run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(
    ("policy", "starts"),
    [
        # 64 GPUs. Job 1 holds 32 until 7,200, so job 2 (64) waits for it, and job 7 (48) for job 2. The small ones are backfilled: 3, 4 and
        # the urgent 5 at once; 6 when job 5 ends at 1,200; 8 beside it.
        ("easy", [0, 7200, 120, 300, 600, 1200, 10800, 1500]),
        # Head of line: behind job 2 nothing starts but the urgent 5. At 10,800 jobs 3, 4 and 6; job 7 when 3 has ended, 8 after 7.
        ("fifo", [0, 7200, 10800, 10800, 600, 10800, 12600, 16200]),
    ],
)
def test_the_example_starts_when_it_should(gigawatt: Run, tmp_path: Path, policy: str, starts: list[int]) -> None:
    code, out, err = gigawatt(
        f"run {EXAMPLES}/two-racks.yaml --trace {EXAMPLES}/jobs.csv --format csv --policy {policy} --actors inline --json -q -o",
        tmp_path / "out",
    )
    assert code == 0, err
    summary = json.loads(out)
    jobs = parquet.read_table(tmp_path / "out" / "jobs.parquet").to_pylist()
    assert [job["start_seconds"] for job in jobs] == starts
    assert [job["end_seconds"] - job["start_seconds"] for job in jobs] == [7200, 3600, 1800, 5400, 600, 1200, 3600, 300]
    assert summary["emulated_seconds"] == max(job["end_seconds"] for job in jobs)
    assert summary["jobs"]["finished"] == summary["jobs"]["started"] == 8
    waits = [job["start_seconds"] - job["submit_seconds"] for job in jobs]
    assert summary["wait_seconds"]["mean"] == pytest.approx(sum(waits) / 8)
    held = sum(job["gpus"] * (job["end_seconds"] - job["start_seconds"]) for job in jobs)
    assert summary["gpu_allocation_ratio"] == pytest.approx(held / 64 / summary["emulated_seconds"])
    assert summary["goodput_ratio"] == 1.0


def test_what_is_submitted_at_0_starts_at_0(gigawatt: Run, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("id,submit_s,gpus,duration_s\n1,0,8,600\n")
    gigawatt(f"run laptop --trace {tmp_path}/jobs.csv --format csv --actors inline -q -o", tmp_path / "out")
    assert parquet.read_table(tmp_path / "out" / "jobs.parquet")["start_seconds"].to_pylist() == [0.0]


def test_a_generated_day_adds_up_and_repeats(gigawatt: Run, tmp_path: Path) -> None:
    line = "run laptop --until 6h --seed 3 --actors inline --json -q"
    code, out, err = gigawatt(line, "-o", tmp_path / "out")
    assert code == 0, err
    summary = json.loads(out)
    jobs = summary["jobs"]
    states = ("rejected", "infeasible", "pending", "running", "finished", "failed", "cancelled")
    assert jobs["submitted"] == sum(jobs[state] for state in states) > 100
    assert 0 < summary["gpu_utilization_ratio"] <= summary["gpu_allocation_ratio"] <= 1
    assert 0 < summary["power_watts"]["mean"] <= summary["power_watts"]["peak"]
    assert summary["facility_energy_joules"] >= summary["it_energy_joules"] > 0
    times = parquet.read_table(tmp_path / "out" / "timeline.parquet")["time_seconds"].to_pylist()
    assert times == sorted(set(times))
    assert json.loads(gigawatt(line)[1])["digest"] == summary["digest"]
    assert json.loads(gigawatt(line.replace("--seed 3", "--seed 4"))[1])["digest"] != summary["digest"]


def test_a_live_run_at_full_speed_gives_the_batch_answer(gigawatt: Run) -> None:
    batch = json.loads(gigawatt("run laptop --until 2h --actors inline --json -q")[1])
    live = json.loads(gigawatt("up laptop --until 2h --speed max --actors inline --json -q --port 0 --metrics-port 0")[1])
    assert live["digest"] == batch["digest"]
