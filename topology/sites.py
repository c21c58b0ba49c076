"""Several fabrics as one cluster: the buildings of a site under an inter-building tier, and sites under a WAN.

A fabric of three tiers ends at radix^3 / 4 NICs (`topology.clos`): what is larger is several. How they are joined in any machine of that
size is not published; here it is one bank of switches a site, above the top tier of each fabric, and one gateway a site. Light takes 5 us
a kilometre between gateways (`topology.vocabulary.FIBRE_SECONDS_PER_METRE`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, fsum
from typing import Any

import networkx as nx

from topology import catalog
from topology.catalog import HostType, SwitchType
from topology.striping import worst_pair_ratio
from topology.vocabulary import NODE_TIERS, TopologyError

_RANK = {name: rank for rank, name in enumerate(NODE_TIERS)}
#: Node ids of a site's own switches, after its name.
INTER_BUILDING, GATEWAY = "inter-building", "gateway"


@dataclass(frozen=True, eq=False)
class Part:
    """One fabric of a site. ``building_oversubscription`` is bandwidth into its top tier over that to the inter-building tier."""

    name: str
    graph: nx.Graph
    site: str
    building_oversubscription: float = 1.0


@dataclass(frozen=True)
class WanLink:
    """Fibre between the gateways of two sites, ``bytes_per_second`` in either direction."""

    sites: tuple[str, str]
    distance_km: float
    bytes_per_second: float


@dataclass(frozen=True)
class Wan:
    """``gateway_bytes_per_second`` is what a site's fabric can send to its gateway (and receive from it)."""

    gateway_bytes_per_second: float
    links: tuple[WanLink, ...]


def full_mesh(sites: Sequence[str], distance_km: float, bytes_per_second: float) -> tuple[WanLink, ...]:
    """A link between every two sites."""
    return tuple(WanLink((one, other), distance_km, bytes_per_second) for at, one in enumerate(sites) for other in sites[at + 1 :])


def compose(name: str, parts: Sequence[Part], wan: Wan | None = None, assumptions: Iterable[str] = ()) -> nx.Graph:
    """One graph of all parts: sites in order of their first part. Node ids are the part's name and the id in its own graph.

    Raises TopologyError, with the field of the part or of the WAN at fault.
    """
    sites = tuple(dict.fromkeys(part.site for part in parts))
    _check(parts, sites, wan)
    said = [*assumptions]
    said += [text for part in parts for text in map(str, part.graph.graph.get("assumptions", ())) if text not in said]
    graph = nx.Graph(name=name, assumptions=list(dict.fromkeys(said)))
    defaults = {key: parts[0].graph.graph.get(key) for key in ("host", "switch", "hosts_per_rack")} | {"site": sites[0]}
    graph.graph.update(defaults)
    if all(part.graph.graph.get("names") == "given" for part in parts):
        graph.graph["names"] = "given"
    tops = {part.name: _add(graph, part, defaults) for part in parts}
    for site in sites:
        members = [part for part in parts if part.site == site]
        ends = [end for part in members for end in tops[part.name]]
        if len(members) > 1:
            ends = [_join_buildings(graph, site, members, tops)]
        if wan is not None:
            _add_gateway(graph, site, ends, wan.gateway_bytes_per_second)
    for link in wan.links if wan is not None else ():
        gateways = [f"{site}/{GATEWAY}" for site in link.sites]
        _add_cables(graph, gateways[0], gateways[1], link.bytes_per_second, distance_km=link.distance_km)
    for part in parts:
        for top in tops[part.name]:
            _fit_ports(graph, top)
    for node in (f"{site}/{bank}" for site in sites for bank in (INTER_BUILDING, GATEWAY)):
        if node in graph:
            _fit_ports(graph, node)
    ratios = [_buildings_ratio(graph, f"{site}/{INTER_BUILDING}") for site in sites]
    ratios += [float(part.graph.graph.get("worst_pod_to_pod_ratio", 1.0)) for part in parts]
    graph.graph["worst_pod_to_pod_ratio"] = min(ratios)
    return graph


def _buildings_ratio(graph: nx.Graph, bank: str) -> float:
    """Of two buildings of one site, as that of two pods of a building."""
    if bank not in graph:
        return 1.0
    below = (data.get("lanes", 1) for node, data in graph.adj[bank].items() if graph.nodes[node]["tier"] != "wan")
    return worst_pair_ratio(tuple(below), graph.nodes[bank]["switches"])


