"""Routes over a dragonfly: from switch to switch over local and global links, directly or over another group."""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.draws.sums import add_along, add_runs, matrix_product
from emulator.fabric.detours import first_legs, second_legs, way_counts
from emulator.fabric.pairs import Pairs
from emulator.fabric.uplinks import endpoint_shares
from topology.cluster import TIERS, Cluster, Float64, Int64

_LOCAL, _GLOBAL = TIERS.index("local"), TIERS.index("global")


class GroupLanes(NamedTuple):
    """Lanes of a job from group to group, shape (pairs,) each; ``pair`` is source * groups + target, ascending."""

    pair: Int64
    lanes: Float64


class _Gates(NamedTuple):
    """The ends of global links in each group, sorted by (group, switch of the group): ``part`` is the link's share of what the two groups
    exchange, ``out`` its direction away from the group and ``into`` the other one. Shape (2 x global links,)."""

    group: Int64
    slot: Int64
    peer: Int64
    out: Int64
    into: Int64
    part: Float64


class DragonflyRoutes:
    """Loads of lanes between switches (Kim, Dally, Scott, Abts, ISCA'08). Pure after construction.

    *Minimal*: a local link to the switch with a global link to the target group, that link, and a local link to the target switch; lanes
    divide over the links of the two groups by speed. *Valiant*: the same twice, by way of every other group in equal parts. *Adaptive* is
    between them: of what two groups exchange a part takes the detour, which ``fabric.ugal`` finds from all jobs' demand. Where no direct
    link is left all of it does; where there is no other group none does.

    Within a group two switches have one direct link; what it cannot carry of a job goes by way of all other switches in equal parts (if
    adaptive). Each job decides this by itself. Everything runs on dense arrays by group and switch of the group: the cost is that of the
    cables which the job's groups have, however many lanes there are.
    """

    def __init__(self, cluster: Cluster, routing: str, bytes_per_second: Float64) -> None:
        links = cluster.links
        self._routing, self._links = routing, len(links)
        self._lane_speed = cluster.host_type.lane_bytes_per_second
        self._group = _switch_groups(cluster)
        self.groups = int(self._group.max()) + 1
        self._slot = _slots(self._group)
        self._slots = int(self._slot.max()) + 1
        local, across = (np.flatnonzero(links.tier == tier) for tier in (_LOCAL, _GLOBAL))
        self.local_seconds, self.global_seconds = (float(links.latency_seconds[ids].max(initial=0.0)) for ids in (local, across))
        u, v = np.concatenate((links.u[local], links.v[local])), np.concatenate((links.v[local], links.u[local]))
        shape = (self.groups, self._slots, self._slots)
        self._local_link = np.full(shape, -1, dtype=np.int64)
        self._local_link[self._group[u], self._slot[u], self._slot[v]] = np.concatenate((2 * local, 2 * local + 1))
        exists = self._local_link >= 0
        self._local_lanes = np.where(exists, bytes_per_second[self._local_link >> 1], 0.0) / self._lane_speed
        self._local_alive: NDArray[np.bool_] = np.asarray(self._local_lanes > 0.0)
        self._local_ways = way_counts(self._local_alive)
        self.capacity, self._gates = self._join_groups(cluster, across, bytes_per_second)  # bytes per second, (groups, groups)
        self.joined: NDArray[np.bool_] = np.asarray(self.capacity > 0.0)
        self.ways = way_counts(self.joined)
        self._switch_of = _rail_switches(cluster)
        self._chassis_group = self._group[self._switch_of[0][:, 0, 0]]
        #: Under adaptive routing: the part of the lanes between two groups that takes the detour, shape (groups, groups).
        self.spill = np.zeros((self.groups, self.groups))

    def _join_groups(self, cluster: Cluster, across: Int64, bytes_per_second: Float64) -> tuple[Float64, _Gates]:
        links, speed = cluster.links, bytes_per_second[across]
        u, v = (np.concatenate(ends).astype(np.int64) for ends in ((links.u[across], links.v[across]), (links.v[across], links.u[across])))
        pair = self._group[u] * self.groups + self._group[v]
        alive = np.bincount(pair, np.tile(speed, 2), self.groups**2).astype(np.float64)
        kept = np.where(
            alive[pair] > 0.0, np.tile(speed, 2), np.tile(links.bytes_per_second[across], 2)
        )  # if all are dead, they stay loaded
        part = kept / np.bincount(pair, kept, self.groups**2)[pair]
        order = np.lexsort((pair, self._slot[u], self._group[u]))
        out, into = np.concatenate((2 * across, 2 * across + 1)), np.concatenate((2 * across + 1, 2 * across))
        gates = _Gates(self._group[u][order], self._slot[u][order], self._group[v][order], out[order], into[order], part[order])
        return alive.reshape(self.groups, self.groups), gates

    def loads(self, units: Int64, rails: tuple[Pairs, ...]) -> tuple[Float64, float, GroupLanes]:
        """Lanes on every directed link, shape (2 links,), the latency that the longest route adds to that within a switch, and what the
        groups exchange.

        ``rails`` has the lanes between chassis, numbered by ``units``, of every rail.
        """
        group = self._chassis_group[units]
        active, place = np.unique(group, return_inverse=True)
        out, into, local = self._by_switch(units, rails, active, place)
        between = add_along(out, axis=2)  # (active, active)
        source, target = np.nonzero(between)
        crossing = GroupLanes(active[source] * self.groups + active[target], between[source, target])
        loads = np.zeros(2 * self._links)
        seconds = self.local_seconds
        if len(source):
            block = np.ix_(active, active)
            spill = self._spill_parts()[block]
            turned = bool((spill[source, target] > 0.0).any())
            seconds = (3.0 if turned else 2.0) * self.local_seconds + (2.0 if turned else 1.0) * self.global_seconds
            self._cross(active, out, into, spill if turned else None, loads, local)
        self._within(local, loads)
        return loads, seconds, crossing

    def _spill_parts(self) -> Float64:
        """The part of the lanes between each two groups that takes the detour, shape (groups, groups)."""
        if self._routing == "valiant":
            part = np.ones_like(self.spill)
        else:
            part = np.where(self.joined, self.spill if self._routing == "adaptive" else 0.0, 1.0)
        return np.where(self.ways > 0.0, part, 0.0)

    def _by_switch(self, units: Int64, rails: tuple[Pairs, ...], active: Int64, place: Int64) -> tuple[Float64, Float64, Float64]:
        """Lanes by switch: to every other active group, from every other one (both (active, active, switches)), and within a group."""
        shape = (len(active), len(active), self._slots)
        sent: list[tuple[Int64, Float64]] = []
        got: list[tuple[Int64, Float64]] = []
        inside: list[tuple[Int64, Float64]] = []
        every = range(self._switch_of[0].shape[1])
        for pairs, numbers in [(rails[0], [*every])] if len(rails) == 1 else [(pairs, [rail]) for rail, pairs in enumerate(rails)]:
            one, other = place[pairs.source], place[pairs.target]
            far, near = np.flatnonzero(one != other), np.flatnonzero(one == other)
            sent.append(self._towards(units, numbers, pairs.source[far], other[far], pairs.lanes[far], place, shape))
            got.append(self._towards(units, numbers, pairs.target[far], one[far], pairs.lanes[far], place, shape))
            inside += self._inside(numbers, units[pairs.source[near]], units[pairs.target[near]], pairs.lanes[near], active[one[near]])
        return _table(sent, shape), _table(got, shape), _table(inside, self._local_link.shape)

    def _towards(
        self, units: Int64, rails: list[int], unit: Int64, group: Int64, lanes: Float64, place: Int64, shape: tuple[int, int, int]
    ) -> tuple[Int64, Float64]:
        """Lanes of chassis to (or from) groups, on all of some rails, as entries of a table by (group, other group, switch)."""
        switch, share = self._switch_of  # (chassis, rails, ports)
        slot = self._slot[switch[units][:, rails]].reshape(len(units), -1)  # (units, rails x ports)
        part = share[units][:, rails].reshape(len(units), -1)
        total = np.bincount(unit * shape[1] + group, lanes, len(units) * shape[1])
        some = np.flatnonzero(total)
        here, there = np.divmod(some, shape[1])
        entry = ((place[here] * shape[1] + there) * shape[2])[:, None] + slot[here]
        return entry.reshape(-1), (total[some][:, None] * part[here]).reshape(-1)

    def _inside(self, rails: list[int], one: Int64, other: Int64, lanes: Float64, group: Int64) -> list[tuple[Int64, Float64]]:
        """Lanes between chassis of the same group, on each of some rails, as entries of a table by (group, switch, other switch)."""
        switch, share = self._switch_of
        found = []
        for rail, a, b in product(rails, *[range(switch.shape[2])] * 2):
            i, j = self._slot[switch[one, rail, a]], self._slot[switch[other, rail, b]]
            found.append(((group * self._slots + i) * self._slots + j, lanes * share[one, rail, a] * share[other, rail, b]))
        return found

    def _cross(self, active: Int64, out: Float64, into: Float64, spill: Float64 | None, loads: Float64, local: Float64) -> None:
        """Lanes between groups, on global links and on the local ones to and from them."""
        groups = self.groups
        between = np.zeros((groups, groups))
        block = np.ix_(active, active)
        leave, enter = (np.zeros((len(active), groups, self._slots)) for _ in range(2))  # by switch, to and from every group's gates
        if spill is None:
            between[block] = add_along(out, axis=2)
            leave[:, active], enter[:, active] = out, into
        else:
            part = spill / np.maximum(1.0, self.ways[block])  # by way of each other group
            around = np.zeros((groups, groups))
            exchanged = add_along(out, axis=2)
            around[block] = part * exchanged
            between[block] = (1.0 - spill) * exchanged
            between += first_legs(around, self.joined) + second_legs(around, self.joined)
            leave[:, active] = (1.0 - spill)[:, :, None] * out
            enter[:, active] = (1.0 - spill.T)[:, :, None] * into
            leave += self._to_gates(active, part[:, :, None] * out)
            enter += self._to_gates(active, part.T[:, :, None] * into)
            self._transit(around, local)
        gates = self._gates
        lanes = between[gates.group, gates.peer] * gates.part
        loads[gates.out] += lanes
        row = np.full(groups, -1)
        row[active] = np.arange(len(active))
        row = row[gates.group]
        for by_switch, way in ((leave, 0), (enter, 1)):
            some = np.logical_or.reduce(by_switch != 0.0, axis=2)
            entry = np.flatnonzero((row >= 0) & some[row, gates.peer])
            total, group, slot = self._at_gates(by_switch[row[entry], gates.peer[entry]], entry)
            if way == 0:
                local[group, :, slot] += total
            else:
                local[group, slot, :] += total

    def _to_gates(self, active: Int64, by_way: Float64) -> Float64:
        """What every switch has for the gates to each group that others are reached by, from what it has for those others by each way:
        shape (active, active, switches) to (active, groups, switches). The same for what comes from them."""
        if bool((self.joined | np.eye(self.groups, dtype=np.bool_)).all()):
            found = np.repeat(add_along(by_way, axis=1)[:, None], self.groups, axis=1)
            found[:, active] -= by_way
            found[np.arange(len(active)), active] = 0.0
            return np.asarray(np.maximum(found, 0.0))
        found = matrix_product(self.joined[None, :, active].astype(np.float64), by_way)
        return np.asarray(found * self.joined[active][:, :, None])

    def _transit(self, around: Float64, local: Float64) -> None:
        """Lanes of detours through a group: from the gates where they enter to those where they leave."""
        gates, target = self._gates, np.flatnonzero(around.any(axis=0))
        alive = self.joined[gates.group, gates.peer]
        entry = np.flatnonzero(alive & np.logical_or.reduce(around != 0.0, axis=1)[gates.peer])
        total, group, slot = self._at_gates(around[gates.peer[entry]][:, target], entry)
        inward = np.zeros((self.groups, len(target), self._slots))  # by way, target group and switch of the way
        inward[group, :, slot] = total
        at = np.full(self.groups, -1)
        at[target] = np.arange(len(target))
        entry = np.flatnonzero(alive & (at[gates.peer] >= 0))
        total, group, slot = self._at_gates(inward[gates.group[entry], at[gates.peer[entry]]], entry)
        local[group, :, slot] += total

    def _at_gates(self, rows: Float64, entry: Int64) -> tuple[Float64, Int64, Int64]:
        """Rows of some gates' pairs of groups, each times its link's part, added up by switch: sums, groups, switches."""
        if not len(entry):
            return rows, entry, entry
        gates = self._gates
        key = gates.group[entry] * self._slots + gates.slot[entry]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        return add_runs(rows * gates.part[entry][:, None], first), key[first] // self._slots, key[first] % self._slots

    def _within(self, local: Float64, loads: Float64) -> None:
        """Lanes between two switches of one group: over their link, and what it cannot carry in equal parts over all other switches."""
        here = np.arange(self._slots)
        local[:, here, here] = 0.0
        spilt = np.where(self._local_alive, 0.0, local)
        if self._routing == "adaptive":
            spilt = np.where(self._local_alive, np.maximum(0.0, local - self._local_lanes), local)
        spilt[self._local_ways == 0.0] = 0.0  # only the direct link
        some = np.flatnonzero(spilt.any(axis=(1, 2)))
        if len(some):
            by_way = spilt[some] / np.maximum(1.0, self._local_ways[some])
            alive = self._local_alive[some]
            local[some] += first_legs(by_way, alive) + second_legs(by_way, alive) - spilt[some]
        used = (local > 0.0) & (self._local_link >= 0)
        loads[self._local_link[used]] = local[used]


def _table(entries: list[tuple[Int64, Float64]], shape: tuple[int, int, int]) -> Float64:
    """Add up entries into a flat table."""
    where, lanes = (np.concatenate(column) for column in zip(*entries, strict=True))
    return np.bincount(where, lanes, shape[0] * shape[1] * shape[2]).astype(np.float64).reshape(shape)


def _slots(group: Int64) -> Int64:
    """The number of every switch node within its group, -1 for other nodes."""
    nodes = np.flatnonzero(group >= 0)
    nodes = nodes[np.argsort(group[nodes], kind="stable")]
    slot = np.full(len(group), -1, dtype=np.int64)
    slot[nodes] = np.arange(len(nodes)) - np.searchsorted(group[nodes], group[nodes])
    return slot


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
