"""Jobs that meet between two groups of a dragonfly: who makes the detour depends on who is there, and on nothing else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emulator.engine.commands import Cordon, CutLinks, scale_link
from emulator.engine.engine import Engine
from emulator.engine.network import Network
from emulator.engine.settings import EngineSettings
from emulator.fabric.plane import FabricPlane
from emulator.fabric.settings import FabricSettings
from emulator.racks.shard import RackSettings
from emulator.runtime.inline import InlineShards
from emulator.runtime.ray_shards import RayShards
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.workload.jobs import SECOND, JobColumns, JobKind, TrainingShape, job_columns
from tests.engine.small import NO_FAULTS, ends, fingerprint, run, run_until
from topology import catalog
from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.dragonfly import DragonflyPlan, build

#: At a share s of a lane of 200 Gb/s, 0.95 of it payload, a step takes 1 / s seconds (see ``small.SHAPE``).
SHAPE = TrainingShape(compute_seconds=1.0, ring_bytes=23.75e9, overlap_seconds=1.0, latency_seconds=0.0, model_flops=1e15)
CYCLE = 10 * SECOND


def dragonfly(groups: int = 5) -> Cluster:
    """Groups of 8 switches in 2 chassis, 4 hosts of 4 NICs a chassis, a NIC on each of its switches; 4 links between two groups."""
    host, switch = catalog.host("frontier-node"), catalog.switch("rosetta")
    return compile_cluster(build(DragonflyPlan("small", host, switch, 8 * groups, 4, 8, 4, global_links_per_pair=4)))


def jobs(count: int, **columns: Any) -> JobColumns:
    return job_columns(
        count, **{"kind": int(JobKind.TRAINING), "shape": 0, "shapes": (SHAPE,), "submit_ns": 0, "gpus": 8, "duration_ns": SECOND} | columns
    )


def engine(
    routing: str,
    make_shards: Callable[..., Any] | type[InlineShards] = InlineShards,
    faults: list[tuple[CutLinks, int]] | tuple[Any, ...] = (),
) -> Engine:
    """Job 0 from 0 s on hosts 0 and 8, of groups 0 and 1, job 1 from 10 s on hosts 1 and 9: 4 lanes each way over 4 links. 2,000 and
    500 s of work."""
    cluster, fabric = dragonfly(), FabricSettings(routing=routing)
    scheduler = Scheduler(cluster, SchedulerSettings(policy=POLICIES["fifo"], placement=PLACEMENTS["consolidate"]), CYCLE)
    shards = make_shards(cluster, RackSettings(NO_FAULTS), fabric, 1)
    batch = jobs(2, duration_ns=np.array([2000, 500]) * SECOND, submit_ns=np.array([0, 10]) * SECOND)
    network = Network(cluster, fabric, scheduler.table, shards.plane_count)
    made = Engine(cluster, scheduler, shards, network, iter([batch]), EngineSettings(cycle_ns=CYCLE))
    made.post(Cordon(0, 40, True), 0)
    for number in range(2):
        for host in (number, number + 8):
            made.post(Cordon(host, host + 1, False), number * CYCLE)
    for command, at_ns in faults:
        made.post(command, at_ns)
    return made


def global_loads(made: Engine) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lanes on each link between groups 0 and 1, and on those to other groups, in the busier way."""
    peers = next(peers for peers in made.cluster.peers if peers.level == "pod")
    direct = (peers.unit_u == 0) & (peers.unit_v == 1)
    load = made.read_links().load_bytes_per_second.max(axis=1)[peers.links] / 23.75e9
    return load[direct], load[~direct]


def test_two_jobs_that_fill_the_direct_links_make_detours_and_one_alone_does_not() -> None:
    """Either job fills the 4 links between its groups. Together, 8 lanes: 4 stay there and 4 go by way of the 3 other groups, a third of
    a lane on each of their links, so both run at full speed. Minimal routing gives each half: job 1 has 500 s of work from 10 s on and
    ends at 1,010 s, when job 0 has done 10 + 500, and its other 1,490 s end at 2,500."""
    made = engine("adaptive")
    run_until(made, 0)
    direct, others = global_loads(made)
    assert (direct.tolist(), others.max()) == (pytest.approx([1.0] * 4), 0.0)
    run_until(made, 100 * SECOND)
    direct, others = global_loads(made)
    assert (direct.tolist(), others.max()) == (pytest.approx([1.0] * 4), pytest.approx(1 / 3))
    run_until(made, 600 * SECOND)
    assert global_loads(made)[1].max() == 0.0
    assert ends(run(made)) == {0: 2000.0, 1: 510.0}
    assert ends(run(engine("minimal"))) == {0: 2500.0, 1: 1010.0}


