from collections.abc import Callable

import pytest

from emulator.cli import main

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
