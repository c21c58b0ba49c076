"""The scheduler: queues, placements and the indexes of free GPUs, in one place. The only time that it knows is that of the cycle.

Hosts of one type are a *partition* (``emulator.scheduler.partition``), and a job runs in one partition. A job that names several types, or
none, waits in the partition of each in which it could ever fit (as Slurm's jobs do that name several partitions), and starts in the first
that has room when it has its turn there: in the one that it prefers, where several have.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from emulator.scheduler.accounts import NO_TENANT_LIMITS, Accounts, TenantLimits
from emulator.scheduler.calendar import Calendar, HostReservation, Window, windows_of
from emulator.scheduler.changes import Changes
from emulator.scheduler.draft import Defragmentation, Draft, Preemption
from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.free_views import FreeViews
from emulator.scheduler.held import Held
from emulator.scheduler.inside import Inside, refusal
from emulator.scheduler.ledger import Ledger, Withheld
from emulator.scheduler.limits import Limits
from emulator.scheduler.partition import Partition
from emulator.scheduler.placement import Placement, could_ever_fit
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy, explained, queue_for
from emulator.scheduler.quota import Quotas
from emulator.scheduler.reasons import Why
from emulator.scheduler.reclaim import Reclaim, Reclaims, ask_again, reclaim
from emulator.scheduler.table import JobTable, State
from emulator.scheduler.usage import NO_CAP, SitePower
from emulator.scheduler.waiting_room import WaitingRoom
from emulator.workload.jobs import ANY_LEVEL, ANY_TYPE, LEVEL_NAMES, SECOND, JobColumns
from topology.cluster import Cluster


@dataclass(frozen=True)
class SchedulerSettings:
    """As the scenario's section of this name, with times in nanoseconds."""

    policy: Policy = POLICIES["easy"]
    placement: Placement = PLACEMENTS["topology"]
    pending_limit: int = 200_000
    preemption: bool = False
    preempt_after_ns: int = 0
    preempt_interval_ns: int = 0
    defragment: bool = False
    queue_priority: Mapping[str, int] = field(default_factory=dict)  # added to the priority of a queue's jobs
    quotas: Quotas | None = None
    tenant_limits: TenantLimits = NO_TENANT_LIMITS
    strict_queues: Collection[str] = ()  # in which nobody passes a job that waits for quota
    reclaims: Mapping[str, Reclaims] = field(default_factory=dict)  # by queue: whose jobs may be stopped for its own
    power: SitePower = NO_CAP
    reservations: tuple[HostReservation, ...] = ()


#: What jobs ask for: ``JobTable.asks``, host types; then queue and tenant, both 0 where nothing limits these.
Sort = tuple[int, int, int, int, int, int, tuple[int, ...], int, int]


@dataclass
class QueueCounts:
    """How much one queue has waiting and running."""

    pending_jobs: int = 0
    pending_gpus: int = 0
    running_jobs: int = 0
    running_gpus: int = 0

    def wait(self, gpus: int, jobs: int = 1) -> None:
        self.pending_jobs += jobs
        self.pending_gpus += gpus * jobs

    def run(self, gpus: int, jobs: int = 1) -> None:
        self.running_jobs += jobs
        self.running_gpus += gpus * jobs

    def start(self, gpus: int) -> None:
        """One that waited runs."""
        self.pending_jobs -= 1
        self.pending_gpus -= gpus
        self.running_jobs += 1
        self.running_gpus += gpus


#: Sorts of jobs with slices of which it is remembered whether they could ever fit.
MOST_KNOWN_SLICES = 4096


