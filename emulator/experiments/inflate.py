"""How full a cluster gets before nothing fits any more: tasks arrive one by one, none departs, and what fits nowhere is skipped.

Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC'23), section 6.1,
and its simulator (hkust-adsl/kubernetes-scheduler-simulator, ``pkg/simulator``): the pods of a trace are shuffled, and pods drawn from them
with replacement are added until the next would pass a percentage of the cluster's GPUs; a trace that asks for more than that loses pods.
Hosts are tried in a random order that stays for the experiment, and the first of the highest score is taken. The allocation is what pods
hold of all milli-GPU in the end.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emulator.draws import Stream, below, bits
from emulator.scheduler.scoring import CPU_MILLI, GPU_MILLI, Hosts, Int64, Scorer, Setting, Task, fitting
from emulator.scheduler.typical import Shape, typical
from emulator.workload.readers import Nodes, Pods

_MOST_MODELS = 60  # a bit each
_DRAWN_AT_ONCE = 10_000  # pods
#: What a draw of an experiment is for: the counter of ``Stream.INFLATE``.
_ORDER_OF_PODS, _ADDED_PODS, _ORDER_OF_HOSTS, _HOST, _GPU = range(5)


@dataclass(frozen=True)
class Kind:
    """Pods that ask for the same."""

    task: Task
    memory_mib: int


@dataclass(frozen=True, eq=False)
class Experiment:
    """A cluster and pods, made ready to be filled by any scorer and seed."""

    hosts: Hosts
    memory_mib: Int64  # (hosts,)
    kinds: tuple[Kind, ...]
    kind: Int64  # (pods,): index into ``kinds``
    milli_gpus: Int64  # (pods,): all that the pod asks for
    setting: Setting

    @property
    def total_milli_gpus(self) -> int:
        """Of all hosts."""
        return 1000 * int(self.hosts.gpus.sum())


def prepare(nodes: Nodes, pods: Pods) -> Experiment:
    """The experiment on these nodes with these pods. Raises ValueError where no pod asks for GPUs, or there are too many models."""
    gpus = nodes.gpus.astype(np.int64)
    if not pods.gpus.any():
        raise ValueError("no pod asks for GPUs; allowed: at least one pod with GPUs")
    if len(set(nodes.model)) > _MOST_MODELS:
        raise ValueError(f"the hosts have {len(set(nodes.model))} GPU models; allowed: at most {_MOST_MODELS}")
    models = {model: number for number, model in enumerate(sorted(set(nodes.model) - {""}))}
    hosts = Hosts(
        milli_gpus=np.where(np.arange(gpus.max()) < gpus[:, None], 1000, 0),
        gpus=gpus,
        cpu_milli=nodes.cpu_milli,
        sorts=np.zeros(len(gpus), np.int64),
        model=np.array([models.get(model, len(models)) for model in nodes.model], np.int64),
    )
    rows = list(zip(pods.cpu_milli.tolist(), pods.milli_gpus.tolist(), pods.gpus.tolist(), pods.gpu_spec, strict=True))
    # Without GPUs any host will do, whatever the specification says.
    shapes = [Shape(cpu, milli, count, spec, _allowed(spec, models) if count else 0) for cpu, milli, count, spec in rows]
    kinds: dict[Kind, int] = {}
    numbers = []
    for shape, memory in zip(shapes, pods.memory_mib.tolist(), strict=True):
        kind = Kind(Task(shape.gpus, shape.milli_gpus, shape.cpu_milli, shape.models), memory)
        numbers.append(kinds.setdefault(kind, len(kinds)))
    setting = Setting(
        cpu_milli=max(CPU_MILLI, int(nodes.cpu_milli.max())),
        gpu_milli=max(GPU_MILLI, 1000 * int(gpus.max())),
        typical=typical(Counter(shapes)),
    )
    milli_gpus = pods.gpus.astype(np.int64) * pods.milli_gpus
    return Experiment(hosts, nodes.memory_mib, tuple(kinds), np.array(numbers, np.int64), milli_gpus, setting)


def _allowed(spec: str, models: dict[str, int]) -> int:
    """A bit for each model that ``spec`` names; where the cluster has none of them, that of no host."""
    named = [model for model in spec.split("|") if model]
    return sum({1 << models.get(model, len(models) + 1) for model in named})


def arrivals(experiment: Experiment, seed: int, percent: float) -> Int64:
    """Pods in the order in which they arrive: as many as ask together for at most ``percent`` of the cluster's GPUs."""
    asked, limit = experiment.milli_gpus, percent * experiment.total_milli_gpus / 100
    count = len(asked)
    order = np.argsort(bits(seed, Stream.INFLATE, np.arange(count), _ORDER_OF_PODS), kind="stable")
    together = asked[order].cumsum()
    if together[-1] > limit:
        return order[: together.searchsorted(limit, side="right")]
    parts, total, drawn = [order], int(together[-1]), 0
    while True:
        entities = np.arange(drawn, drawn + _DRAWN_AT_ONCE)
        added = ((bits(seed, Stream.INFLATE, entities, _ADDED_PODS) >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)).astype(np.int64)
        together = total + asked[added].cumsum()
        parts.append(added[: together.searchsorted(limit, side="right")])
        if together[-1] > limit:
            return np.concatenate(parts)
        total, drawn = int(together[-1]), drawn + _DRAWN_AT_ONCE


