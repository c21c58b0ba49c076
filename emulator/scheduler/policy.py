"""What a policy is: a function of the draft, and what it needs to be kept for it."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from emulator.scheduler.draft import Draft
from emulator.scheduler.pending import Order, by_submission
from emulator.scheduler.placement import Placement
from emulator.scheduler.rules import Refused

#: Decides a cycle, by what it does to the draft.
PlanFunction = Callable[[Draft], None]


@dataclass(frozen=True)
class Policy:
    """``file`` is where a policy of others comes from; "" for those on the shelf."""

    name: str
    plan: PlanFunction
    order: Order = by_submission  # of the queues
    heads_only: bool = False  # who waits behind the head of a queue changes nothing
    reserves: bool = False  # the queues are ScanQueues, and running jobs are kept by their ends
    file: str = ""


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
