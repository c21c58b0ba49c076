"""Clients that take and do not give: what they hold is bounded in number and time, and the others are served."""

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from emulator.service.client import Client
from emulator.service.guard import Limits
from emulator.service.server import Server, serve
from emulator.service.spec import JobSpec
from emulator.v1 import job_service_pb2 as pb
from emulator.v1.job_service_pb2_grpc import JobServiceStub
from tests.service.conftest import FakeControl
from topology.catalog import HostType

DEADLINE_SECONDS = 30


def connection(server: Server, stack: ExitStack) -> grpc.Channel:
    """A connection of its own: channels of one process share one otherwise."""
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    return stack.enter_context(grpc.insecure_channel(server.address, options=options))


def silent_stream(stub: JobServiceStub, ended: threading.Event) -> Any:
    """A stream of SubmitJobs that says nothing until ``ended``."""

    def nothing() -> Iterator[Any]:
        ended.wait(DEADLINE_SECONDS)
        return
        yield

    return stub.SubmitJobs.future(nothing())


def retry_seconds(error: Any) -> int | None:
    for detail in rpc_status.from_call(error).details:
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            return int(retry.retry_delay.ToSeconds())
    return None


def test_silent_streams_end_and_leave_calls_alone(server: Server, client: Client) -> None:
    """Of 4 places for streams one connection has 3; nobody else's calls or streams suffer, and after a second of silence they are free."""
    ended = threading.Event()
    with ExitStack() as stack:
        stack.callback(ended.set)
        stub = JobServiceStub(connection(server, stack))
        streams = [silent_stream(stub, ended) for _ in range(12)]
        codes = [stream.exception(DEADLINE_SECONDS) for stream in streams]
        assert {error.code() for error in codes} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        said = [error.details() for error in codes]
        assert sum("sent nothing for 1 s" in text for text in said) == 3
        assert sum("takes no more (3 of one connection)" in text for text in said) == 9
        assert {retry_seconds(error) for error in codes} == {1}
        assert client.submit(JobSpec(gpus=1, duration_seconds=1.0)).job_id == 0


def test_a_stream_is_served_while_another_connection_holds_all_that_it_may(control: FakeControl, cluster_host: HostType) -> None:
    server = serve(control, "127.0.0.1:0", host_type=cluster_host, limits=Limits(calls=8, streams=4, idle_seconds=DEADLINE_SECONDS))
    ended = threading.Event()
    with ExitStack() as stack:
        stack.callback(server.stop, 0.0)
        stack.callback(ended.set)
        hog = JobServiceStub(connection(server, stack))
        done: queue.Queue[Any] = queue.Queue()
        streams = [silent_stream(hog, ended) for _ in range(4)]
        for stream in streams:
            stream.add_done_callback(done.put)
        assert done.get(timeout=DEADLINE_SECONDS).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert sum(stream.done() for stream in streams) == 1
        other = JobServiceStub(connection(server, stack))
        batch = pb.SubmitJobsRequest()
        batch.batch.count, batch.batch.gpus[:], batch.batch.duration_nanoseconds[:] = 1, [1], [10**9]
        assert other.SubmitJobs(iter([batch]), timeout=DEADLINE_SECONDS).accepted == 1


def test_more_connections_than_the_server_takes_are_closed(control: FakeControl, cluster_host: HostType) -> None:
    server = serve(control, "127.0.0.1:0", host_type=cluster_host, limits=Limits(connections=4))
    try:
        with ExitStack() as stack, Client(server.address) as client:
            assert client.clock().speed == 1.0
            silent = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)) for _ in range(8)]
            closed = [one for one in silent[3:] if one.recv(1) == b""]
            assert len(closed) == 5
            assert client.clock().speed == 1.0
    finally:
        server.stop(0.0)


def test_refusing_is_cheap(server: Server, client: Client, control: FakeControl) -> None:
    """What is refused is not even read: bytes that are no message are not called malformed."""
    client.submit(JobSpec(gpus=1, duration_seconds=1.0))
    control.gate = threading.Event()
    with ExitStack() as stack:
        stack.callback(control.gate.set)
        channel = connection(server, stack)
        stub = JobServiceStub(channel)
        done: queue.Queue[Any] = queue.Queue()
        calls = [stub.ExplainJob.future(pb.ExplainJobRequest(job_id=0)) for _ in range(12)]
        for call in calls:
            call.add_done_callback(done.put)
        refused = [done.get(timeout=DEADLINE_SECONDS) for _ in range(6)]  # the other six have all the places of this connection
        assert {call.code() for call in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        explain = channel.unary_unary("/emulator.v1.JobService/ExplainJob", request_serializer=None, response_deserializer=None)
        with pytest.raises(grpc.RpcError) as caught:
            explain(b"\xff", timeout=DEADLINE_SECONDS)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        control.gate.set()
        assert all(call.result(DEADLINE_SECONDS) for call in calls if call not in refused)


def test_requests_in_hand_are_bounded_by_their_bytes(control: FakeControl, cluster_host: HostType) -> None:
    """Of 4,000 bytes one connection has 3,000: while a batch of 2,000 waits, another is refused, and a small one is taken."""
    control.submit_gate = threading.Event()
    server = serve(control, "127.0.0.1:0", host_type=cluster_host, limits=Limits(request_bytes=4000))
    try:
        with ExitStack() as stack:
            stack.callback(control.submit_gate.set)
            stub = JobServiceStub(connection(server, stack))
            large = pb.SubmitJobRequest(request_id="large")
            large.spec.gpus, large.spec.duration.seconds, large.spec.name = 1, 600, "x" * 2000
            waits = stub.SubmitJob.future(large, timeout=DEADLINE_SECONDS)
            while server.gathering is None or not server.gathering.in_hand:
                threading.Event().wait(0.01)
            with pytest.raises(grpc.RpcError) as caught:
                stub.SubmitJob(large, timeout=DEADLINE_SECONDS)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert caught.value.details() == "the server has 4,000 bytes of requests in hand and takes no more (3,000 of one connection)"
            assert retry_seconds(caught.value) == 1
            batch = pb.SubmitJobsRequest()
            batch.batch.count, batch.batch.names[:] = 2, ["x" * 1000] * 2
            with pytest.raises(grpc.RpcError, match="4,000 bytes of requests in hand"):
                stub.SubmitJobs(iter([batch]), timeout=DEADLINE_SECONDS)
            large.spec.name = "x"
            taken = stub.SubmitJob.future(large, timeout=DEADLINE_SECONDS)
            control.submit_gate.set()
            assert waits.exception(DEADLINE_SECONDS).code() is grpc.StatusCode.INVALID_ARGUMENT  # the name is too long
            assert taken.result(DEADLINE_SECONDS).job.name == "x"
    finally:
        server.stop(0.0)
