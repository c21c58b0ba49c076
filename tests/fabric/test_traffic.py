from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.fabric.settings import FabricSettings
from emulator.fabric.traffic import TrafficMap
from emulator.workload.jobs import TrainingShape
from topology import catalog
from topology.cluster import Cluster, Level
from topology.compile import compile_cluster

GBPS = 1e9 / 8
NIC = 400e9 / 8  # bytes per second of an HGX H100 host's NIC, line rate
SETTINGS = FabricSettings()
RING = TrainingShape(compute_seconds=1.0, ring_bytes=1e9, overlap_seconds=0.0, latency_seconds=0.0, model_flops=1.0)

#: As the scheduler places: (block, mask of its hosts, mask of the GPUs on each of them).
Rows = list[tuple[int, int, int]]

CLUSTERS: dict[str, dict[str, Any]] = {
    "two tiers": {},
    "three tiers": {"hosts": 600, "hosts_per_rack": 8, "array_hosts": 8, "pod_arrays": 4},
    "isolated rails": {"rails_meet": False},
    "buildings": {"hosts": 48, "buildings": 3},
    "joined rails": {"aggregate": "rails"},
    "nvl72": {"host": "gb200-nvl72", "switch": "quantum-x800", "hosts": 18 * 12, "hosts_per_rack": 18, "array_hosts": 36},
}


@pytest.fixture(scope="session")
def cluster_of(clos: Callable[..., Cluster]) -> Callable[[str], Cluster]:
    return lambda name: clos(**CLUSTERS[name])


def domain_lanes(cluster: Cluster, rows: Rows) -> dict[int, Counter[int]]:
    """The job's GPUs in each scale-up domain, by their rail."""
    domain_of, found = cluster.level("domain").host_unit, defaultdict[int, Counter[int]](Counter)
    for block, host_mask, gpu_mask in rows:
        for bit in bits(host_mask):
            host = int(cluster.block.first_host[block]) + bit
            for gpu in bits(gpu_mask):
                found[int(domain_of[host])][gpu % cluster.rails] += 1
    return found


def bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def levels_above(cluster: Cluster) -> list[Level]:
    """The levels that have links of their own above them."""
    levels = [level for level in cluster.levels if level.name in ("leaf", "pod", "building") and len(level.uplinks)]
    if len(levels) > 1 and levels[-1].uplinks.tolist() == levels[-2].uplinks.tolist():
        levels.pop()  # a building of two tiers is one pod
    return levels


def rings(count: dict[int, Counter[int]], rail: int) -> Iterator[list[int]]:
    """The members of each ring of a rail: the domains that have a GPU for it."""
    for ring in range(max((lanes[rail] for lanes in count.values()), default=0)):
        members = sorted(domain for domain, lanes in count.items() if lanes[rail] > ring)
        if len(members) > 1:
            yield members


def serving(cluster: Cluster, links: Iterable[int], rail: int) -> int:
    """The one of these links that carries the rail."""
    (link,) = (i for i in links if cluster.links.rail_first[i] <= rail < cluster.links.rail_first[i] + cluster.links.rails[i])
    return link


def walk(cluster: Cluster, rows: Rows) -> tuple[dict[int, dict[int, float]], Counter[int]]:
    """By plane, the directed links with the lanes that a walk around every ring puts on them, and the lanes in rings by plane."""
    weights: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    lanes: Counter[int] = Counter()
    links, first_host, count = cluster.links, cluster.level("domain").first_host, domain_lanes(cluster, rows)
    for rail in range(cluster.rails):
        for members in rings(count, rail):
            for here, there in pairwise([*members, members[0]]):
                lanes[int(links.plane[serving(cluster, np.flatnonzero(links.u == here).tolist(), rail)])] += 1
                for level, (source, target, way) in product(levels_above(cluster), ((here, there, 0), (there, here, 1))):
                    unit = int(level.host_unit[first_host[source]])
                    if unit != int(level.host_unit[first_host[target]]):
                        uplinks = level.uplinks[level.uplink_start[unit] : level.uplink_start[unit + 1]].tolist()
                        link = serving(cluster, uplinks, rail)
                        weights[int(links.plane[link])][2 * link + way] += 1.0
    return weights, lanes


@st.composite
def placements(draw: st.DrawFn, cluster: Cluster) -> Rows:
    blocks = draw(st.lists(st.integers(0, len(cluster.block) - 1), min_size=1, max_size=9, unique=True))
    sizes = np.diff(cluster.block.first_host)
    whole = (1 << cluster.gpus_per_host) - 1
    rows = [(block, draw(st.integers(1, (1 << int(sizes[block])) - 1)), whole) for block in blocks]
    if draw(st.booleans()):  # a remainder on a host that is not taken yet
        block, taken, _ = rows[0]
        free = [bit for bit in range(int(sizes[block])) if not taken >> bit & 1]
        if free:
            rows.append((block, 1 << draw(st.sampled_from(free)), draw(st.integers(1, whole))))
    return rows


