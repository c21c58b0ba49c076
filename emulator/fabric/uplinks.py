"""Which links leave each unit of the hierarchy, for which rails, and how a rail's traffic divides over them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topology.cluster import Cluster, Float64, Int32, Level


@dataclass(frozen=True, eq=False)
class Uplinks:
    """The uplinks of one level: unit i has the entries ``start[i]:start[i + 1]``.

    ``share[e, r]`` is the part of rail r's traffic out of the unit that link ``link[e]`` carries: adaptive routing sprays a rail over all
    uplinks of the unit that serve it, in proportion to their speed. It is 0 for rails that the link does not serve.
    """

    level: Level
    start: Int32  # (units + 1,)
    link: Int32  # (entries,)
    unit: Int32  # (entries,)
    share: Float64  # (entries, rails)


def uplinks(cluster: Cluster) -> tuple[Uplinks, ...]:
    """The levels of ``cluster`` that have uplinks, innermost first."""
    tables = []
    for level in cluster.levels:
        if not len(level.uplinks):
            continue
        unit = np.repeat(np.arange(len(level), dtype=np.int32), np.diff(level.uplink_start))
        first = cluster.links.rail_first[level.uplinks].astype(np.int64)[:, None]
        count = cluster.links.rails[level.uplinks].astype(np.int64)[:, None]
        rail = np.arange(cluster.rails)[None, :]
        speed = np.where((rail >= first) & (rail < first + count), cluster.links.bytes_per_second[level.uplinks][:, None], 0.0)
        total = np.zeros((len(level), cluster.rails))
        np.add.at(total, unit, speed)
        share = np.divide(speed, total[unit], out=np.zeros_like(speed), where=speed > 0.0)
        tables.append(Uplinks(level=level, start=level.uplink_start, link=level.uplinks, unit=unit, share=share))
    return tuple(tables)


def rail_gpus(cluster: Cluster) -> NDArray[np.int64]:
    """How many GPUs of a host are on each rail, shape (rails,): GPU g is on rail g mod rails."""
    return np.bincount(np.arange(cluster.gpus_per_host) % cluster.rails, minlength=cluster.rails).astype(np.int64)


def lane_bytes_per_second(cluster: Cluster) -> float:
    """The line rate of one GPU's way out of its host: its NIC, or its part of the host's NICs where their number is another."""
    host = cluster.host_type
    return host.nic_bytes_per_second * host.nics / host.gpus
