"""Every name that is printed leads back to what it names, in clusters of every kind."""

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import names
from topology.catalog import host, switch
from topology.clos import ClosPlan
from topology.clos import build as build_clos
from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.describe import cable_name, hostlist, link_name, link_names, node_name, node_names, site_name, switch_name, trunk_counts
from topology.dragonfly import DragonflyPlan
from topology.dragonfly import build as build_dragonfly
from topology.hostlist import expand
from topology.lookup import (
    UnknownName,
    cable_at,
    find_cable,
    find_host,
    find_hosts,
    find_nic,
    find_plane,
    find_rack,
    find_switch,
    find_trunk,
    switch_at,
)
from topology.sites import Part, Wan, compose, full_mesh

counts = st.integers(1, 4)


#: Of a cluster and a name, the number or numbers of what is called so.
Find = Callable[[Cluster, str], object]


@st.composite
def clos(draw: st.DrawFn) -> nx.Graph:
    """Servers, or NVL72 racks whose trays share a domain; leaves by themselves or in banks."""
    kind, rack = draw(st.sampled_from([("hgx-h100", 4), ("hgx-h100", 3), ("gb200-nvl72", 18), ("gb200-nvl72", 36)]))
    hosts = draw(counts) * 18 if kind == "gb200-nvl72" else draw(st.integers(1, 12))
    plan = ClosPlan(
        name="clos",
        host=host(kind),
        switch=switch("qm9700"),
        hosts=hosts,
        hosts_per_rack=rack,
        array_hosts=None if kind == "gb200-nvl72" else draw(st.sampled_from([None, 2, 4])),
        rail_optimised=kind == "gb200-nvl72" or draw(st.booleans()),
        aggregate=draw(st.sampled_from(["none", "rails"])),
    )
    return build_clos(plan)


@st.composite
def dragonflies(draw: st.DrawFn) -> nx.Graph:
    plan = DragonflyPlan(
        name="fly",
        host=host("frontier-node"),
        switch=switch("rosetta"),
        hosts=draw(st.integers(17, 64)),
        hosts_per_rack=draw(st.sampled_from([4, 8])),
        group_switches=draw(st.sampled_from([4, 8])),
        switch_host_ports=16,
        global_links_per_pair=draw(counts),
        local_links_per_pair=draw(counts),
    )
    return build_dragonfly(plan)


#: What people call hosts and switches, what is called like something else here, and what has the scheme's own marks in it.
PLAIN = st.from_regex(r"[a-z]{1,3}[0-9]{0,3}", fullmatch=True) | st.sampled_from(["7", "0", "r00000-h00", "leaf-00001", "p000"])
MARKED = PLAIN | st.sampled_from(["a/b", "b", "a", "a:1", "a#0", "b/0", "a/b#1", "x y", "n[1-2]", "a,b"])


@st.composite
def named(draw: st.DrawFn, words: st.SearchStrategy[str]) -> nx.Graph:
    """Leaves and spines, hosts below; every node by a name that a file gives."""
    leaves, spines, hosts = draw(counts), draw(counts), draw(st.integers(1, 6))
    called = draw(st.lists(words, min_size=leaves + spines + hosts, max_size=leaves + spines + hosts, unique=True))
    graph = nx.Graph(host="hgx-h100", switch="qm9700", hosts_per_rack=draw(counts), names="given")
    low, high, below = called[:leaves], called[leaves : leaves + spines], called[leaves + spines :]
    graph.add_nodes_from(low, tier="leaf")
    graph.add_nodes_from(high, tier="spine", switches=draw(counts))
    for place, name in enumerate(below):
        graph.add_node(name, tier="endpoint")
        graph.add_edge(name, low[place % leaves], lanes=8, rails=8)
    graph.remove_nodes_from(low[len(below) :])
    for leaf in low[: len(below)]:
        graph.add_edges_from((leaf, spine) for spine in high)
    for leaf, _spine, cable in graph.edges(low[: len(below)], data=True):
        cable.setdefault("lanes", draw(counts)) if leaf in low else None
    return graph


