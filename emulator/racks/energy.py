"""Energy as a sum of exact integers, whatever order its terms come in.

A change of power by dP at time t adds dP (T - t) to the energy at a later T, so

    E(T) = P T - M,    P = sum dP,    M = sum dP t

P and M are plain sums: changes may arrive late, in any order, in any grouping, on any number of actors, and the float64 made from
them is the same to the bit. In milliwatts and nanoseconds M needs more than 64 bits, so it is kept as (milliwatt seconds, milliwatt
nanoseconds), the second part always in [0, 1e9). int64 wraps around in the first part while terms of both signs are summed; the result is
exact as long as it fits itself, which is 290 years of a gigawatt in one meter; the second part bounds a meter's power to 9 MW.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

SECOND_NS = 1_000_000_000


class Meters:
    """Power and energy of many meters (one per rack), each array of shape (meters,)."""

    def __init__(self, count: int) -> None:
        #: P, milliwatts.
        self.power = np.zeros(count, np.int64)
        #: M in milliwatt seconds, and the rest in milliwatt nanoseconds, 0 to 1e9 - 1.
        self.moment_seconds = np.zeros(count, np.int64)
        self.moment_ns = np.zeros(count, np.int64)

    def change(self, meter: NDArray[np.integer], milliwatts: Int64, time_ns: Int64) -> None:
        """Add ``milliwatts`` (may be negative) to each ``meter`` from ``time_ns`` on; meters may repeat. Shape (changes,) each."""
        seconds, ns = np.divmod(time_ns, SECOND_NS)
        carry, rest = np.divmod(milliwatts * ns, SECOND_NS)
        np.add.at(self.power, meter, milliwatts)
        np.add.at(self.moment_seconds, meter, milliwatts * seconds + carry)
        np.add.at(self.moment_ns, meter, rest)
        # A meter named twice is read twice and written twice with the same carry, once in effect.
        carry, rest = np.divmod(self.moment_ns[meter], SECOND_NS)
        self.moment_seconds[meter] += carry
        self.moment_ns[meter] = rest

    def joules(self, at_ns: int) -> NDArray[np.float64]:
        """Energy of each meter from 0 to ``at_ns``, which no change lies after."""
        seconds, ns = divmod(at_ns, SECOND_NS)
        carry, rest = np.divmod(self.power * ns - self.moment_ns, SECOND_NS)
        whole = self.power * seconds - self.moment_seconds + carry
        return (whole.astype(np.float64) + rest.astype(np.float64) * 1e-9) * 1e-3

    def arrays(self) -> dict[str, Int64]:
        """The whole state, by name; ``load`` takes it back."""
        return {"power": self.power, "moment_seconds": self.moment_seconds, "moment_ns": self.moment_ns}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.power, self.moment_seconds, self.moment_ns = (arrays[name].copy() for name in ("power", "moment_seconds", "moment_ns"))
