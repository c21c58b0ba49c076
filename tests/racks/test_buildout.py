"""Racks that come into service over time, and hosts of several types: what a shard draws, by hand."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.racks.buildout import Buildout, in_service_ns
from emulator.racks.faults import FaultSettings
from emulator.racks.messages import HostEvent, RackOrder
from emulator.racks.power import gpu_milliwatts, idle_milliwatts
from emulator.racks.shard import RackSettings, RackShard
from emulator.runtime.ranges import shard_ranges
from tests.racks.test_shard import READINGS, SECOND, make_cluster, rack_orders
from topology import catalog
from topology.cluster import Cluster

H100, GB200 = catalog.host("hgx-h100"), catalog.host("gb200-nvl72")
DAY = 86_400 * SECOND
#: Three racks of 2 hosts of 8 GPUs, one block each, and two racks of 3 hosts of 4.
MIXED = replace(
    make_cluster([0, 2, 4, 6, 9, 12], [0, 2, 4, 6, 9, 12]), host_types=(H100, GB200), block_type=np.array([0, 0, 0, 1, 1], np.int8)
)


def shards(cluster: Cluster, rack_settings: RackSettings, count: int = 1) -> list[RackShard]:
    return [RackShard(cluster, span, rack_settings, 1) for span in shard_ranges(cluster, count)]


def test_a_week_of_5556_racks_is_33_an_hour() -> None:
    times = in_service_ns(Buildout(0, 7 * DAY), 5_556)
    assert times[-1] == 7 * DAY
    assert times[0] == 7 * DAY // 5_556
    assert [int((times <= hour * 3600 * SECOND).sum()) for hour in (1, 24, 84)] == [33, 793, 2778]


@given(st.integers(0, 60_000), st.integers(1, 60_000), st.integers(1, 2**62))
@settings(max_examples=60)
def test_every_rack_comes_at_its_part_of_the_time(initial: int, racks: int, until_ns: int) -> None:
    times = in_service_ns(Buildout(initial, until_ns), racks)
    assert len(times) == racks
    assert not times[: min(initial, racks)].any()
    for rack in {min(initial, racks - 1), racks // 2, racks - 1}:
        to_come = racks - initial
        assert times[rack] == (until_ns * (rack - initial + 1) // to_come if rack >= initial else 0)


@pytest.mark.parametrize(("initial", "until", "what"), [(-1, 1, "initial_racks"), (0, 0, "until")])
def test_what_cannot_be(initial: int, until: int, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Buildout(initial, until)


def test_hosts_of_two_types_draw_what_their_own_type_does() -> None:
    quiet = RackSettings(FaultSettings(enabled=False))
    (shard,) = shards(MIXED, quiet)
    watts = [gpu_milliwatts(host_type, 0.5) for host_type in (H100, GB200)]
    orders = [
        (0, RackOrder.OCCUPY, 1, 0b01, 0xFF, watts[0], 0),  # the 8 GPUs of host 2
        (10 * SECOND, RackOrder.OCCUPY, 3, 0b110, 0xF, watts[1], 0),  # the 4 GPUs of hosts 7 and 8
        (10 * SECOND, RackOrder.OCCUPY, 4, 0b001, 0b0101, watts[1], 0),  # 2 of the 4 of host 9
        (15 * SECOND, RackOrder.BREAK_HOST, 4, 0b100, 0, 0, DAY),
    ]
    shard.advance(20 * SECOND, rack_orders(orders))
    readings = shard.read(20 * SECOND)
    idle = [idle_milliwatts(H100), idle_milliwatts(GB200)]
    power = [2 * idle[0], 2 * idle[0] + 8 * watts[0], 2 * idle[0], 3 * idle[1] + 8 * watts[1], 2 * idle[1] + 2 * watts[1]]
    assert readings.power_milliwatts.tolist() == power
    joules = [40 * idle[0], 40 * idle[0] + 160 * watts[0], 40 * idle[0], 60 * idle[1] + 80 * watts[1], 55 * idle[1] + 20 * watts[1]]
    assert readings.energy_joules.tolist() == pytest.approx([value / 1000 for value in joules], rel=1e-14)
    assert (readings.gpus.tolist(), readings.gpus_busy.tolist(), readings.gpus_down.tolist()) == (
        [16, 16, 16, 12, 12],
        [0, 8, 0, 8, 2],
        [0, 0, 0, 0, 4],
    )


def test_a_gpu_mask_is_held_to_the_width_of_its_own_hosts() -> None:
    (shard,) = shards(MIXED, RackSettings(FaultSettings(enabled=False)))
    shard.advance(0, rack_orders([(0, RackOrder.OCCUPY, 0, 1, 0xFF, 1, 0)]))
    with pytest.raises(ValueError, match="beyond the host's 4"):
        shard.advance(0, rack_orders([(0, RackOrder.OCCUPY, 3, 1, 0x1F, 1, 0)]))


def test_racks_draw_nothing_until_they_are_in_service() -> None:
    """Five racks, one there at the start, the others after 10, 20, 30 and 40 s."""
    build = RackSettings(FaultSettings(enabled=False), Buildout(1, 40 * SECOND))
    (shard,) = shards(MIXED, build)
    assert shard.advance(0, rack_orders([])).next_event_ns > 2**62, "that racks come is nobody's surprise: no barrier for it"
    idle = np.array([2 * idle_milliwatts(H100)] * 3 + [3 * idle_milliwatts(GB200)] * 2)
    since = np.array([0, 10, 20, 30, 40])
    for at in (0, 9.5, 10, 25, 40, 100):
        readings = shard.read(int(at * SECOND))
        there = since <= at
        assert readings.power_milliwatts.tolist() == np.where(there, idle, 0).tolist()
        assert readings.gpus.tolist() == np.where(there, [16, 16, 16, 12, 12], 0).tolist()
        assert readings.energy_joules.tolist() == pytest.approx((np.maximum(at - since, 0) * idle / 1000).tolist(), rel=1e-14)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 6), st.integers(1, 2000), st.integers(1, 4), st.integers(0, 2**20))
def test_cuts_change_nothing_and_no_host_fails_before_it_is_there(initial: int, until: int, cut: int, seed: int) -> None:
    """A fault per host every 86 s of up time; energy again as a plain sum, of idle power alone."""
    rack_settings = RackSettings(FaultSettings(host_rate_per_1000_node_days=1e6), Buildout(initial, until * SECOND))
    end = 1500 * SECOND
    since = in_service_ns(rack_settings.buildout, 5)
    rack_of = MIXED.level("rack").host_unit
    results = []
    for count in (1, cut):
        events: list[tuple[int, int, int]] = []
        readings = []
        for span in shard_ranges(MIXED, count):
            shard = RackShard(MIXED, span, rack_settings, seed)
            report = shard.advance(end, rack_orders([]))
            events += zip(report.time_ns.tolist(), report.event.tolist(), report.host.tolist(), strict=True)
            readings.append(shard.read(end))
        results.append((sorted(events), [np.concatenate([getattr(one, name) for one in readings]).tobytes() for name in READINGS]))
    assert results[0] == results[1]
    assert all(time > since[rack_of[host]] for time, _, host in events)
    energy = [Fraction(0)] * 5
    for host in range(MIXED.host_count):
        idle = idle_milliwatts(H100 if host < 6 else GB200)
        moments = [(int(since[rack_of[host]]), HostEvent.REPAIR), *((time, event) for time, event, other in events if other == host)]
        energy[rack_of[host]] += sum(
            Fraction(idle if event == HostEvent.REPAIR else -idle) * (end - time) / 10**12 for time, event in moments if time <= end
        )
    joules = np.concatenate([one.energy_joules for one in readings]).tolist()
    assert joules == pytest.approx([float(value) for value in energy], rel=1e-12)
