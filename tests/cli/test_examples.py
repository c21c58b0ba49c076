"""The examples load, and mean what they say."""

from pathlib import Path

import pytest

from emulator.cli.errors import CommandError
from emulator.cli.specs import job_spec, read
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.scenario import build_cluster, load
from emulator.service.spec import spec_message
from emulator.workload.jobs import TrainingShape
from emulator.workload.readers import open_trace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(("name", "gpus"), [("two-racks.yaml", 64), ("oversubscribed.yaml", 512)])
def test_scenarios_build(name: str, gpus: int) -> None:
    assert build_cluster(load(EXAMPLES / name)).gpu_count == gpus


#: Payload that a 400 Gb/s NIC gives.
NIC = 0.95 * 400e9 / 8


def by_hand(shape: TrainingShape, bytes_per_second: float) -> float:
    """Seconds of a step of data parallelism: what computes, and what is not hidden of the sending."""
    assert not shape.expert_bytes
    assert not shape.pipeline_bytes
    assert not shape.context_bytes
    sending = shape.ring_bytes / bytes_per_second
    return shape.compute_seconds + max(shape.exposed_ratio * sending, sending - shape.overlap_seconds)


def test_the_oversubscribed_one_slows_its_jobs_as_its_comments_say() -> None:
    """One cable up for eight NICs: an eighth of a NIC for every training job, as each has two hosts or more."""
    session = open_session(load(EXAMPLES / "oversubscribed.yaml", ["clock.until=12h", "seed=7", "runtime.actors=inline"]))
    try:
        outcome, table = session.run_to_end(), session._engine.table
    finally:
        session.close()
    jobs = outcome.jobs
    slowed = {}
    for job_id, slowdown in zip(jobs.job_id.tolist(), jobs.network_slowdown_ratio.tolist(), strict=True):
        slot = table.slot_of[job_id]
        if table.shape[slot] >= 0 and table.lives.work_ns[slot]:
            shape = table.shapes[table.shape[slot]]
            assert slowdown == pytest.approx(by_hand(shape, NIC / 8) / by_hand(shape, NIC), rel=1e-3)
            slowed[table.gpus[slot], round(shape.ring_bytes / 1e9, 3)] = slowdown
    assert round(slowed[128, round(15 / 16 * 6 * 7.468 / 8, 3)], 2) == 1.42  # gpt-7.5b: the sum in the comments
    assert round(slowed[64, round(7 / 8 * 6 * 7.468 / 8, 3)], 2) == 1.19
    assert round(slowed[16, round(1 / 2 * 6 * 7.468 / 8, 3)], 2) == 1.02
    values = summary(outcome)
    assert f"{values['fabric']['mean_slowdown_ratio']:.3f}x" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert values["fabric"]["peak_link_utilization_ratio"] == pytest.approx(0.95)


def test_the_trace_is_read_whole() -> None:
    batches, report = open_trace(EXAMPLES / "jobs.csv", "csv")
    jobs = list(batches)
    assert sum(len(batch) for batch in jobs) == report.kept == 8
    assert set(jobs[0].queues) == {"default", "urgent"}


def test_the_accounting_of_slurm_is_read() -> None:
    batches, report = open_trace(EXAMPLES / "sacct.txt", "sacct", {"partition": "gpu"})
    assert [name for batch in batches for name in batch.names or ()] == ["5001", "5002_1", "5002_2", "5004"]
    assert report.dropped == {"step of a job": 2, "never started": 2, "other partition": 1}


def test_a_foreign_table_is_read_as_the_page_says() -> None:
    page = (EXAMPLES.parent / "docs" / "traces.md").read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if line.startswith("| Acme"))
    options = dict(pair.split("=") for pair in line.split("`")[1].split())
    batches, report = open_trace(EXAMPLES / "acme.csv", "csv", options)
    assert [gpus for batch in batches for gpus in batch.gpus.tolist()] == [8, 1, 32]
    assert report.dropped == {"no GPU": 1, "never started": 1}


def test_the_job_is_a_job() -> None:
    spec = job_spec(read(EXAMPLES / "job.yaml"), "")
    assert (spec.gpus, spec.duration_seconds, spec.checkpoint_seconds, spec.prefer_level) == (64, 7200.0, 1800.0, "leaf")


def test_a_measured_step_is_one() -> None:
    spec = job_spec(read(EXAMPLES / "step.yaml"), "")
    assert spec.training is not None
    assert spec.training.step == TrainingShape(1.0, 47.5e9, 0.0, 0.0, 0.0, replica_gpus=256)
    assert spec_message(spec).training.step.replica_gpus == 256


@pytest.mark.parametrize(
    ("training", "shown"),
    [
        ({"step": {"compute_seconds": 1.0}}, "training.step.ring_bytes: not given"),
        ({"step": {"compute_seconds": "x", "ring_bytes": 0}}, "training.step.compute_seconds"),
        ({"step": {"compute_seconds": 1, "ring_bytes": 0, "bandwidth": 3}}, "training.step.bandwidth: unknown"),
        ({"step": 3}, "training.step"),
        ({"name": "llama3-8b", "step": {"compute_seconds": 1, "ring_bytes": 0}}, "instead of a model"),
    ],
)
def test_what_is_no_measured_step(training: dict[str, object], shown: str) -> None:
    with pytest.raises(CommandError, match=shown):
        job_spec({"gpus": 8, "training": training}, "")
