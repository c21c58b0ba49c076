"""A scenario's sections as the settings of the lower packages, which raise ValueError for values that only they can check."""

from emulator.fabric.link_faults import LinkFaultSettings
from emulator.fabric.settings import FabricSettings
from emulator.jobs.costs import STORAGE_BYTES_PER_GPU_SECOND, CheckpointCosts, Costs, StartUp, Writing
from emulator.jobs.stragglers import Stragglers
from emulator.power.swings import Smoothing
from emulator.racks.buildout import Buildout
from emulator.racks.faults import FaultSettings
from emulator.racks.hazard import Hazard
from emulator.racks.unit_faults import UnitFaultSettings
from emulator.racks.units import KINDS
from emulator.scenario.build_power import carbon_series
from emulator.scenario.faults import UnitFaults
from emulator.scenario.models import Scenario
from emulator.scenario.queues import TenantLimit as TenantLimitSettings
from emulator.scheduler.accounts import TenantLimit, TenantLimits
from emulator.scheduler.reclaim import Reclaims, Victims
from emulator.scheduler.usage import SitePower
from emulator.workload.generate import GeneratorSettings
from topology.cluster import Cluster

_SECOND = 10**9


def generator_settings(scenario: Scenario) -> GeneratorSettings:
    """What `workload.generate` takes, with the collective of the fabric's section for its training jobs, and their start-up."""
    fields = scenario.workload.generated.model_dump(exclude={"day", "checkpoint"})
    return GeneratorSettings(
        **fields,
        checkpoint_ns=scenario.workload.generated.checkpoint or 0,
        day_seconds=scenario.workload.generated.day / _SECOND,
        collective=scenario.fabric.collective,
        start_up_seconds=StartUp().mean_seconds if scenario.jobs.start_up == "drawn" else 0.0,
    )


def fault_settings(scenario: Scenario) -> FaultSettings:
    """Raises ValueError naming the causes there are."""
    faults = scenario.faults
    return FaultSettings(
        enabled=faults.enabled,
        host_rate_per_1000_node_days=faults.host_rate_per_1000_node_days,
        repair_seconds={cause: time / _SECOND for cause, time in faults.repair.items()},
        by_scope=faults.scope == "by-cause",
        all_memory_errors=faults.memory_errors == "all",
        hazard=Hazard(faults.lemons.ratio, faults.lemons.factor, faults.new_hosts.factor, faults.new_hosts.settle),
        crews=faults.crews is not None,
    )


def unit_fault_settings(scenario: Scenario) -> UnitFaultSettings:
    """Rates and repairs of racks, leaves, cooling units, power feeds and NVLink domains; of hosts that are suspect or slow."""
    faults = scenario.faults
    units: dict[str, UnitFaults] = {kind: getattr(faults.units, kind) for kind in KINDS}
    of_hosts = {"suspect": faults.suspects.per_1000_node_days * 0.365, "slow": faults.slow.per_1000_node_days * 0.365}
    means = {kind: unit.repair for kind, unit in units.items()} | {"suspect": faults.suspects.repair, "slow": faults.slow.duration}
    return UnitFaultSettings(
        enabled=faults.enabled,
        per_unit_year={kind: unit.per_year for kind, unit in units.items()} | of_hosts,
        repair_seconds={kind: mean / _SECOND for kind, mean in means.items() if mean is not None},
        slow_ratio=faults.slow.speed,
        racks_each={"cooling_unit": faults.units.cooling_unit.racks, "power_feed": faults.units.power_feed.racks},
    )


def buildout(scenario: Scenario) -> Buildout | None:
    """Which racks are there from the start and when the last one comes; None where all are there."""
    given = scenario.cluster.buildout
    return None if given is None else Buildout(given.initial_racks, given.until, scenario.faults.new_hosts.burn_in)


def fabric_settings(scenario: Scenario) -> FabricSettings:
    """The section without its faults, which are drawn at the head, and without the collective, which is the workload's."""
    return FabricSettings(**scenario.fabric.model_dump(exclude={"faults", "collective"}))


def link_fault_settings(scenario: Scenario) -> LinkFaultSettings:
    """Rates of the faults of cables and switches. Raises ValueError at a range of durations that is none."""
    return LinkFaultSettings(**scenario.fabric.faults.model_dump())


def tenant_limits(scenario: Scenario) -> TenantLimits:
    """In milli-GPUs."""
    given = scenario.scheduler.tenant_limits
    return TenantLimits(_tenant_limit(given.default), {name: _tenant_limit(limit) for name, limit in given.by_name.items()})


def _tenant_limit(given: TenantLimitSettings) -> TenantLimit:
    return TenantLimit(None if given.max_gpus is None else given.max_gpus * 1000, given.max_running_jobs, given.max_pending_jobs)


def job_costs(scenario: Scenario, cluster: Cluster) -> Costs:
    """What the life of a job costs beside its work."""
    jobs, checkpoint = scenario.jobs, scenario.jobs.checkpoint
    storage = checkpoint.storage_bandwidth
    return Costs(
        restart_overhead_ns=jobs.restart_overhead,
        start_up=StartUp() if jobs.start_up == "drawn" else None,
        restart_by_size=jobs.restart == "by-size",
        detection=jobs.detection == "by-cause",
        checkpoint=CheckpointCosts(
            Writing(checkpoint.writing),
            checkpoint.gpu_bandwidth,
            checkpoint.copy_bandwidth,
            STORAGE_BYTES_PER_GPU_SECOND * cluster.gpu_count / len(cluster.site_names) if storage is None else storage,
            float(checkpoint.state_per_gpu),
            checkpoint.interval or 0,
        ),
    )


def stragglers(scenario: Scenario) -> Stragglers:
    """What makes steps longer than their model says."""
    given = scenario.jobs.stragglers
    return Stragglers(given.host_spread, given.stall_ratio, given.stall_median / _SECOND, fail_slow=given.fail_slow == "drawn")


def site_power(scenario: Scenario) -> SitePower:
    """What a policy may know of the site's power."""
    power = scenario.power
    cap = None if power.cap is None else round(power.cap * 1000)
    return SitePower(power.gamma, power.pue, cap, carbon_series(scenario))


def smoothing(scenario: Scenario) -> Smoothing:
    """Of the swings of synchronous jobs."""
    given = scenario.power.smoothing
    joules = given.battery * (given.battery_duration / _SECOND)
    return Smoothing(given.gpu_floor, given.gpu_joules, given.peak_reduction, given.battery, joules)


def reclaims(scenario: Scenario) -> dict[str, Reclaims]:
    """Of the queues that may have others' jobs stopped."""
    found = {}
    for queue in scenario.scheduler.queues:
        given = queue.preemption
        how = Reclaims(Victims(given.reclaim_within_cohort), Victims(given.borrow_within_cohort), Victims(given.within_queue))
        if how != Reclaims():
            found[queue.name] = how
    return found
