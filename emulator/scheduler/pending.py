"""The pending queue: jobs in the order in which a policy looks at them."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.table import JobTable

#: What a policy sorts by: (table, slot) -> key; the smallest goes first. It ends with the job's id and its slot; the id is that of one job
#: for ever, so a key that was left behind is not taken for the one of a later job in the same slot.
Order = Callable[[JobTable, int], tuple[int, ...]]


def by_submission(table: JobTable, slot: int) -> tuple[int, ...]:
    """Priority, then submission, then id."""
    return -table.priority[slot], table.submit_ns[slot], table.job_id[slot], slot


def by_estimate(table: JobTable, slot: int) -> tuple[int, ...]:
    """Priority, then the shortest estimate; ties by submission, then id."""
    return -table.priority[slot], table.estimate_ns[slot], table.submit_ns[slot], table.job_id[slot], slot


class HeadQueue:
    """For strict head-of-line policies, which look at the first job only.

    A heap with lazy removal: a removed job is dropped when it comes to the top, or when most entries are removed jobs. The full order is
    made on request and kept until the queue changes.
    """

    def __init__(self, table: JobTable, order: Order) -> None:
        self._table, self._order = table, order
        self._heap: list[tuple[int, ...]] = []
        self._waiting: dict[int, int] = {}  # job id -> slot
        self._places: dict[int, int] | None = None  # slot -> position, in order; None: not known

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, slot: int) -> bool:
        return self._table.job_id[slot] in self._waiting

    def comes_before(self, slot: int, other: int) -> bool:
        """Whether the queue's order has ``slot`` before ``other``, wherever they are."""
        return self._order(self._table, slot) < self._order(self._table, other)

    def key(self, slot: int) -> tuple[int, ...]:
        """What the queue's order has of ``slot``, wherever it is."""
        return self._order(self._table, slot)

    def push(self, slot: int) -> None:
        self._places = None
        if len(self._heap) > 2 * len(self._waiting) + 64:
            self._heap = [self._order(self._table, other) for other in self._waiting.values()]
            heapify(self._heap)
        self._waiting[self._table.job_id[slot]] = slot
        heappush(self._heap, self._order(self._table, slot))

    def remove(self, slot: int) -> None:
        self._places = None
        self._waiting.pop(self._table.job_id[slot], None)

    def forget(self, slot: int) -> None:
        """As ``remove``, of a job that may come back under another key: nothing of it stays."""
        self.remove(slot)
        job_id = self._table.job_id[slot]
        self._heap = [key for key in self._heap if key[-2] != job_id]
        heapify(self._heap)

    def head(self) -> int:
        """The first job's slot, -1 when the queue is empty."""
        heap, waiting = self._heap, self._waiting
        while heap and heap[0][-2] not in waiting:
            heappop(heap)
        return heap[0][-1] if heap else -1

    def slots(self) -> Iterable[int]:
        """All slots, in no order."""
        return self._waiting.values()

    def in_order(self) -> Iterator[int]:
        """All slots, first to last."""
        return iter(self._in_order())

    def position(self, slot: int) -> int:
        """How many jobs are before the slot, which waits."""
        return self._in_order()[slot]

    def _in_order(self) -> dict[int, int]:
        if self._places is None:
            keys = sorted(self._order(self._table, slot) for slot in self._waiting.values())
            self._places = {key[-1]: place for place, key in enumerate(keys)}
        return self._places


#: The size in the columns of a job that is gone: larger than any that fits.
_GONE = 2**62
#: Up to so many entries are looked at one by one, which is faster than array operations and needs no columns.
_FEW = 32


