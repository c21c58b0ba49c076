"""Random small clusters, trees of cohorts four deep, tenants, and policies: held to the plain rules from cycle to cycle."""

import copy
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine.engine import Engine
from emulator.engine.network import Network
from emulator.engine.settings import EngineSettings
from emulator.engine.shards import Shards
from emulator.jobs.costs import Costs
from emulator.scheduler.accounts import TenantLimit, TenantLimits
from emulator.scheduler.draft import Draft
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.partition import Partition
from emulator.scheduler.pending import by_estimate, by_submission
from emulator.scheduler.placement import Placement
from emulator.scheduler.policies import POLICIES as SHELF
from emulator.scheduler.policy import Policy
from emulator.scheduler.quota import Flavor, Holder, Quotas
from emulator.scheduler.quota_tree import NO_QUOTA, Quota
from emulator.scheduler.reclaim import Reclaims, Victims
from emulator.scheduler.rules import Refused
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import State
from emulator.workload.jobs import ANY_TYPE, SECOND, JobColumns, job_columns
from tests.scheduler.drive import Fault, NoNetwork, ScriptedShards, make_cluster, make_scheduler
from tests.scheduler.test_partitions import two_types
from topology.cluster import Cluster

K = 1000
#: Of a fixed order. The others have their own in each cycle.
POLICIES = ["fifo", "sjf", "easy"]


class Rules(NamedTuple):
    """Of one run."""

    cluster: Cluster
    queues: list[Holder]
    cohorts: list[Holder]
    limits: TenantLimits
    strict: tuple[str, ...]
    reclaims: dict[str, Reclaims]

    def scheduler(self, policy: str | Policy, *, reclaims: bool = True, placement: str | Placement = "topology") -> Scheduler:
        quotas = Quotas(self.queues, self.cohorts, [host_type.name for host_type in self.cluster.host_types])
        more: dict[str, Any] = {"quotas": quotas, "tenant_limits": self.limits, "strict_queues": self.strict}
        return make_scheduler(self.cluster, policy=policy, placement=placement, reclaims=self.reclaims if reclaims else {}, **more)


def random_rules(draw: random.Random) -> Rules:
    """Of 128 GPUs of one type, or 192 of one and 64 of another; each cohort is below an earlier one."""
    mixed = draw.random() < 0.5
    cluster = two_types("leaves") if mixed else make_cluster("hgx")
    flavors: list[Flavor] = [(0,), (1,), (0, 1)] if mixed else [(0,)]

    def quotas(*, limits: bool) -> dict[Flavor, Quota]:
        def limit() -> int | None:
            return draw.choice([None, 8 * draw.randrange(8) * K]) if limits else None

        chosen = draw.sample(flavors, draw.randint(1, len(flavors)))
        return {flavor: Quota(8 * draw.randrange(10) * K, limit(), limit()) for flavor in chosen}

    cohorts: list[Holder] = []
    for number in range(draw.randint(1, 4)):
        above = f"c{number - 1}" if number and draw.random() < 0.8 else ""
        cohorts.append(Holder(f"c{number}", above, quotas(limits=bool(above)) if draw.random() < 0.3 else {}))
    queues = []
    for number in range(draw.randint(1, 5)):
        cohort = draw.choice([*(cohort.name for cohort in cohorts), ""])
        queues.append(Holder(f"q{number}", cohort, quotas(limits=bool(cohort)) if cohort or draw.random() < 0.7 else {}))
    limits = TenantLimits()
    if draw.random() < 0.5:
        limits = TenantLimits(TenantLimit(max_milli_gpus=64 * K), {"t1": TenantLimit(max_running_jobs=2), "t2": TenantLimit(0)})
    how = [Victims.NEVER, Victims.LOWER_PRIORITY, Victims.ANY]
    reclaims = {queue.name: Reclaims(draw.choice(how), draw.choice(how[:2]), draw.choice(how[:2])) for queue in queues if queue.quotas}
    return Rules(cluster, queues, cohorts, limits, tuple(queue.name for queue in queues if draw.random() < 0.3), reclaims)


