"""From the rows of a placement to the lanes that it has in each unit, and how many of them cross out of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emulator.draws.sums import add_along
from emulator.fabric.pairs import Pairs, exchange_pairs, join, neighbour_pairs, ring_pairs, tree_pairs
from emulator.fabric.patterns import exchange_lanes, member_lanes, neighbour_lanes, strided_lanes
from emulator.fabric.uplinks import endpoint_shares
from emulator.workload.jobs import TrainingShape
from topology.cluster import Cluster, Float64, Int32, Int64

#: One row of a placement: block, mask of hosts in the block, mask of GPUs taken on each of those hosts.
Row = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _Rail:
    """One rail of a job, or several with the same counts: per row of the job, the GPUs there of one domain; equal rows stand together."""

    gpus: Int64  # (rows,)
    times: Int64  # (rows,) domains that a row stands for

    def total(self) -> int:
        return int((self.gpus * self.times).sum())

    def classes(self) -> list[tuple[int, NDArray[np.bool_]]]:
        """Rings with the same members where domains are reduced first: how many there are, and which rows are in them.

        Ring k goes through the k-th GPU on the rail of every domain that has at least k.
        """
        values = sorted(set(self.gpus.tolist()) - {0})
        return [(high - low, self.gpus >= high) for low, high in pairwise([0, *values])]


@dataclass(frozen=True, eq=False)
class JobLanes:
    """A job's rows in order of host number. ``rails`` has one entry where the job has as many GPUs on every rail, else one per rail."""

    blocks: list[int]  # (rows,)
    domains: int
    host_types: frozenset[int]
    rails: tuple[_Rail, ...]
    rail_count: int

    def crossing(self, shape: TrainingShape, begin: Int64, end: Int64) -> Float64:
        """Lanes that cross out of each unit, given as ranges of rows; shape (units, rails), or (units, 1) for alike rails.

        The collectives are mixed by their bytes. Replicas, stages and groups have on a rail their part of the job's GPUs there.
        """
        gpus = self._gpus
        known: dict[int, Float64] = {}
        for rail in self.rails:
            if id(rail) not in known:
                known[id(rail)] = _rail_crossing(rail, shape, begin, end, rail.total() / gpus)
        return np.stack([known[id(rail)] for rail in self.rails], axis=1)

    def pairs(self, shape: TrainingShape, rows: Int64) -> tuple[Pairs, ...]:
        """Lanes from unit to unit, by rail as in ``rails``, where unit i has the rows from ``rows[i]`` up to ``rows[i + 1]``."""
        known: dict[int, Pairs] = {}
        for rail in self.rails:
            if id(rail) not in known:
                known[id(rail)] = _rail_pairs(rail, shape, rows, rail.total() / self._gpus)
        return tuple(known[id(rail)] for rail in self.rails)

    @property
    def _gpus(self) -> float:
        alike = self.rail_count if len(self.rails) == 1 else 1
        return float(alike * sum(rail.total() for rail in self.rails))

    def used(self, shape: TrainingShape) -> Float64:
        """Lanes of every row that send something, shape (rows, rails) or (rows, 1)."""
        columns = []
        for rail in self.rails:
            everyone = shape.pipeline_bytes > 0.0 or shape.expert_bytes > 0.0 or shape.context_bytes > 0.0
            if everyone or shape.replica_gpus * rail.total() > int(rail.gpus.max()) * self._gpus:
                columns.append(rail.gpus * rail.times)
            else:
                mine = [lanes * rows for lanes, rows in rail.classes() if int(rail.times[rows].sum()) > 1]
                columns.append(rail.times * sum(mine, np.zeros(len(rail.gpus), dtype=np.int64)))
        return np.stack(columns, axis=1).astype(np.float64)


def _rail_crossing(rail: _Rail, shape: TrainingShape, begin: Int64, end: Int64, part: float) -> Float64:
    lanes = np.concatenate(([0], np.cumsum(rail.gpus * rail.times))).astype(np.float64)
    first, last, total, most = lanes[begin], lanes[end], float(lanes[-1]), int(rail.gpus.max())
    crossing = np.zeros(len(begin))
    if total == 0.0:
        return crossing
    if shape.ring_bytes > 0.0:
        stride = shape.replica_gpus * part
        if stride > most:
            ring = strided_lanes(shape.collective, first, last, total, stride)
        else:
            ring = np.zeros(len(begin))
            for rings, rows in rail.classes():
                members = np.concatenate(([0], np.cumsum(rail.times * rows)))
                ring += rings * member_lanes(shape.collective, members[begin], members[end], int(members[-1]))
        crossing += shape.ring_bytes / shape.lane_bytes * ring
    if shape.pipeline_bytes > 0.0:
        stage, replica = shape.stage_gpus * part, shape.replica_gpus * part
        crossing += shape.pipeline_bytes / shape.lane_bytes * neighbour_lanes(first, last, total, stage, replica)
    for group, size in ((shape.expert_gpus, shape.expert_bytes), (shape.context_gpus, shape.context_bytes)):
        if size > 0.0:
            crossing += size / shape.lane_bytes * exchange_lanes(first, last, total, group * part, float(most))
    return crossing


