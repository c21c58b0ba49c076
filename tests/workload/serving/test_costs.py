"""The two laws that the published rows show, the floor of a step and KV memory by arithmetic; and what a plan changes of a step."""

import numpy as np
import pytest

from emulator.workload.serving.costs import (
    BLOCK_TOKENS,
    PS,
    ModelDoesNotFit,
    PlanDoesNotFit,
    ReplicaSteps,
    ServingPlan,
    Speculation,
    fabric_bytes,
    kv_bytes_per_token,
    kv_room,
    plan_of,
)
from emulator.workload.serving.stacks import ENGINES, STACKS, Stack, stack_of
from emulator.workload.training import MODELS, peak_flops
from topology.catalog import GPUS

LLAMA = MODELS["llama3.1-70b"]
#: (GPU, a in ms, b in ms) of TPOT = a + b / TP at concurrency 4 under vLLM, fitted on published rows within 0.15 ms.
FLOORS = [("H100-SXM5-80GB", 6.3, 22.2), ("H200-SXM-141GB", 6.0, 15.5), ("B200-SXM-180GB", 5.0, 11.3)]


@pytest.mark.parametrize(("gpu", "floor_ms", "weights_ms"), FLOORS)
def test_a_decode_step_is_a_floor_and_the_weights_over_the_gpus(gpu: str, floor_ms: float, weights_ms: float) -> None:
    """At concurrency 4 with 1,400 tokens each. A roofline without a floor is wrong in both terms."""
    for tensor in (2, 4, 8):
        costs = ReplicaSteps(LLAMA, GPUS[gpu], "fp8", ServingPlan(tensor), stack_of(gpu, "fp8", "vllm"), 8192).costs()
        step_ms = (costs.base_ps + costs.table_ps[4] + 4 * costs.running_ps + 4 * 1400 * costs.kv_ps) / PS * 1000
        assert step_ms == pytest.approx(floor_ms + weights_ms / tensor, rel=0.08)


def test_kv_bytes_are_those_of_the_grouped_heads() -> None:
    """2 L n_kv d_head b: 327,680 B of the 70B in bf16, half of it in fp8, 516,096 of the 405B; 576 numbers a layer of DeepSeek-V3."""
    assert kv_bytes_per_token(LLAMA) == 327_680
    assert kv_bytes_per_token(LLAMA, "fp8") == 163_840
    assert kv_bytes_per_token(MODELS["llama3.1-405b"]) == 516_096
    assert kv_bytes_per_token(MODELS["deepseek-v3"]) == 61 * 576 * 2


@pytest.mark.parametrize(
    ("gpu", "tensor", "kv"), [("H100-SXM5-80GB", 2, "bf16"), ("H200-SXM-141GB", 1, "fp8"), ("H200-SXM-141GB", 8, "bf16")]
)
def test_kv_room_is_what_the_weights_leave(gpu: str, tensor: int, kv: str) -> None:
    room = kv_room(LLAMA, GPUS[gpu], "fp8", ServingPlan(tensor), kv)
    weights = 70.6e9 + 2 * 128_256 * 8192  # embedding and logits in bf16
    expected = (0.93 * GPUS[gpu].memory_bytes * tensor - weights) / kv_bytes_per_token(LLAMA, kv)
    assert room.tokens == pytest.approx(expected, abs=BLOCK_TOKENS)


def test_attention_in_data_parallel_holds_its_weights_more_than_once() -> None:
    deepseek, gpu = MODELS["deepseek-v3"], GPUS["H200-SXM-141GB"]
    one, eight = (kv_room(deepseek, gpu, "fp8", plan) for plan in (ServingPlan(8, 1), ServingPlan(1, 8)))
    assert eight.tokens < one.tokens


def test_a_model_that_does_not_fit_is_refused_with_numbers() -> None:
    with pytest.raises(ModelDoesNotFit, match=r"llama3.1-405b in bf16 takes 811.* GB; 8 H100-SXM5-80GB have 595.2 GB"):
        kv_room(MODELS["llama3.1-405b"], GPUS["H100-SXM5-80GB"], "bf16", ServingPlan(8))


def test_few_tokens_meet_few_experts() -> None:
    """A step of one token reads 8 of 256 experts; one of 8,192 all of them."""
    deepseek, gpu = MODELS["deepseek-v3"], GPUS["H200-SXM-141GB"]
    stack = Stack(0.0, 1.0, 1.0, 0.0, 0.0)
    table = ReplicaSteps(deepseek, gpu, "fp8", ServingPlan(8), stack, 8192).costs().table_ps
    assert np.all(np.diff(table) > 0)
    experts = deepseek.expert_parameters / 8 / gpu.memory_bytes_per_second * PS
    assert table[1] - table[0] == pytest.approx(experts * 8 / 256, rel=0.05)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mixture", [False, True])
