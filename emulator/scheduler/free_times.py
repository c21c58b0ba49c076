"""When the hosts of a partition are free, and when GPUs of hosts that are held in part are.

A *span* is a time, as long as it can be, in which nobody holds certain hosts of a block, or certain GPUs of a host. A job that takes ``d``
ns and starts at ``t`` may have all whose spans begin by ``t`` and end at ``t + d`` or later. So counts of spans say exactly whether there
are enough whole hosts for it. Most jobs that find no earlier start are turned away since all spans that are long enough have too few hosts.
"""

from collections import Counter
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


#: Since when, until when, the place (a number), and how much is free of each thing.
Span = tuple[int, int, int, int]


class Spans:
    """How many things are free in which span: a dict, and a table of it whose columns are searched."""

    def __init__(self) -> None:
        self._row_of: dict[Span, int] = {}
        self._table = np.full((5, 64), -1, dtype=np.int64)  # a span and its count; -1 where a row is not used
        self._unused = list(range(64))
        self._changed: dict[int, tuple[int, ...]] = {}  # rows that are to be written

    def put(self, span: Span, count: int) -> None:
        """So many things are free in it from now on."""
        if not count:
            row = self._row_of.pop(span)
            self._unused.append(row)
            self._changed[row] = (-1, -1, -1, -1, -1)
            return
        if span not in self._row_of:
            if not self._unused:
                rows = self._table.shape[1]
                self._table = np.pad(self._table, ((0, 0), (0, rows)), constant_values=-1)
                self._unused.extend(range(rows, 2 * rows))
            self._row_of[span] = self._unused.pop()
        self._changed[self._row_of[span]] = (*span, count)

    def for_jobs(self, duration_ns: int, from_ns: int, before_ns: int) -> Int64:
        """For who takes so long, and starts from ``from_ns`` on and before ``before_ns``: as rows of a table, the first and the last start
        in each span that is of use, its place, what is free of each thing, and how many there are.
        """
        if self._changed:
            self._table[:, list(self._changed)] = np.array(list(self._changed.values())).T
            self._changed.clear()
        since, last = self._table[0], self._table[1] - duration_ns
        found = self._table[:, np.flatnonzero((last >= since) & (last >= from_ns) & (since < before_ns))]
        found[1] -= duration_ns
        return found


