"""The fabric's arithmetic, as ratios to single passes of numpy over the same arrays."""

import numpy as np
import pytest

from emulator.fabric.maxmin import max_min_rates
from emulator.fabric.messages import FlowOrder, Order, pack_orders
from emulator.fabric.plane import FabricPlane
from emulator.fabric.settings import FabricSettings
from emulator.fabric.traffic import TrafficMap
from emulator.scenario.build import build_cluster
from emulator.scenario.load import load
from emulator.workload.jobs import TrainingShape
from tests.benchmarks.clocks import paired

SETTINGS = FabricSettings()
RING = TrainingShape(compute_seconds=1.0, ring_bytes=1e9, overlap_seconds=0.0, latency_seconds=0.0, model_flops=1.0)
JOB_HOSTS = 128  # 1,024 GPUs
TITLE = "Fabric: CPU time, and as a ratio to a single pass of numpy"


@pytest.fixture(scope="module")
def colossus():
    return build_cluster(load("colossus"))


def rows_of(cluster, hosts):
    """A placement on whole hosts, as the scheduler would give it."""
    block = cluster.block.host_unit[hosts]
    bit = np.uint64(1) << (hosts - cluster.block.first_host[block]).astype(np.uint64)
    return [(int(b), int(np.bitwise_or.reduce(bit[block == b])), 255) for b in np.unique(block)]


def scattered_jobs(cluster):
    """Every host in one of 97 jobs of 1,024 GPUs, at random: the worst that placement could do, so that the tiers above the leaves fill."""
    hosts = np.random.default_rng(1).permutation(cluster.host_count)
    return [rows_of(cluster, np.sort(hosts[first : first + JOB_HOSTS])) for first in range(0, cluster.host_count - JOB_HOSTS, JOB_HOSTS)]


@pytest.mark.parametrize("degraded", [0, 400])
def test_one_job_of_1024_gpus_changes(colossus, degraded, row):
    """One of 97 such jobs on Colossus goes and comes back: its flow leaves the plane, is made anew from its placement and added, and what
    it shares full links with is solved again, twice. A healthy Colossus has no link that could be full, so some links are degraded to a
    tenth. The pass: summing every flow's load on every link (``np.bincount``) twice."""
    traffic_map = TrafficMap(colossus, SETTINGS)
    placements = scattered_jobs(colossus)
    flows = [traffic_map.traffic(rows, RING).pieces for rows in placements]
    assert {flow.plane for job in flows for flow in job} == {0}
    plane = FabricPlane(colossus, 0, SETTINGS)
    trunks = np.flatnonzero(colossus.links.tier == 1)

    def add(job, flow):
        return Order(0, FlowOrder.ADD, job, traffic_map.caps[0], flow.lanes, flow.links, flow.weights)

    orders = [Order(0, FlowOrder.SCALE_LINK, int(link), 0.1) for link in trunks[:: len(trunks) // degraded]] if degraded else []
    slowed = len(plane.advance(0, pack_orders([*orders, *(add(job, flow) for job, (flow,) in enumerate(flows))])).flow)
    assert (slowed > 0) == (degraded > 0)

    def change():
        plane.advance(0, pack_orders([Order(0, FlowOrder.REMOVE, 0)]))
        (flow,) = traffic_map.traffic(placements[0], RING).pieces
        plane.advance(0, pack_orders([add(0, flow)]))

    links = np.concatenate([flow.links for (flow,) in flows])
    loads = np.concatenate([flow.weights for (flow,) in flows]) * 1e9

    def one_pass():
        np.bincount(links, loads, 2 * len(colossus.links))
        np.bincount(links, loads, 2 * len(colossus.links))

    spent, floor = paired(change, one_pass)
    work = f"one of {len(flows)} jobs of 1,024 GPUs goes and comes; {degraded} links degraded, {slowed} jobs slowed"
    row(TITLE, work=work, ms=spent * 1e3, numpy_ms=floor * 1e3, ratio=spent / floor)
    assert spent <= 40 * floor


def test_rings_of_1024_gpus(colossus, row):
    """From a placement on 128 hosts all over Colossus to the links of its rings. The pass: sorting these links (``np.unique``)."""
    traffic_map = TrafficMap(colossus, SETTINGS)
    scattered = scattered_jobs(colossus)[0]
    packed = rows_of(colossus, np.arange(1000, 1000 + JOB_HOSTS))
    for name, placement in (("scattered", scattered), ("packed", packed)):
        links = np.random.default_rng(2).permutation(np.concatenate([flow.links for flow in traffic_map.traffic(placement, RING).pieces]))
        spent, floor = paired(lambda placement=placement: traffic_map.traffic(placement, RING).pieces, lambda links=links: np.unique(links))
        work = f"rings of 1,024 GPUs, {name}: {len(placement)} blocks, {len(links)} links"
        row(TITLE, work=work, ms=spent * 1e3, numpy_ms=floor * 1e3, ratio=spent / floor)
        assert spent <= 40 * floor


def test_solving_100_000_flows(row):
    """Max-min rates of 100,000 flows over 6 links each, of 16,384 in six tiers of unlike capacity, a third of the flows capped. The pass: a
    stable argsort of the 600,000 links."""
    rng = np.random.default_rng(3)
    flows, hops, tiers = 100_000, 6, 16_384 // 6
    link = (rng.integers(0, tiers, (flows, hops)) + tiers * np.arange(hops)).reshape(-1)
    capacity = rng.choice([200e9, 400e9, 800e9], tiers * hops)
    cap = np.where(rng.random(flows) < 1 / 3, rng.uniform(0.1e9, 10e9, flows), np.inf)
    start, flow, weight = np.arange(0, flows * hops + 1, hops), np.arange(flows), np.ones(flows * hops)
    rates = max_min_rates(flow, start, link, weight, cap=cap, capacity=capacity)
    load = np.bincount(link, np.repeat(rates, hops), len(capacity))
    assert np.all(load <= capacity * (1 + 1e-9))
    full = load >= capacity * (1 - 1e-9)
    assert np.all((rates >= cap) | full[link].reshape(flows, hops).any(axis=1)), "every flow is at its cap or crosses a full link"

    spent, floor = paired(
        lambda: max_min_rates(flow, start, link, weight, cap=cap, capacity=capacity), lambda: np.argsort(link, kind="stable"), rounds=3
    )
    row(TITLE, work="max-min rates of 100,000 flows x 6 links", ms=spent * 1e3, numpy_ms=floor * 1e3, ratio=spent / floor)
    assert spent <= 60 * floor
