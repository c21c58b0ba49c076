"""A trace of requests as a source: its columns once, repeated and split over pools in closed form."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, uniform
from emulator.workload.requests.columns import Drawn, Int64, RequestColumns
from emulator.workload.requests.cursor import SLICE_NS, runs

#: All bits of an int64 but the sign: numbers of a trace that is repeated for centuries begin anew.
_POSITIVE = np.int64(2**63 - 1)


@dataclass(frozen=True, eq=False)
class RequestTrace:
    """Requests of a trace from time 0 on, in order.

    Request i of repetition r comes ``r * length_ns`` later, and is number r N + i of N. Its hashes and its key are moved by the number
    of hashes and keys that there are, so that a repetition shares prefixes within itself and with no other. ``repeats`` 0 is forever. A
    request is the pool's in whose share the draw of its key lies; without ``keep_together``, the draw of its number.
    """

    requests: RequestColumns
    length_ns: int
    repeats: int = 1
    keep_together: bool = True
    block_tokens: int = 512
    _split: "list[_Split]" = field(default_factory=list, repr=False)  # the last one, since all pools ask for the same slices

    def __len__(self) -> int:
        """Requests of one repetition."""
        return len(self.requests)

    def slices(self, seed: int, service: int, pool: int, first: int, last: int, low: float, high: float) -> Drawn:
        """As ``Source`` has it: draws know nothing of pools, so that pools whose shares lie side by side split the trace."""
        split = self._split_of(seed, service, first, last)
        begin, end = (int(place) for place in np.searchsorted(split.chance, (low, high), side="left"))
        number = np.sort(split.number[begin:end])
        turn, row = np.divmod(number, max(1, len(self)))
        columns = self.requests
        key = (columns.key[row] + turn * self._key_count) & _POSITIVE
        return Drawn(columns.arrival_ns[row] + turn * self.length_ns, columns.prompt[row], columns.output[row], key, number)

    def columns(self, seed: int, service: int, pool: int, drawn: Drawn) -> RequestColumns:
        """As ``Source`` has it."""
        del seed, service, pool
        turn, row = np.divmod(drawn.number, max(1, len(self)))
        own = self.requests
        start = own.hash_start[row]
        count = own.hash_start[row + 1] - start
        run, within = runs(count)
        hashes = (own.hashes[start[run] + within] + (turn * self._hash_count)[run]) & _POSITIVE
        hash_start = np.concatenate((np.zeros(1, np.int64), np.cumsum(count, dtype=np.int64)))
        return RequestColumns(drawn.arrival_ns, drawn.prompt, drawn.output, hash_start, hashes, drawn.key, own.priority[row])

    @property
    def lead_slices(self) -> int:
        return 0

    @property
    def _hash_count(self) -> int:
        return 1 + int(self.requests.hashes.max(initial=-1))

    @property
    def _key_count(self) -> int:
        return 1 + int(self.requests.key.max(initial=-1))

    def numbers(self, from_ns: int, until_ns: int) -> Int64:
        """The requests, of all repetitions, in from_ns <= time < until_ns."""
        first, last = self._before(from_ns), self._before(until_ns)
        return np.arange(first, last, dtype=np.int64)

    def _before(self, time_ns: int) -> int:
        turn, within = divmod(max(0, time_ns), self.length_ns)
        if self.repeats and turn >= self.repeats:
            return self.repeats * len(self)
        return turn * len(self) + int(np.searchsorted(self.requests.arrival_ns, within, side="left"))

    def _split_of(self, seed: int, service: int, first: int, last: int) -> "_Split":
        asked = (seed, service, first, last)
        if not self._split or self._split[0].asked != asked:
            number = self.numbers(first * SLICE_NS, last * SLICE_NS)
            who = number
            if self.keep_together:
                turn, row = np.divmod(number, max(1, len(self)))
                who = (self.requests.key[row] + turn * self._key_count) & _POSITIVE
            chance = uniform(seed, Stream.REQUEST_POOL, who, service)
            order = np.argsort(chance, kind="stable")
            self._split[:] = [_Split(asked, chance[order], number[order])]
        return self._split[0]


@dataclass(frozen=True, eq=False)
class _Split:
    """Requests of some slices in order of the draws that say whose they are."""

    asked: tuple[int, int, int, int]
    chance: NDArray[np.float64]
    number: Int64


def trace_length_ns(arrival_ns: Int64) -> int:
    """How long a trace lasts: to its last arrival and a mean gap more, so that a repetition goes on at the same rate; at least a second."""
    last = int(arrival_ns[-1])
    gap = -(-last // max(1, len(arrival_ns) - 1))
    return max(10**9, last + gap)
