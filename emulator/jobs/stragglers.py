"""What keeps a synchronous step from being as fast as its mean host: slow hosts, stalls, and episodes in which a job fails slow.

Sources: MLP the step times in the result logs of MLPerf Training v4.1 and v5.0, which are narrow with a heavy tail: on H100 0.4 % around
the median, and 2 % of steps with a stall, lognormal with a median of 2 s and a log-sd of 1.3, of at most 30 s; GRH "GREYHOUND: Hunting
Fail-Slows in Hybrid-Parallel Training at Scale" (USENIX ATC'25): computation slowed down less than 2 % of jobs, for some 10 min, and
communication 40 %, for some 24 min; of jobs with 512 GPUs and more 16 of 27, for 72 min in the mean, which then took 1.34 times as long.

The published steps to which ``workload.training`` was fitted have all of this in them, so to add it counts it twice: it is off by default.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, exponential, normal, uniform
from emulator.draws.exact import exp
from emulator.draws.normal import normal_quantile
from emulator.draws.sums import add_up
from emulator.workload.jobs import SECOND

#: Jobs of so many GPUs have the last row of the episodes instead of the others (GRH).
LARGE_GPUS = 512
#: A step takes so many times as long while a job fails slow: GRH's large jobs as a whole; that each step does, and of all jobs, is assumed.
FAIL_SLOW_FACTOR = 1.34
#: (part of the jobs, mean seconds) of slow computation and of slow communication; and of both, of large jobs.
COMPUTATION, COMMUNICATION, LARGE = (0.02, 600.0), (0.40, 1_440.0), (16 / 27, 4_320.0)


#: What is drawn for a job: for each of two episodes whether it has it, and for each when it begins, both uniform; and for each how long it
#: lasts, exponential with mean 1.
Luck = Sequence[float]


def drawn_luck(seed: int, job_ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """``Luck`` of each of these jobs, shape (jobs, 6)."""
    job_ids = job_ids[:, None]
    uniforms = uniform(seed, Stream.FAIL_SLOW, job_ids, np.arange(4))
    return np.concatenate((uniforms, exponential(seed, Stream.FAIL_SLOW, job_ids, np.arange(4, 6))), axis=1)


class Episode(NamedTuple):
    """A job fails slow from ``begin_ns`` after its first start on, up to ``end_ns``."""

    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class Stragglers:
    """``host_spread``: the standard deviation of hosts' compute times over their mean; ``stall_ratio``: the part of steps that stall."""

    host_spread: float = 0.0
    stall_ratio: float = 0.0
    stall_median_seconds: float = 2.0
    stall_log_sd: float = 1.3
    longest_stall_seconds: float = 30.0
    fail_slow: bool = False

    @cached_property
    def stall_seconds(self) -> float:
        """Of a step in the mean: the mean of the cut lognormal over 4,096 of its quantiles, times the part of steps that have one."""
        quantiles = normal_quantile((np.arange(4096) + 0.5) / 4096)
        seconds = np.minimum(self.longest_stall_seconds, self.stall_median_seconds * exp(self.stall_log_sd * quantiles))
        return self.stall_ratio * float(add_up(seconds)) / 4096

    def slowness(self, seed: int, hosts: int) -> list[float]:
        """Of each host, by number: the part of its compute time that it takes longer than the mean one, for all jobs and for good. A host
        that is faster has 0, since a job is no faster for it.
        """
        if not self.host_spread:
            return [0.0] * hosts
        drawn: list[float] = np.maximum(0.0, self.host_spread * normal(seed, Stream.HOST_SPEED, np.arange(hosts), 0)).tolist()
        return drawn

    def late_seconds(self, slowest: float, compute_seconds: float) -> float:
        """What a step takes longer in the mean than on hosts like the mean one: it waits for the slowest of the job's hosts."""
        return slowest * compute_seconds + self.stall_seconds

    def episodes(self, luck: Luck, gpus: int, duration_ns: int) -> list[Episode]:
        """When a job with this luck fails slow: for an exponential time from a moment on that is uniform over its ``duration_ns``."""
        if not self.fail_slow:
            return []
        found, kinds = [], (LARGE,) if gpus >= LARGE_GPUS else (COMPUTATION, COMMUNICATION)
        for (part, mean_seconds), has, begins, lasts in zip(kinds, luck[0:2], luck[2:4], luck[4:6], strict=False):
            if has < part:
                begin_ns = round(begins * duration_ns)
                found.append(Episode(begin_ns, begin_ns + max(1, round(lasts * mean_seconds * SECOND))))
        return found
