"""Carbon-aware shifting: a job waits for the hours in which its run emits the least carbon, as long as it may be delayed.

Wiesner et al., "Let's wait awhile: how temporal workload shifting can reduce carbon emissions in the cloud" (Middleware 2021), their
scheduling of jobs that are not interrupted: of all starts within the delay, each half hour, the one with the least mean carbon intensity
over the estimated run, the earliest of equal ones. Jobs of a priority above 0 and services are not delayed. Jobs whose time has come start
by priority and submission, and one that does not fit is passed over until it has waited for the delay and the patience.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.draft import Draft
from emulator.scheduler.passing_over import start_passing_over
from emulator.scheduler.policy import NotNegative, Policy
from emulator.scheduler.pool import Int64, Pool
from emulator.workload.jobs import SECOND, JobKind

_HOUR = 3600 * SECOND
_STEP = _HOUR // 2

#: Grams of CO2 per kWh by hour of the day, of a grid with much solar power: an assumed shape, to be replaced by the site's own.
SOLAR_GRID = (
    330.0, 325.0, 320.0, 320.0, 325.0, 330.0, 310.0, 250.0, 190.0, 150.0, 130.0, 120.0,
    115.0, 120.0, 130.0, 155.0, 200.0, 270.0, 340.0, 370.0, 370.0, 360.0, 350.0, 340.0,
)  # fmt: skip


def best_starts(submit_ns: Int64, run_ns: Int64, delay_ns: int, intensity: NDArray[np.float64]) -> Int64:
    """When each job's run emits the least, if it starts within the delay, shape (jobs,). ``intensity`` is by hour, and repeats."""
    starts = submit_ns[:, None] + np.arange(0, delay_ns + 1, _STEP)
    # In whole milligrams and milliseconds, so that equal ones are equal.
    rates = np.rint(intensity * 1000.0).astype(np.int64)
    whole = np.concatenate(([0], np.cumsum(rates))) * (_HOUR // 10**6)

    def emitted(until_ns: Int64) -> Int64:
        """The integral of the rates from 0 on."""
        hours, rest_ns = np.divmod(until_ns, _HOUR)
        periods, hour = np.divmod(hours, len(rates))
        integral: Int64 = periods * whole[-1] + whole[hour] + rates[hour] * (rest_ns // 10**6)
        return integral

    best = (emitted(starts + run_ns[:, None]) - emitted(starts)).argmin(axis=1)
    found: Int64 = starts[np.arange(len(starts)), best]
    return found


def plan(
    draft: Draft, delay_hours: NotNegative = 12.0, intensity: Sequence[NotNegative] = SOLAR_GRID, patience_hours: NotNegative = 24.0
) -> None:
    """``delay_hours``: so long may a job be delayed. ``intensity``: grams of CO2 per kWh by hour from the start on, repeated."""
    table, memory = draft.table, draft.memory
    by_hour = np.array(intensity if len(intensity) else (1.0,), dtype=np.float64)
    for job_id in [job_id for job_id in memory if job_id not in table.slot_of]:
        del memory[job_id]
    delay_ns = round(delay_hours * _HOUR)
    for partition in draft.partitions():
        pool = partition.pending
        assert isinstance(pool, Pool), "what is arranged is a pool"
        columns = pool.columns()
        new = np.array([job_id not in memory for job_id in columns["job_id"].tolist()], dtype=bool)
        run_ns = np.minimum(columns["estimate_ns"][new], 365 * 24 * _HOUR)
        times_ns = best_starts(columns["submit_ns"][new], run_ns, delay_ns, by_hour)
        for job_id, slot, start_ns in zip(columns["job_id"][new].tolist(), columns["slot"][new].tolist(), times_ns.tolist(), strict=True):
            urgent = table.priority[slot] > 0 or table.kind[slot] == JobKind.SERVICE
            memory[job_id] = table.submit_ns[slot] if urgent else start_ns
        pool.arrange(-columns["priority"])
        due = [slot for slot in pool.in_order() if memory[table.job_id[slot]] <= draft.now_ns]
        if partition.free.has_room():
            start_passing_over(draft, partition, due, lambda _: True, delay_ns + round(patience_hours * _HOUR))
        later = [at_ns for job_id in columns["job_id"].tolist() if (at_ns := memory[job_id]) > draft.now_ns]
        if later:
            draft.reconsider(partition, min(later))


POLICY = Policy("carbon-aware", plan, arranges=True)
