"""Events of many equal parts, each a Poisson process: one process of the summed rate, whose events pick a part evenly.

The k-th event is a function of (seed, stream, process, k) alone, and parts without an event cost nothing.
"""

from collections.abc import Iterator
from typing import NamedTuple

from emulator.draws import Stream, exponential, uniform


class Arrival(NamedTuple):
    """One event. ``chance`` is uniform in (0, 1), for what follows from it."""

    time_ns: int
    part: int
    chance: float


def arrivals(seed: int, stream: Stream, parts: int, mean_ns: float, process: int = 0) -> Iterator[Arrival]:
    """Events of ``parts`` parts, without an end, ``mean_ns`` apart in the mean. ``process``: which one of the stream."""
    first, time_ns, event = 4 * process, 0, 0
    while True:
        time_ns += max(1, round(float(exponential(seed, stream, first, event)) * mean_ns))
        part = min(parts - 1, int(float(uniform(seed, stream, first + 1, event)) * parts))
        yield Arrival(time_ns, part, float(uniform(seed, stream, first + 2, event)))
        event += 1
