"""The ways on which requests come to the site that serves them: over the wide area, where they entered at another one."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, uniform

Int64 = NDArray[np.int64]

#: Of a request of which nobody knows where it entered.
NO_WAY = -1


@dataclass(frozen=True, eq=False)
class Ways:
    """``round_trip_ps``, shape (sites, sites): from the site at which a request enters to the one that serves it, and back.

    Way ``sites * entry + site`` leads from one to the other.
    """

    round_trip_ps: Int64

    @property
    def sites(self) -> int:
        """How many there are."""
        return len(self.round_trip_ps)

    def entry(self, way: Int64) -> Int64:
        """Where it begins; -1 of no way."""
        return np.where(way == NO_WAY, -1, way // self.sites)

    def is_remote(self, way: Int64) -> NDArray[np.bool_]:
        """It leads to another site."""
        remote: NDArray[np.bool_] = (way != NO_WAY) & (way // self.sites != way % self.sites)
        return remote

    def round_trip(self, way: Int64) -> Int64:
        """Picoseconds that its length adds to an answer; none of no way."""
        return np.where(way == NO_WAY, 0, self.round_trip_ps.reshape(-1)[way])


ONE_SITE = Ways(np.zeros((1, 1), np.int64))


@dataclass
class Mix:
    """On which ways the requests of a pool come: one whose draw is below ``below[i]``, and not below those before, on ``ways[i]``."""

    ways: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    below: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0, np.float64))

    def tell(self, place: int, way: int, below: float) -> None:
        """The entry ``place`` of a new list, of which those before have been told."""
        self.ways, self.below = np.append(self.ways[:place], way), np.append(self.below[:place], below)

    def drawn(self, seed: int, pool: int, number: Int64) -> Int64:
        """The ways of the requests with these numbers."""
        if not len(self.ways):
            return np.full(len(number), NO_WAY)
        draw = uniform(seed, Stream.REQUEST_WAY, pool, number)
        return self.ways[np.minimum(np.searchsorted(self.below, draw, side="right"), len(self.ways) - 1)]
