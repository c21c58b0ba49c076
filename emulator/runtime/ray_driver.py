"""Ray's driver, in a process of its own: it starts or joins Ray, holds the handles of the actors and passes calls on to them.

Ray ends its driver's process when a raylet or the GCS is lost, and puts its own signal handlers in the place of ours. Here that concerns
nothing but this process: the head (``ray_link``) sees it go and starts another. It listens to one connection and knows nothing of windows
and snapshots. When the head is gone, so is this process, and Ray with it where it is ours.
"""

import contextlib
import ctypes
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import psutil

from emulator.runtime.actor import Reply, ShardHost, pack
from emulator.runtime.link_messages import Call, Lost, Start, Up
from emulator.runtime.ray_start import RaySession, join_ray, set_environment, start_ray

_PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>
#: An actor that is not up for so long is tried elsewhere.
START_SECONDS = 60.0
#: An actor that has not answered for so long is spoken of.
QUIET_SECONDS = 10.0
#: Ray's options for an actor whose place does not come back: its node is gone and took a bundle of the placement group along.
ANYWHERE: dict[str, Any] = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}


class Driver:
    """The verbs of ``ray_link.RayLink``, each in one method. ``note`` tells the head something while it waits."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._session: RaySession | None = None
        self._cluster: Any = None
        self._options: list[dict[str, Any]] = []
        self._handles: dict[int, Any] = {}

    def open(self, address: str | None, object_bytes: int, system_config: Mapping[str, object] | None) -> tuple[bool, int, str]:
        """Start a Ray of our own, or join the one at ``address``: whether it is ours, its CPUs and its directory ("": none of ours)."""
        self._session = join_ray(address) if address else start_ray(object_bytes=object_bytes, system_config=system_config)
        import ray

        self._ray = ray
        self._remote = ray.remote(max_restarts=0, max_task_retries=0)(ShardHost)
        return self._session.ours, self._session.cpus, str(self._session.temp_dir or "")

    def hold(self, cluster: bytes, actors: int) -> None:
        """Put the packed cluster where all actors can read it, and find room for so many. Raises RayStartError where there is none."""
        assert self._session is not None
        self._options = self._session.actor_options(actors)
        self._cluster = self._ray.put(pickle.loads(cluster))

    def start(self, starts: Sequence[Start], attempt: int) -> dict[int, Up | Lost]:
        """Make actors and let each take up its state, in the place of those of these numbers that are there."""
        assert self._session is not None
        waiting = {}
        for start in starts:
            self.kill([start.number])
            options = self._options[start.number]
            if not self._session.ours and (attempt % 2 or self._session.has_lost_place(options)):
                options = self._options[start.number] = ANYWHERE
            handle: Any = self._remote.options(**options).remote(self._cluster, start.share, start.epoch)
            self._handles[start.number] = handle
            waiting[start.number] = handle.recover.remote(start.snapshot_window, start.snapshot, start.log)
        return {start.number: self._up(start, waiting[start.number]) for start in starts}

    def _up(self, start: Start, reference: Any) -> Up | Lost:
        assert self._session is not None
        try:
            window = self._ray.get(reference, timeout=START_SECONDS)
            address = ""
            if start.share.exporter is not None:
                host = "127.0.0.1" if self._session.ours else ""
                address = self._ray.get(self._handles[start.number].serve_metrics.remote(host, start.port), timeout=START_SECONDS)
        except self._losses() as error:
            return Lost(_words(error))
        return Up(window, address)

    def ask(self, calls: Mapping[int, Call], answer_seconds: float) -> dict[int, Reply | Lost]:
        """One barrier: what each actor answers, or how it was lost. What a shard itself raises comes through."""
        sent = {number: getattr(self._handles[number], call.verb).remote(call.epoch, *call.arguments) for number, call in calls.items()}
        deadline = time.monotonic() + answer_seconds
        try:
            return dict(zip(sent, self._ray.get(list(sent.values()), timeout=min(QUIET_SECONDS, answer_seconds)), strict=True))
        except self._losses():
            return {number: self._one(number, reference, deadline) for number, reference in sent.items()}

    def _one(self, number: int, reference: Any, deadline: float) -> Reply | Lost:
        if not self._ray.wait([reference], timeout=0)[0] and time.monotonic() < deadline:
            left = deadline - time.monotonic()
            self._note(f"actor {number} has not answered for {QUIET_SECONDS:g} s; it is given up after {left:.0f} s more")
        try:
            reply: Reply = self._ray.get(reference, timeout=max(0.1, deadline - time.monotonic()))
        except self._losses() as error:
            return Lost(_words(error))
        return reply

    def kill(self, numbers: Sequence[int]) -> None:
        """End the actors of these numbers, where they are there."""
        for number in numbers:
            if (handle := self._handles.pop(number, None)) is not None:
                self._ray.kill(handle, no_restart=True)

    def close(self) -> None:
        """End the actors, and Ray where it is ours: at once, for its own orderly end takes seconds and has nothing to save."""
        if self._session is None or self._session.ours:
            _end_descendants()
            if self._session is not None and self._session.temp_dir is not None:
                shutil.rmtree(self._session.temp_dir, ignore_errors=True)
        else:
            self.kill(list(self._handles))
            self._session.close()

    def _losses(self) -> tuple[type[BaseException], ...]:
        """What Ray raises when an actor, its process or its node is gone, or does not answer."""
        errors = self._ray.exceptions
        return (
            errors.RayActorError,
            errors.ActorUnavailableError,
            errors.WorkerCrashedError,
            errors.ObjectLostError,
            errors.GetTimeoutError,
        )


def _adopt_orphans() -> None:
    """Be the parent of descendants whose own parent ends, so that none is left as a zombie where nobody else would wait for it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_descendants() -> None:
    """Kill all that this process has started, and wait for it; a raylet may be starting a worker, so look again until there is none."""
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, 0):
                pass


