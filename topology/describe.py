"""A cluster in a few numbers, and names for its nodes and links."""

from typing import Any

import numpy as np

from topology.cluster import TIERS, Cluster

#: What a switch is called, by ``Links.node_tier``.
_SWITCH_NAMES = ("", "leaf", "spine", "core", "inter-building")


def describe(cluster: Cluster) -> dict[str, Any]:
    """What `gigawatt topology show -o json` prints: physical counts, and what they assume.

    Oversubscription compares bandwidth down to bandwidth up at the worst switch of a tier, at least 1. Bisection is half of the thinnest
    tier, one direction. ``worst_pod_to_pod_ratio`` is the bandwidth between the two worst-placed pods (leaves, where there is one pod) over
    the smaller one's uplinks, given how these are striped over the switches above.
    """
    counts = cluster.counts
    return {
        "gpus": counts.gpus,
        "hosts": counts.hosts,
        "racks": counts.racks,
        "domains": counts.domains,
        "switches": {"leaf": counts.leaf, "spine": counts.spine, "core": counts.core},
        "links": {
            "host_leaf": counts.host_leaf_links,
            "leaf_spine": counts.leaf_spine_links,
            "spine_core": counts.spine_core_links,
        },
        "oversubscription": {"leaf": counts.oversubscription_leaf, "spine": counts.oversubscription_spine},
        "bisection_bytes_per_second": counts.bisection_bytes_per_second,
        "worst_pod_to_pod_ratio": counts.worst_pod_to_pod_ratio,
        "assumptions": list(cluster.assumptions),
    }


def node_name(cluster: Cluster, node: int) -> str:
    """A stable name of a node of ``cluster.links``: its first host's (``r00012-h03``), its rack's where it is a domain, or ``leaf-00007``.

    Raises IndexError where there is no such node.
    """
    tiers = cluster.links.node_tier
    if not 0 <= node < len(tiers):
        raise IndexError(f"no node {node}: there are {len(tiers)}")
    tier = int(tiers[node])
    if tier == 0:
        host = cluster.host_name(int(cluster.level("domain").first_host[node]))
        if cluster.host_type.domain_hosts == 1:
            return host
        rack, _, place = host.partition("-h")
        return f"{rack}-d{int(place) // cluster.host_type.domain_hosts:02d}"
    # Nodes are sorted by tier, so a switch's number is its distance from the first of its tier.
    first = int(np.searchsorted(tiers, tier, side="left"))
    return f"{_SWITCH_NAMES[tier]}-{node - first:05d}"


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
