"""Every metric that Gigawatt serves, one row each: exposition, docs/metrics.md and the dashboard are made from this table.

Rules of the table: names begin with ``gigawatt_``, units are base units and end the name, counters end in ``_total``, states are labels
(never names), a series that can exist always exists (zero rather than absent), and no label has a value per job. What Kueue measures too
has Kueue's name and labels, beginning with ``kueue_``, so that dashboards and alerts made for Kueue work (kubernetes-sigs/kueue,
pkg/metrics/metrics.go). Services have rows of their own (``serving_table``), and so have their replicas (``vllm_table``).
"""

import importlib.metadata
import math
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emulator.engine.job_control import JobState
from emulator.engine.queue_control import QuotaView, SiteView
from emulator.engine.snapshot import Snapshot
from emulator.jobs.life import COUNTED_PHASES
from emulator.racks.faults import CAUSES
from emulator.racks.messages import RackReadings
from emulator.scheduler.reasons import KINDS
from emulator.scheduler.rules import Rule
from emulator.telemetry.metric import RACK_LABELS, HeadMetric, Kind, Metric, PlaneMetric, RackMetric, Values
from emulator.telemetry.serving_table import SERVICES
from emulator.telemetry.vllm_table import VLLM
from topology.cluster import TIERS

GPU_STATES = ("busy", "idle", "down", "cordoned", "planned", "maintenance", "reserved")
#: States a job stays in for good.
ENDED = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.INFEASIBLE, JobState.REJECTED)
#: Of Kueue's metrics of quotas. Its resource is the one that all quotas here are of.
QUOTA_LABELS = ("cohort", "cluster_queue", "flavor", "resource")
GPU_RESOURCE = "nvidia.com/gpu"


@cache
def version() -> str:
    """The installed version, ``unknown`` when run from a tree that is not installed."""
    try:
        return importlib.metadata.version("gigawatt")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _one(read: Callable[[Snapshot], float]) -> Callable[[Snapshot], Values]:
    return lambda snapshot: {(): read(snapshot)}


def _by(keys: tuple[str, ...], read: Callable[[Snapshot], Mapping[str, float]]) -> Callable[[Snapshot], Values]:
    """One series for each of ``keys``, zero where the snapshot has none, and for whatever else the snapshot has."""
    return lambda snapshot: {(key,): value for key, value in (dict.fromkeys(keys, 0.0) | dict(read(snapshot))).items()}


def _gpus(snapshot: Snapshot) -> Values:
    return {(state, model): snapshot.gpus_by_model.get((state, model), 0) for model in _models(snapshot) for state in GPU_STATES}


def _models(snapshot: Snapshot) -> list[str]:
    return sorted({model for _, model in snapshot.gpus_by_model})


def _quotas(read: Callable[[QuotaView], float | None]) -> Callable[[Snapshot], Values]:
    """By cohort, queue, flavor and resource; what has no limit is infinite."""
    return lambda snapshot: {
        (queue.cohort, queue.name, quota.flavor, GPU_RESOURCE): math.inf if (value := read(quota)) is None else value
        for queue in snapshot.queues
        for quota in queue.quotas
    }


def _pending_workloads(snapshot: Snapshot) -> Values:
    return {
        (queue.name, status): jobs
        for queue in snapshot.queues
        for status, jobs in (("active", queue.pending_jobs - queue.held_jobs), ("inadmissible", queue.held_jobs))
    }


def _sites(read: Callable[[SiteView], float]) -> Callable[[Snapshot], Values]:
    return lambda snapshot: {} if snapshot.sites is None else {(site.name,): read(site) for site in snapshot.sites.sites}


def _pue(snapshot: Snapshot) -> float:
    """Facility power over IT power (ISO/IEC 30134-2); not a number while no IT power is drawn."""
    return snapshot.facility_power_watts / snapshot.power_watts if snapshot.power_watts else float("nan")


