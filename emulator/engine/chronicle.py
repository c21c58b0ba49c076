"""What has happened so far: how often, why jobs are where they are, and who is told of it."""

from collections.abc import Callable

from emulator.engine.waits import Waits
from emulator.scheduler.table import State


class Chronicle:
    """``on_change(slot, at_ns)`` is called for each job whose state changed, with the instant at which it did."""

    def __init__(self, on_change: Callable[[int, int], None] | None) -> None:
        self.on_change = on_change
        #: Called with a job that was preempted or interrupted, and the instant at which it is in its queue again.
        self.on_requeue: Callable[[int, int], None] | None = None
        self.reasons: dict[int, str] = {}  # slot -> how it ended, where the state alone does not say it, or why it was stopped last
        self.waits = Waits()
        self.ended = dict.fromkeys((State.FINISHED, State.FAILED, State.CANCELLED, State.INFEASIBLE, State.REJECTED), 0)
        self.events = 0
        self.submitted = 0
        self.started = 0
        self.preemptions = 0
        self.migrations = 0
        self.resizes = 0
        self.restarts = 0
        self.commands_failed = 0

    def changed(self, slot: int, at_ns: int) -> None:
        """The job's state has changed."""
        if self.on_change is not None:
            self.on_change(slot, at_ns)
