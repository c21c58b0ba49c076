"""Reclaim: a queue takes back what others have borrowed of it, by stopping their jobs (Kueue: "Preemption", the classic algorithm).

Where jobs change their sizes while they run (``scheduler.elastic: always``), those of them that have several shrink first, in the same
order, since that loses no work; jobs are stopped only where all of them together do not give back enough.

It comes before the policy, whichever that is. The jobs of each queue that may reclaim are looked at in order: for those without quota or
hosts, room is made. Candidates are jobs of queues that have borrowed (``QuotaTree.borrowers``), and of the job's own queue. Kueue's order
decides who is stopped: jobs of other queues first, of them those against which the claim is the stronger; then the lowest priority, then
the latest start, then the highest id. When the job fits, those that are not needed go on (looked at in reverse, as in Kueue).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from emulator.scheduler.accounts import Accounts
from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.partition import Partition
from emulator.scheduler.preemption import set_down
from emulator.scheduler.shadow import Shadow
from emulator.scheduler.table import NEVER


class Victims(StrEnum):
    """Whose jobs may be stopped."""

    NEVER = "never"
    LOWER_PRIORITY = "lower-priority"
    LOWER_OR_NEWER_EQUAL_PRIORITY = "lower-or-newer-equal-priority"
    ANY = "any"


@dataclass(frozen=True)
class Reclaims:
    """Of one queue; in Kueue's words reclaimWithinCohort, borrowWithinCohort and withinClusterQueue."""

    within_cohort: Victims = Victims.NEVER
    while_borrowing: Victims = Victims.NEVER
    within_queue: Victims = Victims.NEVER


@dataclass
class Reclaim:
    """``how`` by queue. A kind of job for which nobody could be stopped is not tried again for ``interval_ns``, since that looks at every
    running job of others.
    """

    how: Mapping[int, Reclaims]
    interval_ns: int
    #: By kind of job: when it may be tried again, and when the job was submitted that was tried.
    refused: dict[tuple[int, ...], tuple[int, int]] = field(default_factory=dict)
    grace_ns: int = 0  # that a job has to save what it did, once it is asked to stop


def reclaim(draft: Draft, settings: Reclaim, waits: Callable[[int], bool]) -> None:
    """Stop jobs of others, and start those that ask for it. ``waits``: whether a job of the queue of this number waits."""
    accounts = draft.ledger.accounts
    assert accounts is not None, "there are quotas where there is something to reclaim"
    for kind in [kind for kind, (again_ns, _) in settings.refused.items() if again_ns <= draft.now_ns]:
        del settings.refused[kind]
    for partition in draft.ledger.partitions:
        asking = {queue for queue, how in settings.how.items() if waits(queue) and _may_ask(accounts, queue, partition.host_type, how)}
        for slot in list(partition.waiting()) if asking else ():
            queue = draft.table.queue[slot]
            if queue in asking and not _ask(draft, partition, slot, accounts, settings):
                asking.discard(queue)
                if not asking:
                    break


def _ask(draft: Draft, partition: Partition, slot: int, accounts: Accounts, settings: Reclaim) -> bool:
    """Start the job in place of others, where it may have that. Returns whether those behind it in its queue may ask as well."""
    table, held = draft.table, partition.held
    queue, kind = table.queue[slot], _kind_of(draft, partition, slot)
    strict = held is not None and held.is_strict(queue)
    if not _is_entitled(draft, partition, slot, accounts, settings.how[queue]):
        return not strict
    again_ns, tried_ns = settings.refused.get(kind, (0, NEVER))
    if table.submit_ns[slot] >= tried_ns:
        draft.reconsider(partition, again_ns)
        return not strict
    if accounts.allows(slot, partition.host_type) and draft.choose(partition, slot) is not None:
        return False  # what could start by itself is for the policy to start
    asked = len(draft.asked)
    if _start_in_place_of_others(draft, partition, slot, accounts, settings.how[queue], settings.grace_ns):
        return True
    again_ns = draft.now_ns + (settings.interval_ns if len(draft.asked) == asked else settings.grace_ns)
    settings.refused[kind] = again_ns, table.submit_ns[slot]
    return not strict


def ask_again(draft: Draft, settings: Reclaim, waits: Callable[[int], bool]) -> None:
    """Once the policy has decided: what it started may have been borrowed, or have taken the hosts of a job that asks for it."""
    if draft.starts and any(waits(queue) for queue in settings.how):
        draft.reconsider_at_ns = min(draft.reconsider_at_ns, draft.now_ns + draft.cycle_ns)


