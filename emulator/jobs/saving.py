"""Checkpoints of one run of a job: where it is between two of them, and what a fault would cost it now.

A run works, and after each ``every_ns`` of full-speed work it saves. It stands still for ``write_ns`` while it does. What it has saved is
safe ``settle_ns`` after that: an asynchronous checkpoint is copied to the host's memory first and goes to storage while work goes on. A
fault before then costs the work since the checkpoint before. Where the work is done there is nothing to save.
"""

from dataclasses import dataclass


def slowed_ns(work_ns: int, speed: float) -> int:
    """How long ``work_ns`` of full-speed work takes at ``speed``, which is above 0: the first nanosecond at which it is done."""
    return work_ns if speed == 1.0 else -int(-work_ns // speed)


@dataclass(slots=True)
class Saving:
    """All times in nanoseconds, of which ``every_ns`` (above 0), ``fresh_ns`` are full-speed work."""

    every_ns: int
    write_ns: int = 0
    settle_ns: int = 0
    fresh_ns: int = 0  # since the last checkpoint was begun
    writing_ns: int = 0  # still to pass until the one being written is
    age_ns: int = -1  # since the last one was written; -1: none was in this run

    def passed(self, left_ns: int, remaining_ns: int, speed: float) -> tuple[int, int]:
        """``left_ns`` pass at ``speed`` above 0, with ``remaining_ns`` of work to do. Returns the work that was done, and the time in which
        the job stood still for checkpoints.
        """
        writing_ns = self._write(left_ns)
        left_ns -= writing_ns
        work_ns, every_ns = 0, self.every_ns
        to_next_ns = every_ns - self.fresh_ns
        first_ns = slowed_ns(to_next_ns, speed)
        if left_ns < first_ns or remaining_ns <= to_next_ns:
            work_ns = left_ns if speed == 1.0 else int(left_ns * speed)
            self._work(work_ns, left_ns)
            return work_ns, writing_ns
        left_ns -= first_ns
        work_ns += to_next_ns
        one_ns = self.write_ns + slowed_ns(every_ns, speed)
        whole = min(left_ns // one_ns, (remaining_ns - work_ns - 1) // every_ns)  # further ones; none where the work is done
        writing_ns += whole * self.write_ns
        work_ns += whole * every_ns
        left_ns -= whole * one_ns
        self.fresh_ns, self.writing_ns = 0, self.write_ns
        if not self.write_ns:
            self.age_ns = 0
        written_ns = self._write(left_ns)
        left_ns -= written_ns
        last_ns = left_ns if speed == 1.0 else int(left_ns * speed)
        self._work(last_ns, left_ns)
        return work_ns + last_ns, writing_ns + written_ns

    def _write(self, left_ns: int) -> int:
        """Write for ``left_ns`` at most; returns how long."""
        writing_ns = min(left_ns, self.writing_ns)
        if writing_ns:
            self.writing_ns -= writing_ns
            if not self.writing_ns:
                self.age_ns = 0
        return writing_ns

    def _work(self, work_ns: int, time_ns: int) -> None:
        self.fresh_ns += work_ns
        if self.age_ns >= 0:
            self.age_ns += time_ns

    def stand_still(self, time_ns: int) -> None:
        """Neither work nor writing goes on; what was written goes on to storage."""
        if self.age_ns >= 0:
            self.age_ns += time_ns

    def time_ns(self, remaining_ns: int, speed: float) -> int:
        """How long the remaining work takes at ``speed`` above 0, with the checkpoints in it."""
        to_next_ns = self.every_ns - self.fresh_ns
        if remaining_ns <= to_next_ns:
            return self.writing_ns + slowed_ns(remaining_ns, speed)
        further = (remaining_ns - to_next_ns - 1) // self.every_ns  # whole stretches between checkpoints
        last_ns = remaining_ns - to_next_ns - further * self.every_ns
        one_ns = self.write_ns + slowed_ns(self.every_ns, speed)
        return self.writing_ns + slowed_ns(to_next_ns, speed) + further * one_ns + self.write_ns + slowed_ns(last_ns, speed)

    def copy(self) -> "Saving":
        """One that goes on by itself."""
        return Saving(self.every_ns, self.write_ns, self.settle_ns, self.fresh_ns, self.writing_ns, self.age_ns)

    def state(self) -> list[int]:
        """All of it, in the order of the fields, from which ``Saving(*state)`` is made again."""
        return [self.every_ns, self.write_ns, self.settle_ns, self.fresh_ns, self.writing_ns, self.age_ns]

    def lost_ns(self) -> int:
        """The work that a fault now would have the job do again."""
        if self.writing_ns:
            return self.every_ns  # what is being written is of no use yet
        return self.fresh_ns + (self.every_ns if 0 <= self.age_ns < self.settle_ns else 0)
