"""What one change costs a fabric plane on which jobs contend, as a ratio to single passes of numpy over the same arrays."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from emulator.engine.network import Network
from emulator.fabric.messages import FlowOrder, Order, pack_orders
from emulator.fabric.plane import FabricPlane
from emulator.fabric.settings import FabricSettings
from emulator.fabric.traffic import TrafficMap
from emulator.scenario.build import build_cluster
from emulator.scenario.load import load
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.workload.jobs import SECOND, JobKind, TrainingShape, job_columns
from tests.benchmarks.bench_fabric import Rows, rows_of, scattered_jobs
from tests.benchmarks.clocks import paired
from topology.cluster import Cluster

SETTINGS = FabricSettings()
RING = TrainingShape(compute_seconds=1.0, ring_bytes=1e9, overlap_seconds=0.0, latency_seconds=0.0, model_flops=1.0)
WHOLE = "From placement to speeds: CPU time of a change"
TITLE = "A fabric plane: CPU time of a change, and as a ratio to numpy"


@pytest.fixture(scope="module")
def colossus() -> Cluster:
    return build_cluster(load("colossus"))


@pytest.mark.parametrize("degraded", [0, 40, 400])
def test_one_job_of_1024_gpus_goes_and_comes(colossus: Cluster, degraded: int, row: Callable[..., None]) -> None:
    """Of 97 such jobs, scattered over all hosts, one leaves the plane and is added again: two changes, both solved. Some trunks are cut to
    a tenth, for a healthy Colossus has none that could be full. The pass: summing every flow's load on every link, twice."""
    traffic_map = TrafficMap(colossus, SETTINGS)
    flows = [traffic_map.traffic(rows, RING).pieces for rows in scattered_jobs(colossus)]
    orders = [Order(0, FlowOrder.ADD, job, traffic_map.caps[0], flow.lanes, flow.links, flow.weights) for job, (flow,) in enumerate(flows)]
    plane = FabricPlane(colossus, 0, SETTINGS)
    trunks = np.flatnonzero(colossus.links.tier == 1)
    cut = [Order(0, FlowOrder.SCALE_LINK, int(link), 0.1) for link in trunks[:: len(trunks) // degraded]] if degraded else []
    slowed = len(plane.advance(0, pack_orders([*cut, *orders])).flow)
    assert (slowed > 0) == (degraded > 0)
    gone, back = pack_orders([Order(0, FlowOrder.REMOVE, 0)]), pack_orders([orders[0]])

    def change() -> None:
        plane.advance(0, gone)
        plane.advance(0, back)

    links, weights = np.concatenate([order.link for order in orders]), np.concatenate([order.weight for order in orders])

    def one_pass() -> None:
        np.bincount(links, weights, 2 * len(colossus.links))
        np.bincount(links, weights, 2 * len(colossus.links))

    spent, floor = paired(change, one_pass)
    work = f"{len(links)} entries of {len(flows)} jobs; {degraded} links degraded, {slowed} jobs slowed: one goes and comes"
    row(TITLE, work=work, ms=spent * 1e3, numpy_ms=floor * 1e3, ratio=spent / floor)
    assert spent <= 40 * floor


class Head:
    """The engine's network with its one plane in this process: what an event costs from placement to rates."""

    def __init__(self, cluster: Cluster, placements: list[Rows], gpus: int | NDArray[np.int64]) -> None:
        scheduler = Scheduler(cluster, SchedulerSettings(), 10 * SECOND)
        batch = job_columns(
            len(placements), kind=int(JobKind.TRAINING), shape=0, shapes=(RING,), submit_ns=0, gpus=gpus, duration_ns=3600 * SECOND
        )
        self._slots, self._placements = scheduler.add(batch), placements
        self._table, self.plane = scheduler.table, FabricPlane(cluster, 0, SETTINGS)
        self.network = Network(cluster, SETTINGS, scheduler.table, 1)

    def start(self, job: int) -> None:
        slot = self._slots[job]
        self._table.rows[slot] = self._placements[job]
        self.network.add(0, slot, self._placements[job])
        self._table.lives.speed[slot] = self.network.speed(slot)

    def share(self) -> None:
        for slot, speed in self.network.share(0, lambda asked: {plane: self.plane.advance(0, orders) for plane, orders in asked.items()}):
            self._table.lives.speed[slot] = speed
            self.network.set_speed(slot)

    def change(self) -> None:
        """Job 0 goes and comes."""
        self.network.remove(0, self._slots[0])
        self.share()
        self.start(0)
        self.share()


@pytest.mark.parametrize("degraded", [0, 400])
def test_the_same_from_placement_to_speeds(colossus: Cluster, degraded: int, row: Callable[..., None]) -> None:
    """As above with all of the head's part: the traffic from the placement, what could be full, the orders, the rates, the speeds. Limit:
    5 ms a change."""
    head = Head(colossus, scattered_jobs(colossus), 1024)
    trunks = np.flatnonzero(colossus.links.tier == 1)
    if degraded:
        head.network.scale(0, {int(link): 0.1 for link in trunks[:: len(trunks) // degraded]}, set(), {})
    for job in range(len(head._placements)):
        head.start(job)
    head.share()
    (spent,) = paired(head.change)
    row(WHOLE, work=f"one of {len(head._placements)} jobs on colossus, {degraded} links degraded: goes and comes", ms_a_change=spent * 5e2)
    assert spent / 2 <= 5e-3


@pytest.mark.parametrize("jobs", [4, 16])
def test_on_a_dragonfly_whose_jobs_turn_each_others_routes(jobs: int, row: Callable[..., None]) -> None:
    """Jobs of 1,024 GPUs spread over all groups of Frontier in the order of hosts: all of them ring between the same groups, so every
    change may turn the routes of all, and those that it turns are found and solved again."""
    frontier = build_cluster(load("frontier"))
    hosts = np.arange(jobs * 256).reshape(-1, jobs).T * (frontier.host_count // (jobs * 256))
    head = Head(frontier, [rows_of(frontier, placement) for placement in hosts], 1024)
    for job in range(jobs):
        head.start(job)
    head.share()
    (spent,) = paired(head.change, rounds=3)
    row(WHOLE, work=f"one of {jobs} jobs on frontier, all over the same pairs of groups: goes and comes", ms_a_change=spent * 5e2)
    assert spent / 2 <= 0.1 * jobs
