"""Slow hosts, stalls and fail-slow episodes of running training jobs: how late their steps are, and when that changes."""

from collections.abc import Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emulator.draws.ahead import Ahead
from emulator.engine.network import Network
from emulator.engine.slow_hosts import SlowHosts
from emulator.jobs.stragglers import FAIL_SLOW_FACTOR, Stragglers, drawn_luck
from emulator.scheduler.free import Row, mask_bits
from emulator.scheduler.ledger import Ledger
from emulator.scheduler.table import NEVER, State

#: Named once: to look up a member of an enum takes longer than to compare with it.
RUNNING: Final = State.RUNNING


class Straggling:
    """Tells the network what each job's steps take longer. Where nothing straggles it does nothing."""

    def __init__(self, ledger: Ledger, network: Network, stragglers: Stragglers, seed: int, slow: SlowHosts) -> None:
        self._ledger, self._table, self._network, self._stragglers = ledger, ledger.table, network, stragglers
        self._slow = slow
        self._on = stragglers != Stragglers()
        self._slowness = stragglers.slowness(seed, len(ledger.host_block)) if self._on else []
        self._luck: Ahead[NDArray[np.float64]] = Ahead(partial(drawn_luck, seed))
        self._episodes: dict[int, list[tuple[int, int]]] = {}  # slot -> of the job that runs, or ran last
        self._changes: list[tuple[int, int, int, int]] = []  # (when an episode begins or ends, job id, slot, start of the run)

    def begin(self, slot: int, rows: Sequence[Row], at_ns: int) -> None:
        """A training job that the network knows begins to run."""
        if self._stragglers.fail_slow:
            self._begin_episodes(slot, at_ns)
        if self._on or len(self._slow):
            self._tell(slot, rows, at_ns)

    def _begin_episodes(self, slot: int, at_ns: int) -> None:
        table = self._table
        self._episodes[slot] = self._drawn(slot)
        for change_ns in {time_ns for episode in self._episodes[slot] for time_ns in episode if time_ns > at_ns}:
            heappush(self._changes, (change_ns, table.job_id[slot], slot, table.start_ns[slot]))

    def _drawn(self, slot: int) -> list[tuple[int, int]]:
        """When the job fails slow, from and to."""
        table = self._table
        duration_ns = table.paces[slot].duration_ns if slot in table.paces else table.duration_ns[slot]
        found = self._stragglers.episodes(self._luck.of(table.job_id[slot]).tolist(), table.gpus[slot], duration_ns)
        first_ns = table.first_start_ns[slot]
        return [(first_ns + episode.begin_ns, first_ns + episode.end_ns) for episode in found]

    def next_ns(self) -> int:
        """When an episode of a running job begins or ends next; NEVER if none will."""
        changes, table = self._changes, self._table
        while changes:
            at_ns, job_id, slot, start_ns = changes[0]
            if table.job_id[slot] == job_id and table.state[slot] == RUNNING and table.start_ns[slot] == start_ns:
                return at_ns
            heappop(changes)
        return NEVER

    def take(self) -> tuple[int, int]:
        """What ``next_ns`` has just told: when, and whose."""
        at_ns, _, slot, _ = heappop(self._changes)
        return at_ns, slot

    def speed_on(self, rows: Sequence[Row]) -> float:
        """Of a job that the network does not know: it is as slow as its slowest host, as far as that fails slow."""
        return self._slow.slowest(self._hosts(rows)) if len(self._slow) else 1.0

    def _hosts(self, rows: Sequence[Row]) -> Iterator[int]:
        first_host = self._ledger.first_host
        return (first_host[block] + bit for block, mask, _ in rows for bit in mask_bits(mask))

    def _slowness_of(self, host: int) -> float:
        """The part of the mean host's compute time that it takes longer now."""
        own, ratio = self._slowness[host] if self._on else 0.0, self._slow.ratio(host)
        return own if ratio == 1.0 else (1.0 + own) / ratio - 1.0

    def change(self, slot: int, at_ns: int) -> None:
        """The job is as late from now on as it is at ``at_ns``."""
        self._tell(slot, self._table.rows[slot], at_ns)

    def _tell(self, slot: int, rows: Sequence[Row], at_ns: int) -> None:
        table = self._table
        slowest = max([self._slowness_of(host) for host in self._hosts(rows)])
        late = self._stragglers.late_seconds(slowest, table.shapes[table.shape[slot]].compute_seconds)
        if any(begin_ns <= at_ns < end_ns for begin_ns, end_ns in self._episodes.get(slot, ())):
            late += (FAIL_SLOW_FACTOR - 1.0) * (self._network.ideal_seconds(slot) + late)
        self._network.set_late(slot, late)
