"""Preemption by priority: which running jobs of lower priority make room for a job that does not fit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emulator.scheduler.shadow import Shadow
from emulator.scheduler.shares import let_go

if TYPE_CHECKING:
    from emulator.scheduler.view import View


@dataclass(frozen=True)
class Preemption:
    """That there is preemption, and of what: running jobs that may be preempted, by priority.

    A job for which no room could be made is not tried again for ``interval_ns``, since the search looks at every running job below it.
    """

    after_ns: int
    interval_ns: int
    jobs_by_priority: Mapping[int, int]
    refused: dict[int, int] = field(default_factory=dict)  # slot -> when it may be tried again

    def lowest_priority(self) -> int:
        """Of the jobs that may be preempted; above every priority where there is none."""
        return min((priority for priority, jobs in self.jobs_by_priority.items() if jobs), default=2**31)


def victims_for(view: "View", slot: int, after_ns: int) -> list[int]:
    """Jobs of lower priority that are stopped so that the job fits: none where that would not do. The victims' GPUs are free on return.

    Victims have run for at least ``after_ns`` (RSC preempts after two hours: Kokolis et al., HPCA'25) and were not started in this cycle.
    They are stopped one by one, lowest priority first, of these those that started last, since they lose least, of these the highest
    id, until the job fits. Then each that it fits without goes on, the most valuable first (in reverse order): no victim is
    stopped in vain. Where only jobs that have not run for long enough stand in the way, the plan says when to look again.
    """
    table, free = view.table, view.free
    priority = table.priority[slot]
    stopped_already = set(view.plan.preempted)
    lower = [
        other for other in view.running if table.preemptible[other] and table.priority[other] < priority and other not in stopped_already
    ]
    if free.free_gpus + sum(table.gpus[other] for other in lower) < table.gpus[slot]:
        return []
    ripe = [other for other in lower if table.start_ns[other] + after_ns <= view.now_ns]
    ripe.sort(key=lambda other: (table.priority[other], -table.start_ns[other], -table.job_id[other]))
    stopped = _fewest(view, slot, ripe)
    if not stopped and len(ripe) < len(lower):
        view.plan.reconsider(min(ripe_ns for other in lower if (ripe_ns := table.start_ns[other] + after_ns) > view.now_ns))
    for victim in stopped:
        let_go(free, table.rows[victim], table.milli_gpus[victim])
    return stopped


def _fewest(view: "View", slot: int, ripe: list[int]) -> list[int]:
    """The first of ``ripe`` that do, without those that are not needed; none where all do not.

    Tried out beside the index, since hundreds of jobs may be looked at for each that is stopped.
    """
    rows, milli_gpus = view.table.rows, view.table.milli_gpus
    shadow = Shadow.now(view, slot)
    stopped: list[int] = []
    for victim in ripe:
        shadow.release(rows[victim], milli_gpus[victim])
        stopped.append(victim)
        if shadow.holds(milli_gpus[slot]):
            break
    else:
        return []
    for victim in reversed(stopped[:-1]):
        shadow.take(rows[victim], milli_gpus[victim])
        if shadow.holds(milli_gpus[slot]):
            stopped.remove(victim)
        else:
            shadow.release(rows[victim], milli_gpus[victim])
    return stopped
