"""From a running engine to snapshots, samples and the outcome."""

import math
import time
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from emulator.engine import views
from emulator.engine.control import ClockView, Histogram, Snapshot
from emulator.engine.engine import Engine
from emulator.engine.fault_targets import cable_count
from emulator.engine.gpu_time import gpu_seconds
from emulator.engine.moments import slowdown
from emulator.engine.shards import Readings
from emulator.fabric.messages import FabricReadings
from emulator.racks.faults import CAUSES
from emulator.racks.power import facility_milliwatts, water_litres
from emulator.report import usage
from emulator.report.digest import digest
from emulator.report.links import link_load, links_table, tier_loads
from emulator.report.outcome import PLACEMENT_LEVELS, STATES, JobTable, Outcome, Sample, sample, timeline
from emulator.report.picture.page import picture
from emulator.report.progress import Progress
from emulator.report.speed import RecentSpeed
from emulator.scenario import Scenario
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobKind, SourceReport
from emulator.workload.training import step_seconds
from topology.cluster import TIERS
from topology.describe import hostlist

Scalar = TypeVar("Scalar", bound=np.generic)

#: Upper bounds of the wait histogram's buckets, seconds: from a cycle to a day.
WAIT_BOUNDS = (10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0)
#: Wall seconds between two looks at the memory of all processes.
MEMORY_SECONDS = 2.0


