"""Preemption by priority, on one block of 16 hosts of 8 GPUs (128 GPUs) unless said otherwise."""

from typing import Any

import pytest

from emulator.scheduler.ledger import Withheld
from emulator.scheduler.scheduler import Scheduler
from tests.scheduler.drive import end, make_cluster, make_scheduler, plan_at, submit
from tests.scheduler.oracle import Job


def scheduler_with(*jobs: Job, policy: str = "fifo", after: int = 0, cycle: int = 1, **settings: Any) -> Scheduler:
    scheduler = make_scheduler(
        make_cluster("hgx"), cycle, policy=policy, preemption=True, preempt_after_ns=after * 10**9, **settings
    )  # fmt: skip
    submit(scheduler, *jobs)
    return scheduler


def test_lowest_priority_first_then_the_latest_start_then_the_highest_id() -> None:
    """8 hosts by four jobs of 2 hosts each; the head needs 8 + 2: one victim, and the second as well where it needs 8 + 4."""
    low = [Job(number, 0, 16, 1000, priority=priority) for number, priority in enumerate((1, 0, 0, 0))]
    for hosts, expected in ((10, [3]), (12, [3, 2]), (14, [3, 2, 1]), (16, [3, 2, 1, 0])):
        scheduler = scheduler_with(*low)
        plan_at(scheduler, 0)
        submit(scheduler, Job(9, 1, hosts * 8, 10, priority=2))
        assert plan_at(scheduler, 1)[:2] == ([9], expected)
    scheduler = scheduler_with(low[1])
    plan_at(scheduler, 0)
    submit(scheduler, low[2])
    plan_at(scheduler, 5)
    submit(scheduler, low[3])
    plan_at(scheduler, 4)  # ids rise, but the second started last
    submit(scheduler, Job(9, 6, 12 * 8, 10, priority=2))
    assert plan_at(scheduler, 6)[:2] == ([9], [2])


def test_no_victim_in_vain() -> None:
    """The head needs 14 hosts, 2 are free. Stopped in order: 1 host (id 3), 3 hosts (id 2), 10 hosts (id 1): only then 2 + 14 are free.

    Without the second it is 2 + 1 + 10 = 13 hosts, too few; without the first 2 + 3 + 10 = 15: the first goes on.
    """
    scheduler = scheduler_with(Job(1, 0, 80, 1000), Job(2, 0, 24, 1000), Job(3, 0, 8, 1000))
    plan_at(scheduler, 0)
    submit(scheduler, Job(9, 1, 14 * 8, 10, priority=1))
    assert plan_at(scheduler, 1)[:2] == ([9], [2, 1])
    assert scheduler.partitions[0].free.whole == 16 - 14 - 1


def test_the_most_valuable_victim_is_spared_first() -> None:
    """The head needs 12 hosts, none is free. Stopped in order: 2 hosts (priority 0), 2 (priority 1), 12 (priority 2): 16.

    12 hosts are enough without both the others. Where the head needs 13, one of them is needed: the one of priority 1 goes on.
    """
    for hosts, expected in ((12, [1]), (13, [3, 1])):
        scheduler = scheduler_with(Job(1, 0, 96, 1000, priority=2), Job(2, 0, 16, 1000, priority=1), Job(3, 0, 16, 1000))
        plan_at(scheduler, 0)
        submit(scheduler, Job(9, 1, hosts * 8, 10, priority=3))
        assert plan_at(scheduler, 1)[:2] == ([9], expected)


def test_never_of_equal_or_higher_priority_nor_what_may_not_be_preempted() -> None:
    for job in (Job(1, 0, 128, 1000, priority=1), Job(1, 0, 128, 1000, priority=2), Job(1, 0, 128, 1000, preemptible=False)):
        scheduler = scheduler_with(job)
        plan_at(scheduler, 0)
        submit(scheduler, Job(9, 1, 8, 10, priority=1))
        assert plan_at(scheduler, 1) == ([], [], None)


