"""From a running engine to snapshots, samples and the outcome."""

import math
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from emulator.engine import views
from emulator.engine.engine import Engine
from emulator.engine.facility_meter import total
from emulator.engine.gpu_time import HELD, gpu_seconds, held_time
from emulator.engine.power_settings import OverCap
from emulator.engine.service_views import service_views
from emulator.engine.shards import Readings
from emulator.engine.snapshot import ClockView, Histogram, Snapshot
from emulator.engine.waits import WAIT_BOUNDS
from emulator.fabric.messages import FabricReadings
from emulator.power.clocks import CLOCK_RATIO
from emulator.racks.faults import CAUSES
from emulator.report import usage
from emulator.report.digest import digest
from emulator.report.events import EventLog, events_table
from emulator.report.job_rows import Jobs, Reasons, all_jobs, rows_of
from emulator.report.links import link_load, links_table, tier_loads
from emulator.report.outcome import Outcome, Sample, Timeline, sample, timeline
from emulator.report.picture.page import picture
from emulator.report.power import power_summary
from emulator.report.progress import Progress
from emulator.report.serving import inference_summary, requests_table, served_numbers
from emulator.report.speed import RecentSpeed
from emulator.report.spool import Spool
from emulator.scenario import Scenario
from emulator.scenario.settings import smoothing
from emulator.scheduler.backlog import pending_by_reason
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobKind, SourceReport
from topology.cluster import TIERS

#: Samples of the timeline that are kept in memory; so many are put by at once.
SAMPLES_AT_ONCE = 4_096
#: Wall seconds between two looks at the memory of all processes.
MEMORY_SECONDS = 2.0