def test_dead_direct_links_send_more_of_both_jobs_around() -> None:
    """From 100 to 300 s two of the four links are dead: 6 of the 8 lanes go around, half a lane on every other link."""
    cluster = dragonfly()
    peers = next(peers for peers in cluster.peers if peers.level == "pod")
    dead = peers.links[(peers.unit_u == 0) & (peers.unit_v == 1)][:2].tolist()
    made = engine("adaptive", faults=[(scale_link(link, 0.0, 200 * SECOND), 100 * SECOND) for link in dead])
    run_until(made, 200 * SECOND)
    direct, others = global_loads(made)
    assert sorted(direct.tolist()) == pytest.approx([0.0, 0.0, 1.0, 1.0])
    assert others.max() == pytest.approx(0.5)
    run_until(made, 400 * SECOND)
    assert global_loads(made)[1].max() == pytest.approx(1 / 3)
    assert ends(run(made)) == {0: 2000.0, 1: 510.0}


@pytest.mark.ray
def test_two_actors_agree_on_the_detours() -> None:
    answers = []
    for make in (InlineShards, lambda *settings: RayShards(*settings, actors=2)):
        made = engine("adaptive", make)
        try:
            answers.append(fingerprint(run(made)))
        finally:
            made.shards.close()
    assert answers[0] == answers[1]


class Fabric:
    """A network with its one plane, and no engine: jobs come and go by hand."""

    def __init__(self, cluster: Cluster, batch: JobColumns) -> None:
        self.cluster, settings = cluster, FabricSettings()
        scheduler = Scheduler(cluster, SchedulerSettings(), CYCLE)
        self.table, self.slots = scheduler.table, scheduler.add(batch)
        self.network, self.plane = Network(cluster, settings, self.table, 1), FabricPlane(cluster, 0, settings)
        self.running: set[int] = set()

    def start(self, number: int, hosts: NDArray[np.int64]) -> None:
        slot = self.slots[number]
        block = self.cluster.block.host_unit[hosts]
        bit = np.left_shift(1, hosts - self.cluster.block.first_host[block])
        rows = [(int(b), int(bit[block == b].sum()), 15) for b in np.unique(block)]
        self.table.rows[slot] = rows
        self.network.add(0, slot, rows)
        self.table.lives.speed[slot] = self.network.speed(slot)
        self.running.add(number)

    def stop(self, number: int) -> None:
        self.network.remove(0, self.slots[number])
        self.running.discard(number)

    def share(self) -> None:
        for slot, speed in self.network.share(0, lambda asked: {plane: self.plane.advance(0, orders) for plane, orders in asked.items()}):
            self.table.lives.speed[slot] = speed

    def answer(self) -> tuple[list[tuple[int, float, float]], list[list[float]]]:
        """Rates and speeds by job, and every link's load."""
        for orders in self.network.take_all().values():
            self.plane.advance(0, orders)
        jobs = [
            (number, self.network.rate(self.slots[number]), self.table.lives.speed[self.slots[number]]) for number in sorted(self.running)
        ]
        return jobs, self.plane.read_links(0).load_bytes_per_second.tolist()


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_detours_depend_on_the_jobs_alone_to_the_bit(data: st.DataObject) -> None:
    """The same jobs started in any order, at once or one by one, with others that come and go in between."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    cluster, hosts = dragonfly(), rng.permutation(40)
    sizes = rng.integers(2, 9, 8)
    places = np.split(hosts, np.cumsum(sizes))[:8]
    places = [np.sort(place) for place in places if len(place) > 1]
    shapes = tuple(
        TrainingShape(1.0, 23.75e9, 0.5, 0.0, 1e15, replica_gpus=replica, expert_gpus=8, expert_bytes=byte)
        for replica, byte in ((1, 0.0), (4, 0.0), (8, 1e10))
    )
    batch = jobs(len(places), gpus=[4 * len(place) for place in places], shapes=shapes, shape=rng.integers(0, 3, len(places)))
    stay = [number for number in range(len(places)) if rng.random() < 0.7]

    plain = Fabric(cluster, batch)
    for number in stay:
        plain.start(number, places[number])
    plain.share()

    other = Fabric(cluster, batch)
    for number in rng.permutation(len(places)).tolist():
        other.start(number, places[number])
        if rng.random() < 0.5:
            other.share()
    for number in set(range(len(places))).difference(stay):
        other.stop(number)
        if rng.random() < 0.5:
            other.share()
    other.share()
    assert other.answer() == plain.answer()
