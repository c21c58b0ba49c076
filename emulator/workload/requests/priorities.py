"""Priorities of requests: of those that wait, who has a higher one goes first."""

from dataclasses import dataclass, replace
from math import fsum

import numpy as np

from emulator.draws import Stream, uniform
from emulator.workload.requests.columns import Drawn, RequestColumns
from emulator.workload.requests.cursor import Source, entity

#: The largest priority, and the lowest with a minus.
MOST_PRIORITY = 2**31 - 1


@dataclass(frozen=True)
class Prioritized:
    """The requests of ``source``, of which each of the ``classes``, pairs of (ratio, priority), has its part; the rest has priority 0.

    Requests of one key have one draw: all turns of a session are of one class.
    """

    source: Source
    classes: tuple[tuple[float, int], ...]

    def __post_init__(self) -> None:
        for ratio, priority in self.classes:
            if not 0.0 <= ratio <= 1.0:
                raise ValueError(f"ratio: {ratio!r} (allowed: 0 to 1)")
            if abs(priority) > MOST_PRIORITY:
                raise ValueError(f"priority: {priority} (allowed: {-MOST_PRIORITY} to {MOST_PRIORITY})")
        whole = fsum([ratio for ratio, _ in self.classes])
        if whole > 1.0:
            raise ValueError(f"ratios of all classes: {whole:.15g} together (allowed: at most 1)")

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
        chance = uniform(seed, Stream.REQUEST_PRIORITY, columns.key, entity(service, pool) >> 32)
        ends = np.cumsum([ratio for ratio, _ in self.classes])
        priorities = np.array([*(priority for _, priority in self.classes), 0], np.int64)
        return replace(columns, priority=priorities[np.searchsorted(ends, chance, side="right")])
