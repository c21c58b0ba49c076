"""Clos (fat-tree) fabrics: parameters in, ``networkx.Graph`` out, with exact switch and cable counts.

With radix k at the speed of the NICs and N NICs at full bisection (Leiserson 1985; Al-Fares, Loukissas, Vahdat, SIGCOMM'08; the same
formulas give every row of NVIDIA's DGX SuperPOD B200 reference architecture):

    leaf = ceil(N / (k/2))
    N <= k^2/2 (two tiers):    spine = ceil(N / k)
    N <= k^3/4 (three tiers):  spine = leaf, core = ceil(N / k)

*Rail-optimised*: NIC r of every host of an *array* is on the array's leaf r. *Plain*: all NICs of a host are on one leaf. Where an array
(the last, or each where ``array_hosts`` makes them small) does not fill its leaves, its rails share as few leaves as hold them, which is
what the formula counts, unless arrays are kept whole.
A site over the limit of three tiers is several fabrics, *buildings*, joined by one inter-building tier.
*Dual-ToR*: each NIC has several ports of a share of its speed, each to a leaf of its own; *dual-plane*: the leaves of the n-th ports are a
fabric of their own (Alibaba HPN, Qian et al., SIGCOMM'24). N above is then the NIC ports of one plane, and k is at their speed.

The graph is in the vocabulary of `topology.vocabulary`, its upper tiers aggregated: a leaf is a node, the spines of a pod are one *bank*
node (one per pod and rail where rails are isolated), so are the cores of a building.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, floor
from typing import Literal

import networkx as nx
import numpy as np

from topology.catalog import HOSTS, SWITCHES, HostType, SwitchType
from topology.striping import worst_pair_ratio
from topology.vocabulary import TopologyError

__all__ = ["MOST_CABLE_EDGES", "ClosPlan", "TopologyError", "build"]

#: A graph of this size takes about 4 GiB.
MOST_CABLE_EDGES = 5_000_000


@dataclass(frozen=True)
class ClosPlan:
    """What to build. Raises TopologyError where no such fabric exists.

    ``whole_arrays`` buys every array, leaf and spine complete, with all its uplinks, even where the last array has fewer hosts.
    ``even_striping`` takes as many spines as divide a leaf's uplinks evenly, and all of these (DGX SuperPOD H100).
    Oversubscription is ports down to ports up of a switch (1: non-blocking), rounded to whole ports in favour of hosts.
    ``pod_arrays`` is the most arrays a pod has, by default as many as a spine's ports down reach with one link a leaf.
    ``planes`` are equal fabrics that share nothing but the NICs; a NIC has a port in each, or ``nic_ports`` in all.
    ``uplink_ports`` is how many ports, at the speed of a NIC's port, one cable between switches takes (HPN: 2, 400G above 200G).
    ``spine_switch`` is the switch above the leaves where it is another one.
    ``aggregate="rails"`` also joins the leaves of an array into one bank, with one edge a host: for millions of GPUs.
    """

    name: str
    host: HostType
    switch: SwitchType
    hosts: int
    hosts_per_rack: int
    rail_optimised: bool = True
    rails_meet: bool = True
    whole_arrays: bool = False
    even_striping: bool = False
    leaf_oversubscription: float = 1.0
    spine_oversubscription: float = 1.0
    array_hosts: int | None = None
    pod_arrays: int | None = None
    planes: int = 1
    nic_ports: int | None = None
    uplink_ports: int = 1
    spine_switch: SwitchType | None = None
    buildings: int = 1
    building_oversubscription: float = 1.0
    aggregate: Literal["none", "rails"] = "none"
    site: str = "site"
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:  # noqa: C901, PLR0912 - one check after another, in the order of the fields
        for field in ("hosts", "hosts_per_rack", "planes", "uplink_ports", "buildings"):
            if getattr(self, field) < 1:
                raise TopologyError(f"{field} is {getattr(self, field)}: at least 1 is needed", field)
        if self.hosts_per_rack % self.host.domain_hosts:
            raise TopologyError(
                f"hosts_per_rack is {self.hosts_per_rack}, but {self.host.name} hosts come in domains of {self.host.domain_hosts}: "
                "whole domains only",
                "hosts_per_rack",
            )
        if self.ports < 1 or self.ports % self.planes:
            raise TopologyError(f"nic_ports is {self.nic_ports}: a whole number for each of {self.planes} planes is needed", "nic_ports")
        for field, switch, radix, speed in (
            ("switch", self.switch, self.radix, self.port_bytes_per_second),
            ("spine_switch", self.upper_switch, self.upper_radix, self.cable_bytes_per_second),
        ):
            if radix < 4 or radix % 2:
                raise TopologyError(
                    f"switch {switch.name} has radix {radix} at {speed * 8e-9:g} Gb/s, the speed of its ports: "
                    "an even number of at least 4 is needed",
                    "switch" if self.spine_switch is None and self.uplink_ports == 1 else field,
                )
        for field, most in (
            ("leaf_oversubscription", self.radix // self.uplink_ports - 1),
            ("spine_oversubscription", self.upper_radix - 1),
            ("building_oversubscription", 1e6),
        ):
            if not 1 <= getattr(self, field) <= most:
                raise TopologyError(f"{field} is {getattr(self, field):g}: allowed are 1 (non-blocking) to {most:g}", field)
        if not self.rails_meet and not self.rail_optimised:
            raise TopologyError("isolated rails need a rail-optimised fabric", "rails_meet")
        if not self.rails_meet and self.aggregate == "rails":
            raise TopologyError("aggregate='rails' joins the rails of an array, so rails cannot be isolated", "aggregate")
        if self.leaf_endpoints < 1:
            raise TopologyError(
                f"a leaf has {self.leaf_down} ports down, fewer than the {self.bundle} NICs that one {self.host.name} domain puts on it",
                "switch",
            )
        most = self.leaf_endpoints * self.host.domain_hosts
        if self.array_hosts is not None and not 1 <= self.array_hosts <= most:
            raise TopologyError(f"array_hosts is {self.array_hosts}: the leaf's ports down allow 1 to {most}", "array_hosts")
        if self.array_hosts is not None and self.array_hosts % self.host.domain_hosts:
            raise TopologyError(
                f"array_hosts is {self.array_hosts}: {self.host.name} comes in domains of {self.host.domain_hosts}", "array_hosts"
            )
        most = max(1, self.spine_down // self.plane_leaves)
        if self.pod_arrays is not None and not 1 <= self.pod_arrays <= most:
            raise TopologyError(
                f"pod_arrays is {self.pod_arrays}: the spine's {self.spine_down} ports down allow 1 to {most}", "pod_arrays"
            )
        if self.buildings > self.endpoints:
            raise TopologyError(f"buildings is {self.buildings}, more than the {self.endpoints} domains", "buildings")
        if self.building_leaves > self.upper_radix * self.spine_down:
            least = ceil(self.hosts / max(1, self.max_hosts))
            raise TopologyError(
                f"{self.hosts} {self.host.name} hosts in {self.buildings} building(s) put {self.building_leaves} leaves in a plane, but "
                f"three tiers of {self.upper_switch.name}, radix {self.upper_radix} at {self.cable_bytes_per_second * 8e-9:g} Gb/s, reach "
                f"{self.upper_radix * self.spine_down}: at most {self.max_hosts} hosts a building, so {least} buildings or a larger switch",
                "buildings",
            )
        cables = self.endpoints * self.ports * (1 if self.aggregate == "rails" else self.array_leaves)
        if cables > MOST_CABLE_EDGES:
            hint = (
                "aggregate='rails' has one for all rails of a host" if self.aggregate == "none" and self.rail_optimised else "fewer hosts"
            )
            raise TopologyError(f"the graph would have {cables} host cables, more than {MOST_CABLE_EDGES}; {hint}", "aggregate")

    @property
    def ports(self) -> int:
        """Ports of a NIC, each to a leaf of its own."""
        return self.planes if self.nic_ports is None else self.nic_ports

    @property
    def port_bytes_per_second(self) -> float:
        """Of one port of a NIC."""
        return self.host.nic_bytes_per_second / self.ports

    @property
    def cable_bytes_per_second(self) -> float:
        """Of one cable between switches."""
        return self.port_bytes_per_second * self.uplink_ports

    @property
    def radix(self) -> int:
        """Ports of a leaf at the speed of the NICs' ports."""
        return self.switch.ports_at(self.port_bytes_per_second)

    @property
    def upper_switch(self) -> SwitchType:
        return self.spine_switch or self.switch

    @property
    def upper_radix(self) -> int:
        """Ports of a spine or core at the speed of the cables between switches."""
        return self.upper_switch.ports_at(self.cable_bytes_per_second)

    @property
    def leaf_up(self) -> int:
        """Cables upwards of a leaf."""
        return floor(self.radix / (1 + self.leaf_oversubscription) / self.uplink_ports)

    @property
    def leaf_down(self) -> int:
        return self.radix - self.leaf_up * self.uplink_ports

    @property
    def spine_up(self) -> int:
        return floor(self.upper_radix / (1 + self.spine_oversubscription))

    @property
    def spine_down(self) -> int:
        return self.upper_radix - self.spine_up

    @property
    def array_leaves(self) -> int:
        """Leaves of a whole array for one port of each NIC: one per rail, or one."""
        return self.host.nics if self.rail_optimised else 1

    @property
    def bundle(self) -> int:
        """NICs that one endpoint (domain) has on one leaf."""
        return self.host.domain_hosts * self.host.nics // self.array_leaves

    @property
    def leaf_endpoints(self) -> int:
        return self.leaf_down // self.bundle

    @property
    def array_endpoints(self) -> int:
        return self.array_hosts // self.host.domain_hosts if self.array_hosts else self.leaf_endpoints

    @property
    def plane_leaves(self) -> int:
        """Leaves of an array in one plane."""
        return (self.array_leaves if self.rails_meet else 1) * (self.ports // self.planes)

    @property
    def endpoints(self) -> int:
        """Scale-up domains of the site; the last may lack hosts."""
        return ceil(self.hosts / self.host.domain_hosts)

    @property
    def building_leaves(self) -> int:
        """Leaves in one plane of the largest building."""
        whole, rest = divmod(ceil(self.endpoints / self.buildings), self.array_endpoints)
        partial = self.partial_leaves(rest) * (self.ports // self.planes) if rest else 0
        return whole * self.plane_leaves + min(self.plane_leaves, partial)

    def partial_leaves(self, endpoints: int) -> int:
        """Leaves of an array with this number of endpoints, for one port of each NIC: as few as hold their cables, or one per rail."""
        if self.whole_arrays or self.even_striping or not self.rails_meet:
            return self.array_leaves
        return min(self.array_leaves, ceil(endpoints * self.array_leaves / self.leaf_endpoints))

    @property
    def max_hosts(self) -> int:
        """Most hosts of one building: every core has at least one port to each pod, so a plane has at most radix pods."""
        return self.upper_radix * self.spine_down // self.plane_leaves * self.array_endpoints * self.host.domain_hosts


@dataclass(frozen=True)
class _Leaf:
    """A leaf, or the joined leaves of an array. A cable is (endpoint, first rail, rails), of a lane per host and rail."""

    node: str
    array: int
    rail: int
    rails: int
    ups: tuple[int, ...]  # lanes upwards of each physical leaf
    cables: list[tuple[int, int, int]]


def build(plan: ClosPlan) -> nx.Graph:
    """The graph of a plan."""
    graph = nx.Graph(
        name=plan.name,
        host=plan.host.name if HOSTS.get(plan.host.name) == plan.host else plan.host,
        switch=_name(plan.switch),
        hosts_per_rack=plan.hosts_per_rack,
        site=plan.site,
        assumptions=list(plan.assumptions),
    )
    kind = "host" if plan.host.domain_hosts == 1 else "domain"
    names = [f"{kind}-{number}" for number in range(plan.endpoints)]
    hosts = [plan.host.domain_hosts] * plan.endpoints
    hosts[-1] = plan.hosts - (plan.endpoints - 1) * plan.host.domain_hosts
    graph.add_nodes_from(names, tier="endpoint")
    if hosts[-1] < plan.host.domain_hosts:
        graph.nodes[names[-1]]["hosts"] = hosts[-1]
    bounds = [plan.endpoints * building // plan.buildings for building in range(plan.buildings + 1)]
    ratios = []
    speed = {} if plan.ports == 1 else {"lane_bytes_per_second": plan.port_bytes_per_second}
    for building, plane in product(range(plan.buildings), range(plan.planes)):
        prefix = (f"b{building}-" if plan.buildings > 1 else "") + (f"plane{plane}-" if plan.planes > 1 else "")
        leaves = [
            leaf
            for port in range(plan.ports // plan.planes)
            for leaf in _leaves(plan, prefix, range(bounds[building], bounds[building + 1]), hosts, port)
        ]
        leaves.sort(key=lambda leaf: leaf.array)
        for leaf in leaves:
            graph.add_node(leaf.node, tier="leaf", switches=len(leaf.ups))
            graph.add_edges_from(
                (names[endpoint], leaf.node, {"lanes": hosts[endpoint] * rails, "rail": rail, "rails": rails} | speed)
                for endpoint, rail, rails in leaf.cables
            )
        ratios.append(_upper_tiers(plan, graph, prefix, leaves))
    if plan.buildings > 1:
        lanes = tuple(cable["lanes"] for _, _, cable in graph.edges("inter-building", data=True))
        graph.nodes["inter-building"]["switches"] = switches = ceil(sum(lanes) / plan.upper_radix)
        ratios.append(worst_pair_ratio(lanes, switches))
    graph.graph["worst_pod_to_pod_ratio"] = min(ratios)
    return graph


def _name(switch: SwitchType) -> str | SwitchType:
    """Of a switch in the catalog, else its record."""
    return switch.name if SWITCHES.get(switch.name) == switch else switch


def _leaves(plan: ClosPlan, prefix: str, endpoints: range, hosts: list[int], port: int) -> Iterator[_Leaf]:
    """The leaves that one port of each NIC has in a plane of one building, array by array."""
    twin = f"-t{port}" if plan.ports > plan.planes else ""
    full = plan.whole_arrays or plan.even_striping
    rails_of_bundle = plan.host.nics // plan.array_leaves
    for array, low in enumerate(range(endpoints.start, endpoints.stop, plan.array_endpoints)):
        members = range(low, min(endpoints.stop, low + plan.array_endpoints))
        folds = plan.partial_leaves(len(members)) < plan.array_leaves
        if folds:
            groups = list(_folded(members, plan.array_leaves, plan.leaf_endpoints))
            downs = [sum(hosts[endpoint] * rails for endpoint, _, rails in cables) for cables in groups]
        else:
            groups = [] if plan.aggregate == "rails" else list(_unfolded(members, plan.array_leaves, rails_of_bundle))
            downs = [sum(hosts[members.start : members.stop]) * rails_of_bundle] * plan.array_leaves
        ups = [plan.leaf_up if full else ceil(down * plan.leaf_up / plan.leaf_down) for down in downs]
        if plan.aggregate == "rails":
            joined = [(endpoint, 0, plan.host.nics) for endpoint in members]
            yield _Leaf(f"leaf-{prefix}a{array}{twin}", array, 0, plan.host.nics, tuple(ups), joined)
            continue
        for number, (cables, up) in enumerate(zip(groups, ups, strict=True)):
            rail, end = cables[0][1], cables[-1][1] + cables[-1][2]
            yield _Leaf(f"leaf-{prefix}a{array}-{number}{twin}", array, rail, end - rail, (up,), cables)


def _unfolded(members: range, leaves: int, rails: int) -> Iterator[list[tuple[int, int, int]]]:
    """One leaf per rail (or one for all rails)."""
    for leaf in range(leaves):
        yield [(endpoint, leaf * rails, rails) for endpoint in members]


def _folded(members: range, rails: int, leaf_endpoints: int) -> Iterator[list[tuple[int, int, int]]]:
    """The rails of a partial array one after the other on as few leaves as hold them."""
    bundles = [(endpoint, rail) for rail in range(rails) for endpoint in members]
    for at in range(0, len(bundles), leaf_endpoints):
        by_endpoint: dict[int, list[int]] = {}
        for endpoint, rail in bundles[at : at + leaf_endpoints]:
            by_endpoint.setdefault(endpoint, []).append(rail)
        yield sorted(((endpoint, on[0], len(on)) for endpoint, on in by_endpoint.items()), key=lambda cable: (cable[1], cable[0]))


def _upper_tiers(plan: ClosPlan, graph: nx.Graph, prefix: str, leaves: list[_Leaf]) -> float:
    """Add the spines and cores of one building; returns the worst bandwidth ratio between two of its pods (or leaves)."""
    arrays = leaves[-1].array + 1
    two_tiers = (sum(len(leaf.ups) for leaf in leaves) if plan.rails_meet else arrays * plan.plane_leaves) <= plan.upper_radix
    pod_arrays = arrays if two_tiers else plan.pod_arrays or max(1, plan.spine_down // plan.plane_leaves)
    pod_of_array = np.arange(arrays) // pod_arrays
    if 0 < arrays % pod_arrays < pod_arrays / 2:
        # A last pod of few uplinks could miss the cores that another one reaches, so the arrays are dealt evenly.
        pods = ceil(arrays / pod_arrays)
        pod_of_array = np.searchsorted([arrays * pod // pods for pod in range(1, pods)], np.arange(arrays), side="right")
    by_group: dict[tuple[int, int], list[_Leaf]] = {}
    for leaf in leaves:
        by_group.setdefault((-1 if plan.rails_meet else leaf.rail, int(pod_of_array[leaf.array])), []).append(leaf)
    full = plan.whole_arrays or plan.even_striping
    nic_speed = plan.cable_bytes_per_second == plan.host.nic_bytes_per_second
    speed = {} if nic_speed else {"lane_bytes_per_second": plan.cable_bytes_per_second}
    record = {"switch": _name(plan.spine_switch)} if plan.spine_switch else {}
    ratio = 1.0
    planes = sorted({plane for plane, _ in by_group})
    for plane in planes:
        suffix = "" if plane < 0 else f"-r{plane}"
        rails = {"rail": max(0, plane), "rails": plan.host.nics if plane < 0 else 1, **speed}
        tops: list[tuple[str, int]] = []  # banks at the top so far and their lanes upwards
        for pod in sorted(pod for of, pod in by_group if of == plane):
            group = by_group[plane, pod]
            uplinks = tuple(lanes for leaf in group for lanes in leaf.ups)
            down = sum(uplinks)
            outer = ceil(down / plan.building_oversubscription) if two_tiers and plan.buildings > 1 else 0
            spines = ceil((down + outer) / plan.upper_radix) if two_tiers else ceil(down / plan.spine_down)
            if plan.even_striping:
                spines = next((n for n in range(spines, plan.leaf_up) if plan.leaf_up % n == 0), max(spines, plan.leaf_up))
            bank = f"spine-{prefix}p{pod}{suffix}"
            graph.add_node(bank, tier="spine", switches=spines, **record)
            graph.add_edges_from(
                (leaf.node, bank, rails | {"lanes": sum(leaf.ups), "rail": leaf.rail, "rails": leaf.rails}) for leaf in group
            )
            if two_tiers:
                ratio = min(ratio, worst_pair_ratio(uplinks, spines))
                tops.append((bank, outer))
            else:
                tops.append((bank, spines * plan.spine_up if full else ceil(down * plan.spine_up / plan.spine_down)))
        if not two_tiers:
            up = sum(lanes for _, lanes in tops)
            outer = ceil(up / plan.building_oversubscription) if plan.buildings > 1 else 0
            cores = ceil((up + outer) / plan.upper_radix)
            bank = f"core-{prefix.rstrip('-')}{suffix}" if prefix else f"core{suffix}"
            graph.add_node(bank, tier="core", switches=cores, **record)
            graph.add_edges_from((spine, bank, {"lanes": lanes} | rails) for spine, lanes in tops)
            ratio = min(ratio, worst_pair_ratio(tuple(lanes for _, lanes in tops), cores))
            tops = [(bank, outer)]
        if plan.buildings > 1:
            graph.add_node("inter-building", tier="inter_building", **record)
            graph.add_edges_from((top, "inter-building", {"lanes": lanes} | rails) for top, lanes in tops)
    return ratio
