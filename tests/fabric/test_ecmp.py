"""Hashed flows: what any hashing must keep, and the collisions that it makes."""

from collections.abc import Callable
from dataclasses import replace
from math import exp

import numpy as np
import pytest
from numpy.typing import NDArray

from emulator.fabric.settings import FabricSettings
from emulator.fabric.traffic import Piece, TrafficMap
from emulator.workload.jobs import TrainingShape
from topology.cluster import Cluster

RING = TrainingShape(compute_seconds=1.0, ring_bytes=1e9, overlap_seconds=0.0, latency_seconds=0.0, model_flops=1.0)
ECMP = FabricSettings(routing="ecmp")


@pytest.fixture(scope="module")
def two_tiers(clos: Callable[..., Cluster]) -> Cluster:
    """Eight arrays of 32 hosts under 64-port leaves: 32 lanes down and 32 up each."""
    return clos(hosts=256, hosts_per_rack=8, array_hosts=32)


@pytest.fixture(scope="module")
def three_tiers(clos: Callable[..., Cluster]) -> Cluster:
    return clos(hosts=600, hosts_per_rack=8, array_hosts=8, pod_arrays=4)


def whole_arrays(cluster: Cluster, arrays: list[int] | range) -> list[tuple[int, int, int]]:
    first = cluster.block.first_host
    leaf = cluster.level("leaf").first_host
    blocks = [block for block in range(len(first) - 1) for array in arrays if leaf[array] <= first[block] < leaf[array + 1]]
    return [(block, (1 << int(first[block + 1] - first[block])) - 1, 255) for block in blocks]


def by_link(cluster: Cluster, traffic_map: TrafficMap, piece: Piece) -> NDArray[np.float64]:
    loads = np.zeros(2 * len(cluster.links))
    np.add.at(loads, 2 * traffic_map.channels.link[piece.links >> 1] + (piece.links & 1), piece.weights)
    return loads


@pytest.mark.parametrize("name", ["two_tiers", "three_tiers"])
@pytest.mark.parametrize("shape", [RING, replace(RING, replica_gpus=128), replace(RING, collective="tree", replica_gpus=64)])
def test_trunks_carry_what_spraying_gives_them(request: pytest.FixtureRequest, name: str, shape: TrainingShape) -> None:
    """Hashing moves flows between the cables of a trunk and the switches of a bank, never between banks."""
    cluster = request.getfixturevalue(name)
    rows = whole_arrays(cluster, [0, 1, 2, 5])
    hashed, sprayed = TrafficMap(cluster, ECMP), TrafficMap(cluster, FabricSettings())
    (one,), (other,) = hashed.traffic(rows, shape).pieces, sprayed.traffic(rows, shape).pieces
    np.testing.assert_allclose(by_link(cluster, hashed, one), by_link(cluster, sprayed, other), atol=1e-9)
    assert one.lanes == other.lanes


def test_collisions_leave_the_share_of_cables_that_random_choices_leave(two_tiers: Cluster) -> None:
    """All 32 lanes of each of 16 leaves cross at once over 32 cables: with independent choices 1 - 1/e = 63 % of the cables are used, and
    throughput of flows that would fill one each is no more. NVIDIA says about 60 % of plain ECMP.
    """
    traffic_map = TrafficMap(two_tiers, ECMP)
    (piece,) = traffic_map.traffic(whole_arrays(two_tiers, [0, 1]), replace(RING, replica_gpus=256)).pieces
    upwards = piece.weights[piece.links % 2 == 0]
    assert upwards.sum() == 512
    assert len(upwards) / 512 == pytest.approx(1 - exp(-1), abs=0.05)
    assert upwards.max() >= 3  # and the slowest lane of one job sets its pace


def test_more_queue_pairs_collide_less(two_tiers: Cluster) -> None:
    """Llama 3 hashes 16 flows for each connection."""
    worst = []
    for queue_pairs in (1, 4, 16):
        traffic_map = TrafficMap(two_tiers, FabricSettings(routing="ecmp", queue_pairs=queue_pairs))
        (piece,) = traffic_map.traffic(whole_arrays(two_tiers, [0, 1]), replace(RING, replica_gpus=256)).pieces
        worst.append(piece.weights.max())
    assert worst[0] > worst[1] > worst[2] > 1.0


def test_switches_that_hash_alike_polarise(three_tiers: Cluster) -> None:
    """What arrives at a spine was chosen by the same hash, so that the spine uses few of its cables."""
    rows = whole_arrays(three_tiers, range(16))
    used = []
    for polarised in (False, True):
        traffic_map = TrafficMap(three_tiers, FabricSettings(routing="ecmp", polarised=polarised))
        (piece,) = traffic_map.traffic(rows, replace(RING, replica_gpus=512)).pieces
        used.append(int((traffic_map.channels.tier[piece.links >> 1] == 2).sum()))
    assert used[1] < 0.8 * used[0]


def test_dead_cables_are_left_out_and_the_rest_stays_where_it_can(two_tiers: Cluster) -> None:
    """Half of the cables of leaf 0's trunk are dead: its 32 lanes are on the other half; all dead: they stand still on dead ones."""
    traffic_map, shape = TrafficMap(two_tiers, ECMP), replace(RING, replica_gpus=256)
    rows = whole_arrays(two_tiers, [0, 1])
    trunk = int(np.flatnonzero(two_tiers.links.tier == 1)[0])
    cables = range(int(traffic_map.channels.start[trunk]), int(traffic_map.channels.start[trunk + 1]))
    changed = traffic_map.reroute(dict.fromkeys(list(cables)[::2], 0.0))
    assert trunk in changed.tolist()
    (piece,) = traffic_map.traffic(rows, shape).pieces
    loads = dict(zip(piece.links.tolist(), piece.weights.tolist(), strict=True))
    assert not any(2 * cable in loads or 2 * cable + 1 in loads for cable in list(cables)[::2])
    assert sum(loads.get(2 * cable, 0.0) for cable in cables) == 32
    traffic_map.reroute(dict.fromkeys(cables, 0.0))
    (piece,) = traffic_map.traffic(rows, shape).pieces
    on_dead = np.isin(piece.links >> 1, np.array(cables))
    assert piece.weights[on_dead].sum() == 64  # 32 that cannot leave and 32 that cannot come
    assert traffic_map.reroute({}).size > 0
    (mended,), (fresh,) = traffic_map.traffic(rows, shape).pieces, TrafficMap(two_tiers, ECMP).traffic(rows, shape).pieces
    assert mended.links.tolist() == fresh.links.tolist()
    assert mended.weights.tolist() == fresh.weights.tolist()


def test_all_to_alls_count_as_sprayed(two_tiers: Cluster) -> None:
    """Two arrays of 256 GPUs in one group: 32 lanes a leaf, 32 (64 - 32) / (64 - 1) cross, evenly over its 32 cables."""
    shape = replace(RING, ring_bytes=0.0, expert_gpus=512, expert_bytes=1e9)
    (piece,) = TrafficMap(two_tiers, ECMP).traffic(whole_arrays(two_tiers, [0, 1]), shape).pieces
    np.testing.assert_allclose(piece.weights, 32 / 63)
