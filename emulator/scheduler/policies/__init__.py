"""The policies by name. A new policy is a file in this folder, with its citation, and a line below."""

from collections.abc import Callable
from dataclasses import dataclass

from emulator.scheduler.draft import Draft
from emulator.scheduler.pending import Order, by_estimate, by_submission
from emulator.scheduler.policies import easy, strict

#: Decides a cycle, by what it does to the draft.
PlanFunction = Callable[[Draft], None]


@dataclass(frozen=True)
class Policy:
    """A policy, and the data structures that it needs."""

    plan: PlanFunction
    order: Order  # of the queues
    looks_behind: bool = False  # the queues are ScanQueues, and running jobs are kept by their ends


POLICIES: dict[str, Policy] = {
    "fifo": Policy(strict.plan, by_submission),
    "sjf": Policy(strict.plan, by_estimate),
    "easy": Policy(easy.plan, by_submission, looks_behind=True),
}
