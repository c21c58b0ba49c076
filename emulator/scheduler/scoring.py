"""What a placement that scores single hosts is: pure functions over columns of candidate hosts.

The form is that of a score plugin of the Kubernetes scheduler, and the scores of the shelf are those of the simulator published with Weng
et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC'23;
hkust-adsl/kubernetes-scheduler-simulator, ``pkg/simulator/plugin``): whole numbers from 0 to 100, the fraction cut off, and the first
candidate of the highest score is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.typical import Typical

Int64 = NDArray[np.int64]

#: The largest host that scores are normalised by, in the published simulator: 128 cores and 8 GPUs.
CPU_MILLI, GPU_MILLI = 128_000, 8_000


class Hosts(NamedTuple):
    """Columns of candidate hosts, as free now."""

    milli_gpus: Int64  # (hosts, GPUs of the largest host): of each GPU; 0 also for GPUs that a host does not have
    gpus: Int64  # (hosts,): how many GPUs the host has, free or not
    cpu_milli: Int64  # (hosts,): 0 where nothing is known of CPUs
    sorts: Int64  # (hosts,): the sorts of tasks on the host, a bit each: ``Task.sort``
    model: Int64  # (hosts,): number of the GPU model

    @property
    def free_milli_gpus(self) -> Int64:
        """Of all GPUs together, shape (hosts,)."""
        free: Int64 = self.milli_gpus.sum(axis=1, dtype=np.int64)
        return free

    def of(self, rows: Int64) -> "Hosts":
        """Those hosts alone."""
        return Hosts(*(column[rows] for column in self))


class Task(NamedTuple):
    """What runs on one host: a job, or the part of a gang that one host gets."""

    gpus: int
    milli_gpus: int = 1000  # of each; 0 without GPUs, less than 1000 only of a single GPU
    cpu_milli: int = 0
    models: int = 0  # a bit for each GPU model allowed; 0 for any

    @property
    def sort(self) -> int:
        """1 for a part of a GPU, 2 to the power n for n whole ones, 0 without GPUs."""
        return 1 << self.gpus if self.milli_gpus >= 1000 else int(self.gpus > 0)


class Setting(NamedTuple):
    """What scores depend on besides host and task."""

    cpu_milli: int = CPU_MILLI  # of the largest host
    gpu_milli: int = GPU_MILLI
    typical: Typical | None = None  # the tasks that are usual; where the scorer asks for them


ScoreFunction = Callable[[Hosts, Task, Setting], Int64]
GpuFunction = Callable[[Hosts, Task, Setting], int]


def fitting(hosts: Hosts, task: Task) -> NDArray[np.bool_]:
    """Of each host, whether its free GPUs hold the task."""
    enough: NDArray[np.bool_] = np.count_nonzero(hosts.milli_gpus >= max(task.milli_gpus, 1), axis=1) >= task.gpus
    return enough if not task.models else enough & ((task.models >> hosts.model) & 1 > 0)


def fullest_gpu(hosts: Hosts, task: Task, setting: Setting) -> int:
    """Of the one host in ``hosts``: the GPU with the least room that is enough, of equal ones the first."""
    del setting
    room = hosts.milli_gpus[0]
    return int(np.where(room >= task.milli_gpus, room, 1001).argmin())


def emptiest_gpu(hosts: Hosts, task: Task, setting: Setting) -> int:
    """Of the one host in ``hosts``: the GPU with the most room, of equal ones the first."""
    del task, setting
    return int(hosts.milli_gpus[0].argmax())


@dataclass(frozen=True)
class Scorer:
    """How a host is chosen for a task, and on it the GPU for a part of one. Whole GPUs are the first that nobody uses.

    ``score`` gets hosts that hold the task and gives whole numbers from 0 on, of which the highest wins. ``stretch``: before they are
    compared the scores are stretched to 0..100, and cut to whole numbers again. ``at_random``: among equal scores, and among the GPUs that
    have room, it is drawn; else the first is taken.
    """

    score: ScoreFunction
    gpu: GpuFunction = fullest_gpu
    stretch: bool = False
    at_random: bool = False
    asks_typical: bool = False

    def best(self, scores: Int64) -> Int64:
        """Places of the highest among ``scores``; those below 0 do not count."""
        highest = int(scores.max(initial=-1))
        if highest < 0:
            return np.empty(0, np.int64)
        if self.stretch:
            lowest = int(scores[scores >= 0].min())
            if highest > lowest:
                scores = np.where(scores >= 0, (scores - lowest) * 100 // (highest - lowest), -1)
                highest = 100
        return np.flatnonzero(scores == highest)
