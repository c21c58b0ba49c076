"""Carbon-aware shifting: a job waits for the hours in which its run emits the least carbon, as long as it may be delayed.

Wiesner et al., "Let's wait awhile: how temporal workload shifting can reduce carbon emissions in the cloud" (Middleware 2021), their
scheduling of jobs that are not interrupted: of all starts within the delay, each half hour, the one with the least mean carbon intensity
over the estimated run, the earliest of equal ones. Jobs of a priority above 0 and services are not delayed. Jobs whose time has come start
by priority and submission, and one that does not fit is passed over until it has waited for the delay and the patience.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emulator.power.series import by_hour
from emulator.scheduler.draft import Draft
from emulator.scheduler.passing_over import COLUMNS, start_passing_over
from emulator.scheduler.policy import NotNegative, Policy
from emulator.scheduler.pool import Int64, Pool
from emulator.scheduler.reasons import Why
from emulator.scheduler.table import JobTable
from emulator.workload.jobs import SECOND, JobKind

_HOUR = 3600 * SECOND
_STEP = _HOUR // 2

#: Grams of CO2 per kWh by hour of the day, of a grid with much solar power: an assumed shape, to be replaced by the site's own.
SOLAR_GRID = (
    330.0, 325.0, 320.0, 320.0, 325.0, 330.0, 310.0, 250.0, 190.0, 150.0, 130.0, 120.0,
    115.0, 120.0, 130.0, 155.0, 200.0, 270.0, 340.0, 370.0, 370.0, 360.0, 350.0, 340.0,
)  # fmt: skip


class Grid:
    """Its carbon intensity by hour from the start on, repeated; in whole milligrams and milliseconds, so that equal ones are equal."""

    def __init__(self, intensity: NDArray[np.float64]) -> None:
        """``intensity`` is in grams of CO2 per kWh."""
        self._rates = np.rint(intensity * 1000.0).astype(np.int64)
        self._whole = np.concatenate(([0], np.cumsum(self._rates))) * (_HOUR // 10**6)

    def _emitted(self, until_ns: Int64) -> Int64:
        """The integral of the rates from 0 on."""
        hours, rest_ns = np.divmod(until_ns, _HOUR)
        periods, hour = np.divmod(hours, len(self._rates))
        integral: Int64 = periods * self._whole[-1] + self._whole[hour] + self._rates[hour] * (rest_ns // 10**6)
        return integral

    def emitted(self, start_ns: Int64, run_ns: Int64) -> Int64:
        """What runs emit that start then, for a constant power; of the shape of ``start_ns``."""
        return self._emitted(start_ns + run_ns) - self._emitted(start_ns)

    def intensity(self, start_ns: Int64, run_ns: Int64) -> NDArray[np.float64]:
        """Grams of CO2 per kWh over the run."""
        return self.emitted(start_ns, run_ns) / np.maximum(1, run_ns // 10**6) / 1000.0


def best_starts(submit_ns: Int64, run_ns: Int64, delay_ns: int, grid: Grid) -> Int64:
    """When each job's run emits the least, if it starts within the delay, shape (jobs,)."""
    starts = submit_ns[:, None] + np.arange(0, delay_ns + 1, _STEP)
    best = grid.emitted(starts, run_ns[:, None]).argmin(axis=1)
    found: Int64 = starts[np.arange(len(starts)), best]
    return found


