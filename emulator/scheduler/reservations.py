"""Reservations for all who wait, as in conservative backfilling (Mu'alem and Feitelson, IEEE TPDS 2001, section 2).

A *reservation* is a start and a place. A job gets the earliest start at which it finds room for as long as it is expected to run, among the
GPUs that nobody holds or has reserved for any of that time; there the placement puts it. So nobody who has a reservation is in another's
way, whatever hosts and levels the jobs need. It starts at that time on that place. Slurm's backfill scheduler plans hosts over time in the
same way.

Reservations are kept from cycle to cycle, and never move to a later time while jobs end by their expected ends:

- Where something comes free that was not expected (a job ends early, is cancelled or stopped, a host comes back), the schedule is
  *compressed*: in queue order each job gives up its reservation for the earliest one, which is its own at worst; again until nobody moves.
- A reservation is *broken* when its GPUs are not free in time: a job runs for longer than expected (it is then expected to end by the next
  cycle) or a host is lost. All jobs from the first such one on, in queue order, get new reservations; jobs before it keep theirs.
- The same holds for a job that comes before others in the queue when it arrives, by its priority or since it was stopped.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.partition import Partition
from emulator.scheduler.pending import HeadQueue
from emulator.scheduler.placement import Ask
from emulator.scheduler.preemption import make_room
from emulator.scheduler.profile import Profile
from emulator.scheduler.table import NEVER


@dataclass(frozen=True, slots=True)
class Reservation:
    slot: int
    start_ns: int
    rows: list[Row]


@dataclass
class Reservations:
    """Of the jobs of one partition, by job id; and of those that run, when the profile has them end."""

    profile: Profile
    made: dict[int, Reservation] = field(default_factory=dict)
    running: dict[int, tuple[int, int]] = field(default_factory=dict)  # job id -> slot, expected end
    came_free: bool = False  # something did that was not expected

    # -- what happened since the last cycle -----------------------------------------------------------------------------------------

    def follow(self, draft: Draft, partition: Partition) -> set[int]:
        """Bring the profile to this cycle. Returns the ids of the jobs whose reservations are broken."""
        table, now_ns, profile = draft.table, draft.now_ns, self.profile
        profile.advance(now_ns)
        lost = profile.look_at_hosts()
        self.came_free |= lost is not None
        overdue = []
        for job_id, (slot, end_ns) in list(self.running.items()):
            if slot not in partition.running or table.job_id[slot] != job_id:
                self.came_free |= end_ns > now_ns
                profile.drop(job_id)
                del self.running[job_id]
            elif (expected_ns := _expected_end(draft, slot)) != end_ns:
                self._hold_running(draft, slot)
                overdue.append(job_id)
                self.came_free |= expected_ns < end_ns
        for slot in partition.running if len(partition.running) > len(self.running) else ():
            if table.job_id[slot] not in self.running:
                self._hold_running(draft, slot)
        for job_id, made in list(self.made.items()):
            if table.job_id[made.slot] != job_id or made.slot not in partition.pending:
                self.cancel(job_id)
        suspects: set[int] = set()
        if overdue:
            suspects.update(profile.owners_on(profile.hosts_of(overdue), max(self.running[job_id][1] for job_id in overdue)))
        if lost is not None:
            suspects.update(profile.owners_on(lost, NEVER))
        return {job_id for job_id in suspects if job_id in self.made and profile.clashes(job_id)}

    def _hold_running(self, draft: Draft, slot: int) -> None:
        table = draft.table
        job_id, end_ns = table.job_id[slot], _expected_end(draft, slot)
        if job_id in self.running or job_id in self.made:
            self.profile.drop(job_id)
        self.made.pop(job_id, None)
        self.profile.hold(job_id, table.rows[slot], table.milli_gpus[slot], table.start_ns[slot], end_ns)
        self.running[job_id] = slot, end_ns

    # -- making them ----------------------------------------------------------------------------------------------------------------

    def cancel(self, job_id: int) -> None:
        """The job gives up its reservation."""
        del self.made[job_id]
        self.profile.drop(job_id)
        self.came_free = True

    def make(self, draft: Draft, slot: int, before_ns: int = NEVER) -> bool:
        """Give a job that has none the earliest reservation before ``before_ns``. False where there is none."""
        table = draft.table
        levels = table.require_level[slot], table.prefer_level[slot]
        ask = Ask(table.gpus[slot], table.milli_gpus[slot], *levels, table.job_id[slot])
        duration_ns = _in_cycles(table.expected_ns[slot], draft.cycle_ns)
        found = self.profile.earliest(ask, duration_ns, draft.placement, draft.now_ns, before_ns)
        if found is None:
            return False
        self._keep(draft, Reservation(slot, *found))
        return True

    def _keep(self, draft: Draft, made: Reservation) -> None:
        table = draft.table
        job_id, duration_ns = table.job_id[made.slot], _in_cycles(table.expected_ns[made.slot], draft.cycle_ns)
        self.made[job_id] = made
        self.profile.hold(job_id, made.rows, table.milli_gpus[made.slot], made.start_ns, made.start_ns + duration_ns)

    def compress(self, draft: Draft, slots: Iterable[int]) -> None:
        """Those of ``slots`` that have a reservation, in this order, get an earlier one where there is one; until nobody moves."""
        table, profile = draft.table, self.profile
        ids = [table.job_id[slot] for slot in slots]
        moved = True
        while moved:
            moved = False
            for job_id in ids:
                made = self.made.get(job_id)
                if made is None or made.start_ns <= draft.now_ns:
                    continue
                profile.drop(job_id)
                if self.make(draft, made.slot, made.start_ns):
                    moved = True
                else:
                    self._keep(draft, made)
        self.came_free = False

    def start(self, draft: Draft, partition: Partition, slot: int, rows: list[Row]) -> None:
        """The job starts there."""
        draft.start(partition, slot, rows)
        self._hold_running(draft, slot)


def reserve(draft: Draft, partition: Partition, depth: int = 0) -> None:
    """Start the jobs of the partition whose reservations are due, once all who wait have one: the first ``depth``; 0 for all."""
    pending, table, now_ns = partition.pending, draft.table, draft.now_ns
    assert not isinstance(pending, HeadQueue), "reservations are for all who wait"
    key = ("reservations", partition.name)
    known: Reservations | None = draft.memory.get(key)
    if known is None:
        number = next(number for number, other in enumerate(draft.ledger.partitions) if other is partition)
        known = draft.memory[key] = Reservations(Profile(draft.ledger.cluster, number, partition.free))
    broken = known.follow(draft, partition)
    if _make_room(draft, partition, known):
        return
    order = list(pending.in_order())
    arrived = {slot for slot in partition.arrived if slot in pending and table.job_id[slot] not in known.made}
    first = next((place for place, slot in enumerate(order) if slot in arrived or table.job_id[slot] in broken), len(order))
    for slot in order[first:]:
        if table.job_id[slot] in known.made:
            known.cancel(table.job_id[slot])
    tried_again = known.came_free
    if known.came_free:
        known.compress(draft, order[:first])
    for slot in order if tried_again else order[first:]:
        if table.job_id[slot] in known.made:
            continue
        if depth and len(known.made) >= depth:
            break
        if draft.may_start(partition, slot):
            known.make(draft, slot)
        else:
            draft.hold(partition, slot)
    for slot in order:
        made = known.made.get(table.job_id[slot])
        if made is not None and made.start_ns <= now_ns:
            if draft.may_start(partition, slot):
                known.start(draft, partition, slot, made.rows)
            else:
                known.cancel(table.job_id[slot])
                draft.hold(partition, slot)
    if known.made:
        draft.reconsider(partition, min(made.start_ns for made in known.made.values()))


def _make_room(draft: Draft, partition: Partition, known: Reservations) -> bool:
    """Preempt jobs for the head, where it does not fit now. True where any were: all reservations are made again in the next cycle."""
    pending = partition.pending
    while draft.preemption is not None and (head := pending.head()) >= 0 and (not draft.preempted or draft.has_turn(partition, head)):
        if not draft.may_start(partition, head):
            draft.hold(partition, head)
            continue
        if draft.choose_again(partition, head) is not None:
            break
        rows = make_room(draft, partition, head)
        if rows is None:
            break
        known.start(draft, partition, head, rows)
    if not draft.preempted or not draft.has_preempted(partition):
        return False
    for job_id in list(known.made):
        known.cancel(job_id)
    return True


def _expected_end(draft: Draft, slot: int) -> int:
    """The cycle by which a running job is expected to have ended: the next one where that has passed."""
    end_ns = draft.table.start_ns[slot] + _in_cycles(draft.table.expected_ns[slot], draft.cycle_ns)
    return end_ns if end_ns > draft.now_ns else draft.now_ns + draft.cycle_ns


def _in_cycles(duration_ns: int, cycle_ns: int) -> int:
    """``duration_ns``, in whole cycles."""
    return max(1, -(-duration_ns // cycle_ns)) * cycle_ns
