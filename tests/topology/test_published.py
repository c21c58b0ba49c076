"""Fabrics against published tables and formulas: k-ary fat trees, any SuperPOD size, Alibaba HPN, Meta's 24k, radix limits."""

from collections import Counter
from dataclasses import replace
from math import ceil

import networkx as nx
import pytest

from topology import catalog
from topology.catalog import SwitchType
from topology.clos import ClosPlan, TopologyError, build

HPN = ClosPlan(
    name="hpn",
    host=catalog.HGX_H800,
    switch=catalog.TOMAHAWK5,
    hosts=15_360 // 8,
    hosts_per_rack=4,
    array_hosts=128,
    planes=2,
    uplink_ports=2,
    leaf_oversubscription=136 / 120,
    spine_oversubscription=15,
    even_striping=True,
)


def switches(graph: nx.Graph) -> Counter[str]:
    counts: Counter[str] = Counter()
    for _, data in graph.nodes(data=True):
        if data["tier"] != "endpoint":
            counts[data["tier"]] += data["switches"]
    return counts


def cables(graph: nx.Graph) -> Counter[str]:
    """By the tier below."""
    counts: Counter[str] = Counter()
    order = ("endpoint", "leaf", "spine", "core", "inter_building")
    for one, other, data in graph.edges(data=True):
        counts[min(graph.nodes[one]["tier"], graph.nodes[other]["tier"], key=order.index)] += data["lanes"]
    return counts


def used_ports(graph: nx.Graph, node: str, port: float) -> float:
    """Ports of ``port`` bytes/s that one physical switch of a node has cabled on average."""
    taken = sum(data["lanes"] * data.get("lane_bytes_per_second", port) / port for *_, data in graph.edges(node, data=True))
    return float(taken) / int(graph.nodes[node]["switches"])