class Collector:
    """Reads one engine; keeps the samples of its timeline, and the jobs that leave it until the outcome is asked for (in ``folder``)."""

    def __init__(
        self,
        engine: Engine,
        scenario: Scenario,
        sources: tuple[SourceReport, ...],
        *,
        actors: int,
        opened_at: float,
        folder: Path | None = None,
        events: bool = False,
    ) -> None:
        """``events``: keep every event too, from the first cycle on."""
        self._engine, self._scenario, self._sources = engine, scenario, sources
        self._power, self._actors = scenario.power, actors
        self._opened_at = opened_at
        self._started_at = time.monotonic()
        self._samples: list[Sample] = []
        self._sampled_ns = -1
        self._spool = Spool(folder)  # earlier samples, and jobs that have left the engine
        self.events = EventLog(engine, self._spool) if events else None
        self._held: tuple[int, ...] = (0,) * len(HELD)  # GPU time of these jobs, as held_time has it
        self._reasons = Reasons()
        self._peak_nic = 0.0
        self._speed = RecentSpeed(self._started_at)
        self._peak_memory = 0
        self._memory_due = 0.0
        self._cycle_wall = (0, self._started_at)

    # -- snapshots ------------------------------------------------------------------------------------------------------------------

    def sample(self, clock: ClockView) -> Snapshot:
        """A snapshot that also goes into the timeline."""
        snapshot = self.snapshot(clock)
        if self._sampled_ns < self._engine.now_ns:
            self._sampled_ns = self._engine.now_ns
            if len(self._samples) == SAMPLES_AT_ONCE:
                self._spool.add("samples", vars(timeline(self._samples)))
                self._samples.clear()
            self._samples.append(sample(snapshot)._replace(time_seconds=self._sampled_ns / SECOND))
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
        watts = engine.meter.power_milliwatts / 1e3
        load, peak, moved = self._links(planes)
        health = engine.links.health.by_tier(engine.now_ns)
        gpus = views.gpus_by_state(engine)
        total = max(1, engine.meter.gpus)
        counts, outside = engine.scheduler.counts, engine.scheduler.policy.outside
        pending_jobs, pending_gpus = pending_by_reason(engine.scheduler)
        return Snapshot(
            clock=clock,
            cluster=views.cluster_view(engine),
            queues=tuple(views.queue_views(engine)),
            jobs_by_state={
                "pending": sum(count.pending_jobs for count in counts),
                "running": sum(count.running_jobs for count in counts),
                **{views.STATES[state].value: number for state, number in engine.chronicle.ended.items()},
            },
            jobs_submitted=engine.chronicle.submitted,
            jobs_started=engine.chronicle.started,
            preemptions=engine.chronicle.preemptions,
            migrations=engine.chronicle.migrations,
            resizes=engine.chronicle.resizes,
            restarts=engine.chronicle.restarts,
            queue_wait_seconds=Histogram(WAIT_BOUNDS, tuple(engine.chronicle.waits.counts), engine.chronicle.waits.total_ns / SECOND),
            held_gpus_by_phase={phase.name.lower(): number for phase, number in engine.runs.gpus_by_phase.items()},
            gpus_by_state=gpus,
            gpus_by_model=views.gpus_by_model(engine),
            gpu_allocation_ratio=gpus["busy"] / total,
            gpu_utilization_ratio=engine.meter.active_micro_gpus / 1e6 / total,
            gpu_seconds_allocated=engine.meter.held_gpu_seconds(engine.now_ns),
            power_watts=watts,
            switch_power_watts=engine.meter.switches_milliwatts / 1e3,
            power_clock_ratio=CLOCK_RATIO[max(engine.runs.clock)],
            power_capped_seconds=engine.power.acting.until(engine.now_ns) / SECOND,
            gpu_celsius=0.0 if (heat := engine.power.heat) is None else heat.now_celsius,
            power_throttled_seconds=0.0 if heat is None else heat.throttling.until(engine.now_ns) / SECOND,
            facility_power_watts=engine.power.facility_milliwatts() / 1e3,
            energy_joules=engine.meter.hosts_joules(engine.now_ns) + engine.meter.switches_joules(engine.now_ns),
            switch_energy_joules=engine.meter.switches_joules(engine.now_ns),
            link_load_ratio=load,
            link_peak_ratio=peak,
            link_bytes_per_second=moved,
            trunks_down={tier: one.not_whole for tier, one in health.items()},
            link_downs={tier: one.downs for tier, one in health.items()},
            link_down_seconds={tier: one.down_seconds for tier, one in health.items()},
            link_faults=dict(engine.links.faults),
            faults={cause.name: number for cause, number in zip(CAUSES, engine.host_faults.counts, strict=True)},
            cycles=engine.cycles,
            commands_failed=engine.chronicle.commands_failed,
            policy_fallback=outside is not None and bool(outside.fallback),
            policy_refused={} if outside is None else dict(outside.refused),
            events=engine.chronicle.events,
            cycle_wall_seconds=self._cycle_seconds(),
            actors=self._actors,
            pending_jobs_by_reason=pending_jobs,
            pending_gpus_by_reason=pending_gpus,
            sites=views.sites_view(engine),
            services=tuple(service_views(engine)),
        )

    def retire(self, slots: Sequence[int]) -> None:
        """The jobs in ``slots`` have ended and leave the engine (``Ends.retire``): put by what the outcome needs of them."""
        engine = self._engine
        now = held_time(engine.table, slots, engine.now_ns)
        self._held = tuple(before + more for before, more in zip(self._held, now, strict=True))
        self._spool.add("jobs", rows_of(engine, slots, self._reasons))

    def close(self) -> None:
        """Let go of what was put by; there is no outcome after that."""
        self._spool.close()

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
            submitted=engine.chronicle.submitted,
            pending=sum(count.pending_jobs for count in counts),
            running=sum(count.running_jobs for count in counts),
            ended=sum(engine.chronicle.ended.values()),
            gpus_busy=sum(count.running_gpus for count in counts) - engine.runs.shared_gpu_surplus(),
            gpus=engine.meter.gpus,
        )

    # -- the end --------------------------------------------------------------------------------------------------------------------

    def outcome(self, *, interrupted: bool) -> Outcome:
        """Everything that a report needs, after the engine's ``finish``."""
        engine, cluster, scenario = self._engine, self._engine.cluster, self._scenario
        readings = engine.read()
        energy = np.concatenate([shard.energy_joules for shard in readings.racks])
        every, held = self._all_jobs()
        jobs = every.table
        switch_joules = engine.meter.switches_joules(engine.now_ns)
        joules = float(np.cumsum(energy)[-1]) + switch_joules
        used = total(engine.power.facility.all(engine.now_ns))
        seconds = gpu_seconds(held, engine.meter, engine.now_ns)
        self._note_memory()
        counts = cluster.counts
        links = engine.read_links()
        events = None if self.events is None else self.events.columns()
        return Outcome(
            events_table=None if events is None else lambda: events_table(events),
            link_table=lambda: links_table(cluster, links),
            scenario=scenario.name,
            seed=scenario.seed,
            policy=scenario.scheduler.policy,
            outside=engine.scheduler.policy.outside,
            resizes=engine.chronicle.resizes,
            sites=views.sites_view(engine),
            digest=digest(jobs, *every[2:6], rack_energy_joules=energy, served=served_numbers(engine)),
            actors=self._actors,
            gpus=cluster.gpu_count,
            hosts=cluster.host_count,
            racks=counts.racks,
            links=cluster.links.cables,
            trunks=len(cluster.links),
            emulated_ns=engine.now_ns,
            wall_seconds=time.monotonic() - self._opened_at,
            cpu_seconds=usage.cpu_seconds() + self._remote_cpu_seconds,
            peak_rss_bytes=self._peak_memory,
            events=engine.chronicle.events,
            jobs=jobs,
            timeline=self._timeline(),
            capacity_gpu_seconds=engine.meter.gpu_seconds(engine.now_ns),
            training_peak_flops=self._training_peak_flops(every),
            model_flops=math.fsum(every.model_flops),
            active_gpu_seconds=engine.meter.active_gpu_seconds,
            idle_gpu_seconds=engine.meter.idle_gpu_ns / SECOND,
            fragmented_gpu_seconds=engine.meter.fragmented_gpu_ns / SECOND,
            peak_power_watts=engine.meter.peak_milliwatts / 1e3,
            it_energy_joules=joules,
            switch_energy_joules=switch_joules,
            facility_energy_joules=used.facility_joules,
            water_litres=used.water_litres,
            power=power_summary(engine, jobs, seconds, OverCap(self._power.over_cap), smoothing(scenario)),
            inference=inference_summary(engine),
            requests_table=self._requests_table(),
            tiers=tier_loads(cluster, links, self._peak_nic),
            gpu_seconds=seconds,
            interrupted=interrupted,
            sources=tuple(source.as_dict() for source in self._sources),
            picture=lambda: picture(cluster, scenario, link_load(cluster, links)),
        )

    def _requests_table(self) -> Callable[[], Any] | None:
        services = self._engine.services
        if services is None:
            return None
        names = tuple([service.name for service in services.settings.services])
        sites = self._engine.cluster.site_names
        return lambda: requests_table(services.sample.columns(), names, services.replicas.units, sites)

    def _all_jobs(self) -> tuple[Jobs, list[int]]:
        """Every submitted job, and the GPU time that they held by phase (``held_time``)."""
        engine, table = self._engine, self._engine.table
        slots = [slot for slot in table.slot_of.values() if table.state[slot] != State.FUTURE]
        held = [sum(part) for part in zip(self._held, held_time(table, slots, engine.now_ns), strict=True)]
        return all_jobs(engine, chain(self._spool.chunks("jobs"), (rows_of(engine, slots, self._reasons),)), self._reasons), held

    def _timeline(self) -> Timeline:
        chunks = [*self._spool.chunks("samples"), vars(timeline(self._samples))]
        return Timeline(**{name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[-1]})

    def _training_peak_flops(self, every: Jobs) -> float:
        """FLOPs that the GPUs held by training jobs could have done at their models' dense peaks of the precision that each trains in."""
        peak = np.array([host_type.gpu.bf16_flops for host_type in self._engine.cluster.host_types])
        training = every.table.kind == JobKind.TRAINING
        return float((every.table.gpu_seconds * peak[every.table.host_type] * every.peak_ratio)[training].sum())
