"""Jobs over several sites: the shortest paths, by hand."""

from collections import defaultdict

import networkx as nx
import pytest

from emulator.fabric.settings import FabricSettings
from emulator.fabric.traffic import Traffic, TrafficMap
from emulator.workload.jobs import TrainingShape
from topology.cluster import TIERS, Cluster
from topology.compile import compile_cluster

RING = TrainingShape(compute_seconds=1.0, ring_bytes=1e9, overlap_seconds=0.0, latency_seconds=0.0, model_flops=1.0)
WAN = TIERS.index("wan")


@pytest.fixture(scope="module")
def square() -> Cluster:
    """Four sites a, b, c, d of two hosts in a square of 100 km a side: between opposite ones there are two paths as short."""
    graph = nx.Graph(name="square", host="hgx-h100", switch="qm9700", hosts_per_rack=2)
    for site in "abcd":
        for host in range(2):
            graph.add_node(f"{site}{host}", tier="endpoint", site=site)
        graph.add_nodes_from([(f"leaf-{site}", {"tier": "leaf"}), (f"spine-{site}", {"tier": "spine"})])
        graph.add_node(f"gateway-{site}", tier="wan", site=site)
        graph.add_edges_from((f"{site}{host}", f"leaf-{site}", {"lanes": 8, "rails": 8}) for host in range(2))
        graph.add_edge(f"leaf-{site}", f"spine-{site}", lanes=16)
        graph.add_edge(f"spine-{site}", f"gateway-{site}", lanes=16)
    for one, other in ("ab", "bc", "cd", "da"):
        graph.add_edge(f"gateway-{one}", f"gateway-{other}", lanes=4, distance_km=100.0)
    return compile_cluster(graph)


def loads(cluster: Cluster, traffic_map: TrafficMap, traffic: Traffic) -> dict[int, float]:
    """Lanes on every directed link between gateways."""
    wan: dict[int, float] = defaultdict(float)
    for piece in traffic.pieces:
        for directed, weight in zip(piece.links.tolist(), piece.weights.tolist(), strict=True):
            link = int(traffic_map.channels.link[directed >> 1])
            if cluster.links.tier[link] == WAN and cluster.links.node_tier[cluster.links.u[link]] == 5:
                wan[2 * link + directed % 2] += weight
    return wan


@pytest.mark.parametrize("routing", ["adaptive", "ecmp"])
def test_opposite_sites_divide_evenly_over_both_ways(square: Cluster, routing: str) -> None:
    """A host in a and one in c: a ring of two on 8 rails, 8 lanes each way, 4 on either way round; every link of the square in both
    directions. 200 km are 1 ms, and more than within a site by at least that.
    """
    traffic_map = TrafficMap(square, FabricSettings(routing=routing))
    traffic = traffic_map.traffic([(0, 1, 255), (2, 1, 255)], RING)
    found = loads(square, traffic_map, traffic)
    assert len(found) == 8
    assert set(found.values()) == {4.0}
    inside = traffic_map.traffic([(0, 3, 255)], RING)
    assert traffic.hop_seconds - inside.hop_seconds > 1e-3
    assert [piece.plane for piece in traffic.pieces] == sorted({piece.plane for piece in traffic.pieces})
    assert sum(piece.lanes for piece in traffic.pieces) == 16


def test_neighbours_take_the_direct_link_and_the_long_way_where_it_is_dead(square: Cluster) -> None:
    traffic_map = TrafficMap(square, FabricSettings())
    rows = [(0, 1, 255), (1, 1, 255)]
    before = loads(square, traffic_map, traffic_map.traffic(rows, RING))
    assert sorted(before.values()) == [8.0, 8.0]
    dead = next(iter(before)) >> 1
    changed = traffic_map.reroute({dead: 0.0})
    assert dead in changed.tolist()
    after = loads(square, traffic_map, traffic_map.traffic(rows, RING))
    assert sorted(after.values()) == [8.0] * 6
    assert all(directed >> 1 != dead for directed in after)
    traffic_map.reroute({})
    assert loads(square, traffic_map, traffic_map.traffic(rows, RING)) == before
