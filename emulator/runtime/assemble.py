"""From a scenario to an engine that is ready to run: every package gets its part of the scenario."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from emulator.engine.backoff import Backoff
from emulator.engine.engine import Engine
from emulator.engine.fault_requests import Asking
from emulator.engine.network import Network
from emulator.engine.service_settings import ServingSettings
from emulator.engine.settings import EngineSettings
from emulator.engine.shards import Shards
from emulator.fabric.settings import FabricSettings
from emulator.racks.buildout import gpus_in_service
from emulator.racks.shard import RackSettings
from emulator.runtime.watchdog import Watchdog
from emulator.scenario import Scenario, build_cluster
from emulator.scenario.build_power import build_power
from emulator.scenario.build_services import build_services
from emulator.scenario.build_sites import build_sites
from emulator.scenario.fault_script import fault_script
from emulator.scenario.outside import outside_settings
from emulator.scenario.policies import find, find_placement
from emulator.scenario.quotas import build_quotas
from emulator.scenario.reserved_hosts import build_reservations
from emulator.scenario.settings import (
    buildout,
    fabric_settings,
    fault_settings,
    generator_settings,
    job_costs,
    link_fault_settings,
    reclaims,
    site_power,
    stragglers,
    tenant_limits,
    unit_fault_settings,
)
from emulator.scheduler.elastic import Elastic
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.workload.growth import Growth
from emulator.workload.jobs import RECOVERIES, JobSource, SourceReport
from emulator.workload.readers import open_trace
from emulator.workload.spread import generate_by_type
from topology.cluster import Cluster

if TYPE_CHECKING:
    from emulator.service.policy_client import PolicyClient

#: Makes the shards: (cluster, rack settings, fabric settings, seed) -> shards.
ShardFactory = Callable[[Cluster, RackSettings, FabricSettings, int], Shards]


@dataclass(frozen=True, eq=False)
class Emulation:
    """An engine and what it was made from."""

    scenario: Scenario
    cluster: Cluster
    engine: Engine
    sources: tuple[SourceReport, ...]
    outside: "PolicyClient | None"  # the connection to a policy outside
    asking: Asking

    def interrupt(self) -> None:
        """It is to end soon. Takes no lock."""
        self.engine.shards.end()
        if self.outside is not None:
            self.outside.interrupt()

    def close(self) -> None:
        """Let go of the shards, and of a policy outside. May be called again."""
        self.engine.shards.close()
        if self.outside is not None:
            self.outside.close()


def assemble(scenario: Scenario, shards: ShardFactory, *, until_ns: int | None, horizon_ns: int) -> Emulation:
    """Build everything. Raises ScenarioError, TraceError or ValueError where the scenario cannot be emulated, PolicyUnreachable where its
    policy is a program that does not answer.

    ``until_ns`` is where the emulation ends (None: with its work, or never); a generated workload goes on to ``horizon_ns``.
    """
    cluster = build_cluster(scenario)
    source, sources = _source(scenario, cluster, horizon_ns)
    serving, read = build_services(scenario, cluster)
    sources = (*sources, *read)
    fabric = fabric_settings(scenario)
    asking = Asking(cluster, scenario.clock.cycle, unit_fault_settings(scenario).racks_each)
    script = fault_script(scenario, asking)
    if script.source is not None:
        sources = (*sources, script.source)
    with ExitStack() as opened:
        settings, outside = _with_policy(scenario, cluster)
        if outside is not None:
            opened.callback(outside.close)
        scheduler = Scheduler(cluster, settings, scenario.clock.cycle)
        for queue in scenario.scheduler.queues:
            scheduler.add_queue(queue.name)
        served = tuple([service.served for service in serving.services])
        racks = RackSettings(fault_settings(scenario), buildout(scenario), served, serving.pool_level)
        made = shards(cluster, racks, fabric, scenario.seed)
        opened.callback(made.close)
        network = Network(cluster, fabric, scheduler.table, made.plane_count)
        engine = Engine(cluster, scheduler, made, network, source, _engine_settings(scenario, cluster, until_ns, serving))
        for at_ns, command in script.commands:
            if until_ns is None or at_ns <= until_ns:
                engine.post(command, engine.boundary(at_ns))
        opened.pop_all()
        return Emulation(scenario, cluster, engine, sources, outside, asking)


#: A policy or placement of others that decides for longer than this in one cycle, by the clock on the wall, is taken to loop.
MOST_POLICY_SECONDS = 60.0


def _with_policy(scenario: Scenario, cluster: Cluster) -> "tuple[SchedulerSettings, PolicyClient | None]":
    """The scheduler's settings, and the connection to a policy outside."""
    settings, chosen = _scheduler_settings(scenario, cluster), scenario.scheduler
    outside = outside_settings(chosen.policy, chosen.policy_options)
    if outside is None:
        policy = find(chosen.policy, chosen.policy_options, scenario.seed)
        if policy.file or settings.placement.file:
            policy = replace(policy, plan=Watchdog(MOST_POLICY_SECONDS).watch(policy.plan))
        return replace(settings, policy=policy), None
    from emulator.runtime.outside import connect  # gRPC takes its time to import

    policy, client = connect(outside, scenario, cluster, settings)
    return replace(settings, policy=policy), client


