"""Dependencies and arrays of a JobSpec, on their way to the engine."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from emulator.engine.control import InvalidRequest
from emulator.service.client import Client, ClientError
from emulator.service.spec import JobSpec, batch_message
from emulator.v1 import job_pb2, job_service_pb2
from emulator.v1.job_service_pb2_grpc import JobServiceStub
from emulator.workload.jobs import SECOND
from tests.service.conftest import FakeControl


def test_dependencies_arrive_each_once_and_the_stricter_counts(client: Client, control: FakeControl) -> None:
    client.submit(JobSpec(gpus=8, duration_seconds=10.0, after=(12, 13, 12), after_any=(14, 13)))
    (columns,) = control.batches
    assert (columns.after.tolist(), columns.afters) == ([0], (((12, False), (13, False), (14, True)),))
    assert (columns.array.tolist(), columns.arrays) == ([-1], ())


def test_an_array_is_so_many_jobs_with_a_number_each(client: Client, control: FakeControl) -> None:
    assert client.submit(JobSpec(gpus=8, name="sweep", duration_seconds=10.0, array_size=3, array_parallel=2)).name == "sweep[0]"
    client.submit(JobSpec(gpus=8, duration_seconds=10.0, array_size=2))
    limited, unlimited = control.batches
    assert (limited.names, limited.array.tolist(), limited.arrays) == (("sweep[0]", "sweep[1]", "sweep[2]"), [0, 0, 0], (2,))
    assert (len(unlimited), unlimited.array.tolist(), unlimited.arrays) == (2, [-1, -1], ())


@pytest.mark.parametrize(
    ("spec", "field", "shown"),
    [
        (JobSpec(gpus=8, duration_seconds=1.0, array_size=0), "array_size", "array_size is 0"),
        (JobSpec(gpus=8, duration_seconds=1.0, array_size=10_001), "array_size", "10001; allowed: 1 to 10,000"),
        (JobSpec(gpus=8, replicas=2, array_size=2), "array_size", "given for a service"),
        (JobSpec(gpus=8, duration_seconds=1.0, array_parallel=2), "array_parallel", "without an array"),
        (JobSpec(gpus=8, duration_seconds=1.0, array_size=2, array_parallel=0), "array_parallel", "1 or more"),
        (JobSpec(gpus=8, duration_seconds=1.0, after=range(1001)), "after", "1,001 ids; allowed: at most 1,000"),
        (JobSpec(gpus=8, duration_seconds=1.0, deadline_seconds=-1.0), "deadline", "is -1 s; allowed: more than 0, at most 10 years"),
        (JobSpec(gpus=8, duration_seconds=1.0, deadline_seconds=4e8), "deadline", "is 4e+08 s; allowed: more than 0, at most 10 years"),
    ],
)
def test_what_cannot_be(client: Client, control: FakeControl, spec: JobSpec, field: str, shown: str) -> None:
    with pytest.raises(ClientError) as caught:
        client.submit(spec)
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", f"spec.{field}")
    assert shown in str(caught.value)
    assert not control.batches


def test_a_batch_of_columns_does_not_lose_them(client: Client, control: FakeControl) -> None:
    client.submit(JobSpec(gpus=8, duration_seconds=10.0, after=(12,)))
    with pytest.raises(InvalidRequest, match="after cannot be sent in a batch"):
        batch_message(control.batches[0], slice(0, 1))


def test_deadlines_arrive_and_go_on_in_a_batch(client: Client, control: FakeControl, channel: grpc.Channel) -> None:
    client.submit(JobSpec(gpus=8, duration_seconds=10.0, deadline_seconds=3600.5))
    (columns,) = control.batches
    assert columns.deadline_ns.tolist() == [3600 * SECOND + SECOND // 2]
    batch = batch_message(columns, slice(0, 1))
    assert list(batch.deadline_nanoseconds) == columns.deadline_ns.tolist()
    client.submit_many([columns])
    assert control.batches[1].deadline_ns.tolist() == columns.deadline_ns.tolist()
    spec = job_pb2.JobSpec(gpus=8, duration=Duration(seconds=10), deadline=Duration())
    with pytest.raises(grpc.RpcError) as caught:
        JobServiceStub(channel).SubmitJob(job_service_pb2.SubmitJobRequest(spec=spec))
    assert caught.value.details() == "spec.deadline is 0 s"
