"""Fragmentation gradient descent: where free GPUs become useless to the usual tasks by the least.

Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC'23), algorithm 1;
``fgd_score.go`` of its simulator. With d the milli-GPU by which the fragmentation of the host (``emulator.scheduler.typical``) falls, the
score is 100 / (1 + exp(-d / 1000)), cut to a whole number. A part of a GPU goes to the GPU of the highest score.

In an emulation the usual tasks are those of the jobs that have arrived for hosts of the type so far: a part of a GPU, GPUs of one host, and
for each whole host of a gang a task of all its GPUs.
"""

import numpy as np

from emulator.draws.exact import log
from emulator.scheduler.scored import scored
from emulator.scheduler.scoring import Hosts, Int64, Scorer, Setting, Task

#: The least d / 1000 for a score of 1, 2, ... 99; that for 50 is 0 exactly.
_LEAST = log(np.arange(1, 100) / np.arange(99, 0, -1))


def score(hosts: Hosts, task: Task, setting: Setting) -> Int64:
    """From 0 to 99."""
    if 0 < task.milli_gpus < 1000:
        best: Int64 = gpu_scores(hosts, task, setting).max(axis=1)
        return best
    typical = setting.typical
    assert typical is not None, "the scorer asks for them"
    counts, room = typical.room(hosts.milli_gpus)
    free = hosts.free_milli_gpus
    before = typical.fragmentation(counts, room, hosts.cpu_milli, hosts.model, free)
    taken = 1000 * task.gpus  # wholly free GPUs, which count for tasks of every size
    after = typical.fragmentation(counts - task.gpus, room - taken, hosts.cpu_milli - task.cpu_milli, hosts.model, free - taken)
    return _whole(before - after, typical.total)


def gpu_scores(hosts: Hosts, task: Task, setting: Setting) -> Int64:
    """Of a task that takes part of a GPU: its score on every GPU, shape (hosts, GPUs); -1 where it does not fit, or equals a GPU before."""
    typical = setting.typical
    assert typical is not None, "the scorer asks for them"
    counts, room = typical.room(hosts.milli_gpus)
    free = hosts.free_milli_gpus
    before = typical.fragmentation(counts, room, hosts.cpu_milli, hosts.model, free)
    tried = hosts.milli_gpus >= task.milli_gpus
    for gpu in range(1, tried.shape[1]):
        tried[:, gpu] &= (hosts.milli_gpus[:, :gpu] != hosts.milli_gpus[:, gpu : gpu + 1]).all(axis=1)
    host, gpu_of = np.nonzero(tried)
    had = hosts.milli_gpus[host, gpu_of][:, None]
    has = had - task.milli_gpus
    could, can = had >= typical.milli_gpus, has >= typical.milli_gpus
    after = typical.fragmentation(
        counts[host] - could + can,
        room[host] - had * could + has * can,
        hosts.cpu_milli[host] - task.cpu_milli,
        hosts.model[host],
        free[host] - task.milli_gpus,
    )
    scores = np.full(tried.shape, -1, np.int64)
    scores[host, gpu_of] = _whole(before[host] - after, typical.total)
    return scores


def best_gpu(hosts: Hosts, task: Task, setting: Setting) -> int:
    """Of the one host in ``hosts``: the GPU of the highest score, of equal ones the first."""
    return int(gpu_scores(hosts, task, setting)[0].argmax())


def _whole(fallen: Int64, total: int) -> Int64:
    """Scores for tasks × milli-GPU by which the fragmentation falls."""
    return _LEAST.searchsorted(fallen / (1000 * total), side="right").astype(np.int64)


PLACEMENT = scored("fgd", Scorer(score, best_gpu, asks_typical=True))
