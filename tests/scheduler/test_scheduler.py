"""What the scheduler says of jobs that do not start, and what EASY does in cases small enough to work out."""

import numpy as np
import pytest

from emulator.scheduler.explain import Reason, explain_pending
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.scheduler.table import ENDLESS, State
from emulator.workload.jobs import LEVEL_NAMES, SECOND, JobKind, job_columns
from tests.scheduler.drive import end, make_cluster, make_scheduler, plan_at, submit
from tests.scheduler.oracle import Job

LEAF, HOST = LEVEL_NAMES.index("leaf"), LEVEL_NAMES.index("host")


def test_a_job_id_twice() -> None:
    scheduler = make_scheduler(make_cluster("hgx"))
    submit(scheduler, Job(7, 0, 1, 1))
    with pytest.raises(ValueError, match="job id 7 is given twice"):
        submit(scheduler, Job(8, 0, 1, 1), Job(7, 0, 1, 1))


@pytest.mark.parametrize("policy", ["fifo", "easy"])
def test_the_limit_counts_the_waiting_and_the_infeasible_block_nobody(policy: str) -> None:
    scheduler = make_scheduler(make_cluster("hgx"), policy=policy, pending_limit=2)
    slots = submit(scheduler, Job(1, 0, 129, 10), Job(2, 0, 16, 10, require=HOST), Job(3, 0, 128, 10), Job(4, 0, 8, 10), Job(5, 0, 8, 10))
    states = [scheduler.table.state[slot] for slot in slots]
    assert states == [State.INFEASIBLE, State.INFEASIBLE, State.PENDING, State.PENDING, State.REJECTED]
    assert plan_at(scheduler, 0)[0] == [3]
    assert [scheduler.table.state[slot] for slot in submit(scheduler, Job(6, 1, 8, 1), Job(7, 1, 8, 1))] == [State.PENDING, State.REJECTED]
    counts = scheduler.counts[0]
    assert (counts.pending_jobs, counts.pending_gpus, counts.running_jobs, counts.running_gpus) == (2, 16, 1, 128)
    scheduler.cancel_pending(slots[3])
    assert (counts.pending_jobs, counts.pending_gpus) == (1, 8)


@pytest.mark.parametrize("policy", ["fifo", "sjf", "easy", "conservative"])
def test_explanations(policy: str) -> None:
    """10 leaves of 4 hosts. Held: 3 hosts of each and half of the last of leaves 0 and 1. One host is cordoned, one is down.

    That leaves 6 whole hosts, none beside another, and 2 of 4 GPUs: 56.
    """
    cluster = make_cluster("leaves")
    scheduler = make_scheduler(cluster, policy=policy)
    for block in range(10):
        scheduler.partitions[0].free.take([(block, 0b0111, 0xFF)])
    scheduler.partitions[0].free.take([(0, 0b1000, 0x0F), (1, 0b1000, 0x0F)])
    scheduler.ledger.withhold(39, Withheld.CORDONED)
    scheduler.ledger.withhold(35, Withheld.DOWN)

    def why(*jobs: Job) -> Reason:
        slots = submit(scheduler, *jobs)
        reasons = [explain_pending(scheduler, slot) for slot in slots]
        for slot in slots:
            scheduler.cancel_pending(slot)
        return reasons[-1]

    withheld = "1 host is down; 1 host is cordoned"
    capacity = why(Job(1, 0, 100, 10))
    assert (capacity.kind, capacity.text, capacity.position) == ("capacity", f"needs 100 GPUs, 56 are free; {withheld}", 0)
    assert capacity.numbers == {
        "gpus_needed": 100, "gpus_free": 56, "whole_hosts_needed": 12, "whole_hosts_free": 6, "whole_hosts_missing": 6,
        "split_hosts_free": 2, "split_gpus_free": 8, "hosts_down": 1, "hosts_cordoned": 1,
    }  # fmt: skip
    fragmentation = why(Job(2, 0, 53, 10))
    assert fragmentation.kind == "fragmentation"
    split = "8 GPUs are free on 2 hosts that also hold other jobs"
    assert fragmentation.text == f"needs 6 whole hosts and 5 GPUs on one host; 56 GPUs are free, but only 6 whole hosts are free; {split}"
    spread = why(Job(3, 0, 16, 10, require=LEAF))
    assert (spread.kind, spread.text) == (
        "topology",
        "needs 2 whole hosts inside one leaf; 6 whole hosts are free, at most 1 of them in one leaf (the largest has 4)",
    )
    assert why(Job(4, 0, 16, 10)).text == "starts in the next cycle"
    turn = why(Job(5, 0, 100, 10), Job(6, 0, 16, 10, estimate=11))
    assert (turn.kind, turn.position) == ("priority", 1)
    assert turn.text == "would fit, but 1 job is ahead of it; the first, job 5, waits for 100 GPUs"
    assert {name: turn.numbers[name] for name in ("jobs_ahead", "head_job_id", "head_gpus")} == {
        "jobs_ahead": 1, "head_job_id": 5, "head_gpus": 100,
    }  # fmt: skip


def test_explanations_of_shares() -> None:
    scheduler = make_scheduler(make_cluster("hgx"), policy="fifo")
    submit(scheduler, Job(1, 0, 1, 10, milli=600), Job(2, 0, 120, 10), Job(3, 0, 7, 10))
    assert plan_at(scheduler, 0)[0] == [1, 2, 3]
    fits, full = submit(scheduler, Job(4, 1, 1, 10, milli=400), Job(5, 1, 1, 10, milli=500))
    assert explain_pending(scheduler, fits).text == "starts in the next cycle"
    assert explain_pending(scheduler, full).kind == "capacity"
    assert explain_pending(scheduler, full).text == "needs 0.5 of a GPU; no GPU is free, and no shared one has that much left"
    assert explain_pending(scheduler, full).numbers["gpus_needed"] == 0.5


