"""Shards in this process: the oracle that every other runtime must equal."""

from emulator.engine.shards import Answers, Readings, ShardRange, Window
from emulator.fabric.messages import LinkReadings
from emulator.fabric.plane import FabricPlane
from emulator.fabric.settings import FabricSettings
from emulator.racks.serving import serving_shards
from emulator.racks.shard import RackSettings, RackShard
from emulator.runtime.ranges import plane_count, shard_ranges
from topology.cluster import Cluster


class InlineShards:
    """``engine.shards.Shards`` without processes."""

    def __init__(self, cluster: Cluster, rack_settings: RackSettings, fabric_settings: FabricSettings, seed: int, shards: int = 1) -> None:
        self._ranges = shard_ranges(cluster, shards, rack_settings.whole_level)
        self._racks = tuple(RackShard(cluster, span, rack_settings, seed) for span in self._ranges)
        self._serving = serving_shards(cluster, rack_settings, range(len(self._ranges)), seed)
        self._planes = tuple(FabricPlane(cluster, plane, fabric_settings) for plane in range(plane_count(cluster)))

    @property
    def ranges(self) -> tuple[ShardRange, ...]:
        return self._ranges

    @property
    def plane_count(self) -> int:
        return len(self._planes)

    def advance(self, window: Window) -> Answers:
        return Answers(
            racks={shard: self._racks[shard].advance(window.until_ns, orders) for shard, orders in window.racks.items()},
            planes={plane: self._planes[plane].advance(window.until_ns, orders) for plane, orders in window.planes.items()},
            readings={number: plane.read(window.until_ns, loads_only=True) for number, plane in enumerate(self._planes)}
            if window.read_planes
            else {},
            serving={shard: self._serving[shard].advance(window.until_ns, orders) for shard, orders in window.serving.items()},
        )

    def read(self, at_ns: int) -> Readings:
        racks, planes = tuple(shard.read(at_ns) for shard in self._racks), tuple(plane.read(at_ns) for plane in self._planes)
        return Readings(racks, planes, tuple(self._serving[shard].read(at_ns) for shard in sorted(self._serving)))

    def read_links(self, at_ns: int) -> tuple[LinkReadings, ...]:
        return tuple(plane.read_links(at_ns) for plane in self._planes)

    def publish(self, at_ns: int) -> Readings:
        return self.read(at_ns)

    def metrics_addresses(self) -> tuple[str, ...]:
        return ()

    def end(self) -> None:
        pass

    def remote_usage(self) -> tuple[float, int]:
        return 0.0, 0

    def close(self) -> None:
        pass
