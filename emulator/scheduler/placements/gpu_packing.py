"""GPUs that are in use first, then free GPUs of hosts in use, then idle hosts.

On GPUs in use: 100 less a tenth of their free percent, at least 50. On free GPUs of a host in use: 50 less their number, at least 33. On an
idle host: 33 less its GPUs, at least their number. A task takes the GPUs with the least room first. After MLaaS in the Wild (Weng et al.,
NSDI'22) as in ``gpu_packing_score.go`` of the simulator of Weng et al., ATC'23. A part of a GPU goes to the GPU with the least room.
"""

import numpy as np

from emulator.scheduler.scored import scored
from emulator.scheduler.scoring import Hosts, Int64, Scorer, Setting, Task


def score(hosts: Hosts, task: Task, setting: Setting) -> Int64:
    """From 0 to 100; 0 for a task without GPUs."""
    del setting
    count = len(hosts.gpus)
    if not task.gpus:
        return np.zeros(count, np.int64)
    idle_gpus = np.count_nonzero(hosts.milli_gpus == 1000, axis=1)
    on_idle_host = np.maximum(33 - hosts.gpus, hosts.gpus)
    # Only a part of a GPU has a choice of GPUs in use: the least room that is enough.
    room = np.where(hosts.milli_gpus >= task.milli_gpus, hosts.milli_gpus, 1001).min(axis=1)
    on_shared = np.maximum(100 - room * 100 // 1000 // 10, 50)
    on_free = np.full(count, max(50 - task.gpus, 33))
    return np.where(idle_gpus == hosts.gpus, on_idle_host, np.where(room < 1000, on_shared, on_free))


PLACEMENT = scored("gpu-packing", Scorer(score))
