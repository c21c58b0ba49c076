"""Why a job is not dispatched to a site, with the numbers of each site."""

from collections.abc import Iterable

import numpy as np

from emulator.scheduler.dispatch import Choice, Dispatcher
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.sites import has_room, scores
from emulator.scheduler.table import NEVER
from emulator.workload.jobs import SECOND


def explain_dispatch(scheduler: Scheduler, slot: int, now_ns: int) -> tuple[str, str, dict[str, float], int]:
    """Of a job of the global queue: why it waits there, what would let it go, the numbers, and its place in the queue.

    The numbers of a site begin with its name: GPUs free, waiting and in all, of those that the job may use; what is left of its power
    cap, where it has one; the time until the job's data is there; the score, and whether the site is open to it.
    """
    dispatcher, table = scheduler.dispatcher, scheduler.table
    assert dispatcher is not None, "asked where jobs are dispatched"
    load, sites = dispatcher.load(now_ns), dispatcher.sites
    at = dispatcher.standing(slot, now_ns, load)
    score, is_open = scores(at, table.gpus[slot] * table.milli_gpus[slot], dispatcher.draws(slot), sites.backlog, sites.weights)
    roomy = has_room(at, sites.backlog)
    parts, numbers = list[str](), dict[str, float]()
    for place, choice in enumerate(dispatcher.choices(slot)):
        name, own = sites.names[choice.site], list(choice.partitions)
        free, gpus = int(load.free[own].sum()) / 1000, int(at.milli_gpus[place]) / 1000
        waiting = int(load.waiting.milli_gpus[np.isin(load.waiting.partition, own)].sum()) / 1000
        found = {"free_gpus": free, "waiting_gpus": waiting, "gpus": gpus}
        said = f"{name} has {free:,g} of {gpus:,g} GPUs free and {waiting:,g} waited for"
        if at.transfer_ns[place] < NEVER:
            found["transfer_seconds"] = float(at.transfer_ns[place]) / SECOND
            said += f", its data there in {found['transfer_seconds']:,.6g} s" if found["transfer_seconds"] else ""
        if at.cap_milliwatts[place]:
            found["power_left_watts"] = float(at.milliwatts_left[place]) / 1000
            said += f", {found['power_left_watts']:,.6g} W left" if roomy[place] else ""
        found |= {"score": float(score[place]), "open": float(is_open[place])}
        closed = "" if is_open[place] else f", closed: no {'power' if roomy[place] else 'room'}"
        said += f", score {score[place]:.3g}{closed}"
        parts.append(said)
        numbers |= {f"{name}_{what}": number for what, number in found.items()}
    names = " or ".join(sites.names[choice.site] for choice in dispatcher.choices(slot))
    remedy = "is dispatched " + ("in the next round" if is_open.any() else f"when {names} is open to it")
    position = next(place for place, other in enumerate(dispatcher.in_order()) if other == slot)
    return "waits to be dispatched: " + "; ".join(parts), remedy, numbers, position


def no_site(dispatcher: Dispatcher, slot: int, fitting: Iterable[Choice]) -> str:
    """Why none of the sites that are large enough for the job is for it."""
    sites, wish = dispatcher.sites, dispatcher.wish(slot)
    names = [sites.names[choice.site] for choice in fitting]
    if wish.site and wish.site not in sites.names:
        return f"it requires site {wish.site}, which there is not; allowed: {', '.join(sites.names)}"
    if wish.dataset and wish.dataset not in (known := [one.name for one in sites.datasets]):
        return f"it reads dataset {wish.dataset}, which there is not; allowed: {', '.join(known) or 'none'}"
    if wish.site and wish.site not in names:
        return f"it requires site {wish.site}, which is too small for it; large enough: {' or '.join(names)}"
    where = f"site {wish.site}" if wish.site else f"any site that is large enough ({', '.join(names)})"
    dataset = dispatcher.dataset_of(slot)
    if dataset >= 0 and not any(dispatcher.datasets.could_be(dataset, choice.site) for choice in fitting):
        return f"dataset {sites.datasets[dataset].name} cannot come to {where}"
    if dispatcher.is_reserved(slot):
        return f"its reservation has not enough hosts at {where}"
    return f"there is no power for it at {where}, even when nothing else runs, or its data cannot come there"
