"""Times of requests as counts in bins: sums of counts are exact in any order, and a quantile is known within a bin, which is 2 % wide."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

PS_PER_SECOND, PS_PER_NS = 10**12, 1_000
#: Bins begin here; what is shorter is in the first.
SHORTEST_PS = 10**8
#: What is longer than this is in the last bin.
LONGEST_PS = 10**5 * PS_PER_SECOND
#: Of a bin's lower edge, how much further the next one is.
_STEP = 50


def _edges() -> Int64:
    edges = [SHORTEST_PS]
    while edges[-1] < LONGEST_PS:
        edges.append(edges[-1] + edges[-1] // _STEP)
    return np.array(edges, dtype=np.int64)


#: Upper edges of the bins; the last bin has none.
EDGES_PS = _edges()
BINS = len(EDGES_PS) + 1


def bin_of(times_ps: Int64) -> Int64:
    """The bin of each time."""
    found: Int64 = np.searchsorted(EDGES_PS, times_ps, side="left")
    return found


def quantile_seconds(counts: Int64, quantile: float) -> float | None:
    """The time that the part ``quantile`` of all stays within: that far into its bin, as if the bin's times were spread evenly. None of
    nothing.
    """
    total = int(counts.sum())
    if not total:
        return None
    reached = np.cumsum(counts)
    place = min(int(np.searchsorted(reached, quantile * total, side="left")), len(EDGES_PS) - 1)
    low = int(EDGES_PS[place - 1]) if place else 0
    before = int(reached[place - 1]) if place else 0
    inside = (quantile * total - before) / int(counts[place]) if counts[place] else 1.0
    return (low + (int(EDGES_PS[place]) - low) * min(1.0, max(0.0, inside))) / PS_PER_SECOND


def quantiles(counts: Int64) -> Mapping[str, float | None]:
    """The median, and the 90th and 99th percentiles, in seconds."""
    return {f"p{percent}": quantile_seconds(counts, percent / 100) for percent in (50, 90, 99)}
