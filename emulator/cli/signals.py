"""Ctrl-C, SIGTERM and a closed terminal end a command in good order; a second Ctrl-C at once."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

#: SIGHUP is what a closed terminal sends.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Inside, a signal raises KeyboardInterrupt in the main thread; after ``gently`` the first one only sets ``requested``.

    An ignored SIGHUP (``nohup``) stays ignored. A shell that starts a command in the background makes it ignore SIGINT as well; that is
    handled all the same: whoever sends it to the process itself means it.
    """

    def __init__(self) -> None:
        self.requested = False
        self._tell: Callable[[], None] | None = None
        self._previous: dict[int, Any] = {}

    def gently(self, tell: Callable[[], None]) -> None:
        """From now on the first signal calls ``tell``, which must take no lock; a second Ctrl-C ends the command at once.

        A terminal that closes may send SIGHUP more than once, and whoever ends a service SIGTERM: they do not count as impatience.
        """
        self._tell = tell

    def __enter__(self) -> Self:
        self._previous = _handle(self._signalled)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._tell is None or (self.requested and number == signal.SIGINT):
            raise KeyboardInterrupt
        if not self.requested:
            self.requested = True
            self._tell()


def _handle(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Set ``handler``; what was set before, by signal. Only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    kept = [number for number in _SIGNALS if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in _SIGNALS if number not in kept}
