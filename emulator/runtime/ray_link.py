"""The head's connections to the shards: a line to each actor and one to the process that drives Ray or, if Ray cannot be restarted, to
shards in this process.
"""

import logging
import math
import pickle
import secrets
import select
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Protocol

from emulator.runtime.actor import Reply, ShardHost, pack
from emulator.runtime.driver_process import GLANCE_SECONDS, INTERRUPTED, DriverProcess, RayGone
from emulator.runtime.line import KEY_BYTES, Line, connect
from emulator.runtime.link_messages import Call, Lost, Start, Up
from topology.cluster import Cluster

logger = logging.getLogger(__name__)

#: Wall seconds without an answer after which a note names the actor.
QUIET_SECONDS = 10.0


class Link(Protocol):
    """A connection to the actors, wherever they are."""

    def start(self, starts: Sequence[Start], attempt: int) -> dict[int, Up | Lost]: ...

    def ask(self, calls: Mapping[int, Call], answer_seconds: float) -> dict[int, Reply | Lost]: ...

    @property
    def moves(self) -> Mapping[int, str]:
        """Actors that had better be started again, since their places are better elsewhere: from where to where, for people."""
        ...

    def close(self) -> None: ...


class RayLink(DriverProcess):
    """A Ray of our own, or the cluster that ``address`` or RAY_ADDRESS means, behind a process of its own.

    Raises RayStartError where Ray cannot be had. Every call raises RayGone when the process has ended; after ``hurry`` also when it takes
    long. An exception out of the middle of a call (KeyboardInterrupt) closes the connections that it used: actors count as lost, or Ray.
    """

    def __init__(self, address: str | None, *, object_bytes: int, system_config: Mapping[str, object] | None) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)
        #: By actor: its line, the epoch that it was last started in, and how it was lost.
        self._lines: dict[int, Line] = {}
        self._epochs: dict[int, int] = {}
        self._lost: dict[int, Lost] = {}
        self.moves: dict[int, str] = {}
        super().__init__("emulator.runtime.ray_driver", address, object_bytes, system_config)

    def hold(self, cluster: bytes, actors: int, node_seconds: float) -> None:
        """Give all actors the packed cluster, and find places for them. Raises UnusableRay if there are too few.

        Where a lost node leaves none that can take over, ``start`` waits ``node_seconds`` for another, and raises ShardsLost.
        """
        self._call("hold", cluster, actors, node_seconds, self._key)

    def start(self, starts: Sequence[Start], attempt: int) -> dict[int, Up | Lost]:
        """Make or rebuild actors; tries after the first (``attempt`` 0) may place them on other nodes."""
        for start in starts:
            self._lose(start.number, "it is being started again")
            self._epochs[start.number] = start.epoch
            self.moves.pop(start.number, None)
        found: dict[int, Up | Lost] = self._call("start", starts, attempt)
        for number, up in found.items():
            if isinstance(up, Up):
                try:
                    line = connect(up.line, self._key)
                except (OSError, EOFError) as error:
                    found[number] = self._lose(number, f"it cannot be reached at {up.line}: {error}")
                    continue
                line.timeout(GLANCE_SECONDS)
                self._lines[number] = line
                self._poll.register(line, select.POLLIN)
        return found

    def ask(self, calls: Mapping[int, Call], answer_seconds: float) -> dict[int, Reply | Lost]:
        """One barrier: the answer of every called actor within the given seconds. An error that a shard raises is raised here."""
        if self._connection.closed:
            raise RayGone(INTERRUPTED)
        self._number += 1
        began = time.monotonic()

        def give_up() -> bool:
            self._hurry_up(began)
            return time.monotonic() > began + answer_seconds

        try:
            for number, call in calls.items():
                self._tell(number, pack((self._number, call.verb, (call.epoch, *call.arguments))), give_up)
            answers = self._answers(calls.keys(), began, answer_seconds, give_up)
        except BaseException:
            for number in calls:
                self._lose(number, INTERRUPTED)
            raise
        for answer in answers.values():
            if isinstance(answer, Exception):
                raise answer
        return {number: answer for number, answer in answers.items() if not isinstance(answer, Exception)}

    def _tell(self, number: int, message: bytes, give_up: Callable[[], bool]) -> None:
        if number in self._lines:
            try:
                self._lines[number].send(message, give_up)
            except OSError as error:
                self._lose(number, _words(error))

    def _answers(self, asked: Set[int], began: float, seconds: float, give_up: Callable[[], bool]) -> dict[int, Reply | Exception | Lost]:
        """The answers of all, or how they were lost; those who are silent for ``seconds`` after ``began`` are."""
        answers: dict[int, Reply | Exception | Lost] = {}
        quiet = began + QUIET_SECONDS
        while waiting := asked - answers.keys():
            if gone := waiting - self._lines.keys():
                answers |= {number: self._lost[number] for number in gone}
                continue
            if give_up():
                return answers | {number: self._lose(number, f"it has not answered for {seconds:g} s") for number in waiting}
            if time.monotonic() > quiet:
                quiet = math.inf
                left = began + seconds - time.monotonic()
                for number in sorted(waiting):
                    silent = "actor %d has not answered for %g s; it counts as lost after another %.0f s"
                    logger.warning(silent, number, QUIET_SECONDS, left)
            answers |= self._heard(give_up)
        return answers

    def _heard(self, give_up: Callable[[], bool]) -> dict[int, Reply | Exception]:
        """What actors answer to the present call, as soon as one does; nothing where none does for a moment."""
        answers: dict[int, Reply | Exception] = {}
        ready = {descriptor for descriptor, _ in self._poll.poll(1000 * GLANCE_SECONDS)}
        if self._connection.fileno() in ready:
            try:
                self._hear()
            except (EOFError, OSError) as error:
                raise RayGone(self._last_words()) from error
        for number, line in list(self._lines.items()):
            if line.fileno() in ready:
                try:
                    asked, answer = pickle.loads(line.receive(give_up))
                except (EOFError, OSError) as error:
                    self._lose(number, _words(error))
                    continue
                if asked == self._number:  # otherwise it is late
                    answers[number] = answer
        return answers

    def _told(self, kind: str, value: Any) -> None:
        if kind == "move":
            self.moves[value[0]] = value[1]
        elif kind == "gone" and self._epochs.get(value.number) == value.epoch:
            if value.number in self._lines:
                self._lose(value.number, value.words)
            else:
                logger.warning("of actor %d Ray says: %s", value.number, value.words)

    def _lose(self, number: int, words: str) -> Lost:
        """Close the actor's line, if it has one."""
        if (line := self._lines.pop(number, None)) is not None:
            self._poll.unregister(line)
            line.close()
        lost = self._lost[number] = Lost(words)
        return lost

    def close(self) -> None:
        """End the process, and Ray where it is ours. May be called twice."""
        super().close()
        for number in list(self._lines):
            self._lose(number, "Ray is closed")


class InProcess:
    """The actors' shards in this process, without Ray: the fallback if Ray cannot be started again."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._hosts: dict[int, ShardHost] = {}
        self.moves: dict[int, str] = {}

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


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
