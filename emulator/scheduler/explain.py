"""Why a pending job has not started, with the numbers. Derived when somebody asks, never kept."""

from collections.abc import Mapping
from typing import NamedTuple

from emulator.scheduler.placement import whole_hosts_within
from emulator.scheduler.scheduler import Scheduler
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES


class Reason(NamedTuple):
    kind: str  # capacity | fragmentation | topology | priority
    text: str
    numbers: Mapping[str, float]
    position: int  # in the queue, 0 first


def explain_pending(scheduler: Scheduler, slot: int) -> Reason:
    """The first thing that keeps the job from starting.

    Costs by its place in the queue. What a policy would do is not tried out, only what the job itself needs: GPUs at all (capacity), whole
    hosts (fragmentation), hosts within a level (topology), and its turn (priority).
    """
    table, free = scheduler.table, scheduler.free
    gpus, level = table.gpus[slot], table.require_level[slot]
    hosts, rest = divmod(gpus, free.gpus_per_host)
    position = next((place for place, other in enumerate(scheduler.pending.in_order()) if other == slot), -1)
    numbers: dict[str, float] = {
        "gpus_needed": gpus,
        "gpus_free": free.free_gpus,
        "whole_hosts_needed": hosts,
        "whole_hosts_free": free.whole,
        "hosts_down": len(scheduler.down_hosts),
        "hosts_cordoned": len(scheduler.cordoned_hosts),
    }
    if free.free_gpus < gpus:
        text = f"needs {gpus} GPUs, {free.free_gpus} are free"
        return Reason("capacity", text, numbers, position)
    if not free.fits(gpus):
        text = f"needs {_hosts(hosts, rest)}; {free.free_gpus} GPUs are free, but only {free.whole} hosts are wholly so"
        return Reason("fragmentation", text, numbers, position)
    if level != ANY_LEVEL and hosts + (rest > 0) > 1 and whole_hosts_within(free, hosts + (rest > 0), level) is None:
        name = LEVEL_NAMES[level]
        text = f"needs {hosts + (rest > 0)} whole hosts inside one {name}; no {name} has so many free now"
        return Reason("topology", text, numbers, position)
    if position > 0:
        ahead = next(scheduler.pending.in_order())
        numbers |= {"jobs_ahead": position, "head_job_id": table.job_id[ahead], "head_gpus": table.gpus[ahead]}
        text = f"would fit, but {position} jobs are ahead of it; the first, job {table.job_id[ahead]}, waits for {table.gpus[ahead]} GPUs"
        return Reason("priority", text, numbers, position)
    return Reason("priority", "starts in the next cycle", numbers, position)


def _hosts(hosts: int, rest: int) -> str:
    parts = [f"{hosts} whole hosts"] if hosts else []
    return " and ".join([*parts, f"{rest} GPUs on one host"] if rest else parts)
