"""The graph vocabulary: what builders and readers of files write, and `topology.compile` reads.

A graph is a plain undirected ``networkx.Graph``. Upper tiers may be aggregated: a leaf is a node, but the spines of a pod are one *bank*
node (one per pod and rail where rails are isolated), so are the cores of a building.

Graph attributes: ``name``; ``host`` and ``switch`` (names in `topology.catalog`, or its records), ``hosts_per_rack`` and ``site``, the
defaults of the nodes' attributes; optionally ``worst_pod_to_pod_ratio`` (default 1), ``assumptions`` (list of sentences) and
``names="given"``: the ids of nodes are names that people know; ``islands="apart"``: no path joins the sites, and no job runs on two.

Node attributes. All: ``tier`` (endpoint, leaf, spine, core, inter_building, wan). Endpoints, one for each scale-up domain: ``host``,
``hosts`` in the domain (default: the host type's), ``hosts_per_rack``, ``site``, ``hostlist`` (the hosts' names: a hostlist such as
``n[10-11,15]``, or a sequence). Switches: ``switches``, how many physical ones the node stands for (default 1), and ``switch``, their type.
A leaf with a ``group`` is a switch of a dragonfly; one without hosts carries traffic through. A node of tier wan is a site's gateway.

Edge attributes: ``lanes``, parallel cables (default 1); ``rail``, the first rail that uses them (default 0); ``rails``, how many do
(default: 1 for a cable of an endpoint, else all); ``lane_bytes_per_second`` (default: the NIC's); ``latency_seconds`` one way
(default: by tier, or of ``distance_km``). An edge joins a lower tier to a higher one; endpoints join leaves only. Two leaves with a group
may be joined too (a *local* link where the group is the same, else a *global* one), and two gateways, over a distance that is given.
A rail of an endpoint may have cables to several leaves (a NIC of two ports: dual-ToR, dual-plane).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from topology import catalog
from topology.catalog import HostType, SwitchType, UnknownHardware
from topology.cluster import BLOCK_HOSTS, TIERS, Float64, Int64
from topology.hostlist import HostlistError, expand

#: Node tiers in the order of ``Links.node_tier``.
NODE_TIERS = ("endpoint", "leaf", "spine", "core", "inter_building", "wan")
LEAF, WAN = NODE_TIERS.index("leaf"), NODE_TIERS.index("wan")
#: Length of one cable by link tier, as in `topology.cluster.TIERS`; assumed: within a row, a hall, a building, a campus (twice: between its
#: buildings and to its gateway), a dragonfly's cabinet and its hall.
CABLE_METRES = (5.0, 30.0, 100.0, 1000.0, 1000.0, 5.0, 50.0)
#: Light in fibre, one way: 4.9 to 5 us/km.
FIBRE_SECONDS_PER_METRE = 5e-9

_WHOLE, _REAL = (int, np.integer), (int, float, np.integer, np.floating)


class TopologyError(ValueError):
    """A fabric that cannot be built or a graph that is not one; ``field`` names the parameter (of a plan) at fault, if one is."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, eq=False)
class Nodes:
    """Columns of the nodes, endpoints first, each in the graph's order."""

    names: list[Any]
    tier: Int64  # (nodes,) index into NODE_TIERS
    switches: Int64  # (nodes,) 0 for endpoints
    switch_seconds: Float64  # (nodes,) latency of the switch, 0 for endpoints
    switch_watts: Float64  # (nodes,) what one switch draws, 0 for endpoints
    group: Int64  # (nodes,) number of a dragonfly switch's group, -1 for others
    host_types: tuple[HostType, ...]
    host_type: Int64  # (endpoints,) index into host_types
    hosts: Int64  # (endpoints,)
    hosts_per_rack: Int64  # (endpoints,)
    site_names: tuple[str, ...]
    site: Int64  # (nodes,) index into site_names; -1 for switches that do not say
    host_names: list[Sequence[str] | None] | None  # (endpoints,) None: no endpoint names its hosts

    @property
    def endpoints(self) -> int:
        return len(self.hosts)


@dataclass(frozen=True, eq=False)
class Edges:
    """Columns of the edges, ``u`` of a lower tier than ``v``, or of the same: numbers of nodes."""

    u: Int64
    v: Int64
    lanes: Int64
    rail: Int64
    rails: Int64
    speed: Float64  # bytes/s of a lane
    latency: Float64  # seconds
    tier: Int64  # index into TIERS
    join: Int64  # node tier at which the edge joins units: the upper node's, or for peers the one above their units


def read(graph: nx.Graph) -> tuple[Nodes, Edges]:
    """A graph's columns. Raises TopologyError naming the node, edge or attribute at fault."""
    if graph.is_directed() or graph.is_multigraph():
        raise TopologyError(
            "the graph is directed or a multigraph; allowed: an undirected graph with parallel cables as the edge attribute `lanes`"
        )
    nodes = _nodes(graph)
    return nodes, _edges(graph, nodes)


