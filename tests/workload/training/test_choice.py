"""The parallelism that is chosen where only model and GPUs are given."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from emulator.workload.training import MODELS, Parallelism, choose_parallelism, state_bytes
from topology.catalog import GPUS

H100 = GPUS["H100-SXM5-80GB"]


@given(st.sampled_from(sorted(MODELS)), st.integers(1, 20_000), st.sampled_from([4, 6, 8, 72]))
def test_a_chosen_parallelism_is_one(name: str, gpus: int, domain_gpus: int) -> None:
    model = MODELS[name]
    plan = choose_parallelism(model, gpus, H100, domain_gpus=domain_gpus)
    if plan is None:
        return
    assert plan.gpus == gpus
    assert plan.tensor <= min(8, domain_gpus)
    assert model.heads % plan.tensor == 0
    assert plan.pipeline <= model.layers
    assert plan.microbatches >= plan.pipeline
    assert model.sequence / plan.context <= 8192
    weights = (model.parameters - model.expert_parameters) / (plan.tensor * plan.pipeline)
    weights += model.expert_parameters / (plan.expert_gpus * plan.pipeline)
    assert weights * 6 < H100.memory_bytes
    assert gpus % plan.replica_gpus(domain_gpus) == 0
    assert gpus % plan.expert == 0


def test_what_does_not_fit_is_not_chosen() -> None:
    assert choose_parallelism(MODELS["llama3-405b"], 8, H100, domain_gpus=8) is None
    big = choose_parallelism(MODELS["llama3-405b"], 8, replace(H100, memory_bytes=1e13), domain_gpus=8)
    assert big is not None
    assert (big.tensor, big.pipeline) == (1, 1)


def test_a_long_sequence_is_shared() -> None:
    """Llama 3, Table 4: sequences of 131,072 tokens with context parallelism 16."""
    plan = choose_parallelism(replace(MODELS["llama3-405b"], sequence=131_072), 16_384, H100, domain_gpus=8)
    assert plan is not None
    assert plan.context == 16


def test_zero_3_shards_everything() -> None:
    """18 bytes a weight over all replicas, against 6 on each and 12 shared."""
    model, plan = MODELS["llama3-70b"], Parallelism(1, 1, 64, 4)
    assert state_bytes(model, plan) == model.parameters * (6 + 12 / 64)
    assert state_bytes(model, replace(plan, zero=3)) == model.parameters * 18 / 64
