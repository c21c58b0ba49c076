"""From what people call a part of the fabric to the cables that go down with it."""

import re

import numpy as np

from emulator.engine.link_health import Cut
from topology.cables import switch_cables
from topology.cluster import Cluster
from topology.describe import link_name, link_names, node_name, node_names, switch_name

#: Parts of the fabric that can fail.
TARGETS = ("link", "cable", "switch", "plane", "nic")
_SWITCH = re.compile(r"(?P<bank>.+?)(?:/(?P<number>\d+))?")
_CABLE = re.compile(r"(?P<link>.+)#(?P<number>\d+)")
_HOST = re.compile(r"r(?P<rack>\d{5,9})-h(?P<place>\d{2,9})", re.ASCII)
_NIC = re.compile(r"(?P<host>.+):(?P<rail>\d+)")


class NoSuchTarget(ValueError):
    """There is none of that name or number; the message says what there is."""


def cable_count(cluster: Cluster) -> int:
    return int(cluster.links.lanes.sum())


def switch_count(cluster: Cluster) -> int:
    return int(cluster.links.switches.sum())


def cuts_of(cluster: Cluster, target: str, name: str, remaining_ratio: float = 0.0) -> tuple[str, tuple[Cut, ...]]:
    """What is meant by ``name`` (a number counts over the cluster, 0 first), and what of the fabric it takes.

    link: ``leaf-00003/spine-00001``; cable: a link's name, ``#`` and its number in the link; switch: ``spine-00001/2``, the number in a
    bank of several; plane: a number; nic: ``r00012-h03:4``, a host and a rail. Raises NoSuchTarget.
    """
    links = cluster.links
    match target:
        case "link":
            link = _link(cluster, name)
            return f"link {link_name(cluster, link)}", (Cut(link, (), remaining_ratio),)
        case "cable":
            link, cable = _cable(cluster, name)
            return f"cable {link_name(cluster, link)}#{cable}", (Cut(link, (cable,), remaining_ratio),)
        case "switch":
            node, number = _switch(cluster, name)
            cuts = tuple(Cut(link, tuple(cables.tolist()), remaining_ratio) for link, cables in switch_cables(cluster, node, number))
            bank = f"/{number}" if links.switches[node] > 1 else ""
            return f"switch {node_name(cluster, node)}{bank}", cuts
        case "plane":
            planes = int(links.plane.max()) + 1
            number = _number(name, planes, "plane")
            return f"plane {number}", tuple(Cut(link, (), remaining_ratio) for link in np.flatnonzero(links.plane == number).tolist())
        case "nic":
            return _nic(cluster, name, remaining_ratio)
    raise NoSuchTarget(f"target is {target!r:.80}; allowed: {', '.join(TARGETS)}")


def whole_number(text: str) -> int:
    """A number as people write it; -1 where it is none, or one that counts nothing (more than 18 digits)."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else -1


def _number(name: str, count: int, kind: str) -> int:
    number = whole_number(name)
    if not 0 <= number < count:
        raise NoSuchTarget(f"no {kind} {name:.80}; allowed: 0 to {count - 1}")
    return number


def _link(cluster: Cluster, name: str) -> int:
    links = cluster.links
    if name.isdecimal():
        return _number(name, len(links), "link")
    if "/" in name:
        names = link_names(cluster)
        if name in names:
            return names.index(name)
    raise NoSuchTarget(f"no link {name:.80}; allowed: 0 to {len(links) - 1} or a name as in `gigawatt link list`")


def _cable(cluster: Cluster, name: str) -> tuple[int, int]:
    lanes = cluster.links.lanes
    if found := _CABLE.fullmatch(name):
        link = _link(cluster, found["link"])
        return link, _number(found["number"], int(lanes[link]), f"cable of link {found['link']}:")
    start = np.concatenate(([0], np.cumsum(lanes, dtype=np.int64)))
    number = _number(name, int(start[-1]), "cable")
    link = int(np.searchsorted(start, number, side="right")) - 1
    return link, number - int(start[link])


def _switch(cluster: Cluster, name: str) -> tuple[int, int]:
    switches = cluster.links.switches
    start = np.concatenate(([0], np.cumsum(switches, dtype=np.int64)))
    if name.isdecimal():
        number = _number(name, int(start[-1]), "switch")
        node = int(np.searchsorted(start, number, side="right")) - 1
        return node, number - int(start[node])
    found = _SWITCH.fullmatch(name)
    nodes = {name: node for node, name in enumerate(node_names(cluster)) if switches[node]} if found else {}
    if found and found["bank"] in nodes:
        node = nodes[found["bank"]]
        if found["number"] is None and switches[node] > 1:
            raise NoSuchTarget(f"{name} is a bank of {switches[node]} switches; allowed: {name}/0 to {name}/{switches[node] - 1}")
        return node, _number(found["number"] or "0", int(switches[node]), f"switch {found['bank']}/")
    last = int(np.flatnonzero(switches)[-1])
    example = switch_name(cluster, last, int(switches[last]) - 1)
    raise NoSuchTarget(f"no switch {name:.80}; allowed: 0 to {int(start[-1]) - 1} or a name like {example}")


def _host(cluster: Cluster, name: str) -> int:
    """The number of a host; -1 where there is none so called."""
    if cluster.host_names is not None:
        return cluster.host_names.index(name) if name in cluster.host_names else -1
    found, racks = _HOST.fullmatch(name), cluster.level("rack").first_host
    if not found or int(found["rack"]) >= len(racks) - 1:
        return -1
    host = int(racks[int(found["rack"])]) + int(found["place"])
    return host if host < cluster.host_count and cluster.host_name(host) == name else -1


def _nic(cluster: Cluster, name: str, remaining_ratio: float) -> tuple[str, tuple[Cut, ...]]:
    links, rails = cluster.links, cluster.rails
    if found := _NIC.fullmatch(name):
        host = _host(cluster, found["host"])
        if host < 0:
            raise NoSuchTarget(f"no host {found['host']:.80}; allowed: a name like {cluster.host_name(0)}")
        rail = _number(found["rail"], rails, f"rail of {found['host']}:")
    else:
        host, rail = divmod(_number(name, cluster.host_count * rails, "nic"), rails)
    first_host = cluster.level("domain").first_host
    domain = int(np.searchsorted(first_host, host, side="right")) - 1
    first, hosts = int(first_host[domain]), int(first_host[domain + 1] - first_host[domain])
    cuts = []
    for link in np.flatnonzero((links.u == domain) & (links.tier == 0)).tolist():
        if links.rail_first[link] <= rail < links.rail_first[link] + links.rails[link]:
            lanes = int(links.lanes[link])
            own = [cable for cable in range(lanes) if cable * hosts // lanes == host - first]
            if links.rails[link] > 1:  # of a link for several rails, the cable of this one
                own = [cable for cable in own if (cable - own[0]) % int(links.rails[link]) == rail - int(links.rail_first[link])] or own
            cuts.append(Cut(link, tuple(own), remaining_ratio))
    return f"NIC {cluster.host_name(host)}:{rail}", tuple(cuts)
