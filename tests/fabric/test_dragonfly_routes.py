"""Routes of a small dragonfly, by hand and by what must hold of any."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emulator.fabric.settings import FabricSettings
from emulator.fabric.traffic import TrafficMap
from emulator.workload.jobs import TrainingShape
from topology import catalog
from topology.cluster import TIERS, Cluster
from topology.compile import compile_cluster
from topology.dragonfly import DragonflyPlan, build

LOCAL, GLOBAL = TIERS.index("local"), TIERS.index("global")
RING = TrainingShape(compute_seconds=1.0, ring_bytes=1e9, overlap_seconds=0.0, latency_seconds=0.0, model_flops=1.0)
#: 64 GPUs in two replicas: with 8 hosts in each of two groups, all 32 lanes of either cross to the other.
TWO_REPLICAS = replace(RING, replica_gpus=32)
WHOLE = (1 << 4) - 1


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """Five groups of 8 switches in 2 chassis, 4 hosts of 4 NICs a chassis, a NIC on each of its switches; 4 links between two groups."""
    host, switch = catalog.host("frontier-node"), catalog.switch("rosetta")
    return compile_cluster(build(DragonflyPlan("small", host, switch, 40, 4, 8, 4, global_links_per_pair=4)))


def rows_of(cluster: Cluster, hosts: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    blocks = cluster.block.host_unit[hosts]
    return [
        (int(block), sum(1 << int(host - cluster.block.first_host[block]) for host in hosts[blocks == block]), WHOLE)
        for block in np.unique(blocks)
    ]


def loads(
    cluster: Cluster,
    hosts: NDArray[np.int64] | list[int] | range,
    shape: TrainingShape,
    routing: str = "adaptive",
    scales: dict[int, float] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lanes by tier, and what each switch gets and does not pass on."""
    traffic_map = TrafficMap(cluster, FabricSettings(routing=routing))
    if scales:
        traffic_map.reroute(scales)
    rows = rows_of(cluster, np.asarray(hosts))
    groups = traffic_map.traffic(rows, shape).groups
    if traffic_map.groups:  # the job is alone: what it asks for is the demand
        demand = np.zeros(traffic_map.groups**2, dtype=np.int64)
        demand[groups.pair] = np.rint(groups.lanes * traffic_map.caps[0])
        traffic_map.turn(demand)
    (piece,) = traffic_map.traffic(rows, shape).pieces
    links, up = piece.links >> 1, piece.links % 2 == 0
    source = np.where(up, cluster.links.u[links], cluster.links.v[links])
    target = np.where(up, cluster.links.v[links], cluster.links.u[links])
    nodes = len(cluster.links.switches)
    kept = np.bincount(target, piece.weights, nodes).astype(np.float64) - np.bincount(source, piece.weights, nodes)
    by_link = np.zeros(2 * len(cluster.links))
    by_link[piece.links] = piece.weights
    return by_link.reshape(-1, 2), kept


def test_a_ring_of_two_groups_takes_the_direct_links_alone(cluster: Cluster) -> None:
    """A host in group 0 and one in group 1: a ring of two per rail, so 4 lanes each way over 4 links of a lane each."""
    load, kept = loads(cluster, [0, 8], RING)
    direct = cluster.links.tier == GLOBAL
    assert load[direct].sum() == pytest.approx(8.0)
    assert load[direct].max() == pytest.approx(1.0)
    np.testing.assert_allclose(kept, 0.0, atol=1e-12)


