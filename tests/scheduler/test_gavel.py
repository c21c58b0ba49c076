"""Gavel: its linear program against the paper's example and another solver, and the rounds that follow it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from emulator.scenario.policies import find
from emulator.scheduler.max_min import max_min_shares
from tests.scheduler.drive import columns, make_cluster, make_scheduler, plan_at
from tests.scheduler.oracle import Job

ONE = np.ones(3)
#: Throughputs of three jobs on a V100 and a K80, and the shares of the paper (section 4.1): 12/11 of an equal split for each.
THROUGHPUT = np.array([[4.0, 1.0], [3.0, 1.0], [2.0, 1.0]])
SHARES = np.array([[5 / 11, 0.0], [5 / 11, 1 / 11], [1 / 11, 10 / 11]])


def test_the_example_of_the_paper() -> None:
    """Narayanan et al., OSDI 2020, section 4.1: ((0.45, 0), (0.45, 0.09), (0.09, 0.91)), about 10 % more than a third of each."""
    shares = max_min_shares(THROUGHPUT, ONE, ONE, np.ones(2), ONE)
    assert shares == pytest.approx(SHARES)
    assert (THROUGHPUT * shares).sum(axis=1) / (THROUGHPUT.sum(axis=1) / 3) == pytest.approx([12 / 11] * 3)


@given(st.integers(0, 10**9))
def test_no_other_solver_finds_more(seed: int) -> None:
    draw = np.random.default_rng(seed)
    kinds, types = int(draw.integers(1, 8)), int(draw.integers(1, 4))
    throughput = draw.uniform(0.2, 5.0, (kinds, types)) * (draw.random((kinds, types)) < 0.7)
    throughput[np.arange(kinds), draw.integers(0, types, kinds)] = 1.0
    gpus, jobs = draw.choice([1.0, 2, 8, 64, 1024], kinds), draw.integers(1, 100, kinds).astype(np.float64)
    capacity, weight = draw.integers(1, 2000, types).astype(np.float64), draw.choice([1.0, 2.0], kinds)
    shares = max_min_shares(throughput, gpus, jobs, capacity, weight)
    equal = (throughput * capacity / capacity.sum()).sum(axis=1) * min(1.0, capacity.sum() / (gpus * jobs).sum()) * weight
    assert (shares.sum(axis=1) <= 1 + 1e-7).all()
    assert ((shares * (gpus * jobs)[:, None]).sum(axis=0) <= capacity * (1 + 1e-7)).all()
    rows, limits = [], []
    for kind in range(kinds):
        mine = np.zeros((2, kinds * types + 1))
        mine[0, kind * types : (kind + 1) * types], mine[0, -1] = -throughput[kind], equal[kind]
        mine[1, kind * types : (kind + 1) * types] = 1.0
        rows += list(mine)
        limits += [0.0, 1.0]
    for number in range(types):
        row = np.zeros(kinds * types + 1)
        row[number : kinds * types : types] = gpus * jobs
        rows.append(row)
        limits.append(capacity[number])
    goal = np.zeros(kinds * types + 1)
    goal[-1] = -1.0
    best = -linprog(goal, np.array(rows), np.array(limits)).fun
    assert ((throughput * shares).sum(axis=1) / equal).min() == pytest.approx(best, rel=1e-6)


def test_over_many_rounds_jobs_get_their_shares() -> None:
    """Two types of 512 GPUs, three jobs of 512 with the throughputs of the paper's example. A move takes a cycle, so rounds are long."""
    cluster = make_cluster("hgx-128")
    kind = (cluster.block.first_host[:-1] >= 64).astype(np.int8)
    cluster = replace(cluster, host_types=(cluster.host_type, replace(cluster.host_type, name="old")), block_type=kind)
    scheduler = make_scheduler(cluster, 60, policy=find("gavel", {"round_minutes": 30}))
    jobs = columns([Job(number, 0, 512, 10**7) for number in range(3)])
    jobs = replace(
        jobs,
        choice=np.arange(3, dtype=np.int32),
        choices=tuple(((0, fast), (1, slow)) for fast, slow in THROUGHPUT.tolist()),
    )
    slots = scheduler.add(jobs)
    for slot in slots:
        scheduler.arrive(slot)
    had = np.zeros((3, 2))
    for minute in range(30_000):
        plan_at(scheduler, minute * 60)
        for partition in scheduler.partitions:
            for slot in partition.running:
                had[slots.index(slot), partition.number] += 1
    assert had / 30_000 == pytest.approx(SHARES, abs=0.05)
