from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.fabric.messages import FlowOrder, Order, pack_orders
from emulator.fabric.plane import FabricPlane
from emulator.fabric.settings import FabricSettings
from emulator.fabric.traffic import TrafficMap
from emulator.workload.jobs import TrainingShape
from topology.cluster import TIERS, Cluster

GBPS = 1e9 / 8
NIC = 400 * GBPS
LANE = 0.95 * NIC  # payload rate of a NIC with the default settings
SETTINGS = FabricSettings()
RING = TrainingShape(compute_seconds=1.0, ring_bytes=1e9, overlap_seconds=0.0, latency_seconds=0.0, model_flops=1.0)
ADD, REMOVE, SCALE = FlowOrder.ADD, FlowOrder.REMOVE, FlowOrder.SCALE_LINK
LEAF_SPINE, HOST_LEAF = TIERS.index("leaf_spine"), TIERS.index("host_leaf")


@pytest.fixture(scope="session")
def sparse(clos: Callable[..., Cluster]) -> Cluster:
    """Twelve arrays of 4 hosts, their leaves with one lane up: half of one job's pair of arrays is another job's."""
    return clos(hosts=48, leaf_oversubscription=63.0)


@pytest.fixture(scope="session")
def thin(clos: Callable[..., Cluster]) -> Cluster:
    """Four arrays of 4 hosts; each of their 8 leaves has 2 lanes up (31:1 of 64 ports): half of what its hosts can send."""
    return clos(leaf_oversubscription=31.0)


def add(cluster: Cluster, job: int, rows: list[tuple[int, int, int]], *, at: int = 0, plane: int = 0, cap: float | None = None) -> Order:
    traffic = TrafficMap(cluster, SETTINGS).traffic(rows, RING)
    piece = next(piece for piece in traffic.pieces if piece.plane == plane)
    return Order(at, ADD, job, traffic.cap if cap is None else cap, piece.lanes, piece.links, piece.weights)


def rates_of(plane: FabricPlane, *orders: Order, until: int = 0) -> dict[int, float]:
    report = plane.advance(until, pack_orders(orders))
    return dict(zip(report.flow.tolist(), report.rate.tolist(), strict=True))


def wide(*arrays: int, hosts: int) -> list[tuple[int, int, int]]:
    """Rows of a job on the same hosts of several arrays, all GPUs."""
    return [(array, hosts, 255) for array in arrays]


def test_two_jobs_share_an_oversubscribed_trunk_and_alone_each_runs_at_full_speed(clos: Callable[..., Cluster]) -> None:
    """Four arrays of 4 hosts, a leaf per rail with one lane up of 64 ports (63:1). Jobs 1 and 2 have a host each in arrays 0 and 1.

    Per rail a job has one ring, which leaves array 0 once and comes back once, over a trunk of one lane: 0.95 x 50 GB/s = 47.5 GB/s.
    A ring alone asks for what one NIC sends, 47.5 GB/s: full speed. Two rings share it: 47.5 / 2 = 23.75 GB/s each. Job 3, between
    arrays 2 and 3, has trunks of its own and stays at 47.5.
    """
    cluster = clos(leaf_oversubscription=63.0)
    plane = FabricPlane(cluster, 0, SETTINGS)
    first, second = add(cluster, 1, wide(0, 1, hosts=0b0001)), add(cluster, 2, wide(0, 1, hosts=0b0010))
    assert rates_of(plane, first) == {}  # at its cap
    assert rates_of(plane, second, add(cluster, 3, wide(2, 3, hosts=1))) == {1: pytest.approx(23.75e9), 2: pytest.approx(23.75e9)}
    assert rates_of(plane, Order(0, REMOVE, 1)) == {2: pytest.approx(47.5e9)}
    assert rates_of(plane, first) == {1: pytest.approx(23.75e9), 2: pytest.approx(23.75e9)}
    assert rates_of(plane, Order(0, REMOVE, 2)) == {1: pytest.approx(47.5e9)}


def test_a_degraded_trunk_is_shared_until_it_is_mended(thin: Cluster) -> None:
    """Two rings over a trunk of 2 lanes run at full speed. A quarter of it is half a lane: 23.75 GB/s, hence 11.875 each; alone, 23.75."""
    plane = FabricPlane(thin, 0, SETTINGS)
    trunk = int(np.flatnonzero(thin.links.tier == 1)[0])
    assert rates_of(plane, add(thin, 1, wide(0, 1, hosts=0b0011)), add(thin, 2, wide(0, 1, hosts=0b1100))) == {}
    assert rates_of(plane, Order(0, SCALE, trunk, 0.25)) == {1: pytest.approx(11.875e9), 2: pytest.approx(11.875e9)}
    assert rates_of(plane, Order(0, REMOVE, 1)) == {2: pytest.approx(23.75e9)}
    assert rates_of(plane, Order(0, SCALE, trunk, 1.0)) == {2: LANE}


