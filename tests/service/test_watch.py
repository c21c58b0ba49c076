"""Watches: snapshot, deltas, resuming, and places that are free when nobody watches."""

from collections.abc import Generator
from itertools import islice

import grpc
import pytest

from emulator.engine.job_control import JobState
from emulator.service.client import Client, ClientError
from emulator.service.server import Server
from emulator.service.spec import JobSpec
from emulator.v1 import job_service_pb2 as pb
from emulator.v1.job_service_pb2_grpc import JobServiceStub
from tests.service.conftest import FakeControl

DEADLINE_SECONDS = 30


def submit(client: Client, jobs: int = 1) -> list[int]:
    return [client.submit(JobSpec(gpus=1, duration_seconds=1.0, name=f"job-{number}")).job_id for number in range(jobs)]


def all_watches_end(control: FakeControl) -> bool:
    """Wait until Control has no open watch."""
    with control.changed:
        return control.changed.wait_for(lambda: control.open_watches == 0, DEADLINE_SECONDS)


def test_a_snapshot_then_every_change_until_the_jobs_end(client: Client, control: FakeControl) -> None:
    first, second, other = submit(client, 3)
    watch = client.watch(job_ids=[first, second])
    assert [(event.job.job_id, event.job.state) for event in islice(watch, 2)] == [(first, JobState.PENDING), (second, JobState.PENDING)]
    control.change(other, state=JobState.RUNNING)
    control.change(first, state=JobState.RUNNING, start_seconds=4.0)
    control.change(first, state=JobState.FINISHED, end_seconds=5.0)
    control.change(second, state=JobState.FAILED)
    rest = list(watch)
    assert [(event.job.job_id, event.job.state) for event in rest] == [
        (first, JobState.RUNNING),
        (first, JobState.FINISHED),
        (second, JobState.FAILED),
    ]
    assert [event.sequence for event in rest] == [4, 5, 6]
    assert rest[1].job == control.views[first]
    assert all_watches_end(control)


def test_a_watch_of_everything_sees_jobs_that_come_later(client: Client, control: FakeControl) -> None:
    submit(client)
    watch = client.watch()
    assert next(watch).job.job_id == 0
    submit(client, 2)
    assert [event.job.job_id for event in islice(watch, 2)] == [1, 2]
    assert isinstance(watch, Generator)
    watch.close()
    assert all_watches_end(control)


def test_a_watch_resumes_after_a_sequence(client: Client, control: FakeControl) -> None:
    (job_id,) = submit(client)
    seen = next(client.watch(job_ids=[job_id]))
    for state in (JobState.RUNNING, JobState.FINISHED):
        control.change(job_id, state=state)
    resumed = list(client.watch(job_ids=[job_id], after_sequence=seen.sequence))
    assert [(event.sequence, event.job.state) for event in resumed] == [(1, JobState.RUNNING), (2, JobState.FINISHED)]


def test_a_sequence_that_is_gone_is_said_so(client: Client, control: FakeControl) -> None:
    submit(client, 5)
    control.first_sequence = 4
    with pytest.raises(ClientError, match="no longer held") as caught:
        list(client.watch(after_sequence=1))
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "WRONG_STATE")


def test_watching_a_job_that_is_none(client: Client, control: FakeControl) -> None:
    with pytest.raises(ClientError, match="no job 9") as caught:
        list(client.watch(job_ids=[9]))
    assert caught.value.exit_code == 3
    assert all_watches_end(control)


@pytest.mark.parametrize("request_", [pb.WatchJobsRequest(job_ids=range(10_001)), pb.WatchJobsRequest(after_sequence=-2)])
def test_watches_that_cannot_be(channel: grpc.Channel, request_: pb.WatchJobsRequest) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(JobServiceStub(channel).WatchJobs(request_))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_cancelled_watch_frees_its_place(client: Client, channel: grpc.Channel, control: FakeControl) -> None:
    """Of four watches one connection has three: a fourth is refused until one of the three is cancelled."""
    submit(client)
    stub = JobServiceStub(channel)
    watches = [stub.WatchJobs(pb.WatchJobsRequest()) for _ in range(3)]
    for watch in watches:
        assert next(watch).events[0].job.job_id == 0
    with pytest.raises(grpc.RpcError) as caught:
        next(stub.WatchJobs(pb.WatchJobsRequest()))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "the server has 4 watches in hand and takes no more (3 of one connection)"
    assert next(client.watch()).job.job_id == 0  # of another connection
    for watch in watches:
        watch.cancel()
    assert all_watches_end(control)
    assert next(client.watch()).job.job_id == 0


def test_a_watch_ends_at_its_deadline(client: Client, control: FakeControl) -> None:
    submit(client)
    with pytest.raises(ClientError) as caught:
        list(client.watch(timeout_seconds=0.3))
    assert (caught.value.code, caught.value.exit_code) == ("DEADLINE_EXCEEDED", 5)
    assert all_watches_end(control)


def test_a_slow_reader_holds_itself_back_and_nobody_else(client: Client, channel: grpc.Channel, control: FakeControl) -> None:
    """Nobody reads the stream: what waits is bounded by flow control, and other calls are answered."""
    (job_id,) = submit(client)
    unread = JobServiceStub(channel).WatchJobs(pb.WatchJobsRequest())
    assert len(next(unread).events) == 1  # the snapshot: the watch is open
    for number in range(20_000):
        control.change(job_id, reason=f"{number:0200d}")
    assert client.job(job_id).reason == f"{19_999:0200d}"
    got = [event.sequence for event in islice((event for response in unread for event in response.events), 20_000)]
    assert got == list(range(1, 20_001))
    unread.cancel()
    assert all_watches_end(control)


def test_stopping_the_server_ends_its_watches(client: Client, server: Server, control: FakeControl) -> None:
    submit(client)
    watch = client.watch()
    next(watch)
    server.stop(0.0)
    with pytest.raises(ClientError):
        list(watch)
    assert all_watches_end(control)