def test_every_gpu_has_numbers(engine: str, mixture: bool) -> None:
    for gpu in GPUS:
        for precision in ("bf16", "fp8", "nvfp4"):
            assert stack_of(gpu, precision, engine, mixture=mixture) in STACKS.values()
    assert stack_of("H200-SXM-141GB", "bf16", "vllm") is STACKS["H100-SXM5-80GB", "bf16", "vllm", "dense"]
    assert stack_of("GB300-288GB", "fp8", "vllm") is STACKS["B200-SXM-180GB", "fp8", "vllm", "dense"]


def test_groups_that_share_out_attention_share_out_the_work_for_each_request() -> None:
    """Eight engines of 8 GPUs and one of 64 that has as many groups: 800 requests cost a step what 100 cost one engine."""
    deepseek, gpu, stack = MODELS["deepseek-v3"], GPUS["GB200-186GB"], Stack(0.0, 1.0, 1.0, 24e-6, 0.0)
    one, groups = (ReplicaSteps(deepseek, gpu, "fp8", plan, stack, 8192).costs() for plan in (ServingPlan(8, 1), ServingPlan(8, 8)))
    assert 800 * groups.running_ps == 100 * one.running_ps == 2400e6


def test_a_draft_that_is_mostly_right_pays() -> None:
    """Three tokens are drafted, each right with 0.8 if those before are: 1 + 0.8 + 0.64 + 0.512 = 2.952 tokens a step in the mean, the step
    and its drafts taking 1.09 times as long (Leviathan et al., equation 1 and theorem 3.8). Drafts that are never right only cost.
    """
    assert Speculation(3, 0.8, 0.03).step_ratio == pytest.approx(1.09 / 2.952)
    assert Speculation(3, 0.0, 0.03).step_ratio == pytest.approx(1.09)
    assert Speculation(3, 1.0, 0.0).step_ratio == 0.25
    assert Speculation().step_ratio == 1.0
    gpu, stack = GPUS["H100-SXM5-80GB"], stack_of("H100-SXM5-80GB", "fp8", "vllm")
    plain, drafted = (
        ReplicaSteps(LLAMA, gpu, "fp8", ServingPlan(4), stack, 8192, speculation).costs()
        for speculation in (Speculation(), Speculation(3, 0.8, 0.03))
    )
    ratio = 1.09 / 2.952
    for decoding in (1, 64, 2000):  # with 8,000 tokens to verify it is multiplications that take the time
        assert drafted.decode_ps[decoding] == pytest.approx(plain.table_ps[4 * decoding] * ratio, rel=1e-9)
    assert drafted.decode_base_ps == pytest.approx(plain.base_ps * ratio, rel=1e-9)
    assert (drafted.base_ps, drafted.table_ps.tolist()) == (plain.base_ps, plain.table_ps.tolist()), "prompts are computed as ever"


def test_stages_share_out_the_work_and_not_the_way() -> None:
    """Two stages of 8 GPUs. A token passes the floors and weights of all layers, so alone it is no faster than on one stage of all layers;
    many tokens are in two groups, which are worked on at once. The last part of a prompt still has the way through both stages to go.
    """
    model, gpu = MODELS["llama3.1-405b"], GPUS["H100-SXM5-80GB"]
    stack = stack_of(gpu.name, "bf16", "vllm")
    one, two = (ReplicaSteps(model, gpu, "bf16", ServingPlan(8, 1, stages), stack, 8192).costs() for stages in (1, 2))
    assert two.base_ps == one.base_ps
    assert two.table_ps[2] == pytest.approx(one.table_ps[1], rel=1e-3)
    assert two.table_ps[8000] == one.table_ps[4000] == pytest.approx(one.table_ps[8000] / 2, rel=1e-3)
    assert two.kv_ps == pytest.approx(one.kv_ps / 2, rel=1e-6)
    assert (two.table_ps[8000] + two.fill_ps(np.array([8000]))[0]) == pytest.approx(one.table_ps[8000], rel=1e-3)
    assert one.fill_ps(np.array([8000]))[0] == 0


def test_what_goes_to_other_domains() -> None:
    """Of a token of DeepSeek-V3 over 4 hosts: in 58 layers 7,168 numbers, one byte there and two back, to 3 (1 - (3/4)^8) = 2.70 others; of
    a pipeline over two hosts one activation of two bytes a number; nothing within a domain. A tensor group over two hosts reduces twice in
    each of 126 layers, each GPU an eighth of an activation, of which half goes there and half comes back.
    """
    assert fabric_bytes(MODELS["deepseek-v3"], "fp8", ServingPlan(1, 32, 1, 4)) == pytest.approx(58 * 7168 * 3 * 3 * (1 - 0.75**8) / 32)
    assert fabric_bytes(MODELS["llama3.1-405b"], "bf16", ServingPlan(8, 1, 2, 2)) == pytest.approx(16384 * 2 / 16)
    assert fabric_bytes(MODELS["deepseek-v3"], "fp8", ServingPlan(8)) == 0.0
    assert fabric_bytes(MODELS["llama3.1-405b"], "bf16", ServingPlan(16, 1, 1, 2)) == pytest.approx(126 * 2 * 16384 * 2 / 8)


