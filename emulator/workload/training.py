"""How long a training step takes: the arithmetic, the pipeline's bubble, and what of the gradients' way over the fabric stays visible.

Source keys: MLM Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM", SC'21, arXiv
2104.04473; LL3 "The Llama 3 Herd of Models", arXiv 2407.21783; NCCL nccl-tests doc/PERFORMANCE.md.

One replica of the model is ``tensor * pipeline`` GPUs; ``data`` replicas take different sequences and reduce their gradients over
the fabric once a step. Ranks are laid out tensor, pipeline, data from the inside out (LL3).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.workload.jobs import TrainingShape
from topology.catalog import GpuType

#: Of the measured matmul ceiling, what a transformer's kernels reach for ever larger layers, and the hidden size at which they reach
#: half of it: one curve for all GPUs, fitted to the ten rows of MLM Table 1 with one-sequence microbatches and no interleaving.
KERNEL_CEILING_RATIO, HALF_HIDDEN = 0.72, 850.0
#: Bus bandwidth of an all-reduce inside a scale-up domain over its one-way link rate: 8 A100 reach 230-250 of 300 GB/s, 8 H100 370
#: of 450 without in-switch reduction (published nccl-tests results).
SCALE_UP_RATIO = 0.8
#: One hop of an inter-host ring: OCI's stated latency for its largest tier, 131,072 GPUs.
RING_HOP_SECONDS = 8e-6
#: Gradients are reduce-scattered in fp32 and parameters gathered in bf16 (LL3 section 3.3.2; ZeRO stage 1).
GRADIENT_BYTES, PARAMETER_BYTES = 4, 2
#: Of a GPU's memory, what weights, gradients and optimizer state may take; activations take the rest. Assumed.
STATE_MEMORY_RATIO = 0.6
#: Optimizer state per parameter, sharded over the replicas: fp32 master copy and Adam's two moments (Rajbhandari et al., ZeRO, SC'20).
OPTIMIZER_BYTES = 12


@dataclass(frozen=True)
class Model:
    """A decoder-only transformer. ``layer_parameters`` are the matmul weights a token passes through, embeddings apart."""

    name: str
    parameters: float
    layer_parameters: float
    layers: int
    hidden: int
    heads: int
    sequence: int
    vocabulary: int
    causal: bool = True  # whether the kernels leave out the masked half of attention
    batch_tokens: float = 4e6  # global batch of a step


@dataclass(frozen=True)
class Parallelism:
    """How a job's GPUs share the model; ``microbatches`` per replica and step, each of ``microbatch_sequences``."""

    tensor: int
    pipeline: int
    data: int
    microbatches: int
    microbatch_sequences: int = 1
    interleave: int = 1  # virtual stages per pipeline rank

    @property
    def gpus(self) -> int:
        return self.tensor * self.pipeline * self.data

    @property
    def bubble_ratio(self) -> float:
        """Idle over useful time of a pipeline: (p - 1) / (v m) (MLM section 2.2)."""
        return (self.pipeline - 1) / (self.interleave * self.microbatches)

    @property
    def sequences(self) -> int:
        """Sequences per step of the whole job."""
        return self.data * self.microbatches * self.microbatch_sequences


def megatron_model(name: str, layers: int, hidden: int, heads: int, *, sequence: int = 2048, vocabulary: int = 51_200) -> Model:
    """A GPT of MLM: P = 12 l h^2 (1 + 13 / 12h + (V + s) / 12lh) (equation 2); its kernels computed all of attention."""
    layer_parameters = 12.0 * layers * hidden**2
    parameters = layer_parameters * (1 + 13 / (12 * hidden) + (vocabulary + sequence) / (12 * layers * hidden))
    return Model(name, parameters, layer_parameters, layers, hidden, heads, sequence, vocabulary, causal=False)


