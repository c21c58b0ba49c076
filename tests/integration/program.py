"""The program as its users start it: a process of its own, watched from outside and ended by its pid."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.prometheus import wait_until

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "emulator.cli")


def run(*arguments: object, seconds: float = 240) -> tuple[dict[str, Any], str]:
    """Run a command with ``--json`` to its end; its summary and what it said on stderr. Raises AssertionError where it fails."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments), "--json"], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@dataclass
class Live:
    """A running ``gigawatt up``."""

    process: subprocess.Popen[str]
    out: Path
    err: Path

    def address(self, name: str) -> str:
        """The address printed for ``API``, ``metrics`` or ``discovery``, waited for."""
        pattern = re.compile(rf"^{name}\s+(?:http://)?(\S+)", re.MULTILINE)
        wait_until(lambda: pattern.search(self.printed) or self.process.poll() is not None, 90, f"{name} to be printed")
        found = pattern.search(self.printed)
        assert found, self.printed
        return found[1]

    @property
    def printed(self) -> str:
        return self.out.read_text() + self.err.read_text()

    def actors(self) -> list[psutil.Process]:
        """Its shard actors."""
        return [child for child in descendants(self.process.pid) if "ShardActor" in " ".join(_command(child))]

    def interrupt(self, seconds: float = 60) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(seconds)


@contextmanager
def live(tmp_path: Path, *arguments: object) -> Iterator[Live]:
    """``gigawatt up`` on free ports while inside."""
    out, err = tmp_path / "up.out", tmp_path / "up.err"
    ports = ("--port", "0", "--metrics-port", "0")
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen([*COMMAND, "up", *map(str, arguments), *ports], cwd=ROOT, stdout=stdout, stderr=stderr, text=True)
    session = Live(process, out, err)
    try:
        yield session
    finally:
        started = descendants(process.pid)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        for child in started:
            if child.is_running():
                child.kill()


def descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
