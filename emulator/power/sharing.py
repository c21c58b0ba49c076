"""The highest clocks at which groups of zones draw no more than is allowed, by arithmetic on whole milliwatts."""

import numpy as np
from numpy.typing import NDArray

from emulator.power.clocks import CLOCKS, LOWEST

Int64 = NDArray[np.int64]


def lowered(draws: Int64, clocks: Int64, first: Int64, allowed: Int64) -> Int64:
    """``clocks``, shape (zones,), lowered where a group of zones would draw more than it may: first those of its zones that are highest.

    ``draws``: milliwatts of each zone at each clock, shape (zones, CLOCKS), none more than at the clock above. Of each group ``first`` is
    its first zone and ``allowed`` what it may draw, shape (groups,). Where the lowest clock is not low enough, that is what a group has.
    """
    zones = np.arange(len(clocks))
    if bool((np.add.reduceat(draws[zones, clocks], first, dtype=np.int64) <= allowed).all()):  # as mostly
        return clocks
    levels = np.maximum(np.arange(CLOCKS), clocks[:, None])
    holds = np.add.reduceat(draws[zones[:, None], levels], first, axis=0, dtype=np.int64) <= allowed[:, None]
    shared = np.where(holds.any(axis=1), holds.argmax(axis=1), LOWEST)
    found: Int64 = np.maximum(clocks, np.repeat(shared, np.diff(np.append(first, len(clocks)))))
    return found
