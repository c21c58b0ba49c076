"""The pending queue: jobs in the order in which a policy looks at them."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.table import JobTable

#: What a policy sorts by: (table, slot) -> key; the smallest goes first.
Order = Callable[[JobTable, int], tuple[int, ...]]


def by_submission(table: JobTable, slot: int) -> tuple[int, ...]:
    """Priority, then submission, then id."""
    return -table.priority[slot], table.submit_ns[slot], table.job_id[slot], slot


def by_estimate(table: JobTable, slot: int) -> tuple[int, ...]:
    """Priority, then the shortest estimate; ties by submission, then id."""
    return -table.priority[slot], table.estimate_ns[slot], table.submit_ns[slot], table.job_id[slot], slot


class HeadQueue:
    """For strict head-of-line policies: only the first job is ever looked at. A heap; a removed job is dropped when it comes to the top."""

    def __init__(self, table: JobTable, order: Order) -> None:
        self._table, self._order = table, order
        self._heap: list[tuple[int, ...]] = []
        self._waiting: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, slot: int) -> bool:
        return slot in self._waiting

    def push(self, slot: int) -> None:
        self._waiting.add(slot)
        heappush(self._heap, self._order(self._table, slot))

    def remove(self, slot: int) -> None:
        self._waiting.discard(slot)

    def head(self) -> int:
        """The first job's slot, -1 when the queue is empty."""
        heap, waiting = self._heap, self._waiting
        while heap and heap[0][-1] not in waiting:
            heappop(heap)
        return heap[0][-1] if heap else -1

    def in_order(self) -> Iterator[int]:
        """All slots, first to last."""
        seen = -1
        for key in sorted(self._heap):
            if key[-1] in self._waiting and key[-1] != seen:
                seen = key[-1]
                yield seen


class ScanQueue:
    """For backfilling policies: sorted columns, so that candidates behind the head are found with a few array operations."""

    def __init__(self, table: JobTable, order: Order) -> None:
        self._table, self._order = table, order
        self._keys: list[tuple[int, ...]] = []
        self._first = 0  # everything before it is gone
        self._alive = np.zeros(64, dtype=bool)
        self._gpus = np.zeros(64, dtype=np.int64)
        self._estimate = np.zeros(64, dtype=np.int64)
        self._waiting: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, slot: int) -> bool:
        return slot in self._waiting

    def push(self, slot: int) -> None:
        key = self._order(self._table, slot)
        size = len(self._keys)
        if size == len(self._alive) or size > 2 * len(self._waiting) + 64:
            self._make_room()
            size = len(self._keys)
        place = size if not size or key > self._keys[-1] else bisect_left(self._keys, key)
        self._waiting.add(slot)
        if place < size and self._keys[place] == key:
            self._alive[place] = True
            self._first = min(self._first, place)
            return
        for column, value in ((self._alive, True), (self._gpus, self._table.gpus[slot]), (self._estimate, self._table.estimate_ns[slot])):
            if place < size:
                column[place + 1 : size + 1] = column[place:size].copy()
            column[place] = value
        self._keys.insert(place, key)
        self._first = min(self._first, place)

    def remove(self, slot: int) -> None:
        if slot in self._waiting:
            self._waiting.discard(slot)
            self._alive[bisect_left(self._keys, self._order(self._table, slot))] = False

    def head(self) -> int:
        """The first job's slot, -1 when the queue is empty."""
        while self._first < len(self._keys) and not self._alive[self._first]:
            self._first += 1
        return self._keys[self._first][-1] if self._first < len(self._keys) else -1

    def behind_head(self, most_gpus: int, short_ns: int, long_gpus: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Jobs behind the head of at most ``most_gpus`` whose estimate is at most ``short_ns`` or whose size at most ``long_gpus``.

        Returns (positions, gpus, estimates in ns), in queue order; ``slot_at`` gives the slot of a position, until the next push.
        """
        start, end = self._first + 1, len(self._keys)
        gpus = self._gpus[start:end]
        wanted = self._alive[start:end] & (gpus <= most_gpus)
        if long_gpus < most_gpus:
            wanted &= (self._estimate[start:end] <= short_ns) | (gpus <= long_gpus)
        found = np.flatnonzero(wanted)
        return found + start, gpus[found], self._estimate[start:end][found]

    def slot_at(self, position: int) -> int:
        return self._keys[position][-1]

    def in_order(self) -> Iterator[int]:
        """All slots, first to last."""
        for place in range(self._first, len(self._keys)):
            if self._alive[place]:
                yield self._keys[place][-1]

    def _make_room(self) -> None:
        """Drop the dead; double the columns when that frees less than half."""
        size = len(self._keys)
        keep = np.flatnonzero(self._alive[:size])
        capacity = len(self._alive) * (2 if 2 * len(keep) > size else 1)
        for name in ("_alive", "_gpus", "_estimate"):
            column = getattr(self, name)
            fresh = np.zeros(capacity, dtype=column.dtype)
            fresh[: len(keep)] = column[keep]
            setattr(self, name, fresh)
        self._keys = [self._keys[place] for place in keep.tolist()]
        self._first = 0


Pending = HeadQueue | ScanQueue
