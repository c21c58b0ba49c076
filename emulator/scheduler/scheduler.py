"""The scheduler: queues, placements and the indexes of free GPUs, in one place. The only time that it knows is that of the cycle.

Hosts of one type are a *partition* (``emulator.scheduler.partition``), and a job runs in one partition. A job that names several types, or
none, waits in the partition of each in which it could ever fit (as Slurm's jobs do that name several partitions), and starts in the first
that has room when it has its turn there: in the one that it prefers, where several have. Where jobs are dispatched to sites
(``emulator.scheduler.dispatch``), hosts of one type at one site are a partition, and a job waits in those of its site.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from emulator.scheduler.accounts import Accounts
from emulator.scheduler.changes import Changes
from emulator.scheduler.dispatch import Choice, Dispatcher
from emulator.scheduler.draft import Defragmentation, Draft, Elasticity, Preemption
from emulator.scheduler.elastic import Elastic, Regrowth, grow
from emulator.scheduler.feasibility import Feasibility
from emulator.scheduler.free import ANY_SITE, FreeIndex, Row, mask_bits
from emulator.scheduler.held import Held
from emulator.scheduler.ledger import Ledger
from emulator.scheduler.limits import Limits
from emulator.scheduler.partition import Partition
from emulator.scheduler.policy import explained, queue_for
from emulator.scheduler.queue_counts import QueueCounts
from emulator.scheduler.reasons import Why
from emulator.scheduler.reclaim import Reclaim, ask_again, reclaim
from emulator.scheduler.reserved_hosts import ReservedHosts
from emulator.scheduler.settings import SchedulerSettings
from emulator.scheduler.sorts import Sorts
from emulator.scheduler.table import NEVER, JobTable, State, priority_of
from emulator.scheduler.waiting_room import WaitingRoom
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES, JobColumns
from topology.cluster import Cluster


class Scheduler:
    """State of one emulation's scheduler."""

    def __init__(self, cluster: Cluster, settings: SchedulerSettings, cycle_ns: int) -> None:
        self.settings = settings
        self.table = JobTable()
        self.room = WaitingRoom(self.table)
        self.policy = policy = settings.policy
        #: One per host type, in their order; where jobs are dispatched to sites, those of each site in turn.
        self.partitions = tuple(self._partitions(cluster))
        self._indexes = tuple([partition.free for partition in self.partitions])
        self.counts: list[QueueCounts] = []  # by queue
        self.pending_jobs = 0  # how many jobs wait
        self.accounts = self._open_accounts() if settings.quotas is not None or settings.tenant_limits.any() else None
        self.ledger = Ledger(cluster, self.table, self.partitions, cycle_ns, self.accounts, settings.power)
        #: What a job that requires no level stays inside: an island, where nothing joins the sites.
        self.islands = cluster.islands
        self._widest = LEVEL_NAMES.index("site") if cluster.islands else ANY_LEVEL
        self.feasibility = Feasibility(self.table, self.partitions, self.accounts, self._widest)
        self.sorts = Sorts(self.feasibility.types_for)
        self.dispatcher: Dispatcher | None = None  # where jobs are dispatched to sites
        if settings.sites is not None:
            preempt_after_ns = settings.preempt_after_ns if settings.preemption else None
            self.dispatcher = Dispatcher(settings.sites, self.table, self.ledger, preempt_after_ns)
        self.reserved = ReservedHosts(self.table, self.ledger, self.partitions, cycle_ns)
        if policy.outside is not None:
            self.ledger.changes = Changes()
        how = {self.table.queue_of[name]: how for name, how in settings.reclaims.items()}
        self._reclaim = Reclaim(how, settings.preempt_interval_ns, grace_ns=settings.grace_ns)
        times = settings.preempt_after_ns, settings.preempt_interval_ns
        preemption = Preemption(*times, grace_ns=settings.grace_ns) if settings.preemption else None
        in_turn = (policy.heads_only or policy.reserves) and policy.outside is None
        defragmentation = Defragmentation(settings.preempt_interval_ns) if settings.defragment else None
        elasticity = Elasticity(settings.elastic_interval_ns) if settings.elastic == Elastic.ALWAYS else None
        self._regrowth = Regrowth(self.table, Elasticity(settings.elastic_interval_ns))
        makes_room = preemption, defragmentation, elasticity
        self.draft = Draft(cycle_ns, self.ledger, self.table, settings.placement, *makes_room, in_turn, in_turn and not policy.arranges)
        self._chooses_sizes = settings.elastic != Elastic.NEVER
        self._scores_hosts = settings.placement.may_score
        self.limits = Limits(cluster)
        for reservation in settings.reservations:
            self.reserved.add(reservation)
        for partition in self.partitions:
            if partition.views is not None:
                partition.views.turn()

    def _partitions(self, cluster: Cluster) -> Iterator[Partition]:
        settings, policy, like = self.settings, self.settings.policy, None
        hosts = np.diff(cluster.block.first_host)
        pairs = [(ANY_SITE, number) for number in range(len(cluster.host_types))]
        if settings.sites is not None or settings.dispatched:
            of_block = cluster.level("site").host_unit[cluster.block.first_host[:-1]]
            pairs = sorted(set(zip(of_block[hosts > 0].tolist(), cluster.block_type[hosts > 0].tolist(), strict=True)))
        for number, (site, kind) in enumerate(pairs):
            host_type = cluster.host_types[kind]
            like = free = FreeIndex(cluster, kind, like, site)
            yield Partition(
                number=number,
                host_type=kind,
                name=host_type.name if site == ANY_SITE else f"{host_type.name} at {cluster.site_names[site]}",
                gpu_model=host_type.gpu.name,
                free=free,
                pending=queue_for(policy, self.table, kind),
                by_end=[] if policy.reserves else None,
                preemptible=Counter() if settings.preemption else None,
                site=site,
            )

    def _open_accounts(self) -> Accounts:
        """Queues with a quota have the first numbers, in the quotas' order."""
        settings = self.settings
        for name in settings.quotas.names if settings.quotas is not None else ():
            self.add_queue(name)
        for name in (*settings.strict_queues, *settings.reclaims):
            self.add_queue(name)
        strict = frozenset(self.table.queue_of[name] for name in settings.strict_queues)
        for partition in self.partitions:
            partition.held = Held(self.table, partition.host_type, strict, partition.pending.key)
        return Accounts(self.table, settings.quotas, settings.tenant_limits)

    # -- jobs come and go -----------------------------------------------------------------------------------------------------------

    def add(self, jobs: JobColumns, state: State = State.FUTURE) -> list[int]:
        """Take note of jobs; each counts from ``arrive`` on. Returns their slots, in their order."""
        if self._widest != ANY_LEVEL:
            jobs = replace(jobs, require_level=np.where(jobs.require_level == ANY_LEVEL, self._widest, jobs.require_level).astype(np.int8))
        if not self._chooses_sizes and jobs.min_gpus.any():
            jobs = replace(jobs, min_gpus=np.zeros_like(jobs.min_gpus))
        slots = self.table.extend(jobs, self.settings.queue_priority, state)
        self.counts += [QueueCounts() for _ in self.table.queues[len(self.counts) :]]
        return slots

    def arrive(self, slot: int, *, accepted: bool = False, partitions: tuple[int, ...] = ()) -> State:
        """The job is submitted: pending, or infeasible when no placement on this cluster could ever hold it, or rejected by the limit, or
        cancelled since a job that it depends on has not finished.

        ``accepted``: a client has been told that it is in the queue, so the limit no longer applies. ``partitions``: where somebody else
        has dispatched it, those in which it waits.
        """
        table = self.table
        own = (0, 0) if self.accounts is None else (table.queue[slot], table.tenant[slot])
        sort = self.sorts.of((table.asks[slot], table.host_type[slot], table.types[slot], *own))
        types = sort.types
        if slot in table.reservation:
            types = self.reserved.types_for(slot, types)
            sort = self.sorts.at(sort, types)
        table.sort[slot] = sort
        choices = () if self.dispatcher is None else self.dispatcher.could_run(slot, self.feasibility.choices_for(slot, types))
        if choices and slot in table.reservation:
            choices = self.reserved.choices_for(slot, choices)
        if not types or (self.dispatcher is not None and not choices):
            state = State.INFEASIBLE
        elif not accepted and (self.pending_jobs >= self.settings.pending_limit or not self._tenant_has_room(slot)):
            state = State.REJECTED
        elif slot in table.after and not self.room.await_others(slot):
            state = State.CANCELLED
        else:
            state = State.PENDING
            table.types[slot] = types
            if self.dispatcher is None:
                table.partitions[slot] = partitions or types
                table.sort[slot] = self.sorts.at(sort, partitions) if partitions else sort
            else:
                self.dispatcher.enter(slot, choices)
                self.room.await_dispatch(slot)
            if self._scores_hosts:
                self._note_asked(slot)
            self._wait(slot)
        table.state[slot] = state
        return state

    def _note_asked(self, slot: int) -> None:
        """Count what is asked for where the job may run, for placements that score hosts."""
        for partition in self.ledger.partitions_for(slot):
            partition.free.host_states().ask(self.table.size_gpus[slot], self.table.milli_gpus[slot])

    def _tenant_has_room(self, slot: int) -> bool:
        """Whether its tenant may have one more job waiting."""
        return self.accounts is None or self.accounts.pending_room(self.table.tenants[self.table.tenant[slot]]) > 0

    def needed_gpus(self, jobs: JobColumns) -> list[int]:
        """The fewest GPUs that each job could start with here."""
        if not self._chooses_sizes or not jobs.min_gpus.any():
            return jobs.gpus.tolist()  # type: ignore[no-any-return]  # of numpy
        return np.where(jobs.min_gpus > 0, jobs.min_gpus, jobs.gpus).tolist()  # type: ignore[no-any-return]  # of numpy

    def add_queue(self, name: str) -> None:
        """Add a queue before its first job."""
        if self.table.queue_number(name) == len(self.counts):
            self.counts.append(QueueCounts())

    def _wait(self, slot: int) -> None:
        self.ledger.expect(slot)
        if self.dispatcher is not None and self.table.partitions[slot]:
            self.dispatcher.wait(slot)
        self._admit(slot)
        self.pending_jobs += 1
        self.counts[self.table.queue[slot]].wait(self.table.gpus[slot])
        if self.accounts is not None:
            self.accounts.wait(slot)

    def _enter_queues(self, slot: int) -> None:
        self.sorts.enter(self.table.sort[slot])
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
            assert self.reserved.inside is not None, "there is one of the name"
            self.table.on_hold.add(slot)
            self.reserved.inside.push(slot)
        else:
            self.table.on_hold.discard(slot)
            self._enter_queues(slot)

    def _admit(self, slot: int) -> None:
        """Into its queues where nothing keeps the job from them, otherwise on hold."""
        if self.room.keeps(slot):
            self.table.on_hold.add(slot)
            self._give_place(slot)
            if self.dispatcher is not None:
                self.dispatcher.stir()
        else:
            self._let_in(slot)

    def _give_place(self, slot: int) -> None:
        """The next one of its array has the job's place."""
        if (other := self.room.give_place(slot)) >= 0:
            self._let_in(other)

    def requeue(self, slot: int, until_ns: int = 0) -> None:
        """A stopped job waits again, in the place that its submission gives it; until ``until_ns``, where it is given, it is on hold."""
        self.table.state[slot] = State.PENDING
        if slot in self.table.sizes:
            self.table.size_down(slot)
        if until_ns:
            self.room.wait_until(slot, until_ns)
        self._wait(slot)

    def admit_due(self, now_ns: int) -> list[int]:
        """Jobs whose time has come by ``now_ns`` are on hold no longer, where nothing else keeps them. Returns them."""
        due = self.room.take_due(now_ns)
        for slot in due:
            self._admit(slot)
        return due

    def note_end(self, slot: int) -> list[int]:
        """The job has ended for good: others may have waited for that. Returns those that can never start because of how it ended."""
        ready, unmet = self.room.note_end(slot)
        self._give_place(slot)
        for other in ready:
            self._admit(other)
        return unmet

    # -- sites ----------------------------------------------------------------------------------------------------------------------

    def next_ns(self) -> int:
        """When a job's time comes, or jobs are dispatched to sites; NEVER where neither will be without something else."""
        due_ns = self.room.next_ns()
        return due_ns if self.dispatcher is None else min(due_ns, self.dispatcher.next_ns())

    def fitting_sites(self, slot: int) -> tuple[Choice, ...]:
        """The sites that are large enough for the job."""
        return self.feasibility.choices_for(slot, self.table.sort[slot].types)

    def may_admit(self) -> bool:
        """Whether a job that is on hold will be in the queues without anything else to happen."""
        if self.room.next_ns() != NEVER:
            return True
        return self.dispatcher is not None and len(self.dispatcher) > 0 and self.dispatcher.is_stirred()

    def dispatch(self, now_ns: int) -> int:
        """Dispatch jobs of the global queue to sites where it is time for that. Returns how many there were."""
        dispatcher, table = self.dispatcher, self.table
        if dispatcher is None or dispatcher.next_ns() > now_ns:
            return 0
        ready = [slot for slot in dispatcher.in_order() if not self.room.keeps_from_dispatch(slot)]
        movable = [slot for slot in dispatcher.since_ns if slot not in table.on_hold and table.first_start_ns[slot] < 0]
        found = dispatcher.round(now_ns, ready, movable)
        for one in found:
            slot = one.slot
            if one.moved:
                self._leave_queues(slot)
            dispatcher.commit(one)
            table.sort[slot] = self.sorts.at(table.sort[slot], one.choice.partitions)
            self.room.note_dispatch(slot)
            if one.start_ns > now_ns:
                self.room.wait_until(slot, one.start_ns, dispatcher.coming(one))
            if self._scores_hosts:
                self._note_asked(slot)
            self._admit(slot)
        dispatcher.settle()
        return len(found)

    # -- jobs leave -----------------------------------------------------------------------------------------------------------------

    def cancel_pending(self, slot: int) -> None:
        """Remove a waiting job from its queue."""
        self.room.drop(slot)
        if self.dispatcher is not None:
            self.dispatcher.forget(slot)
        if slot in self.table.on_hold:
            self.table.on_hold.discard(slot)
            if self.reserved.inside is not None:
                self.reserved.inside.discard(slot)
        else:
            self._leave_queues(slot)
        self.pending_jobs -= 1
        if self.accounts is not None:
            self.accounts.wait(slot, -1)
        self.counts[self.table.queue[slot]].wait(self.table.gpus[slot], -1)

    def _leave_queues(self, slot: int) -> None:
        self.sorts.leave(self.table.sort[slot])
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
        elif self.reserved.inside is not None and slot in self.reserved.inside:
            self.reserved.inside.discard(slot)
            self._give_place(slot)

    def take_off_hold(self, slot: int) -> None:
        """A job that was put on hold is in the queues again, in the place that its submission gives it, where nothing else keeps it."""
        self.room.release(slot)
        self._admit(slot)

    def set_priority(self, slot: int, priority: int) -> bool:
        """A job that waits or runs gets another priority, to which its queue's is added. False where it has ended, or has it already.

        One that waits goes to the place that it would have had with it from the start.
        """
        table, state = self.table, self.table.state[slot]
        priority = priority_of(priority, self.settings.queue_priority.get(table.queues[table.queue[slot]], 0))
        if priority == table.priority[slot] or state not in (State.PENDING, State.RUNNING):
            return False
        booked = None if self.dispatcher is None else self.dispatcher.lift(slot)
        if state == State.RUNNING:
            self.ledger.set_priority(slot, priority)
            self.draft.forget_refusals()  # those who found no victims may find one
        elif self.reserved.inside is not None and slot in self.reserved.inside:
            self.reserved.inside.discard(slot)
            table.priority[slot] = priority
            self.reserved.inside.push(slot)
        elif slot in table.on_hold:
            table.priority[slot] = priority
        else:
            for partition in self.ledger.partitions_for(slot):
                partition.pending.forget(slot)  # where it stands by its old priority
            self._leave_queues(slot)
            table.priority[slot] = priority
            self._enter_queues(slot)
        if self.dispatcher is not None and booked is not None:
            self.dispatcher.set_down(slot, booked)
        return True

    def release(self, slot: int, *, at_ns: int) -> None:
        """The job stopped at ``at_ns``: its GPUs are free again."""
        self.ledger.stop(slot, at_ns)
        self.counts[self.table.queue[slot]].run(self.table.size_gpus[slot], -1)
        if self.dispatcher is not None:
            self.dispatcher.leave(slot, at_ns)

    def finish(self, slot: int, *, at_ns: int) -> None:
        """The job stopped since it has done all its work."""
        self.release(slot, at_ns=at_ns)
        self.ledger.books.finish(slot)

    # -- one cycle ------------------------------------------------------------------------------------------------------------------

    def plan(self, now_ns: int) -> Draft:
        """Decide the cycle at ``now_ns``; the ledger and the queues are as decided when it returns."""
        draft = self.draft
        draft.begin(now_ns)
        if self.reserved.inside:
            for slot in self.reserved.inside.start_due(draft):
                self.sorts.enter(self.table.sort[slot])
        if self._reclaim.how:
            reclaim(draft, self._reclaim, self._has_waiting)
        try:
            self.policy.plan(draft)
        except Exception as error:
            if (told := explained(self.policy, self.settings.placement, error)) is not None:
                raise told from error
            raise
        if draft.elasticity is not None or draft.migrated or self._regrowth:
            self._resize(draft)
        table = self.table
        for slot in draft.preempted:
            self.counts[table.queue[slot]].run(table.size_gpus[slot], -1)
        self.pending_jobs -= len(draft.starts)
        for slot, _ in draft.starts:
            self.counts[table.queue[slot]].start(table.gpus[slot], table.size_gpus[slot])
            self.sorts.leave(table.sort[slot])
            if self.accounts is not None:
                self.accounts.wait(slot, -1)
            if self.dispatcher is not None:
                self.dispatcher.start(slot)
        if self._reclaim.how:
            ask_again(draft, self._reclaim, self._has_waiting)
        return draft

    def _resize(self, draft: Draft) -> None:
        """Have running jobs grow where they may, and count all that have another size."""
        if draft.elasticity is not None:
            grow(draft, draft.elasticity)
        elif self._regrowth:
            self._regrowth.run(draft)
        for slot, (_, _, gpus) in draft.migrated.items():
            self.counts[self.table.queue[slot]].running_gpus += self.table.size_gpus[slot] - gpus

    def note_size(self, slot: int, before: int) -> None:
        """The running job had so many GPUs, and has those that are left after a fault: it grows again once others are free."""
        if change := self.table.size_gpus[slot] - before:
            self.counts[self.table.queue[slot]].running_gpus += change
            self._regrowth.note(slot)

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
        return self.draft.now_ns if self.reserved.calendar is None else max(self.draft.now_ns, self.reserved.calendar.now_ns)

    def sees(self, partition: Partition, slot: int) -> FreeIndex:
        """What the job, were it to start now, sees of the free GPUs of a partition."""
        return self.ledger.free_for(partition, slot, self.read_ns)

    def why_on_hold(self, slot: int) -> Why:
        """What keeps the job, which is on hold, and what would let it start."""
        return self.reserved.inside.why(slot) if self.reserved.inside is not None and slot in self.reserved.inside else self.room.why(slot)

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
        for free in self._indexes:
            split += free.split_gpus
            idle += free.whole * free.gpus_per_host
        return idle + split, split

    def hosts_of(self, rows: list[Row]) -> Iterator[int]:
        """Host numbers of a placement, in the order of its rows."""
        for block, host_mask, _ in rows:
            for bit in mask_bits(host_mask):
                yield self.ledger.first_host[block] + bit
