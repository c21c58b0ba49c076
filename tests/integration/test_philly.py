"""The reference schedules of Philly, job by job, through the program and the Ray runtime."""

import csv
import gzip
from collections import Counter
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.integration.program import run


@pytest.mark.parametrize("policy", ["fifo", "sjf"])
@pytest.mark.parametrize(("virtual_cluster", "gpus"), [("2869ce", 128), ("103959", 64)])
def test_every_start_time_equals_the_reference(traces: Path, tmp_path: Path, virtual_cluster: str, gpus: int, policy: str) -> None:
    reference = traces / "philly" / f"schedule_{virtual_cluster}_{policy}_{gpus}gpus.csv.gz"
    with gzip.open(reference, "rt") as file:
        expected = Counter(tuple(int(row[name]) for name in ("submit_s", "duration_s", "gpus", "start_s")) for row in csv.DictReader(file))
    summary, _ = run(
        *("run", "laptop", "--set", f"cluster.gpus={gpus}", "--set", "clock.cycle=1s", "--set", "faults.enabled=false"),
        *("--trace", traces / "philly" / "philly.csv.gz", "--format", "philly", "--policy", policy, "--placement", "consolidate"),
        *("--trace-option", f"virtual_cluster={virtual_cluster}", "--trace-option", "from=2017-10-01"),
        *("--trace-option", "until=2017-12-01", "-o", tmp_path / "out"),
    )
    jobs = parquet.read_table(tmp_path / "out" / "jobs.parquet").to_pylist()
    got = Counter((job["submit_seconds"], job["end_seconds"] - job["start_seconds"], job["gpus"], job["start_seconds"]) for job in jobs)
    assert got == expected
    assert summary["actors"] >= 1
