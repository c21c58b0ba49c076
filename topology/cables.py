"""Single cables and physical switches of a graph whose upper tiers are aggregated.

A bank's cables are dealt to its switches in turn: first those from below, by link, then those between peers and upwards. So switch n has
cables n, n + S, n + 2 S, ... of the bank of S switches, no switch has more than one cable more than another, and none more than its radix
where the bank has as many switches as its cables need. The units below are then cabled in turn to the switches above, as the ratio of
`topology.clos` between two pods assumes.
"""

from dataclasses import dataclass

import numpy as np

from topology.cluster import Cluster, Int32, Int64


@dataclass(frozen=True, eq=False)
class Cabling:
    """How many cables of each bank come before those of a link, at the link's lower and upper end, shape (links,)."""

    lower_first: Int64
    upper_first: Int64


def cabling(cluster: Cluster) -> Cabling:
    """The place of every link's first cable among those of its two banks."""
    links = cluster.links
    count, nodes = len(links), len(links.switches)
    # Ends of links, those at upper nodes before those at lower ones, and each by link.
    node = np.concatenate((links.v, links.u))
    lanes = np.concatenate((links.lanes, links.lanes)).astype(np.int64)
    by_node = np.argsort(node, kind="stable")
    before = np.cumsum(lanes[by_node]) - lanes[by_node]
    start = np.searchsorted(node[by_node], np.arange(nodes))
    first = np.empty(2 * count, dtype=np.int64)
    first[by_node] = before - before[start][node[by_node]] if count else before
    return Cabling(lower_first=first[count:], upper_first=first[:count])


def cable_ends(cluster: Cluster, link: int, cables: Cabling | None = None) -> tuple[Int32, Int32]:
    """The physical switch at the lower and at the upper end of every cable of ``link``, shape (lanes,) each, from 0 in their bank.

    At an endpoint it is the host in its domain. ``cables``, where given, is the cluster's `cabling`. Raises IndexError.
    """
    links = cluster.links
    _check(link, len(links), "link")
    cables = cabling(cluster) if cables is None else cables
    lanes, lower, upper = int(links.lanes[link]), int(links.u[link]), int(links.v[link])
    number = np.arange(lanes, dtype=np.int64)
    if links.switches[lower]:
        low = (cables.lower_first[link] + number) % links.switches[lower]
    else:
        domain = cluster.level("domain").first_host
        low = number * int(domain[lower + 1] - domain[lower]) // lanes
    high = (cables.upper_first[link] + number) % links.switches[upper]
    return low.astype(np.int32), high.astype(np.int32)


def switch_cables(cluster: Cluster, node: int, number: int, cables: Cabling | None = None) -> list[tuple[int, Int32]]:
    """All cables of physical switch ``number`` of bank ``node``: (link, its cables), by link. Raises IndexError."""
    links = cluster.links
    _check(number, switch_count(cluster, node), f"switch in bank {node}")
    cables = cabling(cluster) if cables is None else cables
    size = int(links.switches[node])
    found = []
    for link in np.flatnonzero((links.u == node) | (links.v == node)).tolist():
        first = int((cables.upper_first if links.v[link] == node else cables.lower_first)[link])
        mine = np.arange((number - first) % size, int(links.lanes[link]), size, dtype=np.int32)
        if len(mine):
            found.append((link, mine))
    return found


def switch_count(cluster: Cluster, node: int) -> int:
    """How many physical switches a node stands for. Raises IndexError where it is none: an endpoint, or no node."""
    switches = cluster.links.switches
    if not 0 <= node < len(switches) or not switches[node]:
        raise IndexError(f"no switch {node}: switches are nodes {len(cluster.level('domain'))} to {len(switches) - 1}")
    return int(switches[node])


def _check(number: int, count: int, what: str) -> None:
    if not 0 <= number < count:
        raise IndexError(f"no {what} {number}: there are {count}")
