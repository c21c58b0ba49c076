"""Fair share with decay: who has used the least of its share goes first. Queues are the accounts, tenants the users in them.

Slurm's classic algorithm (its documentation, "Classic Fairshare Algorithm"): a queue's effective usage is its part of all GPU time, with a
half-life; a tenant's is its own part, and of the rest of its queue's what its share of the queue is. The factor is F = 2^(-usage / share).
Priority comes before it.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from emulator.draws.exact import exp2
from emulator.draws.sums import add_up
from emulator.scheduler.arranged import plan_arranged
from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Partition
from emulator.scheduler.policy import Policy, Positive
from emulator.scheduler.pool import Int64
from emulator.scheduler.usage import Usage
from emulator.workload.jobs import SECOND

Float64 = NDArray[np.float64]


def effective_usage(actual: Float64, of_parent: Float64, share: Float64, siblings_share: Float64) -> Float64:
    """Of children, from their actual usage, their parents' effective one, and their shares and those of all children of the parent."""
    return actual + (of_parent - actual) * share / siblings_share


def factors(used: Float64, queue: Int64, queue_share: Float64, share: Float64) -> Float64:
    """F of each account, shape (accounts,); 1 is the best.

    ``used`` by each, in any unit; the number of its ``queue``; the share of each queue, shape (queues,); and each account's own.
    """
    usage = used / max(add_up(used), 1e-300)
    siblings_share = _by_queue(queue, share)[queue]
    there = np.bincount(queue, minlength=len(queue_share)) > 0
    of_queue = queue_share[queue] / add_up(queue_share[there])
    effective = effective_usage(usage, _by_queue(queue, usage)[queue], share, siblings_share)
    return exp2(-effective / (of_queue * share / siblings_share))


def _by_queue(queue: Int64, values: Float64) -> Float64:
    return np.bincount(queue, values).astype(np.float64)


def usage_of(draft: Draft, half_life_hours: float) -> Usage:
    """What is booked of GPU time: from the first time on that this is asked."""
    return draft.ledger.books.usage(round(half_life_hours * 3600 * SECOND))


def fair_share_of(draft: Draft, columns: dict[str, Int64], half_life_hours: float, shares: Mapping[str, float]) -> Float64:
    """The factor of each job that waits. Accounts that wait or have used something count."""
    table, usage = draft.table, usage_of(draft, half_life_hours)
    codes, which = np.unique(columns["queue"] * len(table.tenants) + columns["tenant"], return_inverse=True)
    places = [usage.place(divmod(code, len(table.tenants))) for code in codes.tolist()]
    queue = np.array([queue for queue, _ in usage.accounts])
    share = np.array([shares.get(table.tenants[tenant], 1.0) for _, tenant in usage.accounts])
    queue_share = np.array([shares.get(name, 1.0) for name in table.queues[: int(queue.max()) + 1]])
    return factors(usage.gpu_seconds(draft.now_ns), queue, queue_share, share)[places][which]


def plan(draft: Draft, half_life_hours: Positive = 168.0, shares: dict[str, Positive] | None = None, backfill: bool = True) -> None:
    """``shares``: of queues and tenants, by name (1 for others). ``backfill``: behind the first job that does not fit."""

    def keys(draft: Draft, _partition: Partition, columns: dict[str, Int64]) -> tuple[NDArray[np.generic], ...]:
        return -columns["priority"], -fair_share_of(draft, columns, half_life_hours, shares or {})

    usage_of(draft, half_life_hours)
    plan_arranged(draft, keys, backfilling=backfill, again_seconds=300.0)  # as often as Slurm's PriorityCalcPeriod


POLICY = Policy("fair-share", plan, reserves=True, arranges=True)
