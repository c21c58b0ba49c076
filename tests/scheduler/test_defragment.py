"""Migrating small jobs for one that does not fit only because free GPUs lie scattered."""

import random

import numpy as np

from emulator.engine.engine import Engine
from emulator.scheduler.draft import Defragmentation
from emulator.scheduler.rules import Refused
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND
from tests.engine.small import clos, engine, run_until
from tests.engine.test_loop import gangs
from tests.scheduler.drive import end, make_cluster, make_scheduler, plan_at, submit
from tests.scheduler.oracle import Job
from tests.scheduler.test_every_policy import gpus_are_held_once

CLUSTER = make_cluster("hgx")  # 16 hosts of 8 GPUs


def test_a_job_that_needs_whole_hosts_gets_them_without_anybody_being_stopped() -> None:
    scheduler = make_scheduler(CLUSTER, policy="fifo", defragment=True)
    slots = submit(scheduler, *(Job(number, 0, 4, 1000) for number in range(32)))
    assert len(plan_at(scheduler, 0)[0]) == 32
    table = scheduler.table
    by_host: dict[int, list[int]] = {}
    for slot in slots:
        by_host.setdefault(table.rows[slot][0][1], []).append(slot)
    for pair in by_host.values():
        end(scheduler, pair[0], 10)
        table.state[pair[0]] = State.FINISHED
    assert (scheduler.partitions[0].free.free_gpus, scheduler.partitions[0].free.whole) == (64, 0)
    submit(scheduler, Job(99, 20, 24, 1000))
    assert plan_at(scheduler, 20)[:2] == ([99], [])
    assert len(scheduler.draft.migrated) == 3, "no more than it needs"
    assert len(scheduler.running) == 17
    assert all(table.start_ns[slot] == 20 * SECOND for slot in scheduler.draft.migrated)
    gpus_are_held_once(scheduler)


def test_nobody_is_moved_in_vain_or_without_being_asked_to() -> None:
    for defragment, gpus in ((False, 24), (True, 72)):  # 64 are free
        scheduler = make_scheduler(CLUSTER, policy="fifo", defragment=defragment)
        slots = submit(scheduler, *(Job(number, 0, 4, 1000) for number in range(32)))
        plan_at(scheduler, 0)
        hosts: set[int] = set()
        for slot in slots:
            mask = scheduler.table.rows[slot][0][1]
            if mask not in hosts:
                hosts.add(mask)
                end(scheduler, slot, 10)
        submit(scheduler, Job(99, 20, gpus, 1000))
        assert plan_at(scheduler, 20)[:2] == ([], [])
        assert not scheduler.draft.migrated


def test_on_random_clusters_nothing_is_lost_and_what_fits_by_count_fits() -> None:
    """Jobs of at most a host, which always fit elsewhere, and now and then one of whole hosts."""
    moved = 0
    for seed in range(30):
        draw = random.Random(seed)
        scheduler = make_scheduler(CLUSTER, policy="fifo", placement=draw.choice(["topology", "spread", "worst-fit"]), defragment=True)
        for second in range(60):
            sizes = [draw.choice((1, 2, 4))] if draw.random() < 0.9 else [16]
            submit(scheduler, *(Job(1000 * second + number, second, size, 10**4) for number, size in enumerate(sizes)))
            for slot in sorted(scheduler.running):
                if draw.random() < 0.03:
                    end(scheduler, slot, second)
                    scheduler.table.state[slot] = State.FINISHED
            plan_at(scheduler, second)
            moved += len(scheduler.draft.migrated)
            gpus_are_held_once(scheduler)
            waiting = {slot for slot, state in enumerate(scheduler.table.state) if state == State.PENDING}
            assert waiting == set(scheduler.partitions[0].waiting())
    assert moved > 20


def test_a_migration_that_breaks_a_rule_changes_nothing() -> None:
    scheduler = make_scheduler(CLUSTER, policy="fifo")
    first, second = submit(scheduler, Job(0, 0, 8, 100), Job(1, 0, 8, 100))
    plan_at(scheduler, 0)
    draft, table = scheduler.draft, scheduler.table
    draft.begin(SECOND)
    before = table.rows[first], table.start_ns[first], table.state[first]
    for rows in (table.rows[second], [(0, 1 << 15, 0x0F)], []):
        try:
            draft.migrate(first, rows)
        except Refused:
            assert (table.rows[first], table.start_ns[first], table.state[first], draft.migrated) == (*before, {})
        else:
            raise AssertionError("refused")
    mark = draft.mark()
    draft.migrate(first, [(0, 1 << 15, 0xFF)])
    assert (table.rows[first], table.start_ns[first]) == ([(0, 1 << 15, 0xFF)], SECOND)
    draft.undo(mark)
    assert (table.rows[first], table.start_ns[first], table.state[first], draft.migrated) == (*before, {})


def test_the_engine_accounts_for_a_migration() -> None:
    """Two jobs of 4 GPUs end up on one host of two, for one of 8; the one that moved pays the restart overhead and loses nothing."""
    jobs = gangs(4, gpus=[4, 4, 4, 8], submit_ns=np.array([0, 0, 0, 100]) * SECOND, duration_ns=np.array([50, 1000, 1000, 500]) * SECOND)
    made: Engine = engine(clos(2), [jobs], policy="fifo", restart_overhead_ns=60 * SECOND)
    made.scheduler.draft.defragmentation = Defragmentation(0)
    run_until(made, 5000 * SECOND)
    table = made.table
    assert made.chronicle.migrations == 1
    assert table.first_start_ns[3] == 100 * SECOND
    assert sorted(table.end_ns[slot] // SECOND for slot in (1, 2)) == [1000, 1060]
    assert (sum(table.lives.lost_ns), sum(table.preemptions)) == (0, 0)
