"""Finds a part of a cluster by its name, as tables print it, or by its number, counted over the cluster from 0.

A name has precedence over a number, since a file may name a host ``12``. If several parts share a name, only their numbers tell them apart.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from topology import names
from topology.cluster import Cluster
from topology.describe import cable_name, link_name, node_name, switch_name

#: Names that are looked for one by one; for more it pays to make an index first.
_FEW = 8


class UnknownName(ValueError):
    """There is no part of this name. ``problem`` says so, ``allowed`` says which there are."""

    def __init__(self, problem: str, allowed: str) -> None:
        super().__init__(f"{problem}; allowed: {allowed}")
        self.problem, self.allowed = problem, allowed


def find_rack(cluster: Cluster, text: str) -> int:
    """The number of a rack. Raises UnknownName."""
    racks = len(cluster.level("rack"))
    number = names.parse_rack(text)
    return _one(text, "rack", [number] if 0 <= number < racks else [], racks, names.rack)


def find_host(cluster: Cluster, text: str) -> int:
    """The number of a host. Raises UnknownName."""
    return _one(text, "host", _hosts_called(cluster, text), cluster.host_count, cluster.host_name)


def find_hosts(cluster: Cluster, texts: Sequence[str]) -> list[int]:
    """The numbers of many hosts. Raises UnknownName."""
    if cluster.host_names is None or len(texts) < _FEW:
        return [find_host(cluster, text) for text in texts]
    numbers = {name: host for host, name in enumerate(cluster.host_names)}
    return [numbers[text] if text in numbers else find_host(cluster, text) for text in texts]


def find_trunk(cluster: Cluster, text: str, word: str = "trunk") -> int:
    """The number of a trunk in ``cluster.links``. Raises UnknownName, with ``word`` for what was looked for."""
    return _one(text, word, _trunks_called(cluster, text), len(cluster.links), lambda link: link_name(cluster, link))


def find_cable(cluster: Cluster, text: str) -> tuple[int, int]:
    """A trunk and the number of a cable in it; of a trunk that is one cable its name will do. Raises UnknownName."""
    lanes = cluster.links.lanes
    whole = _trunks_called(cluster, text)
    found = [(link, 0) for link in whole if lanes[link] == 1]
    if numbered := names.parse_numbered(text, "#"):
        trunks = _trunks_called(cluster, numbered[0])
        if not trunks and 0 <= names.whole_number(numbered[0]) < len(lanes):
            trunks = [names.whole_number(numbered[0])]
        found += [(link, numbered[1]) for link in trunks if numbered[1] < lanes[link]]
        if trunks and not found:
            raise UnknownName(f"no cable {numbered[1]} in trunk {numbered[0]:.80}", f"0 to {int(lanes[trunks[0]]) - 1}")
    if len(found) == 1:
        return found[0]
    if whole and not found:
        first, last = (cable_name(cluster, whole[0], number) for number in (0, int(lanes[whole[0]]) - 1))
        raise UnknownName(f"{text:.80} is a trunk of {lanes[whole[0]]} cables", f"{first} to {last}")
    return cable_at(
        cluster, _number(text, "cable", len(found), int(lanes.sum()), lambda place: cable_name(cluster, *cable_at(cluster, place)))
    )


def cable_at(cluster: Cluster, number: int) -> tuple[int, int]:
    """The trunk of cable ``number``, counted over all trunks, and the cable's number in it."""
    return _in_turn(cluster.links.lanes, number)


def find_switch(cluster: Cluster, text: str) -> tuple[int, int]:
    """The node of a physical switch and its number in that bank. Raises UnknownName."""
    switches = cluster.links.switches
    nodes = [node for node in _nodes_called(cluster, text) if switches[node]]
    found = [(node, 0) for node in nodes if switches[node] == 1]
    if numbered := names.parse_numbered(text, "/"):
        banks = [node for node in _nodes_called(cluster, numbered[0]) if switches[node]]
        found += [(node, numbered[1]) for node in banks if numbered[1] < switches[node]]
        if banks and not found:
            raise UnknownName(f"no switch {numbered[1]} in {numbered[0]:.80}", f"0 to {int(switches[banks[0]]) - 1}")
    if len(found) == 1:
        return found[0]
    if nodes and not found:
        first, last = (switch_name(cluster, nodes[0], number) for number in (0, int(switches[nodes[0]]) - 1))
        raise UnknownName(f"{text:.80} is a bank of {switches[nodes[0]]} switches", f"{first} to {last}")
    count = int(switches.sum())
    return switch_at(cluster, _number(text, "switch", len(found), count, lambda place: switch_name(cluster, *switch_at(cluster, place))))


