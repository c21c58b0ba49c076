"""Who makes room for a job that does not fit: jobs of lower priority are preempted, and small ones in its way are migrated."""

from collections.abc import Mapping, Sequence

from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.partition import Partition
from emulator.scheduler.shadow import Shadow

#: So many of the smallest jobs are thought of to be migrated for one.
MOST_MIGRATED = 256


def make_room(draft: Draft, partition: Partition, slot: int) -> list[Row] | None:
    """Migrate or preempt others for a job that does not fit. Returns its placement, or None (and stops nobody) if that is not enough."""
    return _migrate_for(draft, partition, slot) or _preempt_for(draft, partition, slot)


def _tried_in_vain(draft: Draft, partition: Partition, refused: Mapping[int, int], slot: int) -> bool:
    """Whether room was looked for in vain so lately that it is not looked for again yet; the draft is told when it is."""
    again_ns = refused.get(slot, 0)
    if draft.now_ns < again_ns:
        draft.reconsider(partition, again_ns)
    return draft.now_ns < again_ns


def _migrate_for(draft: Draft, partition: Partition, slot: int) -> list[Row] | None:
    """Migrate jobs that are smaller than a job for which enough GPUs are free, but scattered.

    The smallest are thought of first, of these the ones that started last. Nobody is migrated where one of them would not fit elsewhere.
    """
    table, free, settings = draft.table, partition.free, draft.defragmentation
    if settings is None or free.free_gpus < table.gpus[slot] or table.milli_gpus[slot] < 1000:
        return None
    if _tried_in_vain(draft, partition, settings.refused, slot):
        return None
    movable = [
        other
        for other in partition.running
        if table.preemptible[other] and table.gpus[other] < table.gpus[slot] and table.start_ns[other] < draft.now_ns
    ]
    movable.sort(key=lambda other: (table.gpus[other] * table.milli_gpus[other], -table.start_ns[other], -table.job_id[other]))
    moved = fewest_victims(draft, partition, slot, movable[:MOST_MIGRATED])
    mark = draft.mark()
    for other in moved:
        draft.lift(other)
    rows = draft.choose(partition, slot) if moved else None
    if rows is not None and _set_down(draft, partition, slot, rows, moved):
        return rows
    draft.undo(mark)
    settings.refused[slot] = draft.now_ns + settings.interval_ns
    return None


def _set_down(draft: Draft, partition: Partition, slot: int, rows: list[Row], moved: list[int]) -> bool:
    """Set down those who were lifted, beside the job's ``rows``, the largest first; False where one does not fit."""
    partition.hold(rows, draft.table.milli_gpus[slot])
    try:
        for other in reversed(moved):
            there = draft.choose(partition, other)
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
    for victim in victims:
        draft.preempt(victim, f"preempted for job {table.job_id[slot]} of priority {table.priority[slot]}, above {table.priority[victim]}")
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
        if table.preemptible[other] and table.priority[other] < priority and table.start_ns[other] < now_ns
    ]
    if free.free_gpus + sum(table.gpus[other] for other in lower) < table.gpus[slot]:
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
