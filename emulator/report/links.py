"""``links.parquet``: every trunk with what it carried, how full it was and how long it was down."""

from typing import Any

import numpy as np

from emulator.engine.link_table import LinkTable
from emulator.report.picture.load import LinkLoad
from topology.cluster import TIERS, Cluster, Float64
from topology.describe import link_names, node_names


def links_table(cluster: Cluster, table: LinkTable, emulated_seconds: float) -> Any:
    """A pyarrow.Table with a row per trunk, by number.

    Utilization is of the busier direction: its mean over the run is what it carried; ``peak_demand_ratio`` is the most that its flows would
    have sent at once, each at its cap (above 1 they were held back). That is null for trunks of hosts, whose cables belong to one GPU each.
    """
    import pyarrow as pa

    links = cluster.links
    nodes = pa.array(node_names(cluster))

    def words(codes: Any, dictionary: Any) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), dictionary).cast(pa.string())

    return pa.table(
        {
            "link": np.arange(len(links)),
            "name": link_names(cluster),
            "tier": words(links.tier, pa.array(TIERS)),
            "lower": words(links.u, nodes),
            "upper": words(links.v, nodes),
            "lanes": links.lanes,
            "bytes_per_second": links.bytes_per_second,
            "carried_up_bytes": table.carried_bytes[:, 0].copy(),
            "carried_down_bytes": table.carried_bytes[:, 1].copy(),
            "mean_utilization_ratio": _mean_ratio(cluster, table, emulated_seconds),
            "peak_demand_ratio": pa.array(table.peak_demand_bytes_per_second / links.bytes_per_second, mask=links.tier == 0),
            "downs": table.downs,
            "down_seconds": table.down_seconds,
        }
    )


def link_load(cluster: Cluster, table: LinkTable, emulated_seconds: float) -> LinkLoad:
    """What a picture of the run is coloured by."""
    mean = _mean_ratio(cluster, table, emulated_seconds)
    peak = np.maximum(mean, np.minimum(1.0, table.peak_demand_bytes_per_second / cluster.links.bytes_per_second))
    return LinkLoad(mean, peak, table.down_seconds)


def _mean_ratio(cluster: Cluster, table: LinkTable, emulated_seconds: float) -> Float64:
    capacity = cluster.links.bytes_per_second
    return np.asarray(table.carried_bytes.max(axis=1) / (capacity * emulated_seconds) if emulated_seconds else 0.0 * capacity)
