"""Conservative backfilling in the engine against its plain definition: start by start, GPU by GPU; and that no promise is broken."""

import random
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from emulator.scheduler.policies import POLICIES
from tests.scheduler.drive import PLANS, make_cluster, run_engine
from tests.scheduler.oracle import Job, Plain
from tests.scheduler.plain_reservations import Conservative
from tests.scheduler.test_simulations import CASES, feasible, random_faults, random_jobs


def check(name: str, jobs: list[Job], rule: str, depth: int = 0, **more: Any) -> Conservative:
    cluster = make_cluster(name)
    plan: Any = POLICIES["conservative"].plan
    policy = replace(POLICIES["conservative"], plan=partial(plan, depth=depth))
    starts, preempted, _ = run_engine(cluster, jobs, policy, rule, 10, **more)
    copies = [Job(**{name: getattr(job, name) for name in Job.__dataclass_fields__}) for job in jobs]
    expected = Conservative(Plain.of(cluster), copies, "conservative", rule, 10, more.get("faults", []), more.get("preempt_after"))
    expected.depth = depth
    expected.run()
    for ours, theirs in zip(starts, expected.log, strict=False):
        assert ours == theirs, name
    assert starts == expected.log, name
    assert preempted == expected.preempted, name
    return expected


@pytest.mark.parametrize("rule", ["consolidate", "topology"])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_plain_definition(case: str, rule: str) -> None:
    for seed, name in enumerate(PLANS):
        draw = random.Random(f"{case} {rule} {seed}")
        cluster = make_cluster(name)
        jobs = [job for job in random_jobs(draw, cluster, 40, 10, **CASES[case]) if feasible(cluster, job)]
        check(name, jobs, rule)


@pytest.mark.parametrize("case", ["both", "all"])
def test_with_faults_and_preemption(case: str) -> None:
    for seed, name in enumerate(PLANS):
        draw = random.Random(f"{case} {seed}")
        cluster = make_cluster(name)
        jobs = [
            job for job in random_jobs(draw, cluster, 40, 10, **(CASES[case] | {"priorities": (0, 0, 0, 1, 2)})) if feasible(cluster, job)
        ]
        faults = [fault for fault in random_faults(draw, cluster, 600, cluster.host_count // 3) if fault[0]]
        for after in (None, 0, 45):
            check(name, jobs, "topology", faults=faults, preempt_after=after)


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_reservations_than_the_depth(depth: int) -> None:
    for seed, name in enumerate(PLANS):
        draw = random.Random(f"depth {seed}")
        cluster = make_cluster(name)
        jobs = [job for job in random_jobs(draw, cluster, 40, 10, **(CASES["all"])) if feasible(cluster, job)]
        assert max(len(starts) for _, starts in check(name, jobs, "topology", depth).promised) <= depth


@pytest.mark.parametrize("case", ["plain", "early ends", "shares", "levels"])
def test_no_reservation_moves_to_a_later_time(case: str) -> None:
    """Where jobs end by their estimates, and nobody comes before others in the queue."""
    for seed, name in enumerate(PLANS):
        draw = random.Random(f"promises {case} {seed}")
        cluster = make_cluster(name)
        estimates = {"estimates": (1.0, 1.0, 2.0, 5.0)}
        jobs = [job for job in random_jobs(draw, cluster, 40, 10, **(CASES[case] | estimates)) if feasible(cluster, job)]
        promised: dict[int, int] = {}
        for at, starts in check(name, jobs, "topology").promised:
            for job, start in starts.items():
                assert at < start <= promised.get(job, start)
                promised[job] = start
