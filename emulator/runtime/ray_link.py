"""The head's connection to the shards: to the process that drives Ray or, if Ray cannot be restarted, to shards in this process."""

import contextlib
import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any, Protocol

import psutil

from emulator.runtime.actor import Reply, ShardHost, pack
from emulator.runtime.link_messages import Call, Lost, Opened, Start, Up
from emulator.runtime.ray_address import RayStartError
from topology.cluster import Cluster

logger = logging.getLogger(__name__)

#: Wall seconds between two checks whether the run is ending, while waiting for an answer.
_GLANCE_SECONDS = 0.25
#: Wall seconds that a call may take, and Ray's orderly end, once the run is ending.
_ENDING_SECONDS = 1.0
_CLOSE_SECONDS = 2.0


class RayGone(RuntimeError):
    """Ray, or the process that drives it, has ended or does not answer. The message says how."""


class Link(Protocol):
    """A connection to the actors, wherever they are."""

    def start(self, starts: Sequence[Start], attempt: int) -> dict[int, Up | Lost]: ...

    def ask(self, calls: Mapping[int, Call], answer_seconds: float) -> dict[int, Reply | Lost]: ...

    def close(self) -> None: ...


class RayLink:
    """A Ray of our own, or the cluster that ``address`` or RAY_ADDRESS means, behind a process of its own.

    Raises RayStartError where Ray cannot be had. Every call raises RayGone when the process has ended; after ``hurry`` also when it takes
    long.
    """

    def __init__(self, address: str | None, *, object_bytes: int, system_config: Mapping[str, object] | None) -> None:
        self._number = 0
        self._hurry = False
        self._directory = ""
        self._started: list[psutil.Process] = []
        self._connection, theirs = Pipe()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "emulator.runtime.ray_driver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                start_new_session=True,  # Ctrl-C and a closed terminal are for the head
                env=os.environ | {"PYTHONPATH": _import_path()},
            )
        finally:
            theirs.close()
        try:
            self.opened: Opened = self._call("open", address, object_bytes, system_config)
            self._directory = self.opened.directory
            self._started = _children(self._process.pid)
        except RayGone as gone:
            self.close()
            raise RayStartError(f"Ray did not start: {gone}") from gone
        except BaseException:
            self.close()
            raise

    def hold(self, cluster: bytes, actors: int, node_seconds: float) -> None:
        """Give all actors the packed cluster, and find places for them. Raises UnusableRay if there are too few.

        Where a lost node leaves none that can take over, ``start`` waits ``node_seconds`` for another, and raises ShardsLost.
        """
        self._call("hold", cluster, actors, node_seconds)

    def start(self, starts: Sequence[Start], attempt: int) -> dict[int, Up | Lost]:
        """Make or rebuild actors; tries after the first (``attempt`` 0) may place them on other nodes."""
        found: dict[int, Up | Lost] = self._call("start", starts, attempt)
        return found

    def ask(self, calls: Mapping[int, Call], answer_seconds: float) -> dict[int, Reply | Lost]:
        """One barrier: the answer of every called actor within the given seconds."""
        answers: dict[int, Reply | Lost] = self._call("ask", calls, answer_seconds)
        return answers

    def usage(self) -> dict[int, tuple[float, int]]:
        """CPU seconds and bytes of memory of each actor that answers, on a given cluster."""
        found: dict[int, tuple[float, int]] = self._call("usage")
        return found

    def hurry(self) -> None:
        """The run is ending: do not wait long for any call. A signal handler may call it."""
        self._hurry = True

    def _call(self, verb: str, *arguments: Any) -> Any:
        self._number += 1
        patience = time.monotonic() + _ENDING_SECONDS
        try:
            self._connection.send_bytes(pack((self._number, verb, arguments)))
            while True:
                while not self._connection.poll(_GLANCE_SECONDS):
                    if not self._hurry:
                        patience = time.monotonic() + _ENDING_SECONDS
                    elif time.monotonic() > patience:
                        raise RayGone("it does not answer while the run is ending")
                number, kind, value = pickle.loads(self._connection.recv_bytes())
                if kind == "note":
                    logger.warning("%s", value)
                elif number == self._number:  # otherwise it is the answer to a call that was interrupted
                    break
        except (EOFError, OSError) as error:
            raise RayGone(self._last_words()) from error
        if kind == "error":
            raise value
        return value

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
        self._connection.close()
        self._stderr.close()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)


class InProcess:
    """The actors' shards in this process, without Ray: the fallback if Ray cannot be started again."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._hosts: dict[int, ShardHost] = {}

    def start(self, starts: Sequence[Start], attempt: int) -> dict[int, Up | Lost]:
        found: dict[int, Up | Lost] = {}
        for start in starts:
            host = self._hosts[start.number] = ShardHost(self._cluster, replace(start.share, exporter=None), start.epoch)
            found[start.number] = Up(host.recover(start.snapshot_window, start.snapshot, start.log), "")
        return found

    def ask(self, calls: Mapping[int, Call], answer_seconds: float) -> dict[int, Reply | Lost]:
        return {number: getattr(self._hosts[number], call.verb)(call.epoch, *call.arguments) for number, call in calls.items()}

    def close(self) -> None:
        self._hosts = {}


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _import_path() -> str:
    """The other processes import the ``emulator`` that this one runs, installed or not."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
