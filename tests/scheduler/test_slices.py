"""Slices: against a search that looks at every unit, on random states of every kind of cluster, and what the ledger and the API refuse."""

import random
from collections import Counter
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.scenario.policies import find
from emulator.scheduler.explain import explain_pending
from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.placement import Ask, could_ever_fit
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import State
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES, SECOND
from tests.scheduler.drive import PLANS, end, make_cluster, make_scheduler, plan_at, submit
from tests.scheduler.oracle import Job, Plain
from tests.scheduler.test_placement import by_host, random_state
from topology.cluster import Cluster

HOST, DOMAIN, RACK, LEAF, POD, _, SITE = range(len(LEVEL_NAMES))


def units_of(cluster: Cluster, level: int) -> list[range]:
    """Hosts of each unit of the level, or of the next coarser that there is; of ANY_LEVEL all hosts."""
    if level == ANY_LEVEL:
        return [range(cluster.host_count)]
    named = Plain.of(cluster).named
    return named[next(name for name in LEVEL_NAMES[level:] if name in named)]


def keeps(cluster: Cluster, index: FreeIndex, rows: list[Row], ask: Ask) -> bool:
    """Whether ``rows`` have the job's GPUs, in one unit of its level, and whole slices in every unit of theirs."""
    held = by_host(index, rows)
    assert held is not None
    if sum(held.values()) != ask.gpus or any(gpus & ~index.free_mask(host) for host, gpus in masks(index, rows).items()):
        return False
    one = any(held.keys() <= set(unit) for unit in units_of(cluster, ask.require_level))
    return one and all(sum(held.get(host, 0) for host in unit) % ask.slice_gpus == 0 for unit in units_of(cluster, ask.slice_level))


def masks(index: FreeIndex, rows: list[Row]) -> Counter[int]:
    return Counter({index.first_host[block] + bit: gpus for block, hosts, gpus in rows for bit in mask_bits(hosts)})


def exists(cluster: Cluster, plain: Plain, ask: Ask) -> bool:
    """By looking: whether some unit of the required level has whole free hosts for all slices, in units of the slices' level."""
    size = ask.slice_gpus // plain.per_host

    def room(hosts: set[int]) -> int:
        return sum(len(hosts.intersection(plain.wholes(part))) // size for part in units_of(cluster, ask.slice_level))

    return any(room(set(unit)) >= ask.gpus // ask.slice_gpus for unit in units_of(cluster, ask.require_level))


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(PLANS)), st.integers(0, 2**32))
def test_every_placement_keeps_the_rule_and_finds_what_is_there(name: str, seed: int) -> None:
    draw = random.Random(seed)
    cluster = make_cluster(name)
    index, plain = random_state(draw, cluster)
    for _ in range(6):
        size, count = draw.choice((1, 2, 2, 3, 4, 8, 16)), draw.choice((1, 2, 3, 4, 6))
        require = draw.choice((ANY_LEVEL, draw.randrange(len(LEVEL_NAMES))))
        level = draw.randrange(len(LEVEL_NAMES) if require < 0 else require + 1)
        gpus = size * plain.per_host
        ask = Ask(gpus * count, 1000, require, draw.choice((ANY_LEVEL, RACK, LEAF)), gpus, level, 7)
        there = exists(cluster, plain, ask)
        assert could_ever_fit(index, ask.gpus, require, gpus, level) or not there
        for placement in PLACEMENTS.values():
            rows = placement.choose(index, ask)
            assert (rows is not None) == there, placement.name
            assert rows is None or keeps(cluster, index, rows, ask), placement.name


@pytest.mark.parametrize("name", PLANS)
def test_what_could_ever_fit_is_what_fits_an_empty_cluster(name: str) -> None:
    cluster = make_cluster(name)
    index, plain = FreeIndex(cluster), Plain.of(cluster)
    for size, level, require in product((1, 2, 3, 5), range(len(LEVEL_NAMES)), (ANY_LEVEL, RACK, POD, SITE)):
        gpus = size * plain.per_host
        for count in (1, 2, 5, 13):
            ask = Ask(gpus * count, require_level=require, slice_gpus=gpus, slice_level=level)
            if require == ANY_LEVEL or level <= require:
                assert could_ever_fit(index, ask.gpus, require, gpus, level) == exists(cluster, plain, ask)


def test_slices_are_parts_of_hosts_or_whole_hosts_and_make_up_the_job() -> None:
    index = FreeIndex(make_cluster("leaves"))
    assert could_ever_fit(index, 12, ANY_LEVEL, 4, HOST)
    assert not could_ever_fit(index, 12, ANY_LEVEL, 3, RACK)  # 3 of 8
    assert not could_ever_fit(index, 36, ANY_LEVEL, 12, LEAF)  # a host and a half
    assert not could_ever_fit(index, 40, ANY_LEVEL, 16, LEAF)
    assert not could_ever_fit(index, 32, ANY_LEVEL, 16, HOST)
    assert could_ever_fit(index, 32, ANY_LEVEL, 16, RACK)