def test_three_jobs_share_a_trunk_by_max_min(thin: Cluster) -> None:
    """Jobs 1, 2 and 3 have a host each in array 0, and their other host in arrays 1, 2 and 3. Every trunk out of array 0 has 2 lanes, 95
    GB/s of payload, for three rings: 95 / 3 = 31.67 GB/s each. When job 3 ends, two rings fit: 47.5 each, full speed.
    """
    plane = FabricPlane(thin, 0, SETTINGS)
    jobs = [add(thin, job, [(0, 1 << job, 255), (job, 1, 255)]) for job in (1, 2, 3)]
    assert rates_of(plane, *jobs) == dict.fromkeys((1, 2, 3), pytest.approx(95e9 / 3))
    assert rates_of(plane, Order(0, REMOVE, 3)) == {1: LANE, 2: LANE}


def test_a_capped_job_leaves_its_part_to_the_others(thin: Cluster) -> None:
    """As above with job 1 capped at 15 GB/s: the others get (95 - 15) / 2 = 40."""
    plane = FabricPlane(thin, 0, SETTINGS)
    jobs = [add(thin, job, [(0, 1 << job, 255), (job, 1, 255)], cap=15e9 if job == 1 else None) for job in (1, 2, 3)]
    assert rates_of(plane, *jobs) == {2: pytest.approx(40e9), 3: pytest.approx(40e9)}


def test_weights_are_rings_that_share_a_rate(clos: Callable[..., Cluster]) -> None:
    """NVL72 racks, leaves of one rail for 2 racks. Jobs 1 (whole racks 0 and 2: 18 rings a rail) and 2 (half of racks 1 and 3, 9 trays: 9
    rings) leave leaf 0 over trunks of 144 / 2 = 72 ports. Cut to 13.5 lanes of payload, 27 rings get half a lane each.
    """
    cluster = clos(host="gb200-nvl72", switch="quantum-x800", hosts=18 * 4, hosts_per_rack=18, array_hosts=36)
    plane = FabricPlane(cluster, 0, SETTINGS)
    trunk = int(np.flatnonzero(cluster.links.tier == 1)[0])
    whole, half = (1 << 18) - 1, (1 << 9) - 1
    lanes = cluster.links.lanes[trunk]
    orders = [add(cluster, 1, [(0, whole, 15), (2, whole, 15)]), add(cluster, 2, [(1, half, 15), (3, half, 15)])]
    assert rates_of(plane, *orders) == {}
    expected = pytest.approx(TrafficMap(cluster, SETTINGS).caps[0] / 2)
    assert rates_of(plane, Order(0, SCALE, trunk, 13.5 / lanes)) == {1: expected, 2: expected}


def test_a_change_reaches_flows_through_others(sparse: Cluster) -> None:
    """Trunks of one lane, 47.5 GB/s. Job 1 spans arrays 0 and 1, job 2 arrays 1 and 2, job 3 arrays 2 and 3: two rings on the trunks of
    arrays 1 and 2, so 23.75 GB/s each.

    When array 0's trunk is cut to a tenth, 4.75 GB/s, job 1 falls to 4.75 and frees array 1; job 2 is still held to half of array 2. When
    array 3's is cut as well, job 3 falls to 4.75, and job 2, which crosses neither trunk, gets 47.5 - 4.75 = 42.75.
    """
    plane = FabricPlane(sparse, 0, SETTINGS)
    trunks = np.flatnonzero(sparse.links.tier == 1)  # by array, then rail
    jobs = [add(sparse, job, [(job - 1, 1, 255), (job, 2, 255)]) for job in (1, 2, 3)]
    half = pytest.approx(23.75e9)
    assert rates_of(plane, *jobs) == {1: half, 2: half, 3: half}
    assert rates_of(plane, Order(0, SCALE, int(trunks[0]), 0.1)) == {1: pytest.approx(4.75e9)}
    assert rates_of(plane, Order(0, SCALE, int(trunks[3 * 8]), 0.1)) == {2: pytest.approx(42.75e9), 3: pytest.approx(4.75e9)}


