"""From a job's placement and parallelism to the links that its traffic loads, and from where a stream runs to those that it does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.draws.sums import add_along
from emulator.fabric.channels import channels
from emulator.fabric.connections import connections
from emulator.fabric.dragonfly import DragonflyRoutes, GroupLanes
from emulator.fabric.ecmp import EcmpRoutes, UInt64, flow_names
from emulator.fabric.job_lanes import JobLanes, LaneCounter, Row, unit_numbers
from emulator.fabric.pairs import Pairs, join
from emulator.fabric.settings import FabricSettings
from emulator.fabric.stream_lanes import StreamLanes, lanes_by_plane, stream_lanes
from emulator.fabric.ugal import spill_parts
from emulator.fabric.uplinks import Uplinks, endpoint_shares, uplinks
from emulator.fabric.wan import WanRoutes
from emulator.workload.collectives import NIC_SECONDS
from emulator.workload.jobs import TrainingShape
from topology.cluster import BLOCK_HOSTS, Cluster, Float64, Int32, Int64

#: Loads of fewer lanes than this are rounding errors.
LEAST_LANES = 1e-9


class Piece(NamedTuple):
    """What a job loads in one plane: at a rate of x bytes per second per lane, ``weights * x`` on its directed channels."""

    plane: int
    links: Int32  # directed channels, ascending
    weights: Float64  # > 0
    lanes: float  # NICs of the plane that it uses


NO_GROUPS = GroupLanes(np.empty(0, dtype=np.int64), np.empty(0))


class Traffic(NamedTuple):
    """Everything that a job sends: one flow, with one rate over all its pieces because a step waits for all rails."""

    pieces: tuple[Piece, ...]  # by plane, ascending; empty for a job inside one domain and for one without bytes
    cap: float  # payload bytes per second of one lane
    hop_seconds: float  # latency between neighbours furthest apart
    groups: GroupLanes = NO_GROUPS  # what it exchanges between groups of a dragonfly, if detours depend on it


class _Level(NamedTuple):
    unit_of_block: list[int]
    start: Int32  # (units + 1,) into the rest
    link: Int32
    share: Float64  # (entries, rails)
    rail_sum: Float64  # (entries,) over rails
    latency_seconds: float  # up and down again


class TrafficMap:
    """Where traffic runs on one cluster; ``traffic`` costs in proportion to a placement's rows and the links it crosses.

    A gradient is reduced inside each scale-up domain first; then every lane of a replica has a ring (or double tree) with the same lane of
    the other replicas, on its own rail: hierarchical all-reduce with a ring per NIC, as NCCL runs it (nccl-tests doc/PERFORMANCE.md).
    Stages of a pipeline exchange activations with their neighbours, experts with all members of their group, also on the rail of the
    receiver (NCCL's PXN forwards inside the domain to get there). The loads of these collectives are mixed by their bytes. What leaves
    a unit divides over its uplinks by their healthy speed.

    Under adaptive routing a switch divides its traffic over its own uplinks by the speed that they have; it does not know which of the
    switches there have lost a link further on, as fabrics whose switches spread routing weights would.

    Raises ValueError for a cluster whose blocks straddle units with uplinks, and for ``ecmp`` on a dragonfly.
    """

    def __init__(self, cluster: Cluster, settings: FabricSettings) -> None:
        if settings.routing == "ecmp" and any(peers.level in ("leaf", "pod") for peers in cluster.peers):
            raise ValueError(
                f"fabric.routing: ecmp is for trees of switches, but {cluster.name} is a dragonfly, whose worst case is shortest paths "
                "alone; allowed: adaptive, minimal, valiant"
            )
        self._cluster, self._routing = cluster, settings.routing
        self.channels = channels(cluster, settings)
        #: Payload rate of one GPU's NIC, by host type: the cap of a job there.
        self.caps = tuple(host.lane_bytes_per_second * settings.efficiency for host in cluster.host_types)
        self._lanes = LaneCounter(cluster)
        self._tables = uplinks(cluster)
        self._levels = [self._compile(table) for table in self._tables]
        links = cluster.links
        blocks = cluster.block.first_host[:-1]
        self._chassis = unit_numbers(cluster.level("leaf").first_host, blocks).tolist()
        self._site = unit_numbers(cluster.level("site").first_host, blocks).tolist()
        self._speed = links.bytes_per_second
        self._settings = settings
        self._scale = np.ones(len(self.channels))
        self._rail_links: dict[int, tuple[Int64, Int64, Int64]] = {}
        self._dragonfly: DragonflyRoutes | None = None
        self._route_peers(self._speed)
        self._route_flows()
        self._leaf_seconds = 2.0 * float(links.latency_seconds[links.tier == 0].max(initial=0.0)) + NIC_SECONDS

    def _route_peers(self, bytes_per_second: Float64) -> None:
        by_level = {peers.level: peers for peers in self._cluster.peers}
        if by_level.keys() & {"leaf", "pod"}:
            before = self._dragonfly
            self._dragonfly = DragonflyRoutes(self._cluster, self._routing, bytes_per_second)
            if before is not None:
                self._dragonfly.spill = before.spill
        self._wan = WanRoutes(self._cluster, by_level["site"], bytes_per_second) if "site" in by_level else None

    def _route_flows(self) -> None:
        """Under ECMP: hashed flows."""
        self._ecmp: EcmpRoutes | None = None
        if self._routing == "ecmp":
            self._ecmp = EcmpRoutes(self._cluster, self.channels, polarised=self._settings.polarised, scale=self._scale)

    def _compile(self, table: Uplinks) -> _Level:
        blocks = self._cluster.block.first_host
        unit = unit_numbers(table.level.first_host, blocks[:-1])
        straddling = np.flatnonzero(unit != unit_numbers(table.level.first_host, blocks[1:] - 1))
        if len(straddling):
            raise ValueError(f"cluster {self._cluster.name}: block {straddling[0]} has hosts in two units of level {table.level.name}")
        latency = 2.0 * float(self._cluster.links.latency_seconds[table.link].max(initial=0.0))
        return _Level(unit.tolist(), table.start, table.link, table.share, add_along(table.share, axis=1), latency)

    def traffic(self, rows: Sequence[Row], shape: TrainingShape) -> Traffic:
        """The traffic of a job placed on ``rows`` (in any order).

        Raises ValueError for a placement on hosts that no fabric connects.
        """
        job = self._lanes.count(rows)
        cap = min(self.caps[number] for number in job.host_types)
        hop, groups = self._leaf_seconds, NO_GROUPS
        if job.domains < 2:
            return Traffic((), cap, hop)
        hashed = self._ecmp is not None and _within(self._site, job)
        sprayed = replace(shape, ring_bytes=0.0, pipeline_bytes=0.0) if hashed else shape
        found: list[tuple[Int64, Float64]] = []
        for level in self._levels:
            if _within(level.unit_of_block, job):
                break  # units are ranges of hosts: if the job is inside one unit, it is so at all outer levels
            hop += level.latency_seconds
            if sprayed.lane_bytes > 0.0:
                found += self._climb(level, job, sprayed)
        if self._dragonfly is not None and shape.lane_bytes > 0.0 and not _within(self._chassis, job):
            units, first_rows = _units(self._chassis, job)
            rails = job.pairs(shape, first_rows)
            loads, seconds, exchanged = self._dragonfly.loads(units, rails)
            hop += seconds
            groups = exchanged if self.groups else NO_GROUPS
            directed = np.flatnonzero(loads)
            found.append((directed, loads[directed]))
        if self._wan is not None and shape.lane_bytes > 0.0 and not _within(self._site, job):
            units, first_rows = _units(self._site, job)
            hop += self._cross(self._wan, units, job.pairs(shape, first_rows), found)
        if shape.lane_bytes <= 0.0:
            return Traffic((), cap, hop)
        if self._routing == "ecmp":
            found = self._cables(found, sprayed.lane_bytes / shape.lane_bytes)
            if self._ecmp is not None and hashed:
                loads = self._hashed(self._ecmp, rows, shape)
                directed = np.flatnonzero(loads)
                found.append((directed, loads[directed]))
        return Traffic(_pieces(self._lanes.plane_lanes(job, shape), found, self.channels.plane), cap, hop, groups)

    def stream(self, senders: Sequence[Row], receivers: Sequence[Row]) -> Traffic:
        """The traffic of a stream that sends at all times from the GPUs of some rows to those of others (``fabric.stream_lanes``)."""
        stream = stream_lanes(self._lanes, self._cluster.level("domain").first_host[:-1].astype(np.int64), senders, receivers)
        cap = min([self.caps[number] for number in sorted(stream.host_types)])
        hop, groups = self._leaf_seconds, NO_GROUPS
        found: list[tuple[Int64, Float64]] = []
        for level in self._levels:
            units, where = self._units_of(level.unit_of_block, stream)
            if len(units) == 1:
                break
            hop += level.latency_seconds
            entry, position = ranges(level.start[units], level.start[units + 1])
            link = level.link[entry].astype(np.int64)
            up, down = [add_along(level.share[entry] * lanes[position], axis=1) for lanes in stream.crossing(where, len(units))]
            found += [(2 * link, up), (2 * link + 1, down)]
        if self._dragonfly is not None:
            units, where = self._units_of(self._chassis, stream)
            if len(units) > 1:
                loads, seconds, exchanged = self._dragonfly.loads(units, stream.pairs(where, len(units)))
                hop += seconds
                groups = exchanged if self.groups else NO_GROUPS
                directed = np.flatnonzero(loads)
                found.append((directed, loads[directed]))
        if self._wan is not None:
            units, where = self._units_of(self._site, stream)
            if len(units) > 1:
                hop += self._cross(self._wan, units, stream.pairs(where, len(units)), found)
        if self._routing == "ecmp":
            found = self._cables(found, 1.0)  # many small flows, which average out
        return Traffic(_pieces(lanes_by_plane(self._lanes, stream), found, self.channels.plane), cap, hop, groups)

    def _units_of(self, unit_of_block: list[int], stream: StreamLanes) -> tuple[Int64, Int64]:
        """The units that a stream is in, and for each of its domains which of them it is in."""
        units, where = np.unique(np.array([unit_of_block[block] for block in stream.blocks.tolist()], np.int64), return_inverse=True)
        return units, where

    def _climb(self, level: _Level, job: JobLanes, shape: TrainingShape) -> list[tuple[Int64, Float64]]:
        """The directed uplinks of the job's units of a level, and the lanes that cross each."""
        units, first_rows = _units(level.unit_of_block, job)
        crossing = job.crossing(shape, first_rows[:-1], first_rows[1:])  # (units, rails or 1)
        entry, position = ranges(level.start[units], level.start[units + 1])
        link = level.link[entry].astype(np.int64)
        if crossing.shape[1] == 1:
            lanes = level.rail_sum[entry] * crossing[position, 0]
        else:
            lanes = add_along(level.share[entry] * crossing[position], axis=1)
        return [(2 * link, lanes), (2 * link + 1, lanes)]

    def _cross(self, wan: WanRoutes, units: Int64, rails: tuple[Pairs, ...], found: list[tuple[Int64, Float64]]) -> float:
        """Add what runs between sites; returns the latency of the longest path."""
        pairs = join([*rails] * (self._cluster.rails // len(rails)))
        longest = 0.0
        for source, target, lanes in zip(units[pairs.source].tolist(), units[pairs.target].tolist(), pairs.lanes.tolist(), strict=True):
            directed, part, seconds = wan.route(source, target)
            found.append((directed, lanes * part))
            longest = max(longest, seconds)
        return longest

    def _cables(self, found: list[tuple[Int64, Float64]], part: float) -> list[tuple[Int64, Float64]]:
        """Loads of directed links, spread evenly over their healthy cables (many small flows, which average out), and scaled."""
        if not found:
            return []
        directed, weight = (np.concatenate(column) for column in zip(*found, strict=True))
        start, link = self.channels.start, directed >> 1
        channel, position = ranges(start[link], start[link + 1])
        scale = self._scale[channel]
        total = np.bincount(position, scale, len(directed))[position]
        share = np.where(total > 0.0, scale / np.where(total > 0.0, total, 1.0), 1.0 / (start[link + 1] - start[link])[position])
        return [(2 * channel + (directed & 1)[position], part * weight[position] * share)]

    def _hashed(self, ecmp: EcmpRoutes, rows: Sequence[Row], shape: TrainingShape) -> Float64:
        """Lanes of rings, trees and stages on every directed cable."""
        domain, gpus = self._lanes.by_domain(rows)  # (domains,), (domains, rails)
        flows = []
        for rail in range(self._cluster.rails):
            mine = gpus[:, rail]
            if not mine.any():
                continue
            part = int(mine.sum()) / int(gpus.sum())
            stride, stage = (max(1, round(size * part)) for size in (shape.replica_gpus, shape.stage_gpus))
            source, target, weight = connections(mine, shape, stride, stage)
            lane = np.repeat(np.arange(len(domain)), mine)
            place = np.arange(len(lane)) - np.repeat(np.cumsum(mine) - mine, mine)
            nic = (domain[lane] * self._cluster.rails + rail) * BLOCK_HOSTS + place
            pairs = self._settings.queue_pairs
            names = flow_names(nic[source], nic[target], pairs)
            leaves = [self._leaf_of(ecmp, rail, domain[lane[ends]], place[ends], pairs, names) for ends in (source, target)]
            flows.append((*leaves, names, np.repeat(weight / pairs, pairs)))
        if not flows:
            return np.zeros(2 * len(self.channels))
        return ecmp.loads(*(np.concatenate(column) for column in zip(*flows, strict=True)))

    def _leaf_of(self, ecmp: EcmpRoutes, rail: int, domain: Int64, place: Int64, pairs: int, names: UInt64) -> Int64:
        """The physical leaf of each flow's NIC: the k-th of the domain on the rail; of several ports each flow hashes to one."""
        links, (served, low, high) = self._cluster.links, self._served(rail)
        domain, place = np.repeat(domain, pairs), np.repeat(place, pairs)
        port = (names % (high - low)[domain].astype(np.uint64)).astype(np.int64)
        link = served[low[domain] + port]
        each = np.maximum(1, links.lanes[link] // links.rails[link])
        return ecmp.leaf_switches(link, (rail - links.rail_first[link]).astype(np.int64) * each + place % each)

    def _served(self, rail: int) -> tuple[Int64, Int64, Int64]:
        """The endpoint links that serve a rail and are not dead, by domain, and where those of each domain begin and end."""
        known = self._rail_links.get(rail)
        if known is None:
            links = self._cluster.links
            served, share = endpoint_shares(self._cluster, rail, self._speed)
            served = served[share > 0.0]
            served = served[np.argsort(links.u[served], kind="stable")]
            bounds = np.searchsorted(links.u[served], np.arange(len(self._cluster.level("domain")) + 1)).astype(np.int64)
            known = self._rail_links[rail] = (served, bounds[:-1], bounds[1:])
        return known

    def ideal_hop_seconds(self, rows: Sequence[Row]) -> float:
        """Latency between neighbours if all of the job were under one leaf."""
        return self._leaf_seconds

    @property
    def groups(self) -> int:
        """Groups of a dragonfly whose detours depend on all jobs' demand; 0 where nothing does."""
        return self._dragonfly.groups if self._dragonfly is not None and self._routing == "adaptive" else 0

    def turn(self, demand: Int64) -> Int64:
        """Take this for what all jobs ask for between each two groups (payload bytes per second, shape (groups**2,)), and let what the
        direct links cannot carry make detours (``fabric.ugal``).

        Returns the pairs of groups, ascending, of whose traffic another part does so now: ask again for the jobs that use them.
        """
        routes = self._dragonfly
        if routes is None:
            return np.empty(0, dtype=np.int64)
        spill = spill_parts(demand.reshape(routes.spill.shape), routes.capacity * self._settings.efficiency, routes.ways)
        changed = np.flatnonzero(spill != routes.spill)
        routes.spill = spill
        return changed

    @cached_property
    def split_ports(self) -> bool:
        """Whether a NIC has ports on several leaves, so that what one cannot send goes by the other."""
        served, _ = endpoint_shares(self._cluster, 0)
        return len(np.unique(self._cluster.links.u[served])) < len(served)

    def reroute(self, scales: Mapping[int, float]) -> Int64:
        """Take channels as having these parts of their healthy speed (those not named: all of it), and route around them.

        A switch divides its traffic over its uplinks by the speed that they have, and a NIC with several ports over these (of a unit, as
        the mean of its hosts; what others send to it still splits as if its ports were whole); where none has any it stays where it was,
        and stands still. Returns the links whose part of any unit's traffic has changed, ascending: ask again for the jobs that load them
        (where there are ``groups``, after ``turn``).
        """
        speed = self._cluster.links.bytes_per_second.copy()
        for channel, scale in sorted(scales.items()):
            link = int(self.channels.link[channel])
            if self._cluster.links.tier[link] > 0 or self.split_ports:
                speed[link] -= (1.0 - scale) * float(self.channels.bytes_per_second[channel])
        tables = uplinks(self._cluster, speed)
        changed = [table.link[(table.share != old.share).any(axis=1)] for table, old in zip(tables, self._tables, strict=True)]
        self._tables = tables
        self._levels = [self._compile(table) for table in tables]
        across = np.concatenate([np.empty(0, dtype=np.int64), *(peers.links for peers in self._cluster.peers)]).astype(np.int64)
        if bool((speed[across] != self._speed[across]).any()):
            changed.append(across)  # by way of any other group or site
            self._route_peers(speed)
        self._speed = speed
        self._rail_links.clear()
        self.__dict__.pop("_endpoint_table_now", None)
        if self._routing == "ecmp":
            part = np.ones(len(self.channels))
            for channel, left in scales.items():
                part[channel] = left
            dead = np.flatnonzero((part > 0.0) != (self._scale > 0.0))
            self._scale = part
            if len(dead):
                self._route_flows()
                changed.append(np.flatnonzero(self._cluster.links.tier > 0))  # any choice may have changed
        return np.unique(np.concatenate([*changed, np.empty(0, dtype=np.int64)])).astype(np.int64)

    @cached_property
    def _endpoint_table(self) -> tuple[Int64, Int64, Float64]:
        """The endpoint table with healthy endpoints."""
        return self._serving(self._cluster.links.bytes_per_second)

    @cached_property
    def _endpoint_table_now(self) -> tuple[Int64, Int64, Float64]:
        """The endpoint table with endpoints in their present state."""
        return self._serving(self._speed) if self.split_ports else self._endpoint_table

    def _serving(self, bytes_per_second: Float64) -> tuple[Int64, Int64, Float64]:
        """Endpoint links sorted by domain, where each domain's begin, and the part of each rail's GPUs that each serves."""
        cluster, links = self._cluster, self._cluster.links
        serves = np.zeros((int(np.count_nonzero(links.tier == 0)), cluster.rails))
        ids = np.flatnonzero(links.tier == 0)
        for rail in range(cluster.rails):
            served, share = endpoint_shares(cluster, rail, bytes_per_second)
            serves[np.searchsorted(ids, served), rail] = share
        order = np.argsort(links.u[ids], kind="stable")
        ids = ids[order]
        start = np.searchsorted(links.u[ids], np.arange(len(cluster.level("domain")) + 1)).astype(np.int64)
        return ids, start, serves[order]

    def endpoint_lanes(self, rows: Sequence[Row], *, now: bool = False) -> tuple[Int64, Float64]:
        """The endpoint links under a job's GPUs and how many of its GPUs each serves, both of shape (links of the job,), by link id: while
        all ports are healthy, or ``now``.

        Used for the jobs that a fault there affects, and to show a link. Costs in proportion to the job's hosts, not to its blocks.
        """
        cluster = self._cluster
        ids, start, serves = self._endpoint_table_now if now else self._endpoint_table
        found: list[Int64] = []
        lanes: list[Float64] = []
        for block, host_mask, gpu_mask in rows:
            hosts = int(cluster.block.first_host[block]) + np.flatnonzero([host_mask >> bit & 1 for bit in range(host_mask.bit_length())])
            domain = np.unique(unit_numbers(cluster.level("domain").first_host, hosts))
            entry, _ = ranges(start[domain], start[domain + 1])
            gpus = np.array(self._lanes.rail_gpus(block, gpu_mask)) * (len(hosts) // len(domain))
            found.append(ids[entry])
            lanes.append(add_along(serves[entry] * gpus, axis=1))
        link, where = np.unique(np.concatenate(found), return_inverse=True)
        total = np.bincount(where, np.concatenate(lanes), len(link)).astype(np.float64)
        return link[total > 0.0], total[total > 0.0]

    def endpoint_load(self, rows: Sequence[Row], per_lane: Float64, *, now: bool = False) -> Float64:
        """What each link carries where each lane of ``rows[i]`` carries ``per_lane[i]``, shape (links,); 0 for those between switches.

        As ``endpoint_lanes`` for many jobs at once.
        """
        load = np.zeros(len(self._cluster.links))
        if not rows:
            return load
        ids, start, serves = self._endpoint_table_now if now else self._endpoint_table
        block = np.array([row[0] for row in rows], dtype=np.int64)
        masks = np.array([row[1] for row in rows], dtype=np.uint64)
        gpus = np.array([self._lanes.rail_gpus(row[0], row[2]) for row in rows], dtype=np.float64)
        row, bit = np.nonzero(masks[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1))
        domain = unit_numbers(self._cluster.level("domain").first_host, self._cluster.block.first_host[block[row]] + bit)
        entry, place = ranges(start[domain], start[domain + 1])
        of_row = row[place]
        lanes = add_along(serves[entry] * gpus[of_row], axis=1)
        np.add.at(load, ids[entry], lanes * per_lane[of_row])
        return load


def _within(unit_of_block: list[int], job: JobLanes) -> bool:
    return unit_of_block[job.blocks[0]] == unit_of_block[job.blocks[-1]]


def _units(unit_of_block: list[int], job: JobLanes) -> tuple[Int64, Int64]:
    """The units that a job is in, and where their rows begin, with the end of the last: shapes (units,), (units + 1,)."""
    unit = np.array([unit_of_block[block] for block in job.blocks], dtype=np.int64)
    begins = np.concatenate(([0], np.flatnonzero(np.diff(unit)) + 1))
    return unit[begins], np.append(begins, len(unit))


def _pieces(lanes: Mapping[int, float], found: Sequence[tuple[Int64, Float64]], plane: Int32) -> tuple[Piece, ...]:
    """What was found of loads on directed channels, by plane, and how many lanes use each plane. ``plane`` is that of every channel."""
    if not found:
        return tuple(Piece(number, _NO_LINKS, _NO_WEIGHTS, count) for number, count in lanes.items())
    directed, weight = (np.concatenate(column) for column in zip(*found, strict=True))
    directed, where = np.unique(directed, return_inverse=True)
    weight = np.bincount(where, weight, len(directed)).astype(np.float64)
    directed, weight = directed[weight > LEAST_LANES], weight[weight > LEAST_LANES]
    channel, plane_of = directed.astype(np.int32), plane[directed >> 1]
    planes = sorted(lanes.keys() | set(np.unique(plane_of).tolist()))
    if len(planes) == 1:
        return (Piece(planes[0], channel, weight, lanes[planes[0]]),)
    return tuple(Piece(number, channel[plane_of == number], weight[plane_of == number], lanes.get(number, 0)) for number in planes)


_NO_LINKS: Int32 = np.empty(0, dtype=np.int32)
_NO_WEIGHTS: Float64 = np.empty(0, dtype=np.float64)


def ranges(begin: NDArray[np.integer], end: NDArray[np.integer]) -> tuple[Int64, Int64]:
    """The numbers of all ranges begin[i]:end[i] in a row, and for each of them its i."""
    counts = (end - begin).astype(np.int64)
    position = np.repeat(np.arange(len(counts)), counts)
    offset = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) + (begin - offset)[position], position
