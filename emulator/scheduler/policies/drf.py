"""Dominant resource fairness over GPUs, power and network ports: the tenant with the smallest dominant share goes first.

Ghodsi et al., "Dominant Resource Fairness: Fair Allocation of Multiple Resource Types" (NSDI 2011), algorithm 1: a tenant's dominant
share is the largest of its shares of the resources; the tenant with the lowest one starts its next job, in order of submission. Starting
jobs only raises a share, so this order is the one of the share that each job's tenant would have with all of its jobs before that one. With
weights (section 4.3) shares are divided by the tenant's. Priority comes first.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.arranged import plan_arranged
from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Partition
from emulator.scheduler.policy import Policy, Positive
from emulator.scheduler.pool import Int64


def dominant_shares(tenant: Int64, demand: Int64, held: Int64, capacity: Int64, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The dominant share of each job's tenant once all of its jobs before that one have started, shape (jobs,).

    ``tenant`` and ``demand`` (jobs, resources) are in the order in which each tenant starts its jobs; ``held`` (tenants, resources) is what
    tenants hold; ``weight`` is theirs.
    """
    order = np.argsort(tenant, kind="stable")
    of_tenant, before = tenant[order], np.cumsum(demand[order], axis=0) - demand[order]
    first = np.flatnonzero(np.diff(of_tenant, prepend=-1))  # of each tenant
    before -= np.repeat(before[first], np.diff(np.append(first, len(order))), axis=0)
    share = ((held[of_tenant] + before) / capacity).max(axis=1, initial=0.0) / weight[of_tenant]
    found = np.empty(len(order))
    found[order] = share
    return found


def plan(draft: Draft, weights: dict[str, Positive] | None = None, backfill: bool = True) -> None:
    """``weights``: of tenants, by name (1 for others). ``backfill``: behind the first job that does not fit."""
    holdings, table = draft.ledger.books.holdings(), draft.table

    def keys(draft: Draft, partition: Partition, columns: dict[str, Int64]) -> tuple[NDArray[np.generic], ...]:
        order = np.lexsort((columns["job_id"], columns["submit_ns"], -columns["priority"]))
        demands = draft.ledger.books.demands
        demand = demands.of(columns["slot"][order].tolist(), partition.host_type)
        held = np.zeros((len(table.tenants), 3), dtype=np.int64)
        for tenant, amounts in holdings.held.items():
            held[tenant] = amounts
        weight = np.array([(weights or {}).get(name, 1.0) for name in table.tenants])
        shares = np.empty(len(order))
        shares[order] = dominant_shares(columns["tenant"][order], demand, held, demands.capacity, weight)
        return -columns["priority"], shares

    plan_arranged(draft, keys, backfilling=backfill)


POLICY = Policy("drf", plan, reserves=True, arranges=True)
