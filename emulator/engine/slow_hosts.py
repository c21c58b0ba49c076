"""Hosts that are slow for a time (fail-slow): nothing is broken, and whatever runs there is as slow as its slowest host."""

from collections.abc import Iterable
from heapq import heappop, heappush

from emulator.scheduler.table import NEVER


class SlowHosts:
    """The part of its speed that each slow host has; where several faults make it slow, the worst counts."""

    def __init__(self) -> None:
        self._ratios: dict[int, dict[int, float]] = {}  # host -> fault -> part of its speed
        self._ends: list[tuple[int, int]] = []  # (when it is over, fault)

    def begin(self, fault: int, hosts: Iterable[int], ratio: float, until_ns: int) -> None:
        """The hosts are slow."""
        for host in hosts:
            self._ratios.setdefault(host, {})[fault] = ratio
        heappush(self._ends, (until_ns, fault))

    def end(self, fault: int, hosts: Iterable[int]) -> None:
        """They are no longer, for this fault."""
        for host in hosts:
            self._ratios[host].pop(fault, None)
            if not self._ratios[host]:
                del self._ratios[host]

    def next_ns(self) -> int:
        """When the next fault is over; NEVER if there is none. It may have been ended before."""
        return self._ends[0][0] if self._ends else NEVER

    def take(self) -> int:
        """The fault of which ``next_ns`` told."""
        return heappop(self._ends)[1]

    def ratio(self, host: int) -> float:
        """The part of its speed that the host has; 1 where it is not slow."""
        return min(self._ratios[host].values()) if host in self._ratios else 1.0

    def slowest(self, hosts: Iterable[int]) -> float:
        """That of the slowest of these hosts, which a job that runs on all of them has."""
        return min((self.ratio(host) for host in hosts if host in self._ratios), default=1.0)

    def __len__(self) -> int:
        return len(self._ratios)
