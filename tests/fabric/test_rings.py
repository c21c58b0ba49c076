from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.fabric.rings import RingMap
from emulator.fabric.settings import FabricSettings
from topology.cluster import Cluster

NIC = 400e9 / 8  # bytes per second of an HGX H100 host's NIC, line rate
SETTINGS = FabricSettings()

CLUSTERS = {
    "two tiers": {},
    "three tiers": {"hosts": 600, "hosts_per_rack": 8, "array_hosts": 8, "pod_arrays": 4},
    "isolated rails": {"rails_meet": False},
    "buildings": {"hosts": 48, "buildings": 3},
    "joined rails": {"aggregate": "rails"},
    "nvl72": {"host": "gb200-nvl72", "switch": "quantum-x800", "hosts": 18 * 12, "hosts_per_rack": 18, "array_hosts": 36},
}


@pytest.fixture(scope="session")
def cluster_of(clos) -> Callable[[str], Cluster]:
    return lambda name: clos(**CLUSTERS[name])


def walk(cluster: Cluster, rows) -> tuple[dict[int, dict[int, float]], Counter]:
    """By plane, the directed links with the lanes that a walk around every ring puts on them, and the lanes in rings by plane."""
    links, rails = cluster.links, cluster.rails
    domain_of, domain_count = cluster.level("domain").host_unit, defaultdict(Counter)
    for block, host_mask, gpu_mask in rows:
        for bit in range(host_mask.bit_length()):
            if host_mask >> bit & 1:
                host = int(cluster.block.first_host[block]) + bit
                for gpu in range(cluster.gpus_per_host):
                    if gpu_mask >> gpu & 1:
                        domain_count[int(domain_of[host])][gpu % rails] += 1
    weights: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    lanes: Counter = Counter()
    first_host = cluster.level("domain").first_host
    levels = [level for level in cluster.levels if level.name in ("leaf", "pod", "building") and len(level.uplinks)]
    if len(levels) > 1 and levels[-1].uplinks.tolist() == levels[-2].uplinks.tolist():
        levels.pop()  # a building of two tiers is one pod
    for rail in range(rails):
        for ring in range(max((count[rail] for count in domain_count.values()), default=0)):
            members = sorted(domain for domain, count in domain_count.items() if count[rail] > ring)
            if len(members) < 2:
                continue
            for here, there in zip(members, members[1:] + members[:1], strict=True):
                endpoint = next(
                    i for i in np.flatnonzero(links.u == here) if links.rail_first[i] <= rail < links.rail_first[i] + links.rails[i]
                )
                lanes[int(links.plane[endpoint])] += 1
                for level in levels:
                    for source, target, way in ((here, there, 0), (there, here, 1)):
                        unit = int(level.host_unit[first_host[source]])
                        if unit == int(level.host_unit[first_host[target]]):
                            continue
                        serving = [
                            link
                            for link in level.uplinks[level.uplink_start[unit] : level.uplink_start[unit + 1]].tolist()
                            if links.rail_first[link] <= rail < links.rail_first[link] + links.rails[link]
                        ]
                        assert len(serving) == 1
                        weights[int(links.plane[serving[0]])][2 * serving[0] + way] += 1.0
    return weights, lanes


@st.composite
def placements(draw, cluster: Cluster):
    blocks = draw(st.lists(st.integers(0, len(cluster.block) - 1), min_size=1, max_size=9, unique=True))
    sizes = np.diff(cluster.block.first_host)
    whole = (1 << cluster.gpus_per_host) - 1
    rows = [(block, draw(st.integers(1, (1 << int(sizes[block])) - 1)), whole) for block in blocks]
    if draw(st.booleans()):  # a remainder on a host that is not taken yet
        block, taken, _ = rows[0]
        free = [bit for bit in range(int(sizes[block])) if not taken >> bit & 1]
        if free:
            rows.append((block, 1 << draw(st.sampled_from(free)), draw(st.integers(1, whole))))
    return rows


