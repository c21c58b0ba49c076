"""The compiler: consecutive units, nesting, uplinks, names, and errors for graphs that are none."""

from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import catalog
from topology.catalog import HostType, SwitchType, UnknownHardware
from topology.clos import ClosPlan, TopologyError, build
from topology.cluster import TIERS
from topology.compile import compile_cluster
from topology.describe import describe, link_name, node_name


def cluster_graph(hosts: int = 100, host: HostType = catalog.HGX_H100, switch: SwitchType = catalog.QM9700, **more: Any) -> nx.Graph:
    return build(ClosPlan(name="test", host=host, switch=switch, hosts=hosts, **{"hosts_per_rack": host.domain_hosts * 4, **more}))


def small_graph(**attributes: Any) -> nx.Graph:
    """Two leaves of two hosts under one spine, deliberately shuffled: the hosts of leaf b come first and last."""
    graph = nx.Graph(**{"host": "hgx-h100", "switch": "qm9700", "hosts_per_rack": 1, "name": "small", **attributes})
    graph.add_nodes_from(["b1", "a1", "a2", "b2"], tier="endpoint")
    graph.add_node("leaf-b", tier="leaf")
    graph.add_node("leaf-a", tier="leaf")
    graph.add_node("spine", tier="spine", switches=2)
    for host in ("b1", "a1", "a2", "b2"):
        graph.add_edge(f"leaf-{host[0]}", host, lanes=8, rails=8)
    graph.add_edge("spine", "leaf-a", lanes=4)
    graph.add_edge("leaf-b", "spine", lanes=8)
    return graph


def test_a_shuffled_graph_by_hand() -> None:
    cluster = compile_cluster(small_graph())
    # Hosts of a unit become consecutive, units in order of their first host: b1, b2, a1, a2.
    assert cluster.level("leaf").first_host.tolist() == [0, 2, 4]
    links = cluster.links
    assert links.u.tolist() == [0, 1, 2, 3, 4, 5]
    assert links.v.tolist() == [4, 4, 5, 5, 6, 6]
    assert links.lanes.tolist() == [8, 8, 8, 8, 8, 4]  # leaf-b, the first unit's, has eight
    assert links.tier.tolist() == [0, 0, 0, 0, 1, 1]
    assert links.switches.tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert links.node_tier.tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert cluster.level("leaf").uplinks.tolist() == [4, 5]
    assert cluster.level("leaf").uplink_start.tolist() == [0, 1, 2]
    assert cluster.level("host").uplinks.tolist() == [0, 1, 2, 3]
    assert cluster.counts.oversubscription_leaf == 4.0  # leaf-a: 16 cables down, 4 up
    assert cluster.counts.bisection_bytes_per_second == 12 * 50e9 / 2
    # A path host - leaf - spine - leaf - host passes three switches and 2 x 5 + 2 x 30 m of fibre.
    assert 2 * (links.latency_seconds[0] + links.latency_seconds[4]) == pytest.approx(3 * 150e-9 + 70 * 5e-9)


