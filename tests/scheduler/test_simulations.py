"""The scheduler in the engine against the plain simulation: start by start, host by host, GPU by GPU."""

import random
from typing import Any

import pytest

from emulator.workload.jobs import LEVEL_NAMES
from tests.scheduler.drive import PLANS, check, make_cluster, workload
from tests.scheduler.oracle import Job, Plain
from topology.cluster import Cluster

POLICIES = ("fifo", "sjf", "easy")
RULES = ("consolidate", "topology")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("name", "count", "seed"), [("hgx", 2000, 1), ("hgx", 2000, 2), ("hgx-128", 2000, 3)])
def test_common_workload_at_load_1_1(name: str, count: int, seed: int, policy: str, rule: str) -> None:
    cluster = make_cluster(name)
    engine, _ = check(cluster, workload(count, cluster.gpu_count, 1.1, seed), policy, rule, every_cycle=False)
    assert engine.chronicle.waits.total_ns > 0, "without a queue there is nothing to compare"


def random_jobs(
    draw: random.Random,
    cluster: Cluster,
    count: int,
    cycle: int,
    *,
    estimates: tuple[float, ...] = (1.0,),
    milli: float = 0.0,
    priorities: tuple[int, ...] = (0,),
    levels: float = 0.0,
    slices: float = 0.0,
) -> list[Job]:
    """A contended mix of odd sizes, in times that fall on cycles and between them."""
    gpus, now, jobs = cluster.gpus_per_host, 0, []
    most = cluster.gpu_count
    for number in range(count):
        now += draw.choice((0, 0, 1, cycle, int(draw.expovariate(1 / (2 * cycle)))))
        size = draw.choice((1, 2, 3, gpus, gpus, gpus + 1, 2 * gpus, 3 * gpus - 1, 5 * gpus, most // 3, most // 2 + 1, most))
        duration = draw.choice((1, cycle, 2 * cycle, draw.randint(1, 12 * cycle)))
        job = Job(number, now, size, duration, max(1, int(duration * draw.choice(estimates))), priority=draw.choice(priorities))
        if draw.random() < milli:
            job.gpus, job.milli = 1, draw.choice((100, 250, 300, 500, 700, 999))
        elif draw.random() < levels:
            setattr(job, draw.choice(("require", "prefer")), draw.randrange(len(LEVEL_NAMES)))
        if slices and draw.random() < slices and job.milli == 1000:
            job.slice_gpus = draw.choice((gpus // 2, gpus, 2 * gpus, 2 * gpus, 3 * gpus, 4 * gpus))
            job.slice_level = draw.randrange(len(LEVEL_NAMES) if job.require < 0 else job.require + 1)
            job.gpus = job.slice_gpus * draw.choice((1, 2, 2, 3, 4, 6))
        job.preemptible = draw.random() < 0.8
        jobs.append(job)
    return jobs


def random_faults(draw: random.Random, cluster: Cluster, until: int, count: int) -> list[tuple[int, int, bool]]:
    """Hosts that go down and come back, never twice at a time."""
    faults = []
    for host in draw.sample(range(cluster.host_count), count):
        at = draw.randint(0, until)
        faults += [(at, host, True), (at + draw.randint(1, until // 4 + 1), host, False)]
    return faults


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "early ends": {"estimates": (1.0, 1.5, 3.0, 10.0)},
    "overruns": {"estimates": (0.1, 0.5, 0.9, 1.0)},
    "both": {"estimates": (0.1, 0.7, 1.0, 1.5, 5.0)},
    "shares": {"milli": 0.6, "estimates": (1.0, 2.0, 0.5)},
    "priorities": {"priorities": (0, 0, 0, 1, 5)},
    "levels": {"levels": 0.6},
    "slices": {"slices": 0.8, "levels": 0.3, "estimates": (0.5, 1.0, 2.0)},
    "all": {"estimates": (0.5, 1.0, 2.0), "milli": 0.3, "priorities": (0, 0, 1, 2), "levels": 0.3},
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("case", CASES)
def test_random_jobs_at_every_cycle(case: str, policy: str, rule: str) -> None:
    """The simulation decides at every cycle, the engine leaps: that nothing changes in between is part of what is compared."""
    for seed, name in enumerate(PLANS):
        draw = random.Random(f"{case} {seed}")
        cluster = make_cluster(name)
        jobs = [job for job in random_jobs(draw, cluster, 40, 10, **CASES[case]) if feasible(cluster, job)]
        check(cluster, jobs, policy, rule, cycle=10)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("case", ["both", "slices", "all"])
def test_with_faults_and_preemption(case: str, policy: str, rule: str) -> None:
    for seed, name in enumerate(PLANS):
        draw = random.Random(f"{case} {seed}")
        cluster = make_cluster(name)
        jobs = [
            job for job in random_jobs(draw, cluster, 40, 10, **(CASES[case] | {"priorities": (0, 0, 0, 1, 2)})) if feasible(cluster, job)
        ]
        faults = random_faults(draw, cluster, 600, cluster.host_count // 3)
        for after in (None, 0, 45):
            check(cluster, jobs, policy, rule, cycle=10, faults=faults, preempt_after=after)


def feasible(cluster: Cluster, job: Job) -> bool:
    """Whether the job fits on the empty cluster, by the plain rules."""
    plain = Plain.of(cluster)
    return plain.place("topology", job.gpus, job.milli, job.require, -1, job.slice_gpus, job.slice_level) is not None
