"""What ``--address`` and RAY_ADDRESS mean, without a Ray."""

import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.runtime import ray_address
from emulator.runtime.ray_address import Given, RayStartError, UnusableRay, given_cluster, split_address
from emulator.runtime.ray_head import RayHead


@pytest.fixture
def listening() -> Iterator[str]:
    """host:port where something listens and never speaks."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield "{}:{}".format(*one.getsockname())


@pytest.fixture
def closed() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return "{}:{}".format(*one.getsockname())


@pytest.mark.parametrize(
    ("address", "parts"),
    {
        "10.0.0.5:6379": ("10.0.0.5", 6379),
        "head-svc.default.svc.cluster.local:6379": ("head-svc.default.svc.cluster.local", 6379),
        "[fd00::5]:6379": ("fd00::5", 6379),
    }.items(),
)
def test_addresses(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    "address", ["", "6379", "localhost", ":6379", "a b:1", "host:0", "host:65536", "host:http", "fd00::5:6379", "host/x:1"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UnusableRay, match=r"allowed: host:port of its head, for example 10\.0\.0\.5:6379, or auto .*, or local"):
        split_address(address)


@pytest.mark.parametrize(
    ("address", "instead"),
    {
        "ray://head:10001": "run gigawatt on a node of the cluster, for instance by: ray job submit",
        "http://head:8265": "use: ray job submit --address http://head:8265 -- gigawatt run",
        "https://head": "use: ray job submit --address https://head -- gigawatt run",
    }.items(),
)
def test_other_doors_of_ray_say_what_to_do_instead(address: str, instead: str) -> None:
    with pytest.raises(UnusableRay, match=instead):
        split_address(address)


@pytest.mark.parametrize(("asked", "environment"), [(None, ""), (None, "local"), ("local", ""), ("local", "10.0.0.5:6379")])
def test_a_ray_of_our_own(monkeypatch: pytest.MonkeyPatch, asked: str | None, environment: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", environment)
    assert given_cluster(asked) is None


def test_the_environment_names_the_cluster(monkeypatch: pytest.MonkeyPatch, listening: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", listening)
    assert given_cluster(None) == given_cluster("auto") == Given(listening, by_environment=True)


def test_the_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch, listening: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:6379")
    assert given_cluster(listening) == Given(listening)


@pytest.mark.parametrize("kind", ["nothing there", "http://127.0.0.1:8265", "ray://127.0.0.1:10001", "rubbish"])
def test_an_environment_that_leads_nowhere_is_passed_over_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, closed: str, kind: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", closed if kind == "nothing there" else kind)
    with caplog.at_level(logging.WARNING):
        assert given_cluster(None) is None
    assert "RAY_ADDRESS is ignored and a new Ray is started" in caplog.text


def test_an_option_that_leads_nowhere_is_an_error(monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    with pytest.raises(RayStartError, match=f"no Ray cluster answers at {closed}"):
        given_cluster(closed)
    monkeypatch.setenv("RAY_ADDRESS", closed)
    with pytest.raises(RayStartError, match=f"no Ray cluster answers at {closed}"):
        given_cluster("auto")


def test_the_cluster_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of several the one that ``ray start`` wrote down last; a note of one that is gone decides nothing."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    found = ["10.0.0.5:6379", "10.0.0.5:7000", "10.0.0.5:6379"]
    monkeypatch.setattr(ray_address, "_raylets", lambda: iter(found))
    with pytest.raises(UnusableRay, match=r"nodes of 2 Ray clusters .* one of 10\.0\.0\.5:6379, 10\.0\.0\.5:7000"):
        ray_address.cluster_of_this_machine()
    (tmp_path / "ray").mkdir()
    note = tmp_path / "ray" / "ray_current_cluster"
    note.write_text("10.0.0.5:7000")
    assert ray_address.cluster_of_this_machine() == "10.0.0.5:7000"
    note.write_text("10.0.0.9:6379")
    with pytest.raises(UnusableRay, match="nodes of 2 Ray clusters"):
        ray_address.cluster_of_this_machine()
    found[:] = ["10.0.0.5:6379"]
    assert ray_address.cluster_of_this_machine() == "10.0.0.5:6379"
    found.clear()
    with pytest.raises(UnusableRay, match="no Ray cluster runs on this machine; start one"):
        ray_address.cluster_of_this_machine()


def test_what_listens_but_is_no_head_of_ray(monkeypatch: pytest.MonkeyPatch, listening: str) -> None:
    monkeypatch.setattr("emulator.runtime.ray_head.ANSWER_SECONDS", 0.5)
    with pytest.raises(UnusableRay, match=f"what listens at {listening} does not answer within 0.5 s"):
        RayHead(listening)


def test_an_api_that_is_not_rays(served_api: str) -> None:
    with pytest.raises(UnusableRay, match=f"what answers at {served_api} is not the head of a Ray cluster"):
        RayHead(served_api)


@pytest.fixture
def served_api() -> Iterator[str]:
    """A gRPC server with nothing on it."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_looking_for_a_cluster_does_not_import_ray() -> None:
    """Ray reads its environment when it is imported, and a Ray of our own may still have to set it."""
    import subprocess

    program = "import sys; from emulator.runtime.ray_address import given_cluster; given_cluster(None); print('ray' in sys.modules)"
    environment = {"RAY_ADDRESS": "127.0.0.1:1", "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
