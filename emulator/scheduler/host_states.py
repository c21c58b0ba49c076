"""Split hosts grouped by the state that they are in, for placements that score hosts: there are few states, however many hosts."""

from bisect import bisect_left, insort
from collections import Counter
from copy import copy

import numpy as np

from emulator.scheduler.scoring import Hosts
from emulator.scheduler.typical import Shape, Typical, typical

#: (free milli-GPU of every GPU, most first; the sorts of tasks on the host, a bit each).
State = tuple[tuple[int, ...], int]


class HostStates:
    """Of the split hosts of one type that are offered; and the tasks that have been asked for. The index of free GPUs keeps it.

    Groups are brought up to date when they are asked for, so the cost follows the hosts that changed.
    """

    def __init__(self, gpus_per_host: int) -> None:
        self.changed: set[int] = set()  # hosts whose state may be another by now
        self.hosts_in: dict[State, list[int]] = {}  # by number
        self.state_of: dict[int, State] = {}
        self._gpus = gpus_per_host
        self._sorts: dict[int, Counter[int]] = {}  # by host: tasks of each sort
        self._asked: Counter[Shape] = Counter()
        self._typical: Typical | None = None
        self.like: HostStates | None = None  # what has been asked for is counted there
        self._columns: tuple[list[State], Hosts] | None = None

    def copy(self) -> "HostStates":
        """Another that is kept by itself; what is asked for is counted here."""
        other = copy(self)
        other.changed, other.state_of = set(self.changed), dict(self.state_of)
        other.hosts_in = {state: list(hosts) for state, hosts in self.hosts_in.items()}
        other._sorts = {host: Counter(sorts) for host, sorts in self._sorts.items()}
        other.like = self.like or self
        return other

    def put(self, host: int, rooms: tuple[int, ...] | None) -> None:
        """The host has ``rooms`` free on its GPUs; None: it is no longer split, or not offered."""
        state = None if rooms is None else (tuple(sorted(rooms, reverse=True)), self._sorts_on(host))
        before = self.state_of.pop(host, None)
        if before is not None:
            peers = self.hosts_in[before]
            del peers[bisect_left(peers, host)]
            if not peers:
                del self.hosts_in[before]
                self._columns = None
        if state is not None:
            self.state_of[host] = state
            if state not in self.hosts_in:
                self.hosts_in[state] = []
                self._columns = None
            insort(self.hosts_in[state], host)

    def columns(self) -> tuple[list[State], Hosts]:
        """The states that split hosts are in, in order; and as a host each, behind them one of which all GPUs are free."""
        if self._columns is None:
            states = sorted(self.hosts_in)
            every = [*states, ((1000,) * self._gpus, 0)]
            zeros = np.zeros(len(every), np.int64)
            rooms = np.array([rooms for rooms, _ in every], np.int64)
            sorts = np.array([sorts for _, sorts in every], np.int64)
            self._columns = states, Hosts(rooms, np.full(len(every), self._gpus), zeros, sorts, zeros)
        return self._columns

    # -- tasks ----------------------------------------------------------------------------------------------------------------------

    def ask(self, gpus: int, milli_gpus: int) -> None:
        """A job has arrived: a part of a GPU or, for each host that it needs, a task."""
        hosts, rest = divmod(gpus, self._gpus) if milli_gpus == 1000 else (0, gpus)
        if hosts:
            self._asked[Shape(0, 1000, self._gpus)] += hosts
        if rest:
            self._asked[Shape(0, milli_gpus, rest)] += 1
        self._typical = None

    def typical(self) -> Typical:
        """The usual tasks among those asked for so far; a whole GPU where there is none."""
        if self.like is not None:
            return self.like.typical()
        if self._typical is None:
            self._typical = typical(self._asked or {Shape(0, 1000, 1): 1})
        return self._typical

    def begin(self, host: int, sort: int, tasks: int) -> None:
        """``tasks`` more (below 0: fewer) of a sort run on a host that they do not fill."""
        counts = self._sorts.setdefault(host, Counter())
        counts[sort] += tasks
        if counts[sort] <= 0:
            del counts[sort]
            if not counts:
                del self._sorts[host]
        self.changed.add(host)

    def _sorts_on(self, host: int) -> int:
        return sum(self._sorts.get(host, ()))