def leaves(used: dict[int, int]) -> Scheduler:
    """Leaves of 4 hosts of 8 GPUs, with so many hosts of a leaf in use."""
    scheduler = make_scheduler(make_cluster("leaves"))
    for leaf, hosts in used.items():
        index = scheduler.partitions[0].free
        first = 4 * leaf
        for host in range(first, first + hosts):
            block = index.host_block[host]
            index.take([(block, 1 << (host - index.first_host[block]), index.full)])
    return scheduler


def test_the_ledger_refuses_a_slice_in_two_units() -> None:
    scheduler = leaves({})
    slot, other = submit(scheduler, Job(1, 0, 32, 10, slice_gpus=16, slice_level=LEAF), Job(2, 0, 32, 10))
    index = scheduler.partitions[0].free
    first, second = index.host_block[0], index.host_block[4]
    assert first != second
    torn = [(first, 0b111, index.full), (second, 0b1, index.full)]
    with pytest.raises(Refused, match="job 1 has slices of 16 GPUs, each inside one leaf, and is given 24 GPUs in one") as refused:
        scheduler.ledger.start(slot, torn, 0)
    assert refused.value.rule == Rule.SLICE
    scheduler.ledger.start(other, torn, 0)
    scheduler.ledger.stop(other, 0)
    scheduler.ledger.start(slot, [(first, 0b11, index.full), (second, 0b11, index.full)], 0)


def test_slices_go_where_most_of_them_fit_and_the_last_by_best_fit() -> None:
    """Free hosts of leaves 0 to 9: 3, 2, 4, 1, 0 ... Slices of 2 hosts: 1, 1, 2 and none."""
    scheduler = leaves({0: 1, 1: 2, 3: 3} | dict.fromkeys(range(4, 10), 4))
    index = scheduler.partitions[0].free
    place = PLACEMENTS["topology"].choose
    assert by_host(index, place(index, Ask(48, slice_gpus=16, slice_level=LEAF))) == dict.fromkeys((8, 9, 10, 11, 6, 7), 8)
    assert by_host(index, place(index, Ask(32, slice_gpus=16, slice_level=LEAF))) == dict.fromkeys((8, 9, 10, 11), 8)
    assert place(index, Ask(80, slice_gpus=16, slice_level=LEAF)) is None  # ten hosts are free, room is for four slices
    assert place(index, Ask(80)) is not None


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_starts_every_job_in_whole_slices(policy: str) -> None:
    """The ledger would refuse what is not. Two start not all in this time, cut or not: here service is not counted, and carbon is high."""
    for number, name in enumerate(("leaves", "nvl72", "small-racks")):
        draw = random.Random(f"{policy} {name}")
        placement = sorted(PLACEMENTS)[(number + len(policy)) % len(PLACEMENTS)]
        options: dict[str, Any] = {"preemption": True} if draw.random() < 0.5 else {}
        scheduler = make_scheduler(make_cluster(name), 10, policy=find(policy, {}), placement=placement, **options)
        table, per_host = scheduler.table, scheduler.partitions[0].free.gpus_per_host
        for job in range(40):
            gpus = per_host * draw.choice((1, 2, 2, 3))
            made = Job(job, 0, gpus * draw.choice((1, 2, 3, 4)), 100, priority=draw.randrange(3))
            if draw.random() < 0.7:
                made.slice_gpus, made.slice_level = gpus, draw.choice((RACK, LEAF, POD))
            submit(scheduler, made)
        waiting = sum(state == State.PENDING for state in table.state)
        started: set[int] = set()
        for now in range(0, 4000, 10):
            for slot in [slot for slot in scheduler.running if table.start_ns[slot] <= (now - 100) * SECOND]:
                end(scheduler, slot, now)
                table.state[slot] = State.FINISHED
            started.update(plan_at(scheduler, now)[0])
        assert waiting > 20
        assert len(started) == waiting or (policy in ("tiresias", "carbon-aware") and len(started) > 10), f"{name}, {placement}"


def test_why_slices_wait() -> None:
    scheduler = leaves({0: 1, 1: 2, 3: 3} | dict.fromkeys(range(4, 10), 4))
    slot, alone = submit(scheduler, Job(1, 0, 80, 10, slice_gpus=16, slice_level=LEAF), Job(2, 0, 32, 10, slice_gpus=32, slice_level=LEAF))
    why = explain_pending(scheduler, slot)
    assert why.kind == "topology"
    assert why.text == "needs 5 slices of 16 GPUs, each inside one leaf; there is room for 4"
    assert why.numbers["slices_needed"] == 5
    assert why.numbers["slices_free"] == 4
    assert explain_pending(scheduler, alone).text.startswith("would fit")
