"""Who makes room for a job that does not fit: jobs of several sizes shrink, small ones in its way are migrated, and jobs of lower priority
are preempted.
"""

from collections.abc import Mapping, Sequence

from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.partition import Partition
from emulator.scheduler.shadow import Shadow

#: So many of the smallest jobs are thought of to be migrated for one.
MOST_MIGRATED = 256


def make_room(draft: Draft, partition: Partition, slot: int) -> list[Row] | None:
    """Shrink, migrate or preempt others for a job that does not fit. Returns its placement, or None (and stops nobody) if that is not
    enough.
    """
    return shrink_for(draft, partition, slot) or _migrate_for(draft, partition, slot) or _preempt_for(draft, partition, slot)


def _tried_in_vain(draft: Draft, partition: Partition, refused: Mapping[int, int], slot: int) -> bool:
    """Whether room was looked for in vain so lately that it is not looked for again yet; the draft is told when it is."""
    again_ns = refused.get(slot, 0)
    if draft.now_ns < again_ns:
        draft.reconsider(partition, again_ns)
    return draft.now_ns < again_ns


def shrink_for(draft: Draft, partition: Partition, slot: int) -> list[Row] | None:
    """Have running jobs go on with the least of their sizes for a job that does not fit with the least of its own.

    Those that started last shrink first, and no more of them than it takes by their GPUs; where that does not do, since levels or parts of
    hosts matter, all are tried together. Nobody shrinks where that would not do either.
    """
    table, settings = draft.table, draft.elasticity
    if settings is None or not table.sizes or table.milli_gpus[slot] < 1000 or _tried_in_vain(draft, partition, settings.refused, slot):
        return None
    large = [
        other
        for other in partition.running
        if other in table.sizes and table.size_gpus[other] > table.sizes[other].least_gpus and table.start_ns[other] < draft.now_ns
    ]
    large.sort(key=lambda other: (-table.start_ns[other], -table.job_id[other]))
    few: list[int] = []
    missing = table.size_gpus[slot] - partition.free.free_gpus
    for other in large:
        if missing <= 0 and few:
            break
        few.append(other)
        missing -= table.size_gpus[other] - table.sizes[other].least_gpus
    for shrunk in (few, large) if len(few) < len(large) else (few,):
        if missing <= 0 and (rows := _shrink(draft, partition, slot, shrunk)) is not None:
            return rows
    if any(table.start_ns[other] == draft.now_ns for other in partition.running if other in table.sizes):
        draft.reconsider(partition, draft.now_ns + draft.cycle_ns)  # those who start in this cycle may shrink in the next
    elif large:
        settings.refused[slot] = draft.now_ns + settings.interval_ns
    return None


def _shrink(draft: Draft, partition: Partition, slot: int, shrunk: Sequence[int]) -> list[Row] | None:
    """Have these jobs shrink; None, and nothing done, where there is no room for the job even so."""
    table, mark = draft.table, draft.mark()
    least = {other: table.sizes[other].least_gpus for other in shrunk}
    for other in shrunk:
        draft.lift(other)
    rows = draft.choose(partition, slot, table.size_gpus[slot]) if shrunk else None
    if rows is None or not set_down(draft, partition, slot, rows, least):
        draft.undo(mark)
        return None
    for other in shrunk:
        draft.causes[other] = f"shrank from {draft.migrated[other][2]} GPUs, for job {table.job_id[slot]}"
    return rows


def _migrate_for(draft: Draft, partition: Partition, slot: int) -> list[Row] | None:
    """Migrate jobs that are smaller than a job for which enough GPUs are free, but scattered.

    The smallest are thought of first, of these the ones that started last. Nobody is migrated where one of them would not fit elsewhere.
    """
    table, free, settings = draft.table, partition.free, draft.defragmentation
    if settings is None or free.free_gpus < table.size_gpus[slot] or table.milli_gpus[slot] < 1000:
        return None
    if _tried_in_vain(draft, partition, settings.refused, slot):
        return None
    movable = [
        other
        for other in partition.running
        if table.preemptible[other] and table.size_gpus[other] < table.size_gpus[slot] and table.start_ns[other] < draft.now_ns
    ]
    movable.sort(key=lambda other: (table.size_gpus[other] * table.milli_gpus[other], -table.start_ns[other], -table.job_id[other]))
    moved = fewest_victims(draft, partition, slot, movable[:MOST_MIGRATED])
    mark = draft.mark()
    for other in moved:
        draft.lift(other)
    rows = draft.choose(partition, slot, table.size_gpus[slot]) if moved else None
    if rows is not None and set_down(draft, partition, slot, rows, {other: table.size_gpus[other] for other in reversed(moved)}):
        return rows
    draft.undo(mark)
    settings.refused[slot] = draft.now_ns + settings.interval_ns
    return None


