"""A cluster in a few numbers, and what its parts are called (the scheme is in `topology.names`)."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from topology import names
from topology.cables import switch_count
from topology.cluster import TIERS, Cluster, Int64
from topology.hostlist import fold

#: The tier of switches that makes a level's units.
_UNIT_TIERS = {"leaf": 1, "pod": 2, "building": 3, "site": 4}


def describe(cluster: Cluster) -> dict[str, Any]:
    """What `gigawatt topology show -o json` prints: physical counts, and what they assume. ``units`` are those of each level of the
    hierarchy, innermost first: a dragonfly's chassis are its leaf units and its groups its pods. ``links`` are cables, by tier.

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


def trunk_counts(cluster: Cluster) -> dict[str, int]:
    """Trunks by tier: what `gigawatt link list` lists. The cables between the same two nodes are one, and a node may be a bank of equal
    switches, so that there are the fewer the more of a large cluster is drawn together."""
    counts = np.bincount(cluster.links.tier, minlength=len(TIERS)).tolist()
    return _some(dict(zip(TIERS, counts, strict=True)))


def _some(counts: dict[str, int]) -> dict[str, int]:
    """Counts of the tiers that few clusters have, if this one has them."""
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
        return names.domain(rack, node - int(domains.searchsorted(racks[rack])))
    # Nodes are sorted by tier, so a switch's number is its distance from the first of its tier.
    if cluster.switch_names is not None:
        return cluster.switch_names[node - len(cluster.level("domain"))]
    first = int(np.searchsorted(tiers, tier, side="left"))
    return names.switch(tier, node - first)


def node_names(cluster: Cluster) -> list[str]:
    """``node_name`` of every node, all at once."""
    links, endpoints = cluster.links, len(cluster.level("domain"))
    hosts = cluster.level("domain").first_host[:-1]
    if cluster.host_names is not None:
        found = [cluster.host_names[host] for host in hosts.tolist()]
    else:
        racks = cluster.level("rack").first_host
        rack = np.searchsorted(racks, hosts, side="right") - 1
        block = np.searchsorted(cluster.block.first_host, hosts, side="right") - 1
        single = np.array([host.domain_hosts == 1 for host in cluster.host_types])[np.asarray(cluster.block_type)[block]]
        place = np.where(single, hosts - racks[rack], np.arange(endpoints) - np.searchsorted(hosts, racks[rack]))
        found = [
            (names.host if alone else names.domain)(r, p)
            for r, p, alone in zip(rack.tolist(), place.tolist(), single.tolist(), strict=True)
        ]
    if cluster.switch_names is not None:
        return found + list(cluster.switch_names)
    tiers = links.node_tier[endpoints:]
    number = np.arange(len(tiers)) - np.searchsorted(tiers, tiers)
    return found + [names.switch(tier, place) for tier, place in zip(tiers.tolist(), number.tolist(), strict=True)]


def unit_names(cluster: Cluster, level: str) -> list[str]:
    """Names of a level's units: their own, else that of the one switch that makes them, else level and number (``leaf-00003``)."""
    return [name or f"{level}-{unit:05d}" for unit, name in enumerate(_unit_names(cluster, level))]


def unit_name(cluster: Cluster, level: str, unit: int) -> str:
    """As `unit_names`, but a unit without a name of its own is called by its first and its last host."""
    first_host = cluster.level(level).first_host
    first, last = int(first_host[unit]), int(first_host[unit + 1]) - 1
    return _unit_names(cluster, level)[unit] or f"{cluster.host_name(first)} to {cluster.host_name(last)}"


