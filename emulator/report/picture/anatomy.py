"""The steps of a picture, from the whole cluster inwards: at each step the units of one level and the switches that join them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.report.picture.load import LinkLoad
from topology import names
from topology.cluster import TIERS, Cluster, Level, Peers
from topology.describe import node_name, site_name

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

#: Levels from the outside in, and the highest switch tier (`Links.node_tier`) that is inside one of their units.
_TOPS = (("site", 4), ("building", 3), ("pod", 2), ("leaf", 1), ("rack", 0), ("domain", 0))
#: What switches of a tier are called, by `Links.node_tier`.
SWITCHES = ("", "leaf", "spine", "core", "inter-building", "WAN gateway")


@dataclass(frozen=True)
class Tier:
    """The switches of one tier in the opened unit, and in the whole machine."""

    tier: int  # `Links.node_tier`
    nodes: Int64  # in the opened unit
    here: int  # physical switches there
    everywhere: int


@dataclass(frozen=True, eq=False)
class Units:
    """All units of one level of the machine; arrays have the shape (units,)."""

    level: Level
    word: str  # what one is called
    hosts: Int64
    hosts_by_type: Int64  # (units, host types)
    gpus: Int64
    watts: Float64  # the most that it draws: its hosts in training (`HostType.peak_watts`) and the switches inside
    switches: Int64  # (units, node tiers): physical ones inside
    only_switch: Int64  # the node of the one switch that a unit has and is called by; -1: none, or several
    lanes: Int64  # cables that leave it: up, or to its peers where there is nothing above
    bytes_per_second: Float64
    lane_bytes_per_second: Float64  # of its fastest cable
    weight: Float64  # what these cables count in a mean over units
    mean_ratio: Float64  # of their capacity
    peak_ratio: Float64  # of the busiest trunk of them
    down_links: Int64  # trunks of them that were down at some time

    def __len__(self) -> int:
        return len(self.hosts)


@dataclass(frozen=True, eq=False)
class Step:
    """One step inwards: the units ``members`` of ``inner`` inside one unit of the level around it, the first of them opened next."""

    title: str
    inner: Units
    members: range
    tiers: tuple[Tier, ...]  # that join the members, from the top; none where they are joined to each other
    peers: Peers | None  # links that join units of this level to each other


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The steps from the whole machine to one leaf's hosts."""

    cluster: Cluster
    first_host: Int64  # by node, the first host below it; the number of hosts where there is none
    steps: tuple[Step, ...]
    switches: Int64  # physical, by node tier
    lanes: Int64  # cables by link tier
    bytes_per_second: Float64  # by link tier, one direction
    mean_ratio: Float64  # by link tier
    peak_ratio: Float64
    down_links: Int64


def take_apart(cluster: Cluster, load: LinkLoad | None) -> Anatomy:
    """The steps of a cluster; without a load all ratios are 0."""
    links = cluster.links
    host = _first_hosts(cluster)
    steps: list[Step] = []
    around, first, end, top = "the whole", 0, cluster.host_count, 5
    for name, tier in _TOPS:
        level = next((level for level in cluster.levels if level.name == name), None)
        if level is None or tier >= top:
            continue
        if name == "rack":
            level = _cabled_racks(cluster)
        members = range(int(np.searchsorted(level.first_host, first)), int(np.searchsorted(level.first_host, end)))
        if len(members) < 2 and name != "domain":
            # The unit around is this one too: its switches are shown with what is inside.
            continue
        units = _units(cluster, level, tier, host, load)
        inside = (links.node_tier > tier) & (links.node_tier <= top) & (host >= first) & (host < end)
        tiers = []
        for number in range(top, tier, -1):
            nodes = np.flatnonzero(inside & (links.node_tier == number))
            if len(nodes):
                total = int(links.switches[links.node_tier == number].sum())
                tiers.append(Tier(number, nodes, int(links.switches[nodes].sum()), total))
        peers = next((peers for peers in cluster.peers if peers.level == name), None)
        steps.append(Step(around, units, members, tuple(tiers), peers))
        first, end, top = int(level.first_host[members.start]), int(level.first_host[members.start + 1]), tier
        around = unit_name(cluster, units, members.start)
        around = f"{'' if around.startswith(units.word) else units.word + ' '}{around} of {len(units):,}"
    size = len(TIERS)
    capacity = np.bincount(links.tier, weights=links.bytes_per_second, minlength=size).astype(np.float64)
    mean, peak, down = np.zeros(size), np.zeros(size), np.zeros(size, dtype=np.int64)
    if load is not None:
        used, possible = (np.bincount(links.tier, weights, size) for weights in (load.mean_ratio * load.weight, load.weight))
        mean = used / np.maximum(possible, 1e-300)
        np.maximum.at(peak, links.tier, load.peak_ratio)
        down = np.bincount(links.tier[load.down_seconds > 0], minlength=size)
    return Anatomy(
        cluster,
        host,
        tuple(steps),
        np.bincount(links.node_tier, weights=links.switches, minlength=len(SWITCHES)).astype(np.int64),
        np.bincount(links.tier, weights=links.lanes, minlength=size).astype(np.int64),
        capacity,
        mean,
        peak,
        down,
    )


