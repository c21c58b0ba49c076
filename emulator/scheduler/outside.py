"""A policy that decides outside this process: what it is told of each cycle, and who decides when it is gone.

How it is asked is not known here: ``ask`` takes a view and gives decisions, or raises Gone. What it is told are changes: at the start
nobody waits, nothing runs and all hosts are offered. A run is a function of its inputs as far as the answers are one of the views. What it
answers is done by ``emulator.scheduler.outside_actions``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from emulator.scheduler.calendar import Calendar, HostReservation
from emulator.scheduler.draft import Draft
from emulator.scheduler.free import ANY_SITE
from emulator.scheduler.ledger import Ledger
from emulator.scheduler.outside_actions import Decisions, Deeds, Placed, Refusal
from emulator.scheduler.policy import OutsideAccount, Policy
from emulator.scheduler.table import NEVER, JobTable, State
from emulator.workload.jobs import SECOND

#: (job id, when, what it is; None: not known any more).
Left = tuple[int, int, State | None]


@dataclass
class View:
    """What is new since the view before."""

    table: JobTable
    now_ns: int
    refused: list[Refusal]
    started: list[Placed]  # the jobs that the run's placement placed
    left: list[Left]
    withdrawn: list[int]  # hosts, again where it is for another reason than before
    kept: set[int]  # of them, those that nothing but a window of a reservation keeps
    offered: list[int]
    waiting: list[int]  # slots
    running: list[int]  # slots of the jobs that run, or go on elsewhere, without the policy having said so
    free_gpus: list[int]  # by host type
    #: Where jobs are dispatched to sites: the site of each partition, and what is free by site.
    site_of: list[int]
    site_free_gpus: list[int]
    reservations: list[HostReservation]  # that are new, or not as they were
    ended: list[str]  # names of reservations that somebody ended


class Gone(Exception):
    """The policy does not answer, or not as it should; the text says how."""


@dataclass
class Outside:
    """The ``plan`` of such a policy. ``notice`` is told, in sentences, what a user should know.

    When it is gone, ``fallback`` decides for the rest of the run.
    """

    ask: Callable[[View], Decisions]
    fallback: Policy
    account: OutsideAccount
    notice: Callable[[str], None]
    deeds: Deeds = field(init=False)
    _told: set[int] = field(default_factory=set)  # ids of the jobs that wait or run as far as the policy knows
    #: Hosts that may not be used, as far as it knows, and whether nothing but a window keeps them.
    _withdrawn: dict[int, bool] = field(default_factory=dict)
    _reservations: dict[int, HostReservation] = field(default_factory=dict)  # by number, as far as it knows
    _ended: set[int] = field(default_factory=set)  # of them, those that it knows to be over
    _again_ns: int = NEVER

    def __post_init__(self) -> None:
        self.deeds = Deeds(self.account, self.notice)

    def policy(self, name: str) -> Policy:
        """To run with. The queues are as the fallback needs them."""
        return replace(self.fallback, name=name, plan=self.plan, heads_only=False, outside=self.account)

    def plan(self, draft: Draft) -> None:
        """Ask, where somebody waits and something happened, or where the policy wants to be asked; and do what it answers."""
        if self.account.fallback:
            self.fallback.plan(draft)
        elif list(draft.partitions()) or self._again_ns <= draft.now_ns:
            view = self._view(draft)
            self.account.cycles += 1
            try:
                decisions = self.ask(view)
            except Gone as error:
                self._fall_back(draft, str(error))
                return
            self._do(draft, decisions)
        if not self.account.fallback:
            draft.reconsider_at_ns = min(draft.reconsider_at_ns, self._again_ns)

    def _do(self, draft: Draft, decisions: Decisions) -> None:
        self.deeds.do(draft, decisions.actions)
        for slot in draft.preempted:
            self._told.discard(draft.table.job_id[slot])  # it will be told of again, as one that waits
        changes = draft.ledger.changes
        assert changes is not None, "changes are kept for a policy outside"
        changes.left.clear()  # what left and what started now, it knows
        changes.started.clear()
        self._again_ns = decisions.reconsider_at_ns if decisions.reconsider_at_ns > draft.now_ns else NEVER

    def _fall_back(self, draft: Draft, why: str) -> None:
        account, ledger = self.account, draft.ledger
        account.fallback, account.fallback_ns, account.why = self.fallback.name, draft.now_ns, why
        self.notice(f"policy {account.name}: {why}; from {draft.now_ns / SECOND:g} s on {self.fallback.name} decides")
        ledger.changes = None
        draft.whys.clear()
        draft.passes_over = self.fallback.heads_only or self.fallback.reserves
        draft.head_first = draft.passes_over and not self.fallback.arranges
        for partition in ledger.partitions:
            partition.stirred = True  # its changes have been looked at, and by nobody who decided
        self.fallback.plan(draft)

    # -- what is told ---------------------------------------------------------------------------------------------------------------

    def _view(self, draft: Draft) -> View:
        ledger, table, deeds = draft.ledger, draft.table, self.deeds
        changes = ledger.changes
        assert changes is not None, "changes are kept for a policy outside"
        left = self._left(draft, changes.left)
        waiting = []
        for slot in changes.waiting:
            if table.state[slot] == State.PENDING and slot not in table.on_hold and table.job_id[slot] not in self._told:
                self._told.add(table.job_id[slot])
                waiting.append(slot)
        running = self._running(draft, changes.started)
        withdrawn, kept, offered = self._hosts(ledger, changes.hosts)
        reservations, ended = self._calendar(ledger.calendar)
        changes.clear()
        refused, deeds.refused = deeds.refused, []
        started, deeds.placed = deeds.placed, []
        hosts = withdrawn, kept, offered
        return View(table, draft.now_ns, refused, started, left, *hosts, waiting, running, *_free_gpus(ledger), reservations, ended)

    def _hosts(self, ledger: Ledger, changed: set[int]) -> tuple[list[int], set[int], list[int]]:
        """Of the hosts that changed: those that are withdrawn, which of them only a window keeps, and those that are offered."""
        withdrawn, kept, offered, known = list[int](), set[int](), list[int](), self._withdrawn
        for host in sorted(changed):
            if not ledger.partition_of_host(host).free.is_offered(host):
                by_window = ledger.calendar is not None and ledger.usable(host)
                if known.get(host) is not by_window:
                    known[host] = by_window
                    withdrawn.append(host)
                    if by_window:
                        kept.add(host)
            elif host in known:
                del known[host]
                offered.append(host)
        return withdrawn, kept, offered

    def _calendar(self, calendar: Calendar | None) -> tuple[list[HostReservation], list[str]]:
        """Reservations that the policy does not know as they are, and names of those that are over before their time."""
        if calendar is None:
            return [], []
        new = {number: one for number, one in enumerate(calendar.reservations) if self._reservations.get(number) is not one}
        self._reservations.update(new)
        over = sorted(calendar.ended - self._ended)
        self._ended.update(over)
        return list(new.values()), [calendar.reservations[number].name for number in over]

    def _left(self, draft: Draft, changes: list[tuple[int, int]]) -> list[Left]:
        """Jobs that the policy knows and that no longer run or wait, in order. Of one that stopped more than once the last time counts."""
        ends: dict[int, int] = {}
        for job_id, at_ns in changes:
            if job_id in self._told:
                ends[job_id] = max(at_ns, ends.pop(job_id, -1))
        self._told -= ends.keys()
        return [(job_id, *_end_of(draft.table, job_id, at_ns, draft.now_ns)) for job_id, at_ns in ends.items()]

    def _running(self, draft: Draft, changes: dict[int, int]) -> list[int]:
        """Of the jobs that started, the slots of those that still run so. The policy knows them from now on."""
        table, found = draft.table, []
        for job_id, start_ns in changes.items():
            slot = table.slot_of.get(job_id, -1)
            if slot >= 0 and table.start_ns[slot] == start_ns and table.rows[slot] and slot in draft.ledger.partition_of(slot).running:
                self._told.add(job_id)
                found.append(slot)
        return found


def _free_gpus(ledger: Ledger) -> tuple[list[int], list[int], list[int]]:
    """What is free now, by host type; and where jobs are dispatched to sites, the site of each partition, and the same by site."""
    sites = [partition.site for partition in ledger.partitions if partition.site != ANY_SITE]
    by_type, by_site = [0] * len(ledger.cluster.host_types), [0] * (max(sites, default=-1) + 1)
    for partition in ledger.partitions:
        by_type[partition.host_type] += partition.free.free_gpus
        if sites:
            by_site[partition.site] += partition.free.free_gpus
    return by_type, sites, by_site


def _end_of(table: JobTable, job_id: int, at_ns: int, now_ns: int) -> tuple[int, State | None]:
    """When and as what a job left."""
    slot = table.slot_of.get(job_id)
    if slot is None:
        return (now_ns if at_ns < 0 else at_ns), None
    state = table.state[slot]
    # One that was preempted before the policy was asked runs until the cycle is over, and one that grew runs on.
    if at_ns < 0:
        at_ns = now_ns if state in (State.PENDING, State.RUNNING) else table.end_ns[slot]  # pending: it is on hold
    return at_ns, State.PENDING if state == State.RUNNING else state
