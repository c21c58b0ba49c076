"""Job arrays: how many jobs of one submission run at a time (Slurm's ``--array=0-99%10``)."""

from dataclasses import dataclass, field
from heapq import heappush


@dataclass(slots=True)
class JobArray:
    """Its jobs share it. A job has a place while it is in its queues or runs, so that never more than ``parallel`` of them run."""

    parallel: int
    taken: set[int] = field(default_factory=set)  # slots of jobs with a place
    waiting: list[tuple[int, int]] = field(default_factory=list)  # heap of (job id, slot) of those that asked for one in vain

    def take(self, slot: int, job_id: int) -> bool:
        """Whether the job has a place, from now on or already; otherwise it is in the line for one."""
        if slot in self.taken:
            return True
        if len(self.taken) < self.parallel:
            self.taken.add(slot)
            return True
        heappush(self.waiting, (job_id, slot))
        return False

    def give(self, slot: int) -> bool:
        """The job needs its place no longer; false where it has none."""
        if slot not in self.taken:
            return False
        self.taken.discard(slot)
        return True
