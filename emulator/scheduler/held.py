"""Jobs of one partition that wait because their queue is over quota or their tenant over its limit. They are in no policy's way.

They come back to the queue when there is room for them, and no more of them at once than the room is for: so a long backlog over quota
costs a cycle next to nothing.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from heapq import merge
from typing import NamedTuple

from emulator.scheduler.accounts import Accounts
from emulator.scheduler.table import JobTable

#: What a policy sorts by, of a slot, which it ends with (``pending.Order``).
Key = Callable[[int], tuple[int, ...]]
#: In place of a tenant where a queue is strict: its jobs are one line.
_ALL_TENANTS = -1


class Span(NamedTuple):
    """Jobs before or behind a key."""

    key: tuple[int, ...]
    before: bool

    def has(self, key: tuple[int, ...]) -> bool:
        return (key < self.key) == self.before

    def of(self, keys: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Those of the sorted ``keys`` that are in it."""
        place = bisect_left(keys, self.key)
        return keys[:place] if self.before else keys[place:]


#: Behind a key that is before all others.
EVERYBODY = Span((), before=False)


class Held:
    """By queue and tenant, since a quota and a limit are theirs. ``strict``: the queues in which nobody passes a job that is held."""

    def __init__(self, table: JobTable, host_type: int, strict: Collection[int], key: Key) -> None:
        self._table, self._host_type, self._strict, self._key = table, host_type, strict, key
        self._slots: set[int] = set()
        self._groups: dict[tuple[int, int], list[tuple[int, ...]]] = {}  # keys, sorted
        self._of_queue: Counter[int] = Counter()
        self._sizes: dict[tuple[int, int], Counter[int]] = {}  # milli-GPUs -> jobs
        #: Who has been looked at in this cycle, and had no room.
        self._looked_at: set[int] = set()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, slot: int) -> bool:
        return slot in self._slots

    def __iter__(self) -> Iterator[int]:
        """In order."""
        return (key[-1] for key in merge(*self._groups.values()))

    @property
    def unseen(self) -> bool:
        """Whether there are any that have not been looked at in this cycle."""
        return len(self._looked_at) < len(self._slots)

    def of_queue(self, queue: int) -> int:
        """How many there are of one queue."""
        return self._of_queue[queue]

    def is_strict(self, queue: int) -> bool:
        """Whether nobody in the queue passes a job that is held."""
        return queue in self._strict

    def first_of_strict(self, queue: int) -> int | None:
        """Whom the others in a queue that is strict wait for; None where nobody of it is held, and where it is not strict."""
        keys = self._groups.get((queue, _ALL_TENANTS))
        return keys[0][-1] if keys else None

    def bars(self, slot: int) -> bool:
        """Whether the job is behind one that is held, in a queue that is strict."""
        if not self._strict:
            return False
        first = self.first_of_strict(self._table.queue[slot])
        return first is not None and self._key(first) < self._key(slot)

    def _group(self, slot: int) -> tuple[int, int]:
        queue = self._table.queue[slot]
        return queue, _ALL_TENANTS if queue in self._strict else self._table.tenant[slot]

    def _size(self, slot: int) -> int:
        return self._table.size_gpus[slot] * self._table.milli_gpus[slot]

    def begin(self) -> None:
        """A new cycle: everybody is looked at again."""
        self._looked_at.clear()

    def add(self, slot: int) -> None:
        if slot in self._slots:
            return
        group, size = self._group(slot), self._size(slot)
        self._slots.add(slot)
        self._of_queue[group[0]] += 1
        self._looked_at.add(slot)
        insort(self._groups.setdefault(group, []), self._key(slot))
        self._sizes.setdefault(group, Counter())[size] += 1

    def discard(self, slot: int) -> None:
        if slot not in self._slots:
            return
        group = self._group(slot)
        keys = self._groups[group]
        self._slots.discard(slot)
        self._of_queue[group[0]] -= 1
        self._looked_at.discard(slot)
        del keys[bisect_left(keys, self._key(slot))]
        sizes, size = self._sizes[group], self._size(slot)
        sizes[size] -= 1
        if not sizes[size]:
            del sizes[size]
        if not keys:
            del self._groups[group], self._sizes[group]

    def return_all(self) -> list[int]:
        """All, in order; nobody is held any longer."""
        found = list(self)
        for slot in found:
            self.discard(slot)
        return found

    def return_those_with_room(self, accounts: Accounts, span: Span, times: int) -> list[int]:
        """Of those in ``span`` that have not been looked at in this cycle and that have room, as many as would fill it ``times`` times, in
        order. They are held no longer. Of a strict queue they are the first ones.
        """
        found: list[int] = []
        for queue in {queue: None for queue, _ in self._groups}:
            room = accounts.quota_room(queue, self._host_type)
            if room > 0:
                found += (self._of_strict if queue in self._strict else self._of)(queue, room, accounts, span, times)
        for slot in found:
            self.discard(slot)
        return sorted(found, key=self._key)

    def _of(self, queue: int, room: int, accounts: Accounts, span: Span, times: int) -> Iterator[int]:
        rooms: dict[int, int] = {}  # by tenant
        least = room
        for (other, tenant), sizes in self._sizes.items():
            if other == queue and (smallest := min(sizes)) <= room and (rest := min(room, accounts.tenant_room(tenant))) >= smallest:
                rooms[tenant] = rest
                least = min(least, smallest)
        left, lefts = room * times, {tenant: rest * times for tenant, rest in rooms.items()}
        for key in merge(*(span.of(self._groups[queue, tenant]) for tenant in rooms)):
            slot = key[-1]
            size, tenant = self._size(slot), self._table.tenant[slot]
            if slot not in self._looked_at and size <= rooms[tenant] and size <= min(left, lefts[tenant]):
                left -= size
                lefts[tenant] -= size
                yield slot
                if left < least:
                    break

    def _of_strict(self, queue: int, room: int, accounts: Accounts, span: Span, times: int) -> Iterator[int]:
        left, keys = room * times, self._groups[queue, _ALL_TENANTS]
        for key in keys if span.has(keys[0]) else ():
            slot = key[-1]
            left -= self._size(slot)
            if slot in self._looked_at or left < 0 or not span.has(key) or not accounts.allows(slot, self._host_type):
                break
            yield slot