class Run:
    """Jobs come, end, are cancelled and lose their hosts at random, but by the same draws for whichever scheduler."""

    def __init__(self, scheduler: Scheduler, seed: int, queues: list[str], *, of_any_type: bool = True) -> None:
        self.scheduler, self.draw, self.queues, self.of_any_type = scheduler, random.Random(seed), queues, of_any_type
        self.now = self.submitted = 0

    def submit(self) -> None:
        draw = self.draw
        gpus, share = draw.choice([(1, 1000), (1, 500), (4, 1000), (8, 1000), (16, 1000), (32, 1000)])
        estimate_ns = draw.randrange(1, 30) * SECOND
        named = draw.choice([ANY_TYPE, *range(len(self.scheduler.partitions))])
        named = named if self.of_any_type else max(0, named)
        jobs = job_columns(
            1,
            job_id=[self.submitted],
            gpus=[gpus],
            milli_gpus=[share],
            priority=[draw.randrange(3)],
            submit_ns=[self.now * SECOND],
            duration_ns=[estimate_ns],
            estimate_ns=[estimate_ns],
            host_type=[named],
            preemptible=[draw.random() < 0.8],
            queues=(draw.choice([*self.queues, f"live-{draw.randrange(3)}"]),),  # one of a name that nobody has heard of before
            tenants=(f"t{draw.randrange(5)}",),
        )
        self.submitted += 1
        (slot,) = self.scheduler.add(jobs)
        self.scheduler.arrive(slot)

    def events(self) -> None:
        scheduler, draw = self.scheduler, self.draw
        for _ in range(draw.choice([0, 0, 1, 2, 6])):
            self.submit()
        ids = scheduler.table.job_id
        for slot in sorted(scheduler.running, key=ids.__getitem__):
            fate = draw.random()
            if fate < 0.15:
                scheduler.release(slot, at_ns=self.now * SECOND)
                scheduler.table.state[slot] = State.FINISHED
            elif fate < 0.18:  # a fault
                scheduler.release(slot, at_ns=self.now * SECOND)
                scheduler.requeue(slot)
        waiting = sorted({slot for partition in scheduler.partitions for slot in partition.waiting()}, key=ids.__getitem__)
        for slot in waiting:
            if draw.random() < 0.03:
                scheduler.cancel_pending(slot)
                scheduler.table.state[slot] = State.CANCELLED
        if draw.random() < 0.2:
            host = draw.randrange(16)
            if scheduler.ledger.reasons_of(host):
                scheduler.ledger.release(host, Withheld.CORDONED)
            else:
                scheduler.ledger.withhold(host, Withheld.CORDONED)

    def cycle(self) -> tuple[list[tuple[int, Any]], list[int]]:
        """(Who started and where, who was preempted), by job id."""
        self.now += 1
        self.events()
        return self.plan()

    def plan(self) -> tuple[list[tuple[int, Any]], list[int]]:
        draft, ids = self.scheduler.plan(self.now * SECOND), self.scheduler.table.job_id
        done = [(ids[slot], rows) for slot, rows in draft.starts], [ids[slot] for slot in draft.preempted]
        for slot in draft.preempted:
            self.scheduler.requeue(slot)
        return done


def standing(scheduler: Scheduler) -> Any:
    """All that a start or stop changes."""
    accounts, table = scheduler.accounts, scheduler.table
    assert accounts is not None
    partitions = [
        (
            sorted(partition.waiting()),
            sorted(partition.running),
            partition.free.free_gpus,
            list(partition.free.block_free),
        )
        for partition in scheduler.partitions
    ]
    books = [tree.usage for tree in accounts.quotas.trees], accounts.held_milli_gpus, accounts.running_jobs, accounts.pending_jobs
    return copy.deepcopy((partitions, books, table.state, table.rows, table.start_ns))


# -- the plain rules ----------------------------------------------------------------------------------------------------------------


Used = dict[tuple[str, int], int]


def breaches(rules: Rules, scheduler: Scheduler) -> Iterator[str]:
    """Of KEP-79's plain definition and of the tenants' limits, reckoned from the running jobs alone: the ledger's books are not asked."""
    table = scheduler.table
    used: Used = {}  # by queue and host type
    held: dict[str, list[int]] = {}
    for slot in scheduler.running:
        milli_gpus = table.gpus[slot] * table.milli_gpus[slot]
        key = table.queues[table.queue[slot]], scheduler.ledger.block_type[table.rows[slot][0][0]]
        used[key] = used.get(key, 0) + milli_gpus
        held.setdefault(table.tenants[table.tenant[slot]], []).append(milli_gpus)
    for tenant, amounts in held.items():
        limit = rules.limits.of(tenant)
        if limit.max_milli_gpus is not None and sum(amounts) > limit.max_milli_gpus:
            yield f"tenant {tenant} holds {sum(amounts)}"
        if limit.max_running_jobs is not None and len(amounts) > limit.max_running_jobs:
            yield f"tenant {tenant} runs {len(amounts)} jobs"
    for queue in rules.queues:
        for name, number in used:
            if name == queue.name and queue.quotas and not any(number in flavor for flavor in queue.quotas):
                yield f"{name} has no quota for type {number}"
    for flavor in {flavor for holder in (*rules.queues, *rules.cohorts) for flavor in holder.quotas}:
        for holder in (*rules.queues, *rules.cohorts):
            limited = holder in rules.cohorts or flavor in holder.quotas
            most = holder.quotas.get(flavor, NO_QUOTA).borrowing_limit if holder.cohort else 0
            if limited and most is not None and balance(rules, used, holder, flavor) < -most:
                yield f"{holder.name} has borrowed more than {most} of {flavor}"


