"""Jobs that name the type of their GPUs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emulator.engine.errors import InvalidRequest
from emulator.service import server
from emulator.service.convert import Intake, intake_of
from emulator.service.draft import draft_of_batch, draft_of_spec
from emulator.service.gpu_types import GpuTypes, Plan
from emulator.service.plan import planner
from emulator.service.spec import JobSpec, TrainingSpec, spec_message
from emulator.v1 import job_pb2
from emulator.workload.gpu_models import matching
from emulator.workload.jobs import ANY_TYPE, SECOND
from tests.service.conftest import FakeControl
from topology.catalog import HostType, host

HOSTS = (host("hgx-h100"), host("gb200-nvl72"), replace(host("hgx-h100"), name="dgx-h100"))
TYPES = GpuTypes(HOSTS, tuple(planner(one, one.nic_bytes_per_second) for one in HOSTS), main=1)


def intake(**words: Any) -> Intake:
    return intake_of(draft_of_spec(spec_message(JobSpec(**({"gpus": 64, "duration_seconds": 60.0} | words)))), TYPES)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("hgx-h100", [0]), ("HGX-H100", [0]), ("dgx-h100", [2]), ("GB200", [1]), ("gb200-nvl72", [1]), (HOSTS[1].gpu.name, [1]),
        ("H100", [0, 2]), ("H1", []), ("B200", []),
    ],
)  # fmt: skip
def test_names(name: str, found: list[int]) -> None:
    assert matching(HOSTS, name) == found


def test_a_job_asks_for_the_type_it_names_and_otherwise_for_any() -> None:
    assert intake(gpu_type="gb200").columns.host_type.tolist() == [1]
    assert intake().columns.host_type.tolist() == [ANY_TYPE]
    assert intake(gpu_type="dgx-h100", replicas=3).columns.host_type.tolist() == [2, 2, 2]


RATIO = HOSTS[0].gpu.achievable_flops / HOSTS[1].gpu.achievable_flops  # of an H100 to a GB200


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("GB200, H100", ((1, 1.0), (0, RATIO), (2, RATIO))),
        ("dgx-h100,gb200", ((2, 1.0), (1, 1 / RATIO))),
        ("H100", ((0, 1.0), (2, 1.0))),
        ("H100,hgx-h100", ((0, 1.0), (2, 1.0))),
        ("GB200=2.5,hgx-h100=1", ((1, 2.5), (0, 1.0))),
        ("GB200=2.5", ((1, 2.5),)),
    ],
)
def test_several_types_are_a_choice_in_order_of_preference(text: str, choice: tuple[tuple[int, float], ...]) -> None:
    columns = intake(gpu_type=text, replicas=2).columns
    assert (columns.host_type.tolist(), columns.choice.tolist()) == ([ANY_TYPE] * 2, [0, 0])
    assert [number for number, _ in columns.choices[0]] == [number for number, _ in choice]
    assert [pace for _, pace in columns.choices[0]] == pytest.approx([pace for _, pace in choice])
    assert columns.types() == [tuple(number for number, _ in choice)] * 2


@pytest.mark.parametrize("pace", ["", "0", "-1", "nan", "1e9", "fast"])
def test_a_pace_that_is_none(pace: str) -> None:
    error = intake(gpu_type=f"GB200={pace}").errors[0]
    assert isinstance(error, InvalidRequest)
    assert (str(error), error.allowed) == (f"spec.gpu_type gives a pace of '{pace}'", "a number from 0.001 to 1000")


def test_a_model_is_planned_for_one_type() -> None:
    made = intake(duration_seconds=0.0, training=TrainingSpec(name="llama3-70b", steps=100), gpu_type="GB200,H100")
    error = made.errors[0]
    assert isinstance(error, InvalidRequest)
    assert str(error) == "spec.gpu_type names several types, and a model is planned for one"


@pytest.mark.parametrize(("text", "name"), [("A100", "A100"), ("H100,A100", "A100"), ("H100,,", ""), (",", "")])
def test_a_name_of_no_type_is_refused_with_what_there_is(text: str, name: str) -> None:
    made = intake(gpu_type=text)
    assert not len(made.rows)
    error = made.errors[0]
    assert isinstance(error, InvalidRequest)
    assert (str(error), error.field) == (f"spec.gpu_type names '{name}', which is no type of this cluster", "spec.gpu_type")
    assert error.allowed == "H100, GB200, hgx-h100, gb200-nvl72, dgx-h100"


def test_training_is_planned_for_its_type_and_for_the_main_one_where_it_names_none() -> None:
    training = TrainingSpec(name="llama3-70b", steps=100)
    by_type = {name: intake(duration_seconds=0.0, training=training, gpu_type=name).columns for name in ("", "hgx-h100", "gb200")}
    assert [columns.host_type.tolist() for columns in by_type.values()] == [[1], [0], [1]]
    assert by_type[""].shapes == by_type["gb200"].shapes != by_type["hgx-h100"].shapes
    assert by_type[""].duration_ns[0] < by_type["hgx-h100"].duration_ns[0], "a GB200 is faster"


def test_a_measured_step_runs_anywhere() -> None:
    spec = job_pb2.JobSpec(gpus=8, training=job_pb2.TrainingWorkload(step=job_pb2.TrainingStep(compute_seconds=1.0), steps=5))
    columns = intake_of(draft_of_spec(spec), TYPES).columns
    assert (columns.host_type.tolist(), columns.duration_ns.tolist()) == ([ANY_TYPE], [5 * SECOND])


def test_a_batch_has_a_dictionary_of_types() -> None:
    batch = job_pb2.JobBatch(count=4, gpus=[8], duration_nanoseconds=[SECOND], gpu_type=[0, 1, 2, 1], gpu_types=["", "GB200", "A100"])
    made = intake_of(draft_of_batch(batch), TYPES)
    assert made.columns.host_type.tolist() == [ANY_TYPE, 1, 1]
    assert made.rows.tolist() == [0, 1, 3]
    assert made.errors[2].field == "batch.gpu_type"
    assert np.array_equal(made.columns.gpus, [8, 8, 8])


def test_training_is_planned_for_the_lanes_of_each_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 and 400 Gb/s NICs 95 % are payload, whichever type has the most GPUs; six GPUs that share four NICs have two thirds of one."""
    slow, fast = host("hgx-a100"), host("hgx-h100")
    shared = replace(fast, name="shared", gpus=6, nics=4)
    rates = []

    def noting(one: HostType, rate: float, collective: str) -> Plan:
        rates.append(rate)
        return planner(one, rate, collective)

    monkeypatch.setattr(server, "planner", noting)
    for main in (slow, fast):
        served = server.serve(FakeControl(), "127.0.0.1:0", host_type=main, host_types=(slow, fast, shared), payload_ratio=0.95)
        served.stop()
    assert rates == pytest.approx(2 * [0.95 * 25e9, 0.95 * 50e9, 0.95 * 50e9 * 4 / 6])
