"""What happened to jobs and hosts between two cycles, for a policy that keeps a view of its own."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Changes:
    """Since it was last told. The scheduler and the ledger write it, where a policy asks for it; who is told empties it."""

    waiting: list[int] = field(default_factory=list)  # slots of the jobs that began to wait, in order
    left: list[tuple[int, int]] = field(default_factory=list)  # (job id, when) of those that stopped to run, or to wait: -1
    started: dict[int, int] = field(default_factory=dict)  # job id -> when, of those that began to run, or went on on other GPUs
    hosts: set[int] = field(default_factory=set)  # that were offered or withdrawn, or are withdrawn for another reason

    def clear(self) -> None:
        """Everything has been told."""
        self.waiting.clear()
        self.left.clear()
        self.started.clear()
        self.hosts.clear()
