"""Which channels could be full: those whose flows, each at its cap, would send more than the capacity."""

import numpy as np
from numpy.typing import NDArray

from topology.cluster import Float64, Int64

#: Relative slack of "does it fit", so that a link exactly as fast as its endpoints is never called contended because of rounding. A link
#: may be loaded beyond its capacity by this much at most.
SLACK = 1e-9


def whole(load: Float64) -> Int64:
    """Loads are whole bytes per second: sums of integers do not depend on their order, so they can be kept up to date."""
    return np.rint(load).astype(np.int64)


class Demand:
    """What the flows on each directed channel ask for, and what there is (payload bytes per second).

    Kept by the planes, for what they solve, and by the head, which need not ask a plane about a flow that meets no contended channel: it
    runs at its cap, whatever else runs.
    """

    def __init__(self, bytes_per_second: Float64, efficiency: float) -> None:
        self._speed, self._efficiency = bytes_per_second, efficiency
        self.scale = np.ones(len(bytes_per_second))  # by channel
        self.capacity = np.repeat(bytes_per_second * efficiency, 2)
        self._limit = np.floor(self.capacity * (1.0 + SLACK)).astype(np.int64)
        self.bytes_per_second = np.zeros(2 * len(bytes_per_second), dtype=np.int64)

    def add(self, channels: NDArray[np.integer], weights: Float64, cap: float) -> None:
        """``channels`` are directed and all different."""
        self.bytes_per_second[channels] += whole(weights * cap)

    def remove(self, channels: NDArray[np.integer], weights: Float64, cap: float) -> None:
        self.bytes_per_second[channels] -= whole(weights * cap)

    def rescale(self, channel: int, factor: float) -> None:
        """The channel keeps this part of its healthy capacity, in both directions."""
        self.scale[channel] = factor
        both = slice(2 * channel, 2 * channel + 2)
        self.capacity[both] = self._speed[channel] * factor * self._efficiency
        self._limit[both] = np.floor(self.capacity[both] * (1.0 + SLACK)).astype(np.int64)

    def contended(self, channels: NDArray[np.integer] | slice) -> NDArray[np.bool_]:
        return np.asarray(self.bytes_per_second[channels] > self._limit[channels])
