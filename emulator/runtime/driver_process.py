"""A process of ours that drives Ray, and the head's connection to it: calls with answers, and what it tells unasked."""

import contextlib
import logging
import math
import os
import pickle
import select
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

import psutil

from emulator.runtime.actor import pack
from emulator.runtime.link_messages import Opened
from emulator.runtime.ray_address import RayStartError

logger = logging.getLogger(__name__)

#: Wall seconds between two checks whether the run is ending, while waiting for an answer.
GLANCE_SECONDS = 0.25
#: Wall seconds that a call may take, and Ray's orderly end, once the run is ending.
_ENDING_SECONDS = 1.0
_CLOSE_SECONDS = 2.0
INTERRUPTED = "a call of it was interrupted"


class RayGone(RuntimeError):
    """Ray, or the process that drives it, has ended or does not answer. The message says how."""


class DriverProcess:
    """The process that runs ``module``, opened with ``arguments``. Raises RayStartError where Ray cannot be had.

    Every call raises RayGone when the process has ended; after ``hurry`` also when it takes long. An exception out of the middle of a call
    (KeyboardInterrupt) closes the connection.
    """

    def __init__(self, module: str, *arguments: Any) -> None:
        self._number = 0
        self._hurried = math.inf
        self._poll = select.poll()  # of the connection and of whatever else a kind of process listens to
        self._directory = ""
        self._started: list[psutil.Process] = []
        self._connection, theirs = Pipe()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                start_new_session=True,  # Ctrl-C and a closed terminal are for the head
                env=os.environ | {"PYTHONPATH": _import_path()},
            )
        finally:
            theirs.close()
        self._poll.register(self._connection, select.POLLIN)
        try:
            self.opened: Opened = self._call("open", *arguments)
            self._directory = self.opened.directory
            self._started = _children(self._process.pid)
        except RayGone as gone:
            self.close()
            raise RayStartError(f"Ray did not start: {gone}") from gone
        except BaseException:
            self.close()
            raise

    def _told(self, kind: str, value: Any) -> None:
        """The process has told something unasked, other than a note."""

    def hurry(self) -> None:
        """The run is ending: do not wait long for any call. A signal handler may call it."""
        self._hurried = time.monotonic()

    def _hurry_up(self, began: float) -> None:
        """Raises RayGone where the run is ending and a call that began then has taken long enough."""
        if time.monotonic() > max(self._hurried, began) + _ENDING_SECONDS:
            raise RayGone("it does not answer while the run is ending")

    def _call(self, verb: str, *arguments: Any) -> Any:
        """A call of the process that drives Ray. What is interrupted in it leaves half a message, so that another process is needed."""
        if self._connection.closed:
            raise RayGone(INTERRUPTED)
        self._number += 1
        began = time.monotonic()
        try:
            self._connection.send_bytes(pack((self._number, verb, arguments)))
            while True:
                while not self._connection.poll(GLANCE_SECONDS):
                    self._hurry_up(began)
                number, kind, value = self._hear()
                if number == self._number:
                    break
        except (EOFError, OSError) as error:
            raise RayGone(self._last_words()) from error
        except BaseException:
            self._abandon()
            raise
        if kind == "error":
            raise value
        return value

    def _hear(self) -> tuple[int, str, Any]:
        """The next message of the process that drives Ray; one that was not asked for is dealt with here."""
        try:
            number, kind, value = pickle.loads(self._connection.recv_bytes())
        except BaseException:
            self._abandon()
            raise
        if kind == "note":
            logger.warning("%s", value)
        elif not number:
            self._told(kind, value)
        return number, kind, value

    def _abandon(self) -> None:
        """Close the connection to the process that drives Ray, which ends it; every later call raises RayGone."""
        if not self._connection.closed:
            self._poll.unregister(self._connection)
            self._connection.close()

    def _last_words(self) -> str:
        """What the process printed last, for a message."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_SECONDS)
        self._stderr.seek(0)
        lines = [line.strip() for line in self._stderr.read().decode(errors="replace").splitlines()]
        said = next((f": {line[:200]}" for line in reversed(lines) if line and not line.startswith("[")), "")  # a bracket: Ray's own log
        code = self._process.poll()
        return "the process that drives Ray " + ("closed its connection" if code is None else f"ended with code {code}") + said

    def close(self) -> None:
        """End the process, and Ray where it is ours. May be called twice."""
        known = {*self._started, *_children(self._process.pid)}
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                self._number += 1
                self._connection.send_bytes(pack((self._number, "close", ())))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_CLOSE_SECONDS)
        # What is left where the process has not ended it: because it hung, or had gone before.
        left = [process for start in known for process in (start, *_children(start.pid))]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._abandon()
        self._stderr.close()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _import_path() -> str:
    """The other processes import the ``emulator`` that this one runs, installed or not."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
