"""The fabric's arithmetic, as ratios to single passes of numpy over the same arrays."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from emulator.fabric.maxmin import max_min_rates
from emulator.fabric.settings import FabricSettings
from emulator.fabric.traffic import TrafficMap
from emulator.fabric.uplinks import uplinks
from emulator.scenario.build import build_cluster
from emulator.scenario.load import load
from emulator.workload.jobs import TrainingShape
from tests.benchmarks.clocks import paired
from tests.benchmarks.fat_tree import Traffic
from topology.cluster import Cluster

SETTINGS = FabricSettings()
JOB_HOSTS = 128  # 1,024 GPUs
RING = TrainingShape(compute_seconds=1.0, ring_bytes=1e9, overlap_seconds=0.0, latency_seconds=0.0, model_flops=1.0)
STRIDED = replace(RING, replica_gpus=64)
#: As the scheduler places: (block, mask of its hosts, mask of the GPUs on each of them).
Rows = list[tuple[int, int, int]]
SHAPES = {
    "rings": RING,
    "rings of replicas of 64": STRIDED,
    "these, stages of 8 and experts over 32": replace(STRIDED, stage_gpus=8, pipeline_bytes=1e9, expert_gpus=32, expert_bytes=1e9),
    "all-to-all": replace(RING, ring_bytes=0.0, expert_gpus=1024, expert_bytes=1e9),
}
TITLE = "Fabric: CPU time, and as a ratio to a single pass of numpy"


@pytest.fixture(scope="module")
def colossus() -> Cluster:
    return build_cluster(load("colossus"))


@pytest.fixture(scope="module")
def frontier() -> Cluster:
    return build_cluster(load("frontier"))


def rows_of(cluster: Cluster, hosts: NDArray[np.int64]) -> Rows:
    """A placement on whole hosts, as the scheduler would give it."""
    block = cluster.block.host_unit[hosts]
    bit = np.uint64(1) << (hosts - cluster.block.first_host[block]).astype(np.uint64)
    gpus = (1 << cluster.gpus_per_host) - 1
    return [(int(b), int(np.bitwise_or.reduce(bit[block == b])), gpus) for b in np.unique(block)]


def scattered_jobs(cluster: Cluster) -> list[Rows]:
    """Every host in one of 97 jobs of 1,024 GPUs, at random: the worst that placement could do, so that the tiers above the leaves fill."""
    hosts = np.random.default_rng(1).permutation(cluster.host_count)
    return [rows_of(cluster, np.sort(hosts[first : first + JOB_HOSTS])) for first in range(0, cluster.host_count - JOB_HOSTS, JOB_HOSTS)]


def _time_traffic(
    traffic_map: TrafficMap, placement: Rows, shape: TrainingShape, work: str, row: Callable[..., None], most_ms: float
) -> None:
    """The pass: sorting the links of the traffic (``np.unique``)."""
    rng = np.random.default_rng(2)
    links = rng.permutation(np.concatenate([piece.links for piece in traffic_map.traffic(placement, shape).pieces]))
    spent, floor = paired(lambda: traffic_map.traffic(placement, shape), lambda: np.unique(links))
    work = f"{work}: {len(placement)} blocks, {len(links)} links"
    row(TITLE, work=work, ms=spent * 1e3, numpy_ms=floor * 1e3, ratio=spent / floor)
    assert spent <= most_ms * 1e-3


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_traffic_of_1024_gpus_on_colossus(colossus: Cluster, name: str, shape: TrainingShape, row: Callable[..., None]) -> None:
    """From a placement on 128 hosts, all over Colossus or side by side, to the links that the job loads."""
    traffic_map = TrafficMap(colossus, SETTINGS)
    packed = rows_of(colossus, np.arange(1000, 1000 + JOB_HOSTS))
    for where, placement in (("scattered", scattered_jobs(colossus)[0]), ("packed", packed)):
        _time_traffic(traffic_map, placement, shape, f"{name} of 1,024 GPUs on colossus, {where}", row, 3)


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
@pytest.mark.parametrize("routing", ["adaptive", "valiant"])
def test_traffic_of_1024_gpus_on_frontier(
    frontier: Cluster,
    routing: str,
    name: str,
    shape: TrainingShape,
    row: Callable[..., None],
) -> None:
    """256 hosts all over the groups of a dragonfly. Valiant loads nearly all links of the machine, as adaptive routing does where it is
    crowded."""
    hosts = np.sort(np.random.default_rng(1).permutation(frontier.host_count)[:256])
    traffic_map = TrafficMap(frontier, FabricSettings(routing=routing))
    _time_traffic(traffic_map, rows_of(frontier, hosts), shape, f"{name} of 1,024 GPUs on frontier, {routing}", row, 100)


def solved(
    traffic: Traffic, capacity: NDArray[np.float64], cap: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], Callable[[], NDArray[np.float64]]]:
    """Max-min rates of flows of weight 1, which are checked: no link over its capacity, every flow at its cap or across a full link."""
    flows = len(traffic.start) - 1
    flow, weight = np.arange(flows), np.ones(len(traffic.link))
    cap = np.full(flows, np.inf) if cap is None else cap
    rates = max_min_rates(flow, traffic.start, traffic.link, weight, cap=cap, capacity=capacity)
    load = np.bincount(traffic.link, np.repeat(rates, np.diff(traffic.start)), len(capacity))
    assert np.all(load <= capacity * (1 + 1e-9))
    full = np.logical_or.reduceat((load >= capacity * (1 - 1e-9))[traffic.link], traffic.start[:-1])
    assert np.all((rates >= cap) | full)
    return rates, lambda: max_min_rates(flow, traffic.start, traffic.link, weight, cap=cap, capacity=capacity)


def random_links(flows: int, links: int, hops: int, rng: np.random.Generator) -> Traffic:
    """``hops`` links of each flow, one of every tier of ``links // hops``."""
    tier = links // hops
    link = (rng.integers(0, tier, (flows, hops)) + tier * np.arange(hops)).reshape(-1)
    return Traffic(np.arange(0, flows * hops + 1, hops), link, tier * hops)


