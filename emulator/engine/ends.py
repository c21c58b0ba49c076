"""Jobs that have ended: others may have waited for that, and those that ended longest ago leave the table."""

from collections import deque
from collections.abc import Callable, Sequence

from emulator.engine.chronicle import Chronicle
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import State

#: How a job ends that depends on one that ended otherwise than it was to (Slurm's kill_invalid_depend).
NEVER_SATISFIED = "dependency never satisfied"


class Ends:
    """Of the jobs that have ended the last ``kept`` stay in the table. The others are given to ``retire``, ``at_once`` at a time and in the
    order of their ends, and when it returns their slots are free for others; where it is None, all stay.
    """

    def __init__(self, scheduler: Scheduler, chronicle: Chronicle, *, kept: int, at_once: int) -> None:
        self._scheduler, self._table, self._chronicle = scheduler, scheduler.table, chronicle
        self.kept, self.at_once = kept, at_once
        self._slots: deque[int] = deque()  # of the jobs in the table, in the order of their ends
        self.retire: Callable[[Sequence[int]], None] | None = None
        self.retired = 0
        self.on_end: Callable[[int], None] | None = None  # called with each job that has ended

    def end(self, slot: int, at_ns: int, state: State) -> None:
        """The job has ended so."""
        self._note(slot, at_ns, state)
        self.tell_dependents(slot, at_ns)

    def count(self, slot: int, state: State) -> None:
        """The job is one of those that have ended so."""
        self._chronicle.ended[state] += 1
        self._slots.append(slot)

    def _note(self, slot: int, at_ns: int, state: State) -> None:
        self._table.end_ns[slot] = at_ns
        self._table.state[slot] = state
        self.count(slot, state)
        if self.on_end is not None:
            self.on_end(slot)
        self._chronicle.events += 1
        self._chronicle.changed(slot, at_ns)

    def tell_dependents(self, slot: int, at_ns: int) -> None:
        """The job has ended, which may concern others: those that can never start because of it end with it, and those that depend on
        them.
        """
        if not self._scheduler.room.concerns_others(slot):
            return
        ended = deque((slot,))
        while ended:
            for unmet in self._scheduler.note_end(ended.popleft()):
                self._scheduler.cancel_pending(unmet)
                self._chronicle.reasons[unmet] = NEVER_SATISFIED
                self._note(unmet, at_ns, State.CANCELLED)
                ended.append(unmet)

    def let_retire(self) -> None:
        """The jobs that ended longest ago leave, where they are too many. Between two cycles: nothing has a slot in its hands then."""
        slots = self._slots
        while self.retire is not None and len(slots) >= self.kept + self.at_once:
            leaving = [slots.popleft() for _ in range(self.at_once)]
            self.retire(leaving)
            for slot in leaving:
                self._chronicle.reasons.pop(slot, None)
            self._table.drop(leaving)
            self.retired += len(leaving)
