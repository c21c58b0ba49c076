"""Physical counts and ratios of a compiled cluster, whatever was aggregated in its graph."""

from math import fsum

import numpy as np

from topology.cluster import TIERS, Counts, Level, Links, Peers
from topology.vocabulary import NODE_TIERS

_GLOBAL, _WAN = TIERS.index("global"), TIERS.index("wan")


def count(gpus: int, levels: tuple[Level, ...], links: Links, peers: tuple[Peers, ...], worst_pod_to_pod_ratio: float) -> Counts:
    """The counts. Oversubscription is the worst switch's: bandwidth down over bandwidth up, 1 where it has more up than down.

    Bisection, one direction, is half of the thinnest tier that joins several units; of links between peers, which are taken to join every
    two units alike, those that cross an even cut; 0 between islands.
    Taper is the worst group's injection over its global bandwidth (Kim et al., ISCA'08).
    """
    switches = np.bincount(links.node_tier, weights=links.switches, minlength=len(NODE_TIERS)).astype(int)
    lanes = np.bincount(links.tier, weights=links.lanes, minlength=len(TIERS)).astype(int)
    capacity = np.bincount(links.tier, weights=links.bytes_per_second, minlength=len(TIERS))
    up_links = links.node_tier[links.u] < links.node_tier[links.v]
    size = len(links.switches)
    fabric = up_links & (links.tier != _WAN)
    down = np.bincount(links.v[fabric], weights=links.bytes_per_second[fabric], minlength=size)
    up = np.bincount(links.u[fabric], weights=links.bytes_per_second[fabric], minlength=size)
    dragonfly = np.zeros(size, dtype=bool)  # its switches have peers rather than an upper tier
    dragonfly[links.u[~up_links]] = dragonfly[links.v[~up_links]] = True

    def oversubscription(tier: int) -> float:
        mine = (links.node_tier == tier) & (up > 0) & ~dragonfly
        return float(max(1.0, (down[mine] / up[mine]).max())) if mine.any() else 1.0

    units = {level.name: len(level) for level in levels}
    between = {peer.level: peer for peer in peers if (peer.unit_u != peer.unit_v).any()}
    gateway_lanes = int(links.lanes[(links.tier == _WAN) & up_links].sum())
    gateway_capacity = fsum(links.bytes_per_second[(links.tier == _WAN) & up_links])
    cuts = [capacity[0] / 2]
    cuts += [capacity[1] / 2] if capacity[1] > 0 and units["leaf"] > 1 else []
    cuts += [capacity[2] / 2] if capacity[2] > 0 and units["pod"] > 1 else []
    cuts += [capacity[3] / 2] if units.get("building", 1) > 1 else []
    cuts += [_even_cut(links, between["pod"])] if "pod" in between else []
    cuts += [gateway_capacity / 2, _even_cut(links, between["site"])] if "site" in between else [0.0] if units["site"] > 1 else []
    hosts = int(levels[0].first_host[-1])
    return Counts(
        gpus=gpus,
        hosts=hosts,
        racks=units["rack"],
        domains=units["domain"],
        leaf=int(switches[1]),
        spine=int(switches[2]),
        core=int(switches[3]),
        host_leaf_links=int(lanes[0]),
        leaf_spine_links=int(lanes[1]),
        spine_core_links=int(lanes[2]),
        oversubscription_leaf=oversubscription(1),
        oversubscription_spine=oversubscription(2),
        bisection_bytes_per_second=float(min(cuts)),
        worst_pod_to_pod_ratio=worst_pod_to_pod_ratio,
        inter_building=int(switches[4]),
        wan=int(switches[5]),
        inter_building_links=int(lanes[3]),
        gateway_links=gateway_lanes,
        wan_links=int(lanes[_WAN]) - gateway_lanes,
        local_links=int(lanes[TIERS.index("local")]),
        global_links=int(lanes[_GLOBAL]),
        taper=_taper(levels, links, between["pod"]) if "pod" in between else None,
    )


def _even_cut(links: Links, peers: Peers) -> float:
    """Bytes/s of the links between two halves of the units, of n (n - 1) / 2 pairs of units as many as are cut: floor(n^2 / 4)."""
    apart = peers.unit_u != peers.unit_v
    units = len(np.unique(np.concatenate((peers.unit_u[apart], peers.unit_v[apart]))))
    return fsum(links.bytes_per_second[peers.links[apart]]) * (units**2 // 4) / (units * (units - 1) / 2)


def _taper(levels: tuple[Level, ...], links: Links, peers: Peers) -> float | None:
    """The worst group's bandwidth from its hosts over that to other groups; None where no group with hosts is joined to another."""
    groups = {level.name: level for level in levels}["pod"]
    domain = {level.name: level for level in levels}["domain"]
    below = links.node_tier[links.u] == 0
    group = groups.host_unit[domain.first_host[links.u[below]]]
    into = np.bincount(group, weights=links.bytes_per_second[below], minlength=len(groups))
    out = np.zeros(len(groups))
    for unit in (peers.unit_u, peers.unit_v):
        hosted = (unit < len(groups)) & (peers.unit_u != peers.unit_v)
        out += np.bincount(unit[hosted], weights=links.bytes_per_second[peers.links][hosted], minlength=len(groups))
    joined = out > 0
    return float((into[joined] / out[joined]).max()) if joined.any() else None
