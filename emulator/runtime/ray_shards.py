"""Shards in Ray actors: the same answers as in-process, in more processes and on more machines, even if actors or nodes are lost.

The head keeps every actor's last snapshot and the messages sent to it since. A lost actor is rebuilt from these under the next epoch, and
the message that it did not answer is sent again; shards are deterministic, so only the log shows it. When Ray itself is lost, all actors
are rebuilt: on another Ray, or in this process if Ray cannot be started again.
"""

import contextlib
import logging
import pickle
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from emulator.engine.shards import Answers, Readings, ShardRange, ShardsLost, Window
from emulator.fabric.messages import LinkReadings
from emulator.fabric.settings import FabricSettings
from emulator.racks.shard import RackSettings
from emulator.runtime.actor import ExporterFactory, Held, Share, pack
from emulator.runtime.driver_process import RayGone
from emulator.runtime.link_messages import Call, Lost, Opened, Start
from emulator.runtime.ranges import plane_count, shard_ranges
from emulator.runtime.ray_address import RayStartError
from emulator.runtime.ray_link import InProcess, Link, RayLink
from topology.cluster import Cluster

Read = TypeVar("Read")
logger = logging.getLogger(__name__)

#: A snapshot is taken after this many windows, or when the log since the last one is larger than that snapshot and than this many bytes.
SNAPSHOT_WINDOWS = 1_000
SNAPSHOT_LOG_BYTES = 8 * 2**20
#: How often one actor is rebuilt for one message before the emulation gives up.
REBUILDS = 3
#: How often Ray is started or joined again for one message before the shards move into this process.
REVIVALS = 2
#: An actor counts as lost if it does not answer for this many seconds, or for this many times the longest of the last barriers.
ANSWER_SECONDS = 60.0
ANSWER_FACTOR, ANSWER_BARRIERS = 20.0, 100
#: Wall seconds to wait for the resource usage of remote actors.
USAGE_SECONDS = 5.0
#: How long the head waits for a node to join if none is left that can take a lost actor.
NODE_SECONDS = 300.0
#: The most actors that ``auto`` takes on a Ray of our own, and on a given cluster: each costs 0.6 s of CPU to start, and 60 MB.
AUTO_OWN, AUTO_NODES = 2, 16


@dataclass
class _Actor:
    """What the head knows of one actor."""

    share: Share
    epoch: int = 0
    window: int = 0
    address: str = ""
    #: The state after ``snapshot_window`` (empty: a fresh one), and the payloads of the windows since.
    snapshot: bytes = b""
    snapshot_window: int = 0
    log: list[bytes] = field(default_factory=list)
    log_bytes: int = 0
    #: Usage in this epoch, as last reported.
    cpu_seconds: float = 0.0
    memory_bytes: int = 0

    def start(self, number: int) -> Start:
        port = int(self.address.rpartition(":")[2] or 0)
        return Start(number, self.share, self.epoch, self.snapshot_window, self.snapshot, self.log, port)


