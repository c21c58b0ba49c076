"""Conservative backfilling: every job that waits has a reservation, and a job may start early only if it delays none of those before it.

Mu'alem and Feitelson, "Utilization, predictability, workloads, and user runtime estimates in scheduling the IBM SP2 with backfilling" (IEEE
TPDS 2001), section 2; the rules are in ``emulator.scheduler.reservations``.
"""

from emulator.scheduler.draft import Draft
from emulator.scheduler.policy import Count, Estimates, Policy
from emulator.scheduler.reservations import reserve


def plan(draft: Draft, depth: Count = 1000, estimates: Estimates = "user") -> None:
    """``depth``: so many jobs of a partition have a reservation at most, as Slurm's ``bf_max_job_test`` (0: all). ``estimates``: as of
    ``easy``.
    """
    if estimates == "predicted":
        draft.ledger.use_predictions()
        draft.ledger.correct_predictions(draft.now_ns)
    for partition in draft.partitions():
        reserve(draft, partition, depth)


POLICY = Policy("conservative", plan, reserves=True)
