"""Where the shards of a scenario run: in this process, on a Ray that is started here, or on a given one."""

from functools import partial

from emulator.engine.shards import Shards
from emulator.fabric.settings import FabricSettings
from emulator.racks.served_pools import served_pools
from emulator.racks.shard import RackSettings
from emulator.runtime.inline import InlineShards
from emulator.scenario import Scenario
from emulator.workload.jobs import SECOND
from topology.cluster import Cluster

_MS = 1_000_000  # ns


class Place:
    """``actors`` is how many there are, once ``shards`` was called; 0 in-process."""

    def __init__(self, scenario: Scenario, address: str | None) -> None:
        self._scenario, self._address = scenario, address
        self.actors = 0

    def shards(self, cluster: Cluster, racks: RackSettings, fabric: FabricSettings, seed: int) -> Shards:
        """Start the shards. Raises RayStartError if they cannot be started."""
        runtime = self._scenario.runtime
        if runtime.actors == "inline":
            return InlineShards(cluster, racks, fabric, seed)
        from emulator.runtime.ray_shards import RayShards
        from emulator.telemetry.exporter import ShardExporter

        health = {
            "health_check_initial_delay_ms": runtime.health_check_initial_delay // _MS,
            "health_check_period_ms": runtime.health_check_period // _MS,
            "health_check_timeout_ms": runtime.health_check_timeout // _MS,
            "health_check_failure_threshold": runtime.health_check_failure_threshold,
        }
        shards = RayShards(
            cluster,
            racks,
            fabric,
            seed,
            actors=runtime.actors,
            address=self._address,
            exporter=partial(ShardExporter, detail=self._scenario.telemetry.detail, pools=served_pools(racks.services, racks.pool_level)),
            system_config=health,
            answer_seconds=runtime.answer_timeout / SECOND,
            node_seconds=runtime.node_wait / SECOND,
        )
        self.actors = shards.actor_count
        return shards
