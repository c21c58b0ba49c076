"""A watch over functions of others: one that does not come back is stopped where it is, so that its file and line can be told."""

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any


class TookTooLong(Exception):
    """A function of others did not come back in time."""

    def __str__(self) -> str:
        return "it did not come back in time"


@dataclass
class Watchdog:
    """Raises TookTooLong in the thread that has been inside a watched function for longer than ``most_seconds``.

    It is raised between two steps of the interpreter: what waits in a library of C is stopped when it comes back from there.
    """

    most_seconds: float
    _inside: tuple[int, float] | None = None  # thread, and when it went in
    _left: float = 0.0  # when somebody was last inside
    _stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, watched."""

        @wraps(function)
        def watched(*arguments: Any, **options: Any) -> Any:
            self._enter()
            try:
                return function(*arguments, **options)
            finally:
                self._leave()

        return watched

    def _enter(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="policy-watchdog", daemon=True)
                self._thread.start()
            self._stopped, self._inside = False, (threading.get_ident(), time.monotonic())

    def _leave(self) -> None:
        with self._lock:
            self._inside, self._left = None, time.monotonic()
            if self._stopped:  # where it came back at that very moment, the exception would come later
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), None)

    def _look(self) -> None:
        """Ends when nobody has been inside for a while: the next to go in begins anew."""
        while True:
            time.sleep(min(0.5, self.most_seconds / 4))
            with self._lock:
                now = time.monotonic()
                if self._inside is None:
                    if now - self._left > self.most_seconds:
                        self._thread = None
                        return
                elif not self._stopped and now - self._inside[1] > self.most_seconds:
                    self._stopped = True
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._inside[0]), ctypes.py_object(TookTooLong))
