"""A workload that follows what is in service while a cluster is being built.

The jobs are those of the finished cluster, but they arrive at a pace in proportion to the GPUs that are in service, and those for which
these would be too few do not come: at each instant only the classes of job whose gang is within the ratio that the settings allow, at
a pace that makes up in number for the classes that are missing. So the offered load is met from the first rack to the last. It is one
process of arrivals, thinned and with its time changed (Lewis & Shedler, 1979; Cinlar, 1975): job i stays a function of the seed and i.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Growth:
    """GPUs in service: ``gpus[k]`` from ``time_ns[k]`` on, ascending, the first from 0; the last is all that there will be."""

    time_ns: NDArray[np.int64]  # (steps,)
    gpus: NDArray[np.int64]  # (steps,)


@dataclass(frozen=True, eq=False)
class Pace:
    """Growth as the arrivals see it, by step of it; times are in days of the daily profile (``day``)."""

    time_ns: NDArray[np.int64]
    largest_gang: NDArray[np.int64]
    rate: NDArray[np.float64]  # over that of the finished cluster
    day: NDArray[np.float64]
    position: NDArray[np.float64]  # what has arrived at the step, in days of the finished cluster's

    def days(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """When what stands at ``position`` (in days at the finished cluster's pace, from 0) arrives."""
        step = np.searchsorted(self.position, position, side="right") - 1
        # A step without arrivals ends where it begins, so no position is in one.
        return np.asarray(self.day[step] + (position - self.position[step]) / self.rate[step])

    def comes(self, submit_ns: NDArray[np.int64], gpus: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether jobs that arrive then, of so many GPUs, are not too large for what is in service."""
        step = np.searchsorted(self.time_ns, submit_ns, side="right") - 1
        return np.asarray(gpus <= self.largest_gang[step])


def pace(
    growth: Growth, day: NDArray[np.float64], largest_gang: NDArray[np.int64], gpus: NDArray[np.int64], time_share: NDArray[np.float64]
) -> Pace:
    """The pace of jobs of classes with so many GPUs and this share of the GPU time, shape (classes,) each, the shares' sum being 1.

    ``day`` and ``largest_gang`` are of each step of ``growth``, shape (steps,).
    """
    by_size = np.argsort(gpus, kind="stable")
    share = np.concatenate(([0.0], np.cumsum(time_share[by_size])))[np.searchsorted(gpus[by_size], largest_gang, side="right")]
    part = growth.gpus / growth.gpus[-1]
    rate = np.divide(part, share, out=np.zeros(len(part)), where=share > 0.0)
    arrived = np.concatenate(([0.0], np.cumsum(rate[:-1] * np.diff(day))))
    return Pace(growth.time_ns, largest_gang, rate, day, arrived)