def test_nobody_is_stopped_where_that_would_not_do() -> None:
    scheduler = scheduler_with(Job(1, 0, 64, 1000, priority=5), Job(2, 0, 64, 1000))
    plan_at(scheduler, 0)
    submit(scheduler, Job(9, 1, 72, 10, priority=1))
    before = scheduler.partitions[0].free.free_gpus, list(scheduler.partitions[0].free.block_free)
    assert plan_at(scheduler, 1) == ([], [], None)
    assert (scheduler.partitions[0].free.free_gpus, list(scheduler.partitions[0].free.block_free)) == before


def test_a_victim_has_had_its_time() -> None:
    """Started at 0 and 10, preempted after 60: with both needed, a look at 60 (the first is ripe) and one at 70."""
    scheduler = scheduler_with(Job(1, 0, 64, 1000), after=60)
    plan_at(scheduler, 0)
    submit(scheduler, Job(2, 10, 64, 1000))
    plan_at(scheduler, 10)
    submit(scheduler, Job(9, 20, 128, 10, priority=1))
    assert plan_at(scheduler, 20) == ([], [], 60)
    assert plan_at(scheduler, 60) == ([], [], 70)
    assert plan_at(scheduler, 70)[:2] == ([9], [2, 1])


@pytest.mark.parametrize("policy", ["fifo", "sjf", "easy"])
def test_the_preempted_wait_in_their_place_and_do_not_push_back(policy: str) -> None:
    """The victim fits beside the job that pushed it out only when that ends; one more look is asked for, at what may fit now."""
    scheduler = scheduler_with(Job(1, 0, 128, 50), policy=policy)
    plan_at(scheduler, 0)
    submit(scheduler, Job(2, 1, 128, 10), Job(9, 1, 8, 10, priority=1))
    assert plan_at(scheduler, 1) == ([9], [1], 2)
    assert plan_at(scheduler, 2)[:2] == ([], [])
    assert list(scheduler.partitions[0].pending.in_order()) == ([1, 0] if policy == "sjf" else [0, 1])
    end(scheduler, 2, 11)
    assert plan_at(scheduler, 11)[:2] == ([2] if policy == "sjf" else [1], [])


@pytest.mark.parametrize("policy", ["fifo", "sjf", "easy"])
def test_a_victim_that_fits_elsewhere_goes_on_at_the_next_cycle(policy: str) -> None:
    """14 hosts are held; host 14 by two jobs of 4 GPUs, host 15 has 4 free. The head, a whole host, stops both; one goes on there."""
    scheduler = scheduler_with(
        Job(1, 0, 112, 5, preemptible=False),
        Job(2, 0, 4, 10),
        Job(3, 0, 4, 10),
        Job(4, 0, 4, 20, preemptible=False),
        policy=policy,
        cycle=10,
    )
    assert plan_at(scheduler, 0)[0] == [1, 2, 3, 4]
    submit(scheduler, Job(9, 10, 8, 100, priority=1))
    assert plan_at(scheduler, 10) == ([9], [3, 2], 20)
    assert plan_at(scheduler, 20)[:2] == ([2], [])


@pytest.mark.parametrize("policy", ["fifo", "easy"])
def test_what_comes_after_a_victim_waits_for_the_next_cycle(policy: str) -> None:
    """Or it would take the victim's place and be pushed out by it a cycle later.

    Of 16 hosts the head takes 10 and the victim needs 8 of the 6 left: at the next cycle it has its turn, and only EASY lets a job of 6
    hosts pass it, since at the head's end there are 8 hosts beside the victim's.
    """
    scheduler = scheduler_with(Job(1, 0, 64, 50), policy=policy, cycle=10)
    plan_at(scheduler, 0)
    submit(scheduler, Job(2, 10, 48, 500, priority=-1), Job(9, 10, 80, 100, priority=1))
    assert plan_at(scheduler, 10) == ([9], [1], 20)
    assert plan_at(scheduler, 20)[:2] == ([2] if policy == "easy" else [], [])


