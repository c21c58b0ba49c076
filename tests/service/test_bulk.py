"""SubmitJobs: columns, errors per job, repeats, and a hundred thousand jobs."""

from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest

from emulator.service.client import Client, ClientError
from emulator.v1 import job_pb2
from emulator.v1 import job_service_pb2 as pb
from emulator.v1.job_service_pb2_grpc import JobServiceStub
from emulator.workload.jobs import SECOND, JobColumns, JobKind, TrainingShape, job_columns
from tests.service.conftest import FakeControl

OK, INVALID, NEVER, FULL = 0, 3, 9, 8


def batch(**columns: Any) -> job_pb2.JobBatch:
    given: dict[str, Any] = {"count": 1, "gpus": [8], "duration_nanoseconds": [SECOND]} | columns
    return job_pb2.JobBatch(**given)


def submit(channel: grpc.Channel, *batches: job_pb2.JobBatch, request_ids: Sequence[str] = ()) -> pb.SubmitJobsResponse:
    requests = [pb.SubmitJobsRequest(batch=b, request_id=i) for b, i in zip(batches, request_ids or [""] * len(batches), strict=True)]
    answer: pb.SubmitJobsResponse = JobServiceStub(channel).SubmitJobs(iter(requests))
    return answer


def test_a_hundred_thousand_jobs_are_all_accepted_and_none_lost(client: Client, control: FakeControl) -> None:
    count = 100_000
    rng = np.random.default_rng(1)
    jobs = job_columns(
        count,
        submit_ns=0,
        gpus=rng.choice([1, 8, 64, 512], count),
        duration_ns=rng.integers(1, 10**6, count) * SECOND,
        queue=rng.integers(0, 3, count),
        queues=("a", "b", "c"),
        names=tuple(f"job-{number}" for number in range(count)),
    )
    done = client.submit_many([jobs])
    assert (done.accepted, done.refused, done.refusals) == (count, 0, ())
    assert done.job_ids.tolist() == list(range(count))
    for name in ("gpus", "duration_ns", "queue", "estimate_ns"):
        assert (np.concatenate([getattr(got, name) for got in control.batches]) == getattr(jobs, name)).all()
    assert [name for got in control.batches for name in got.names or ()] == list(jobs.names or ())


def test_refused_jobs_are_named_and_the_others_accepted(channel: grpc.Channel, control: FakeControl) -> None:
    response = submit(
        channel,
        batch(count=6, gpus=[8, 0, 0, control.GPUS + 1, 8, 8], names=["a", "b", "c", "d", "e", "f\n"]),
        batch(count=2, gpus=[-1, 4]),
    )
    assert list(response.job_ids) == [0, -1, -1, -1, 1, -1, -1, 2]
    assert (response.accepted, response.refused) == (3, 5)
    assert [(e.index, e.count, e.code, e.field) for e in response.errors] == [
        (1, 2, INVALID, "batch.gpus"),
        (3, 1, NEVER, "gpus"),
        (5, 1, INVALID, "batch.names"),
        (6, 1, INVALID, "batch.gpus"),
    ]
    assert response.errors[0].message == "batch.gpus is 0"
    assert response.errors[0].allowed == "1 or more"
    assert [list(columns.names or ()) for columns in control.batches[:1]] == [["a", "d", "e"]]


def test_the_same_error_with_a_sound_job_between_is_two_errors(channel: grpc.Channel) -> None:
    response = submit(channel, batch(count=4, gpus=[0, 8, 0, 0]))
    assert [(e.index, e.count) for e in response.errors] == [(0, 1), (2, 2)]


def test_a_queue_that_fills_up_refuses_the_rest_with_a_delay(channel: grpc.Channel, control: FakeControl) -> None:
    control.pending_limit = 5
    response = submit(channel, batch(count=4), batch(count=4), batch(count=4))
    assert (response.accepted, list(response.job_ids)) == (5, [0, 1, 2, 3, 4, -1, -1, -1, -1, -1, -1, -1])
    assert [(e.index, e.count, e.code) for e in response.errors] == [(5, 3, FULL), (8, 4, FULL)]
    assert {e.retry_delay.ToSeconds() for e in response.errors} == {2}


def test_a_batch_sent_again_gets_the_same_ids(channel: grpc.Channel) -> None:
    first = submit(channel, batch(count=3), batch(count=2), request_ids=["a-0", "a-1"])
    again = submit(channel, batch(count=3), batch(count=2), batch(), request_ids=["a-0", "a-1", "a-2"])
    assert list(first.job_ids) == [0, 1, 2, 3, 4]
    assert list(again.job_ids) == [0, 1, 2, 3, 4, 5]


