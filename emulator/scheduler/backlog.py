"""How many jobs wait for what, by the kinds of ``emulator.scheduler.explain``.

A job has here the kind that ``explain_pending`` gives it. Nothing is looked at job by job: those that ask for the same have the same kind,
so it costs a few array-like passes over 100,000 jobs, and one look at the free GPUs for each sort of job.
"""

from collections import Counter
from collections.abc import Sequence

from emulator.scheduler.explain import lacks
from emulator.scheduler.reasons import KINDS
from emulator.scheduler.scheduler import Scheduler


def pending_by_reason(scheduler: Scheduler) -> tuple[dict[str, int], dict[str, float]]:
    """(pending jobs, the GPUs that they ask for) by kind of reason; of every kind."""
    table, whys = scheduler.table, scheduler.draft.whys
    jobs = dict.fromkeys(KINDS, 0)
    milli_gpus = dict.fromkeys(KINDS, 0)

    def add(kind: str, size: int, count: int = 1) -> None:
        jobs[kind] += count
        milli_gpus[kind] += size * count

    for slot in table.on_hold:
        add(scheduler.room.kind(slot), table.gpus[slot] * table.milli_gpus[slot])
    slots: Sequence[int] = list(scheduler.queued())
    if whys:
        for slot in slots:
            if slot in whys:
                add(whys[slot].kind, table.gpus[slot] * table.milli_gpus[slot])
        slots = [slot for slot in slots if slot not in whys]
    columns: list[Sequence[object]] = [table.gpus, table.milli_gpus, table.require_level, table.types]
    if scheduler.accounts is not None:
        columns += [table.queue, table.tenant]
    keys = list(zip(*(map(column.__getitem__, slots) for column in columns), strict=True))
    if scheduler.settings.strict_queues:  # in which a job may be behind one that has no quota
        keys = [(*key, _is_barred(scheduler, slot)) for key, slot in zip(keys, slots, strict=True)]
    example = dict(zip(keys, slots, strict=True))
    for key, count in Counter(keys).items():
        slot = example[key]
        add(_kind(scheduler, slot), table.gpus[slot] * table.milli_gpus[slot], count)
    return jobs, {kind: size / 1000 for kind, size in milli_gpus.items()}


def _is_barred(scheduler: Scheduler, slot: int) -> bool:
    held = next(iter(scheduler.ledger.partitions_for(slot))).held
    return held is not None and held.bars(slot)


def _kind(scheduler: Scheduler, slot: int) -> str:
    table, partition = scheduler.table, next(iter(scheduler.ledger.partitions_for(slot)))
    accounts, held = scheduler.accounts, partition.held
    if accounts is not None and held is not None and (not accounts.allows(slot, partition.number) or held.bars(slot)):
        return "quota"
    return lacks(partition.free, table.gpus[slot], table.milli_gpus[slot], table.require_level[slot]) or "priority"