@pytest.mark.parametrize("name", CLUSTERS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_agrees_with_a_walk_around_every_ring(cluster_of, name, data):
    cluster = cluster_of(name)
    rows = data.draw(placements(cluster))
    weights, lanes = walk(cluster, rows)
    flows = RingMap(cluster, SETTINGS).flows(rows)
    assert {flow.plane: flow.lanes for flow in flows} == dict(lanes)
    for flow in flows:
        assert len(set(flow.links.tolist())) == len(flow.links)
        assert dict(zip(flow.links.tolist(), flow.weights.tolist(), strict=True)) == dict(weights[flow.plane])


def test_two_hosts_of_two_leaves_load_one_lane_per_rail(cluster_of):
    """Hosts 0 and 4 are in arrays 0 and 1, with a leaf per rail each: 8 rails x 2 arrays x (up, down) = 32 links of weight 1, 16 lanes."""
    cluster = cluster_of("two tiers")
    (flow,) = RingMap(cluster, SETTINGS).flows([(0, 1, 255), (1, 1, 255)])
    assert (len(flow.links), set(flow.weights.tolist()), flow.lanes) == (32, {1.0}, 16)


def test_a_job_in_one_domain_has_no_flow_and_one_in_a_leaf_no_links(cluster_of):
    rings = RingMap(cluster_of("two tiers"), SETTINGS)
    assert rings.flows([(0, 0b1, 255)]) == ()
    (flow,) = rings.flows([(0, 0b11, 255)])
    assert len(flow.links) == 0
    assert flow.lanes == 16
    racks = RingMap(cluster_of("nvl72"), SETTINGS)
    assert racks.flows([(0, (1 << 18) - 1, 15)]) == ()


def test_an_nvl72_rack_has_a_ring_for_each_gpu(cluster_of):
    """Two whole racks under different leaves: 72 / 4 rails = 18 rings a rail; half of one rack instead: 9 trays, hence 9."""
    rings = RingMap(cluster_of("nvl72"), SETTINGS)
    (whole,) = rings.flows([(0, (1 << 18) - 1, 15), (2, (1 << 18) - 1, 15)])
    (half,) = rings.flows([(0, (1 << 18) - 1, 15), (2, (1 << 9) - 1, 15)])
    assert (set(whole.weights.tolist()), whole.lanes) == ({18.0}, 144)
    assert (set(half.weights.tolist()), half.lanes) == ({9.0}, 72)


def test_remainder_rings_only_on_rails_it_shares(cluster_of):
    """Eight GPUs in one array and four (rails 0 to 3) in another: four rings, 4 x 2 x 2 = 16 links and 8 lanes."""
    (flow,) = RingMap(cluster_of("two tiers"), SETTINGS).flows([(0, 1, 255), (1, 1, 0b1111)])
    assert (len(flow.links), flow.lanes) == (16, 8)


def test_isolated_rails_are_planes_of_their_own(cluster_of):
    flows = RingMap(cluster_of("isolated rails"), SETTINGS).flows([(0, 1, 255), (1, 1, 255)])
    assert [(flow.plane, flow.lanes, len(flow.links)) for flow in flows] == [(plane, 2, 4) for plane in range(8)]


def test_the_cap_is_the_payload_rate_of_a_nic(cluster_of):
    assert RingMap(cluster_of("two tiers"), FabricSettings(efficiency=0.9)).lane_bytes_per_second == 0.9 * NIC


@pytest.mark.parametrize("name", CLUSTERS)
def test_endpoint_lanes_count_every_gpu_once(cluster_of, name):
    cluster = cluster_of(name)
    rows = [(0, 0b101, 0b111), (1, 0b11, 0b1011)]
    links, lanes = RingMap(cluster, SETTINGS).endpoint_lanes(rows)
    assert lanes.sum() == 2 * 3 + 2 * 3
    assert (cluster.links.tier[links] == 0).all()
    assert (np.diff(links) > 0).all()
