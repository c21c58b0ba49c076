"""The Clos builder: published counts exactly, formulas, conservation of lanes, striping, and what it refuses."""

from dataclasses import replace
from math import ceil
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import catalog
from topology.catalog import HostType, SwitchType
from topology.clos import ClosPlan, TopologyError, build
from topology.compile import compile_cluster
from topology.describe import describe


def plan(hosts: int, host: HostType = catalog.HGX_H100, switch: SwitchType = catalog.QM9700, **more: Any) -> ClosPlan:
    return ClosPlan(name="test", host=host, switch=switch, hosts=hosts, **{"hosts_per_rack": host.domain_hosts * 4, **more})


def switch_of(radix: int, gbit: int = 400) -> SwitchType:
    return SwitchType(f"test-{radix}", radix, gbit * catalog.GBIT, 1e-6, 100.0)


def counts(a_plan: ClosPlan) -> tuple[int, ...]:
    """(leaf, spine, core, host_leaf, leaf_spine, spine_core) from the graph's attributes alone."""
    graph = build(a_plan)
    tiers = nx.get_node_attributes(graph, "tier")
    switches = dict.fromkeys(("leaf", "spine", "core", "inter_building"), 0)
    for _, data in graph.nodes(data=True):
        if data["tier"] != "endpoint":
            switches[data["tier"]] += data["switches"]
    lanes = dict.fromkeys(switches, 0)
    order = list(switches)
    for u, v, data in graph.edges(data=True):
        upper = max((tiers[u], tiers[v]), key=lambda tier: order.index(tier) if tier in order else -1)
        lanes[upper] += data["lanes"]
    return (*(switches[t] for t in order[:3]), *(lanes[t] for t in order[:3]))


# NVIDIA DGX SuperPOD B200 reference architecture, component counts.
@pytest.mark.parametrize(
    ("units", "row"),
    [
        (2, (16, 8, 0, 512, 512, 0)),
        (4, (32, 16, 0, 1024, 1024, 0)),
        (8, (64, 32, 0, 2048, 2048, 0)),
        (16, (128, 128, 64, 4096, 4096, 4096)),
    ],
)
def test_superpod_b200_published_counts(units: int, row: tuple[int, ...]) -> None:
    assert counts(plan(32 * units, catalog.DGX_B200)) == row


