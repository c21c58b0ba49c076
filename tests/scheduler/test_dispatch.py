"""The global queue: a plain dispatcher decides the same, what is dispatched runs at its site, and what is counted is what is there."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.scheduler.calendar import HostReservation
from emulator.scheduler.datasets import Datasets
from emulator.scheduler.dispatch import Dispatcher
from emulator.scheduler.explain import explain_pending
from emulator.scheduler.explain_sites import no_site
from emulator.scheduler.free import mask_bits
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.sites import Dataset, Load, Sites, Weights, room_of, standing_milliwatts
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import SECOND, Locality, job_columns
from tests.scheduler.drive import make_scheduler, run_engine
from tests.scheduler.oracle import Job
from tests.scheduler.plain_dispatch import PlainDispatch
from tests.scheduler.test_simulations import feasible, random_jobs
from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.formats import read_graph

_CONF = """SwitchName=east Switches=e[1-2]
SwitchName=e1 Nodes=n[1-4]
SwitchName=e2 Nodes=n[5-6]
SwitchName=west Nodes=n[7-10]
SwitchName=north Nodes=n[11-12]
"""
NAMES, GPUS = ("east", "west", "north"), (48, 32, 16)
FULL_MESH = np.full((3, 3), 1e9)


def three_sites(folder: Path) -> Cluster:
    path = folder / "topology.conf"
    path.write_text(_CONF)
    made = compile_cluster(read_graph(path, hosts_per_rack=2))
    assert [int(hosts) * 8 for hosts in np.diff(made.level("site").first_host)] == list(GPUS)
    return replace(made, site_names=NAMES)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return three_sites(tmp_path_factory.mktemp("sites"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[Cluster]:
    """Each site as a cluster."""
    path, made = tmp_path_factory.mktemp("alone") / "topology.conf", []
    for lines in (slice(0, 3), slice(3, 4), slice(4, 5)):
        path.write_text("\n".join(_CONF.splitlines()[lines]) + "\n")
        made.append(compile_cluster(read_graph(path, hosts_per_rack=2)))
    return made


def sites_of(**given: Any) -> Sites:
    settings: dict[str, Any] = {"names": NAMES, "every_ns": 0, "wan_bytes_per_second": FULL_MESH}
    return Sites(**(settings | given))


def _made(cluster: Cluster, sites: Sites, **given: Any) -> tuple[Scheduler, Dispatcher]:
    scheduler = make_scheduler(cluster, sites=sites, **given)
    assert scheduler.dispatcher is not None
    return scheduler, scheduler.dispatcher


def _submit(scheduler: Scheduler, *asked: tuple[int, Locality], first: int = 0, seconds: int = 0, priority: int = 0) -> list[int]:
    jobs = job_columns(
        len(asked),
        job_id=first + np.arange(len(asked)),
        submit_ns=seconds * SECOND,
        gpus=[gpus for gpus, _ in asked],
        duration_ns=100 * SECOND,
        priority=priority,
        locality=np.arange(len(asked)),
        localities=tuple(wish for _, wish in asked),
    )
    slots = scheduler.add(jobs)
    for slot in slots:
        scheduler.arrive(slot)
    return slots


def _cycle(scheduler: Scheduler, seconds: int) -> list[int]:
    """Dispatch and plan; the slots that start."""
    assert scheduler.dispatcher is not None
    scheduler.dispatcher.book(seconds * SECOND)
    scheduler.admit_due(seconds * SECOND)
    scheduler.dispatch(seconds * SECOND)
    plan = scheduler.plan(seconds * SECOND)
    for slot, _ in plan.starts:
        scheduler.table.first_start_ns[slot] = max(scheduler.table.first_start_ns[slot], 0)
    for slot in plan.preempted:
        scheduler.requeue(slot)
    return [slot for slot, _ in plan.starts]


# -- the arithmetic -----------------------------------------------------------------------------------------------------------------

_LOADS = st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2), st.integers(1, 9)), max_size=12)


@given(_LOADS, _LOADS, st.integers(-2, 2), st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_room_is_what_is_free_and_can_be_taken_without_what_waits_ahead(
    waiting: list[tuple[int, int, int]], running: list[tuple[int, int, int]], priority: int, largest: int
) -> None:
    ahead, behind = (Load(*np.array(jobs, dtype=np.int64).reshape(-1, 3).T) for jobs in (waiting, running))
    expected = [5, 0, 7]
    for p, partition, milli in waiting:
        expected[partition] -= milli * (p >= priority and milli <= largest)
    for p, partition, milli in running:
        expected[partition] += milli * (p < priority)
    assert room_of(np.array([5, 0, 7]), ahead, behind, priority, largest).tolist() == expected


def test_data_comes_over_one_line_after_the_other_and_stays() -> None:
    """At 1 GB/s 60 GB take 60 s; two datasets from one site to another share the line, from two sites they do not."""
    data = (Dataset("a", 60 * 10**9, (0,)), Dataset("b", 60 * 10**9, (0,)), Dataset("c", 60 * 10**9, (2,)))
    datasets = Datasets(sites_of(datasets=data))
    assert datasets.fetch(0, 1, 0) == (60 * SECOND, 0)
    assert datasets.fetch(1, 1, 10 * SECOND) == (120 * SECOND, 0)
    assert datasets.fetch(2, 1, 10 * SECOND) == (70 * SECOND, 2)
    assert datasets.fetch(0, 1, 20 * SECOND) == (60 * SECOND, -1), "it is on its way already"
    assert datasets.fetch(0, 1, 90 * SECOND) == (90 * SECOND, -1), "it is there"
    assert datasets.fetch(0, 0, 0) == (0, -1)
    assert datasets.received_bytes == [0, 180 * 10**9, 0]


def test_where_no_line_leads_data_comes_by_another_site_once_it_is_there() -> None:
    wan = np.zeros((3, 3))
    wan[0, 1] = wan[1, 2] = 1e9
    datasets = Datasets(sites_of(datasets=(Dataset("a", 60 * 10**9, (0,)),), wan_bytes_per_second=wan))
    assert datasets.could_be(0, 2)
    assert datasets.look(0, 2, 0).arrive_ns == NEVER
    datasets.fetch(0, 1, 0)
    assert datasets.look(0, 2, 0) == (120 * SECOND, 1)


# -- a plain dispatcher decides the same ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["fifo", "easy", "las"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_every_round_decides_as_a_search_through_all_sites(policy: str, seed: int, cluster: Cluster) -> None:
    draw = random.Random(seed)
    standing = standing_milliwatts(cluster).tolist()
    wan = FULL_MESH.copy()
    if draw.random() < 0.3:
        wan[draw.randrange(3), draw.randrange(3)] = 0.0
    sites = sites_of(
        backlog=draw.choice((0.0, 0.0, 0.5)),
        every_ns=draw.choice((0, 3)) * SECOND,
        move_after_ns=draw.choice((NEVER, 5 * SECOND, 20 * SECOND)),
        weights=Weights(*(draw.choice((0.0, 0.5, 1.0, 100.0)) for _ in range(4))),
        wan_bytes_per_second=wan,
        datasets=tuple(Dataset(name, draw.choice((0, 5, 30)) * 10**9, (draw.randrange(3),)) for name in "ab"),
        move_data=draw.random() < 0.8,
        cap_milliwatts=tuple(draw.choice((None, standing[site] + 800_000 * GPUS[site] // 2)) for site in range(3)),
    )
    preemption = {"preemption": True, "preempt_after_ns": 3 * SECOND} if draw.random() < 0.5 else {}
    scheduler, dispatcher = _made(cluster, sites, policy=policy, **preemption)
    table, plain = scheduler.table, PlainDispatch(scheduler, sites)
    now, dispatched = 0, 0
    for first in range(0, 240, 4):
        now += draw.choice((1, 1, 2, 5))
        dispatcher.book(now * SECOND)
        _disturb(scheduler, draw, now)
        if now < 60:
            wishes = [_wish(draw) for _ in range(draw.randint(0, 4))]
            _submit(scheduler, *wishes, first=first, seconds=now, priority=draw.choice((0, 0, 1, 2)))
        scheduler.admit_due(now * SECOND)
        before = {slot: table.partitions[slot] for slot in table.slot_of.values()}
        due = dispatcher.next_ns() <= now * SECOND
        expected = plain.round(now * SECOND) if due else []
        assert scheduler.dispatch(now * SECOND) == len(expected)
        bound = {table.job_id[slot]: plain.site_of(slot) for slot, was in before.items() if table.partitions[slot] != was}
        assert bound == {job_id: site for job_id, site, _ in expected}
        for job_id, _, start_ns in expected:
            assert (table.slot_of[job_id] in table.on_hold) == (start_ns > now * SECOND)
        dispatched += len(expected)
        for slot in _cycle(scheduler, now):
            assert plain.there_ns.get((plain.dataset(slot), plain.site_of(slot)), 0) <= now * SECOND
        for slot in table.slot_of.values():
            if table.state[slot] == State.PENDING and table.partitions[slot] and slot not in dispatcher.since_ns:
                raise AssertionError("it waits at its site, and is not counted")
            if table.partitions[slot]:
                plain.since_ns[slot] = dispatcher.since_ns.get(slot, 0)
        _check_counts(cluster, scheduler, dispatcher)
    assert dispatched, "otherwise nothing was compared"


def _wish(draw: random.Random) -> tuple[int, Locality]:
    gpus = draw.choice((1, 2, 8, 8, 16, 24, 32, 48))
    return gpus, Locality(draw.choice(("", "", "", *NAMES)), draw.choice(("", "", *NAMES)), draw.choice(("", "", "a", "b")))


def _disturb(scheduler: Scheduler, draw: random.Random, now: int) -> None:
    """Jobs end, are cancelled, held and released."""
    table = scheduler.table
    for slot in list(table.slot_of.values()):
        if table.state[slot] == State.RUNNING and draw.random() < 0.15:
            scheduler.release(slot, at_ns=now * SECOND)
            if draw.random() < 0.2:
                scheduler.requeue(slot, draw.choice((0, (now + 3) * SECOND)))
            else:
                table.state[slot] = State.FINISHED
        elif table.state[slot] == State.PENDING and draw.random() < 0.03:
            scheduler.cancel_pending(slot)
            table.state[slot] = State.CANCELLED
        elif table.state[slot] == State.PENDING and draw.random() < 0.05:
            (scheduler.take_off_hold if scheduler.room.is_held(slot) else scheduler.put_on_hold)(slot)


def _check_counts(cluster: Cluster, scheduler: Scheduler, dispatcher: Dispatcher) -> None:
    table, site = scheduler.table, cluster.level("site").host_unit
    demand, queued, total = Counter[int](), 0, 0
    for slot in table.slot_of.values():
        if table.state[slot] == State.RUNNING:
            hosts = {int(site[scheduler.ledger.first_host[block] + bit]) for block, mask, _ in table.rows[slot] for bit in mask_bits(mask)}
            assert hosts == {dispatcher.site_of(slot)}, "a job runs at its site"
        if table.state[slot] not in (State.PENDING, State.RUNNING):
            continue
        total += 1000 * table.gpus[slot]
        if table.partitions[slot]:
            demand[dispatcher.site_of(slot)] += 1000 * table.gpus[slot]
        else:
            queued += 1000 * table.gpus[slot]
            assert slot in table.on_hold
    assert dispatcher.undispatched.milli_gpus == queued
    counts = [one.demand.milli_gpus for one in dispatcher.counts]
    assert sum(counts) == total
    assert all(counts[number] >= demand[number] for number in range(3))


@pytest.mark.parametrize("policy", ["fifo", "easy", "conservative"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=4, deadline=None)
def test_each_site_decides_as_a_cluster_of_its_own_would(policy: str, seed: int, cluster: Cluster, alone: list[Cluster]) -> None:
    """With a site for each job, and rounds in every cycle that keep nobody."""
    draw = random.Random(seed)
    jobs: list[Job] = []
    wishes: dict[int, Locality] = {}
    for name, own in zip(NAMES, alone, strict=True):
        for job in random_jobs(draw, own, 25, 2, estimates=(1.0, 2.0), priorities=(0, 1), levels=0.2, milli=0.2):
            if feasible(own, job):
                job.number = len(jobs)
                wishes[job.number] = Locality(name)
                jobs.append(job)
    sites = sites_of(backlog=1e9)
    starts, preempted, engine = run_engine(cluster, jobs, policy, "topology", 2, preempt_after=4, sites=sites, wishes=wishes)
    assert engine.chronicle.ended[State.INFEASIBLE] == 0
    first = 0
    for name, own in zip(NAMES, alone, strict=True):
        here = [replace(job) for job in jobs if wishes[job.number].site == name]
        expected, stopped, _ = run_engine(own, here, policy, "topology", 2, preempt_after=4)
        mine = [(at, job, place) for at, job, place in starts if wishes[job].site == name]
        assert sorted(mine) == sorted((at, job, tuple((host + first, gpus) for host, gpus in place)) for at, job, place in expected)
        assert [one for one in preempted if wishes[one[1]].site == name] == stopped
        first += own.host_count


# -- single cases --------------------------------------------------------------------------------------------------------------------


def test_each_goes_where_most_is_left(cluster: Cluster) -> None:
    scheduler, dispatcher = _made(cluster, sites_of())
    slots = _submit(scheduler, *[(16, Locality())] * 5)
    assert sorted(_cycle(scheduler, 0)) == slots
    assert [NAMES[dispatcher.site_of(slot)] for slot in slots] == ["east", "west", "east", "east", "west"], "of equal ones the first"


def test_a_large_job_is_not_passed_by_for_ever_and_small_ones_go_on(cluster: Cluster) -> None:
    """8 GPUs of east are taken. The job of 48 goes there and waits; behind it come small ones that leave before."""
    scheduler, dispatcher = _made(cluster, sites_of())
    _submit(scheduler, (8, Locality("east")))
    _cycle(scheduler, 0)
    (large,) = _submit(scheduler, (48, Locality()), first=1, seconds=1)
    small = _submit(scheduler, *[(8, Locality())] * 3, first=2, seconds=1)
    assert _cycle(scheduler, 1) == small
    assert dispatcher.site_of(large) == 0
    (second,) = _submit(scheduler, (48, Locality()), first=9, seconds=2)
    _cycle(scheduler, 2)
    assert dispatcher.site_of(second) == -1, "one that waits is enough"


def test_a_job_waits_for_its_data_and_says_so(cluster: Cluster) -> None:
    scheduler, dispatcher = _made(cluster, sites_of(datasets=(Dataset("web", 60 * 10**9, (2,)),)))
    one, other = _submit(scheduler, (16, Locality("", "", "web")), (32, Locality("", "", "web")))
    assert _cycle(scheduler, 0) == []
    assert [NAMES[dispatcher.site_of(slot)] for slot in (one, other)] == ["east", "east"]
    why = explain_pending(scheduler, one)
    assert (why.kind, why.text, why.remedy) == ("data", "dataset web is on its way to east, until 60 s", "may start at 60 s")
    assert _cycle(scheduler, 59) == []
    assert scheduler.next_ns() == 60 * SECOND
    assert _cycle(scheduler, 60) == [one, other]
    assert dispatcher.datasets.received_bytes == [60 * 10**9, 0, 0], "both wait for one copy"


def test_a_job_whose_data_may_not_move_runs_where_it_is(cluster: Cluster) -> None:
    scheduler, dispatcher = _made(cluster, sites_of(datasets=(Dataset("web", 10**9, (2,)),), move_data=False))
    one, other, never = _submit(scheduler, *[(gpus, Locality("", "", "web")) for gpus in (16, 8, 32)])
    assert _cycle(scheduler, 0) == [one]
    assert scheduler.table.state[never] == State.INFEASIBLE
    why = explain_pending(scheduler, other)
    assert why.kind == "dispatch"
    assert why.text == "waits to be dispatched: north has 0 of 16 GPUs free and 0 waited for, score -0.5, closed: no room"
    assert why.remedy == "is dispatched when north is open to it"
    assert (why.position, why.numbers["north_free_gpus"], why.numbers["north_open"]) == (0, 0, 0)
    assert "dataset web cannot come to any site" in no_site(dispatcher, never, scheduler.fitting_sites(never))


def test_the_site_that_a_job_asks_for_is_the_only_one(cluster: Cluster) -> None:
    scheduler, dispatcher = _made(cluster, sites_of())
    asked, prefers, mars, small = _submit(
        scheduler, (8, Locality("north")), (8, Locality("", "north")), (8, Locality("mars")), (32, Locality("north"))
    )
    _cycle(scheduler, 0)
    assert [NAMES[dispatcher.site_of(slot)] for slot in (asked, prefers)] == ["north", "north"]
    assert [scheduler.table.state[slot] for slot in (mars, small)] == [State.INFEASIBLE] * 2
    assert no_site(dispatcher, mars, scheduler.fitting_sites(mars)).startswith("it requires site mars, which there is not; allowed: east")
    assert "too small for it; large enough: east or west" in no_site(dispatcher, small, scheduler.fitting_sites(small))


def test_nobody_places_a_job_at_another_site(cluster: Cluster) -> None:
    scheduler, _ = _made(cluster, sites_of())
    (slot,) = _submit(scheduler, (8, Locality("north")))
    scheduler.dispatch(0)
    block = next(block for block, number in enumerate(scheduler.ledger.block_partition) if number == 0)
    with pytest.raises(Refused, match=r"asks for .* at north hosts and is given .* at east ones") as caught:
        scheduler.ledger.start(slot, [(block, 1, 255)], 0)
    assert caught.value.rule == Rule.TYPE


def test_who_waits_for_long_moves_where_there_is_room_and_who_ran_does_not(cluster: Cluster) -> None:
    scheduler, dispatcher = _made(cluster, sites_of(move_after_ns=10 * SECOND, weights=Weights(prefer=0.0)), policy="fifo")
    east, west, north = _submit(scheduler, *[(gpus, Locality(name)) for gpus, name in zip(GPUS, NAMES, strict=True)])
    _cycle(scheduler, 0)
    scheduler.release(east, at_ns=SECOND)
    scheduler.table.state[east] = State.FINISHED
    stays, moves = _submit(scheduler, (40, Locality()), (32, Locality()), first=3, seconds=1)
    assert _cycle(scheduler, 1) == [stays]
    assert dispatcher.site_of(moves) == 0, "8 GPUs of it are free, and of no other"
    scheduler.release(west, at_ns=2 * SECOND)
    scheduler.table.state[west] = State.FINISHED
    assert _cycle(scheduler, 10) == []
    assert dispatcher.next_ns() == 11 * SECOND
    assert _cycle(scheduler, 11) == [moves]
    assert (dispatcher.site_of(moves), dispatcher.counts[0].moved_away) == (1, 1)
    scheduler.release(north, at_ns=12 * SECOND)
    scheduler.requeue(north, 30 * SECOND)
    assert _cycle(scheduler, 29) == []
    assert _cycle(scheduler, 30) == [north]


def test_a_round_is_asked_for_only_when_it_could_decide_otherwise(cluster: Cluster) -> None:
    scheduler, dispatcher = _made(cluster, sites_of(every_ns=60 * SECOND))
    running, _ = _submit(scheduler, (48, Locality("east")), (48, Locality("east")))
    assert scheduler.may_admit()
    _cycle(scheduler, 0)
    assert (dispatcher.next_ns(), scheduler.may_admit()) == (NEVER, False)
    scheduler.release(running, at_ns=5 * SECOND)
    assert dispatcher.next_ns() == 60 * SECOND, "the next round"


def test_a_job_of_a_reservation_goes_where_its_hosts_are(cluster: Cluster) -> None:
    """Two hosts of west from 10 s to 60 s; meanwhile others hold all the rest of it."""
    reservation = HostReservation("demo", (6, 7), "hosts", 10 * SECOND, 50 * SECOND)
    scheduler, dispatcher = _made(cluster, sites_of(), reservations=(reservation,))
    jobs = job_columns(2, job_id=[0, 1], submit_ns=0, gpus=[16, 24], duration_ns=20 * SECOND, reservation=0, reservations=("demo",))
    mine, never = scheduler.add(jobs)
    assert [scheduler.arrive(slot) for slot in (mine, never)] == [State.PENDING, State.INFEASIBLE]
    (other,) = _submit(scheduler, (16, Locality("west")), first=2)
    scheduler.reserved.turn(0)
    assert _cycle(scheduler, 0) == [other]
    assert NAMES[dispatcher.site_of(mine)] == "west"
    assert explain_pending(scheduler, mine).kind == "reservation"
    scheduler.reserved.turn(10 * SECOND)
    assert _cycle(scheduler, 10) == [mine]
    (late,) = _submit(scheduler, (16, Locality("west")), first=3, seconds=10)
    assert _cycle(scheduler, 11) == []
    assert dispatcher.site_of(late) == -1, "nothing else is free there"
    _check_counts(cluster, scheduler, dispatcher)


def test_time_and_demand_are_summed_up(cluster: Cluster) -> None:
    """North holds 16 GPUs of high priority for 10 s; the second job, which only north could hold, is demand of it too."""
    scheduler, dispatcher = _made(cluster, sites_of(high_priority=1))
    running, _ = _submit(scheduler, (16, Locality("north")), (16, Locality("north")), priority=1)
    _submit(scheduler, (48, Locality("east")), first=2)
    _cycle(scheduler, 0)
    scheduler.release(running, at_ns=10 * SECOND)
    dispatcher.book(20 * SECOND)
    north, east = dispatcher.counts[2].demand, dispatcher.counts[0].demand
    assert north.high_time == north.time == 1000 * SECOND * (32 * 10 + 16 * 10)
    assert (east.high_time, east.time) == (0, 1000 * SECOND * 48 * 20)
