"""Best fit on one host, whole hosts in order of number for more: the rule of the Helios and Philly reference schedules (Hu et al., SC'21,
artifact).

Up to a host's worth goes to the host with the fewest free GPUs that still holds it, the first such; more takes whole free hosts and the
remainder from the next host in order of most free GPUs (stable). A part of a GPU goes to the shared GPU with the least room that is enough,
else to a GPU that nobody uses, by the rule for one. A job that asks for a level goes where ``topology`` puts it.
"""

from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.packing import last_host_in_part, part_of_split, part_of_whole, shared_gpu
from emulator.scheduler.placement import Ask, Placement
from emulator.scheduler.placements import topology
from emulator.workload.jobs import ANY_LEVEL


def place(free: FreeIndex, ask: Ask) -> list[Row] | None:
    """Where the job goes now."""
    if ask.milli_gpus < 1000:
        return shared_gpu(free, ask.milli_gpus) or place(free, Ask(1))
    if ask.require_level != ANY_LEVEL or ask.prefer_level != ANY_LEVEL:
        return topology.place(free, ask)
    hosts, rest = divmod(ask.gpus, free.gpus_per_host)
    if hosts == 0:
        host = free.split_host(rest)
        if host >= 0:
            return [part_of_split(free, host, rest)]
        return [part_of_whole(free.first_whole_hosts(1)[0], rest)] if free.whole else None
    if free.whole < hosts:
        return None
    if not rest:
        return free.first_whole_hosts(hosts)
    if free.whole > hosts:
        return last_host_in_part(free.first_whole_hosts(hosts + 1), rest)
    emptiest = _emptiest_split_host(free, rest)
    return [*free.first_whole_hosts(hosts), part_of_split(free, emptiest, rest)] if emptiest >= 0 else None


def _emptiest_split_host(free: FreeIndex, rest: int) -> int:
    """The split host with the most free GPUs (at least ``rest``), the first such; -1 when there is none."""
    for gpus in range(free.gpus_per_host - 1, rest - 1, -1):
        host = free.first_split(gpus)
        if host >= 0:
            return host
    return -1


PLACEMENT = Placement("consolidate", place)