class Scheduler:
    """State of one emulation's scheduler."""

    def __init__(self, cluster: Cluster, settings: SchedulerSettings, cycle_ns: int) -> None:
        self.settings = settings
        self.table = JobTable()
        self.room = WaitingRoom(self.table)
        self.policy = policy = settings.policy
        first = FreeIndex(cluster)
        indexes = [first, *(FreeIndex(cluster, number, first) for number in range(1, len(cluster.host_types)))]
        #: One per host type, in their order.
        self.partitions = tuple(
            Partition(
                number=number,
                name=host_type.name,
                gpu_model=host_type.gpu.name,
                free=free,
                pending=queue_for(policy, self.table, number),
                by_end=[] if policy.reserves else None,
                preemptible=Counter() if settings.preemption else None,
            )
            for number, (host_type, free) in enumerate(zip(cluster.host_types, indexes, strict=True))
        )
        self.counts: list[QueueCounts] = []  # by queue
        self.pending_jobs = 0  # how many jobs wait
        self.queued_by_sort: dict[Sort, int] = {}  # how many of each are in the queues; none on hold
        self._all_types = tuple(range(len(self.partitions)))
        self._sliced_fits: dict[tuple[int, ...], bool] = {}  # what is known of jobs with slices: it takes a look at every unit
        self.accounts = self._open_accounts() if settings.quotas is not None or settings.tenant_limits.any() else None
        self.ledger = Ledger(cluster, self.table, self.partitions, cycle_ns, self.accounts, settings.power)
        self.calendar: Calendar | None = None  # None where no host was ever reserved
        #: Jobs that wait for the hosts of a reservation.
        self.inside: Inside | None = None
        if policy.outside is not None:
            self.ledger.changes = Changes()
        self._reclaim = Reclaim({self.table.queue_of[name]: how for name, how in settings.reclaims.items()}, settings.preempt_interval_ns)
        preemption = Preemption(settings.preempt_after_ns, settings.preempt_interval_ns) if settings.preemption else None
        in_turn = (policy.heads_only or policy.reserves) and policy.outside is None
        defragmentation = Defragmentation(settings.preempt_interval_ns) if settings.defragment else None
        makes_room = preemption, defragmentation
        self.draft = Draft(cycle_ns, self.ledger, self.table, settings.placement, *makes_room, in_turn, in_turn and not policy.arranges)
        self._scores_hosts = settings.placement.may_score
        self.limits = Limits(cluster)
        for reservation in settings.reservations:
            self.reserve(reservation)
        for partition in self.partitions:
            if partition.views is not None:
                partition.views.turn()
        #: What a job that requires no level stays inside: an island, where nothing joins the sites.
        self.islands = cluster.islands
        self._widest = LEVEL_NAMES.index("site") if cluster.islands else ANY_LEVEL

    def _open_accounts(self) -> Accounts:
        """Queues with a quota have the first numbers, in the quotas' order."""
        settings = self.settings
        for name in settings.quotas.names if settings.quotas is not None else ():
            self.add_queue(name)
        for name in (*settings.strict_queues, *settings.reclaims):
            self.add_queue(name)
        strict = frozenset(self.table.queue_of[name] for name in settings.strict_queues)
        for number, partition in enumerate(self.partitions):
            partition.held = Held(self.table, number, strict, partition.pending.key)
        return Accounts(self.table, settings.quotas, settings.tenant_limits)

    # -- reservations of hosts ------------------------------------------------------------------------------------------------------

    def reserve(self, reservation: HostReservation, now_ns: int = -1) -> None:
        """From now on there is this reservation too; ``turn_windows`` comes next. Raises ValueError where there is one of the name."""
        ledger = self.ledger
        if self.calendar is None:
            self.calendar = ledger.calendar = Calendar((), self.draft.cycle_ns)
            self.inside = Inside(self.table, self.calendar)
        number = self.calendar.add(reservation, now_ns)
        for partition in self.partitions:
            mine = frozenset(host for host in reservation.hosts if ledger.partition_of_host(host) is partition)
            if mine and partition.views is None:
                partition.views = FreeViews(partition.free, {number: mine}, self.calendar, ledger.usable)
            elif mine and partition.views is not None:
                partition.views.add(number, mine)

    def turn_windows(self, now_ns: int) -> list[Window]:
        """Withhold the hosts of the windows that begin by ``now_ns``, and offer those of the windows that end. Returns those that begin."""
        calendar, ledger = self.calendar, self.ledger
        assert calendar is not None, "asked where hosts are reserved"
        ended, begun = calendar.turn(now_ns)
        for partition in self.partitions:
            if partition.views is not None:
                partition.views.turn()
                partition.shadow, partition.stirred = None, True
                partition.surprises += 1
        for windows, change in ((ended, ledger.release), (begun, ledger.withhold)):
            for window in windows:
                reservation = calendar.reservations[window.number]
                for host in reservation.hosts:
                    change(host, Withheld.MAINTENANCE if reservation.maintenance else Withheld.RESERVED)
        return begun

    def never_in_reservation(self, slot: int) -> str:
        """Why the job can never run in the reservation that it names; "" where it may, or names none."""
        table, name = self.table, self.table.reservation.get(slot)
        if name is None:
            return ""
        names = table.queues[table.queue[slot]], table.tenants[table.tenant[slot]]
        return self.refused_by_reservation(name, *names, table.gpus[slot], table.expected_ns[slot])

    def reservation(self, name: str) -> HostReservation | None:
        """The reservation of this name, if there is one."""
        calendar = self.calendar
        return None if calendar is None or name not in calendar.number_of else calendar.reservations[calendar.number_of[name]]

    def reservations_for(self, queue: str, tenant: str) -> list[str]:
        """The names of the reservations that jobs of the queue and the tenant may use."""
        return [] if self.calendar is None else [one.name for one in self.calendar.reservations if one.serves(queue, tenant)]

    def refused_by_reservation(self, name: str, queue: str, tenant: str, gpus: int, estimate_ns: int) -> str:
        """Why such a job is never to run in the reservation of this name; "" where it may."""
        reservation = self.reservation(name)
        why = refusal(reservation, name, queue, tenant)
        if why or reservation is None or self.calendar is None:
            return why
        if gpus > (most := self.ledger.gpus_of(reservation.hosts)):
            return f"the hosts of reservation {name} have {most:,} GPUs"
        if next(self.calendar.windows(self.calendar.number_of[name]), None) is None:
            return f"reservation {name} is over"
        if estimate_ns > self._longest_ns(reservation) or not estimate_ns:
            return f"reservation {name} lasts {reservation.duration_ns / SECOND:,.15g} s, and the job is to end in it"
        return ""

    def _longest_ns(self, reservation: HostReservation) -> int:
        cycle_ns = self.draft.cycle_ns
        return max(window.end_ns - window.begin_ns for window in windows_of(0, reservation, cycle_ns))

    def _fits_reservation(self, slot: int, types: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the host types on which the job could ever run in the reservation that it names."""
        reservation = self.reservation(self.table.reservation[slot])
        if reservation is None or self.never_in_reservation(slot):
            return ()
        hosts = Counter(self.ledger.partition_of_host(host).number for host in reservation.hosts)
        return tuple([number for number in types if self.table.gpus[slot] <= hosts[number] * self.partitions[number].free.gpus_per_host])

    # -- jobs come and go -----------------------------------------------------------------------------------------------------------

    def add(self, jobs: JobColumns, state: State = State.FUTURE) -> list[int]:
        """Take note of jobs; each counts from ``arrive`` on. Returns their slots, in their order."""
        if self._widest != ANY_LEVEL:
            jobs = replace(jobs, require_level=np.where(jobs.require_level == ANY_LEVEL, self._widest, jobs.require_level).astype(np.int8))
        slots = self.table.extend(jobs, self.settings.queue_priority, state)
        self.counts += [QueueCounts() for _ in self.table.queues[len(self.counts) :]]
        return slots

    def arrive(self, slot: int, *, accepted: bool = False) -> State:
        """The job is submitted: pending, or infeasible when no placement on this cluster could ever hold it, or rejected by the limit, or
        cancelled since a job that it depends on has not finished.

        ``accepted``: a client has been told that it is in the queue, so the limit no longer applies.
        """
        table = self.table
        types = self._types_for(slot)
        if slot in table.reservation:
            types = self._fits_reservation(slot, types)
        if not types:
            state = State.INFEASIBLE
        elif not accepted and (self.pending_jobs >= self.settings.pending_limit or not self._tenant_has_room(slot)):
            state = State.REJECTED
        elif slot in table.after and not self.room.await_others(slot):
            state = State.CANCELLED
        else:
            state = State.PENDING
            table.types[slot] = types
            if self._scores_hosts:
                for partition in self.ledger.partitions_for(slot):
                    partition.free.host_states().ask(table.gpus[slot], table.milli_gpus[slot])
            self._wait(slot)
        table.state[slot] = state
        return state

    def _tenant_has_room(self, slot: int) -> bool:
        """Whether its tenant may have one more job waiting."""
        return self.accounts is None or self.accounts.pending_room(self.table.tenants[self.table.tenant[slot]]) > 0

    def _types_for(self, slot: int) -> tuple[int, ...]:
        """The host types on which the job that arrives may wait, the preferred first; none where it can never run."""
        table = self.table
        gpus, level, named = table.gpus[slot], table.require_level[slot], table.host_type[slot]
        asked = table.types[slot] or (self._all_types if named == ANY_TYPE else (named,))
        slices = table.slice_gpus[slot], table.slice_level[slot]
        fitting = tuple([number for number in asked if self._could_fit(number, gpus, level, *slices)])
        if self.accounts is not None and len(fitting) > 1:  # where its queue will never have quota for it, it need not wait
            queue, milli_gpus = table.queue[slot], gpus * table.milli_gpus[slot]
            fitting = tuple([number for number in fitting if self.accounts.quotas.could_ever_fit(queue, number, milli_gpus)]) or fitting
        return asked if fitting == asked else fitting

    def could_ever_fit(
        self, gpus: int, require_level: int, types: tuple[int, ...], slice_gpus: int = 0, slice_level: int = ANY_LEVEL
    ) -> bool:
        """Whether some placement on this cluster, when empty and healthy, holds such a job (``types``: on hosts of these; none: of any)."""
        level = self._widest if require_level == ANY_LEVEL else require_level
        return any(self._could_fit(number, gpus, level, slice_gpus, slice_level) for number in types or self._all_types)

    def _could_fit(self, number: int, gpus: int, level: int, slice_gpus: int, slice_level: int) -> bool:
        """Whether hosts of one type do."""
        free = self.partitions[number].free
        if not slice_gpus:
            return could_ever_fit(free, gpus, level)
        asked = number, gpus, level, slice_gpus, slice_level
        if asked not in self._sliced_fits:
            if len(self._sliced_fits) >= MOST_KNOWN_SLICES:
                self._sliced_fits.clear()
            self._sliced_fits[asked] = could_ever_fit(free, gpus, level, slice_gpus, slice_level)
        return self._sliced_fits[asked]

    def add_queue(self, name: str) -> None:
        """Add a queue before its first job."""
        if self.table.queue_number(name) == len(self.counts):
            self.counts.append(QueueCounts())

    def _wait(self, slot: int) -> None:
        self.ledger.expect(slot)
        self._admit(slot)
        self.pending_jobs += 1
        self.counts[self.table.queue[slot]].wait(self.table.gpus[slot])
        if self.accounts is not None:
            self.accounts.wait(slot)

    def sort_of(self, slot: int) -> Sort:
        """What the job asks for, as far as that tells waiting jobs apart."""
        table = self.table
        own = (0, 0) if self.accounts is None else (table.queue[slot], table.tenant[slot])
        return *table.asks(slot), table.types[slot], *own

    def _count_queued(self, slot: int, jobs: int) -> None:
        sort, queued = self.sort_of(slot), self.queued_by_sort
        count = queued[sort] = queued.get(sort, 0) + jobs
        if not count:
            del queued[sort]

    def _enter_queues(self, slot: int) -> None:
        self._count_queued(slot, 1)
        for partition in self.ledger.partitions_for(slot):
            partition.pending.push(slot)
            partition.arriving.append(slot)
            # Where only the head of the queue is looked at, who waits behind it changes nothing.
            partition.stirred = partition.stirred or not self.policy.heads_only or partition.pending.head() == slot
        if self.ledger.changes is not None:
            self.ledger.changes.waiting.append(slot)

    def _let_in(self, slot: int) -> None:
        """Into its queues, or among those that wait for its reservation."""
        if slot in self.table.reservation:
            assert self.inside is not None, "there is one of the name"
            self.table.on_hold.add(slot)
            self.inside.push(slot)
        else:
            self.table.on_hold.discard(slot)
            self._enter_queues(slot)

    def _admit(self, slot: int) -> None:
        """Into its queues where nothing keeps the job from them, otherwise on hold."""
        if self.room.keeps(slot):
            self.table.on_hold.add(slot)
            self._give_place(slot)
        else:
            self._let_in(slot)

    def _give_place(self, slot: int) -> None:
        """The next one of its array has the job's place."""
        if (other := self.room.give_place(slot)) >= 0:
            self._let_in(other)

    def requeue(self, slot: int, until_ns: int = 0) -> None:
        """A stopped job waits again, in the place that its submission gives it; until ``until_ns``, where it is given, it is on hold."""
        self.table.state[slot] = State.PENDING
        if until_ns:
            self.room.wait_until(slot, until_ns)
        self._wait(slot)

    def admit_due(self, now_ns: int) -> int:
        """Jobs whose time has come by ``now_ns`` are on hold no longer, where nothing else keeps them. Returns how many there were."""
        due = self.room.take_due(now_ns)
        for slot in due:
            self._admit(slot)
        return len(due)

    def note_end(self, slot: int) -> list[int]:
        """The job has ended for good: others may have waited for that. Returns those that can never start because of how it ended."""
        ready, unmet = self.room.note_end(slot)
        self._give_place(slot)
        for other in ready:
            self._admit(other)
        return unmet

    def cancel_pending(self, slot: int) -> None:
        """Remove a waiting job from its queue."""
        self.room.drop(slot)
        if slot in self.table.on_hold:
            self.table.on_hold.discard(slot)
            if self.inside is not None:
                self.inside.discard(slot)
        else:
            self._leave_queues(slot)
        self.pending_jobs -= 1
        if self.accounts is not None:
            self.accounts.wait(slot, -1)
        self.counts[self.table.queue[slot]].wait(self.table.gpus[slot], -1)

    def _leave_queues(self, slot: int) -> None:
        self._count_queued(slot, -1)
        for partition in self.ledger.partitions_for(slot):
            partition.leaves(slot)
            partition.stirred = True
        self.draft.forget(slot)
        self.draft.whys.pop(slot, None)
        if self.ledger.changes is not None:
            self.ledger.changes.left.append((self.table.job_id[slot], -1))

    def put_on_hold(self, slot: int) -> None:
        """A waiting job leaves the queues until it is released, so that it is in no policy's way; it still counts as pending."""
        self.room.hold(slot)
        if slot not in self.table.on_hold:
            self._leave_queues(slot)
            self.table.on_hold.add(slot)
            self._give_place(slot)
        elif self.inside is not None and slot in self.inside:
            self.inside.discard(slot)
            self._give_place(slot)

    def take_off_hold(self, slot: int) -> None:
        """A job that was put on hold is in the queues again, in the place that its submission gives it, where nothing else keeps it."""
        self.room.release(slot)
        self._admit(slot)

    def release(self, slot: int, *, at_ns: int) -> None:
        """The job stopped at ``at_ns``: its GPUs are free again."""
        self.ledger.stop(slot, at_ns)
        self.counts[self.table.queue[slot]].run(self.table.gpus[slot], -1)

    def finish(self, slot: int, *, at_ns: int) -> None:
        """The job stopped since it has done all its work."""
        self.release(slot, at_ns=at_ns)
        self.ledger.books.finish(slot)

    # -- one cycle ------------------------------------------------------------------------------------------------------------------

    def plan(self, now_ns: int) -> Draft:
        """Decide the cycle at ``now_ns``; the ledger and the queues are as decided when it returns."""
        draft = self.draft
        draft.begin(now_ns)
        if self.inside:
            for slot in self.inside.start_due(draft):
                self._count_queued(slot, 1)
        if self._reclaim.how:
            reclaim(draft, self._reclaim, self._has_waiting)
        try:
            self.policy.plan(draft)
        except Exception as error:
            if (told := explained(self.policy, self.settings.placement, error)) is not None:
                raise told from error
            raise
        table = self.table
        for slot in draft.preempted:
            self.counts[table.queue[slot]].run(table.gpus[slot], -1)
        self.pending_jobs -= len(draft.starts)
        for slot, _ in draft.starts:
            self.counts[table.queue[slot]].start(table.gpus[slot])
            self._count_queued(slot, -1)
            if self.accounts is not None:
                self.accounts.wait(slot, -1)
        if self._reclaim.how:
            ask_again(draft, self._reclaim, self._has_waiting)
        return draft

    def _has_waiting(self, queue: int) -> bool:
        """Whether a job of the queue of this number waits."""
        return self.counts[queue].pending_jobs > 0

    # -- reading --------------------------------------------------------------------------------------------------------------------

    @property
    def running(self) -> Collection[int]:
        """Slots of the running jobs, in no order."""
        if len(self.partitions) == 1:
            return self.partitions[0].running
        return set().union(*(partition.running for partition in self.partitions))

    @property
    def read_ns(self) -> int:
        """The time of the last cycle, or a later one up to which nothing happened."""
        return self.draft.now_ns if self.calendar is None else max(self.draft.now_ns, self.calendar.now_ns)

    def sees(self, partition: Partition, slot: int) -> FreeIndex:
        """What the job, were it to start now, sees of the free GPUs of a partition."""
        return self.ledger.free_for(partition, slot, self.read_ns)

    def why_on_hold(self, slot: int) -> tuple[Why, str]:
        """What keeps the job, which is on hold, and what would let it start."""
        return self.inside.why(slot) if self.inside is not None and slot in self.inside else self.room.why(slot)

    def waits(self, slot: int) -> bool:
        """Whether the job is in a queue, or on hold."""
        return slot in self.table.on_hold or any(partition.waits(slot) for partition in self.ledger.partitions_for(slot))

    def queued(self) -> Collection[int]:
        """Slots of all jobs in the queues, each once, in no order."""
        if len(self.partitions) == 1:
            return self.partitions[0].queued()
        return set[int]().union(*(partition.queued() for partition in self.partitions))

    def held_jobs(self, queue: int) -> int:
        """How many jobs of the queue of this number were held back by its quota or a tenant's limit when they were last looked at."""
        return sum([partition.held.of_queue(queue) for partition in self.partitions if partition.held])

    def free_gpus(self) -> tuple[int, int]:
        """GPUs that could be given out now, and how many of them are on hosts that also hold a job."""
        idle = split = 0
        for partition in self.partitions:
            idle += partition.free.free_gpus
            split += partition.free.split_gpus
        return idle, split

    def hosts_of(self, rows: list[Row]) -> Iterator[int]:
        """Host numbers of a placement, in the order of its rows."""
        for block, host_mask, _ in rows:
            for bit in mask_bits(host_mask):
                yield self.ledger.first_host[block] + bit
