"""Any host that has room, and on it any GPU, each as likely: the baseline of placement studies (``random_score.go`` and the GPU selection
``random`` of the simulator of Weng et al., ATC'23).

The whole hosts of a gang are drawn from one unit of the level required, that is drawn too, else from all hosts; the rest goes to any other
host there that has room. A preferred level is not read. A rack smaller than the hosts that share its leaves, where that is required, is
chosen as ``topology`` does. The draws follow from the seed and the job's id.
"""

import numpy as np

from emulator.draws import Stream, bits
from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.packing import holds, last_host_in_part, pack, part_of_split
from emulator.scheduler.placement import Ask, Placement
from emulator.scheduler.scored import draw_below, on_one_host, whole_hosts
from emulator.scheduler.scoring import Hosts, Int64, Scorer, Setting, Task
from emulator.workload.jobs import ANY_LEVEL


def score(hosts: Hosts, task: Task, setting: Setting) -> Int64:
    """The same for all."""
    del task, setting
    return np.zeros(len(hosts.gpus), np.int64)


SCORER = Scorer(score, at_random=True)


def place(free: FreeIndex, ask: Ask, seed: int = 0) -> list[Row] | None:
    """Where the job goes now."""
    if ask.milli_gpus < 1000 or ask.gpus < free.gpus_per_host:
        return on_one_host(free, Task(ask.gpus, ask.milli_gpus), SCORER, seed, ask.job_id)
    hosts, rest = divmod(ask.gpus, free.gpus_per_host)
    anywhere = ask.require_level == ANY_LEVEL or ask.gpus == free.gpus_per_host
    depth = len(free.levels) if anywhere else free.depths[ask.require_level]
    if depth == 0:
        return pack(free, ask.gpus, ask.require_level)
    index = depth - 1
    in_part: dict[int, list[int]] = {}  # by unit: split hosts that hold the rest
    for host in sorted(free.split) if rest else ():
        if holds(free, host, rest):
            in_part.setdefault(free.unit_of_block(index, free.host_block[host]), []).append(host)
    counts = free.levels[index].counts
    units = [unit for unit, count in enumerate(counts) if count > hosts or (count == hosts and (not rest or unit in in_part))]
    if not units:
        return None
    unit = units[draw_below(len(units), seed, ask.job_id, 0)]
    split = in_part.get(unit, [])
    choice = draw_below(len(split) + counts[unit] - hosts, seed, ask.job_id, 1) if rest else 0
    if not rest or choice < len(split):
        rows = whole_hosts(free, index, unit, _sample(counts[unit], hosts, seed, ask.job_id))
        return [*rows, part_of_split(free, split[choice], rest)] if rest else rows
    return last_host_in_part(whole_hosts(free, index, unit, _sample(counts[unit], hosts + 1, seed, ask.job_id)), rest)


def _sample(count: int, size: int, seed: int, job_id: int) -> list[int]:
    """``size`` different numbers below ``count``, rising; each set as likely (Floyd's algorithm: Bentley, CACM 30(9), 1987)."""
    chosen: set[int] = set()
    draws = bits(seed, Stream.PLACEMENT, job_id, np.arange(2, 2 + size)).tolist()
    for last, draw in zip(range(count - size, count), draws, strict=True):
        drawn = draw * (last + 1) >> 64
        chosen.add(last if drawn in chosen else drawn)
    return sorted(chosen)


PLACEMENT = Placement("random", place, SCORER)
