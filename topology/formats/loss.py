"""What a file format leaves out of a cluster, in sentences."""

from enum import Enum

import numpy as np

from topology.cluster import TIERS, Cluster


class Holds(Enum):
    """How much of a cluster a format can represent."""

    GRAPH = "the whole graph"
    TREE = "hosts and the units that switches make of them"
    TREE_AND_DOMAINS = "the same, and scale-up domains"
    BLOCKS = "hosts, and one level of units"


def not_held(cluster: Cluster, holds: Holds) -> list[str]:
    """One sentence for each thing that a file in this format leaves out; none if it holds everything."""
    if holds is Holds.GRAPH:
        return []
    links = cluster.links
    several = len(cluster.level("domain")) < cluster.host_count
    hosts = ", ".join(f"{count} {host.name}" for count, host in zip(cluster.type_hosts, cluster.host_types, strict=True))
    sentences = [f"Types of hosts ({hosts}) with their GPUs, NICs and power."]
    if len(cluster.host_types) > 1:
        sentences.append(f"Which hosts are of which of the {len(cluster.host_types)} types: one type is assumed for all when it is read.")
    sentences.append(f"Racks: which hosts share one of the {len(cluster.level('rack'))}.")
    switches = int(links.switches.sum())
    sentences.append(
        f"Physical switches ({switches}) and cables ({int(links.lanes.sum())}): a unit is one switch, without ports and speeds."
    )
    if cluster.rails > 1:
        sentences.append(f"Rails: which of the {cluster.rails} rails a leaf switch carries.")
    counts = cluster.counts
    if max(counts.oversubscription_leaf, counts.oversubscription_spine) > 1:
        sentences.append(f"Oversubscription: leaf {counts.oversubscription_leaf:g}, spine {counts.oversubscription_spine:g}.")
    if len(set(links.plane.tolist())) > 1:
        sentences.append(f"Planes: that the fabric is {len(np.unique(links.plane))} networks that meet in the hosts or over the WAN only.")
    tiers = [tier for tier in ("local", "global", "wan") if (links.tier == TIERS.index(tier)).any()]
    if "global" in tiers:
        sentences.append("The dragonfly's links between switches and between groups: what is left is a tree of switches and groups.")
    if "wan" in tiers:
        sentences.append(f"The WAN between {len(cluster.site_names)} sites, its distances and its bandwidths.")
        if any(level.name == "building" for level in cluster.levels):
            sentences.append("Buildings of a site: four tiers are all that can be read again, and sites have one.")
    if several and holds is Holds.TREE:
        sentences.append("Scale-up domains: which hosts share one.")
    if holds is Holds.BLOCKS:
        what = "leaf units, pods and what is above" if several else "pods and what is above"
        sentences.append(f"Everything above blocks: {what}.")
    return sentences
