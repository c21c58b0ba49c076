"""From a file's switch tree to a graph.

A leaf switch of a file, with its hosts, is a leaf unit. It stands for as many physical switches as hold its hosts' cables: ports are split
between down and up by the oversubscription (1: non-blocking), as in `topology.clos`. Switches above that have the same switches below are
one bank. A switch is as high as its highest switch below, plus one: leaf, spine, core, inter-building. A tree may be uneven. Trees without
a common top are islands, or are joined by a tier that is assumed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from math import ceil, floor

import networkx as nx

from topology.catalog import HostType
from topology.formats.defaults import Defaults, HostTypes, ports
from topology.formats.errors import FormatError
from topology.formats.tree import Switch, Tree
from topology.formats.tree_checks import bottom_up, checked, free
from topology.hostlist import fold

_TIERS = ("leaf", "spine", "core", "inter_building")
#: Islands that one sentence names.
_MOST_NAMED = 8


@dataclass
class _Bank:
    """Switches with the same switches below (one, for a leaf). ``speed`` is that of a lane upwards, in bytes/s."""

    name: str
    members: list[Switch]
    height: int
    below: list["_Bank"]
    parent: "_Bank | None" = None
    speed: float = 0.0
    rail: int = 0
    rails: int = 0
    lanes_down: int = 0
    lanes_up: int = 0


def to_graph(tree: Tree, source: str, defaults: Defaults) -> nx.Graph:
    """The graph of a file's tree; what the file does not hold is from ``defaults`` and noted in the assumptions. Raises FormatError."""
    kept, notes = checked(tree, source, defaults.hosts)
    banks = _banks(kept, source)
    tops = _tops(banks)
    joined = len(tops) > 1 and (tree.joined if defaults.islands is None else defaults.islands == "joined")
    if joined:
        banks.append(_joining(banks, tops))
    if banks[-1].height > len(_TIERS):
        problem = f"{banks[-1].name} has {banks[-1].height} tiers of switches, more than leaf, spine, core and inter-building"
        raise FormatError(problem, source, banks[-1].members[0].line)
    graph = nx.Graph(
        name=defaults.name,
        host=defaults.host_type.name,
        switch=defaults.switch,
        hosts_per_rack=defaults.hosts_per_rack(defaults.host_type),
        site=defaults.site,
        names="given",
    )
    _add_hosts(graph, tree, kept, banks, defaults)
    _add_switches(graph, banks, defaults)
    if len(tops) > 1 and not joined:
        notes.append(_part(graph, tops, source, defaults.site))
    graph.graph["assumptions"] = [*tree.notes, *notes, *_assumed(tree, source, defaults, joined)]
    return graph


def _add_hosts(graph: nx.Graph, tree: Tree, kept: Sequence[Switch], banks: Sequence[_Bank], defaults: Defaults) -> None:
    """Endpoints and their cables, in the file's order, so that hosts keep it. Leaves get their speeds, rails and lanes."""
    leaves = {bank.name: bank for bank in banks if bank.height == 1}
    taken = {bank.name for bank in banks}  # nodes and switches may be called the same
    shared = _shared(kept, tree.domains)
    endpoints: dict[tuple[str, ...], list[tuple[str, int]]] = {}  # by the hosts of a leaf
    for item in kept:
        if item.name not in leaves:
            continue
        leaf, kind = leaves[item.name], _type_of(item, defaults.hosts)
        part, parts = item.share
        leaf.speed, leaf.rail = kind.nic_bytes_per_second, part * kind.nics // parts
        leaf.rails = (part + 1) * kind.nics // parts - leaf.rail
        if item.hosts not in endpoints:
            endpoints[item.hosts] = []
            for wanted, members in _endpoints(leaf, tree.domains, shared, kind.domain_hosts):
                name = free(wanted, taken, " (host)")
                graph.add_node(name, tier="endpoint", hostlist=fold(members), **_own(kind, len(members), defaults))
                endpoints[item.hosts].append((name, len(members)))
        for name, hosts in endpoints[item.hosts]:
            if leaf.rails:
                graph.add_edge(name, item.name, lanes=hosts * leaf.rails, rail=leaf.rail, rails=leaf.rails)
                leaf.lanes_down += hosts * leaf.rails


def _own(kind: HostType, hosts: int, defaults: Defaults) -> dict[str, object]:
    """What an endpoint says that the graph does not say for all."""
    own: dict[str, object] = {"hosts": hosts} if kind.domain_hosts > 1 else {}
    if kind is not defaults.host_type:
        own["host"] = kind.name
        if defaults.hosts_per_rack(kind) != defaults.hosts_per_rack(defaults.host_type):
            own["hosts_per_rack"] = defaults.hosts_per_rack(kind)
    return own


def _type_of(leaf: Switch, types: HostTypes) -> HostType:
    kind = types.get(leaf.hosts[0])
    assert kind is not None, "nodes without a type are left out"
    return kind


