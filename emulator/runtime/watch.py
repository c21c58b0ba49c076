"""Watching jobs: a bounded history of changes, each as the job was then, that readers follow at their own pace."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
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
BATCH, IDLE_SECONDS = 64, 1.0
#: Watches that ask for a turn at once: between two of theirs everybody else comes.
AT_ONCE = 2
_ENDED = frozenset({State.FINISHED, State.FAILED, State.CANCELLED, State.INFEASIBLE, State.REJECTED})


class Watchers:
    """One entry a change; a sequence number is the place of a change since the start. Whoever touches them has the turn at the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._history: deque[tuple[int, int, Moment]] = deque(maxlen=HISTORY)  # (time, slot, the job then)
        self._next = 0  # sequence of the next change
        self._changed = threading.Condition()
        self._few = threading.Semaphore(AT_ONCE)

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
        with turns:
            waiting = {slot for slot in slots if self._engine.table.state[slot] not in _ENDED}
            order = [] if position is not None else sorted(slots) if slots else range(len(self._engine.table))
            first = self._next
        sent = _Sent(order)
        for start in range(0, len(order), BATCH):
            with self._few, turns:
                sent.up_to.append(self._next)
                views = self._now(order[start : start + BATCH], first - 1, named=bool(slots))
                waiting.difference_update(slot for slot in slots if self._engine.table.state[slot] in _ENDED)
            yield from views
        position = first if position is None else position
        while True:
            over = ended.is_set()  # before the look, so that what came last is not missed
            with self._few, turns:
                events, position = self._take(slots, position, waiting, sent)
                drained = position == self._next
            yield from events
            if drained:
                if over or (slots and not waiting):
                    return
                self._wait(position, ended)
                yield None

    def _now(self, slots: Sequence[int], sequence: int, *, named: bool) -> list[JobEvent]:
        """Jobs as they stand; those to come are left out unless they were asked for by name."""
        state, at_seconds = self._engine.table.state, self._engine.now_ns / SECOND
        return [JobEvent(sequence, at_seconds, job_view(self._engine, slot)) for slot in slots if named or state[slot] != State.FUTURE]

    def _take(self, slots: frozenset[int], position: int, waiting: set[int], sent: "_Sent") -> tuple[list[JobEvent], int]:
        """The next changes from ``position`` on, and the position behind them; the ended leave ``waiting``."""
        if position < self._oldest():
            raise WrongState("the watcher is too slow: changes that it has not read are no longer kept; allowed: a new watch")
        changes = list(islice(self._history, position - self._oldest(), position - self._oldest() + BATCH))
        events = []
        for sequence, (time_ns, slot, moment) in enumerate(changes, start=position):
            if (not slots or slot in slots) and not sent.covers(slot, sequence):
                events.append(JobEvent(sequence, time_ns / SECOND, job_view(self._engine, slot, moment)))
                if moment.state in _ENDED:
                    waiting.discard(slot)
        return events, position + len(changes)


class _Sent:
    """What a watcher was told of jobs as they stood: batch after batch, each with the changes up to then in it."""

    def __init__(self, order: Sequence[int]) -> None:
        self._place = None if isinstance(order, range) else {slot: place for place, slot in enumerate(order)}
        self.up_to: list[int] = []  # by batch: the sequence of the first change that is not in it

    def covers(self, slot: int, sequence: int) -> bool:
        """Whether the job was told of after this change of it."""
        batch = (slot if self._place is None else self._place.get(slot, -BATCH)) // BATCH
        return 0 <= batch < len(self.up_to) and sequence < self.up_to[batch]