def test_a_mended_trunk_frees_its_flows_though_it_can_no_longer_be_full(clos: Callable[..., Cluster]) -> None:
    """A leaf has 32 lanes up for 4 hosts. One of 32 lanes left: two rings get 23.75 GB/s each; mended, it cannot be full: 47.5."""
    cluster = clos()
    plane = FabricPlane(cluster, 0, SETTINGS)
    trunk = int(np.flatnonzero(cluster.links.tier == 1)[0])
    jobs = [add(cluster, 1, wide(0, 1, hosts=1)), add(cluster, 2, wide(0, 1, hosts=2))]
    assert rates_of(plane, *jobs, Order(0, SCALE, trunk, 1 / 32)) == {1: pytest.approx(23.75e9), 2: pytest.approx(23.75e9)}
    assert rates_of(plane, Order(0, SCALE, trunk, 1.0)) == {1: LANE, 2: LANE}


def test_a_dead_link_stalls_only_what_crosses_it(thin: Cluster) -> None:
    plane = FabricPlane(thin, 0, SETTINGS)
    trunk = int(np.flatnonzero(thin.links.tier == 1)[0])
    orders = [add(thin, 1, wide(0, 1, hosts=1)), add(thin, 2, wide(2, 3, hosts=1))]
    assert rates_of(plane, *orders, Order(0, SCALE, trunk, 0.0)) == {1: 0.0}
    assert rates_of(plane, Order(0, SCALE, trunk, 1.0)) == {1: LANE}


def test_readings_add_up(thin: Cluster) -> None:
    """One job on 2 hosts, in arrays 0 and 1. Endpoint links: 16 lanes x 47.5 GB/s x 2 directions. Trunks: 2 arrays x 8 rails x 2 ways,
    47.5 GB/s each, of 2 x 50 GB/s: 0.475. Capacities: 128 NICs and 32 trunks of 2 lanes, both directions.
    """
    plane = FabricPlane(thin, 0, SETTINGS)
    rates_of(plane, add(thin, 1, wide(0, 1, hosts=1)))
    readings = plane.read(5)
    assert readings.flows == 1
    assert readings.load_bytes_per_second[[HOST_LEAF, LEAF_SPINE]].tolist() == [2 * 16 * LANE, 32 * LANE]
    assert readings.capacity_bytes_per_second[[HOST_LEAF, LEAF_SPINE]].tolist() == [2 * 128 * NIC, 2 * 32 * 2 * NIC]
    assert readings.peak_utilization[[HOST_LEAF, LEAF_SPINE]].tolist() == pytest.approx([0.95, 0.475])
    links = plane.read_links(5)
    assert links.load_bytes_per_second.sum() == 32 * LANE
    loaded = 2 * links.link[:, None] + np.arange(2)
    assert set(loaded[links.load_bytes_per_second > 0].tolist()) == set(add(thin, 1, wide(0, 1, hosts=1)).link.tolist())
    rates_of(plane, Order(0, REMOVE, 1))
    assert plane.read(6).load_bytes_per_second.tolist() == [0.0] * len(TIERS)
    assert plane.read(6).peak_utilization.tolist() == [0.0] * len(TIERS)


def test_the_peak_of_a_link_is_what_stood_at_some_instant(thin: Cluster) -> None:
    """Job 1 has the trunk from 1 s on and leaves at 2 s, when job 2 comes, before it in the same message: never were there two."""
    second, plane = 10**9, FabricPlane(thin, 0, SETTINGS)
    trunk = int(np.flatnonzero(thin.links.tier == 1)[0])
    first, other = add(thin, 1, wide(0, 1, hosts=1), at=second), add(thin, 2, wide(0, 1, hosts=1), at=2 * second)
    rates_of(plane, first, other, Order(2 * second, REMOVE, 1), until=3 * second)
    links = plane.read_links(3 * second)
    assert links.peak_demand_bytes_per_second[links.link == trunk].tolist() == [[95e9, 95e9]]
    assert links.peak_load_bytes_per_second[links.link == trunk].tolist() == [[47.5e9, 47.5e9]]


