"""The global queue: jobs wait here until they are dispatched to a site, whose own queue they are in from then on (MAST, OSDI'24).

In a round, some cycles apart, every job of the global queue is looked at, by priority, then submission, and every site for every job. A
job goes to the open site with the best score (``emulator.scheduler.sites``); where no site is open it stays. The policy, which decides at
the sites, sees a job once it is dispatched and its data is there. One that has waited for too long at its site is looked at again, and
moves where another site is better by then.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from emulator.scheduler.datasets import NONE, UNKNOWN, Datasets
from emulator.scheduler.ledger import Ledger
from emulator.scheduler.pending import by_submission
from emulator.scheduler.sites import NO_LOAD, Int64, Load, Sites, Standing, best, has_room, room_of, scores, standing_milliwatts
from emulator.scheduler.table import NEVER, JobTable
from emulator.workload.jobs import NO_WISH, Locality


class Choice(NamedTuple):
    """A site on which a job could run, and the numbers of the partitions in which it would wait there, the preferred first."""

    site: int
    partitions: tuple[int, ...]


class Dispatched(NamedTuple):
    """A job that goes to a site; it may start there from ``start_ns`` on."""

    slot: int
    choice: Choice
    start_ns: int
    moved: bool  # from the queue of another site


class SiteLoad(NamedTuple):
    """What is known of the sites' load at one moment."""

    free: Int64  # milli-GPUs, by partition
    waiting: Load  # at a site, or for data on the way there; a job counts in the partition that it prefers
    running: Load  # of whom a job of higher priority may take the place
    milliwatts_left: Int64  # by site; meaningless where it has no cap

    def with_job(self, priority: int, choice: Choice, milli_gpus: int, milliwatts: int, *, starts: bool) -> "SiteLoad":
        """And one more job, that waits or takes what is free."""
        partition, left = choice.partitions[0], self.milliwatts_left.copy()
        left[choice.site] -= milliwatts
        if starts:
            free = self.free.copy()
            free[partition] -= milli_gpus
            return self._replace(free=free, milliwatts_left=left)
        more = priority, partition, milli_gpus
        waiting = Load(*(np.append(column, value) for column, value in zip(self.waiting, more, strict=True)))
        return self._replace(waiting=waiting, milliwatts_left=left)


@dataclass(slots=True)
class Demand:
    """GPUs that jobs hold or wait for, and their sum over time, in milli-GPU nanoseconds; ``high``: of jobs of high priority."""

    milli_gpus: int = 0
    high_milli_gpus: int = 0
    time: int = 0
    high_time: int = 0

    def add(self, milli_gpus: int, *, high: bool) -> None:
        self.milli_gpus += milli_gpus
        self.high_milli_gpus += milli_gpus * high

    def pass_time(self, passed_ns: int) -> None:
        self.time += self.milli_gpus * passed_ns
        self.high_time += self.high_milli_gpus * passed_ns


@dataclass(slots=True)
class SiteCounts:
    """What has become of one site. Its demand is that of the jobs that wait there or run, and its part of those that could go there."""

    demand: Demand = field(default_factory=Demand)
    dispatched: int = 0  # jobs, each time that one was
    moved_away: int = 0


