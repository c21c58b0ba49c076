"""What the scheduler counts of each queue, so that nobody has to go through its jobs."""

from dataclasses import dataclass


@dataclass
class QueueCounts:
    """How much one queue has waiting and running."""

    pending_jobs: int = 0
    pending_gpus: int = 0
    running_jobs: int = 0
    running_gpus: int = 0

    def wait(self, gpus: int, jobs: int = 1) -> None:
        self.pending_jobs += jobs
        self.pending_gpus += gpus * jobs

    def run(self, gpus: int, jobs: int = 1) -> None:
        self.running_jobs += jobs
        self.running_gpus += gpus * jobs

    def start(self, gpus: int, size_gpus: int) -> None:
        """One that waited for ``gpus`` runs with ``size_gpus``."""
        self.pending_jobs -= 1
        self.pending_gpus -= gpus
        self.running_jobs += 1
        self.running_gpus += size_gpus
