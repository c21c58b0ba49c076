"""From a graph in the vocabulary of `topology.vocabulary` to the arrays of `topology.cluster`.

The hierarchy is read off the graph and needs no attribute: a *leaf* unit is a connected component of endpoints and leaves, a *pod* one of
these and spines, a *building* one of these and cores, a *site* one of these and inter-building switches; gateways join sites. Of a
dragonfly the leaf unit is a chassis, local links make the group a pod, and global links make the groups a building. Endpoints are
renumbered so that the hosts of every unit are consecutive, and otherwise keep the graph's order.
"""

from collections import Counter
from dataclasses import replace

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from topology import names
from topology.cluster import BLOCK_HOSTS, TIERS, Cluster, Int32, Int64, Level, Links, Peers
from topology.counts import count
from topology.vocabulary import LEAF, NODE_TIERS, WAN, Edges, Nodes, TopologyError, read

_BUILDING, _SITE = NODE_TIERS.index("core"), NODE_TIERS.index("inter_building")
#: (level, link tier, how far its units are joined): what joins the units of a level to each other.
_PEERS = (("leaf", "local", LEAF), ("pod", "global", LEAF + 1), ("site", "wan", WAN))


def compile_cluster(graph: nx.Graph) -> Cluster:
    """The arrays of a graph. Raises TopologyError naming the node, edge or attribute at fault."""
    nodes, edges = read(graph)
    ratio, assumptions = graph.graph.get("worst_pod_to_pod_ratio", 1.0), graph.graph.get("assumptions", ())
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
        raise TopologyError(f"the graph's worst_pod_to_pod_ratio is {ratio!r}; allowed: 0 to 1")
    if not isinstance(assumptions, list | tuple):
        raise TopologyError(f"the graph's assumptions are {assumptions!r}; allowed: a list of sentences")
    islands = graph.graph.get("islands")
    if islands not in (None, "apart"):
        raise TopologyError(f"the graph's attribute islands is {islands!r}; allowed: apart, or no such attribute")
    labels = _labels(nodes, edges, apart=islands is not None)
    endpoints = nodes.endpoints
    permutation = _order(nodes, labels)
    order = permutation[:endpoints]
    place = np.empty(endpoints + 1, dtype=np.int64)
    place[order] = np.arange(endpoints)
    place[endpoints] = endpoints
    tier = nodes.tier[permutation]
    links = _links(nodes, edges, permutation)
    # A unit is named by its first endpoint, in the new order (which is its lowest in the old one too); what has no endpoint is in none.
    unit_labels = [place[np.minimum(label[permutation], endpoints)] for label in labels]
    offsets = [np.append(np.flatnonzero(label[:endpoints] == np.arange(endpoints)), endpoints) for label in unit_labels]  # in endpoints
    host_type, numbered = _numbered_types(nodes, order)
    hosts_per_rack = nodes.hosts_per_rack[order]
    _check_leaf_units(nodes, order, offsets[LEAF], host_type, hosts_per_rack)
    domain_hosts = np.array([nodes.host_types[kind].domain_hosts for kind in numbered])[host_type]
    first_host = np.concatenate(([0], np.cumsum(nodes.hosts[order])))

    def level(name: str, top: int) -> Level:
        """The units that are connected through tiers up to ``top``."""
        leaving = np.flatnonzero((tier[links.u] <= top) & (tier[links.v] > top) & (unit_labels[top][links.u] < endpoints))
        unit = np.searchsorted(offsets[top], unit_labels[top][links.u[leaving]])
        by_unit = np.argsort(unit, kind="stable")
        start = np.concatenate(([0], np.cumsum(np.bincount(unit, minlength=len(offsets[top]) - 1))))
        return Level(name, first_host[offsets[top]].astype(np.int32), start.astype(np.int32), leaving[by_unit].astype(np.int32))

    leaf = offsets[LEAF]
    rack = _racks(nodes, offsets, hosts_per_rack // domain_hosts)
    domain = level("domain", 0)
    host = replace(domain, name="host") if (domain_hosts == 1).all() else _bare("host", np.arange(first_host[-1] + 1))
    buildings = [level("building", _BUILDING)] if (tier == _SITE).any() else []
    racks, leaves = _bare("rack", first_host[rack]), level("leaf", LEAF)
    inner = (racks, leaves) if len(racks) >= len(leaves) else (leaves, racks)
    levels = (host, domain, *inner, level("pod", LEAF + 1), *buildings, level("site", _SITE))
    block = _blocks(leaf, rack, hosts_per_rack, domain_hosts)
    peers = _peers(links, [label[permutation] for label in labels], unit_labels, offsets)
    host_types = tuple(nodes.host_types[kind] for kind in numbered)
    gpus = int((nodes.hosts[order] * np.array([host.gpus for host in host_types])[host_type]).sum())
    return Cluster(
        name=str(graph.graph.get("name", "cluster")),
        host_types=host_types,
        block_type=host_type[block[:-1]].astype(np.int8),
        host_count=int(first_host[-1]),
        levels=levels,
        block=_bare("block", first_host[block]),
        links=links,
        counts=count(gpus, levels, links, peers, float(ratio)),
        rails=int((edges.rail + edges.rails).max()),
        site_names=_site_names(nodes, order, labels, offsets[_SITE]),
        assumptions=tuple(map(str, assumptions)),
        peers=peers,
        host_names=_host_names(graph, nodes, order, first_host, racks),
        switch_names=tuple(str(nodes.names[at]) for at in permutation[endpoints:]) if graph.graph.get("names") == "given" else None,
    )


def _labels(nodes: Nodes, edges: Edges, *, apart: bool) -> list[Int64]:
    """By tier, for each node the lowest node connected to it through that tier and those below; the last is all that is connected.

    ``apart``: it may be in several parts, islands, if there is no WAN.
    """
    labels = [np.arange(len(nodes.tier))]
    for top in range(1, len(NODE_TIERS) + 1):
        joined = edges.join <= top
        labels.append(_components(labels[-1], edges.u[joined], edges.v[joined]))
        # A switch of a dragonfly may have no hosts.
        stray = np.flatnonzero((nodes.tier == top) & (nodes.group < 0) & (labels[top] >= nodes.endpoints))
        if len(stray):
            raise TopologyError(f"switch {nodes.names[stray[0]]} has no endpoint below it")
    beyond = np.flatnonzero(labels[-1])
    if len(beyond) and apart and (nodes.tier == WAN).any():
        raise TopologyError("the graph has islands=apart, but also gateways, which would join the islands")
    if len(beyond) and not apart:
        raise TopologyError(f"the graph is not connected: there is no path between {nodes.names[0]} and {nodes.names[beyond[0]]}")
    astray = np.flatnonzero(labels[WAN][: nodes.endpoints] != labels[_SITE][: nodes.endpoints])
    if len(astray):
        first = labels[WAN][astray[0]]
        gateway = np.flatnonzero((nodes.tier == WAN) & (labels[WAN] == first))[0]
        raise TopologyError(
            f"gateway {nodes.names[gateway]} joins two fabrics, of {nodes.names[first]} and {nodes.names[astray[0]]}; "
            "allowed: a switch of tier inter_building between fabrics of a site, a link between gateways for two sites"
        )
    return labels


def _components(label: Int64, u: Int64, v: Int64) -> Int64:
    """Lowest node of every node's component, from those of a subgraph: hook the higher root to the lower, then halve the paths."""
    label = label.copy()
    while True:
        low, high = np.minimum(label[u], label[v]), np.maximum(label[u], label[v])
        if (low == high).all():
            return label
        np.minimum.at(label, high, low)
        while (label[label] != label).any():
            label = label[label]


def _order(nodes: Nodes, labels: list[Int64]) -> Int64:
    """Nodes in their new order: endpoints by unit; switches by tier, then by the first endpoint below (so that the n-th bank of a tier is
    above its n-th unit), those without hosts last."""
    endpoints = nodes.endpoints
    order = np.lexsort((np.arange(endpoints), *(label[:endpoints] for label in labels[1:])))
    place = np.append(np.argsort(order, kind="stable"), endpoints)
    placed = [place[np.minimum(label[endpoints:], endpoints)] for label in labels]
    tier = nodes.tier[endpoints:]
    switches = np.lexsort((*placed[LEAF + 1 :], np.choose(tier, placed), tier))
    return np.concatenate((order, endpoints + switches))


def _links(nodes: Nodes, edges: Edges, permutation: Int64) -> Links:
    number = np.argsort(permutation, kind="stable")
    u, v = number[edges.u], number[edges.v]
    same = nodes.tier[edges.u] == nodes.tier[edges.v]
    u, v = np.where(same, np.minimum(u, v), u), np.where(same, np.maximum(u, v), v)
    by_place = np.lexsort((v, edges.rail, u, edges.tier))
    u, v, lanes, tier = u[by_place], v[by_place], edges.lanes[by_place], edges.tier[by_place]
    node_tier = nodes.tier[permutation]
    return Links(
        u=u.astype(np.int32),
        v=v.astype(np.int32),
        lanes=lanes.astype(np.int32),
        bytes_per_second=lanes * edges.speed[by_place],
        tier=tier.astype(np.int8),
        rail_first=edges.rail[by_place].astype(np.int16),
        rails=edges.rails[by_place].astype(np.int16),
        plane=_planes(u, v, node_tier),
        switches=nodes.switches[permutation].astype(np.int32),
        node_tier=node_tier.astype(np.int8),
        switch_watts=nodes.switch_watts[permutation],
        latency_seconds=edges.latency[by_place],
    )


def _planes(u: Int64, v: Int64, tier: Int64) -> Int32:
    """By link, the connected component of the fabric without its endpoints and without the links between gateways, which come last."""
    wan = tier[u] == WAN
    trunk = (tier[u] > 0) & ~wan
    component = _components(np.arange(len(tier)), u[trunk], v[trunk])[v]
    component[wan] = len(tier)
    return np.unique(component, return_inverse=True)[1].reshape(-1).astype(np.int32)


def _numbered_types(nodes: Nodes, order: Int64) -> tuple[Int64, list[int]]:
    """The type of every endpoint, numbered in the endpoints' new order, and what number of ``nodes.host_types`` each was."""
    found, first = np.unique(nodes.host_type[order], return_index=True)
    numbered = found[np.argsort(first, kind="stable")]
    number = np.zeros(len(nodes.host_types), dtype=np.int64)
    number[numbered] = np.arange(len(numbered))
    return number[nodes.host_type[order]], numbered.tolist()


def _check_leaf_units(nodes: Nodes, order: Int64, leaf: Int64, host_type: Int64, hosts_per_rack: Int64) -> None:
    """A leaf unit has hosts of one type, in racks of one size."""
    first = np.repeat(leaf[:-1], np.diff(leaf))
    for column, what in ((host_type, "types of hosts"), (hosts_per_rack, "hosts_per_rack")):
        odd = np.flatnonzero(column != column[first])
        if len(odd):
            one, other = nodes.names[order[first[odd[0]]]], nodes.names[order[odd[0]]]
            raise TopologyError(f"{one} and {other} share leaf switches, but differ in their {what}: put each under its own leaves")


def _racks(nodes: Nodes, offsets: list[Int64], size: Int64) -> Int64:
    """Offsets of racks of at most ``size`` endpoints: parts of a leaf unit or, in a cluster of nothing but dragonflies whose racks are
    larger, whole chassis of a group."""
    leaf, pod = offsets[LEAF], offsets[LEAF + 1]
    largest = np.maximum.reduceat(np.diff(leaf), np.searchsorted(leaf, pod[:-1]))  # chassis of each group
    chassis = size[pod[:-1]] // largest
    if (nodes.group[nodes.tier == LEAF] >= 0).all() and (chassis >= 1).all():
        return leaf[_chunks(np.searchsorted(leaf, pod), chassis)]
    return _chunks(leaf, size[leaf[:-1]])


def _chunks(offsets: Int64, size: Int64) -> Int64:
    """Offsets of chunks of at most ``size[i]`` of unit i, which never straddle a unit."""
    counts = -(-np.diff(offsets) // size)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.append(np.repeat(offsets[:-1], counts) + within * np.repeat(size, counts), offsets[-1])


def _blocks(leaf: Int64, rack: Int64, hosts_per_rack: Int64, domain_hosts: Int64) -> Int64:
    """Domains; of single hosts whole racks while they fit a block, else parts of one rack: a shard then ends with a rack and with a block.

    All arguments and the result are in endpoints.
    """
    large = (hosts_per_rack > BLOCK_HOSTS) & (domain_hosts == 1)
    base = np.union1d(leaf, rack[:-1][large[rack[:-1]]])
    whole_racks = BLOCK_HOSTS // np.minimum(hosts_per_rack, BLOCK_HOSTS) * hosts_per_rack
    size = np.where(domain_hosts > 1, 1, np.where(large, BLOCK_HOSTS, whole_racks))
    return _chunks(base, size[base[:-1]])


def _peers(links: Links, labels: list[Int64], unit_labels: list[Int64], offsets: list[Int64]) -> tuple[Peers, ...]:
    """The links between units of one level. ``labels`` name units by nodes of the graph: also those without an endpoint."""
    found = []
    for name, tier, joined in _PEERS:
        ids = np.flatnonzero((links.tier == TIERS.index(tier)) & (links.node_tier[links.u] == links.node_tier[links.v]))
        if not len(ids):
            continue
        units = len(offsets[joined]) - 1
        unit = np.searchsorted(offsets[joined], unit_labels[joined])
        bare = np.flatnonzero((unit_labels[joined] == len(links.switches) - np.count_nonzero(links.switches)) & (links.switches > 0))
        if len(bare):
            _, first, inverse = np.unique(labels[joined][bare], return_index=True, return_inverse=True)
            unit[bare] = units + np.argsort(np.argsort(first, kind="stable"), kind="stable")[inverse.reshape(-1)]
        found.append(Peers(name, ids.astype(np.int32), unit[links.u[ids]].astype(np.int32), unit[links.v[ids]].astype(np.int32)))
    return tuple(found)


def _site_names(nodes: Nodes, order: Int64, labels: list[Int64], site: Int64) -> tuple[str, ...]:
    """Names by site unit."""
    said = nodes.site[: nodes.endpoints][order]
    first = np.repeat(said[site[:-1]], np.diff(site))
    odd = np.flatnonzero(said != first)
    if len(odd):
        one, other = nodes.site_names[first[odd[0]]], nodes.site_names[said[odd[0]]]
        raise TopologyError(
            f"{nodes.names[order[odd[0]]]} is at site {other}, but its fabric belongs to site {one}; allowed: only gateways join sites",
            "site",
        )
    names = tuple(nodes.site_names[at] for at in said[site[:-1]])
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TopologyError(f"site {twice[0]} has parts that {'only the WAN' if (nodes.tier == WAN).any() else 'nothing'} joins", "site")
    by_label = dict(zip(order[site[:-1]].tolist(), names, strict=True))
    for gateway in np.flatnonzero((nodes.tier == WAN) & (nodes.site >= 0)):
        name, fabric = nodes.site_names[nodes.site[gateway]], by_label[int(labels[WAN][gateway])]
        if name != fabric:
            raise TopologyError(f"gateway {nodes.names[gateway]} of site {name} is joined to the fabric of site {fabric}", "site")
    return names


def _host_names(graph: nx.Graph, nodes: Nodes, order: Int64, first_host: Int64, rack: Level) -> tuple[str, ...] | None:
    """Names by host, where the graph names any: those that it does not name are called by rack and place."""
    given = graph.graph.get("names") == "given"
    if nodes.host_names is None and not given:
        return None
    found: list[str] = []
    for at, first, end in zip(order.tolist(), first_host[:-1].tolist(), first_host[1:].tolist(), strict=True):
        listed = nodes.host_names[at] if nodes.host_names is not None else None
        if listed is not None:
            found += listed
        elif given and end == first + 1:
            found.append(str(nodes.names[at]))
        else:
            racks = rack.host_unit[first:end].tolist()
            found += [names.host(unit, host - int(rack.first_host[unit])) for host, unit in enumerate(racks, first)]
    if len(set(found)) < len(found):
        twice = next(name for name, times in Counter(found).items() if times > 1)
        raise TopologyError(f"host {twice} is in the graph twice")
    return tuple(found)


def _bare(name: str, first_host: NDArray[np.int64]) -> Level:
    """A level without switches of its own."""
    return Level(name, first_host.astype(np.int32), np.zeros(len(first_host), dtype=np.int32), np.empty(0, dtype=np.int32))
