"""Deadlines: when a job should have ended, and by how much it misses that. A job that is late goes on."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.table import JobTable
from emulator.workload.jobs import SECOND

Int64 = NDArray[np.int64]

#: In a column of deadlines: none.
NO_DEADLINE = -1


class Kept(NamedTuple):
    """How jobs with a deadline stand; shape (jobs,) each. Where neither is true, there is no deadline or it is still to come."""

    met: NDArray[np.bool_]
    missed: NDArray[np.bool_]


def lateness_ns(deadline_ns: Int64, end_ns: Int64) -> Int64:
    """End minus deadline: above 0 for a job that was late, below 0 for one that was early (Pinedo, "Scheduling", section 2.1)."""
    return end_ns - deadline_ns


def kept(deadline_ns: Int64, end_ns: Int64, *, finished: NDArray[np.bool_], ended: NDArray[np.bool_], now_ns: int) -> Kept:
    """Who met the deadline: whoever finished by then. Who ended otherwise missed it, and so did who waits or runs when it has passed."""
    has = deadline_ns != NO_DEADLINE
    late = lateness_ns(deadline_ns, np.where(ended, end_ns, now_ns)) > 0
    met = has & finished & ~late
    return Kept(met, has & ~met & (ended | late))


def due_ns(table: JobTable, slots: Int64, otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    """The deadlines of the jobs in ``slots``, and ``otherwise`` for those that have none; shape (jobs,)."""
    deadlines = table.deadline_ns
    if not deadlines:
        return otherwise
    return np.array([deadlines.get(slot, other) for slot, other in zip(slots.tolist(), otherwise.tolist(), strict=True)], dtype=np.float64)


def told(deadline_ns: int, now_ns: int) -> str:
    """The deadline of a job that has not ended, as a clause."""
    passed = ", which has passed" if now_ns > deadline_ns else ""
    return f"should end by {deadline_ns / SECOND:,.15g} s{passed}"
