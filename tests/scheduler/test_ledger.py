"""The ledger: it refuses what breaks a rule, and takes back what was done, to the bit."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.ledger import Ledger, Withheld
from emulator.scheduler.partition import Partition
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import State
from emulator.workload.jobs import LEVEL_NAMES
from tests.scheduler.drive import columns, make_cluster, make_scheduler, submit
from tests.scheduler.oracle import Job
from tests.scheduler.test_partitions import two_types

WHOLE = 0xFF


def refused(ledger: Ledger, slot: int, rows: list[Row]) -> tuple[Rule, str]:
    before = state_of(ledger)
    with pytest.raises(Refused) as caught:
        ledger.start(slot, rows, 0)
    assert state_of(ledger) == before, "nothing was changed"
    return caught.value.rule, str(caught.value)


def state_of(ledger: Ledger) -> list[Any]:
    """All that the ledger answers for, in a form that can be compared."""
    table = ledger.table
    jobs = list(zip(table.state, table.start_ns, table.rows, strict=True))
    return [jobs, *(partition_state(ledger, partition) for partition in ledger.partitions)]


def partition_state(ledger: Ledger, partition: Partition) -> dict[str, Any]:
    free = partition.free
    return {
        "whole": (free.whole, list(free.block_free)),
        "split": (dict(free.split), free.split_gpus, list(free.split_count)),
        "shares": [free.share(host, gpu) for host in sorted(free.split) for gpu in range(free.gpus_per_host)],
        "counters": [list(level.counts) for level in free.levels],
        "choices": [free.most_that_could_fit(), *(free.split_host(gpus) for gpus in range(1, free.gpus_per_host))],
        "running": (set(partition.running), list(partition.by_end or ())),
        "preemptible": {priority: jobs for priority, jobs in (partition.preemptible or {}).items() if jobs},
        "jobs on hosts": [ledger.jobs_on(host) for host in range(len(ledger.host_block))],
    }


def scheduler_of(*jobs: Job, cluster: str = "leaves", **more: Any) -> Scheduler:
    scheduler = make_scheduler(make_cluster(cluster), policy="easy", preemption=True, **more)
    submit(scheduler, *jobs)
    return scheduler


def test_every_rule_has_its_refusal() -> None:
    """10 leaves of 4 hosts of 8 GPUs; a block is a leaf."""
    leaf = LEVEL_NAMES.index("leaf")
    scheduler = scheduler_of(Job(1, 0, 16, 10), Job(2, 0, 16, 10, require=leaf), Job(3, 0, 4, 10), Job(4, 0, 1, 10, milli=500))
    ledger = scheduler.ledger
    ledger.start(0, [(0, 0b11, WHOLE)], 0)
    assert refused(ledger, 0, [(1, 0b11, WHOLE)]) == (Rule.PENDING, "job 1 does not wait: it is running")
    assert refused(ledger, 1, []) == (Rule.SIZE, "job 2 is given no GPUs")
    assert refused(ledger, 1, [(0, 0b0100, WHOLE)]) == (Rule.SIZE, "job 2 asks for 16 GPUs and is given 8")
    assert refused(ledger, 1, [(0, 0b0110, WHOLE)]) == (Rule.FREE, "of host r00000-h01 not all of the GPUs 0, 1, 2, 3, 4, 5, 6, 7 are free")
    assert refused(ledger, 1, [(0, 0b0100, WHOLE), (1, 0b0001, WHOLE)]) == (Rule.LEVEL, "job 2 requires one leaf and is given 2")
    ledger.start(2, [(0, 0b0100, 0x0F)], 0)
    assert refused(ledger, 3, [(0, 0b0100, 0x01)]) == (Rule.FREE, "of host r00000-h02 not all of the GPUs 0 are free")
    ledger.withhold(3, Withheld.CORDONED)
    ledger.withhold(3, Withheld.DOWN)
    assert refused(ledger, 3, [(0, 0b1000, 0x01)]) == (Rule.OFFERED, "host r00000-h03 may not be used: down, cordoned")
    ledger.release(3, Withheld.DOWN)
    assert refused(ledger, 3, [(0, 0b1000, 0x01)])[0] is Rule.OFFERED
    ledger.release(3, Withheld.CORDONED)
    ledger.start(3, [(0, 0b1000, 0x01)], 0)
    with pytest.raises(Refused, match="job 2 does not run") as caught:
        ledger.stop(1, 0)
    assert caught.value.rule is Rule.RUNNING


def test_a_job_stays_on_hosts_of_its_type() -> None:
    scheduler = make_scheduler(two_types("leaves"))
    for slot in scheduler.add(columns([Job(1, 0, 8, 10)], {1: 1})):
        scheduler.arrive(slot)
    there = 1
    other = next(block for block, kind in enumerate(scheduler.ledger.block_type) if kind != there)
    names = [partition.name for partition in scheduler.partitions]
    assert refused(scheduler.ledger, 0, [(other, 0b11, 0x0F)]) == (
        Rule.TYPE,
        f"job 1 asks for {names[there]} hosts and is given {names[1 - there]} ones",
    )


def test_two_hosts_of_which_one_may_not_be_used() -> None:
    ledger = scheduler_of(Job(1, 0, 2, 10)).ledger
    ledger.withhold(1, Withheld.UNREACHABLE)
    assert refused(ledger, 0, [(0, 0b11, 0x01)]) == (Rule.OFFERED, "host r00000-h01 may not be used: unreachable")


def job(gpus: int, milli: int, priority: int, duration: int) -> Job:
    return Job(0, 0, 1 if milli else gpus, duration, milli=milli or 1000, priority=priority)


SIZES = st.sampled_from((1, 3, 8, 12, 16, 40, 120, 200))
JOBS = st.lists(st.builds(job, SIZES, st.sampled_from((0, 0, 0, 300, 700)), st.integers(0, 2), st.integers(1, 50)), min_size=2, max_size=24)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(("leaves", "small-racks", "nvl72")), JOBS, st.data())
def test_what_is_undone_was_never_done(cluster: str, jobs: list[Job], data: st.DataObject) -> None:
    """A draft starts and preempts, does more and undoes that, then undoes all: on a cluster with cordoned hosts and EASY's reservation."""
    for number, one in enumerate(jobs):
        one.number = number
    scheduler = scheduler_of(*jobs, cluster=cluster)
    ledger, draft = scheduler.ledger, scheduler.draft
    for host in data.draw(st.lists(st.integers(0, len(ledger.host_block) - 1), max_size=6)):
        ledger.withhold(host, Withheld.CORDONED)
    scheduler.plan(5 * 10**9)
    draft.begin(6 * 10**9)
    waiting = list(scheduler.partitions[0].pending.in_order())
    before, shadow = state_of(ledger), shadow_of(scheduler)
    mark = draft.mark()
    do_something(draft, scheduler, data)
    middle, part = state_of(ledger), draft.mark()
    do_something(draft, scheduler, data)
    draft.undo(part)
    assert state_of(ledger) == middle
    draft.undo(mark)
    assert state_of(ledger) == before
    assert shadow_of(scheduler) == shadow
    assert (draft.starts, draft.preempted) == ([], [])
    assert list(scheduler.partitions[0].pending.in_order()) == waiting


def do_something(draft: Draft, scheduler: Scheduler, data: st.DataObject) -> None:
    partition, table = scheduler.partitions[0], scheduler.table
    for _ in range(data.draw(st.integers(0, 6))):
        running = sorted(slot for slot in partition.running if table.start_ns[slot] < draft.now_ns)
        waiting = list(partition.pending.in_order())
        number = data.draw(st.integers(0, 1000))
        if running and number % 2:
            draft.preempt(running[number % len(running)])
        elif waiting:
            slot = waiting[number % len(waiting)]
            rows = draft.choose(partition, slot)
            if rows is not None and table.state[slot] == State.PENDING:
                draft.start(slot, rows)


def shadow_of(scheduler: Scheduler) -> Any:
    """What EASY's reservation says of the free GPUs to come."""
    partition = scheduler.partitions[0]
    shadow = partition.shadow
    if shadow is None:
        return None
    free = partition.free
    masks = {host: shadow.masks.get(host, free.split.get(host, free.full)) for host in range(len(free.host_block))}
    return shadow.fitting, shadow.whole, shadow.part, shadow.gpus, masks
