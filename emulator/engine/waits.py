"""How long jobs waited for their first start, as a histogram."""

from bisect import bisect_left
from dataclasses import dataclass, field

from emulator.workload.jobs import SECOND

#: Upper bounds of the buckets, seconds: from a cycle to a day.
WAIT_BOUNDS = (10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0)
_BOUNDS_NS = tuple(int(bound * SECOND) for bound in WAIT_BOUNDS)


@dataclass
class Waits:
    """``counts``: by bucket, a wait equal to a bound is in the bucket below it; one more than ``WAIT_BOUNDS``, for all that are longer."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(WAIT_BOUNDS) + 1))
    total_ns: int = 0

    def add(self, wait_ns: int) -> None:
        self.counts[bisect_left(_BOUNDS_NS, wait_ns)] += 1
        self.total_ns += wait_ns
