"""Checks of a cluster: errors, with which it cannot run or be built, and notes on oddities, in sentences with names and numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum
from typing import NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from topology import catalog
from topology.catalog import HostType, SwitchType
from topology.cluster import Cluster, Int64, Level
from topology.compile import compile_cluster
from topology.describe import node_name
from topology.formats.defaults import ports
from topology.vocabulary import NODE_TIERS, TopologyError

#: A tier with at least this part of its ports unused gets a note; the last switches of a fabric are never full. Assumed.
_STRANDED_RATIO = 0.25
#: Names in one sentence.
_MOST_NAMES = 3


class Finding(NamedTuple):
    """One finding; ``about`` is its subject, in a word or two."""

    error: bool
    about: str
    text: str


def check(graph: nx.Graph) -> list[Finding]:
    """Findings on a graph in the vocabulary of `topology.vocabulary`, errors first."""
    found = [Finding(True, "empty switch", text) for text in _empty_switches(graph)]
    found += [Finding(True, "unreachable", text) for text in _apart(graph)]
    try:
        cluster = compile_cluster(graph)
    except TopologyError as error:
        return found or [Finding(True, "not a cluster", f"{error}.")]
    found += [Finding(True, "ports over the radix", text) for text in _ports(graph, over=True)]
    for about, texts in (
        ("single point of failure", _single_points(cluster)),
        ("oversubscription", _oversubscription(cluster)),
        ("uneven units", _uneven(cluster)),
        ("asymmetric uplinks", _asymmetric(cluster)),
        ("rails", _rails(cluster)),
        ("stranded ports", _ports(graph, over=False)),
        ("mixed hosts", _mixed(cluster)),
        ("WAN", _wan(cluster)),
        ("islands", _islands(cluster)),
        ("left out", iter(text for text in cluster.assumptions if text.startswith("Left out"))),
    ):
        found += [Finding(False, about, text) for text in texts]
    return found


def _empty_switches(graph: nx.Graph) -> Iterator[str]:
    """Switches without any endpoint below; those of a dragonfly may be without hosts."""
    rank = {name: number for number, name in enumerate(NODE_TIERS)}
    tier = {node: rank.get(data.get("tier"), -1) for node, data in graph.nodes(data=True)}
    full: set[object] = set()
    for node in sorted(graph, key=lambda node: tier[node]):
        below = (other for other in graph[node] if tier[other] < tier[node])
        if tier[node] == 0 or graph.nodes[node].get("group") is not None or any(other in full for other in below):
            full.add(node)
    empty = [str(node) for node in graph if node not in full]
    if empty:
        yield f"{_names(empty)} {_have(empty)} no host below."


def _apart(graph: nx.Graph) -> Iterator[str]:
    if graph.graph.get("islands") == "apart":
        return
    parts = sorted(nx.connected_components(graph), key=len, reverse=True)
    for part in parts[1:]:
        hosts = [str(node) for node in graph if node in part and graph.nodes[node].get("tier") == "endpoint"]
        if hosts:
            others = len(graph) - len(part)
            yield f"{_names(hosts)} cannot reach the rest: no path joins these {len(part)} nodes of the graph to the other {others}."


def _single_points(cluster: Cluster) -> Iterator[str]:
    """Hosts with one leaf switch, and units whose uplinks all end in one switch, or are one cable."""
    links = cluster.links
    below = links.tier == 0
    reached = np.bincount(links.u[below], weights=np.minimum(links.switches[links.v[below]], links.lanes[below]))
    alone = np.flatnonzero(reached[: int((links.node_tier == 0).sum())] == 1)
    if len(alone):
        first = np.unique(links.v[below][np.isin(links.u[below], alone)])
        yield (
            f"{_count(len(alone), 'host or domain', 'hosts or domains')} {_has(len(alone))} all NICs on one leaf switch; these leaves are "
            f"{_names([node_name(cluster, int(node)) for node in first])}."
        )
    for name in ("leaf", "pod", "building", "site"):
        level = next((level for level in cluster.levels if level.name == name and len(level) > 1), None)
        if level is None or not len(level.uplinks) or name in {peers.level for peers in cluster.peers}:
            continue
        unit, uplinks = _uplink_units(level), level.uplinks
        pairs = np.unique(unit * len(links.node_tier) + links.v[uplinks])
        tops = np.bincount(pairs // len(links.node_tier), minlength=len(level))
        switches = _per_unit(level, links.switches[links.v[uplinks]].astype(np.int64))
        single = np.flatnonzero((tops == 1) & (switches == _per_unit(level, np.ones(len(uplinks), dtype=np.int64))))
        if len(single):
            above = np.unique(links.v[uplinks[np.isin(unit, single)]])
            yield (
                f"{_count(len(single), f'{name} unit', f'{name} units')} of {len(level)} {_has(len(single))} one switch above: "
                f"{_names([node_name(cluster, int(node)) for node in above])}."
            )
        cables = _per_unit(level, links.lanes[uplinks].astype(np.int64))
        thin = int((cables == 1).sum())
        if thin:
            yield f"{_count(thin, f'{name} unit', f'{name} units')} of {len(level)} {_has(thin)} one cable upwards."


def _oversubscription(cluster: Cluster) -> Iterator[str]:
    counts = cluster.counts
    for tier, ratio in (("leaf", counts.oversubscription_leaf), ("spine", counts.oversubscription_spine)):
        if ratio > 1.001:
            yield f"The worst {tier} switch has {ratio:.3g} times as much bandwidth down as up."
    if counts.worst_pod_to_pod_ratio < 0.999:
        ratio = counts.worst_pod_to_pod_ratio
        if any(peers.level == "pod" for peers in cluster.peers):
            yield f"Two groups of the dragonfly have {ratio:.2%} of their global links between them: the rest is a detour."
        else:
            units = "leaves" if len(cluster.level("pod")) == 1 else "pods, or buildings," if cluster.counts.inter_building else "pods"
            yield f"The two worst-placed {units} have {ratio:.0%} of the smaller one's uplinks between them, by the striping."


def _uneven(cluster: Cluster) -> Iterator[str]:
    for name, kind, units in _units_by_type(cluster):
        sizes = np.diff(cluster.level(name).first_host)[units]
        values, numbers = np.unique(sizes, return_counts=True)
        if len(values) > 1:
            usual = int(values[numbers.argmax()])
            counted = zip(values.tolist(), numbers.tolist(), strict=True)
            others = [f"{number:,} {_has(number)} {value:,}" for value, number in counted if value != usual]
            more = len(others) - _MOST_NAMES
            shown = ", ".join(others[:_MOST_NAMES]) + (f" and {_count(more, 'more size', 'more sizes')}" if more > 0 else "")
            yield f"{int(numbers.max()):,} of {len(sizes):,} {name} units{kind} have {usual:,} hosts, but {shown}."


def _asymmetric(cluster: Cluster) -> Iterator[str]:
    """Units of one size whose uplinks have different bandwidth."""
    for name, kind, units in _units_by_type(cluster):
        level = cluster.level(name)
        if len(level) < 2 or not len(level.uplinks):
            continue
        up = np.bincount(_uplink_units(level), weights=cluster.links.bytes_per_second[level.uplinks], minlength=len(level))
        sizes = np.diff(level.first_host)
        for size in np.unique(sizes[units]).tolist():
            mine = units[(sizes[units] == size) & ((up[units] > 0) | (not cluster.islands))]  # the top of an island has none
            if not len(mine):
                continue
            low, high = mine[up[mine].argmin()], mine[up[mine].argmax()]
            if up[low] < up[high] * 0.999:
                one, other = (cluster.host_name(int(level.first_host[unit])) for unit in (low, high))
                yield (
                    f"{name} units of {size:,} hosts{kind} differ in their uplinks: that of {one} has {up[low] * 8e-9:,.0f} Gb/s, "
                    f"that of {other} {up[high] * 8e-9:,.0f} Gb/s."
                )


def _units_by_type(cluster: Cluster) -> Iterator[tuple[str, str, Int64]]:
    """Leaf units and pods by the type of their first host: level, how to say the type where there are several, units."""
    for name in ("leaf", "pod"):
        first_host = cluster.level(name).first_host[:-1]
        kinds = cluster.block_type[np.searchsorted(cluster.block.first_host, first_host, side="right") - 1]
        for kind in np.unique(kinds).tolist():
            said = f" of {cluster.host_types[kind].name}" if len(cluster.host_types) > 1 else ""
            yield name, said, np.flatnonzero(kinds == kind)


def _rails(cluster: Cluster) -> Iterator[str]:
    """Hosts of one type with different rails, and NICs without a cable."""
    links = cluster.links
    below = links.tier == 0
    endpoints = int((links.node_tier == 0).sum())
    last = np.zeros(endpoints, dtype=np.int64)
    np.maximum.at(last, links.u[below], links.rail_first[below].astype(np.int64) + links.rails[below])
    kind = cluster.block_type[np.searchsorted(cluster.block.first_host, cluster.level("domain").first_host[:-1], side="right") - 1]
    for number, host in enumerate(cluster.host_types):
        mine = last[kind == number]
        values, numbers = np.unique(mine, return_counts=True)
        if len(values) > 1 or values[0] != host.nics:
            shown = ", ".join(f"{count} {_has(count)} {value}" for value, count in zip(values.tolist(), numbers.tolist(), strict=True))
            yield f"Of the hosts or domains of type {host.name}, which have {host.nics} rails, {shown} with a cable."


def _ports(graph: nx.Graph, *, over: bool) -> Iterator[str]:
    """Banks with more cables than ports, or tiers with many ports that nothing uses. Without gateways of a WAN."""
    banks = _banks(graph)
    if over:
        beyond = [(node, bank) for node, bank in banks.items() if bank.used > bank.ports + 1e-6]
        for node, bank in beyond[:_MOST_NAMES]:
            yield f"{node} ({_count(bank.switches, 'switch', 'switches')}) needs {bank.used:,.0f} ports and has {bank.ports:,.0f}."
        if len(beyond) > _MOST_NAMES:
            yield f"{len(beyond) - _MOST_NAMES} more switches or banks have more cables than ports."
        return
    for tier in NODE_TIERS[1:-1]:
        mine = [bank for bank in banks.values() if bank.tier == tier]
        total, used, number = fsum(bank.ports for bank in mine), fsum(bank.used for bank in mine), sum(bank.switches for bank in mine)
        if total and (total - used) / total > _STRANDED_RATIO:
            switches = _count(number, f"{tier} switch", f"{tier} switches")
            yield f"{total - used:,.0f} of the {total:,.0f} ports of {switches} have no cable."


@dataclass
class _Bank:
    """A switch node of a graph: its ports, and those that its cables use, each counted at the port's own speed."""

    kind: SwitchType
    tier: str
    switches: int
    used: float = 0.0

    @property
    def ports(self) -> float:
        return float(self.kind.radix * self.switches)


