"""How bursty arrivals are, and quantiles of lengths: what is measured of a trace, and what the generator's process should show."""

import numpy as np
from numpy.typing import NDArray

from emulator.draws.sums import add_up
from emulator.workload.requests.columns import Int64
from emulator.workload.requests.tables import CELLS, POINTS


def gap_variation(arrival_ns: Int64) -> float:
    """The coefficient of variation (standard deviation over mean) of the gaps between arrivals: 1 for a Poisson process."""
    gaps = np.diff(arrival_ns).astype(np.float64)
    mean = add_up(gaps) / len(gaps)
    return float(np.sqrt(add_up((gaps - mean) * (gaps - mean)) / len(gaps))) / mean


def counts_in(arrival_ns: Int64, window_ns: int, ahead_ns: int = 0) -> Int64:
    """Arrivals in each whole window, from so long before the first arrival to the last."""
    since = arrival_ns - arrival_ns[0] + ahead_ns
    windows = int(since[-1]) // window_ns
    return np.bincount(np.minimum(since // window_ns, windows), minlength=windows + 1)[:windows]


def dispersion(counts: Int64) -> float:
    """The index of dispersion, variance over mean (of a sample): 1 for a Poisson process."""
    mean = add_up(counts) / len(counts)
    return add_up((counts - mean) * (counts - mean)) / (len(counts) - 1) / mean


def burst_dispersion(mean: float, shape: float, windows_per_period: float) -> float:
    """The index of dispersion of counts with this mean in windows so many periods long, where a gamma factor of this shape holds for each
    period and windows lie as they will: 1 + mean / shape * f(x), the mean of the factor's triangular correlation over a window.
    """
    x = windows_per_period
    f = 1.0 - x / 3.0 if x <= 1.0 else 1.0 / x - 1.0 / (3.0 * x * x)
    return 1.0 + mean / shape * f


def length_quantiles(tokens: Int64) -> NDArray[np.float64]:
    """The quantiles at ``POINTS``, where n tokens are spread evenly over n to n + 1 (and the k of one length over k parts of that)."""
    ordered = np.sort(tokens)
    _, first, counts = np.unique(ordered, return_index=True, return_counts=True)
    place = np.arange(len(ordered)) - np.repeat(first, counts)
    spread = ordered + (place + 0.5) / np.repeat(counts, counts)
    at = np.array(POINTS) / CELLS * len(ordered) - 0.5  # value i is the quantile at (i + 1/2) / n
    low = np.clip(np.floor(at), 0, len(ordered) - 2).astype(np.int64)
    found = spread[low] + (spread[low + 1] - spread[low]) * np.clip(at - low, 0.0, 1.0)
    found[0], found[-1] = ordered[0], ordered[-1] + 1
    return found
