"""Tasks that ask for as many GPUs stay together: hosts with tasks of that sort alone go first.

Then come hosts with that sort and others, then idle hosts, then the rest. Of hosts in the same class, the one with the fewest free GPUs. A
sort is a part of a GPU, one GPU, two, and so on. After Gandiva (Xiao et al., OSDI'18) as in ``gpu_clustering_score.go`` of the simulator of
Weng et al., ATC'23. A part of a GPU goes to the GPU with the least room.
"""

import numpy as np

from emulator.scheduler.scored import scored
from emulator.scheduler.scoring import Hosts, Int64, Scorer, Setting, Task


def score(hosts: Hosts, task: Task, setting: Setting) -> Int64:
    """From 0 to 100; 0 for a task without GPUs."""
    if not task.gpus:
        return np.zeros(len(hosts.gpus), np.int64)
    same, alone = hosts.sorts & task.sort > 0, hosts.sorts == task.sort
    kind = np.where(same, np.where(alone, 75, 50), np.where(hosts.sorts == 0, 25, 0))
    scores: Int64 = 25 * (setting.gpu_milli - hosts.free_milli_gpus) // setting.gpu_milli + kind
    return scores


PLACEMENT = scored("gpu-clustering", Scorer(score))
