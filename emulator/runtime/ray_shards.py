"""Shards in Ray actors: the same answers as in-process, on more processes and machines, whoever dies on the way.

The head keeps of every actor its last snapshot and what it sent since. An actor that is lost is made anew from these under the next
epoch, and the message that it did not answer is sent again; shards are deterministic, so nobody notices but the log. Every actor says
first which code its node has: other code could give other answers.
"""

import logging
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from emulator.engine.shards import Answers, Readings, ShardRange, ShardsLost, Window
from emulator.fabric.messages import FabricReadings, LinkReadings
from emulator.fabric.settings import FabricSettings
from emulator.racks.shard import RackSettings
from emulator.runtime import ray_actor
from emulator.runtime.actor import ExporterFactory, Held, Reply, Share, pack
from emulator.runtime.ranges import plane_count, shard_ranges
from emulator.runtime.ray_address import UnusableRay, given_cluster
from emulator.runtime.ray_join import join_ray
from emulator.runtime.ray_place import NodePlaces, OwnPlaces, Places
from emulator.runtime.ray_start import RaySession, start_ray
from topology.cluster import Cluster

logger = logging.getLogger(__name__)

#: A snapshot is taken after so many windows, or when the log of what was sent since outgrows it and these bytes.
SNAPSHOT_WINDOWS = 1_000
SNAPSHOT_LOG_BYTES = 8 * 2**20
#: How often one actor is made anew for one message before the emulation gives up.
REBUILDS = 3
#: An actor that does not answer for so long is taken for dead. The longest window is seconds.
ANSWER_SECONDS = 300.0
#: An actor that is not up for so long is tried elsewhere.
START_SECONDS = 60.0
#: So long the head waits for a node to join where none is left that can take a lost actor.
NODE_SECONDS = 300.0
#: Remote actors are asked for so long what they cost.
USAGE_SECONDS = 5.0
#: The most nodes that ``auto`` uses: a barrier over 16 actors costs 12 to 26 ms.
AUTO_NODES = 16
#: Between two looks for a node that has joined.
NODE_LOOK_SECONDS = 0.5


@dataclass
class _Actor:
    """What the head knows of one actor."""

    share: Share
    epoch: int = 0
    handle: Any = None
    window: int = 0
    address: str = ""
    #: The state after ``snapshot_window`` (empty: a fresh one), and the payloads of the windows since.
    snapshot: bytes = b""
    snapshot_window: int = 0
    log: list[bytes] = field(default_factory=list)
    log_bytes: int = 0
    #: Of this life, when last heard.
    cpu_seconds: float = 0.0
    memory_bytes: int = 0