def _banks(graph: nx.Graph) -> dict[object, _Bank]:
    def host(node: object) -> HostType:
        kind = graph.nodes[node].get("host", graph.graph.get("host"))
        return kind if isinstance(kind, HostType) else catalog.host(str(kind))

    banks: dict[object, _Bank] = {}
    for node, data in graph.nodes(data=True):
        if data["tier"] not in ("endpoint", "wan"):
            kind = data.get("switch", graph.graph.get("switch"))
            banks[node] = _Bank(kind if isinstance(kind, SwitchType) else catalog.switch(str(kind)), data["tier"], data.get("switches", 1))
    default = host(next(node for node, data in graph.nodes(data=True) if data["tier"] == "endpoint")).nic_bytes_per_second
    for low, high, data in graph.edges(data=True):
        endpoint = next((end for end in (low, high) if graph.nodes[end]["tier"] == "endpoint"), None)
        rate = data.get("lane_bytes_per_second", default if endpoint is None else host(endpoint).nic_bytes_per_second)
        for end in (low, high):
            if bank := banks.get(end):
                bank.used += data.get("lanes", 1) * bank.kind.radix / max(1, ports(bank.kind, rate))
    return banks


def _mixed(cluster: Cluster) -> Iterator[str]:
    if len(cluster.host_types) > 1:
        shown = ", ".join(f"{count:,} {host.name}" for count, host in zip(cluster.type_hosts, cluster.host_types, strict=True))
        yield f"Hosts of {len(cluster.host_types)} types: {shown}. A job runs on hosts of one type."