@st.composite
def joined(draw: st.DrawFn) -> nx.Graph:
    kinds = draw(st.lists(clos() | dragonflies() | named(PLAIN), min_size=2, max_size=3))
    sites = [f"site{number}" for number in range(len(kinds))]
    # No two sites may call a host the same.
    kinds = [nx.relabel_nodes(graph, lambda name, at=at: f"s{at}-{name}") for at, graph in enumerate(kinds)]
    parts = [Part(f"part{number}", graph, site) for number, (graph, site) in enumerate(zip(kinds, sites, strict=True))]
    return compose("joined", parts, Wan(1e12, full_mesh(sites, 50.0, 4e11)))


def printed(cluster: Cluster) -> list[tuple[Find, str, object]]:
    """(how to find it, what it is called, what it is) for every part of a cluster."""
    links = cluster.links
    found: list[tuple[Find, str, object]] = [(find_rack, names.rack(rack), rack) for rack in range(len(cluster.level("rack")))]
    for number in range(cluster.host_count):
        called = cluster.host_name(number)
        found.append((find_host, called, number))
        found += [(find_nic, names.nic(called, rail), (number, rail)) for rail in range(cluster.rails)]
    for node in np.flatnonzero(links.switches).tolist():
        found += [(find_switch, switch_name(cluster, node, number), (node, number)) for number in range(links.switches[node])]
    for link in range(len(links)):
        found.append((find_trunk, link_name(cluster, link), link))
        found += [(find_cable, cable_name(cluster, link, cable), (link, cable)) for cable in range(links.lanes[link])]
        if links.lanes[link] == 1:
            found.append((find_cable, link_name(cluster, link), (link, 0)))
    found += [(find_plane, str(plane), plane) for plane in np.unique(links.plane).tolist()]
    return found


def check(cluster: Cluster) -> None:
    for find, called, what in printed(cluster):
        assert find(cluster, called) == what, called
    assert node_names(cluster) == [node_name(cluster, node) for node in range(len(cluster.links.node_tier))]
    assert link_names(cluster) == [link_name(cluster, link) for link in range(len(cluster.links))]
    assert sum(trunk_counts(cluster).values()) == len(cluster.links)
    every = list(range(cluster.host_count))
    for hosts in (every, every[::2], every[1:]):
        assert find_hosts(cluster, expand(hostlist(cluster, hosts)) if hosts else []) == hosts


@given(graph=clos() | dragonflies() | joined() | named(PLAIN))
@settings(max_examples=60, deadline=None)
def test_every_name_leads_back(graph: nx.Graph) -> None:
    check(compile_cluster(graph))


@given(graph=named(MARKED))
@settings(max_examples=150, deadline=None)
def test_names_with_marks_in_them_lead_back_or_are_said_to_be_shared(graph: nx.Graph) -> None:
    """``a/b#1`` may be a cable of a trunk, or a trunk to a switch called ``b#1``: then only numbers are clear."""
    cluster = compile_cluster(graph)
    for find, called, what in printed(cluster):
        try:
            assert find(cluster, called) == what, called
        except UnknownName as error:
            if "parts are called" not in error.problem:
                raise
    assert hostlist(cluster, range(cluster.host_count))


