"""What a step of a replica takes, and how many blocks of KV memory it has: a roofline over a floor.

    t = floor layers + max(weights, multiplications) + KV + attention + all-reduces + c running

The floor is what no bandwidth buys: launches, synchronisation, sampling. Weights are read once a step, whatever the number of tokens; of a
mixture, those of the experts that its tokens are sent to. A decode reads the keys and values of its context, a prompt's tokens attend to
those before them. A layer of tensor parallelism reduces twice. The last term is what the engine does for each request in
the step; each of the groups over which attention is spread does it for its own.

Five numbers are fitted for each GPU, precision and engine (``workload.serving.stacks``); the shares below are the same for all.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.draws.exact import power
from emulator.workload.serving.stacks import Stack
from emulator.workload.training import Model, peak_flops
from topology.catalog import GpuType

#: Parts of the peaks of memory, of the bf16 tensor cores and of the scale-up links that reading KV, attention and all-reduces reach.
#: Assumed, and not fitted: published rows of one length of prompt and output cannot tell them from the terms that are.
KV_RATIO, ATTENTION_RATIO, LINK_RATIO = 0.8, 0.5, 0.6
#: Part of a GPU's memory that the weights and KV may fill; the rest is the engine's. With it the concurrency at which published sweeps
#: saturate is that of the memory within 4 %.
CAPACITY_RATIO = 0.93
#: Bytes of a weight. Four bits have a scale of a byte for every 16 (nvfp4).
WEIGHT_BYTES = {"bf16": 2.0, "fp8": 1.0, "nvfp4": 0.5 + 1 / 16}
#: Bytes of a number of a key, a value or an activation.
KV_BYTES = {"bf16": 2.0, "fp8": 1.0}
ACTIVATION_BYTES = 2.0
#: Tokens of one block of KV memory (vLLM's default).
BLOCK_TOKENS = 16
PS = 1e12


@dataclass(frozen=True)
class ServingPlan:
    """GPUs of a replica: ``tensor`` times ``attention_data``, in one domain. Experts are spread over all of them."""

    tensor: int = 1
    attention_data: int = 1

    @property
    def gpus(self) -> int:
        return self.tensor * self.attention_data


@dataclass(frozen=True)
class KvRoom:
    """KV memory of a replica."""

    blocks: int

    @property
    def tokens(self) -> int:
        return self.blocks * BLOCK_TOKENS


@dataclass(frozen=True, eq=False)
class StepCosts:
    """What a step takes, in whole picoseconds.

    ``table_ps`` is by the tokens in the step, shape (budget + 1,). ``kv_ps`` is for each token of a context that a decode reads, and
    ``attention_ps`` for each pair of a prompt's token with one that it attends to. ``weights_ps``: what is left of ``table_ps``
    beside multiplying: the reading of weights as far as multiplying does not hide it, and all-reduces.
    """

    base_ps: int
    table_ps: NDArray[np.int64]
    running_ps: int
    kv_ps: int
    attention_ps: int
    weights_ps: NDArray[np.int64]


class ModelDoesNotFit(ValueError):
    """The weights leave no memory for KV; the message has the numbers."""


def kv_bytes_per_token(model: Model, kv_precision: str = "bf16") -> float:
    """Of a token's keys and values in all layers."""
    return 2.0 * model.layers * (model.kv_width or model.attention_width) * KV_BYTES[kv_precision]


def weight_bytes(model: Model, precision: str) -> float:
    """Of all weights; embedding and logits stay in bf16."""
    embeddings = 2.0 * model.vocabulary * model.hidden
    return (model.parameters - embeddings) * WEIGHT_BYTES[precision] + embeddings * WEIGHT_BYTES["bf16"]


def kv_room(model: Model, gpu: GpuType, precision: str, plan: ServingPlan, kv_precision: str = "bf16") -> KvRoom:
    """KV memory of a replica. Raises ModelDoesNotFit."""
    there, needed = CAPACITY_RATIO * gpu.memory_bytes * plan.gpus, _resident_bytes(model, precision, plan)
    blocks = int((there - needed) / (kv_bytes_per_token(model, kv_precision) * BLOCK_TOKENS))
    if blocks < 1:
        have = f"{plan.gpus} {gpu.name} have {there / 1e9:,.1f} GB for it and its KV memory"
        raise ModelDoesNotFit(f"{model.name} in {precision} takes {needed / 1e9:,.1f} GB; {have}")
    return KvRoom(blocks)


def step_costs(model: Model, gpu: GpuType, precision: str, plan: ServingPlan, stack: Stack, budget: int) -> StepCosts:
    """The terms of a replica's step, for up to ``budget`` tokens."""
    tokens, layers, gpus = np.arange(budget + 1, dtype=np.float64), model.layers, plan.gpus
    read = _read_bytes(model, precision, plan, tokens) / (stack.memory_ratio * gpu.memory_bytes_per_second)
    active = 2.0 * (model.layer_parameters + model.vocabulary * model.hidden)
    multiplied = tokens * active / (gpus * stack.multiply_ratio * peak_flops(gpu, precision))
    reduced = np.zeros(budget + 1)
    if plan.tensor > 1:
        each = 2.0 * layers * model.hidden * ACTIVATION_BYTES * 2.0 * (plan.tensor - 1) / plan.tensor
        reduced = tokens / plan.attention_data * each / (LINK_RATIO * gpu.scale_up_bytes_per_second)
    kv = kv_bytes_per_token(model, stack.kv_precision) / (gpus * KV_RATIO * gpu.memory_bytes_per_second)
    pair = 4.0 * model.attention_width * layers / (gpus * ATTENTION_RATIO * gpu.bf16_flops)
    return StepCosts(
        base_ps=round(stack.floor_seconds * layers * PS),
        table_ps=np.rint((np.maximum(read, multiplied) + reduced) * PS).astype(np.int64),
        running_ps=round(stack.running_seconds / plan.attention_data * PS),
        kv_ps=round(kv * PS),
        attention_ps=round(pair * PS),
        weights_ps=np.rint((np.maximum(read - multiplied, 0.0) + reduced) * PS).astype(np.int64),
    )


def _read_bytes(model: Model, precision: str, plan: ServingPlan, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that each GPU reads in a step of so many tokens."""
    experts = model.expert_parameters * WEIGHT_BYTES[precision]
    common = weight_bytes(model, precision) - experts - WEIGHT_BYTES["bf16"] * model.vocabulary * model.hidden  # embedding is looked up
    missed = 1.0 - model.token_experts / model.experts if model.experts else 1.0  # an expert, by a token
    met = 1.0 - power(missed, tokens)
    return common / plan.tensor + experts * met / plan.gpus


def _resident_bytes(model: Model, precision: str, plan: ServingPlan) -> float:
    experts = model.expert_parameters * WEIGHT_BYTES[precision]
    return experts + (weight_bytes(model, precision) - experts) * plan.attention_data
