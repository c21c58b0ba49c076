"""Hosts that fail more often than others: lemons, and hosts that are new.

A *lemon* fails ``lemon_factor`` times as often as others. Meta's RSC found 40 such nodes among some 3,000, and without them 4 % instead of
14 % of its jobs of 512 GPUs and more failed (Kokolis et al., HPCA'25). A scenario's rate is the mean over all, so others fail less often.

A *new* host fails ``new_factor`` times as often when it comes into service, and less and less until it has been up for ``new_ns``: its
hazard falls in a straight line to that of others (infant mortality; the shape is assumed). Hosts that are there at the start are not new.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, uniform

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Hazard:
    """Raises ValueError for what is no share, factor or time."""

    lemon_ratio: float = 0.0  # of all hosts
    lemon_factor: float = 10.0
    new_factor: float = 1.0
    new_ns: int = 30 * 86_400 * 10**9

    def __post_init__(self) -> None:
        if not 0.0 <= self.lemon_ratio <= 1.0:
            raise ValueError(f"faults.lemons.ratio: {self.lemon_ratio} is outside 0 to 1")
        for name, factor in (("lemons.factor", self.lemon_factor), ("new_hosts.factor", self.new_factor)):
            if not 1.0 <= factor <= 1e4:
                raise ValueError(f"faults.{name}: {factor} is outside 1 to 10,000")
        if self.new_ns <= 0:
            raise ValueError(f"faults.new_hosts.settle: {self.new_ns} ns is not above 0")


def lemons(hazard: Hazard, seed: int, host: Int64) -> NDArray[np.bool_]:
    """Which of the hosts (cluster-wide numbers) are lemons, shape (hosts,)."""
    return uniform(seed, Stream.LEMON, host, 0) < hazard.lemon_ratio


def intervals(hazard: Hazard, seed: int, host: Int64, drawn_ns: Float64, age_ns: Int64 | None) -> Float64:
    """Up times before the next fault of each host, of ``drawn_ns``, what they would be of a host that is neither lemon nor new.

    ``age_ns``: for how long each has been up by then; None: long enough.
    """
    if hazard.lemon_ratio:
        mean = 1.0 + hazard.lemon_ratio * (hazard.lemon_factor - 1.0)
        drawn_ns = drawn_ns * np.where(lemons(hazard, seed, host), mean / hazard.lemon_factor, mean)
    if hazard.new_factor == 1.0 or age_ns is None:
        return drawn_ns
    return _new(hazard, drawn_ns, age_ns.astype(np.float64))


def _new(hazard: Hazard, drawn_ns: Float64, age_ns: Float64) -> Float64:
    """By inversion of the cumulative hazard G, as the time in which others have as much: at age a it is m a - (m - 1) a^2 / 2T, from T on
    a + (m - 1) T / 2. The interval x from a on has G(a + x) = G(a) + drawn. Square roots have the same bits everywhere.
    """
    m, until = hazard.new_factor, float(hazard.new_ns)
    extra = (m - 1.0) * until / 2.0
    early = np.minimum(age_ns, until)
    so_far = np.where(age_ns < until, early * (m - (m - 1.0) * early / (2.0 * until)), age_ns + extra)
    target = so_far + drawn_ns
    # The smaller root of (m - 1) a^2 / 2T - m a + target = 0, in the form that loses no digits.
    inside = np.sqrt(np.maximum(0.0, m * m - 2.0 * (m - 1.0) * np.minimum(target, until + extra) / until))
    reached = np.where(target < until + extra, 2.0 * target / (m + inside), target - extra)
    return np.where(age_ns >= until, drawn_ns, reached - age_ns)
