"""How many jobs wait for what, by the kinds of ``emulator.scheduler.explain``.

A job has here the kind that ``explain_pending`` gives it. Jobs of one sort, which ask for the same, have the same kind, and the scheduler
counts them by sort as they come and go: so it costs one look at the free GPUs for each sort, however many jobs wait.
"""

from collections.abc import Iterator
from typing import Any

from emulator.scheduler.explain import in_the_way, lacks
from emulator.scheduler.partition import Partition
from emulator.scheduler.reasons import KINDS
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.sorts import Sort


def pending_by_reason(scheduler: Scheduler) -> tuple[dict[str, int], dict[str, float]]:
    """(pending jobs, the GPUs that they ask for) by kind of reason; of every kind."""
    table, whys = scheduler.table, scheduler.draft.whys
    jobs = dict.fromkeys(KINDS, 0)
    milli_gpus = dict.fromkeys(KINDS, 0)

    def add(kind: str, size: int, count: int) -> None:
        jobs[kind] += count
        milli_gpus[kind] += size * count

    kinds: dict[Sort, str] = {}
    for sort in scheduler.sorts.waiting:
        kind = kinds[sort] = _kind(scheduler, sort)
        gpus, size, *_ = sort.asks
        add(kind, gpus * size, sort.queued)

    def move(slot: int, kind: str) -> None:
        """It is not of the kind of its sort."""
        size = table.size_gpus[slot] * table.milli_gpus[slot]
        add(kinds[table.sort[slot]], size, -1)
        add(kind, size, 1)

    for slot, why in whys.items():
        move(slot, why.kind)
    if scheduler.settings.strict_queues:  # in which a job may be behind one that has no quota
        for slot in scheduler.queued():
            if slot not in whys and _is_barred(scheduler, slot):
                move(slot, "quota")
    for slot, kind in _kinds_by_time(scheduler, kinds) if scheduler.calendar is not None else ():
        move(slot, kind)
    for slot in table.on_hold:
        inside = scheduler.inside is not None and slot in scheduler.inside
        add("reservation" if inside else scheduler.room.kind(slot), table.size_gpus[slot] * table.milli_gpus[slot], 1)
    return jobs, {kind: size / 1000 for kind, size in milli_gpus.items()}


def _is_barred(scheduler: Scheduler, slot: int) -> bool:
    held = next(iter(scheduler.ledger.partitions_for(slot))).held
    return held is not None and held.bars(slot)


def _kinds_by_time(scheduler: Scheduler, kinds: dict[Sort, str]) -> Iterator[tuple[int, str]]:
    """Jobs that are of another kind than their sort, since hosts are reserved before they would end: slots, and their kinds."""
    known: dict[tuple[Any, ...], str] = {}
    for slot in scheduler.queued():
        sort = scheduler.table.sort[slot]
        if slot in scheduler.draft.whys or kinds[sort] == "quota" or _is_barred(scheduler, slot):
            continue
        partition = next(iter(scheduler.ledger.partitions_for(slot)))
        until_ns = scheduler.read_ns + scheduler.table.expected_on(slot, partition.host_type)
        key = sort, None if partition.views is None else partition.views.closed(until_ns)
        if key not in known:
            known[key] = _kind_by_time(scheduler, partition, slot)
        if known[key] != kinds[sort]:
            yield slot, known[key]


def _kind_by_time(scheduler: Scheduler, partition: Partition, slot: int) -> str:
    """Of a job whose queue has quota for it, by what it sees of the host type that it prefers."""
    if in_the_way(scheduler, partition, slot):
        return "reservation"
    gpus, milli_gpus, level, _, *slices = scheduler.table.asks[slot]
    return lacks(scheduler.sees(partition, slot), gpus, milli_gpus, level, *slices) or "priority"


def _kind(scheduler: Scheduler, sort: Sort) -> str:
    """Of a job of several host types it is what it lacks of the one that it prefers."""
    gpus, milli_gpus, level, _, slice_gpus, slice_level = sort.asks
    partition, accounts, needed = scheduler.partitions[sort.partitions[0]], scheduler.accounts, gpus * milli_gpus
    if accounts is not None and (
        needed > accounts.quota_room(sort.queue, partition.host_type) or needed > accounts.tenant_room(sort.tenant)
    ):
        return "quota"
    return lacks(partition.free, gpus, milli_gpus, level, slice_gpus, slice_level) or "priority"
