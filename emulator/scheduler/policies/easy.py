"""EASY: first come, first served, with backfilling behind a reservation for the head of the queue.

Lifka, "The ANL/IBM SP scheduling system" (JSSPP 1995); the rules are in ``emulator.scheduler.backfilling``.
"""

from emulator.scheduler.backfilling import backfill
from emulator.scheduler.draft import Draft
from emulator.scheduler.pending import by_submission
from emulator.scheduler.policy import Policy


def plan(draft: Draft) -> None:
    """Start what fits in order, then backfill behind the head."""
    for partition in draft.partitions():
        backfill(draft, partition)


POLICY = Policy("easy", plan, by_submission, reserves=True)
