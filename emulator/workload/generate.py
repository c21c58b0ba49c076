"""The jobs that users of a large AI cluster submit in a day, drawn from published mixes at a given offered load."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, uniform
from emulator.draws.exact import exp, log
from emulator.draws.normal import normal_quantile
from emulator.draws.sums import add_along, add_up, interpolate
from emulator.workload.day import arrived_by
from emulator.workload.growth import Growth, Pace, pace
from emulator.workload.jobs import LONGEST_CHECKPOINT_SECONDS, SECOND, JobColumns, JobKind, TrainingShape, job_columns
from emulator.workload.mix import QUEUES, JobClass, fitted
from emulator.workload.stratified import BLOCK, arrivals, points
from emulator.workload.training import GENERATED, MODELS, choose_parallelism, training_shape
from topology.catalog import GpuType

#: Jobs handed out at a time.
CHUNK_JOBS = 32 * BLOCK
#: Jobs per day on 100,000 GPUs, growing with the square root of the GPUs (assumed). Published: RSC-1 has 7,200 on 16,384 A100 and RSC-2
#: 4,400 on 8,000 (arXiv 2410.21680). The rule gives 12,100 and 8,500 for these, so it errs on the busy side.
JOBS_PER_DAY, JOBS_GPUS = 30_000, 100_000
#: No job is shorter (assumed) or longer (RSC: 7 days).
SHORTEST_SECONDS, LONGEST_SECONDS = 60.0, 7 * 86_400.0
#: Time limits that users pick. Estimates are modal: 90 % of the jobs use some 20 round values, and the maximum is always popular
#: (Tsafrir, "Using inaccurate estimates accurately", JSSPP'10).
ESTIMATE_HOURS = (0.25, 0.5, 1, 2, 4, 8, 12, 24, 48, 72, 96, 120, 168)
#: Probability that a user picks the least limit that suffices, the next one, the one after; the rest ask for the maximum. Assumed.
ESTIMATE_STEPS = (0.5, 0.3, 0.1)
#: Failures per host and second (RSC-1: 6.50 per 1,000 node-days) and seconds lost to a checkpoint (BLOOM: 2.3 TB in 40 s), for Young's
#: interval sqrt(2 w M), where no other is asked for.
HOST_FAILURES_PER_SECOND, CHECKPOINT_SECONDS = 6.5e-3 / 86_400, 40.0
#: Parameters per GPU around which a gang's model is picked: MLM Table 1 has 53 to 76 million up to 1,024 GPUs, Llama 3 405B 50 on 8,192.
PARAMETERS_PER_GPU = 60e6
MODELS_PER_CLASS = 3


@dataclass(frozen=True)
class GeneratorSettings:
    """What to generate. ``load`` is the GPU time that the arriving jobs need over the GPU time of the cluster, over whole days.

    ``reference_gpus`` sizes the workload (sizes, number and durations of the jobs) for a cluster of that many GPUs instead of the given
    one. ``jobs_per_day`` defaults to 30,000 on 100,000 GPUs and grows with the square root of the GPUs. The arrival rate swings by
    ``diurnal_ratio`` around its mean over ``day_seconds`` and peaks at ``peak_hour`` of 24 (Hu et al., SC'21, found such a rhythm; its size
    here is assumed). With ``carry_over`` the first batch holds the jobs of the days before that would still be running at the start if
    none of them had queued, with their remaining time. So the cluster is full from the start (assumed) and needs no hours to fill. These
    jobs are named ``carried-over-N`` and are not part of ``load``.
    ``collective`` (ring, tree, or auto: the faster at ``lane_bytes_per_second``) is how training jobs reduce their gradients.
    No gang has more than ``largest_gang_ratio`` of the GPUs (RSC: 4,096 of 16,384). Of the time for which a training job holds its GPUs
    it starts up for the first ``start_up_seconds``, in the mean, and works for the rest: published durations are of the whole.
    """

    load: float = 0.95
    reference_gpus: int | None = None
    jobs_per_day: float | None = None
    diurnal_ratio: float = 0.3
    peak_hour: float = 15.0
    day_seconds: float = 86_400.0
    carry_over: bool = True
    largest_gang_ratio: float = 0.25
    tenants: int = 24
    collective: str = "ring"
    lane_bytes_per_second: float = 50e9
    start_up_seconds: float = 0.0
    checkpoint_ns: int = 0  # of training jobs, as ``JobColumns.checkpoint_ns``; 0: Young's interval for RSC-1's faults

    def __post_init__(self) -> None:
        checks = (
            ("load", 0.0 < self.load <= 10.0, "above 0, at most 10"),
            ("reference_gpus", self.reference_gpus is None or self.reference_gpus >= 1, "at least 1"),
            ("jobs_per_day", self.jobs_per_day is None or 0.0 < self.jobs_per_day <= 1e7, "above 0, at most 1e7"),
            ("diurnal_ratio", 0.0 <= self.diurnal_ratio < 1.0, "from 0, below 1"),
            ("peak_hour", 0.0 <= self.peak_hour <= 24.0, "0 to 24"),
            ("day_seconds", 60.0 <= self.day_seconds <= 3.2e7, "60 to 3.2e7"),
            ("largest_gang_ratio", 0.0 < self.largest_gang_ratio <= 1.0, "above 0, at most 1"),
            ("tenants", 1 <= self.tenants <= 100_000, "1 to 100000"),
        )
        for name, good, allowed in checks:
            if not good:
                raise ValueError(f"{name}: {getattr(self, name)!r} (allowed: {allowed})")


@dataclass(frozen=True, eq=False)
class _Tables:
    """What is computed once, for jobs to be looked up in; arrays by class."""

    classes: tuple[JobClass, ...]
    share_end: NDArray[np.float64]  # cumulative job share, up to 1
    median_seconds: NDArray[np.float64]
    sigma: NDArray[np.float64]
    shapes: tuple[TrainingShape, ...]
    first_shape: NDArray[np.int64]
    shape_count: NDArray[np.int64]  # 0: not a training job
    checkpoint_ns: NDArray[np.int64]
    start_up_ns: int
    tenant_end: NDArray[np.float64]
    jobs_per_second: float
    pace: Pace | None  # None: everything is in service from the start


def generate(
    settings: GeneratorSettings,
    gpus: int,
    seed: int,
    until_ns: int,
    gpu: GpuType,
    gpus_per_host: int,
    domain_gpus: int | None = None,
    growth: Growth | None = None,
) -> Iterator[JobColumns]:
    """Jobs submitted before ``until_ns`` on ``gpus`` of type ``gpu``, in order of submission, ids from 0 in that order.

    ``domain_gpus`` is the scale-up domain, ``gpus_per_host`` by default. Job i is a function of (settings, cluster, seed, i) alone: neither
    ``until_ns`` nor the batches matter to it. With ``growth``, whose last number is ``gpus``, the load is that of what is in service
    (`emulator.workload.growth`), and no jobs are carried over, since hardly anything was in service before the start. Raises ValueError
    if these jobs cannot make this load, and names what to change.
    """
    tables = _tables(settings, gpus, gpu, gpus_per_host, domain_gpus or gpus_per_host, growth)
    return _batches(tables, settings, seed, until_ns)


def _batches(tables: _Tables, settings: GeneratorSettings, seed: int, until_ns: int) -> Iterator[JobColumns]:
    carried = 0
    if settings.carry_over and until_ns > 0 and tables.pace is None:
        before = _carried_over(tables, settings, seed)
        carried = len(before)
        if carried:
            yield before
    first, given = 0, carried
    while True:
        submit_ns = _submissions(tables, settings, seed, first, CHUNK_JOBS)
        row, duration = _classes_and_durations(tables, seed, first, CHUNK_JOBS)
        comes = submit_ns < until_ns
        if tables.pace is not None:
            comes &= tables.pace.comes(submit_ns, np.array([job_class.gpus for job_class in tables.classes])[row])
        chosen = np.flatnonzero(comes)
        if len(chosen):
            jobs = _columns(tables, seed, first + chosen, row[chosen], duration[chosen])
            yield replace(jobs, job_id=given + np.arange(len(chosen)), submit_ns=submit_ns[chosen])
            given += len(chosen)
        if submit_ns[-1] >= until_ns:
            return
        first += CHUNK_JOBS


def _carried_over(tables: _Tables, settings: GeneratorSettings, seed: int) -> JobColumns:
    """Jobs of the seven days before the start that would still be running at it, at once and with what is left of them."""
    chunks = math.ceil((LONGEST_SECONDS + settings.day_seconds) * tables.jobs_per_second / CHUNK_JOBS)
    found = []
    for first in range(-chunks * CHUNK_JOBS, 0, CHUNK_JOBS):
        row, duration = _classes_and_durations(tables, seed, first, CHUNK_JOBS)
        elapsed = -_submissions(tables, settings, seed, first, CHUNK_JOBS)
        left = np.flatnonzero(duration > elapsed)
        found.append((left + first, row[left], duration[left], elapsed[left]))
    numbers, row, duration, elapsed = (np.concatenate(part) for part in zip(*found, strict=True))
    jobs = _columns(tables, seed, numbers, row, duration)
    left_ns = duration - elapsed
    return replace(
        jobs,
        duration_ns=left_ns,
        estimate_ns=np.maximum(jobs.estimate_ns - elapsed, left_ns),
        names=tuple(f"carried-over-{number}" for number in range(len(jobs))),
    )


def _submissions(tables: _Tables, settings: GeneratorSettings, seed: int, first: int, count: int) -> NDArray[np.int64]:
    """Nanoseconds at which jobs ``first`` onwards arrive: Poisson positions bent to the growth and to the day's profile."""
    day = settings.day_seconds
    position = arrivals(seed, first, count) / tables.jobs_per_second / day  # in days at the mean rate
    if tables.pace is not None:
        position = tables.pace.days(position)
    clock, arrived = _profile(settings)
    whole = np.floor(position)
    arrives_ns = (whole + interpolate(position - whole, arrived, clock)) * (day * SECOND)
    return np.rint(np.clip(arrives_ns, -_NEVER_NS, _NEVER_NS)).astype(np.int64)


