"""summary.json: the run in some sixty numbers, under names that scripts depend on.

``links`` are the physical cables of every tier; ``trunks`` counts the cables between the same two nodes as one, where a node may be a bank
of equal switches: the rows of `gigawatt link list` and of ``links.parquet``.

Formulas (G GPUs, T emulated seconds, sums over all jobs; a ratio without a denominator is null):

- ``wait_seconds``: first start - submission, over the jobs that started. ``completion_seconds``: end - submission, over the jobs that
  finished. Percentiles interpolate linearly between the two nearest ranks.
- ``deadlines``: of the ``jobs`` with a deadline, ``met`` finished by then; ``missed`` ended later or otherwise, or had not ended when it
  passed; the others' is still to come. ``met_ratio`` = met / (met + missed). ``tardiness_seconds``: max(0, end - deadline), over those
  that finished. null where no job has a deadline.
- ``gpu_allocation_ratio`` = sum(gpu_seconds) / C: GPU time held by jobs, over that of the GPUs in service (broken ones included), C;
  C is G T where every rack is there from the start.
- ``gpu_utilization_ratio`` = integral of SM activity over held GPUs / C: what a DCGM dashboard averages to.
- ``goodput_ratio`` = 1 - sum(lost_gpu_seconds) / sum(gpu_seconds): the ETTR of Kokolis et al. (HPCA'25, arXiv 2410.21680) over all jobs,
  queueing left out.
- ``mfu_ratio`` = model FLOPs done / sum(GPU seconds of training jobs x their GPUs' dense peak of the precision that the job trains in);
  MFU as in Chowdhery et al. (PaLM, 2022).
- ``fragmentation_ratio`` = integral of free GPUs on hosts that also hold a job / integral of free GPUs (both healthy, not cordoned): the
  share of the free capacity that no job of whole hosts can use.
- ``gpu_seconds``: C by what the GPUs did, as ``engine.gpu_time`` defines it; the parts add up to C.
- ``power_watts``: IT power, of hosts and switches; the mean is ``it_energy_joules`` / T. Of ``it_energy_joules`` the switches used
  ``switch_energy_joules``.
- ``power``: caps, sites, requests to draw less and swings, as ``report.power`` defines them.
- ``fabric.by_tier``: links.parquet by tier. Each link counts by its busier direction, over its nominal capacity: the mean of all links, by
  capacity and time in service; the link with the highest mean; and the fullest link at any instant. Tier host_leaf are the NICs: their
  peak is the fullest NIC's at a publication, which is ``fabric.efficiency`` wherever a job sends at full rate. A job's flow counts at the
  rate that it gets while it communicates, also while its GPUs compute: loads are upper bounds.
- ``fabric.peak_link_utilization_ratio``: the fullest link between two switches at any instant (the highest peak of the tiers above
  host_leaf); of the NICs where all hosts are on one switch.
- ``outside_policy``: of a policy that is a program of its own, the cycles for which it was asked, its actions that were refused by the rule
  that they broke, and ``fallback``: which policy decides since when, and why, where the program is gone. null for other policies.
- ``sites``: where jobs are dispatched to sites; null elsewhere. A site's demand is the GPUs that jobs hold or wait for there, over its own,
  as a mean over time; a job of the global queue is demand of all sites that it could go to, by their GPUs. ``high``: of jobs of the
  priority ``scheduler.sites.high_priority`` or above. ``overload_ratio`` is the highest of these: the figure that MAST gives of its most
  overloaded region (Choudhury et al., OSDI'24). ``queued_mean_ratio``: GPUs that jobs of the global queue wait for, over the cluster's.
- ``inference``: what became of the requests of services, as ``report.serving`` defines it; null where nothing serves.
- ``interrupted``: a signal (Ctrl-C, SIGTERM, SIGHUP), an error, or whoever ran it has ended it before its time.
- ``sources``: of a trace, ``read`` rows are ``kept`` or ``dropped`` by reason; ``zero_seconds`` is emulated time 0 on the trace's own clock
  (Unix seconds where that is the calendar); ``notes`` are sentences for people.
- ``fabric.mean_slowdown_ratio``: mean of ``network_slowdown_ratio`` over the training jobs that started.
"""

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.engine.job_control import JobState
from emulator.engine.queue_control import SitesView
from emulator.report.links import TierLoad
from emulator.report.outcome import NEVER, STATES, Outcome
from emulator.scheduler import deadlines
from emulator.scheduler.deadlines import NO_DEADLINE
from emulator.scheduler.policy import OutsideAccount
from emulator.workload.jobs import SECOND, JobKind
from topology.cluster import TIERS

