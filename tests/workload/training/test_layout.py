"""Where the ranks stand: groups that divide a job, and stay in a domain where they can."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.workload.training import Parallelism

few = st.sampled_from([1, 2, 4, 8])


@given(few, few, few, st.integers(1, 3000), st.sampled_from([1, 2, 4, 8, 16, 64]), st.sampled_from([4, 6, 8, 64, 72]))
def test_groups_divide_the_job(tensor: int, context: int, pipeline: int, data: int, expert: int, domain_gpus: int) -> None:
    expert *= tensor
    if tensor * context * data % expert:
        expert = 1
    plan = Parallelism(tensor, pipeline, data, 1, expert=expert, context=context)
    stage = plan.stage_gpus(domain_gpus)
    assert tensor * context * data % stage == 0
    assert stage % (tensor * context) == 0
    assert stage % plan.expert_gpus == 0
    least = plan.expert_gpus * tensor * context
    assert stage <= max(domain_gpus, least)
    assert plan.gpus % plan.replica_gpus(domain_gpus) == 0


@pytest.mark.parametrize(
    ("plan", "domain_gpus", "stage"),
    [
        (Parallelism(8, 16, 64, 32), 8, 8),  # Llama 3 on hosts of 8
        (Parallelism(8, 8, 4, 288, context=2), 8, 16),  # two hosts share a sequence
        (Parallelism(4, 8, 8, 112, context=2), 72, 64),  # 8 replicas of a stage in one rack
        (Parallelism(4, 8, 39, 32, context=2), 72, 24),  # 39 replicas: 3 to a rack, by whole numbers
        (Parallelism(1, 4, 64, 64, expert=64), 72, 64),
        (Parallelism(1, 4, 64, 64, expert=64), 8, 64),
        (Parallelism(1, 2, 100_000_007, 1), 8, 1),  # a prime number of replicas
        (Parallelism(2, 1, 64, 1), 8, 2),  # no pipeline: a replica is a replica
    ],
)
def test_stages_of_published_jobs(plan: Parallelism, domain_gpus: int, stage: int) -> None:
    assert plan.stage_gpus(domain_gpus) == stage
