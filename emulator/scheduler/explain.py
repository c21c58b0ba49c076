"""Why a pending job has not started, with the numbers. Derived on request, not stored."""

from collections.abc import Mapping
from typing import NamedTuple

from emulator.scheduler.ledger import Withheld
from emulator.scheduler.placement import Ask
from emulator.scheduler.placements import topology
from emulator.scheduler.scheduler import Scheduler
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES


class Reason(NamedTuple):
    """Why a job waits: a sentence, and the numbers in it by name."""

    kind: str  # quota | hold | capacity | fragmentation | topology | priority
    text: str
    numbers: Mapping[str, float]
    position: int  # in the queue, 0 first


def explain_pending(scheduler: Scheduler, slot: int) -> Reason:
    """The first thing that keeps the job, which is in the queue, from starting.

    The policy is not run for it. Checked is what the job itself needs: enough GPUs (capacity), whole hosts (fragmentation), hosts within a
    level (topology), and its turn (priority).
    """
    ledger = scheduler.ledger
    table, partition = scheduler.table, ledger.partition_of(slot)

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
    why = None if ledger.accounts is None else ledger.accounts.refusal(slot, table.host_type[slot])
    if why is not None:
        return Reason("quota", why.text, dict(why.numbers), position)
    if slot in scheduler.draft.whys:
        return Reason("hold", scheduler.draft.whys[slot], numbers, position)
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


def _to_come(numbers: Mapping[str, float]) -> str:
    planned = int(numbers.get("hosts_planned", 0))
    return f"; {_count(planned, 'host')} not in service yet" if planned else ""


def _hosts(hosts: int, rest: int) -> str:
    parts = [f"{hosts} whole host{'s' if hosts > 1 else ''}"] if hosts else []
    return " and ".join([*parts, f"{rest} GPUs on one host"] if rest else parts)


def _count(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"
