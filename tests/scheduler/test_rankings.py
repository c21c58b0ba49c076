"""Policies that rank anew in every cycle, in the engine against plain versions of them: start by start, GPU by GPU."""

import random
from typing import Any

import pytest

from tests.scheduler.drive import PLANS, make_cluster, run_engine
from tests.scheduler.oracle import Job, Plain
from tests.scheduler.plain_policies import Ranking
from tests.scheduler.test_simulations import feasible, random_faults, random_jobs

ARRANGED = ("largest-first", "priority", "fair-share", "drf", "edf")
TIME_SHARED = ("srtf", "las", "tiresias")
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "estimates": {"estimates": (0.1, 0.7, 1.0, 1.5, 5.0)},
    "all": {"estimates": (0.5, 1.0, 2.0), "milli": 0.3, "priorities": (0, 0, 1, 2), "levels": 0.3},
}


@pytest.mark.parametrize("policy", ARRANGED + TIME_SHARED)
@pytest.mark.parametrize("case", CASES)
def test_equals_a_plain_version(case: str, policy: str) -> None:
    stopped = 0
    for seed, name in enumerate(PLANS):
        draw = random.Random(f"{case} {seed}")
        cluster = make_cluster(name)
        cycle = 300 if policy in ("las", "tiresias") else 10  # long enough to move through quanta and queues
        jobs = [job for job in random_jobs(draw, cluster, 40, cycle, **CASES[case]) if feasible(cluster, job)]
        for job in jobs:
            job.tenant = draw.choice((0, 0, 0, 1, 2))
            if policy == "edf" and case != "plain":
                job.deadline = draw.choice((0, 0, 1, 50, 500, 5000))
        faults = random_faults(draw, cluster, 60 * cycle, cluster.host_count // 3) if seed % 2 else []
        faults = [fault for fault in faults if fault[0]]  # shards promise what comes after the beginning
        cycles: list[int] = []
        starts, preempted, _ = run_engine(cluster, jobs, policy, "topology", cycle, faults, cycles=cycles)
        copies = [Job(**{name: getattr(job, name) for name in Job.__dataclass_fields__}) for job in jobs]
        expected = Ranking(Plain.of(cluster), copies, policy, "topology", cycle, faults, cycles=cycles)
        expected.domain_gpus = cluster.host_types[0].domain_gpus
        expected.run()
        for ours, theirs in zip(starts, expected.log, strict=False):
            assert ours == theirs, name
        assert starts == expected.log, name
        assert preempted == expected.preempted, name
        stopped += len(preempted)
    assert (stopped > 0) == (policy in TIME_SHARED)
