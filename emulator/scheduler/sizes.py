"""Jobs that may run with fewer GPUs than they ask for at most: which sizes are allowed.

Feitelson's words ("Job Scheduling in Multiprogrammed Parallel Computers", IBM RC 19790, 1997, section 2): the size of a *moldable* job is
chosen when it starts, that of a *malleable* one may change while it runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import lcm

from emulator.scheduler.free import Row
from emulator.workload.jobs import TrainingShape


@dataclass(slots=True)
class Sizes:
    """Of a job that asks for ``most_gpus`` and may run with ``least_gpus``: sizes are ``most_gpus`` and those below it in steps.

    A step is the smallest number of GPUs that keeps whole what the job is made of: slices, replicas of the model (and the groups of its
    experts), and hosts, where ``most_gpus`` and ``least_gpus`` are both whole hosts.
    """

    least_gpus: int
    most_gpus: int
    unit_gpus: int  # of slices and replicas; hosts are the partition's
    counted_gpus: int  # what the table has of time run, worked and lost is as long as it takes with so many

    def step(self, gpus_per_host: int) -> int:
        """GPUs between two sizes on hosts of so many GPUs."""
        whole = self.most_gpus % gpus_per_host == 0 and self.least_gpus % gpus_per_host == 0
        return lcm(self.unit_gpus, gpus_per_host) if whole else self.unit_gpus

    def allows(self, gpus: int, gpus_per_host: int) -> bool:
        """Whether the job may run with so many GPUs."""
        return self.least_gpus <= gpus <= self.most_gpus and (self.most_gpus - gpus) % self.step(gpus_per_host) == 0

    def up_to(self, gpus: int, gpus_per_host: int) -> range:
        """The sizes of at most so many GPUs, the least first."""
        step = self.step(gpus_per_host)
        return range(self.least_gpus, min(gpus, self.most_gpus) + 1, step)


def sizes_of(min_gpus: int, gpus: int, slice_gpus: int, shape: TrainingShape | None) -> Sizes | None:
    """Of a job that may run with ``min_gpus`` up to ``gpus``; None where no smaller size than ``gpus`` is whole slices and replicas."""
    unit = max(1, slice_gpus) if shape is None else lcm(max(1, slice_gpus), shape.replica_gpus, shape.expert_gpus)
    least = gpus - (gpus - min_gpus) // unit * unit
    return Sizes(least, gpus, unit, gpus) if least < gpus else None


def gpus_in(rows: Sequence[Row]) -> int:
    """GPUs of a placement."""
    return sum([hosts.bit_count() * mask.bit_count() for _, hosts, mask in rows])


def largest(sizes: range, place: Callable[[int], list[Row] | None]) -> list[Row] | None:
    """Where ``place`` puts the largest of ``sizes`` that it finds room for; None where it finds none. What fits is taken to fit with fewer
    GPUs as well, so the sizes are halved until one is left.
    """
    found = place(sizes[-1]) if sizes else None
    if found is not None or len(sizes) < 2 or (found := place(sizes[0])) is None:
        return found
    fits, full = 0, len(sizes) - 1
    while full - fits > 1:
        middle = (fits + full) // 2
        rows = place(sizes[middle])
        if rows is None:
            full = middle
        else:
            found, fits = rows, middle
    return found
