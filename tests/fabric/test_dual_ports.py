"""Hosts whose NICs have a port on each of two switches, of two planes that share none (preset `hpn`): what a plane carries and its loss."""

import numpy as np
import pytest

from emulator.engine.commands import CutLinks
from emulator.engine.engine import Engine
from emulator.engine.fault_targets import cuts_of
from emulator.engine.network import Network
from emulator.engine.settings import EngineSettings
from emulator.fabric.settings import FabricSettings
from emulator.fabric.traffic import TrafficMap
from emulator.racks.shard import RackSettings
from emulator.runtime.inline import InlineShards
from emulator.scenario.build import build_cluster
from emulator.scenario.load import load
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.workload.jobs import SECOND, JobKind, TrainingShape, job_columns
from tests.engine.small import LANE, NO_FAULTS, run_until
from topology.cluster import Cluster
from topology.describe import node_name

#: Two replicas of 1,024 GPUs: every lane of one segment has a ring with the same lane of the other.
STRIDED = TrainingShape(1.0, LANE, 1.0, 0.0, 1e15, replica_gpus=1024)


@pytest.fixture(scope="module")
def hpn() -> Cluster:
    return build_cluster(load("hpn", ["cluster.gpus=2048"]))


def leaves(cluster: Cluster, plane: int | None = None) -> list[str]:
    """Names of the leaves, those of one plane if asked."""
    links = cluster.links
    served = (links.tier == 0) & ((links.plane == plane) if plane is not None else True)
    return [node_name(cluster, node) for node in np.unique(links.v[served]).tolist()]


def engine(cluster: Cluster) -> Engine:
    """One job on all 256 hosts of two segments, 16 leaves each: 8 rails x 2 planes."""
    scheduler = Scheduler(cluster, SchedulerSettings(policy=POLICIES["fifo"], placement=PLACEMENTS["consolidate"]), 10 * SECOND)
    shards = InlineShards(cluster, RackSettings(NO_FAULTS), FabricSettings(), 1)
    jobs = job_columns(1, kind=int(JobKind.TRAINING), shape=0, shapes=(STRIDED,), submit_ns=0, gpus=2048, duration_ns=10**4 * SECOND)
    network = Network(cluster, FabricSettings(), scheduler.table, shards.plane_count)
    return Engine(cluster, scheduler, shards, network, iter([jobs]), EngineSettings(cycle_ns=10 * SECOND))


def test_two_ports_split_a_lane_over_two_planes(hpn: Cluster) -> None:
    """A lane of 400 Gb/s is 200 in each plane: 1,024 lanes leave each segment, 128 a rail, so 64 a leaf, and 512 a plane."""
    rows = [(block, (1 << int(size)) - 1, 255) for block, size in enumerate(np.diff(hpn.block.first_host).tolist())]  # every host
    traffic = TrafficMap(hpn, FabricSettings()).traffic(rows, STRIDED)
    assert len(traffic.pieces) == 2
    assert [piece.lanes for piece in traffic.pieces] == [1024, 1024]
    for piece in traffic.pieces:
        tier = hpn.links.tier[piece.links >> 1]
        leaf = piece.weights[(tier == 1) & (piece.links % 2 == 0)]
        assert leaf.sum() == pytest.approx(1024.0)  # 512 of each of the two segments
        by_leaf = np.bincount(hpn.links.u[piece.links[(tier == 1) & (piece.links % 2 == 0)] >> 1], leaf)
        assert by_leaf[by_leaf > 0.0] == pytest.approx([64.0] * 16)


def test_a_dead_leaf_halves_who_has_a_port_on_it(hpn: Cluster) -> None:
    """A leaf has 128 ports of 200 Gb/s down and 60 of 400 up, so where all of them send out they get 24,000 / 25,600 = 0.9375 of a lane.
    Without it the lanes of 128 NICs have one port, all on the leaf of the other plane: half of that, and the job waits for them. Nothing
    stalls, and repair restores it."""
    made = engine(hpn)
    run_until(made, 90 * SECOND)
    assert made.table.lives.speed[0] == pytest.approx(0.9375)
    _, cuts = cuts_of(hpn, "switch", leaves(hpn)[0])
    made.post(CutLinks(cuts, 100 * SECOND), 100 * SECOND)
    run_until(made, 150 * SECOND)
    assert made.network.rate(0) == pytest.approx(LANE * 0.9375 / 2)
    assert made.table.lives.speed[0] == pytest.approx(0.46875)
    run_until(made, 300 * SECOND)
    assert made.table.lives.speed[0] == pytest.approx(0.9375)


def test_a_dead_plane_halves_every_lane(hpn: Cluster) -> None:
    """All 16 leaves of plane 0 dead: one port of every NIC."""
    made = engine(hpn)
    cuts = tuple(cut for name in leaves(hpn, plane=0) for cut in cuts_of(hpn, "switch", name)[1])
    made.post(CutLinks(cuts, 100 * SECOND), 100 * SECOND)
    run_until(made, 150 * SECOND)
    assert made.network.rate(0) == pytest.approx(LANE * 0.9375 / 2)
    assert made.table.lives.speed[0] == pytest.approx(0.46875)
    run_until(made, 300 * SECOND)
    assert made.table.lives.speed[0] == pytest.approx(0.9375)
