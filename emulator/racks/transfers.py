"""The transfers of a pool: keys and values of prompts on their way from the replicas that computed them to those that answer.

All of a pool's NICs are one way, on which transfers follow each other, first come first served: the tokens of one take so many picoseconds
each. A transfer alone has the NICs of one pair of replicas and not all of them, so behind its turn it takes as much longer as makes this
right; meanwhile others have theirs. The speed changes at exact times only, and what is left then of a transfer takes longer or shorter in
proportion, rounded up to a whole picosecond. So where time is cut changes nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

#: A token that takes longer than this with one pair of replicas does not move at all (69 ms, 5 MB/s of a large model).
SLOWEST_PS = 2**36
#: Turns further ahead than this are not looked at: times are less (``pool_layout.LATEST_PS``).
_FAR_PS = 2.0**61

READY, NUMBER, TOKENS, QUEUE_COLUMNS = range(4)


class Arrived(NamedTuple):
    """Requests that come to a replica that answers, in order of time and number. ``whole``: with the keys and values of their prompts."""

    at_ps: Int64
    number: Int64
    whole: Int64


class Transfers:
    """Nothing moves until ``set_speed``."""

    def __init__(self) -> None:
        self._queue = np.zeros((0, QUEUE_COLUMNS), np.int64)  # who waits for a turn or has it, in order
        self._late = np.zeros((0, 3), np.int64)  # whose turn is over, as Arrived has them
        self._free_ps = 0  # when the turn before the first in the queue was over, or the speed changed
        self._left_ps = -1  # of the turn of the first, if a part of it was before that
        self._token_ps, self._ways, self._moves = 1, 1, False
        self._busy_ps = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._late)

    def add(self, ready_ps: Int64, number: Int64, tokens: Int64) -> None:
        """Prompts that have been computed, in order of time, none earlier than those added before."""
        self._queue = np.concatenate((self._queue, np.stack((ready_ps, number, tokens), axis=1)))

    def add_late(self, at_ps: int, number: Int64) -> None:
        """Requests that come without keys and values, at a time."""
        rows = np.stack((np.full(len(number), at_ps), number, np.zeros(len(number), np.int64)), axis=1)
        self._late = np.concatenate((self._late, rows))

    def arrived(self, until_ps: int) -> Arrived:
        """Those that come before ``until_ps``, each told once."""
        self._serve(until_ps)
        there = self._late[:, 0] < until_ps
        rows = self._late[there]
        self._late = self._late[~there]
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        return Arrived(rows[:, 0], rows[:, 1], rows[:, 2])

    def set_speed(self, at_ps: int, token_ps: int, ways: int) -> None:
        """A token takes so long from now on (0: nothing moves), where ``ways`` pairs of replicas send at once."""
        self._serve(at_ps)
        if len(self._queue):
            took_ps = at_ps - self._start_ps()
            if took_ps > 0:
                if self._moves:
                    self._left_ps = self._first_ps() - took_ps
                self._busy_ps += took_ps
                self._free_ps = at_ps
        self._moves, self._ways = 0 < token_ps * ways <= SLOWEST_PS, ways
        if self._moves:
            if self._left_ps >= 0:
                self._left_ps = -(-self._left_ps * token_ps // self._token_ps)
            self._token_ps = token_ps

    def drop(self, at_ps: int, number: Int64) -> Int64:
        """Those of these that have not arrived are gone; gives their numbers, ascending."""
        self._serve(at_ps)
        out = np.isin(self._queue[:, NUMBER], number)
        late = np.isin(self._late[:, 1], number) & (self._late[:, 2] != 0)
        gone = np.sort(np.concatenate((self._queue[out, NUMBER], self._late[late, 1])))
        if len(out) and out[0]:
            took_ps = at_ps - self._start_ps()
            self._busy_ps += max(0, took_ps)
            self._free_ps, self._left_ps = max(self._free_ps, at_ps), -1
        self._queue, self._late = self._queue[~out], self._late[~late]
        return gone

    def busy_ps(self, now_ps: int) -> int:
        """How long somebody had the turn, up to now."""
        return self._busy_ps + (max(0, now_ps - self._start_ps()) if len(self._queue) else 0)

    def _start_ps(self) -> int:
        """When the turn of the first in the queue, or what is left of it, begins."""
        return max(int(self._queue[0, READY]), self._free_ps)

    def _first_ps(self) -> int:
        """How long it takes."""
        return self._left_ps if self._left_ps >= 0 else int(self._queue[0, TOKENS]) * self._token_ps

    def _serve(self, until_ps: int) -> None:
        """Turns that are over before ``until_ps``."""
        queue = self._queue
        if not self._moves or not len(queue):
            return
        lasts = queue[:, TOKENS] * self._token_ps
        lasts[0] = self._first_ps()
        near = 1 + int(np.searchsorted(np.cumsum(lasts.astype(np.float64))[1:], _FAR_PS))
        lasts, over = lasts[:near], np.cumsum(lasts[:near])
        over += np.maximum.accumulate(np.maximum(queue[:near, READY], self._free_ps) - (over - lasts))
        count = int(np.searchsorted(over, until_ps, side="left"))
        if not count:
            return
        done, over = queue[:count], over[:count]
        self._busy_ps += int(lasts[:count].sum())
        self._free_ps, self._left_ps = int(over[-1]), -1
        at_ps = over + done[:, TOKENS] * (self._token_ps * (self._ways - 1))
        self._late = np.concatenate((self._late, np.stack((at_ps, done[:, NUMBER], np.ones(count, np.int64)), axis=1)))
        self._queue = queue[count:]

    def rebase(self, by_ps: int) -> None:
        """The zero of time moves on."""
        self._queue[:, READY] -= by_ps
        self._late[:, 0] -= by_ps
        self._free_ps -= by_ps

    def state(self) -> dict[str, NDArray[Any]]:
        """The whole of it as arrays, by name."""
        numbers = [self._free_ps, self._left_ps, self._token_ps, self._ways, self._moves, self._busy_ps]
        return {"queue": self._queue.copy(), "late": self._late.copy(), "numbers": np.array(numbers, np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take the state of ``state``."""
        self._queue, self._late = state["queue"].copy(), state["late"].copy()
        self._free_ps, self._left_ps, self._token_ps, self._ways, moves, self._busy_ps = state["numbers"].tolist()
        self._moves = bool(moves)
