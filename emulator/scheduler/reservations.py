"""Reservations for all who wait, as in conservative backfilling (Mu'alem and Feitelson, IEEE TPDS 2001, section 2).

A *reservation* is a start and a place. A job gets the earliest start at which it finds room for as long as it is expected to run, among the
GPUs that nobody holds or has reserved for any of that time; there the placement puts it. So nobody who has a reservation is in another's
way, whatever hosts and levels the jobs need. It starts at that time on that place. Slurm's backfill scheduler plans hosts over time in the
same way.

Reservations are kept from cycle to cycle, and never move to a later time while jobs end by their expected ends:

- Where something comes free that was not expected (a job ends early, is cancelled or stopped, a host comes back), the schedule is
  *compressed*: in queue order each job gives up its reservation for the earliest one, which is its own at worst; again until nobody moves.
- A reservation is *broken* when its GPUs are not free in time: a job runs for longer than expected (it is then expected to end by the
  next cycle) or a host is lost. All jobs from the first such one on, in queue order, get new reservations; jobs before it keep theirs, or
  move to an earlier time.
- The same holds for a job that comes before others in the queue when it arrives, by its priority or since it was stopped; and for one whose
  priority has changed.

Hosts that are reserved at times (``emulator.scheduler.calendar``) are held then by their windows, so nobody is put over one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.calendar import MOST_TIMES, Window
from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.partition import Partition
from emulator.scheduler.pending import HeadQueue
from emulator.scheduler.placement import Ask
from emulator.scheduler.preemption import make_room
from emulator.scheduler.profile import Gap, Profile, UInt64
from emulator.scheduler.sizes import largest
from emulator.scheduler.table import NEVER, JobTable

#: What decides whether a job fits, but for how long it takes: ``JobTable.asks``.
Kind = tuple[int, ...]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reservation:
    """``duration_ns`` is in whole cycles."""

    slot: int
    start_ns: int
    duration_ns: int
    rows: list[Row]
    priority: int  # with which it was made


@dataclass(slots=True)
class Refusal:
    """A job that takes ``duration_ns`` or more finds no room before ``until_ns``, but perhaps from ``since_ns`` to ``last_ns``."""

    duration_ns: int
    until_ns: int
    since_ns: int = NEVER
    last_ns: int = -1

    def open_up(self, gap: Gap, in_part: int) -> None:
        """Something came free. As ``Gap.starts``, of which numpy's way for one number takes ten times as long."""
        first_ns = max(gap.since_ns[in_part], gap.start_ns - self.duration_ns)
        final_ns = min(gap.until_ns[in_part] - self.duration_ns, gap.end_ns - 1)
        if first_ns <= final_ns and first_ns < self.until_ns:
            self.since_ns, self.last_ns = min(self.since_ns, first_ns), max(self.last_ns, final_ns)

    def implies(self, other: "Refusal") -> bool:
        """Whether ``other`` says nothing more."""
        closed = self.since_ns > min(self.last_ns, self.until_ns)
        return self.duration_ns == other.duration_ns or (
            closed and self.duration_ns < other.duration_ns and self.until_ns >= other.until_ns
        )


