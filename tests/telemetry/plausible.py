"""A plausible emulation to serve: the numbers of a small cluster, moving with ``tick`` as a real one's would."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from emulator.engine.hardware_control import ClusterView
from emulator.engine.job_control import JobState
from emulator.engine.queue_control import QueueView, QuotaView, SitesView, SiteView
from emulator.engine.snapshot import ClockView, Histogram, Snapshot
from emulator.fabric.messages import FabricReadings
from emulator.racks.messages import RackReadings
from emulator.racks.served_pools import ServedPools
from emulator.racks.serving_messages import ServingReadings
from emulator.racks.serving_pool import GONE
from emulator.racks.vllm_counts import BINS, BUCKETS, HISTOGRAMS, UNITS
from tests.service.plausible_services import services
from topology.cluster import Cluster, Level

RACKS, HOSTS_PER_RACK, GPUS_PER_HOST = 6, 8, 8


def level(name: str, hosts_per_unit: int, hosts: int) -> Level:
    first_host = np.append(np.arange(0, hosts, hosts_per_unit), hosts).astype(np.int32)
    none = np.zeros(0, dtype=np.int32)
    return Level(name, first_host, np.zeros(len(first_host), dtype=np.int32), none)


@dataclass(frozen=True)
class Layout:
    """As much of topology.cluster.Cluster as labels read."""

    levels: tuple[Level, ...]
    site_names: tuple[str, ...]
    links: None = None

    def level(self, name: str) -> Level:
        return next(level for level in self.levels if level.name == name)


def layout(racks: int = RACKS, *, site_names: tuple[str, ...] = ("memphis",), pods: bool = True) -> Cluster:
    hosts = racks * HOSTS_PER_RACK
    levels = [level("rack", HOSTS_PER_RACK, hosts)]
    if pods:
        levels.append(level("pod", 2 * HOSTS_PER_RACK, hosts))
    levels.append(level("site", -(-racks // len(site_names)) * HOSTS_PER_RACK, hosts))
    return cast(Cluster, Layout(tuple(levels), site_names))


def snapshot(tick: int = 0, *, queues: tuple[str, ...] = ("default", "research")) -> Snapshot:
    gpus = RACKS * HOSTS_PER_RACK * GPUS_PER_HOST
    busy, down = 300 + tick % 7, 8
    return Snapshot(
        clock=ClockView(emulated_seconds=600.0 * tick, cycle_seconds=10.0, speed=600.0, achieved_speed=598.5, lag_seconds=0.25,
                        paused=False, finished=False),
        cluster=ClusterView(name="laptop", gpu_model="H100", gpus=gpus, gpus_busy=busy, gpus_down=down, gpus_cordoned=0,
                            hosts=RACKS * HOSTS_PER_RACK, racks=RACKS, domains=RACKS * HOSTS_PER_RACK, links=448, leaf_switches=8,
                            spine_switches=4, core_switches=0, power_watts=310e3, power_cap_watts=500e3, sites=("memphis",)),
        queues=tuple(
            QueueView(name, 3 + i, 64 * (i + 1), 5, 150, "lab", 2, (QuotaView("*", 128.0, 150.0, 22.0, 0.0, 42.0, 64.0, None),))
            for i, name in enumerate(queues)
        ),
        jobs_by_state={JobState.PENDING: 7, JobState.RUNNING: 10, JobState.FINISHED: 40 + tick, JobState.FAILED: tick // 5},
        jobs_submitted=60 + 2 * tick,
        jobs_started=50 + 2 * tick,
        migrations=tick // 4,
        resizes=tick // 6,
        preemptions=tick // 3,
        restarts=tick // 5,
        queue_wait_seconds=Histogram((1.0, 60.0, 3600.0), (20 + tick, 20 + tick, 10, 0), 5e3 + 40.0 * tick),
        held_gpus_by_phase={"working": busy - 16, "starting": 8, "restarting": 8, "stalled": 0, "detecting": 0, "draining": 0, "paused": 0},
        gpus_by_state={"busy": busy, "idle": gpus - busy - down, "down": down, "cordoned": 0, "planned": 0},
        gpus_by_model={("busy", "H100"): busy, ("idle", "H100"): gpus - busy - down, ("down", "H100"): down},
        gpu_allocation_ratio=busy / gpus,
        gpu_utilization_ratio=0.61,
        gpu_seconds_allocated=600.0 * busy * tick,
        power_watts=310e3,
        switch_power_watts=10e3,
        facility_power_watts=341e3,
        power_clock_ratio=1.0 - 0.01 * (tick % 3),
        power_capped_seconds=10.0 * tick,
        gpu_celsius=72.0,
        power_throttled_seconds=5.0 * tick,
        energy_joules=310e3 * 600.0 * tick,
        switch_energy_joules=10e3 * 600.0 * tick,
        link_load_ratio={"host_leaf": 0.31, "leaf_spine": 0.22},
        link_peak_ratio={"host_leaf": 0.8, "leaf_spine": 0.97},
        link_bytes_per_second={"host_leaf": 6e12, "leaf_spine": 4e12},
        trunks_down={"leaf_spine": 2 + tick % 2},
        link_downs={"host_leaf": tick // 2, "leaf_spine": 3 + tick},
        link_down_seconds={"host_leaf": 30.0 * (tick // 2), "leaf_spine": 600.0 * tick},
        link_faults={"cable": tick // 2, "injected": 3 + tick},
        faults={"gpu": tick // 4, "host": 1},
        cycles=60 * tick,
        commands_failed=tick // 3,
        policy_fallback=tick > 5,
        policy_refused={"free": tick},
        sites=SitesView((SiteView("west", 512, 12, 3, 24, 90 + tick, 2, 60 * 10**12, 1.25, 0.9, 0.8),), 7, 40.0, 0.1),
        events=200 * tick,
        cycle_wall_seconds=0.0042,
        actors=2,
        services=services(tick),
    )  # fmt: skip


def rack_readings(first_rack: int, racks: int, tick: int = 0) -> RackReadings:
    rack = np.arange(first_rack, first_rack + racks)
    return RackReadings(
        at_ns=tick * 600_000_000_000,
        first_rack=first_rack,
        power_milliwatts=(50_000_123 + 1_000_000 * rack).astype(np.int64),
        energy_joules=(50e3 * 600.0 * tick + rack).astype(np.float64),
        gpus=np.full(racks, HOSTS_PER_RACK * GPUS_PER_HOST, dtype=np.int32),
        gpus_busy=(40 + rack % 8).astype(np.int32),
        gpus_down=np.where(rack == 2, 8, 0).astype(np.int32),
        hosts_down=np.where(rack == 2, 1, 0).astype(np.int32),
        faults=(rack + tick // 4).astype(np.int64),
    )


def plane_readings(plane: int, tick: int = 0) -> FabricReadings:
    capacity = np.array([2e13, 2e13, 0.0, 0.0, 0.0, 0.0, 0.0])
    load = capacity * np.array([0.31, 0.22, 0.0, 0.0, 0.0, 0.0, 0.0])
    return FabricReadings(tick, plane, load, capacity, np.array([0.8, 0.97, 0.0, 0.0, 0.0, 0.0, 0.0]), load * tick / 1e9, 10)


#: Two services, each with a pool in every rack of ``layout``: the first ``RACKS`` pools are of the first.
POOLS = ServedPools(("llama", 'a "batch"'), (1000, 500), "rack")


def serving_readings(pools: dict[int, tuple[int, ...]], tick: int = 0) -> ServingReadings:
    """The replicas of each pool by their number, GONE among them or not; all numbers differ."""
    replica = np.array([one for replicas in pools.values() for one in replicas], np.int64)
    pool = np.array([one for one, replicas in pools.items() for _ in replicas], np.int64)
    there = replica != GONE
    base = 1 + np.arange(len(replica)) + 10 * pool
    counts = np.zeros((len(replica), HISTOGRAMS, BINS), np.int64)
    for histogram, bounds in enumerate(BUCKETS):
        bins = np.arange(len(bounds) + 1)
        counts[:, histogram, : len(bins)] = base[:, None] + histogram * bins + tick * (bins % 3 == 0)
    return ServingReadings(
        at_ns=tick,
        replica=replica,
        pool=pool,
        running=there * base,
        waiting=there * (base + tick % 3),
        kv_blocks=there * base * 10,
        input_tokens=1000 * base + 300 * tick,
        output_tokens=500 * base + 70 * tick,
        cached_tokens=100 * base + 30 * tick,
        preemptions=base + tick // 2,
        steps=base * 1000 + tick,
        finished=counts[:, 3].sum(axis=1),
        counts=counts,
        sums=counts.sum(axis=2) * np.array(UNITS) // 4,
    )
