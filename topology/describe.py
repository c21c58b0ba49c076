"""A cluster in a few numbers, and names for its nodes and links."""

from typing import Any

import numpy as np

from topology.cables import switch_count
from topology.cluster import TIERS, Cluster, Int64

#: What a switch is called, by ``Links.node_tier``.
_SWITCH_NAMES = ("", "leaf", "spine", "core", "inter-building", "gateway")

#: The tier of switches that makes a level's units.
_UNIT_TIERS = {"leaf": 1, "pod": 2, "building": 3, "site": 4}


def describe(cluster: Cluster) -> dict[str, Any]:
    """What `gigawatt topology show -o json` prints: physical counts, and what they assume. ``units`` are those of each level of the
    hierarchy, innermost first: a dragonfly's chassis are its leaf units and its groups its pods.

    Oversubscription compares bandwidth down to bandwidth up at the worst switch of a tier, at least 1. Bisection is half of the thinnest
    tier, one direction. ``taper`` is the worst dragonfly group's bandwidth from its hosts over that to other groups (None: no dragonfly).
    ``worst_pod_to_pod_ratio`` is the bandwidth between the two worst-placed pods of a building (leaves, where there is one pod), or
    buildings of a site, over the smaller one's uplinks, given how these are striped over the switches above (`topology.striping`).
    In a dragonfly it is the part of a group's global links that leads straight to one other group: 1 over the number of others. Of
    several parts it is the least of any.
    """
    counts = cluster.counts
    return {
        "gpus": counts.gpus,
        "hosts": counts.hosts,
        "racks": counts.racks,
        "domains": counts.domains,
        "host_types": {host.name: hosts for host, hosts in zip(cluster.host_types, cluster.type_hosts, strict=True)},
        "sites": list(cluster.site_names),
        "units": {level.name: len(level) for level in cluster.levels},
        "switches": {"leaf": counts.leaf, "spine": counts.spine, "core": counts.core}
        | _some({"inter_building": counts.inter_building, "wan": counts.wan}),
        "links": {"host_leaf": counts.host_leaf_links, "leaf_spine": counts.leaf_spine_links, "spine_core": counts.spine_core_links}
        | _some(
            {
                "inter_building": counts.inter_building_links,
                "gateway": counts.gateway_links,
                "wan": counts.wan_links,
                "local": counts.local_links,
                "global": counts.global_links,
            }
        ),
        "oversubscription": {"leaf": counts.oversubscription_leaf, "spine": counts.oversubscription_spine},
        "taper": counts.taper,
        "bisection_bytes_per_second": counts.bisection_bytes_per_second,
        "worst_pod_to_pod_ratio": counts.worst_pod_to_pod_ratio,
        "assumptions": list(cluster.assumptions),
    }


def _some(counts: dict[str, int]) -> dict[str, int]:
    """Tiers that few clusters have, where this one has them."""
    return {tier: count for tier, count in counts.items() if count}


def node_name(cluster: Cluster, node: int) -> str:
    """A stable name of a node of ``cluster.links``: its first host's (``r00012-h03``), its rack's where it is a domain, or ``leaf-00007``.

    Where the graph names hosts and switches, it is theirs. Raises IndexError where there is no such node.
    """
    tiers = cluster.links.node_tier
    if not 0 <= node < len(tiers):
        raise IndexError(f"no node {node}: there are {len(tiers)}")
    tier = int(tiers[node])
    if tier == 0:
        domains, racks = cluster.level("domain").first_host, cluster.level("rack").first_host
        first_host = int(domains[node])
        host = cluster.host_name(first_host)
        if cluster.host_names is not None or cluster.host_types[cluster.block_type[block_of(cluster, first_host)]].domain_hosts == 1:
            return host
        rack = int(racks.searchsorted(domains[node], side="right")) - 1
        return f"r{rack:05d}-d{node - int(domains.searchsorted(racks[rack])):02d}"
    # Nodes are sorted by tier, so a switch's number is its distance from the first of its tier.
    if cluster.switch_names is not None:
        return cluster.switch_names[node - len(cluster.level("domain"))]
    first = int(np.searchsorted(tiers, tier, side="left"))
    return f"{_SWITCH_NAMES[tier]}-{node - first:05d}"


