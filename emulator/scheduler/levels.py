"""Counters of whole free hosts, one per unit of a level, that answer "which unit fits n hosts best" with a shift and a lowest bit."""

from heapq import heapify, heappop, heappush

#: Units larger than this are few: they are scanned rather than kept in one bucket per free count.
BUCKETED_HOSTS = 1024


class LevelCounters:
    """Whole free hosts per unit of one level.

    Units are bucketed by their count in lazy min-heaps (an entry whose unit has another count by now is dropped when met), with a
    bitmask of the buckets that may hold something. A unit whose count has changed is put into its bucket when the best one is asked for.
    """

    def __init__(self, name: str, counts: list[int], first_child: list[int]) -> None:
        """``counts[i]`` free hosts in unit i; its children, in the next finer level, are ``first_child[i]`` to ``first_child[i + 1]``."""
        self.name = name
        self.counts = counts
        self.first_child = first_child
        self.capacity = list(counts)
        self._buckets: list[list[int]] | None = None
        self._filled = 0
        self._moved: set[int] = set()  # units that may not be in the bucket of their count
        if max(counts) <= BUCKETED_HOSTS:
            self._buckets = [[] for _ in range(max(counts) + 1)]
            self._limit = 2 * len(counts) + 64
            for unit, count in enumerate(counts):
                self._buckets[count].append(unit)
                self._filled |= 1 << count

    def all_free(self) -> "LevelCounters":
        """Another of the same units, with all of their hosts free."""
        return LevelCounters(self.name, list(self.capacity), self.first_child)

    def copy(self) -> "LevelCounters":
        """Another that counts from here on by itself."""
        other = self.all_free()
        other.counts, other._filled = list(self.counts), self._filled
        other._buckets = None if self._buckets is None else [list(bucket) for bucket in self._buckets]
        other._moved = set(self._moved)
        return other

    def add(self, unit: int, change: int) -> None:
        """``change`` more whole hosts of ``unit`` are free."""
        self.counts[unit] += change
        if self._buckets is not None:
            self._moved.add(unit)

    def best(self, hosts: int) -> int:
        """The unit with the fewest free hosts that are still at least ``hosts`` (1 or more), the first such; -1 when there is none."""
        if self._buckets is None:
            fitting = [(count, unit) for unit, count in enumerate(self.counts) if count >= hosts]
            return min(fitting)[1] if fitting else -1
        if self._moved:
            self._put_moved(self._buckets)
        candidates = self._filled >> hosts
        while candidates:
            count = hosts + (candidates & -candidates).bit_length() - 1
            bucket = self._buckets[count]
            while bucket and self.counts[bucket[0]] != count:
                heappop(bucket)
            if bucket:
                return bucket[0]
            self._filled &= ~(1 << count)
            candidates = self._filled >> hosts
        return -1

    def _put_moved(self, buckets: list[list[int]]) -> None:
        for unit in self._moved:
            count = self.counts[unit]
            bucket = buckets[count]
            heappush(bucket, unit)
            self._filled |= 1 << count
            if len(bucket) > self._limit:
                bucket[:] = {other for other in bucket if self.counts[other] == count}
                heapify(bucket)
        self._moved.clear()

    def most_capacity(self) -> int:
        """Hosts of the largest unit, free or not."""
        return max(self.capacity)
