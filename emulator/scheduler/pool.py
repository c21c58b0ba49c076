"""The pending jobs of policies whose order changes from cycle to cycle, as columns in no order; a policy arranges them when it looks."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.pending import by_submission
from emulator.scheduler.table import JobTable

Int64 = NDArray[np.int64]
#: What a pool keeps of each job, as in `JobTable`.
COLUMNS = ("slot", "job_id", "submit_ns", "estimate_ns", "expected_ns", "gpus", "size_gpus", "milli_gpus", "priority", "queue", "tenant")


class Pool:
    """``arrange`` gives the order; who comes later is behind it until the next time. A removed job stays until most are removed jobs."""

    def __init__(self, table: JobTable, number: int = 0) -> None:
        """Of the host type ``number``, on which jobs may have a pace of their own."""
        self._table, self._number = table, number
        #: ``stay`` is a number that each push has of its own.
        self._columns = {name: np.zeros(64, dtype=np.int64) for name in (*COLUMNS, "stay")}
        self._stays = 0
        self._waits = np.zeros(64, dtype=bool)
        self._end = 0  # rows in use
        self._row_of: dict[int, int] = {}  # slot -> row
        self._order = np.zeros(0, dtype=np.int64)  # rows, first to last
        self._first = 0  # everything before it in the order has left

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, slot: int) -> bool:
        return slot in self._row_of

    def key(self, slot: int) -> tuple[int, ...]:
        """What orders jobs that are not in the pool."""
        return by_submission(self._table, slot)

    def comes_before(self, slot: int, other: int) -> bool:
        """Whether ``slot`` has its turn before ``other``, which was stopped in this cycle."""
        return self._table.priority[slot] > self._table.priority[other]

    # -- jobs come and go -----------------------------------------------------------------------------------------------------------

    def push(self, slot: int) -> None:
        if self._end == len(self._waits):
            self._make_room()
        row, table = self._end, self._table
        self._columns["slot"][row] = slot
        for name in COLUMNS[1:]:
            self._columns[name][row] = getattr(table, name)[slot]
        self._columns["stay"][row] = self._stays
        self._stays += 1
        self._columns["expected_ns"][row] = table.expected_on(slot, self._number)
        self._waits[row] = True
        self._row_of[slot] = row
        self._end += 1

    def remove(self, slot: int) -> None:
        if (row := self._row_of.pop(slot, None)) is not None:
            self._waits[row] = False

    def forget(self, slot: int) -> None:
        """As ``remove``: a job that comes back has another row."""
        self.remove(slot)

    def _make_room(self) -> None:
        """Drop the rows of those that have left; where these are few, double the columns."""
        kept = self._in_order()
        self._end, self._first = len(kept), 0
        size = len(self._waits) if 2 * len(kept) < len(self._waits) else 2 * len(self._waits)
        for name, column in self._columns.items():
            self._columns[name] = np.concatenate((column[kept], np.zeros(size - len(kept), dtype=np.int64)))
        self._waits = np.arange(size) < len(kept)
        self._order = np.arange(len(kept))
        self._row_of = {slot: row for row, slot in enumerate(self._columns["slot"][: len(kept)].tolist())}

    # -- the order ------------------------------------------------------------------------------------------------------------------

    def columns(self, *names: str) -> dict[str, Int64]:
        """The columns of all who wait, in no order; ``arrange`` takes keys beside them. Without names, all columns."""
        rows = self._rows()
        return {name: self._columns[name][rows] for name in names or self._columns}

    def in_turn(self, *names: str) -> dict[str, Int64]:
        """As ``columns``, first to last."""
        rows = self._in_order()
        return {name: self._columns[name][rows] for name in names or self._columns}

    def arrange(self, *keys: NDArray[np.generic]) -> None:
        """Sort by ``keys``, the first of them first, the smallest value in front; ties by submission, then id."""
        rows = self._rows()
        ties = self._columns["job_id"][rows], self._columns["submit_ns"][rows]
        self._order = rows[np.lexsort((*ties, *reversed(keys)))]
        self._first = 0

    def _rows(self) -> Int64:
        return np.flatnonzero(self._waits[: self._end])

    def _in_order(self) -> Int64:
        """The rows of all who wait, first to last; who was not there when they were arranged is last."""
        placed = np.zeros(self._end, dtype=bool)
        placed[self._order] = True
        rows = np.concatenate((self._order[self._first :], np.flatnonzero(~placed)))
        return rows[self._waits[rows]]

    def head(self) -> int:
        """The first job's slot, -1 when nobody waits."""
        while self._first < len(self._order):
            row = int(self._order[self._first])
            if self._waits[row]:
                return int(self._columns["slot"][row])
            self._first += 1
        return next(self.in_order(), -1)

    def slots(self) -> Iterable[int]:
        """All slots, in no order."""
        return self._row_of

    def in_order(self) -> Iterator[int]:
        """All slots, first to last."""
        return iter(self._columns["slot"][self._in_order()].tolist())

    def position(self, slot: int) -> int:
        """How many jobs are before the slot, which waits."""
        return int(np.flatnonzero(self._in_order() == self._row_of[slot])[0])

    def sorted(self, slots: Iterable[int]) -> list[int]:
        """Those of ``slots`` that wait, first to last."""
        waiting = {self._row_of[slot] for slot in slots if slot in self}
        if len(waiting) < 2:
            return [int(self._columns["slot"][row]) for row in waiting]
        rows = self._in_order()
        slots_in_order: list[int] = self._columns["slot"][rows[np.isin(rows, list(waiting))]].tolist()
        return slots_in_order

    def behind_head(self, most_gpus: int, short_ns: int, long_gpus: int) -> Iterator[int]:
        """As ``ScanQueue.behind_head``."""
        rows = self._in_order()[1:]
        milli_gpus = self._columns["milli_gpus"][rows]
        size = np.where(milli_gpus == 1000, self._columns["size_gpus"][rows], milli_gpus - 1000)
        wanted = size <= most_gpus
        if long_gpus < most_gpus:
            wanted &= (self._columns["expected_ns"][rows] <= short_ns) | (size <= long_gpus)
        return iter(self._columns["slot"][rows[wanted]].tolist())
