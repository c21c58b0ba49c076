"""ECMP with real hashing: which physical cables the flows of connections take.

Every switch hashes a flow's addresses and ports with a seed of its own and takes one of its equal-cost cables that are healthy and from
which the target can be reached. All packets of the flow use it, so two flows may share a cable while another one is idle (Hopps, RFC 2992;
the collisions: Al-Fares et al., Hedera, NSDI'10). Switches' hash functions are not published; a good one is as good as another, and
this one is the finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA'14).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.fabric.channels import Channels
from topology.cables import cabling, upper_switches
from topology.cluster import Cluster, Float64, Int64

UInt64 = NDArray[np.uint64]
#: Tries to find a cable from which the target can be reached, before a flow counts as cut off and is put on a dead one.
TRIES = 64


class _Choices(NamedTuple):
    """Cables sorted by what leads to them."""

    key: Int64
    directed: Int64  # channels
    switch: Int64  # at the other end, numbered over all physical switches


class EcmpRoutes:
    """The physical switches and cables of a Clos. Pure after construction. ``scale`` is what is left of every channel's speed."""

    def __init__(self, cluster: Cluster, channels: Channels, *, polarised: bool, scale: Float64) -> None:
        links = cluster.links
        self._polarised, self._directed = polarised, 2 * len(channels)
        self._switches = links.switches
        self._first_switch = np.concatenate(([0], np.cumsum(links.switches))).astype(np.int64)  # by node
        self._node = np.repeat(np.arange(len(links.switches)), links.switches)  # by physical switch
        cables = cabling(cluster)
        self._upper_node, self._upper_first = links.v.astype(np.int64), cables.upper_first
        upward = (links.tier > 0) & (links.node_tier[links.u] < links.node_tier[links.v])
        channel = np.flatnonzero(upward[channels.link])
        link = channels.link[channel].astype(np.int64)
        number = (channel - channels.start[link]).astype(np.int64)
        low = self._first_switch[links.u[link]] + (cables.lower_first[link] + number) % links.switches[links.u[link]]
        high = self._first_switch[links.v[link]] + upper_switches(cluster, np.flatnonzero(upward), cables)
        #: By tier from the leaves: the leaf itself, or the unit of a node of a higher tier.
        self._unit = _node_units(cluster)
        unit = np.choose(
            np.clip(links.node_tier[links.u[link]] - 1, 0, len(self._unit) - 1), [table[links.u[link]] for table in self._unit]
        )
        self._units = 1 + max(int(table.max()) for table in self._unit)
        alive = scale[channel] > 0.0
        self._up = _choices(low[alive], 2 * channel[alive], high[alive])
        self._down = _choices((high * self._units + unit)[alive], 2 * channel[alive] + 1, low[alive])
        self._dead_up = dict(zip(low[~alive].tolist(), (2 * channel[~alive]).tolist(), strict=True))
        self._dead_down = dict(zip(low[~alive].tolist(), (2 * channel[~alive] + 1).tolist(), strict=True))

    def leaf_switches(self, link: Int64, cable: Int64) -> Int64:
        """The physical leaves at the upper ends of cables of endpoint links."""
        node = self._upper_node[link]
        return np.asarray(self._first_switch[node] + (self._upper_first[link] + cable) % self._switches[node])

    def loads(self, source: Int64, target: Int64, flow: UInt64, weight: Float64) -> Float64:
        """Lanes on every directed channel, shape (2 channels,), of flows with these names between physical leaves."""
        apart = source != target
        source, target, flow, weight = source[apart], target[apart], flow[apart], weight[apart]
        climbs = np.ones(len(source), dtype=np.int64)
        for table in self._unit[1:]:
            climbs += table[self._node[source]] != table[self._node[target]]
        loads = np.zeros(self._directed)
        for height in np.unique(climbs).tolist():
            mine = np.flatnonzero(climbs == height)
            for attempt in range(TRIES):
                path, arrived = self._hash(source[mine], target[mine], flow[mine], height, attempt)
                for hop in path:
                    loads += np.bincount(hop[arrived], weight[mine[arrived]], self._directed)
                mine = mine[~arrived]
                if not len(mine):
                    break
            for one, other, lanes in zip(source[mine].tolist(), target[mine].tolist(), weight[mine].tolist(), strict=True):
                stuck = self._dead_up.get(one, self._dead_down.get(other, min(self._dead_up.values(), default=0)))
                loads[stuck] += lanes
        return loads

    def _hash(self, source: Int64, target: Int64, flow: UInt64, height: int, attempt: int) -> tuple[list[Int64], NDArray[np.bool_]]:
        """One choice after the other, ``height`` tiers up and down again: the directed channel of every hop, and which flows arrive."""
        at, leaf = source, self._node[target]
        path = []
        for step in (*range(height), *range(-height, 0)):
            key = at if step >= 0 else np.where(at < 0, -1, at * self._units + self._unit[-step - 1][leaf])
            choices = self._up if step >= 0 else self._down
            low, high = (np.searchsorted(choices.key, key, side=side) for side in ("left", "right"))
            seed = np.where(at < 0, 0, 0 if self._polarised else at).astype(np.uint64)
            value = _mix(flow ^ _mix(seed * np.uint64(TRIES) + np.uint64(attempt)))
            some = high > low
            place = np.where(some, low + (value % np.maximum(1, high - low).astype(np.uint64)).astype(np.int64), 0)
            path.append(choices.directed[place] if len(choices.key) else place)
            at = np.where(some, choices.switch[place] if len(choices.key) else -1, -1)
        return path, at == target


def flow_names(source: Int64, target: Int64, queue_pairs: int) -> UInt64:
    """The hash of each flow's addresses and ports, shape (connections * queue_pairs,): NICs, and a UDP source port for each queue pair.

    RoCEv2 keeps the destination port; NICs take a source port per queue pair so that ECMP can tell them apart.
    """
    pair = _mix(_mix(source.astype(np.uint64)) ^ (target.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)))
    ports = np.arange(queue_pairs, dtype=np.uint64)
    return np.asarray(_mix(pair[:, None] + ports * np.uint64(0xD1342543DE82EF95)).reshape(-1))


def _mix(value: UInt64) -> UInt64:
    """The finaliser of splitmix64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)))


def _choices(key: Int64, directed: Int64, switch: Int64) -> _Choices:
    order = np.lexsort((directed, key))
    return _Choices(key[order], directed[order], switch[order])


def _node_units(cluster: Cluster) -> list[Int64]:
    """By tier from the leaves: the node itself, then the unit of each level above that a node is in, shape (nodes,) each."""
    links = cluster.links
    domain = np.full(len(links.switches), len(cluster.level("domain")) - 1, dtype=np.int64)  # the first one below a node
    endpoint = links.switches == 0
    domain[endpoint] = np.flatnonzero(endpoint)
    for tier in range(int(links.node_tier.max()) + 1):
        here = (links.node_tier[links.u] == tier) & (links.node_tier[links.v] > tier)
        np.minimum.at(domain, links.v[here], domain[links.u[here]])
    host = cluster.level("domain").first_host[domain]
    units: list[Int64] = [np.arange(len(links.switches))]
    known = {len(cluster.level("leaf"))} if len(cluster.level("pod")) < len(cluster.level("leaf")) else set()
    for level in cluster.levels:
        if level.name in ("pod", "building") and len(level) not in known:
            known.add(len(level))
            units.append(level.host_unit[host].astype(np.int64))
    return units
