"""Priorities of requests: of those that wait, who has a higher one goes first."""

from dataclasses import dataclass, replace
from math import fsum

import numpy as np

from emulator.draws import Stream, uniform
from emulator.workload.requests.columns import Drawn, Int64, RequestColumns
from emulator.workload.requests.cursor import Source, entity

#: The largest priority, and the lowest with a minus.
MOST_PRIORITY = 2**31 - 1


#: Classes of requests as pairs of (ratio, priority); the rest has priority 0.
Classes = tuple[tuple[float, int], ...]


def check_classes(classes: Classes) -> None:
    """Raises ValueError for classes that cannot be."""
    for ratio, priority in classes:
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"ratio: {ratio!r} (allowed: 0 to 1)")
        if abs(priority) > MOST_PRIORITY:
            raise ValueError(f"priority: {priority} (allowed: {-MOST_PRIORITY} to {MOST_PRIORITY})")
    whole = fsum([ratio for ratio, _ in classes])
    if whole > 1.0:
        raise ValueError(f"ratios of all classes: {whole:.15g} together (allowed: at most 1)")


def priorities_of(classes: Classes, seed: int, service: int, pool: int, key: Int64) -> Int64:
    """The priorities of a pool's requests: those of one key have one draw."""
    if not classes:
        return np.zeros(len(key), np.int64)
    chance = uniform(seed, Stream.REQUEST_PRIORITY, key, entity(service, pool) >> 32)
    ends = np.cumsum([ratio for ratio, _ in classes])
    priorities = np.array([*(priority for _, priority in classes), 0], np.int64)
    return priorities[np.searchsorted(ends, chance, side="right")]


@dataclass(frozen=True)
class Prioritized:
    """The requests of ``source`` in classes. All turns of a session are of one class, since they have one key."""

    source: Source
    classes: Classes

    def __post_init__(self) -> None:
        check_classes(self.classes)

    @property
    def block_tokens(self) -> int:
        return self.source.block_tokens

    @property
    def lead_slices(self) -> int:
        return self.source.lead_slices

    def slices(self, seed: int, service: int, pool: int, first: int, last: int, low: float, high: float) -> Drawn:
        """As ``Source`` has it."""
        return self.source.slices(seed, service, pool, first, last, low, high)

    def columns(self, seed: int, service: int, pool: int, drawn: Drawn) -> RequestColumns:
        """As ``Source`` has it."""
        columns = self.source.columns(seed, service, pool, drawn)
        return replace(columns, priority=priorities_of(self.classes, seed, service, pool, columns.key))
