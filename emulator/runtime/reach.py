"""How far the emulated clock may be read: never beyond what the journal says.

What clients are told between two inputs (the time, jobs that ended) is not journalled; but a session that goes on after a crash must not
take it back by accepting an input in a cycle of which they saw the end. So the journal holds a mark that is written before the clock passes
it, and a resumed session begins at the mark. Marks lie ahead of the clock by a fraction of a second of wall time, so that there are few.
"""

import logging
import math
import time

from emulator.runtime.pace import Pace
from emulator.scheduler.table import NEVER
from emulator.store.errors import JournalError
from emulator.store.journal import Journal
from emulator.workload.jobs import SECOND

log = logging.getLogger(__name__)

#: Wall seconds by which a mark lies ahead, which is what a crash skips. While nothing is due, the next is written when half of it is left.
AHEAD_SECONDS = 0.5
#: By how much more than the last time a mark may lie ahead, so that one leap over empty time is not taken for the speed.
_GROWTH = 8


class Reach:
    """``until_ns``: where the emulation ends; no mark lies beyond. Without a journal there is no bound."""

    def __init__(self, journal: Journal | None, *, cycle_ns: int, until_ns: int | None) -> None:
        self._journal = journal
        self._end_ns = NEVER if until_ns is None else until_ns
        self._cycle_ns = self._ahead_ns = cycle_ns
        self._marked = (time.monotonic(), 0)
        self._failed = False
        #: The clock may be read up to here.
        self.ns = NEVER if journal is None else journal.reached_ns

    def cover(self, next_ns: int, pace: Pace) -> None:
        """Write a mark where ``next_ns``, a step that is about to be made, lies beyond the last."""
        if next_ns > self.ns:
            self._mark(max(next_ns, pace.step_to_ns) if pace.paused else next_ns + self._lead_ns(next_ns, pace))

    def cover_idle(self, asked_ns: int, pace: Pace) -> float:
        """Write a mark where the last is about to be passed by a clock that goes on while nothing is due; it asks to read ``asked_ns``.

        Returns the wall seconds after which to be called again.
        """
        if pace.paused:
            self.cover(pace.step_to_ns, pace)
        elif math.isfinite(pace.speed) and self.ns < self._end_ns:
            if asked_ns + pace.speed * SECOND * AHEAD_SECONDS / 2 > self.ns:
                self._mark(asked_ns + int(pace.speed * SECOND * AHEAD_SECONDS))
            return AHEAD_SECONDS / 4
        return math.inf

    def _lead_ns(self, at_ns: int, pace: Pace) -> int:
        now, (then, from_ns) = time.monotonic(), self._marked
        if math.isfinite(pace.speed):
            return int(pace.speed * SECOND * AHEAD_SECONDS)
        rate = (at_ns - from_ns) / max(1e-9, now - then)
        self._marked = now, at_ns
        self._ahead_ns = max(self._cycle_ns, int(min(rate * AHEAD_SECONDS, self._ahead_ns * _GROWTH)))
        return self._ahead_ns

    def _mark(self, at_ns: int) -> None:
        """A mark that cannot be written does not stop the emulation: what it would have kept is said, and inputs are refused anyway."""
        if self._journal is None:
            return
        at_ns = min(at_ns, self._end_ns)
        try:
            self._journal.reach(at_ns)
            self._failed = False
        except JournalError as error:
            if not self._failed:
                log.warning(
                    "a crash now would set the emulation back to %g s of emulated time: %s", self._journal.reached_ns / SECOND, error
                )
            self._failed = True
        self.ns = at_ns