def _source(scenario: Scenario, cluster: Cluster, horizon_ns: int) -> tuple[JobSource | None, tuple[SourceReport, ...]]:
    workload = scenario.workload
    if workload.kind == "trace":
        source, report = open_trace(workload.path or "", workload.format or "", workload.options, host_types=cluster.host_types)
        return source, (report,)
    if workload.kind == "none":
        return None, ()
    settings, built = generator_settings(scenario), buildout(scenario)
    growth = None
    if built is not None:
        times, gpus = gpus_in_service(built, cluster)
        growth = [Growth(times, of_type) for of_type in gpus]
    return generate_by_type(settings, cluster.host_types, cluster.type_hosts, scenario.seed, horizon_ns, growth), ()


def _scheduler_settings(scenario: Scenario, cluster: Cluster) -> SchedulerSettings:
    """All but the policy."""
    settings = scenario.scheduler
    return SchedulerSettings(
        placement=find_placement(settings.placement, settings.placement_options, scenario.seed),
        pending_limit=settings.pending_limit,
        preemption=settings.preemption,
        preempt_after_ns=settings.preempt_after,
        preempt_interval_ns=settings.preempt_interval,
        grace_ns=scenario.jobs.grace_period,
        defragment=settings.defragment,
        elastic=Elastic(settings.elastic),
        elastic_interval_ns=settings.elastic_interval,
        queue_priority={queue.name: queue.priority for queue in settings.queues},
        quotas=build_quotas(scenario, cluster),
        tenant_limits=tenant_limits(scenario),
        strict_queues=[queue.name for queue in settings.queues if queue.queueing_strategy == "strict-fifo"],
        reclaims=reclaims(scenario),
        power=site_power(scenario),
        sites=build_sites(scenario, cluster),
        reservations=build_reservations(scenario, cluster),
    )


def _engine_settings(scenario: Scenario, cluster: Cluster, until_ns: int | None, serving: ServingSettings) -> EngineSettings:
    backoff = scenario.jobs.requeue_backoff
    return EngineSettings(
        cycle_ns=scenario.clock.cycle,
        until_ns=until_ns,
        publish_ns=scenario.telemetry.publish_interval,
        costs=job_costs(scenario, cluster),
        stragglers=stragglers(scenario),
        stall_timeout_ns=scenario.jobs.stall_timeout,
        max_restarts=scenario.jobs.max_restarts,
        recovery=RECOVERIES[scenario.jobs.recovery],
        grace_ns=scenario.jobs.grace_period,
        spares_per_1024_gpus=scenario.jobs.spares,
        requeue_backoff=Backoff(backoff.initial, backoff.factor, backoff.max),
        time_limit_factor=None if scenario.jobs.time_limit == "none" else scenario.jobs.time_limit_factor,
        power_gamma=scenario.power.gamma,
        power=build_power(scenario, cluster),
        buildout=buildout(scenario),
        faults=fault_settings(scenario),
        crews=scenario.faults.crews,
        unit_faults=unit_fault_settings(scenario),
        link_faults=link_fault_settings(scenario),
        serving=serving,
        seed=scenario.seed,
    )