@given(
    host=st.sampled_from(list(catalog.HOSTS.values())),
    hosts=st.integers(1, 2500),
    rack=st.integers(1, 150),
    array=st.sampled_from([None, 1, 2]),
    buildings=st.sampled_from([1, 2]),
    aggregate=st.sampled_from(["none", "rails"]),
)
@settings(max_examples=120, deadline=None)
def test_units_nest_and_blocks_hold_at_most_64_hosts(
    host: HostType, hosts: int, rack: int, array: int | None, buildings: int, aggregate: str
) -> None:
    try:
        graph = cluster_graph(
            hosts,
            host,
            catalog.QUANTUM_X800,
            hosts_per_rack=rack * host.domain_hosts,
            array_hosts=array and array * host.domain_hosts,
            buildings=buildings,
            aggregate=aggregate,
        )
    except TopologyError:
        return
    cluster = compile_cluster(graph)
    assert cluster.host_count == hosts
    order = [*cluster.levels]
    for level in (*order, cluster.block):
        assert level.first_host[0] == 0
        assert level.first_host[-1] == hosts
        assert (np.diff(level.first_host) > 0).all()
        assert len(level.uplink_start) == len(level) + 1
        assert level.uplink_start[-1] == len(level.uplinks)
    for inner, outer in pairwise(order):
        assert np.isin(outer.first_host, inner.first_host).all(), (inner.name, outer.name)
    block, racks = cluster.block, cluster.level("rack")
    assert np.diff(block.first_host).max() <= 64
    assert np.isin(block.first_host, cluster.level("host").first_host).all()
    within = np.isin(racks.first_host, block.first_host) if rack * host.domain_hosts > 64 else np.isin(block.first_host, racks.first_host)
    assert host.domain_hosts > 1 or within.all()
    assert np.isin(cluster.level("leaf").first_host, block.first_host).all()
    if host.domain_hosts > 1:
        assert (block.first_host == cluster.level("domain").first_host).all()
    # Every trunk leaves exactly one unit of the level below it.
    links = cluster.links
    for name, tier in (("domain", 0), ("leaf", 1), ("pod", 2)):
        level = cluster.level(name)
        assert sorted(level.uplinks) == np.flatnonzero((links.node_tier[links.u] <= tier) & (links.node_tier[links.v] > tier)).tolist()
    assert (links.node_tier[links.u] < links.node_tier[links.v]).all()
    assert (np.diff(links.node_tier) >= 0).all()


