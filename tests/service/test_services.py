"""ServiceService through the client."""

from typing import Any

import pytest

from emulator.racks.serving_messages import Tally
from emulator.service.client import Client, ClientError
from emulator.service.service_servicer import COUNTS
from tests.service.conftest import FakeControl


def test_services_come_as_they_are_by_name(client: Client, control: FakeControl) -> None:
    """What was never measured stays None on the way."""
    assert client.services() == sorted(control.services(), key=lambda view: view.name)
    assert client.service("chat") == control.service("chat")
    idle = client.service("batch")
    assert (idle.slo_attainment_ratio, idle.ttft_seconds["p50"], idle.joules_per_token) == (None, None, None)


def test_the_api_has_every_count() -> None:
    assert tuple([one.name.lower() for one in Tally]) == COUNTS


def test_many_services_come_page_by_page(client: Client, control: FakeControl) -> None:
    (one, _) = control.services()
    control.service_views = {f"s{number:04d}": type(one)(**vars(one) | {"name": f"s{number:04d}"}) for number in range(2345)}
    assert [view.name for view in client.services()] == sorted(control.service_views)


def test_scale(client: Client, control: FakeControl) -> None:
    assert client.scale_service("chat", 20, request_id="a") == "chat is to have 20 replicas from 10 s on"
    assert client.scale_service("chat", 30) == "chat is to have 30 replicas from 10 s on"
    assert client.scale_service("chat", 20, request_id="a") == "chat is to have 20 replicas from 10 s on"  # the first answer
    assert control.service("chat").wanted_replicas == 30


@pytest.mark.parametrize(
    ("name", "replicas", "exit_code", "told"),
    [
        ("nobody", 3, 3, "there is no service 'nobody'; allowed: chat, batch"),
        ("", 3, 2, "name has 0 characters; allowed: 1 to 253"),
        ("x" * 254, 3, 2, "name has 254 characters; allowed: 1 to 253"),
        ("chat", -1, 2, "replicas is -1; allowed: 0 to 1,000,000"),
        ("chat", 2**31 - 1, 2, "replicas is 2147483647; allowed: 0 to 1,000,000"),
        ("chat", 2**31, 2, "replicas"),
        ("chat", 1, 2, "1 replicas of chat; allowed: 2 to 64"),
    ],
)
def test_what_is_refused(client: Client, control: FakeControl, name: str, replicas: Any, exit_code: int, told: str) -> None:
    with pytest.raises(ClientError, match=told) as caught:
        client.scale_service(name, replicas)
    assert caught.value.exit_code == exit_code
    assert control.service("chat").wanted_replicas == 12


def test_no_service_of_that_name(client: Client) -> None:
    for name, exit_code in (("nobody", 3), ("", 2)):
        with pytest.raises(ClientError) as caught:
            client.service(name)
        assert caught.value.exit_code == exit_code


def test_a_request_id_that_is_none(client: Client) -> None:
    with pytest.raises(ClientError, match="request_id is too long or not printable"):
        client.scale_service("chat", 3, request_id="x" * 129)
