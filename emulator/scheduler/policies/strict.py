"""Strict head of line: jobs start in queue order, and the queue stops at the first job that does not fit.

``fifo`` orders by submission and ``sjf`` by estimate; both are this pass over a queue in that order. The rule is the one of the reference
schedules of Helios (Hu et al., SC'21, artifact) and of the Philly comparison there.
"""

from emulator.scheduler.draft import Draft
from emulator.scheduler.preemption import make_room


def plan(draft: Draft) -> None:
    """Start the heads of the queues as long as they fit."""
    for partition in draft.partitions():
        pending = partition.pending
        while (slot := pending.head()) >= 0 and (not draft.preempted or draft.has_turn(partition, slot)):
            rows = draft.choose_again(partition, slot) or make_room(draft, partition, slot)
            if rows is None:
                break
            draft.start(partition, slot, rows)
