"""What running jobs would draw at each clock: kept only while a cap may act, so that the clock at which it holds is a comparison."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.engine.spread import Spread
from emulator.power.clocks import CLOCKS, Parts, draw_milliwatts, parts_at

#: Draws by clock that are remembered, since jobs are alike.
DRAWS_KEPT = 10_000

Int64 = NDArray[np.int64]


class Draws(NamedTuple):
    """Of a GPU by clock, twice: to look one up, and to add them up. ``computing`` is the part of its time in which it computes."""

    by_clock: list[int]
    column: Int64
    computing: list[float]


class ClockedDraws:
    """Dynamic milliwatts by clock, those of paused jobs included, as they would draw if they were not.

    ``by_zone`` has the shape (zones, CLOCKS), and is the sum over the jobs that are not paused; ``drawn``, by zone, is what they draw now.
    A job in several zones, whose clock is the lowest of theirs, may draw less than its clock in one of them would have it.
    """

    def __init__(self, zones: int, waiting_ratio: float) -> None:
        self._waiting_ratio = waiting_ratio
        self.by_zone = np.zeros((zones, CLOCKS), dtype=np.int64)
        self.drawn = [0] * zones
        self._jobs: dict[int, tuple[Draws, int, Spread]] = {}  # slot -> a GPU's draw by clock, and now, and its GPUs by zone
        self._paused: set[int] = set()
        self._known: dict[tuple[int, Parts, int], Draws] = {}

    def note(self, slot: int, computing_milliwatts: int, full: Parts, milli_gpus: int, spread: Spread, draw: int, *, paused: bool) -> None:
        """Each GPU of a running job draws ``draw`` from now on; the others as in ``draw_milliwatts``."""
        self.drop(slot)
        draws = self._draws(computing_milliwatts, full, milli_gpus)
        self._jobs[slot] = draws, draw, spread
        if paused:
            self._paused.add(slot)
            return
        for zone, gpus in spread:
            self.by_zone[zone] += draws.column * gpus
            self.drawn[zone] += draw * gpus

    def redraw(self, slot: int, clock: int) -> tuple[int, float]:
        """The job's clock is another: what each of its GPUs draws from now on, and the part of its time in which it computes."""
        if slot in self._paused:
            return 0, 0.0
        draws, before, spread = self._jobs[slot]
        draw = draws.by_clock[clock]
        self._jobs[slot] = draws, draw, spread
        for zone, gpus in spread:
            self.drawn[zone] += (draw - before) * gpus
        return draw, draws.computing[clock]

    def drop(self, slot: int) -> None:
        """It runs no longer."""
        if slot not in self._jobs:
            return
        draws, draw, spread = self._jobs.pop(slot)
        if slot in self._paused:
            self._paused.discard(slot)
            return
        for zone, gpus in spread:
            self.by_zone[zone] -= draws.column * gpus
            self.drawn[zone] -= draw * gpus

    def with_paused(self) -> Int64:
        """``by_zone`` if nothing were paused."""
        found = self.by_zone.copy()
        for slot in self._paused:
            draws, _, spread = self._jobs[slot]
            for zone, gpus in spread:
                found[zone] += draws.column * gpus
        return found

    def at(self, slot: int, clocks: Sequence[int]) -> dict[int, int]:
        """What the job counts for at each zone with the clocks of the zones, if it is not paused; empty where that is nothing."""
        draws, _, spread = self._jobs[slot]
        return {zone: draws.by_clock[clocks[zone]] * gpus for zone, gpus in spread if draws.by_clock[clocks[zone]]}

    def drawing(self, clocks: Sequence[int]) -> set[int]:
        """The jobs that would draw anything with these clocks of the zones, if they are not paused."""
        return {slot for slot, (draws, _, spread) in self._jobs.items() if any(draws.by_clock[clocks[zone]] for zone, _ in spread)}

    def _draws(self, computing_milliwatts: int, full: Parts, milli_gpus: int) -> Draws:
        key = computing_milliwatts, full, milli_gpus
        found = self._known.get(key)
        if found is None:
            if len(self._known) == DRAWS_KEPT:
                self._known.clear()
            ratio = self._waiting_ratio
            steps = [draw_milliwatts(computing_milliwatts, full, ratio, milli_gpus, clock) for clock in range(CLOCKS)]
            found = Draws(steps, np.array(steps, dtype=np.int64), [parts_at(full, clock).computing for clock in range(CLOCKS)])
            self._known[key] = found
        return found