HEAD: tuple[HeadMetric, ...] = (
    # What is emulated.
    HeadMetric(
        "gigawatt_build_info", Kind.GAUGE, "flag", "Always 1; the version is in the label.", ("version",), lambda _: {(version(),): 1}
    ),
    HeadMetric(
        "gigawatt_cluster_info", Kind.GAUGE, "flag", "Always 1; what is emulated is in the labels.", ("name", "gpu_model"),
        lambda s: {(s.cluster.name, s.cluster.gpu_model): 1},
    ),
    HeadMetric("gigawatt_hosts", Kind.GAUGE, "hosts", "Hosts in the cluster.", (), _one(lambda s: s.cluster.hosts)),
    HeadMetric("gigawatt_racks", Kind.GAUGE, "racks", "Racks in the cluster.", (), _one(lambda s: s.cluster.racks)),
    HeadMetric(
        "gigawatt_racks_in_service", Kind.GAUGE, "racks", "Racks in service; the others are still planned.", (),
        _one(lambda s: s.cluster.racks_in_service),
    ),
    HeadMetric("gigawatt_domains", Kind.GAUGE, "domains", "Scale-up (NVLink) domains.", (), _one(lambda s: s.cluster.domains)),
    HeadMetric("gigawatt_links", Kind.GAUGE, "links", "Cables of the fabric, of every tier.", (), _one(lambda s: s.cluster.links)),
    HeadMetric(
        "gigawatt_trunks", Kind.GAUGE, "trunks", "Trunks of the fabric: the cables between the same two nodes count as one.", (),
        _one(lambda s: s.cluster.trunks),
    ),
    HeadMetric(
        "gigawatt_switches", Kind.GAUGE, "switches", "Switches by tier.", ("tier",),
        lambda s: {
            ("leaf",): s.cluster.leaf_switches, ("spine",): s.cluster.spine_switches, ("core",): s.cluster.core_switches,
            ("inter_building",): s.cluster.inter_building_switches, ("wan",): s.cluster.wan_switches,
        },
    ),
    # GPUs.
    HeadMetric(
        "gigawatt_gpus", Kind.GAUGE, "GPUs", "GPUs by state and model. The state planned is for racks that are not in service yet.",
        ("state", "gpu_model"), _gpus,
    ),
    HeadMetric(
        "gigawatt_gpu_allocation_ratio", Kind.GAUGE, "ratio", "Share of the GPUs in service that jobs hold now.", (),
        _one(lambda s: s.gpu_allocation_ratio),
    ),
    HeadMetric(
        "gigawatt_gpu_utilization_ratio", Kind.GAUGE, "ratio", "Mean SM activity now over the GPUs in service; idle GPUs count as 0.", (),
        _one(lambda s: s.gpu_utilization_ratio),
    ),
    HeadMetric(
        "gigawatt_gpu_allocated_seconds_total", Kind.COUNTER, "seconds", "GPU seconds (emulated) that jobs have held.", (),
        _one(lambda s: s.gpu_seconds_allocated),
    ),
    # Jobs and queues.
    HeadMetric(
        "gigawatt_jobs", Kind.GAUGE, "jobs", "Jobs in each state: pending and running now, in other states since the start.", ("state",),
        _by(tuple(JobState), lambda s: s.jobs_by_state),
    ),
    HeadMetric("gigawatt_jobs_submitted_total", Kind.COUNTER, "jobs", "Jobs submitted.", (), _one(lambda s: s.jobs_submitted)),
    HeadMetric(
        "gigawatt_jobs_started_total", Kind.COUNTER, "jobs", "Jobs started; a restart is not a start.", (), _one(lambda s: s.jobs_started)
    ),
    HeadMetric(
        "gigawatt_jobs_ended_total", Kind.COUNTER, "jobs", "Jobs that have ended, by the state they ended in.", ("state",),
        lambda s: {(state,): s.jobs_by_state.get(state, 0) for state in ENDED},
    ),
    HeadMetric("gigawatt_job_preemptions_total", Kind.COUNTER, "preemptions", "Preemptions.", (), _one(lambda s: s.preemptions)),
    HeadMetric(
        "gigawatt_job_migrations_total", Kind.COUNTER, "migrations", "Jobs moved to make room.", (), _one(lambda s: s.migrations)
    ),
    HeadMetric(
        "gigawatt_job_resizes_total",
        Kind.COUNTER,
        "resizes",
        "Running jobs that went on with another number of GPUs.",
        (),
        _one(lambda s: s.resizes),
    ),
    HeadMetric("gigawatt_job_restarts_total", Kind.COUNTER, "restarts", "Restarts after a fault.", (), _one(lambda s: s.restarts)),
    HeadMetric(
        "gigawatt_held_gpus", Kind.GAUGE, "GPUs",
        "GPUs of running jobs by what these do: work (checkpoints included), start, restart after an interruption, stall for want of any "
        "network, hang after a fault until that is noticed, save what they did before they stop, or are paused for want of power.",
        ("phase",), _by(tuple([phase.name.lower() for phase in COUNTED_PHASES]), lambda s: s.held_gpus_by_phase),
    ),
    HeadMetric(
        "gigawatt_queue_wait_seconds", Kind.HISTOGRAM, "seconds", "Emulated time from submission to first start.", (),
        lambda s: s.queue_wait_seconds,
    ),
    HeadMetric(
        "gigawatt_queue_jobs", Kind.GAUGE, "jobs", "Jobs by queue: pending or running.", ("queue", "state"),
        lambda s: {(q.name, state): n for q in s.queues for state, n in (("pending", q.pending_jobs), ("running", q.running_jobs))},
    ),
    HeadMetric(
        "gigawatt_queue_gpus", Kind.GAUGE, "GPUs", "GPUs that the jobs of a queue ask for (pending) or hold (running).", ("queue", "state"),
        lambda s: {(q.name, state): n for q in s.queues for state, n in (("pending", q.pending_gpus), ("running", q.running_gpus))},
    ),
    HeadMetric(
        "gigawatt_pending_jobs", Kind.GAUGE, "jobs",
        "Pending jobs by what keeps them from starting, as gigawatt job explain has it; priority: it fits, and waits for its turn.",
        ("reason",), _by(KINDS, lambda s: s.pending_jobs_by_reason),
    ),
    HeadMetric(
        "gigawatt_pending_gpus", Kind.GAUGE, "GPUs", "GPUs that pending jobs ask for, by what keeps these from starting.",
        ("reason",), _by(KINDS, lambda s: s.pending_gpus_by_reason),
    ),
    HeadMetric(
        "gigawatt_policy_fallback", Kind.GAUGE, "flag",
        "1 once a policy outside the emulation (grpc://) is gone and another decides in its place.", (), _one(lambda s: s.policy_fallback),
    ),
    HeadMetric(
        "gigawatt_policy_refused_actions_total", Kind.COUNTER, "actions",
        "Actions of a policy outside the emulation (grpc://) that were refused, by the rule that they broke.", ("rule",),
        _by(tuple(Rule), lambda s: s.policy_refused),
    ),
    HeadMetric(
        "kueue_pending_workloads", Kind.GAUGE, "jobs",
        "Pending jobs by queue: active, or inadmissible, that is held back by the queue's quota or a tenant's limit.",
        ("cluster_queue", "status"), _pending_workloads,
    ),
    HeadMetric(
        "kueue_cluster_queue_nominal_quota", Kind.GAUGE, "GPUs", "GPUs of a queue's own quota, by flavor (host types; *: all).",
        QUOTA_LABELS, _quotas(lambda quota: quota.nominal_gpus),
    ),
    HeadMetric(
        "kueue_cluster_queue_resource_usage", Kind.GAUGE, "GPUs", "GPUs that the jobs of a queue hold, borrowed ones included.",
        QUOTA_LABELS, _quotas(lambda quota: quota.used_gpus),
    ),
    HeadMetric(
        "kueue_cluster_queue_borrowing_limit", Kind.GAUGE, "GPUs",
        "GPUs that a queue may borrow at most; +Inf where there is no limit (Kueue has 0 there).",
        QUOTA_LABELS, _quotas(lambda quota: quota.borrowing_limit_gpus),
    ),
    HeadMetric(
        "kueue_cluster_queue_lending_limit", Kind.GAUGE, "GPUs",
        "GPUs of its own that a queue lends at most; +Inf where there is no limit (Kueue has 0 there).",
        QUOTA_LABELS, _quotas(lambda quota: quota.lending_limit_gpus),
    ),
    # Sites, where jobs are dispatched to them.
    HeadMetric(
        "gigawatt_global_queue_jobs", Kind.GAUGE, "jobs", "Jobs that wait to be dispatched to a site (scheduler.sites).", (),
        lambda s: {} if s.sites is None else {(): s.sites.queued_jobs},
    ),
    HeadMetric(
        "gigawatt_site_pending_jobs", Kind.GAUGE, "jobs", "Jobs in a site's queue, or on hold until their data is there.", ("site",),
        _sites(lambda site: site.pending_jobs),
    ),
    HeadMetric(
        "gigawatt_site_demand_ratio", Kind.GAUGE, "ratio", "GPUs that jobs hold or wait for at a site, over its GPUs.", ("site",),
        _sites(lambda site: site.demand_ratio),
    ),
    HeadMetric(
        "gigawatt_site_dispatched_jobs_total", Kind.COUNTER, "jobs", "Jobs dispatched to a site; one that moves counts again.", ("site",),
        _sites(lambda site: site.dispatched_jobs),
    ),
    HeadMetric(
        "gigawatt_site_moved_jobs_total", Kind.COUNTER, "jobs", "Jobs that went from a site's queue to another site.", ("site",),
        _sites(lambda site: site.moved_jobs),
    ),
    HeadMetric(
        "gigawatt_site_received_bytes_total", Kind.COUNTER, "bytes", "Bytes of datasets that were sent to a site for its jobs.", ("site",),
        _sites(lambda site: site.received_bytes),
    ),
    *SERVICES,
    # Power.
    HeadMetric(
        "gigawatt_it_power_watts", Kind.GAUGE, "watts",
        "Power that the IT equipment draws, by component (hosts, switches); the sum is IT power.", ("component",),
        lambda s: {("hosts",): s.power_watts - s.switch_power_watts, ("switches",): s.switch_power_watts},
    ),
    HeadMetric(
        "gigawatt_facility_power_watts", Kind.GAUGE, "watts", "Power that the whole facility draws: IT, cooling and losses.", (),
        _one(lambda s: s.facility_power_watts),
    ),
    HeadMetric(
        "gigawatt_power_cap_watts", Kind.GAUGE, "watts", "Power that the facility may draw; 0 where there is no cap.", (),
        _one(lambda s: s.cluster.power_cap_watts),
    ),
    HeadMetric(
        "gigawatt_it_energy_joules_total", Kind.COUNTER, "joules", "Energy that the IT equipment has used, by component (hosts, switches).",
        ("component",), lambda s: {("hosts",): s.energy_joules - s.switch_energy_joules, ("switches",): s.switch_energy_joules},
    ),
    HeadMetric(
        "gigawatt_power_clock_ratio", Kind.GAUGE, "ratio",
        "Clock of the GPUs over the full one, at the site where it is lowest: below 1 while a cap on power, or heat, lowers it.", (),
        _one(lambda s: s.power_clock_ratio),
    ),
    HeadMetric(
        "gigawatt_power_capped_seconds_total", Kind.COUNTER, "seconds",
        "Emulated time in which a cap on power lowered a clock or paused a job.", (), _one(lambda s: s.power_capped_seconds),
    ),
    HeadMetric(
        "gigawatt_gpu_hottest_celsius", Kind.GAUGE, "celsius",
        "Temperature of a GPU that computes all the time, where it is hottest; 0 where power.heat is not given.", (),
        _one(lambda s: s.gpu_celsius),
    ),
    HeadMetric(
        "gigawatt_power_throttled_seconds_total", Kind.COUNTER, "seconds",
        "Emulated time in which heat bounded the clock of some GPUs.", (), _one(lambda s: s.power_throttled_seconds),
    ),
    HeadMetric("gigawatt_pue_ratio", Kind.GAUGE, "ratio", "Power usage effectiveness now: facility power over IT power.", (), _one(_pue)),
    # Network.
    HeadMetric(
        "gigawatt_link_load_ratio", Kind.GAUGE, "ratio",
        "Load over capacity of a tier: the sum over all its cables in service, both directions.",
        ("tier",), _by(TIERS, lambda s: s.link_load_ratio),
    ),
    HeadMetric(
        "gigawatt_link_peak_ratio", Kind.GAUGE, "ratio",
        "Load over capacity of the most loaded direction of a trunk, by tier. For host_leaf it is the busiest NIC, which is at the fabric's"
        " efficiency (0.95) wherever a job sends at full rate.",
        ("tier",), _by(TIERS, lambda s: s.link_peak_ratio),
    ),
    HeadMetric(
        "gigawatt_link_bytes_per_second", Kind.GAUGE, "bytes_per_second", "Bytes per second on all cables of a tier, both directions.",
        ("tier",), _by(TIERS, lambda s: s.link_bytes_per_second),
    ),
    HeadMetric(
        "gigawatt_trunks_down", Kind.GAUGE, "trunks", "Trunks that have lost some or all of their capacity now, by tier.", ("tier",),
        _by(TIERS, lambda s: s.trunks_down),
    ),
    HeadMetric(
        "gigawatt_link_downs_total", Kind.COUNTER, "faults", "Faults that took a trunk or one of its cables down, by tier.", ("tier",),
        _by(TIERS, lambda s: s.link_downs),
    ),
    HeadMetric(
        "gigawatt_link_down_seconds_total", Kind.COUNTER, "seconds",
        "Emulated time that trunks were down, by tier; a trunk with half of its cables down counts half.", ("tier",),
        _by(TIERS, lambda s: s.link_down_seconds),
    ),
    HeadMetric(
        "gigawatt_link_faults_total", Kind.COUNTER, "faults",
        "Faults of the fabric by kind: cable, switch and flap are drawn at random, injected ones come from users.", ("kind",),
        _by(("cable", "switch", "flap", "injected"), lambda s: s.link_faults),
    ),
    # Faults.
    HeadMetric(
        "gigawatt_faults_total", Kind.COUNTER, "faults", "Faults by cause.", ("cause",),
        _by(tuple(cause.name for cause in CAUSES), lambda s: s.faults),
    ),
    # The clock.
    HeadMetric(
        "gigawatt_clock_emulated_seconds_total", Kind.COUNTER, "seconds", "Emulated time since the scenario's start.", (),
        _one(lambda s: s.clock.emulated_seconds),
    ),
    HeadMetric(
        "gigawatt_clock_cycle_seconds", Kind.GAUGE, "seconds", "Emulated length of a scheduling cycle.", (),
        _one(lambda s: s.clock.cycle_seconds),
    ),
    HeadMetric(
        "gigawatt_clock_speed_ratio", Kind.GAUGE, "ratio",
        "Emulated seconds per wall second: asked for (+Inf: as fast as it can) and achieved over the last 10 s of wall time. Prometheus"
        " stamps wall time, so divide a rate() by the achieved speed to get it per emulated second.",
        ("kind",), lambda s: {("asked",): s.clock.speed, ("achieved",): s.clock.achieved_speed},
    ),
    HeadMetric(
        "gigawatt_clock_lag_seconds", Kind.GAUGE, "seconds", "Emulated seconds by which the clock is behind the speed asked for.", (),
        _one(lambda s: s.clock.lag_seconds),
    ),
    HeadMetric("gigawatt_clock_paused", Kind.GAUGE, "flag", "1 while the clock is paused.", (), _one(lambda s: s.clock.paused)),
    HeadMetric("gigawatt_clock_finished", Kind.GAUGE, "flag", "1 once the run has ended.", (), _one(lambda s: s.clock.finished)),
    # The emulator itself.
    HeadMetric(
        "gigawatt_cycles_total", Kind.COUNTER, "cycles",
        "Scheduling cycles that were run; cycles without an event are skipped and do not count.", (), _one(lambda s: s.cycles),
    ),
    HeadMetric(
        "gigawatt_commands_failed_total",
        Kind.COUNTER,
        "commands",
        "Inputs that were accepted and then failed, alone, for an error of the emulator; its log has them.",
        (),
        _one(lambda s: s.commands_failed),
    ),
    HeadMetric("gigawatt_events_total", Kind.COUNTER, "events", "Events handled.", (), _one(lambda s: s.events)),
    HeadMetric(
        "gigawatt_cycle_wall_seconds", Kind.GAUGE, "seconds", "Mean wall time of a cycle since the last publication.", (),
        _one(lambda s: s.cycle_wall_seconds),
    ),
    HeadMetric("gigawatt_actors", Kind.GAUGE, "actors", "Actors that hold racks and fabric; 0 in-process.", (), _one(lambda s: s.actors)),
)  # fmt: skip


