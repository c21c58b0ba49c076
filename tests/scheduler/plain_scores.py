"""The scores of the published simulator, host by host in plain Python: the oracle of the scorers and of the fill experiment."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class PlainTask(NamedTuple):
    """What a pod asks for."""

    gpus: int
    milli: int = 1000
    cpu: int = 0
    spec: str = ""

    def may_run_on(self, model: str) -> bool:
        named = [one for one in self.spec.split("|") if one]
        return not self.gpus or not named or model in named

    @property
    def sort(self) -> str:
        return "" if not self.gpus else "part" if self.milli < 1000 else f"{self.gpus}-gpu"


@dataclass
class PlainHost:
    """A host as it is now: room on each GPU that it has, CPUs, and the sorts of tasks there."""

    rooms: list[int]
    cpu: int = 0
    sorts: set[str] = field(default_factory=set)
    model: str = ""

    def fits(self, task: PlainTask) -> bool:
        enough = sum(room >= task.milli for room in self.rooms) >= task.gpus if task.gpus else True
        return enough and self.cpu >= task.cpu and task.may_run_on(self.model)

    def after(self, task: PlainTask, gpus: list[int]) -> "PlainHost":
        rooms = [room - task.milli if gpu in gpus else room for gpu, room in enumerate(self.rooms)]
        return PlainHost(rooms, self.cpu - task.cpu, self.sorts | ({task.sort} - {""}), self.model)

    def choices(self, task: PlainTask) -> list[list[int]]:
        """The sets of GPUs to be tried: one for whole GPUs."""
        if task.gpus and task.milli < 1000:
            return [[gpu] for gpu, room in enumerate(self.rooms) if room >= task.milli]
        return [[gpu for gpu, room in enumerate(self.rooms) if room == 1000][: task.gpus]]


Usual = list[tuple[PlainTask, int]]


def usual(tasks: list[PlainTask]) -> Usual:
    """The most frequent tasks, up to 95 % of all."""
    counts = sorted(((count, task.cpu, task.milli, task.gpus, task.spec) for task, count in Counter(tasks).items()), reverse=True)
    found: Usual = []
    for count, cpu, milli, gpus, spec in counts:
        if sum(one for _, one in found) >= 0.95 * len(tasks):
            break
        found.append((PlainTask(gpus, milli, cpu, spec), count))
    return found


def fragmentation(host: PlainHost, tasks: Usual) -> float:
    """The expected milli-GPU of no use."""
    total = sum(count for _, count in tasks)
    amount = 0
    for task, count in tasks:
        if task.gpus and host.fits(task):
            amount += count * sum(room for room in host.rooms if room < task.milli)
        else:
            amount += count * sum(host.rooms)
    return amount / total


def score(name: str, host: PlainHost, task: PlainTask, tasks: Usual, cpu_spec: int = 128_000, gpu_spec: int = 8_000) -> int:
    """Of a host that holds the task."""
    free, asked = sum(host.rooms), task.gpus * task.milli
    if name == "best-fit":
        left = 0.0
        for have, want, most in ((host.cpu, task.cpu, cpu_spec), (free, asked, gpu_spec)):
            left += (have - want) / most * 0.5
        return int((1.0 - left) * 100)
    if name == "worst-fit":
        return (host.cpu - task.cpu) + 100 * (free - asked)
    if name == "dot-product":
        product = host.cpu / cpu_spec * (task.cpu / cpu_spec) + free / gpu_spec * (asked / gpu_spec)
        return int(100 * (1 - product / 2))
    if name == "gpu-clustering":
        if not task.gpus:
            return 0
        among_its_own = 75 if len(host.sorts) == 1 else 50
        among_others = 0 if host.sorts else 25
        return 25 * (gpu_spec - free) // gpu_spec + (among_its_own if task.sort in host.sorts else among_others)
    if name == "gpu-packing":
        return _packing(host, task)
    if name == "fgd":
        return max(gradient(host, task, gpus, tasks) for gpus in host.choices(task))
    assert name == "random"
    return 0


def _packing(host: PlainHost, task: PlainTask) -> int:
    if not task.gpus:
        return 0
    idle = host.rooms.count(1000)
    if idle == len(host.rooms):
        return max(33 - idle, idle)
    used = sorted(room for room in host.rooms if room >= task.milli)[: task.gpus]
    if 1000 in used:
        return max(50 - used.count(1000), 33)
    return max(100 - sum(room * 100 // 1000 for room in used) // 10, 50)


def gradient(host: PlainHost, task: PlainTask, gpus: list[int], tasks: Usual) -> int:
    """The score of FGD for these GPUs."""
    fallen = fragmentation(host, tasks) - fragmentation(host.after(task, gpus), tasks)
    return int(100 / (1 + math.exp(-fallen / 1000)))


def gpus_on(name: str, host: PlainHost, task: PlainTask, tasks: Usual) -> list[int]:
    """The GPUs that the task gets on the host."""
    choices = host.choices(task)
    if len(choices) == 1:
        return choices[0]
    if name == "fgd":
        return max(choices, key=lambda gpus: gradient(host, task, gpus, tasks))  # of equal ones the first
    room = [host.rooms[gpus[0]] for gpus in choices]
    return choices[room.index(max(room) if name == "worst-fit" else min(room))]


def best_hosts(name: str, hosts: list[PlainHost], task: PlainTask, tasks: Usual, gpu_spec: int = 8_000) -> list[int]:
    """The hosts of the highest score, in order."""
    scores = {number: score(name, host, task, tasks, gpu_spec=gpu_spec) for number, host in enumerate(hosts) if host.fits(task)}
    if not scores:
        return []
    if name == "worst-fit":
        low, high = min(scores.values()), max(scores.values())
        scores = {number: (one - low) * 100 // max(1, high - low) for number, one in scores.items()}
    return [number for number, one in scores.items() if one == max(scores.values())]
