"""EASY backfilling (Lifka 1995; Mu'alem and Feitelson, IEEE TPDS 2001, section 2).

Jobs start in queue order until the head does not fit. It then gets a reservation: the *shadow time* is the first cycle at which, by the
running jobs' estimates, it will; what has run for longer than estimated is expected to end by the next cycle. A job behind the head *may
start* when it fits now, where the placement puts it, and either ends by the shadow time or leaves the head still fitting at that time.
The first in queue order that may start does, until none may: a second look at the same state therefore starts nothing.

"Fits" is a matter of whole hosts and not of GPU counts alone, so the state at the shadow time is kept host by host
(``emulator.scheduler.shadow``). Where no shadow time exists, since the head needs hosts that are down, nothing delays it.
"""

import numpy as np

from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Partition
from emulator.scheduler.pending import ScanQueue, by_submission
from emulator.scheduler.policy import Policy
from emulator.scheduler.preemption import make_room
from emulator.scheduler.shadow import Shadow, kind_of
from emulator.scheduler.table import NEVER

#: More GPUs than any job asks for.
_ANY_SIZE = 2**62


def plan(draft: Draft) -> None:
    """Start what fits in order, then backfill behind the head."""
    for partition in draft.partitions():
        _plan(draft, partition)


def _plan(draft: Draft, partition: Partition) -> None:
    pending = partition.pending
    assert isinstance(pending, ScanQueue), "EASY looks behind the head"
    while (head := pending.head()) >= 0 and (not draft.preempted or draft.has_turn(partition, head)):
        rows = draft.choose_again(partition, head) or make_room(draft, partition, head)
        if rows is None:
            break
        draft.start(partition, head, rows)
        if partition.shadow is not None:
            partition.shadow.surprises = -1  # what starts in turn may delay a head that it came before
    if len(pending) <= 1:
        partition.shadow = None  # nothing waits behind a head, and following what comes and goes has its price
    elif partition.free.has_room() and not (draft.preempted and draft.has_preempted(partition)):
        shadow = _reservation(draft, partition, head)
        if shadow.looked_freed != partition.freed or _start_arrived(draft, partition, pending, shadow):
            _backfill(draft, partition, pending, shadow)
        shadow.looked_freed = partition.freed
        # The reservation is made again when its time has passed, even if nothing ended by then.
        draft.reconsider(partition, shadow.time_ns)


def _reservation(draft: Draft, partition: Partition, head: int) -> Shadow:
    """It stands until its time, or until something differs from the estimates."""
    shadow, table = partition.shadow, draft.table
    job_id = table.job_id[head]
    if shadow is not None and shadow.head == job_id:
        if shadow.time_ns > draft.now_ns and shadow.surprises == partition.surprises:
            return shadow
    elif shadow is not None and shadow.kind == kind_of(table, partition.free, head):
        shadow.aim(job_id, table.gpus[head] // partition.free.gpus_per_host)
    else:
        shadow = partition.shadow = Shadow.now(table, partition.free, head)
    assert partition.by_end is not None, "EASY asks for the running jobs by their ends"
    shadow.renew(table, partition.by_end, draft.now_ns, draft.cycle_ns)
    shadow.surprises, shadow.looked_freed = partition.surprises, -1
    return shadow


def _start_arrived(draft: Draft, partition: Partition, pending: ScanQueue, shadow: Shadow) -> bool:
    """Start the first job that may, of those that arrived: where nothing came free since the last look, nobody else may start."""
    table, spare_gpus, short_ns = draft.table, shadow.spare_gpus(), shadow.time_ns - draft.now_ns
    for slot in pending.sorted(partition.arrived):
        if table.job_id[slot] == shadow.head:
            continue
        ends_in_time = shadow.time_ns == NEVER or table.estimate_ns[slot] <= short_ns
        if not ends_in_time and table.gpus[slot] > spare_gpus and table.milli_gpus[slot] == 1000:
            continue
        rows = draft.choose(partition, slot)
        if rows is not None and (ends_in_time or shadow.spares(rows, table.milli_gpus[slot])):
            draft.start(partition, slot, rows)
            return True
    return False


def _backfill(draft: Draft, partition: Partition, pending: ScanQueue, shadow: Shadow) -> None:
    milli_gpus, free = draft.table.milli_gpus, partition.free
    short_ns = shadow.time_ns - draft.now_ns

    behind = pending.behind_head(free.most_that_could_fit(), short_ns, shadow.spare_gpus())
    if not len(behind.positions):
        return
    sizes, plain, long = behind.sizes, behind.plain, behind.estimates_ns > short_ns
    if shadow.time_ns == NEVER:  # nothing can delay the head further
        long[:] = False
    long_plain = long & plain
    # Free GPUs only shrink within a pass, so a job that did not fit will not fit later: neither from this size on, nor these jobs.
    no_room = _ANY_SIZE
    done: list[int] = []
    ready = np.ones(len(sizes), dtype=bool)  # not known to delay the head where it would go now, that is until the next start
    while ready[index := int(ready.argmax())]:
        slot = pending.slot_at(int(behind.positions[index]))
        rows = draft.choose(partition, slot)
        if rows is None:
            if plain[index]:
                no_room = int(sizes[index])
                ready[sizes >= no_room] = False
            else:
                done.append(index)
                ready[index] = False
        elif long[index] and not shadow.spares(rows, milli_gpus[slot]):
            ready[long_plain & (sizes == sizes[index]) if plain[index] else index] = False
        else:
            draft.start(partition, slot, rows)
            done.append(index)
            no_room = min(no_room, free.most_that_could_fit() + 1)
            ready = sizes < no_room
            ready[done] = False


POLICY = Policy("easy", plan, by_submission, reserves=True)
