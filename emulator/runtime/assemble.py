"""From a scenario to an engine that is ready to run: every room gets its part of the scenario."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator.engine.engine import Engine
from emulator.engine.network import Network
from emulator.engine.settings import EngineSettings
from emulator.engine.shards import Shards
from emulator.fabric.settings import FabricSettings
from emulator.racks.faults import FaultSettings
from emulator.racks.power import PowerSettings
from emulator.racks.shard import RackSettings
from emulator.scenario import Scenario, build_cluster
from emulator.scheduler.scheduler import Scheduler, SchedulerSettings
from emulator.workload.generate import GeneratorSettings, generate
from emulator.workload.jobs import JobSource, SourceReport
from emulator.workload.readers import open_trace
from topology.cluster import Cluster

#: How far a live emulation without an end generates work: ten years.
LIVE_HORIZON_NS = 10 * 365 * 86_400 * 10**9

#: Makes the shards: (cluster, rack settings, fabric settings, seed) -> shards.
ShardFactory = Callable[[Cluster, RackSettings, FabricSettings, int], Shards]


@dataclass(frozen=True)
class TraceRequest:
    """A trace file instead of the scenario's workload."""

    path: Path
    format: str
    options: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Emulation:
    """An engine and what it was made from."""

    scenario: Scenario
    cluster: Cluster
    engine: Engine
    sources: Mapping[str, SourceReport]


def assemble(scenario: Scenario, shards: ShardFactory, *, trace: TraceRequest | None, until_ns: int | None, live: bool) -> Emulation:
    """Build everything. Raises ScenarioError, TraceError or ValueError where the scenario cannot be emulated.

    A trace runs to its end and a generated workload to ``clock.until``, unless ``until_ns`` says otherwise; a live emulation has no
    other end than ``until_ns``.
    """
    if trace is None and scenario.workload.kind == "trace":
        trace = TraceRequest(Path(scenario.workload.path or ""), scenario.workload.format or "", scenario.workload.options)
    if until_ns is None and trace is None and not live:
        until_ns = scenario.clock.until
    cluster = build_cluster(scenario)
    source, sources = _source(scenario, cluster, trace, until_ns)
    fabric = FabricSettings(scenario.fabric.routing, scenario.fabric.efficiency)
    scheduler = Scheduler(cluster, _scheduler_settings(scenario), scenario.clock.cycle)
    for queue in scenario.scheduler.queues:
        scheduler.add_queue(queue.name)
    made = shards(cluster, _rack_settings(scenario), fabric, scenario.seed)
    try:
        engine = Engine(
            cluster, scheduler, made, Network(cluster, fabric, scheduler.table, made.plane_count), source, _engine_settings(scenario, until_ns)
        )
    except BaseException:
        made.close()
        raise
    return Emulation(scenario, cluster, engine, sources)


def _source(
    scenario: Scenario, cluster: Cluster, trace: TraceRequest | None, until_ns: int | None
) -> tuple[JobSource | None, dict[str, SourceReport]]:
    if trace is not None:
        source, report = open_trace(trace.path, trace.format, trace.options)
        return source, {trace.format: report}
    if scenario.workload.kind == "none":
        return None, {}
    settings = GeneratorSettings(**scenario.workload.generated.model_dump())
    host = cluster.host_type
    horizon = LIVE_HORIZON_NS if until_ns is None else until_ns
    source = generate(settings, cluster.gpu_count, scenario.seed, horizon, host.gpu, host.gpus, host.domain_gpus)
    return source, {}


def _scheduler_settings(scenario: Scenario) -> SchedulerSettings:
    settings = scenario.scheduler
    return SchedulerSettings(
        policy=settings.policy,
        placement=settings.placement,
        pending_limit=settings.pending_limit,
        preemption=settings.preemption,
        preempt_after_ns=settings.preempt_after,
        queue_priority={queue.name: queue.priority for queue in settings.queues},
    )


def _rack_settings(scenario: Scenario) -> RackSettings:
    faults = scenario.faults
    return RackSettings(
        faults=FaultSettings(enabled=faults.enabled, per_thousand_node_days=faults.host_rate_per_1000_node_days),
    )


def power_settings(scenario: Scenario) -> PowerSettings:
    """The scenario's power section as the racks read it."""
    return PowerSettings(pue=scenario.power.pue, wue_litres_per_kwh=scenario.power.wue_litres_per_kwh)


def _engine_settings(scenario: Scenario, until_ns: int | None) -> EngineSettings:
    return EngineSettings(
        cycle_ns=scenario.clock.cycle,
        until_ns=until_ns,
        publish_ns=scenario.telemetry.publish_interval,
        restart_overhead_ns=scenario.jobs.restart_overhead,
        max_restarts=scenario.jobs.max_restarts,
        seed=scenario.seed,
    )
