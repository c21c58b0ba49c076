"""Submissions that wait while others are in hand: they are handed in together, in order, and every call gets an answer."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from emulator.engine.errors import WrongState
from emulator.service.server import Server
from emulator.v1 import job_service_pb2 as pb
from emulator.v1.job_service_pb2_grpc import JobServiceStub
from tests.service.conftest import FakeControl

DEADLINE_SECONDS = 30


def request(gpus: int = 1, request_id: str = "") -> pb.SubmitJobRequest:
    made = pb.SubmitJobRequest(request_id=request_id)
    made.spec.gpus, made.spec.duration.seconds = gpus, 600
    return made


@pytest.fixture
def held(control: FakeControl) -> Iterator[threading.Event]:
    """Submissions wait in Control until it is set."""
    control.submit_gate = threading.Event()
    yield control.submit_gate
    control.submit_gate.set()


def in_hand(server: Server, calls: int) -> None:
    """Wait until so many calls wait for their answers: one more lot is in Control, the others gather."""
    gathering = server.gathering
    assert gathering is not None
    for _ in range(DEADLINE_SECONDS * 100):
        if gathering.in_hand == calls:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{gathering.in_hand} calls are in hand")


def test_what_waits_is_handed_in_together(server: Server, channel: grpc.Channel, control: FakeControl, held: threading.Event) -> None:
    """The first is alone; the five that come meanwhile are one lot, of which the third is refused and the fifth is no good."""
    stub = JobServiceStub(channel)
    calls = []
    for number, gpus in enumerate((1, 2, 3, 1_000_000, 5, 0)):
        calls.append(stub.SubmitJob.future(request(gpus), timeout=DEADLINE_SECONDS))
        in_hand(server, number + 1)
    held.set()
    codes = [call.exception(DEADLINE_SECONDS) and call.code() for call in calls]
    assert codes == [None, None, None, grpc.StatusCode.FAILED_PRECONDITION, None, grpc.StatusCode.INVALID_ARGUMENT]
    assert control.lots == [1, 4]
    assert [(call.result().job.job_id, call.result().job.gpus) for call, code in zip(calls, codes, strict=True) if code is None] == [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 5),
    ]


def test_a_call_that_was_given_up_is_not_made(server: Server, channel: grpc.Channel, control: FakeControl, held: threading.Event) -> None:
    stub = JobServiceStub(channel)
    first = stub.SubmitJob.future(request())
    in_hand(server, 1)
    given_up, last = stub.SubmitJob.future(request(2)), stub.SubmitJob.future(request(3))
    in_hand(server, 3)
    given_up.cancel()
    in_hand(server, 2)
    held.set()
    assert [first.result(DEADLINE_SECONDS).job.gpus, last.result(DEADLINE_SECONDS).job.gpus] == [1, 3]
    assert [int(batch.gpus[0]) for batch in control.batches] == [1, 3]


def test_an_error_that_nobody_thought_of_ends_its_own_lot_alone(
    server: Server, channel: grpc.Channel, control: FakeControl, held: threading.Event
) -> None:
    stub = JobServiceStub(channel)
    calls = [stub.SubmitJob.future(request())]
    in_hand(server, 1)
    calls += [stub.SubmitJob.future(request()) for _ in range(3)]
    in_hand(server, 4)
    control.next_error = ZeroDivisionError("a bug")
    held.set()
    assert [call.exception(DEADLINE_SECONDS) and call.code().name for call in calls] == ["INTERNAL", None, None, None]


@pytest.mark.parametrize("ended_first", [True, False])
def test_every_call_that_waits_gets_an_answer_at_the_end(
    server: Server, channel: grpc.Channel, control: FakeControl, held: threading.Event, ended_first: bool
) -> None:
    """The emulation ends and says so to all; or the server does, while Control never answers."""
    stub = JobServiceStub(channel)
    calls = [stub.SubmitJob.future(request(), timeout=DEADLINE_SECONDS) for _ in range(6)]
    in_hand(server, 6)
    with ThreadPoolExecutor(1) as pool:
        if ended_first:
            control.over = WrongState("the emulation has ended")
            held.set()
        stopping = pool.submit(server.stop, 5.0 if ended_first else 0.0)
        codes = {call.code() for call in calls if call.exception(DEADLINE_SECONDS)}
        stopping.result(DEADLINE_SECONDS)
    assert all(call.done() for call in calls)
    assert codes <= ({grpc.StatusCode.FAILED_PRECONDITION} if ended_first else {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
    assert codes
    assert control.views == {}