def balance(rules: Rules, used: Used, holder: Holder, flavor: Flavor) -> int:
    """KEP-79, T(x, r): what is left of ``flavor`` below ``holder``; what it borrows, where that is negative."""
    left = holder.quotas.get(flavor, NO_QUOTA).nominal
    if holder in rules.queues:
        return left - sum(used.get((holder.name, number), 0) for number in flavor) if flavor in holder.quotas else left
    for other in (*rules.queues, *rules.cohorts):
        if other.cohort == holder.name:
            limit, lent = other.quotas.get(flavor, NO_QUOTA).lending_limit, balance(rules, used, other, flavor)
            left += lent if limit is None else min(lent, limit)
    return left


def keeps_to_the_rules(rules: Rules, run: Run) -> None:
    scheduler, table = run.scheduler, run.scheduler.table
    assert list(breaches(rules, scheduler)) == []
    waiting = sorted({slot for partition in scheduler.partitions for slot in partition.waiting()})
    assert waiting == [slot for slot, state in enumerate(table.state) if state == State.PENDING], (
        "nobody is lost, and who runs does not wait"
    )
    assert sorted(scheduler.running) == [slot for slot, state in enumerate(table.state) if state == State.RUNNING]
    assert scheduler.pending_jobs == len(waiting)
    for partition in scheduler.partitions:
        assert partition.held is not None
        assert not [slot for slot in partition.held if slot in partition.pending]
        assert [partition.position(slot) for slot in partition.waiting()] == list(range(partition.waiting_jobs))


def plain(strict: tuple[str, ...]) -> Any:
    """First in, first out, over everybody who waits; who is over quota is passed over, in a strict queue with all behind. None is held."""

    def plan(draft: Draft) -> None:
        accounts, table = draft.ledger.accounts, draft.table
        assert accounts is not None
        for number, partition in enumerate(draft.ledger.partitions):
            barred: set[int] = set()
            for slot in list(partition.waiting()):
                queue = table.queue[slot]
                if queue in barred:
                    continue
                if not accounts.allows(slot, number):
                    if table.queues[queue] in strict:
                        barred.add(queue)
                    continue
                rows = draft.choose(partition, slot)
                if rows is None:
                    break
                draft.start(slot, rows)

    return plan


SEEDS = st.integers(0, 10**9)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(POLICIES * 2 + sorted(SHELF)))
def test_no_quota_is_ever_exceeded_and_nobody_is_lost(seed: int, policy: str) -> None:
    draw = random.Random(seed)
    rules = random_rules(draw)
    run = Run(rules.scheduler(policy), draw.randrange(10**9), [queue.name for queue in rules.queues])
    for _ in range(40):
        run.cycle()
        keeps_to_the_rules(rules, run)
        if (
            policy in POLICIES and run.scheduler.draft.reconsider_at_ns > (run.now + 1) * SECOND
        ):  # a second look at the same state decides nothing
            for partition in run.scheduler.partitions:
                partition.stirred = True
            before = standing(run.scheduler)
            assert run.plan() == ([], [])
            assert standing(run.scheduler) == before


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(["fifo", "sjf"]))
def test_jobs_held_back_start_when_and_where_they_would_if_all_were_looked_at_in_each_cycle(seed: int, policy: str) -> None:
    draw = random.Random(seed)
    rules = random_rules(draw)
    slow = Policy("plain", plain(rules.strict), by_estimate if policy == "sjf" else by_submission)
    numbers = draw.randrange(10**9), [queue.name for queue in rules.queues]
    # Jobs of any type are left out: the plain policy knows no preference between types.
    runs = [Run(rules.scheduler(one, reclaims=False), *numbers, of_any_type=False) for one in (policy, slow)]
    for _ in range(40):
        ours, theirs = (run.cycle() for run in runs)
        assert ours == theirs


