"""Jobs that are asked to stop and have a time of grace for it: they save what they did, and give back their GPUs (Slurm's GraceTime).

Those that make room for one job hold their GPUs until the last of them has saved, or the time is over: so nobody else gets in between. What
a job cannot save in time is lost.
"""

from collections.abc import Sequence
from typing import NamedTuple

from emulator.engine.runs import Runs
from emulator.scheduler.table import JobTable


class Stop(NamedTuple):
    """How a job that drains stops in the end."""

    loses: bool  # what it did after its last checkpoint
    kill: bool  # it has failed then; otherwise it waits again
    until_ns: int = 0


class Draining:
    """``grace_ns``: how long a job may take to stop."""

    def __init__(self, table: JobTable, runs: Runs, grace_ns: int) -> None:
        self._table, self._runs, self._grace_ns = table, runs, grace_ns
        self._stops: dict[int, Stop] = {}  # by slot

    def ask(self, slots: Sequence[int], at_ns: int, *, kill: bool = False) -> bool:
        """Ask these jobs to stop together. False, and nothing done, where none of them would take any time for it."""
        takes_ns = {slot: self._table.lives.drain_ns(slot) for slot in slots}
        longest_ns = min(self._grace_ns, max(takes_ns.values(), default=0))
        if not longest_ns:
            return False
        for slot, time_ns in takes_ns.items():
            self._stops[slot] = Stop(not time_ns or time_ns > self._grace_ns, kill, at_ns + longest_ns)
            self._runs.drain(slot, at_ns, at_ns + longest_ns)
        return True

    def until_ns(self, slot: int) -> int:
        """When the job, which drains, is to give back its GPUs."""
        return self._stops[slot].until_ns

    def take(self, slot: int) -> Stop:
        """The job's time is over."""
        return self._stops.pop(slot)
