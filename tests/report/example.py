"""A made-up run whose summary can be worked out by hand."""

import numpy as np
import pyarrow as pa

from emulator.engine.gpu_time import PHASES
from emulator.report.links import TierLoad
from emulator.report.outcome import STATES, JobTable, Outcome, Sample, timeline
from emulator.scheduler.deadlines import NO_DEADLINE
from emulator.scheduler.reasons import KINDS
from emulator.scheduler.table import ENDLESS
from emulator.workload.jobs import SECOND, JobKind, SourceReport
from topology.cluster import TIERS

HOUR = 3600 * SECOND


def code(state: str) -> int:
    return [str(name) for name in STATES].index(state)


def build_jobs() -> JobTable:
    """Six jobs, not in order of id: two finished, one running after an interruption, one pending, one rejected, one infeasible."""
    return JobTable(
        job_id=np.array([7, 3, 1, 2, 9, 8]),
        gpus=np.array([8, 16, 64, 128, 1, 100000], dtype=np.int32),
        queue=np.array([0, 1, 0, 0, 0, 1], dtype=np.int32),
        tenant=np.array([0, 0, 1, 0, 0, 0], dtype=np.int32),
        kind=np.array([JobKind.GANG, JobKind.TRAINING, JobKind.TRAINING, JobKind.GANG, JobKind.GANG, JobKind.GANG], dtype=np.int8),
        priority=np.array([0, 5, 0, 0, -1, 0], dtype=np.int32),
        host_type=np.array([0, 0, 0, 0, -1, 0], dtype=np.int8),
        deadline_ns=np.full(6, NO_DEADLINE, dtype=np.int64),
        estimate_ns=np.array([HOUR, 2 * HOUR, ENDLESS, HOUR, HOUR, HOUR]),
        source_row=np.array([8, 4, 2, 3, 10, 0]),
        submit_ns=np.array([0, 0, HOUR, HOUR, 2 * HOUR, 0]),
        start_ns=np.array([0, HOUR, 2 * HOUR, -1, -1, -1]),
        end_ns=np.array([HOUR, 3 * HOUR, -1, -1, 2 * HOUR, 0]),
        state=np.array([code(s) for s in ("finished", "finished", "running", "pending", "rejected", "infeasible")], dtype=np.int8),
        reason=np.array([-1, -1, -1, 0, 1, 2], dtype=np.int32),
        preemptions=np.array([0, 1, 0, 0, 0, 0], dtype=np.int32),
        restarts=np.array([0, 1, 2, 0, 0, 0], dtype=np.int32),
        ran_ns=np.array([1, 2, 2, 0, 0, 0]) * HOUR,
        gpu_seconds=np.array([8.0, 32.0, 128.0, 0.0, 0.0, 0.0]) * 3600,
        lost_gpu_seconds=np.array([0.0, 4.0, 12.8, 0.0, 0.0, 0.0]) * 3600,
        placement_level=np.array([1, 4, 5, -1, -1, -1], dtype=np.int8),
        energy_joules=np.array([8.0, 32.0, 128.0, 0.0, 0.0, 0.0]) * 3.6e6,
        tokens=np.array([0.0, 64.0, 256.0, 0.0, 0.0, 0.0]) * 1e6,
        network_slowdown_ratio=np.array([1.0, 1.25, 1.75, 1.0, 1.0, 1.0]),
        queues=("default", "research"),
        tenants=("default", "vision"),
        reasons=("capacity: 96 of 128 GPUs are free", "queue is full", "100000 GPUs > 256"),
        gpu_types=("H100-SXM5-80GB",),
        hosts=lambda: ("r00000-h00", "r00000-h[00-01]", "r[00000-00001]-h[00-03]", "", "", ""),
        names=("seven", "three", "one", "two", "nine", ""),
    )


def build_samples(count: int = 5) -> list[Sample]:
    return [
        Sample(
            time_seconds=900.0 * i,
            pending_jobs=i,
            running_jobs=2 * i,
            pending_gpus=128 * i,
            gpus_busy=32 * i,
            gpus_idle=250 - 32 * i,
            gpus_down=6,
            gpus_cordoned=0,
            gpus_planned=0,
            gpus_starting=8,
            gpus_restarting=0,
            gpus_stalled=0,
            gpus_detecting=0,
            gpus_draining=0,
            gpus_paused=0,
            power_clock_ratio=1.0,
            power_cap_watts=0.0,
            racks_in_service=4,
            gpu_utilization_ratio=0.1 * (i % 10),
            power_watts=1e5 + 1e4 * i,
            switch_power_watts=1e4,
            facility_power_watts=1.2e5 + 1e4 * i,
            pending_jobs_by_reason=tuple(i if kind == "capacity" else 0 for kind in KINDS),
            link_load_ratio=tuple(0.0 for _ in TIERS),
            link_peak_ratio=(0.25, 0.5, *(0.0 for _ in TIERS[2:])),
        )
        for i in range(count)
    ]


def build_outcome() -> Outcome:
    return Outcome(
        link_table=lambda: pa.table({"link": [0, 1]}),
        scenario="laptop",
        seed=1,
        policy="easy",
        digest="ab" * 32,
        actors=2,
        gpus=256,
        hosts=32,
        racks=4,
        links=512,
        trunks=320,
        emulated_ns=4 * HOUR,
        wall_seconds=2.0,
        cpu_seconds=3.0,
        peak_rss_bytes=2**30,
        events=100,
        jobs=build_jobs(),
        timeline=timeline(build_samples()),
        capacity_gpu_seconds=256 * 4 * 3600,
        training_peak_flops=1e15 * 160 * 3600,
        model_flops=0.4 * 1e15 * 160 * 3600,
        active_gpu_seconds=102.4 * 3600,
        idle_gpu_seconds=1000.0,
        fragmented_gpu_seconds=250.0,
        peak_power_watts=2e5,
        it_energy_joules=1.44e9,
        switch_energy_joules=1.44e8,
        facility_energy_joules=1.8e9,
        water_litres=420.0,
        tiers={
            "host_leaf": TierLoad(0.4, "r00000-h00/leaf-00000", 0.9, 0.95),
            "leaf_spine": TierLoad(0.2, "leaf-00000/spine-00000", 0.3, 0.741),
        },
        gpu_seconds=dict.fromkeys(PHASES, 0.0)
        | {
            "productive": 500_000.0,
            "network_wait": 44_320.0,
            "redone": 50_000.0,
            "restarting": 10_480.0,
            "idle": 2_995_200.0,
            "down": 86_400.0,
        },
        sources=(SourceReport(6, {"malformed": 2}, notes=["columns not read: colour"], path="/data/trace.csv", format="csv").as_dict(),),
    )