def switch_at(cluster: Cluster, number: int) -> tuple[int, int]:
    """The node of physical switch ``number``, counted over the cluster, and the switch's number in that bank."""
    return _in_turn(cluster.links.switches, number)


def find_plane(cluster: Cluster, text: str) -> int:
    """The number of a plane, which is its name. Raises UnknownName."""
    return _number(text, "plane", 0, int(cluster.links.plane.max()) + 1, lambda _: "")


def find_nic(cluster: Cluster, text: str) -> tuple[int, int]:
    """A host and a rail. Raises UnknownName."""
    rails = cluster.rails
    if found := names.parse_numbered(text, ":"):
        host = find_host(cluster, found[0])
        if found[1] >= rails:
            raise UnknownName(f"no rail {found[1]} of host {found[0]:.80}", f"0 to {rails - 1}")
        return host, found[1]
    count = cluster.host_count * rails
    number = _number(text, "nic", 0, count, lambda place: names.nic(cluster.host_name(place // rails), place % rails))
    return number // rails, number % rails


def _one(text: str, kind: str, called: Sequence[int], count: int, name: Callable[[int], str]) -> int:
    """The one of ``count`` parts that is so called, else the one of that number. Raises UnknownName."""
    return called[0] if len(called) == 1 else _number(text, kind, len(called), count, name)


def _number(text: str, kind: str, called: int, count: int, name: Callable[[int], str]) -> int:
    """The number that ``text`` is, where no part is ``called`` so. Raises UnknownName; who gave a name is shown that of the last part."""
    allowed = f"0 to {count - 1}"
    if called:
        raise UnknownName(f"{called} parts are called {text:.80}", f"the number of the {kind}, {allowed}")
    number = names.whole_number(text)
    if not 0 <= number < count:
        example = "" if number >= 0 else name(count - 1)
        raise UnknownName(f"no {kind} {text:.80}", f"{allowed} by number, or a name like {example}" if example else allowed)
    return number


def _hosts_called(cluster: Cluster, text: str) -> list[int]:
    if cluster.host_names is not None:
        return _places(cluster.host_names, text)
    found, racks = names.parse_place(text), cluster.level("rack").first_host
    if found is None or found[0] != "h" or found[1] >= len(racks) - 1:
        return []
    host = int(racks[found[1]]) + found[2]
    return [host] if host < racks[found[1] + 1] else []


def _nodes_called(cluster: Cluster, text: str) -> list[int]:
    """Nodes of ``cluster.links`` (endpoints, switches and banks) of this name."""
    tiers, endpoints = cluster.links.node_tier, len(cluster.level("domain"))
    found = [node for node in _endpoints_called(cluster, text) if node_name(cluster, node) == text]
    if cluster.switch_names is not None:
        found += [endpoints + place for place in _places(cluster.switch_names, text)]
    elif (switch := names.parse_switch(text)) is not None:
        node = int(np.searchsorted(tiers, switch[0])) + switch[1]
        found += [node] if node < len(tiers) and tiers[node] == switch[0] else []
    return found


def _endpoints_called(cluster: Cluster, text: str) -> Iterator[int]:
    """Domains that may be so called: that of the host of this name, or the one at this place of a rack."""
    domains, racks = cluster.level("domain").first_host, cluster.level("rack").first_host
    for host in _hosts_called(cluster, text):
        yield int(domains.searchsorted(np.int32(host), side="right")) - 1
    found = names.parse_place(text)
    if found is not None and found[0] == "d" and found[1] < len(racks) - 1:
        node = int(domains.searchsorted(racks[found[1]])) + found[2]
        if node < len(domains) - 1:
            yield node


def _trunks_called(cluster: Cluster, text: str) -> list[int]:
    links, found = cluster.links, list[int]()
    for lower, _, upper in names.parse_trunk(text):
        above = _nodes_called(cluster, upper)
        for node in _nodes_called(cluster, lower) if above else ():
            found += np.flatnonzero((links.u == node) & np.isin(links.v, above)).tolist()
    return [link for link in dict.fromkeys(found) if link_name(cluster, link) == text]


def _places(given: tuple[str, ...], text: str) -> list[int]:
    return [given.index(text)] if text in given else []


def _in_turn(counts: np.ndarray[tuple[int], np.dtype[np.int32]], number: int) -> tuple[int, int]:
    """The entry that holds item ``number``, when each holds so many, and the item's number in it."""
    start = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    entry = int(np.searchsorted(start, number, side="right")) - 1
    return entry, number - int(start[entry])
