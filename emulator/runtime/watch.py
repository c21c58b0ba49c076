"""Watching jobs: a bounded history of changes, each as the job was then, that readers follow at their own pace.

The engine's thread notes a change in a microsecond. The first watch that comes to it makes what is told of it, for all watches. Watches
that begin in the same cycle share a snapshot. A watch that nobody reads is a place in the history and costs nothing more.
"""

import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from emulator.engine.engine import Engine
from emulator.engine.errors import WrongState
from emulator.engine.job_control import JobEvent
from emulator.engine.moments import Moment, moment_of
from emulator.engine.views import job_view, view_of
from emulator.runtime.turns import Turns
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND

Told = TypeVar("Told")

#: Changes kept for watchers to resume from.
HISTORY = 40_000
#: Jobs of a snapshot that are looked at in one turn.
SNAPSHOT_BATCH = 64
_ENDED = frozenset({State.FINISHED, State.FAILED, State.CANCELLED, State.INFEASIBLE, State.REJECTED})


class _Change:
    """One change of a job's state, and what was made of it for the watches."""

    __slots__ = ("at_ns", "moment", "told")

    def __init__(self, at_ns: int, moment: Moment) -> None:
        self.at_ns, self.moment = at_ns, moment
        self.told: tuple[Callable[[JobEvent], Any] | None, Any] = (None, None)  # by which form; replaced as a whole, so it needs no lock


class Watchers:
    """One entry a change; a sequence number is the place of a change since the start. Only who has the turn at the engine notes."""

    def __init__(self, engine: Engine, turns: Turns, ended: threading.Event) -> None:
        self.engine, self.turns, self.ended = engine, turns, ended
        self._guard = threading.Lock()  # of everything below
        self._changes: list[_Change] = []
        self._first = 0  # sequence of the first in the list, which may be older than what is still given out
        self._next = 0
        self._waiting: dict[Watch[Any], Callable[[], None]] = {}
        self._latest: weakref.ref[_Snapshot] | None = None  # of all jobs; only who has the turn looks

    def note(self, slot: int, at_ns: int) -> None:
        """The job's state has changed."""
        change = _Change(at_ns, moment_of(self.engine, slot, at_ns))
        with self._guard:
            self._changes.append(change)
            self._next += 1
            if len(self._changes) > HISTORY + HISTORY // 8:  # now and then, for it moves the rest
                del self._changes[:-HISTORY]
                self._first = self._next - HISTORY

    def wake(self) -> None:
        """Tell every watch that waits to look; needs no turn."""
        with self._guard:
            waiting, self._waiting = self._waiting, {}
        for woken in waiting.values():
            woken()

    @property
    def next(self) -> int:
        """The sequence of the next change."""
        return self._next

    def oldest(self) -> int:
        """The sequence of the oldest change that is given out."""
        return max(self._first, self._next - HISTORY)

    def read(self, position: int, most: int) -> list[_Change]:
        """At most ``most`` changes from ``position`` on. Raises WrongState where that is no longer kept."""
        with self._guard:
            if position < self.oldest():
                raise WrongState("the watcher is too slow: changes that it has not read are no longer kept; allowed: a new watch")
            start = position - self._first
            return self._changes[start : start + most]

    def wait(self, watch: "Watch[Any]", position: int, woken: Callable[[], None]) -> bool:
        """Call ``woken`` at the next ``wake``; False, and no call, where ``position`` has come already or the emulation has ended."""
        with self._guard:
            if position < self._next or self.ended.is_set():
                return False
            self._waiting[watch] = woken
            return True

    def forget(self, watch: "Watch[Any]") -> None:
        """The watch waits no more."""
        with self._guard:
            self._waiting.pop(watch, None)

    def snapshot(self, form: Callable[[JobEvent], Any]) -> "_Snapshot":
        """All jobs as they stand: that of another watch, where the clock has not moved since. Whoever calls has the turn."""
        latest = None if self._latest is None else self._latest()
        if latest is None or latest.form is not form or latest.at_ns != self.engine.now_ns:
            latest = _Snapshot(self, form, sorted(self.engine.table.slot_of), named=False)
            self._latest = weakref.ref(latest)
        return latest


