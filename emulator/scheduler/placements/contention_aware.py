"""Where the job's flows get the most of the fabric: ``topology`` proposes several places, and the fabric is asked what each would give.

Packing by free hosts alone puts jobs side by side on the uplinks of a leaf or a pod, though other uplinks are idle. Placing by contention
is the idea of CASSINI (Rajasekaran, Ghobadi and Akella, NSDI 2024), which ranks candidate placements by how well jobs share the links that
they load; Crux (Cao et al., SIGCOMM 2024) schedules the flows of jobs that contend. Both also shift flows in time or give them priorities;
here demand is constant and links are shared fairly.

Candidates, in order: the place of ``topology``; then each unit that holds the job, finer levels first and in each the unit with the fewest
whole free hosts first. In a unit its parts with the most free hosts are filled, and the last part of the job goes to each of the others in
turn, best fit first. So no candidate touches more parts of its unit than packing would. The first with the largest share is taken. The
*share* is what the job's lanes would get of their rate on the fullest link on their way, by what all running jobs ask for at full speed
(``emulator.engine.prospect``). What it costs the others is not weighed.

Asked is for training jobs that use the fabric and that are not cut into slices; others go where ``topology`` puts them.
"""

from collections.abc import Iterator
from itertools import islice

from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.packing import fill, last_host_in_part
from emulator.scheduler.placement import Ask, Placement
from emulator.scheduler.placements import topology
from emulator.scheduler.policy import Count
from emulator.workload.jobs import ANY_LEVEL


def place(free: FreeIndex, ask: Ask, candidates: Count = 12) -> list[Row] | None:
    """``candidates``: places that are asked for beside that of ``topology``, where its share is below 1."""
    chosen = topology.place(free, ask)
    if chosen is None or ask.probe is None or ask.gpus <= free.gpus_per_host:
        return chosen
    best = ask.probe(chosen)
    for rows in islice(_others(free, ask), candidates):
        if best >= 1.0:
            break
        share = ask.probe(rows)
        if share > best:
            chosen, best = rows, share
    return chosen


def _others(free: FreeIndex, ask: Ask) -> Iterator[list[Row]]:
    """Other places for the gang: whole hosts, of the last one only what is left of the gang."""
    rest = ask.gpus % free.gpus_per_host
    hosts = ask.gpus // free.gpus_per_host + (rest > 0)
    for index in range(len(free.levels) if ask.require_level == ANY_LEVEL else free.depths[ask.require_level]):
        counts = free.levels[index].counts
        for unit in sorted((unit for unit, count in enumerate(counts) if count >= hosts), key=lambda unit: (counts[unit], unit)):
            for rows in _in_unit(free, index, unit, hosts) if index else [fill(free, 0, unit, hosts)]:
                yield last_host_in_part(rows, rest) if rest else rows


def _in_unit(free: FreeIndex, index: int, unit: int, hosts: int) -> Iterator[list[Row]]:
    """``hosts`` whole hosts of a unit that has as many: parts with the most free hosts, then each that holds the rest, best fit first."""
    level, finer = free.levels[index], free.levels[index - 1].counts
    children = sorted(range(level.first_child[unit], level.first_child[unit + 1]), key=lambda child: (-finer[child], child))
    rows: list[Row] = []
    while finer[children[0]] < hosts:
        child = children.pop(0)
        rows += fill(free, index - 1, child, finer[child])
        hosts -= finer[child]
    for last in sorted((child for child in children if finer[child] >= hosts), key=lambda child: (finer[child], child)):
        yield rows + fill(free, index - 1, last, hosts)


PLACEMENT = Placement("contention-aware", place, asks_fabric=True)
