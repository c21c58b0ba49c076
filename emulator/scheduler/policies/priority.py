"""Multifactor priority with ageing: the highest sum of weighted factors goes first (Slurm's documentation, "Multifactor Priority").

Each factor is between 0 and 1, but for the job's own priority, which counts as it is:

    score = priority_weight x priority + age_weight x min(1, waited / age_max) + size_weight x GPUs / all GPUs + fair_share_weight x F

F is that of ``fair-share``. Where age has a weight that others cannot outweigh for ever, nobody starves.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.arranged import plan_arranged
from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Partition
from emulator.scheduler.policies.fair_share import fair_share_of, usage_of
from emulator.scheduler.policy import NotNegative, Policy, Positive
from emulator.scheduler.pool import Int64
from emulator.workload.jobs import SECOND


def plan(
    draft: Draft,
    *,
    priority_weight: NotNegative = 1000.0,
    age_weight: NotNegative = 1000.0,
    age_max_hours: Positive = 168.0,
    size_weight: NotNegative = 0.0,
    fair_share_weight: NotNegative = 0.0,
    half_life_hours: Positive = 168.0,
    shares: dict[str, Positive] | None = None,
    backfill: bool = True,
) -> None:
    """``age_max_hours``: after so long a wait the age counts in full. ``shares``, ``half_life_hours``: as of ``fair-share``."""

    def keys(draft: Draft, partition: Partition, columns: dict[str, Int64]) -> tuple[NDArray[np.generic], ...]:
        waited_ns = draft.now_ns - columns["submit_ns"]
        score = priority_weight * columns["priority"]
        score += age_weight * np.minimum(1.0, waited_ns / (age_max_hours * 3600 * SECOND))
        score += size_weight * (columns["gpus"] * columns["milli_gpus"]) / (1000 * partition.gpus)
        if fair_share_weight:
            score += fair_share_weight * fair_share_of(draft, columns, half_life_hours, shares or {})
        return (-score,)

    if fair_share_weight:
        usage_of(draft, half_life_hours)
    plan_arranged(draft, keys, backfilling=backfill, again_seconds=300.0)  # as often as Slurm's PriorityCalcPeriod


POLICY = Policy("priority", plan, reserves=True, arranges=True)