@given(units=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_superpod_formula_for_any_number_of_units(units: int) -> None:
    nics = 256 * units
    leaf = nics // 32
    spine, core = (nics // 64, 0) if nics <= 2048 else (leaf, nics // 64)
    assert counts(plan(32 * units, catalog.DGX_B200)) == (leaf, spine, core, nics, nics, nics if core else 0)


# NVIDIA DGX SuperPOD H100 reference architecture, table 4: 256 leaf-spine cables a unit, 31 to 127 hosts.
@pytest.mark.parametrize(("units", "leaf", "spine"), [(1, 8, 4), (2, 16, 8), (3, 24, 16), (4, 32, 16)])
def test_superpod_h100_published_counts(units: int, leaf: int, spine: int) -> None:
    a_plan = plan(32 * units - 1, even_striping=True)
    assert counts(a_plan) == (leaf, spine, 0, 8 * (32 * units - 1), 256 * units, 0)
    assert compile_cluster(build(a_plan)).counts.worst_pod_to_pod_ratio == 1.0


def test_colossus_in_whole_arrays_and_by_the_formula() -> None:
    colossus = plan(12_500, switch=catalog.SN5600, hosts_per_rack=8, whole_arrays=True)
    assert counts(colossus) == (196 * 8, 1568, 784, 100_000, 100_352, 100_352)
    assert counts(replace(colossus, whole_arrays=False)) == (1563, 1563, 782, 100_000, 100_000, 100_000)
    cluster = compile_cluster(build(colossus))
    assert (cluster.counts.racks, len(cluster.level("leaf")), len(cluster.level("pod"))) == (1563, 196, 25)
    first_pod = cluster.level("pod").first_host[:2]
    assert first_pod.tolist() == [0, 8 * 64]


def test_eagle_formula() -> None:
    assert counts(plan(1800)) == (450, 450, 225, 14_400, 14_400, 14_400)


@given(half=st.integers(2, 12))
@settings(max_examples=11, deadline=None)
def test_full_k_ary_fat_tree(half: int) -> None:
    """Al-Fares et al. SIGCOMM'08: k pods of k/2 edge and k/2 aggregation switches, (k/2)^2 cores, k^3/4 hosts of one NIC."""
    k = 2 * half
    host = replace(catalog.HGX_H100, gpus=1, nics=1)
    full = plan(k**3 // 4, host, switch_of(k), hosts_per_rack=half)
    leaf, spine, core, *cables = counts(full)
    assert (leaf, spine, core) == (k * half, k * half, half**2)
    assert cables == [k**3 // 4] * 3
    pods = {
        (node, data["switches"], sum(graph.nodes[near]["tier"] == "leaf" for near in graph[node]))
        for graph in [build(full)]
        for node, data in graph.nodes(data=True)
        if data["tier"] == "spine"
    }
    assert len(pods) == k
    assert {size[1:] for size in pods} == {(half, half)}
    with pytest.raises(TopologyError, match=r"three tiers"):
        plan(k**3 // 4 + 1, host, switch_of(k))


@given(
    hosts=st.integers(1, 700),
    k=st.sampled_from([16, 32, 40, 64, 128]),
    rail_optimised=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_port_formula(hosts: int, k: int, rail_optimised: bool) -> None:
    """leaf = ceil(N/(k/2)); N <= k^2/2: spine = ceil(N/k); else spine = leaf and core = ceil(N/k), where an array fills its leaves."""
    nics = hosts * 8
    if nics > k**3 / 4:
        return
    leaf, spine, core, *cables = counts(plan(hosts, switch=switch_of(k), rail_optimised=rail_optimised))
    if k // 2 % 8 == 0 or rail_optimised:
        assert leaf == ceil(nics / (k // 2))
    if nics <= k * k / 2 and (rail_optimised or k // 2 % 8 == 0):
        assert (spine, core) == (ceil(nics / k), 0)
        assert cables == [nics, nics, 0]
    elif nics > k * k / 2:
        assert cables == [nics, nics, nics]
        assert core == ceil(nics / k)
        if k // 2 % 8 == 0:
            assert spine == leaf


plans = st.builds(
    lambda **k: k,
    host=st.sampled_from(list(catalog.HOSTS.values())),
    switch=st.sampled_from([*catalog.SWITCHES.values(), switch_of(48), switch_of(72)]),
    hosts=st.integers(1, 3000),
    rail_optimised=st.booleans(),
    rails_meet=st.booleans(),
    whole_arrays=st.booleans(),
    even_striping=st.booleans(),
    leaf_oversubscription=st.sampled_from([1.0, 1.5, 3.0, 7.0]),
    spine_oversubscription=st.sampled_from([1.0, 2.0, 15.0]),
    pod_arrays=st.sampled_from([None, 1, 2]),
    planes=st.sampled_from([1, 1, 2, 4]),
    nic_ports=st.sampled_from([None, None, 2, 4]),
    uplink_ports=st.sampled_from([1, 1, 2]),
    spine_switch=st.sampled_from([None, None, switch_of(32), switch_of(128)]),
    buildings=st.sampled_from([1, 1, 2, 3]),
    building_oversubscription=st.sampled_from([1.0, 8.0]),
    aggregate=st.sampled_from(["none", "rails"]),
)


@given(options=plans)
@settings(max_examples=60, deadline=None)
def test_ports_and_lanes_add_up(options: dict[str, Any]) -> None:
    """No switch has more cables than ports, every NIC has one, and aggregation changes no count."""
    try:
        a_plan = plan(**options)
    except TopologyError:
        return
    graph = build(a_plan)
    down, up = dict.fromkeys(graph, 0), dict.fromkeys(graph, 0)
    order = {"endpoint": 0, "leaf": 1, "spine": 2, "core": 3, "inter_building": 4}
    for u, v, data in graph.edges(data=True):
        low, high = sorted((u, v), key=lambda node: order[graph.nodes[node]["tier"]])
        up[low] += data["lanes"]
        down[high] += data["lanes"]
    for node, data in graph.nodes(data=True):
        if data["tier"] == "endpoint":
            assert up[node] == data.get("hosts", a_plan.host.domain_hosts) * a_plan.host.nics * a_plan.ports
        elif data["tier"] == "leaf":
            assert down[node] + up[node] * a_plan.uplink_ports <= data["switches"] * a_plan.radix, (node, data)
            assert down[node] > 0
        else:
            assert down[node] + up[node] <= data["switches"] * a_plan.upper_radix, (node, data)
            assert down[node] > 0
    nic_ports = sum(up[node] for node, tier in graph.nodes(data="tier") if tier == "endpoint")
    assert nic_ports == a_plan.hosts * a_plan.host.nics * a_plan.ports
    fabric = graph.subgraph(node for node in graph if graph.nodes[node]["tier"] not in ("endpoint", "inter_building"))
    assert nx.number_connected_components(fabric) >= a_plan.planes * a_plan.buildings
    cluster = compile_cluster(graph)
    assert 0 <= cluster.counts.worst_pod_to_pod_ratio <= 1
    assert cluster.counts.gpus == a_plan.hosts * a_plan.host.gpus
    assert (len(cluster.level("building")) if a_plan.buildings > 1 else 1) == a_plan.buildings
    if a_plan.rails_meet and a_plan.rail_optimised:
        other = replace(a_plan, aggregate="rails" if a_plan.aggregate == "none" else "none")
        assert counts(other) == counts(a_plan)


def test_aggregated_rails_describe_the_same_cluster() -> None:
    fine = plan(1000, switch=catalog.QM9700)
    assert describe(compile_cluster(build(fine))) == describe(compile_cluster(build(replace(fine, aggregate="rails"))))


def test_isolated_rails_are_one_plane_each() -> None:
    cluster = compile_cluster(build(plan(320, rails_meet=False)))
    links = cluster.links
    assert links.plane.max() + 1 == 8
    assert (links.plane == links.rail_first).all()
    assert compile_cluster(build(plan(320))).links.plane.max() == 0


def test_nvl72_rack_is_one_endpoint_with_four_rails_of_18_lanes() -> None:
    cluster = compile_cluster(build(plan(36, catalog.GB200_NVL72, catalog.SN5600, hosts_per_rack=18, whole_arrays=True)))
    assert (cluster.counts.domains, cluster.counts.racks, cluster.counts.gpus) == (2, 2, 144)
    own = cluster.links.u == 0
    assert cluster.links.lanes[own].tolist() == [18] * 4
    assert cluster.links.rail_first[own].tolist() == [0, 1, 2, 3]
    assert cluster.links.bytes_per_second[own].tolist() == [18 * 50e9] * 4


def test_a_site_of_several_fabrics() -> None:
    site = plan(3000, buildings=3, building_oversubscription=4.0, hosts_per_rack=4)
    cluster = compile_cluster(build(site))
    building = cluster.level("building")
    assert np.diff(building.first_host).tolist() == [1000, 1000, 1000]
    assert len(building.uplinks) == 3
    assert cluster.links.lanes[building.uplinks].tolist() == [2000] * 3
    assert cluster.counts.bisection_bytes_per_second == 3 * 2000 * 50e9 / 2


def test_oversubscription_is_what_was_asked_for() -> None:
    cluster = compile_cluster(build(plan(1000, leaf_oversubscription=3.0, spine_oversubscription=7.0)))
    assert cluster.counts.oversubscription_leaf == 3.0
    assert cluster.counts.oversubscription_spine == pytest.approx(7.0, rel=0.01)
    assert cluster.counts.bisection_bytes_per_second == pytest.approx(8000 * 50e9 / 2 / 21, rel=0.01)


@pytest.mark.parametrize("hosts", [1_000_008, 12 * 83_322])
def test_a_last_pod_of_half_the_size_is_not_cut_off(hosts: int) -> None:
    """With half of the core's ports to other buildings a core reaches 64 of 97 pods; two whole pods share at least (2 * 64 - 97) / 64."""
    a_plan = ClosPlan("x", catalog.GB200_NVL72, catalog.SN5600, hosts, 18, aggregate="rails", buildings=12)
    assert compile_cluster(build(a_plan)).counts.worst_pod_to_pod_ratio > 0.48


@pytest.mark.parametrize("nic_ports", [2, 4])
def test_every_port_of_a_plane_has_its_leaf(nic_ports: int) -> None:
    """The leaves of a plane in the check of the plan are those in the graph, also where a NIC has several ports in one plane."""
    for hosts in (1, 40, 70, 300):
        a_plan = plan(hosts, nic_ports=nic_ports, planes=2)
        graph = build(a_plan)
        leaves = [data["switches"] for node, data in graph.nodes(data=True) if data["tier"] == "leaf" and "plane0" in node]
        assert a_plan.building_leaves == sum(leaves)


@pytest.mark.parametrize(
    ("options", "field", "text"),
    [
        ({"hosts": 0}, "hosts", "at least 1"),
        ({"hosts": 8193}, "buildings", "at most 8192 hosts a building, so 2 buildings"),
        ({"hosts": 8, "switch": switch_of(63)}, "switch", "even number"),
        ({"hosts": 8, "switch": switch_of(2)}, "switch", "even number"),
        ({"hosts": 8, "leaf_oversubscription": 0.5}, "leaf_oversubscription", "1 .non-blocking. to 63"),
        ({"hosts": 8, "leaf_oversubscription": float("nan")}, "leaf_oversubscription", "allowed"),
        ({"hosts": 8, "rails_meet": False, "rail_optimised": False}, "rails_meet", "rail-optimised"),
        ({"hosts": 8, "rails_meet": False, "aggregate": "rails"}, "aggregate", "joins"),
        ({"hosts": 8, "array_hosts": 33}, "array_hosts", "1 to 32"),
        ({"hosts": 8, "pod_arrays": 5}, "pod_arrays", "1 to 4"),
        ({"hosts": 8, "buildings": 9}, "buildings", "more than the 8"),
        ({"hosts": 18, "host": catalog.GB200_NVL72, "rail_optimised": False}, "switch", "fewer than the 72 NICs"),
        ({"hosts": 18, "host": catalog.GB200_NVL72, "hosts_per_rack": 4}, "hosts_per_rack", "whole domains"),
        ({"hosts": 4_000_000, "switch": catalog.QUANTUM_X800, "buildings": 100}, "aggregate", "more than"),
    ],
)
def test_what_it_refuses(options: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(TopologyError, match=text) as error:
        plan(**options)
    assert error.value.field == field
