"""Who repairs: so many crews at each site, each with one repair at a time, first come first served."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush


class Crews:
    """``site_of_host``, shape (hosts,). A crew that was sent is not called back, also where the fault ends before."""

    def __init__(self, each: int, site_of_host: Sequence[int]) -> None:
        self._site = site_of_host
        #: By site, when each crew is free: as repairs are asked for in the order of time, the first to be free goes (Kiefer and Wolfowitz).
        self._free_ns = [[0] * each for _ in range(max(site_of_host, default=0) + 1)]
        for free in self._free_ns:
            heapify(free)

    def done_ns(self, host: int, at_ns: int, work_ns: int) -> int:
        """When the repair of ``host`` is done that is asked for at ``at_ns`` and is ``work_ns`` of work."""
        free = self._free_ns[self._site[host]]
        done_ns = max(at_ns, heappop(free)) + work_ns
        heappush(free, done_ns)
        return done_ns