def _rail_pairs(rail: _Rail, shape: TrainingShape, rows: Int64, part: float) -> Pairs:
    lanes = np.concatenate(([0], np.cumsum(rail.gpus * rail.times))).astype(np.float64)
    bounds, most = lanes[rows], int(rail.gpus.max())
    found: list[Pairs] = []

    def add(pairs: list[Pairs], times: float) -> None:
        found.extend(some._replace(lanes=some.lanes * times) for some in pairs)

    if bounds[-1] == 0.0:
        return join([])
    if shape.ring_bytes > 0.0:
        between = tree_pairs if shape.collective == "tree" else ring_pairs
        stride, weight = shape.replica_gpus * part, shape.ring_bytes / shape.lane_bytes
        if stride > most:
            add(between(bounds, stride), weight)
        else:
            for rings, members in rail.classes():
                before = np.concatenate(([0], np.cumsum(rail.times * members))).astype(np.float64)
                add(between(before[rows], 1.0), weight * rings)
    if shape.pipeline_bytes > 0.0:
        add(neighbour_pairs(bounds, shape.stage_gpus * part, shape.replica_gpus * part), shape.pipeline_bytes / shape.lane_bytes)
    for group, size in ((shape.expert_gpus, shape.expert_bytes), (shape.context_gpus, shape.context_bytes)):
        if size > 0.0:
            add(exchange_pairs(bounds, group * part, float(most)), size / shape.lane_bytes)
    return join(found)


