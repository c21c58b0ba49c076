from collections.abc import Callable, Iterator

import pytest

from emulator.cli import main
from emulator.service.server import serve
from tests.service.conftest import FakeControl
from topology.catalog import HGX_H100

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIGAWATT_API", "GIGAWATT_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def gigawatt(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line (and further words as they are) in this process: its exit code, stdout and stderr."""

    def run(line: str, *more: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([*line.split(), *map(str, more)])
        return (code, *capfd.readouterr())

    return run


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeControl]:
    """A server of a control that is none, which commands of a client ask."""
    control = FakeControl()
    server = serve(control, "127.0.0.1:0", host_type=HGX_H100)
    monkeypatch.setenv("GIGAWATT_API", server.address)
    yield control
    server.stop()