def test_dictionaries_and_single_values_spread(channel: grpc.Channel, control: FakeControl) -> None:
    step = job_pb2.TrainingStep(compute_seconds=2.0, ring_bytes=1e9, overlap_seconds=10.0)
    workloads = [
        job_pb2.Workload(gang=job_pb2.GangWorkload(utilization_ratio=0.25)),
        job_pb2.Workload(training=job_pb2.TrainingWorkload(step=step, steps=30)),
        job_pb2.Workload(service=job_pb2.ServiceWorkload()),
    ]
    response = submit(
        channel,
        batch(
            count=4,
            gpus=[1, 16, 2, 16],
            milli_gpus=[500, 1000, 1000, 1000],
            duration_nanoseconds=[5, 0, 0, 0],
            priority=[7],
            queue=[1, 0, 1, 0],
            queues=["a", "b"],
            workload=[0, 1, 2, 1],
            workloads=workloads,
            require_level=[0, 1, 0, 1],
            levels=["", "leaf"],
            preemptible=[False],
        ),
    )
    assert response.accepted == 4
    (columns,) = control.batches
    assert columns.kind.tolist() == [JobKind.GANG, JobKind.TRAINING, JobKind.SERVICE, JobKind.TRAINING]
    assert columns.duration_ns.tolist() == [5, 60 * SECOND, 0, 60 * SECOND]
    assert columns.shapes == (TrainingShape(2.0, 1e9, 10.0, 0.0, 0.0),)
    assert (columns.shape.tolist(), columns.utilization.tolist()) == ([-1, 0, -1, 0], [0.25, 1.0, 1.0, 1.0])
    assert (columns.priority.tolist(), columns.preemptible.tolist()) == ([7] * 4, [False] * 4)
    assert (columns.require_level.tolist(), columns.queues) == ([-1, 3, -1, 3], ("a", "b"))


def test_a_wrong_dictionary_entry_refuses_only_the_jobs_that_use_it(channel: grpc.Channel) -> None:
    bad = job_pb2.Workload(training=job_pb2.TrainingWorkload(step=job_pb2.TrainingStep(compute_seconds=-1.0), steps=1))
    many = job_pb2.Workload(service=job_pb2.ServiceWorkload(replicas=2))
    response = submit(
        channel,
        batch(
            count=6,
            workload=[0, 1, 2, 0, 0, 0],
            workloads=[job_pb2.Workload(), bad, many],
            queue=[0, 0, 0, 1, 0, 0],
            queues=["ok", "not ok"],
            prefer_level=[0, 0, 0, 0, 1, 0],
            levels=["", "row"],
        ),
    )
    assert list(response.job_ids) == [0, -1, -1, -1, -1, 1]
    assert [e.field for e in response.errors] == [
        "batch.workloads.training.step.compute_seconds",
        "batch.workloads.service.replicas",
        "batch.queues",
        "batch.prefer_level",
    ]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (job_pb2.JobBatch(), "batch.count"),
        (batch(count=-1), "batch.count"),
        (batch(count=65_537), "batch.count"),
        (batch(count=3, gpus=[1, 2]), "batch.gpus"),
        (job_pb2.JobBatch(count=1), "batch.gpus"),
        (batch(count=2, names=["one"]), "batch.names"),
        (batch(queue=[1]), "batch.queue"),
        (batch(workload=[4_000_000_000]), "batch.workload"),
        (batch(require_level=[1]), "batch.require_level"),
        (batch(count=2, preemptible=[True, False, True]), "batch.preemptible"),
    ],
)
def test_a_malformed_batch_ends_the_stream_and_what_came_before_stands(
    channel: grpc.Channel, control: FakeControl, bad: job_pb2.JobBatch, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        submit(channel, batch(count=3, gpus=[1, 0, 1]), bad)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = caught.value.details() or ""
    assert details.startswith(f"batch 1: {field} ")
    assert details.endswith("the 2 jobs accepted before it stand")
    assert control.next_id == 2


def test_an_empty_stream_is_no_error(channel: grpc.Channel) -> None:
    assert submit(channel).accepted == 0


def test_many_different_errors_stay_within_bounds(channel: grpc.Channel) -> None:
    response = submit(channel, batch(count=5000, gpus=range(-5000, 0)))
    assert (response.refused, len(response.errors)) == (5000, 5000)
    assert [bool(e.message) for e in response.errors] == [True] * 1000 + [False] * 4000
    assert {e.code for e in response.errors} == {INVALID}


def test_the_client_hands_on_what_its_source_raises(client: Client) -> None:
    def source() -> Iterator[JobColumns]:
        yield job_columns(3, submit_ns=0, gpus=1, duration_ns=SECOND)
        raise LookupError("row 4 of the trace")

    with pytest.raises(LookupError, match="row 4"):
        client.submit_many(source())


def test_the_client_reports_refusals_without_raising(client: Client, control: FakeControl) -> None:
    control.pending_limit = 1
    done = client.submit_many([job_columns(2, submit_ns=0, gpus=[1, 1], duration_ns=SECOND)])
    (refusal,) = done.refusals
    assert (refusal.index, refusal.count, refusal.code, refusal.retry_seconds) == (1, 1, "RESOURCE_EXHAUSTED", 2.5)
    assert done.job_ids.tolist() == [0, -1]


def test_the_client_says_when_nobody_answers() -> None:
    from emulator.service.client import Client

    with Client("127.0.0.1:1") as client, pytest.raises(ClientError, match="is `gigawatt up` running") as caught:
        client.submit_many([job_columns(1, submit_ns=0, gpus=1, duration_ns=1)])
    assert caught.value.exit_code == 1
