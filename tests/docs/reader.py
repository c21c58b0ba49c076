"""A reader with a terminal, who types what a page says and looks whether it does what the page shows."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from tests.docs.console import Step, differs
from tests.prometheus import wait_until

ROOT = Path(__file__).resolve().parents[2]
#: What a page's commands may name, beside what they have made themselves.
_FOLDERS = ("deploy", "docs", "examples", "proto", "topology", "emulator")
_READY = "Ctrl-C ends it."
#: A session that goes on until Ctrl-C; one with an end of its own is waited for.
_ENDS = re.compile(r" --(for|until)\b")
_SECONDS = 240


class Reader:
    """Types commands in an empty folder that shows the repository's own. ``gigawatt up`` stays in a second terminal: until the next command
    that starts with it, or the end of the page, where Ctrl-C ends it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in _FOLDERS:
            (folder / name).symlink_to(ROOT / name)
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            "COLUMNS": "140",
            "NO_COLOR": "1",
            "GIGAWATT_UP_PORT": (port := _free_port()),
            "GIGAWATT_UP_METRICS_PORT": _free_port(),
            "GIGAWATT_API": f"127.0.0.1:{port}",
            "PYTHONPATH": str(ROOT),
        }
        self._up: tuple[Step, subprocess.Popen[bytes], Path] | None = None

    def type(self, step: Step) -> str:
        """What is wrong with what the command prints, in a sentence; "" where all is as shown."""
        words = shlex.split(step.command)
        if words[:1] == ["cat"] and len(words) == 2 and not (self._folder / words[1]).exists():
            (self._folder / words[1]).write_text("\n".join(step.shown) + "\n")
            return ""
        if step.command.startswith("gigawatt up ") and ((wrong := self.leave()) or not _ENDS.search(step.command)):
            return wrong or self._start(step)
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
        output = done.stdout.decode()
        if done.returncode and not any("error:" in line for line in step.shown):
            return f"line {step.line}: `{step.command}` ends with exit code {done.returncode}:\n{output}"
        return differs(step, output) if step.shown else ""

    def _start(self, step: Step) -> str:
        output = self._folder / ".up"
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {step.command}"], cwd=self._folder, env=self._environment, stdout=file, stderr=subprocess.STDOUT
            )
        self._up = step, process, output
        wait_until(lambda: _READY in output.read_text() or process.poll() is not None, 120, f"`{step.command}` to start")
        return "" if process.poll() is None else f"line {step.line}: `{step.command}` ended at once:\n{output.read_text()}"

    def leave(self) -> str:
        """Ctrl-C in the terminal of ``gigawatt up``, where there is one; as ``type``."""
        if self._up is None:
            return ""
        step, process, output = self._up
        self._up = None
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(60)
        finally:
            process.kill()
            for child in children:
                if child.is_running():
                    child.kill()
        if code not in (0, 130):
            return f"line {step.line}: `{step.command}` ends with exit code {code} by Ctrl-C:\n{output.read_text()}"
        return differs(step, output.read_text()) if step.shown else ""


def _free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])
