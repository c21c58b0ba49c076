"""Ray's driver, in a process of its own: it starts or joins Ray, starts and ends actors, and says when one is gone or had better move.

Ray ends its driver's process when a raylet or the GCS is lost, and replaces our signal handlers with its own. Here that affects only this
process: the head (``ray_link``) notices its end and starts another one. The process serves one connection and knows nothing of windows,
which the head sends to the actors itself. When the head ends, it ends as well, and with it Ray if this process started it.
"""

import contextlib
import ctypes
import logging
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

import psutil

from emulator.engine.shards import ShardsLost
from emulator.runtime import ray_actor
from emulator.runtime.actor import pack
from emulator.runtime.link_messages import Gone, Lost, Opened, Start, Up
from emulator.runtime.ray_address import UnusableRay, given_cluster
from emulator.runtime.ray_join import join_ray
from emulator.runtime.ray_place import NodePlaces, OwnPlaces, Places
from emulator.runtime.ray_start import RaySession, start_ray

_PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>
#: Wall seconds for an actor to start before another node is tried.
START_SECONDS = 60.0
#: Wall seconds between two looks for a node that has joined, where an actor waits for one; for actors that are gone; and for a node that
#: would be better for one.
NODE_LOOK_SECONDS = 0.5
LOOK_SECONDS = 0.5
SPREAD_LOOK_SECONDS = 10.0


class Drives(Protocol):
    """What a process that drives Ray does: a method for each verb that the head may call, and these two."""

    #: Wall seconds between two calls of ``look``.
    look_seconds: float

    def look(self) -> None:
        """Called again and again while the head calls nothing."""
        ...

    def close(self) -> None:
        """End what was started, and Ray where it is ours."""
        ...