class ScanQueue:
    """For backfilling policies: sorted keys, and columns beside them in which a few array operations find candidates behind the head.

    A removed job stays until most entries are removed jobs. Columns are filled when they are first read, so a job that starts at once has
    none.
    """

    def __init__(self, table: JobTable, order: Order, number: int = 0) -> None:
        """Of the host type ``number``, on which jobs may have a pace of their own."""
        self._table, self._order, self._number = table, order, number
        self._keys: list[tuple[int, ...]] = []
        self._first = 0  # everything before it is gone
        self._filled = 0  # keys that have their columns
        self._size = np.zeros(64, dtype=np.int64)
        self._expected_ns = np.zeros(64, dtype=np.int64)
        self._waiting: set[int] = set()  # job ids

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, slot: int) -> bool:
        return self._table.job_id[slot] in self._waiting

    def sorted(self, slots: Iterable[int]) -> list[int]:
        """Those of ``slots`` that wait, in the queue's order."""
        waiting = [slot for slot in slots if slot in self]
        return sorted(waiting, key=lambda slot: self._order(self._table, slot)) if len(waiting) > 1 else waiting

    def comes_before(self, slot: int, other: int) -> bool:
        """Whether the queue's order has ``slot`` before ``other``, wherever they are."""
        return self._order(self._table, slot) < self._order(self._table, other)

    def key(self, slot: int) -> tuple[int, ...]:
        """What the queue's order has of ``slot``, wherever it is."""
        return self._order(self._table, slot)

    def push(self, slot: int) -> None:
        key = self._order(self._table, slot)
        if len(self._keys) > 2 * len(self._waiting) + 64:
            self._drop_dead()
        keys = self._keys
        self._waiting.add(key[-2])
        if not keys or key > keys[-1]:
            keys.append(key)
            return
        self._fill()
        place = bisect_left(keys, key)
        self._first = min(self._first, place)
        if keys[place] == key:
            for column, value in zip(self._columns(), self._values(key), strict=True):
                column[place] = value
            return
        self._reserve(len(keys) + 1)
        for column, value in zip(self._columns(), self._values(key), strict=True):
            column[place + 1 : len(keys) + 1] = column[place : len(keys)].copy()
            column[place] = value
        keys.insert(place, key)
        self._filled = len(keys)

    def remove(self, slot: int) -> None:
        job_id = self._table.job_id[slot]
        if job_id in self._waiting:
            self._waiting.discard(job_id)
            if not self._waiting:
                self._keys.clear()
                self._first = self._filled = 0
            else:
                place = bisect_left(self._keys, self._order(self._table, slot), self._first)
                if place < self._filled:
                    self._size[place] = _GONE

    def forget(self, slot: int) -> None:
        """As ``remove``, of a job that may come back under another key: nothing of it stays."""
        self.remove(slot)
        self._drop_dead()

    def head(self) -> int:
        """The first job's slot, -1 when the queue is empty."""
        if not self._waiting:
            return -1
        while self._keys[self._first][-2] not in self._waiting:
            self._first += 1
        return self._keys[self._first][-1]

    def behind_head(self, most_gpus: int, short_ns: int, long_gpus: int) -> Iterator[int]:
        """Slots behind the head, in order, of jobs of at most ``most_gpus`` that are expected to take ``short_ns`` at most, or whose size
        is at most ``long_gpus``; a share of a GPU counts as less than any number of whole ones.

        ``head`` has been asked since the last change, and nothing changes until the last slot was taken.
        """
        keys, start, end = self._keys, self._first + 1, len(self._keys)
        if end - start <= _FEW:
            for key in keys[start:]:
                if key[-2] in self._waiting:
                    size, expected_ns = self._values(key)
                    if size <= most_gpus and (expected_ns <= short_ns or size <= long_gpus):
                        yield key[-1]
            return
        self._fill()
        sizes = self._size[start:end]
        wanted = sizes <= most_gpus
        if long_gpus < most_gpus:
            wanted &= (self._expected_ns[start:end] <= short_ns) | (sizes <= long_gpus)
        for position in wanted.nonzero()[0]:
            yield keys[start + position][-1]

    def position(self, slot: int) -> int:
        """How many jobs are before the slot, which waits."""
        self._fill()
        place = bisect_left(self._keys, self._order(self._table, slot))
        return int(np.count_nonzero(self._size[:place] < _GONE))

    def slots(self) -> Iterable[int]:
        """All slots, in no order."""
        return map(self._table.slot_of.__getitem__, self._waiting)

    def in_order(self) -> Iterator[int]:
        """All slots, first to last."""
        return (key[-1] for key in self._keys[self._first :] if key[-2] in self._waiting)

    def _columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._size, self._expected_ns

    def _values(self, key: tuple[int, ...]) -> tuple[int, int]:
        """The columns of one job. A share's size is below 0, and orders how hard it fits, as GPUs do."""
        table, slot = self._table, key[-1]
        if key[-2] not in self._waiting:
            return _GONE, 0
        milli = table.milli_gpus[slot]
        return table.size_gpus[slot] if milli == 1000 else milli - 1000, table.expected_on(slot, self._number)

    def _fill(self) -> None:
        """Fill the columns of what was appended."""
        keys = self._keys
        self._reserve(len(keys))
        for place in range(self._filled, len(keys)):
            self._size[place], self._expected_ns[place] = self._values(keys[place])
        self._filled = len(keys)

    def _reserve(self, size: int) -> None:
        capacity = len(self._size)
        if size > capacity:
            more = max(size, 2 * capacity) - capacity
            self._size, self._expected_ns = np.pad(self._size, (0, more)), np.pad(self._expected_ns, (0, more))

    def _drop_dead(self) -> None:
        self._keys = [key for key in self._keys if key[-2] in self._waiting]
        self._first = self._filled = 0
