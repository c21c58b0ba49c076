"""Streams against loops over pairs of GPUs, and on fabrics of every kind."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.fabric.job_lanes import Row
from emulator.fabric.settings import FabricSettings
from emulator.fabric.stream_lanes import lane_count
from emulator.fabric.traffic import Traffic, TrafficMap
from emulator.fabric.uplinks import uplinks
from topology import catalog
from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.dragonfly import DragonflyPlan, build

PLANS: tuple[dict[str, object], ...] = (
    {},
    {"leaf_oversubscription": 2, "hosts": 12},
    {"rails_meet": False},
    {"rail_optimised": False},
    {"planes": 2},
    {"host": "gb200-nvl72", "hosts": 72, "hosts_per_rack": 18, "array_hosts": 18, "switch": "sn5600"},
)


def gpus_of(cluster: Cluster, rows: list[Row]) -> list[tuple[int, int]]:
    """(host, GPU) of a placement."""
    first = cluster.block.first_host
    return [
        (int(first[block]) + host, gpu)
        for block, hosts, gpus in rows
        for host in range(hosts.bit_length())
        if hosts >> host & 1
        for gpu in range(gpus.bit_length())
        if gpus >> gpu & 1
    ]


def by_pairs(cluster: Cluster, senders: list[Row], receivers: list[Row]) -> np.ndarray:
    """Lanes on every link, up and down: every GPU of one side sends an equal part to every GPU of the other, on the rail of that one."""
    loads = np.zeros((len(cluster.links), 2))
    sends, gets = gpus_of(cluster, senders), gpus_of(cluster, receivers)
    part = min(len(sends), len(gets)) / (len(sends) * len(gets))
    for table in uplinks(cluster):
        unit = table.level.host_unit
        for one, _ in sends:
            for other, gpu in gets:
                rail = gpu % min(cluster.rails, cluster.host_types[0].nics)
                if unit[one] != unit[other]:
                    for way, host in enumerate((one, other)):
                        entries = slice(table.start[unit[host]], table.start[unit[host] + 1])
                        loads[table.link[entries], way] += part * table.share[entries, rail]
    return loads


def on_links(cluster: Cluster, traffic_map: TrafficMap, traffic: Traffic) -> np.ndarray:
    loads = np.zeros((len(cluster.links), 2))
    for piece in traffic.pieces:
        np.add.at(loads, (traffic_map.channels.link[piece.links >> 1], piece.links & 1), piece.weights)
    return loads


@st.composite
def ends(draw: st.DrawFn, cluster: Cluster) -> list[Row]:
    hosts = draw(st.sets(st.integers(0, cluster.host_count - 1), min_size=1, max_size=5))
    first, rows = cluster.block.first_host, []
    for host in sorted(hosts):
        block = int(np.searchsorted(first, host, side="right")) - 1
        rows.append((block, 1 << (host - int(first[block])), draw(st.integers(1, (1 << cluster.host_types[0].gpus) - 1))))
    return rows


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("routing", ["adaptive", "ecmp"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_as_by_pairs_of_gpus(clos: Callable[..., Cluster], plan: dict[str, object], routing: str, data: st.DataObject) -> None:
    """Under ECMP the same, spread over cables."""
    cluster = clos(**plan)
    traffic_map = TrafficMap(cluster, FabricSettings(routing=routing))
    senders, receivers = data.draw(ends(cluster)), data.draw(ends(cluster))
    traffic = traffic_map.stream(senders, receivers)
    assert on_links(cluster, traffic_map, traffic) == pytest.approx(by_pairs(cluster, senders, receivers), abs=1e-6)
    domain = cluster.level("domain").host_unit
    sends, gets = gpus_of(cluster, senders), gpus_of(cluster, receivers)
    apart = sum(domain[one] != domain[other] for one, _ in sends for other, _ in gets) / (len(sends) * len(gets))
    assert sum(piece.lanes for piece in traffic.pieces) == pytest.approx(apart * min(len(sends), len(gets)))
    assert lane_count(senders) == len(sends)


@pytest.mark.parametrize("routing", ["adaptive", "minimal", "valiant"])
def test_between_groups_of_a_dragonfly_everything_goes_one_way(routing: str) -> None:
    """From a host to one of another group: all lanes leave the one and come to the other, directly or by way of others, and none back."""
    host, switch = catalog.host("frontier-node"), catalog.switch("rosetta")
    cluster = compile_cluster(build(DragonflyPlan("small", host, switch, 40, 4, 8, 4, global_links_per_pair=4)))
    traffic_map = TrafficMap(cluster, FabricSettings(routing=routing))
    first = cluster.block.first_host
    pod = cluster.level("pod").host_unit
    far = int(np.flatnonzero(pod == 1)[0])
    block = int(np.searchsorted(first, far, side="right")) - 1
    gpus = (1 << cluster.host_types[0].gpus) - 1
    senders, receivers = [(0, 1, gpus)], [(block, 1 << (far - int(first[block])), gpus)]
    traffic = traffic_map.stream(senders, receivers)
    loads = on_links(cluster, traffic_map, traffic)
    crossing = np.zeros((len(cluster.level("pod")),) * 2)
    peers = next(peers for peers in cluster.peers if peers.level == "pod")
    for link, one, other in zip(peers.links.tolist(), peers.unit_u.tolist(), peers.unit_v.tolist(), strict=True):
        crossing[one, other] += loads[link, 0]
        crossing[other, one] += loads[link, 1]
    lanes = float(gpus.bit_count())
    assert crossing[0].sum() == pytest.approx(lanes)
    assert crossing[:, 1].sum() == pytest.approx(lanes)
    assert crossing[:, 0].sum() == crossing[1].sum() == 0.0
