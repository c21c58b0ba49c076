"""What a policy is: a function of the draft, and what it needs to be kept for it."""

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from emulator.scheduler.draft import Draft
from emulator.scheduler.pending import Order, by_submission
from emulator.scheduler.placement import Placement
from emulator.scheduler.rules import Refused

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
    reserves: bool = False  # the queues are ScanQueues, and running jobs are kept by their ends
    file: str = ""
    outside: OutsideAccount | None = None


class PolicyUnreachable(Exception):
    """A policy outside this process cannot be had at the start; the text says where it was looked for."""


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
