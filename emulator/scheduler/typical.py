"""The tasks that are usual, and how much of a host's free GPUs is of no use to them: its fragmentation.

Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC'23), section 3. For
a task that a host cannot take (for lack of GPUs, of CPUs, or for its GPU model), all that is free on it is a fragment; for one that it can
take, the GPUs with less room than the task needs of each. For a task without GPUs all of it is. The fragmentation of a host is the mean
over the tasks by their frequency. The usual tasks are the most frequent ones that make up 95 % of all together (``GetTypicalPods`` of the
published simulator); of equally frequent ones the larger is taken first.

All is in whole numbers (tasks × milli-GPU), so nothing depends on the order in which it is summed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


class Shape(NamedTuple):
    """What a task asks for, in the order by which equally frequent ones are compared."""

    cpu_milli: int
    milli_gpus: int  # of each GPU; 0 without GPUs
    gpus: int
    spec: str = ""  # how the models allowed are written, which tells tasks apart
    models: int = 0  # a bit for each GPU model allowed; 0 for any


@dataclass(frozen=True, eq=False)
class Typical:
    """Usual tasks, in groups that ask for the same of the GPUs."""

    total: int  # tasks
    milli_gpus: Int64  # (sizes,): the different sizes of a GPU's part
    size: Int64  # (groups,): index into ``milli_gpus``
    gpus: Int64  # (groups,)
    models: Int64  # (groups,)
    cpu_milli: Int64  # (steps,): the different CPU requests, rising
    tasks: Int64  # (steps + 1, groups): of each group, the tasks that ask for less than the step's CPUs: row 0 none, the last row all

    def room(self, milli_gpus: Int64) -> tuple[Int64, Int64]:
        """Of each host and size, how many GPUs have at least that free, and how much of them is free: two of shape (hosts, sizes)."""
        enough = milli_gpus[:, :, None] >= self.milli_gpus
        return np.count_nonzero(enough, axis=1), (milli_gpus[:, :, None] * enough).sum(axis=1, dtype=np.int64)

    def fragmentation(self, counts: Int64, room: Int64, cpu_milli: Int64, model: Int64, free: Int64) -> Int64:
        """Tasks × milli-GPU of no use on each host, shape (hosts,): ``counts`` and ``room`` as ``room`` gives them, ``free`` the host's
        sum."""
        useful = self.tasks[self.cpu_milli.searchsorted(cpu_milli, side="right")]
        useful = useful * (counts[:, self.size] >= self.gpus)
        if self.models.any():
            useful *= (self.models == 0) | ((self.models >> model[:, None]) & 1 > 0)
        useless: Int64 = self.total * free - (useful * room[:, self.size]).sum(axis=1, dtype=np.int64)
        return useless


def typical(frequency: Mapping[Shape, int], percent: int = 95) -> Typical:
    """The most frequent shapes that make up ``percent`` of all tasks. ``frequency`` is not empty."""
    target = percent * sum(frequency.values())
    kept: list[tuple[int, Shape]] = []
    total = 0
    for count, shape in sorted(((count, shape) for shape, count in frequency.items()), reverse=True):
        if 100 * total >= target:
            break
        kept.append((count, shape))
        total += count
    with_gpus = [(count, shape) for count, shape in kept if shape.milli_gpus]
    groups = sorted({(shape.milli_gpus, shape.gpus, shape.models) for _, shape in with_gpus})
    sizes = sorted({milli for milli, _, _ in groups})
    steps = sorted({shape.cpu_milli for _, shape in with_gpus})
    tasks = np.zeros((len(steps) + 1, len(groups)), np.int64)
    for count, shape in with_gpus:
        tasks[steps.index(shape.cpu_milli) + 1 :, groups.index((shape.milli_gpus, shape.gpus, shape.models))] += count
    columns = np.array(groups, np.int64).reshape(-1, 3)
    return Typical(
        total=total,
        milli_gpus=np.array(sizes, np.int64),
        size=np.array([sizes.index(milli) for milli, _, _ in groups], np.int64),
        gpus=columns[:, 1],
        models=columns[:, 2],
        cpu_milli=np.array(steps, np.int64),
        tasks=tasks,
    )