@dataclass
class Reservations:
    """Of the jobs of one partition, by job id; and of those that run, when the profile has them end.

    What was found is not looked for again. Where nothing came free nobody finds an earlier start than before; and where something did, only
    a job that runs within the time for which it is free does (``gaps``).
    """

    profile: Profile
    made: dict[int, Reservation] = field(default_factory=dict)
    #: Job id -> slot, expected end, and that not in whole cycles, and start.
    running: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)  # where something came free that was not expected to
    refused: dict[Kind, list[Refusal]] = field(default_factory=dict)
    windows: dict[Window, list[Row]] = field(default_factory=dict)  # of reserved hosts, and these, that the profile has

    # -- what happened since the last cycle -----------------------------------------------------------------------------------------

    def follow(self, draft: Draft, partition: Partition) -> set[int]:
        """Bring the profile to this cycle. Returns the ids of the jobs whose reservations are broken."""
        table, now_ns, profile = draft.table, draft.now_ns, self.profile
        profile.now_ns = now_ns
        lost = self._look_at_hosts(draft, partition)
        if lost is not None:
            self.gaps.append(_whole(now_ns))
        overdue = self._follow_running(draft, partition)
        pending, priority = partition.pending, table.priority
        for job_id in [
            job_id
            for job_id, made in self.made.items()
            if made.slot not in pending or table.job_id[made.slot] != job_id or priority[made.slot] != made.priority
        ]:
            self.cancel(job_id)
        suspects: set[int] = set()
        if overdue:
            suspects.update(profile.owners_on(profile.hosts_of(overdue), max(self.running[job_id][1] for job_id in overdue)))
        if lost is not None:
            suspects.update(profile.owners_on(lost, NEVER))
        return {job_id for job_id in suspects if job_id in self.made and profile.clashes(job_id)}

    def _follow_running(self, draft: Draft, partition: Partition) -> list[int]:
        """Bring what runs up to date. Returns the ids of the jobs that hold GPUs which the profile had expected to be free."""
        table, now_ns, profile = draft.table, draft.now_ns, self.profile
        overdue: list[int] = []
        dropped: set[int] = set()
        for job_id in self._not_as_before(table, partition.running, now_ns):
            slot, end_ns, _, start_ns = self.running[job_id]
            if slot not in partition.running or table.job_id[slot] != job_id or table.start_ns[slot] != start_ns:
                rows = profile.drop(job_id)
                del self.running[job_id]
                dropped.add(job_id)
                if end_ns > now_ns:
                    self.gaps.append(profile.gap(rows, now_ns, end_ns))
            elif _expected_end(draft, slot) != end_ns:
                self._hold_running(draft, slot)
                overdue.append(job_id)
        for slot in partition.running if len(partition.running) > len(self.running) else ():
            if (job_id := table.job_id[slot]) not in self.running:
                self._hold_running(draft, slot)
                if job_id in dropped or partition.views is not None:  # it went on elsewhere, or started in a reservation of hosts
                    overdue.append(job_id)
        return overdue

    def _not_as_before(self, table: JobTable, running: set[int], now_ns: int) -> list[int]:
        """The jobs that no longer run, or not where they did, or are not expected to end when they were."""
        job_id, starts_ns, expected_ns = table.job_id, table.start_ns, table.expected_ns
        return [
            known_id
            for known_id, (slot, end_ns, until_ns, start_ns) in self.running.items()
            if end_ns <= now_ns
            or slot not in running
            or job_id[slot] != known_id
            or starts_ns[slot] != start_ns
            or start_ns + expected_ns[slot] != until_ns
        ]

    def _hold_running(self, draft: Draft, slot: int) -> None:
        table = draft.table
        job_id, end_ns = table.job_id[slot], _expected_end(draft, slot)
        if job_id in self.running or self.made.pop(job_id, None) is not None:
            self.profile.drop(job_id)
        start_ns = table.start_ns[slot]
        self.profile.hold(job_id, [] if self.windows else table.rows[slot], table.milli_gpus[slot], start_ns, end_ns)
        for row, begin_ns, until_ns in _beside(self.windows, table.rows[slot], start_ns, end_ns) if self.windows else ():
            self.profile.hold(job_id, [row], table.milli_gpus[slot], begin_ns, until_ns)
        self.running[job_id] = slot, end_ns, start_ns + table.expected_ns[slot], start_ns

    def _look_at_hosts(self, draft: Draft, partition: Partition) -> UInt64 | None:
        """Which hosts, by block, are not as free as they were: no longer offered, or reserved at a time; None where there was no change."""
        profile, views = self.profile, partition.views
        if views is None:
            return profile.look_at_hosts(partition.free)
        new: list[int] = []
        if self.windows != (held := views.windows()):
            new = self._hold_windows(draft, partition, held)
        lost = profile.look_at_hosts(views.all_open())
        if not new:
            return lost
        return profile.hosts_of(new) if lost is None else lost | profile.hosts_of(new)

    def _hold_windows(self, draft: Draft, partition: Partition, held: dict[Window, list[Row]]) -> list[int]:
        """Have the profile hold the hosts of these windows. Windows that are over are no longer among them. Returns new owners."""
        profile, before = self.profile, self.windows
        for window in before:
            if window not in held:
                profile.drop(_owner(window))
                if window.end_ns > draft.now_ns:
                    self.gaps.append(_whole(draft.now_ns))
        new = [window for window in held if window not in before]
        self.windows = held
        for window in new:
            profile.hold(_owner(window), held[window], 1000, window.begin_ns, window.end_ns)
        for job_id, (slot, *_) in list(self.running.items()) if new else ():
            if slot in partition.running and draft.table.job_id[slot] == job_id:
                self._hold_running(draft, slot)
        return [_owner(window) for window in new]

    # -- making them ----------------------------------------------------------------------------------------------------------------

    def cancel(self, job_id: int) -> None:
        """The job gives up its reservation."""
        made = self.made.pop(job_id)
        self.profile.drop(job_id)
        self.gaps.append(self.profile.gap(made.rows, made.start_ns, made.start_ns + made.duration_ns))

    def cancel_all(self, draft: Draft, ids: Sequence[int]) -> None:
        """They all do. Where they are many, what they leave is not looked at one by one."""
        if len(ids) <= 16:
            for job_id in ids:
                self.cancel(job_id)
            return
        for job_id in ids:
            self.profile.drop(job_id)
            del self.made[job_id]
        self.gaps = [_whole(draft.now_ns)]
        self.refused.clear()

    def make(self, draft: Draft, slot: int) -> None:
        """Give a job that has none the earliest reservation, where there is one. Nothing has come free since ``compress``."""
        made = self._earliest(draft, slot, _in_cycles(draft.table.expected_on(slot, self.profile.number), draft.cycle_ns), NEVER)
        if made is not None:
            self._keep(draft, made)

    def _earliest(self, draft: Draft, slot: int, duration_ns: int, before_ns: int) -> Reservation | None:
        """The earliest reservation that starts before ``before_ns``."""
        table = draft.table
        refusals = self.refused.setdefault(table.asks[slot], [])
        known = max((one for one in refusals if one.duration_ns <= duration_ns), key=lambda one: one.until_ns, default=Refusal(0, 0))
        made = self._find(draft, slot, duration_ns, known.since_ns, min(known.last_ns + 1, known.until_ns, before_ns))
        made = made or self._find(draft, slot, duration_ns, known.until_ns, before_ns)
        if made is not None:
            new = Refusal(duration_ns, made.start_ns)
        else:
            new = Refusal(duration_ns, max(known.until_ns, before_ns), max(known.since_ns, before_ns), known.last_ns)
        refusals[:] = [one for one in refusals if not new.implies(one)]
        refusals.append(new)
        return made

    def _find(self, draft: Draft, slot: int, duration_ns: int, from_ns: int, before_ns: int, *, again: bool = False) -> Reservation | None:
        if from_ns >= before_ns:
            return None
        ask = Ask(*draft.table.asks[slot], draft.table.job_id[slot])
        found = self.profile.earliest(ask, duration_ns, draft.placement, max(from_ns, draft.now_ns), before_ns, again=again)
        return None if found is None else Reservation(slot, found[0], duration_ns, found[1], draft.table.priority[slot])

    def _keep(self, draft: Draft, made: Reservation) -> None:
        job_id = draft.table.job_id[made.slot]
        self.made[job_id] = made
        end_ns = made.start_ns + made.duration_ns
        self.profile.hold(job_id, made.rows, draft.table.milli_gpus[made.slot], made.start_ns, end_ns)

    def _in_part(self, gpus: int, milli_gpus: int) -> int:
        """0 for a job that takes whole hosts alone, 1 for others."""
        return int(milli_gpus < 1000 or gpus % self.profile.gpus_per_host > 0)

    def compress(self, draft: Draft, slots: Sequence[int]) -> None:
        """Those of ``slots`` that have a reservation, in this order, get an earlier one where there is one; until nobody moves."""
        table = draft.table
        ids = [job_id for slot in slots if (job_id := table.job_id[slot]) in self.made]
        start_ns = np.array([self.made[job_id].start_ns for job_id in ids], dtype=np.int64)
        duration_ns = np.array([self.made[job_id].duration_ns for job_id in ids], dtype=np.int64)
        since_ns, last_ns = np.full(len(ids), NEVER), np.full(len(ids), -1)  # when each may start thanks to what came free

        in_part = np.array(
            [self._in_part(table.size_gpus[slot], table.milli_gpus[slot]) for slot in (self.made[job_id].slot for job_id in ids)],
            dtype=np.int8,
        )
        place_of = {job_id: place for place, job_id in enumerate(ids)}

        def open_up(gap: Gap) -> None:
            first_ns, final_ns = gap.starts(duration_ns, in_part)
            owners = [place_of[job_id] for job_id in gap.owners if job_id in place_of]
            final_ns[owners] = gap.end_ns - 1
            found = (first_ns <= final_ns) & (start_ns > first_ns)
            since_ns[found] = np.minimum(since_ns, first_ns)[found]
            last_ns[found] = np.maximum(last_ns, final_ns)[found]
            for (gpus, milli_gpus, *_), refusals in self.refused.items():
                part = self._in_part(gpus, milli_gpus)
                for one in refusals:
                    one.open_up(gap, part)

        for gap in self.gaps:
            open_up(gap)
        self.gaps.clear()
        place, moved = 0, True
        while moved:
            moved = False
            while len(ahead := np.flatnonzero(last_ns[place:] >= since_ns[place:])):
                place += int(ahead[0])
                made = self.made[ids[place]]
                earlier = self._move(draft, made, int(since_ns[place]), int(last_ns[place]) + 1)
                since_ns[place], last_ns[place] = NEVER, -1
                if earlier is not None:
                    moved = True
                    start_ns[place] = earlier.start_ns
                    open_up(self.profile.gap(made.rows, made.start_ns, made.start_ns + made.duration_ns))
                place += 1
            place = 0

    def _move(self, draft: Draft, made: Reservation, from_ns: int, before_ns: int) -> Reservation | None:
        """Give up a reservation for an earlier one that starts between these times, where there is one."""
        job_id = draft.table.job_id[made.slot]
        before_ns = min(before_ns, made.start_ns)
        apart_ns = made.start_ns - made.duration_ns + 1  # who starts before it has ended when this reservation begins
        earlier = self._earliest(draft, made.slot, made.duration_ns, min(before_ns, apart_ns)) if from_ns < apart_ns else None
        if earlier is None:
            earlier = self._find(draft, made.slot, made.duration_ns, max(from_ns, apart_ns), before_ns, again=True)
        if earlier is not None:
            self.profile.drop(job_id)
            self._keep(draft, earlier)
        return earlier

    def largest_now(self, draft: Draft, partition: Partition, made: Reservation) -> list[Row]:
        """Where the job, whose reservation is due, may start with the largest of its sizes: one that delays no other reservation."""
        table, slot, accounts = draft.table, made.slot, draft.ledger.accounts
        if slot not in table.sizes:
            return made.rows
        self.profile.drop(table.job_id[slot])

        def place(gpus: int) -> list[Row] | None:
            ask = Ask(*table.asks[slot], table.job_id[slot])._replace(gpus=gpus)
            duration_ns = _in_cycles(table.expected_on(slot, self.profile.number, gpus), draft.cycle_ns)
            found = self.profile.earliest(ask, duration_ns, draft.placement, draft.now_ns, draft.now_ns + 1)
            return None if found is None else found[1]

        room = partition.free.free_gpus if accounts is None else accounts.room(slot, partition.host_type)
        rows = largest(table.sizes[slot].up_to(min(room, partition.free.free_gpus), self.profile.gpus_per_host), place)
        self._keep(draft, made)
        return rows or made.rows

    def start(self, draft: Draft, partition: Partition, slot: int, rows: list[Row]) -> None:
        """The job starts there."""
        draft.start(slot, rows)
        self._hold_running(draft, slot)


