"""Streams and training jobs on one fabric: each slows the other by the max-min share."""

from typing import Any

import numpy as np
import pytest

from emulator.engine.commands import scale_link
from emulator.engine.engine import Engine
from emulator.engine.hardware import link_views
from emulator.workload.jobs import SECOND
from tests.engine.small import LANE, clos, endpoint_link, ends, engine, hosts_of, run, run_until, training

#: Leaves of two hosts: 16 lanes down, 8 up.
TWO_TO_ONE: dict[str, Any] = {"array_hosts": 2, "leaf_oversubscription": 2}


def host_row(made: Engine, host: int, gpus: int = 8) -> tuple[int, int, int]:
    """The first GPUs of a host."""
    first = made.cluster.block.first_host
    block = int(np.searchsorted(first, host, side="right")) - 1
    return block, 1 << (host - int(first[block])), (1 << gpus) - 1


def share(made: Engine, at_ns: int = 0) -> None:
    """What the cycle does when flows have changed."""
    made._share(at_ns)


def shared_trunk(work: int = 3000) -> Engine:
    """Job 0 on hosts 0, 1, 2: leaf 1 has hosts 2 and 3."""
    made = engine(clos(6, **TWO_TO_ONE), [training(gpus=24, duration_ns=work * SECOND)])
    run_until(made, 0)
    assert hosts_of(made, 0) == [0, 1, 2]
    return made


def test_a_stream_and_a_ring_on_one_trunk() -> None:
    """The arithmetic.

    Leaf 1 has 8 cables of 50 GB/s above, of which 0.95 is payload: 380 GB/s up and as much down. Job 0's 8 rings (one a rail) leave the
    leaf and come back: 8 x either way. The stream has the GPUs of host 3, under leaf 1, as its senders, and those of host 4, under leaf 2,
    as its receivers: 8 lanes, all of them up from leaf 1 and down to leaf 2. Up from leaf 1 it is 8 x + 8 y <= 380 GB/s, and max-min gives
    x = y = 23.75 GB/s a lane, half of a lane's 47.5. The stream has 8 * 23.75 = 190 GB/s; leaf 1's trunk carries 380 up, and down 190 of
    the rings alone; leaf 2's carries the stream's 190 down, and nothing up.

    A step of the job takes 1 s at full share; at half the ring takes 2 s of which 1 is hidden: speed 0.5. When the stream is gone, at
    1,000 s, the job has done 500 of its 3,000 s; the other 2,500 at full speed end at 3,500 s.
    """
    made = shared_trunk()
    network = made.network
    network.set_stream(0, 0, [host_row(made, 3)], [host_row(made, 4)], 1.0)
    share(made)
    assert network.rate(0) == LANE / 2
    assert network.stream_rate(0) == 8 * LANE / 2
    assert network.take_stirred() == [0]
    assert made.table.lives.speed[0] == 0.5
    table = made.read_links()
    trunks = np.flatnonzero(made.cluster.links.tier == 1)
    assert table.load_bytes_per_second[trunks].tolist() == [[190e9, 190e9], [380e9, 190e9], [0.0, 190e9]]
    sends, receives = (endpoint_link(made.cluster, host) for host in (3, 4))
    nics = int((made.cluster.links.u[made.cluster.links.tier == 0] == 3).sum())
    assert table.load_bytes_per_second[sends].tolist() == [8 / nics * LANE / 2, 0.0]
    assert table.load_bytes_per_second[receives].tolist() == [0.0, 8 / nics * LANE / 2]
    run_until(made, 999 * SECOND)
    network.end_stream(1000 * SECOND, 0)
    assert network.stream_rate(0) is None
    made.run_cycle(1000 * SECOND)
    assert made.table.lives.speed[0] == 1.0
    table = made.read_links()
    assert table.load_bytes_per_second[[sends, receives]].max() == 0.0
    assert table.carried_bytes[sends].tolist() == [8 / nics * LANE / 2 * 1000, 0.0]
    assert table.carried_bytes[trunks[2]].tolist() == [0.0, 190e9 * 1000]
    assert ends(run(made)) == {0: 3500.0}


def test_each_alone_has_it_all() -> None:
    """The stream's 8 lanes at 47.5 are the trunk's 380 GB/s, and the ring's are too."""
    made = shared_trunk()
    assert made.table.lives.speed[0] == 1.0
    assert ends(run(made)) == {0: 3000.0}
    alone = engine(clos(6, **TWO_TO_ONE), [])
    alone.network.set_stream(0, 7, [host_row(alone, 3)], [host_row(alone, 4)], 1.0)
    assert not alone.network.stale
    assert alone.network.stream_rate(7) == 8 * LANE
    assert alone.network.take_stirred() == [7]