def test_what_the_direct_links_cannot_carry_spills_over_all_other_groups(cluster: Cluster) -> None:
    """32 lanes each way between two groups with 4 direct links of a lane, and 4 to each of 3 other groups: 16 links leave a group, so 8 go
    directly and 24 by way of others, two global hops each: every link has 2. Valiant sends all 32 around, minimal none.
    """
    hosts = range(16)
    for routing, hops in (("adaptive", 8 + 2 * 24), ("valiant", 2 * 32), ("minimal", 32)):
        load, kept = loads(cluster, hosts, TWO_REPLICAS, routing)
        assert load[cluster.links.tier == GLOBAL].sum() == pytest.approx(2 * hops)
        np.testing.assert_allclose(kept, 0.0, atol=1e-9)
    load, _ = loads(cluster, hosts, TWO_REPLICAS)
    across = np.flatnonzero(cluster.links.tier == GLOBAL)
    assert load[across].max() == pytest.approx(2.0)


def test_minimal_routes_take_at_most_two_local_hops_and_one_global(cluster: Cluster) -> None:
    load, _ = loads(cluster, range(16), TWO_REPLICAS, "minimal")
    across = load[cluster.links.tier == GLOBAL].sum()
    assert load[cluster.links.tier == LOCAL].sum() <= 2 * across


def test_dead_links_of_two_groups_send_their_lanes_around(cluster: Cluster) -> None:
    peers = next(peers for peers in cluster.peers if peers.level == "pod")
    dead = peers.links[(peers.unit_u == 0) & (peers.unit_v == 1)]
    load, kept = loads(cluster, [0, 8], RING, scales=dict.fromkeys(dead.tolist(), 0.0))
    assert load[dead].sum() == 0.0
    assert load[cluster.links.tier == GLOBAL].sum() == pytest.approx(16.0)
    np.testing.assert_allclose(kept, 0.0, atol=1e-12)
    load, _ = loads(cluster, [0, 8], RING, scales={int(dead[0]): 0.0})
    assert load[dead[0]].sum() == 0.0


@pytest.mark.parametrize("routing", ["adaptive", "minimal", "valiant"])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_switches_pass_on_what_they_do_not_deliver(cluster: Cluster, routing: str, data: st.DataObject) -> None:
    """Rings, trees, stages and groups send as much from every lane as they receive, so no switch may keep or invent any."""
    hosts = np.array(sorted(data.draw(st.sets(st.integers(0, 39), min_size=2, max_size=40))))
    gpus = 4 * len(hosts)
    replica = data.draw(st.sampled_from([size for size in range(1, gpus + 1) if gpus % size == 0]))
    shape = TrainingShape(
        1.0, data.draw(st.sampled_from([0.0, 1.0])), 0.0, 0.0, 1.0,
        collective=data.draw(st.sampled_from(["ring", "tree"])), replica_gpus=replica, stage_gpus=data.draw(st.integers(1, replica)),
        pipeline_bytes=data.draw(st.sampled_from([0.0, 1.0])), expert_gpus=replica, expert_bytes=1.0,
    )  # fmt: skip
    traffic = TrafficMap(cluster, FabricSettings(routing=routing)).traffic(rows_of(cluster, hosts), shape)
    if not len(traffic.pieces[0].links):
        return
    _, kept = loads(cluster, hosts, shape, routing)
    # Shifts of a pipeline leave a rail's lanes uneven between chassis, but never in sum: both ways are the same lanes.
    np.testing.assert_allclose(kept, 0.0, atol=1e-9)


def test_hashing_is_refused_with_what_is_allowed(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match=r"fabric.routing: ecmp .* dragonfly.*adaptive, minimal, valiant"):
        TrafficMap(cluster, FabricSettings(routing="ecmp"))


def test_no_detour_within_a_group_or_while_nobody_asks_for_more(cluster: Cluster) -> None:
    """The lanes between groups that a job reports are those that its global links carry when nothing makes a detour."""
    traffic_map = TrafficMap(cluster, FabricSettings())
    assert len(traffic_map.traffic(rows_of(cluster, np.arange(8)), RING).groups.pair) == 0
    groups = traffic_map.traffic(rows_of(cluster, np.array([0, 8])), RING).groups
    assert groups.pair.tolist() == [1, 5]  # from group 0 to 1 and back, of five
    assert groups.lanes.tolist() == pytest.approx([4.0, 4.0])
