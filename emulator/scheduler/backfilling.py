"""Backfilling behind one reservation, as in EASY (Lifka 1995; Mu'alem and Feitelson, IEEE TPDS 2001, section 2).

Jobs start in queue order until the head does not fit. It then gets a reservation: the *shadow time* is the first cycle at which, by the
running jobs' estimates, it will; what has run for longer than estimated is expected to end by the next cycle. A job behind the head *may
start* when it fits now, where the placement puts it, and either ends by the shadow time or leaves the head still fitting at that time.
The first in queue order that may start does, until none may: a second look at the same state therefore starts nothing.

"Fits" is a matter of whole hosts and not of GPU counts alone, so the state at the shadow time is kept host by host
(``emulator.scheduler.shadow``). Where no shadow time exists, since the head needs hosts that are down, nothing delays it. Where hosts are
reserved at times, it is a time at which none of those that the head takes is reserved until the head ends (``behind_windows``).
"""

from typing import Any

from emulator.scheduler.behind_windows import shadow_behind
from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.partition import Partition
from emulator.scheduler.pending import HeadQueue, ScanQueue
from emulator.scheduler.pool import Pool
from emulator.scheduler.preemption import make_room
from emulator.scheduler.shadow import Shadow, kind_of
from emulator.scheduler.table import NEVER
from emulator.workload.jobs import ANY_LEVEL

#: More GPUs than any job asks for.
_ANY_SIZE = 2**62


def backfill(draft: Draft, partition: Partition) -> None:
    """Start what fits in order, then what may behind the head."""
    pending = partition.pending
    assert not isinstance(pending, HeadQueue), "backfilling looks behind the head"
    while (head := draft.head(partition)) >= 0 and (not draft.preempted or draft.has_turn(partition, head)):
        rows = draft.choose_again(partition, head) or make_room(draft, partition, head)
        if rows is None:
            break
        draft.start_in(partition, head, rows)
        if partition.shadow is not None:
            partition.shadow.surprises = -1  # what starts in turn may delay a head that it came before
    if len(pending) <= 1:
        partition.shadow = None  # nothing waits behind a head, and following what comes and goes has its price
    elif partition.free.has_room() and not (draft.preempted and draft.has_preempted(partition)):
        shadow = _reservation(draft, partition, head)
        draft.keep_for(partition, head)
        if shadow.looked_freed != partition.freed or _start_arrived(draft, partition, pending, shadow):
            _start_behind(draft, partition, pending, shadow)
        draft.keep_for(partition, head, keep=False)
        shadow.looked_freed = partition.freed
        # The reservation is made again when its time has passed, even if nothing ended by then.
        draft.reconsider(partition, shadow.time_ns)


def _reservation(draft: Draft, partition: Partition, head: int) -> Shadow:
    """It stands until its time, or until something differs from the estimates."""
    shadow, table, views = partition.shadow, draft.table, partition.views
    job_id = table.job_id[head]
    if shadow is not None and shadow.free is not partition.free:  # it counts hosts behind a window
        if shadow.head == job_id and shadow.time_ns > draft.now_ns and shadow.surprises == partition.surprises:
            return shadow
        shadow = None
    if shadow is not None and shadow.head == job_id:
        if shadow.time_ns > draft.now_ns and shadow.surprises == partition.surprises:
            return shadow
    elif shadow is not None and shadow.kind == kind_of(table, partition.free, head):
        shadow.aim(job_id, table.size_gpus[head])
    else:
        shadow = partition.shadow = Shadow.now(table, partition.free, head)
    assert partition.by_end is not None, "a reservation asks for the running jobs by their ends"
    shadow.renew(table, partition.by_end, draft.now_ns, draft.cycle_ns)
    if views is not None and not views.is_clear(shadow.time_ns, table.expected_on(head, partition.host_type)):
        shadow = partition.shadow = shadow_behind(table, partition, head, partition.by_end, draft.now_ns, draft.cycle_ns)
    shadow.surprises, shadow.looked_freed = partition.surprises, -1
    return shadow


def _spare_gpus(partition: Partition, shadow: Shadow) -> int:
    """No job of more GPUs can be kept beyond the shadow time without delaying the head."""
    return shadow.spare_gpus() if shadow.free is partition.free else _ANY_SIZE  # others may be kept on hosts that the head does not see


def _start_arrived(draft: Draft, partition: Partition, pending: ScanQueue | Pool, shadow: Shadow) -> bool:
    """Start the first job that may, of those that arrived: where nothing came free since the last look, nobody else may start."""
    table, spare_gpus, short_ns = draft.table, _spare_gpus(partition, shadow), shadow.time_ns - draft.now_ns
    for slot in pending.sorted(partition.arrived):
        if table.job_id[slot] == shadow.head:
            continue
        if not draft.may_start(partition, slot):
            draft.wait_for_quota(partition, slot)
            continue
        ends_in_time = shadow.time_ns == NEVER or table.expected_on(slot, partition.host_type) <= short_ns
        if not ends_in_time and table.size_gpus[slot] > spare_gpus and table.milli_gpus[slot] == 1000:
            continue
        rows = draft.choose(partition, slot)
        if rows and (ends_in_time or shadow.spares(rows, table.milli_gpus[slot]) or (rows := _with_least(draft, partition, slot, shadow))):
            draft.start_in(partition, slot, rows)
            return True
    return False


def _with_least(draft: Draft, partition: Partition, slot: int, shadow: Shadow) -> list[Row]:
    """Where a job of several sizes that would delay the head does not, with the least of its sizes; [] where there is no such place."""
    table = draft.table
    rows = draft.choose(partition, slot, table.size_gpus[slot]) if slot in table.sizes else None
    return rows if rows is not None and shadow.spares(rows, table.milli_gpus[slot]) else []


def _start_behind(draft: Draft, partition: Partition, pending: ScanQueue | Pool, shadow: Shadow) -> None:
    table, free, views = draft.table, partition.free, partition.views
    short_ns = shadow.time_ns - draft.now_ns
    # Jobs of one kind go to the same place. Free GPUs only shrink within a pass: a kind that did not fit will not, and where it requires
    # no level, nothing larger will.
    most_gpus = _ANY_SIZE
    unfit: set[tuple[Any, ...]] = set()
    started = True
    while started:
        started = False
        delaying: set[tuple[Any, ...]] = set()  # kinds that would delay the head where they would go now
        most_gpus = min(most_gpus, free.most_that_could_fit())
        for slot in pending.behind_head(most_gpus, short_ns, _spare_gpus(partition, shadow)):
            kind: tuple[Any, ...]
            kind = gpus, milli_gpus, level, _, slice_gpus, _ = table.asks[slot]
            expected_ns = table.expected_on(slot, partition.host_type)
            ends_in_time = expected_ns <= short_ns
            if views is not None:  # jobs of one kind see the same hosts
                kind = (*kind, views.closed(draft.now_ns + expected_ns))
            if kind in unfit or (kind in delaying and not ends_in_time) or (gpus > most_gpus and milli_gpus == 1000):
                continue
            if not draft.may_start(partition, slot):
                draft.wait_for_quota(partition, slot)
                continue
            rows = draft.choose(partition, slot)
            if rows is None:
                unfit.add(kind)
                if level == ANY_LEVEL and milli_gpus == 1000 and not slice_gpus and draft.free_for(partition, slot) is free:
                    most_gpus = gpus - 1
            elif ends_in_time or shadow.spares(rows, milli_gpus) or (rows := _with_least(draft, partition, slot, shadow)):
                draft.start_in(partition, slot, rows)
                started = True
                break
            else:
                delaying.add(kind)
