"""First in, first out, strictly: jobs start in queue order, and the queue stops at the first job that does not fit.

The rule is the one of the reference schedules of Helios (Hu et al., SC'21, artifact) and of the Philly comparison there.
"""

from emulator.scheduler.draft import Draft
from emulator.scheduler.in_turn import start_in_turn
from emulator.scheduler.pending import by_submission
from emulator.scheduler.policy import Policy


def plan(draft: Draft) -> None:
    """Start the heads of the queues as long as they fit."""
    for partition in draft.partitions():
        start_in_turn(draft, partition)


POLICY = Policy("fifo", plan, by_submission, heads_only=True)
