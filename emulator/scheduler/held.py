"""Jobs of one partition that wait because their queue is over quota or their tenant over its limit. They are in no policy's way.

They come back to the queue when there is room for them: not before, so a long backlog over quota costs a cycle next to nothing.
"""

from collections.abc import Callable, Collection, Iterator

from emulator.scheduler.accounts import Accounts
from emulator.scheduler.table import JobTable

#: What a policy sorts by.
Key = Callable[[int], tuple[int, ...]]


class Held:
    """By queue and tenant, since a quota and a limit are theirs. ``strict``: the queues in which nobody passes a job that is held."""

    def __init__(self, table: JobTable, host_type: int, strict: Collection[int]) -> None:
        self._table, self._host_type, self._strict = table, host_type, strict
        self._groups: dict[tuple[int, int], set[int]] = {}
        self._smallest: dict[tuple[int, int], int] = {}  # milli-GPUs of the smallest job; once it has left, still no more than that
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, slot: int) -> bool:
        return slot in self._groups.get((self._table.queue[slot], self._table.tenant[slot]), ())

    def __iter__(self) -> Iterator[int]:
        """In no order."""
        return (slot for slots in self._groups.values() for slot in slots)

    def of_queue(self, queue: int) -> list[int]:
        """Those of one queue, in no order."""
        return [slot for (other, _), slots in self._groups.items() if other == queue for slot in slots]

    def add(self, slot: int) -> None:
        table = self._table
        group, milli_gpus = (table.queue[slot], table.tenant[slot]), table.gpus[slot] * table.milli_gpus[slot]
        slots = self._groups.setdefault(group, set())
        if slot not in slots:
            slots.add(slot)
            self._count += 1
            self._smallest[group] = min(milli_gpus, self._smallest.get(group, milli_gpus))

    def discard(self, slot: int) -> None:
        group = self._table.queue[slot], self._table.tenant[slot]
        if slot in self._groups.get(group, ()):
            self._groups[group].discard(slot)
            self._count -= 1
            if not self._groups[group]:
                del self._groups[group], self._smallest[group]

    def bars(self, slot: int, key: Key) -> bool:
        """Whether the job, which is not held, is behind one that is, in a queue that is strict."""
        queue = self._table.queue[slot]
        return queue in self._strict and any(key(other) < key(slot) for other in self.of_queue(queue))

    def return_those_with_room(self, accounts: Accounts, key: Key) -> list[int]:
        """Those that may start now, one by one, in order; they are held no longer. Of a strict queue all, where the first one may."""
        table, found = self._table, list[int]()
        for (queue, tenant), slots in self._groups.items():
            if queue not in self._strict:
                room = accounts.room(queue, tenant, self._host_type)
                if room >= self._smallest[queue, tenant]:
                    sizes = {slot: table.gpus[slot] * table.milli_gpus[slot] for slot in slots}
                    self._smallest[queue, tenant] = min(sizes.values())
                    found += [slot for slot, size in sizes.items() if size <= room]
        for queue in {queue for queue, _ in self._groups if queue in self._strict}:
            slots_in_queue = self.of_queue(queue)
            if accounts.allows(min(slots_in_queue, key=key), self._host_type):
                found += slots_in_queue
        for slot in found:
            self.discard(slot)
        return sorted(found, key=key)
