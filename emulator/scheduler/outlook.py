"""When a waiting job could start, by the running jobs' estimates."""

from typing import NamedTuple

from emulator.scheduler.behind_windows import shadow_behind
from emulator.scheduler.partition import Partition
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.shadow import Shadow
from emulator.scheduler.table import ENDLESS, NEVER
from emulator.workload.jobs import SECOND


class Outlook(NamedTuple):
    """The first cycle at which there are hosts for the job (NEVER where no end makes room), and whether they are reserved."""

    at_ns: int
    reserved: bool


def outlook(scheduler: Scheduler, slot: int, now_ns: int) -> Outlook | None:
    """Of a job that has no room now; None where it has, or is in no queue.

    A policy that makes a reservation for the job has said when. For others it is when enough running jobs will have ended, whoever takes
    their hosts then: a job is expected to end at its start plus its estimate, where that has passed in the next cycle, as EASY has it
    (``emulator.scheduler.shadow``). Of several host types the earliest counts.
    """
    partitions = [partition for partition in scheduler.ledger.partitions_for(slot) if partition.waits(slot)]
    found = [_outlook_in(scheduler, partition, slot, now_ns) for partition in partitions]
    return min((one for one in found if one is not None), default=None) if all(one is not None for one in found) else None


def _outlook_in(scheduler: Scheduler, partition: Partition, slot: int, now_ns: int) -> Outlook | None:
    table, kept = scheduler.table, partition.shadow
    if kept is not None and kept.head == table.job_id[slot] and now_ns < kept.time_ns < NEVER:
        return Outlook(kept.time_ns, reserved=True)
    shadow = Shadow.now(table, scheduler.ledger.free_for(partition, slot, now_ns), slot)
    if shadow.holds(table.milli_gpus[slot]):
        return None
    ends = partition.by_end
    if ends is None:
        ends = sorted((min(table.start_ns[other] + table.estimate_ns[other], ENDLESS), other) for other in partition.running)
    if partition.views is not None:
        shadow = shadow_behind(table, partition, slot, ends, now_ns, scheduler.draft.cycle_ns)
    else:
        shadow.renew(table, ends, now_ns, scheduler.draft.cycle_ns)
    return Outlook(shadow.time_ns, reserved=False)


def told(found: Outlook, position: int) -> tuple[str, dict[str, float]]:
    """It as a sentence, of a job with ``position`` jobs ahead of it, and the number in it."""
    if found.at_ns == NEVER:
        return "by their estimates no running job makes room for it", {}
    at_seconds = found.at_ns / SECOND
    if found.reserved:
        return f"is to start at {at_seconds:,g} s, by the running jobs' estimates", {"start_seconds": at_seconds}
    ahead = f", if no job ahead of it (there {'is 1' if position == 1 else f'are {position}'}) takes the room" if position > 0 else ""
    return f"by the running jobs' estimates at {at_seconds:,g} s at the earliest{ahead}", {"earliest_start_seconds": at_seconds}