def node_names(cluster: Cluster) -> list[str]:
    """``node_name`` of every node, all at once."""
    links, endpoints = cluster.links, len(cluster.level("domain"))
    hosts = cluster.level("domain").first_host[:-1]
    if cluster.host_names is not None:
        names = [cluster.host_names[host] for host in hosts.tolist()]
    else:
        racks = cluster.level("rack").first_host
        rack = np.searchsorted(racks, hosts, side="right") - 1
        block = np.searchsorted(cluster.block.first_host, hosts, side="right") - 1
        single = np.array([host.domain_hosts == 1 for host in cluster.host_types])[np.asarray(cluster.block_type)[block]]
        place = np.where(single, hosts - racks[rack], np.arange(endpoints) - np.searchsorted(hosts, racks[rack]))
        kind = np.where(single, "h", "d")
        names = [f"r{r:05d}-{k}{p:02d}" for r, k, p in zip(rack.tolist(), kind.tolist(), place.tolist(), strict=True)]
    if cluster.switch_names is not None:
        return names + list(cluster.switch_names)
    tiers = links.node_tier[endpoints:]
    number = np.arange(len(tiers)) - np.searchsorted(tiers, tiers)
    return names + [f"{_SWITCH_NAMES[tier]}-{place:05d}" for tier, place in zip(tiers.tolist(), number.tolist(), strict=True)]


def unit_names(cluster: Cluster, level: str) -> list[str]:
    """Names of a level's units: of hosts and racks their own, of sites theirs, of units of switches that of the one switch that makes them
    (where the file or graph names switches), else level and number: ``leaf-00003``."""
    units = cluster.level(level)
    if level == "host":
        return [cluster.host_name(host) for host in range(cluster.host_count)]
    if level == "rack":
        return [f"r{unit:05d}" for unit in range(len(units))]
    if level == "site" and len(cluster.site_names) > 1:
        return list(cluster.site_names)
    names = [f"{level}-{unit:05d}" for unit in range(len(units))]
    tier = _UNIT_TIERS.get(level, 0)
    if cluster.switch_names is None or not tier:
        return names
    links = cluster.links
    below: Int64 = np.full(len(links.node_tier), cluster.host_count, dtype=np.int64)
    endpoints = int((links.node_tier == 0).sum())
    below[:endpoints] = cluster.level("domain").first_host[:-1]
    for step in np.unique(links.node_tier[links.v]):
        mine = links.node_tier[links.v] == step
        np.minimum.at(below, links.v[mine], below[links.u[mine]])
    nodes = np.flatnonzero(links.node_tier == tier)
    unit_of = np.searchsorted(units.first_host, below[nodes], side="right") - 1
    single = np.bincount(unit_of, minlength=len(units)) == 1
    for node, unit in zip(nodes.tolist(), unit_of.tolist(), strict=True):
        if single[unit]:
            names[unit] = cluster.switch_names[node - endpoints]
    return names


def block_of(cluster: Cluster, host: int) -> int:
    """The block that a host is in."""
    return int(cluster.block.first_host.searchsorted(np.int32(host), side="right")) - 1


def switch_name(cluster: Cluster, node: int, number: int) -> str:
    """A physical switch, ``number`` from 0 in its bank: ``spine-00000/3``; a bank of one by the node's name. Raises IndexError."""
    count = switch_count(cluster, node)
    if not 0 <= number < count:
        raise IndexError(f"no switch {number} in {node_name(cluster, node)}: it has {count}")
    return node_name(cluster, node) if count == 1 else f"{node_name(cluster, node)}/{number}"


def link_name(cluster: Cluster, link: int) -> str:
    """A stable name of a link: its lower and upper node, with the rail where it carries one, e.g. ``r00012-h03:2/leaf-00010``.

    Raises IndexError where there is no such link.
    """
    links = cluster.links
    if not 0 <= link < len(links):
        raise IndexError(f"no link {link}: there are {len(links)}")
    lower, upper = node_name(cluster, int(links.u[link])), node_name(cluster, int(links.v[link]))
    rail = f":{int(links.rail_first[link])}" if TIERS[int(links.tier[link])] == "host_leaf" and links.rails[link] < cluster.rails else ""
    return f"{lower}{rail}/{upper}"


def link_names(cluster: Cluster) -> list[str]:
    """``link_name`` of every link, all at once."""
    links, nodes = cluster.links, node_names(cluster)
    one_rail = (links.tier == TIERS.index("host_leaf")) & (links.rails < cluster.rails)
    rail = np.where(one_rail, links.rail_first, -1)
    return [
        f"{nodes[lower]}:{rail}/{nodes[upper]}" if rail >= 0 else f"{nodes[lower]}/{nodes[upper]}"
        for lower, upper, rail in zip(links.u.tolist(), links.v.tolist(), rail.tolist(), strict=True)
    ]