class _Types:
    """Host and switch types by what names them in the graph, in order of appearance."""

    def __init__(self, graph: nx.Graph) -> None:
        self._default = {"host": graph.graph.get("host", ""), "switch": graph.graph.get("switch", "")}
        self._hosts: dict[Any, int] = {}
        self._switches: dict[Any, SwitchType] = {}
        self.hosts: list[HostType] = []

    def host(self, data: Mapping[str, Any], node: Any) -> int:
        key = data.get("host", self._default["host"])
        try:
            return self._hosts[key]
        except (KeyError, TypeError):
            pass
        try:
            found = key if isinstance(key, HostType) else catalog.host(key)
        except UnknownHardware as error:
            raise TopologyError(f"{f'node {node}' if 'host' in data else 'graph attribute'}: {error}", "host") from None
        if found.domain_hosts > BLOCK_HOSTS:
            raise TopologyError(f"{found.name} has {found.domain_hosts} hosts in a domain; allowed: at most {BLOCK_HOSTS}", "host")
        if found not in self.hosts:
            self.hosts.append(found)
        self._hosts[key] = self.hosts.index(found)
        return self._hosts[key]

    def switch(self, data: Mapping[str, Any], node: Any) -> SwitchType:
        key = data.get("switch", self._default["switch"])
        try:
            return self._switches[key]
        except (KeyError, TypeError):
            pass
        try:
            self._switches[key] = found = key if isinstance(key, SwitchType) else catalog.switch(key)
        except UnknownHardware as error:
            raise TopologyError(f"{f'node {node}' if 'switch' in data else 'graph attribute'}: {error}", "switch") from None
        return found