class RayShards:
    """``engine.shards.Shards`` on Ray: our own on this machine, or the cluster that ``address`` or RAY_ADDRESS means.

    ``actors`` is the number of actors in all (fewer where the cluster has less to hold), or "auto": on our own Ray the CPUs or the pods,
    whichever are fewer; on a given cluster one a node, at most 16. Rack shards are as many as actors; planes go, largest first, to the
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
        self._plane_count = plane_count(cluster)
        self._actors: list[_Actor] = []
        #: Actors that may have run a message whose answer was not taken.
        self._unsure: set[int] = set()
        self._last_error = ""
        #: What actors that are gone had cost.
        self._spent_cpu_seconds = 0.0
        #: How often an actor was made anew.
        self.rebuilds = 0
        given = given_cluster(address)
        self._session = join_ray(given) if given else start_ray(object_bytes=len(pack(cluster)), system_config=system_config)
        try:
            import ray

            self._ray = ray
            ray.cloudpickle.register_pickle_by_value(ray_actor)  # type: ignore[no-untyped-call]
            self._code = ray_actor.installed_code()
            self._remote = ray.remote(max_restarts=0, max_task_retries=0)(ray_actor.ShardActor)
            count = _auto(cluster, self._session) if actors == "auto" else int(actors)
            self._ranges = shard_ranges(cluster, count)
            shares = _shares(cluster, self._ranges, count, Share(rack_settings, fabric_settings, seed, exporter))
            head = self._session.head
            self._places: Places = NodePlaces(head.nodes, len(shares)) if head else OwnPlaces(self._session.cpus, len(shares))
            self._actors = [_Actor(share) for share in shares]
            self._cluster = ray.put(cluster)
            self._bring_up(range(len(self._actors)))
        except BaseException:
            self.close()
            raise

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
            if racks or planes:
                calls[number] = ("advance", (actor.window + 1, pack(Window(window.until_ns, racks, planes))))
        answers = Answers(racks={}, planes={})
        for number, answer in self._ask(calls).items():
            actor = self._actors[number]
            actor.window, payload = calls[number][1]
            actor.log.append(payload)
            actor.log_bytes += len(payload)
            advanced: Answers = pickle.loads(answer)
            answers = Answers({**answers.racks, **advanced.racks}, {**answers.planes, **advanced.planes})
        self._snapshot_where_due()
        return answers

    def read(self, at_ns: int) -> Readings:
        return self._read(at_ns, publish=False)

    def read_planes(self, at_ns: int) -> tuple[FabricReadings, ...]:
        return self._of_planes("read_planes", at_ns)

    def read_links(self, at_ns: int) -> tuple[LinkReadings, ...]:
        return self._of_planes("read_links", at_ns)

    def _of_planes(self, verb: str, at_ns: int) -> tuple[Any, ...]:
        """What every plane answers, by plane."""
        calls = {number: (verb, (actor.window, at_ns)) for number, actor in enumerate(self._actors) if actor.share.planes}
        planes: dict[int, Any] = {}
        for answer in self._ask(calls).values():
            planes |= pickle.loads(answer)
        return tuple(planes[plane] for plane in sorted(planes))

    def publish(self, at_ns: int) -> Readings:
        return self._read(at_ns, publish=True)

    def metrics_addresses(self) -> tuple[str, ...]:
        return tuple(actor.address for actor in self._actors if actor.address)

    def remote_usage(self) -> tuple[float, int]:
        """As last heard where an actor does not answer."""
        if self._session.ours:
            return 0.0, 0
        asked = {actor.handle.usage.remote(): actor for actor in self._actors if actor.handle is not None}
        answered, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=USAGE_SECONDS)
        for reference in answered:
            try:
                asked[reference].cpu_seconds, asked[reference].memory_bytes = self._ray.get(reference)
            except self._ray.exceptions.RayError:
                continue
        cpu_seconds = sum(actor.cpu_seconds for actor in self._actors)
        return self._spent_cpu_seconds + cpu_seconds, sum(actor.memory_bytes for actor in self._actors)

    def close(self) -> None:
        """End the actors, and Ray where it is ours. May be called twice."""
        for actor in self._actors:
            self._kill(actor)
        self._session.close()

    def _read(self, at_ns: int, *, publish: bool) -> Readings:
        answers = self._ask({number: ("read", (actor.window, at_ns, publish)) for number, actor in enumerate(self._actors)})
        readings: list[Held] = [pickle.loads(answer) for answer in answers.values()]
        racks = {shard: reading for part in readings for shard, reading in part.racks.items()}
        planes = {plane: reading for part in readings for plane, reading in part.planes.items()}
        return Readings(tuple(racks[shard] for shard in sorted(racks)), tuple(planes[plane] for plane in sorted(planes)))

    def _snapshot_where_due(self) -> None:
        due = [
            number
            for number, actor in enumerate(self._actors)
            if len(actor.log) >= self._snapshot_windows or actor.log_bytes > max(SNAPSHOT_LOG_BYTES, len(actor.snapshot))
        ]
        for number, answer in self._ask({number: ("snapshot", (self._actors[number].window,)) for number in due}).items():
            actor = self._actors[number]
            actor.snapshot, actor.snapshot_window, actor.log, actor.log_bytes = answer, actor.window, [], 0

    def _ask(self, calls: Mapping[int, tuple[str, tuple[Any, ...]]]) -> dict[int, bytes]:
        """One barrier: the answer of every actor called, lost ones brought back. What a shard itself raises comes through."""
        if self._unsure:
            self._bring_up(sorted(self._unsure))
        self._unsure = set(calls)
        answers: dict[int, bytes] = {}
        missing = self._gather(list(calls), calls, answers)
        for _ in range(REBUILDS):
            if not missing:
                break
            self._bring_up(missing)
            missing = self._gather(missing, calls, answers)
        if missing:
            raise ShardsLost(f"{_named(missing)} died {REBUILDS + 1} times over the same message; {self._last_error}")
        self._unsure = set()
        return {number: answers[number] for number in calls}

    def _gather(self, numbers: Sequence[int], calls: Mapping[int, tuple[str, tuple[Any, ...]]], answers: dict[int, bytes]) -> list[int]:
        """Call ``numbers`` and put what they answer into ``answers``; the numbers that were lost."""
        sent = {}
        for number in numbers:
            actor, (verb, arguments) = self._actors[number], calls[number]
            sent[number] = actor.handle.call.remote(verb, actor.epoch, *arguments)
        deadline = time.monotonic() + self._answer_seconds
        replies: dict[int, Reply | None]
        try:
            replies = dict(zip(sent, self._ray.get(list(sent.values()), timeout=self._answer_seconds), strict=True))
        except self._ray.exceptions.RayError as error:
            self._loss(error)
            replies = {number: self._one(number, reference, deadline) for number, reference in sent.items()}
        lost = []
        for number, reply in replies.items():
            if reply is not None and reply[0] == self._actors[number].epoch:
                answers[number] = reply[2]
            else:
                lost.append(number)
        return lost

    def _one(self, number: int, reference: Any, deadline: float) -> Reply | None:
        try:
            reply: Reply = self._ray.get(reference, timeout=max(1.0, deadline - time.monotonic()))
        except self._ray.exceptions.RayError as error:
            self._loss(error)
            self._note("actor %d is lost: %s", number, error)
            return None
        return reply

    def _note(self, message: str, number: int, error: BaseException) -> None:
        self._last_error = f"{type(error).__name__}: {_last_line(error)}"
        logger.warning(message, number, self._last_error)

    def _loss(self, error: Any) -> None:
        """Ray's own errors mean that an actor, its process or its node is gone, or does not answer; a shard's is raised as it is."""
        if isinstance(error, self._ray.exceptions.RayTaskError):
            raise error

    def _bring_up(self, numbers: Sequence[int]) -> None:
        """Make actors, each under its next epoch and in the state that the head last heard of."""
        for attempt in range(REBUILDS + 1):
            for number in numbers:
                self._kill(self._actors[number])
            self._find_places(numbers, elsewhere=attempt > 0)
            code, last = {}, {}
            for number in numbers:
                actor = self._actors[number]
                actor.epoch += 1
                actor.handle = self._remote.options(**self._places.options(number)).remote()
                code[number] = actor.handle.code.remote()
                last[number] = actor.handle.hold.remote(
                    self._cluster, actor.share, actor.epoch, actor.snapshot_window, actor.snapshot, actor.log
                )
            same = self._with_our_code(code)
            up = {number for number in same if self._is_up(number, last[number])}
            self._unsure -= up
            numbers = [number for number in numbers if number not in up]
            if not numbers:
                return
        raise ShardsLost(f"{_named(numbers)} could not be started in {REBUILDS + 1} tries; {self._last_error}")

    def _find_places(self, numbers: Sequence[int], *, elsewhere: bool) -> None:
        """See that each has a node; where there is none, wait for one to join the cluster."""
        nowhere = self._places.find([number for number in numbers if self._actors[number].epoch], elsewhere=elsewhere)
        if not nowhere:
            return
        logger.warning("no node of the Ray cluster can take %s: waiting up to %g s for one to join", _named(nowhere), self._node_seconds)
        deadline = time.monotonic() + self._node_seconds
        while nowhere and time.monotonic() < deadline:
            time.sleep(NODE_LOOK_SECONDS)
            nowhere = self._places.find(nowhere, elsewhere=False)
        if nowhere:
            last = f"; {self._last_error}" if self._last_error else ""
            raise ShardsLost(
                f"the nodes of {_named(nowhere)} are lost, and none that can take over joined the Ray cluster within "
                f"{self._node_seconds:g} s{last}"
            )

    def _with_our_code(self, asked: Mapping[int, Any]) -> list[int]:
        """Those whose node has the code that runs here. At the start others are an error; later their nodes are not used again."""
        same, other = [], {}
        for number, reference in asked.items():
            try:
                code = self._ray.get(reference, timeout=START_SECONDS)
            except self._ray.exceptions.RayError as error:
                self._loss(error)
                self._note("actor %d did not start: %s", number, error)
                continue
            if code == self._code:
                same.append(number)
            else:
                self._places.refuse(number)
                other[self._places.node_of(number)] = code
        if other:
            self._last_error = "; ".join(_refused(node, code, self._code) for node, code in sorted(other.items()))
            if all(self._actors[number].epoch == 1 for number in asked):
                raise UnusableRay(self._last_error)
            logger.warning("%s", self._last_error)
        return same

    def _is_up(self, number: int, reference: Any) -> bool:
        actor = self._actors[number]
        try:
            window = self._ray.get(reference, timeout=START_SECONDS)
            if actor.share.exporter is not None:
                host = "127.0.0.1" if self._session.ours else ""
                port = int(actor.address.rpartition(":")[2] or 0)
                actor.address = self._ray.get(actor.handle.call.remote("serve_metrics", host, port), timeout=START_SECONDS)
        except ImportError as error:  # the shard's, as Ray raises it
            raise UnusableRay(
                f"node {self._places.node_of(number)} lacks what gigawatt needs ({_last_line(error)}): install it there"
            ) from error
        except self._ray.exceptions.RayError as error:
            self._loss(error)
            self._note("actor %d did not start: %s", number, error)
            return False
        if window != actor.window:
            raise ShardsLost(f"actor {number} came back at window {window} instead of {actor.window}")
        if actor.epoch > 1:
            self.rebuilds += 1
            node = "" if self._session.ours else f" on {self._places.node_of(number)}"
            logger.warning("actor %d goes on as epoch %d from window %d%s", number, actor.epoch, actor.window, node)
        return True

    def _kill(self, actor: _Actor) -> None:
        handle, actor.handle = actor.handle, None
        self._spent_cpu_seconds, actor.cpu_seconds = self._spent_cpu_seconds + actor.cpu_seconds, 0.0
        if handle is not None and self._ray.is_initialized():
            self._ray.kill(handle, no_restart=True)


def _last_line(error: BaseException) -> str:
    """Ray's messages are pages; the last line, or its first sentence, says what it was."""
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[-1].strip().partition(". ")[0][:200]


def _named(numbers: Sequence[int]) -> str:
    return f"actor{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def _refused(node: str, theirs: tuple[str, str], ours: tuple[str, str]) -> str:
    """Why a node is not used, and what to do; of each side the version and the hash of the sources."""
    if not theirs[1]:
        return f"node {node} has no gigawatt that its Ray can import: install the same build there as here ({ours[0]})"
    return (
        f"node {node} has other code (gigawatt {theirs[0]}, sources {theirs[1]}) than this one ({ours[0]}, sources {ours[1]}), so its "
        "answers could differ: install the same build on every node"
    )


def _auto(cluster: Cluster, session: RaySession) -> int:
    """How many actors. More of them do not make it faster (docs/decisions.md): as many as let every node of a given cluster hold a part."""
    if session.head is not None:
        return max(1, min(AUTO_NODES, sum(node.free_cpus >= 1 for node in session.head.nodes())))
    pods = next((len(level) for level in cluster.levels if level.name == "pod"), 1)
    return max(1, min(session.cpus, pods))


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