class LaneCounter:
    """Counts the GPUs of placements on one cluster by rail, and by the plane that serves them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._rails = cluster.rails
        self._counts: dict[tuple[int, int], tuple[int, ...]] = {}  # (host type, GPU mask) -> GPUs per rail
        self._block_type = cluster.block_type.tolist()
        first = cluster.block.first_host[:-1]
        domain = unit_numbers(cluster.level("domain").first_host, first)
        #: Domain of each block where domains have several hosts, else None: then every host is a domain.
        self._block_domain: list[int] | None = None
        if any(host.domain_hosts > 1 for host in cluster.host_types):
            self._block_domain = domain.tolist()
        self._wan = any(peers.level == "site" for peers in cluster.peers)
        self._planes, self._part, self._group = _rail_planes(cluster, domain)

    def rail_gpus(self, block: int, gpu_mask: int) -> tuple[int, ...]:
        """GPUs of the mask on each rail of a host of the block."""
        kind = self._block_type[block]
        counts = self._counts.get((kind, gpu_mask))
        if counts is None:
            host = self._cluster.host_types[kind]
            each = min(self._rails, host.nics)
            tally = [0] * self._rails
            for gpu in range(gpu_mask.bit_length()):
                tally[gpu % each] += gpu_mask >> gpu & 1
            counts = self._counts[kind, gpu_mask] = tuple(tally)
        return counts

    def count(self, rows: Sequence[Row]) -> JobLanes:
        """The lanes of a placement, its rows in any order."""
        rows = sorted(rows) if len(rows) > 1 else rows
        counts = self.rail_gpus
        if self._block_domain is None:
            blocks = [row[0] for row in rows]
            times = [row[1].bit_count() for row in rows]
            profiles = [counts(row[0], row[2]) for row in rows]
        else:
            blocks, times, profiles = self._by_domain(rows, self._block_domain)
        kinds = frozenset(self._block_type[block] for block in blocks)
        repeat = np.array(times, dtype=np.int64)
        if profiles.count(profiles[0]) == len(profiles) and profiles[0].count(profiles[0][0]) == self._rails:
            rails: tuple[_Rail, ...] = (_Rail(np.full(len(blocks), profiles[0][0], dtype=np.int64), repeat),)
        else:
            table = np.array(profiles, dtype=np.int64)
            shared: dict[bytes, _Rail] = {}
            rails = tuple(shared.setdefault(table[:, rail].tobytes(), _Rail(table[:, rail], repeat)) for rail in range(self._rails))
            if len(shared) == 1:
                rails = rails[:1]
        return JobLanes(blocks, sum(times), kinds, rails, self._rails)

    def by_domain(self, rows: Sequence[Row]) -> tuple[Int64, Int64]:
        """The domains of a placement in order of number, and their GPUs on each rail, shape (domains,) and (domains, rails)."""
        hosts: list[Int64] = []
        gpus: list[Int64] = []
        for block, host_mask, gpu_mask in rows:
            bits = np.flatnonzero([host_mask >> bit & 1 for bit in range(host_mask.bit_length())])
            hosts.append(int(self._cluster.block.first_host[block]) + bits)
            gpus.append(np.tile(np.array(self.rail_gpus(block, gpu_mask), dtype=np.int64), (len(bits), 1)))
        domain = unit_numbers(self._cluster.level("domain").first_host, np.concatenate(hosts))
        known, where = np.unique(domain, return_inverse=True)
        total = np.zeros((len(known), self._rails), dtype=np.int64)
        np.add.at(total, where, np.concatenate(gpus))
        return known, total

    def blocks_of(self, hosts: Int64) -> tuple[Int64, frozenset[int]]:
        """The block of each host, and the host types of all of them."""
        blocks = unit_numbers(self._cluster.block.first_host, hosts)
        return blocks, frozenset([self._block_type[block] for block in blocks.tolist()])

    def planes_of(self, blocks: Int64) -> tuple[Int32, Float64]:
        """The planes of each rail of these blocks' domains, with -1 for none, and the part of the rail's GPUs that each serves: both of
        shape (blocks, rails, most planes of a rail).
        """
        kinds = self._group[blocks]
        return self._planes[kinds], self._part[kinds]

    def _by_domain(self, rows: Sequence[Row], block_domain: list[int]) -> tuple[list[int], list[int], list[tuple[int, ...]]]:
        blocks: list[int] = []
        times: list[int] = []
        profiles: list[tuple[int, ...]] = []
        domain = -1
        for block, host_mask, gpu_mask in rows:
            hosts, profile = host_mask.bit_count(), self.rail_gpus(block, gpu_mask)
            if self._cluster.host_types[self._block_type[block]].domain_hosts == 1:
                domain = -1
                blocks.append(block)
                times.append(hosts)
                profiles.append(profile)
                continue
            profile = tuple(hosts * count for count in profile)
            if block_domain[block] == domain:
                profiles[-1] = tuple(a + b for a, b in zip(profiles[-1], profile, strict=True))
            else:
                domain = block_domain[block]
                blocks.append(block)
                times.append(1)
                profiles.append(profile)
        return blocks, times, profiles

    def plane_lanes(self, job: JobLanes, shape: TrainingShape) -> dict[int, int]:
        """Lanes of a job that send anything, by plane, ascending; a NIC with ports in two planes counts by their speed.

        Raises ValueError for a placement on hosts that no fabric connects.
        """
        used = np.broadcast_to(job.used(shape), (len(job.blocks), self._rails))
        groups = self._group[job.blocks] if len(self._planes) > 1 else np.zeros(1, dtype=np.int64)
        kinds = np.unique(groups)
        if len(kinds) == 1:
            mine = self._part[kinds[0]] * add_along(used, axis=0)[:, None]
        else:
            rails = add_along(used, axis=0) > 0
            if not self._wan and bool((self._planes[kinds] != self._planes[kinds[0]])[:, rails].any()):
                name = self._cluster.name
                raise ValueError(f"cluster {name}: no fabric connects all of the job's hosts; a gang needs hosts of one fabric")
            mine = np.stack([self._part[kind] * add_along(used[groups == kind], axis=0)[:, None] for kind in kinds])
        planes = self._planes[kinds].reshape(-1)
        serves = planes >= 0
        total = np.bincount(planes[serves], mine.reshape(-1)[serves])
        return {plane: round(lanes) for plane, lanes in enumerate(total.tolist()) if lanes > 0.0}


def _rail_planes(cluster: Cluster, domain: Int64) -> tuple[Int32, Float64, Int64]:
    """How rails lie in planes: the planes of each rail, shape (kinds of block, rails, most planes of a rail), with -1 for none; the part
    of the rail's GPUs that each serves, of the same shape; and the kind of every block, where ``domain`` is that of its first host."""
    plane_of, blocks, rails = cluster.links.plane, len(domain), cluster.rails
    entries = []  # block, rail, plane, part
    for rail in range(rails):
        served, share = endpoint_shares(cluster, rail)
        order = np.argsort(cluster.links.u[served], kind="stable")
        served, share = served[order], share[order]
        low, high = (np.searchsorted(cluster.links.u[served], domain, side=side) for side in ("left", "right"))
        for offset in range(int((high - low).max(initial=0))):
            here = np.flatnonzero(high - low > offset)
            at = low[here] + offset
            entries.append((here, np.full(len(here), rail), plane_of[served[at]].astype(np.int64), share[at]))
    block, rail_of, plane, part = (np.concatenate(column) for column in zip(*entries, strict=True))
    key, where = np.unique((block * rails + rail_of) * (int(plane.max()) + 1) + plane, return_inverse=True)
    part = np.bincount(where, part)
    at, plane = np.divmod(key, int(plane.max()) + 1)
    slot = np.arange(len(at)) - np.searchsorted(at, at)
    planes = np.full((blocks * rails, int(slot.max()) + 1), -1, dtype=np.int32)
    parts = np.zeros(planes.shape)
    planes[at, slot], parts[at, slot] = plane, part
    kinds, first, group = np.unique(planes.reshape(blocks, -1), axis=0, return_index=True, return_inverse=True)
    shape = (len(kinds), rails, planes.shape[1])
    return kinds.reshape(shape), parts.reshape(blocks, -1)[first].reshape(shape), group.reshape(-1).astype(np.int64)


def unit_numbers(first_host: Int32, hosts: NDArray[np.integer]) -> Int64:
    """The unit of each host, from where units begin."""
    return np.searchsorted(first_host, hosts, side="right").astype(np.int64) - 1