@pytest.mark.parametrize("policy", ["fifo", "sjf", "easy", "conservative"])
def test_positions_follow_the_queue(policy: str) -> None:
    scheduler = make_scheduler(make_cluster("hgx"), policy=policy)
    draw = np.random.default_rng(3)
    slots = list(submit(scheduler, *(Job(n, n // 3, 8, int(draw.integers(1, 9)), priority=int(draw.integers(3))) for n in range(300))))
    for round_ in range(4):
        for slot in draw.permutation(slots)[:100].tolist():
            if slot in scheduler.partitions[0].pending:
                scheduler.cancel_pending(slot)
            else:
                scheduler.requeue(slot)
        order = list(scheduler.partitions[0].pending.in_order())
        table = scheduler.table
        estimate = [table.estimate_ns[slot] if policy == "sjf" else 0 for slot in slots]
        expected = sorted(
            (slot for slot in slots if slot in scheduler.partitions[0].pending),
            key=lambda s: (-table.priority[s], estimate[s], table.submit_ns[s], s),
        )
        assert order == expected
        assert scheduler.partitions[0].pending.head() == expected[0]
        assert [scheduler.partitions[0].pending.position(slot) for slot in order] == list(range(len(order))), round_


# -- EASY ---------------------------------------------------------------------------------------------------------------------------------


def test_a_job_started_in_this_cycle_counts_for_the_reservation() -> None:
    """16 hosts. Id 1 takes 15 until 100, in the very cycle in which id 2 (16 hosts) becomes head: its time is 100, so id 3 waits."""
    scheduler = make_scheduler(make_cluster("hgx"), policy="easy")
    submit(scheduler, Job(1, 0, 120, 100), Job(2, 0, 128, 10), Job(3, 0, 8, 101), Job(4, 0, 8, 100))
    assert plan_at(scheduler, 0) == ([1, 4], [], 100)


def test_a_reservation_that_passes_is_made_anew_without_any_event() -> None:
    """Cycle 10. 13 hosts are held until 10,000, one until 10 (id 2), one until 20 (id 3); both overrun. The head needs 2 hosts, 1 is free.

    At 0 its time is 10, with 2 hosts and none to spare: id 5 (1 host, long) waits. At 10 id 2 is expected at 20, as id 3 is: 3 hosts.
    """
    scheduler = make_scheduler(make_cluster("hgx"), 10, policy="easy")
    submit(scheduler, Job(1, 0, 104, 10_000), Job(2, 0, 8, 99, 10), Job(3, 0, 8, 99, 20), Job(4, 0, 16, 10), Job(5, 0, 8, 10_000))
    assert plan_at(scheduler, 0) == ([1, 2, 3], [], 10)
    assert plan_at(scheduler, 10)[0] == [5]


def test_an_early_end_moves_the_reservation() -> None:
    """16 hosts: 8 until 100, 7 until 50. The head needs 16, so its time is 100. The 8 end at 20: then it is 50, and id 4 may not pass."""
    scheduler = make_scheduler(make_cluster("hgx"), policy="easy")
    long, *_ = submit(scheduler, Job(1, 0, 64, 100), Job(2, 0, 56, 50), Job(3, 0, 128, 10))
    assert plan_at(scheduler, 0)[0] == [1, 2]
    end(scheduler, long, 20)
    submit(scheduler, Job(4, 20, 8, 31), Job(5, 20, 8, 30))
    assert plan_at(scheduler, 20) == ([5], [], 50)


def test_a_share_fits_where_no_gpu_is_free() -> None:
    """All 128 GPUs are held, one of them by a share of 600. Id 4 waits for a GPU; id 5, a share of 300, takes nothing from it."""
    scheduler = make_scheduler(make_cluster("hgx"), policy="easy")
    submit(
        scheduler, Job(1, 0, 1, 1000, milli=600), Job(2, 0, 120, 1000), Job(3, 0, 7, 50), Job(4, 0, 1, 10), Job(5, 0, 1, 5000, milli=300)
    )
    assert plan_at(scheduler, 0)[0] == [1, 2, 3, 5]


def test_an_endless_service_is_never_expected_to_end() -> None:
    """Without an estimate it would be expected at every next cycle, and the engine would look at each."""
    scheduler = make_scheduler(make_cluster("hgx"), policy="easy")
    service = job_columns(1, job_id=1, submit_ns=0, gpus=64, duration_ns=0, kind=int(JobKind.SERVICE))
    (slot,) = scheduler.add(service)
    scheduler.arrive(slot)
    assert scheduler.table.estimate_ns[slot] == ENDLESS
    submit(scheduler, Job(2, 0, 128, 10), Job(3, 0, 8, 10))
    assert plan_at(scheduler, 0) == ([1, 3], [], None)


def test_queues_add_their_priority() -> None:
    settings = SchedulerSettings(policy=POLICIES["fifo"], queue_priority={"urgent": 10})
    scheduler = Scheduler(make_cluster("hgx"), settings, SECOND)
    jobs = job_columns(2, submit_ns=0, gpus=128, duration_ns=SECOND, queue=np.array([0, 1]))
    object.__setattr__(jobs, "queues", ("default", "urgent"))
    for slot in scheduler.add(jobs):
        scheduler.arrive(slot)
    assert plan_at(scheduler, 0)[0] == [1]
    assert [counts.pending_jobs for counts in scheduler.counts] == [1, 0]
