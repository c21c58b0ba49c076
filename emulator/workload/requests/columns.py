"""Requests as columns: one array per property, and the hashes of their prompts in compressed rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

#: The largest number of tokens of a prompt, and of an output. No model has a longer context.
MAX_TOKENS = 1 << 24


@dataclass(frozen=True, eq=False)
class RequestColumns:
    """Requests in order of arrival.

    The hashes of request i are ``hashes[hash_start[i] : hash_start[i + 1]]``, one for each whole block of its prompt, from the prompt's
    start. Two prompts are equal up to the end of a block if, and only if, the hashes of that block are equal. There may be fewer hashes
    than blocks: the blocks without one are shared with nothing. Requests of one ``key`` may share a prefix and are best kept together: it
    is a session, a common beginning, or the request's own number. Of requests that wait, those of higher ``priority`` go first.
    """

    arrival_ns: Int64
    prompt: Int64  # tokens, at least 1
    output: Int64  # tokens, at least 1
    hash_start: Int64  # one more than requests
    hashes: Int64
    key: Int64
    priority: Int64

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def rows(self, first: int, last: int) -> "RequestColumns":
        """Requests ``first`` up to ``last``."""
        start = self.hash_start[first : last + 1]
        return RequestColumns(
            self.arrival_ns[first:last],
            self.prompt[first:last],
            self.output[first:last],
            start - start[0],
            self.hashes[start[0] : start[-1]],
            self.key[first:last],
            self.priority[first:last],
        )


@dataclass(frozen=True, eq=False)
class Drawn:
    """Requests before their hashes are written out: what a cursor keeps of those still to come.

    ``number`` says which request it is to its source. At one instant requests stand in order of (number, prompt).
    """

    arrival_ns: Int64
    prompt: Int64
    output: Int64
    key: Int64
    number: Int64

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def chosen(self, rows: NDArray[np.int64] | slice) -> "Drawn":
        """These rows, in this order."""
        return Drawn(self.arrival_ns[rows], self.prompt[rows], self.output[rows], self.key[rows], self.number[rows])

    def in_order(self) -> "Drawn":
        """The same requests in order of arrival."""
        back = self.arrival_ns[1:] < self.arrival_ns[:-1]
        if not back.any():
            tied = np.flatnonzero(self.arrival_ns[1:] == self.arrival_ns[:-1])
            behind = self.number[tied + 1] - self.number[tied]
            if bool((behind > 0).all()):
                return self
        return self.chosen(np.lexsort((self.prompt, self.number, self.arrival_ns)))


#: The columns of ``Drawn`` by name.
DRAWN_COLUMNS = ("arrival_ns", "prompt", "output", "key", "number")


def nothing() -> Drawn:
    """No requests."""
    none = np.zeros(0, np.int64)
    return Drawn(none, none, none, none, none)


def join_drawn(parts: Sequence[Drawn]) -> Drawn:
    """The requests of all parts, one part behind the other."""
    if len(parts) == 1:
        return parts[0]
    return Drawn(*(np.concatenate([getattr(part, name) for part in parts]) for name in DRAWN_COLUMNS)) if parts else nothing()


def join(parts: Sequence[RequestColumns]) -> RequestColumns:
    """The requests of all parts, one part behind the other."""
    if len(parts) == 1:
        return parts[0]
    ends = np.cumsum([0, *(len(part.hashes) for part in parts)], dtype=np.int64)
    starts = [part.hash_start[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]

    def column(name: str) -> Int64:
        return np.concatenate([np.zeros(0, np.int64), *(getattr(part, name) for part in parts)])

    hash_start = np.concatenate([*starts, ends[-1:]])
    own = (column("arrival_ns"), column("prompt"), column("output"))
    return RequestColumns(*own, hash_start, column("hashes"), column("key"), column("priority"))


def without_hashes(drawn: Drawn) -> RequestColumns:
    """The requests, of whose prompts nothing is known to be shared."""
    return alike(drawn, np.zeros(len(drawn) + 1, np.int64), np.zeros(0, np.int64))


def alike(drawn: Drawn, hash_start: Int64, hashes: Int64) -> RequestColumns:
    """The requests with these hashes, all of priority 0."""
    return RequestColumns(drawn.arrival_ns, drawn.prompt, drawn.output, hash_start, hashes, drawn.key, np.zeros(len(drawn), np.int64))