def _wan(cluster: Cluster) -> Iterator[str]:
    """Sites that one link, or one gateway, joins to the others."""
    peers = next((peers for peers in cluster.peers if peers.level == "site"), None)
    if peers is None:
        return
    joined = nx.Graph()
    for one, other, link in zip(peers.unit_u.tolist(), peers.unit_v.tolist(), peers.links.tolist(), strict=True):
        lanes = int(cluster.links.lanes[link]) + (joined[one][other]["lanes"] if joined.has_edge(one, other) else 0)
        joined.add_edge(one, other, lanes=lanes)
    for one, other in nx.bridges(joined):
        yield f"Without the link between {cluster.site_names[one]} and {cluster.site_names[other]} the sites are in two parts."
    for site in nx.articulation_points(joined):
        yield f"Without {cluster.site_names[site]} the other sites are in parts."
    gateways = np.flatnonzero((cluster.links.node_tier == NODE_TIERS.index("wan")) & (cluster.links.switches == 1))
    if len(gateways):
        yield f"{_names([node_name(cluster, int(node)) for node in gateways])} {'is' if len(gateways) == 1 else 'are each'} one switch."


def _islands(cluster: Cluster) -> Iterator[str]:
    if cluster.islands:
        sizes = np.diff(cluster.level("site").first_host)
        first = int(sizes.argmax())
        yield (
            f"No path joins the {len(sizes)} islands {_names(list(cluster.site_names))}: no job runs on two of them. "
            f"The largest, {cluster.site_names[first]}, has {_count(int(sizes[first]), 'host', 'hosts')}."
        )


def _uplink_units(level: Level) -> NDArray[np.int64]:
    """The unit of every uplink."""
    return np.repeat(np.arange(len(level)), np.diff(level.uplink_start))


def _per_unit(level: Level, values: Int64) -> Int64:
    """Sums of the uplinks' values by unit."""
    return np.bincount(_uplink_units(level), weights=values, minlength=len(level)).astype(np.int64)


def _names(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _have(names: list[str]) -> str:
    return _has(len(names))
