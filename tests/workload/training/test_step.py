"""The time of a step: each part by hand, and what must hold for any model and parallelism."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.workload.jobs import TrainingShape
from emulator.workload.training import MODELS, Model, Parallelism, layer_seconds, step_seconds, training_shape
from emulator.workload.training.communication import common_reduction, context_exchange, expert_exchange, expert_reduction
from emulator.workload.training.step import STAGE_SECONDS, stage_seconds
from topology.catalog import GPUS, HOSTS

H100, GB200 = GPUS["H100-SXM5-80GB"], GPUS["GB200-186GB"]
LLAMA = MODELS["llama3.1-405b"]
LANE = 0.9 * 50e9


def gpt(billions: float) -> Model:
    return MODELS[f"gpt-{billions:g}b"]


def seconds(model: Model, plan: Parallelism, *, domain_gpus: int = 8, bytes_per_second: float = LANE, precision: str = "bf16") -> float:
    return step_seconds(training_shape(model, plan, H100, domain_gpus=domain_gpus, precision=precision), bytes_per_second)


def test_ring_bytes_of_a_plain_data_parallel_job() -> None:
    """Two hosts of 8, tensor 1: the 8 replicas of a host meet first, so each of the 8 lanes carries an eighth of (1/2) * 6 bytes * P."""
    model = gpt(1.7)
    shape = training_shape(model, Parallelism(1, 1, 16, 4), H100, domain_gpus=8)
    assert shape.ring_bytes == pytest.approx(0.5 * 6 * model.parameters / 8)
    assert shape.hops == 2
    assert (shape.stage_gpus, shape.replica_gpus) == (1, 1)


def test_a_job_inside_one_domain_does_not_touch_the_fabric() -> None:
    shape = training_shape(gpt(1.7), Parallelism(1, 1, 8, 4), H100, domain_gpus=8)
    assert shape.lane_bytes == 0
    assert step_seconds(shape, 0.0) == shape.compute_seconds


def test_bubble() -> None:
    """p = 4 stages and m = 8 microbatches idle 3/8 of the time, 3/16 with two virtual stages: compute grows by exactly that."""
    model = gpt(39.1)
    fixed = 4 * STAGE_SECONDS
    base = training_shape(model, Parallelism(8, 4, 1, 8), H100, domain_gpus=8).compute_seconds - fixed
    halved = training_shape(model, Parallelism(8, 4, 1, 8, interleave=2), H100, domain_gpus=8).compute_seconds - fixed
    assert base / halved == pytest.approx((1 + 3 / 8) / (1 + 3 / 16))


@pytest.mark.parametrize(
    ("layers", "stages", "logits", "paced"),
    [
        (126, 8, 0.66, 16.0),  # Llama 3: 16 * 8 - 2, so that the last stage has 15 layers and the logits
        (126, 16, 0.66, 8.0),
        (96, 8, 0.35, 12.35),  # GPT-3: 12 everywhere, and the logits at the end
        (96, 1, 0.35, 96.35),
        (80, 8, 3.0, 13.0),
        (86, 8, 3.0, 13.0),  # logits as large as three layers: it pays to take one off the last stage
    ],
)
def test_the_slowest_stage_paces_the_others(layers: int, stages: int, logits: float, paced: float) -> None:
    assert stage_seconds(layers, stages, 1.0, logits) == pytest.approx(paced)


def test_step_seconds_by_hand() -> None:
    """1 s of compute; 10 GB at 2 GB/s less 3 s hidden: 3 s. At 10 GB/s all of it is hidden."""
    shape = TrainingShape(compute_seconds=1.0, ring_bytes=10e9, overlap_seconds=3.0, latency_seconds=0.0, model_flops=1.0)
    assert [step_seconds(shape, rate) for rate in (0.0, 2e9, 10e9)] == pytest.approx([np.inf, 3.0, 1.0])
    eighth = replace(shape, exposed_ratio=1 / 8)  # the last chunk hides behind nothing
    assert [step_seconds(eighth, rate) for rate in (0.0, 2e9, 10e9)] == pytest.approx([np.inf, 3.0, 1.125])


def test_context_traffic_by_hand() -> None:
    """4 GB at 2 GB/s less 1.5 s behind attention."""
    shape = TrainingShape(1.0, 0.0, 0.0, 0.0, 1.0, context_gpus=16, context_bytes=4e9, context_overlap_seconds=1.5)
    assert [step_seconds(shape, rate) for rate in (0.0, 2e9, 4e9)] == pytest.approx([np.inf, 1.5, 1.0])


def test_only_the_last_chunk_of_the_reduction_is_visible() -> None:
    """8,192 H100: the ring takes 0.84 s, of which an eighth shows; charging all of it would cost 16 % of the step."""
    shape = training_shape(LLAMA, Parallelism(8, 8, 64, 24, interleave=8, context=2), H100, domain_gpus=8, precision="fp8")
    ring = shape.ring_bytes / LANE
    assert shape.exposed_ratio == 1 / 8
    assert ring == pytest.approx(0.84, abs=0.01)
    visible = step_seconds(shape, LANE) - shape.compute_seconds
    assert visible == pytest.approx((ring + shape.hops * 14e-6) / 8)


def test_reductions_are_made_inside_the_nvl72_first() -> None:
    """GB200, TP 4, CP 2: 18 copies of the weights share a domain, so a lane sends an eighteenth of what it sends from hosts of 4."""
    plan = Parallelism(4, 8, 36, 32, interleave=8, context=2)
    inside, apart = (training_shape(LLAMA, plan, GB200, domain_gpus=gpus, precision="fp8") for gpus in (72, 4))
    assert inside.ring_bytes == pytest.approx(apart.ring_bytes * (3 / 4) / (71 / 72) / 18)
    assert (inside.stage_gpus, inside.replica_gpus) == (72, 576)


def test_context_parallelism_divides_the_tokens() -> None:
    """Two GPUs with half of the sequence each: half of the arithmetic, and slower multiplications."""
    whole, half = (
        layer_seconds(LLAMA, Parallelism(8, 8, 1, 8, context=context), H100, domain_gpus=8, precision="fp8") for context in (1, 2)
    )
    assert half.attention == pytest.approx(whole.attention / 2)
    assert half.tensor == pytest.approx(whole.tensor / 2)
    assert 0.5 < half.matmul / whole.matmul < 0.6


def test_context_traffic_of_llama() -> None:
    """8 heads of 128 for keys and as many for values over TP 8, of 4,096 tokens, there and twice back: 6.3 MB a layer to the other host."""
    exchange = context_exchange(LLAMA, Parallelism(8, 8, 1, 8, context=2), 8, recompute=False)
    assert (exchange.inside_bytes, exchange.outside_bytes) == (0.0, 3 * 2 * 2 * 128 * 4096)
    within = context_exchange(LLAMA, Parallelism(4, 8, 1, 8, context=2), 72, recompute=False)
    assert (within.inside_bytes, within.outside_bytes) == (3 * 2 * 2 * 256 * 4096, 0.0)


def test_experts_inside_a_domain_do_not_touch_the_fabric() -> None:
    """64 GPUs of an NVL72 rack: 63 of 64 copies leave the GPU, and none the rack; from hosts of 8, one copy goes to each other host."""
    model, plan = MODELS["deepseek-v3"], Parallelism(1, 4, 64, 64, interleave=4, expert=64)
    sent = 4 * 4096 * 7168 * 2 * 58 / 61
    rack = expert_exchange(model, plan, 72)
    assert rack.inside_bytes == pytest.approx(8 * 63 / 64 * sent)
    assert rack.outside_bytes == 0.0
    hosts = expert_exchange(model, plan, 8)
    assert hosts.inside_bytes == pytest.approx(8 * 7 / 8 * sent)
    assert hosts.outside_bytes == pytest.approx(4 * sent), "routing is limited to 4 hosts"
    free = expert_exchange(replace(model, token_domains=None), plan, 8)
    assert free.outside_bytes == pytest.approx(7 * (1 - (7 / 8) ** 8) * sent)
    assert training_shape(model, plan, GB200, domain_gpus=72).expert_bytes == 0
    assert training_shape(model, plan, H100, domain_gpus=8).expert_bytes > 0


def test_a_dense_model_exchanges_nothing() -> None:
    exchange = expert_exchange(LLAMA, Parallelism(8, 8, 2, 8), 8)
    assert (exchange.inside_bytes, exchange.outside_bytes) == (0.0, 0.0)


def test_mfu_is_of_the_precisions_dense_peak() -> None:
    shape = training_shape(LLAMA, Parallelism(8, 8, 4, 288, interleave=8, context=2), H100, domain_gpus=8, precision="fp8")
    assert shape.peak_ratio == 1979 / 989
    mfu = shape.model_flops / step_seconds(shape, LANE) / (512 * H100.bf16_flops * shape.peak_ratio)
    assert mfu == pytest.approx(0.428, abs=0.01)
    assert training_shape(LLAMA, Parallelism(8, 8, 4, 288), H100, domain_gpus=8).peak_ratio == 1


def test_recomputing_takes_the_layers_forward_pass_again() -> None:
    plan = Parallelism(8, 8, 1, 64)
    once, again = (layer_seconds(LLAMA, plan, H100, domain_gpus=8, recompute=recompute) for recompute in (False, True))
    assert again.matmul / once.matmul == pytest.approx(4 / 3)
    assert again.tensor / once.tensor == pytest.approx(6 / 4)


def test_zero_3_sends_in_every_microbatch() -> None:
    """Twice the weights and once the gradients, m times, against both once: 8/6 m."""
    plan = Parallelism(1, 1, 16, 4)
    one, three = (training_shape(gpt(1.7), replace(plan, zero=zero), H100, domain_gpus=8) for zero in (1, 3))
    assert three.ring_bytes == pytest.approx(4 * 8 / 6 * one.ring_bytes)
    assert step_seconds(three, LANE) > step_seconds(one, LANE)


def test_narrow_work_is_slower() -> None:
    """The same tokens on the same GPUs: with more tensor parallelism each multiplication is narrower."""
    rates = []
    for tensor in (1, 2, 4, 8):
        layer = layer_seconds(gpt(7.5), Parallelism(tensor, 1, 1, 1), H100, domain_gpus=8)
        rates.append(layer.matmul * tensor)
    assert rates == sorted(rates)
    assert rates[-1] > 1.05 * rates[0]


SHAPES = st.builds(
    TrainingShape,
    st.floats(0.01, 100),
    st.floats(0, 1e12),
    st.floats(0, 10),
    st.floats(0, 1),
    st.just(1.0),
    exposed_ratio=st.floats(0, 1),
    context_bytes=st.just(0.0) | st.floats(1, 1e12),
    context_overlap_seconds=st.floats(0, 10),
)


@given(SHAPES, st.lists(st.floats(0, 1e11), min_size=1))
def test_a_step_takes_no_longer_with_more_bandwidth(shape: TrainingShape, rates: list[float]) -> None:
    seconds = [step_seconds(shape, rate) for rate in sorted(rates)]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] >= shape.compute_seconds
    assert (step_seconds(shape, 0.0) == np.inf) == (shape.lane_bytes > 0)


#: Parallelisms that go together with every model of PLANNED.
PLANNED = ("gpt-39.1b", "llama3.1-70b", "gpt3-175b", "deepseek-v3", "qwen3-235b-a22b", "mixtral-8x7b")
plans = st.builds(
    Parallelism,
    tensor=st.sampled_from([1, 2, 4, 8]),
    pipeline=st.sampled_from([1, 2, 4, 8]),
    data=st.sampled_from([8, 16, 64]),
    microbatches=st.integers(1, 64),
    interleave=st.sampled_from([1, 2, 4]),
    context=st.sampled_from([1, 2, 4]),
    zero=st.sampled_from([1, 3]),
)


@given(st.sampled_from(PLANNED), plans, st.sampled_from([4, 8, 72]), st.sampled_from([1, 8, 16]))
def test_what_holds_for_any_parallelism(name: str, plan: Parallelism, domain_gpus: int, experts: int) -> None:
    model = MODELS[name]
    if model.experts and experts > 1 and plan.tensor * plan.context * plan.data % (plan.tensor * min(experts, model.experts)) == 0:
        plan = replace(plan, expert=plan.tensor * min(experts, model.experts))
    shape = training_shape(model, plan, GB200, domain_gpus=domain_gpus, precision="fp8")
    assert 0 < shape.compute_seconds < np.inf
    assert shape.ring_bytes >= 0
    assert shape.expert_bytes >= 0
    assert shape.context_bytes >= 0
    assert 0 <= shape.exposed_ratio <= 1
    assert plan.gpus % shape.replica_gpus == 0
    assert shape.replica_gpus == shape.stage_gpus * plan.pipeline
    assert shape.stage_gpus % plan.tensor == 0
    assert plan.gpus % shape.expert_gpus == 0
    flops = shape.model_flops / step_seconds(shape, 45e9) / plan.gpus
    assert flops < GB200.bf16_flops * shape.peak_ratio * 0.7, "no model trains at 70 % of a dense fp8 peak"
    more = training_shape(model, replace(plan, microbatches=plan.microbatches * 2), GB200, domain_gpus=domain_gpus, precision="fp8")
    assert step_seconds(more, 45e9) < 2 * step_seconds(shape, 45e9) * (1 + 1e-9), "a larger batch amortises bubble and reduction"
    deeper = training_shape(model, replace(plan, interleave=plan.interleave * 2), GB200, domain_gpus=domain_gpus, precision="fp8")
    assert deeper.compute_seconds <= shape.compute_seconds * (1 + 1e-9)
    faster = training_shape(model, plan, GB200, domain_gpus=domain_gpus, precision="nvfp4")
    assert faster.compute_seconds <= shape.compute_seconds * (1 + 1e-9)


@given(st.sampled_from(PLANNED), plans, st.sampled_from([4, 8, 72]))
def test_every_copy_of_a_weight_meets_the_others(name: str, plan: Parallelism, domain_gpus: int) -> None:
    model = MODELS[name]
    common, experts = common_reduction(model, plan, domain_gpus), expert_reduction(model, plan, domain_gpus)
    assert common.inside * common.outside == pytest.approx(plan.data * plan.context)
    assert experts.inside * experts.outside == pytest.approx(plan.data * plan.sequence_gpus / plan.expert_gpus)
    held = (common.weights + experts.weights * plan.expert_gpus / plan.tensor) * plan.tensor * plan.pipeline
    assert held == pytest.approx(model.parameters)


def test_slower_links_inside_a_domain_slow_tensor_parallelism() -> None:
    slow = replace(H100, scale_up_bytes_per_second=225e9)
    plan = Parallelism(8, 1, 1, 8)
    assert layer_seconds(gpt(18.4), plan, slow, domain_gpus=8).tensor == 2 * layer_seconds(gpt(18.4), plan, H100, domain_gpus=8).tensor


def test_a_hosts_lane_is_what_a_gpu_can_send() -> None:
    assert HOSTS["hgx-h100"].lane_bytes_per_second == 50e9
