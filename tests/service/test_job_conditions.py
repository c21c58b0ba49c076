"""Dependencies and arrays of a JobSpec, on their way to the engine."""

from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration

from emulator.engine.errors import InvalidRequest
from emulator.service.client import Client, ClientError
from emulator.service.spec import JobSpec, batch_message
from emulator.v1 import job_pb2, job_service_pb2
from emulator.v1.job_service_pb2_grpc import JobServiceStub
from emulator.workload.jobs import SECOND, Locality, job_columns
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


def test_a_batch_of_columns_does_not_lose_sites(client: Client, control: FakeControl) -> None:
    client.submit(JobSpec(gpus=8, duration_seconds=10.0, site="west", dataset="web"))
    assert control.batches[0].localities == (Locality("west", "", "web"),)
    with pytest.raises(InvalidRequest, match="site or dataset cannot be sent in a batch"):
        batch_message(control.batches[0], slice(0, 1))


def submit(channel: grpc.Channel, **columns: Any) -> job_service_pb2.SubmitJobsResponse:
    """One batch of jobs of 8 GPUs."""
    batch = job_pb2.JobBatch(**{"gpus": [8], "duration_nanoseconds": [SECOND]} | columns)
    answer: job_service_pb2.SubmitJobsResponse = JobServiceStub(channel).SubmitJobs(iter([job_service_pb2.SubmitJobsRequest(batch=batch)]))
    return answer


def test_a_batch_carries_dependencies_and_arrays(channel: grpc.Channel, control: FakeControl) -> None:
    on = job_pb2.Dependencies
    submit(
        channel,
        count=4,
        dependency=[0, 1, 2, 2],
        dependencies=[on(), on(after=[12, 12, 13], after_any=[13]), on(after_places=[0], after_any_places=[1])],
        array=[1, 1, 0, 2],
        array_parallel=[0, 2, 1],
    )
    (columns,) = control.batches
    assert columns.after.tolist() == [-1, 1, 2, 2]
    assert columns.afters == ((), ((12, False), (13, False)), ())
    assert columns.afters_here == ((), (), ((0, False), (1, True)))
    assert (columns.array.tolist(), columns.arrays) == ([1, 1, -1, 2], (0, 2, 1))


def test_who_depends_on_a_job_of_the_batch_that_is_refused_is_refused(channel: grpc.Channel, control: FakeControl) -> None:
    """Job 1 asks for no GPUs. So job 2 is refused, and 4 with it; job 5 depends on itself, 6 on one that is later, and 7 on too many."""
    on = job_pb2.Dependencies
    places = [[], [], [1], [0], [3, 2], [5], [2**32 - 1], []]
    dependencies = [on(after_any_places=one) for one in places[:-1]] + [on(after=range(1000), after_places=[0])]
    answer = submit(channel, count=8, gpus=[8, 0, *[8] * 6], dependency=range(8), dependencies=dependencies)
    assert [job_id >= 0 for job_id in answer.job_ids] == [True, False, False, True, False, False, False, False]
    refused = "depends on a job of the batch that was refused"
    assert [(error.index, error.count, error.message, error.field) for error in answer.errors] == [
        (1, 1, "batch.gpus is 0", "batch.gpus"),
        (2, 1, refused, "batch.dependencies"),
        (4, 1, refused, "batch.dependencies"),
        (5, 1, "batch.dependencies names the place 5 for the job at 5", "batch.dependencies"),
        (6, 1, "batch.dependencies names the place 4294967295 for the job at 6", "batch.dependencies"),
        (7, 1, "batch.dependencies has 1,001 jobs", "batch.dependencies"),
    ]
    (columns,) = control.batches
    assert [columns.afters_here[entry] if entry >= 0 else None for entry in columns.after.tolist()] == [None, ((0, True),)]


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ({"dependency": [1]}, "batch.dependency has the index 1, but batch.dependencies has 1 entries"),
        ({"array": [1], "array_parallel": [2]}, "batch.array has the index 1, but batch.array_parallel has 1 entries"),
        (
            {"dependencies": [job_pb2.Dependencies(after=range(400_000))]},
            "the jobs of the batch depend on 1,200,000 others",
        ),
        ({"dependency": [0, 0]}, "batch.dependency has 2 values"),
    ],
)
def test_a_batch_that_does_not_fit_together(channel: grpc.Channel, control: FakeControl, columns: dict[str, Any], shown: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        submit(channel, count=3, **columns)
    assert shown in str(caught.value.details())
    assert not control.batches


def test_an_array_that_lets_fewer_than_none_run(channel: grpc.Channel, control: FakeControl) -> None:
    answer = submit(channel, count=2, array=[0, 1], array_parallel=[0, -1])
    assert [(error.index, error.message) for error in answer.errors] == [(1, "batch.array_parallel is -1")]


def test_columns_go_through(client: Client, control: FakeControl) -> None:
    columns = job_columns(
        3, submit_ns=0, gpus=8, duration_ns=SECOND, after=[-1, 0, 1], afters=(((12, True),), ((9, False),)),
        afters_here=((), ((0, False), (1, True))), array=[0, -1, 1], arrays=(3, 4),
    )  # fmt: skip
    client.submit_many([columns])
    (arrived,) = control.batches
    assert arrived.after.tolist() == [-1, 1, 2]
    assert (arrived.afters[1:], arrived.afters_here[1:]) == (columns.afters, columns.afters_here)
    assert (arrived.array.tolist(), arrived.arrays) == ([1, -1, 2], (0, 3, 4))
    with pytest.raises(InvalidRequest, match="depends on the place of one of another batch") as caught:
        batch_message(columns, slice(1, 3))
    assert caught.value.field == "after"
    assert batch_message(columns, slice(0, 2)).dependencies[1].after_any == [12]
    with pytest.raises(InvalidRequest, match="an array has jobs in several batches"):
        batch_message(replace(columns, array=np.zeros(3, dtype=np.int32)), slice(0, 2))


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
