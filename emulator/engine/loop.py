"""The loop around an engine: which of cycle, sample and end comes next. It is the same for batch and live, so both give the same result."""

from collections.abc import Callable

from emulator.engine.bounds import CLOCK_END_NS
from emulator.engine.engine import Engine
from emulator.scheduler.table import NEVER


class Loop:
    """``sample`` is called at multiples of the publication interval, after the cycle of that instant, and at the end.

    If nothing happens for longer than the interval, only its last multiple is sampled: the cost of samples follows events too.
    ``endless``: it does not end when there is no more work, since more may arrive.
    """

    def __init__(self, engine: Engine, sample: Callable[[], None], *, endless: bool) -> None:
        self._engine, self._sample, self._endless = engine, sample, endless
        self._until = engine.settings.until_ns
        self._end_ns = CLOCK_END_NS if self._until is None else self._until
        self._next_sample = 0
        self._sampled_events = -1
        self.finished = False

    def next_ns(self) -> int:
        """The emulated time of the next step; NEVER if there is none without an input."""
        cycle = self._engine.next_cycle_ns()
        limit = cycle if cycle == NEVER and self._until is None else min(cycle, self._end_ns)
        return min(limit, self._sample_ns(limit))

    def step(self) -> None:
        """Do the next step: a cycle, a sample between two cycles, or the end."""
        engine, until = self._engine, self._until
        if until is None and not self._endless and not engine.has_work():
            self._end(engine.now_ns)
            return
        cycle = engine.next_cycle_ns()
        limit = cycle if cycle == NEVER and until is None else min(cycle, self._end_ns)
        sample = self._sample_ns(limit)
        if sample < limit:
            engine.idle_to(max(sample, engine.now_ns))  # a clock that idled past the sample, and may have been read, is not set back
            self._take_sample(sample)
        elif cycle > self._end_ns:
            self._end(self._end_ns)
        else:
            engine.run_cycle(cycle)
            if cycle == sample:
                self._take_sample(sample)

    def finish_now(self) -> None:
        """End at the present emulated time."""
        if not self.finished:
            self._end(self._engine.now_ns)

    def _sample_ns(self, limit_ns: int) -> int:
        """When the next sample is due, given that nothing happens before ``limit_ns``."""
        if self._engine.chronicle.events != self._sampled_events:
            return self._next_sample
        if limit_ns == NEVER:
            return NEVER
        interval = self._engine.settings.publish_ns
        return max(self._next_sample, self._engine.boundary((limit_ns - 1) // interval * interval))

    def _take_sample(self, at_ns: int) -> None:
        self._sample()
        interval = self._engine.settings.publish_ns
        self._next_sample = self._engine.boundary((at_ns // interval + 1) * interval)
        self._sampled_events = self._engine.chronicle.events

    def _end(self, at_ns: int) -> None:
        self._engine.finish(at_ns)
        self._sample()
        self.finished = True