def whole_run(rules: Rules, jobs: JobColumns, faults: Sequence[Fault], policy: str, *, leap: bool) -> list[tuple[int, int, str]]:
    """(When, which job starts, and where), in order; with plans at events alone, as ever, or in all cycles."""
    scheduler = rules.scheduler(policy)
    table, starts = scheduler.table, list[tuple[int, int, str]]()

    def note(slot: int, _at_ns: int) -> None:
        assert list(breaches(rules, scheduler)) == []
        if table.state[slot] == State.RUNNING:
            starts.append((table.start_ns[slot] // SECOND, table.job_id[slot], str(table.rows[slot])))

    # Of both protocols, what the engine asks here.
    shards, network = cast(Shards, ScriptedShards(rules.cluster, faults)), cast(Network, NoNetwork(rules.cluster))
    engine_settings = EngineSettings(cycle_ns=SECOND, costs=Costs(0), max_restarts=10**9)
    engine = Engine(rules.cluster, scheduler, shards, network, iter([jobs]), engine_settings, note)
    at_ns = 0
    while at_ns < 300 * SECOND:
        if not leap:
            engine._reconsider_ns = at_ns
        engine.run_cycle(at_ns)
        at_ns = engine.next_cycle_ns() if leap else at_ns + SECOND
    return starts


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.sampled_from(POLICIES))
def test_a_whole_run_is_the_same_if_every_cycle_is_planned(seed: int, policy: str) -> None:
    draw = random.Random(seed)
    rules = random_rules(draw)
    count = 60
    submit = sorted(draw.randrange(200) for _ in range(count))
    names = [*(queue.name for queue in rules.queues), "live"]
    jobs = job_columns(
        count,
        job_id=list(range(count)),
        submit_ns=[at * SECOND for at in submit],
        gpus=draw.choices([1, 4, 8, 16, 32], k=count),
        duration_ns=[draw.randrange(1, 120) * SECOND for _ in range(count)],
        estimate_ns=[draw.randrange(1, 150) * SECOND for _ in range(count)],
        priority=draw.choices(range(3), k=count),
        preemptible=draw.choices([True, True, False], k=count),
        queue=draw.choices(range(len(names)), k=count),
        queues=tuple(names),
        tenant=draw.choices(range(4), k=count),
        tenants=tuple(f"t{number}" for number in range(4)),
    )
    faults = [(at, host, down) for host in range(3) for at, down in ((draw.randrange(150), True), (draw.randrange(150, 300), False))]
    leaping, stepping = (whole_run(rules, jobs, faults, policy, leap=leap) for leap in (True, False))
    assert leaping == stepping


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(POLICIES))
def test_what_is_undone_leaves_no_trace(seed: int, policy: str) -> None:
    draw = random.Random(seed)
    rules = random_rules(draw)
    run = Run(rules.scheduler(policy), draw.randrange(10**9), [queue.name for queue in rules.queues])
    scheduler, draft = run.scheduler, run.scheduler.draft

    def act(partition: Partition) -> None:
        waiting = sorted(partition.waiting())
        running = sorted(slot for slot in partition.running if scheduler.table.start_ns[slot] < draft.now_ns)
        if running and draw.random() < 0.4:
            draft.preempt(draw.choice(running))
        elif waiting:
            slot = draw.choice(waiting)
            rows = draft.choose(partition, slot)
            if rows is not None:
                try:
                    draft.start(slot, rows)
                except Refused:
                    draft.wait_for_quota(partition, slot)

    for _ in range(15):
        run.cycle()
        draft.begin(run.now * SECOND)
        before, mark = standing(scheduler), draft.mark()
        for _ in range(draw.randrange(12)):
            act(draw.choice(scheduler.partitions))
        draft.undo(mark)
        assert standing(scheduler) == before
        keeps_to_the_rules(rules, run)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_plain_rules_notice_a_breach(policy: str) -> None:
    draw = random.Random(5)
    rules = random_rules(draw)
    run = Run(rules.scheduler(policy), 1, [queue.name for queue in rules.queues])
    accounts = run.scheduler.accounts
    assert accounts is not None
    accounts.allows = lambda slot, host_type, gpus=0: True  # type: ignore[method-assign]  # a ledger that does not look
    found = []
    for _ in range(40):
        run.cycle()
        found += list(breaches(rules, run.scheduler))
    assert found
