"""The smallest dot product of what is free and what is asked for, CPUs and GPUs in parts of the largest host.

After the alignment of Tetris (Grandl et al., "Multi-resource packing for cluster schedulers", SIGCOMM'14) as in ``dot_product_score.go`` of
the simulator of Weng et al., ATC'23 (all GPUs of a host one dimension, ``merge``; normalised by the largest host, ``max``), which takes the
smallest product where Tetris takes the largest. A part of a GPU goes to the GPU with the least room.
"""

import numpy as np

from emulator.scheduler.scored import scored
from emulator.scheduler.scoring import Hosts, Int64, Scorer, Setting, Task


def score(hosts: Hosts, task: Task, setting: Setting) -> Int64:
    """From 0 to 100."""
    cpu = hosts.cpu_milli / setting.cpu_milli * (task.cpu_milli / setting.cpu_milli)
    gpu = hosts.free_milli_gpus / setting.gpu_milli * (task.gpus * task.milli_gpus / setting.gpu_milli)
    scores: Int64 = (100.0 * (1.0 - (cpu + gpu) / 2.0)).astype(np.int64)
    return scores


PLACEMENT = scored("dot-product", Scorer(score))
