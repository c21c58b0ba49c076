"""Queues with quotas at work: the ledger refuses, policies pass over, queues take back what they lent. 16 hosts of 8 GPUs: 128."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.scheduler.accounts import TenantLimit, TenantLimits
from emulator.scheduler.draft import Draft
from emulator.scheduler.elastic import Elastic
from emulator.scheduler.explain import explain_pending
from emulator.scheduler.outside import Outside
from emulator.scheduler.outside_actions import Decisions, Start
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy
from emulator.scheduler.quota import Holder, Quotas
from emulator.scheduler.quota_tree import Quota
from emulator.scheduler.reclaim import Reclaims, Victims
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, job_columns
from tests.scheduler.drive import make_cluster, make_scheduler
from tests.scheduler.test_every_policy import gpus_are_held_once
from tests.scheduler.test_outside import Program
from tests.scheduler.test_partitions import two_types

K = 1000
ALL = (0,)
ANY = Reclaims(within_cohort=Victims.ANY)


def scheduler_of(a: Quota, b: Quota | None = None, policy: str | Policy = "easy", **more: Any) -> Scheduler:
    """Queues a and b in one cohort, and a queue of which nothing is said."""
    cluster = make_cluster("hgx")
    holders = [Holder(name, "lab", {ALL: quota}) for name, quota in (("a", a), ("b", b)) if quota is not None]
    quotas = Quotas(holders, [Holder("lab")], [cluster.host_types[0].name])
    return make_scheduler(cluster, policy=policy, quotas=quotas, **more)


class Clock:
    """Submits jobs and plans cycles of one second."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler, self.now, self.next_id = scheduler, 0, 0

    def submit(
        self,
        queue: str,
        gpus: int,
        tenant: str = "t",
        priority: int = 0,
        estimate: int = 3600,
        *,
        preemptible: bool = True,
        host_type: int = 0,
        least: int = 0,
    ) -> int:
        jobs = job_columns(
            1,
            job_id=[self.next_id],
            gpus=[gpus],
            min_gpus=[least],
            priority=[priority],
            submit_ns=[self.now * SECOND],
            duration_ns=[estimate * SECOND],
            estimate_ns=[estimate * SECOND],
            preemptible=[preemptible],
            host_type=[host_type],
            queues=(queue,),
            tenants=(tenant,),
        )
        self.next_id += 1
        (slot,) = self.scheduler.add(jobs)
        self.scheduler.arrive(slot)
        return slot

    def cycle(self) -> tuple[list[int], list[int]]:
        """(Who started, who was preempted), by job id."""
        self.now += 1
        draft = self.scheduler.plan(self.now * SECOND)
        table = self.scheduler.table
        started = [table.job_id[slot] for slot, _ in draft.starts]
        preempted = [table.job_id[slot] for slot in draft.preempted]
        for slot in draft.preempted:
            self.scheduler.requeue(slot)
        return started, preempted

    def end(self, slot: int) -> None:
        self.scheduler.release(slot, at_ns=self.now * SECOND)
        self.scheduler.table.state[slot] = State.FINISHED

    def why(self, slot: int) -> tuple[str, str]:
        reason = explain_pending(self.scheduler, slot)
        return reason.kind, f"{reason.text}; {reason.remedy}" if reason.remedy else reason.text


@pytest.mark.parametrize("policy", ["fifo", "sjf", "easy", "conservative"])
def test_a_queue_over_quota_is_in_nobodys_way(policy: str) -> None:
    clock = Clock(scheduler_of(Quota(16 * K, borrowing_limit=0), Quota(64 * K), policy))
    first = clock.submit("a", 16)
    over = clock.submit("a", 8)
    clock.submit("b", 32)
    clock.submit("elsewhere", 32)
    assert clock.cycle() == ([0, 2, 3], [])
    assert clock.scheduler.waits(over)
    assert clock.scheduler.pending_jobs == 1
    why = "quota of queue a: 16 of 16 GPUs taken; needs 8, 0 left, since it may borrow 0 at most"
    assert clock.why(over) == ("quota", f"{why}; has quota when jobs of queue a that hold 8 GPUs end")
    assert clock.cycle() == ([], [])
    clock.end(first)
    assert clock.cycle() == ([1], [])
    assert clock.scheduler.pending_jobs == 0


