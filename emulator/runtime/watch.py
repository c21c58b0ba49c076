"""Watching jobs: a bounded history of state changes that readers follow at their own pace."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from emulator.engine.control import JobEvent, WrongState
from emulator.engine.engine import Engine
from emulator.engine.views import job_view
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND

#: Runs a function in the thread that owns the engine.
Call = Callable[[Callable[[], list[JobEvent]]], list[JobEvent]]

#: Changes kept for watchers to resume from.
HISTORY = 200_000
#: Events handed over between two cycles, and wall seconds after which an idle watcher is given a sign of life.
BATCH, IDLE_SECONDS = 500, 1.0
_ENDED = frozenset({State.FINISHED, State.FAILED, State.CANCELLED, State.INFEASIBLE, State.REJECTED})


class Watchers:
    """Written by the owner's thread, one entry a change; a sequence number is the place of a change since the start."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._history: deque[tuple[int, int, State]] = deque(maxlen=HISTORY)  # (time, slot, state)
        self._next = 0  # sequence of the next change
        self._changed = threading.Condition()

    def note(self, slot: int) -> None:
        """The job's state changed just now."""
        self._history.append((self._engine.now_ns, slot, self._engine.table.state[slot]))
        self._next += 1

    def wake(self) -> None:
        """Tell the watchers to look."""
        with self._changed:
            self._changed.notify_all()

    def follow(self, slots: frozenset[int], after_sequence: int, call: Call, ended: threading.Event) -> Iterator[JobEvent | None]:
        """See ``Control.watch``. ``call`` runs a function in the owner's thread."""
        if after_sequence >= 0:
            position = after_sequence + 1
            if not self._oldest() <= position <= self._next:
                raise WrongState(
                    f"change {after_sequence} is not held any more: allowed are {self._oldest() - 1} to {self._next - 1}, or a new watch"
                )
            return self._deltas(slots, position, set(slots), call, ended)
        return self._from_snapshot(slots, call, ended)

    def _oldest(self) -> int:
        return self._next - len(self._history)

    def _from_snapshot(self, slots: frozenset[int], call: Call, ended: threading.Event) -> Iterator[JobEvent | None]:
        position = 0
        table = self._engine.table

        def snapshot() -> list[JobEvent]:
            nonlocal position
            position = self._next
            chosen = sorted(slots) if slots else [slot for slot, state in enumerate(table.state) if state != State.FUTURE]
            now = self._engine.now_ns / SECOND
            return [JobEvent(position - 1, now, job_view(self._engine, slot)) for slot in chosen]

        events = call(snapshot)
        waiting = {slot for slot in slots if table.state[slot] not in _ENDED}
        yield from events
        if slots and not waiting:
            return
        yield from self._deltas(slots, position, waiting, call, ended)

    def _deltas(
        self,
        slots: frozenset[int],
        position: int,
        waiting: set[int],
        call: Call,
        ended: threading.Event,
    ) -> Iterator[JobEvent | None]:
        def take() -> list[JobEvent]:
            nonlocal position
            if position < self._oldest():
                raise WrongState("the watcher is too slow: changes it has not read are not held any more; allowed: a new watch")
            changes = list(islice(self._history, position - self._oldest(), position - self._oldest() + BATCH))
            events = []
            for sequence, (time_ns, slot, state) in enumerate(changes, start=position):
                if not slots or slot in slots:
                    events.append(JobEvent(sequence, time_ns / SECOND, job_view(self._engine, slot, state)))
                    if state in _ENDED:
                        waiting.discard(slot)
            position += len(changes)
            return events

        while True:
            yield from call(take)
            if slots and not waiting:
                return
            if position < self._next:
                continue
            if ended.is_set():
                return
            with self._changed:
                if position >= self._next:
                    self._changed.wait(IDLE_SECONDS)
            yield None
