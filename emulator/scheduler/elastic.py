"""When jobs of several sizes have which: the scenario's ``scheduler.elastic``, and how running jobs grow.

How they shrink for others is in ``emulator.scheduler.preemption``; the size that a job starts with is the draft's (``Draft.choose``).
"""

from collections.abc import Collection
from enum import StrEnum

from emulator.scheduler.draft import Draft, Elasticity
from emulator.scheduler.partition import Partition
from emulator.scheduler.table import JobTable, State


class Elastic(StrEnum):
    """Whether a job of several sizes may have another than its largest."""

    NEVER = "never"  # all jobs are of one size
    START = "start"  # the size is chosen when the job starts, and stays
    ALWAYS = "always"  # it changes while the job runs


def grow(draft: Draft, settings: Elasticity, among: Collection[int] | None = None) -> None:
    """Have running jobs go on with more GPUs where some are free and nobody waits for them; the ones that started first grow first.

    A job that started, or was given another size, less than ``interval_ns`` ago is left alone. ``among``: only the jobs in these slots.
    """
    for partition in draft.ledger.partitions if draft.table.sizes and settings.grows else ():
        if partition.free.free_gpus and not partition.waiting_jobs:
            _grow_in(draft, partition, settings, partition.running if among is None else among)


class Regrowth:
    """Jobs that a fault has shrunk. They grow again, also where sizes do not change otherwise while jobs run."""

    def __init__(self, table: JobTable, settings: Elasticity) -> None:
        self._table, self._settings = table, settings
        self._shrunk: dict[int, int] = {}  # slot -> id of the job

    def __bool__(self) -> bool:
        """Whether there may be any."""
        return bool(self._shrunk)

    def note(self, slot: int) -> None:
        """The running job has fewer GPUs since a fault."""
        self._shrunk[slot] = self._table.job_id[slot]

    def run(self, draft: Draft) -> None:
        """Have those grow that can."""
        self._shrunk = {slot: job_id for slot, job_id in self._shrunk.items() if self._is_small(slot, job_id)}
        grow(draft, self._settings, self._shrunk)

    def _is_small(self, slot: int, job_id: int) -> bool:
        table = self._table
        return table.job_id[slot] == job_id and table.state[slot] == State.RUNNING and table.size_gpus[slot] < table.gpus[slot]


def _grow_in(draft: Draft, partition: Partition, settings: Elasticity, among: Collection[int]) -> None:
    table = draft.table
    small = [slot for slot in among if slot in table.sizes and slot in partition.running and table.size_gpus[slot] < table.gpus[slot]]
    for slot in sorted(small, key=lambda slot: (table.start_ns[slot], table.job_id[slot])):
        ripe_ns = table.start_ns[slot] + settings.interval_ns
        if ripe_ns > draft.now_ns or table.start_ns[slot] == draft.now_ns:
            draft.reconsider_at_ns = min(draft.reconsider_at_ns, max(ripe_ns, draft.now_ns + 1))
        elif settings.stuck.get(slot) != partition.freed and not _grow(draft, partition, slot):
            settings.stuck[slot] = partition.freed


def _grow(draft: Draft, partition: Partition, slot: int) -> bool:
    """Have the job take the largest of its sizes that fits; False, and nothing done, where that is not more than it has."""
    table, mark = draft.table, draft.mark()
    before = table.size_gpus[slot]
    draft.lift(slot)
    rows = draft.choose(partition, slot)
    if rows is not None:
        draft.set_down(slot, rows)
    if rows is None or table.size_gpus[slot] <= before:
        draft.undo(mark)
        return False
    draft.causes[slot] = f"grew from {before} GPUs, which were free"
    return True