def test_uplinks_belong_to_their_unit() -> None:
    cluster = compile_cluster(cluster_graph(3000, switch=catalog.QM9700))
    links, leaf, pod = cluster.links, cluster.level("leaf"), cluster.level("pod")
    host_edges = links.tier == 0
    for unit in (0, 1, len(leaf) // 2, len(leaf) - 1):
        hosts = range(leaf.first_host[unit], leaf.first_host[unit + 1])
        leaves = set(links.v[host_edges & np.isin(links.u, list(hosts))])
        uplinks = leaf.uplinks[leaf.uplink_start[unit] : leaf.uplink_start[unit + 1]]
        assert set(links.u[uplinks]) == leaves
    trunks = [links.v[leaf.uplinks[leaf.uplink_start[i] : leaf.uplink_start[i + 1]]] for i in range(len(leaf))]
    for unit in range(len(pod)):
        inside = np.flatnonzero((leaf.first_host[:-1] >= pod.first_host[unit]) & (leaf.first_host[1:] <= pod.first_host[unit + 1]))
        banks = {node for i in inside for node in trunks[i]}
        assert banks == set(links.u[pod.uplinks[pod.uplink_start[unit] : pod.uplink_start[unit + 1]]])


def test_partial_domain() -> None:
    cluster = compile_cluster(cluster_graph(20, catalog.GB200_NVL72, catalog.SN5600, hosts_per_rack=18, whole_arrays=True))
    assert cluster.level("domain").first_host.tolist() == [0, 18, 20]
    assert cluster.links.lanes[cluster.links.u == 1].tolist() == [2, 2, 2, 2]


def test_order_of_insertion_of_switches_and_edges_does_not_matter() -> None:
    graph = cluster_graph(200)
    again = nx.Graph(**graph.graph)
    again.add_nodes_from([(node, data) for node, data in graph.nodes(data=True) if data["tier"] == "endpoint"])
    again.add_nodes_from(sorted([(n, d) for n, d in graph.nodes(data=True) if d["tier"] != "endpoint"], key=lambda pair: pair[1]["tier"]))
    again.add_edges_from(reversed(list(graph.edges(data=True))))
    one, two = compile_cluster(graph), compile_cluster(again)
    for name in ("u", "v", "lanes", "rail_first", "rails", "plane", "switches", "latency_seconds"):
        assert (getattr(one.links, name) == getattr(two.links, name)).all(), name
    assert describe(one) == describe(two)


def test_the_nth_bank_is_above_the_nth_unit_however_switches_were_inserted() -> None:
    graph = cluster_graph(600, buildings=2)
    again = nx.Graph(**graph.graph)
    again.add_nodes_from(reversed(list(graph.nodes(data=True))))
    again.add_nodes_from([(f"x{node}", data) for node, data in graph.nodes(data=True) if data["tier"] == "endpoint"])
    again.remove_nodes_from([node for node, data in graph.nodes(data=True) if data["tier"] == "endpoint"])
    ends = {node: f"x{node}" if data["tier"] == "endpoint" else node for node, data in graph.nodes(data=True)}
    again.add_edges_from((ends[u], ends[v], data) for u, v, data in graph.edges(data=True))
    cluster = compile_cluster(again)
    assert describe(cluster) == describe(compile_cluster(graph))
    for name in ("leaf", "pod", "building"):
        level = cluster.level(name)
        assert (np.diff(cluster.links.u[level.uplinks]) >= 0).all(), name
    banks = cluster.links.u[cluster.level("pod").uplinks]
    assert banks.tolist() == np.flatnonzero(cluster.links.node_tier == 2).tolist()


def small_dragonfly() -> nx.Graph:
    """Three groups of two switches; the switches of group c have no hosts. Switches come before hosts, groups out of order."""
    graph = nx.Graph(host="frontier-node", switch="rosetta", hosts_per_rack=2)
    for group in ("c", "b", "a"):
        graph.add_nodes_from([f"{group}0", f"{group}1"], tier="leaf", group=group)
        graph.add_edge(f"{group}1", f"{group}0", lanes=2)
    for group in ("b", "a"):
        for at in range(4):  # two hosts on each switch
            graph.add_node(f"{group}-host{at}", tier="endpoint")
            graph.add_edge(f"{group}{at // 2}", f"{group}-host{at}", lanes=4, rails=4)
    graph.add_edge("a1", "c0")
    graph.add_edge("a0", "b0", lanes=3)
    graph.add_edge("c1", "b1", latency_seconds=1e-6)
    return graph


def test_a_dragonfly_by_hand() -> None:
    cluster = compile_cluster(small_dragonfly())
    assert [(level.name, len(level)) for level in cluster.levels] == [
        *[("host", 8), ("domain", 8), ("rack", 4), ("leaf", 4), ("pod", 2), ("site", 1)]
    ]
    links, local, between = cluster.links, *cluster.peers
    # Group b has the first host; nodes are its hosts, those of a, then switches b0 b1 a0 a1 and those without hosts.
    assert links.v[:8].tolist() == [8, 8, 9, 9, 10, 10, 11, 11]
    assert (links.u[local.links].tolist(), links.v[local.links].tolist()) == ([8, 10, 12], [9, 11, 13])
    assert (local.level, local.unit_u.tolist(), local.unit_v.tolist()) == ("leaf", [0, 2, 4], [1, 3, 5])
    assert [TIERS[tier] for tier in links.tier[between.links]] == ["global"] * 3
    assert (between.level, links.u[between.links].tolist(), links.v[between.links].tolist()) == ("pod", [8, 9, 11], [10, 13, 12])
    assert (between.unit_u.tolist(), between.unit_v.tolist()) == ([0, 0, 1], [1, 2, 2])
    assert links.lanes[between.links].tolist() == [3, 1, 1]
    assert links.latency_seconds[between.links[1]] == 1e-6
    assert links.latency_seconds[between.links[0]] == pytest.approx(catalog.ROSETTA.latency_seconds + 50 * 5e-9)
    assert all(len(level.uplinks) == 0 for level in cluster.levels[2:])
    assert set(links.plane.tolist()) == {0}
    counts = cluster.counts
    assert (counts.leaf, counts.local_links, counts.global_links) == (6, 6, 5)
    assert counts.taper == 16 / 4
    assert counts.oversubscription_leaf == 1.0
    assert counts.bisection_bytes_per_second == pytest.approx(5 * 25e9 * 2 / 3)  # two of three pairs of groups are cut


def test_a_cabinet_of_several_chassis_is_one_rack() -> None:
    graph = small_dragonfly()
    graph.graph["hosts_per_rack"] = 4
    cluster = compile_cluster(graph)
    assert [level.name for level in cluster.levels] == ["host", "domain", "leaf", "rack", "pod", "site"]
    assert cluster.level("rack").first_host.tolist() == [0, 4, 8]
    assert cluster.block.first_host.tolist() == [0, 2, 4, 6, 8]
    graph.graph["hosts_per_rack"] = 3
    assert compile_cluster(graph).level("rack").first_host.tolist() == [0, 2, 4, 6, 8]


def test_groups_without_hosts_are_numbered_alike_however_they_were_inserted() -> None:
    graph = small_dragonfly()
    again = nx.Graph(**graph.graph)
    again.add_nodes_from(reversed([(node, data) for node, data in graph.nodes(data=True) if data["tier"] == "leaf"]))
    again.add_nodes_from([(node, data) for node, data in graph.nodes(data=True) if data["tier"] == "endpoint"])
    again.add_edges_from(reversed(list(graph.edges(data=True))))
    one, two = compile_cluster(graph), compile_cluster(again)
    for left, right in zip(one.peers, two.peers, strict=True):
        pairs = [set(zip(peers.unit_u.tolist(), peers.unit_v.tolist(), strict=True)) for peers in (left, right)]
        assert pairs[0] == pairs[1]
    assert one.counts == two.counts


def test_a_nic_of_two_ports_has_a_leaf_in_each_plane() -> None:
    """Four hosts in two segments; either port of a NIC leads to a leaf of its own, of a plane of its own (dual-ToR, dual-plane)."""
    graph = nx.Graph(host="hgx-h100", switch="sn5600", hosts_per_rack=2)
    for host in range(4):
        graph.add_node(f"h{host}", tier="endpoint")
        for plane in "ab":
            leaf = f"leaf-{plane}{host // 2}"
            graph.add_node(leaf, tier="leaf")
            graph.add_node(f"spine-{plane}", tier="spine")
            graph.add_edge(f"h{host}", leaf, lanes=8, rails=8, lane_bytes_per_second=25e9)
            graph.add_edge(leaf, f"spine-{plane}", lanes=16, lane_bytes_per_second=25e9)
    cluster = compile_cluster(graph)
    assert cluster.level("leaf").first_host.tolist() == [0, 2, 4]
    assert len(cluster.level("pod")) == 1
    links = cluster.links
    assert set(links.plane.tolist()) == {0, 1}
    assert np.bincount(links.u[links.tier == 0]).tolist() == [2, 2, 2, 2]
    for unit in range(2):
        uplinks = cluster.level("leaf").uplinks[2 * unit : 2 * unit + 2]
        assert sorted(links.plane[uplinks].tolist()) == [0, 1]
    assert cluster.counts.oversubscription_leaf == 1.0


def test_hosts_with_fewer_nics_use_the_first_rails() -> None:
    graph = small_graph()
    for node in ("a1", "a2"):
        graph.nodes[node]["host"] = "frontier-node"
        graph.edges[node, "leaf-a"].update(lanes=4, rails=4)
    with pytest.raises(TopologyError, match=r"edge .*spine.*: lane_bytes_per_second is missing"):
        compile_cluster(graph)
    for leaf in ("leaf-a", "leaf-b"):
        graph.edges["spine", leaf]["lane_bytes_per_second"] = 50e9
    cluster = compile_cluster(graph)
    links = cluster.links
    assert cluster.rails == 8
    assert (links.rail_first[:4].tolist(), links.rails[:4].tolist()) == ([0] * 4, [8, 8, 4, 4])
    assert (links.bytes_per_second[:4] / links.lanes[:4]).tolist() == [50e9, 50e9, 25e9, 25e9]
    assert cluster.block_type.tolist() == [0, 1]
    assert cluster.counts.gpus == 2 * 8 + 2 * 4
    graph.edges["a1", "leaf-a"]["rails"] = 8
    with pytest.raises(TopologyError, match=r"edge .*a1.*beyond the 4 rails of the host"):
        compile_cluster(graph)


def change(
    node: str | None = None,
    edge: tuple[str, str] | None = None,
    remove: tuple[str, str] | None = None,
    **attributes: Any,
) -> nx.Graph:
    graph = small_graph()
    for key, value in attributes.items():
        target = graph.nodes[node] if node else graph.edges[edge] if edge else graph.graph
        target[key] = value
    if remove:
        graph.remove_edge(*remove)
    return graph


@pytest.mark.parametrize(
    ("graph", "text"),
    [
        (change(host="hgx-h1000"), "did you mean hgx-h100"),
        (change(switch=7), "no switch called 7"),
        (change(hosts_per_rack=0), "hosts_per_rack is 0"),
        (change(hosts_per_rack="8"), "whole number"),
        (change(host="gb200-nvl72"), "not whole domains of 18"),
        (change(node="a1", tier="server"), "node a1 has tier 'server'"),
        (change(node="a1", hosts=2), "at most 1"),
        (change(node="a1", hosts=0), "hosts of node a1 is 0"),
        (change(node="a1", hosts=True), "hosts of node a1 is True"),
        (change(node="spine", switches=1.5), "switches of node spine is 1.5"),
        (change(edge=("a1", "leaf-a"), lanes=0), "edge a1 - leaf-a: lanes"),
        (change(edge=("a1", "leaf-a"), lanes="many"), "edge a1 - leaf-a: lanes is not a whole number"),
        (change(edge=("a1", "leaf-a"), lanes=[1, 2]), "edge a1 - leaf-a: lanes is not a whole number"),
        (change(edge=("a1", "leaf-a"), lanes=10**30), "lanes"),
        (change(edge=("a1", "leaf-a"), lanes=2**40), "32 bits"),
        (change(edge=("a1", "leaf-a"), lanes=None), "lanes is not a whole number"),
        (change(edge=("a1", "leaf-a"), lanes=True), "lanes is not a whole number"),
        (change(edge=("a1", "leaf-a"), rail=8, rails=1), "beyond the 8 rails"),
        (change(edge=("a1", "leaf-a"), rail=2**62), "beyond the 8 rails"),
        (change(edge=("a1", "leaf-a"), rail=-1), "beyond the 8 rails"),
        (change(edge=("a1", "leaf-a"), lane_bytes_per_second=0.0), "not above 0"),
        (change(edge=("a1", "leaf-a"), lane_bytes_per_second=float("nan")), "not above 0"),
        (change(edge=("a1", "leaf-a"), latency_seconds=float("inf")), "not finite"),
        (change(remove=("a1", "leaf-a")), "endpoint a1 has no cable"),
        (change(remove=("spine", "leaf-a")), "not connected"),
        (nx.Graph(host="hgx-h100", switch="qm9700", hosts_per_rack=1), "no endpoint"),
        (nx.DiGraph(host="hgx-h100", switch="qm9700", hosts_per_rack=1), "undirected"),
        (nx.Graph(), "no endpoint"),
        (change(host=""), "no host called ''"),
        (change(node="a1", host="hgx"), "node a1: no host called 'hgx'"),
        (change(node="a1", host=["hgx-h100"]), "node a1: no host called"),
        (change(node="leaf-a", switch="cisco"), "node leaf-a: no switch called 'cisco'"),
        (change(node="a1", host="hgx-h200"), "a1 and a2 share leaf switches, but differ in their types of hosts"),
        (change(node="a2", hosts_per_rack=2), "a1 and a2 share leaf switches, but differ in their hosts_per_rack"),
        (change(node="a2", site="elsewhere"), "a2 is at site elsewhere, but its fabric belongs to site site"),
        (change(node="a2", hostlist="a,b"), "node a2 has 1 hosts, but its hostlist names 2"),
        (change(node="a2", hostlist=["r00000-h00"]), "host r00000-h00 is in the graph twice"),
    ],
)
def test_errors_name_the_place(graph: nx.DiGraph | nx.Graph, text: str) -> None:
    with pytest.raises(TopologyError, match=text):
        compile_cluster(graph)


def test_more_graphs_that_are_none() -> None:
    graph = small_graph()
    graph.add_edge("leaf-a", "leaf-b")
    with pytest.raises(TopologyError, match="same tier"):
        compile_cluster(graph)
    graph = small_graph()
    graph.add_edge("a1", "spine")
    with pytest.raises(TopologyError, match="joins an endpoint to a node that is no leaf"):
        compile_cluster(graph)
    graph = small_graph()
    graph.add_node("stray", tier="core")
    with pytest.raises(TopologyError, match="stray has no endpoint below"):
        compile_cluster(graph)
    graph = small_graph()
    graph.add_edge("a1", "a1")
    with pytest.raises(TopologyError, match="same tier"):
        compile_cluster(graph)
    graph = nx.Graph(host="hgx-h100", switch="qm9700", hosts_per_rack=1)
    graph.add_node("alone", tier="endpoint")
    with pytest.raises(TopologyError, match="no cable"):
        compile_cluster(graph)


def test_describe_has_the_contract_keys() -> None:
    described = describe(compile_cluster(cluster_graph(64, catalog.DGX_B200, assumptions=("rails meet",))))
    assert described == {
        "gpus": 512,
        "hosts": 64,
        "racks": 16,
        "domains": 64,
        "host_types": {"dgx-b200": 64},
        "sites": ["site"],
        "units": {"host": 64, "domain": 64, "rack": 16, "leaf": 2, "pod": 1, "site": 1},
        "switches": {"leaf": 16, "spine": 8, "core": 0},
        "links": {"host_leaf": 512, "leaf_spine": 512, "spine_core": 0},
        "oversubscription": {"leaf": 1.0, "spine": 1.0},
        "taper": None,
        "bisection_bytes_per_second": 512 * 50e9 / 2,
        "worst_pod_to_pod_ratio": 1.0,
        "assumptions": ["rails meet"],
    }


def test_names() -> None:
    cluster = compile_cluster(cluster_graph(64))
    assert node_name(cluster, 5) == "r00001-h01"
    assert node_name(cluster, 64) == "leaf-00000"
    assert node_name(cluster, len(cluster.links.node_tier) - 1) == "spine-00000"
    assert link_name(cluster, 8 * 5 + 3) == "r00001-h01:3/leaf-00003"
    assert link_name(cluster, len(cluster.links) - 1) == "leaf-00015/spine-00000"
    names = [link_name(cluster, link) for link in range(len(cluster.links))]
    assert len(set(names)) == len(names)
    with pytest.raises(IndexError, match="no link 9999"):
        link_name(cluster, 9999)
    with pytest.raises(IndexError, match="no node -1"):
        node_name(cluster, -1)
    racks = compile_cluster(cluster_graph(72, catalog.GB200_NVL72, catalog.SN5600, hosts_per_rack=36, whole_arrays=True))
    assert node_name(racks, 1) == "r00000-d01"


def test_catalog_names_what_exists() -> None:
    with pytest.raises(UnknownHardware, match=r"did you mean sn5600\?; known: qm9700, sn5600"):
        catalog.switch("SN560")
    for records in (catalog.GPUS, catalog.HOSTS, catalog.SWITCHES):
        assert all(record.name == name for name, record in records.items())
    for host in catalog.HOSTS.values():
        assert 0 < host.idle_watts < host.peak_watts <= host.rated_watts
        assert host.gpu.achievable_flops < host.gpu.bf16_flops
    assert catalog.GB200_NVL72.domain_gpus == 72


def test_frontier_power_model() -> None:
    """RAPS (arXiv 2410.05133): nodes through SIVOC ((P + 13 W)/0.98) and rectifiers (4 nodes, (P + 17 W)/0.96), 74 x 32 switches of 250 W,
    25 CDUs of 8,473 W: 7.28 MW idle, 28.2 MW peak, within 1 %."""

    def site_megawatts(node_watts: float) -> float:
        return (9472 * node_watts + 74 * 32 * catalog.ROSETTA.watts + 25 * 8473) / 1e6

    assert site_megawatts(catalog.FRONTIER_NODE.idle_watts) == pytest.approx(7.28, rel=0.01)
    assert site_megawatts(catalog.FRONTIER_NODE.peak_watts) == pytest.approx(28.2, rel=0.01)