class Dispatcher:
    """The global queue, and who is bound to which site. What binds a job is its partitions in the table."""

    def __init__(self, sites: Sites, table: JobTable, ledger: Ledger, preempt_after_ns: int | None) -> None:
        """``preempt_after_ns`` as in ``draft.Preemption``; None where nothing is preempted, so nobody makes room."""
        self.sites, self._table, self._ledger, self._preempt_after_ns = sites, table, ledger, preempt_after_ns
        self.datasets = Datasets(sites)
        self.counts = [SiteCounts() for _ in sites.names]
        self.undispatched = Demand()  # of the jobs in the global queue
        self.next_round_ns = 0
        self._next_move_ns = NEVER  # nobody is to be looked at again before
        self._queue: list[tuple[int, ...]] = []  # keys by submission, sorted
        self._choices: dict[int, tuple[Choice, ...]] = {}  # slot -> of every job that is here
        self.since_ns: dict[int, int] = {}  # slot -> since when it waits at its site
        self._booked: dict[int, tuple[tuple[int, int], ...]] = {}  # slot -> sites whose demand it is of, and of how many milli-GPUs
        self._booked_ns = 0
        self._seen = -1  # what had come free when the last round was over
        self._stirred = False  # something else has happened since, so a job may be dispatched
        self._standing = standing_milliwatts(ledger.cluster)
        self._capped = any(cap is not None for cap in sites.cap_milliwatts)
        self._caps = np.array([cap or 0 for cap in sites.cap_milliwatts or [None] * len(sites.names)], dtype=np.int64)
        self._milli_gpus = np.array([1000 * partition.gpus for partition in ledger.partitions], dtype=np.int64)

    # -- jobs come and go -----------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._queue)

    def in_order(self) -> Iterable[int]:
        """The slots in the global queue, first to last."""
        return (key[-1] for key in self._queue)

    def number_of(self, name: str) -> int:
        """Of the site so named; -1 where there is none."""
        return self.sites.names.index(name) if name in self.sites.names else -1

    def is_reserved(self, slot: int) -> bool:
        """Whether the job runs on the hosts of a reservation: these are kept for it, so every site that has them is open to it."""
        return slot in self._table.reservation

    def wish(self, slot: int) -> Locality:
        """What the job says of where it wants to run, and of what it reads."""
        return self._table.locality.get(slot, NO_WISH)

    def dataset_of(self, slot: int) -> int:
        """The number of the dataset that the job reads; NONE where it reads none, UNKNOWN where it names one that is not there."""
        table = self._table
        if name := self.wish(slot).dataset:
            return next((number for number, one in enumerate(self.sites.datasets) if one.name == name), UNKNOWN)
        of_queue = self.sites.of_queue.get(table.queues[table.queue[slot]], NONE)
        return self.sites.of_tenant.get(table.tenants[table.tenant[slot]], of_queue)

    def could_run(self, slot: int, choices: Iterable[Choice]) -> tuple[Choice, ...]:
        """Those of ``choices`` that are for the job: at a site that it asks for, that its data can come to and whose cap is enough."""
        wish, dataset = self.wish(slot), self.dataset_of(slot)
        found = [choice for choice in choices if self.datasets.could_be(dataset, choice.site)]
        if wish.site:
            found = [choice for choice in found if self.sites.names[choice.site] == wish.site]
        if self._capped:
            caps = self._caps - self._standing
            found = [
                choice
                for choice in found
                if not self._caps[choice.site] or self._milliwatts(slot, choice.partitions[0]) <= caps[choice.site]
            ]
        return tuple(found)

    def enter(self, slot: int, choices: tuple[Choice, ...]) -> None:
        """The job waits to be dispatched to one of these."""
        self._choices[slot] = choices
        insort(self._queue, by_submission(self._table, slot))
        self._note(slot, self.undispatched, milli_gpus := self._table.gpus[slot] * self._table.milli_gpus[slot])
        self._book(slot, self._parts(choices, milli_gpus))
        self.stir()

    def _leave_queue(self, slot: int) -> None:
        del self._queue[bisect_left(self._queue, by_submission(self._table, slot))]
        self._note(slot, self.undispatched, -self._table.gpus[slot] * self._table.milli_gpus[slot])

    def lift(self, slot: int) -> tuple[tuple[int, int], ...]:
        """Take the job out of the global queue and of all demand, while its priority changes. Returns what ``set_down`` asks for."""
        booked = self._booked.get(slot, ())
        self._book(slot, ())
        if self._is_queued(slot):
            self._leave_queue(slot)
        return booked

    def set_down(self, slot: int, booked: tuple[tuple[int, int], ...]) -> None:
        """Put it back, by the priority that it has."""
        if self._is_queued(slot):
            insort(self._queue, by_submission(self._table, slot))
            self._note(slot, self.undispatched, self._table.gpus[slot] * self._table.milli_gpus[slot])
        self._book(slot, booked)
        self.stir()

    def _is_queued(self, slot: int) -> bool:
        return slot in self._choices and not self._table.partitions[slot]

    def stir(self) -> None:
        """Something has happened that may let a job be dispatched."""
        self._stirred = True

    def wait(self, slot: int) -> None:
        """The job, which is bound to a site, waits there (again)."""
        self._wait_since(slot, self._booked_ns)
        self._bind(slot)

    def _wait_since(self, slot: int, at_ns: int) -> None:
        self.since_ns[slot] = at_ns
        if self.sites.move_after_ns < NEVER:
            self._next_move_ns = min(self._next_move_ns, at_ns + self.sites.move_after_ns)

    def start(self, slot: int) -> None:
        """It waits no longer."""
        self.since_ns.pop(slot, None)

    def leave(self, slot: int, at_ns: int = -1) -> None:
        """The job ends, or is cancelled, or stops to run; ``at_ns`` -1: where the time was last told."""
        if at_ns >= 0:
            self.book(at_ns)
        self.since_ns.pop(slot, None)
        if slot in self._booked:
            self._book(slot, ())
            self.stir()

    def forget(self, slot: int) -> None:
        """The job will not run (again)."""
        self.leave(slot)
        if self._choices.pop(slot, None) is not None and not self._table.partitions[slot]:
            self._leave_queue(slot)

    def site_of(self, slot: int) -> int:
        """The number of the site that the job is bound to; -1: none."""
        numbers = self._table.partitions[slot]
        return self._ledger.partitions[numbers[0]].site if numbers else -1

    def _bind(self, slot: int) -> None:
        self._book(slot, ((self.site_of(slot), self._table.gpus[slot] * self._table.milli_gpus[slot]),))

    def _parts(self, choices: tuple[Choice, ...], milli_gpus: int) -> tuple[tuple[int, int], ...]:
        """A job that is not dispatched is demand of all sites on which it could run, by the GPUs that it could use there."""
        gpus = [int(self._milli_gpus[list(choice.partitions)].sum()) for choice in choices]
        ends = [milli_gpus * upto // sum(gpus) for upto in accumulate(gpus)]
        return tuple([(choice.site, end - begin) for choice, begin, end in zip(choices, [0, *ends], ends, strict=False)])

    def _book(self, slot: int, parts: tuple[tuple[int, int], ...]) -> None:
        """The job is demand of these sites from now on."""
        for sign, these in ((-1, self._booked.pop(slot, ())), (1, parts)):
            for site, milli_gpus in these:
                self._note(slot, self.counts[site].demand, sign * milli_gpus)
        if parts:
            self._booked[slot] = parts

    def _note(self, slot: int, demand: Demand, milli_gpus: int) -> None:
        demand.add(milli_gpus, high=self._table.priority[slot] >= self.sites.high_priority)

    def book(self, at_ns: int) -> None:
        """Sum up demand until ``at_ns``."""
        passed_ns, self._booked_ns = max(0, at_ns - self._booked_ns), max(self._booked_ns, at_ns)
        for demand in (self.undispatched, *(counts.demand for counts in self.counts)):
            demand.pass_time(passed_ns)

    # -- rounds ---------------------------------------------------------------------------------------------------------------------

    def next_ns(self) -> int:
        """When the next round is that may dispatch a job; NEVER where nothing has happened that could let one be dispatched."""
        due_ns = self.next_round_ns if self._queue and self.is_stirred() else NEVER
        return min(due_ns, max(self.next_round_ns, self._next_move_ns))

    def is_stirred(self) -> bool:
        """Whether something has happened since the last round that may let a job be dispatched."""
        return self._stirred or self._seen != self._freed()

    def _freed(self) -> int:
        return sum([partition.freed for partition in self._ledger.partitions])

    def round(self, now_ns: int, ready: Iterable[int], movable: Iterable[int]) -> list[Dispatched]:
        """Decide who is dispatched, which is then to be committed; ``ready`` are the jobs of the global queue that nothing else keeps,
        ``movable`` those in the queue of a site that may go to another.
        """
        self.book(now_ns)
        self.next_round_ns = now_ns + self.sites.every_ns
        before_ns = now_ns - self.sites.move_after_ns
        overdue = [slot for slot in movable if self.since_ns[slot] <= before_ns]
        slots = sorted([*ready, *overdue], key=lambda slot: by_submission(self._table, slot))
        found = self._decide(slots, set(overdue), now_ns)
        for slot in overdue:
            self.since_ns[slot] = now_ns  # looked at again after as long
        if self.sites.move_after_ns < NEVER:
            self._next_move_ns = min(self.since_ns.values(), default=NEVER - self.sites.move_after_ns) + self.sites.move_after_ns
        return found

    def _decide(self, slots: list[int], overdue: set[int], now_ns: int) -> list[Dispatched]:
        """In this order, which has the highest priority first. Data is sent for where a job needs it."""
        table, sites = self._table, self.sites
        load = self.load(now_ns, overdue)
        found: list[Dispatched] = []
        full: dict[tuple[Choice, ...], int] = {}  # the smallest jobs for which no site has room; with the priority, room only falls
        for slot in slots:
            choices, milli_gpus = self._choices[slot], table.gpus[slot] * table.milli_gpus[slot]
            here = self.site_of(slot)  # of one that may move
            if here < 0 and milli_gpus >= full.get(choices, NEVER) and not self.is_reserved(slot):
                continue
            at, draws = self.standing(slot, now_ns, load), self.draws(slot)
            score, is_open = scores(at, milli_gpus, draws, sites.backlog, sites.weights)
            place = best(score, is_open)
            if not has_room(at, sites.backlog).any():
                full[choices] = min(milli_gpus, full.get(choices, NEVER))
            if place < 0 <= here:
                place = [choice.site for choice in choices].index(here)
            if place < 0:
                continue
            choice, start_ns = choices[place], now_ns
            if choice.site != here:
                start_ns = self.datasets.fetch(self.dataset_of(slot), choice.site, now_ns).arrive_ns
                found.append(Dispatched(slot, choice, start_ns, here >= 0))
            if self.is_reserved(slot):
                continue
            starts = choice.site != here and start_ns == now_ns and at.room_milli_gpus[place] >= milli_gpus
            load = load.with_job(table.priority[slot], choice, milli_gpus, int(draws[place]), starts=bool(starts))
        return found

    def commit(self, one: Dispatched) -> None:
        """The job is bound to the site from now on. It is in no other's queue."""
        if one.moved:
            self.counts[self.site_of(one.slot)].moved_away += 1
            self.leave(one.slot)
        else:
            self._leave_queue(one.slot)
        self._table.partitions[one.slot] = one.choice.partitions
        self.counts[one.choice.site].dispatched += 1
        self._bind(one.slot)
        self._wait_since(one.slot, one.start_ns)

    def coming(self, one: Dispatched) -> str:
        """What the job waits for that has been dispatched, in words."""
        return f"dataset {self.sites.datasets[self.dataset_of(one.slot)].name} is on its way to {self.sites.names[one.choice.site]}"

    def settle(self) -> None:
        """The round is over: it is not repeated until something has happened."""
        self._stirred, self._seen = False, self._freed()

    def standing(self, slot: int, now_ns: int, load: SiteLoad) -> Standing:
        """Of the job's sites."""
        table = self._table
        priority, milli_gpus = table.priority[slot], table.gpus[slot] * table.milli_gpus[slot]
        room = room_of(load.free, load.waiting, load.running, priority)
        beside = room_of(load.free, load.waiting, load.running, priority, milli_gpus)
        choices = self._choices[slot]
        sites = np.array([choice.site for choice in choices], dtype=np.int64)
        own = [np.array(choice.partitions, dtype=np.int64) for choice in choices]
        if self.is_reserved(slot):
            room = beside = self._milli_gpus
        preferred, dataset = self.number_of(self.wish(slot).prefer_site), self.dataset_of(slot)
        return Standing(
            sites,
            np.array([int(room[numbers].sum()) for numbers in own], dtype=np.int64),
            np.array([int(beside[numbers].sum()) for numbers in own], dtype=np.int64),
            np.array([int(self._milli_gpus[numbers].sum()) for numbers in own], dtype=np.int64),
            load.milliwatts_left[sites],
            self._caps[sites],
            np.array([self._transfer_ns(dataset, site, now_ns) for site in sites.tolist()], dtype=np.int64),
            sites == preferred,
        )

    def _transfer_ns(self, dataset: int, site: int, now_ns: int) -> int:
        arrive_ns = self.datasets.look(dataset, site, now_ns).arrive_ns
        return arrive_ns if arrive_ns == NEVER else arrive_ns - now_ns

    def draws(self, slot: int) -> Int64:
        """Milliwatts that the job draws on each of its sites; 0 where no site has a cap."""
        choices = self._choices[slot]
        if not self._capped:
            return np.zeros(len(choices), dtype=np.int64)
        return np.array([self._milliwatts(slot, choice.partitions[0]) for choice in choices], dtype=np.int64)

    def _milliwatts(self, slot: int, partition: int) -> int:
        host_type = self._ledger.partitions[partition].host_type
        return int(self._ledger.books.demands.of((slot,), host_type)[0, 1])

    def choices(self, slot: int) -> tuple[Choice, ...]:
        """Where the job could run."""
        return self._choices[slot]

    def load(self, now_ns: int, without: Iterable[int] = ()) -> SiteLoad:
        """As of now, as if the jobs ``without`` waited nowhere."""
        free = np.array([partition.free.free_milli_gpus() for partition in self._ledger.partitions], dtype=np.int64)
        return SiteLoad(free, self._waiting(without), self._running(now_ns), self._milliwatts_left(without))

    def _waiting(self, without: Iterable[int]) -> Load:
        """Who waits at a site, or for data on the way there; a job counts in the partition that it prefers."""
        slots = [slot for slot in self.since_ns if slot not in without and not self.is_reserved(slot)]
        return self._load(slots, [self._table.partitions[slot][0] for slot in slots])

    def _running(self, now_ns: int) -> Load:
        """Who would make room for a job of higher priority."""
        if self._preempt_after_ns is None:
            return NO_LOAD
        table, before_ns = self._table, now_ns - self._preempt_after_ns
        found = [
            (slot, partition.number)
            for partition in self._ledger.partitions
            for slot in partition.running
            if table.preemptible[slot] and table.start_ns[slot] <= before_ns
        ]
        return self._load([slot for slot, _ in found], [number for _, number in found])

    def _load(self, slots: list[int], partitions: list[int]) -> Load:
        table = self._table
        milli_gpus = [table.gpus[slot] * table.milli_gpus[slot] for slot in slots]
        columns = [table.priority[slot] for slot in slots], partitions, milli_gpus
        return Load(*(np.array(column, dtype=np.int64) for column in columns))

    def _milliwatts_left(self, without: Iterable[int]) -> Int64:
        """What jobs may add at each site until it draws its cap, those that wait there counted; only where a site has one."""
        left = self._caps - self._standing
        if not self._capped:
            return left
        table, ledger = self._table, self._ledger
        for partition in ledger.partitions:
            waiting = [slot for slot in self.since_ns if slot not in without and table.partitions[slot][0] == partition.number]
            slots = [*partition.running, *waiting]
            if slots:
                left[partition.site] -= int(ledger.books.demands.of(slots, partition.host_type)[:, 1].sum())
        return left
