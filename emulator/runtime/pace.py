"""How the emulated clock follows the wall clock."""

import math
import time

from emulator.engine.bounds import CLOCK_END_NS, LONGEST_NS
from emulator.scheduler.table import NEVER
from emulator.workload.jobs import SECOND

#: How far work is generated for a session without an end: ten years.
LIVE_HORIZON_NS = LONGEST_NS


class Pace:
    """At wall time ``anchor_wall`` the clock stood at ``anchor_ns``; since then it goes at ``speed``, or stands while ``paused``.

    A paused clock may be on its way to ``step_to_ns``; -1: it is not.
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self.paused = False
        self.step_to_ns = -1
        self.anchor_ns = 0
        self.start()

    def start(self) -> None:
        """From now on wall time counts."""
        self.anchor_wall = time.monotonic()

    def anchor(self, at_ns: int) -> None:
        """The clock stands at ``at_ns`` now, and goes on from there."""
        self.anchor_ns = at_ns
        self.start()

    def wall_of(self, emulated_ns: int) -> float:
        """The wall time at which the clock reads ``emulated_ns``: never while it is paused, long ago on the way of a step."""
        if emulated_ns == NEVER or (self.paused and emulated_ns > self.step_to_ns):
            return math.inf
        if self.paused:
            return 0.0
        return self.anchor_wall + (emulated_ns - self.anchor_ns) / SECOND / self.speed

    def asked_ns(self, engine_ns: int) -> int:
        """What the clock would read if the engine, which is at ``engine_ns``, kept up with its speed."""
        if self.paused or math.isinf(self.speed):
            return max(self.anchor_ns, engine_ns)
        ahead = (time.monotonic() - self.anchor_wall) * self.speed * SECOND
        return self.anchor_ns + int(min(ahead, CLOCK_END_NS - self.anchor_ns))
