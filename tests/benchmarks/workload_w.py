"""The gang workload W(jobs, gpus) that every scheduler is compared on, and the least that any of them must do.

Poisson arrivals at an offered load of 0.9 (or another), gangs of 1 to 64 GPUs, lognormal durations (median 600 s, sigma 1.2, clipped to
30 to 14,400 s), all from one seed; times in whole seconds. At 0.9 nothing waits from 10,240 GPUs up; at 1.1 a queue grows.
"""

import math
import random
from collections.abc import Iterator
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple

SIZES = (1, 2, 4, 8, 16, 32, 64)
WEIGHTS = (0.40, 0.15, 0.12, 0.20, 0.07, 0.04, 0.02)
MEDIAN_SECONDS, SIGMA, SHORTEST_SECONDS, LONGEST_SECONDS = 600.0, 1.2, 30, 14_400
GPUS_PER_HOST = 8


class Job(NamedTuple):
    number: int
    submit_seconds: int
    gpus: int
    duration_seconds: int


def jobs(count: int, gpus: int, *, seed: int = 42, load: float = 0.9) -> Iterator[Job]:
    """W(count, gpus), in order of submission."""
    draw = random.Random(seed)
    mean_gpus = sum(size * weight for size, weight in zip(SIZES, WEIGHTS, strict=True))
    mean_seconds = MEDIAN_SECONDS * math.exp(SIGMA * SIGMA / 2)  # of the lognormal, before it is clipped
    per_second = load * gpus / (mean_gpus * mean_seconds)
    now = 0.0
    for number in range(count):
        now += draw.expovariate(per_second)
        gang = draw.choices(SIZES, WEIGHTS)[0]
        seconds = draw.lognormvariate(math.log(MEDIAN_SECONDS), SIGMA)
        yield Job(number, int(now), gang, int(min(LONGEST_SECONDS, max(SHORTEST_SECONDS, seconds))))


def write_swf(path: Path, count: int, gpus: int, *, load: float = 0.9) -> None:
    """W in the Standard Workload Format, a processor for each GPU; the requested time is the running time."""
    lines = [f"; UnixStartTime: 0\n; MaxNodes: {gpus // GPUS_PER_HOST}\n"]
    for job in jobs(count, gpus, load=load):
        seconds, gang = job.duration_seconds, job.gpus
        lines.append(f"{job.number + 1} {job.submit_seconds} -1 {seconds} {gang} -1 -1 {gang} {seconds} -1 1 1 1 -1 1 1 -1 -1\n")
    path.write_text("".join(lines))


def heap_loop(work: list[Job], gpus: int) -> list[int]:
    """Start times under FIFO when GPUs are a plain number: no hosts, racks, fabric, power or metrics. What any scheduler costs at least."""
    free, now, starts = gpus, 0, []
    ends: list[tuple[int, int]] = []
    for job in work:
        now = max(now, job.submit_seconds)
        while ends and (ends[0][0] <= now or free < job.gpus):
            end, gang = heappop(ends)
            now, free = max(now, end), free + gang
        free -= job.gpus
        starts.append(now)
        heappush(ends, (now + job.duration_seconds, job.gpus))
    return starts
