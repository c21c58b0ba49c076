"""Worst fit: the host on which the most is left, a milli-GPU weighing 100 milli-CPUs, and on it the GPU with the most room.

``worst_fit_score.go`` of the simulator of Weng et al., ATC'23. There the scores are stretched to 0..100 and cut to whole numbers, so hosts
that differ little are equal.
"""

from emulator.scheduler.scored import scored
from emulator.scheduler.scoring import Hosts, Int64, Scorer, Setting, Task, emptiest_gpu


def score(hosts: Hosts, task: Task, setting: Setting) -> Int64:
    """In milli-CPUs."""
    del setting
    left: Int64 = hosts.cpu_milli - task.cpu_milli + 100 * (hosts.free_milli_gpus - task.gpus * task.milli_gpus)
    return left


PLACEMENT = scored("worst-fit", Scorer(score, emptiest_gpu, stretch=True))
