"""The metrics of rack shards and fabric planes, served where they run: by each actor, or by the head when everything is in-process."""

from collections.abc import Sequence

from emulator.engine.shards import ShardRange
from emulator.fabric.messages import FabricReadings
from emulator.racks.messages import RackReadings
from emulator.racks.served_pools import ServedPools
from emulator.racks.serving_messages import ServingReadings
from emulator.telemetry.exposition import RackLabels, shard_text
from emulator.telemetry.server import MetricsServer, Page
from emulator.telemetry.vllm_text import VllmText
from topology.cluster import Cluster


class ShardText:
    """Renders the readings of the shards in ``ranges``; labels are made once. ``detail``: rack, pod or cluster."""

    def __init__(self, cluster: Cluster, ranges: Sequence[ShardRange], detail: str, pools: ServedPools) -> None:
        self._labels = [RackLabels(cluster, span.first_rack, span.end_rack, detail=detail) for span in ranges]
        self._replicas = VllmText(cluster, pools, detail)

    def __call__(self, racks: Sequence[RackReadings], planes: Sequence[FabricReadings], serving: Sequence[ServingReadings]) -> bytes:
        return shard_text(list(zip(self._labels, racks, strict=True)), planes) + self._replicas(serving)


class ShardExporter:
    """One actor's /metrics, in threads of its own. Bind errors raise OSError."""

    def __init__(
        self,
        cluster: Cluster,
        ranges: Sequence[ShardRange],
        host: str,
        port: int,
        *,
        detail: str = "rack",
        pools: ServedPools = ServedPools(),  # noqa: B008 - frozen
    ) -> None:
        self._text = ShardText(cluster, ranges, detail, pools)
        self._page = Page()
        self._server = MetricsServer(self._page, host=host, port=port, title=f"Gigawatt: shards of {cluster.name}")

    @property
    def address(self) -> str:
        """``host:port``."""
        return self._server.address

    def publish(self, racks: Sequence[RackReadings], planes: Sequence[FabricReadings], serving: Sequence[ServingReadings]) -> None:
        """Serve these from now on; they are rendered when somebody asks."""
        self._page.publish(lambda: self._text(racks, planes, serving))
