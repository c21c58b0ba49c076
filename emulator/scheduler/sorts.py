"""Sorts of jobs: those of one sort ask for the same, and what follows from that alone is found once for all of them."""

from collections.abc import Callable
from dataclasses import dataclass

#: What a job asks for: GPUs, milli-GPUs of each, the levels required and preferred, GPUs of a slice, and its level.
Asks = tuple[int, int, int, int, int, int]


@dataclass(slots=True, eq=False)
class Sort:
    """Jobs that ask for the same of the same host types and, where that is limited, for the same queue and tenant (else both are 0)."""

    asks: Asks
    types: tuple[int, ...]  # host types on which they may run, the preferred first; none where they never can
    partitions: tuple[int, ...]  # in which they wait; where jobs are dispatched to sites, those of the site
    queue: int
    tenant: int
    queued: int = 0  # how many are in the queues; none on hold


#: What tells sorts apart: what is asked, the one host type that is named or ANY_TYPE, several that are named, queue and tenant.
Key = tuple[Asks, int, tuple[int, ...], int, int]
#: Sorts that are remembered beside those that wait.
MOST_KNOWN = 4096


class Sorts:
    """``types_for`` says on which host types jobs of a sort may wait."""

    def __init__(self, types_for: Callable[[Key], tuple[int, ...]]) -> None:
        self._types_for = types_for
        self._known: dict[Key, Sort] = {}
        self._dispatched: dict[tuple[Asks, tuple[int, ...], tuple[int, ...], int, int], Sort] = {}
        self.waiting: dict[Sort, None] = {}  # those that have jobs in the queues

    def of(self, key: Key) -> Sort:
        sort = self._known.get(key)
        if sort is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            types = self._types_for(key)
            sort = self._known[key] = Sort(key[0], types, types, *key[3:])
        return sort

    def at(self, sort: Sort, partitions: tuple[int, ...]) -> Sort:
        """Of the jobs of ``sort`` that are dispatched to these partitions."""
        key = sort.asks, sort.types, partitions, sort.queue, sort.tenant
        if key not in self._dispatched:
            if len(self._dispatched) >= MOST_KNOWN:
                self._dispatched.clear()
            self._dispatched[key] = Sort(*key)
        return self._dispatched[key]

    def enter(self, sort: Sort) -> None:
        """A job of the sort is in the queues from now on."""
        if not sort.queued:
            self.waiting[sort] = None
        sort.queued += 1

    def leave(self, sort: Sort) -> None:
        """One is no longer."""
        sort.queued -= 1
        if not sort.queued:
            del self.waiting[sort]