#: Of ``wait_seconds`` and ``completion_seconds``.
PERCENTILES = (50, 90, 99)
#: The tier of the links between hosts and leaves.
NICS = TIERS[0]


def summary(outcome: Outcome) -> dict[str, Any]:
    """The summary as plain Python values, ready for JSON: no NaN and no infinity, null instead."""
    jobs = outcome.jobs
    started = jobs.start_ns != NEVER
    finished = jobs.state == STATES.index(JobState.FINISHED)
    training = jobs.kind == JobKind.TRAINING
    by_state = {str(name): int((jobs.state == code).sum()) for code, name in enumerate(STATES)}
    emulated_seconds = outcome.emulated_ns / SECOND
    gpu_seconds = float(jobs.gpu_seconds.sum())
    capacity_gpu_seconds = outcome.capacity_gpu_seconds
    trained = training & started
    values: dict[str, Any] = {
        "scenario": outcome.scenario,
        "seed": outcome.seed,
        "policy": outcome.policy,
        "digest": outcome.digest,
        "actors": outcome.actors,
        "outside_policy": None if outcome.outside is None else _outside(outcome.outside),
        "sites": None if outcome.sites is None else _sites(outcome.sites),
        "gpus": outcome.gpus,
        "hosts": outcome.hosts,
        "racks": outcome.racks,
        "links": outcome.links,
        "trunks": outcome.trunks,
        "emulated_seconds": emulated_seconds,
        "wall_seconds": outcome.wall_seconds,
        "cpu_seconds": outcome.cpu_seconds,
        "peak_rss_bytes": outcome.peak_rss_bytes,
        "events": outcome.events,
        "jobs": {
            "submitted": len(jobs),
            **{name: by_state[name] for name in ("rejected", "infeasible", "pending", "running", "finished", "failed", "cancelled")},
            "started": int(started.sum()),
            "preemptions": int(jobs.preemptions.sum()),
            "restarts": int(jobs.restarts.sum()),
            "resizes": outcome.resizes,
        },
        "wait_seconds": distribution((jobs.start_ns - jobs.submit_ns)[started] / SECOND),
        "completion_seconds": distribution((jobs.end_ns - jobs.submit_ns)[finished] / SECOND),
        "deadlines": _deadlines(outcome),
        "gpu_allocation_ratio": _ratio(gpu_seconds, capacity_gpu_seconds),
        "gpu_utilization_ratio": _ratio(outcome.active_gpu_seconds, capacity_gpu_seconds),
        "goodput_ratio": _ratio(gpu_seconds - float(jobs.lost_gpu_seconds.sum()), gpu_seconds),
        "mfu_ratio": _ratio(outcome.model_flops, outcome.training_peak_flops),
        "fragmentation_ratio": _ratio(outcome.fragmented_gpu_seconds, outcome.idle_gpu_seconds),
        "power_watts": {"mean": _ratio(outcome.it_energy_joules, emulated_seconds), "peak": outcome.peak_power_watts},
        "it_energy_joules": outcome.it_energy_joules,
        "switch_energy_joules": outcome.switch_energy_joules,
        "facility_energy_joules": outcome.facility_energy_joules,
        "water_litres": outcome.water_litres,
        "power": outcome.power,
        "fabric": {
            "peak_link_utilization_ratio": _peak_link(outcome),
            "by_tier": {tier: _tier(load) for tier, load in outcome.tiers.items()},
            "mean_slowdown_ratio": float(jobs.network_slowdown_ratio[trained].mean()) if trained.any() else None,
        },
        "gpu_seconds": dict(outcome.gpu_seconds),
        "inference": None if outcome.inference is None else dict(outcome.inference),
        "interrupted": outcome.interrupted,
        "sources": [dict(source) for source in outcome.sources],
    }
    ready: dict[str, Any] = plain(values)
    return ready


