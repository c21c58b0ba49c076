"""The loop around an engine: which of cycle, sample and end comes next. The same for batch and live, so that both give one answer."""

from collections.abc import Callable

from emulator.engine.engine import Engine
from emulator.scheduler.table import NEVER


class Loop:
    """``sample`` is called at multiples of the publication interval, after the cycle of that instant, and at the end."""

    def __init__(self, engine: Engine, sample: Callable[[], None], *, endless: bool) -> None:
        self._engine, self._sample, self._endless = engine, sample, endless
        self._until = engine.settings.until_ns
        self._next_sample = 0
        self.finished = False

    def next_ns(self) -> int:
        """The emulated time of the next step; NEVER while only an input could make one."""
        engine = self._engine
        cycle = engine.next_cycle_ns()
        if cycle == NEVER and self._until is None:
            return self._next_sample if self._endless else NEVER
        limit = cycle if self._until is None else min(cycle, self._until)
        return min(limit, self._next_sample)

    def step(self) -> None:
        """Do what is next: a cycle, a sample between two cycles, or the end."""
        engine, until = self._engine, self._until
        cycle = engine.next_cycle_ns()
        if not self._endless and until is None and not engine.has_work():
            self._end(engine.now_ns)
        elif until is not None and cycle > until and self._next_sample >= until:
            self._end(until)
        elif self._next_sample < cycle:
            engine.idle_to(self._next_sample)
            self._take_sample()
        else:
            engine.run_cycle(cycle)
            if cycle == self._next_sample:
                self._take_sample()

    def finish_now(self) -> None:
        """End here, before the time."""
        if not self.finished:
            self._end(self._engine.now_ns)

    def _take_sample(self) -> None:
        self._sample()
        self._next_sample = self._engine.boundary(self._next_sample + self._engine.settings.publish_ns)

    def _end(self, at_ns: int) -> None:
        self._engine.finish(at_ns)
        self._sample()
        self.finished = True
