"""Ctrl-C and SIGTERM end a command in good order; a second one at once."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class Stop:
    """Inside, the first SIGINT or SIGTERM only sets ``requested``; the next raises KeyboardInterrupt where the main thread is."""

    def __init__(self, *, gently: bool = True) -> None:
        self.requested = False
        self._gently = gently
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self.requested or not self._gently:
            raise KeyboardInterrupt
        self.requested = True