class Driver:
    """The verbs of ``ray_link.RayLink``, each in one method. ``tell`` tells the head what it has not asked: its kind, and what."""

    look_seconds = LOOK_SECONDS

    def __init__(self, tell: Callable[[str, object], None]) -> None:
        self._tell = tell
        self._session: RaySession | None = None
        self._cluster: Any = None
        self._handles: dict[int, Any] = {}
        #: By the reference that Ray resolves when the actor ends: its number and epoch.
        self._serving: dict[Any, tuple[int, int]] = {}
        self._spread_look = time.monotonic()
        self._last_error = ""

    def open(self, address: str | None, object_bytes: int, system_config: Mapping[str, object] | None) -> Opened:
        """Join the cluster that ``address`` or RAY_ADDRESS means, or start a Ray of our own."""
        given = given_cluster(address)
        session = self._session = join_ray(given) if given else start_ray(object_bytes=object_bytes, system_config=system_config)
        import ray

        self._ray = ray
        ray.cloudpickle.register_pickle_by_value(ray_actor)
        self._code = ray_actor.installed_code()
        self._remote = ray.remote(max_restarts=0, max_task_retries=0)(ray_actor.ShardActor)
        nodes = sum(node.free_cpus >= 1 for node in session.head.nodes()) if session.head else 1
        return Opened(session.ours, session.cpus, nodes, str(session.temp_dir or ""))

    def hold(self, cluster: bytes, actors: int, node_seconds: float, key: bytes) -> None:
        """Put the packed cluster where all actors can read it, and find places for the actors. Raises UnusableRay if there are too few."""
        self._key = key
        assert self._session is not None
        head = self._session.head
        self._places: Places = NodePlaces(head.nodes, actors) if head else OwnPlaces(self._session.cpus, actors)
        self._node_seconds = node_seconds
        self._placed: set[int] = set()
        self._cluster = self._ray.put(pickle.loads(cluster))

    def start(self, starts: Sequence[Start], attempt: int) -> dict[int, Up | Lost]:
        """Make actors, in place of any present ones with these numbers, and restore the state of each.

        Raises UnusableRay where a node has other code at the first start, ShardsLost where no node is left.
        """
        numbers = [start.number for start in starts]
        self.kill(numbers)
        self._spread_look = time.monotonic()  # for a second, Ray counts CPUs as free that these will have taken
        first = not self._placed.issuperset(numbers)
        self._find_places([number for number in numbers if number in self._placed], elsewhere=attempt > 0)
        self._placed |= set(numbers)
        code, last = {}, {}
        for start in starts:
            handle: Any = self._remote.options(**self._places.options(start.number)).remote()
            self._handles[start.number] = handle
            code[start.number] = handle.code.remote()
            last[start.number] = handle.hold.remote(
                self._cluster, start.share, start.epoch, start.snapshot_window, start.snapshot, start.log
            )
        lost = self._not_alike(code, first=first)
        return {start.number: lost.get(start.number) or self._up(start, last[start.number]) for start in starts}

    def _find_places(self, numbers: Sequence[int], *, elsewhere: bool) -> None:
        """Find a node for each actor; if there is none, wait for one to join the cluster."""
        nowhere = self._places.find(numbers, elsewhere=elsewhere)
        if not nowhere:
            return
        names = ", ".join(map(str, nowhere))
        seconds = self._node_seconds
        self._tell("note", f"no node of the Ray cluster can take actor {names}: waiting up to {seconds:g} s for one to join")
        deadline = time.monotonic() + seconds
        while nowhere and time.monotonic() < deadline:
            time.sleep(NODE_LOOK_SECONDS)
            nowhere = self._places.find(nowhere, elsewhere=False)
        if nowhere:
            last = f"; {self._last_error}" if self._last_error else ""
            raise ShardsLost(f"the nodes of actor {names} are lost, and no replacement joined the Ray cluster within {seconds:g} s{last}")

    def _not_alike(self, asked: Mapping[int, Any], *, first: bool) -> dict[int, Lost]:
        """The actors whose node has other code than this one: an error at the first start; later their nodes are not used again."""
        lost: dict[int, Lost] = {}
        other = {}
        for number, reference in asked.items():
            try:
                code = self._ray.get(reference, timeout=START_SECONDS)
            except self._ray.exceptions.RayError as error:
                lost[number] = self._loss(error)
                continue
            if code != self._code:
                node = self._places.node_of(number)
                other[node] = refused(node, code, self._code)
                lost[number] = Lost(other[node])
                self._places.refuse(number)
        if other:
            self._last_error = "; ".join(other[node] for node in sorted(other))
            if first:
                raise UnusableRay(self._last_error)
        return lost

    def _up(self, start: Start, reference: Any) -> Up | Lost:
        assert self._session is not None
        try:
            window = self._ray.get(reference, timeout=START_SECONDS)
            handle = self._handles[start.number]
            at = f"{self._session.temp_dir}/{start.number}.{start.epoch}" if self._session.ours else ""
            line, address = self._ray.get(handle.listen.remote(at, start.port), timeout=START_SECONDS)
        except ImportError as error:  # the shard's, as Ray raises it
            node = self._places.node_of(start.number)
            raise UnusableRay(f"node {node} lacks a package that gigawatt needs ({words(error)}): install it there") from error
        except self._ray.exceptions.RayError as error:
            return self._loss(error)
        self._serving[handle.serve.remote(self._key)] = start.number, start.epoch
        return Up(window, address, line, "" if self._session.ours else self._places.node_of(start.number))

    def look(self) -> None:
        """Tell the head of actors that are gone and, now and then on a given cluster, of those for which there is a better node."""
        ended, _ = self._ray.wait(list(self._serving), num_returns=len(self._serving), timeout=0) if self._serving else ([], [])
        for reference in ended:
            number, epoch = self._serving.pop(reference)
            try:
                self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                self._tell("gone", Gone(number, epoch, words(error)))
        if self._serving and time.monotonic() > self._spread_look + SPREAD_LOOK_SECONDS:
            self._spread_look = time.monotonic()
            with contextlib.suppress(UnusableRay):  # the head does not answer: Ray's client will see to it
                for number, why in self._places.improve().items():
                    self._tell("move", (number, why))

    def kill(self, numbers: Sequence[int]) -> None:
        """End the actors with these numbers, if there are any."""
        self._serving = {reference: actor for reference, actor in self._serving.items() if actor[0] not in numbers}
        for number in numbers:
            if (handle := self._handles.pop(number, None)) is not None:
                self._ray.kill(handle, no_restart=True)

    def close(self) -> None:
        """End the actors, and Ray if we started it: at once, since Ray's orderly shutdown takes seconds and has nothing to save."""
        if self._session is not None and not self._session.ours:
            self.kill(list(self._handles))
        end_session(self._session)

    def _loss(self, error: Any) -> Lost:
        """Ray's errors mean that an actor, its process or its node is lost or does not answer; an error of a shard is raised unchanged."""
        if isinstance(error, self._ray.exceptions.RayTaskError):
            raise error
        return Lost(words(error))