class Collector:
    """Reads one engine; keeps the samples of its timeline."""

    def __init__(self, engine: Engine, scenario: Scenario, sources: tuple[SourceReport, ...], *, actors: int, opened_at: float) -> None:
        self._engine, self._scenario, self._sources = engine, scenario, sources
        self._power, self._actors = scenario.power, actors
        self.power_cap_watts = self._power.cap or 0.0
        self._opened_at = opened_at
        self._started_at = time.monotonic()
        self._samples: list[Sample] = []
        self._wait_counts = [0] * (len(WAIT_BOUNDS) + 1)
        self._wait_total = 0.0
        self._waits_seen = 0
        self._peak_nic = 0.0
        self._speed = RecentSpeed(self._started_at)
        self._peak_memory = 0
        self._memory_due = 0.0
        self._cycle_wall = (0, self._started_at)

    # -- snapshots ------------------------------------------------------------------------------------------------------------------

    def sample(self, clock: ClockView) -> Snapshot:
        """A snapshot that also goes into the timeline."""
        snapshot = self.snapshot(clock)
        if not self._samples or self._samples[-1].time_seconds < self._engine.now_ns / SECOND:
            self._samples.append(sample(snapshot)._replace(time_seconds=self._engine.now_ns / SECOND))
        if time.monotonic() >= self._memory_due:
            self._note_memory()
        return snapshot

    def snapshot(self, clock: ClockView) -> Snapshot:
        """The numbers as of now."""
        return self._snapshot(clock, self._engine.read_planes())

    def publish(self, clock: ClockView) -> tuple[Snapshot, Readings]:
        """A snapshot for the metrics, and the readings that it is made from; shards that serve their own metrics publish them."""
        readings = self._engine.read(publish=True)
        return self._snapshot(clock, readings.planes), readings

    def _snapshot(self, clock: ClockView, planes: tuple[FabricReadings, ...]) -> Snapshot:
        engine = self._engine
        self._note_waits()
        watts = engine.meter.power_milliwatts / 1e3
        load, peak, moved = self._links(planes)
        health = engine.links.health.by_tier(engine.now_ns)
        gpus = views.gpus_by_state(engine)
        total = max(1, engine.meter.gpus)
        counts = engine.scheduler.counts
        return Snapshot(
            clock=clock,
            cluster=views.cluster_view(engine, self.power_cap_watts),
            queues=tuple(views.queue_views(engine)),
            jobs_by_state={
                "pending": sum(count.pending_jobs for count in counts),
                "running": sum(count.running_jobs for count in counts),
                **{views.STATES[state].value: number for state, number in engine.ended.items()},
            },
            jobs_submitted=engine.submitted,
            jobs_started=engine.started,
            preemptions=engine.preemptions,
            restarts=engine.restarts,
            queue_wait_seconds=Histogram(WAIT_BOUNDS, tuple(self._wait_counts), self._wait_total),
            gpus_by_state=gpus,
            gpus_by_model=views.gpus_by_model(engine),
            gpu_allocation_ratio=gpus["busy"] / total,
            gpu_utilization_ratio=engine.meter.active_micro_gpus / 1e6 / total,
            gpu_seconds_allocated=engine.meter.held_gpu_seconds(engine.now_ns),
            power_watts=watts,
            switch_power_watts=engine.meter.switches_milliwatts.value / 1e3,
            facility_power_watts=facility_milliwatts(engine.meter.power_milliwatts, self._power.pue) / 1e3,
            energy_joules=engine.meter.hosts_joules(engine.now_ns) + engine.meter.switches_joules(engine.now_ns),
            switch_energy_joules=engine.meter.switches_joules(engine.now_ns),
            link_load_ratio=load,
            link_peak_ratio=peak,
            link_bytes_per_second=moved,
            trunks_down={tier: one.not_whole for tier, one in health.items()},
            link_downs={tier: one.downs for tier, one in health.items()},
            link_down_seconds={tier: one.down_seconds for tier, one in health.items()},
            link_faults=dict(engine.links.faults),
            faults={cause.name: number for cause, number in zip(CAUSES, engine.faults, strict=True)},
            cycles=engine.cycles,
            commands_failed=engine.commands_failed,
            events=engine.events,
            cycle_wall_seconds=self._cycle_seconds(),
            actors=self._actors,
        )

    def _note_waits(self) -> None:
        waits = np.array(self._engine.waits_ns[self._waits_seen :]) / SECOND
        self._waits_seen += len(waits)
        for bucket, number in enumerate(np.bincount(np.searchsorted(WAIT_BOUNDS, waits), minlength=len(self._wait_counts))):
            self._wait_counts[bucket] += int(number)
        self._wait_total += float(waits.sum())

    def _links(self, planes: tuple[FabricReadings, ...]) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        load = sum((plane.load_bytes_per_second for plane in planes), np.zeros(len(TIERS)))
        capacity = sum((plane.capacity_bytes_per_second for plane in planes), np.zeros(len(TIERS)))
        capacity = capacity - 2.0 * self._engine.racks.planned_bytes_per_second(self._engine.now_ns)
        peak = np.max([plane.peak_utilization for plane in planes], axis=0, initial=0.0)
        self._peak_nic = max(self._peak_nic, float(peak[0]))
        there = [tier for tier in range(len(TIERS)) if capacity[tier] > 0]
        return (
            {TIERS[tier]: float(load[tier] / capacity[tier]) for tier in there},
            {TIERS[tier]: float(peak[tier]) for tier in there},
            {TIERS[tier]: float(load[tier]) for tier in there},
        )

    def _cycle_seconds(self) -> float:
        """Mean wall seconds a cycle has taken since the last snapshot."""
        (cycles, since), now = self._cycle_wall, time.monotonic()
        done = self._engine.cycles - cycles
        if done:
            self._cycle_wall = self._engine.cycles, now
        return (now - since) / done if done else 0.0

    def _note_memory(self) -> None:
        self._remote_cpu_seconds, remote_bytes = self._engine.shards.remote_usage()
        self._peak_memory = max(self._peak_memory, usage.memory_bytes() + remote_bytes)
        self._memory_due = time.monotonic() + MEMORY_SECONDS

    def achieved_speed(self, emulated_ns: int) -> float:
        """The recent speed in emulated seconds per wall second (``report.speed``), with the emulated clock at ``emulated_ns``."""
        return self._speed.ratio(time.monotonic(), emulated_ns / SECOND)

    def mark_speed(self, emulated_ns: int) -> None:
        """Note that the emulated clock is at ``emulated_ns`` now. To be called regularly."""
        self._speed.mark(time.monotonic(), emulated_ns / SECOND)

    def progress(self) -> Progress:
        engine = self._engine
        until = engine.settings.until_ns
        counts = engine.scheduler.counts
        return Progress(
            emulated_seconds=engine.now_ns / SECOND,
            until_seconds=None if until is None else until / SECOND,
            speed=self.achieved_speed(engine.now_ns),
            submitted=engine.submitted,
            pending=sum(count.pending_jobs for count in counts),
            running=sum(count.running_jobs for count in counts),
            ended=sum(engine.ended.values()),
            gpus_busy=sum(count.running_gpus for count in counts) - engine.runs.shared_gpu_surplus(),
            gpus=engine.meter.gpus,
        )

    # -- the end --------------------------------------------------------------------------------------------------------------------

    def outcome(self, *, interrupted: bool) -> Outcome:
        """Everything that a report needs, after the engine's ``finish``."""
        engine, cluster, scenario = self._engine, self._engine.cluster, self._scenario
        readings = engine.read()
        energy = np.concatenate([shard.energy_joules for shard in readings.racks])
        slots = [slot for slot, state in enumerate(engine.table.state) if state != State.FUTURE]
        jobs = self._jobs(slots)
        switch_joules = engine.meter.switches_joules(engine.now_ns)
        joules = float(np.cumsum(energy)[-1]) + switch_joules
        self._note_memory()
        counts = cluster.counts
        links = engine.read_links()
        return Outcome(
            link_table=lambda: links_table(cluster, links),
            scenario=scenario.name,
            seed=scenario.seed,
            policy=scenario.scheduler.policy,
            digest=self._digest(slots, jobs, energy),
            actors=self._actors,
            gpus=cluster.gpu_count,
            hosts=cluster.host_count,
            racks=counts.racks,
            links=cable_count(cluster),
            trunks=len(cluster.links),
            emulated_ns=engine.now_ns,
            wall_seconds=time.monotonic() - self._opened_at,
            cpu_seconds=usage.cpu_seconds() + self._remote_cpu_seconds,
            peak_rss_bytes=self._peak_memory,
            events=engine.events,
            jobs=jobs,
            timeline=timeline(self._samples),
            capacity_gpu_seconds=engine.meter.gpu_seconds(engine.now_ns),
            training_peak_flops=self._training_peak_flops(slots, jobs),
            model_flops=self._model_flops(slots),
            active_gpu_seconds=engine.meter.active_gpu_seconds,
            idle_gpu_seconds=engine.meter.idle_gpu_ns / SECOND,
            fragmented_gpu_seconds=engine.meter.fragmented_gpu_ns / SECOND,
            peak_power_watts=engine.meter.peak_milliwatts / 1e3,
            it_energy_joules=joules,
            switch_energy_joules=switch_joules,
            facility_energy_joules=joules * self._power.pue,
            water_litres=water_litres(joules, self._power.wue_litres_per_kwh),
            tiers=tier_loads(cluster, links, self._peak_nic),
            gpu_seconds=gpu_seconds(engine.table, slots, engine.meter, engine.now_ns),
            interrupted=interrupted,
            sources=tuple(source.as_dict() for source in self._sources),
            picture=lambda: picture(cluster, scenario, link_load(cluster, links)),
        )

    def _jobs(self, slots: list[int]) -> JobTable:
        engine, table = self._engine, self._engine.table
        size = np.array([table.gpus[slot] * table.milli_gpus[slot] / 1000 for slot in slots])
        ran = np.array([self._ran_ns(slot) for slot in slots], dtype=np.int64)
        lost = np.array([table.lost_ns[slot] + table.overhead_run_ns[slot] for slot in slots], dtype=np.int64)
        reasons: dict[str, int] = {}
        reason = [self._reason(slot) for slot in slots]
        for text in reason:
            reasons.setdefault(text, len(reasons))
        levels = {"": -1} | {name: number for number, name in enumerate(PLACEMENT_LEVELS)}

        def column(values: list[int], dtype: type[Scalar]) -> NDArray[Scalar]:
            return np.array([values[slot] for slot in slots], dtype=dtype)

        return JobTable(
            job_id=column(table.job_id, np.int64),
            gpus=column(table.gpus, np.int32),
            queue=column(table.queue, np.int32),
            tenant=column(table.tenant, np.int32),
            priority=column(table.priority, np.int32),
            host_type=column(table.host_type, np.int8),
            estimate_ns=column(table.estimate_ns, np.int64),
            source_row=column(table.source_row, np.int64),
            kind=column(table.kind, np.int8),
            submit_ns=column(table.submit_ns, np.int64),
            start_ns=column(table.first_start_ns, np.int64),
            end_ns=column(table.end_ns, np.int64),
            state=np.array([STATES.index(views.STATES[table.state[slot]]) for slot in slots], dtype=np.int8),
            reason=np.array([reasons[text] if text else -1 for text in reason], dtype=np.int32),
            preemptions=column(table.preemptions, np.int32),
            restarts=column(table.restarts, np.int32),
            gpu_seconds=size * ran / SECOND,
            lost_gpu_seconds=size * lost / SECOND,
            placement_level=np.array([levels[views.placement_level(engine.cluster, table.rows[slot])] for slot in slots], dtype=np.int8),
            network_slowdown_ratio=np.array([slowdown(engine, slot, engine.now_ns) for slot in slots]),
            queues=tuple(table.queues),
            tenants=tuple(table.tenants),
            reasons=tuple(reasons),
            gpu_types=tuple(host_type.gpu.name for host_type in engine.cluster.host_types),
            hosts=self._hosts(slots),
            names=tuple(table.names.get(slot, "") for slot in slots) if table.names else None,
        )

    def _hosts(self, slots: list[int]) -> tuple[str, ...]:
        """Hostlists of the last placements. Jobs come back to the same hosts, so each list of hosts is folded once."""
        engine = self._engine

        @cache
        def folded(hosts: tuple[int, ...]) -> str:
            return hostlist(engine.cluster, hosts)

        return tuple(folded(tuple(engine.scheduler.hosts_of(engine.table.rows[slot]))) for slot in slots)

    def _ran_ns(self, slot: int) -> int:
        table = self._engine.table
        running = table.state[slot] == State.RUNNING
        return table.run_ns[slot] + (self._engine.now_ns - table.start_ns[slot] if running else 0)

    def _reason(self, slot: int) -> str:
        """How a job ended; a pending one's reason is general, since what keeps each of a long queue costs a walk through it."""
        state = self._engine.table.state[slot]
        return "waiting at the end of the run" if state == State.PENDING else views.reason(self._engine, slot, state)

    def _digest(self, slots: list[int], jobs: JobTable, energy: NDArray[np.float64]) -> str:
        rows = [self._engine.table.rows[slot] for slot in slots]
        start = np.zeros(len(slots) + 1, dtype=np.int64)
        np.cumsum([len(placement) for placement in rows], out=start[1:])
        flat = [row for placement in rows for row in placement]
        return digest(
            jobs,
            start,
            np.array([row[0] for row in flat], dtype=np.int32),
            np.array([row[1] for row in flat], dtype=np.uint64),
            np.array([row[2] for row in flat], dtype=np.uint64),
            rack_energy_joules=energy,
        )

    def _training_peak_flops(self, slots: list[int], jobs: JobTable) -> float:
        """FLOPs that the GPUs held by training jobs could have done at the dense bf16 peak of their models."""
        peak = np.array([host_type.gpu.bf16_flops for host_type in self._engine.cluster.host_types])
        host_type = np.array([self._engine.table.host_type[slot] for slot in slots], dtype=np.int64)
        training = jobs.kind == JobKind.TRAINING
        return float((jobs.gpu_seconds * peak[host_type])[training].sum())

    def _model_flops(self, slots: list[int]) -> float:
        """FLOPs of the steps that lasted: work over the time of a step at full share, times the model's FLOPs per step."""
        table, full = self._engine.table, self._engine.network.full_bytes_per_second

        @cache
        def rate(number: int, host_type: int) -> float:
            shape = table.shapes[number]
            return shape.model_flops / step_seconds(shape, full[host_type])

        return math.fsum(
            (table.work_ns[slot] - table.lost_ns[slot]) / SECOND * rate(table.shape[slot], table.host_type[slot])
            for slot in slots
            if table.shape[slot] >= 0 and table.work_ns[slot]
        )