def _kind_of(draft: Draft, partition: Partition, slot: int) -> tuple[int, ...]:
    """Jobs of one kind have the same victims, but that one that came later may have fewer of equal priority."""
    table = draft.table
    size = table.size_gpus[slot], table.milli_gpus[slot], table.require_level[slot], table.prefer_level[slot]
    slices = table.slice_gpus[slot], table.slice_level[slot]
    return partition.number, table.queue[slot], table.tenant[slot], table.priority[slot], *size, *slices


def _may_ask(accounts: Accounts, queue: int, host_type: int, how: Reclaims) -> bool:
    """Whether there is a job of the queue, however small, for which others' might be stopped."""
    quotas = accounts.quotas
    if how.within_queue != Victims.NEVER:
        return True
    if how.while_borrowing == Victims.NEVER and not quotas.within(queue, host_type, 1):
        return False
    return how.within_cohort != Victims.NEVER and bool(quotas.borrowers(queue, host_type, 1))


def _is_entitled(draft: Draft, partition: Partition, slot: int, accounts: Accounts, how: Reclaims) -> bool:
    """Whether the job may have others stopped: it is within the nominal quota of its queue, or may stop others all the same."""
    table = draft.table
    if accounts.tenant_refusal(slot) is not None:
        return False
    milli_gpus = table.size_gpus[slot] * table.milli_gpus[slot]
    always = how.while_borrowing != Victims.NEVER or how.within_queue != Victims.NEVER
    return always or accounts.quotas.within(table.queue[slot], partition.host_type, milli_gpus)


def _start_in_place_of_others(draft: Draft, partition: Partition, slot: int, accounts: Accounts, how: Reclaims, grace_ns: int) -> bool:
    """Stop who has to be stopped for the job, and start it; False where that does not do, or they have a time of grace to stop."""
    candidates = _candidates(draft, partition, slot, accounts, how)
    rows = _shrink_others(draft, partition, slot, accounts, candidates)
    if rows is not None:
        draft.start(slot, rows)
        return True
    victims = _victims(draft, partition, slot, accounts, candidates)
    if not victims:
        return False
    mark = draft.mark()
    causes = {victim: f"preempted {_what_for(draft, slot, victim)}" for victim in victims}
    if draft.ask_to_stop(causes, grace_ns):
        return False
    for victim, cause in causes.items():
        draft.preempt(victim, cause)
    rows = draft.choose(partition, slot)
    if rows is None:
        draft.undo(mark)
        return False
    draft.start(slot, rows)
    draft.reconsider(partition, draft.now_ns + draft.cycle_ns)  # those stopped are pending again, and have their turn
    return True


def _what_for(draft: Draft, slot: int, other: int) -> str:
    """Why the other job gives something up for this one."""
    table, queue = draft.table, draft.table.queue[slot]
    what = "within its queue" if table.queue[other] == queue else f"to give back GPUs to queue {table.queues[queue]}"
    return f"{what}, for job {table.job_id[slot]}"


def _shrink_others(draft: Draft, partition: Partition, slot: int, accounts: Accounts, candidates: Sequence[int]) -> list[Row] | None:
    """Have others of several sizes go on with the least of theirs, no more of them than it takes. Returns where the job may start then;
    None, and nothing done, where it may not.
    """
    table, mark = draft.table, draft.mark()
    large = [other for other in candidates if other in table.sizes and table.size_gpus[other] > table.sizes[other].least_gpus]
    if draft.elasticity is None or not large:
        return None
    for shrink in (_shrink_in_turn, _shrink_together):
        rows = shrink(draft, partition, slot, accounts, large)
        if rows is not None:
            for other in large:
                if other in draft.migrated:
                    draft.causes[other] = f"shrank from {draft.migrated[other][2]} GPUs {_what_for(draft, slot, other)}"
            return rows
        draft.undo(mark)
    return None


def _shrink_in_turn(draft: Draft, partition: Partition, slot: int, accounts: Accounts, large: Sequence[int]) -> list[Row] | None:
    """One after the other, until the job fits."""
    table, ledger = draft.table, draft.ledger
    for other in large:
        if not _gives_back(draft, slot, other, accounts):
            continue
        draft.lift(other)
        there = draft.choose(ledger.partition_of(other), other, table.sizes[other].least_gpus)
        if there is None:
            return None
        draft.set_down(other, there)
        if accounts.allows(slot, partition.host_type):
            rows = draft.choose(partition, slot, table.size_gpus[slot])
            if rows is not None:
                return rows
    return None


def _shrink_together(draft: Draft, partition: Partition, slot: int, accounts: Accounts, large: Sequence[int]) -> list[Row] | None:
    """Those in the partition all at once, so that the job goes first: it may need whole hosts, or one unit of a level."""
    table = draft.table
    gives = [other for other in large if other in partition.running and _gives_back(draft, slot, other, accounts)]
    here = {other: table.sizes[other].least_gpus for other in gives}
    for other in here:
        draft.lift(other)
    rows = draft.choose(partition, slot, table.size_gpus[slot]) if here else None
    if rows is None or not set_down(draft, partition, slot, rows, here) or not accounts.allows(slot, partition.host_type):
        return None
    return rows


