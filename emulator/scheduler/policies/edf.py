"""Earliest deadline first (Liu and Layland, JACM 1973; for gangs with deadlines Gao et al., "Chronus", SoCC 2021).

A job's deadline is what its submitter gave it; of a job without one it is ``slack`` times its estimate after its submission. Priority comes
first.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.arranged import plan_arranged
from emulator.scheduler.deadlines import due_ns
from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Partition
from emulator.scheduler.policy import NotNegative, Policy
from emulator.scheduler.pool import Int64


def plan(draft: Draft, slack: NotNegative = 2.0, backfill: bool = True) -> None:
    """``backfill``: behind the first job that does not fit."""

    def keys(draft: Draft, _partition: Partition, columns: dict[str, Int64]) -> tuple[NDArray[np.generic], ...]:
        assumed_ns = columns["submit_ns"] + slack * columns["estimate_ns"]
        return -columns["priority"], due_ns(draft.table, columns["slot"], assumed_ns)

    plan_arranged(draft, keys, backfilling=backfill)


POLICY = Policy("edf", plan, reserves=True, arranges=True)