def step_flops(model: Model, sequences: float, *, recompute: bool = False) -> float:
    """Floating point operations of one step over ``sequences`` sequences, forward and backward.

    6 per weight and token, 12 l h s per token for attention (half of it where causal), 6 h V for the logits; with full activation
    recomputation the layers' forward pass comes twice: 8 and 16. For a GPT of MLM that is its equation 3,
    F = 96 B s l h^2 (1 + s / 6h + V / 16lh).
    """
    passes = 4 if recompute else 3
    attention = 4 * model.layers * model.hidden * model.sequence * (0.5 if model.causal else 1.0)
    per_token = passes * (2 * model.layer_parameters + attention) + 6 * model.hidden * model.vocabulary
    return sequences * model.sequence * per_token


def kernel_efficiency(hidden: int) -> float:
    """Share of the GPU's measured matmul ceiling that a transformer layer of this width reaches, communication apart."""
    return KERNEL_CEILING_RATIO * hidden / (hidden + HALF_HIDDEN)


def training_shape(
    model: Model, plan: Parallelism, gpu: GpuType, *, domain_gpus: int, recompute: bool = False, overlap: bool = True
) -> TrainingShape:
    """What a step of ``model`` under ``plan`` takes on ``gpu``s in scale-up domains of ``domain_gpus``.

    Compute is ``(m t_mb)(1 + (p - 1) / (v m))`` with ``t_mb`` one microbatch through one stage: its arithmetic, plus the tensor-parallel
    all-reduces of 2 b s h bytes, two a layer in the forward and two in the backward pass (MLM section 3.2; two more when recomputing),
    which are not hidden. Point-to-point traffic between stages is taken as hidden behind compute.

    A lane of the ring sends ``(n - 1) / n`` of the gradients (reduce-scatter) and of the parameters (all-gather) of its GPU's shard:
    with both in one dtype of b bytes the all-reduce's ``2 (n - 1) / n * b * P / (t p)`` (NCCL). Replicas in one domain reduce there first,
    so only ``n`` = replicas over those per domain meet on the fabric, each lane with its share. ``overlap`` hides the ring behind one
    microbatch: the gradients behind the last backward pass, the parameters behind the next forward pass.
    """
    per_replica = step_flops(model, plan.microbatch_sequences, recompute=recompute)
    rate = gpu.achievable_flops * kernel_efficiency(model.hidden)
    scale_up = SCALE_UP_RATIO * gpu.scale_up_bytes_per_second
    reduced_bytes = 2 * plan.microbatch_sequences * model.sequence * model.hidden
    reductions = (6 if recompute else 4) * model.layers / plan.pipeline
    tensor_seconds = reductions * 2 * (plan.tensor - 1) / plan.tensor * reduced_bytes / scale_up
    microbatch_seconds = per_replica / (plan.tensor * plan.pipeline) / rate + tensor_seconds

    inside = max(1, min(plan.data, domain_gpus // (plan.tensor * plan.pipeline)))
    outside = plan.data / inside
    shard = model.parameters / (plan.tensor * plan.pipeline)
    moved_bytes = shard * (GRADIENT_BYTES + PARAMETER_BYTES)
    inside_seconds = (inside - 1) / inside * moved_bytes / scale_up
    return TrainingShape(
        compute_seconds=plan.microbatches * microbatch_seconds * (1 + plan.bubble_ratio) + inside_seconds,
        ring_bytes=(outside - 1) / outside * moved_bytes / inside,
        overlap_seconds=microbatch_seconds if overlap else 0.0,
        latency_seconds=2 * (outside - 1) * RING_HOP_SECONDS,
        model_flops=step_flops(model, plan.sequences),
    )


def step_seconds(shape: TrainingShape, bytes_per_second: ArrayLike, hop_seconds: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Seconds a step takes when each lane gets so many bytes per second and a hop takes so long: see ``TrainingShape``.

    Infinite at 0 bytes per second, unless there is nothing to send.
    """
    rate = np.asarray(bytes_per_second, dtype=np.float64)
    if shape.lane_bytes == 0.0:
        return np.full(rate.shape, shape.compute_seconds)

    def sending(count: float) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(count / rate if count else np.zeros(rate.shape))

    latency = shape.latency_seconds + shape.hops * np.asarray(hop_seconds, dtype=np.float64)
    ring = np.maximum(0.0, sending(shape.ring_bytes) + (latency - shape.overlap_seconds))
    stages = np.maximum(0.0, sending(2.0 * shape.pipeline_bytes) - shape.pipeline_overlap_seconds)
    return np.asarray(shape.compute_seconds + ring + stages + sending(shape.expert_bytes))


def speed_ratio(
    shape: TrainingShape,
    bytes_per_second: ArrayLike,
    full_bytes_per_second: ArrayLike,
    hop_seconds: ArrayLike = 0.0,
    ideal_hop_seconds: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Speed at a share of the fabric over the speed with whole lanes under one leaf: 0 without bandwidth, and never above 1."""
    ideal = step_seconds(shape, full_bytes_per_second, ideal_hop_seconds)
    return np.asarray(np.minimum(1.0, ideal / step_seconds(shape, bytes_per_second, hop_seconds)))


def choose_parallelism(model: Model, gpus: int, gpu: GpuType, *, domain_gpus: int, interleave: int = 4) -> Parallelism | None:
    """The least model parallelism whose state fits in memory on ``gpus``, tensor before pipeline; None where it does not fit.

    Tensor parallelism stays in a domain and within 8, and divides the heads; pipeline stages divide the layers into at most that many.
    A replica gets as many one-sequence microbatches as the global batch leaves it, and at least as many as it has stages.
    """
    for tensor, pipeline in (
        *((tensor, 1) for tensor in (1, 2, 4)),
        *((8, pipeline) for pipeline in range(1, model.layers + 1)),
    ):
        replica = tensor * pipeline
        if gpus % replica or tensor > domain_gpus or model.heads % tensor:
            continue
        data = gpus // replica
        state_bytes = model.parameters / replica * (PARAMETER_BYTES + GRADIENT_BYTES + OPTIMIZER_BYTES / data)
        if state_bytes <= STATE_MEMORY_RATIO * gpu.memory_bytes:
            microbatches = max(1, pipeline, round(model.batch_tokens / (model.sequence * data)))
            virtual = 1 if pipeline == 1 else max(1, min(interleave, model.layers // pipeline))
            return Parallelism(tensor, pipeline, data, microbatches, interleave=virtual)
    return None


def _llama(name: str, parameters: float, layers: int, hidden: int, heads: int, *, batch_tokens: float) -> Model:
    vocabulary = 128_256
    return Model(
        name, parameters, parameters - 2.0 * vocabulary * hidden, layers, hidden, heads, 8_192, vocabulary, batch_tokens=batch_tokens
    )


#: MLM Table 1 by billions of parameters, and Llama 3 (LL3 Table 3; 405B on 16 million tokens
#: a batch, Table 4; the smaller models' batches are assumed).
MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        megatron_model("gpt-1.7b", 24, 2304, 24),
        megatron_model("gpt-3.6b", 30, 3072, 32),
        megatron_model("gpt-7.5b", 36, 4096, 32),
        megatron_model("gpt-18.4b", 40, 6144, 48),
        megatron_model("gpt-39.1b", 48, 8192, 64),
        megatron_model("gpt-76.1b", 60, 10240, 80),
        megatron_model("gpt-145.6b", 80, 12288, 96),
        megatron_model("gpt-310.1b", 96, 16384, 128),
        megatron_model("gpt-529.6b", 105, 20480, 128),
        megatron_model("gpt-1008b", 128, 25600, 160),
        _llama("llama3-8b", 8.03e9, 32, 4096, 32, batch_tokens=4e6),
        _llama("llama3-70b", 70.6e9, 80, 8192, 64, batch_tokens=8e6),
        _llama("llama3-405b", 405.9e9, 126, 16384, 128, batch_tokens=16e6),
    )
}
