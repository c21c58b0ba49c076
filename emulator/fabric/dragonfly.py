"""Routes over a dragonfly: from switch to switch over local and global links, directly or by way of another group."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.fabric.pairs import Pairs
from emulator.fabric.uplinks import endpoint_shares, lane_bytes_per_second
from topology.cluster import TIERS, Cluster, Float64, Int64

_LOCAL, _GLOBAL = TIERS.index("local"), TIERS.index("global")


class _Ends(NamedTuple):
    """The global links by the groups that they join, each in both directions, sorted by (source group, target group)."""

    key: Int64  # source group * groups + target group
    directed: Int64
    source: Int64  # switch nodes
    target: Int64
    speed: Float64


class DragonflyRoutes:
    """Loads of lanes between switches (Kim, Dally, Scott, Abts, ISCA'08). Pure after construction.

    *Minimal*: a local link to the switch with a global link to the target group, that link, and a local link to the target switch; lanes
    divide over the links of the two groups by speed. *Valiant*: the same twice, by way of every other group in equal parts. *Adaptive* is
    UGAL (Singh, PhD thesis, Stanford 2005; Kim et al. 4.2) as a fluid: what the direct links of two groups carry of the job's lanes at full
    speed goes there, and what they cannot spills over the other groups. Each job is routed by itself: queues of others do not turn it
    away. Where no direct link is left all of it spills; where there is no other group none does. Within a group two switches have one
    direct link, and the same holds for it and the group's other switches.
    """

    def __init__(self, cluster: Cluster, routing: str, bytes_per_second: Float64) -> None:
        links = cluster.links
        self._routing, self._nodes = routing, len(links.switches)
        self._lane_speed = lane_bytes_per_second(cluster)
        self._group = _switch_groups(cluster)
        self._groups = int(self._group.max()) + 1
        self._members = _rows(self._group, self._groups)
        self._speed = bytes_per_second
        local, across = np.flatnonzero(links.tier == _LOCAL), np.flatnonzero(links.tier == _GLOBAL)
        source = np.concatenate((links.u[local], links.v[local])).astype(np.int64)
        target = np.concatenate((links.v[local], links.u[local])).astype(np.int64)
        key = source * self._nodes + target
        order = np.argsort(key, kind="stable")
        self._local_key = key[order]
        self._local_link = np.concatenate((2 * local, 2 * local + 1))[order]
        self.local_seconds = float(links.latency_seconds[local].max(initial=0.0))
        self.global_seconds = float(links.latency_seconds[across].max(initial=0.0))
        source = np.concatenate((links.u[across], links.v[across])).astype(np.int64)
        target = np.concatenate((links.v[across], links.u[across])).astype(np.int64)
        key = self._group[source] * self._groups + self._group[target]
        speed = np.tile(bytes_per_second[across], 2)
        alive = np.bincount(key, speed, self._groups**2)
        self._joined = alive > 0.0
        speed = np.where(self._joined[key], speed, np.tile(links.bytes_per_second[across], 2))  # all dead: they stay loaded
        order = np.argsort(key, kind="stable")
        self._ends = _Ends(key[order], np.concatenate((2 * across, 2 * across + 1))[order], source[order], target[order], speed[order])
        self._capacity = alive / self._lane_speed
        self._switch_of = _rail_switches(cluster)

    def loads(self, units: Int64, rails: tuple[Pairs, ...], links: int) -> tuple[Float64, float]:
        """Lanes on every directed link, shape (2 links,), and the latency that the longest route adds to that within a switch.

        ``rails`` has the lanes between chassis, numbered by ``units``, of every rail.
        """
        switch, share = self._switch_of
        parts = [
            (switch[one, rail, a], switch[other, rail, b], pairs.lanes * share[one, rail, a] * share[other, rail, b])
            for rail, pairs in enumerate(rails)
            for one, other in ((units[pairs.source], units[pairs.target]),)
            for a in range(switch.shape[2])
            for b in range(switch.shape[2])
        ]
        source, target, lanes = (np.concatenate(column) for column in zip(*parts, strict=True))
        apart = (source != target) & (lanes > 0.0)
        key, where = np.unique(source[apart] * self._nodes + target[apart], return_inverse=True)
        source, target, lanes = key // self._nodes, key % self._nodes, np.bincount(where, lanes[apart], len(key)).astype(np.float64)
        found: list[tuple[Int64, Float64]] = []
        seconds = self._route(source, target, lanes, found) if len(key) else 0.0
        if not found:
            return np.zeros(2 * links), seconds
        directed, weight = (np.concatenate(column) for column in zip(*found, strict=True))
        return np.bincount(directed, weight, 2 * links).astype(np.float64), seconds

    def _route(self, source: Int64, target: Int64, lanes: Float64, found: list[tuple[Int64, Float64]]) -> float:
        one, other = self._group[source], self._group[target]
        inside = one == other
        self._local(source[inside], target[inside], lanes[inside], found)
        if inside.all():
            return self.local_seconds
        source, target, lanes, key = source[~inside], target[~inside], lanes[~inside], (one * self._groups + other)[~inside]
        joined = np.unique(key)
        total = np.bincount(np.searchsorted(joined, key), lanes).astype(np.float64)
        direct = self._direct_part(joined, total)
        near = direct[np.searchsorted(joined, key)] * lanes
        entry, position = self._between(key)
        part = self._share(entry, position, len(key))
        ends = self._ends
        self._local(source[position], ends.source[entry], near[position] * part, found)
        found.append((ends.directed[entry], near[position] * part))
        self._local(ends.target[entry], target[position], near[position] * part, found)
        seconds = 2.0 * self.local_seconds + self.global_seconds
        for pair in joined[direct < 1.0].tolist():
            mine = key == pair
            self._spill(pair, source[mine], target[mine], lanes[mine] - near[mine], found)
            seconds = 3.0 * self.local_seconds + 2.0 * self.global_seconds
        return seconds

    def _direct_part(self, pairs: Int64, lanes: Float64) -> Float64:
        """Of the lanes between each pair of groups, the part that takes the direct links."""
        if self._routing == "valiant":
            part = np.zeros(len(pairs))
        elif self._routing == "minimal":
            part = np.where(self._joined[pairs], 1.0, 0.0)
        else:
            part = np.minimum(1.0, self._capacity[pairs] / lanes)
        stuck = [not len(self._others(pair)) for pair in pairs.tolist()]
        return np.where(stuck, 1.0, part)

    def _others(self, pair: int) -> Int64:
        """The groups that have live links to both of a pair."""
        one, other = divmod(pair, self._groups)
        table = self._joined.reshape(self._groups, self._groups)
        return np.flatnonzero(table[one] & table[:, other])

    def _spill(self, pair: int, source: Int64, target: Int64, lanes: Float64, found: list[tuple[Int64, Float64]]) -> None:
        """Lanes between two groups in equal parts by way of all others."""
        one, other = divmod(pair, self._groups)
        by_way = self._others(pair)
        total, ends = float(lanes.sum()), self._ends
        out, out_way = self._between(one * self._groups + by_way)
        into, into_way = self._between(by_way * self._groups + other)
        out_part = self._share(out, out_way, len(by_way)) / len(by_way)
        into_part = self._share(into, into_way, len(by_way)) / len(by_way)
        found.append((ends.directed[out], total * out_part))
        found.append((ends.directed[into], total * into_part))
        for switch, weight, gateway, part, leaving in (
            (source, lanes, ends.source[out], out_part, True),
            (target, lanes, ends.target[into], into_part, False),
        ):
            gates, where = np.unique(gateway, return_inverse=True)
            parts = np.bincount(where, part)
            near, gate = np.repeat(switch, len(gates)), np.tile(gates, len(switch))
            load = np.outer(weight, parts).reshape(-1)
            self._local(near if leaving else gate, gate if leaving else near, load, found)
        first, last = np.nonzero(out_way[:, None] == into_way[None, :])
        transit = total * out_part[first] * into_part[last] * len(by_way)
        self._local(ends.target[out[first]], ends.source[into[last]], transit, found)

    def _between(self, pairs: Int64) -> tuple[Int64, Int64]:
        """The entries of ``_ends`` of each pair of groups, and for each of them the pair."""
        low, high = (np.searchsorted(self._ends.key, pairs, side=side) for side in ("left", "right"))
        counts = high - low
        position = np.repeat(np.arange(len(pairs)), counts)
        return np.arange(int(counts.sum())) + (low - (np.cumsum(counts) - counts))[position], position

    def _share(self, entry: Int64, position: Int64, pairs: int) -> Float64:
        speed = self._ends.speed[entry]
        return np.asarray(speed / np.bincount(position, speed, pairs)[position])

    def _local(self, source: Int64, target: Int64, lanes: Float64, found: list[tuple[Int64, Float64]]) -> None:
        """Between two switches of one group: over their link, and by way of all others in equal parts what it cannot carry."""
        apart = (source != target) & (lanes > 0.0)
        if not apart.any():
            return
        key, where = np.unique(source[apart] * self._nodes + target[apart], return_inverse=True)
        source, target, lanes = key // self._nodes, key % self._nodes, np.bincount(where, lanes[apart], len(key)).astype(np.float64)
        link, alive = self._local_links(source, target)
        spilt = np.where(alive, 0.0, lanes)
        if self._routing == "adaptive":
            spilt = np.where(alive, np.maximum(0.0, lanes - self._speed[link >> 1] / self._lane_speed), lanes)
        here = np.flatnonzero(spilt > 0.0)
        if len(here):
            ways = self._members[self._group[source[here]]]  # (pairs, switches of the group)
            up, first = self._local_links(source[here, None], ways)
            down, last = self._local_links(ways, target[here, None])
            count = (first & last).sum(axis=1)
            spilt[here[count == 0]] = 0.0  # no way but the direct one
            row, way = np.nonzero(first & last)
            part = (spilt[here] / np.maximum(1, count))[row]
            found += [(up[row, way], part), (down[row, way], part)]
        direct = lanes - spilt
        exists = self._local_links(source, target, dead=True)[1] & (direct > 0.0)
        found.append((link[exists], direct[exists]))

    def _local_links(self, source: Int64, target: Int64, *, dead: bool = False) -> tuple[Int64, NDArray[np.bool_]]:
        key = source * self._nodes + target
        at = np.minimum(np.searchsorted(self._local_key, key), len(self._local_key) - 1)
        link = self._local_link[at]
        return link, (self._local_key[at] == key) & (dead | (self._speed[link >> 1] > 0.0))


def _rows(group: Int64, groups: int) -> Int64:
    """The nodes of every group, shape (groups, most nodes of one), filled up with node 0."""
    nodes = np.flatnonzero(group >= 0)
    nodes = nodes[np.argsort(group[nodes], kind="stable")]
    slot = np.arange(len(nodes)) - np.searchsorted(group[nodes], group[nodes])
    rows = np.zeros((groups, int(slot.max()) + 1), dtype=np.int64)
    rows[group[nodes], slot] = nodes
    return rows


def _switch_groups(cluster: Cluster) -> Int64:
    """The group of every node, -1 for endpoints; groups without hosts are numbered after those with."""
    links = cluster.links
    group = np.full(len(links.switches), -1, dtype=np.int64)
    for peers in cluster.peers:
        if peers.level == "pod":
            group[links.u[peers.links]], group[links.v[peers.links]] = peers.unit_u, peers.unit_v
    served = np.flatnonzero(links.tier == 0)
    domain = cluster.level("domain").first_host[links.u[served]]
    group[links.v[served]] = cluster.level("pod").host_unit[domain]
    local = np.flatnonzero(links.tier == _LOCAL)
    u, v = links.u[local], links.v[local]
    while bool(((group[u] < 0) ^ (group[v] < 0)).any()):
        known = np.maximum(group[u], group[v])
        group[u], group[v] = known, known
    return group


def _rail_switches(cluster: Cluster) -> tuple[Int64, Float64]:
    """The switches of each chassis for each rail and the part of its lanes on each, both of shape (chassis, rails, most switches)."""
    links, leaf = cluster.links, cluster.level("leaf")
    domain = cluster.level("domain").first_host
    parts = []
    for rail in range(cluster.rails):
        served, share = endpoint_shares(cluster, rail)
        unit = leaf.host_unit[domain[links.u[served]]].astype(np.int64)
        parts.append((unit * cluster.rails + rail, links.v[served].astype(np.int64), share))
    place, switch, share = (np.concatenate(column) for column in zip(*parts, strict=True))
    key, where = np.unique(place * len(links.switches) + switch, return_inverse=True)
    share = np.bincount(where, share).astype(np.float64)
    place, switch = np.divmod(key, len(links.switches))
    share /= np.bincount(place, share)[place]
    slot = np.arange(len(place)) - np.searchsorted(place, place)
    shape = (len(leaf) * cluster.rails, int(slot.max()) + 1)
    switches, shares = np.zeros(shape, dtype=np.int64), np.zeros(shape)
    switches[place, slot], shares[place, slot] = switch, share
    return switches.reshape(len(leaf), cluster.rails, -1), shares.reshape(len(leaf), cluster.rails, -1)
