"""The flows of a plane as arrays: a row per flow, an entry per directed link that it loads."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from topology.cluster import Float64, Int64

#: Rows and entries that fit before the arrays grow.
_ROOM = 64
SECOND_NS = 1e9


class FlowTable:
    """Flows are added and removed in any order. A change costs the flow's own links; to look at all entries is one pass over arrays.

    Columns by row: ``flow`` (job id), ``cap``, ``rate``, ``lanes``, ``spans`` (it has links in other planes), ``sent`` (bytes per lane up
    to ``since_ns``), ``loaded`` (the rate that whoever keeps loads last took in). ``link``, ``row`` and ``weight`` are by entry; those of
    flows that are gone stand at link ``links``, one beyond the last, until they are swept up.
    """

    def __init__(self, links: int) -> None:
        self._dead_link = links
        self._row_of: dict[int, int] = {}
        self._sorted: Int64 | None = None
        self._free: list[int] = []
        self._rows = self._entries = self._dead = 0
        self.flow, self.lanes = np.empty(_ROOM, np.int64), np.empty(_ROOM)
        self.cap, self.rate = np.empty(_ROOM), np.empty(_ROOM)
        self.sent, self.since_ns, self.loaded = np.zeros(_ROOM), np.zeros(_ROOM, np.int64), np.zeros(_ROOM)
        self.spans = np.zeros(_ROOM, np.bool_)
        self._begin, self._size = np.zeros(_ROOM, np.int64), np.zeros(_ROOM, np.int64)
        self._link, self._row, self._weight = np.empty(_ROOM, np.intp), np.empty(_ROOM, np.intp), np.empty(_ROOM)

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, flow: int) -> bool:
        return flow in self._row_of

    @property
    def rows(self) -> int:
        """One more than the last row that ever held a flow."""
        return self._rows

    @property
    def link(self) -> NDArray[np.intp]:
        return self._link[: self._entries]

    @property
    def row(self) -> NDArray[np.intp]:
        return self._row[: self._entries]

    @property
    def weight(self) -> Float64:
        return self._weight[: self._entries]

    def row_of(self, flow: int) -> int:
        """The row of a flow. Raises KeyError if there is none."""
        return self._row_of[flow]

    def sorted_rows(self) -> Int64:
        """The rows in use, in order of flow. Do not write to the array."""
        if self._sorted is None:
            rows = np.fromiter(self._row_of.values(), np.int64, len(self._row_of))
            self._sorted = rows[np.argsort(self.flow[rows], kind="stable")]
        return self._sorted

    def span(self, row: int) -> slice:
        """The entries of one row."""
        return slice(int(self._begin[row]), int(self._begin[row] + self._size[row]))

    def spans_of(self, rows: Int64) -> tuple[Int64, Int64]:
        """The entries of several rows, row after row, and how many each has."""
        begin, size = self._begin[rows], self._size[rows]
        offset = np.cumsum(size) - size
        return np.arange(int(size.sum())) + np.repeat(begin - offset, size), size

    def add(self, flow: int, cap: float, lanes: float, spans: bool, link: Int64, weight: Float64, at_ns: int) -> int:
        """Add a flow that runs at its cap from ``at_ns`` on and has sent nothing. Returns its row."""
        row = self._free.pop() if self._free else self._rows
        if row == len(self.flow):
            for name in ("flow", "lanes", "cap", "rate", "sent", "since_ns", "loaded", "spans", "_begin", "_size"):
                column = getattr(self, name)
                setattr(self, name, np.concatenate((column, np.zeros_like(column))))
        self._rows = max(self._rows, row + 1)
        end = self._entries + len(link)
        if end > len(self._link):
            for name in ("_link", "_row", "_weight"):
                column = getattr(self, name)
                grown = np.empty(max(end, 2 * len(column)), column.dtype)
                grown[: self._entries] = column[: self._entries]
                setattr(self, name, grown)
        place = slice(self._entries, end)
        self._link[place], self._row[place], self._weight[place] = link, row, weight
        self._begin[row], self._size[row], self._entries = self._entries, len(link), end
        self.flow[row], self.cap[row], self.rate[row], self.lanes[row], self.spans[row] = flow, cap, cap, lanes, spans
        self.sent[row], self.since_ns[row], self.loaded[row] = 0.0, at_ns, 0.0
        self._row_of[flow], self._sorted = row, None
        return row

    def set_rates(self, rows: Int64, rates: Float64, at_ns: int) -> None:
        self.sent[rows] = self.sent_at(rows, at_ns)
        self.since_ns[rows], self.rate[rows] = at_ns, rates

    def sent_at(self, rows: Int64, at_ns: int) -> Float64:
        """Bytes that each lane of the flows has sent."""
        return np.asarray(self.sent[rows] + self.rate[rows] * ((at_ns - self.since_ns[rows]) / SECOND_NS))

    def remove(self, flow: int) -> None:
        row, self._sorted = self._row_of.pop(flow), None
        self._link[self.span(row)] = self._dead_link
        self._dead += int(self._size[row])
        self._size[row], self.spans[row] = 0, False
        self.rate[row] = self.loaded[row] = 0.0
        self._free.append(row)
        if self._dead > max(_ROOM, self._entries // 2):
            self._sweep()

    def _sweep(self) -> None:
        """Remove the entries of flows that are gone. The others keep their order, so those of a row stay together."""
        kept = np.flatnonzero(self.link != self._dead_link)
        for name in ("_link", "_row", "_weight"):
            column = getattr(self, name)
            column[: len(kept)] = column[kept]
        self._entries, self._dead = len(kept), 0
        row = self.row
        first = np.flatnonzero(np.diff(row, prepend=-1))
        self._begin[row[first]] = first

    def connected(self, seeds: NDArray[np.bool_], entries: NDArray[np.intp], links: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The rows that ``seeds`` (by row) and ``links`` (by directed link, one more than there are) reach through ``entries``."""
        row, link = self._row[entries], self._link[entries]
        reached, mark = seeds.copy(), links.copy()
        count = -1
        while count != (count := int(np.count_nonzero(reached))):
            mark[link[reached[row]]] = True
            reached[row[mark[link]]] = True
        return reached

    def rows_of(self, flows: Iterable[int]) -> NDArray[np.bool_]:
        found = np.zeros(self._rows, dtype=np.bool_)
        found[[self._row_of[flow] for flow in flows]] = True
        return found
