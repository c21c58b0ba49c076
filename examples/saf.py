"""Shortest area first: the job that asks for the least GPU time goes first, and what does not fit is passed over.

    gigawatt run laptop --until 6h --policy saf.py:plan --policy-option patience_hours=2

As in Carastan-Santos, de Camargo, Trystram and Zrigui (CCGrid'19). So that no large job waits for ever, whoever has waited for longer than
the patience goes first, in order of arrival, and nobody passes them.
"""

from emulator.scheduler.draft import Draft


def plan(draft: Draft, patience_hours: float = 12.0) -> None:
    jobs = sorted(draft.waiting(), key=lambda job: job.gpus * job.estimate_seconds)
    late = [job for job in jobs if draft.now_seconds - job.submit_seconds > patience_hours * 3600]
    for job in sorted(late, key=lambda job: job.submit_seconds):
        if not draft.try_start(job):
            return
    for job in jobs:
        if job not in late:
            draft.try_start(job)
