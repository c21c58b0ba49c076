"""Clusters of several host types: each partition decides as a cluster of its hosts alone would."""

import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from emulator.scheduler.explain import explain_pending
from emulator.scheduler.free import FreeIndex, mask_bits
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.placement import could_ever_fit
from emulator.scheduler.table import State
from emulator.workload.jobs import ANY_TYPE, LEVEL_NAMES, SECOND, JobColumns
from tests.scheduler.drive import HGX, PLANS, columns, end, make_cluster, make_scheduler, plan_at, run_engine
from tests.scheduler.oracle import Job
from tests.scheduler.test_simulations import CASES, feasible, random_faults, random_jobs
from topology.catalog import HostType
from topology.clos import ClosPlan, build
from topology.cluster import Cluster
from topology.compile import compile_cluster

#: Plan -> hosts of the first type; the rest are of the second, with half as many GPUs.
SPLITS = {"leaves": 24, "pods": 24, "hgx-128": 64, "small-racks": 32}


def halved(host: HostType) -> HostType:
    return replace(host, name=f"{host.name}-half", gpus=host.gpus // 2)


@cache
def two_types(name: str) -> Cluster:
    cluster = make_cluster(name)
    kind = (cluster.block.first_host[:-1] >= SPLITS[name]).astype(np.int8)
    return replace(cluster, host_types=(cluster.host_type, halved(cluster.host_type)), block_type=kind)


@cache
def alone(name: str, kind: int) -> Cluster:
    """A cluster of the hosts of one type only."""
    host, switch, hosts, per_rack, more = PLANS[name]
    count = SPLITS[name] if kind == 0 else hosts - SPLITS[name]
    return compile_cluster(build(ClosPlan(name, host if kind == 0 else halved(host), switch, count, per_rack, **more)))


def mixed_jobs(draw: random.Random, name: str, case: dict[str, Any], cycle: int) -> tuple[list[Job], dict[int, int]]:
    """Jobs for both types in one order of submission: (jobs, types)."""
    jobs: list[Job] = []
    types: dict[int, int] = {}
    for kind in (0, 1):
        cluster = alone(name, kind)
        for job in random_jobs(draw, cluster, 40, cycle, **case):
            if not feasible(cluster, job):
                continue
            job.number = len(jobs)
            types[job.number] = kind
            jobs.append(job)
    return jobs, types


@pytest.mark.parametrize("policy", ["fifo", "sjf", "easy", "conservative"])
@pytest.mark.parametrize("case", ["plain", "both", "shares", "all"])
def test_each_partition_is_a_scheduler_of_its_own(case: str, policy: str) -> None:
    """Start by start, host by host, GPU by GPU, with faults and preemption: as on a cluster of that type's hosts alone."""
    shared_cycles = 0
    for seed, name in enumerate(SPLITS):
        draw = random.Random(f"{case} {seed}")
        cluster, first = two_types(name), SPLITS[name]
        jobs, types = mixed_jobs(draw, name, CASES[case] | {"priorities": (0, 0, 1, 2)}, 10)
        faults = random_faults(draw, cluster, 600, cluster.host_count // 4)
        for after in (None, 45):
            starts, preempted, engine = run_engine(cluster, jobs, policy, "topology", 10, faults, after, types)
            bound = dict(zip(engine.table.job_id, engine.table.host_type, strict=True))
            assert all(bound[number] == kind for number, kind in types.items() if kind != ANY_TYPE)
            moments = []
            for kind, offset in ((0, 0), (1, first)):
                own = [job for job in jobs if bound[job.number] == kind]
                hits = [(at, host - offset, down) for at, host, down in faults if (host >= first) == kind]
                expected = run_engine(alone(name, kind), own, policy, "topology", 10, hits, after)
                ours = [
                    (at, number, tuple((host - offset, gpus) for host, gpus in place))
                    for at, number, place in starts
                    if bound[number] == kind
                ]
                assert ours == expected[0]
                assert [one for one in preempted if bound[one[1]] == kind] == expected[1]
                moments.append({at for at, _, _ in ours})
            shared_cycles += len(moments[0] & moments[1])
    assert shared_cycles > 0, "both partitions start something in one cycle, or the merging of plans is not tried"


@pytest.mark.parametrize("name", SPLITS)
def test_an_index_of_one_type_is_that_of_its_hosts_alone(name: str) -> None:
    cluster, first = two_types(name), SPLITS[name]
    both = FreeIndex(cluster)
    for kind in (0, 1):
        index, own = FreeIndex(cluster, kind, both), FreeIndex(alone(name, kind))
        assert (index.whole, index.host_count, index.gpus_per_host) == (own.whole, own.host_count, own.gpus_per_host)
        for gpus in (
            1,
            own.gpus_per_host,
            3 * own.gpus_per_host,
            own.host_count * own.gpus_per_host,
            own.host_count * own.gpus_per_host + 1,
        ):
            for level in range(-1, len(LEVEL_NAMES)):
                assert could_ever_fit(index, gpus, level) == could_ever_fit(own, gpus, level), (gpus, level)
        rows = index.first_whole_hosts(index.whole)
        taken = [index.first_host[block] + bit for block, hosts, _ in rows for bit in mask_bits(hosts)]
        assert taken == (list(range(first)) if kind == 0 else list(range(first, cluster.host_count)))
        index.take(rows)
        assert index.free_gpus == 0
        assert not index.fits(1)


def with_choices(jobs: list[Job], choices: tuple[tuple[int, ...], ...]) -> JobColumns:
    """Each job has the choice of its place."""
    paced = tuple(tuple((number, 1.0) for number in choice) for choice in choices)
    return replace(columns(jobs), choice=np.arange(len(jobs), dtype=np.int32), choices=paced)


@pytest.mark.parametrize("policy", ["fifo", "easy", "fair-share", "las"])
def test_a_job_of_several_types_starts_where_there_is_room_first(policy: str) -> None:
    """leaves: 24 hosts of 8 GPUs and 16 of 4: 192 and 64 GPUs. Whoever names no type takes the first that has room."""
    scheduler = make_scheduler(two_types("leaves"), policy=policy)
    slots = scheduler.add(columns([Job(0, 0, 192, 100), Job(1, 1, 64, 100), Job(2, 2, 8, 100)], {0: 0, 1: 1}))
    for slot in slots:
        assert scheduler.arrive(slot) == State.PENDING
    assert plan_at(scheduler, 2)[0] == [0, 1]
    assert (scheduler.pending_jobs, scheduler.table.host_type[slots[2]]) == (1, ANY_TYPE), "it waits in both"
    assert [list(partition.waiting()) for partition in scheduler.partitions] == [[slots[2]], [slots[2]]]
    end(scheduler, slots[1], 3)
    assert plan_at(scheduler, 3)[0] == [2]
    assert (scheduler.pending_jobs, scheduler.table.host_type[slots[2]]) == (0, 1)
    assert [list(partition.waiting()) for partition in scheduler.partitions] == [[], []]


@pytest.mark.parametrize("policy", ["fifo", "easy", "fair-share", "las"])
def test_the_preferred_type_where_both_have_room(policy: str) -> None:
    scheduler = make_scheduler(two_types("leaves"), policy=policy)
    for slot in scheduler.add(
        with_choices([Job(0, 0, 8, 9), Job(1, 0, 8, 9), Job(2, 0, 60, 9), Job(3, 0, 100, 9)], ((1, 0), (0, 1), (1,), (1, 0)))
    ):
        scheduler.arrive(slot)
    assert sorted(plan_at(scheduler, 0)[0]) == [0, 1, 3]
    assert [scheduler.table.host_type[slot] for slot in range(4)] == [1, 0, ANY_TYPE, 0], "2 may run on the second alone, where 56 are free"


def test_a_job_of_several_types_that_was_stopped_waits_for_all_of_them_again() -> None:
    scheduler = make_scheduler(two_types("leaves"), policy="fifo")
    slot = scheduler.add(columns([Job(0, 0, 8, 9)]))[0]
    scheduler.arrive(slot)
    assert plan_at(scheduler, 0)[0] == [0]
    scheduler.release(slot, at_ns=1)
    scheduler.requeue(slot)
    assert [list(partition.waiting()) for partition in scheduler.partitions] == [[slot], [slot]]
    assert explain_pending(scheduler, slot).text == "starts in the next cycle"
    scheduler.cancel_pending(slot)
    assert (scheduler.pending_jobs, [len(partition.pending) for partition in scheduler.partitions]) == (0, [0, 0])


def test_a_job_takes_as_long_as_it_does_on_the_type_that_it_runs_on() -> None:
    """100 s at a pace of 1, and it is twice as fast on the second type; stopped after half of that, it has half left on the first."""
    scheduler = make_scheduler(two_types("leaves"), policy="fifo")
    table = scheduler.table
    jobs = replace(columns([Job(0, 0, 8, 100)]), choice=np.zeros(1, dtype=np.int32), choices=(((1, 2.0), (0, 1.0)),))
    slot = scheduler.add(jobs)[0]
    scheduler.arrive(slot)
    assert plan_at(scheduler, 0)[0] == [0]
    table.work_at_pace(slot)
    lives = table.lives
    assert (table.host_type[slot], table.estimate_ns[slot], table.duration_ns[slot], lives.remaining_ns[slot]) == (1, *[50 * SECOND] * 3)
    table.lives.remaining_ns[slot] = 25 * SECOND
    table.bind(slot, 0)
    table.work_at_pace(slot)
    assert (table.estimate_ns[slot], table.duration_ns[slot], table.lives.remaining_ns[slot]) == (100 * SECOND, 100 * SECOND, 50 * SECOND)


def test_what_a_start_made_of_an_estimate_is_taken_back_with_it() -> None:
    scheduler = make_scheduler(two_types("leaves"), policy="easy")
    table, draft = scheduler.table, scheduler.draft
    jobs = replace(columns([Job(0, 0, 8, 100)]), choice=np.zeros(1, dtype=np.int32), choices=(((1, 2.0), (0, 1.0)),))
    slot = scheduler.add(jobs)[0]
    scheduler.arrive(slot)
    draft.begin(0)
    mark = draft.mark()
    rows = draft.choose(scheduler.partitions[1], slot)
    assert rows is not None
    draft.start(slot, rows)
    assert (table.estimate_ns[slot], table.expected_ns[slot]) == (50 * SECOND, 50 * SECOND)
    draft.undo(mark)
    assert (table.host_type[slot], table.estimate_ns[slot], table.expected_ns[slot]) == (ANY_TYPE, 100 * SECOND, 100 * SECOND)


@pytest.mark.parametrize("policy", ["easy", "priority", "conservative"])
def test_who_is_slower_on_a_type_passes_nobody_there_that_it_would_delay(policy: str) -> None:
    """leaves: 64 GPUs of the second type, 32 of them held until 100 s. Job 1 waits for all of them; job 2 takes 60 s at a pace of 1, and
    120 s on these, so it would delay job 1; job 3 takes 60 s there."""
    scheduler = make_scheduler(two_types("leaves"), 10, policy=policy)
    jobs = columns([Job(0, 0, 32, 100), Job(1, 1, 64, 100), Job(2, 2, 8, 60), Job(3, 3, 8, 60)])
    jobs = replace(jobs, choice=np.arange(4, dtype=np.int32), choices=(((1, 1.0),), ((1, 1.0),), ((1, 0.5), (0, 1.0)), ((1, 1.0),)))
    slots = scheduler.add(jobs)
    blocker = scheduler.add(columns([Job(9, 0, 192, 1000)], {9: 0}))  # the first type is full
    scheduler.arrive(blocker[0])
    scheduler.arrive(slots[0])
    assert sorted(plan_at(scheduler, 0)[0]) == [0, 9]
    for slot in slots[1:]:
        scheduler.arrive(slot)
    assert plan_at(scheduler, 10)[0] == [3]


def test_undo_gives_back_the_queues_of_all_types() -> None:
    scheduler = make_scheduler(two_types("leaves"), policy="fifo")
    slot = scheduler.add(columns([Job(0, 0, 8, 9)]))[0]
    scheduler.arrive(slot)
    draft = scheduler.draft
    draft.begin(0)
    mark = draft.mark()
    rows = draft.choose(scheduler.partitions[1], slot)
    assert rows is not None
    draft.start(slot, rows)
    assert scheduler.table.host_type[slot] == 1
    draft.undo(mark)
    assert scheduler.table.host_type[slot] == ANY_TYPE
    assert [list(partition.waiting()) for partition in scheduler.partitions] == [[slot], [slot]]


def test_a_named_type_is_kept_and_may_be_too_small() -> None:
    scheduler = make_scheduler(two_types("leaves"))
    slots = scheduler.add(columns([Job(0, 0, 64, 1), Job(1, 0, 65, 1), Job(2, 0, 65, 1)], {0: 1, 1: 1}))
    assert [scheduler.arrive(slot) for slot in slots] == [State.PENDING, State.INFEASIBLE, State.PENDING]
    assert scheduler.table.types[slots[2]] == (0,), "the other type is too small for it"
    assert [scheduler.waits(slot) for slot in slots] == [True, False, True]
    assert scheduler.feasibility.could_ever_fit(192, -1, ())
    assert not scheduler.feasibility.could_ever_fit(193, -1, ())
    assert not scheduler.feasibility.could_ever_fit(65, -1, (1,))


def test_a_full_partition_does_not_hold_up_the_other_and_says_which_it_is() -> None:
    scheduler = make_scheduler(two_types("leaves"), policy="fifo")
    slots = scheduler.add(columns([Job(0, 0, 64, 9), Job(1, 1, 4, 9), Job(2, 2, 8, 9)], {0: 1, 1: 1, 2: 0}))
    for slot in slots:
        scheduler.arrive(slot)
    assert plan_at(scheduler, 2)[0] == [2, 0]
    assert scheduler.running == {slots[0], slots[2]}
    assert scheduler.pending_jobs == 1
    assert scheduler.free_gpus() == (184, 0)
    why = explain_pending(scheduler, slots[1])
    assert (why.kind, why.position) == ("capacity", 0)
    assert why.text == f"needs 4 GPUs, 0 are free in {HGX.name}-half"
    scheduler.ledger.withhold(0, Withheld.DOWN)
    assert explain_pending(scheduler, slots[1]).numbers["hosts_down"] == 0
    for host in range(24, 28):
        scheduler.ledger.withhold(host, Withheld.CORDONED)
    assert explain_pending(scheduler, slots[1]).numbers["hosts_cordoned"] == 4
