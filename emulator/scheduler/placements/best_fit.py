"""Best fit: the host on which the least is left, CPUs and GPUs weighing the same.

The score is 1 less the sum over both of (free - asked) / (that of the largest host) / 2 (``best_fit_score.go`` of the simulator of Weng et
al., ATC'23). A part of a GPU goes to the GPU with the least room.
"""

import numpy as np

from emulator.scheduler.scored import scored
from emulator.scheduler.scoring import Hosts, Int64, Scorer, Setting, Task


def score(hosts: Hosts, task: Task, setting: Setting) -> Int64:
    """From 0 to 100."""
    left = (hosts.cpu_milli - task.cpu_milli) / setting.cpu_milli * 0.5
    left = left + (hosts.free_milli_gpus - task.gpus * task.milli_gpus) / setting.gpu_milli * 0.5
    scores: Int64 = ((1.0 - left) * 100.0).astype(np.int64)
    return scores


PLACEMENT = scored("best-fit", Scorer(score))
