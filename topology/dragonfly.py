"""Dragonfly fabrics (Kim, Dally, Scott, Abts, ISCA'08): parameters in, ``networkx.Graph`` in the vocabulary of `topology.clos` out.

With p host ports, a switches a group and h global ports a switch:

    groups <= a h + 1, hosts p a groups, radix p + (a - 1) + h; balanced where a = 2 p = 2 h

The switches of a group are joined all to all by *local* links, and every two groups by ``global_links_per_pair`` *global* links.
*Taper* is a group's injection over its global bandwidth: Frontier's is 512 / (4 x 73) = 1.753.

Cables. A group consists of chassis: the NICs of a host are dealt in runs of equal length to the chassis' switches, so that with as many
switches as NICs, NIC r is on switch r. Global cables follow the consecutive arrangement (Camarero, Vallejo, Beivide, TACO'14) by group
and are dealt to the switches in turn: a group counts the other groups upwards from 0, leaving itself out, and cable c to its i-th one is
on switch (global_links_per_pair i + c) mod a. A switch therefore has at most one global cable more than another of its group, and the
cables of two groups are on as many different switches as there are.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from math import ceil

import networkx as nx

from topology.catalog import HOSTS, SWITCHES, HostType, SwitchType
from topology.clos import MOST_CABLE_EDGES, TopologyError


@dataclass(frozen=True)
class DragonflyPlan:
    """What to build. Raises TopologyError where no such fabric exists.

    Hosts fill chassis after chassis, group after group; what is left of the last of ``host_groups`` stays empty. ``groups`` beyond these
    have switches and cables, but no hosts (storage and services, which carry traffic through): by default there are none.
    ``chassis_switches`` share a host's NICs, by default as many as it has (Frontier: 4); 1 puts them all on one switch (Aurora).
    """

    name: str
    host: HostType
    switch: SwitchType
    hosts: int
    hosts_per_rack: int
    group_switches: int
    switch_host_ports: int
    global_links_per_pair: int = 1
    local_links_per_pair: int = 1
    chassis_switches: int | None = None
    groups: int | None = None
    site: str = "site"
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("hosts", "hosts_per_rack", "group_switches", "switch_host_ports", "global_links_per_pair", "local_links_per_pair"):
            if getattr(self, field) < 1:
                raise TopologyError(f"{field} is {getattr(self, field)}: at least 1 is needed", field)
        if self.hosts_per_rack % self.host.domain_hosts:
            raise TopologyError(
                f"hosts_per_rack is {self.hosts_per_rack}, but {self.host.name} hosts come in domains of {self.host.domain_hosts}: "
                "whole domains only",
                "hosts_per_rack",
            )
        if self.host_switches < 1 or self.host.nics % self.host_switches:
            raise TopologyError(
                f"chassis_switches is {self.chassis_switches}: the {self.host.nics} NICs of {self.host.name} do not come out even on them",
                "chassis_switches",
            )
        if self.group_switches % self.host_switches:
            raise TopologyError(
                f"group_switches is {self.group_switches}: not whole chassis of {self.host_switches} switches", "group_switches"
            )
        if not self.chassis_endpoints:
            raise TopologyError(
                f"switch_host_ports is {self.switch_host_ports}, fewer than the {self.bundle} NICs that one {self.host.name} domain puts "
                "on a switch",
                "switch_host_ports",
            )
        if self.group_count < self.host_groups:
            raise TopologyError(
                f"groups is {self.groups}: {self.hosts} hosts at {self.group_hosts} a group need {self.host_groups}", "groups"
            )
        down, local, up = self.switch_host_ports, self.local_ports, self.global_ports
        if down + local + up > self.radix:
            free = self.radix - down - local
            raise TopologyError(
                f"a switch would need {down + local + up} ports ({down} to hosts, {local} local, {up} global), "
                f"but {self.switch.name} has {self.radix} at {self.host.nic_bytes_per_second * 8e-9:g} Gb/s: with {free} global ports "
                f"at most {max(0, free) * self.group_switches // self.global_links_per_pair + 1} groups can be joined",
                "groups" if free > 0 else "switch_host_ports",
            )
        links = self.group_count * self.group_switches**2 // 2 + self.group_count**2 // 2 * self.global_links_per_pair
        links += self.endpoints * self.host_switches
        if links > MOST_CABLE_EDGES:
            raise TopologyError(f"the graph would have about {links} links, more than {MOST_CABLE_EDGES}: fewer hosts or groups", "hosts")

    @property
    def radix(self) -> int:
        """Ports of a switch at the speed of the NICs."""
        return self.switch.ports_at(self.host.nic_bytes_per_second)

    @property
    def host_switches(self) -> int:
        """Switches that share the NICs of a host."""
        return self.host.nics if self.chassis_switches is None else self.chassis_switches

    @property
    def bundle(self) -> int:
        """NICs that one endpoint (domain) has on one switch."""
        return self.host.domain_hosts * self.host.nics // self.host_switches

    @property
    def chassis_endpoints(self) -> int:
        return self.switch_host_ports // self.bundle

    @property
    def group_endpoints(self) -> int:
        return self.group_switches // self.host_switches * self.chassis_endpoints

    @property
    def group_hosts(self) -> int:
        return self.group_endpoints * self.host.domain_hosts

    @property
    def endpoints(self) -> int:
        return ceil(self.hosts / self.host.domain_hosts)

    @property
    def host_groups(self) -> int:
        return ceil(self.endpoints / self.group_endpoints)

    @property
    def group_count(self) -> int:
        return self.host_groups if self.groups is None else self.groups

    @property
    def local_ports(self) -> int:
        """Ports of a switch to the others of its group."""
        return (self.group_switches - 1) * self.local_links_per_pair

    @property
    def group_global_links(self) -> int:
        return (self.group_count - 1) * self.global_links_per_pair

    @property
    def global_ports(self) -> int:
        """Most ports of a switch to other groups."""
        return ceil(self.group_global_links / self.group_switches)

    @property
    def taper(self) -> float:
        """Bandwidth into a full group over that between it and all others; infinite where there is one group."""
        into = self.group_switches * self.chassis_endpoints * self.bundle
        return into / self.group_global_links if self.group_global_links else float("inf")


def balanced(name: str, host: HostType, switch: SwitchType, global_ports: int, hosts_per_rack: int) -> DragonflyPlan:
    """The largest balanced dragonfly of h global ports a switch: p = h, a = 2 h, 2 h^2 + 1 groups joined by one link each (Kim et al.).

    The host's NICs are all on one switch.
    """
    group_switches = 2 * global_ports
    groups = group_switches * global_ports + 1
    hosts = global_ports // host.nics * group_switches * groups
    return DragonflyPlan(name, host, switch, hosts, hosts_per_rack, group_switches, global_ports, chassis_switches=1, groups=groups)


def build(plan: DragonflyPlan) -> nx.Graph:
    """The graph of a plan."""
    graph = nx.Graph(
        name=plan.name,
        host=plan.host.name if HOSTS.get(plan.host.name) == plan.host else plan.host,
        switch=plan.switch.name if SWITCHES.get(plan.switch.name) == plan.switch else plan.switch,
        hosts_per_rack=plan.hosts_per_rack,
        site=plan.site,
        assumptions=list(plan.assumptions),
    )
    kind = "host" if plan.host.domain_hosts == 1 else "domain"
    graph.add_nodes_from((f"{kind}-{number}" for number in range(plan.endpoints)), tier="endpoint")
    last = plan.hosts - (plan.endpoints - 1) * plan.host.domain_hosts
    if last < plan.host.domain_hosts:
        graph.nodes[f"{kind}-{plan.endpoints - 1}"]["hosts"] = last
    for group in range(plan.group_count):
        graph.add_nodes_from((_switch(group, number) for number in range(plan.group_switches)), tier="leaf", group=group)
    rails = plan.host.nics // plan.host_switches
    for endpoint in range(plan.endpoints):
        group, place = divmod(endpoint, plan.group_endpoints)
        first = place // plan.chassis_endpoints * plan.host_switches
        lanes = rails * (last if endpoint == plan.endpoints - 1 else plan.host.domain_hosts)
        for number in range(plan.host_switches):
            graph.add_edge(f"{kind}-{endpoint}", _switch(group, first + number), lanes=lanes, rail=number * rails, rails=rails)
    local = {"lanes": plan.local_links_per_pair, "rail": 0, "rails": plan.host.nics}
    for group in range(plan.group_count):
        graph.add_edges_from(
            (_switch(group, one), _switch(group, other), dict(local)) for one, other in combinations(range(plan.group_switches), 2)
        )
    for one, other in combinations(range(plan.group_count), 2):
        for (low, high), lanes in _global_cables(plan, one, other).items():
            graph.add_edge(_switch(one, low), _switch(other, high), lanes=lanes, rail=0, rails=plan.host.nics)
    # Over the direct links alone; around them, by way of other groups, two groups have all their global links (non-minimal routing).
    graph.graph["worst_pod_to_pod_ratio"] = 1.0 if plan.group_count == 1 else 1 / (plan.group_count - 1)
    return graph


def _switch(group: int, number: int) -> str:
    return f"switch-g{group}-{number}"


def _global_cables(plan: DragonflyPlan, one: int, other: int) -> Counter[tuple[int, int]]:
    """Cables between two groups, ``one`` before ``other``, by their ends' switch numbers."""
    links = plan.global_links_per_pair
    from_one, from_other = links * (other - 1), links * one
    return Counter(((from_one + cable) % plan.group_switches, (from_other + cable) % plan.group_switches) for cable in range(links))
