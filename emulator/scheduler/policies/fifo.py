"""First in, first out, strictly: jobs start in queue order, and the queue stops at the first job that does not fit.

The rule is the one of the reference schedules of Helios (Hu et al., SC'21, artifact) and of the Philly comparison there.
"""

from emulator.scheduler.draft import Draft
from emulator.scheduler.pending import by_submission
from emulator.scheduler.policy import Policy
from emulator.scheduler.preemption import make_room


def plan(draft: Draft) -> None:
    """Start the heads of the queues as long as they fit."""
    for partition in draft.partitions():
        while (slot := draft.head(partition)) >= 0 and (not draft.preempted or draft.has_turn(partition, slot)):
            rows = draft.choose_again(partition, slot) or make_room(draft, partition, slot)
            if rows is None:
                break
            draft.start(partition, slot, rows)


POLICY = Policy("fifo", plan, by_submission, heads_only=True)
