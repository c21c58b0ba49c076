"""How long jobs take for their size, and whether tenants are served alike."""

import math

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

#: Feitelson's bound: a job that runs for less counts as if it ran for so long.
SLOWDOWN_BOUND_SECONDS = 10.0


def bounded_slowdown(response_seconds: Float64, run_seconds: Float64) -> Float64:
    """``max(1, response / max(run, 10 s))``, shape (jobs,): how many times as long as alone a job took, short jobs bounded.

    Feitelson, Rudolph, Schwiegelshohn, Sevcik and Wong, "Theory and practice in parallel job scheduling", JSSPP 1997, section 3;
    Feitelson, "Metrics for parallel job scheduling and their convergence", JSSPP 2001, section 2.
    """
    return np.maximum(1.0, response_seconds / np.maximum(run_seconds, SLOWDOWN_BOUND_SECONDS))


def jain_index(values: list[float]) -> float | None:
    """``(sum x)^2 / (n sum x^2)``: 1 where all are equal, 1/n where one has all. None where there are none, or all are 0.

    Jain, Chiu and Hawe, "A quantitative measure of fairness and discrimination", DEC-TR-301 (1984), equation 1.
    """
    squares = math.fsum(value * value for value in values)
    return math.fsum(values) ** 2 / (len(values) * squares) if squares > 0 else None
