"""A spine of `superpod-b200` dies while jobs run: who slows down, by how much, and that every runtime agrees."""

from collections.abc import Callable

import pytest

from emulator.engine.commands import CutLinks
from emulator.engine.engine import Engine
from emulator.engine.fault_targets import cuts_of
from emulator.engine.network import Network
from emulator.engine.settings import EngineSettings
from emulator.fabric.settings import FabricSettings
from emulator.racks.shard import RackSettings
from emulator.runtime.inline import InlineShards
from emulator.runtime.ray_shards import RayShards
from emulator.scenario.build import build_cluster
from emulator.scenario.load import load
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.workload.jobs import SECOND, JobKind, TrainingShape, job_columns
from tests.engine.small import LANE, NO_FAULTS, ends, fingerprint, hosts_of, run, run_until
from topology.cluster import Cluster

#: A step's speed is its share of a lane (see ``small.SHAPE``). Replicas of a whole unit: all 256 lanes of a unit cross to the next one.
STRIDED = TrainingShape(1.0, LANE, 1.0, 0.0, 1e15, replica_gpus=256)
PACKED = TrainingShape(1.0, LANE, 1.0, 0.0, 1e15)


def superpod(make_shards: Callable[..., RayShards] | type[InlineShards]) -> Engine:
    """Job 0 on units 0 and 1, strided; job 1 on units 2 and 3 in plain rings: one lane a rail leaves each. 4,000 s of work each."""
    cluster = build_cluster(load("superpod-b200"))
    fabric, cycle_ns = FabricSettings(), 10 * SECOND
    scheduler = Scheduler(cluster, SchedulerSettings(policy=POLICIES["fifo"], placement=PLACEMENTS["consolidate"]), cycle_ns)
    shards = make_shards(cluster, RackSettings(NO_FAULTS), fabric, 1)
    jobs = job_columns(
        2, kind=int(JobKind.TRAINING), shape=[0, 1], shapes=(STRIDED, PACKED), submit_ns=0, gpus=512, duration_ns=4000 * SECOND
    )
    network = Network(cluster, fabric, scheduler.table, shards.plane_count)
    return Engine(cluster, scheduler, shards, network, iter([jobs]), EngineSettings(cycle_ns=cycle_ns))


def with_a_dead_spine(make_shards: Callable[..., RayShards] | type[InlineShards]) -> Engine:
    made = superpod(make_shards)
    name, cuts = cuts_of(made.cluster, "switch", "spine-00000/3")
    assert name == "switch spine-00000/3"
    made.post(CutLinks(cuts, 1800 * SECOND), 600 * SECOND)
    return made


def test_a_dead_spine_slows_who_fills_the_uplinks_by_its_part_of_them_and_nobody_else() -> None:
    """The arithmetic.

    4 units of 32 hosts with 8 NICs: a leaf per rail and unit with 32 ports down and 32 cables up, to 16 spines, so 2 cables to each. One
    spine dead leaves a leaf 30 of 32 cables: 30 / 32 x 32 x 50 x 0.95 = 1,425 GB/s. Of job 0, 32 lanes cross each leaf's uplinks: 1,425 /
    32 = 44.53 GB/s each, 15 / 16 of a lane, so speed 0.9375. Job 1 has one lane there: 47.5 GB/s as before.

    The spine is dead from 600 to 2,400 s. Job 0 has done 600 + 0.9375 x 1,800 = 2,287.5 s of its work by then, and does the other
    1,712.5 at full speed: it ends at 4,112.5 s, job 1 at 4,000.
    """
    made = with_a_dead_spine(InlineShards)
    run_until(made, 590 * SECOND)
    assert (hosts_of(made, 0), hosts_of(made, 1)) == (list(range(64)), list(range(64, 128)))
    assert made.table.lives.speed[:2] == [1.0, 1.0]
    run_until(made, 600 * SECOND)
    assert made.table.lives.speed[:2] == [pytest.approx(15 / 16), 1.0]
    run_until(made, 2400 * SECOND)
    assert made.table.lives.speed[:2] == [1.0, 1.0]
    assert ends(run(made)) == {0: pytest.approx(4112.5), 1: 4000.0}


@pytest.mark.ray
def test_two_actors_agree_on_the_dead_spine() -> None:
    def on_actors(cluster: Cluster, racks: RackSettings, fabric: FabricSettings, seed: int) -> RayShards:
        return RayShards(cluster, racks, fabric, seed, actors=2)

    answers = []
    for make in (InlineShards, on_actors):
        made = with_a_dead_spine(make)
        try:
            answers.append(fingerprint(run(made)))
        finally:
            made.shards.close()
    assert answers[0] == answers[1]
