"""When the hosts of a partition are free, and when GPUs of hosts that are held in part are.

A *span* is a time, as long as it can be, in which nobody holds certain hosts of a block, or certain GPUs of a host. A job that takes ``d``
ns and starts at ``t`` may have all whose spans begin by ``t`` and end at ``t + d`` or later. So counts of spans say exactly whether there
are enough whole hosts for it. Most jobs that find no earlier start are turned away since all spans that are long enough have too few hosts.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.free import mask_bits
from emulator.scheduler.table import NEVER

Int64 = NDArray[np.int64]


class Holding(NamedTuple):
    """``hosts`` of a block are held, on each of them the GPUs ``gpus``, of each of which ``milli_gpus``."""

    start_ns: int
    end_ns: int
    hosts: int
    gpus: int
    milli_gpus: int


class Need(NamedTuple):
    """``hosts`` whole hosts and ``rest`` GPUs of one more, or ``milli_gpus`` of a single GPU; ``units``: the unit of each block, where all
    the hosts have to be in one.
    """

    hosts: int
    rest: int
    milli_gpus: int
    units: NDArray[np.int64] | None


class Spans:
    """Spans by *place*, a number: each with ``count`` things of which ``milli_gpus`` are free. Columns of one table."""

    def __init__(self) -> None:
        self._rows_of: dict[int, list[int]] = {}
        self._table = np.full((5, 64), -1, dtype=np.int64)  # since, until, place, count, milli-GPUs; -1 where a row is not used
        self._unused: list[int] = []
        self._end = 0  # rows in use

    def put(self, place: int, spans: Sequence[tuple[int, int, int, int]]) -> None:
        """Those of ``place`` are these from now on: (since_ns, until_ns, count, milli_gpus)."""
        rows = self._rows_of.setdefault(place, [])
        while len(rows) > len(spans):
            row = rows.pop()
            self._table[1, row] = -1
            self._unused.append(row)
        while len(rows) < len(spans):
            if not self._unused:
                if self._end == self._table.shape[1]:
                    self._table = np.pad(self._table, ((0, 0), (0, self._end)), constant_values=-1)
                self._unused.append(self._end)
                self._end += 1
            rows.append(self._unused.pop())
        if spans:
            self._table[:, rows] = np.array([(since, until, place, count, milli) for since, until, count, milli in spans]).T
        else:
            del self._rows_of[place]

    def for_jobs(self, duration_ns: int, from_ns: int, before_ns: int) -> Int64:
        """For who takes so long, and starts from ``from_ns`` on and before ``before_ns``: as rows of a table, the first and the last start
        in each span that is of use, its place, count and milli-GPUs.
        """
        table = self._table[:, : self._end]
        since, last = table[0], table[1] - duration_ns
        found = table[:, np.flatnonzero((last >= since) & (last >= from_ns) & (since < before_ns))]
        found[1] -= duration_ns
        return found


class FreeTimes:
    """The spans of all hosts that are offered. A block is looked at again when it is asked for after it changed."""

    def __init__(self, block_hosts: Sequence[int], first_host: Sequence[int], full: int) -> None:
        """``block_hosts``: of each block a mask of its hosts; ``full``: of the GPUs of a host."""
        self._first_host, self._full = first_host, full
        self._offered = [0] * len(block_hosts)
        self._held: list[dict[int, Holding]] = [{} for _ in block_hosts]
        self._free: list[dict[tuple[int, int], int]] = [{} for _ in block_hosts]  # by block: (since, until) -> hosts
        self._in_part = [0] * len(block_hosts)  # by block: hosts that have spans of GPUs
        self._changed: dict[int, int] = {}  # block -> hosts
        self._hosts, self._gpus = Spans(), Spans()  # by block, and by host
        for block, hosts in enumerate(block_hosts):
            if hosts:
                self.offer(block, hosts)

    # -- changes --------------------------------------------------------------------------------------------------------------------

    def offer(self, block: int, hosts: int) -> None:
        """The hosts of the block that may be used are these."""
        self._change(block, self._offered[block] ^ hosts)
        self._offered[block] = hosts

    def hold(self, row: int, block: int, holding: Holding) -> None:
        """A holding, by the name ``row``."""
        self._held[block][row] = holding
        self._change(block, holding.hosts)

    def drop(self, row: int, block: int) -> None:
        """It is no more."""
        self._change(block, self._held[block].pop(row).hosts)

    def _change(self, block: int, hosts: int) -> None:
        self._changed[block] = self._changed.get(block, 0) | hosts

    def _look(self, now_ns: int) -> None:
        """See to the hosts that changed."""
        for block, hosts in self._changed.items():
            held = [holding for holding in self._held[block].values() if holding.hosts & hosts]
            spans: dict[tuple[int, int], int] = {}
            for (since_ns, until_ns), others in self._free[block].items():
                if others & ~hosts and until_ns > now_ns:
                    key = max(since_ns, now_ns), until_ns
                    spans[key] = spans.get(key, 0) | (others & ~hosts)
            offered = hosts & self._offered[block]
            for since_ns, until_ns, free in free_spans([holding[:3] for holding in held], offered, now_ns):
                spans[since_ns, until_ns] = spans.get((since_ns, until_ns), 0) | free
            self._free[block] = spans
            self._hosts.put(block, [(since_ns, until_ns, free.bit_count(), 1000) for (since_ns, until_ns), free in spans.items()])
            self._look_at_parts(block, hosts, held, now_ns)
        self._changed.clear()

    def _look_at_parts(self, block: int, hosts: int, held: Iterable[Holding], now_ns: int) -> None:
        parts = 0
        for holding in held:
            if holding.gpus != self._full or holding.milli_gpus < 1000:
                parts |= holding.hosts
        parts &= hosts & self._offered[block]
        for bit in mask_bits((self._in_part[block] & hosts) | parts):
            there = [holding for holding in held if holding.hosts >> bit & 1] if parts >> bit & 1 else []
            self._gpus.put(self._first_host[block] + bit, list(_spans_of_gpus(there, self._full, now_ns)) if there else [])
        self._in_part[block] = (self._in_part[block] & ~hosts) | parts

    # -- where there is room --------------------------------------------------------------------------------------------------------

    def starts(
        self, need: Need, duration_ns: int, now_ns: int, from_ns: int, before_ns: int, own: Sequence[tuple[int, int]] = ()
    ) -> Iterator[int]:
        """Times at which enough hosts are free for ``duration_ns``, and ``rest`` GPUs of one more or of a host that is held in part.

        The first fit is always at one of them: it is when somebody's holding ends, or now. ``own``: holdings (name, block) of the job
        itself, which are as free; then it takes as long as they do, and would end after they begin.
        """
        self._look(now_ns)
        found = self._hosts.for_jobs(duration_ns, from_ns, before_ns)
        parts = self._gpus.for_jobs(duration_ns, from_ns, before_ns) if need.rest else found[:, :0]
        if own:
            for_hosts, for_gpus = self._spans_up_to(own, duration_ns, now_ns, before_ns)
            if for_hosts:
                found = np.concatenate((found, np.array(for_hosts).T), axis=1)
            if for_gpus and need.rest:
                parts = np.concatenate((parts, np.array(for_gpus).T), axis=1)
        if found[3].sum() < need.hosts:
            return
        first, last, block, count, _ = found
        parts = parts[:, parts[4] >= need.milli_gpus]
        if need.rest > 1 and parts.shape[1]:
            parts = parts[:, np.bincount(parts[2], weights=parts[3])[parts[2]] >= need.rest]
        times = np.concatenate((first, parts[0]))
        times = np.unique(np.maximum(times, now_ns))
        times = times[times >= from_ns]
        by_first, by_last = np.argsort(first), np.argsort(last)
        begun = np.append(0, np.cumsum(count[by_first]))[np.searchsorted(first[by_first], times, side="right")]
        free = begun - np.append(0, np.cumsum(count[by_last]))[np.searchsorted(last[by_last], times, side="left")]
        enough = free >= need.hosts
        for start_ns, more in zip(times[enough].tolist(), (free[enough] > need.hosts).tolist(), strict=True):
            if need.units is not None:
                there = (first <= start_ns) & (last >= start_ns)
                if np.bincount(need.units[block[there]], weights=count[there]).max() < need.hosts:
                    continue
            if need.rest and not more:
                there = (parts[0] <= start_ns) & (parts[1] >= start_ns)
                if np.bincount(parts[2, there], weights=parts[3, there], minlength=1).max() < need.rest:
                    continue
            yield start_ns

    def _spans_up_to(
        self, own: Sequence[tuple[int, int]], duration_ns: int, now_ns: int, before_ns: int
    ) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Spans of hosts and of GPUs that end where these holdings begin, as ``Spans.for_jobs`` gives them, were they longer by those."""
        for_hosts: list[tuple[int, ...]] = []
        for_gpus: list[tuple[int, ...]] = []
        for row, block in own:
            mine = self._held[block][row]
            if mine.gpus == self._full and mine.milli_gpus == 1000:
                for (since_ns, until_ns), hosts in self._free[block].items():
                    if until_ns == mine.start_ns and hosts & mine.hosts and since_ns < before_ns:
                        for_hosts.append((since_ns, mine.start_ns, block, (hosts & mine.hosts).bit_count(), 1000))
                continue
            others = [other for name, other in self._held[block].items() if other.hosts & mine.hosts and name != row]
            for since_ns, until_ns, _ in free_spans([other[:3] for other in others], mine.hosts, now_ns):
                if since_ns < before_ns and until_ns > mine.start_ns:
                    for_hosts.append((since_ns, until_ns - duration_ns, block, 1, 1000))
            host = self._first_host[block] + mine.hosts.bit_length() - 1
            for since_ns, until_ns, count, milli_gpus in _spans_of_gpus(others, self._full, now_ns):
                if since_ns < before_ns and until_ns > mine.start_ns:
                    for_gpus.append((since_ns, until_ns - duration_ns, host, count, milli_gpus))
        return for_hosts, for_gpus


