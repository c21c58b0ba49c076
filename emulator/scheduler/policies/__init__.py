"""The policies by name. A new policy is a file in this folder, with its citation, and a line below."""

from collections.abc import Callable
from dataclasses import dataclass

from emulator.scheduler.pending import Order, by_estimate, by_submission
from emulator.scheduler.policies import strict
from emulator.scheduler.policies.easy import Easy
from emulator.scheduler.view import Plan, View

PlanFunction = Callable[[View], Plan]


@dataclass(frozen=True)
class Policy:
    """A policy, and the data structures that it needs."""

    make: Callable[[], PlanFunction]  # one per emulation, since it may cache
    order: Order  # of the queue
    looks_behind: bool = False  # the queue is a ScanQueue, and running jobs are kept by their ends


POLICIES: dict[str, Policy] = {
    "fifo": Policy(lambda: strict.plan, by_submission),
    "sjf": Policy(lambda: strict.plan, by_estimate),
    "easy": Policy(Easy, by_submission, looks_behind=True),
}
