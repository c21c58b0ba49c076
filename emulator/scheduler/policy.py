"""What a policy is: a function of the draft, and what it needs to be kept for it."""

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
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


@dataclass(eq=False)
class OutsideAccount:
    """How it went with a policy that decides outside this process.

    ``cycles`` for which it was asked, actions refused by rule; and, once it is gone, the policy that decides in its place.
    """

    name: str
    refused: Counter[str] = field(default_factory=Counter)
    cycles: int = 0
    fallback: str = ""
    fallback_ns: int = -1
    why: str = ""


@dataclass(frozen=True)
class Policy:
    """``file`` is where a policy of others comes from; "" for those on the shelf. ``outside``: of one that decides outside this process."""

    name: str
    plan: PlanFunction
    order: Order = by_submission  # of the queues
    heads_only: bool = False  # who waits behind the head of a queue changes nothing
    reserves: bool = False  # looks behind the heads, and at the running jobs by their ends
    arranges: bool = False  # orders who waits anew in each cycle, so ``order`` is of no matter
    file: str = ""
    outside: OutsideAccount | None = None


class PolicyUnreachable(Exception):
    """A policy outside this process cannot be had at the start; the text says where it was looked for."""


def queue_for(policy: Policy, table: JobTable, number: int) -> Pending:
    """What the jobs of the partition ``number`` wait in."""
    if policy.arranges:
        return Pool(table, number)
    return ScanQueue(table, policy.order, number) if policy.reserves else HeadQueue(table, policy.order)


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
