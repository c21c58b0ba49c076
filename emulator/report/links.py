"""``links.parquet``: every link with what it carried, how full it was and how long it was down."""

from typing import Any

from emulator.engine.link_table import LinkTable
from topology.cluster import TIERS, Cluster
from topology.describe import link_name, node_name


def links_table(cluster: Cluster, table: LinkTable, emulated_seconds: float) -> Any:
    """A pyarrow.Table with a row per link, by number. Utilization is of the busier direction: its mean over the run from what it carried,
    and as the peak the most that its flows would have sent at once, each at its cap (above 1 they were held back)."""
    import pyarrow as pa

    links = cluster.links
    nodes = [node_name(cluster, node) for node in range(len(links.switches))]
    capacity = links.bytes_per_second
    mean = table.carried_bytes.max(axis=1) / (capacity * emulated_seconds) if emulated_seconds else 0.0 * capacity
    return pa.table(
        {
            "link": range(len(links)),
            "name": [link_name(cluster, link) for link in range(len(links))],
            "tier": [TIERS[tier] for tier in links.tier.tolist()],
            "lower": [nodes[node] for node in links.u.tolist()],
            "upper": [nodes[node] for node in links.v.tolist()],
            "lanes": links.lanes,
            "bytes_per_second": capacity,
            "carried_up_bytes": table.carried_bytes[:, 0].copy(),
            "carried_down_bytes": table.carried_bytes[:, 1].copy(),
            "mean_utilization_ratio": mean,
            "peak_demand_ratio": table.peak_demand_bytes_per_second / capacity,
            "downs": table.downs,
            "down_seconds": table.down_seconds,
        }
    )