def _check(parts: Sequence[Part], sites: Sequence[str], wan: Wan | None) -> None:  # noqa: C901, PLR0912 - one check after another
    if not parts:
        raise TopologyError("a cluster has at least one part", "parts")
    twice = [name for name, count in Counter(part.name for part in parts).items() if count > 1]
    if twice:
        raise TopologyError(f"two parts are called {twice[0]}: names must differ", "parts")
    for at, part in enumerate(parts):
        if not part.building_oversubscription >= 1:
            raise TopologyError(f"building oversubscription is {part.building_oversubscription:g}: at least 1 is needed", f"parts.{at}")
        gateway = next((node for node, tier in part.graph.nodes(data="tier") if tier == "wan"), None)
        if gateway is not None:
            raise TopologyError(f"part {part.name} has a gateway of its own, {gateway}: it cannot be a part of several", f"parts.{at}")
    if wan is None:
        if len(sites) > 1:
            raise TopologyError(f"the sites {', '.join(sites)} need a wan that joins them", "wan")
        return
    if len(sites) < 2:
        raise TopologyError(f"a wan joins sites, but there is only {sites[0]}", "wan")
    if not 0 < wan.gateway_bytes_per_second < float("inf"):
        raise TopologyError("gateway bandwidth is not above 0", "wan.gateway_bandwidth")
    joined: set[frozenset[str]] = set()
    for number, link in enumerate(wan.links):
        field = f"wan.links.{number}"
        for site in link.sites:
            if site not in sites:
                raise TopologyError(f"there is no site {site}; there are {', '.join(sites)}", f"{field}.between")
        if link.sites[0] == link.sites[1] or frozenset(link.sites) in joined:
            raise TopologyError(f"{' and '.join(link.sites)}: a link joins two sites, and two sites have one link", f"{field}.between")
        joined.add(frozenset(link.sites))
    reached = {sites[0]}
    while more := {site for pair in joined if pair & reached for site in pair} - reached:
        reached |= more
    apart = [site for site in sites if site not in reached]
    if apart:
        raise TopologyError(f"no wan link leads from {sites[0]} to {', '.join(apart)}", "wan.links")


def _record(kind: type[Any], value: Any) -> Any:
    return value if isinstance(value, kind) else (catalog.host if kind is HostType else catalog.switch)(value)


def _add(graph: nx.Graph, part: Part, defaults: dict[str, Any]) -> list[str]:
    """Copy a part, with its own defaults spelled out where they are not the whole's; returns the nodes at its top that have hosts below."""
    own = part.graph.graph
    host_keys = {key: own[key] for key in ("host", "hosts_per_rack") if key in own and own[key] != defaults[key]}
    if part.site != defaults["site"]:
        host_keys["site"] = part.site
    switch_keys = {"switch": own["switch"]} if "switch" in own and own["switch"] != defaults["switch"] else {}
    given = own.get("names") == "given"
    hosts_of_part: set[Any] = set()
    ids: dict[Any, str] = {}
    for node, data in part.graph.nodes(data=True):
        tier = data.get("tier")
        # A site has one inter-building tier: that of a part of several buildings is the site's own.
        ids[node] = f"{part.site}/{INTER_BUILDING}" if tier == "inter_building" else f"{part.name}/{node}"
        if tier == "endpoint":
            hosts_of_part.add(data.get("host", own.get("host")))
            attributes = {**host_keys, **data, "site": part.site} if "site" in data else {**host_keys, **data}
            if given and "hostlist" not in data:
                attributes["hostlist"] = [str(node)]
        else:
            attributes = {**switch_keys, **data}
            if data.get("group") is not None:
                attributes["group"] = f"{part.name}/{data['group']}"
        if ids[node] in graph and tier == "inter_building":
            attributes["switches"] = graph.nodes[ids[node]]["switches"] + data.get("switches", 1)
        graph.add_node(ids[node], **attributes)
    records = [_record(HostType, value) for value in hosts_of_part]
    rails = max((host.nics for host in records), default=1)
    speeds = {host.nic_bytes_per_second for host in records}
    lowest: dict[Any, bool] = {}
    tiers = {node: _RANK.get(tier, 0) for node, tier in part.graph.nodes(data="tier")}
    for u, v, data in part.graph.edges(data=True):
        low, high = sorted((tiers[u], tiers[v]))
        attributes = dict(data)
        if low > 0:
            attributes.setdefault("rails", rails - attributes.get("rail", 0))
            if len(speeds) == 1:
                attributes.setdefault("lane_bytes_per_second", min(speeds))
        if low != high:
            lower, upper = (u, v) if tiers[u] < tiers[v] else (v, u)
            lowest[lower] = True
            lowest.setdefault(upper, False)
        graph.add_edge(ids[u], ids[v], **attributes)
    return [ids[node] for node, has_upper in lowest.items() if not has_upper]