def _words(error: BaseException) -> str:
    """Ray's messages are pages; the last line, or its first sentence, says what it was."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[-1].strip().partition('. ')[0][:200]}"


def _told(error: Exception) -> Exception:
    """``error`` as the head can read it: what a shard raised instead of Ray's wrapping, and nothing that needs Ray to be unpickled."""
    error = getattr(error, "cause", None) or error
    if type(error).__module__.partition(".")[0] in ("builtins", "emulator", "topology"):
        return error
    return RuntimeError(_words(error))


def serve(connection: Connection) -> None:
    """Answer calls ``(number, verb, arguments)`` with ``(number, kind, value)``: done, error, or note. ``close`` ends it."""
    number = 0
    driver = Driver(lambda text: connection.send_bytes(pack((number, "note", text))))
    threading.Thread(target=_watch_the_head, args=(driver, os.getppid()), daemon=True).start()
    try:
        while True:
            number, verb, arguments = pickle.loads(connection.recv_bytes())
            if verb == "close":
                return
            try:
                answer = ("done", getattr(driver, verb)(*arguments))
            except Exception as error:
                answer = ("error", _told(error))
            connection.send_bytes(pack((number, *answer)))
    except (EOFError, OSError):
        return  # the head has gone
    finally:
        driver.close()


def _watch_the_head(driver: Driver, head: int) -> None:
    """End everything when the head has gone without a word, also in the middle of a call."""
    while os.getppid() == head:
        time.sleep(0.5)
    try:
        driver.close()
    finally:
        os._exit(1)


def main() -> None:
    _adopt_orphans()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the head's to handle
    set_environment()
    try:
        serve(Connection(int(sys.argv[1])))
    finally:
        os._exit(0)  # Ray's own ending, at Python's, would wait for processes that are gone


if __name__ == "__main__":
    main()