class RayShards:
    """``engine.shards.Shards`` on Ray: our own on this machine, or the cluster that ``address`` or RAY_ADDRESS means.

    ``actors`` is the number of actors in all (fewer where the cluster has less to hold), or "auto": on our own Ray two, or one where there
    is one CPU or pod; on a given cluster one a node, at most 16. Rack shards are as many as actors; planes go, largest first, to the
    actor with least to do. Raises ``ray_address.RayStartError`` where Ray cannot be had, UnusableRay where it cannot hold the actors or
    has other code.
    """

    def __init__(  # noqa: PLR0913 - what a session hands to its shards, each by name
        self,
        cluster: Cluster,
        rack_settings: RackSettings,
        fabric_settings: FabricSettings,
        seed: int,
        *,
        actors: int | str = "auto",
        address: str | None = None,
        exporter: ExporterFactory | None = None,
        system_config: Mapping[str, object] | None = None,
        snapshot_windows: int = SNAPSHOT_WINDOWS,
        answer_seconds: float = ANSWER_SECONDS,
        node_seconds: float = NODE_SECONDS,
    ) -> None:
        self._snapshot_windows, self._answer_seconds, self._node_seconds = snapshot_windows, answer_seconds, node_seconds
        self._cluster = cluster
        self._address, self._system_config = address, system_config
        self._plane_count = plane_count(cluster)
        #: Actors that may have run a message whose answer was not read.
        self._unsure: set[int] = set()
        #: Actors that are about to move, and from where to where, for people.
        self._moving: dict[int, str] = {}
        self._last_error = ""
        #: CPU seconds of actors that have ended.
        self._spent_cpu_seconds = 0.0
        self._ending = False
        self._barrier_seconds: deque[float] = deque(maxlen=ANSWER_BARRIERS)
        #: How often an actor was rebuilt because it was lost, and moved because a better node had joined.
        self.rebuilds = self.moves = 0
        packed = pack(cluster)
        ray = self._open(len(packed))
        self._link: Link = ray
        try:
            count = _auto(cluster, ray.opened) if actors == "auto" else int(actors)
            self._ranges = shard_ranges(cluster, count, rack_settings.whole_level)
            shares = _shares(cluster, self._ranges, count, Share(rack_settings, fabric_settings, seed, exporter))
            self._actors = [_Actor(share) for share in shares]
            ray.hold(packed, len(self._actors), self._node_seconds)
            self._bring_up(range(len(self._actors)))
        except RayGone as gone:
            self.close()
            raise RayStartError(f"Ray ended while the actors were started: {gone}") from gone
        except BaseException:
            self.close()
            raise

    def _open(self, object_bytes: int) -> RayLink:
        return RayLink(self._address, object_bytes=object_bytes, system_config=self._system_config)

    @property
    def ranges(self) -> tuple[ShardRange, ...]:
        return self._ranges

    @property
    def plane_count(self) -> int:
        return self._plane_count

    @property
    def actor_count(self) -> int:
        return len(self._actors)

    def advance(self, window: Window) -> Answers:
        calls: dict[int, tuple[str, tuple[Any, ...]]] = {}
        for number, actor in enumerate(self._actors):
            racks = {shard: window.racks[shard] for shard in actor.share.shards if shard in window.racks}
            planes = {plane: window.planes[plane] for plane in actor.share.planes if plane in window.planes}
            read_planes = window.read_planes and bool(actor.share.planes)
            serving = {shard: window.serving[shard] for shard in actor.share.shards if shard in window.serving}
            if racks or planes or serving or read_planes:
                message = Window(window.until_ns, racks, planes, serving, read_planes)
                calls[number] = ("advance", (actor.window + 1, pack(message)))
        answers = Answers(racks={}, planes={})
        for number, answer in self._ask(calls).items():
            actor = self._actors[number]
            actor.window, payload = calls[number][1]
            actor.log.append(payload)
            actor.log_bytes += len(payload)
            advanced: Answers = pickle.loads(answer)
            answers = Answers(
                {**answers.racks, **advanced.racks},
                {**answers.planes, **advanced.planes},
                {**answers.readings, **advanced.readings},
                {**answers.serving, **advanced.serving},
            )
        self._snapshot_where_due()
        if self._link.moves:
            self._move(dict(self._link.moves))
        return answers

    def read(self, at_ns: int) -> Readings:
        return self._read(at_ns, publish=False)

    def read_links(self, at_ns: int) -> tuple[LinkReadings, ...]:
        calls = {number: ("read_links", (actor.window, at_ns)) for number, actor in enumerate(self._actors) if actor.share.planes}
        planes: dict[int, LinkReadings] = {}
        for answer in self._ask(calls).values():
            planes |= pickle.loads(answer)
        return tuple(planes[plane] for plane in sorted(planes))

    def publish(self, at_ns: int) -> Readings:
        return self._read(at_ns, publish=True)

    @property
    def to_move(self) -> int:
        """How many actors start again, at better places, at the end of the next window."""
        return len(self._link.moves)

    def metrics_addresses(self) -> tuple[str, ...]:
        return tuple(actor.address for actor in self._actors if actor.address)

    def remote_usage(self) -> tuple[float, int]:
        """As last heard where an actor does not answer."""
        if isinstance(self._link, RayLink) and not self._link.opened.ours and not self._ending:
            calls = {number: Call(actor.epoch, "usage", (actor.window,)) for number, actor in enumerate(self._actors)}
            with contextlib.suppress(RayGone):
                for number, reply in self._link.ask(calls, USAGE_SECONDS).items():
                    if not isinstance(reply, Lost):
                        self._actors[number].cpu_seconds, self._actors[number].memory_bytes = pickle.loads(reply[2])
        cpu_seconds = sum(actor.cpu_seconds for actor in self._actors)
        return self._spent_cpu_seconds + cpu_seconds, sum(actor.memory_bytes for actor in self._actors)

    def end(self) -> None:
        """The run is ending: from now on wait for nothing for long, and rebuild lost shards in this process."""
        self._ending = True
        if isinstance(self._link, RayLink):
            self._link.hurry()

    def close(self) -> None:
        """End the actors, and Ray where it is ours. May be called twice."""
        self._link.close()

    def _read(self, at_ns: int, *, publish: bool) -> Readings:
        answers = self._ask({number: ("read", (actor.window, at_ns, publish)) for number, actor in enumerate(self._actors)})
        readings: list[Held] = [pickle.loads(answer) for answer in answers.values()]
        racks = {shard: reading for part in readings for shard, reading in part.racks.items()}
        planes = {plane: reading for part in readings for plane, reading in part.planes.items()}
        serving = {shard: reading for part in readings for shard, reading in part.serving.items()}
        return Readings(_in_turn(racks), _in_turn(planes), _in_turn(serving))

    def _snapshot_where_due(self) -> None:
        due = [
            number
            for number, actor in enumerate(self._actors)
            if len(actor.log) >= self._snapshot_windows or actor.log_bytes > max(SNAPSHOT_LOG_BYTES, len(actor.snapshot))
        ]
        self._snapshot(due)

    def _snapshot(self, numbers: Iterable[int]) -> None:
        for number, answer in self._ask({number: ("snapshot", (self._actors[number].window,)) for number in numbers}).items():
            actor = self._actors[number]
            actor.snapshot, actor.snapshot_window, actor.log, actor.log_bytes = answer, actor.window, [], 0

    def _move(self, moves: dict[int, str]) -> None:
        """Start actors again, in their present state, at the places that were found for them."""
        self._snapshot(moves)
        self.remote_usage()  # of the processes that end now
        self._moving = moves
        self._unsure |= set(moves)  # brought up with the next message

    def _ask(self, calls: Mapping[int, tuple[str, tuple[Any, ...]]]) -> dict[int, bytes]:
        """One barrier: the answer of every actor called. Lost actors and a lost Ray are rebuilt; an error of a shard is raised here."""
        for revival in range(REVIVALS + 1):
            try:
                return self._barrier(calls)
            except RayGone as gone:
                self._revive(gone, last=revival == REVIVALS)
            except ShardsLost:
                self._settle_here()  # so that what ran can still be read
                raise
        return self._barrier(calls)

    def _barrier(self, calls: Mapping[int, tuple[str, tuple[Any, ...]]]) -> dict[int, bytes]:
        if not calls:
            return {}
        if self._unsure:
            self._bring_up(sorted(self._unsure))
        self._unsure = set(calls)
        began = time.monotonic()
        answers: dict[int, bytes] = {}
        missing = self._gather(list(calls), calls, answers)
        if not missing:
            self._barrier_seconds.append(time.monotonic() - began)
        for _ in range(REBUILDS):
            if not missing:
                break
            self._bring_up(missing)
            missing = self._gather(missing, calls, answers)
        if missing:
            raise ShardsLost(f"{_named(missing)} died {REBUILDS + 1} times on the same message; {self._last_error}")
        self._unsure = set()
        return {number: answers[number] for number in calls}

    def _gather(self, numbers: Sequence[int], calls: Mapping[int, tuple[str, tuple[Any, ...]]], answers: dict[int, bytes]) -> list[int]:
        """Call ``numbers`` and put their answers into ``answers``. Returns the numbers that were lost."""
        asked = {number: Call(self._actors[number].epoch, *calls[number]) for number in numbers}
        patience = max(self._answer_seconds, ANSWER_FACTOR * max(self._barrier_seconds, default=0.0))
        lost = []
        for number, reply in self._link.ask(asked, patience).items():
            if isinstance(reply, Lost):
                self._note("actor %d is lost: %s", number, reply.words)
                lost.append(number)
            elif reply[0] == self._actors[number].epoch:
                answers[number] = reply[2]
            else:
                lost.append(number)
        return lost

    def _note(self, message: str, number: int, words: str) -> None:
        self._last_error = words
        logger.warning(message, number, words)

    def _bring_up(self, numbers: Sequence[int]) -> None:
        """Make actors, each under its next epoch and in the last state that the head knows."""
        for attempt in range(REBUILDS + 1):
            for number in numbers:
                actor = self._actors[number]
                actor.epoch += 1
                self._spent_cpu_seconds, actor.cpu_seconds = self._spent_cpu_seconds + actor.cpu_seconds, 0.0
            found = self._link.start([self._actors[number].start(number) for number in numbers], attempt)
            missing = []
            for number, answer in found.items():
                actor = self._actors[number]
                if isinstance(answer, Lost):
                    self._note("actor %d did not start: %s", number, answer.words)
                    missing.append(number)
                    continue
                if answer.window != actor.window:
                    raise ShardsLost(f"actor {number} came back at window {answer.window} instead of {actor.window}")
                actor.address = answer.address
                if number in self._moving:
                    self.moves += 1
                    logger.warning("actor %d moves %s", number, self._moving[number])
                elif actor.epoch > 1:
                    self.rebuilds += 1
                    node = f" on {answer.node}" if answer.node else ""
                    logger.warning("actor %d goes on as epoch %d from window %d%s", number, actor.epoch, actor.window, node)
            self._unsure -= set(numbers) - set(missing)
            self._moving = {}
            numbers = missing
            if not numbers:
                return
        raise ShardsLost(f"{_named(numbers)} could not be started in {REBUILDS + 1} tries; {self._last_error}")

    def _revive(self, gone: RayGone, *, last: bool) -> None:
        """Replace a lost Ray by another one, or by this process if the run is ending or Ray cannot be started again."""
        self._link.close()
        self._unsure, self._moving = set(range(len(self._actors))), {}
        if not self._ending and not last:
            logger.warning("Ray is gone (%s): starting it again and rebuilding %d actors", gone, len(self._actors))
            try:
                packed = pack(self._cluster)
                ray = self._open(len(packed))
                self._link = ray
                ray.hold(packed, len(self._actors), self._node_seconds)
                return
            except (RayGone, RayStartError) as error:
                logger.warning("Ray cannot be started again (%s)", error)
                self._link.close()
        logger.warning("Ray is gone (%s): the emulation goes on in this process", gone)
        self._settle_here()

    def _settle_here(self) -> None:
        """Move the shards into this process, in the last state that the head knows of each."""
        self._link.close()
        self._link = InProcess(self._cluster)
        self._unsure = set(range(len(self._actors)))


