"""Turns at the engine: a lock that is given to waiting threads in the order in which they asked for it.

The engine's own thread takes the lock again as soon as it has released it; with a plain lock no other thread would ever get it.
"""

import threading
from collections import deque


class Turns:
    """Not reentrant."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def take(self, timeout_seconds: float = -1) -> bool:
        """Wait for a turn; False if there was none within the given seconds."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        came = False
        try:
            came = mine.acquire(timeout=timeout_seconds)
        finally:
            if not came:
                self._leave(mine)
        return came

    def _leave(self, mine: threading.Lock) -> None:
        """Stop waiting, after a timeout or an exception in the waiting thread."""
        with self._guard:
            if mine in self._waiting:
                self._waiting.remove(mine)
                return
        self.give()  # the turn came in that very moment

    def give(self) -> None:
        """The turn is over."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.give()
