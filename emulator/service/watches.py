"""Watches: Control's blocking iterator, run in a thread of its own, read by the event loop without ever blocking it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, TypeVar

from emulator.engine.control import JobEvent

Out = TypeVar("Out")


class Watch(Generic[Out]):
    """Carries events from a blocking iterator to one reader on the loop.

    A reader that is slower than the emulation holds the thread back once ``capacity`` events wait, so memory is bounded: a few hundred
    kilobytes a watch, for events become messages only when they are sent. Control's own history then decides how far behind it may fall.
    After ``stop`` the thread ends at the iterator's next event or None.
    """

    def __init__(
        self, events: Callable[[], Iterator[JobEvent | None]], convert: Callable[[JobEvent], Out], *, capacity: int = 256, batch: int = 64
    ) -> None:
        self._open, self._convert, self._capacity, self._batch = events, convert, capacity, batch
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._room = threading.Condition()
        self._waiting: list[JobEvent] = []  # guarded by _room
        self._ended = False  # guarded by _room: the thread adds nothing more
        self._stopped = False  # guarded by _room
        self._error: Exception | None = None
        self.thread = threading.Thread(target=self._run, name="gigawatt-watch", daemon=True)

    async def batches(self) -> AsyncIterator[list[Out]]:
        """Events as they come, at most ``batch`` together. Raises what the iterator raises."""
        self.thread.start()
        try:
            while True:
                await self._ready.wait()
                with self._room:
                    self._ready.clear()
                    taken, self._waiting = self._waiting, []
                    ended = self._ended
                    self._room.notify()
                for start in range(0, len(taken), self._batch):
                    yield [self._convert(event) for event in taken[start : start + self._batch]]
                if ended:
                    if self._error is not None:
                        raise self._error
                    return
        finally:
            self.stop()

    def stop(self) -> None:
        """Let the thread end. May be called more than once."""
        with self._room:
            self._stopped = True
            self._room.notify()

    def _run(self) -> None:
        try:
            events = self._open()
            try:
                for event in events:
                    if not self._put(event):
                        return
            finally:
                close = getattr(events, "close", None)
                if close is not None:
                    close()
        except Exception as error:  # noqa: BLE001 - raised by the one who reads the watch
            self._error = error
        finally:
            with self._room:
                self._ended = True
            self._wake()

    def _put(self, event: JobEvent | None) -> bool:
        """Hand ``event`` over, waiting for room. False when the watch was stopped."""
        with self._room:
            while len(self._waiting) >= self._capacity and not self._stopped:
                self._room.wait()
            if self._stopped:
                return False
            if event is None:
                return True
            self._waiting.append(event)
            first = len(self._waiting) == 1
        if first:
            self._wake()
        return True

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the loop is closed: there is no reader any more
            self.stop()
