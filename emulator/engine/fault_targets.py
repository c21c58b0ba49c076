"""From the name of a part of the fabric to the cables that go down with it."""

import numpy as np

from emulator.engine.link_health import Cut
from topology.cables import switch_cables
from topology.cluster import Cluster
from topology.describe import cable_name, link_name, switch_name
from topology.lookup import UnknownName, find_cable, find_nic, find_plane, find_switch, find_trunk
from topology.names import nic, parse_numbered, whole_number

#: Parts of the fabric that can fail. A link is a trunk, or one cable if the name is a cable's.
TARGETS = ("link", "trunk", "cable", "switch", "plane", "nic")


def switch_count(cluster: Cluster) -> int:
    """Physical switches of the whole cluster; a bank of equal ones counts as all of them."""
    return int(cluster.links.switches.sum())


def cuts_of(cluster: Cluster, target: str, name: str, remaining_ratio: float = 0.0) -> tuple[str, tuple[Cut, ...]]:
    """The part of the fabric that ``name`` names (names and numbers as in `topology.lookup`), in words, and the cuts that its fault makes.

    Raises UnknownName.
    """
    match target:
        case "trunk":
            return _trunk(cluster, find_trunk(cluster, name), remaining_ratio)
        case "link":
            try:
                return _trunk(cluster, find_trunk(cluster, name, "link"), remaining_ratio)
            except UnknownName:
                numbered = parse_numbered(name, "#")
                if numbered is None or whole_number(numbered[0]) >= 0:
                    raise
                return cuts_of(cluster, "cable", name, remaining_ratio)
        case "cable":
            link, cable = find_cable(cluster, name)
            return f"cable {cable_name(cluster, link, cable)}", cable_cuts(link, cable, remaining_ratio)
        case "switch":
            node, number = find_switch(cluster, name)
            return f"switch {switch_name(cluster, node, number)}", switch_cuts(cluster, node, number, remaining_ratio)
        case "plane":
            number = find_plane(cluster, name)
            cut = np.flatnonzero(cluster.links.plane == number).tolist()
            return f"plane {number}", tuple(Cut(link, (), remaining_ratio) for link in cut)
        case "nic":
            host, rail = find_nic(cluster, name)
            cuts = _nic_cuts(cluster, host, rail, remaining_ratio)
            if not cuts:
                raise UnknownName(
                    f"host {cluster.host_name(host)} has no NIC on rail {rail}", "a rail that `gigawatt link list` shows for it"
                )
            return f"NIC {nic(cluster.host_name(host), rail)}", cuts
    raise UnknownName(f"target is {target!r:.80}", ", ".join(TARGETS))


def _trunk(cluster: Cluster, link: int, remaining_ratio: float) -> tuple[str, tuple[Cut, ...]]:
    return f"trunk {link_name(cluster, link)}", (Cut(link, (), remaining_ratio),)


def cable_cuts(link: int, cable: int, remaining_ratio: float = 0.0) -> tuple[Cut, ...]:
    """One cable of a trunk."""
    return (Cut(link, (cable,), remaining_ratio),)


def switch_cuts(cluster: Cluster, node: int, number: int, remaining_ratio: float = 0.0) -> tuple[Cut, ...]:
    """All cables of a physical switch, ``number`` in its bank."""
    return tuple(Cut(link, tuple(cables.tolist()), remaining_ratio) for link, cables in switch_cables(cluster, node, number))


def _nic_cuts(cluster: Cluster, host: int, rail: int, remaining_ratio: float) -> tuple[Cut, ...]:
    """The cables of one host on one rail."""
    links, first_host = cluster.links, cluster.level("domain").first_host
    domain = int(np.searchsorted(first_host, host, side="right")) - 1
    first, hosts = int(first_host[domain]), int(first_host[domain + 1] - first_host[domain])
    cuts = []
    for link in np.flatnonzero((links.u == domain) & (links.tier == 0)).tolist():
        if links.rail_first[link] <= rail < links.rail_first[link] + links.rails[link]:
            lanes = int(links.lanes[link])
            own = [cable for cable in range(lanes) if cable * hosts // lanes == host - first]
            if own and links.rails[link] > 1:  # of a trunk for several rails, the cable of this one
                own = [cable for cable in own if (cable - own[0]) % int(links.rails[link]) == rail - int(links.rail_first[link])] or own
            if own:
                cuts.append(Cut(link, tuple(own), remaining_ratio))
    return tuple(cuts)
