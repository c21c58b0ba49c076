"""Reserved hosts over the plain simulations: a job does not see the hosts that a window takes before it would have ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.scheduler.oracle import INFINITE, Job, Place, Plain, Simulation
from tests.scheduler.plain_reservations import Conservative

#: (begin, end, hosts), in whole cycles.
PlainWindow = tuple[int, int, Sequence[int]]


def without_reserved(state: Plain, windows: list[PlainWindow], start: int, end: int) -> Plain:
    """The state without the hosts that are reserved at any time from ``start`` to ``end``."""
    seen = state.copy()
    for begin, until, hosts in windows:
        if begin < end and until > start:
            for host in hosts:
                seen.offered[host] = False
    return seen


@dataclass
class Windowed(Simulation):
    """Strict policies and EASY."""

    windows: list[PlainWindow] = field(default_factory=list)
    now: int = 0

    def hosts_to_come(self, now: int) -> bool:
        return any(end >= now for _, end, _ in self.windows)

    def decide(self, now: int) -> None:
        self.now = now
        super().decide(now)

    def where(self, state: Plain, job: Job) -> Place | None:
        return super().where(without_reserved(state, self.windows, self.now, self.now + job.estimate), job)

    def fits_then(self, state: Plain, job: Job, at: int) -> bool:
        return super().where(without_reserved(state, self.windows, at, at + job.estimate), job) is not None

    def backfill(self, now: int) -> None:
        head = self.queue[0]
        ends = {job.number: max(-(-(job.start + job.estimate) // self.cycle) * self.cycle, now + self.cycle) for job in self.running}
        last = max([now, *ends.values(), *(end for _, end, _ in self.windows)])
        at, then = None, self.state
        for time in range(now + self.cycle, last + self.cycle, self.cycle):
            then = self.state.copy()
            for job in self.running:
                if ends[job.number] <= time:
                    then.give(job.held, job.milli)
            if self.fits_then(then, head, time):
                at = time
                break
        self.shadow = INFINITE if at is None else at
        while self.backfill_one(now, head, then, at):
            pass

    def backfill_one(self, now: int, head: Job, then: Plain, at: int | None) -> bool:
        for job in self.queue[1:]:
            place = self.where(self.state, job)
            if place is None:
                continue
            if at is None or now + job.estimate <= at:
                self.start(now, job, place)
                return True
            if not self.delays(head, then, place, job.milli):
                then.take(place, job.milli)
                self.start(now, job, place)
                return True
        return False

    def delays(self, head: Job, then: Plain, place: Place, milli: int) -> bool:
        trial = then.copy()
        trial.take(place, milli)
        return not self.fits_then(trial, head, self.shadow)


@dataclass
class WindowedConservative(Conservative):
    """Conservative backfilling. ``pushes_at``: the time, while jobs are stopped for others."""

    windows: list[PlainWindow] = field(default_factory=list)
    pushes_at: int = -1

    def push_out(self, now: int, key: object) -> bool:
        self.pushes_at = now
        stopped = super().push_out(now, key)
        self.pushes_at = -1
        return stopped

    def where(self, state: Plain, job: Job) -> Place | None:
        if self.pushes_at >= 0:
            state = without_reserved(state, self.windows, self.pushes_at, self.pushes_at + job.estimate)
        return super().where(state, job)

    def hosts_to_come(self, now: int) -> bool:
        return any(end >= now for _, end, _ in self.windows)

    def window(self, holdings: list[tuple[int, int, Job, Place]], start: int, end: int) -> Plain:
        return without_reserved(super().window(holdings, start, end), self.windows, start, end)

    def hosts_back(self, now: int) -> set[int]:
        return {end for _, end, _ in self.windows if end > now}
