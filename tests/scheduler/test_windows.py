"""Hosts that are reserved at times, against plain definitions: start by start, GPU by GPU; and what no job may do."""

import random
from typing import Any

import pytest

from emulator.scheduler.calendar import HostReservation, windows_of
from emulator.scheduler.explain import explain_pending
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND
from tests.scheduler.drive import PLANS, make_cluster, run_engine
from tests.scheduler.oracle import Job, Plain, Simulation
from tests.scheduler.plain_windows import PlainWindow, Windowed, WindowedConservative
from tests.scheduler.test_simulations import CASES, feasible, random_jobs
from topology.cluster import Cluster

CYCLE = 10


def random_reservations(draw: random.Random, cluster: Cluster) -> tuple[HostReservation, ...]:
    """Of racks, ranges of hosts or all of them, once or several times; no two have a host in common."""
    left, found = list(range(cluster.host_count)), []
    for number in range(draw.randint(1, 3)):
        size = draw.choice((1, 2, len(left) // 4, len(left) // 2, len(left)))
        first = draw.randint(0, max(0, len(left) - size))
        hosts, left = left[first : first + size], left[:first] + left[first + size :]
        if hosts:
            begin, lasts, again = draw.randint(0, 500) * SECOND, draw.randint(1, 300) * SECOND, draw.randint(20, 300) * SECOND
            times = draw.randint(1, 4)
            every = lasts + again if times > 1 else 0
            found.append(HostReservation(f"r{number}", tuple(hosts), "hosts", begin, lasts, every, times, maintenance=draw.random() < 0.7))
    return tuple(found)


def plain_windows(reservations: tuple[HostReservation, ...]) -> list[PlainWindow]:
    return [
        (window.begin_ns // SECOND, window.end_ns // SECOND, one.hosts)
        for number, one in enumerate(reservations)
        for window in windows_of(number, one, CYCLE * SECOND)
    ]


def check(cluster: Cluster, jobs: list[Job], policy: str, rule: str, reservations: tuple[HostReservation, ...], **more: Any) -> Simulation:
    starts, preempted, engine = run_engine(cluster, jobs, policy, rule, CYCLE, reservations=reservations, **more)
    copies = [Job(**{name: getattr(job, name) for name in Job.__dataclass_fields__}) for job in jobs]
    kind = WindowedConservative if policy == "conservative" else Windowed
    windows = plain_windows(reservations)
    expected = kind(
        Plain.of(cluster), copies, policy, rule, CYCLE, more.get("faults", []), more.get("preempt_after"), windows=windows
    ).run()
    for ours, theirs in zip(starts, expected.log, strict=False):
        assert ours == theirs
    assert starts == expected.log
    assert preempted == expected.preempted
    known = {job.number: job for job in jobs}
    for start, number, place in starts:
        for begin, end, hosts in windows:
            if start < end and start + known[number].estimate > begin:
                assert not {host for host, _ in place} & set(hosts), f"job {number} is placed over a window"
    assert {engine.table.state[slot] for slot in range(len(engine.table))} <= {State.FINISHED}, "who ever can start does"
    return expected


@pytest.mark.parametrize("policy", ["fifo", "sjf", "easy", "conservative"])
@pytest.mark.parametrize("case", ["plain", "all"])
def test_equals_the_plain_definition(case: str, policy: str) -> None:
    for seed, name in enumerate(PLANS):
        draw = random.Random(f"{case} {policy} {seed}")
        cluster = make_cluster(name)
        jobs = [job for job in random_jobs(draw, cluster, 25, CYCLE, **CASES[case]) if feasible(cluster, job)]
        check(cluster, jobs, policy, draw.choice(("consolidate", "topology")), random_reservations(draw, cluster))


@pytest.mark.parametrize("policy", sorted(POLICIES.keys() - {"carbon-aware"}))  # which delays jobs by hours
def test_every_policy_keeps_to_windows_and_starts_all_who_can(policy: str) -> None:
    """Jobs take as long as they say; some name a reservation, others do not."""
    for seed, name in enumerate(("hgx", "small-racks", "nvl72", "leaves")):
        draw = random.Random(f"{policy} {seed}")
        cluster = make_cluster(name)
        reservations = random_reservations(draw, cluster)
        windows = plain_windows(reservations)
        jobs = [job for job in random_jobs(draw, cluster, 25, CYCLE, milli=0.2, levels=0.2) if feasible(cluster, job)]
        for job in jobs:
            job.reservation = draw.choice(reservations).name if draw.random() < 0.3 else ""
        where = {one.name: set(one.hosts) for one in reservations}
        kept = {job.number: where[job.reservation] for job in jobs if job.reservation}
        starts, _, engine = run_engine(cluster, jobs, policy, "topology", CYCLE, reservations=reservations)
        known = {job.number: job for job in jobs}
        for start, number, place in starts:
            hosts, end = {host for host, _ in place}, start + known[number].duration
            over = [(begin, until) for begin, until, theirs in windows if begin < end and until > start and hosts & set(theirs)]
            if number in kept:
                assert hosts <= kept[number]
                assert [begin <= start and end <= until for begin, until in over] == [True]
            else:
                assert not over
        table = engine.table
        ended = {State.FINISHED, State.REJECTED, State.INFEASIBLE}
        for slot in range(len(table)):
            if table.job_id[slot] not in kept:
                assert table.state[slot] == State.FINISHED
            elif table.state[slot] not in ended:
                text = explain_pending(engine.scheduler, slot).text
                assert "is over" in text, "who waits for a reservation waits until it is over"


def test_who_was_to_have_the_hosts_of_a_window_waits_for_a_job_that_outlasts_it() -> None:
    """Job 0 is to have all hosts from 300 s on, when the window is over. Job 1 starts in it at 290 s, while the policy is not asked, is
    expected to end at 300 s, and runs until 340 s.
    """
    cluster = make_cluster("hgx")
    lab = HostReservation("lab", (0,), "host 0", 0, 300 * SECOND)
    jobs = [Job(0, 0, 128, 50), Job(1, 285, 8, 50, estimate=10, reservation="lab")]
    starts, _, _ = run_engine(cluster, jobs, "conservative", "topology", CYCLE, reservations=(lab,))
    assert [(at, number) for at, number, _ in starts] == [(290, 1), (340, 0)]