def test_a_stream_that_sends_for_a_part_of_the_time_slows_the_others_by_that_part() -> None:
    """A quarter of the time: its 8 lanes load the trunk as 2. 8 x + 2 x = 380 is x = 38 GB/s a lane. While it sends it sends at that
    rate, 304 GB/s in all, 76 in the mean; the job has 8 * 38 = 304. Its steps take 47.5 / 38 s: speed 0.8.
    """
    made = shared_trunk()
    made.network.set_stream(0, 0, [host_row(made, 3)], [host_row(made, 4)], 0.25)
    share(made)
    assert (made.network.rate(0), made.network.stream_rate(0)) == (38e9, 304e9)
    assert made.table.lives.speed[0] == pytest.approx(0.8, rel=1e-15)
    trunk = np.flatnonzero(made.cluster.links.tier == 1)[1]
    assert made.read_links().load_bytes_per_second[trunk].tolist() == [380e9, 304e9]


def test_the_smaller_side_is_the_bound_and_equal_parts_go_to_all() -> None:
    """Host 0 (leaf 0) sends to 4, 5 (leaf 2) and 1 (leaf 0): 8 lanes, a third of which stays under leaf 0. Up from leaf 0 and down to
    leaf 2 go 16/3 lanes of 47.5 GB/s. To a single GPU there is one lane, on the rail of the receiver.
    """
    made = engine(clos(6, **TWO_TO_ONE), [])
    made.network.set_stream(0, 0, [host_row(made, 0)], [host_row(made, host) for host in (1, 4, 5)], 1.0)
    trunks = np.flatnonzero(made.cluster.links.tier == 1)
    loads = made.read_links().load_bytes_per_second[trunks]
    assert made.network.stream_rate(0) == 8 * LANE
    assert loads.tolist() == pytest.approx(np.array([[1, 0], [0, 0], [0, 1]]) * 16 / 3 * LANE, rel=1e-9)
    made.network.set_stream(0, 0, [host_row(made, 0)], [host_row(made, 4, 1)], 1.0)
    assert made.network.stream_rate(0) == LANE
    assert made.read_links().load_bytes_per_second[trunks].tolist() == [[LANE, 0], [0, 0], [0, LANE]]


def test_streams_share_with_each_other_and_where_rails_do_not_meet() -> None:
    """Eight planes, a trunk of a cable for each rail of two hosts: of hosts 0 and 1 a stream each to hosts 2 and 3, so half a lane each."""
    made = engine(clos(4, rails_meet=False, array_hosts=2, leaf_oversubscription=2), [])
    assert made.shards.plane_count == 8
    for number in range(2):
        made.network.set_stream(0, number, [host_row(made, number)], [host_row(made, number + 2)], 1.0)
    share(made)
    assert [made.network.stream_rate(number) for number in range(2)] == [4 * LANE, 4 * LANE]


def test_a_degraded_nic_slows_what_it_sends_itself_and_a_dead_trunk_everything() -> None:
    """Of 8 lanes those of one NIC have a half: 7.5 lanes in all."""
    made = engine(clos(6, **TWO_TO_ONE), [training(gpus=8, duration_ns=5000 * SECOND)])
    run_until(made, 0)
    made.network.set_stream(0, 0, [host_row(made, 3)], [host_row(made, 4)], 1.0)
    link = endpoint_link(made.cluster, 3)
    rails = int(made.cluster.links.rails[link])
    made.post(scale_link(link, 0.5, 100 * SECOND), 100 * SECOND)
    run_until(made, 100 * SECOND)
    assert made.network.stream_rate(0) == (8 - rails / 2) * LANE
    run_until(made, 200 * SECOND)
    assert made.network.stream_rate(0) == 8 * LANE
    trunk = int(np.flatnonzero(made.cluster.links.tier == 1)[1])
    made.post(scale_link(trunk, 0.0, 100 * SECOND), 300 * SECOND)
    run_until(made, 300 * SECOND)
    assert made.network.stream_rate(0) == 0.0
    run_until(made, 400 * SECOND)
    assert made.network.stream_rate(0) == 8 * LANE
    assert link_views(made, trunk, 1, "")[0].utilization_ratio == pytest.approx(0.95)


def test_nothing_is_left_of_a_stream() -> None:
    made = shared_trunk()
    made.network.set_stream(0, 0, [host_row(made, 3)], [host_row(made, 4)], 0.5)
    share(made)
    made.network.set_stream(0, 0, [host_row(made, 5)], [host_row(made, 4)], 0.5)
    made.network.end_stream(0, 0)
    made.network.end_stream(0, 0)
    share(made)
    demand, _ = made.network.demand_and_capacity()
    assert demand.max() == 380_000_000_000
    assert made.table.lives.speed[0] == 1.0
    assert set(made.network._traffic) == set(made.network._caps) == set(made.network._sent) == {0}