def set_down(draft: Draft, partition: Partition, slot: int, rows: list[Row], lifted: Mapping[int, int]) -> bool:
    """Set down those who were lifted, each with so many GPUs, beside the job's ``rows``; False where one does not fit."""
    partition.hold(rows, draft.table.milli_gpus[slot])
    try:
        for other, gpus in lifted.items():
            there = draft.choose(partition, other, gpus)
            if there is None:
                return False
            draft.set_down(other, there)
    finally:
        partition.let_go(rows, draft.table.milli_gpus[slot])
    return True


def _preempt_for(draft: Draft, partition: Partition, slot: int) -> list[Row] | None:
    """Preempt jobs of lower priority."""
    preemption = draft.preemption
    if preemption is None or partition.lowest_preemptible() >= draft.table.priority[slot]:
        return None
    if _tried_in_vain(draft, partition, preemption.refused, slot):
        return None
    victims = victims_for(draft, partition, slot, preemption.after_ns)
    if not victims:
        preemption.refused[slot] = draft.now_ns + preemption.interval_ns
        return None
    table = draft.table
    why = f"preempted for job {table.job_id[slot]} of priority {table.priority[slot]}, above"
    causes = {victim: f"{why} {table.priority[victim]}" for victim in victims}
    if draft.ask_to_stop(causes, preemption.grace_ns):
        preemption.refused[slot] = draft.now_ns + preemption.grace_ns
        draft.reconsider(partition, preemption.refused[slot])
        return None
    for victim, cause in causes.items():
        draft.preempt(victim, cause)
    # They are pending again once this cycle is over, and have their turn in the next one.
    draft.reconsider(partition, draft.now_ns + draft.cycle_ns)
    return draft.choose(partition, slot)


def victims_for(draft: Draft, partition: Partition, slot: int, after_ns: int) -> list[int]:
    """Jobs of lower priority to be stopped so that the job fits: none where that would not do.

    Victims have run for at least ``after_ns`` and were not started in this cycle. They are taken one by one, lowest priority first, of
    these those that started last, since they lose least, of these the highest id, until the job fits. Then victims that are not needed go
    on, the most valuable first (in reverse order), so none is stopped in vain. If the only obstacle is jobs that have not run for long
    enough, the draft says when to look again.
    """
    table, free, now_ns = draft.table, partition.free, draft.now_ns
    priority = table.priority[slot]
    lower = [
        other
        for other in partition.running
        if table.preemptible[other] and table.priority[other] < priority and table.start_ns[other] < now_ns and not draft.drains(other)
    ]
    if free.free_gpus + sum(table.size_gpus[other] for other in lower) < table.size_gpus[slot]:
        return []
    ripe = [other for other in lower if table.start_ns[other] + after_ns <= now_ns]
    ripe.sort(key=lambda other: (table.priority[other], -table.start_ns[other], -table.job_id[other]))
    victims = fewest_victims(draft, partition, slot, ripe)
    if not victims and len(ripe) < len(lower):
        draft.reconsider(partition, min(ripe_ns for other in lower if (ripe_ns := table.start_ns[other] + after_ns) > now_ns))
    return victims


def fewest_victims(draft: Draft, partition: Partition, slot: int, ripe: Sequence[int]) -> list[int]:
    """The first jobs of ``ripe`` that are enough, without those that are not needed; none if all together are not enough.

    Tried out beside the ledger, since hundreds of jobs may be looked at for each that is stopped.
    """
    rows, milli_gpus = draft.table.rows, draft.table.milli_gpus
    shadow = Shadow.now(draft.table, draft.free_for(partition, slot), slot)
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
