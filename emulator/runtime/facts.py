"""What a session is of: facts that stay as they are while it runs."""

from emulator.engine.shards import ShardRange
from emulator.racks.served_pools import ServedPools, served_pools
from emulator.runtime.assemble import Emulation
from topology.catalog import HostType
from topology.cluster import Cluster


class Facts:
    """May be read by any thread at any time."""

    def __init__(self, emulation: Emulation) -> None:
        self._engine = emulation.engine
        self._detail, self._fabric = emulation.scenario.telemetry.detail, emulation.scenario.fabric

    @property
    def host_type(self) -> HostType:
        cluster = self._engine.cluster
        gpus = [hosts * host_type.gpus for hosts, host_type in zip(cluster.type_hosts, cluster.host_types, strict=True)]
        return cluster.host_types[gpus.index(max(gpus))]

    @property
    def host_types(self) -> tuple[HostType, ...]:
        return self._engine.cluster.host_types

    @property
    def payload_ratio(self) -> float:
        """Of a NIC's line rate, what is left for payload."""
        return self._fabric.efficiency

    @property
    def collective(self) -> str:
        """How jobs reduce their gradients that do not say: ring, tree, or auto."""
        return self._fabric.collective

    @property
    def topology(self) -> Cluster:
        return self._engine.cluster

    @property
    def telemetry_detail(self) -> str:
        return self._detail

    @property
    def local_shards(self) -> tuple[ShardRange, ...]:
        """Shards that run in this process and so serve no metrics of their own."""
        shards = self._engine.shards
        return () if shards.metrics_addresses() else shards.ranges

    @property
    def served_pools(self) -> ServedPools:
        """What the pools of services are called, for the metrics of local shards."""
        if self._engine.services is None:
            return ServedPools()
        settings = self._engine.services.settings
        return served_pools([service.served for service in settings.services], settings.pool_level)