def end_session(session: RaySession | None) -> None:
    """Leave a given Ray. One of our own ends at once with all that this process has started."""
    if session is not None and not session.ours:
        session.close()
        return
    _end_descendants()
    if session is not None and session.temp_dir is not None:
        shutil.rmtree(session.temp_dir, ignore_errors=True)


def refused(node: str, theirs: tuple[str, str], ours: tuple[str, str]) -> str:
    """Why a node is not used, and what to do; of each side the version and the hash of the sources."""
    if not theirs[1]:
        return f"node {node} has no gigawatt that its Ray can import: install the same build there as here ({ours[0]})"
    return (
        f"node {node} has other code (gigawatt {theirs[0]}, sources {theirs[1]}) than this one ({ours[0]}, sources {ours[1]}), so its "
        "answers could differ: install the same build on every node"
    )


def _adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that they do not remain as zombies (Linux)."""
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


def words(error: BaseException) -> str:
    """Ray's messages are pages long: take the last line, or its first sentence, which says what happened."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[-1].strip().partition('. ')[0][:200]}"


def _told(error: Exception) -> Exception:
    """``error`` as the head can read it: what a shard raised instead of Ray's wrapping, and nothing that needs Ray to be unpickled."""
    error = getattr(error, "cause", None) or error
    if type(error).__module__.partition(".")[0] in ("builtins", "emulator", "topology"):
        return error
    return RuntimeError(words(error))


class _Notes(logging.Handler):
    """Passes log records of this process to the head, which prints them."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        self._note(record.getMessage())


def serve(connection: Connection, drives: Callable[[Callable[[str, object], None]], Drives]) -> None:
    """Answer calls ``(number, verb, arguments)`` with ``(number, kind, value)``, done or error, until ``close``.

    What is told unasked has the number 0: a note, an actor that is gone, one that had better move.
    """

    def tell(kind: str, value: object) -> None:
        connection.send_bytes(pack((0, kind, value)))

    logging.getLogger("emulator").addHandler(_Notes(lambda text: tell("note", text)))
    driver = drives(tell)
    threading.Thread(target=_watch_the_head, args=(driver, os.getppid()), daemon=True).start()
    try:
        while True:
            while not connection.poll(driver.look_seconds):
                driver.look()
            number, verb, arguments = pickle.loads(connection.recv_bytes())
            if verb == "close":
                return
            try:
                answer = ("done", getattr(driver, verb)(*arguments))
            except Exception as error:  # noqa: BLE001 - the head is to hear of it
                answer = ("error", _told(error))
            connection.send_bytes(pack((number, *answer)))
    except (EOFError, OSError):
        return  # the head has ended
    finally:
        driver.close()


def _watch_the_head(driver: Drives, head: int) -> None:
    """End everything when the head has ended without ``close``, also in the middle of a call."""
    while os.getppid() == head:
        time.sleep(0.5)
    try:
        driver.close()
    finally:
        os._exit(1)


def main(drives: Callable[[Callable[[str, object], None]], Drives] = Driver) -> None:
    """Serve the head on the socket whose file descriptor is the first argument, until it goes or closes; never returns."""
    _adopt_orphans()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the head handles these
    try:
        serve(Connection(int(sys.argv[1])), drives)
    finally:
        os._exit(0)  # Ray's shutdown at Python's exit would wait for processes that are gone


if __name__ == "__main__":
    main()