def _int64(values: NDArray[np.generic]) -> NDArray[np.int64]:
    return values.astype(np.int64)


def _rack_gpus(readings: RackReadings) -> dict[tuple[str, ...], NDArray[np.int64]]:
    """A GPU whose host went down under a job may be counted busy as well until the head has freed it: idle is never below 0."""
    gpus, busy, down = (_int64(column) for column in (readings.gpus, readings.gpus_busy, readings.gpus_down))
    return {("busy",): busy, ("idle",): np.maximum(gpus - busy - down, 0), ("down",): down}


RACK: tuple[RackMetric, ...] = (
    RackMetric(
        "gigawatt_rack_power_watts", Kind.GAUGE, "watts", "Power that the hosts of a rack draw.", RACK_LABELS,
        lambda r: {(): r.power_milliwatts}, decimals=3,
    ),
    RackMetric(
        "gigawatt_rack_energy_joules_total", Kind.COUNTER, "joules", "Energy that the hosts of a rack have used.", RACK_LABELS,
        lambda r: {(): _int64(np.rint(r.energy_joules))},
    ),
    RackMetric("gigawatt_rack_gpus", Kind.GAUGE, "GPUs", "GPUs of a rack by state.", ("state", *RACK_LABELS), _rack_gpus),
    RackMetric(
        "gigawatt_rack_hosts_down", Kind.GAUGE, "hosts", "Hosts of a rack that are down.", RACK_LABELS, lambda r: {(): _int64(r.hosts_down)}
    ),
    RackMetric("gigawatt_rack_faults_total", Kind.COUNTER, "faults", "Faults in a rack.", RACK_LABELS, lambda r: {(): r.faults}),
)  # fmt: skip