def _in_turn(by_number: Mapping[int, Read]) -> tuple[Read, ...]:
    return tuple([by_number[number] for number in sorted(by_number)])


def _named(numbers: Sequence[int]) -> str:
    return f"actor{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def _auto(cluster: Cluster, ray: Opened) -> int:
    """How many actors. More of them do not make it faster (docs/decisions.md): as many as let every node of a given cluster hold a part."""
    if not ray.ours:
        return max(1, min(AUTO_NODES, ray.nodes))
    pods = next((len(level) for level in cluster.levels if level.name == "pod"), 1)
    return max(1, min(AUTO_OWN, ray.cpus, pods))


def _shares(cluster: Cluster, ranges: Sequence[ShardRange], count: int, empty: Share) -> list[Share]:
    """What each actor holds; those with nothing are left out. Load is hosts for racks, links for planes."""
    shards: list[list[int]] = [[] for _ in range(count)]
    planes: list[list[int]] = [[] for _ in range(count)]
    load = np.zeros(count)
    for shard, span in enumerate(ranges):
        shards[shard].append(shard)
        load[shard] += span.end_host - span.first_host
    links = np.bincount(cluster.links.plane, minlength=plane_count(cluster))
    for plane in np.argsort(-links, kind="stable").tolist():
        least = int(np.argmin(load))
        planes[least].append(plane)
        load[least] += links[plane]
    return [
        replace(empty, shards=tuple(mine), ranges=tuple(ranges[shard] for shard in mine), planes=tuple(sorted(theirs)))
        for mine, theirs in zip(shards, planes, strict=True)
        if mine or theirs
    ]
