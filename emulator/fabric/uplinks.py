"""Which links leave each unit of the hierarchy upwards, for which rails, and how a rail's traffic is divided over them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topology.catalog import HostType
from topology.cluster import Cluster, Float64, Int32, Int64, Level


@dataclass(frozen=True, eq=False)
class Uplinks:
    """The switch uplinks of one level: unit i has the entries ``start[i]:start[i + 1]``, entry e belongs to unit ``unit[e]``.

    ``lanes[e, r]`` is how many GPUs of the unit on rail r have link ``link[e]`` on their way out: each switch sprays a rail over those of
    its uplinks that serve it, in proportion to their speed. ``share[e, r]`` is the same as a part of the unit's GPUs on rail r, hence the
    part of the rail's traffic that the link carries (1 where one link serves the rail, 0 where it does not serve it).
    """

    level: Level
    start: Int32  # (units + 1,)
    link: Int32  # (entries,)
    unit: Int32  # (entries,)
    lanes: Float64  # (entries, rails)
    share: Float64  # (entries, rails)


def uplinks(cluster: Cluster, bytes_per_second: Float64 | None = None) -> tuple[Uplinks, ...]:
    """The levels of ``cluster`` that have uplinks, innermost first, where its links have these speeds (default: all are healthy).

    A link that skips a tier leaves units of several levels; it is listed with the outermost, since traffic inside that unit does not need
    it.
    """
    ids, carried = _carried(cluster, cluster.links.bytes_per_second if bytes_per_second is None else bytes_per_second)
    tables: list[Uplinks] = []
    seen = cluster.links.tier == 0
    for level in reversed(cluster.levels):
        fresh = ~seen[level.uplinks]
        if not fresh.any():
            continue
        link = level.uplinks[fresh]
        seen[link] = True
        unit = np.repeat(np.arange(len(level), dtype=np.int32), np.diff(level.uplink_start))[fresh]
        start = np.searchsorted(unit, np.arange(len(level) + 1)).astype(np.int32)
        lanes = carried[np.searchsorted(ids, link)]
        total = np.zeros((len(level), cluster.rails))
        np.add.at(total, unit, lanes)
        share = np.divide(lanes, total[unit], out=np.zeros_like(lanes), where=lanes > 0.0)
        tables.append(Uplinks(level=level, start=start, link=link, unit=unit, lanes=lanes, share=share))
    return tuple(reversed(tables))


def _carried(cluster: Cluster, bytes_per_second: Float64) -> tuple[NDArray[np.int64], Float64]:
    """The switch links upwards, ascending, and the GPUs per rail that have each on their way up, shape (links, rails)."""
    links, endpoints = cluster.links, len(cluster.level("domain"))
    below = np.zeros((len(links.switches) - endpoints, cluster.rails))  # by switch node
    gpus = domain_gpus(cluster)
    for rail in range(cluster.rails):
        served, share = endpoint_shares(cluster, rail, bytes_per_second)
        below[:, rail] = np.bincount(links.v[served] - endpoints, share * gpus[links.u[served], rail], len(below))
    upward = (links.tier > 0) & (links.node_tier[links.u] < links.node_tier[links.v])
    ids = np.flatnonzero(upward)
    carried = np.zeros((len(ids), cluster.rails))
    for tier in range(1, int(links.node_tier.max(initial=0)) + 1):
        rows = np.flatnonzero(links.node_tier[links.u[ids]] == tier)
        link = ids[rows]
        lower, upper = links.u[link] - endpoints, links.v[link] - endpoints
        first, count = (column[link].astype(np.int64)[:, None] for column in (links.rail_first, links.rails))
        rail_number = np.arange(cluster.rails)[None, :]
        serves = (rail_number >= first) & (rail_number < first + count)
        speed = np.where(serves, bytes_per_second[link][:, None], 0.0)
        total = np.zeros_like(below)
        np.add.at(total, lower, speed)
        dead = total[lower] == 0.0  # if no uplink is left, the traffic stays on the dead ones and gets nothing
        if dead.any():
            speed = np.where(serves & dead, links.bytes_per_second[link][:, None], speed)
            total.fill(0.0)
            np.add.at(total, lower, speed)
        carried[rows] = below[lower] * np.divide(speed, total[lower], out=np.zeros_like(speed), where=serves)
        np.add.at(below, upper, carried[rows])
    return ids, carried


def endpoint_shares(cluster: Cluster, rail: int, bytes_per_second: Float64 | None = None) -> tuple[Int64, Float64]:
    """The endpoint links that serve ``rail``, and the part of their domain's GPUs on the rail that each carries.

    Where a NIC has a port on each of several leaves (dual ToR, dual plane), its traffic splits by their speed, by default as if all were
    healthy. Where none has any it stays as it was.
    """
    links = cluster.links
    served = np.flatnonzero((links.tier == 0) & (links.rail_first <= rail) & (rail < links.rail_first + links.rails))
    speed = links.bytes_per_second[served] / links.rails[served]
    if bytes_per_second is not None:
        left = bytes_per_second[served] / links.rails[served]
        some = np.bincount(links.u[served], left, len(cluster.level("domain"))) > 0.0
        speed = np.where(some[links.u[served]], left, speed)
    total = np.bincount(links.u[served], speed, len(cluster.level("domain")))
    return served, speed / total[links.u[served]]


def host_rail_gpus(host: HostType, rails: int) -> NDArray[np.int64]:
    """How many GPUs of a host are on each rail, shape (rails,): GPU g is on rail g mod the host's NICs."""
    return np.bincount(np.arange(host.gpus) % min(rails, host.nics), minlength=rails).astype(np.int64)


def domain_gpus(cluster: Cluster) -> NDArray[np.int64]:
    """GPUs of every domain on each rail, shape (domains, rails)."""
    first_host = cluster.level("domain").first_host
    block = np.searchsorted(cluster.block.first_host, first_host[:-1], side="right") - 1
    by_type = np.stack([host_rail_gpus(host, cluster.rails) for host in cluster.host_types])
    return np.asarray(np.diff(first_host)[:, None] * by_type[cluster.block_type[block]])