def whole(value: Any, what: str) -> int:
    """A whole number of at least 1 and within 32 bits. Raises TopologyError naming ``what``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value < 2**31:
        raise TopologyError(f"{what} is {value!r}; allowed: a whole number from 1 to 2^31 - 1")
    return int(value)


def _nodes(graph: nx.Graph) -> Nodes:
    ranks = {name: rank for rank, name in enumerate(NODE_TIERS)}
    types = _Types(graph)
    groups: dict[Any, int] = {}
    site_names: dict[str, int] = {}
    default_rack, default_site = graph.graph.get("hosts_per_rack"), graph.graph.get("site", "site")
    endpoints: list[Any] = []
    above: list[Any] = []
    tiers: list[int] = []
    switches: list[int] = []
    seconds: list[float] = []
    watts: list[float] = []
    group: list[int] = []
    hosts: list[int] = []
    host_type: list[int] = []
    racks: list[int] = []
    sites: list[int] = []
    switch_sites: list[int] = []
    named: list[Sequence[str] | None] = []
    checked: set[tuple[int, Any, Any]] = set()
    for node, data in graph.nodes(data=True):
        tier = data.get("tier")
        rank = ranks.get(tier, -1) if isinstance(tier, str) else -1
        if rank == 0:
            kind = types.host(data, node)
            domain_hosts = types.hosts[kind].domain_hosts
            count, rack = data.get("hosts", domain_hosts), data.get("hosts_per_rack", default_rack)
            key = (kind, count if type(count) is int else (type(count), str(count)), rack if type(rack) is int else (type(rack), str(rack)))
            if key not in checked:
                _check_hosts(node, data, types.hosts[kind], count, rack)
                checked.add(key)
            endpoints.append(node)
            hosts.append(int(count))
            host_type.append(kind)
            racks.append(int(rack))
            sites.append(site_names.setdefault(str(data.get("site", default_site)), len(site_names)))
            named.append(_host_names(node, data["hostlist"], int(count)) if "hostlist" in data else None)
        elif rank > 0:
            above.append(node)
            tiers.append(rank)
            switches.append(whole(data.get("switches", 1), f"switches of node {node}"))
            kind_of_switch = types.switch(data, node)
            seconds.append(kind_of_switch.latency_seconds)
            watts.append(kind_of_switch.watts)
            own = data.get("group") if rank == LEAF else None
            if own is not None and not isinstance(own, str | int):
                raise TopologyError(f"group of node {node} is {own!r}; allowed: a name or a number")
            group.append(-1 if own is None else groups.setdefault(own, len(groups)))
            switch_sites.append(site_names.setdefault(str(data["site"]), len(site_names)) if data.get("site") is not None else -1)
        else:
            raise TopologyError(f"node {node} has tier {data.get('tier')!r}; allowed: {', '.join(NODE_TIERS)}")
    if not endpoints:
        raise TopologyError("the graph has no endpoint (node attribute tier=endpoint)")
    if not above:
        raise TopologyError(f"endpoint {endpoints[0]} has no cable to a leaf: the graph has no switch")
    padding = [0] * len(endpoints)
    return Nodes(
        names=endpoints + above,
        tier=np.array(padding + tiers),
        switches=np.array(padding + switches),
        switch_seconds=np.array([0.0] * len(endpoints) + seconds),
        switch_watts=np.array([0.0] * len(endpoints) + watts),
        group=np.array([-1] * len(endpoints) + group),
        host_types=tuple(types.hosts),
        host_type=np.array(host_type),
        hosts=np.array(hosts),
        hosts_per_rack=np.array(racks),
        site_names=tuple(site_names),
        site=np.array(sites + switch_sites),
        host_names=named if any(names is not None for names in named) else None,
    )


def _check_hosts(node: Any, data: Mapping[str, Any], host: HostType, count: Any, rack: Any) -> None:
    if whole(count, f"hosts of node {node}") > host.domain_hosts:
        raise TopologyError(f"node {node} has {count} hosts: a domain of {host.name} has at most {host.domain_hosts}")
    what = f"hosts_per_rack of node {node}" if "hosts_per_rack" in data else "the graph's hosts_per_rack"
    if whole(rack, what) % host.domain_hosts:
        raise TopologyError(f"{what} is {rack}, not whole domains of {host.domain_hosts} ({host.name})", "hosts_per_rack")


def _host_names(node: Any, hostlist: Any, hosts: int) -> Sequence[str]:
    try:
        names = tuple(map(str, hostlist)) if isinstance(hostlist, list | tuple) else tuple(expand(str(hostlist), BLOCK_HOSTS))
    except HostlistError as error:
        raise TopologyError(f"hostlist of node {node}: {error}") from None
    if len(names) != hosts:
        raise TopologyError(f"node {node} has {hosts} hosts, but its hostlist names {len(names)}")
    return names


def _edges(graph: nx.Graph, nodes: Nodes) -> Edges:
    names, tier = nodes.names, nodes.tier
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

    below, same = tier[u] == 0, tier[u] == tier[v]
    groups, gateways = same & (nodes.group[u] >= 0) & (nodes.group[v] >= 0), same & (tier[u] == WAN)
    refuse(same & ~groups & ~gateways, "joins two nodes of the same tier; allowed only for leaves with a group and for gateways")
    refuse(u == v, "joins a switch to itself")
    refuse(below & (tier[v] != LEAF), "joins an endpoint to a node that is no leaf")
    kind = nodes.host_type[np.where(below, u, 0)]
    nics = np.array([host.nics for host in nodes.host_types])
    most_rails = np.where(below, nics[kind], nics.max())
    lanes = column("lanes", 1, _WHOLE, "a whole number")
    rail = column("rail", 0, _WHOLE, "a whole number")
    rails = column("rails", 0, _WHOLE, "a whole number")
    rails = np.where(rails == 0, np.where(below, 1, most_rails - rail), rails)
    refuse((lanes < 1) | (lanes > 2**31 - 1), "lanes is below 1 or beyond 32 bits")
    beyond = (rail < 0) | (rails < 1) | (rail + rails > most_rails)
    if beyond.any():
        refuse(beyond, f"rail and rails reach beyond the {most_rails[beyond][0]} rails of the host")
    given = np.array(["lane_bytes_per_second" in attributes for attributes in data], dtype=bool)
    speed = column("lane_bytes_per_second", 1.0, _REAL, "a number").astype(np.float64)
    nic = np.array([host.nic_bytes_per_second for host in nodes.host_types])
    refuse(
        ~given & ~below & (nic.min() < nic.max()),
        "lane_bytes_per_second is missing, and hosts have NICs of different speeds, so there is no default",
    )
    speed = np.where(given, speed, nic[kind])
    refuse(~(np.isfinite(speed) & (speed > 0)), "lane_bytes_per_second is not above 0")

    join = np.where(groups, np.where(nodes.group[u] == nodes.group[v], LEAF + 1, LEAF + 2), np.where(gateways, WAN + 1, tier[v]))
    peer_tier = np.where(gateways, TIERS.index("wan"), np.where(join == LEAF + 1, TIERS.index("local"), TIERS.index("global")))
    link_tier = np.where(same, peer_tier, tier[v] - 1)
    metres = np.array(CABLE_METRES)[link_tier]
    if gateways.any():
        kilometres = column("distance_km", -1.0, _REAL, "a number").astype(np.float64)
        metres = np.where(kilometres >= 0, kilometres * 1000.0, np.where(gateways, np.nan, metres))
    latency = column("latency_seconds", -1.0, _REAL, "a number").astype(np.float64)
    # Each link carries half of the switch at either end, so that a path through n switches has n switch latencies.
    by_length = metres * FIBRE_SECONDS_PER_METRE + (nodes.switch_seconds[u] / 2 + nodes.switch_seconds[v] / 2)
    refuse((latency < 0) & np.isnan(metres), "a link between two gateways needs distance_km or latency_seconds")
    latency = np.where(latency < 0, by_length, latency)
    refuse(~np.isfinite(latency), "latency_seconds is not finite")
    bare = np.setdiff1d(np.arange(nodes.endpoints), u[below])
    if len(bare):
        raise TopologyError(f"endpoint {names[bare[0]]} has no cable to a leaf")
    return Edges(u, v, lanes, rail, rails, speed, latency, link_tier, join)