def test_links_count_what_they_carry(thin: Cluster) -> None:
    """Job 1 puts 47.5 GB/s on the trunks of arrays 0 and 1 from 1 s to 3 s. Job 2 joins it from 2 s on: 2 x 47.5 of 2 x 50, no contention.
    Up and down of array 0's trunk of rail 0 carry 47.5 x 2 + 47.5 x 1 = 142.5 GB by 3 s, and job 2's 47.5 GB more by 4 s. The NICs of the
    jobs: 16 lanes x 47.5 GB/s x 2 directions x (2 + 2) s."""
    second, plane = 10**9, FabricPlane(thin, 0, SETTINGS)
    trunk = int(np.flatnonzero(thin.links.tier == 1)[0])
    rates_of(plane, add(thin, 1, wide(0, 1, hosts=1), at=second), add(thin, 2, wide(0, 1, hosts=2), at=2 * second), until=2 * second)
    for _ in range(2):  # reading does not count
        (at_three,) = (plane.read_links(3 * second).carried_bytes[plane.read_links(0).link == trunk].tolist(),)
        assert at_three == [[142.5e9, 142.5e9]]
    rates_of(plane, Order(3 * second, REMOVE, 1), until=4 * second)
    links = plane.read_links(4 * second)
    assert links.carried_bytes[links.link == trunk].tolist() == [[190e9, 190e9]]
    assert links.peak_demand_bytes_per_second[links.link == trunk].tolist() == [[95e9, 95e9]]
    assert links.peak_load_bytes_per_second[links.link == trunk].tolist() == [[95e9, 95e9]]
    carried = plane.read(4 * second).carried_bytes
    assert carried[[HOST_LEAF, LEAF_SPINE]].tolist() == [2 * 16 * LANE * 4, 190e9 * 2 * 16]
    again = FabricPlane(thin, 0, SETTINGS)
    again.restore(plane.snapshot())
    assert again.read_links(9 * second).carried_bytes.tobytes() == plane.read_links(9 * second).carried_bytes.tobytes()
    assert again.read(9 * second).carried_bytes.tobytes() == plane.read(9 * second).carried_bytes.tobytes()


def test_a_broken_endpoint_link_is_missing_from_the_capacity(thin: Cluster) -> None:
    plane = FabricPlane(thin, 0, SETTINGS)
    before = plane.read(0).capacity_bytes_per_second[HOST_LEAF]
    assert rates_of(plane, Order(0, SCALE, 0, 0.25)) == {}
    assert before - plane.read(0).capacity_bytes_per_second[HOST_LEAF] == 2 * 0.75 * NIC


