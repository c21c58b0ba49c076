"""Switch trees: what Slurm's and topograph's files hold, to and from graphs.

A leaf switch of a file, with its hosts, is a leaf unit. It stands for as many physical switches as hold its hosts' cables: ports are split
between down and up by the oversubscription (1: non-blocking), as in `topology.clos`. Switches above that have the same switches below are
one bank. A switch is as high as its highest switch below, plus one: leaf, spine, core, inter-building. A tree may be uneven.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, floor

import networkx as nx
import numpy as np

from topology.cluster import Cluster, Int64
from topology.formats.defaults import Defaults, ports
from topology.formats.errors import FormatError
from topology.hostlist import MOST_NAMES, HostlistError, expand, fold

_TIERS = ("leaf", "spine", "core", "inter_building")
#: slurm.conf(5), topology.conf(5): a switch's name is not longer.
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Switch:
    """One switch of a file: either switches or hosts below. ``speed`` is its LinkSpeed, in units of its own."""

    name: str
    children: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    line: int = 0
    speed: float | None = None


@dataclass(frozen=True)
class Tree:
    """``domains`` is the scale-up domain of hosts, where a file says it. ``joined``: trees without a common root are joined above."""

    switches: tuple[Switch, ...]
    domains: Mapping[str, str] = field(default_factory=dict)
    joined: bool = False
    notes: tuple[str, ...] = ()


@dataclass
class _Bank:
    """Switches with the same switches below (one, for a leaf)."""

    name: str
    members: list[Switch]
    height: int
    below: list["_Bank"]
    parent: "_Bank | None" = None
    lanes_down: int = 0
    lanes_up: int = 0


def names(source: str) -> Callable[[str, int], tuple[str, ...]]:
    """What reads the hostlists of one file: (text, line) to names, not more of them in all than `MOST_NAMES`. Raises FormatError."""
    left = MOST_NAMES

    def read(text: str, line: int) -> tuple[str, ...]:
        nonlocal left
        try:
            found = tuple(expand(text, left))
        except HostlistError as error:
            raise FormatError(str(error), source, line) from None
        left -= len(found)
        return found

    return read


def named(name: str, source: str, line: int) -> str:
    """A switch's name as it may be. Raises FormatError."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable() or set(name) & set(" ,[]"):
        shown = repr(name if len(name) <= 70 else name[:67] + "...")
        raise FormatError(
            f"{shown} is not a switch's name: 1 to {_LONGEST_NAME} characters without blanks, commas and brackets", source, line
        )
    return name


def to_graph(tree: Tree, source: str, defaults: Defaults) -> nx.Graph:
    """The graph of a file's tree; what the file does not hold is from ``defaults`` and noted in the assumptions. Raises FormatError."""
    host, switch = defaults.host_type, defaults.switch_type
    kept, notes = _checked(tree, source)
    banks = _banks(kept, source, joined=tree.joined)
    top = banks[-1]
    if top.height > len(_TIERS):
        raise FormatError(
            f"{top.name} has {top.height} tiers of switches, more than leaf, spine, core and inter-building", source, top.members[0].line
        )
    graph = nx.Graph(
        name=defaults.name,
        host=defaults.host,
        switch=defaults.switch,
        hosts_per_rack=defaults.hosts_per_rack,
        site=defaults.site,
        names="given",
        assumptions=[*tree.notes, *notes, *_assumed(tree, source, defaults, banks)],
    )
    radix = ports(switch, host.nic_bytes_per_second)
    fastest: dict[int, float] = {}
    for bank in banks:
        for member in bank.members:
            fastest[bank.height] = max(fastest.get(bank.height, 0.0), member.speed or 0.0)
    leaves = {bank.name: bank for bank in banks if bank.height == 1}
    switch_names = {bank.name for bank in banks}
    shared = _shared(kept, tree.domains)
    for item in kept:  # in the file's order, so that hosts keep it
        leaf = leaves.get(item.name)
        if leaf:
            for name, members in _endpoints(leaf, tree.domains, shared, host.domain_hosts):
                if name in switch_names or name in graph:
                    raise FormatError(f"{name} names both a node or domain and another one, or a switch", source, item.line)
                lanes = len(members) * host.nics
                graph.add_node(name, tier="endpoint", hostlist=fold(members), **({"hosts": len(members)} if host.domain_hosts > 1 else {}))
                graph.add_edge(name, item.name, lanes=lanes, rail=0, rails=host.nics)
                leaf.lanes_down += lanes
    for bank in banks:
        bank.lanes_down += sum(below.lanes_up for below in bank.below)
        over = defaults.oversubscription[min(bank.height, 3) - 1]
        up = floor(radix / (1 + over)) if bank.parent else 0
        if bank.parent:
            bank.lanes_up = max(1, ceil(bank.lanes_down * up / (radix - up))) if up else bank.lanes_down
        switches = max(len(bank.members), ceil(bank.lanes_down / max(1, radix - up)))
        graph.add_node(bank.name, tier=_TIERS[bank.height - 1], switches=switches)
        for below in bank.below:
            slower = (below.members[0].speed or fastest[below.height] or 1.0) / (fastest[below.height] or 1.0)
            speed = {"lane_bytes_per_second": host.nic_bytes_per_second * slower} if slower != 1.0 else {}
            graph.add_edge(below.name, bank.name, lanes=below.lanes_up, rail=0, rails=host.nics, **speed)
    return graph