def _unit_names(cluster: Cluster, level: str) -> list[str]:
    """``""`` for a unit that has no name of its own, nor one switch alone."""
    units, links = cluster.level(level), cluster.links
    if level == "rack":
        return [names.rack(unit) for unit in range(len(units))]
    if level == "site" and len(cluster.site_names) > 1:
        return list(cluster.site_names)
    found = [names.pod(unit) if level == "pod" else "" for unit in range(len(units))]
    tier = _UNIT_TIERS.get(level, 0)
    if not tier:
        return found
    below: Int64 = np.full(len(links.node_tier), cluster.host_count, dtype=np.int64)
    endpoints = int((links.node_tier == 0).sum())
    below[:endpoints] = cluster.level("domain").first_host[:-1]
    for step in np.unique(links.node_tier[links.v]):
        mine = links.node_tier[links.v] == step
        np.minimum.at(below, links.v[mine], below[links.u[mine]])
    nodes = np.flatnonzero(links.node_tier == tier)
    unit_of = np.searchsorted(units.first_host, below[nodes], side="right") - 1
    single = np.bincount(unit_of, minlength=len(units)) == 1
    for number, (node, unit) in enumerate(zip(nodes.tolist(), unit_of.tolist(), strict=True)):
        if single[unit] and cluster.switch_names is not None:
            found[unit] = cluster.switch_names[node - endpoints]
        elif single[unit] and level == "leaf":
            found[unit] = names.switch(tier, number)
    return found


def block_of(cluster: Cluster, host: int) -> int:
    """The number of the block that a host is in."""
    return int(cluster.block.first_host.searchsorted(np.int32(host), side="right")) - 1


def site_name(cluster: Cluster, site: int) -> str:
    """A unit of the level site: its own name, that of the only one for all; ``s1`` where the graph names fewer than there are."""
    known = cluster.site_names
    return known[site] if site < len(known) else f"s{site}"


def switch_name(cluster: Cluster, node: int, number: int) -> str:
    """A physical switch, ``number`` from 0 in its bank: ``spine-00000/3``; a bank of one by the node's name. Raises IndexError."""
    count = switch_count(cluster, node)
    if not 0 <= number < count:
        raise IndexError(f"no switch {number} in {node_name(cluster, node)}: it has {count}")
    return node_name(cluster, node) if count == 1 else names.switch_of_bank(node_name(cluster, node), number)


def link_name(cluster: Cluster, link: int) -> str:
    """A stable name of a trunk: its lower and upper node, with the rail where it carries one, e.g. ``r00012-h03:2/leaf-00010``.

    Raises IndexError where there is no such trunk.
    """
    links = cluster.links
    if not 0 <= link < len(links):
        raise IndexError(f"no link {link}: there are {len(links)}")
    one_rail = TIERS[int(links.tier[link])] == "host_leaf" and links.rails[link] < cluster.rails
    rail = int(links.rail_first[link]) if one_rail else -1
    return names.trunk(node_name(cluster, int(links.u[link])), node_name(cluster, int(links.v[link])), rail)


def cable_name(cluster: Cluster, link: int, number: int) -> str:
    """A cable of a trunk: ``leaf-00003/spine-00001#2``. Raises IndexError."""
    if not 0 <= number < cluster.links.lanes[link]:
        raise IndexError(f"no cable {number} in trunk {link_name(cluster, link)}: it has {cluster.links.lanes[link]}")
    return names.cable(link_name(cluster, link), number)


def link_names(cluster: Cluster) -> list[str]:
    """``link_name`` of every trunk, all at once."""
    links, nodes = cluster.links, node_names(cluster)
    one_rail = (links.tier == TIERS.index("host_leaf")) & (links.rails < cluster.rails)
    rails = np.where(one_rail, links.rail_first, -1)
    return [
        names.trunk(nodes[lower], nodes[upper], rail)
        for lower, upper, rail in zip(links.u.tolist(), links.v.tolist(), rails.tolist(), strict=True)
    ]


def hostlist(cluster: Cluster, hosts: Iterable[int]) -> str:
    """Names of hosts in brackets, by number: ``r[00012-00014]-h[00-07],r00015-h03``, or as the graph names them.

    `topology.hostlist.expand` gives the names back. One that no hostlist can hold (with a comma, say) stands as it is.
    """
    numbers = sorted(hosts)
    found = [cluster.host_name(host) for host in numbers]
    try:
        return fold(found)
    except ValueError:
        return ",".join(found)
