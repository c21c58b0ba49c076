"""The requests of one pool, window by window: the same requests wherever the windows are cut.

Time is divided into slices on one grid for all pools. What a pool gets of a slice is decided by the share that is in force at the slice's
beginning, and drawn as a whole; what lies beyond the window's end is kept for the next. Draws are those of (seed, service, pool, slice),
so no pool depends on another.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emulator.workload.requests.columns import DRAWN_COLUMNS, Drawn, Int64, RequestColumns, join_drawn, nothing

#: How long one share holds, and the piece in which requests are drawn.
SLICE_NS = 10_000_000_000
#: The largest numbers that the counter of a draw has room for.
MAX_SERVICES, MAX_POOLS, MAX_SLICES = 1 << 12, 1 << 20, 1 << 32


def entity(service: int, pool: int) -> int:
    """The part of a draw's counter that is the pool's; the slice is added to it."""
    return service << 52 | pool << 32


class Source(Protocol):
    """Where the requests of a service come from. It has no state that matters: what it gives is a function of the arguments."""

    @property
    def block_tokens(self) -> int:
        """Tokens of the blocks that the hashes are of."""
        ...

    @property
    def lead_slices(self) -> int:
        """Slices before the start whose requests may still be followed by others after it."""
        ...

    def slices(self, seed: int, service: int, pool: int, first: int, last: int, low: float, high: float) -> Drawn:
        """The pool's requests of slices ``first`` up to ``last``, and those that follow from them later; in any order."""
        ...

    def columns(self, seed: int, service: int, pool: int, drawn: Drawn) -> RequestColumns:
        """The same requests with their hashes."""
        ...


class Arrivals:
    """The cursor of one pool over the requests of its service.

    A pool that is made later than the start gets the requests of the slices that begin at ``start_ns`` or later. One that is there from the
    start also gets what follows from requests before it, with the share of its first slice: sessions are under way then.
    """

    def __init__(self, source: Source, seed: int, service: int, pool: int, start_ns: int = 0) -> None:
        for name, value, limit in (("service", service, MAX_SERVICES), ("pool", pool, MAX_POOLS)):
            if not 0 <= value < limit:
                raise ValueError(f"{name}: {value} (allowed: 0 to {limit - 1})")
        self._source, self._seed, self._service, self._pool = source, seed, service, pool
        self._at_ns = start_ns
        self._next_slice = -(-start_ns // SLICE_NS) if start_ns else -source.lead_slices
        self._kept = nothing()

    @property
    def at_ns(self) -> int:
        """Up to here the requests have been taken."""
        return self._at_ns

    def take(self, until_ns: int, low: float, high: float) -> RequestColumns:
        """The requests from where it was up to before ``until_ns``, which never goes back.

        [low, high) is the pool's part of the service's arrivals, for the slices that begin in this window.
        """
        if until_ns < self._at_ns:
            raise ValueError(f"until_ns: {until_ns} (allowed: from {self._at_ns}, up to which requests have been taken)")
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"share: {low!r} to {high!r} (allowed: 0 <= low <= high <= 1)")
        end = -(-until_ns // SLICE_NS)
        drawn = self._kept
        if end > self._next_slice:
            if high > low:
                fresh = self._source.slices(self._seed, self._service, self._pool, self._next_slice, end, low, high)
                drawn = join_drawn([part for part in (self._kept, fresh) if len(part)])
            self._next_slice = end
        self._at_ns = until_ns
        drawn = drawn.in_order()
        if len(drawn) and drawn.arrival_ns[0] < 0:  # before the start
            drawn = drawn.chosen(slice(int(np.searchsorted(drawn.arrival_ns, 0)), None))
        count = int(np.searchsorted(drawn.arrival_ns, until_ns, side="left"))
        self._kept = drawn.chosen(slice(count, None)) if count < len(drawn) else nothing()
        return self._source.columns(self._seed, self._service, self._pool, drawn.chosen(slice(0, count)))

    def state(self) -> dict[str, NDArray[np.int64]]:
        """All that the next windows depend on."""
        return {"at": np.array([self._at_ns, self._next_slice], np.int64)} | {
            name: getattr(self._kept, name).copy() for name in DRAWN_COLUMNS
        }

    def restore(self, state: Mapping[str, NDArray[np.int64]]) -> None:
        """Go on from a state that a cursor of the same source, seed, service and pool gave."""
        self._at_ns, self._next_slice = (int(value) for value in state["at"])
        self._kept = Drawn(*(np.asarray(state[name], np.int64).copy() for name in DRAWN_COLUMNS))


def runs(counts: Int64) -> tuple[Int64, Int64]:
    """For runs of these lengths one behind the other: the run of each place, and its number within the run."""
    run = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    first = np.cumsum(counts, dtype=np.int64) - counts
    return run, np.arange(len(run), dtype=np.int64) - first[run]