@pytest.mark.parametrize("k", range(4, 33, 4))
def test_k_ary_fat_trees_have_the_sizes_of_al_fares(k: int) -> None:
    host = replace(catalog.HGX_H100, name="one-nic", gpus=1, nics=1)
    plan = ClosPlan("fat-tree", host, SwitchType("k", k, 50e9, 0, 0), k**3 // 4, k // 2, rail_optimised=False)
    graph = build(plan)
    assert switches(graph) == {"leaf": k * k // 2, "spine": k * k // 2, "core": (k // 2) ** 2}
    assert cables(graph) == dict.fromkeys(("endpoint", "leaf", "spine"), k**3 // 4)
    pods = [node for node, data in graph.nodes(data=True) if data["tier"] == "spine"]
    assert len(pods) == k
    for pod in pods:
        assert graph.nodes[pod]["switches"] == k // 2
        assert sum(graph.nodes[near]["tier"] == "leaf" for near in graph[pod]) == k // 2
    assert {used_ports(graph, node, 50e9) for node in graph if graph.nodes[node]["tier"] != "endpoint"} == {k}
    with pytest.raises(TopologyError, match="three tiers"):
        replace(plan, hosts=k**3 // 4 + 1)


@pytest.mark.parametrize("units", [1, 3, 5, 6, 7, 9, 12, 17, 24, 32, 48, 64, 127, 256])
def test_superpod_b200_sizes_beyond_the_published_follow_its_formula(units: int) -> None:
    nics = units * 32 * 8
    counts = switches(build(ClosPlan("superpod", catalog.DGX_B200, catalog.QM9700, units * 32, 4)))
    leaf = ceil(nics / 32)
    assert counts == ({"leaf": leaf, "spine": ceil(nics / 64)} if nics <= 2048 else {"leaf": leaf, "spine": leaf, "core": ceil(nics / 64)})


@pytest.mark.parametrize(
    ("switch", "nics_two_tiers", "nics_three_tiers"),
    [(catalog.QM9700, 2048, 65_536), (catalog.SN5600, 8192, 524_288), (catalog.QM8790, 800, 16_000)],
)
def test_the_radix_limits_a_fabric(switch: SwitchType, nics_two_tiers: int, nics_three_tiers: int) -> None:
    host = replace(catalog.HGX_H100, nic_bytes_per_second=switch.port_bytes_per_second)
    plan = ClosPlan("limit", host, switch, nics_two_tiers // 8, 4, aggregate="rails")
    assert switches(build(plan))["core"] == 0
    assert switches(build(replace(plan, hosts=nics_two_tiers // 8 + 1)))["core"] > 0
    assert replace(plan, hosts=nics_three_tiers // 8).max_hosts == nics_three_tiers // 8
    with pytest.raises(TopologyError, match="2 buildings") as caught:
        replace(plan, hosts=nics_three_tiers // 8 + 1)
    assert caught.value.field == "buildings"


def test_eight_planes_of_100g_reach_131072_nics_in_two_tiers() -> None:
    """Azure's and OpenAI's multi-plane fabric: 512 x 100G, 800G NICs of eight ports."""
    host = replace(catalog.DGX_B300, name="mrc")
    plan = ClosPlan("mrc", host, catalog.SN5600, 131_072 // 8, 4, planes=8, aggregate="rails")
    assert plan.radix == 512
    counts = switches(build(plan))
    assert counts == {"leaf": 8 * 512, "spine": 8 * 256}
    assert switches(build(replace(plan, hosts=plan.hosts + 1)))["core"] > 0


def test_hpn_has_its_published_segment_pod_and_oversubscription() -> None:
    graph = build(HPN)
    leaves = [node for node, data in graph.nodes(data=True) if data["tier"] == "leaf"]
    assert (len(leaves) / 15, switches(graph)["leaf"]) == (16, 240)
    for leaf in leaves:
        down = [data for _, other, data in graph.edges(leaf, data=True) if graph.nodes[other]["tier"] == "endpoint"]
        up = [data for _, other, data in graph.edges(leaf, data=True) if graph.nodes[other]["tier"] == "spine"]
        assert sum(data["lanes"] for data in down) == 128
        assert {data["lane_bytes_per_second"] for data in down} == {25e9}
        assert [(data["lanes"], data.get("lane_bytes_per_second", 50e9)) for data in up] == [(60, 50e9)]
    down_over_up = 128 * 25e9 / (60 * 50e9)
    assert down_over_up == pytest.approx(1.067, abs=5e-4)
    assert HPN.leaf_down == 136  # eight spare ports of each leaf are for spare hosts
    assert {(node, data["switches"]) for node, data in graph.nodes(data=True) if data["tier"] == "spine"} == {
        ("spine-plane0-p0", 60),
        ("spine-plane1-p0", 60),
    }


def test_each_nic_of_hpn_has_a_port_in_each_of_two_disjoint_planes() -> None:
    graph = build(HPN)
    fabric = graph.subgraph(node for node in graph if graph.nodes[node]["tier"] != "endpoint")
    planes = list(nx.connected_components(fabric))
    assert len(planes) == 2
    for host in ("host-0", "host-128", "host-1919"):
        assert Counter((data["rail"], data["rails"]) for *_, data in graph.edges(host, data=True)) == {(rail, 1): 2 for rail in range(8)}
        assert [sum(leaf in plane for leaf in graph[host]) for plane in planes] == [8, 8]


def test_pods_of_hpn_are_15_segments_and_join_at_15_to_1() -> None:
    two = replace(HPN, hosts=2 * HPN.hosts)
    graph = build(two)
    assert (two.spine_down, two.spine_up, switches(graph)["spine"]) == (120, 8, 240)
    assert cables(graph)["leaf"] / cables(graph)["spine"] == 15
    sixteen = ClosPlan(**{**vars(HPN), "hosts": 16 * HPN.hosts, "aggregate": "rails"})
    assert (sixteen.hosts * 8, len([n for n in build(sixteen) if str(n).startswith("spine-plane0")])) == (245_760, 16)


def test_two_ports_of_a_nic_may_be_under_the_same_spines() -> None:
    plan = replace(HPN, planes=1, nic_ports=2, hosts=128, even_striping=False, leaf_oversubscription=1.0)
    graph = build(plan)
    assert (switches(graph)["leaf"], cables(graph)["endpoint"]) == (16, 128 * 16)
    assert len([node for node in graph if graph.nodes[node]["tier"] == "spine"]) == 1
    with pytest.raises(TopologyError) as caught:
        replace(plan, planes=2, nic_ports=3)
    assert caught.value.field == "nic_ports"


def test_metas_24k_cluster_is_eight_pods_of_3072_at_7_to_1() -> None:
    plan = ClosPlan(
        "meta-24k",
        catalog.HGX_H100,
        catalog.MINIPACK2,
        hosts=24_576 // 8,
        hosts_per_rack=2,
        rail_optimised=False,
        array_hosts=2,
        pod_arrays=192,
        spine_oversubscription=7,
        spine_switch=catalog.ARISTA_7808,
    )
    graph = build(plan)
    assert switches(graph)["leaf"] == 24_576 // 16
    pods = [node for node, data in graph.nodes(data=True) if data["tier"] == "spine"]
    assert len(pods) == 8
    for pod in pods:
        assert graph.nodes[pod]["switch"] == "arista-7808"
        down = sum(data["lanes"] for _, other, data in graph.edges(pod, data=True) if graph.nodes[other]["tier"] == "leaf")
        assert (down, used_ports(graph, pod, 50e9) <= 288) == (3072, True)
    assert cables(graph)["leaf"] / cables(graph)["spine"] == pytest.approx(7, rel=0.001)
