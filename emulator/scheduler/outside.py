"""A policy that decides outside this process: what it is told of each cycle, and its answers, done on the draft.

How it is asked is not known here: ``ask`` takes a view and gives decisions, or raises Gone. What it is told are changes: at the start
nobody waits, nothing runs and all hosts are offered. A run is a function of its inputs as far as the answers are one of the views.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.policy import OutsideAccount, Policy
from emulator.scheduler.ranges import HostRange, rows_of
from emulator.scheduler.reasons import Why
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.table import NEVER, JobTable, State
from emulator.workload.jobs import SECOND


class Start(NamedTuple):
    """Start a job on ``ranges``; None: where the run's placement puts it, if it fits.

    ``must``: where it does not start, the actions after it are passed over.
    """

    job_id: int
    ranges: Sequence[HostRange] | None = None
    must: bool = False
    group: int = 0


class Preempt(NamedTuple):
    """Stop a running job; ``reason`` is what its user is told. With ``suspend`` it writes a checkpoint as it stops."""

    job_id: int
    reason: str = ""
    group: int = 0
    suspend: bool = False


class Hold(NamedTuple):
    """Say why a job waits."""

    job_id: int
    reason: str
    group: int = 0


Action = Start | Preempt | Hold


@dataclass(frozen=True)
class Decisions:
    """Actions, to be done in order; those next to each other with the same group (0: none) all or not at all."""

    actions: Sequence[Action] = ()
    reconsider_at_ns: int = NEVER


class Refusal(NamedTuple):
    """Action number ``place`` of the last answer was not done."""

    place: int
    job_id: int
    rule: Rule
    text: str


@dataclass
class View:
    """What is new since the view before."""

    table: JobTable
    now_ns: int
    refused: list[Refusal]
    started: list[tuple[int, int, list[Row]]]  # (job id, when, where) of the jobs that the run's placement placed
    left: list[tuple[int, int, State | None]]  # (job id, when, what it is; None: not known any more)
    withdrawn: list[int]  # hosts
    offered: list[int]
    waiting: list[int]  # slots
    free_gpus: list[int]  # by host type


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
    _told: set[int] = field(default_factory=set)  # ids of the jobs that wait or run as far as the policy knows
    _withdrawn: set[int] = field(default_factory=set)  # hosts, as far as it knows
    _refused: list[Refusal] = field(default_factory=list)  # not told yet
    _started: list[tuple[int, int, list[Row]]] = field(default_factory=list)  # not told yet
    _again_ns: int = NEVER

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
            self._do(draft, decisions.actions)
            self._again_ns = decisions.reconsider_at_ns if decisions.reconsider_at_ns > draft.now_ns else NEVER
        if not self.account.fallback:
            draft.reconsider_at_ns = min(draft.reconsider_at_ns, self._again_ns)

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
        ledger, table, told = draft.ledger, draft.table, self._told
        changes = ledger.changes
        assert changes is not None, "changes are kept for a policy outside"
        left: list[tuple[int, int, State | None]] = []
        for job_id, at_ns in changes.left:
            if job_id in told:
                told.discard(job_id)
                left.append((job_id, *_end_of(table, job_id, at_ns, draft.now_ns)))
        waiting = []
        for slot in changes.waiting:
            job_id = table.job_id[slot]
            if table.state[slot] == State.PENDING and slot not in table.on_hold and job_id not in told:
                told.add(job_id)
                waiting.append(slot)
        withdrawn, offered = [], []
        for host in sorted(changes.hosts):
            if not ledger.partition_of_host(host).free.is_offered(host):
                if host not in self._withdrawn:
                    self._withdrawn.add(host)
                    withdrawn.append(host)
            elif host in self._withdrawn:
                self._withdrawn.discard(host)
                offered.append(host)
        changes.clear()
        refused, self._refused = self._refused, []
        started, self._started = self._started, []
        free_gpus = [partition.free.free_gpus for partition in ledger.partitions]
        return View(table, draft.now_ns, refused, started, left, withdrawn, offered, waiting, free_gpus)

    # -- what is answered -----------------------------------------------------------------------------------------------------------

    def _do(self, draft: Draft, actions: Sequence[Action]) -> None:
        place = 0
        while place < len(actions):
            end, group = place + 1, actions[place].group
            while group and end < len(actions) and actions[end].group == group:
                end += 1
            if not self._do_group(draft, actions, place, end):
                break
            place = end
        table = draft.table
        for slot in draft.preempted:
            self._told.discard(table.job_id[slot])  # it will be told of again, as one that waits
        changes = draft.ledger.changes
        assert changes is not None, "changes are kept for a policy outside"
        changes.left.clear()  # what left now, it knows

    def _do_group(self, draft: Draft, actions: Sequence[Action], first: int, end: int) -> bool:
        """Actions ``first`` up to ``end``, all or none; false where those after them are to be passed over."""
        mark, started = draft.mark(), len(self._started)
        alone = end - first == 1
        whys = dict[int, Why]()
        for place in range(first, end):
            action = actions[place]
            try:
                if isinstance(action, Hold):
                    whys[_slot_of(draft, action.job_id)] = Why(action.reason or "the policy holds it back")
                elif isinstance(action, Preempt):
                    self._preempt(draft, action)
                elif not self._start(draft, action):
                    if action.must:
                        # What was done in its group before it does not stand alone.
                        self._undo(draft, mark, started)
                        return False
                    if not alone:
                        raise Refused(Rule.FREE, f"job {action.job_id} does not fit now, or has no quota")
            except Refused as error:
                self._undo(draft, mark, started)
                self._refuse(actions, first, end, place, error)
                return not (isinstance(action, Start) and action.must)
        for slot, why in whys.items():
            draft.hold(slot, why)
        return True

    def _start(self, draft: Draft, action: Start) -> bool:
        slot = _slot_of(draft, action.job_id)
        if action.ranges is not None:
            draft.start(slot, rows_of(draft.ledger, action.ranges))
            return True
        for partition in draft.ledger.partitions_for(slot):
            rows = draft.choose(partition, slot) if draft.may_start(partition, slot) else None
            if rows is not None:
                draft.start(slot, rows)
                self._started.append((action.job_id, draft.now_ns, rows))
                return True
        return False

    def _preempt(self, draft: Draft, action: Preempt) -> None:
        slot = draft.table.slot_of.get(action.job_id)
        if slot is None:
            raise Refused(Rule.RUNNING, f"job {action.job_id} does not run")
        draft.preempt(slot, action.reason or "preempted by the policy", suspend=action.suspend)

    def _undo(self, draft: Draft, mark: int, started: int) -> None:
        draft.undo(mark)
        del self._started[started:]

    def _refuse(self, actions: Sequence[Action], first: int, end: int, place: int, error: Refused) -> None:
        refused = self.account.refused
        for number in range(first, end):
            job_id = actions[number].job_id
            if number == place:
                rule, text = error.rule, str(error)
                if not refused[rule]:
                    self.notice(
                        f"policy {self.account.name} breaks the rule {rule}: {text}; its other actions stand, and this is said once"
                    )
            else:
                rule, text = Rule.GROUP, f"action {place} of its group was refused"
            refused[rule] += 1
            self._refused.append(Refusal(number, job_id, rule, text))


def _slot_of(draft: Draft, job_id: int) -> int:
    """Of a job that waits. Raises Refused."""
    slot = draft.table.slot_of.get(job_id)
    state = State.FUTURE if slot is None else draft.table.state[slot]
    if slot is None or state != State.PENDING:
        raise Refused(
            Rule.PENDING, f"job {job_id} does not wait: " + ("there is none" if state == State.FUTURE else f"it is {state.name.lower()}")
        )
    return slot


def _end_of(table: JobTable, job_id: int, at_ns: int, now_ns: int) -> tuple[int, State | None]:
    """When and as what a job left."""
    slot = table.slot_of.get(job_id)
    if slot is None:
        return (now_ns if at_ns < 0 else at_ns), None
    state = table.state[slot]
    # One that was preempted before the policy was asked runs until the cycle is over.
    if at_ns < 0:
        at_ns = now_ns if state == State.PENDING else table.end_ns[slot]  # pending: it is on hold
    return at_ns, State.PENDING if state == State.RUNNING else state