def test_best_effort_passes_a_held_job_and_strict_does_not() -> None:
    for strict, started in (((), [0, 2]), (("a",), [0])):
        clock = Clock(scheduler_of(Quota(16 * K), strict_queues=strict))
        clock.submit("a", 8)
        clock.submit("a", 16)
        clock.submit("a", 8)
        assert clock.cycle()[0] == started
        clock.submit("a", 8)
        assert clock.cycle() == ([], []), "one that comes later does not pass either"
        first = clock.submit("a", 8, priority=1)
        assert clock.cycle()[0] == ([4] if strict else []), "one that goes before may start"
        if strict:
            clock.end(first)
            clock.end(0)
            assert clock.cycle()[0] == [1]


@pytest.mark.parametrize("policy", ["fifo", "sjf", "easy"])
def test_who_gets_no_room_after_all_leaves_it_to_the_next_one_held(policy: str) -> None:
    """Jobs 4 and 5 are of one tenant, who may hold 8 GPUs: job 6 has the quota that 5 cannot use, before job 7 takes the last hosts."""
    limits = TenantLimits(TenantLimit(), {"one": TenantLimit(max_milli_gpus=8 * K)})
    own = Quota(8 * K, borrowing_limit=0)
    clock = Clock(scheduler_of(own, own, policy, tenant_limits=limits))
    first, second, _ = clock.submit("a", 8), clock.submit("b", 8), clock.submit("elsewhere", 112)
    assert clock.cycle()[0] == [0, 1, 2]
    clock.submit("a", 16)
    clock.submit("a", 8, "one")
    clock.submit("b", 8, "one")
    clock.submit("b", 8, "two")
    clock.submit("elsewhere", 8)
    assert clock.cycle() == ([], [])
    clock.end(first)
    clock.end(second)
    assert clock.cycle()[0] == [4, 6]


@pytest.mark.parametrize("policy", ["fifo", "sjf"])
def test_a_job_that_loses_its_room_to_one_on_other_hosts_is_in_the_way_no_longer(policy: str) -> None:
    limits = TenantLimits(TenantLimit(), {"one": TenantLimit(max_running_jobs=1)})
    scheduler = make_scheduler(two_types("leaves"), policy=policy, tenant_limits=limits)
    clock = Clock(scheduler)
    clock.submit("x", scheduler.partitions[1].gpus - 4, host_type=1)
    clock.cycle()
    clock.submit("x", 8, "one", host_type=1)  # waits for hosts
    clock.submit("x", 4, "two", host_type=1, estimate=7200)
    assert clock.cycle() == ([], [])
    clock.submit("x", 8, "one", host_type=0, priority=1)
    assert clock.cycle()[0] == [3, 2]


def test_the_ledger_refuses_what_breaks_a_quota_or_a_limit() -> None:
    limits = TenantLimits(TenantLimit(), {"eve": TenantLimit(max_milli_gpus=8 * K, max_running_jobs=1)})
    clock = Clock(scheduler_of(Quota(16 * K), tenant_limits=limits))
    draft, refusals = clock.scheduler.draft, []
    slots = [clock.submit("a", 24), *(clock.submit("a", gpus, "eve") for gpus in (16, 8, 8))]
    for slot in slots:
        partition = clock.scheduler.partitions[0]
        rows = draft.choose(partition, slot)
        assert rows is not None
        try:
            draft.start(slot, rows)
        except Refused as error:
            refusals.append((error.rule, str(error)))
    assert refusals == [
        (Rule.QUOTA, "job 0: quota of queue a: 0 of 16 GPUs taken; needs 24, 16 left, and never more than 16"),
        (Rule.LIMIT, "job 1: tenant eve holds 0 GPUs, of 8 that it may; needs 16"),
        (Rule.LIMIT, "job 3: tenant eve has 1 running jobs, of 1 that it may have"),
    ]
    assert clock.why(slots[-1]) == (
        "quota",
        "tenant eve has 1 running jobs, of 1 that it may have; may start when a job of tenant eve ends",
    )
    assert clock.why(slots[0])[1].endswith("; never starts without a larger quota or borrowing limit")


