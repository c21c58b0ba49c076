"""What one run is measured by: numbers by name, among them those of the summary.

A name is a path, such as ``wait_seconds.mean``, ``wait_seconds.mean.by_gpus.9-64`` or ``completion_seconds.mean.by_tenant.vision``. A
number is None where there is nothing that it could be of.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.engine.job_control import JobState
from emulator.experiments.compare.fairness import bounded_slowdown, jain_index
from emulator.report.outcome import NEVER, STATES, JobTable, Outcome
from emulator.report.summary import distribution
from emulator.workload.jobs import SECOND

Metrics = dict[str, float | None]
Mask = NDArray[np.bool_]

#: Of the summary, as they are.
FROM_SUMMARY = (
    *("gpu_allocation_ratio", "gpu_utilization_ratio", "goodput_ratio", "mfu_ratio", "fragmentation_ratio"),
    *("it_energy_joules", "facility_energy_joules", "power_watts.mean", "power_watts.peak", "fabric.mean_slowdown_ratio"),
    *(f"jobs.{key}" for key in ("submitted", "started", "finished", "running", "pending", "failed", "infeasible", "rejected")),
    *("jobs.preemptions", "jobs.restarts", "deadlines.jobs", "deadlines.met_ratio"),
)
#: Classes of jobs by size: the largest of each in GPUs, and its name.
SIZE_CLASSES = ((1, "1"), (8, "2-8"), (64, "9-64"), (512, "65-512"), (2**31, "513+"))
#: Tenants whose jobs are also measured apart: those with the most jobs.
MOST_TENANTS = 20
#: Waits at which the part of the jobs that have started is taken: 0, then eight a decade up to 11 days.
WAIT_GRID_SECONDS = (0.0, *(float(f"{10 ** (step / 8):.3g}") for step in range(49)))

_LEFT_OUT = [STATES.index(state) for state in (JobState.REJECTED, JobState.INFEASIBLE)]
_FINISHED = STATES.index(JobState.FINISHED)
_OPEN = [STATES.index(state) for state in (JobState.PENDING, JobState.RUNNING)]


def metrics(outcome: Outcome, summary: Mapping[str, Any]) -> Metrics:
    """All numbers of a run; ``summary`` is its ``report.summary``."""
    jobs = outcome.jobs
    asked = ~np.isin(jobs.state, _LEFT_OUT)
    measured = _Measured(outcome)
    found: Metrics = {name: _at(summary, name) for name in FROM_SUMMARY}
    found = measured.of(asked) | found
    found["makespan_seconds"] = _makespan_seconds(jobs, asked)
    for name, of_size in _size_classes(jobs).items():
        found |= {f"{metric}.by_gpus.{name}": value for metric, value in measured.of(asked & of_size).items()}
    slowdowns = [slowdown for part in _tenants(jobs, asked) if (slowdown := measured.mean_slowdown(asked & part)) is not None]
    several = len(slowdowns) > 1
    found["fairness.jain_index"] = jain_index(slowdowns) if several else None
    found["fairness.worst_tenant_slowdown"] = max(slowdowns) if several else None
    if several:
        for tenant in _largest_tenants(jobs, asked):
            of_tenant = measured.of(asked & (jobs.tenant == tenant))
            found |= {f"{metric}.by_tenant.{jobs.tenants[tenant]}": value for metric, value in of_tenant.items()}
    return found


def started_ratios(jobs: JobTable) -> list[float]:
    """By ``WAIT_GRID_SECONDS``: the part of the jobs that started within so much of their submission. Those that wait at the end count."""
    asked = ~np.isin(jobs.state, _LEFT_OUT)
    waits = np.sort((jobs.start_ns - jobs.submit_ns)[asked & (jobs.start_ns != NEVER)] / SECOND)
    within = np.searchsorted(waits, np.array(WAIT_GRID_SECONDS), side="right")
    return [float(count) / max(1, int(asked.sum())) for count in within]


class _Measured:
    """Waits, completions and slowdowns of the jobs of a run, to take means of; shape (jobs,) each, in seconds."""

    def __init__(self, outcome: Outcome) -> None:
        jobs = outcome.jobs
        self.started = jobs.start_ns != NEVER
        self.finished = jobs.state == _FINISHED
        self.pending = jobs.state == STATES.index(JobState.PENDING)
        left_ns = np.where(jobs.end_ns != NEVER, jobs.end_ns, outcome.emulated_ns)
        self.wait_so_far = (np.where(self.started, jobs.start_ns, left_ns) - jobs.submit_ns) / SECOND
        self.completion = (jobs.end_ns - jobs.submit_ns) / SECOND
        lasted = 1.0 - np.divide(jobs.lost_gpu_seconds, jobs.gpu_seconds, out=np.zeros(len(jobs)), where=jobs.gpu_seconds > 0)
        self.slowdown = bounded_slowdown(self.completion, jobs.ran_ns / SECOND * lasted)
        self.gpu_seconds = jobs.gpu_seconds

    def mean_slowdown(self, part: Mask) -> float | None:
        return _mean(self.slowdown[part & self.finished])

    def of(self, part: Mask) -> Metrics:
        """Of some jobs."""
        started, finished = part & self.started, part & self.finished
        distributions = {
            "wait_seconds": self.wait_so_far[started],
            "completion_seconds": self.completion[finished],
            "bounded_slowdown": self.slowdown[finished],
        }
        return {
            "wait_so_far_seconds.mean": _mean(self.wait_so_far[part]),
            **{f"{name}.{key}": value for name, values in distributions.items() for key, value in distribution(values).items()},
            "jobs.submitted": float(part.sum()),
            "jobs.pending": float((part & self.pending).sum()),
            "gpu_seconds": math.fsum(self.gpu_seconds[part]),
        }


def _at(summary: Mapping[str, Any], path: str) -> float | None:
    value: Any = summary
    for key in path.split("."):
        value = None if value is None else value[key]
    return None if value is None else float(value)


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _makespan_seconds(jobs: JobTable, asked: Mask) -> float | None:
    """From the first submission to the last end; None while a job waits or runs."""
    if not asked.any() or np.isin(jobs.state, _OPEN).any():
        return None
    return float(jobs.end_ns[asked].max() - jobs.submit_ns[asked].min()) / SECOND


def _size_classes(jobs: JobTable) -> dict[str, Mask]:
    """Those with a job in them, by name."""
    bounds = np.array([largest for largest, _ in SIZE_CLASSES])
    size_class = np.searchsorted(bounds, jobs.gpus)
    masks = {name: size_class == place for place, (_, name) in enumerate(SIZE_CLASSES)}
    return {name: mask for name, mask in masks.items() if mask.any()}


def _tenants(jobs: JobTable, asked: Mask) -> list[Mask]:
    return [jobs.tenant == tenant for tenant in np.unique(jobs.tenant[asked]).tolist()]


def _largest_tenants(jobs: JobTable, asked: Mask) -> list[int]:
    """The numbers of those with the most jobs, by name where they have equally many."""
    tenants, counts = np.unique(jobs.tenant[asked], return_counts=True)
    order = sorted(zip((-counts).tolist(), (jobs.tenants[tenant] for tenant in tenants), tenants.tolist(), strict=True))
    return [tenant for _, _, tenant in order[:MOST_TENANTS]]