def _cabled_racks(cluster: Cluster) -> Level:
    """Racks with the cables of their domains, which are whole in them."""
    rack, domain = cluster.level("rack"), cluster.level("domain")
    first = np.searchsorted(domain.first_host, rack.first_host)
    return Level("rack", rack.first_host, domain.uplink_start[first], domain.uplinks)


def _first_hosts(cluster: Cluster) -> Int64:
    """By node, the first host below it: links run upwards, and their order of tiers carries it from the endpoints to the top."""
    links = cluster.links
    host = np.full(len(links.switches), cluster.host_count, dtype=np.int64)
    host[: len(cluster.level("domain"))] = cluster.level("domain").first_host[:-1]
    for tier in range(max(links.node_tier) + 1):
        rising = (links.node_tier[links.u] == tier) & (links.node_tier[links.v] > tier)
        np.minimum.at(host, links.v[rising], host[links.u[rising]])
    return host


def _units(cluster: Cluster, level: Level, top: int, host: Int64, load: LinkLoad | None) -> Units:
    links, count = cluster.links, len(level)
    unit, leaving = np.repeat(np.arange(count), np.diff(level.uplink_start)), level.uplinks.astype(np.int64)
    for peers in cluster.peers:
        if peers.level == level.name and not len(level.uplinks):
            unit = np.concatenate((unit, peers.unit_u, peers.unit_v))
            leaving = np.concatenate((leaving, peers.links, peers.links))

    # Peers of units without hosts are numbered after the level's own.
    unit, leaving = unit[unit < count], leaving[unit < count]

    def total(values: Float64) -> Float64:
        return np.bincount(unit, weights=values[leaving], minlength=count).astype(np.float64)

    def most(values: Float64) -> Float64:
        result = np.zeros(count)
        np.maximum.at(result, unit, values[leaving])
        return result

    of_node = np.minimum(np.searchsorted(level.first_host, host, side="right") - 1, count - 1)
    mine = (links.node_tier > 0) & (links.node_tier <= top) & (host < cluster.host_count)
    switches = np.zeros((count, len(SWITCHES)), dtype=np.int64)
    np.add.at(switches, (of_node[mine], links.node_tier[mine]), links.switches[mine])
    only = np.full(count, -1, dtype=np.int64)
    only[of_node[mine]] = np.flatnonzero(mine)
    only[switches.sum(axis=1) != 1] = -1

    by_type = np.zeros((count, len(cluster.host_types)), dtype=np.int64)
    edges = np.union1d(cluster.block.first_host, level.first_host)  # a rack may be part of a block, a block of a rack
    block = np.searchsorted(cluster.block.first_host, edges[:-1], side="right") - 1
    at = np.searchsorted(level.first_host, edges[:-1], side="right") - 1
    np.add.at(by_type, (at, cluster.block_type[block]), np.diff(edges))

    capacity = total(links.bytes_per_second)
    weight, mean, peak, down = capacity, np.zeros(count), np.zeros(count), np.zeros(count, dtype=np.int64)
    if load is not None:
        weight = total(load.weight)
        mean = total(load.mean_ratio * load.weight) / np.maximum(weight, 1e-300)
        peak, down = most(load.peak_ratio), total((load.down_seconds > 0).astype(np.float64)).astype(np.int64)
    return Units(
        level=level,
        word=_word(cluster, level.name, switches),
        hosts=np.diff(level.first_host).astype(np.int64),
        hosts_by_type=by_type,
        gpus=by_type @ np.array([host.gpus for host in cluster.host_types]),
        watts=by_type @ np.array([host.peak_watts for host in cluster.host_types])
        + np.bincount(of_node[mine], (links.switch_watts * links.switches)[mine], count),
        switches=switches,
        only_switch=only,
        lanes=total(links.lanes.astype(np.float64)).astype(np.int64),
        bytes_per_second=capacity,
        lane_bytes_per_second=most(links.bytes_per_second / links.lanes),
        weight=weight,
        mean_ratio=mean,
        peak_ratio=peak,
        down_links=down,
    )


def _word(cluster: Cluster, level: str, switches: Int64) -> str:
    """What a unit of the level is called in this kind of fabric."""
    dragonfly = any(peers.level == "pod" for peers in cluster.peers)
    if level == "pod":
        return "group" if dragonfly else "pod"
    if level == "leaf":
        if dragonfly:
            return "switch" if (switches[:, 1] <= 1).all() else "chassis"
        return "array" if (switches[:, 1] > 1).any() else "leaf"
    if level == "domain":
        return "host" if cluster.host_types[0].domain_hosts == 1 else "domain"
    return level


def unit_name(cluster: Cluster, units: Units, unit: int) -> str:
    """Its name where it has one (``r00003``, ``r00000-h03``, ``leaf-00003``, a site's own), else what and which: ``building 3``."""
    match units.level.name:
        case "site":
            return site_name(cluster, unit)
        case "pod":
            return f"{units.word} {names.pod(unit)}"
        case "rack":
            return names.rack(unit)
        case "domain":
            return node_name(cluster, unit)
        case "leaf" if units.only_switch[unit] >= 0:
            return node_name(cluster, int(units.only_switch[unit]))
    return f"{units.word} {unit}"
