"""The kinds of job that a large AI cluster runs: how many there are of each size, and how much of its GPU time they take.

The shares below meet these figures, which a test checks; how the rest is divided is assumed.

- RSC (Kokolis et al., HPCA'25, arXiv 2410.21680; 16,384 A100, 7,200 jobs a day): jobs of 4,096 GPUs are under 1 % of the jobs and take
  12 % of the GPU time; none runs longer than 7 days. Assumed, as in that paper but not checked against its text: over 40 % of the jobs
  have one GPU; over 90 % have at most 8 and take about 10 % of the GPU time; jobs of 256 and more take 66 %.
- HPN (Qian et al., SIGCOMM'24): 96.3 % of the LLM training jobs have fewer than 1,024 GPUs.
- Philly (ATC'19) and Helios (Hu et al., SC'21) found heavy-tailed durations; the lognormal and its spread, wider for smaller jobs,
  are assumed.
"""

from dataclasses import dataclass
from math import fsum

from emulator.workload.jobs import JobKind

QUEUES = ("development", "evaluation", "training", "serving")


@dataclass(frozen=True)
class JobClass:
    """Jobs of one kind. Durations are lognormal with ``sigma``, or fixed where it is 0; ``utilization`` is SM activity (assumed)."""

    queue: int
    kind: JobKind
    gpus: int
    job_share: float  # of all jobs, %
    time_share: float  # of the GPU time, %
    sigma: float
    priority: int
    utilization: float


def _development(gpus: int, job_share: float, time_share: float) -> JobClass:
    return JobClass(0, JobKind.GANG, gpus, job_share, time_share, sigma=1.6, priority=0, utilization=0.4)


def _evaluation(gpus: int, job_share: float, time_share: float) -> JobClass:
    return JobClass(1, JobKind.GANG, gpus, job_share, time_share, sigma=1.3, priority=0, utilization=0.6)


def _training(gpus: int, job_share: float, time_share: float) -> JobClass:
    sigma = 0.8 if gpus < 1024 else 0.6 if gpus < 4096 else 0.35
    priority = 1 if gpus < 1024 else 2
    return JobClass(2, JobKind.TRAINING, gpus, job_share, time_share, sigma, priority, utilization=0.95)


def _serving(gpus: int, job_share: float, time_share: float) -> JobClass:
    return JobClass(3, JobKind.SERVICE, gpus, job_share, time_share, sigma=0.0, priority=3, utilization=0.5)


CLASSES: tuple[JobClass, ...] = (
    _development(1, 28.0, 0.9),
    _development(8, 8.0, 1.2),
    _evaluation(1, 11.0, 0.3),
    _evaluation(2, 6.0, 0.4),
    _evaluation(4, 6.0, 0.7),
    _evaluation(8, 25.0, 2.9),
    _serving(1, 1.5, 0.2),
    _serving(2, 0.5, 0.2),
    _serving(8, 5.0, 3.2),
    _training(16, 2.815, 3.0),
    _training(32, 2.0, 4.0),
    _training(64, 1.5, 6.0),
    _training(128, 1.1, 11.0),
    _training(256, 0.8, 16.0),
    _training(512, 0.45, 14.0),
    _training(1024, 0.22, 12.0),
    _training(2048, 0.07, 8.0),
    _training(4096, 0.035, 12.0),
    _training(8192, 0.01, 4.0),
)


def fitted(largest_gang: int, gpus_per_host: int) -> tuple[JobClass, ...]:
    """The classes of at most ``largest_gang`` GPUs, in whole hosts above one host, with shares scaled to add up to 100 again.

    Job shares and GPU-time shares of the classes left keep their proportions. Raises ValueError where no class is left.
    """
    kept = []
    for row in CLASSES:
        gpus = row.gpus if row.gpus <= gpus_per_host else -(-row.gpus // gpus_per_host) * gpus_per_host
        if gpus <= largest_gang:
            kept.append((row, gpus))
    if not kept:
        raise ValueError(f"no job fits: the largest gang may have {largest_gang} GPUs; allowed: at least 1")
    jobs = fsum(row.job_share for row, _ in kept)
    time = fsum(row.time_share for row, _ in kept)
    return tuple(
        JobClass(
            row.queue, row.kind, gpus, 100 * row.job_share / jobs, 100 * row.time_share / time, row.sigma, row.priority, row.utilization
        )
        for row, gpus in kept
    )