def test_a_job_is_told_whom_it_waits_for_and_what_its_queue_may_not_do() -> None:
    clock = Clock(scheduler_of(Quota(16 * K), Quota(64 * K), strict_queues=("a",)))
    clock.submit("a", 8)
    clock.submit("b", 64)
    first, behind = clock.submit("a", 16), clock.submit("a", 8)
    clock.cycle()
    why = "quota of queue a: 8 of 16 GPUs taken; needs 16, 8 left in cohort lab"
    assert clock.why(first) == ("quota", f"{why}; has quota when 8 GPUs come back to cohort lab")
    assert clock.why(behind) == ("quota", f"queue a is strict-fifo, and job 2 is first: {why}; may start when job 2 has started")
    clock = Clock(scheduler_of(Quota(32 * K), Quota(32 * K)))
    clock.submit("b", 64)
    clock.cycle()
    assert clock.why(clock.submit("a", 8))[1].endswith(
        "when 8 GPUs come back to cohort lab; the queue may not take back what it has lent (preemption.reclaim_within_cohort: never)"
    )


def test_a_tenant_has_only_so_many_jobs_waiting() -> None:
    clock = Clock(scheduler_of(Quota(8 * K), tenant_limits=TenantLimits(TenantLimit(max_pending_jobs=2))))
    slots = [clock.submit("a", 8) for _ in range(4)] + [clock.submit("a", 8, "other")]
    state = clock.scheduler.table.state
    assert [state[slot] for slot in slots] == [State.PENDING, State.PENDING, State.REJECTED, State.REJECTED, State.PENDING]
    assert clock.cycle()[0] == [0]
    assert state[clock.submit("a", 8)] == State.PENDING, "one of the two has started"
    clock.scheduler.cancel_pending(slots[1])
    assert state[clock.submit("a", 8)] == State.PENDING


def test_a_lender_takes_back_what_it_lent() -> None:
    """b has borrowed all; of its jobs, those that started last go first, and no more of them than are needed."""
    clock = Clock(scheduler_of(Quota(64 * K), Quota(64 * K), reclaims={"a": ANY}))
    for _ in range(4):
        clock.submit("b", 32)
        clock.cycle()
    lender = clock.submit("a", 16)
    assert clock.why(lender)[1] == (
        "quota of queue a: 64 of 64 GPUs taken, of which 64 lent to b; needs 16, 0 left in cohort lab; "
        "has quota when 16 GPUs come back to cohort lab, or when jobs that borrow of it can be stopped"
    )
    assert clock.cycle() == ([4], [3])
    causes = clock.scheduler.draft.causes
    assert causes == {3: "preempted to give back GPUs to queue a, for job 4"}
    assert clock.cycle() == ([], []), "b's job waits: it would need 32, and 16 are left"
    assert clock.why(3)[0] == "quota"
    clock.submit("a", 48)
    assert clock.cycle() == ([5], [2])
    clock.submit("a", 8)
    assert clock.cycle() == ([], []), "a has its nominal quota; more it cannot ask for"


def test_borrowers_shrink_before_any_is_stopped() -> None:
    """b has borrowed all. Of its jobs the one that started last shrinks first, and no more of them than it takes; nothing is stopped."""
    clock = Clock(scheduler_of(Quota(64 * K), Quota(64 * K), reclaims={"a": ANY}, elastic=Elastic.ALWAYS))
    slots = []
    for least in (16, 16, 0, 8):
        slots.append(clock.submit("b", 32, least=least))
        clock.cycle()
    table, draft = clock.scheduler.table, clock.scheduler.draft

    def sizes() -> list[int]:
        return [table.size_gpus[slot] for slot in slots]

    clock.submit("a", 16)
    assert clock.cycle() == ([4], [])
    assert (sizes(), draft.causes) == ([32, 32, 32, 8], {slots[3]: "shrank from 32 GPUs to give back GPUs to queue a, for job 4"})
    clock.submit("a", 24)
    assert clock.cycle() == ([5], [])
    assert (sizes(), list(draft.causes)) == ([32, 16, 32, 8], [slots[1]])
    clock.submit("a", 16)
    assert clock.cycle() == ([6], [])
    assert (sizes(), clock.scheduler.free_gpus()) == ([16, 16, 32, 8], (0, 0))


