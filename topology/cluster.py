"""The compiled cluster: immutable arrays that everything downstream reads.

Hosts are numbered so that the hosts of every unit of every level are consecutive; a level is therefore just the offsets of its
units. Links are undirected trunks between a lower node ``u`` and an upper node ``v``; direction ``2 * link`` is up (u to v) and
``2 * link + 1`` is down.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from topology import names
from topology.catalog import HostType

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

#: A block's whole free hosts are one 64-bit mask, so no block has more hosts than this.
BLOCK_HOSTS = 64

#: Link tiers, in the order of ``Links.tier``. The last two join switches of a dragonfly: those of one group, and those of two.
TIERS = ("host_leaf", "leaf_spine", "spine_core", "inter_building", "wan", "local", "global")


@dataclass(frozen=True, eq=False)
class Level:
    """One level of the hierarchy: unit ``i`` holds hosts ``first_host[i]`` up to ``first_host[i + 1]``.

    ``uplinks[uplink_start[i]:uplink_start[i + 1]]`` are the links that leave unit ``i`` upwards: what a job that is both inside and
    outside the unit has to cross. Levels without switches of their own (rack, block) have none.
    """

    name: str
    first_host: Int32  # (units + 1,)
    uplink_start: Int32  # (units + 1,)
    uplinks: Int32  # link ids

    def __len__(self) -> int:
        return len(self.first_host) - 1

    @cached_property
    def host_unit(self) -> Int32:
        """The unit of every host, shape (hosts,)."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.first_host))


@dataclass(frozen=True, eq=False)
class Links:
    """The fabric. Nodes 0..D-1 are the endpoints (one per domain, in order), the rest are switches or banks of equal switches.

    A *bank* stands for ``switches`` physical switches of one tier that are wired alike; adaptive spraying spreads over them evenly.
    """

    u: Int32  # (links,) lower node
    v: Int32  # (links,) upper node
    lanes: Int32  # (links,) parallel cables
    bytes_per_second: Float64  # (links,) all lanes together, one direction, before routing efficiency
    tier: NDArray[np.int8]  # (links,) index into TIERS
    rail_first: NDArray[np.int16]  # (links,) first rail that uses the link
    rails: NDArray[np.int16]  # (links,) how many consecutive rails use it
    plane: Int32  # (links,) connected component of the fabric without its hosts and without the WAN, which is a plane of its own (the last)
    switches: Int32  # (nodes,) physical switches the node stands for; 0 for endpoints
    node_tier: NDArray[np.int8]  # (nodes,) 0 endpoint, 1 leaf (or a dragonfly's switch), 2 spine, 3 core, 4 inter-building, 5 WAN gateway
    switch_watts: Float64  # (nodes,) what each of these switches draws, whatever it carries; 0 for endpoints
    latency_seconds: Float64  # (links,) one way

    def __len__(self) -> int:
        return len(self.u)

    @cached_property
    def cables(self) -> int:
        """Cables of every tier: the lanes of all links."""
        return int(self.lanes.sum())


@dataclass(frozen=True, eq=False)
class Peers:
    """Links that join the units of one level to each other, rather than to a switch above: a dragonfly's, and a WAN's.

    Between chassis (level leaf) run local links, between groups (level pod) global ones, between sites those of the WAN. They are no
    uplinks of any unit. Units of switches without hosts (a group of storage and services) are numbered after the level's own. Local links
    may join two switches of one chassis: both units are then the same.
    """

    level: str
    links: Int32  # ids
    unit_u: Int32  # (links,) the unit that node u is in
    unit_v: Int32  # (links,)


@dataclass(frozen=True)
class Counts:
    """Physical counts (not the aggregated graph's), as `gigawatt topology show -o json` prints them."""

    gpus: int
    hosts: int
    racks: int
    domains: int
    leaf: int
    spine: int
    core: int
    host_leaf_links: int
    leaf_spine_links: int
    spine_core_links: int
    oversubscription_leaf: float
    oversubscription_spine: float
    bisection_bytes_per_second: float
    worst_pod_to_pod_ratio: float
    inter_building: int = 0  # switches between the buildings of a site
    wan: int = 0  # gateways
    inter_building_links: int = 0
    gateway_links: int = 0  # between a site's fabric and its gateways
    wan_links: int = 0  # between gateways
    local_links: int = 0  # of dragonflies: within groups
    global_links: int = 0  # between groups
    taper: float | None = None  # the worst group's bandwidth from its hosts over that to other groups; None: no dragonfly


@dataclass(frozen=True, eq=False)
class Cluster:
    """Everything about a cluster that does not change. ``levels`` run from the innermost (host) outwards to the site.

    Level names, where present, in order: host, domain, rack, leaf, pod, building, site; where a rack holds several chassis of a dragonfly,
    the leaf units come before the racks. ``block`` is apart: at most 64 consecutive hosts
    that share their domain (when it has several hosts) or their leaf switches.
    """

    name: str
    host_types: tuple[HostType, ...]
    block_type: NDArray[np.int8]  # (blocks,) index into host_types: the hosts of a block are equal
    host_count: int
    levels: tuple[Level, ...]
    block: Level
    links: Links
    counts: Counts
    rails: int
    site_names: tuple[str, ...]
    assumptions: tuple[str, ...] = ()  # what is assumed about it, in sentences
    peers: tuple[Peers, ...] = ()  # innermost first
    host_names: tuple[str, ...] | None = None  # (hosts,) where the graph names them
    switch_names: tuple[str, ...] | None = None  # by node, after the endpoints, where the graph names them

    @property
    def host_type(self) -> HostType:
        """The type of hosts of a cluster that has one; the first of several."""
        return self.host_types[0]

    @property
    def gpus_per_host(self) -> int:
        return self.host_type.gpus

    @property
    def islands(self) -> bool:
        """Whether nothing joins the sites: no job can run on two of them."""
        return len(self.site_names) > 1 and not any(peers.level == "site" for peers in self.peers)

    @cached_property
    def type_hosts(self) -> tuple[int, ...]:
        """How many hosts there are of each type."""
        counts = np.bincount(self.block_type, weights=np.diff(self.block.first_host), minlength=len(self.host_types))
        return tuple(int(count) for count in counts)

    @cached_property
    def gpu_count(self) -> int:
        return sum(hosts * host.gpus for hosts, host in zip(self.type_hosts, self.host_types, strict=True))

    def level(self, name: str) -> Level:
        """The level called ``name``. Raises KeyError where the cluster has none."""
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(name)

    def host_name(self, host: int) -> str:
        """Its name in the graph, or rack number and place in the rack, e.g. ``r00012-h03``."""
        if self.host_names is not None:
            return self.host_names[host]
        rack = self.level("rack")
        unit = int(rack.first_host.searchsorted(np.int32(host), side="right")) - 1
        return names.host(unit, host - int(rack.first_host[unit]))
