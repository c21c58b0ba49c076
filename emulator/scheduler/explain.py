"""Why a pending job has not started, with the numbers, and what would let it start. Derived on request, not stored.

When it could start, by the running jobs' estimates, is in ``emulator.scheduler.outlook``; how many wait for what in ``backlog``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from emulator.scheduler.calendar import Window
from emulator.scheduler.explain_sites import explain_dispatch
from emulator.scheduler.free import FreeIndex
from emulator.scheduler.ledger import WINDOWS, Withheld
from emulator.scheduler.partition import Partition
from emulator.scheduler.placement import Ask
from emulator.scheduler.placements import topology
from emulator.scheduler.quota import gpus as in_gpus
from emulator.scheduler.reclaim import Reclaims, Victims
from emulator.scheduler.rules import Rule
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.slices import cut_of, most_slices
from emulator.scheduler.table import ENDLESS, NEVER
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES, SECOND

#: Of a job whose turn it is and that fits.
_NEXT_CYCLE = "starts in the next cycle"

#: Windows that a sentence names.
_WINDOWS_NAMED = 3


class Reason(NamedTuple):
    """Why a job waits: a sentence, and the numbers in it by name."""

    kind: str  # of reasons.KINDS
    text: str
    numbers: Mapping[str, float]
    position: int  # in the queue, 0 first; -1 while it is on hold
    remedy: str = ""  # what would let it start, as a sentence; "" where it starts in the next cycle, or where a policy does not say


def explain_pending(scheduler: Scheduler, slot: int) -> Reason:
    """The first thing that keeps the job, which is in the queue or on hold, from starting; of one that waits for several host types, for
    each.

    The policy is not run for it. What the policy said itself comes before what is checked here, which is what the job needs: quota, hosts
    that are not reserved before it would end (reservation), enough GPUs (capacity), whole hosts (fragmentation), hosts within a level
    (topology), and its turn (priority).
    """
    if slot in scheduler.table.on_hold:
        if scheduler.room.kind(slot) == "dispatch":
            text, remedy, numbers, position = explain_dispatch(scheduler, slot, scheduler.draft.now_ns)
            return Reason("dispatch", text, numbers, position, remedy)
        kept = scheduler.why_on_hold(slot)
        return Reason(kept.kind, kept.text, kept.numbers, -1, kept.remedy)
    partitions = [partition for partition in scheduler.ledger.partitions_for(slot) if partition.waits(slot)]
    if (why := scheduler.draft.whys.get(slot)) is not None:
        return Reason(why.kind, why.text, why.numbers, partitions[0].position(slot), why.remedy)
    reasons = [_explain_in(scheduler, partition, slot) for partition in partitions]
    return reasons[0]._replace(
        text="; ".join(dict.fromkeys(reason.text for reason in reasons)),
        remedy="; or ".join(dict.fromkeys(reason.remedy for reason in reasons if reason.remedy)),
    )


def lacks(free: FreeIndex, gpus: int, milli_gpus: int, level: int, slice_gpus: int = 0, slice_level: int = ANY_LEVEL) -> str:
    """The kind of what such a job does not find among the free GPUs; "" where it fits now."""
    if milli_gpus < 1000:
        return "" if free.free_gpus or free.shared_gpu(milli_gpus) is not None else "capacity"
    if free.free_gpus < gpus:
        return "capacity"
    if not free.fits(gpus):
        return "fragmentation"
    if level != ANY_LEVEL and topology.place(free, Ask(gpus, require_level=level)) is None:
        return "topology"
    if slice_gpus and _slices_with_room(free, gpus, level, slice_gpus, slice_level) < gpus // slice_gpus:
        return "topology"
    return ""


def _slices_with_room(free: FreeIndex, gpus: int, level: int, slice_gpus: int, slice_level: int) -> int:
    """How many slices of such a job find room at once."""
    required, cut = cut_of(gpus, level, slice_gpus, slice_level, free.gpus_per_host)
    if cut is not None:
        return most_slices(free, required, cut, now=True)
    return 0 if topology.place(free, Ask(gpus, require_level=required)) is None else gpus // slice_gpus


def _slices(free: FreeIndex, asked: tuple[int, int, int, int], where: str) -> tuple[str, str, dict[str, float]]:
    gpus, level, slice_gpus, slice_level = asked
    count, room, name = gpus // slice_gpus, _slices_with_room(free, *asked), LEVEL_NAMES[slice_level]
    inside = "" if level in (ANY_LEVEL, slice_level) else f", all inside one {LEVEL_NAMES[level]}"
    text = f"needs {count} slice{'s' * (count > 1)} of {slice_gpus} GPUs, each inside one {name}{inside}; there is room for {room}{where}"
    missing = count - room
    remedy = f"fits when there is room for {missing} more slice{'s' * (missing > 1)}{where}"
    return text, remedy, {"slices_needed": count, "slices_free": room}


def _explain_in(scheduler: Scheduler, partition: Partition, slot: int) -> Reason:
    table, free = scheduler.table, scheduler.sees(partition, slot)
    where = f" in {partition.name}" if len(scheduler.partitions) > 1 else ""
    gpus, milli, level = table.size_gpus[slot], table.milli_gpus[slot], table.require_level[slot]
    least = " at least" if slot in table.sizes else ""
    position, numbers = partition.position(slot), _numbers(scheduler, partition, slot)
    if (over := _over_quota(scheduler, partition, slot)) is not None:
        text, remedy, of_quota = over
        return Reason("quota", text, of_quota, position, remedy)
    if windows := in_the_way(scheduler, partition, slot):
        text, remedy, of_windows = _reserved(scheduler, partition, slot, windows, where)
        return Reason("reservation", text, numbers | of_windows, position, remedy)
    slices = table.slice_gpus[slot], table.slice_level[slot]
    match lacks(free, gpus, milli, level, *slices):
        case "capacity" if milli < 1000:
            text = f"needs {milli / 1000:g} of a GPU; no GPU is free{where}, and no shared one has that much left"
            remedy = f"fits when a GPU{where} is free, or {milli / 1000:g} of a shared one"
            return Reason("capacity", text, numbers, position, remedy)
        case "capacity":
            text = f"needs {gpus} GPUs{f'{least}:' if least else ','} {free.free_gpus} are free{where}{_withheld(numbers)}"
            return Reason("capacity", text, numbers, position, _missing(free, gpus, where))
        case "fragmentation":
            return Reason("fragmentation", _fragmentation(free, gpus, where), numbers, position, _missing(free, gpus, where))
        case "topology" if slices[0] and not lacks(free, gpus, milli, level):
            text, remedy, of_slices = _slices(free, (gpus, level, *slices), where)
            return Reason("topology", text, numbers | of_slices, position, remedy)
        case "topology":
            name = "island" if scheduler.islands and LEVEL_NAMES[level] == "site" else LEVEL_NAMES[level]
            text, remedy, of_units = _topology(free, gpus, level, name, where)
            return Reason("topology", text, numbers | of_units, position, remedy)
    return _turn(scheduler, partition, slot, position, where, numbers)


def _numbers(scheduler: Scheduler, partition: Partition, slot: int) -> dict[str, float]:
    table, free, ledger = scheduler.table, scheduler.sees(partition, slot), scheduler.ledger

    def hosts(*reasons: Withheld) -> int:
        return [ledger.partition_of_host(host) for host in ledger.withheld(*reasons)].count(partition)

    gpus, milli, split_hosts = table.size_gpus[slot], table.milli_gpus[slot], sum(free.split_count[1:])
    numbers: dict[str, float] = {
        "gpus_needed": gpus * milli / 1000,
        "gpus_free": free.free_gpus,
        "whole_hosts_needed": gpus // free.gpus_per_host if milli == 1000 else 0,
        "whole_hosts_free": free.whole,
        "whole_hosts_missing": max(0, gpus // free.gpus_per_host - free.whole) if milli == 1000 else 0,
        "split_hosts_free": split_hosts,
        "split_gpus_free": free.split_gpus,
        "hosts_down": hosts(Withheld.DOWN),
        "hosts_cordoned": hosts(Withheld.CORDONED, Withheld.UNREACHABLE, Withheld.BURN_IN, Withheld.DRAINED),
    }
    for name, reason in (("hosts_planned", Withheld.PLANNED), ("hosts_spare", Withheld.SPARE)):
        if ledger.withheld(reason):
            numbers[name] = hosts(reason)
    if ledger.withheld(*WINDOWS):
        numbers["hosts_reserved"] = hosts(*WINDOWS)
    return numbers


# -- reserved hosts -----------------------------------------------------------------------------------------------------------------


def in_the_way(scheduler: Scheduler, partition: Partition, slot: int) -> list[Window]:
    """The windows that begin before the job, started now, would have ended, where it would fit but for them; none where it fits, or does
    not even so.
    """
    views, table = partition.views, scheduler.table
    if views is None:
        return []
    gpus, milli, level, _, *slices = table.asks[slot]
    until_ns = scheduler.read_ns + table.expected_on(slot, partition.host_type)
    if not views.closed(until_ns) or not lacks(scheduler.sees(partition, slot), gpus, milli, level, *slices):
        return []
    if lacks(views.all_open(), gpus, milli, level, *slices):
        return []
    return [window for window in views.windows() if window.begin_ns < until_ns]


def _reserved(
    scheduler: Scheduler, partition: Partition, slot: int, windows: list[Window], where: str
) -> tuple[str, str, dict[str, float]]:
    """Of a job that would fit but for ``windows``."""
    calendar, expected_ns = scheduler.reserved.calendar, scheduler.table.expected_on(slot, partition.host_type)
    assert calendar is not None, "windows are in a calendar"
    told = [window.told(calendar.reservations[window.number]) for window in windows[:_WINDOWS_NAMED]]
    more = f", and {len(windows) - len(told):,} more" if len(windows) > len(told) else ""
    takes = f"is expected to run for {expected_ns / SECOND:,.15g} s" if expected_ns < ENDLESS else "runs without an end"
    text = f"{takes}, and would fit{where} but for {', '.join(told)}{more}"
    end_ns = min(window.end_ns for window in windows)
    over = f"when {'that' if len(windows) == 1 else 'the first of them'} is over, at {end_ns / SECOND:,.15g} s"
    numbers = {"reserved_from_seconds": windows[0].begin_ns / SECOND, "reserved_until_seconds": end_ns / SECOND}
    return text, f"may start {over}, or when enough other hosts are free", numbers | {"windows": len(windows)}


# -- hosts --------------------------------------------------------------------------------------------------------------------------


def _missing(free: FreeIndex, gpus: int, where: str) -> str:
    """What has to come free so that such a job fits, levels apart."""
    whole, rest = divmod(gpus, free.gpus_per_host)
    short = whole - free.whole
    if short > 0:
        if rest and free.split_host(rest) < 0:
            return f"fits when {_more(short)}, and {_gpus(rest)} on one more host{where}, are free"
        return f"fits when {_more(short)}{where} {'is' if short == 1 else 'are'} free"
    if whole:
        return f"fits when 1 more whole host, or {_gpus(rest)} of one host{where}, are free"
    return f"fits when {_gpus(rest)} of one host{where} {'is' if rest == 1 else 'are'} free"


def _fragmentation(free: FreeIndex, gpus: int, where: str) -> str:
    whole, rest = divmod(gpus, free.gpus_per_host)
    split = sum(free.split_count[1:])
    others = f"; {free.split_gpus} GPUs are free on {split} host{'s' * (split != 1)} that also hold{'s' * (split == 1)} other jobs"
    return f"needs {_hosts(whole, rest)}; {free.free_gpus} GPUs are free{where}, but only {_count(free.whole, 'whole host')} free{others}"


def _topology(free: FreeIndex, gpus: int, level: int, name: str, where: str) -> tuple[str, str, dict[str, float]]:
    whole, rest = divmod(gpus, free.gpus_per_host)
    units = _units(free, level)
    most_free, largest = max(count for count, _ in units), max(hosts for _, hosts in units)
    text = (
        f"needs {_hosts(whole, rest)} inside one {name}; {_count(free.whole, 'whole host')} free{where}, at most {most_free} of them in one"
        f" {name} (the largest has {largest})"
    )
    missing = whole - most_free
    if missing > 0 and rest:
        remedy = f"fits when {_more(missing)} of one {name}{where}, and {_gpus(rest)} on one more of its hosts, are free"
    elif missing > 0:
        remedy = f"fits when {_more(missing)} of one {name}{where} {'is' if missing == 1 else 'are'} free"
    else:
        remedy = f"fits when 1 more whole host, or {_gpus(rest)} of one host, are free in a {name}{where} that has {_hosts(whole, 0)} free"
    numbers = {"units": len(units), "units_with_free_hosts": len([count for count, _ in units if count])}
    return text, remedy, {**numbers, "unit_whole_hosts_free_most": most_free, "unit_hosts_most": largest}


def _units(free: FreeIndex, level: int) -> list[tuple[int, int]]:
    """Of each unit of a level that has hosts of the type: whole free hosts, and hosts in all."""
    if depth := free.depths[level]:
        counters = free.levels[depth - 1]
        return [(count, hosts) for count, hosts in zip(counters.counts, counters.capacity, strict=True) if hosts]
    found = []
    for first, end in free.racks():  # which are parts of blocks
        block = free.host_block[first]
        hosts = ((1 << (end - first)) - 1) << (first - free.first_host[block])
        found.append(((free.block_free[block] & hosts).bit_count(), end - first))
    return found


def _withheld(numbers: Mapping[str, float]) -> str:
    """The hosts that would count, were they not down, cordoned or still to come."""
    parts = [
        ("hosts_down", "down"),
        ("hosts_cordoned", "cordoned"),
        ("hosts_planned", "not in service yet"),
        ("hosts_reserved", "reserved"),
    ]
    return "".join(f"; {_count(int(numbers[name]), 'host')} {what}" for name, what in parts if numbers.get(name))


# -- whose turn it is ---------------------------------------------------------------------------------------------------------------


def _turn(scheduler: Scheduler, partition: Partition, slot: int, position: int, where: str, numbers: dict[str, float]) -> Reason:
    """Of a job that fits now, and whose queue has quota for it."""
    table = scheduler.table
    if not scheduler.draft.passes_over:  # the policy starts jobs by rules of its own
        text = f"would fit{where} now; when it starts is up to the policy {scheduler.policy.name}"
        return Reason("priority", text, numbers, position)
    first = partition.pending.head() if len(partition.pending) else slot
    if position == 0 or first == slot:
        return Reason("priority", _NEXT_CYCLE, numbers, position)
    first_id, first_gpus = table.job_id[first], in_gpus(table.size_gpus[first] * table.milli_gpus[first])
    numbers |= {"jobs_ahead": position, "head_job_id": first_id, "head_gpus": table.size_gpus[first] * table.milli_gpus[first] / 1000}
    shadow = partition.shadow
    if shadow is None or shadow.head != first_id:
        text = f"would fit, but {_count(position, 'job')} ahead of it{where}; the first, job {first_id}, waits for {first_gpus} GPUs"
        return Reason("priority", text, numbers, position, f"may start when job {first_id} has started, or whoever else is in its way")
    if not _would_delay(scheduler, partition, slot):
        return Reason("priority", _NEXT_CYCLE, numbers, position)
    numbers |= {"head_start_seconds": shadow.time_ns / SECOND}
    at = f"{shadow.time_ns / SECOND:,g} s"
    text = f"would fit, but would delay job {first_id}, which is first{where}, needs {first_gpus} GPUs and is to start at {at}"
    return Reason(
        "priority", text, numbers, position, f"may start when job {first_id} has started, or when hosts are free that it does not need"
    )


def _would_delay(scheduler: Scheduler, partition: Partition, slot: int) -> bool:
    """Whether the job, started now, would delay the one with the reservation (``emulator.scheduler.backfilling``)."""
    table, draft, shadow = scheduler.table, scheduler.draft, partition.shadow
    assert shadow is not None, "asked where there is a reservation"
    if shadow.time_ns == NEVER or table.estimate_ns[slot] <= shadow.time_ns - draft.now_ns:
        return False
    rows = draft.choose(partition, slot)
    if rows is None:
        return True
    copy = replace(shadow, whole=list(shadow.whole), part=list(shadow.part), masks=dict(shadow.masks), shares=dict(shadow.shares))
    return not copy.spares(rows, table.milli_gpus[slot])


# -- quotas -------------------------------------------------------------------------------------------------------------------------


def _over_quota(scheduler: Scheduler, partition: Partition, slot: int) -> tuple[str, str, Mapping[str, float]] | None:
    """What keeps the job of the quota of its queue, or the limit of its tenant, what would let it start, and the numbers; None: nothing."""
    accounts, table, held = scheduler.ledger.accounts, scheduler.table, partition.held
    if accounts is None or held is None:
        return None
    queue, host_type = table.queue[slot], partition.host_type
    why = accounts.refusal(slot, host_type)
    if why is None:
        if not held.bars(slot):
            return None
        first = held.first_of_strict(queue)
        assert first is not None, "it bars others"
        before = accounts.refusal(first, host_type)
        first_id = table.job_id[first]
        text = f"queue {table.queues[queue]} is strict-fifo, and job {first_id} is first" + (f": {before.text}" if before else "")
        return text, f"may start when job {first_id} has started", {"head_job_id": first_id}
    remedy = why.remedy
    if why.rule == Rule.QUOTA and accounts.quotas.within(queue, host_type, table.size_gpus[slot] * table.milli_gpus[slot]):
        how = scheduler.settings.reclaims.get(table.queues[queue], Reclaims())
        remedy += (
            "; the queue may not take back what it has lent (preemption.reclaim_within_cohort: never)"
            if how.within_cohort == Victims.NEVER
            else ", or when jobs that borrow of it can be stopped"
        )
    return why.text, remedy, why.numbers


# -- words --------------------------------------------------------------------------------------------------------------------------


def _hosts(hosts: int, rest: int) -> str:
    parts = [f"{hosts} whole host{'s' if hosts > 1 else ''}"] if hosts else []
    return " and ".join([*parts, f"{_gpus(rest)} on one host"] if rest else parts)


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _more(hosts: int) -> str:
    return "1 more whole host" if hosts == 1 else f"{hosts} more whole hosts"


def _count(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"