@given(graph=clos() | dragonflies() | named(PLAIN))
@settings(max_examples=25, deadline=None)
def test_numbers_lead_there_as_well_where_nothing_is_called_so(graph: nx.Graph) -> None:
    cluster = compile_cluster(graph)
    taken = {*node_names(cluster), *(cluster.host_name(number) for number in range(cluster.host_count))}

    def numbers(count: int) -> list[int]:
        return [number for number in (0, count // 2, count - 1) if str(number) not in taken]

    for number in numbers(cluster.host_count):
        assert find_host(cluster, str(number)) == number
    for number in numbers(len(cluster.links)):
        assert find_trunk(cluster, str(number)) == number
    for number in numbers(int(cluster.links.lanes.sum())):
        assert find_cable(cluster, str(number)) == cable_at(cluster, number)
    for number in numbers(int(cluster.links.switches.sum())):
        assert find_switch(cluster, str(number)) == switch_at(cluster, number)
    for number in numbers(cluster.host_count * cluster.rails):
        assert find_nic(cluster, str(number)) == divmod(number, cluster.rails)


def small() -> Cluster:
    plan = ClosPlan("small", host("hgx-h100"), switch("qm9700"), hosts=16, hosts_per_rack=4, array_hosts=4)
    return compile_cluster(build_clos(plan))


@pytest.mark.parametrize(
    ("find", "text", "problem", "allowed"),
    [
        (find_rack, "r00004", "no rack r00004", "0 to 3 by number, or a name like r00003"),
        (find_rack, "r1", "no rack r1", "r00003"),
        (find_rack, "r000001", "no rack", "r00003"),
        (find_rack, "4", "no rack 4", "0 to 3"),
        (find_rack, "", "no rack", "0 to 3"),
        (find_host, "r00000-h04", "no host r00000-h04", "0 to 15 by number, or a name like r00003-h03"),
        (find_host, "r00000-d00", "no host", "r00003-h03"),
        (find_host, "٣", "no host ٣", "0 to 15"),
        (find_host, "-1", "no host -1", "0 to 15"),
        (find_host, "9" * 40, "no host 9", "0 to 15"),
        (find_trunk, "leaf-00000/leaf-00001", "no trunk leaf-00000/leaf-00001", "0 to"),
        (find_trunk, "/", "no trunk /", "0 to"),
        (find_cable, "leaf-00000/spine-00000#99", "no cable 99 in trunk leaf-00000/spine-00000", "0 to"),
        (find_cable, "leaf-00000/spine-00000", "is a trunk of", "leaf-00000/spine-00000#0 to leaf-00000/spine-00000#"),
        (find_switch, "spine-00000", "is a bank of", "spine-00000/0 to spine-00000/"),
        (find_switch, "spine-00000/99", "no switch 99 in spine-00000", "0 to"),
        (find_switch, "r00000-h00", "no switch r00000-h00", "a name like spine-00000/"),
        (find_plane, "1", "no plane 1", "0 to 0"),
        (find_nic, "r00000-h00:8", "no rail 8 of host r00000-h00", "0 to 7"),
        (find_nic, "r00000-h09:0", "no host r00000-h09", "0 to 15"),
        (find_nic, "r00000-h00", "no nic r00000-h00", "a name like r00003-h03:7"),
    ],
)
def test_what_is_not_there(find: Find, text: str, problem: str, allowed: str) -> None:
    with pytest.raises(UnknownName) as caught:
        find(small(), text)
    assert problem in caught.value.problem
    assert allowed in caught.value.allowed
    assert str(caught.value) == f"{caught.value.problem}; allowed: {caught.value.allowed}"


def test_the_scheme() -> None:
    cluster = small()
    assert (names.rack(12), names.host(12, 3), names.domain(12, 0), names.pod(0)) == ("r00012", "r00012-h03", "r00012-d00", "p000")
    assert names.rack(123_456) == "r123456"
    assert names.parse_rack("r123456") == 123_456
    assert names.parse_rack("r0123456") == -1
    assert (link_name(cluster, 0), cable_name(cluster, 0, 7)) == ("r00000-h00/leaf-00000", "r00000-h00/leaf-00000#7")
    assert names.trunk("r00012-h03", "leaf-00004", 4) == "r00012-h03:4/leaf-00004"
    assert site_name(cluster, 0) == "site"
    beyond: tuple[Callable[[], str], ...] = (
        lambda: cable_name(cluster, 0, 8),
        lambda: link_name(cluster, 10**6),
        lambda: switch_name(cluster, 16, 9),
    )
    for make in beyond:
        with pytest.raises(IndexError, match="no "):
            make()


def test_hosts_of_a_file_come_before_numbers() -> None:
    graph = nx.Graph(host="hgx-h100", switch="qm9700", hosts_per_rack=1, names="given")
    graph.add_node("leaf", tier="leaf")
    for name in ("1", "0"):
        graph.add_node(name, tier="endpoint")
        graph.add_edge(name, "leaf", lanes=8, rails=8)
    cluster = compile_cluster(graph)
    first, second = cluster.host_name(0), cluster.host_name(1)
    assert {first, second} == {"0", "1"}
    assert (find_host(cluster, first), find_host(cluster, second)) == (0, 1)
