"""What a policy is: a function of the draft, and what it needs to be kept for it."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Pending
from emulator.scheduler.pending import HeadQueue, Order, ScanQueue, by_submission
from emulator.scheduler.placement import Placement
from emulator.scheduler.pool import Pool
from emulator.scheduler.rules import Refused
from emulator.scheduler.table import JobTable

#: What options may be annotated with.
Positive = Annotated[float, Field(gt=0, le=1e9)]
NotNegative = Annotated[float, Field(ge=0, le=1e9)]
Count = Annotated[int, Field(ge=0, le=10**9)]
#: Whose word a policy takes for how long a job will take.
Estimates = Literal["user", "predicted"]
#: Decides a cycle, by what it does to the draft.
PlanFunction = Callable[[Draft], None]


@dataclass(frozen=True)
class Policy:
    """``file`` is where a policy of others comes from; "" for those on the shelf."""

    name: str
    plan: PlanFunction
    order: Order = by_submission  # of the queues
    heads_only: bool = False  # who waits behind the head of a queue changes nothing
    reserves: bool = False  # looks behind the heads, and at the running jobs by their ends
    arranges: bool = False  # orders who waits anew in each cycle, so ``order`` is of no matter
    file: str = ""


def queue_for(policy: Policy, table: JobTable) -> Pending:
    """What the jobs of one partition wait in."""
    if policy.arranges:
        return Pool(table)
    return (ScanQueue if policy.reserves else HeadQueue)(table, policy.order)


class PolicyError(Exception):
    """A policy of others failed, or broke a rule; the text says where."""


def explained(policy: Policy, placement: Placement, error: Exception) -> PolicyError | None:
    """``error``, which ``policy.plan`` raised, with the place in the file of the policy or placement; None where both are ours."""
    frames = traceback.extract_tb(error.__traceback__)
    for what, one in (("placement", placement), ("policy", policy)):
        lines = [frame.lineno for frame in frames if one.file and frame.filename == one.file]
        if one.file and (lines or one is policy or not policy.file):
            place = f", line {lines[-1]}" if lines else ""
            rule = f"breaks the rule {error.rule}" if isinstance(error, Refused) else type(error).__name__
            return PolicyError(f"{what} {one.name}{place}: {rule}: {error}")
    return None