def _profile(settings: GeneratorSettings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The clock, 0 to 1 over a day, and how much of a day's jobs has arrived by it."""
    clock = np.arange(1441) / 1440.0
    return clock, arrived_by(clock, settings.diurnal_ratio, settings.peak_hour / 24.0)


def _pace(settings: GeneratorSettings, growth: Growth, reference: int, gpus_per_host: int, classes: tuple[JobClass, ...]) -> Pace:
    """How arrivals follow ``growth`` of a cluster whose workload is that of ``reference`` GPUs."""
    days = growth.time_ns / (settings.day_seconds * SECOND)
    whole = np.floor(days)
    clock, arrived = _profile(settings)
    part = min(reference, int(growth.gpus[-1])) / growth.gpus[-1]
    largest = np.maximum(np.minimum(gpus_per_host, growth.gpus), (settings.largest_gang_ratio * part * growth.gpus).astype(np.int64))
    gpus = np.array([row.gpus for row in classes])
    time_share = np.array([row.time_share for row in classes]) / 100.0
    return pace(growth, whole + interpolate(days - whole, clock, arrived), largest, gpus, time_share)


def _classes_and_durations(tables: _Tables, seed: int, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Class and duration in ns of jobs ``first`` onwards."""
    size, luck = points(seed, first, count)
    row = np.searchsorted(tables.share_end, size, side="right")
    seconds = tables.median_seconds[row] * exp(tables.sigma[row] * _normal_quantile(luck))
    return row, np.rint(np.clip(seconds, SHORTEST_SECONDS, LONGEST_SECONDS) * SECOND).astype(np.int64)


def _columns(tables: _Tables, seed: int, numbers: NDArray[np.int64], row: NDArray[np.int64], duration_ns: NDArray[np.int64]) -> JobColumns:
    """The columns of jobs ``numbers``, submitted at 0 and with ids from 0."""

    def of_class(name: str) -> NDArray[np.float64]:
        return np.array([getattr(job_class, name) for job_class in tables.classes])[row]

    training = tables.shape_count[row] > 0
    pick = np.floor(uniform(seed, Stream.JOB_KIND, numbers, 0) * tables.shape_count[row]).astype(np.int64)
    service = of_class("kind") == JobKind.SERVICE
    limits = np.array(ESTIMATE_HOURS) * (3600 * SECOND)
    steps = np.searchsorted(np.cumsum(ESTIMATE_STEPS), uniform(seed, Stream.JOB_DURATION, numbers, 0), side="right")
    limit = np.searchsorted(limits, duration_ns) + np.where(steps < len(ESTIMATE_STEPS), steps, len(limits))
    estimate_ns = limits[np.minimum(limit, len(limits) - 1)].astype(np.int64)
    work_ns = np.maximum(duration_ns - tables.start_up_ns, np.minimum(duration_ns, round(SHORTEST_SECONDS * SECOND)))
    return job_columns(
        len(numbers),
        submit_ns=0,
        gpus=of_class("gpus"),
        duration_ns=np.where(training, work_ns, duration_ns),
        estimate_ns=np.where(service, duration_ns, estimate_ns),
        kind=np.where(training, JobKind.TRAINING, np.where(service, JobKind.SERVICE, JobKind.GANG)),
        priority=of_class("priority"),
        queue=of_class("queue"),
        tenant=np.searchsorted(tables.tenant_end, uniform(seed, Stream.JOB_TENANT, numbers, 0), side="right"),
        utilization=of_class("utilization"),
        checkpoint_ns=tables.checkpoint_ns[row],
        preemptible=~service,
        shape=np.where(training, tables.first_shape[row] + pick, -1),
        shapes=tables.shapes,
        queues=QUEUES,
        tenants=tuple(f"team-{number:02d}" for number in range(len(tables.tenant_end))),
    )


def _tables(settings: GeneratorSettings, gpus: int, gpu: GpuType, gpus_per_host: int, domain_gpus: int, growth: Growth | None) -> _Tables:
    reference = settings.reference_gpus or gpus
    per_day = settings.jobs_per_day or JOBS_PER_DAY * math.sqrt(reference / JOBS_GPUS)
    jobs_per_second = per_day / 86_400.0
    largest = max(min(gpus_per_host, gpus), int(settings.largest_gang_ratio * min(reference, gpus)))
    classes = fitted(min(largest, gpus), gpus_per_host)
    share = np.array([row.job_share for row in classes]) / 100.0
    share_end = np.cumsum(share)
    share_end[-1] = 1.0
    sigma = np.array([row.sigma for row in classes])
    gpu_seconds = settings.load * reference * np.array([row.time_share for row in classes]) / 100.0  # per second
    mean_seconds = gpu_seconds / (jobs_per_second * share * np.array([row.gpus for row in classes]))
    shapes: list[TrainingShape] = []
    first_shape, shape_count, checkpoint_ns = [], [], []
    for row in classes:
        own = _shapes(row.gpus, gpu, domain_gpus, settings) if row.kind == JobKind.TRAINING else ()
        first_shape.append(len(shapes))
        shape_count.append(len(own))
        shapes.extend(own)
        every_ns = settings.checkpoint_ns or round(_checkpoint_seconds(row.gpus / gpus_per_host) * SECOND)
        checkpoint_ns.append(every_ns if row.kind == JobKind.TRAINING else 0)
    weight = 1.0 / np.arange(1, settings.tenants + 1)  # Zipf: a few tenants submit most (assumed)
    tenant_end = np.cumsum(weight / add_up(weight))
    tenant_end[-1] = 1.0
    return _Tables(
        classes,
        share_end,
        _medians(mean_seconds, sigma, classes),
        sigma,
        tuple(shapes),
        np.array(first_shape),
        np.array(shape_count),
        np.array(checkpoint_ns, dtype=np.int64),
        round(settings.start_up_seconds * SECOND),
        tenant_end,
        jobs_per_second,
        None if growth is None else _pace(settings, growth, reference, gpus_per_host, classes),
    )


def _shapes(gang: int, gpu: GpuType, domain_gpus: int, settings: GeneratorSettings) -> tuple[TrainingShape, ...]:
    """The models of the catalog that suit a gang of this size, as shapes; none if no model fits."""
    found = []
    for model in (MODELS[name] for name in GENERATED):
        plan = choose_parallelism(model, gang, gpu, domain_gpus=domain_gpus)
        if plan is not None and plan.data > 1:
            ratio = model.parameters / (gang * PARAMETERS_PER_GPU)
            found.append((max(ratio, 1.0 / ratio), model.name, plan))
    chosen, lane = settings.collective, settings.lane_bytes_per_second
    return tuple(
        training_shape(MODELS[name], plan, gpu, domain_gpus=domain_gpus, collective=chosen, bytes_per_second=lane)
        for _, name, plan in sorted(found)[:MODELS_PER_CLASS]
    )


def _checkpoint_seconds(hosts: float) -> float:
    """Young's interval (CACM 1974) for a gang on this number of hosts."""
    return min(LONGEST_CHECKPOINT_SECONDS, math.sqrt(2.0 * CHECKPOINT_SECONDS / (hosts * HOST_FAILURES_PER_SECOND)))


def _medians(mean_seconds: NDArray[np.float64], sigma: NDArray[np.float64], classes: tuple[JobClass, ...]) -> NDArray[np.float64]:
    """Medians of the lognormals that, cut to the shortest and longest duration, have these means; by bisection on the quantiles."""
    wrong = np.flatnonzero((mean_seconds < SHORTEST_SECONDS) | (mean_seconds > 0.9 * LONGEST_SECONDS))
    if len(wrong):
        worst = int(wrong[0])
        raise ValueError(
            f"jobs of {classes[worst].gpus} GPUs would have to run {mean_seconds[worst]:.3g} s on average for this load "
            f"(allowed: {SHORTEST_SECONDS:g} to {0.9 * LONGEST_SECONDS:g}); change load, jobs_per_day or reference_gpus"
        )
    spread = exp(sigma[:, None] * _normal_quantile((np.arange(4096) + 0.5) / 4096))
    low, high = log(mean_seconds) - 20.0, np.full(len(sigma), log(LONGEST_SECONDS) + 20.0)
    for _ in range(60):
        middle = (low + high) / 2
        seconds = np.clip(exp(middle)[:, None] * spread, SHORTEST_SECONDS, LONGEST_SECONDS)
        above = add_along(seconds, axis=1) / seconds.shape[1] > mean_seconds
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return exp((low + high) / 2)


#: What is beyond has no int64 of its own, and which one it becomes depends on the processor.
_NEVER_NS = 2.0**62

_LOGITS = np.arange(-2400, 2401) / 100.0
_NORMALS = np.where(_LOGITS < 0.0, normal_quantile(1.0 / (1.0 + exp(-_LOGITS))), 0.0)
_NORMALS -= _NORMALS[::-1]


def _normal_quantile(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard normal's quantile, interpolated on the logit (error below 1e-5)."""
    return interpolate(log(probability / (1.0 - probability)), _LOGITS, _NORMALS)