def _into(graph: nx.Graph, node: str) -> float:
    """Bytes/s that come into a switch from below."""
    rank = _RANK[graph.nodes[node]["tier"]]
    total = 0.0
    for other, data in graph.adj[node].items():
        if _RANK[graph.nodes[other]["tier"]] < rank:
            total += data.get("lanes", 1) * _speed(graph, other, data)
    return total


def _speed(graph: nx.Graph, lower: str, data: dict[str, Any]) -> float:
    """Bytes/s of a lane, by default the NIC's."""
    if "lane_bytes_per_second" in data:
        return float(data["lane_bytes_per_second"])
    return float(_record(HostType, graph.nodes[lower].get("host", graph.graph["host"])).nic_bytes_per_second)


def _switch(graph: nx.Graph, node: str) -> SwitchType:
    found: SwitchType = _record(SwitchType, graph.nodes[node].get("switch", graph.graph["switch"]))
    return found


def _fit_ports(graph: nx.Graph, node: str) -> None:
    """As many switches in a bank as its cables need ports; a dragonfly's switch stays one: cables to the tier above are taken to fit."""
    if graph.nodes[node].get("group") is None:
        switch, rank = _switch(graph, node), _RANK[graph.nodes[node]["tier"]]
        used = 0.0
        for other, data in graph.adj[node].items():
            lower = other if _RANK[graph.nodes[other]["tier"]] < rank else node
            used += data.get("lanes", 1) / max(1, switch.ports_at(_speed(graph, lower, data)))
        graph.nodes[node]["switches"] = max(graph.nodes[node].get("switches", 1), ceil(used - 1e-9))


def _add_cables(graph: nx.Graph, lower: str, upper: str, bytes_per_second: float, **attributes: Any) -> None:
    """Cables of together ``bytes_per_second``, each at most as fast as a port of both ends."""
    port = min(_switch(graph, node).port_bytes_per_second for node in (lower, upper))
    lanes = max(1, ceil(bytes_per_second / port - 1e-9))
    graph.add_edge(lower, upper, lanes=lanes, lane_bytes_per_second=bytes_per_second / lanes, **attributes)


def _join_buildings(graph: nx.Graph, site: str, parts: Sequence[Part], tops: dict[str, list[str]]) -> str:
    """Put the site's inter-building tier above the tops of its parts; returns its node."""
    bank = f"{site}/{INTER_BUILDING}"
    if bank not in graph:
        own = parts[0].graph.graph.get("switch")
        graph.add_node(bank, tier="inter_building", switches=1, **({} if own == graph.graph.get("switch") else {"switch": own}))
    for part in parts:
        for top in tops[part.name]:
            if top == bank:
                continue
            speed = max(
                _speed(graph, other, data)
                for other, data in graph.adj[top].items()
                if _RANK[graph.nodes[other]["tier"]] < _RANK[graph.nodes[top]["tier"]]
            )
            lanes = ceil(_into(graph, top) / part.building_oversubscription / speed - 1e-9)
            graph.add_edge(top, bank, lanes=lanes, lane_bytes_per_second=speed)
    return bank


def _add_gateway(graph: nx.Graph, site: str, tops: Sequence[str], bytes_per_second: float) -> None:
    """Put a site's gateway above its fabric, whose top switches have parts of the bandwidth by what comes into them."""
    gateway = f"{site}/{GATEWAY}"
    own = graph.nodes[tops[0]].get("switch")
    graph.add_node(gateway, tier="wan", site=site, switches=1, **({} if own is None else {"switch": own}))
    into = [_into(graph, top) for top in tops]
    for top, share in zip(tops, into, strict=True):
        _add_cables(graph, top, gateway, bytes_per_second * share / fsum(into))
