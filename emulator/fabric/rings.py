"""From a placement to the links that its data-parallel rings load."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.fabric.messages import NO_LINKS, NO_WEIGHTS
from emulator.fabric.settings import FabricSettings
from emulator.fabric.uplinks import Uplinks, lane_bytes_per_second, uplinks
from topology.cluster import Cluster, Float64, Int32, Int64

#: One row of a placement: block, mask of hosts in the block, mask of GPUs taken on each of those hosts.
Row = tuple[int, int, int]


class RingFlow(NamedTuple):
    """One job's traffic in one plane."""

    plane: int
    links: Int32  # directed; empty when no ring leaves the innermost switches
    weights: Float64  # rings that cross each link
    lanes: int  # NICs of the plane that are in a ring


class _Level(NamedTuple):
    unit_of_block: list[int]
    start: Int32  # (units + 1,) into the rest
    link: Int32
    plane: Int32
    share: Float64


class _Crossed(NamedTuple):
    links: Int32  # undirected
    rings: Float64
    planes: Int32


class RingMap:
    """Where rings run on one cluster. Built once; ``flows`` is pure and costs in proportion to a placement's rows.

    A gradient is reduced inside each scale-up domain first; then, per rail, the k-th GPUs of all domains on that rail form ring k. A ring
    goes through its members in order of host number, hence leaves any unit that holds some but not all of them exactly once and comes
    back once. So the rings of rail r that cross out of unit U are min(a, b), with a the most GPUs that any domain of the job inside U
    has on rail r, and b the same outside.

    (Hierarchical all-reduce with a ring per NIC, as NCCL runs it: NVIDIA/nccl-tests, doc/PERFORMANCE.md.)

    Raises ValueError for a cluster whose blocks straddle units with uplinks, or whose hosts have a rail in more than one plane.
    """

    def __init__(self, cluster: Cluster, settings: FabricSettings) -> None:
        self._cluster = cluster
        #: Cap of every flow: the payload rate of one GPU's NIC.
        self.lane_bytes_per_second = lane_bytes_per_second(cluster) * settings.efficiency
        self._rails = cluster.rails
        self._counts: dict[int, tuple[int, ...]] = {}  # GPU mask -> GPUs per rail
        first, last = cluster.block.first_host[:-1], cluster.block.first_host[1:] - 1
        self._levels = [self._compile(table, first, last) for table in uplinks(cluster)]
        self._domain_first_host = cluster.level("domain").first_host
        #: Domain of each block where domains have several hosts, else None: then every host is a domain.
        self._block_domain: list[int] | None = None
        if cluster.host_type.domain_hosts > 1:
            self._block_domain = _units(self._domain_first_host, first).tolist()
        planes = self._rail_planes(first)
        self._block_planes = planes
        #: The plane of each rail where it is the same everywhere, else None.
        self._rail_plane: list[int] | None = planes[0].tolist() if bool((planes == planes[0]).all()) else None

    def _compile(self, table: Uplinks, first: Int32, last: Int32) -> _Level:
        unit = _units(table.level.first_host, first)
        straddling = np.flatnonzero(unit != _units(table.level.first_host, last))
        if len(straddling):
            raise ValueError(f"cluster {self._cluster.name}: block {straddling[0]} has hosts in two units of level {table.level.name}")
        return _Level(unit.tolist(), table.start, table.link, self._cluster.links.plane[table.link], table.share)

    @cached_property
    def _endpoint_links(self) -> tuple[Int64, Int64]:
        """Endpoint links sorted by domain, and where each domain's begin: shapes (endpoint links,), (domains + 1,)."""
        links = self._cluster.links
        ids = np.flatnonzero(links.tier == 0)
        ids = ids[np.argsort(links.u[ids], kind="stable")]
        return ids, np.searchsorted(links.u[ids], np.arange(len(self._domain_first_host))).astype(np.int64)

    def _rail_planes(self, first: Int32) -> Int32:
        """The plane of each rail at each block, shape (blocks, rails); -1 for a rail without a link."""
        links = self._cluster.links
        ids, start = self._endpoint_links
        domain = _units(self._domain_first_host, first)
        entry, block = _ranges(start[domain], start[domain + 1])
        planes = np.full((len(first), self._rails), -1, dtype=np.int32)
        link = ids[entry]
        for offset in range(int(links.rails[link].max(initial=0))):
            here = links.rails[link] > offset
            rows, rail, plane = block[here], links.rail_first[link[here]] + offset, links.plane[link[here]]
            if bool(((planes[rows, rail] != -1) & (planes[rows, rail] != plane)).any()):
                raise ValueError(f"cluster {self._cluster.name}: a host has one rail in two planes, which rings cannot use")
            planes[rows, rail] = plane
        return planes

    def _rail_counts(self, gpu_mask: int) -> tuple[int, ...]:
        counts = self._counts.get(gpu_mask)
        if counts is None:
            tally = [0] * self._rails
            for gpu in range(gpu_mask.bit_length()):
                tally[gpu % self._rails] += gpu_mask >> gpu & 1
            counts = self._counts[gpu_mask] = tuple(tally)
        return counts

    def flows(self, rows: Sequence[Row]) -> tuple[RingFlow, ...]:
        """The flows of a job placed on ``rows`` (in any order), by plane; none for a job inside one domain.

        Raises ValueError for a placement on hosts that no fabric connects.
        """
        blocks, domains, profiles = self._members(rows)
        if sum(domains) < 2:
            return ()
        lanes, crossed = self._crossed(blocks, domains, profiles)
        by_plane: dict[int, int] = {}
        for plane, count in zip(self._planes_of(blocks, lanes), lanes.tolist(), strict=True):
            if count:
                by_plane[plane] = by_plane.get(plane, 0) + count
        if not crossed:
            return tuple(RingFlow(plane, NO_LINKS, NO_WEIGHTS, by_plane[plane]) for plane in sorted(by_plane))
        links, rings, planes = (np.concatenate(column) for column in zip(*crossed, strict=True))
        flows = []
        for plane in sorted(by_plane):
            here = rings > 0.0 if len(by_plane) == 1 else (rings > 0.0) & (planes == plane)
            up = links[here] * 2
            flows.append(RingFlow(plane, np.concatenate((up, up + 1)), np.tile(rings[here], 2), by_plane[plane]))
        return tuple(flows)

    def _members(self, rows: Sequence[Row]) -> tuple[list[int], list[int], list[tuple[int, ...]]]:
        """Per row, in order of block: its block, how many domains it stands for, and the GPUs per rail of each of them."""
        rows = sorted(rows) if len(rows) > 1 else rows
        counts = self._rail_counts
        if self._block_domain is None:
            return [row[0] for row in rows], [row[1].bit_count() for row in rows], [counts(row[2]) for row in rows]
        blocks: list[int] = []
        profiles: list[tuple[int, ...]] = []
        domain = -1
        for block, host_mask, gpu_mask in rows:
            hosts = host_mask.bit_count()
            profile = tuple(hosts * count for count in counts(gpu_mask))
            if self._block_domain[block] == domain:
                profiles[-1] = tuple(a + b for a, b in zip(profiles[-1], profile, strict=True))
            else:
                domain = self._block_domain[block]
                blocks.append(block)
                profiles.append(profile)
        return blocks, [1] * len(blocks), profiles

    def _crossed(self, blocks: list[int], domains: list[int], profiles: list[tuple[int, ...]]) -> tuple[Int64, list[_Crossed]]:
        """Lanes in rings per rail, and per level the links crossed with their rings."""
        uniform = profiles.count(profiles[0]) == len(profiles)
        gpus = np.array(profiles[:1] if uniform else profiles, dtype=np.int64)  # of one domain of each row, (rows or 1, rails)
        times = np.array(domains)[:, None]
        lanes = gpus[0] * sum(domains) if uniform else (times * np.minimum(gpus, _most_elsewhere(gpus, times))).sum(axis=0)
        crossed = []
        for level in self._levels:
            unit_of_block = level.unit_of_block
            if unit_of_block[blocks[0]] == unit_of_block[blocks[-1]]:
                break  # units are ranges of hosts: the job is inside one, and so it is further out
            if uniform:  # some but not all members are in each unit: every ring leaves it
                units = np.array(sorted({unit_of_block[block] for block in blocks}))
                entry, _ = _ranges(level.start[units], level.start[units + 1])
                rings = gpus
            else:
                unit = np.array([unit_of_block[block] for block in blocks])
                begins = np.concatenate(([0], np.flatnonzero(np.diff(unit)) + 1))
                units, inside = unit[begins], np.maximum.reduceat(gpus, begins, axis=0)
                entry, position = _ranges(level.start[units], level.start[units + 1])
                rings = np.minimum(inside, _most_elsewhere(inside, np.ones((len(units), 1), dtype=np.int64)))[position]
            crossed.append(_Crossed(level.link[entry], (level.share[entry] * rings).sum(axis=1), level.plane[entry]))
        return lanes, crossed

    def _planes_of(self, blocks: list[int], lanes: Int64) -> list[int]:
        """The plane of each rail for this job."""
        if self._rail_plane is not None:
            return self._rail_plane
        planes = self._block_planes[blocks]
        if bool((planes != planes[0])[:, lanes > 0].any()):
            raise ValueError(f"cluster {self._cluster.name}: no fabric connects all of the job's hosts; a gang needs hosts of one fabric")
        of_rail: list[int] = planes[0].tolist()
        return of_rail

    def endpoint_lanes(self, rows: Sequence[Row]) -> tuple[Int64, Float64]:
        """The endpoint links under a job's GPUs and how many of its GPUs each serves, both of shape (links of the job,), by link id.

        What a fault there touches, and what a link's page shows. Costs in proportion to the job's hosts, not to its blocks.
        """
        cluster = self._cluster
        ids, start = self._endpoint_links
        found: list[Int64] = []
        lanes: list[Float64] = []
        for block, host_mask, gpu_mask in rows:
            hosts = int(cluster.block.first_host[block]) + np.flatnonzero([host_mask >> bit & 1 for bit in range(host_mask.bit_length())])
            domain = np.unique(_units(self._domain_first_host, hosts))
            entry, _ = _ranges(start[domain], start[domain + 1])
            link = ids[entry]
            rail = np.arange(self._rails)[None, :]
            first = cluster.links.rail_first[link].astype(np.int64)[:, None]
            serves = (rail >= first) & (rail < first + cluster.links.rails[link].astype(np.int64)[:, None])
            found.append(link)
            gpus = np.array(self._rail_counts(gpu_mask)) * (len(hosts) // len(domain))
            lanes.append((serves * gpus).sum(axis=1).astype(np.float64))
        link, where = np.unique(np.concatenate(found), return_inverse=True)
        total = np.bincount(where, np.concatenate(lanes), len(link)).astype(np.float64)
        return link[total > 0.0], total[total > 0.0]


def _units(first_host: Int32, hosts: NDArray[np.integer]) -> Int64:
    return np.searchsorted(first_host, hosts, side="right").astype(np.int64) - 1


def _ranges(begin: NDArray[np.integer], end: NDArray[np.integer]) -> tuple[Int64, Int64]:
    """The numbers of all ranges begin[i]:end[i] in a row, and for each of them its i."""
    counts = (end - begin).astype(np.int64)
    position = np.repeat(np.arange(len(counts)), counts)
    offset = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) + (begin - offset)[position], position


def _most_elsewhere(gpus: Int64, times: Int64) -> Int64:
    """Per row and rail, the most GPUs of any other member, where row i stands for ``times[i]`` equal members."""
    most = gpus.max(axis=0)
    at_most = gpus == most
    second = np.where(at_most, 0, gpus).max(axis=0)
    return np.asarray(np.where(at_most & ((at_most * times).sum(axis=0) == 1), second, most))
