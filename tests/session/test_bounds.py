"""Numbers of the API at both ends of what is allowed: the engine runs over them; and beyond, each is refused with its field."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from emulator.engine.bounds import LONGEST_NS
from emulator.engine.errors import InvalidRequest
from emulator.engine.fault_control import FaultRequest
from emulator.runtime.session import Session
from emulator.service.convert import Intake, intake_of
from emulator.service.draft import draft_of_spec
from emulator.service.gpu_types import GpuTypes
from emulator.service.plan import planner
from emulator.v1 import job_pb2
from topology.catalog import host

TYPES = GpuTypes((host("hgx-h100"),), (planner(host("hgx-h100"), 50e9),))
YEARS = LONGEST_NS // 10**9
#: Fields of a step, with what is allowed at the ends and what lies beyond.
SECONDS = ((0.0, 1e-9, float(YEARS)), (-1e-9, 5e-324, 0.99e-9, YEARS * 1.001, math.nan, math.inf))
BYTES = ((0.0, 1.0, 1e18), (-1.0, 5e-324, 0.999, 1.001e18, math.nan, math.inf))
STEP = {
    "compute_seconds": ((1e-6, float(YEARS)), (0.0, 5e-324, 0.99e-6, YEARS * 1.001, math.nan, math.inf, -1.0)),
    "ring_bytes": BYTES,
    "pipeline_bytes": BYTES,
    "expert_bytes": BYTES,
    "overlap_seconds": SECONDS,
    "latency_seconds": SECONDS,
    "pipeline_overlap_seconds": SECONDS,
    "hops": ((0.0, 1.0, 1e9), (-1.0, 5e-324, 1.001e9, math.nan)),
    "model_flops": ((0.0, 1.0, 1e33), (-1.0, 5e-324, 1.001e33, math.inf)),
}
LEAST, MOST = math.nextafter(0.001, 1), math.nextafter(1.0, 0)


def training(duration_ns: int = 600 * 10**9, **step: Any) -> Intake:
    spec = job_pb2.JobSpec(gpus=16, duration=Duration(seconds=duration_ns // 10**9, nanos=duration_ns % 10**9))
    spec.training.step.CopyFrom(job_pb2.TrainingStep(**{"compute_seconds": 1.0, "ring_bytes": 1e9, "expert_gpus": 16, **step}))
    return intake_of(draft_of_spec(spec), TYPES)


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, (good, _) in STEP.items() for value in good])
@pytest.mark.parametrize("ratio", [0.0, 0.001, LEAST, MOST])
@pytest.mark.parametrize("duration_ns", [1, 600 * 10**9, LONGEST_NS])
def test_training_runs_at_both_ends_of_its_step_under_both_ends_of_a_fault(
    paused: Callable[..., Session], field: str, value: float, ratio: float, duration_ns: int
) -> None:
    made = paused()
    for other in ({}, {"ring_bytes": 1e18}, {"compute_seconds": 1e-6}):
        intake = training(duration_ns, **({field: value} | other if field not in other else {field: value}))
        assert not intake.errors
        assert not made.submit(intake.columns).errors
    made.step(2)
    for target in ("switch", "nic"):
        made.inject_fault(FaultRequest(target, "0", 7200.0, ratio))
    made.step(500)
    assert all(0.0 <= job.progress_ratio <= 1.0 and math.isfinite(job.network_slowdown_ratio) for job in made.jobs())
    assert made.snapshot().commands_failed == 0


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, (_, bad) in STEP.items() for value in bad])
def test_a_step_beyond_its_bounds_is_refused_with_its_field(field: str, value: float) -> None:
    step: dict[str, Any] = {field: value}
    (error,) = training(**step).errors.values()
    assert (type(error), error.field) == (InvalidRequest, f"spec.training.step.{field}")
    assert error.allowed


@pytest.mark.parametrize("ratio", [1e-300, 5e-324, math.nextafter(0.001, 0), 1.0, -0.001, math.nan, math.inf])
def test_a_share_that_cannot_be_left_is_refused(paused: Callable[..., Session], ratio: float) -> None:
    with pytest.raises(InvalidRequest) as caught:
        paused().inject_fault(FaultRequest("switch", "0", 7200.0, ratio))
    assert (caught.value.field, caught.value.allowed) == ("remaining_ratio", "0, or 0.001 up to, not including, 1")


@pytest.mark.parametrize("seconds", [1e-9, float(YEARS)])
@pytest.mark.parametrize("target", ["host", "rack", "switch", "nic"])
def test_repairs_take_a_nanosecond_or_ten_years(paused: Callable[..., Session], target: str, seconds: float) -> None:
    made = paused("clock.until=90d")
    made.submit(training().columns)
    made.step(2)
    made.inject_fault(FaultRequest(target, "0", seconds))
    made.step(10_000)
    assert made.snapshot().commands_failed == 0


@pytest.mark.parametrize("seconds", [0.0, -1.0, YEARS + 1.0, math.nan, math.inf])
def test_no_other_repair_does(paused: Callable[..., Session], seconds: float) -> None:
    with pytest.raises(InvalidRequest) as caught:
        paused().inject_fault(FaultRequest("host", "0", seconds))
    assert caught.value.field == "duration"
