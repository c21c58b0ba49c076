"""How far the power of running training jobs swings with their steps: the largest of one job, and of all at a site if they went in step."""

from dataclasses import dataclass

from emulator.engine.spread import Spread
from emulator.power.clocks import DYNAMIC_RATIO, SLOWDOWN, Parts, parts_at
from emulator.power.swings import Swing
from emulator.scheduler.table import JobTable


@dataclass(frozen=True)
class Largest:
    """A job's swing, as it was when it was the largest so far at its first site."""

    milliwatts: int
    job_id: int
    gpus: int
    swing: Swing  # of the job's dynamic power


class JobSwings:
    """``now`` and ``most`` are milliwatts by site, of all jobs together; ``largest`` is by site too."""

    def __init__(self, sites: int, waiting_ratio: float, table: JobTable) -> None:
        self._waiting_ratio, self._table = waiting_ratio, table
        self._jobs: dict[int, tuple[int, Spread]] = {}  # slot -> milliwatts of each GPU, and where they are
        self.now, self.most = [0] * sites, [0] * sites
        self._more = False  # whether a job has begun to swing, or swings by more, since ``note_most``
        self.largest: list[Largest | None] = [None] * sites

    def note(self, slot: int, computing_milliwatts: int, full: Parts, clock: int, spread: Spread) -> None:
        """Each GPU of a training job draws so much while it computes at the full clock, in ``full`` parts of its time."""
        self.drop(slot)
        if not (full.computing and full.waiting and computing_milliwatts):
            return
        high = int(computing_milliwatts * DYNAMIC_RATIO[clock])
        each = high - int(high * self._waiting_ratio)
        self._jobs[slot], self._more = (each, spread), True
        for site, gpus in spread:
            self.now[site] += each * gpus
        site, gpus = spread[0][0], sum([count for _, count in spread])
        before = self.largest[site]
        if before is None or each * gpus > before.milliwatts:
            parts, shape = parts_at(full, clock), self._table.shapes[self._table.shape[slot]]
            duty = parts.computing / (parts.computing + parts.waiting)
            high_watts = high * gpus / 1000
            swing = Swing(high_watts, high_watts * self._waiting_ratio, duty, shape.compute_seconds * SLOWDOWN[clock] / duty)
            self.largest[site] = Largest(each * gpus, self._table.job_id[slot], gpus, swing)

    def drop(self, slot: int) -> None:
        """It runs no longer, or does not swing."""
        each, spread = self._jobs.pop(slot, (0, ()))
        for site, gpus in spread:
            self.now[site] -= each * gpus

    def note_most(self) -> None:
        """After everything at this instant."""
        if self._more:
            self._more = False
            self.most = [max(most, now) for most, now in zip(self.most, self.now, strict=True)]
