"""The speed of emulated time over a recent window of wall time, so that a change shows within the window."""

from collections import deque

#: Wall seconds that a speed is the mean of.
WINDOW_SECONDS = 10.0
#: Wall seconds between two marks, which is the precision of the window's beginning.
MARK_SECONDS = 0.25


class RecentSpeed:
    """Emulated seconds per wall second over the last ``WINDOW_SECONDS`` of wall time; less at first, when no more has passed.

    Exactly: from the last mark that is at least that old (otherwise the first) to now. The caller sets marks regularly; if it has not for
    longer than the window, the window is longer by that time. It reads no clock.
    """

    def __init__(self, wall_seconds: float, emulated_seconds: float = 0.0) -> None:
        self._marks = deque([(wall_seconds, emulated_seconds)])

    def mark(self, wall_seconds: float, emulated_seconds: float) -> None:
        """The emulated clock reads ``emulated_seconds`` now. Both rise from call to call."""
        if wall_seconds - self._marks[-1][0] < MARK_SECONDS:
            return
        self._marks.append((wall_seconds, emulated_seconds))
        while self._marks[1][0] <= wall_seconds - WINDOW_SECONDS:
            self._marks.popleft()

    def ratio(self, wall_seconds: float, emulated_seconds: float) -> float:
        """The speed now; 0 before any wall time has passed."""
        old = [mark for mark in self._marks if mark[0] <= wall_seconds - WINDOW_SECONDS]
        since_wall, since_emulated = old[-1] if old else self._marks[0]
        passed = wall_seconds - since_wall
        return (emulated_seconds - since_emulated) / passed if passed > 0 else 0.0
