"""Power-aware admission: a job starts only where its power still fits into the site's budget.

Bodas et al., "Simple power-aware scheduler to limit power consumption by HPC system within a budget" (E2SC 2014). The facility draws
what all hosts draw when idle, the switches, and what the running jobs' GPUs add, times PUE. Jobs go by priority and submission. One that
does not fit, into the budget or onto hosts, is passed over until it has waited for the patience; then nobody passes it.
"""

from collections.abc import Mapping

from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Partition
from emulator.scheduler.passing_over import COLUMNS, start_passing_over
from emulator.scheduler.policy import NotNegative, Policy, Positive
from emulator.scheduler.pool import Pool
from emulator.scheduler.reasons import Why
from emulator.scheduler.usage import PowerBudget
from emulator.workload.jobs import SECOND


def plan(draft: Draft, cap_megawatts: Positive | None = None, patience_hours: NotNegative = 24.0) -> None:
    """``cap_megawatts``: of the whole facility; by default the scenario's ``power.cap``, and no budget where there is none."""
    books = draft.ledger.books
    budget = books.power_budget(None if cap_megawatts is None else round(cap_megawatts * 1e9))  # booked from the first cycle on
    if budget is not None and any(partition.stirred for partition in draft.ledger.partitions):
        for partition in draft.ledger.partitions:  # one budget: what ends in one may let a job start in another
            partition.stirred = True
    for partition in draft.partitions():
        pool = partition.pending
        assert isinstance(pool, Pool), "what is arranged is a pool"
        if not partition.free.has_room():
            draft.let_go(pool.slots())  # they lack GPUs
            continue
        pool.arrange(-pool.columns("priority")["priority"])
        jobs = pool.in_turn(*COLUMNS)
        slots = jobs["slot"].tolist()
        draw = dict(zip(slots, books.demands.of(slots, partition.host_type)[:, 1].tolist(), strict=True))

        def allows(slot: int, draw: Mapping[int, int] = draw) -> bool:
            return budget is None or draw[slot] <= budget.left_milliwatts()

        start_passing_over(draft, partition, jobs, allows, round(patience_hours * 3600 * SECOND))
        if budget is not None:
            _hold(draft, partition, draw, budget)


def _hold(draft: Draft, partition: Partition, draw: Mapping[int, int], budget: PowerBudget) -> None:
    """Those who wait and do not fit into what is left are held for power."""
    left = budget.left_milliwatts()
    whys: dict[int, Why] = {}  # by what a job draws, which is the same for many
    for slot, milliwatts in draw.items():
        if milliwatts <= left or slot not in partition.pending:
            draft.let_go((slot,))
            continue
        if (why := whys.get(milliwatts)) is None:
            why = whys[milliwatts] = _why(milliwatts, left, budget)
        draft.hold(slot, why)


def _why(milliwatts: int, left: int, budget: PowerBudget) -> Why:
    needed_watts, left_watts, cap_watts, most_watts = (
        value / 1000 for value in (milliwatts, left, budget.cap_milliwatts, budget.most_milliwatts)
    )
    text = f"needs {needed_watts:,.0f} W of IT power; {left_watts:,.0f} W are left until the facility draws its cap of {cap_watts:,.0f} W"
    if milliwatts > budget.most_milliwatts:
        remedy = f"does not fit under the cap, which leaves {most_watts:,.0f} W while no job runs"
    else:
        remedy = f"fits when running jobs that draw {needed_watts - left_watts:,.0f} W have ended"
    numbers = {"watts_needed": needed_watts, "watts_left": left_watts, "watts_left_most": most_watts, "cap_watts": cap_watts}
    return Why(text, numbers, "power", remedy)


POLICY = Policy("power-aware", plan, arranges=True)