class FreeTimes:
    """The spans of all hosts that are offered. A block is looked at again when it is asked for after it changed."""

    def __init__(self, block_hosts: Sequence[int], first_host: Sequence[int], full: int) -> None:
        """``block_hosts``: of each block a mask of its hosts; ``full``: of the GPUs of a host."""
        self._first_host, self._full = first_host, full
        self._offered = [0] * len(block_hosts)
        self._held: list[dict[int, Holding]] = [{} for _ in block_hosts]  # those of whole hosts
        self._held_in_part: dict[int, dict[int, Holding]] = {}  # and, by host, the others
        self._free: list[dict[tuple[int, int], int]] = [{} for _ in block_hosts]  # by block: (since, until) -> hosts
        self._free_in_part: dict[int, Counter[Span]] = {}  # by host, if it is held in part: span -> GPUs
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

    def hold(self, row: int, block: int, host: int, holding: Holding) -> None:
        """A holding, by the name ``row``: of a part of ``host``, or of whole hosts where that is -1."""
        (self._held[block] if host < 0 else self._held_in_part.setdefault(host, {}))[row] = holding
        self._change(block, holding.hosts)

    def drop(self, row: int, block: int, host: int) -> None:
        """It is no more."""
        self._change(block, (self._held[block] if host < 0 else self._held_in_part[host]).pop(row).hosts)
        if host >= 0 and not self._held_in_part[host]:
            del self._held_in_part[host]

    def _change(self, block: int, hosts: int) -> None:
        self._changed[block] = self._changed.get(block, 0) | hosts

    def _look(self, now_ns: int) -> None:
        """Find the spans of the hosts that changed anew."""
        for block, hosts in self._changed.items():
            spans = self._free[block]
            before = {key: free for key, free in spans.items() if free & hosts}
            after = {key: free & ~hosts for key, free in before.items()}
            offered = hosts & self._offered[block]
            held = [holding for holding in self._held[block].values() if holding.hosts & hosts]
            for host in self._in_part(block, hosts):
                held += self._held_in_part.get(host, {}).values()
                self._look_at_part(block, host, held, now_ns)
            for since_ns, until_ns, free in free_spans([holding[:3] for holding in held], offered, now_ns):
                key = since_ns, until_ns
                after[key] = after.get(key, spans.get(key, 0)) | free
            for key, free in after.items():
                if free:
                    spans[key] = free
                elif key in before:
                    del spans[key]
                if free != before.get(key):
                    self._hosts.put((*key, block, 1000), free.bit_count())
        self._changed.clear()

    def _in_part(self, block: int, hosts: int) -> list[int]:
        """Those of the hosts of which a part is held, or was."""
        first = self._first_host[block]
        return [first + bit for bit in mask_bits(hosts) if first + bit in self._held_in_part or first + bit in self._free_in_part]

    def _look_at_part(self, block: int, host: int, held: Iterable[Holding], now_ns: int) -> None:
        """``held`` has all holdings of the host."""
        bit = host - self._first_host[block]
        before, after = self._free_in_part.pop(host, Counter()), Counter[Span]()
        if host in self._held_in_part and self._offered[block] >> bit & 1:
            there = [holding for holding in held if holding.hosts >> bit & 1]
            after = self._free_in_part[host] = _spans_of_gpus(there, host, self._full, now_ns)
        for span in before.keys() - after.keys():
            self._gpus.put(span, 0)
        for span, count in after.items():
            if count != before[span]:
                self._gpus.put(span, count)

    # -- where there is room --------------------------------------------------------------------------------------------------------

    def starts(
        self, need: Need, duration_ns: int, now_ns: int, from_ns: int, before_ns: int, own: Sequence[tuple[int, int, int]] = ()
    ) -> Iterator[int]:
        """Times at which enough hosts are free for ``duration_ns``, and ``rest`` GPUs of one more or of a host that is held in part.

        The first fit is always at one of them: it is when somebody's holding ends, or now. ``own``: holdings (name, block, host) of the
        job itself, which are as free; then it takes as long as they do, and would end after they begin.
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
        if int(found[4].sum()) < need.hosts:
            return
        first, last, block, _, count = found
        parts = parts[:, parts[3] >= need.milli_gpus]
        if need.rest > 1 and parts.shape[1]:
            parts = parts[:, np.bincount(parts[2], weights=parts[4])[parts[2]] >= need.rest]
        times = np.sort(np.maximum(np.concatenate((first, parts[0])), now_ns))
        times = times[times >= from_ns]
        by_first, by_last = np.argsort(first, kind="stable"), np.argsort(last, kind="stable")
        begun = np.append(0, np.cumsum(count[by_first]))[np.searchsorted(first[by_first], times, side="right")]
        free = begun - np.append(0, np.cumsum(count[by_last]))[np.searchsorted(last[by_last], times, side="left")]
        enough = free >= need.hosts
        tried_ns = -1
        for start_ns, more in zip(times[enough].tolist(), (free[enough] > need.hosts).tolist(), strict=True):
            if start_ns == tried_ns:
                continue
            tried_ns = start_ns
            if need.units is not None:
                there = (first <= start_ns) & (last >= start_ns)
                if np.bincount(need.units[block[there]], weights=count[there]).max() < need.hosts:
                    continue
            if need.rest and not more:
                there = (parts[0] <= start_ns) & (parts[1] >= start_ns)
                if np.bincount(parts[2, there], weights=parts[4, there], minlength=1).max() < need.rest:
                    continue
            yield start_ns

    def _spans_up_to(
        self, own: Sequence[tuple[int, int, int]], duration_ns: int, now_ns: int, before_ns: int
    ) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """The spans of hosts and of GPUs that would go on where these holdings begin, were they not; as of ``Spans.for_jobs``."""
        for_hosts: list[tuple[int, ...]] = []
        for_gpus: list[tuple[int, ...]] = []
        for row, block, host in own:
            if host < 0:
                mine = self._held[block][row]
                for (since_ns, until_ns), hosts in self._free[block].items():
                    if until_ns == mine.start_ns and hosts & mine.hosts and since_ns < before_ns:
                        for_hosts.append((since_ns, mine.start_ns, block, 1000, (hosts & mine.hosts).bit_count()))
                continue
            mine = self._held_in_part[host][row]
            others = [other for other in self._held[block].values() if other.hosts & mine.hosts]
            others += [other for name, other in self._held_in_part[host].items() if name != row]
            for since_ns, until_ns, _ in free_spans([other[:3] for other in others], mine.hosts, now_ns):
                if since_ns < before_ns and until_ns > mine.start_ns and until_ns - since_ns >= duration_ns:
                    for_hosts.append((since_ns, until_ns - duration_ns, block, 1000, 1))
            for (since_ns, until_ns, _, milli_gpus), count in _spans_of_gpus(others, host, self._full, now_ns).items():
                if since_ns < before_ns and until_ns > mine.start_ns and until_ns - since_ns >= duration_ns:
                    for_gpus.append((since_ns, until_ns - duration_ns, host, milli_gpus, count))
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


def _spans_of_gpus(held: Sequence[Holding], host: int, full: int, now_ns: int) -> Counter[Span]:
    """The spans of the GPUs of a host."""
    spans: Counter[Span] = Counter()
    for since_ns, until_ns, free in free_spans([(one.start_ns, one.end_ns, one.gpus) for one in held], full, now_ns):
        spans[since_ns, until_ns, host, 1000] += free.bit_count()
    for gpu in {one.gpus for one in held if one.milli_gpus < 1000}:
        spans.update(
            (since_ns, until_ns, host, milli) for since_ns, until_ns, milli in _of_share([one for one in held if one.gpus & gpu], now_ns)
        )
    return spans


def _of_share(held: Sequence[Holding], now_ns: int) -> Iterator[tuple[int, int, int]]:
    """Of a GPU that is shared: for each amount that is free at some time, the spans (since, until, amount) in which as much is."""
    marks = sorted({now_ns, NEVER, *(time for one in held for time in one[:2] if time > now_ns)})
    free = [1000 - sum([one.milli_gpus for one in held if one.start_ns <= mark < one.end_ns]) for mark in marks[:-1]]
    for amount in {milli for milli in free if 0 < milli < 1000}:
        enough = [milli >= amount for milli in free]
        for first in [step for step in range(len(free)) if enough[step] and not (step and enough[step - 1])]:
            last = enough.index(False, first) if False in enough[first:] else len(free)
            yield marks[first], marks[last], amount