@pytest.mark.parametrize("name", CLUSTERS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_agrees_with_a_walk_around_every_ring(cluster_of: Callable[[str], Cluster], name: str, data: st.DataObject) -> None:
    cluster = cluster_of(name)
    rows = data.draw(placements(cluster))
    weights, lanes = walk(cluster, rows)
    flows = TrafficMap(cluster, SETTINGS).traffic(rows, RING).pieces
    assert {flow.plane: flow.lanes for flow in flows} == dict(lanes)
    for flow in flows:
        assert len(set(flow.links.tolist())) == len(flow.links)
        assert dict(zip(flow.links.tolist(), flow.weights.tolist(), strict=True)) == dict(weights[flow.plane])


def test_two_hosts_of_two_leaves_load_one_lane_per_rail(cluster_of: Callable[[str], Cluster]) -> None:
    """Hosts 0 and 4 are in arrays 0 and 1, with a leaf per rail each: 8 rails x 2 arrays x (up, down) = 32 links of weight 1, 16 lanes."""
    cluster = cluster_of("two tiers")
    (flow,) = TrafficMap(cluster, SETTINGS).traffic([(0, 1, 255), (1, 1, 255)], RING).pieces
    assert (len(flow.links), set(flow.weights.tolist()), flow.lanes) == (32, {1.0}, 16)


@pytest.mark.parametrize("name", ["two tiers", "three tiers"])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_the_tokens_of_a_sequence_are_exchanged_as_those_of_experts_are(
    cluster_of: Callable[[str], Cluster], name: str, data: st.DataObject
) -> None:
    """Groups of 16 consecutive GPUs, all to all, of as many bytes: the same lanes on the same links. Beside a ring each has its part."""
    cluster = cluster_of(name)
    rows, ring = data.draw(placements(cluster)), data.draw(st.sampled_from([0.0, 1e9]))
    base = replace(RING, ring_bytes=ring, replica_gpus=16)
    shapes = replace(base, context_gpus=16, context_bytes=3e9), replace(base, expert_gpus=16, expert_bytes=3e9)
    context, experts = (TrafficMap(cluster, SETTINGS).traffic(rows, shape).pieces for shape in shapes)
    assert [(one.plane, one.links.tolist(), one.weights.tolist(), one.lanes) for one in context] == [
        (one.plane, one.links.tolist(), one.weights.tolist(), one.lanes) for one in experts
    ]


def test_a_job_in_one_domain_has_no_flow_and_one_in_a_leaf_no_links(cluster_of: Callable[[str], Cluster]) -> None:
    rings = TrafficMap(cluster_of("two tiers"), SETTINGS)
    assert rings.traffic([(0, 0b1, 255)], RING).pieces == ()
    (flow,) = rings.traffic([(0, 0b11, 255)], RING).pieces
    assert len(flow.links) == 0
    assert flow.lanes == 16
    racks = TrafficMap(cluster_of("nvl72"), SETTINGS)
    assert racks.traffic([(0, (1 << 18) - 1, 15)], RING).pieces == ()


def test_an_nvl72_rack_has_a_ring_for_each_gpu(cluster_of: Callable[[str], Cluster]) -> None:
    """Two whole racks under different leaves: 72 / 4 rails = 18 rings a rail; half of one rack instead: 9 trays, hence 9."""
    rings = TrafficMap(cluster_of("nvl72"), SETTINGS)
    (whole,) = rings.traffic([(0, (1 << 18) - 1, 15), (2, (1 << 18) - 1, 15)], RING).pieces
    (half,) = rings.traffic([(0, (1 << 18) - 1, 15), (2, (1 << 9) - 1, 15)], RING).pieces
    assert (set(whole.weights.tolist()), whole.lanes) == ({18.0}, 144)
    assert (set(half.weights.tolist()), half.lanes) == ({9.0}, 72)


def test_remainder_rings_only_on_rails_it_shares(cluster_of: Callable[[str], Cluster]) -> None:
    """Eight GPUs in one array and four (rails 0 to 3) in another: four rings, 4 x 2 x 2 = 16 links and 8 lanes."""
    (flow,) = TrafficMap(cluster_of("two tiers"), SETTINGS).traffic([(0, 1, 255), (1, 1, 0b1111)], RING).pieces
    assert (len(flow.links), flow.lanes) == (16, 8)


def test_isolated_rails_are_planes_of_their_own(cluster_of: Callable[[str], Cluster]) -> None:
    flows = TrafficMap(cluster_of("isolated rails"), SETTINGS).traffic([(0, 1, 255), (1, 1, 255)], RING).pieces
    assert [(flow.plane, flow.lanes, len(flow.links)) for flow in flows] == [(plane, 2, 4) for plane in range(8)]


def test_the_cap_is_the_payload_rate_of_a_nic(cluster_of: Callable[[str], Cluster]) -> None:
    assert TrafficMap(cluster_of("two tiers"), FabricSettings(efficiency=0.9)).caps == (0.9 * NIC,)


@pytest.mark.parametrize("name", CLUSTERS)
def test_endpoint_lanes_count_every_gpu_once(cluster_of: Callable[[str], Cluster], name: str) -> None:
    cluster = cluster_of(name)
    rows = [(0, 0b101, 0b111), (1, 0b11, 0b1011)]
    links, lanes = TrafficMap(cluster, SETTINGS).endpoint_lanes(rows)
    assert lanes.sum() == 2 * 3 + 2 * 3
    assert (cluster.links.tier[links] == 0).all()
    assert (np.diff(links) > 0).all()


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_load_of_many_jobs_is_the_sum_of_their_lanes(cluster_of: Callable[[str], Cluster], name: str) -> None:
    cluster = cluster_of(name)
    rows = [(0, 0b101, 0b111), (1, 0b11, 0b1011), (0, 0b1, 0b1)]
    expected = np.zeros(len(cluster.links))
    traffic_map = TrafficMap(cluster, SETTINGS)
    for row, per_lane in zip(rows, (3.0, 5.0, 7.0), strict=True):
        links, lanes = traffic_map.endpoint_lanes([row])
        expected[links] += per_lane * lanes
    assert traffic_map.endpoint_load(rows, np.array([3.0, 5.0, 7.0])) == pytest.approx(expected)
    assert not traffic_map.endpoint_load([], np.array([])).any()


@pytest.mark.parametrize(("pods", "planes"), [(("spine",), 1), (("left", "right"), 2)])
def test_a_nic_of_two_ports_divides_its_traffic_by_their_speed(pods: tuple[str, ...], planes: int) -> None:
    """Four hosts of one NIC with a port of 300 Gb/s on one leaf and one of 100 on the other (dual-ToR; dual-plane with spines apart): a
    ring over two pairs of leaves has three quarters of its lane on the one.
    """
    host = replace(catalog.host("hgx-h100"), name="small", gpus=1, nics=1)
    graph = nx.Graph(name="dual", host=host, switch="qm9700", hosts_per_rack=1)
    for number in range(4):
        graph.add_node(f"host{number}", tier="endpoint")
    for pair in range(2):
        for side, speed in enumerate((300 * GBPS, 100 * GBPS)):
            leaf, spine = f"leaf{pair}{side}", pods[side % len(pods)]
            graph.add_nodes_from([(leaf, {"tier": "leaf"}), (spine, {"tier": "spine"})])
            graph.add_edges_from((f"host{2 * pair + k}", leaf, {"lane_bytes_per_second": speed}) for k in range(2))
            graph.add_edge(leaf, spine, lanes=2)
    cluster = compile_cluster(graph)
    traffic_map = TrafficMap(cluster, SETTINGS)
    rows = [
        (int(cluster.block.host_unit[host]), 1 << int(host - cluster.block.first_host[cluster.block.host_unit[host]]), 1) for host in (0, 2)
    ]
    pieces = traffic_map.traffic(rows, RING).pieces
    assert len(pieces) == planes
    weights = sorted(weight for piece in pieces for weight in piece.weights.tolist())
    assert weights == pytest.approx([0.25] * 4 + [0.75] * 4)
    assert sorted(traffic_map.endpoint_lanes(rows)[1].tolist()) == pytest.approx([0.25, 0.25, 0.75, 0.75])


@pytest.mark.parametrize("name", ["two tiers", "three tiers", "joined rails"])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_replicas_of_several_hosts_have_a_ring_for_each_of_their_lanes(
    cluster_of: Callable[[str], Cluster], name: str, data: st.DataObject
) -> None:
    """Whole hosts in replicas of R: max(0, min(R, m) + min(R, n - m) - R) rings a rail leave a leaf or pod with m of the n hosts."""
    cluster = cluster_of(name)
    replica, replicas = data.draw(st.integers(1, 6)), data.draw(st.integers(2, 4))
    total = min(replica * replicas, cluster.host_count // replica * replica)
    order = np.random.default_rng(data.draw(st.integers(0, 10**6))).permutation(cluster.host_count)
    hosts = np.sort(order[:total])
    block = cluster.block.host_unit[hosts]
    rows = [(int(b), sum(1 << int(host - cluster.block.first_host[b]) for host in hosts[block == b]), 255) for b in np.unique(block)]
    traffic_map = TrafficMap(cluster, SETTINGS)
    (piece,) = traffic_map.traffic(rows, replace(RING, replica_gpus=8 * replica)).pieces
    found = dict(zip(piece.links.tolist(), piece.weights.tolist(), strict=True))
    for level in cluster.levels:
        if level.name not in ("leaf", "pod"):
            continue
        for unit in np.unique(level.host_unit[hosts]).tolist():
            inside = int((level.host_unit[hosts] == unit).sum())
            rings = 0 if inside == total else max(0, min(replica, inside) + min(replica, total - inside) - replica)
            uplinks = level.uplinks[level.uplink_start[unit] : level.uplink_start[unit + 1]].tolist()
            for way in (0, 1):
                lanes = sum(found.get(2 * link + way, 0.0) for link in uplinks)
                assert lanes == pytest.approx(8 * rings if uplinks else 0.0)
