"""A graph in the vocabulary of `topology.clos` in, the arrays of `topology.cluster` out.

The hierarchy is read off the graph and needs no attribute: a *leaf* unit is a connected component of endpoints and leaves, a *pod* one of
these and spines, a *building* one of these and cores. Endpoints are renumbered so that the hosts of every unit are consecutive, and
otherwise keep the graph's order.
"""

from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from topology import catalog
from topology.catalog import HostType, SwitchType, UnknownHardware
from topology.clos import TopologyError
from topology.cluster import BLOCK_HOSTS, TIERS, Cluster, Counts, Int64, Level, Links

#: Node tiers in the order of ``Links.node_tier``; an edge is of the link tier below its upper node's.
NODE_TIERS = ("endpoint", "leaf", "spine", "core", "inter_building")
#: Length of one cable by link tier, as in `topology.cluster.TIERS`; assumed: within a row, a hall, a building, a campus, a region.
CABLE_METRES = (5.0, 30.0, 100.0, 1000.0, 100_000.0)
#: Light in fibre, one way: 4.9 to 5 us/km.
FIBRE_SECONDS_PER_METRE = 5e-9

Arrays = dict[str, NDArray[Any]]


def compile_cluster(graph: nx.Graph) -> Cluster:
    """The arrays of a graph. Raises TopologyError naming the node, edge or attribute at fault."""
    host_type, switch_type = _hardware(graph)
    hosts_per_rack = _whole(graph.graph.get("hosts_per_rack"), "the graph's hosts_per_rack")
    if hosts_per_rack % host_type.domain_hosts:
        raise TopologyError(f"hosts_per_rack is {hosts_per_rack}, not whole domains of {host_type.domain_hosts}", "hosts_per_rack")
    names, tier, switches, endpoint_hosts = _nodes(graph, host_type)
    edges = _edges(graph, names, tier, host_type, switch_type)
    endpoints = len(endpoint_hosts)
    labels = _labels(names, tier, edges)

    order = np.lexsort((np.arange(endpoints), *(label[:endpoints] for label in labels[1:])))
    place = np.empty(endpoints, dtype=np.int64)
    place[order] = np.arange(endpoints)
    # A unit is named by its first endpoint in the new order (which is its lowest in the old one); nodes above the tier are in none.
    labels = [np.append(place, endpoints)[np.minimum(label, endpoints)] for label in labels]
    # Switches by tier, then by the first endpoint below, so that the n-th bank of a tier is above its n-th unit.
    below = np.choose(tier, labels)[endpoints:]
    permutation = np.concatenate((order, endpoints + np.lexsort((below, tier[endpoints:]))))
    number = np.empty(len(tier), dtype=np.int64)
    number[permutation] = np.arange(len(tier))
    edges["u"], edges["v"] = number[edges["u"]], number[edges["v"]]
    by_place = np.lexsort((edges["v"], edges["rail"], edges["u"], edges["tier"]))
    edges = {name: column[by_place] for name, column in edges.items()}
    tier, switches, endpoint_hosts = tier[permutation], switches[permutation], endpoint_hosts[order]
    labels = [label[permutation] for label in labels]
    offsets = [np.append(np.flatnonzero(label[:endpoints] == np.arange(endpoints)), endpoints) for label in labels]  # in endpoints

    rack = _chunks(offsets[1], hosts_per_rack // host_type.domain_hosts)
    links = Links(
        u=edges["u"].astype(np.int32),
        v=edges["v"].astype(np.int32),
        lanes=edges["lanes"].astype(np.int32),
        bytes_per_second=edges["lanes"] * edges["speed"],
        tier=edges["tier"].astype(np.int8),
        rail_first=edges["rail"].astype(np.int16),
        rails=edges["rails"].astype(np.int16),
        plane=_planes(tier, edges),
        switches=switches.astype(np.int32),
        node_tier=tier.astype(np.int8),
        latency_seconds=edges["latency"],
    )
    first_host = np.concatenate(([0], np.cumsum(endpoint_hosts)))

    def level(name: str, top: int) -> Level:
        """The units that are connected through tiers up to ``top``."""
        leaving = np.flatnonzero((tier[links.u] <= top) & (tier[links.v] > top))
        unit = np.searchsorted(offsets[top], labels[top][links.u[leaving]])
        by_unit = np.argsort(unit, kind="stable")
        start = np.concatenate(([0], np.cumsum(np.bincount(unit, minlength=len(offsets[top]) - 1))))
        return Level(name, first_host[offsets[top]].astype(np.int32), start.astype(np.int32), leaving[by_unit].astype(np.int32))

    domain = level("domain", 0)
    host = Level("host", domain.first_host, domain.uplink_start, domain.uplinks)
    if host_type.domain_hosts > 1:
        host = _bare("host", np.arange(first_host[-1] + 1))
    buildings = [level("building", 3)] if (tier == 4).any() else []
    levels = (host, domain, _bare("rack", first_host[rack]), level("leaf", 1), level("pod", 2), *buildings, level("site", 4))
    block = np.arange(endpoints + 1) if host_type.domain_hosts > 1 else _block_offsets(offsets[1], rack, hosts_per_rack)
    return Cluster(
        name=str(graph.graph.get("name", "cluster")),
        host_types=(host_type,),
        block_type=np.zeros(len(block) - 1, dtype=np.int8),
        host_count=int(first_host[-1]),
        levels=levels,
        block=_bare("block", first_host[block]),
        links=links,
        counts=_counts(graph, host_type, levels, links, endpoints),
        rails=int((edges["rail"] + edges["rails"]).max()),
        site_names=(str(graph.graph.get("site", "site")),),
        assumptions=tuple(map(str, graph.graph.get("assumptions", ()))),
    )


def _hardware(graph: nx.Graph) -> tuple[HostType, SwitchType]:
    host, switch = graph.graph.get("host", ""), graph.graph.get("switch", "")
    try:
        return (
            host if isinstance(host, HostType) else catalog.host(host),
            switch if isinstance(switch, SwitchType) else catalog.switch(switch),
        )
    except UnknownHardware as error:
        raise TopologyError(f"graph attribute: {error}") from None


def _whole(value: Any, what: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise TopologyError(f"{what} is {value!r}: a whole number of at least {least} is needed")
    return int(value)


def _nodes(graph: nx.Graph, host_type: HostType) -> tuple[list[Any], Int64, Int64, Int64]:
    """Names (endpoints first), tiers and switches by node, and hosts by endpoint."""
    if graph.is_directed() or graph.is_multigraph():
        raise TopologyError("a plain undirected graph is needed: parallel cables are the edge attribute `lanes`")
    ranks = {name: rank for rank, name in enumerate(NODE_TIERS)}
    endpoints: list[Any] = []
    above: list[Any] = []
    tiers: list[int] = []
    switches: list[int] = []
    hosts: list[int] = []
    for node, data in graph.nodes(data=True):
        rank = ranks.get(data.get("tier", ""), -1)
        if rank == 0:
            endpoints.append(node)
            hosts.append(data.get("hosts", host_type.domain_hosts))
        elif rank > 0:
            above.append(node)
            tiers.append(rank)
            switches.append(_whole(data.get("switches", 1), f"switches of node {node}"))
        else:
            raise TopologyError(f"node {node} has tier {data.get('tier')!r}: one of {', '.join(NODE_TIERS)} is needed")
    if not endpoints:
        raise TopologyError("the graph has no endpoint (node attribute tier=endpoint)")
    for node, count in zip(endpoints, hosts, strict=True):
        if (type(count) is not int or count != host_type.domain_hosts) and _whole(count, f"hosts of node {node}") > host_type.domain_hosts:
            raise TopologyError(f"node {node} has {count} hosts: a domain of {host_type.name} has at most {host_type.domain_hosts}")
    padding = [0] * len(endpoints)
    return endpoints + above, np.array(padding + tiers), np.array(padding + switches), np.array(hosts)


def _edges(graph: nx.Graph, names: list[Any], tier: Int64, host_type: HostType, switch_type: SwitchType) -> Arrays:
    """Columns of the edges, u below v."""
    number = {name: at for at, name in enumerate(names)}
    ends = np.fromiter((number[end] for edge in graph.edges() for end in edge), dtype=np.int64, count=2 * graph.number_of_edges())
    pairs = ends.reshape(-1, 2)
    swap = tier[pairs[:, 0]] > tier[pairs[:, 1]]
    u, v = np.where(swap, pairs[:, 1], pairs[:, 0]), np.where(swap, pairs[:, 0], pairs[:, 1])
    data = [attributes for _, _, attributes in graph.edges(data=True)]

    def refuse(wrong: NDArray[np.bool_], problem: str) -> None:
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise TopologyError(f"edge {names[u[at]]} - {names[v[at]]}: {problem}")

    def column(key: str, default: Any, kinds: tuple[type, ...], what: str) -> NDArray[Any]:
        values = [attributes.get(key, default) for attributes in data]
        wrong = {kind for kind in set(map(type, values)) if kind is bool or not issubclass(kind, kinds)}
        if wrong:
            refuse(np.array([type(value) in wrong for value in values]), f"{key} is not {what}")
        array = np.array(values)
        if array.dtype.kind == "O":
            refuse(np.array([abs(value) >= 2**31 for value in values]), f"{key} is beyond 32 bits")
        return array

    whole, real = (int, np.integer), (int, float, np.integer, np.floating)
    refuse(tier[u] == tier[v], "joins two nodes of the same tier")
    refuse((tier[u] == 0) & (tier[v] != 1), "an endpoint joins leaves only")
    lanes = column("lanes", 1, whole, "a whole number")
    rail = column("rail", 0, whole, "a whole number")
    rails = column("rails", 0, whole, "a whole number")
    speed = column("lane_bytes_per_second", host_type.nic_bytes_per_second, real, "a number").astype(np.float64)
    latency = column("latency_seconds", -1.0, real, "a number").astype(np.float64)
    rails = np.where(rails == 0, np.where(tier[u] == 0, 1, host_type.nics - rail), rails)
    refuse((lanes < 1) | (lanes > 2**31 - 1), "lanes is below 1 or beyond 32 bits")
    refuse(
        (rail < 0) | (rails < 1) | (rail + rails > host_type.nics), f"rail and rails reach beyond the {host_type.nics} rails of the host"
    )
    refuse(~(np.isfinite(speed) & (speed > 0)), "lane_bytes_per_second is not above 0")
    # Each link carries half of the switch at either end, so that a path through n switches has n switch latencies.
    ends_in_switches = np.where(tier[u] == 0, 1, 2)
    by_tier = np.array(CABLE_METRES)[tier[v] - 1] * FIBRE_SECONDS_PER_METRE + ends_in_switches / 2 * switch_type.latency_seconds
    latency = np.where(latency < 0, by_tier, latency)
    refuse(~np.isfinite(latency), "latency_seconds is not finite")
    bare = np.setdiff1d(np.arange(int((tier == 0).sum())), u)
    if len(bare):
        raise TopologyError(f"endpoint {names[bare[0]]} has no cable to a leaf")
    return {"u": u, "v": v, "lanes": lanes, "rail": rail, "rails": rails, "speed": speed, "latency": latency, "tier": tier[v] - 1}


def _labels(names: list[Any], tier: Int64, edges: Arrays) -> list[Int64]:
    """By tier, for each node the lowest node connected to it through that tier and those below."""
    endpoints = int((tier == 0).sum())
    labels = [np.arange(len(tier))]
    upper = tier[edges["v"]]
    for top in range(1, len(NODE_TIERS)):
        labels.append(_components(labels[-1], edges["u"][upper <= top], edges["v"][upper <= top]))
        stray = np.flatnonzero((tier == top) & (labels[top] >= endpoints))
        if len(stray):
            raise TopologyError(f"switch {names[stray[0]]} has no endpoint below it")
    apart = np.flatnonzero(labels[-1])
    if len(apart):
        raise TopologyError(f"the graph is not connected: there is no path between {names[0]} and {names[apart[0]]}")
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


def _planes(tier: Int64, edges: Arrays) -> NDArray[np.int32]:
    """By link, the connected component of the fabric without its endpoints."""
    trunk = edges["tier"] > 0
    component = _components(np.arange(len(tier)), edges["u"][trunk], edges["v"][trunk])
    return np.unique(component[edges["v"]], return_inverse=True)[1].reshape(-1).astype(np.int32)


def _chunks(offsets: Int64, size: int) -> Int64:
    """Offsets of chunks of at most ``size`` that never straddle a unit."""
    counts = -(-np.diff(offsets) // size)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.append(np.repeat(offsets[:-1], counts) + within * size, offsets[-1])


def _block_offsets(leaf: Int64, rack: Int64, hosts_per_rack: int) -> Int64:
    """Whole racks while they fit a block, else parts of one rack: a shard then ends with a rack and with a block."""
    if hosts_per_rack > BLOCK_HOSTS:
        return _chunks(rack, BLOCK_HOSTS)
    return _chunks(leaf, BLOCK_HOSTS // hosts_per_rack * hosts_per_rack)


def _bare(name: str, first_host: NDArray[Any]) -> Level:
    """A level without switches of its own."""
    return Level(name, first_host.astype(np.int32), np.zeros(len(first_host), dtype=np.int32), np.empty(0, dtype=np.int32))


def _counts(graph: nx.Graph, host_type: HostType, levels: tuple[Level, ...], links: Links, domains: int) -> Counts:
    """Physical counts. Oversubscription is the worst switch's: bandwidth down over bandwidth up, 1 where it has more up than down.

    Bisection is half of the thinnest tier that joins several units, one direction.
    """
    switches = np.bincount(links.node_tier, weights=links.switches, minlength=len(NODE_TIERS)).astype(int)
    lanes = np.bincount(links.tier, weights=links.lanes, minlength=len(TIERS)).astype(int)
    capacity = np.bincount(links.tier, weights=links.bytes_per_second, minlength=len(TIERS))
    down = np.bincount(links.v, weights=links.bytes_per_second, minlength=len(links.switches))
    up = np.bincount(links.u, weights=links.bytes_per_second, minlength=len(links.switches))

    def oversubscription(tier: int) -> float:
        mine = (links.node_tier == tier) & (up > 0)
        return float(max(1.0, (down[mine] / up[mine]).max())) if mine.any() else 1.0

    units = {level.name: len(level) for level in levels}
    joins = [capacity[0]]
    joins += [capacity[1]] if units["leaf"] > 1 else []
    joins += [capacity[2]] if capacity[2] > 0 and units["pod"] > 1 else []
    joins += [capacity[3]] if units.get("building", 1) > 1 else []
    hosts = int(levels[0].first_host[-1])
    return Counts(
        gpus=hosts * host_type.gpus,
        hosts=hosts,
        racks=units["rack"],
        domains=domains,
        leaf=int(switches[1]),
        spine=int(switches[2]),
        core=int(switches[3]),
        host_leaf_links=int(lanes[0]),
        leaf_spine_links=int(lanes[1]),
        spine_core_links=int(lanes[2]),
        oversubscription_leaf=oversubscription(1),
        oversubscription_spine=oversubscription(2),
        bisection_bytes_per_second=float(min(joins) / 2),
        worst_pod_to_pod_ratio=float(graph.graph.get("worst_pod_to_pod_ratio", 1.0)),
    )