def reserve(draft: Draft, partition: Partition, depth: int = 0) -> None:
    """Start the jobs of the partition whose reservations are due, once all who wait have one: the first ``depth``; 0 for all."""
    pending, table = partition.pending, draft.table
    assert not isinstance(pending, HeadQueue), "reservations are for all who wait"
    key = ("reservations", partition.name)
    known: Reservations | None = draft.memory.get(key)
    if new := known is None:
        known = draft.memory[key] = Reservations(Profile(draft.ledger.cluster, partition.host_type, partition.free))
    broken = known.follow(draft, partition)
    if _make_room(draft, partition, known):
        return
    order = list(pending.in_order())
    arrived = [slot for slot in partition.arrived if table.job_id[slot] not in known.made]
    changed = pending.sorted([*arrived, *(known.made[job_id].slot for job_id in broken)])
    first = 0 if new else order.index(changed[0]) if changed else len(order)
    known.cancel_all(draft, [job_id for slot in order[first:] if (job_id := table.job_id[slot]) in known.made])
    if known.gaps:
        known.compress(draft, order[:first])
    if len(known.made) < (min(depth, len(order)) if depth else len(order)):
        _make(draft, partition, known, order, depth)
    _start(draft, partition, known, pending.sorted([made.slot for made in known.made.values() if made.start_ns <= draft.now_ns]))
    if known.made:
        draft.reconsider(partition, min([made.start_ns for made in known.made.values()]))
    if depth and len(known.made) < min(depth, len(pending)):
        draft.reconsider(partition, draft.now_ns + draft.cycle_ns)  # others have their turn


