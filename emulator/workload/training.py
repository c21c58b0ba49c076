"""How long a training step takes: the arithmetic, the pipeline's bubble, and the part of the communication that is not hidden.

Source keys: MLM Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM", SC'21, arXiv
2104.04473; LL3 "The Llama 3 Herd of Models", arXiv 2407.21783; DSV DeepSeek-V3, arXiv 2412.19437; NCCL nccl-tests doc/PERFORMANCE.md.

``tensor * pipeline`` GPUs take a microbatch through the model; ``data`` of these take different sequences and reduce their gradients over
the fabric once a step. Ranks are laid out tensor, pipeline, data from the inside out (LL3). The experts of a mixture are spread over
``expert`` consecutive GPUs of a stage, which exchange tokens in all-to-alls; such a stage holds several of the data-parallel ranks.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from emulator.workload.collectives import COLLECTIVE_BYTES, COLLECTIVE_HOPS, NIC_SECONDS, faster
from emulator.workload.jobs import TrainingShape
from topology.catalog import GpuType

#: The part of the measured matmul ceiling that a transformer's kernels approach as layers get wider, and the hidden size at which they
#: reach half of that: one curve for all GPUs, fitted to the ten rows of MLM Table 1 with one-sequence microbatches and no interleaving.
KERNEL_CEILING_RATIO, HALF_HIDDEN = 0.72, 850.0
#: Bus bandwidth of an all-reduce inside a scale-up domain over its one-way link rate: 8 A100 reach 230-250 of 300 GB/s, 8 H100 370
#: of 450 without in-switch reduction (published nccl-tests results).
SCALE_UP_RATIO = 0.8
#: Gradients are reduce-scattered in fp32 and parameters gathered in bf16 (LL3 section 3.3.2; ZeRO stage 1).
GRADIENT_BYTES, PARAMETER_BYTES = 4, 2
#: Activations are sent in bf16.
ACTIVATION_BYTES = 2
#: Widest expert parallelism that is chosen by default: DSV trains 256 experts on 64 GPUs.
WIDEST_EXPERT_PARALLEL = 64
#: The part of a GPU's memory that weights, gradients and optimizer state may take; activations take the rest. Assumed.
STATE_MEMORY_RATIO = 0.6
#: A checkpoint per parameter: bf16 weights, and what OPTIMIZER_BYTES is.
STATE_BYTES = 14
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
    experts: int = 0  # of one mixture layer; 0: a dense model
    expert_parameters: float = 0.0  # of all experts of all layers
    expert_layers: int = 0
    token_experts: int = 0  # that a token is sent to in each of these layers
    token_domains: int | None = None  # most domains that a token is sent to, where routing is limited


@dataclass(frozen=True)
class Parallelism:
    """How a job's GPUs share the model; ``microbatches`` per replica and step, each of ``microbatch_sequences``."""

    tensor: int
    pipeline: int
    data: int
    microbatches: int
    microbatch_sequences: int = 1
    interleave: int = 1  # virtual stages per pipeline rank
    expert: int = 1  # GPUs that share the experts of a layer; a multiple of ``tensor``, or 1

    @property
    def gpus(self) -> int:
        return self.tensor * self.pipeline * self.data

    @property
    def stage_gpus(self) -> int:
        """GPUs of one stage with all of its layers' weights."""
        return max(self.tensor, self.expert)

    @property
    def replica_gpus(self) -> int:
        """GPUs with one copy of all weights."""
        return self.stage_gpus * self.pipeline

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
    model: Model,
    plan: Parallelism,
    gpu: GpuType,
    *,
    domain_gpus: int,
    recompute: bool = False,
    overlap: bool = True,
    collective: str = "ring",
    bytes_per_second: float = 50e9,
) -> TrainingShape:
    """What a step of ``model`` under ``plan`` takes on ``gpu``s in scale-up domains of ``domain_gpus``.

    Compute is ``(m t_mb)(1 + (p - 1) / (v m))`` with ``t_mb`` one microbatch through one stage: its arithmetic, plus the tensor-parallel
    all-reduces of 2 b s h bytes, two a layer in the forward and two in the backward pass (MLM section 3.2; two more when recomputing),
    which are not hidden.

    A lane of the ring sends ``(n - 1) / n`` of the gradients (reduce-scatter) and of the parameters (all-gather) of its GPU's shard. With
    both in one dtype of b bytes these are the ``2 (n - 1) / n * b * P / (t p)`` of an all-reduce (NCCL). Replicas in one domain reduce
    there first, so only ``n`` = replicas / replicas per domain meet on the fabric, each lane with its share. ``overlap`` hides the ring
    behind one microbatch: the gradients behind the last backward pass, the parameters behind the next forward pass. ``collective`` is ring,
    tree, or auto: the faster at ``bytes_per_second`` a lane.

    Stages send b s h / t bytes a microbatch and virtual stage to the next one and as much back (MLM section 4.1), hidden behind compute. A
    layer of experts sends each token to its experts and back, in both passes: four all-to-alls of b s h / t bytes times the experts of a
    token that are in other domains (DSV section 3.2), not hidden. The weights that the experts' GPUs have in common (attention, embeddings)
    are reduced among these GPUs first; these bytes are counted with the all-to-alls.
    """
    per_replica = step_flops(model, plan.microbatch_sequences, recompute=recompute)
    rate = gpu.achievable_flops * kernel_efficiency(model.hidden)
    scale_up = SCALE_UP_RATIO * gpu.scale_up_bytes_per_second
    activation_bytes = ACTIVATION_BYTES * plan.microbatch_sequences * model.sequence * model.hidden
    reductions = (6 if recompute else 4) * model.layers / plan.pipeline
    tensor_seconds = reductions * 2 * (plan.tensor - 1) / plan.tensor * activation_bytes / scale_up
    microbatch_seconds = per_replica / (plan.tensor * plan.pipeline) / rate + tensor_seconds

    step_bytes = GRADIENT_BYTES + PARAMETER_BYTES
    replicas = plan.gpus / plan.replica_gpus
    inside = max(1.0, min(replicas, domain_gpus // plan.replica_gpus))
    outside = replicas / inside
    moved_bytes = model.parameters / plan.replica_gpus * step_bytes
    inside_seconds = (inside - 1) / inside * moved_bytes / scale_up
    reduced = 0.5 * moved_bytes / inside  # an all-reduce moves each byte twice
    if collective == "auto":
        collective = faster(reduced, outside, bytes_per_second, NIC_SECONDS)
    sent_bytes = activation_bytes / plan.tensor * plan.microbatches
    return TrainingShape(
        compute_seconds=plan.microbatches * microbatch_seconds * (1 + plan.bubble_ratio) + inside_seconds,
        ring_bytes=COLLECTIVE_BYTES[collective](reduced, outside),
        overlap_seconds=microbatch_seconds if overlap else 0.0,
        latency_seconds=0.0,
        model_flops=step_flops(model, plan.sequences),
        hops=COLLECTIVE_HOPS[collective](outside),
        collective=collective,
        replica_gpus=plan.replica_gpus,
        stage_gpus=plan.stage_gpus,
        pipeline_bytes=sent_bytes * plan.interleave if plan.pipeline > 1 and plan.replica_gpus > domain_gpus else 0.0,
        pipeline_overlap_seconds=plan.microbatches * microbatch_seconds,
        expert_gpus=plan.expert,
        expert_bytes=_exchanged_bytes(model, plan, domain_gpus, sent_bytes),
        state_bytes=STATE_BYTES * model.parameters,
    )


def _exchanged_bytes(model: Model, plan: Parallelism, domain_gpus: int, sent_bytes: float) -> float:
    """Bytes that each lane sends per step to the GPUs of its expert group in other domains."""
    if plan.expert <= domain_gpus:
        return 0.0
    domains = plan.expert / domain_gpus
    copies = model.token_experts * (domains - 1) / domains
    if model.token_domains is not None:
        copies = min(copies, model.token_domains)
    common = (model.parameters - model.expert_parameters) / (plan.tensor * plan.pipeline)
    common_bytes = (domains - 1) / domains * common * (GRADIENT_BYTES + PARAMETER_BYTES) / (domain_gpus / plan.tensor)
    return 4 * model.expert_layers / plan.pipeline * copies * sent_bytes + common_bytes


def step_seconds(shape: TrainingShape, bytes_per_second: float, hop_seconds: float = NIC_SECONDS) -> float:
    """Seconds of a step whose lanes get ``bytes_per_second`` each; infinite at 0 bytes per second unless nothing is sent."""
    seconds = shape.compute_seconds
    for size, others in (
        (shape.ring_bytes, shape.hops * hop_seconds + shape.latency_seconds - shape.overlap_seconds),
        (2.0 * shape.pipeline_bytes, -shape.pipeline_overlap_seconds),
        (shape.expert_bytes, 0.0),
    ):
        if size > 0.0:
            seconds += max(0.0, (size / bytes_per_second if bytes_per_second else math.inf) + others)
    return seconds


def choose_parallelism(model: Model, gpus: int, gpu: GpuType, *, domain_gpus: int, interleave: int = 4) -> Parallelism | None:
    """The least model parallelism whose state fits in memory on ``gpus``, tensor before pipeline; None if none fits.

    Tensor parallelism stays in a domain and within 8, and divides the heads; pipeline stages divide the layers into at most that many.
    A replica gets as many one-sequence microbatches as the global batch leaves it, and at least as many as it has stages. Experts are
    spread over 2, 4, ... up to 64 GPUs before tensor or pipeline parallelism grows (DSV has none of the former).
    """
    for tensor, pipeline in (
        *((tensor, 1) for tensor in (1, 2, 4)),
        *((8, pipeline) for pipeline in range(1, model.layers + 1)),
    ):
        replica = tensor * pipeline
        if gpus % replica or tensor > domain_gpus or model.heads % tensor:
            continue
        data = gpus // replica
        for expert in _expert_degrees(model, tensor, data):
            copies = data * tensor // max(tensor, expert)  # of the experts' weights
            common, mixture = model.parameters - model.expert_parameters, model.expert_parameters / max(1, expert // tensor)
            state_bytes = (common + mixture) / replica * (PARAMETER_BYTES + GRADIENT_BYTES)
            state_bytes += (common / data + mixture / copies) / replica * OPTIMIZER_BYTES
            if state_bytes <= STATE_MEMORY_RATIO * gpu.memory_bytes:
                microbatches = max(1, pipeline, round(model.batch_tokens / (model.sequence * data)))
                virtual = 1 if pipeline == 1 else max(1, min(interleave, model.layers // pipeline))
                return Parallelism(tensor, pipeline, data, microbatches, interleave=virtual, expert=expert)
    return None


def _expert_degrees(model: Model, tensor: int, data: int) -> Iterator[int]:
    """Ways to spread a stage's experts over its GPUs, the least first."""
    yield 1
    expert = 2 * tensor
    while expert <= WIDEST_EXPERT_PARALLEL and expert // tensor <= model.experts and data % (expert // tensor) == 0:
        yield expert
        expert *= 2


def _llama(name: str, parameters: float, layers: int, hidden: int, heads: int, *, batch_tokens: float) -> Model:
    vocabulary = 128_256
    return Model(
        name, parameters, parameters - 2.0 * vocabulary * hidden, layers, hidden, heads, 8_192, vocabulary, batch_tokens=batch_tokens
    )


def _mixture(  # noqa: PLR0913 - the columns of the published tables
    name: str,
    parameters: float,
    active_parameters: float,
    layers: int,
    hidden: int,
    heads: int,
    *,
    sequence: int,
    vocabulary: int,
    batch_tokens: float,
    expert_layers: int,
    experts: int,
    expert_width: int,
    token_experts: int,
    token_domains: int | None = None,
) -> Model:
    """A mixture of experts of three matrices each (SwiGLU); a token passes through the active parameters alone."""
    return Model(
        name,
        parameters,
        active_parameters - 2.0 * vocabulary * hidden,
        layers,
        hidden,
        heads,
        sequence,
        vocabulary,
        batch_tokens=batch_tokens,
        experts=experts,
        expert_parameters=3.0 * expert_layers * experts * hidden * expert_width,
        expert_layers=expert_layers,
        token_experts=token_experts,
        token_domains=token_domains,
    )


#: Mixtral 8x7B (Jiang et al., arXiv 2401.04088, table 1; its batch is unpublished: assumed) and DSV sections 2.1 and 4.2: 256 routed
#: experts in 58 of 61 layers, 8 for a token on at most 4 hosts, 15,360 sequences a step.
MIXTURES = (
    _mixture(
        "mixtral-8x7b", 46.7e9, 12.9e9, 32, 4096, 32, sequence=32_768, vocabulary=32_000, batch_tokens=4e6,
        expert_layers=32, experts=8, expert_width=14_336, token_experts=2,
    ),
    _mixture(
        "deepseek-v3", 671e9, 37e9, 61, 7168, 128, sequence=4096, vocabulary=129_280, batch_tokens=15_360 * 4096,
        expert_layers=58, experts=256, expert_width=2048, token_experts=8, token_domains=4,
    ),
)  # fmt: skip
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
        *MIXTURES,
    )
}