def _tiers(values: NDArray[np.float64]) -> Values:
    return {(tier,): float(value) for tier, value in zip(TIERS, values, strict=True)}


PLANE: tuple[PlaneMetric, ...] = (
    PlaneMetric("gigawatt_plane_flows", Kind.GAUGE, "flows", "Flows in a fabric plane.", ("plane",), lambda r: {(): r.flows}),
    PlaneMetric(
        "gigawatt_plane_bytes_per_second", Kind.GAUGE, "bytes_per_second", "Bytes per second on a plane's cables, both directions.",
        ("plane", "tier"), lambda r: _tiers(r.load_bytes_per_second),
    ),
    PlaneMetric(
        "gigawatt_plane_carried_bytes_total", Kind.COUNTER, "bytes", "Bytes that a plane's cables have carried, both directions.",
        ("plane", "tier"), lambda r: _tiers(r.carried_bytes),
    ),
    PlaneMetric(
        "gigawatt_plane_capacity_bytes_per_second", Kind.GAUGE, "bytes_per_second", "Bytes per second that a plane's cables can carry.",
        ("plane", "tier"), lambda r: _tiers(r.capacity_bytes_per_second),
    ),
    PlaneMetric(
        "gigawatt_plane_peak_ratio", Kind.GAUGE, "ratio", "Load over capacity of the most loaded direction of a trunk in a plane.",
        ("plane", "tier"), lambda r: _tiers(r.peak_utilization),
    ),
)  # fmt: skip

TABLE: tuple[Metric, ...] = (*HEAD, *RACK, *PLANE, *VLLM)
