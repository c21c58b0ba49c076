"""Why a pending job has not started, with the numbers. Derived on request, not stored."""

from collections.abc import Mapping
from typing import NamedTuple

from emulator.scheduler.free import FreeIndex
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.partition import Partition
from emulator.scheduler.placement import Ask
from emulator.scheduler.placements import topology
from emulator.scheduler.reclaim import Reclaims, Victims
from emulator.scheduler.rules import Rule
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.slices import cut_of, most_slices
from emulator.scheduler.table import JobTable
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES


class Reason(NamedTuple):
    """Why a job waits: a sentence, and the numbers in it by name."""

    kind: str  # quota | hold | capacity | fragmentation | topology | priority
    text: str
    numbers: Mapping[str, float]
    position: int  # in the queue, 0 first


def explain_pending(scheduler: Scheduler, slot: int) -> Reason:
    """The first thing that keeps the job, which is in the queue, from starting; of one that waits for several host types, for each.

    The policy is not run for it. Checked is what the job itself needs: enough GPUs (capacity), whole hosts (fragmentation), hosts within a
    level (topology), and its turn (priority).
    """
    if slot in scheduler.draft.whys:
        return Reason("hold", scheduler.draft.whys[slot], {}, scheduler.ledger.partitions_for(slot)[0].position(slot))
    reasons = [_explain_in(scheduler, partition, slot) for partition in scheduler.ledger.partitions_for(slot) if partition.waits(slot)]
    return reasons[0]._replace(text="; ".join(dict.fromkeys(reason.text for reason in reasons)))


def _explain_in(scheduler: Scheduler, partition: Partition, slot: int) -> Reason:
    table, ledger = scheduler.table, scheduler.ledger

    def hosts(*reasons: Withheld) -> int:
        return sum(ledger.partition_of_host(host) is partition for host in ledger.withheld(*reasons))

    free = partition.free
    several = len(scheduler.partitions) > 1
    where = f" in {partition.name}" if several else ""
    gpus, milli, level = table.gpus[slot], table.milli_gpus[slot], table.require_level[slot]
    whole, rest = divmod(gpus, free.gpus_per_host)
    position = partition.position(slot)
    numbers: dict[str, float] = {
        "gpus_needed": gpus * milli / 1000,
        "gpus_free": free.free_gpus,
        "whole_hosts_needed": whole if milli == 1000 else 0,
        "whole_hosts_free": free.whole,
        "hosts_down": hosts(Withheld.DOWN),
        "hosts_cordoned": hosts(Withheld.CORDONED, Withheld.UNREACHABLE),
    }
    if ledger.withheld(Withheld.PLANNED):
        numbers["hosts_planned"] = hosts(Withheld.PLANNED)
    over = _over_quota(scheduler, partition, slot)
    if over is not None:
        return Reason("quota", *over, position)
    if milli < 1000 and not free.free_gpus and free.shared_gpu(milli) is None:
        text = f"needs {milli / 1000:g} of a GPU; no GPU is free{where}, and no shared one has that much left"
        return Reason("capacity", text, numbers, position)
    if milli == 1000:
        if free.free_gpus < gpus:
            return Reason("capacity", f"needs {gpus} GPUs, {free.free_gpus} are free{where}{_to_come(numbers)}", numbers, position)
        if not free.fits(gpus):
            text = f"needs {_hosts(whole, rest)}; {free.free_gpus} GPUs are free{where}, but only {_count(free.whole, 'whole host')} free"
            return Reason("fragmentation", text, numbers, position)
        if level != ANY_LEVEL and topology.place(free, Ask(gpus, require_level=level)) is None:
            name = "island" if scheduler.islands and LEVEL_NAMES[level] == "site" else LEVEL_NAMES[level]
            text = f"needs {_hosts(whole, rest)} inside one {name}; no {name} has that much free{where} now"
            return Reason("topology", text, numbers, position)
        if table.slice_gpus[slot] and (why := _slices_lack(free, table, slot)) is not None:
            return Reason("topology", why[0] + where, numbers | why[1], position)
    if position > 0:
        ahead = next(partition.waiting())
        numbers |= {
            "jobs_ahead": position,
            "head_job_id": table.job_id[ahead],
            "head_gpus": table.gpus[ahead] * table.milli_gpus[ahead] / 1000,
        }
        text = (
            f"would fit, but {_count(position, 'job')} ahead of it{where}; the first, job {table.job_id[ahead]}, "
            f"waits for {numbers['head_gpus']:g} GPUs"
        )
        return Reason("priority", text, numbers, position)
    return Reason("priority", "starts in the next cycle", numbers, position)


def _slices_lack(free: FreeIndex, table: JobTable, slot: int) -> tuple[str, dict[str, float]] | None:
    """What a job whose whole hosts are free lacks for its slices, and the numbers; None: nothing."""
    gpus, slice_gpus, slice_level = table.gpus[slot], table.slice_gpus[slot], table.slice_level[slot]
    required, cut = cut_of(gpus, table.require_level[slot], slice_gpus, slice_level, free.gpus_per_host)
    count, name = gpus // slice_gpus, LEVEL_NAMES[slice_level]
    if cut is None:
        lacks = topology.place(free, Ask(gpus, require_level=required)) is None
        room = 0
    else:
        room = most_slices(free, required, cut, now=True)
        lacks = room < count
    if not lacks:
        return None
    inside = "" if required in (ANY_LEVEL, slice_level) else f", all inside one {LEVEL_NAMES[required]}"
    text = f"needs {count} slice{'s' if count > 1 else ''} of {slice_gpus} GPUs, each inside one {name}{inside}; there is room for {room}"
    return text, {"slices_needed": count, "slices_free": room}


def _over_quota(scheduler: Scheduler, partition: Partition, slot: int) -> tuple[str, Mapping[str, float]] | None:
    """What keeps the job of the quota of its queue, or the limit of its tenant, what would let it start, and the numbers; None: nothing."""
    accounts, table, held = scheduler.ledger.accounts, scheduler.table, partition.held
    if accounts is None or held is None:
        return None
    queue, host_type = table.queue[slot], partition.number
    why = accounts.refusal(slot, host_type)
    if why is None:
        if not held.bars(slot):
            return None
        first = held.first_of_strict(queue)
        assert first is not None, "it bars others"
        before = accounts.refusal(first, host_type)
        text = f"queue {table.queues[queue]} is strict-fifo, and job {table.job_id[first]} is first"
        return text + (f": {before.text}" if before is not None else ""), {"head_job_id": table.job_id[first]}
    text, remedy = why.text, why.remedy
    if why.rule == Rule.QUOTA and accounts.quotas.within(queue, host_type, table.gpus[slot] * table.milli_gpus[slot]):
        how = scheduler.settings.reclaims.get(table.queues[queue], Reclaims())
        remedy += (
            "; the queue may not take back what it has lent (preemption.reclaim_within_cohort: never)"
            if how.within_cohort == Victims.NEVER
            else ", or when jobs that borrow of it can be stopped"
        )
    return f"{text}; {remedy}", why.numbers


def _to_come(numbers: Mapping[str, float]) -> str:
    planned = int(numbers.get("hosts_planned", 0))
    return f"; {_count(planned, 'host')} not in service yet" if planned else ""


def _hosts(hosts: int, rest: int) -> str:
    parts = [f"{hosts} whole host{'s' if hosts > 1 else ''}"] if hosts else []
    return " and ".join([*parts, f"{rest} GPUs on one host"] if rest else parts)


def _count(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"