def test_solving_100_000_flows(row: Callable[..., None]) -> None:
    """Max-min rates of 100,000 flows over 6 links each. The pass: a stable argsort of the 600,000 links."""
    rng, flows = np.random.default_rng(3), 100_000
    caps = np.where(rng.random(flows) < 1 / 3, rng.uniform(0.1e9, 10e9, flows), np.inf)
    speeds = [200e9, 400e9, 800e9]
    cases: list[tuple[str, int, Callable[[int], NDArray[np.float64]], NDArray[np.float64] | None]] = [
        ("16,380 links in tiers, all alike", 16_380, lambda n: np.full(n, 400e9), None),
        ("16,380 links in tiers, three speeds, a third of the flows capped", 16_380, lambda n: rng.choice(speeds, n), caps),
        ("16,380 links in tiers, all different", 16_380, lambda n: rng.uniform(100e9, 800e9, n), None),
        ("1,998 links in tiers, all different", 1_998, lambda n: rng.uniform(100e9, 800e9, n), None),
    ]
    for name, links, capacity_of, cap in cases:
        traffic = random_links(flows, links, 6, rng)
        capacity = capacity_of(traffic.links)
        _, solve = solved(traffic, capacity, cap)
        spent, floor = paired(solve, partial(np.argsort, traffic.link, kind="stable"), rounds=3)
        row(TITLE, work=f"max-min rates of 100,000 flows x 6 of {name}", ms=spent * 1e3, numpy_ms=floor * 1e3, ratio=spent / floor)
        assert spent <= 6 * floor


def pairs_on(cluster: Cluster, flows: int, rng: np.random.Generator) -> Traffic:
    """Paths of ``flows`` pairs of GPUs on one rail, drawn at random, over endpoint links and the trunks of every level."""
    source, target = rng.integers(0, cluster.host_count, (2, flows))
    target = np.where(source == target, (target + 1) % cluster.host_count, target)
    rail, links = rng.integers(0, cluster.rails, flows), cluster.links
    endpoint = np.zeros((cluster.host_count, cluster.rails), dtype=np.int64)
    ids = np.flatnonzero(links.tier == 0)
    endpoint[links.u[ids], links.rail_first[ids]] = ids
    columns, crossed = [2 * endpoint[source, rail], 2 * endpoint[target, rail] + 1], [np.ones(flows, dtype=bool)] * 2
    for table in uplinks(cluster):
        unit = np.searchsorted(table.level.first_host, np.stack((source, target)), side="right") - 1
        trunk = np.zeros((len(table.level), cluster.rails), dtype=np.int64)
        assert set(np.unique(table.share).tolist()) <= {0.0, 1.0}, "one trunk for each rail"
        entry, of_rail = np.nonzero(table.share)
        trunk[table.unit[entry], of_rail] = table.link[entry]
        columns += [2 * trunk[unit[0], rail], 2 * trunk[unit[1], rail] + 1]
        crossed += [unit[0] != unit[1]] * 2
    kept = np.stack(crossed, axis=1)
    return Traffic(np.concatenate(([0], np.cumsum(kept.sum(axis=1)))), np.stack(columns, axis=1)[kept], 2 * len(links))


@pytest.mark.parametrize("degraded", [0, 400])
def test_solving_100_000_flows_on_colossus(colossus: Cluster, degraded: int, row: Callable[..., None]) -> None:
    """Pairs of GPUs at random, so that what they share are the NICs of whoever many send to; with 400 trunks at a tenth also these. Every
    one of the 203,186 directed links takes part. The pass: a stable argsort of the flows' links. Limit: 0.3 s."""
    traffic = pairs_on(colossus, 100_000, np.random.default_rng(4))
    speed = colossus.links.bytes_per_second.copy()
    trunks = np.flatnonzero(colossus.links.tier == 1)
    if degraded:
        speed[trunks[:: len(trunks) // degraded]] *= 0.1
    _, solve = solved(traffic, np.repeat(speed, 2))
    spent, floor = paired(solve, lambda: np.argsort(traffic.link, kind="stable"), rounds=3)
    work = f"max-min rates of 100,000 pairs of GPUs on Colossus, {degraded} trunks degraded"
    row(TITLE, work=work, ms=spent * 1e3, numpy_ms=floor * 1e3, ratio=spent / floor)
    assert spent <= 0.3
