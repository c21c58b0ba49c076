"""Jobs in turn, strictly: nobody passes a job that does not fit."""

from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Partition
from emulator.scheduler.preemption import make_room


def start_in_turn(draft: Draft, partition: Partition) -> None:
    """Start the heads of the queue as long as they fit."""
    while (slot := draft.head(partition)) >= 0 and (not draft.preempted or draft.has_turn(partition, slot)):
        rows = draft.choose_again(partition, slot) or make_room(draft, partition, slot)
        if rows is None:
            break
        draft.start_in(partition, slot, rows)
