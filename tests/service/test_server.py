"""The server as a whole: where it listens, health, reflection, deadlines, and errors that are nobody's fault but ours."""

import queue
import socket
import threading
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from emulator.engine.job_control import JobState
from emulator.service.client import Client, ClientError
from emulator.service.server import SERVICES, ServeError, Server, serve
from emulator.service.spec import JobSpec
from emulator.v1 import job_service_pb2 as pb
from emulator.v1.job_service_pb2_grpc import JobServiceStub
from tests.service.conftest import FakeControl
from topology.catalog import HostType

DEADLINE_SECONDS = 30


def test_it_listens_on_loopback_and_says_where(server: Server) -> None:
    host, port = server.address.split(":")
    assert (host, int(port)) == ("127.0.0.1", server.port)
    assert server.port > 0


def test_a_taken_port_is_refused_by_name(control: FakeControl, server: Server, cluster_host: HostType) -> None:
    with pytest.raises(ServeError, match=f"cannot serve on {server.address}: the port is taken"):
        serve(control, server.address, host_type=cluster_host)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ServeError, match="the port is taken"):
            serve(control, f"127.0.0.1:{other.getsockname()[1]}", host_type=cluster_host)


@pytest.mark.parametrize("address", ["", "50051", ":50051", "localhost", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http"])
def test_what_is_no_address(control: FakeControl, address: str, cluster_host: HostType) -> None:
    with pytest.raises(ServeError, match="allowed: host:port"):
        serve(control, address, host_type=cluster_host)


def test_it_stops_once_and_for_all(control: FakeControl, cluster_host: HostType) -> None:
    server = serve(control, "127.0.0.1:0", host_type=cluster_host)
    server.stop()
    server.stop()
    with Client(server.address) as client, pytest.raises(ClientError, match="is `gigawatt up` running") as caught:
        client.clock()
    assert (caught.value.code, caught.value.exit_code) == ("UNAVAILABLE", 1)
    again = serve(control, server.address, host_type=cluster_host)  # the port is free again
    again.stop()


def test_health(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", *SERVICES):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="emulator.v1.NoService"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_client_that_knows_only_reflection_submits_and_watches_to_the_end(channel: grpc.Channel, control: FakeControl) -> None:
    """A standard client: descriptors come over the wire, messages are JSON."""
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(SERVICES) <= set(database.get_services())
    pool = descriptor_pool.DescriptorPool(database)
    service = pool.FindServiceByName("emulator.v1.JobService")

    def call(name: str, json: str) -> Any:
        method = service.FindMethodByName(name)
        request = json_format.Parse(json, message_factory.GetMessageClass(method.input_type)())
        kind = channel.unary_stream if method.server_streaming else channel.unary_unary
        return kind(
            f"/{service.full_name}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )(request, timeout=DEADLINE_SECONDS)

    submitted = call("SubmitJob", '{"spec": {"name": "by hand", "gpus": 1024, "duration": "3600s"}, "requestId": "r1"}')
    assert (submitted.job.name, submitted.job.gpus, list(submitted.job_ids)) == ("by hand", 1024, [0])
    watch = call("WatchJobs", '{"jobIds": ["0"]}')
    assert next(watch).events[0].job.state == 1
    control.change(0, state=JobState.RUNNING)
    control.change(0, state=JobState.FINISHED)
    states = [event.job.state for response in watch for event in response.events]
    assert json_format.MessageToDict(call("GetJob", '{"jobId": "0"}'))["job"]["state"] == "JOB_STATE_FINISHED"
    assert states == [2, 3]


def details_of(error: Any) -> dict[type[Message], Any]:
    found: dict[type[Message], Any] = {}
    for detail in rpc_status.from_call(error).details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            message = kind()
            if detail.Unpack(message):
                found[kind] = message
    return found


def test_errors_carry_the_standard_details(channel: grpc.Channel, control: FakeControl) -> None:
    stub = JobServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.SubmitJob(pb.SubmitJobRequest())
    details = details_of(caught.value)
    info = details[error_details_pb2.ErrorInfo]
    assert (info.domain, info.reason) == ("gigawatt", "INVALID_REQUEST")
    (violation,) = details[error_details_pb2.BadRequest].field_violations
    assert (violation.field, violation.description) == ("spec.gpus", "spec.gpus is 0; allowed: 1 or more")
    control.pending_limit = 0
    request = pb.SubmitJobRequest()
    request.spec.gpus, request.spec.duration.seconds = 1, 1
    with pytest.raises(grpc.RpcError) as caught:
        stub.SubmitJob(request)
    assert details_of(caught.value)[error_details_pb2.RetryInfo].retry_delay.ToMilliseconds() == 2500


def test_bytes_that_are_no_message_are_the_callers_fault(channel: grpc.Channel) -> None:
    for method, kind in (("SubmitJob", channel.unary_unary), ("WatchJobs", channel.unary_stream), ("SubmitJobs", channel.stream_unary)):
        call: Any = kind(f"/emulator.v1.JobService/{method}", request_serializer=None, response_deserializer=None)
        with pytest.raises(grpc.RpcError) as caught:
            list(call(iter([b"\xff\xff"]) if method == "SubmitJobs" else b"\xff\xff"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, method


def test_a_name_that_is_no_utf8_is_the_callers_fault(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/emulator.v1.QueueService/GetQueue", request_serializer=None, response_deserializer=None)
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\x0a\x02\xff\xfe")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_what_broke_inside_stays_inside(client: Client, control: FakeControl, caplog: pytest.LogCaptureFixture) -> None:
    control.next_error = KeyError("secret path /home/x")
    with pytest.raises(ClientError, match="internal error") as caught:
        client.submit(JobSpec(gpus=1, duration_seconds=1.0))
    assert caught.value.code == "INTERNAL"
    assert "secret" not in str(caught.value)
    incident = str(caught.value).rsplit(" ", 1)[1]
    assert any(incident in record.getMessage() and record.exc_info for record in caplog.records)


def test_a_deadline_holds_while_control_is_busy_and_others_are_served(client: Client, control: FakeControl, server: Server) -> None:
    client.submit(JobSpec(gpus=1, duration_seconds=1.0))
    control.gate = threading.Event()
    try:
        with Client(server.address, timeout_seconds=0.2) as hasty, pytest.raises(ClientError) as caught:
            hasty.explain(0)
        assert (caught.value.code, caught.value.exit_code) == ("DEADLINE_EXCEEDED", 5)
        assert client.clock().speed == 1.0
    finally:
        control.gate.set()


def test_more_calls_than_the_server_takes_are_told_to_come_back(client: Client, channel: grpc.Channel, control: FakeControl) -> None:
    """One connection has 6 of 8: of 10 calls that wait in Control 4 are refused at once; once the 6 are done there is room again."""
    client.submit(JobSpec(gpus=1, duration_seconds=1.0))
    control.gate = threading.Event()
    stub, done = JobServiceStub(channel), queue.Queue[Any]()
    for _ in range(10):
        stub.ExplainJob.future(pb.ExplainJobRequest(job_id=0)).add_done_callback(done.put)
    for _ in range(4):
        refused = done.get(timeout=DEADLINE_SECONDS).exception()
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details_of(refused)[error_details_pb2.RetryInfo].retry_delay.ToSeconds() == 1
    control.gate.set()
    assert {done.get(timeout=DEADLINE_SECONDS).result().kind for _ in range(6)} == {pb.REASON_KIND_CAPACITY}
    assert client.explain(0).kind == "capacity"
