"""Preemption by priority: which running jobs of lower priority make room for a job that does not fit."""

from emulator.scheduler.free import Row
from emulator.scheduler.shadow import Shadow
from emulator.scheduler.view import View


def make_room(view: View, slot: int) -> list[Row] | None:
    """Preempt jobs of lower priority for a job that does not fit. Returns its placement, or None (and preempts nothing) if that is not
    enough.
    """
    preemption = view.preemption
    if preemption is None or preemption.lowest_priority() >= view.table.priority[slot]:
        return None
    again_ns = preemption.refused.get(slot, 0)
    if view.now_ns < again_ns:
        view.plan.reconsider(again_ns)
        return None
    victims = victims_for(view, slot, preemption.after_ns)
    if not victims:
        preemption.refused[slot] = view.now_ns + preemption.interval_ns
        return None
    view.surprises += 1
    view.plan.preempted += victims
    # They are pending again once this plan is carried out, and have their turn in the next cycle.
    view.plan.reconsider(view.now_ns + view.cycle_ns)
    return view.choose(slot)


def victims_for(view: View, slot: int, after_ns: int) -> list[int]:
    """Jobs of lower priority that are stopped so that the job fits: none where that would not do. The victims' GPUs are free on return.

    Victims have run for at least ``after_ns`` (RSC preempts after two hours: Kokolis et al., HPCA'25) and were not started in this cycle.
    They are stopped one by one, lowest priority first, of these those that started last, since they lose least, of these the highest
    id, until the job fits. Then victims that are not needed go on, the most valuable first (in reverse order), so none is stopped in
    vain. If the only obstacle is jobs that have not run for long enough, the plan says when to look again.
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
        view.stop(victim)
    return stopped


def _fewest(view: View, slot: int, ripe: list[int]) -> list[int]:
    """The first jobs of ``ripe`` that are enough, without those that are not needed; none if all together are not enough.

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