def to_json(values: dict[str, Any]) -> str:
    """Indented JSON with a final newline. Raises ValueError on NaN or infinity: they are not JSON."""
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def _outside(account: OutsideAccount) -> dict[str, Any]:
    gone = {"policy": account.fallback, "from_seconds": account.fallback_ns / SECOND, "reason": account.why}
    return {"cycles": account.cycles, "refused": dict(sorted(account.refused.items())), "fallback": gone if account.fallback else None}


def _sites(view: SitesView) -> dict[str, Any]:
    by_site = {
        site.name: {
            "gpus": site.gpus,
            "pending_jobs": site.pending_jobs,
            "dispatched_jobs": site.dispatched_jobs,
            "moved_jobs": site.moved_jobs,
            "received_bytes": site.received_bytes,
            "demand_ratio": site.mean_demand_ratio,
            "high_demand_ratio": site.mean_high_demand_ratio,
        }
        for site in view.sites
    }
    return {
        "overload_ratio": view.overload_ratio,
        "queued_jobs": view.queued_jobs,
        "queued_mean_ratio": view.mean_queued_ratio,
        "by_site": by_site,
    }


def _deadlines(outcome: Outcome) -> dict[str, Any] | None:
    """Of the jobs with a deadline, how many met it; None where there is no such job."""
    jobs = outcome.jobs
    due = jobs.deadline_ns != NO_DEADLINE
    if not due.any():
        return None
    finished = jobs.state == STATES.index(JobState.FINISHED)
    ended = ~np.isin(jobs.state, [STATES.index(state) for state in (JobState.PENDING, JobState.RUNNING)])
    kept = deadlines.kept(jobs.deadline_ns, jobs.end_ns, finished=finished, ended=ended, now_ns=outcome.emulated_ns)
    late_ns = np.maximum(0, deadlines.lateness_ns(jobs.deadline_ns, jobs.end_ns)[due & finished])
    met, missed = int(kept.met.sum()), int(kept.missed.sum())
    return {
        "jobs": int(due.sum()),
        "met": met,
        "missed": missed,
        "met_ratio": _ratio(met, met + missed),
        "tardiness_seconds": distribution(late_ns / SECOND),
    }


def _tier(load: TierLoad) -> dict[str, Any]:
    return {
        "mean_utilization_ratio": load.mean_ratio,
        "busiest_trunk": load.busiest_trunk,
        "busiest_mean_utilization_ratio": load.busiest_mean_ratio,
        "peak_utilization_ratio": load.peak_ratio,
    }


def _peak_link(outcome: Outcome) -> float | None:
    """Of the links between switches; of the NICs where there are none."""
    peaks = {tier: load.peak_ratio for tier, load in outcome.tiers.items()}
    between = [peak for tier, peak in peaks.items() if tier != NICS]
    return max(between or peaks.values(), default=None)


def distribution(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Mean and percentiles, each None where there are no values."""
    if not len(values):
        return {"mean": None, **{f"p{percentile}": None for percentile in PERCENTILES}}
    points = np.percentile(values, PERCENTILES)
    return {"mean": float(values.mean()), **{f"p{p}": float(point) for p, point in zip(PERCENTILES, points, strict=True)}}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def plain(value: Any) -> Any:
    """``value`` with numpy scalars as Python's and what JSON cannot hold as None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
