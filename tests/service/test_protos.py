"""The API's contract: lint, and the same field names in messages as in Control's views."""

import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from emulator.engine import hardware_control, job_control, queue_control, snapshot
from emulator.engine.power_control import PowerPlaceView, PowerView
from emulator.engine.service_control import ServiceView
from emulator.v1 import (
    clock_service_pb2,
    cluster_service_pb2,
    job_pb2,
    job_service_pb2,
    power_service_pb2,
    queue_service_pb2,
    service_service_pb2,
)

PROTO = Path(__file__).parents[2] / "proto"
BUF = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")


@pytest.mark.skipif(BUF is None, reason="buf is not installed (pip install buf-bin)")
@pytest.mark.parametrize("command", [("lint",), ("format", "--diff", "--exit-code")])
def test_buf_has_nothing_to_say(command: tuple[str, ...]) -> None:
    done = subprocess.run([str(BUF), *command, str(PROTO)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("message", "view"),
    [
        (job_pb2.Job, job_control.JobView),
        (queue_service_pb2.Queue, queue_control.QueueView),
        (queue_service_pb2.Quota, queue_control.QuotaView),
        (cluster_service_pb2.Cluster, hardware_control.ClusterView),
        (cluster_service_pb2.Rack, hardware_control.RackView),
        (cluster_service_pb2.Host, hardware_control.HostView),
        (cluster_service_pb2.Link, hardware_control.LinkView),
        (clock_service_pb2.Clock, snapshot.ClockView),
        (power_service_pb2.Power, PowerView),
        (power_service_pb2.PowerPlace, PowerPlaceView),
        (service_service_pb2.Service, ServiceView),
        (job_service_pb2.ExplainJobResponse, job_control.Explanation),
        (job_service_pb2.JobEvent, job_control.JobEvent),
    ],
)
def test_messages_have_the_fields_of_the_views(message: Any, view: Any) -> None:
    assert {field.name for field in message.DESCRIPTOR.fields} == {field.name for field in fields(view)}


def test_every_state_has_a_number() -> None:
    assert {name.removeprefix("JOB_STATE_").lower() for name in job_pb2.JobState.keys()} - {"unspecified"} == {  # noqa: SIM118 - no dictionary
        state.value for state in job_control.JobState
    }


def test_every_mutation_takes_a_request_id() -> None:
    of_jobs = {"SubmitJob", "SubmitJobs", "CancelJob", "HoldJob", "ReleaseJob", "SetJobPriority"}
    mutations = of_jobs | {"CordonRack", "InjectFault", "ClearFault", "SetPowerCap", "ScaleService"}
    mutations |= {"Pause", "Resume", "SetSpeed", "Step"}
    methods = {
        method.name: method
        for module in (job_service_pb2, cluster_service_pb2, clock_service_pb2, queue_service_pb2, power_service_pb2, service_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {name for name, method in methods.items() if "request_id" in method.input_type.fields_by_name} == mutations