def test_tokens_go_to_the_gpus_of_their_experts() -> None:
    """DeepSeek-V3 on a rack of 72, attention in 72 groups: each token to 8 experts, of which 71/72 are elsewhere, one byte a number there
    and two back, in 58 layers. Where a token is on all 8 GPUs anyway, all-reduces are all there is.
    """
    model, gpu, stack = MODELS["deepseek-v3"], GPUS["GB200-186GB"], Stack(0.0, 1.0, 1.0, 0.0, 0.0)
    groups, together = (ReplicaSteps(model, gpu, "fp8", plan, stack, 72_000).costs() for plan in (ServingPlan(1, 72), ServingPlan(8)))
    bytes_sent = 72_000 * 58 * 7168 * 3 * 8 * 71 / 72 / 72
    multiplied = 72_000 * 2 * (model.layer_parameters + model.vocabulary * model.hidden) / (72 * peak_flops(gpu, "fp8"))
    hidden = groups.table_ps[72_000] - multiplied * PS  # reading is shorter
    assert hidden == pytest.approx(bytes_sent / (0.6 * gpu.scale_up_bytes_per_second) * PS, rel=1e-3)
    reduced = 8000 * 2 * 61 * 7168 * 2 * 2 * 7 / 8 / (0.6 * gpu.scale_up_bytes_per_second)
    multiplied = 8000 * 2 * (model.layer_parameters + model.vocabulary * model.hidden) / (8 * peak_flops(gpu, "fp8"))
    assert together.table_ps[8000] == pytest.approx((reduced + multiplied) * PS, rel=1e-6)


def test_replicas_divide_into_domains() -> None:
    assert plan_of(8, 1, 1, 8) == ServingPlan(8)
    assert plan_of(1, 32, 1, 8) == ServingPlan(1, 32, 1, 4)
    assert plan_of(16, 1, 2, 8) == ServingPlan(16, 1, 2, 4)
    assert (plan_of(16, 1, 2, 8).tensor_domains, plan_of(16, 1, 2, 8).stage_domains) == (2, 2)
    assert plan_of(4, 1, 4, 8).stage_domains == 1
    for parts in ((3, 4, 1), (12, 2, 1), (4, 3, 2)):
        with pytest.raises(PlanDoesNotFit, match=f"a replica of {parts[0] * parts[1] * parts[2]} GPUs"):
            plan_of(*parts, 8)


def test_a_lower_clock_is_slower_where_it_multiplies() -> None:
    steps = ReplicaSteps(LLAMA, GPUS["H100-SXM5-80GB"], "fp8", ServingPlan(4), stack_of("H100-SXM5-80GB", "fp8", "vllm"), 8192)
    full, slow = steps.costs(), steps.costs(1.25)
    assert slow.table_ps[1] == full.table_ps[1], "one token waits for memory"
    multiplied = full.table_ps[8000] - full.weights_ps[8000]
    assert slow.table_ps[8000] - full.table_ps[8000] == pytest.approx(0.25 * multiplied, rel=1e-6)
    assert slow.attention_ps == pytest.approx(1.25 * full.attention_ps, abs=1)
    assert (slow.base_ps, slow.kv_ps, slow.running_ps) == (full.base_ps, full.kv_ps, full.running_ps)


def test_deepseek_on_ninety_six_gpus_beside_what_was_published() -> None:
    """SGLang's 52,300 tokens of prompts a second on each of 4 hosts, and 22,300 of answers on each of 9 (lmsys.org, 5 May 2025), which hide
    sending behind a second batch. Ours do not, and multiply as on 8 GPUs (docs/serving.md).
    """
    model, gpu = MODELS["deepseek-v3"], GPUS["H100-SXM5-80GB"]
    stack = stack_of(gpu.name, "fp8", "sglang", mixture=True)

    def seconds(plan: ServingPlan, tokens: int, requests: int, contexts: int, pairs: int) -> float:
        costs = ReplicaSteps(model, gpu, "fp8", plan, stack, 131_072).costs()
        crossing = tokens * fabric_bytes(model, "fp8", plan) / (0.95 * 50e9)
        own = (
            costs.base_ps + int(costs.table_ps[tokens]) + costs.running_ps * requests + costs.kv_ps * contexts + costs.attention_ps * pairs
        )
        return own / PS + crossing

    prompts = seconds(ServingPlan(1, 32, 1, 4), 130_000, 65, 0, 65 * 2000 * 2001 // 2)
    assert 130_000 / prompts / 4 == pytest.approx(22_500, rel=0.01)
    at_once = 256 * 72
    answers = seconds(ServingPlan(1, 72, 1, 9), at_once, at_once, at_once * 2200, 0)
    assert at_once / answers / 9 == pytest.approx(16_500, rel=0.01)
