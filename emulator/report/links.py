"""``links.parquet``: the traffic, utilization and down time of every trunk, and the same by tier."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from emulator.engine.link_table import LinkTable
from emulator.report.picture.load import LinkLoad
from topology.cluster import TIERS, Cluster, Float64
from topology.describe import link_name, link_names, node_names


@dataclass(frozen=True)
class TierLoad:
    """The links of one tier over a run, each by its busier direction. All ratios are of the nominal capacity."""

    mean_ratio: float  # of all links' capacity, over the time that they were in service
    busiest_trunk: str  # the one with the highest mean
    busiest_mean_ratio: float
    peak_ratio: float  # the fullest link at any instant; of the NICs, the fullest NIC at a publication


def links_table(cluster: Cluster, table: LinkTable) -> Any:
    """A pyarrow.Table with a row per link, by number.

    Utilization is of the busier direction: the mean is what it carried over its time in service, the peak the most that it carried at any
    instant. ``peak_demand_ratio`` is the most that its flows would have sent at once, each at its cap (above 1 they were held back). Peak
    and demand are null for endpoint links, whose lanes belong to one GPU each.
    """
    import pyarrow as pa

    links = cluster.links
    nodes = pa.array(node_names(cluster))
    endpoint = links.tier == 0

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
            "mean_utilization_ratio": _mean_ratio(cluster, table),
            "peak_utilization_ratio": pa.array(table.peak_load_bytes_per_second / links.bytes_per_second, mask=endpoint),
            "peak_demand_ratio": pa.array(table.peak_demand_bytes_per_second / links.bytes_per_second, mask=endpoint),
            "downs": table.downs,
            "down_seconds": table.down_seconds,
            "in_service_seconds": table.in_service_seconds,
        }
    )


def link_load(cluster: Cluster, table: LinkTable) -> LinkLoad:
    """The load that colours a picture of the run."""
    mean = _mean_ratio(cluster, table)
    peak = np.where(cluster.links.tier == 0, mean, table.peak_load_bytes_per_second / cluster.links.bytes_per_second)
    return LinkLoad(mean, peak, table.down_seconds, cluster.links.bytes_per_second * table.in_service_seconds)


def tier_loads(cluster: Cluster, table: LinkTable, nic_peak_ratio: float) -> dict[str, TierLoad]:
    """By name of the tiers that the cluster has, from the hosts up. ``nic_peak_ratio`` comes from the samples."""
    links, load = cluster.links, link_load(cluster, table)
    found = {}
    for tier in np.unique(links.tier).tolist():
        here = np.flatnonzero(links.tier == tier)
        mean, weight = load.mean_ratio[here], load.weight[here]
        busiest = int(mean.argmax())
        found[TIERS[tier]] = TierLoad(
            mean_ratio=float((mean * weight).sum() / max(float(weight.sum()), 1.0)),
            busiest_trunk=link_name(cluster, int(here[busiest])),
            busiest_mean_ratio=float(mean[busiest]),
            peak_ratio=float(load.peak_ratio[here].max()) if tier else nic_peak_ratio,
        )
    return found


def _mean_ratio(cluster: Cluster, table: LinkTable) -> Float64:
    possible = cluster.links.bytes_per_second * table.in_service_seconds
    return np.asarray(np.divide(table.carried_bytes.max(axis=1), possible, out=np.zeros(len(possible)), where=possible > 0.0))
