"""Power-aware admission: a job starts only where its power still fits into the site's budget.

Bodas et al., "Simple power-aware scheduler to limit power consumption by HPC system within a budget" (E2SC 2014). The facility draws
what all hosts draw when idle, the switches, and what the running jobs' GPUs add, times PUE. Jobs go by priority and submission. One that
does not fit, into the budget or onto hosts, is passed over until it has waited for the patience; then nobody passes it.
"""

from emulator.scheduler.draft import Draft
from emulator.scheduler.passing_over import start_passing_over
from emulator.scheduler.policy import NotNegative, Policy, Positive
from emulator.scheduler.pool import Pool
from emulator.workload.jobs import SECOND


def plan(draft: Draft, cap_megawatts: Positive | None = None, patience_hours: NotNegative = 24.0) -> None:
    """``cap_megawatts``: of the whole facility; by default the scenario's ``power.cap``, and no budget where there is none."""
    books = draft.ledger.books
    cap_milliwatts = None if cap_megawatts is None else round(cap_megawatts * 1e9)
    books.milliwatts_left(cap_milliwatts)  # booked from the first cycle on
    for partition in draft.partitions():
        pool = partition.pending
        assert isinstance(pool, Pool), "what is arranged is a pool"
        if not partition.free.has_room():
            continue
        pool.arrange(-pool.columns()["priority"])
        slots = list(pool.in_order())
        draw = dict(zip(slots, books.demands.of(slots, partition.host_type)[:, 1].tolist(), strict=True))

        def allows(slot: int, draw: dict[int, int] = draw) -> bool:
            left = books.milliwatts_left(cap_milliwatts)
            return left is None or draw[slot] <= left

        start_passing_over(draft, partition, slots, allows, round(patience_hours * 3600 * SECOND))


POLICY = Policy("power-aware", plan, arranges=True)
