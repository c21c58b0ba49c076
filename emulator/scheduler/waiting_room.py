"""Jobs on hold: pending jobs that are in no queue, so that they are in no policy's way.

A job is on hold while somebody holds it, until a time has come (its back-off after an interruption, or its data), until the jobs that it
depends on have ended, until it is dispatched to a site, or until its array has a place for it; for one of these or for several. When
nothing keeps it any longer, it is in its queues in the place that its submission gives it. ``table.on_hold`` has the slots of all of them.
"""

from heapq import heappop, heappush

from emulator.scheduler.reasons import Why
from emulator.scheduler.table import NEVER, JobTable, State
from emulator.workload.jobs import SECOND

#: Ids that a sentence lists.
_IDS_NAMED = 10
_BACKS_OFF = "backs off after an interruption"
_ENDED = frozenset({State.FINISHED, State.FAILED, State.CANCELLED, State.INFEASIBLE, State.REJECTED})


class WaitingRoom:
    """What keeps jobs from their queues. Who is let into them is the scheduler's to do."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._held: set[int] = set()  # slots that somebody holds
        self._until_ns: dict[int, int] = {}  # slot -> when its time has come
        self._coming: dict[int, str] = {}  # slot -> what comes at that time; of others it is the end of a back-off
        self._undispatched: set[int] = set()  # slots in the global queue
        self._times: list[tuple[int, int, int]] = []  # (when, job id, slot); one that is not in _until_ns has been passed by
        self._awaited: dict[int, dict[int, bool]] = {}  # slot -> ids of jobs that have not ended -> whether any end will do
        self._waiters: dict[int, dict[int, None]] = {}  # job id -> slots that wait for its end, in the order in which they came

    def keeps(self, slot: int) -> bool:
        """Whether something keeps the job from its queues. Where nothing does, a job of an array has a place in it from now on."""
        if slot in self._undispatched or self.keeps_from_dispatch(slot):
            return True
        array = self._table.array_of.get(slot)
        return array is not None and not array.take(slot, self._table.job_id[slot])

    def keeps_from_dispatch(self, slot: int) -> bool:
        """Whether something does that is no matter of where it is to run."""
        return slot in self._held or slot in self._until_ns or slot in self._awaited

    def drop(self, slot: int) -> None:
        """The job will never start."""
        self._undispatched.discard(slot)
        self._coming.pop(slot, None)
        self._held.discard(slot)
        self._until_ns.pop(slot, None)
        for job_id in self._awaited.pop(slot, ()):
            self._forget(job_id, slot)

    # -- somebody, and time ---------------------------------------------------------------------------------------------------------

    def is_held(self, slot: int) -> bool:
        """Whether somebody holds the job."""
        return slot in self._held

    def hold(self, slot: int) -> None:
        self._held.add(slot)

    def release(self, slot: int) -> None:
        self._held.discard(slot)

    def await_dispatch(self, slot: int) -> None:
        """The job stays until it is dispatched to a site."""
        self._undispatched.add(slot)

    def note_dispatch(self, slot: int) -> None:
        self._undispatched.discard(slot)

    def awaits_dispatch(self, slot: int) -> bool:
        """Whether the job is in the global queue."""
        return slot in self._undispatched

    def wait_until(self, slot: int, until_ns: int, coming: str = "") -> None:
        """The job stays until this time, after an interruption, or since something is ``coming`` then."""
        self._until_ns[slot] = until_ns
        if coming:
            self._coming[slot] = coming
        heappush(self._times, (until_ns, self._table.job_id[slot], slot))

    def next_ns(self) -> int:
        """When the time of a job comes next; NEVER where none waits for a time."""
        times = self._times
        while times and self._until_ns.get(times[0][2]) != times[0][0]:
            heappop(times)
        return times[0][0] if times else NEVER

    def take_due(self, now_ns: int) -> list[int]:
        """The jobs whose time has come, in the order of their times; they wait for it no longer."""
        due = []
        while self.next_ns() <= now_ns:
            slot = heappop(self._times)[2]
            del self._until_ns[slot]
            self._coming.pop(slot, None)
            due.append(slot)
        return due

    # -- other jobs -----------------------------------------------------------------------------------------------------------------

    def await_others(self, slot: int) -> bool:
        """The job that arrives waits for those that it depends on. False where one of them has ended so that it can never start."""
        awaited: dict[int, bool] = {}
        for job_id, any_end in self._table.after.get(slot, ()):
            other = self._table.slot_of.get(job_id)
            state = None if other is None else self._table.state[other]
            if state is not None and state not in _ENDED:
                awaited[job_id] = any_end and awaited.get(job_id, True)
            elif not any_end and (job_id in self._table.left_unfinished if state is None else state != State.FINISHED):
                return False
        if awaited:
            self._awaited[slot] = awaited
            for job_id in awaited:
                self._waiters.setdefault(job_id, {})[slot] = None
        return True

    def concerns_others(self, slot: int) -> bool:
        """Whether somebody may wait for the end of the job."""
        return slot in self._table.array_of or self._table.job_id[slot] in self._waiters

    def note_end(self, slot: int) -> tuple[list[int], list[int]]:
        """The job has ended. Returns the jobs that waited for it and for no other, and those that can never start."""
        job_id, finished = self._table.job_id[slot], self._table.state[slot] == State.FINISHED
        ready, unmet = [], []
        for waiter in self._waiters.pop(job_id, ()):
            awaited = self._awaited[waiter]
            if awaited.pop(job_id) or finished:
                if not awaited:
                    del self._awaited[waiter]
                    ready.append(waiter)
            else:
                unmet.append(waiter)
        return ready, unmet

    def _forget(self, job_id: int, slot: int) -> None:
        waiters = self._waiters.get(job_id)
        if waiters is not None:
            waiters.pop(slot, None)
            if not waiters:
                del self._waiters[job_id]

    def give_place(self, slot: int) -> int:
        """The job needs no place in its array. Returns the job of the array that has one now in its stead; -1 where there is none."""
        array = self._table.array_of.get(slot)
        if array is None or not array.give(slot):
            return -1
        while array.waiting:
            job_id, other = heappop(array.waiting)
            if self._table.slot_of.get(job_id) == other and other in self._table.on_hold and not self.keeps(other):
                return other
        return -1

    # -- reading --------------------------------------------------------------------------------------------------------------------

    def kind(self, slot: int) -> str:
        """The kind of the first thing that keeps the job, as in ``why``."""
        if slot in self._held:
            return "hold"
        if slot in self._awaited:
            return "dependency"
        if slot in self._until_ns:
            return "data" if slot in self._coming else "hold"
        return "dispatch" if slot in self._undispatched else "dependency"

    def why(self, slot: int) -> Why:
        """What keeps the job, which is on hold, and what would let it go to its queue."""
        whys, remedies, numbers = [], [], dict[str, float]()
        if slot in self._held:
            whys.append(("hold", "on hold"))
            remedies.append(f"once it is released: gigawatt job release {self._table.job_id[slot]}")
        if (awaited := self._awaited.get(slot)) is not None:
            whys.append(("dependency", f"waits for the end of {_named(list(awaited))}"))
            unless = [job_id for job_id, any_end in awaited.items() if not any_end]
            remedies.append(
                f"when {_named(unless)} {'has' if len(unless) == 1 else 'have'} finished"
                if len(unless) == len(awaited)
                else f"when {'it has' if len(awaited) == 1 else 'they have'} ended" + (f", {_named(unless)} as finished" if unless else "")
            )
            numbers["jobs_awaited"] = len(awaited)
        if (until_ns := self._until_ns.get(slot)) is not None:
            seconds = until_ns / SECOND
            coming = self._coming.get(slot, "")
            whys.append(("data", f"{coming}, until {seconds:,.15g} s") if coming else ("hold", f"{_BACKS_OFF}, until {seconds:,.15g} s"))
            remedies.append(f"at {seconds:,.15g} s")
            numbers |= {"until_seconds": seconds} | ({} if coming else {"restarts": self._table.restarts[slot]})
        if slot in self._undispatched:
            whys.append(("dispatch", "waits to be dispatched to a site"))
            remedies.append("when it has been dispatched")
        if not whys:
            most = self._table.array_of[slot].parallel
            whys.append(("dependency", f"at most {most} of its array run at a time"))
            remedies.append("when another of its array has ended")
            numbers["array_parallel"] = most
        return Why("; ".join(text for _, text in whys), numbers, whys[0][0], "may start " + ", and ".join(remedies))


def _named(ids: list[int]) -> str:
    if len(ids) == 1:
        return f"job {ids[0]}"
    more = f" and {len(ids) - _IDS_NAMED:,} more" if len(ids) > _IDS_NAMED else ""
    return f"jobs {', '.join(map(str, ids[:_IDS_NAMED]))}{more}"