def _gives_back(draft: Draft, slot: int, other: int, accounts: Accounts) -> bool:
    """Whether the other job is of the same queue, or its queue has borrowed (still)."""
    owner = draft.table.queue[other]
    return owner == draft.table.queue[slot] or not accounts.quotas.within(owner, draft.table.host_type[other], 0)


def _victims(draft: Draft, partition: Partition, slot: int, accounts: Accounts, candidates: list[int]) -> list[int]:
    """Jobs to be stopped so that the job has quota and hosts; none where that would not do."""
    own = [other for other in candidates if draft.table.queue[other] == draft.table.queue[slot]]
    return _fewest(draft, partition, slot, accounts, candidates) or _fewest(draft, partition, slot, accounts, own)


def _candidates(draft: Draft, partition: Partition, slot: int, accounts: Accounts, how: Reclaims) -> list[int]:
    """Jobs that may be stopped for the job, those first that are stopped first. Those started in this cycle are left alone."""
    table, quotas = draft.table, accounts.quotas
    queue, host_type = table.queue[slot], partition.host_type
    trees = quotas.counted(queue, host_type)
    if not trees:
        return []
    milli_gpus = table.size_gpus[slot] * table.milli_gpus[slot]
    claims = quotas.borrowers(queue, host_type, milli_gpus) if how.within_cohort != Victims.NEVER else {}
    order: list[tuple[bool, bool, int, int, int, int]] = []
    for other_partition in draft.ledger.partitions:
        shared = [tree for tree in trees if tree in (quotas.counted(queue, other_partition.host_type) or ())]
        for other in other_partition.running if shared else ():
            owner, started_ns = table.queue[other], table.start_ns[other]
            if not table.preemptible[other] or started_ns >= draft.now_ns or draft.drains(other):
                continue
            claim = claims.get(owner, False)
            if owner == queue:
                allowed = _may_stop(draft, slot, other, how.within_queue)
            elif owner in claims:
                allowed = _may_stop(draft, slot, other, how.within_cohort) and (claim or _may_stop(draft, slot, other, how.while_borrowing))
            else:
                allowed = False
            if allowed:
                order.append((owner == queue, not claim, table.priority[other], -started_ns, -table.job_id[other], other))
    order.sort()
    return [entry[-1] for entry in order]


def _may_stop(draft: Draft, slot: int, other: int, victims: Victims) -> bool:
    table = draft.table
    if victims == Victims.LOWER_OR_NEWER_EQUAL_PRIORITY and table.priority[other] == table.priority[slot]:
        return table.submit_ns[other] > table.submit_ns[slot]
    return victims == Victims.ANY or (victims != Victims.NEVER and table.priority[other] < table.priority[slot])


def _fewest(draft: Draft, partition: Partition, slot: int, accounts: Accounts, candidates: list[int]) -> list[int]:
    """The first of ``candidates`` that are enough, without those that are not needed; none if all together are not enough.

    Tried out beside the ledger, as in ``preemption``; the accounts are as before afterwards. A job whose queue borrows no longer is not
    stopped.
    """
    table, quotas, free = draft.table, accounts.quotas, draft.free_for(partition, slot)
    queue, host_type, milli_gpus = table.queue[slot], partition.host_type, table.milli_gpus[slot]
    here = sum(table.size_gpus[other] for other in candidates if other in partition.running)
    if not candidates or free.free_gpus + here < table.size_gpus[slot]:
        return []
    shadow = Shadow.now(table, free, slot)
    stopped: list[int] = []

    def stop(victim: int, *, back: bool = False) -> None:
        (accounts.take if back else accounts.give)(victim, table.host_type[victim])
        if victim in partition.running:
            (shadow.take if back else shadow.release)(table.rows[victim], table.milli_gpus[victim])

    def fits() -> bool:
        return accounts.allows(slot, host_type) and shadow.holds(milli_gpus)

    for victim in candidates:
        owner = table.queue[victim]
        if owner != queue and quotas.within(owner, table.host_type[victim], 0):
            continue
        stop(victim)
        stopped.append(victim)
        if fits():
            break
    enough = bool(stopped) and fits()
    for victim in reversed(stopped[:-1]) if enough else ():
        stop(victim, back=True)
        if fits():
            stopped.remove(victim)
        else:
            stop(victim)
    for victim in stopped:
        accounts.take(victim, table.host_type[victim])
    return stopped if enough else []
