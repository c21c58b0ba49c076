"""What a policy is: a function of the draft, and what it needs to be kept for it."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from emulator.scheduler.draft import Draft
from emulator.scheduler.pending import Order, by_submission
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


def explained(policy: Policy, error: Exception) -> PolicyError:
    """``error``, which ``policy.plan`` raised, with the place in the policy's file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == policy.file]
    place = f", line {lines[-1]}" if lines else ""
    if isinstance(error, Refused):
        return PolicyError(f"policy {policy.name}{place}: breaks the rule {error.rule}: {error}")
    return PolicyError(f"policy {policy.name}{place}: {type(error).__name__}: {error}")