def test_where_shrinking_is_not_enough_jobs_are_stopped_and_nobody_shrinks() -> None:
    clock = Clock(scheduler_of(Quota(64 * K), Quota(64 * K), reclaims={"a": ANY}, elastic=Elastic.ALWAYS))
    slots = [clock.submit("b", 64, least=48), clock.submit("b", 64)]
    clock.cycle()
    clock.submit("a", 64)
    assert clock.cycle() == ([2], [1])
    assert [clock.scheduler.table.size_gpus[slot] for slot in slots] == [64, 64]
    assert not clock.scheduler.draft.migrated


@pytest.mark.parametrize("elastic", [Elastic.START, Elastic.ALWAYS])
def test_sizes_change_for_a_lender_only_where_they_may(elastic: Elastic) -> None:
    clock = Clock(scheduler_of(Quota(64 * K), Quota(64 * K), reclaims={"a": ANY}, elastic=elastic))
    slot = clock.submit("b", 128, least=64)
    clock.cycle()
    clock.submit("a", 64)
    assert clock.cycle() == ([1], [0] if elastic is Elastic.START else [])
    assert clock.scheduler.table.size_gpus[slot] == 64


def test_a_policy_outside_is_told_of_what_a_lender_takes_back() -> None:
    """b's job shrank, and a's was started, before the policy was asked."""
    program = Program()
    outside = Outside(program.ask, POLICIES["easy"], program.account, program.notices.append).policy("mine")
    clock = Clock(scheduler_of(Quota(64 * K), Quota(64 * K), outside, reclaims={"a": ANY}, elastic=Elastic.ALWAYS))
    slot = clock.submit("b", 128, least=64)
    program.answer = Decisions([Start(0)])
    assert clock.cycle() == ([0], [])
    lender = clock.submit("a", 64)
    clock.submit("b", 8)
    assert clock.cycle() == ([1], [])
    view = program.views[-1]
    assert [(job_id, state) for job_id, _, state in view.left] == [(0, State.PENDING)]
    assert (sorted(view.running), program.waiting()) == (sorted([slot, lender]), [2])


def test_a_lender_with_hosts_but_without_quota_and_the_reverse() -> None:
    """Of 128 GPUs the cohort has 64 only, and the other way round: a queue without quota holds the hosts."""
    clock = Clock(scheduler_of(Quota(32 * K), Quota(32 * K), reclaims={"a": ANY}))
    clock.submit("b", 64)
    clock.cycle()
    clock.submit("a", 8)
    assert clock.cycle() == ([1], [0])
    clock = Clock(scheduler_of(Quota(64 * K), Quota(64 * K), reclaims={"a": ANY}))
    clock.submit("elsewhere", 48)
    clock.submit("b", 72)
    clock.cycle()
    clock.submit("a", 16)
    assert clock.cycle() == ([2], [1]), "8 GPUs are free, and b borrows"


def test_a_strict_queue_takes_back_for_its_first_job_alone() -> None:
    for strict, done in (((), ([2], [0])), (("a",), ([], []))):
        clock = Clock(scheduler_of(Quota(16 * K), Quota(16 * K), reclaims={"a": ANY}, strict_queues=strict))
        clock.submit("b", 32)
        clock.cycle()
        clock.submit("a", 24)  # more than its queue's own
        clock.submit("a", 8)
        assert clock.cycle() == done


