"""Watching jobs: a bounded history of changes, each as the job was then, that readers follow at their own pace."""

import threading
from collections import deque
from collections.abc import Iterator
from itertools import islice

from emulator.engine.control import JobEvent, WrongState
from emulator.engine.engine import Engine
from emulator.engine.moments import Moment, moment_of
from emulator.engine.views import job_view
from emulator.runtime.turns import Turns
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND

#: Changes kept for watchers to resume from.
HISTORY = 200_000
#: Events handed over between two cycles, and wall seconds after which an idle watcher is given a sign of life.
BATCH, IDLE_SECONDS = 500, 1.0
_ENDED = frozenset({State.FINISHED, State.FAILED, State.CANCELLED, State.INFEASIBLE, State.REJECTED})


class Watchers:
    """One entry a change; a sequence number is the place of a change since the start. Whoever touches them has the turn at the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._history: deque[tuple[int, int, Moment]] = deque(maxlen=HISTORY)  # (time, slot, the job then)
        self._next = 0  # sequence of the next change
        self._changed = threading.Condition()

    def note(self, slot: int, at_ns: int) -> None:
        """The job's state has changed."""
        self._history.append((at_ns, slot, moment_of(self._engine, slot, at_ns)))
        self._next += 1

    def wake(self) -> None:
        """Tell everyone who waits to look; needs no turn."""
        with self._changed:
            self._changed.notify_all()

    def _wait(self, position: int, ended: threading.Event) -> None:
        """Until the next ``wake``, at most a second; not at all when there is a change from ``position`` on, or the end. Needs no turn."""
        with self._changed:
            if position >= self._next and not ended.is_set():
                self._changed.wait(IDLE_SECONDS)

    def follow(self, slots: frozenset[int], after_sequence: int, turns: Turns, ended: threading.Event) -> Iterator[JobEvent | None]:
        """See ``Control.watch``. Takes a turn for each batch of events, and goes on to the last change after the emulation has ended."""
        if after_sequence < 0:
            return self._events(slots, None, turns, ended)
        with turns:
            position = after_sequence + 1
            if not self._oldest() <= position <= self._next:
                raise WrongState(
                    f"change {after_sequence} is no longer kept; allowed: {self._oldest() - 1} to {self._next - 1}, or a new watch"
                )
        return self._events(slots, position, turns, ended)

    def _oldest(self) -> int:
        return self._next - len(self._history)

    def _events(self, slots: frozenset[int], position: int | None, turns: Turns, ended: threading.Event) -> Iterator[JobEvent | None]:
        table = self._engine.table
        with turns:
            waiting = {slot for slot in slots if table.state[slot] not in _ENDED}
            if position is None:
                position, now = self._next, self._engine.now_ns / SECOND
                known = self._now(sorted(slots) if slots else [slot for slot, state in enumerate(table.state) if state != State.FUTURE])
            else:
                known, now = [], 0.0
        for start in range(0, len(known), BATCH):
            with turns:
                views = [JobEvent(position - 1, now, job_view(self._engine, slot, moment)) for slot, moment in known[start : start + BATCH]]
            yield from views
        while True:
            over = ended.is_set()  # before the look, so that what came last is not missed
            with turns:
                events, position = self._take(slots, position, waiting)
                drained = position == self._next
            yield from events
            if drained:
                if over or (slots and not waiting):
                    return
                self._wait(position, ended)
                yield None

    def _now(self, slots: list[int]) -> list[tuple[int, Moment | None]]:
        """Jobs as they stand; None for those that have ended, which stay as they are until somebody asks."""
        state, now_ns = self._engine.table.state, self._engine.now_ns
        return [(slot, None if state[slot] in _ENDED else moment_of(self._engine, slot, now_ns)) for slot in slots]

    def _take(self, slots: frozenset[int], position: int, waiting: set[int]) -> tuple[list[JobEvent], int]:
        """The next changes from ``position`` on, and the position behind them; the ended leave ``waiting``."""
        if position < self._oldest():
            raise WrongState("the watcher is too slow: changes that it has not read are no longer kept; allowed: a new watch")
        changes = list(islice(self._history, position - self._oldest(), position - self._oldest() + BATCH))
        events = []
        for sequence, (time_ns, slot, moment) in enumerate(changes, start=position):
            if not slots or slot in slots:
                events.append(JobEvent(sequence, time_ns / SECOND, job_view(self._engine, slot, moment)))
                if moment.state in _ENDED:
                    waiting.discard(slot)
        return events, position + len(changes)
