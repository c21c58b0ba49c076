"""The examples load, and mean what they say."""

from pathlib import Path

import pytest

from emulator.cli.specs import job_spec, read
from emulator.scenario import build_cluster, load
from emulator.workload.readers import open_trace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(("name", "gpus"), [("two-racks.yaml", 64), ("oversubscribed.yaml", 512)])
def test_scenarios_build(name: str, gpus: int) -> None:
    assert build_cluster(load(EXAMPLES / name)).gpu_count == gpus


def test_the_oversubscribed_one_is() -> None:
    assert build_cluster(load(EXAMPLES / "oversubscribed.yaml")).counts.oversubscription_leaf >= 3


def test_the_trace_is_read_whole() -> None:
    batches, report = open_trace(EXAMPLES / "jobs.csv", "csv")
    jobs = list(batches)
    assert sum(len(batch) for batch in jobs) == report.kept == 8
    assert set(jobs[0].queues) == {"default", "urgent"}


def test_the_job_is_a_job() -> None:
    spec = job_spec(read(EXAMPLES / "job.yaml"), "")
    assert (spec.gpus, spec.duration_seconds, spec.checkpoint_seconds, spec.prefer_level) == (64, 7200.0, 1800.0, "leaf")