def _checked(tree: Tree, source: str) -> tuple[list[Switch], list[str]]:
    """The switches that have hosts below them, and notes of those left out. Raises FormatError for what is no tree."""
    by_name: dict[str, Switch] = {}
    under: dict[str, Switch] = {}
    for switch in tree.switches:
        if switch.name in by_name:
            first = by_name[switch.name].line
            raise FormatError(f"switch {switch.name} is there twice (first in line {first})", source, switch.line)
        by_name[switch.name] = switch
        if switch.children and switch.hosts:
            raise FormatError(f"switch {switch.name} has both switches and nodes below: one of the two", source, switch.line)
        for host in switch.hosts:
            if host in under:
                also = "twice" if under[host] is switch else f"also under {under[host].name} (line {under[host].line})"
                raise FormatError(f"node {host} under switch {switch.name} is there {also}", source, switch.line)
            under[host] = switch
    if not under:
        raise FormatError("there is no switch with nodes", source, 1)
    for switch in tree.switches:
        for child in switch.children:
            if child not in by_name:
                raise FormatError(f"switch {switch.name} has {child} below, which the file does not describe", source, switch.line)
    order = _bottom_up(by_name, source)
    full = {name for name in order if by_name[name].hosts}
    for name in order:
        if any(child in full for child in by_name[name].children):
            full.add(name)
    kept = [
        Switch(item.name, tuple(dict.fromkeys(child for child in item.children if child in full)), item.hosts, item.line, item.speed)
        for item in tree.switches
        if item.name in full
    ]
    return kept, [f"Left out: switch {switch.name}, which has no nodes below it." for switch in tree.switches if switch.name not in full]


def _bottom_up(by_name: Mapping[str, Switch], source: str) -> list[str]:
    """Names with those below first. Raises FormatError where a switch is below itself."""
    above: dict[str, list[str]] = {}
    waiting = {name: len(switch.children) for name, switch in by_name.items()}
    for name, switch in by_name.items():
        for child in switch.children:
            above.setdefault(child, []).append(name)
    order = [name for name, count in waiting.items() if not count]
    for name in order:  # grows
        for parent in above.get(name, ()):
            waiting[parent] -= 1
            if not waiting[parent]:
                order.append(parent)
    if len(order) < len(by_name):
        around = next(name for name, count in waiting.items() if count)
        raise FormatError(f"switch {around} is below itself, or above switches that are", source, by_name[around].line)
    return order


def _banks(switches: Sequence[Switch], source: str, *, joined: bool) -> list[_Bank]:
    """Banks, lower ones first; the last is the root. Raises FormatError where there is no one root."""
    by_name = {switch.name: switch for switch in switches}
    of: dict[str, _Bank] = {}
    groups: dict[tuple[str, ...], _Bank] = {}
    for name in _bottom_up(by_name, source):
        switch = by_name[name]
        if not switch.children:
            of[name] = _Bank(name, [switch], 1, [])
            continue
        below = list({id(of[child]): of[child] for child in switch.children}.values())
        key = tuple(sorted(bank.members[0].name for bank in below))
        if key in groups:
            groups[key].members.append(switch)
        else:
            groups[key] = _Bank(name, [switch], 1 + max(bank.height for bank in below), below)
            for bank in below:
                if bank.parent:
                    raise FormatError(
                        f"{bank.members[0].name} is below both {bank.parent.members[0].name} and {name}, which do not have the same "
                        "switches below",
                        source,
                        switch.line,
                    )
                bank.parent = groups[key]
        of[name] = groups[key]
    banks = sorted({id(bank): bank for bank in of.values()}.values(), key=lambda bank: bank.height)
    for bank in banks:
        if len(bank.members) > 1:
            bank.name = fold([member.name for member in bank.members])
    roots = [bank for bank in banks if bank.parent is None]
    if len(roots) > 1:
        if not joined:
            raise FormatError(
                f"{roots[0].name} and {roots[1].name} have no switch above both: the nodes below could not reach each other",
                source,
                roots[1].members[0].line,
            )
        name = next(name for name in ("top", *(f"top-{number}" for number in range(len(of) + 1))) if name not in of)
        banks.append(_Bank(name, [Switch(name)], 1 + max(root.height for root in roots), roots))
        for root in roots:
            root.parent = banks[-1]
    return banks


def _shared(switches: Sequence[Switch], domains: Mapping[str, str]) -> set[str]:
    """Domains that have hosts under several switches."""
    first: dict[str, str] = {}
    return {
        domain
        for item in switches
        for domain in {domains.get(host, "") for host in item.hosts}
        if first.setdefault(domain, item.name) != item.name
    }


