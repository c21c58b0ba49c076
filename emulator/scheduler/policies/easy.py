"""EASY: first come, first served, with backfilling behind a reservation for the head of the queue.

Lifka, "The ANL/IBM SP scheduling system" (JSSPP 1995); the rules are in ``emulator.scheduler.backfilling``.
"""

from emulator.scheduler.backfilling import backfill
from emulator.scheduler.draft import Draft
from emulator.scheduler.pending import by_submission
from emulator.scheduler.policy import Estimates, Policy


def plan(draft: Draft, estimates: Estimates = "user") -> None:
    """``estimates``: how long jobs are expected to take is what their users say; or the mean of the last two run times of the same tenant,
    at most that (Tsafrir, Etsion and Feitelson, IEEE TPDS 2007).
    """
    if estimates == "predicted":
        draft.ledger.use_predictions()
        draft.ledger.correct_predictions(draft.now_ns)
    for partition in draft.partitions():
        backfill(draft, partition)


POLICY = Policy("easy", plan, by_submission, reserves=True)
