"""MFU is of the dense peak of the precision that a job trains in."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.scenario.load import load
from emulator.workload.jobs import SECOND, JobKind, TrainingShape, job_columns

#: 8 H100 at half of their bf16 peak.
HALF = TrainingShape(1.0, 0.0, 0.0, 0.0, model_flops=0.5 * 8 * 989e12)


def mfu(*shapes: TrainingShape) -> float:
    """Of an hour in which each of these runs on 8 GPUs for 10 minutes."""
    settings = ["workload.kind=none", "faults.enabled=false", "jobs.start_up=none", "clock.until=1h", "runtime.actors=inline"]
    with closing(open_session(load("laptop", settings))) as session:
        session.submit(
            job_columns(
                len(shapes),
                submit_ns=0,
                gpus=8,
                duration_ns=600 * SECOND,
                kind=int(JobKind.TRAINING),
                shape=np.arange(len(shapes)),
                shapes=shapes,
            )
        )
        found = summary(session.run_to_end())["mfu_ratio"]
    assert found is not None
    return float(found)


def test_fp8_has_twice_the_peak() -> None:
    assert mfu(HALF) == pytest.approx(0.5)
    assert mfu(replace(HALF, peak_ratio=2.0)) == pytest.approx(0.25)


def test_jobs_of_several_precisions_are_weighed_by_their_peaks() -> None:
    """The same operations against one peak and against two: (1/2 + 1/2) / (1 + 2)."""
    assert mfu(HALF, replace(HALF, peak_ratio=2.0)) == pytest.approx(1 / 3)