class Starts:
    """The best start of each job, by slot, and in which of its stays in the pool it was told that it waits for it (-1: in none)."""

    def __init__(self) -> None:
        self._job_id = np.zeros(0, dtype=np.int64)  # whose start it is, since slots are used again
        self.best_ns, self.told = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)

    def note(self, table: JobTable, jobs: dict[str, Int64], delay_ns: int, grid: Grid) -> None:
        """Work it out for those that are new. Services need no better time than that of their arrival."""
        if len(self._job_id) < len(table):
            more = 2 * len(table) - len(self._job_id)
            self._job_id = np.pad(self._job_id, (0, more), constant_values=-1)
            self.best_ns, self.told = np.pad(self.best_ns, (0, more)), np.pad(self.told, (0, more))
        new = np.flatnonzero(self._job_id[jobs["slot"]] != jobs["job_id"])
        slots = jobs["slot"][new]
        self._job_id[slots], self.told[slots] = jobs["job_id"][new], -1
        best_ns = best_starts(jobs["submit_ns"][new], _run_ns(jobs)[new], delay_ns, grid)
        serves = np.array([table.kind[slot] == JobKind.SERVICE for slot in slots.tolist()], dtype=bool)
        self.best_ns[slots] = np.where(serves, jobs["submit_ns"][new], best_ns)


def _run_ns(jobs: dict[str, Int64]) -> Int64:
    return np.minimum(jobs["estimate_ns"], 365 * 24 * _HOUR)


def plan(draft: Draft, delay_hours: NotNegative = 12.0, intensity: Sequence[NotNegative] = (), patience_hours: NotNegative = 24.0) -> None:
    """``delay_hours``: so long may a job be delayed. ``intensity``: grams of CO2 per kWh by hour from the start on, repeated; by default
    the scenario's ``power.carbon``, and where there is none an assumed grid with much solar power.
    """
    carbon = draft.ledger.books.carbon
    if not len(intensity):
        intensity = SOLAR_GRID if carbon is None else by_hour(carbon)
    grid = Grid(np.array(intensity, dtype=np.float64))
    delay_ns = round(delay_hours * _HOUR)
    for partition in draft.partitions():
        pool = partition.pending
        assert isinstance(pool, Pool), "what is arranged is a pool"
        starts: Starts = draft.memory.setdefault(partition.number, Starts())
        pool.arrange(-pool.columns("priority")["priority"])
        jobs = pool.in_turn(*COLUMNS, "job_id", "estimate_ns", "priority", "stay")
        starts.note(draft.table, jobs, delay_ns, grid)
        start_ns = starts.best_ns[jobs["slot"]]
        early = (jobs["priority"] <= 0) & (start_ns > draft.now_ns)
        _hold(draft, jobs, starts, early, grid)
        if partition.free.has_room():
            due = {name: jobs[name][~early] for name in COLUMNS}
            start_passing_over(draft, partition, due, lambda _: True, delay_ns + round(patience_hours * _HOUR))
        if early.any():
            draft.reconsider(partition, int(start_ns[early].min()))


def _hold(draft: Draft, jobs: dict[str, Int64], starts: Starts, early: NDArray[np.bool_], grid: Grid) -> None:
    """Jobs are held until their time, and are told once; when it has come, nothing of this kind holds them."""
    slots = jobs["slot"]
    draft.let_go(slots[~early].tolist())
    starts.told[slots[~early]] = -1
    untold = early & (starts.told[slots] != jobs["stay"])
    starts.told[slots[untold]] = jobs["stay"][untold]
    best_ns, runs = starts.best_ns[slots[untold]], _run_ns(jobs)[untold]
    means = grid.intensity(best_ns, runs).tolist(), grid.intensity(np.full(len(runs), draft.now_ns), runs).tolist()
    for slot, at_ns, then, now in zip(slots[untold].tolist(), best_ns.tolist(), *means, strict=True):
        at_seconds, now_seconds = at_ns / SECOND, draft.now_ns / SECOND
        instead = f"; from {now_seconds:,.15g} s on it would emit {now:,.4g} g"
        text = f"waits until {at_seconds:,.15g} s, from when on its run emits {then:,.4g} g of CO2 per kWh{instead}"
        numbers = {"start_seconds": at_seconds, "grams_per_kwh_then": then, "grams_per_kwh_now": now, "now_seconds": now_seconds}
        remedy = f"may start at {at_seconds:,.15g} s, or with a priority above 0"
        draft.hold(slot, Why(text, numbers, "power", remedy, at_ns))


POLICY = Policy("carbon-aware", plan, arranges=True)