def test_a_job_for_which_nobody_can_be_stopped_does_not_keep_others_from_it() -> None:
    clock = Clock(scheduler_of(Quota(64 * K), Quota(64 * K), reclaims={"a": ANY}, preempt_interval_ns=100 * SECOND))
    for preemptible in (False, True):
        clock.submit("b", 64, preemptible=preemptible)
    clock.cycle()
    clock.submit("a", 64, priority=1)
    clock.submit("elsewhere", 8)
    clock.submit("a", 16)
    assert clock.cycle() == ([2], [1])
    clock = Clock(scheduler_of(Quota(64 * K), Quota(64 * K), reclaims={"a": ANY}, preempt_interval_ns=100 * SECOND))
    clock.submit("b", 96, preemptible=False)
    clock.submit("b", 32)
    clock.cycle()
    clock.submit("a", 64, priority=1)
    assert clock.cycle() == ([], [])
    clock.submit("a", 16)
    assert clock.cycle() == ([3], [1]), "another kind of job, within the interval"


@pytest.mark.parametrize(
    ("how", "asking", "stopped"),
    [
        (Reclaims(within_cohort=Victims.LOWER_PRIORITY), 5, [1]),
        (Reclaims(within_cohort=Victims.LOWER_PRIORITY), 3, []),
        (Reclaims(within_cohort=Victims.LOWER_PRIORITY), 0, []),
        (Reclaims(), 9, []),
    ],
)
def test_only_lower_priorities_are_stopped_where_it_says_so(how: Reclaims, asking: int, stopped: list[int]) -> None:
    clock = Clock(scheduler_of(Quota(64 * K), Quota(64 * K), reclaims={"a": how}))
    clock.submit("b", 64, priority=7)
    clock.submit("b", 64, priority=3)
    clock.cycle()
    clock.submit("a", 64, priority=asking)
    assert clock.cycle()[1] == stopped


def test_a_queue_makes_room_for_its_own() -> None:
    how = Reclaims(within_queue=Victims.LOWER_PRIORITY)
    clock = Clock(scheduler_of(Quota(32 * K, borrowing_limit=0), Quota(64 * K), reclaims={"a": how}))
    clock.submit("a", 32, priority=1)
    clock.submit("b", 32)
    clock.cycle()
    clock.submit("a", 8, priority=1)
    assert clock.cycle() == ([], [])
    clock.submit("a", 8, priority=2)
    assert clock.cycle() == ([3], [0])
    assert clock.scheduler.draft.causes == {0: "preempted within its queue, for job 3"}


def test_what_a_queue_would_borrow_it_takes_of_lower_priorities_only() -> None:
    """Kueue: borrowWithinCohort."""
    for while_borrowing, stopped in ((Victims.NEVER, []), (Victims.LOWER_PRIORITY, [1])):
        how = Reclaims(Victims.ANY, while_borrowing)
        clock = Clock(scheduler_of(Quota(32 * K), Quota(32 * K), reclaims={"a": how}))
        clock.submit("a", 16)
        clock.submit("b", 48, priority=-1)
        clock.cycle()
        clock.submit("a", 24)
        assert clock.cycle()[1] == stopped


def test_quota_is_kept_for_the_head_of_the_queue() -> None:
    """The head waits for hosts, not for quota; a short job of its queue does not take the quota away."""
    clock = Clock(scheduler_of(Quota(64 * K, borrowing_limit=0)))
    blocker = clock.submit("elsewhere", 80, estimate=100)
    clock.cycle()
    clock.submit("a", 64)
    clock.submit("a", 8, estimate=10)
    clock.submit("elsewhere", 8, estimate=10)
    assert clock.cycle()[0] == [3]
    clock.end(blocker)
    assert clock.cycle()[0] == [1]


def test_what_a_policy_takes_back_comes_back_of_quota_too() -> None:
    clock = Clock(scheduler_of(Quota(16 * K)))
    slot, other = clock.submit("a", 16), clock.submit("a", 8)
    draft, partition = clock.scheduler.draft, clock.scheduler.partitions[0]
    draft.begin(SECOND)
    mark = draft.mark()
    first, second = draft.waiting()
    assert draft.try_start(first)
    assert not draft.try_start(second)
    draft.wait_for_quota(partition, other)
    draft.undo(mark)
    assert [job.slot for job in draft.waiting()] == [slot, other]
    assert partition.held is not None
    assert not partition.held
    assert draft.try_start(second)
    assert not draft.try_start(first)


