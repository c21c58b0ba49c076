"""The shards that one actor holds, and its answers. ``ray_shards`` puts it into Ray actors, but it needs no Ray.

Payloads are pickles made by ``pack``: one bytes object each way, so that the head can keep what it sent.
"""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from emulator.engine.shards import Answers, ShardRange, Window
from emulator.fabric.messages import FabricReadings
from emulator.fabric.plane import FabricPlane
from emulator.fabric.settings import FabricSettings
from emulator.racks.messages import RackReadings
from emulator.racks.serving import serving_shards
from emulator.racks.serving_messages import ServingReadings
from emulator.racks.shard import RackSettings, RackShard
from emulator.report.usage import own_usage
from emulator.runtime.line import Line
from topology.cluster import Cluster


def pack(value: object) -> bytes:
    """Pickled, by the newest protocol: what goes between the head and actors of the same Python."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


class Exporter(Protocol):
    """Serves an actor's own /metrics from threads of its own."""

    @property
    def address(self) -> str:
        """``host:port``."""
        ...

    def publish(self, racks: Sequence[RackReadings], planes: Sequence[FabricReadings], serving: Sequence[ServingReadings]) -> None:
        """Serve these from now on. Must not render before somebody asks."""
        ...


#: (cluster, the actor's rack shards, host, port; 0: any) -> Exporter. Sent to the actors, so a function or class of a module.
ExporterFactory = Callable[[Cluster, Sequence[ShardRange], str, int], Exporter]


#: (epoch, window, packed answer)
Reply = tuple[int, int, bytes]


@dataclass(frozen=True)
class Share:
    """What one actor gets: what all of them need, and rack shards and planes by their numbers."""

    rack_settings: RackSettings
    fabric_settings: FabricSettings
    seed: int
    exporter: ExporterFactory | None = None
    shards: tuple[int, ...] = ()
    ranges: tuple[ShardRange, ...] = ()  # of those shards
    planes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Held:
    """The readings of what one actor holds, by number."""

    racks: dict[int, RackReadings]
    planes: dict[int, FabricReadings]
    serving: dict[int, ServingReadings]


class StaleMessage(RuntimeError):
    """A message for another epoch of this actor, or out of order."""


class ShardHost:
    """Rack shards and planes in one process. ``epoch`` is the actor's life, ``window`` the last window that it ran."""

    def __init__(self, cluster: Cluster, share: Share, epoch: int) -> None:
        self._cluster, self._share, self._epoch, self._window = cluster, share, epoch, 0
        self._last: Reply = (epoch, 0, b"")
        self._racks = {
            shard: RackShard(cluster, span, share.rack_settings, share.seed) for shard, span in zip(share.shards, share.ranges, strict=True)
        }
        self._serving = serving_shards(cluster, share.rack_settings, share.shards, share.seed)
        self._planes = {plane: FabricPlane(cluster, plane, share.fabric_settings) for plane in share.planes}
        self._exporter: Exporter | None = None

    def recover(self, window: int, snapshot: bytes, payloads: Sequence[bytes]) -> int:
        """Take the state after ``window`` (no bytes: the initial state) and run the later windows again. Returns the last window."""
        if snapshot:
            racks, planes, serving = pickle.loads(snapshot)
            for shard, arrays in racks.items():
                self._racks[shard].restore(arrays)
            for plane, arrays in planes.items():
                self._planes[plane].restore(arrays)
            for shard, arrays in serving.items():
                self._serving[shard].restore(arrays)
        self._window = window
        for payload in payloads:
            self.advance(self._epoch, self._window + 1, payload)
        return self._window

    def advance(self, epoch: int, window: int, payload: bytes) -> Reply:
        """Run a packed ``Window``; the answer is ``Answers``. The same window again gets the same answer, without running it."""
        if epoch == self._epoch and window == self._window and window:
            return self._last
        self._expect(epoch, window - 1)
        message: Window = pickle.loads(payload)
        answer = Answers(
            {shard: self._racks[shard].advance(message.until_ns, orders) for shard, orders in message.racks.items()},
            {plane: self._planes[plane].advance(message.until_ns, orders) for plane, orders in message.planes.items()},
            {plane: held.read(message.until_ns, loads_only=True) for plane, held in self._planes.items()} if message.read_planes else {},
            {shard: self._serving[shard].advance(message.until_ns, orders) for shard, orders in message.serving.items()},
        )
        self._window = window
        self._last = (epoch, window, pack(answer))
        return self._last

    def read(self, epoch: int, window: int, at_ns: int, publish: bool) -> Reply:
        """``Held`` after ``window``; the exporter serves them from now on where ``publish``."""
        self._expect(epoch, window)
        racks = {shard: held.read(at_ns) for shard, held in self._racks.items()}
        planes = {plane: held.read(at_ns) for plane, held in self._planes.items()}
        serving = {shard: held.read(at_ns) for shard, held in self._serving.items()}
        if publish and self._exporter:
            self._exporter.publish(tuple(racks.values()), tuple(planes.values()), tuple(serving.values()))
        return epoch, window, pack(Held(racks, planes, serving))

    def read_links(self, epoch: int, window: int, at_ns: int) -> Reply:
        """``LinkReadings`` of the planes, by number, after ``window``."""
        self._expect(epoch, window)
        return epoch, window, pack({plane: held.read_links(at_ns) for plane, held in self._planes.items()})

    def snapshot(self, epoch: int, window: int) -> Reply:
        """The whole state after ``window``, packed."""
        self._expect(epoch, window)
        state: tuple[dict[int, Any], ...] = (
            {shard: held.snapshot() for shard, held in self._racks.items()},
            {plane: held.snapshot() for plane, held in self._planes.items()},
            {shard: held.snapshot() for shard, held in self._serving.items()},
        )
        return epoch, window, pack(state)

    def serve_metrics(self, host: str, port: int) -> str:
        """Serve /metrics on ``host``, on ``port`` if it is to be had; host:port, or "" without an exporter."""
        if self._share.exporter is None:
            return ""
        try:
            self._exporter = self._share.exporter(self._cluster, self._share.ranges, host, port)
        except OSError:
            if not port:
                raise
            self._exporter = self._share.exporter(self._cluster, self._share.ranges, host, 0)
        return self._exporter.address

    def usage(self, epoch: int, window: int) -> Reply:
        """CPU seconds of this process so far and its memory in bytes, packed."""
        self._expect(epoch, window)
        return epoch, window, pack(own_usage())

    def _expect(self, epoch: int, window: int) -> None:
        if (epoch, window) != (self._epoch, self._window):
            raise StaleMessage(f"a message of epoch {epoch} after window {window} reached epoch {self._epoch} after window {self._window}")


def serve(host: ShardHost, line: Line) -> None:
    """Answer calls ``(number, verb, arguments)`` with ``(number, reply or exception)`` until the line ends."""
    while True:
        try:
            number, verb, arguments = pickle.loads(line.receive())
        except (EOFError, OSError):
            return
        try:
            answer = getattr(host, verb)(*arguments)
        except Exception as error:  # noqa: BLE001 - the head is to hear of it
            answer = error
        try:
            line.send(pack((number, answer)))
        except OSError:
            return