def allocation_percent(experiment: Experiment, scorer: Scorer, seed: int, percent: float = 130.0) -> float:
    """GPUs held when ``percent`` of the cluster's GPUs have arrived, in percent of all."""
    shuffled = np.argsort(bits(seed, Stream.INFLATE, np.arange(len(experiment.hosts.gpus)), _ORDER_OF_HOSTS), kind="stable")
    fill = _Fill(experiment, scorer, shuffled, seed)
    held = 0
    for step, pod in enumerate(arrivals(experiment, seed, percent).tolist()):
        if fill.place(int(experiment.kind[pod]), step):
            held += int(experiment.milli_gpus[pod])
    return 100.0 * held / experiment.total_milli_gpus


class _Fill:
    """Hosts as they fill. The scores of a kind of pod are kept, and made again for the hosts that changed since it was last asked for."""

    def __init__(self, experiment: Experiment, scorer: Scorer, order: Int64, seed: int) -> None:
        self._hosts, self._memory = experiment.hosts.of(order), experiment.memory_mib[order]
        self._kinds, self._setting, self._scorer, self._seed = experiment.kinds, experiment.setting, scorer, seed
        self._changed: list[int] = []  # hosts, in the order of what was placed
        self._scores: dict[int, tuple[Int64, int]] = {}  # by kind: the scores, -1 where it does not fit; and how much of the list they know
        self._nowhere: set[int] = set()

    def place(self, number: int, step: int) -> bool:
        """Place a pod of this kind, the ``step``-th that arrives; False where it fits nowhere. Nothing departs, so then it never will."""
        if number in self._nowhere:
            return False
        best = self._scorer.best(self._scores_of(number))
        if not best.size:
            self._nowhere.add(number)
            return False
        host = int(best[self._draw(len(best), step, _HOST)] if self._scorer.at_random else best[0])
        self._take(host, self._kinds[number], step)
        self._changed.append(host)
        return True

    def _scores_of(self, number: int) -> Int64:
        kind = self._kinds[number]
        if number not in self._scores:
            scores = np.full(len(self._memory), -1, np.int64)
            self._score(kind, scores, np.arange(len(scores)))
        else:
            scores, known = self._scores[number]
            changed = list(dict.fromkeys(self._changed[known:]))
            if changed:
                self._score(kind, scores, np.array(changed))
        self._scores[number] = scores, len(self._changed)
        return scores

    def _score(self, kind: Kind, scores: Int64, rows: Int64) -> None:
        hosts = self._hosts.of(rows)
        fits = fitting(hosts, kind.task) & (hosts.cpu_milli >= kind.task.cpu_milli) & (self._memory[rows] >= kind.memory_mib)
        scores[rows[~fits]] = -1
        rows = rows[fits]
        if rows.size:
            scores[rows] = self._scorer.score(hosts.of(np.flatnonzero(fits)), kind.task, self._setting)

    def _take(self, host: int, kind: Kind, step: int) -> None:
        hosts, task = self._hosts, kind.task
        rooms = hosts.milli_gpus[host]
        if task.milli_gpus == 1000:
            rooms[np.flatnonzero(rooms == 1000)[: task.gpus]] = 0
        elif task.gpus:
            rooms[self._gpu(host, task, step)] -= task.milli_gpus
        hosts.cpu_milli[host] -= task.cpu_milli
        self._memory[host] -= kind.memory_mib
        hosts.sorts[host] |= task.sort

    def _gpu(self, host: int, task: Task, step: int) -> int:
        one = self._hosts.of(np.array([host]))
        if not self._scorer.at_random:
            return self._scorer.gpu(one, task, self._setting)
        enough = np.flatnonzero(one.milli_gpus[0] >= task.milli_gpus)
        return int(enough[self._draw(len(enough), step, _GPU)])

    def _draw(self, count: int, step: int, what: int) -> int:
        return below(count, self._seed, Stream.INFLATE, step, what)


@dataclass(frozen=True)
class Allocation:
    """Of one scorer, in percent: the mean over the seeds, and each of them."""

    mean_percent: float
    seed_percent: tuple[float, ...]


def inflate(
    experiment: Experiment,
    scorers: dict[str, Scorer],
    seeds: int,
    percent: float = 130.0,
    done: Callable[[str, int], None] = lambda *_: None,
) -> dict[str, Allocation]:
    """The allocation by every scorer with the seeds 1, 2, ...; ``done`` is told the scorer and the seed of what has ended."""
    results = {}
    for name, scorer in scorers.items():
        found = []
        for seed in range(1, seeds + 1):
            found.append(allocation_percent(experiment, scorer, seed, percent))
            done(name, seed)
        total = 0.0
        for one in found:
            total += one
        results[name] = Allocation(total / len(found), tuple(found))
    return results
