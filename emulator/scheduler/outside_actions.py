"""What a policy outside answers to a cycle, and how that is done on the draft: in order, and what breaks a rule not at all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.policy import OutsideAccount
from emulator.scheduler.ranges import HostRange, rows_of
from emulator.scheduler.reasons import Why
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.sizes import gpus_in
from emulator.scheduler.table import NEVER, State


class Start(NamedTuple):
    """Start a job on ``ranges``; None: where the run's placement puts it, if it fits.

    ``must``: where it does not start, the actions after it are passed over.
    """

    job_id: int
    ranges: Sequence[HostRange] | None = None
    must: bool = False
    group: int = 0


class Resize(NamedTuple):
    """A running job goes on with another of its sizes: on ``ranges``; None: with ``gpus`` GPUs, where the run's placement puts it.

    ``reason`` is what its user is told. Those of one group give up their GPUs together, before anything else of it is done.
    """

    job_id: int
    gpus: int = 0
    ranges: Sequence[HostRange] | None = None
    reason: str = ""
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


Action = Start | Resize | Preempt | Hold


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


class Placed(NamedTuple):
    """A job runs there since ``start_ns``."""

    job_id: int
    start_ns: int
    rows: list[Row]


@dataclass
class Deeds:
    """Does the answers of one policy, and keeps what it has to be told of them. ``notice`` is told each rule that is broken, once."""

    account: OutsideAccount
    notice: Callable[[str], None]
    refused: list[Refusal] = field(default_factory=list)  # not told yet
    placed: list[Placed] = field(default_factory=list)  # by the run's placement, and not told yet

    def do(self, draft: Draft, actions: Sequence[Action]) -> None:
        """All of them, as far as they keep to the rules."""
        place = 0
        while place < len(actions):
            end, group = place + 1, actions[place].group
            while group and end < len(actions) and actions[end].group == group:
                end += 1
            if not self._do_group(draft, actions, place, end):
                break
            place = end

    def _do_group(self, draft: Draft, actions: Sequence[Action], first: int, end: int) -> bool:
        """Actions ``first`` up to ``end``, all or none; false where those after them are to be passed over."""
        mark, placed, place = draft.mark(), len(self.placed), first
        alone = end - first == 1
        whys = dict[int, Why]()
        try:
            for place in range(first, end):
                action = actions[place]
                if isinstance(action, Resize):
                    _lift(draft, action.job_id)
            for place in range(first, end):
                action = actions[place]
                if isinstance(action, Hold):
                    whys[_waiting(draft, action.job_id)] = Why(action.reason or "the policy holds it back")
                elif isinstance(action, Preempt):
                    draft.preempt(_running(draft, action.job_id), action.reason or "preempted by the policy", suspend=action.suspend)
                elif isinstance(action, Resize):
                    self._set_down(draft, action)
                elif not self._start(draft, action):
                    if action.must:
                        # What was done in its group before it does not stand alone.
                        self._undo(draft, mark, placed)
                        return False
                    if not alone:
                        raise Refused(Rule.FREE, f"job {action.job_id} does not fit now, or has no quota")
        except Refused as error:
            self._undo(draft, mark, placed)
            self._refuse(actions, first, end, place, error)
            broken = actions[place]
            return not (isinstance(broken, Start) and broken.must)
        for slot, why in whys.items():
            draft.hold(slot, why)
        return True

    def _start(self, draft: Draft, action: Start) -> bool:
        slot = _waiting(draft, action.job_id)
        if action.ranges is not None:
            draft.start(slot, rows_of(draft.ledger, action.ranges))
            return True
        for partition in draft.ledger.partitions_for(slot):
            rows = draft.choose(partition, slot) if draft.may_start(partition, slot) else None
            if rows is not None:
                draft.start(slot, rows)
                self.placed.append(Placed(action.job_id, draft.now_ns, rows))
                return True
        return False

    def _set_down(self, draft: Draft, action: Resize) -> None:
        """A job that was lifted goes on with the size that is given."""
        ledger, job_id = draft.ledger, action.job_id
        slot = draft.table.slot_of[job_id]
        rows = None if action.ranges is None else rows_of(ledger, action.ranges)
        gpus = action.gpus if rows is None else gpus_in(rows)
        if gpus == draft.migrated[slot][2]:
            raise Refused(Rule.SIZE, f"job {job_id} runs with {gpus} GPUs already")
        if rows is None:
            partition = ledger.partition_of(slot)
            ledger.check_size(slot, gpus, partition.free.gpus_per_host)
            rows = draft.choose(partition, slot, gpus)
            if rows is None:
                raise Refused(Rule.FREE, f"job {job_id} does not fit now with {gpus} GPUs")
            self.placed.append(Placed(job_id, draft.now_ns, rows))
        draft.set_down(slot, rows)
        if action.reason:
            draft.causes[slot] = action.reason

    def _undo(self, draft: Draft, mark: int, placed: int) -> None:
        draft.undo(mark)
        del self.placed[placed:]

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
            self.refused.append(Refusal(number, job_id, rule, text))


def _waiting(draft: Draft, job_id: int) -> int:
    """The slot of a job that waits. Raises Refused."""
    slot = draft.table.slot_of.get(job_id)
    state = State.FUTURE if slot is None else draft.table.state[slot]
    if slot is None or state == State.FUTURE:
        raise Refused(Rule.PENDING, f"job {job_id} does not wait: there is none")
    if slot in draft.migrated:  # and has not been set down yet
        state = State.RUNNING
    if state != State.PENDING:
        raise Refused(Rule.PENDING, f"job {job_id} does not wait: it is {state.name.lower()}")
    return slot


def _running(draft: Draft, job_id: int) -> int:
    """The slot of a job that may run. Raises Refused."""
    slot = draft.table.slot_of.get(job_id)
    if slot is None:
        raise Refused(Rule.RUNNING, f"job {job_id} does not run")
    return slot


def _lift(draft: Draft, job_id: int) -> None:
    """Take a running job off its GPUs. Raises Refused, also where it was given others in this cycle."""
    slot = _running(draft, job_id)
    if slot in draft.migrated:
        raise Refused(Rule.RUNNING, f"job {job_id} is given other GPUs in this cycle already")
    draft.lift(slot)
