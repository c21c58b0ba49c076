"""Means with confidence intervals by Student's t distribution, of values and of paired differences.

Student, "The probable error of a mean", Biometrika 6 (1908); paired differences as in Law, *Simulation Modeling and Analysis*, section
10.2.1 (common random numbers). The values of replicates count as independent and roughly normal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

#: Of all intervals that are given.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean of ``replicates`` values, and the interval around it; ``low`` and ``high`` are None for one value, all are for none."""

    mean: float | None
    low: float | None
    high: float | None
    replicates: int

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def estimate(values: Sequence[float | None], confidence: float = CONFIDENCE) -> Estimate:
    """Mean and interval of the values that there are: mean +- t * s / sqrt(n), with s the sample's standard deviation."""
    known = [value for value in values if value is not None]
    count = len(known)
    if not count:
        return Estimate(None, None, None, 0)
    mean = math.fsum(known) / count
    if count == 1:
        return Estimate(mean, None, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in known) / (count - 1)
    half = t_quantile(confidence, count - 1) * math.sqrt(variance / count)
    return Estimate(mean, mean - half, mean + half, count)


def paired_difference(values: Sequence[float | None], baseline: Sequence[float | None], confidence: float = CONFIDENCE) -> Estimate:
    """Mean and interval of ``values - baseline``, replicate by replicate; a replicate that lacks one of the two is left out."""
    pairs = zip(values, baseline, strict=True)
    return estimate([value - base for value, base in pairs if value is not None and base is not None], confidence)


@cache
def t_quantile(confidence: float, freedom: int) -> float:
    """The t with P(|T| <= t) = ``confidence`` at ``freedom`` degrees of freedom, 1 or more, by bisection."""
    low, high = 0.0, 1.0
    while t_probability(high, freedom) < confidence:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        if t_probability(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return high


def t_probability(t: float, freedom: int) -> float:
    """P(|T| <= t): the finite series of Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    terms = [term] if freedom > 1 else []
    for step in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (step - 1) / step
        terms.append(term)
    series = sine * math.fsum(terms)
    return 2 / math.pi * (angle + series) if odd else series