def test_a_flow_added_again_is_replaced(thin: Cluster) -> None:
    plane = FabricPlane(thin, 0, SETTINGS)
    rates_of(plane, add(thin, 1, wide(0, 1, hosts=0b1111)))
    rates_of(plane, add(thin, 1, wide(0, 1, hosts=0b0001), cap=1e9))
    assert plane.read(0).flows == 1
    assert plane.read(0).load_bytes_per_second[[HOST_LEAF, LEAF_SPINE]].tolist() == [2 * 16 * 1e9, 32 * 1e9]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Order(0, REMOVE, 7), "no flow 7"),
        (Order(9, REMOVE, 7), "window"),
        (Order(0, SCALE, 10**6, 0.5), "link 1000000"),
        (Order(0, SCALE, 0, 1.5), "1.5"),
        (Order(0, ADD, 1, float("nan")), "cap"),
        (Order(0, ADD, 1, 1.0, 1, np.array([0], dtype=np.int32), np.ones(1)), "links"),
    ],
)
def test_what_cannot_be_is_refused(thin: Cluster, order: Order, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FabricPlane(thin, 0, SETTINGS).advance(0, pack_orders([order]))


def test_settings_and_planes_that_are_not_modelled_are_refused(thin: Cluster) -> None:
    with pytest.raises(ValueError, match="efficiency"):
        FabricSettings(efficiency=0.0)
    with pytest.raises(ValueError, match="plane 3"):
        FabricPlane(thin, 3, SETTINGS)


def test_isolated_rails_are_independent_planes(clos: Callable[..., Cluster]) -> None:
    """A cut trunk of rail 3 slows the job's flow in that plane alone; the head takes the lowest of its eight rates."""
    cluster = clos(leaf_oversubscription=31.0, rails_meet=False)
    planes = [FabricPlane(cluster, plane, SETTINGS) for plane in range(8)]
    trunk = int(np.flatnonzero((cluster.links.tier == 1) & (cluster.links.plane == 3))[0])
    for number, plane in enumerate(planes):
        assert rates_of(plane, add(cluster, 1, wide(0, 1, hosts=1), plane=number)) == {}
    assert rates_of(planes[3], Order(0, SCALE, trunk, 0.25)) == {1: pytest.approx(0.95 * NIC / 2)}


def random_orders(cluster: Cluster, rng: np.random.Generator, count: int) -> list[Order]:
    """Orders over flows of random hosts (hosts may be shared: harder than any placement) and random link faults."""
    present, orders = set[int](), []
    upper = np.flatnonzero(cluster.links.tier > 0)
    hosts = np.diff(cluster.block.first_host)
    for number in range(count):
        kind = rng.choice(["add", "add", "remove", "scale"])
        if kind == "scale":
            orders.append(Order(number, SCALE, int(rng.choice(upper)), float(rng.choice([0.0, 0.3, 0.7, 1.0]))))
        elif kind == "remove" and present:
            job = int(rng.choice(sorted(present)))
            present.discard(job)
            orders.append(Order(number, REMOVE, job))
        else:
            blocks = rng.choice(len(hosts), rng.integers(2, 4), replace=False)
            rows = [(int(block), int(rng.integers(1, 1 << int(hosts[block]))), 255) for block in blocks]
            job = int(rng.integers(0, 40))
            present.add(job)
            orders.append(add(cluster, job, rows, at=number, cap=float(LANE * rng.choice([0.2, 0.9, 1.0]))))
    return orders


def state(plane: FabricPlane) -> dict[str, tuple[str, bytes]]:
    """All but what has been carried: a rate that is worked out later is another history."""
    history = ("until_ns", "carried", "sent", "since_ns", "peak_demand", "peak_load", "lane_carried")
    return {name: (value.dtype.str, value.tobytes()) for name, value in plane.snapshot().items() if name not in history}


def known(plane: FabricPlane, batches: list[list[Order]]) -> dict[int, float]:
    """What the head believes: the cap of every flow until a report says otherwise."""
    rates = {}
    for batch in batches:
        for order in batch:
            if order.kind == ADD:
                rates[order.flow] = order.cap
            elif order.kind == REMOVE:
                del rates[order.flow]
        rates |= rates_of(plane, *batch, until=batch[-1].time_ns if batch else 0)
    return rates


@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 60), max_size=8))
@settings(max_examples=40, deadline=None)
def test_rates_do_not_depend_on_grouping_or_on_a_restore(sparse: Cluster, seed: int, cuts: list[int]) -> None:
    """One order at a time, all at once, in random groups, and with a snapshot restored half-way: the same bits, and the head knows them."""
    orders = random_orders(sparse, np.random.default_rng(seed), 60)
    single, grouped, once = (FabricPlane(sparse, 0, SETTINGS) for _ in range(3))
    bounds = [0, *sorted(cuts), 60]
    beliefs = [
        known(single, [[order] for order in orders]),
        known(grouped, [orders[low:high] for low, high in pairwise(bounds) if high > low]),
        known(once, [orders]),
    ]
    assert state(single) == state(grouped) == state(once)
    snapshot = once.snapshot()
    truth = dict(zip(snapshot["flow"].tolist(), snapshot["rate"].tolist(), strict=True))
    assert beliefs == [truth] * 3

    first, second = FabricPlane(sparse, 0, SETTINGS), FabricPlane(sparse, 0, SETTINGS)
    known(first, [orders[:30]])
    second.restore(first.snapshot())
    ahead = [plane.advance(60, pack_orders(orders[30:])) for plane in (first, second)]
    assert ahead[0].flow.tobytes() == ahead[1].flow.tobytes()
    assert ahead[0].rate.tobytes() == ahead[1].rate.tobytes()
    assert state(second) == state(once)
    readings = [plane.read(60) for plane in (single, second)]
    for name in ("load_bytes_per_second", "capacity_bytes_per_second", "peak_utilization"):
        assert getattr(readings[0], name).tobytes() == getattr(readings[1], name).tobytes()


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_no_link_is_over_its_capacity(thin: Cluster, seed: int) -> None:
    """With links that could be full by the hose bound, or that jobs on shared hosts overrun, as long as the former are all there are."""
    plane = FabricPlane(thin, 0, SETTINGS)
    plane.advance(99, pack_orders(random_orders(thin, np.random.default_rng(seed), 50)))
    readings = plane.read_links(99)
    links, loads = (2 * readings.link[:, None] + np.arange(2)).reshape(-1), readings.load_bytes_per_second.reshape(-1)
    capacity = np.repeat(thin.links.bytes_per_second * 0.95, 2)
    capacity[2 * np.flatnonzero(thin.links.tier > 0)] *= plane.snapshot()["scale"].astype(np.float64)
    capacity[2 * np.flatnonzero(thin.links.tier > 0) + 1] *= plane.snapshot()["scale"].astype(np.float64)
    assert (loads <= capacity[links] * (1 + 1e-9) + 64).all()
