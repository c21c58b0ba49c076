"""A run of a job, second by second: the plain version of ``emulator.jobs.life``. Every time is a whole number, and speed is 1, 1/2 or 0."""

from dataclasses import dataclass, field

PHASES = ("ahead", "stalled", "checkpoint", "detecting", "restarting", "draining", "paused")


@dataclass
class PlainRun:
    """One run, from ``at`` on. ``tick`` does the next unit of time."""

    remaining: int
    ahead: int
    every: int  # 0: it writes no checkpoints
    write: int = 0
    settle: int = 0
    halves: int = 2  # of full speed
    still: int = 0
    out: str = ""  # the phase in which it is out of its work
    half_work: int = 0  # of the present unit of work, done
    fresh: int = 0
    writing: int = 0
    written_at: list[tuple[int, int]] = field(default_factory=list)  # when a checkpoint had been written, and what was left to do then
    clock: int = 0
    spent: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*PHASES, "working"), 0))
    work: int = 0
    began_with: int = 0

    def __post_init__(self) -> None:
        self.began_with = self.remaining

    @property
    def done(self) -> bool:
        return self.remaining == 0

    def tick(self) -> None:
        self.clock += 1
        if self.out:
            self.spent[self.out] += 1
        elif self.ahead:
            self.ahead -= 1
            self.spent["ahead"] += 1
        elif self.halves == 0 or self.still:
            self.still = max(0, self.still - 1)
            self.spent["stalled"] += 1
        elif self.writing:
            self.writing -= 1
            self.spent["checkpoint"] += 1
            if not self.writing:
                self.written_at.append((self.clock, self.remaining))
        else:
            self.spent["working"] += 1
            self.half_work += self.halves
            if self.half_work >= 2:
                self.half_work -= 2
                self.remaining -= 1
                self.work += 1
                self.fresh += 1
                if self.every and self.fresh == self.every and self.remaining:
                    self.fresh, self.writing = 0, self.write
                    if not self.write:
                        self.written_at.append((self.clock, self.remaining))

    def safe_remaining(self) -> int:
        """What would be left to do after a fault now."""
        if not self.every:
            return -1  # all of it
        safe = [left for when, left in self.written_at if self.clock - when >= self.settle]
        return safe[-1] if safe else self.began_with