class _Snapshot:
    """Jobs as they stand, made batch after batch, each in a turn of its own; those behind the first batch have changes since in them.

    Jobs that are still to come are left out unless they were asked for by name, and so is who has left meanwhile.
    """

    def __init__(self, watchers: Watchers, form: Callable[[JobEvent], Any], order: Sequence[int], *, named: bool) -> None:
        self._watchers, self.form, self._order, self._named = watchers, form, order, named  # ids, in order
        self.first, self.at_ns = watchers.next, watchers.engine.now_ns
        self.batches: list[tuple[list[Any], frozenset[int]]] = []  # what is told, and the jobs in it that had ended
        self._looked_at: list[int] = []  # per batch: the sequence of the first change that is not in it

    def __len__(self) -> int:
        """Batches, made or not."""
        return (len(self._order) + SNAPSHOT_BATCH - 1) // SNAPSHOT_BATCH

    @property
    def up_to(self) -> int:
        """The sequence of the first change that is in no batch; of a snapshot that is complete."""
        return self._looked_at[-1] if self._looked_at else self.first

    def batch(self, number: int) -> tuple[list[Any], frozenset[int]]:
        """Batch ``number``, of which all before have been made. Waits for a turn where it has not been made."""
        if number == len(self.batches):
            with self._watchers.turns:
                if number == len(self.batches):
                    self._make(self._order[number * SNAPSHOT_BATCH : (number + 1) * SNAPSHOT_BATCH])
        return self.batches[number]

    def _make(self, job_ids: Sequence[int]) -> None:
        engine = self._watchers.engine
        table = engine.table
        slots = [table.slot_of[job_id] for job_id in job_ids if job_id in table.slot_of]
        told = [
            self.form(JobEvent(self.first - 1, engine.now_ns / SECOND, job_view(engine, slot)))
            for slot in slots
            if self._named or table.state[slot] != State.FUTURE
        ]
        self._looked_at.append(self._watchers.next)
        self.batches.append((told, frozenset(table.job_id[slot] for slot in slots if table.state[slot] in _ENDED)))

    def covers(self, job_id: int, sequence: int) -> bool:
        """Whether this change of the job is in the snapshot, which is complete."""
        place = bisect_left(self._order, job_id)
        return place < len(self._order) and self._order[place] == job_id and sequence < self._looked_at[place // SNAPSHOT_BATCH]


class Watch(Generic[Told]):
    """See ``engine.control.Watch``. Made by who has the turn at the engine."""

    def __init__(
        self,
        watchers: Watchers,
        form: Callable[[JobEvent], Told],
        *,
        job_ids: frozenset[int],
        after_sequence: int,
        check: Callable[[], None],
    ) -> None:
        self._watchers, self._form, self._job_ids, self._check = watchers, form, job_ids, check
        table = watchers.engine.table
        self._live = {job_id for job_id in job_ids if table.state[table.slot_of[job_id]] not in _ENDED}
        self._snapshot: _Snapshot | None = None  # until it and the changes that are in it have been told
        self._batch = 0
        self.ended = False
        if after_sequence < 0:
            self._snapshot = _Snapshot(watchers, form, sorted(job_ids), named=True) if job_ids else watchers.snapshot(form)
            self._position = self._snapshot.first
        else:
            self._position = after_sequence + 1
            if not watchers.oldest() <= self._position <= watchers.next:
                raise WrongState(
                    f"change {after_sequence} is no longer kept; allowed: {watchers.oldest() - 1} to {watchers.next - 1}, or a new watch"
                )

    @property
    def needs_turn(self) -> bool:
        return self._in_snapshot() and self._snapshot is not None and self._batch == len(self._snapshot.batches)

    def take(self, most: int) -> list[Told]:
        if self._snapshot is not None and self._in_snapshot():
            told, ended = self._snapshot.batch(self._batch)
            self._batch += 1
            self._live -= ended
            return told
        over = self._watchers.ended.is_set()  # before the look, so that what came last is not missed
        changes = self._watchers.read(self._position, most)
        if self._snapshot is not None and self._position >= self._snapshot.up_to:
            self._snapshot = None
        told = [
            self._told(sequence, change)
            for sequence, change in enumerate(changes, start=self._position)
            if not self._job_ids or change.moment.job_id in self._job_ids
            if self._snapshot is None or not self._snapshot.covers(change.moment.job_id, sequence)
        ]
        if self._live:
            self._live.difference_update(change.moment.job_id for change in changes if change.moment.state in _ENDED)
        self._position += len(changes)
        if not changes and (over or (self._job_ids and not self._live)):
            self.ended = True
            self._check()
        return told

    def wait(self, woken: Callable[[], None]) -> bool:
        if self._in_snapshot() or (self._job_ids and not self._live):
            return False
        return self._watchers.wait(self, self._position, woken)

    def close(self) -> None:
        self._watchers.forget(self)

    def _in_snapshot(self) -> bool:
        return self._snapshot is not None and self._batch < len(self._snapshot)

    def _told(self, sequence: int, change: _Change) -> Told:
        form, told = change.told
        if form is not self._form:
            event = JobEvent(sequence, change.at_ns / SECOND, view_of(self._watchers.engine, change.moment))
            told = self._form(event)
            change.told = self._form, told
        made: Told = told
        return made
