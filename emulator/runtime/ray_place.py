"""Which node each actor runs on.

On a Ray that we started there is one node, and each actor asks for its part of the CPUs. On a given cluster we choose a node for each
actor, and the actor asks for one CPU there. When a node is lost, its actors move to free CPUs; if there are none, they share the CPUs of
our other actors, so a cluster without a spare CPU survives as well. When a node joins, actors move to it where that spreads them more
evenly. CPUs of other programs are never taken.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from emulator.runtime.ray_address import UnusableRay
from emulator.runtime.ray_head import RayNode

#: The head's count of free CPUs may be a second old: if it is too low, it is asked again for this many wall seconds.
SETTLE_SECONDS = 3.0


class Places(Protocol):
    """The places of actors, by actor number."""

    def options(self, actor: int) -> dict[str, Any]:
        """Ray's options for the actor at its place."""
        ...

    def node_of(self, actor: int) -> str:
        """The name of its node, for people."""
        ...

    def find(self, lost: Iterable[int], *, elsewhere: bool) -> list[int]:
        """Give actors that are to start again a place: where they were, if that node lives and not ``elsewhere``, or another.

        Returns those for which there is none now.
        """
        ...

    def improve(self) -> dict[int, str]:
        """Give actors a better place, at which they are to start again, if there is one; why each moves, for people."""
        ...

    def refuse(self, actor: int) -> None:
        """Do not use the node of ``actor`` again."""
        ...


class OwnPlaces:
    """All actors on this machine, whose ``cpus`` are divided among ``actors``."""

    def __init__(self, cpus: int, actors: int) -> None:
        share = cpus / actors
        # Whole above one, as Ray has it; below, rounded down to its grain of 1/10,000.
        self._options = {"num_cpus": float(math.floor(share)) if share >= 1 else math.floor(share * 10_000) / 10_000}

    def options(self, actor: int) -> dict[str, Any]:
        return self._options

    def node_of(self, actor: int) -> str:
        return "this machine"

    def find(self, lost: Iterable[int], *, elsewhere: bool) -> list[int]:
        return []

    def improve(self) -> dict[int, str]:
        return {}

    def refuse(self, actor: int) -> None:
        pass


class NodePlaces:
    """On the nodes that ``nodes()`` lists. Raises UnusableRay where they have fewer free CPUs than ``actors``."""

    def __init__(self, nodes: Callable[[], tuple[RayNode, ...]], actors: int) -> None:
        self._nodes = nodes
        self._refused: set[str] = set()
        self._at: dict[int, RayNode] = {}
        #: Actors that hold a CPU of their own.
        self._holds: set[int] = set()
        known = _settled(nodes, actors)
        for actor, node in enumerate(spread(actors, known)):
            self._at[actor] = node
            self._holds.add(actor)

    def options(self, actor: int) -> dict[str, Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(self._at[actor].node_id, soft=False)
        return {"num_cpus": 1 if actor in self._holds else 0, "scheduling_strategy": strategy}

    def node_of(self, actor: int) -> str:
        return str(self._at[actor])

    def find(self, lost: Iterable[int], *, elsewhere: bool) -> list[int]:
        alive = {node.node_id: node for node in self._nodes() if node.node_id not in self._refused}
        moving = [actor for actor in lost if elsewhere or self._at[actor].node_id not in alive]
        self._holds -= set(moving)
        free = {node_id: node.free_cpus for node_id, node in alive.items()}
        ours = {self._at[holder].node_id for holder in self._holds} & set(alive)
        used = Counter(node.node_id for actor, node in self._at.items() if actor not in moving)
        nowhere = []
        for actor in moving:
            before = self._at[actor].node_id
            with_room = [node_id for node_id in alive if free[node_id] >= 1] or sorted(ours)
            chosen = min(with_room, key=lambda node_id: (node_id == before, used[node_id]), default=None)
            if chosen is None:
                nowhere.append(actor)
                continue
            if free[chosen] >= 1:
                free[chosen] -= 1
                self._holds.add(actor)
            used[chosen] += 1
            self._at[actor] = alive[chosen]
        return nowhere

    def improve(self) -> dict[int, str]:
        """To free CPUs of nodes with at least two of our actors fewer, or one fewer where the actor has no CPU of its own."""
        alive = {node.node_id: node for node in self._nodes() if node.node_id not in self._refused}
        if any(node.node_id not in alive for node in self._at.values()):
            return {}  # a node is lost: its actors go first
        free = {node_id: node.free_cpus for node_id, node in alive.items()}
        used = Counter(node.node_id for node in self._at.values())
        moved: dict[int, str] = {}
        while open_nodes := [node_id for node_id in alive if free[node_id] >= 1]:
            to = min(open_nodes, key=lambda node_id: used[node_id])
            gain = {
                actor: used[node.node_id] - used[to] - (1 if actor in self._holds else 0)
                for actor, node in self._at.items()
                if actor not in moved
            }
            actor = max(gain, key=lambda actor: gain[actor], default=None)
            if actor is None or gain[actor] < 1:
                break
            before = self._at[actor]
            moved[actor] = f"from {before}, which had {used[before.node_id]} of our actors, to {alive[to]}"
            used[before.node_id] -= 1
            used[to] += 1
            free[to] -= 1
            self._at[actor] = alive[to]
            self._holds.add(actor)
        return moved

    def refuse(self, actor: int) -> None:
        self._refused.add(self._at[actor].node_id)


def spread(actors: int, nodes: Sequence[RayNode]) -> list[RayNode]:
    """A node for each actor, a free CPU each, as evenly over the nodes as their free CPUs allow. Raises UnusableRay for too few."""
    free = sum(node.free_cpus for node in nodes)
    if free < actors:
        if free == 0:
            raise UnusableRay(
                "the Ray cluster has no free CPU, and an actor needs one: add a node, or wait until a program there has ended"
            )
        what = "the actor needs one" if actors == 1 else f"each of the {actors} actors needs one"
        raise UnusableRay(f"the Ray cluster has {free} free CPUs and {what}: use --actors {free} or fewer, or add nodes")
    chosen: list[RayNode] = []
    taken: Counter[str] = Counter()
    while len(chosen) < actors:
        open_nodes = [node for node in nodes if taken[node.node_id] < node.free_cpus]
        node = min(open_nodes, key=lambda node: taken[node.node_id])
        taken[node.node_id] += 1
        chosen.append(node)
    return chosen


def _settled(nodes: Callable[[], tuple[RayNode, ...]], actors: int) -> tuple[RayNode, ...]:
    """The nodes, once they have ``actors`` free CPUs or the time to report them has passed."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        known = nodes()
        if sum(node.free_cpus for node in known) >= actors or time.monotonic() > deadline:
            return known
        time.sleep(0.2)
