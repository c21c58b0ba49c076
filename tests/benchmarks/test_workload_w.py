"""W itself. Quick, so it also runs with the tests."""

import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from tests.benchmarks.workload_w import Job, heap_loop, jobs, write_swf

ROOT = Path(__file__).resolve().parents[2]


def test_w_is_the_workload_that_others_were_measured_on() -> None:
    traces = Path(os.environ.get("GIGAWATT_TRACES") or ROOT.parent / "shared" / "traces")
    original = traces.parent / "benchmarks" / "workload.py"
    if not original.is_file():
        pytest.skip(f"{original} is not there; set GIGAWATT_TRACES to the folder beside it")
    spec = spec_from_file_location("original_w", original)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    for count, gpus, load in ((10_000, 1024, 0.9), (1000, 102_400, 0.9), (2000, 1024, 1.1)):
        assert [tuple(job) for job in jobs(count, gpus, load=load)] == list(module.jobs(count, gpus, load=load))


def test_w_begins_and_ends_as_it_always_did() -> None:
    first, *_, last = jobs(10_000, 1024)
    assert first == Job(0, 8, 1, 330)
    assert last == Job(9_999, 86_124, 1, 1149)


def test_swf_holds_what_w_holds(tmp_path: Path) -> None:
    write_swf(tmp_path / "w.swf", 100, 1024)
    rows = [line.split() for line in (tmp_path / "w.swf").read_text().splitlines() if not line.startswith(";")]
    assert {len(row) for row in rows} == {18}
    assert [(int(row[0]) - 1, int(row[1]), int(row[4]), int(row[3])) for row in rows] == list(jobs(100, 1024))


def test_the_floor_is_fifo() -> None:
    work = [Job(0, 0, 6, 10), Job(1, 1, 4, 10), Job(2, 2, 2, 1), Job(3, 30, 8, 5)]
    # 8 GPUs: job 1 waits for job 0's end at 10, and job 2 behind it although it would have fitted at 2.
    assert heap_loop(work, 8) == [0, 10, 10, 30]