def _make(draft: Draft, partition: Partition, known: Reservations, order: Sequence[int], depth: int) -> None:
    """Give reservations to those who have none."""
    for slot in [slot for slot in order if draft.table.job_id[slot] not in known.made]:
        if depth and len(known.made) >= depth:
            break
        if draft.may_start(partition, slot):
            known.make(draft, slot)
        else:
            draft.wait_for_quota(partition, slot)


def _start(draft: Draft, partition: Partition, known: Reservations, due: Sequence[int]) -> None:
    """Start jobs on their reservations."""
    for slot in due:
        if draft.may_start(partition, slot):
            known.start(draft, partition, slot, known.largest_now(draft, partition, known.made[draft.table.job_id[slot]]))
        else:
            known.cancel(draft.table.job_id[slot])
            draft.wait_for_quota(partition, slot)


def _make_room(draft: Draft, partition: Partition, known: Reservations) -> bool:
    """Stop, move or shrink jobs for the head, where it does not fit now. True where any were: all reservations are made again in the next
    cycle.
    """
    pending = partition.pending
    makes_room = draft.preemption is not None or draft.elasticity is not None
    while makes_room and (head := pending.head()) >= 0 and (not draft.preempted or draft.has_turn(partition, head)):
        if not draft.may_start(partition, head):
            draft.wait_for_quota(partition, head)
            continue
        if draft.choose_again(partition, head) is not None:
            break
        rows = make_room(draft, partition, head)
        if rows is None:
            break
        known.start(draft, partition, head, rows)
    moved = any(draft.ledger.partition_of(other) is partition for other in draft.migrated)
    if not moved and (not draft.preempted or not draft.has_preempted(partition)):
        return False
    if moved:
        draft.reconsider(partition, draft.now_ns + draft.cycle_ns)
    known.cancel_all(draft, list(known.made))
    return True


