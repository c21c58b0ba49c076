"""What is left of the NICs of hosts, for the flows that go out by them."""

from collections.abc import Mapping, Sequence

import numpy as np

from emulator.fabric.stream_lanes import lane_count
from emulator.scheduler.free import Row
from topology.cluster import Cluster

#: (host, rail) -> remaining part of its NIC capacity, for those that have lost some.
HostRails = Mapping[tuple[int, int], float]

#: The same by block: (the host's bit of a row, the rail's GPUs, what is left).
WaysOut = Mapping[int, Sequence[tuple[int, int, float]]]


def ways_by_block(cluster: Cluster, host_rails: HostRails) -> WaysOut:
    """The same, as rows of placements have it."""
    first_host, rails = cluster.block.first_host, cluster.rails
    on_rail = [sum(1 << gpu for gpu in range(rail, 64, rails)) for rail in range(rails)]
    hosts = np.array([host for host, _ in host_rails], dtype=np.int64)
    blocks = np.searchsorted(first_host, hosts, side="right") - 1
    ways: dict[int, list[tuple[int, int, float]]] = {}
    for block, place, (way, ratio) in zip(blocks.tolist(), (hosts - first_host[blocks]).tolist(), host_rails.items(), strict=True):
        ways.setdefault(block, []).append((1 << place, on_rail[way[1]], ratio))
    return ways


def slowest_lane(rows: Sequence[Row], ways: WaysOut) -> float:
    """The least that is left of a lane of these rows: a ring is as fast as that."""
    left = (ratio for row in rows for host, gpus, ratio in ways.get(row[0], ()) if row[1] & host and row[2] & gpus)
    return min(left, default=1.0)


def lanes_left(rows: Sequence[Row], ways: WaysOut) -> float:
    """Lanes of these rows, as far as their ways out are whole."""
    lanes = float(lane_count(rows))
    for block, hosts, gpus in rows if ways else ():
        for host, on_rail, left in ways.get(block, ()):
            if hosts & host:
                lanes -= (gpus & on_rail).bit_count() * (1.0 - left)
    return lanes