def keeps_to_everything(scheduler: Scheduler, limits: TenantLimits) -> None:
    """From the running jobs alone: the ledger's own books are not asked."""
    table, quotas = scheduler.table, scheduler.settings.quotas
    assert quotas is not None
    used: dict[str, int] = {}
    of_tenant: dict[str, list[int]] = {}
    for slot in scheduler.running:
        milli_gpus = table.size_gpus[slot] * 1000
        used[table.queues[table.queue[slot]]] = used.get(table.queues[table.queue[slot]], 0) + milli_gpus
        of_tenant.setdefault(table.tenants[table.tenant[slot]], []).append(milli_gpus)
    (tree,) = quotas.trees
    assert tree.usage[: quotas.queues] == [used.get(name, 0) for name in quotas.names]
    assert all(tree.available(queue) >= 0 for queue in range(quotas.queues))
    for tenant, held in of_tenant.items():
        limit = limits.of(tenant)
        assert limit.max_milli_gpus is None or sum(held) <= limit.max_milli_gpus
        assert limit.max_running_jobs is None or len(held) <= limit.max_running_jobs


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["fifo", "sjf", "easy", "conservative"]), st.sampled_from(Elastic))
def test_no_quota_and_no_limit_is_ever_exceeded_and_no_job_is_lost(seed: int, policy: str, elastic: Elastic) -> None:
    draw = random.Random(seed)
    one, two = [Quota(draw.randrange(0, 80) * K, *(draw.choice([None, draw.randrange(0, 64) * K]) for _ in range(2))) for _ in range(2)]
    limits = TenantLimits(TenantLimit(max_milli_gpus=64 * K), {"t1": TenantLimit(max_running_jobs=2)})
    how = {name: Reclaims(*(draw.choice([Victims.NEVER, Victims.LOWER_PRIORITY, Victims.ANY]) for _ in range(3))) for name in "ab"}
    clock = Clock(
        scheduler_of(one, two, policy, tenant_limits=limits, strict_queues=draw.choice([(), ("a",)]), reclaims=how, elastic=elastic)
    )
    table = clock.scheduler.table
    for _ in range(40):
        for _ in range(draw.randrange(0, 3)):
            gpus, least = draw.choice([(1, 0), (4, 0), (8, 0), (16, 0), (32, 0), (32, 8), (16, 4), (48, 8)])
            clock.submit(draw.choice(["a", "b", "c"]), gpus, f"t{draw.randrange(3)}", draw.randrange(3), least=least)
        clock.cycle()
        gpus_are_held_once(clock.scheduler)
        keeps_to_everything(clock.scheduler, limits)
        running = sorted(clock.scheduler.running)
        assert clock.scheduler.pending_jobs == table.state.count(State.PENDING)
        assert len(running) == table.state.count(State.RUNNING)
        for slot in running:
            if draw.random() < 0.2:
                clock.end(slot)
    for _ in range(100):  # what can ever start does, when everybody before it has ended
        for slot in sorted(clock.scheduler.running):
            clock.end(slot)
        clock.cycle()
        keeps_to_everything(clock.scheduler, limits)
    accounts = clock.scheduler.accounts
    assert accounts is not None
    for slot, state in enumerate(table.state):
        if state == State.PENDING and "a" not in clock.scheduler.settings.strict_queues:
            assert not accounts.quotas.could_ever_fit(table.queue[slot], 0, table.size_gpus[slot] * K), f"job {table.job_id[slot]} starves"


def test_a_policy_of_others_is_held_to_it_too() -> None:
    def plan(draft: Draft) -> None:
        for job in draft.waiting():
            draft.try_start(job)

    limits = TenantLimits(TenantLimit(max_running_jobs=1))
    clock = Clock(make_scheduler(make_cluster("hgx"), policy=Policy("mine", plan), tenant_limits=limits))
    clock.submit("x", 8)
    clock.submit("x", 8)
    clock.submit("x", 8, "other")
    assert clock.cycle()[0] == [0, 2]
