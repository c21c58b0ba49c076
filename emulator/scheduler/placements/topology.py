"""Fewest levels crossed, best fit in each, as Slurm's topology plugin (slurm.schedmd.com/topology.html) and Kueue's topology-aware
scheduling (kueue.sigs.k8s.io/docs/concepts/topology_aware_scheduling) pack.

Less than a host goes to the split host with the fewest free GPUs that holds it, else to a whole host by the rule for more: the innermost
unit that holds the gang is taken, of these the one with the fewest whole free hosts, of these the first. Where it takes several sub-units,
those with the most whole free hosts are filled and the last is chosen by best fit, of equal ones the first. The remainder goes to the split
host with the fewest free GPUs that holds it, of a block that the gang is in, else to another whole host of the unit, else to such a split
host anywhere in the unit. A part of a GPU goes to the shared GPU with the least room that is enough, else to a GPU that nobody uses, by the
rule for one.

With a required level nothing coarser is tried. A preferred level is what the search does anyway (a unit of that level before several
of them), except for a rack smaller than the hosts that share its leaves: no switch tells such racks apart, so they count only when
named. One host satisfies every level.
"""

from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.packing import pack, part_of_split, part_of_whole, search, shared_gpu
from emulator.scheduler.placement import Ask, Placement


def place(free: FreeIndex, ask: Ask) -> list[Row] | None:
    """Where the job goes now."""
    if ask.milli_gpus < 1000:
        return shared_gpu(free, ask.milli_gpus) or _part_of_host(free, 1)
    if ask.gpus < free.gpus_per_host:
        return _part_of_host(free, ask.gpus)
    return pack(free, ask.gpus, ask.require_level, ask.prefer_level)


def _part_of_host(free: FreeIndex, gpus: int) -> list[Row] | None:
    """Whole GPUs of one host, fewer than it has or, of a host of one GPU, all."""
    if gpus < free.gpus_per_host and (host := free.split_host(gpus)) >= 0:
        return [part_of_split(free, host, gpus)]
    whole = search(free, 1, 0, len(free.levels))
    return [part_of_whole(whole[0], gpus)] if whole else None


PLACEMENT = Placement("topology", place)