def _owner(window: Window) -> int:
    """The id of a window in the profile, beside those of jobs: as many as there are windows in all, below 0."""
    return -1 - window.time - MOST_TIMES * window.number


def _beside(windows: Mapping[Window, list[Row]], rows: list[Row], start_ns: int, end_ns: int) -> list[tuple[Row, int, int]]:
    """``rows`` from ``start_ns`` to ``end_ns``, without the hosts that windows hold at the same time: a job that runs on in one."""
    pieces = [(row, start_ns, end_ns) for row in rows]
    for window, kept in windows.items():
        hosts_of = {block: hosts for block, hosts, _ in kept} if window.begin_ns < end_ns and window.end_ns > start_ns else {}
        if hosts_of.keys().isdisjoint(block for block, _, _ in rows):
            continue
        found = []
        for (block, hosts, gpus), begin_ns, until_ns in pieces:
            inside = hosts & hosts_of.get(block, 0)
            if hosts & ~inside:
                found.append(((block, hosts & ~inside, gpus), begin_ns, until_ns))
            if inside and begin_ns < min(until_ns, window.begin_ns):
                found.append(((block, inside, gpus), begin_ns, min(until_ns, window.begin_ns)))
            if inside and max(begin_ns, window.end_ns) < until_ns:
                found.append(((block, inside, gpus), max(begin_ns, window.end_ns), until_ns))
        pieces = found
    return pieces


def _whole(now_ns: int) -> Gap:
    """All that there is, from now on."""
    return Gap(now_ns, NEVER, (now_ns, now_ns), (NEVER, NEVER))


def _expected_end(draft: Draft, slot: int) -> int:
    """The cycle by which a running job is expected to have ended: the next one where that has passed."""
    end_ns = draft.table.start_ns[slot] + _in_cycles(draft.table.expected_ns[slot], draft.cycle_ns)
    return end_ns if end_ns > draft.now_ns else draft.now_ns + draft.cycle_ns


def _in_cycles(duration_ns: int, cycle_ns: int) -> int:
    """``duration_ns``, in whole cycles."""
    return max(1, -(-duration_ns // cycle_ns)) * cycle_ns
