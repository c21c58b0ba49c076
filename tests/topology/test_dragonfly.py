"""Dragonflies: Kim's formulas, Frontier's and Aurora's published counts, ports within the radix."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from topology.catalog import AURORA_NODE, FRONTIER_NODE, GB200_NVL72, ROSETTA, SwitchType
from topology.clos import TopologyError
from topology.compile import compile_cluster
from topology.dragonfly import DragonflyPlan, balanced, build

FRONTIER = DragonflyPlan(
    "frontier", FRONTIER_NODE, ROSETTA, hosts=9408, hosts_per_rack=128, group_switches=32, switch_host_ports=16, global_links_per_pair=4
)
AURORA = DragonflyPlan(
    "aurora",
    AURORA_NODE,
    ROSETTA,
    hosts=10_624,
    hosts_per_rack=64,
    group_switches=32,
    switch_host_ports=16,
    global_links_per_pair=2,
    chassis_switches=1,
    groups=175,
)


def ports(graph: nx.Graph) -> dict[str, int]:
    return {node: lanes for node, lanes in graph.degree(weight="lanes") if graph.nodes[node]["tier"] == "leaf"}


def links(graph: nx.Graph) -> Counter[str]:
    """Lanes by kind of link."""
    lanes: Counter[str] = Counter()
    for one, other, data in graph.edges(data=True):
        groups = graph.nodes[one].get("group"), graph.nodes[other].get("group")
        lanes["host" if None in groups else "local" if groups[0] == groups[1] else "global"] += data["lanes"]
    return lanes


def test_frontier_has_its_published_counts() -> None:
    graph = build(FRONTIER)
    assert len(ports(graph)) == 74 * 32 == 2368
    assert (FRONTIER.group_count, FRONTIER.group_hosts, FRONTIER.group_count * FRONTIER.group_hosts) == (74, 128, 9472)
    assert FRONTIER.taper == pytest.approx(1.753, abs=5e-4)
    assert links(graph) == {"host": 9408 * 4, "local": 74 * 32 * 31 // 2, "global": 74 * 73 // 2 * 4}
    assert max(ports(graph).values()) == 16 + 31 + 10 <= 64


def test_a_chassis_has_each_nic_on_a_switch_of_its_own() -> None:
    graph = build(FRONTIER)
    for host in (0, 15, 16, 127, 128):
        first = host % 128 // 16 * 4
        cables = {node: data["rail"] for _, node, data in graph.edges(f"host-{host}", data=True)}
        assert cables == {f"switch-g{host // 128}-{first + rail}": rail for rail in range(4)}


def test_aurora_has_its_published_counts() -> None:
    graph = build(AURORA)
    assert len(ports(graph)) == 5600 == 175 * 32
    assert (AURORA.host_groups, AURORA.group_hosts, links(graph)["host"]) == (166, 64, 84_992)
    hosts_of_switch = Counter(node for host in range(10_624) for node in graph[f"host-{host}"])
    assert set(hosts_of_switch.values()) == {2}
    assert {graph.nodes[switch]["group"] for switch in hosts_of_switch} == set(range(166))
    # Between compute groups two links each: 1.38 PB/s both ways (arXiv 2512.04291).
    between = sum(
        data["lanes"]
        for one, other, data in graph.edges(data=True)
        if len({graph.nodes[one].get("group"), graph.nodes[other].get("group"), None}) == 3
        and max(graph.nodes[one]["group"], graph.nodes[other]["group"]) < 166
    )
    assert between * 2 * 25e9 == pytest.approx(1.38e15, rel=0.01)


@pytest.mark.parametrize("h", range(1, 5))
def test_balanced_dragonflies_have_the_sizes_of_kims_formula(h: int) -> None:
    host = replace(FRONTIER_NODE, name="one-nic", nics=1)
    plan = balanced("kim", host, SwitchType("kim", 4 * h - 1, 25e9, 0, 0), h, 1)
    graph = build(plan)
    p, a, g = h, 2 * h, 2 * h * h + 1
    assert (plan.hosts, plan.group_count, len(ports(graph))) == (p * a * g, g, a * g)
    assert set(ports(graph).values()) == {4 * h - 1}
    with pytest.raises(TopologyError, match="ports") as caught:
        replace(plan, groups=g + 1)
    assert caught.value.field == "groups"
    switches = graph.subgraph(ports(graph))
    assert nx.diameter(switches) <= 3  # local, global, local


@settings(max_examples=60, deadline=None)
@given(
    chassis=st.integers(1, 4),
    chassis_switches=st.sampled_from([1, 2, 4]),
    host_ports=st.integers(1, 12),
    spare_groups=st.integers(0, 3),
    pair=st.integers(1, 9),
    hosts=st.integers(1, 150),
)
def test_any_dragonfly_joins_all_groups_evenly(
    chassis: int, chassis_switches: int, host_ports: int, spare_groups: int, pair: int, hosts: int
) -> None:
    try:
        plan = DragonflyPlan(
            "any", FRONTIER_NODE, ROSETTA, hosts, 1, chassis * chassis_switches, host_ports, pair, chassis_switches=chassis_switches
        )
        plan = replace(plan, groups=plan.host_groups + spare_groups)
    except TopologyError:
        assume(False)
    graph = build(plan)
    assert nx.is_connected(graph)
    assert max(ports(graph).values()) <= ROSETTA.radix
    groups = plan.group_count
    assert links(graph)["global"] == pair * groups * (groups - 1) // 2
    pairs: Counter[tuple[int, int]] = Counter()
    of_switch: Counter[str] = Counter(dict.fromkeys(ports(graph), 0))
    for one, other, data in graph.edges(data=True):
        ends = graph.nodes[one].get("group"), graph.nodes[other].get("group")
        if None not in ends and ends[0] != ends[1]:
            pairs[min(ends), max(ends)] += data["lanes"]
            of_switch[one] += data["lanes"]
            of_switch[other] += data["lanes"]
    assert len(pairs) == groups * (groups - 1) // 2
    assert set(pairs.values()) <= {pair}
    assert max(of_switch.values()) - min(of_switch.values()) <= 1
    per_host = Counter(host for host, _, data in graph.edges(data=True) for _ in range(data["lanes"]) if host.startswith("host"))
    assert set(per_host.values()) == {4}
    assert len(per_host) == hosts


@pytest.mark.parametrize(("plan", "racks", "chassis"), [(FRONTIER, 74, 588), (AURORA, 166, 5312)])
def test_a_cabinet_holds_several_chassis(plan: DragonflyPlan, racks: int, chassis: int) -> None:
    cluster = compile_cluster(build(plan))
    assert (cluster.counts.racks, len(cluster.level("leaf")), len(cluster.level("pod"))) == (racks, chassis, plan.host_groups)
    assert [level.name for level in cluster.levels] == ["host", "domain", "leaf", "rack", "pod", "site"]
    for finer, coarser in pairwise(cluster.levels):
        assert np.isin(coarser.first_host, finer.first_host).all()
    assert np.array_equal(cluster.block.first_host, cluster.level("leaf").first_host)


def test_a_domain_of_several_hosts_is_one_endpoint() -> None:
    plan = DragonflyPlan("nvl", GB200_NVL72, replace(ROSETTA, radix=128, port_bytes_per_second=50e9), 35, 18, 8, 40)
    graph = build(plan)
    assert (plan.endpoints, plan.group_hosts, graph.nodes["domain-1"]["hosts"]) == (2, 72, 17)
    assert sorted((data["lanes"], data["rail"]) for *_, data in graph.edges("domain-1", data=True)) == [(17, r) for r in range(4)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"hosts": 0}, "hosts"),
        ({"chassis_switches": 3}, "chassis_switches"),
        ({"chassis_switches": 0}, "chassis_switches"),
        ({"group_switches": 30}, "group_switches"),
        ({"groups": 73}, "groups"),
        ({"global_links_per_pair": 8}, "groups"),
        ({"switch_host_ports": 40}, "switch_host_ports"),
        ({"switch_host_ports": 3, "chassis_switches": 1}, "switch_host_ports"),
        ({"hosts": 10**7, "groups": None}, "groups"),
    ],
)
def test_what_cannot_be_built_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(TopologyError) as caught:
        replace(FRONTIER, **change)
    assert caught.value.field == field
