"""A workload that grows with a cluster under construction.

The jobs are those of the finished cluster, but they arrive at a rate in proportion to the GPUs that are in service. Classes of job whose
gang is larger than the settings allow for these GPUs do not arrive yet, and more jobs of the other classes arrive in their place. So the
offered load is met from the first rack to the last. It is one process of arrivals, thinned and with its time changed (Lewis & Shedler,
1979; Cinlar, 1975): job i stays a function of the seed and i.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Growth:
    """GPUs in service: ``gpus[k]`` from ``time_ns[k]`` on, ascending, the first from 0; the last is the finished cluster."""

    time_ns: NDArray[np.int64]  # (steps,)
    gpus: NDArray[np.int64]  # (steps,)


@dataclass(frozen=True, eq=False)
class Pace:
    """What growth means for arrivals, by step of growth; times are in days of the daily profile (``day``)."""

    time_ns: NDArray[np.int64]
    largest_gang: NDArray[np.int64]
    rate: NDArray[np.float64]  # over that of the finished cluster
    day: NDArray[np.float64]
    position: NDArray[np.float64]  # what has arrived at the step, in days of the finished cluster's

    def days(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """When the arrivals at ``position`` (in days at the finished cluster's rate, from 0) come, in days."""
        step = np.searchsorted(self.position, position, side="right") - 1
        # A step without arrivals ends where it begins, so no position is in one.
        return np.asarray(self.day[step] + (position - self.position[step]) / self.rate[step])

    def comes(self, submit_ns: NDArray[np.int64], gpus: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether jobs of ``gpus`` GPUs that arrive at ``submit_ns`` are small enough for what is in service."""
        step = np.searchsorted(self.time_ns, submit_ns, side="right") - 1
        return np.asarray(gpus <= self.largest_gang[step])


def pace(
    growth: Growth, day: NDArray[np.float64], largest_gang: NDArray[np.int64], gpus: NDArray[np.int64], time_share: NDArray[np.float64]
) -> Pace:
    """The pace of jobs whose classes have ``gpus`` GPUs and ``time_share`` of the GPU time, shape (classes,) each; the shares add up to 1.

    ``day`` and ``largest_gang`` are of each step of ``growth``, shape (steps,).
    """
    by_size = np.argsort(gpus, kind="stable")
    share = np.concatenate(([0.0], np.cumsum(time_share[by_size])))[np.searchsorted(gpus[by_size], largest_gang, side="right")]
    part = growth.gpus / growth.gpus[-1]
    rate = np.divide(part, share, out=np.zeros(len(part)), where=share > 0.0)
    arrived = np.concatenate(([0.0], np.cumsum(rate[:-1] * np.diff(day))))
    return Pace(growth.time_ns, largest_gang, rate, day, arrived)
