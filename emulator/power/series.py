"""A quantity that changes at given times and keeps its value in between: a cap, a temperature, a carbon intensity."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

#: Of no change to come.
NEVER = 2**63 - 1
Value = TypeVar("Value", int, float)


@dataclass(frozen=True)
class Series(Generic[Value]):
    """``values[i]`` holds from ``times_ns[i]`` on, the first of which is 0; with ``period_ns``, it begins anew after each of it."""

    times_ns: tuple[int, ...]
    values: tuple[Value, ...]
    period_ns: int = 0

    def __post_init__(self) -> None:
        if not self.times_ns or self.times_ns[0] != 0 or len(self.times_ns) != len(self.values):
            raise ValueError("a series has a value at 0, and one for each of its times")
        if any(one >= other for one, other in pairwise(self.times_ns)):
            raise ValueError("the times of a series rise")
        if self.period_ns and self.period_ns <= self.times_ns[-1]:
            raise ValueError("a series is repeated after its last time")

    def at(self, time_ns: int) -> Value:
        """The value at a time from 0 on."""
        return self.values[bisect_right(self.times_ns, self._within(time_ns)) - 1]

    def next_ns(self, time_ns: int) -> int:
        """When the next value begins after ``time_ns``; NEVER if none does."""
        within = self._within(time_ns)
        place = bisect_right(self.times_ns, within)
        if place < len(self.times_ns):
            return time_ns - within + self.times_ns[place]
        return time_ns - within + self.period_ns if self.period_ns else NEVER

    def _within(self, time_ns: int) -> int:
        return time_ns % self.period_ns if self.period_ns else time_ns


def constant(value: Value) -> Series[Value]:
    """That never changes."""
    return Series((0,), (value,))


def by_hour(series: Series[float]) -> list[float]:
    """Its values at the full hours of one period, or up to its last time."""
    hour_ns = 3600 * 10**9
    end_ns = series.period_ns or series.times_ns[-1] + 1
    return [series.at(hour * hour_ns) for hour in range(-(-end_ns // hour_ns))]


def hourly(values: Sequence[Value]) -> Series[Value]:
    """One value an hour, repeated."""
    hour_ns = 3600 * 10**9
    return Series(tuple(range(0, len(values) * hour_ns, hour_ns)), tuple(values), len(values) * hour_ns)