def _add_switches(graph: nx.Graph, banks: Sequence[_Bank], defaults: Defaults) -> None:
    """Switches, as many as their cables need, and the trunks between them. ``banks``: lower ones first."""
    fastest: dict[int, float] = {}
    for bank in banks:
        for member in bank.members:
            fastest[bank.height] = max(fastest.get(bank.height, 0.0), member.speed or 0.0)
    several = len({bank.speed for bank in banks if bank.height == 1}) > 1
    for bank in banks:
        if bank.below:
            bank.speed = max(below.speed for below in bank.below)
            bank.rail = min(below.rail for below in bank.below)
            bank.rails = max(below.rail + below.rails for below in bank.below) - bank.rail
        bank.lanes_down += sum(ceil(below.lanes_up * (below.speed / bank.speed)) for below in bank.below)
        radix = ports(defaults.switch_type, bank.speed)
        over = defaults.oversubscription[min(bank.height, 3) - 1]
        up = floor(radix / (1 + over)) if bank.parent else 0
        if bank.parent:
            bank.lanes_up = max(1, ceil(bank.lanes_down * up / (radix - up))) if up else bank.lanes_down
        switches = max(len(bank.members), ceil(bank.lanes_down / max(1, radix - up)))
        graph.add_node(bank.name, tier=_TIERS[bank.height - 1], switches=switches)
        for below in bank.below:
            slower = (below.members[0].speed or fastest[below.height] or 1.0) / (fastest[below.height] or 1.0)
            speed = {"lane_bytes_per_second": below.speed * slower} if slower != 1.0 or several else {}
            graph.add_edge(below.name, bank.name, lanes=below.lanes_up, rail=below.rail, rails=below.rails, **speed)


def _banks(switches: Sequence[Switch], source: str) -> list[_Bank]:
    """Banks, lower ones first."""
    by_name = {switch.name: switch for switch in switches}
    of: dict[str, _Bank] = {}
    groups: dict[tuple[str, ...], _Bank] = {}
    for name in bottom_up(by_name, source):
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
                    first = f"{bank.members[0].name} is below both {bank.parent.members[0].name} and {name}"
                    raise FormatError(f"{first}, which do not have the same switches below", source, switch.line)
                bank.parent = groups[key]
        of[name] = groups[key]
    banks = sorted({id(bank): bank for bank in of.values()}.values(), key=lambda bank: bank.height)
    for bank in banks:
        if len(bank.members) > 1:
            bank.name = fold([member.name for member in bank.members])
    return banks


def _tops(banks: Sequence[_Bank]) -> list[list[_Bank]]:
    """The banks without one above, by what they reach: those of two planes, which meet in the hosts, stand together."""
    reach = nx.Graph()
    by_hosts: dict[tuple[str, ...], int] = {}
    for number, bank in enumerate(banks):
        reach.add_node(number)
        if bank.height == 1:
            reach.add_edge(number, by_hosts.setdefault(bank.members[0].hosts, number))
    number_of = {id(bank): number for number, bank in enumerate(banks)}
    reach.add_edges_from((number_of[id(bank)], number_of[id(bank.parent)]) for bank in banks if bank.parent)
    parts = sorted(sorted(part) for part in nx.connected_components(reach))
    return [[banks[number] for number in part if banks[number].parent is None] for part in parts]


def _joining(banks: Sequence[_Bank], tops: Sequence[Sequence[_Bank]]) -> _Bank:
    """A bank above all tops."""
    roots = [bank for part in tops for bank in part]
    taken = {bank.name for bank in banks}
    name = next(name for name in ("top", *(f"top-{number}" for number in range(len(banks) + 1))) if name not in taken)
    bank = _Bank(name, [Switch(name)], 1 + max(root.height for root in roots), roots)
    for root in roots:
        root.parent = bank
    return bank


def _part(graph: nx.Graph, tops: Sequence[Sequence[_Bank]], source: str, site: str) -> str:
    """Give each island a site of its own; returns the sentence that says so."""
    graph.graph["islands"] = "apart"
    sizes = []
    for part in tops:
        name = part[0].name
        hosts = 0
        for node in nx.node_connected_component(graph, name):
            if graph.nodes[node]["tier"] == "endpoint":
                graph.nodes[node]["site"] = f"{site}/{name}"
                hosts += graph.nodes[node].get("hosts", 1)
        sizes.append(f"{name} ({hosts:,} {'host' if hosts == 1 else 'hosts'})")
    more = len(sizes) - _MOST_NAMED
    listed = ", ".join(sizes[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"Assumed: no switch of {source} joins its {len(sizes)} islands, {listed}: each is a site, and no job runs on two."


def _shared(switches: Sequence[Switch], domains: Mapping[str, str]) -> set[str]:
    """Domains that have hosts under several switches."""
    first: dict[str, tuple[str, ...]] = {}
    return {
        domain
        for item in switches
        for domain in {domains.get(host, "") for host in item.hosts}
        if first.setdefault(domain, item.hosts) != item.hosts
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


def _assumed(tree: Tree, source: str, defaults: Defaults, joined: bool) -> Iterator[str]:
    over = Counter(zip(("leaf", "spine", "core"), defaults.oversubscription, strict=True))
    tapers = ", ".join(f"{tier} {ratio:g}" for (tier, ratio) in over if ratio != 1)
    kinds = defaults.hosts.all
    racks = ", ".join(dict.fromkeys(str(defaults.hosts_per_rack(kind)) for kind in kinds))
    yield (
        f"Assumed: host {', '.join(kind.name for kind in kinds)}, switch {defaults.switch}, {racks} hosts a rack: {source} does not say."
    )
    yield (
        f"Assumed: a leaf switch of {source} has all NICs of its nodes and stands for as many physical switches as that needs; uplinks are "
        + (f"oversubscribed ({tapers})." if tapers else "non-blocking.")
    )
    for kind in kinds:
        if kind.domain_hosts > 1:
            yield (
                f"Assumed: scale-up domains of at most {kind.domain_hosts} hosts ({kind.name}) are those that the file names, "
                "else the nodes of a leaf in turn."
            )
    if joined:
        yield f"Assumed: one tier of switches joins what {source} leaves apart."
    if len({switch.speed for switch in tree.switches if switch.speed}) > 1:
        yield "Assumed: LinkSpeed is the speed of a switch's uplink cables relative to the fastest of its tier, which has the NIC's."