def free_spans(held: Iterable[tuple[int, int, int]], mask: int, now_ns: int) -> list[tuple[int, int, int]]:
    """Of the things in ``mask``, of which some are held (start, end, which): the spans (since, until, which) from ``now_ns`` on."""
    since = {now_ns: mask}  # since when which are free, after the holdings so far
    spans = []
    for start_ns, end_ns, which in sorted(held):
        for since_ns, free in list(since.items()):
            taken = free & which
            if not taken or since_ns >= end_ns:
                continue
            if since_ns < start_ns:
                spans.append((since_ns, start_ns, taken))
            if taken == free:
                del since[since_ns]
            else:
                since[since_ns] = free ^ taken
            since[end_ns] = since.get(end_ns, 0) | taken
    return spans + [(since_ns, NEVER, free) for since_ns, free in since.items() if free]


def _spans_of_gpus(held: Sequence[Holding], full: int, now_ns: int) -> Iterator[tuple[int, int, int, int]]:
    """The spans (since, until, how many, milli-GPUs) of the GPUs of one host."""
    for since_ns, until_ns, free in free_spans([(one.start_ns, one.end_ns, one.gpus) for one in held], full, now_ns):
        yield since_ns, until_ns, free.bit_count(), 1000
    for gpu in sorted({one.gpus for one in held if one.milli_gpus < 1000}):
        yield from _spans_of_share([one for one in held if one.gpus & gpu], now_ns)


def _spans_of_share(held: Sequence[Holding], now_ns: int) -> Iterator[tuple[int, int, int, int]]:
    """Of a GPU that is shared: for each amount that is free at some time, the spans in which as much is."""
    marks = sorted({now_ns, NEVER, *(time for one in held for time in one[:2] if time > now_ns)})
    free = [1000 - sum([one.milli_gpus for one in held if one.start_ns <= mark < one.end_ns]) for mark in marks[:-1]]
    for amount in {milli for milli in free if 0 < milli < 1000}:
        enough = [milli >= amount for milli in free]
        for first in [step for step in range(len(free)) if enough[step] and not (step and enough[step - 1])]:
            last = enough.index(False, first) if False in enough[first:] else len(free)
            yield marks[first], marks[last], 1, amount