def _endpoints(bank: _Bank, domains: Mapping[str, str], shared: Set[str], domain_hosts: int) -> Iterator[tuple[str, list[str]]]:
    """(name, hosts) of a leaf's scale-up domains: as the file says, else its hosts in turn. Those ``shared`` with other leaves end here."""
    names = bank.members[0].hosts
    if domain_hosts == 1:
        yield from ((name, [name]) for name in names)
        return
    by_domain: dict[str, list[str]] = {}
    for name in names:
        by_domain.setdefault(domains.get(name, ""), []).append(name)
    for domain, members in by_domain.items():
        whole = domain and domain not in shared and len(members) <= domain_hosts
        for at in range(0, len(members), domain_hosts):
            place = "" if len(members) <= domain_hosts and domain else f"-{at // domain_hosts}"
            yield domain if whole else f"{bank.name}-{domain or 'domain'}{place}", members[at : at + domain_hosts]


def _assumed(tree: Tree, source: str, defaults: Defaults, banks: Sequence[_Bank]) -> Iterator[str]:
    over = Counter(zip(("leaf", "spine", "core"), defaults.oversubscription, strict=True))
    tapers = ", ".join(f"{tier} {ratio:g}" for (tier, ratio) in over if ratio != 1)
    yield f"Assumed: host {defaults.host}, switch {defaults.switch}, {defaults.hosts_per_rack} hosts a rack: {source} does not say."
    yield (
        f"Assumed: a leaf switch of {source} has all NICs of its nodes and stands for as many physical switches as that needs; uplinks are "
        + (f"oversubscribed ({tapers})." if tapers else "non-blocking.")
    )
    if defaults.host_type.domain_hosts > 1:
        yield (
            f"Assumed: scale-up domains of at most {defaults.host_type.domain_hosts} hosts are those that the file names, else the nodes of a "
            "leaf in turn."
        )
    if any(bank.name.startswith("top") and not bank.members[0].line for bank in banks) and tree.joined:
        yield f"Assumed: one tier of switches joins what {source} leaves apart."
    if any(switch.speed for switch in tree.switches):
        yield "Assumed: LinkSpeed is the speed of a switch's uplink cables relative to the fastest of its tier, which has the NIC's."


def from_cluster(cluster: Cluster) -> Tree:
    """The levels of a cluster as a tree: leaf units, pods, buildings (where there is one site), sites, up to the first that has one unit.

    Domains are named where they have several hosts.
    """
    levels = [level for name in ("leaf", "pod", "building", "site") for level in cluster.levels if level.name == name]
    if len(cluster.site_names) > 1:
        levels = [level for level in levels if level.name != "building"]
    last = next((number for number, level in enumerate(levels) if len(level) == 1), len(levels) - 1)
    levels = levels[: last + 1]
    named_units = {level.name: _unit_names(cluster, level.name, tier) for tier, level in enumerate(levels, start=1)}
    switches = []
    names = [cluster.host_name(host) for host in range(cluster.host_count)]
    for number, level in enumerate(levels):
        inner = np.asarray(level.first_host if not number else np.searchsorted(levels[number - 1].first_host, level.first_host)).tolist()
        below = names if not number else named_units[levels[number - 1].name]
        for unit, name in enumerate(named_units[level.name]):
            members = tuple(below[inner[unit] : inner[unit + 1]])
            switches.append(Switch(name, hosts=members) if not number else Switch(name, children=members))
    if len(levels[-1]) > 1:
        switches.append(Switch("wan", children=tuple(named_units[levels[-1].name])))
    return Tree(tuple(switches), dict(_domains(cluster, names)))


def _domains(cluster: Cluster, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    starts = cluster.level("domain").first_host.tolist()
    if len(starts) - 1 < cluster.host_count:
        for domain, (low, high) in enumerate(pairwise(starts)):
            yield from ((name, f"domain-{domain:05d}") for name in names[low:high])


def _unit_names(cluster: Cluster, level: str, tier: int) -> list[str]:
    """Names of a level's units: that of the one switch there is, where switches have names, else level and number."""
    units = cluster.level(level)
    names = [f"{level}-{unit:05d}" for unit in range(len(units))]
    if cluster.switch_names is None:
        return names
    links = cluster.links
    below: Int64 = np.full(len(links.node_tier), cluster.host_count, dtype=np.int64)
    endpoints = int((links.node_tier == 0).sum())
    below[:endpoints] = cluster.level("domain").first_host[:-1]
    for step in np.unique(links.node_tier[links.v]):
        mine = links.node_tier[links.v] == step
        np.minimum.at(below, links.v[mine], below[links.u[mine]])
    nodes = np.flatnonzero(links.node_tier == tier)
    unit_of = np.searchsorted(units.first_host, below[nodes], side="right") - 1
    single = np.bincount(unit_of, minlength=len(units)) == 1
    for node, unit in zip(nodes.tolist(), unit_of.tolist(), strict=True):
        name = cluster.switch_names[node - endpoints]
        if single[unit] and len(name) <= _LONGEST_NAME and not set(name) & set(" ,[]#="):
            names[unit] = name
    return names if len(set(names)) == len(names) else [f"{level}-{unit:05d}" for unit in range(len(units))]
