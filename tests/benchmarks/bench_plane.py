"""What one change costs a fabric plane on which jobs contend, as a ratio to single passes of numpy over the same arrays."""

import numpy as np
import pytest

from emulator.fabric.messages import FlowOrder, Order, pack_orders
from emulator.fabric.plane import FabricPlane
from emulator.fabric.settings import FabricSettings
from emulator.fabric.traffic import TrafficMap
from emulator.scenario.build import build_cluster
from emulator.scenario.load import load
from emulator.workload.jobs import TrainingShape
from tests.benchmarks.bench_fabric import scattered_jobs
from tests.benchmarks.clocks import paired

SETTINGS = FabricSettings()
RING = TrainingShape(compute_seconds=1.0, ring_bytes=1e9, overlap_seconds=0.0, latency_seconds=0.0, model_flops=1.0)
TITLE = "A fabric plane: CPU time of a change, and as a ratio to numpy"


@pytest.fixture(scope="module")
def colossus():
    return build_cluster(load("colossus"))


@pytest.mark.parametrize("degraded", [0, 40, 400])
def test_one_job_of_1024_gpus_goes_and_comes(colossus, degraded, row):
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

    def change():
        plane.advance(0, gone)
        plane.advance(0, back)

    links, weights = np.concatenate([order.link for order in orders]), np.concatenate([order.weight for order in orders])

    def one_pass():
        np.bincount(links, weights, 2 * len(colossus.links))
        np.bincount(links, weights, 2 * len(colossus.links))

    spent, floor = paired(change, one_pass)
    work = f"{len(links)} entries of {len(flows)} jobs; {degraded} links degraded, {slowed} jobs slowed: one goes and comes"
    row(TITLE, work=work, ms=spent * 1e3, numpy_ms=floor * 1e3, ratio=spent / floor)
    assert spent <= 40 * floor