def test_no_room_is_made_behind_the_head() -> None:
    """Only the head may push: under EASY a job of high priority behind a blocked head waits for its turn like the rest."""
    scheduler = scheduler_with(Job(1, 0, 96, 1000, preemptible=False), Job(2, 0, 32, 1000), policy="easy")
    plan_at(scheduler, 0)
    submit(scheduler, Job(8, 1, 128, 10, priority=2), Job(9, 1, 8, 10, priority=1))
    assert plan_at(scheduler, 1)[:2] == ([], [])


def test_room_is_made_before_backfilling() -> None:
    """16 hosts: 15 held by id 1 (until 100), 1 free. Id 9 needs 2 hosts and stops id 1, though others could be backfilled on the free one.

    At the next cycle, 2, 14 hosts are free, and id 8 (16 hosts) waits for id 9's end at 11. Id 7 ends by then and starts, id 6 does not.
    """
    scheduler = scheduler_with(Job(1, 0, 120, 100), policy="easy")
    plan_at(scheduler, 0)
    submit(scheduler, Job(6, 1, 8, 10), Job(7, 1, 8, 9), Job(8, 1, 128, 10, priority=1), Job(9, 1, 16, 10, priority=2))
    assert plan_at(scheduler, 1) == ([9], [1], 2)
    assert plan_at(scheduler, 2) == ([7], [], 11)


def test_shares_of_a_gpu_are_preempted_too() -> None:
    """128 GPUs: 127 held for good, one shared by 600 and 300 of low priority. A share of 500 needs the first of them gone only."""
    scheduler = scheduler_with(
        Job(1, 0, 120, 1000, priority=9), Job(2, 0, 7, 1000, priority=9), Job(3, 0, 1, 1000, milli=600), Job(4, 0, 1, 1000, milli=300)
    )
    assert plan_at(scheduler, 0)[0] == [1, 2, 3, 4]
    submit(scheduler, Job(9, 1, 1, 10, milli=500, priority=1))
    assert plan_at(scheduler, 1)[:2] == ([9], [3])
    submit(scheduler, Job(10, 2, 1, 10, priority=2))
    assert plan_at(scheduler, 2)[:2] == ([10], [4, 9])


def test_victims_on_cordoned_hosts_are_left_alone() -> None:
    """Their GPUs could not be given to anybody; and trying so leaves the counts as they were."""
    scheduler = scheduler_with(Job(1, 0, 64, 1000), Job(2, 0, 60, 1000))
    plan_at(scheduler, 0)
    for host in range(8, 16):
        scheduler.ledger.withhold(host, Withheld.CORDONED)
    submit(scheduler, Job(9, 1, 64, 10, priority=1))
    assert plan_at(scheduler, 1)[:2] == ([9], [1])
    assert (scheduler.partitions[0].free.whole, scheduler.partitions[0].free.free_gpus) == (0, 0)
    end(scheduler, 1, 2)
    for host in range(8, 16):
        scheduler.ledger.release(host, Withheld.CORDONED)
    assert (scheduler.partitions[0].free.whole, scheduler.partitions[0].free.free_gpus) == (8, 64)


def test_a_share_on_a_cordoned_host_is_not_preempted() -> None:
    """All GPUs are held, one of them by shares of 600 and 300 on a cordoned host: nobody could be given what 600 would give back."""
    scheduler = scheduler_with(
        Job(1, 0, 1, 1000, milli=600),
        Job(2, 0, 120, 1000, priority=9),
        Job(3, 0, 7, 1000, priority=9),
        Job(4, 0, 1, 1000, milli=300, priority=9),
    )
    assert plan_at(scheduler, 0)[0] == [2, 3, 4, 1]
    (host,) = scheduler.hosts_of(scheduler.table.rows[0])
    scheduler.ledger.withhold(host, Withheld.CORDONED)
    submit(scheduler, Job(9, 1, 1, 10, milli=500, priority=1))
    assert plan_at(scheduler, 1)[:2] == ([], [])
