"""The rhythm of a day: a rate that swings around its mean as a cosine of the clock."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.draws.exact import sine_of_turns


def arrived_by(clock: ArrayLike, ratio: float, peak: float) -> NDArray[np.float64]:
    """How much of what comes in a day has come by ``clock``, in days from 0: the integral of 1 + ratio cos(2 pi (t - peak)) from 0."""
    clock = np.asarray(clock, np.float64)
    return np.asarray(clock + ratio / math.tau * (sine_of_turns(clock - peak) + sine_of_turns(peak)))
