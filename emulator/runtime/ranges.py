"""How the racks are cut into shards."""

from itertools import pairwise

import numpy as np

from emulator.engine.shards import ShardRange
from topology.cluster import Cluster


def shard_ranges(cluster: Cluster, count: int, whole: str = "rack") -> tuple[ShardRange, ...]:
    """At most ``count`` shards of about as many hosts each, cut only where a rack, a block and a unit of the level ``whole`` all end.

    Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"there must be at least 1 shard, not {count}")
    rack = cluster.level("rack").first_host
    cuts = np.intersect1d(np.intersect1d(rack, cluster.block.first_host), cluster.level(whole).first_host)
    wanted = np.arange(1, count) * cluster.host_count / count
    right = np.clip(np.searchsorted(cuts, wanted), 1, len(cuts) - 1)
    nearest = np.where(wanted - cuts[right - 1] <= cuts[right] - wanted, cuts[right - 1], cuts[right])
    hosts = np.unique(np.concatenate([[0], nearest, [cluster.host_count]]))
    racks = np.searchsorted(rack, hosts)
    edges = [(int(r), int(h)) for r, h in zip(racks, hosts, strict=True)]
    return tuple(ShardRange(a, b, first, end) for (a, first), (b, end) in pairwise(edges))


def plane_count(cluster: Cluster) -> int:
    """How many fabric planes the cluster has; 0 without links."""
    plane = cluster.links.plane
    return int(plane.max()) + 1 if len(plane) else 0
