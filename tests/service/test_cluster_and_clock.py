"""QueueService, ClusterService and ClockService through the client."""

import math
from typing import Any

import grpc
import pytest

from emulator.service.client import Client, ClientError
from emulator.v1 import clock_service_pb2 as clock_pb
from emulator.v1 import cluster_service_pb2 as cluster_pb
from emulator.v1.clock_service_pb2_grpc import ClockServiceStub
from emulator.v1.cluster_service_pb2_grpc import ClusterServiceStub
from tests.service.conftest import FakeControl


def test_queues(client: Client, control: FakeControl) -> None:
    assert client.queues() == sorted(control.queues(), key=lambda queue: queue.name)
    assert client.queue("research") == control.queues()[0]
    with pytest.raises(ClientError, match="no queue 'nowhere'; allowed: default, inference, research") as caught:
        client.queue("nowhere")
    assert caught.value.exit_code == 3


def test_cluster_racks_and_links(client: Client, control: FakeControl) -> None:
    assert client.cluster() == control.cluster()
    assert list(client.racks()) == control.racks(limit=1000)
    assert list(client.links()) == control.links(limit=10_000)
    assert list(client.links(tier="host_leaf", limit=3)) == control.links(limit=3, tier="host_leaf")
    busiest = [link.link for link in client.links(busiest=True)]  # over several pages
    assert busiest == list(range(control.LINKS))[::-1]
    assert [link.link for link in client.links(unhealthy=True, busiest=True, limit=2)] == [
        (control.LINKS - 1) // 10 * 10 - step for step in (0, 10)
    ]
    with pytest.raises(ClientError, match="allowed: host_leaf, leaf_spine") as caught:
        list(client.links(tier="leaf"))
    assert caught.value.exit_code == 2


def test_cordon(client: Client, control: FakeControl) -> None:
    assert client.cordon(3, request_id="a").cordoned
    assert control.cordoned == {3}
    assert not client.cordon(3, cordoned=False).cordoned
    assert client.cordon(3, request_id="a").cordoned  # the first answer
    assert control.cordoned == set()
    for rack, exit_code in ((control.RACKS, 3), (-1, 2), (2**62, 2), (2**63, 2)):
        with pytest.raises(ClientError) as caught:
            client.cordon(rack)
        assert caught.value.exit_code == exit_code


def test_inject_fault(client: Client) -> None:
    text = client.inject_fault(target="link", number=5, duration_seconds=90.5, remaining_ratio=0.25)
    assert text == "link 5 is down for 90.5 s and keeps 0.25"
    assert client.inject_fault(target="host", number=1, duration_seconds=1.0) == "host 1 is down for 1 s and keeps 0"


def test_what_is_broken_is_listed_page_by_page_and_mended(client: Client, control: FakeControl) -> None:
    assert list(client.faults()) == control.faults()
    first = client.faults(limit=3)
    assert ([fault.fault_id for fault in first], first.total) == ([1, 2, 3], 249)
    assert client.clear_fault("7", request_id="c") == "fault 7 is mended"
    with pytest.raises(ClientError, match="no fault 8; allowed: 7") as caught:
        client.clear_fault("8")
    assert caught.value.exit_code == 3
    with pytest.raises(ClientError, match="name has 0 characters"):
        client.clear_fault("")


@pytest.mark.parametrize(
    ("changes", "exit_code"),
    [
        ({"target": "planet"}, 2),
        ({"number": -1}, 2),
        ({"number": 2_500}, 3),
        ({"number": 2**70}, 2),
        ({"duration_seconds": 0.0}, 2),
        ({"duration_seconds": -5.0}, 2),
        ({"duration_seconds": math.nan}, 2),
        ({"duration_seconds": math.inf}, 2),
        ({"duration_seconds": 1e10}, 2),
        ({"remaining_ratio": 1.0}, 2),
        ({"remaining_ratio": -0.1}, 2),
        ({"remaining_ratio": math.nan}, 2),
        ({"target": "rack", "remaining_ratio": 0.5}, 2),
    ],
)
def test_faults_that_cannot_be(client: Client, changes: dict[str, Any], exit_code: int) -> None:
    given: dict[str, Any] = {"target": "link", "number": 1, "duration_seconds": 10.0} | changes
    with pytest.raises(ClientError) as caught:
        client.inject_fault(**given)
    assert caught.value.exit_code == exit_code


def test_a_fault_without_a_target(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError, match="target is 0"):
        ClusterServiceStub(channel).InjectFault(cluster_pb.InjectFaultRequest(number=1))


def test_the_clock(client: Client, control: FakeControl) -> None:
    assert client.clock() == control.clock()
    with pytest.raises(ClientError, match="running") as caught:
        client.step()
    assert (caught.value.code, caught.value.reason, caught.value.exit_code) == ("FAILED_PRECONDITION", "WRONG_STATE", 1)
    assert client.pause().paused
    assert client.step(3).emulated_seconds == 30.0
    assert not client.resume().paused
    assert client.set_speed(60.0).speed == 60.0
    assert client.set_speed(math.inf).speed == math.inf


def test_a_repeated_step_is_taken_once(client: Client, control: FakeControl) -> None:
    client.pause()
    assert client.step(2, request_id="s").emulated_seconds == 20.0
    assert client.step(2, request_id="s").emulated_seconds == 20.0
    assert client.step(2).emulated_seconds == 40.0
    assert control.steps == 4
    with pytest.raises(ClientError, match="different request"):
        client.step(5, request_id="s")


def test_a_failed_step_may_be_tried_again_with_its_request_id(client: Client) -> None:
    with pytest.raises(ClientError, match="running"):
        client.step(1, request_id="s")
    client.pause()
    assert client.step(1, request_id="s").emulated_seconds == 10.0


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan, -math.inf])
def test_speeds_that_cannot_be(client: Client, speed: float) -> None:
    with pytest.raises(ClientError) as caught:
        client.set_speed(speed)
    assert (caught.value.exit_code, caught.value.field) == (2, "speed")


@pytest.mark.parametrize("cycles", [0, -1, 1_000_001])
def test_steps_that_cannot_be(channel: grpc.Channel, cycles: int) -> None:
    with pytest.raises(grpc.RpcError, match="cycles is"):
        ClockServiceStub(channel).Step(clock_pb.StepRequest(cycles=cycles))
