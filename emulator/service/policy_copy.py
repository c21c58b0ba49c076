"""For policies outside in Python: a copy of the run's scheduler, kept by what ``PolicyService`` tells, on which any policy can plan."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace as Record
from typing import Any

import numpy as np

from emulator.scheduler.calendar import HostReservation
from emulator.scheduler.draft import Draft, Elasticity
from emulator.scheduler.free import ANY_SITE
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.policy import Policy
from emulator.scheduler.ranges import HostRange, ranges_of, rows_of
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.scheduler.table import NEVER, Paces, State
from emulator.v1 import policy_service_pb2 as messages
from emulator.v1.job_pb2 import JOB_STATE_PENDING
from emulator.workload.jobs import ANY_TYPE, job_columns
from topology.cluster import Cluster, Level

#: Columns of waiting jobs, and those of the table that they are.
_COLUMNS = {
    name: name
    for name in (
        "job_id", "gpus", "milli_gpus", "priority", "queue", "tenant", "preemptible", "require_level", "prefer_level",
        "slice_gpus", "slice_level",
    )
} | {"submit_nanoseconds": "submit_ns", "estimate_nanoseconds": "estimate_ns"}  # fmt: skip
#: So many places in the table are made at a time.
_PLACES = 1000


class SchedulerCopy:
    """Of one run. Whoever plans on it says all that was decided: it takes that for done.

    Raises RuntimeError where the run has refused something, since the copy then is not like the run.
    """

    def __init__(self, opening: messages.Opening, policy: Policy) -> None:
        settings = SchedulerSettings(
            policy=policy,
            preemption=opening.preemption,
            preempt_after_ns=opening.preempt_after_nanoseconds,
            preempt_interval_ns=opening.preempt_interval_nanoseconds,
            dispatched=bool(opening.sites),
        )
        self.scheduler = Scheduler(_cluster_of(opening), settings, opening.cycle_nanoseconds)
        if opening.elastic:  # jobs shrink for others as the policy says, and the run has them grow
            self.scheduler.draft.elasticity = Elasticity(opening.elastic_interval_nanoseconds, grows=False)
        self.table = table = self.scheduler.table
        self._columns = [(name, getattr(table, source)) for name, source in _COLUMNS.items()]
        self._places: list[int] = []  # in the table, that no job has
        self._choices: list[tuple[tuple[int, ...], dict[int, float]]] = []  # host types; their paces, where they are not all 1

    def follow(self, cycle: messages.Cycle) -> None:
        """Do what happened in the run since the last cycle."""
        if cycle.refused:
            raise RuntimeError(f"the copy is not like the run: {cycle.refused[0].text}")
        if cycle.HasField("left"):
            self._leave(cycle.left)
        self._follow_hosts(cycle)
        self._follow_reservations(cycle)
        for name in cycle.queues:
            self.scheduler.add_queue(name)
        for name in cycle.tenants:
            self.table.tenant_of[name] = len(self.table.tenants)
            self.table.tenants.append(name)
        for choice in cycle.choices:
            paces = dict(zip(choice.host_type, choice.pace, strict=True))
            self._choices.append((tuple(paces), paces if any(pace != 1.0 for pace in paces.values()) else {}))
        if cycle.HasField("waiting"):
            self._wait(cycle.waiting)
        if cycle.HasField("running"):
            self._run(cycle.running)

    def _follow_hosts(self, cycle: messages.Cycle) -> None:
        """Hosts come and go. What a window keeps is known by the reservation."""
        ledger, withdrawn = self.scheduler.ledger, cycle.withdrawn
        reserved = withdrawn.reserved or [False] * len(withdrawn.first_host)
        changes = [ledger.release if kept else ledger.withhold for kept in reserved] + [ledger.release] * len(cycle.offered.first_host)
        ranges = [
            *zip(withdrawn.first_host, withdrawn.host_count, strict=True),
            *zip(cycle.offered.first_host, cycle.offered.host_count, strict=True),
        ]
        for (first, count), change in zip(ranges, changes, strict=True):
            for host in range(first, first + count):
                change(host, Withheld.DOWN)

    def _follow_reservations(self, cycle: messages.Cycle) -> None:
        """Hosts are reserved, or no longer are; windows begin and end."""
        reserved, now_ns = self.scheduler.reserved, cycle.now_nanoseconds
        for one in cycle.reservations:
            reserved.add(_reservation_of(one), now_ns)
        calendar = reserved.calendar
        if calendar is None:
            return
        for name in cycle.ended_reservations:
            calendar.end(name, now_ns)
        if cycle.reservations or cycle.ended_reservations or calendar.next_ns() <= now_ns:
            reserved.turn(now_ns)

    def _leave(self, left: messages.LeftJobs) -> None:
        """Jobs no longer run or wait."""
        table = self.table
        for job_id, at_ns, state in zip(left.job_id, left.at_nanoseconds, left.state, strict=True):
            slot = table.slot_of[job_id]
            if table.state[slot] == State.RUNNING:
                self.scheduler.release(slot, at_ns=at_ns)
            else:
                self.scheduler.cancel_pending(slot)
            if state != JOB_STATE_PENDING:  # else it waits again, and keeps its place
                del table.slot_of[job_id]
                table.paces.pop(slot, None)
                table.sizes.pop(slot, None)
                self._places.append(slot)

    def _wait(self, jobs: messages.WaitingJobs) -> None:
        """Jobs begin to wait, or wait again."""
        for row, slot in enumerate(self._slots(jobs)):
            self.scheduler.arrive(slot, accepted=True, partitions=self._partitions_at(slot, jobs.site[row]) if jobs.site else ())

    def _partitions_at(self, slot: int, site: int) -> tuple[int, ...]:
        """Those in which the job waits, which was dispatched to the site."""
        choices = self.scheduler.feasibility.choices_for(slot, self.table.types[slot])
        return next(choice.partitions for choice in choices if choice.site == site)

    def _run(self, running: messages.AdoptedJobs) -> None:
        """Jobs run that the policy has not started, or go on elsewhere."""
        scheduler, table = self.scheduler, self.table
        for row, (slot, placed) in enumerate(zip(self._slots(running.jobs), running.placed, strict=True)):
            if scheduler.waits(slot):
                scheduler.cancel_pending(slot)
            to = placed.placement
            rows = rows_of(scheduler.ledger, zip(to.first_host, to.host_count, to.gpu_mask, strict=True))
            site = running.jobs.site[row] if running.jobs.site else ANY_SITE
            table.partitions[slot] = table.types[slot] if site == ANY_SITE else self._partitions_at(slot, site)
            scheduler.ledger.adopt(slot, rows, placed.start_nanoseconds)
            scheduler.counts[table.queue[slot]].run(table.size_gpus[slot])

    def _slots(self, jobs: messages.WaitingJobs) -> Iterator[int]:
        """The slot of each job, with what it asks for in the table."""
        table, places, ids, choices = self.table, self._places, jobs.job_id, jobs.choice
        if len(ids) > len(places):
            self._make_places(len(ids))
        columns = [(getattr(jobs, name), column) for name, column in self._columns]
        for row, job_id in enumerate(ids):
            slot = table.slot_of.get(job_id, -1)
            known = slot >= 0
            if not known:
                slot = table.slot_of[job_id] = places.pop()
            for values, column in columns:
                column[slot] = values[row]
            table.expected_ns[slot] = estimate_ns = table.estimate_ns[slot]
            if not known:
                types, paces = self._choices[choices[row]]
                table.types[slot] = types
                table.host_type[slot] = types[0] if len(types) == 1 else ANY_TYPE
                if paces:
                    table.paces[slot] = Paces(paces, 0, estimate_ns)
            table.note_asks(slot, jobs.min_gpus[row] if jobs.min_gpus else 0)
            yield slot

    def _make_places(self, count: int) -> None:
        """At least ``count`` more, under ids that no job has."""
        ids = -1 - len(self.table) - np.arange(count + _PLACES)
        names = {"queues": tuple(self.table.queues[:1]), "tenants": tuple(self.table.tenants[:1])}
        self._places += self.scheduler.add(job_columns(len(ids), job_id=ids, gpus=1, submit_ns=0, duration_ns=0, **names))

    def plan(self, cycle: messages.Cycle) -> messages.Decisions:
        """What the policy does with the copy, as actions."""
        return self._said(self.scheduler.plan(cycle.now_nanoseconds), cycle.sequence)

    def _said(self, draft: Draft, sequence: int) -> messages.Decisions:
        table, first_host = self.table, self.scheduler.ledger.first_host
        answer = messages.Decisions(sequence=sequence)
        for slot in draft.preempted:
            stop = answer.actions.add().preempt
            stop.job_id, stop.suspend, stop.reason = table.job_id[slot], slot in draft.suspended, draft.causes.get(slot, "")
        for slot in draft.migrated:
            action = answer.actions.add(group=1)
            action.resize.job_id, action.resize.reason = table.job_id[slot], draft.causes.get(slot, "")
            _place(action.resize.placement, ranges_of(first_host, table.rows[slot]))
        for slot, rows in draft.starts:
            start = answer.actions.add().start
            start.job_id = table.job_id[slot]
            _place(start.placement, ranges_of(first_host, rows))
        if draft.reconsider_at_ns != NEVER:
            answer.reconsider_at_nanoseconds = draft.reconsider_at_ns
        return answer


def _reservation_of(told: messages.PolicyReservation) -> HostReservation:
    ranges = zip(told.hosts.first_host, told.hosts.host_count, strict=True)
    hosts = tuple(host for first, count in ranges for host in range(first, first + count))
    return HostReservation(
        told.name, hosts, told.name, told.begin_nanoseconds, told.duration_nanoseconds, told.every_nanoseconds, told.times,
        told.maintenance, frozenset(told.queues), frozenset(told.tenants),
    )  # fmt: skip


def _place(placement: messages.Placement, ranges: Sequence[HostRange]) -> None:
    placement.first_host[:], placement.host_count[:], placement.gpu_mask[:] = zip(*ranges, strict=True)


def _cluster_of(opening: messages.Opening) -> Cluster:
    """The run's cluster, as far as it concerns a scheduler: its hosts and levels, and no links."""
    none: Any = None
    levels = {one.name: one.first_host for one in opening.levels} | {"block": opening.block_first_host}
    made = [Level(name, np.array(first_host, np.int32), none, none) for name, first_host in levels.items()]
    same = ("name", "gpus", "domain_hosts", "idle_watts", "peak_watts")
    host_types = [{name: getattr(one, name) for name in same} | {"gpu": Record(name=one.gpu_model)} for one in opening.host_types]
    types: Any = tuple(Record(**one, domain_gpus=one["gpus"] * one["domain_hosts"]) for one in host_types)
    block_type = np.array(opening.block_host_type, np.int8)
    return Cluster(
        "copy",
        types,
        block_type,
        opening.hosts,
        tuple(made[:-1]),
        made[-1],
        links=none,
        counts=none,
        rails=0,
        site_names=tuple(opening.sites),
    )
