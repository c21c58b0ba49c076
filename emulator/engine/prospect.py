"""What a training job would get of the fabric on a candidate placement, by what the head knows of the demand. Planes are not asked.

The head keeps what the flows of all jobs ask of each channel, each at its cap (``fabric.contend``). A job's *share* is what its fullest
channel would leave it if the channel were divided by demand: its cap over the highest ratio of demand to capacity, its own included. It is
1 where nothing would contend. The true, max-min fair share is known in the planes alone. For lanes of one speed it is at least as large:
flows that are held back elsewhere leave more than this counts with. What starts and stops earlier in the same cycle is counted too.
"""

from collections.abc import Callable

import numpy as np

from emulator.engine.network import Network
from emulator.fabric.contend import whole
from emulator.fabric.traffic import Piece
from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.table import State


class Prospect:
    """For one engine. It changes nothing but its own count of the draft's decisions, which it makes again where they differ."""

    def __init__(self, network: Network, draft: Draft) -> None:
        self._network, self._draft = network, draft
        self._at_ns = -1
        self._started: list[tuple[int, list[Row]]] = []  # decisions of the draft that are counted
        self._stopped: list[int] = []
        self._moved: list[tuple[int, list[Row]]] = []
        demand, _ = network.demand_and_capacity()
        self._change = np.zeros(demand.size, dtype=np.int64)  # by directed channel: what they ask for, bytes per second

    def probe(self, slot: int) -> Callable[[list[Row]], float] | None:
        """Of the waiting job: rows -> its share there, 0 to 1. None for a job that does not use the fabric."""
        table = self._draft.table
        if table.shape[slot] < 0 or table.shapes[table.shape[slot]].lane_bytes <= 0.0:
            return None
        self._count()

        def share(rows: list[Row]) -> float:
            return self._share(slot, rows)

        return share

    def _share(self, slot: int, rows: list[Row]) -> float:
        pieces, cap, full = self._network.would_load(slot, rows)
        demand, capacity = self._network.demand_and_capacity()
        directed, worst = demand.reshape(-1), 1.0
        for piece in pieces:
            if not len(piece.links):
                continue
            asked = directed[piece.links] + self._change[piece.links] + whole(piece.weights * cap)
            has = capacity[piece.links >> 1]
            if not bool((has > 0.0).all()):
                return 0.0
            worst = max(worst, float((asked / has).max()))
        return cap / full / worst

    def _count(self) -> None:
        """Bring the count up to what the draft has decided so far."""
        draft, started, stopped = self._draft, self._started, self._stopped
        states, rows_of = draft.table.state, draft.table.rows
        moved = [(slot, rows_of[slot] if states[slot] == State.RUNNING else []) for slot in draft.migrated]
        same = draft.starts[: len(started)] == started and draft.preempted[: len(stopped)] == stopped and moved == self._moved
        if draft.now_ns != self._at_ns or not same:
            self._at_ns, self._moved = draft.now_ns, moved
            self._change[:] = 0
            started.clear()
            stopped.clear()
            for slot, rows in moved:
                self._add(*self._network.asks_for(slot), -1)
                if rows:
                    self._start(slot, rows)
        for slot in draft.preempted[len(stopped) :]:
            self._add(*self._network.asks_for(slot), -1)
            stopped.append(slot)
        for slot, rows in draft.starts[len(started) :]:
            self._start(slot, rows)
            started.append((slot, rows))

    def _start(self, slot: int, rows: list[Row]) -> None:
        if self._draft.table.shape[slot] >= 0:
            pieces, cap, _ = self._network.would_load(slot, rows)
            self._add(pieces, cap, 1)

    def _add(self, pieces: tuple[Piece, ...], cap: float, sign: int) -> None:
        for piece in pieces:
            self._change[piece.links] += sign * whole(piece.weights * cap)
