"""Single cables and physical switches of a graph whose upper tiers are aggregated.

A bank's cables are dealt to its switches by number, cable n to switch n mod S of S: first those of endpoints, by link, then those from
switches below, then those between peers, then those upwards. So no switch has more than one cable more than another, and none more than
its radix where the bank has as many switches as its cables need. The numbers of cables from switches below are not in turn: each unit
spreads its own evenly (`topology.striping`), so that any two units share switches, as the ratio of `topology.clos` between two pods
assumes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topology.cluster import Cluster, Int32, Int64
from topology.striping import striped


@dataclass(frozen=True, eq=False)
class Cabling:
    """By link, shape (links,): how many cables of its lower bank come before its own, and of its upper bank if that deals cables in turn.

    Where the links into a bank are striped, ``upper_first`` is that of the first of them.
    """

    lower_first: Int64
    upper_first: Int64


def cabling(cluster: Cluster) -> Cabling:
    """The place of every link's first cable among those of its two banks."""
    links = cluster.links
    count, nodes = len(links), len(links.switches)
    stripes = _stripes(cluster)
    kind = np.where(stripes, 1, np.where(links.tier == 0, 0, 2))
    node = np.concatenate((links.v, links.u))
    lanes = np.concatenate((links.lanes, links.lanes)).astype(np.int64)
    by_node = np.lexsort((np.concatenate((kind, np.full(count, 3))), node))
    before = np.cumsum(lanes[by_node]) - lanes[by_node]
    start = np.searchsorted(node[by_node], np.arange(nodes))
    first = np.empty(2 * count, dtype=np.int64)
    first[by_node] = before - before[start][node[by_node]] if count else before
    upper = first[:count]
    least = np.full(nodes, np.iinfo(np.int64).max)
    np.minimum.at(least, links.v[stripes], upper[stripes])
    return Cabling(lower_first=first[count:], upper_first=np.where(stripes, least[links.v], upper))


def _stripes(cluster: Cluster) -> NDArray[np.bool_]:
    """Whether a link leads from switches to switches above them."""
    links = cluster.links
    return (links.tier > 0) & (links.node_tier[links.u] < links.node_tier[links.v])


def upper_switches(cluster: Cluster, chosen: Int64, cables: Cabling) -> Int32:
    """The switch at the upper end of every cable of the links ``chosen`` (ascending), link after link, from 0 in its bank."""
    links = cluster.links
    stripes = _stripes(cluster)
    lanes = links.lanes[chosen].astype(np.int64)
    start = np.concatenate(([0], np.cumsum(lanes)))
    number = np.arange(start[-1]) - np.repeat(start[:-1], lanes)  # of each cable, in its link and then in its bank
    several = stripes[chosen] & (links.switches[links.v[chosen]] > 1)
    into = np.flatnonzero(stripes)
    into = into[np.argsort(links.v[into], kind="stable")]
    for node in np.unique(links.v[chosen[several]]).tolist():
        low, high = np.searchsorted(links.v[into], (node, node + 1))
        bank = into[low:high]
        switch = striped(links.lanes[bank].astype(np.int64), int(links.switches[node]))
        end = np.cumsum(links.lanes[bank], dtype=np.int64)
        mine = np.isin(bank, chosen)
        places = np.searchsorted(chosen, bank[mine])
        for place, stop, size in zip(places.tolist(), end[mine].tolist(), lanes[places].tolist(), strict=True):
            number[start[place] : start[place] + size] = switch[stop - size : stop]
    each = np.repeat(chosen, lanes)
    return np.asarray((cables.upper_first[each] + number) % links.switches[links.v[each]], dtype=np.int32)


def cable_ends(cluster: Cluster, link: int, cables: Cabling | None = None) -> tuple[Int32, Int32]:
    """The physical switch at the lower and at the upper end of every cable of ``link``, shape (lanes,) each, from 0 in their bank.

    At an endpoint it is the host in its domain. ``cables``, where given, is the cluster's `cabling`. Raises IndexError.
    """
    links = cluster.links
    _check(link, len(links), "link")
    cables = cabling(cluster) if cables is None else cables
    lanes, lower = int(links.lanes[link]), int(links.u[link])
    number = np.arange(lanes, dtype=np.int64)
    if links.switches[lower]:
        low = (cables.lower_first[link] + number) % links.switches[lower]
    else:
        domain = cluster.level("domain").first_host
        low = number * int(domain[lower + 1] - domain[lower]) // lanes
    return low.astype(np.int32), upper_switches(cluster, np.array([link]), cables)


def switch_cables(cluster: Cluster, node: int, number: int, cables: Cabling | None = None) -> list[tuple[int, Int32]]:
    """All cables of physical switch ``number`` of bank ``node``: (link, its cables), by link. Raises IndexError."""
    links = cluster.links
    _check(number, switch_count(cluster, node), f"switch in bank {node}")
    cables = cabling(cluster) if cables is None else cables
    below, others = np.flatnonzero(links.v == node), np.flatnonzero(links.u == node)
    lanes = np.concatenate((links.lanes[below], links.lanes[others])).astype(np.int64)
    start = np.cumsum(lanes) - lanes
    each, cable = np.repeat(np.arange(len(lanes)), lanes), np.arange(int(lanes.sum())) - np.repeat(start, lanes)
    upwards = each >= len(below)
    in_turn = (np.repeat(cables.lower_first[others], links.lanes[others]) + cable[upwards]) % links.switches[node]
    mine = np.flatnonzero(np.concatenate((upper_switches(cluster, below, cables), in_turn)) == number)
    of_link: dict[int, Int32] = {}
    for link in np.unique(each[mine]).tolist():
        of_link[int(np.concatenate((below, others))[link])] = cable[mine[each[mine] == link]].astype(np.int32)
    return sorted(of_link.items())


def switch_count(cluster: Cluster, node: int) -> int:
    """How many physical switches a node stands for. Raises IndexError for an endpoint and for an unknown node."""
    switches = cluster.links.switches
    if not 0 <= node < len(switches) or not switches[node]:
        raise IndexError(f"no switch {node}: switches are nodes {len(cluster.level('domain'))} to {len(switches) - 1}")
    return int(switches[node])


def _check(number: int, count: int, what: str) -> None:
    if not 0 <= number < count:
        raise IndexError(f"no {what} {number}: there are {count}")
