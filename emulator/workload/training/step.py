"""How long a training step takes: the arithmetic, the pipeline's bubble, and the part of the communication that is not hidden.

Source keys: MLM Narayanan et al., SC'21, arXiv 2104.04473; LL3 "The Llama 3 Herd of Models", arXiv 2407.21783; FIT the rows that ``gigawatt
validate`` shows, by ``python -m emulator.experiments.validation.fit``.
"""

import math
from dataclasses import dataclass

from emulator.workload.collectives import COLLECTIVE_BYTES, COLLECTIVE_HOPS, NIC_SECONDS, faster
from emulator.workload.jobs import TrainingShape
from emulator.workload.training.choice import OPTIMIZER_BYTES
from emulator.workload.training.communication import (
    GRADIENT_BYTES,
    PARAMETER_BYTES,
    SCALE_UP_RATIO,
    Reduction,
    activation_bytes,
    common_reduction,
    context_exchange,
    expert_exchange,
    expert_reduction,
    microbatch_tokens,
    tensor_bytes,
)
from emulator.workload.training.kernels import (
    LOGIT_BYTES,
    attention_flops,
    curve,
    elementwise_bytes,
    intensity,
    memory_bytes_per_second,
    peak_flops,
)
from emulator.workload.training.model import Model, step_flops
from emulator.workload.training.parallelism import Parallelism
from topology.catalog import GpuType

#: A checkpoint per parameter: bf16 weights, and the fp32 master copy with Adam's two moments (Rajbhandari et al., ZeRO, SC'20).
STATE_BYTES = PARAMETER_BYTES + OPTIMIZER_BYTES
#: What a step takes beside its microbatches, for each stage of the pipeline: optimizer, norms, the first and the last transfers. FIT.
STAGE_SECONDS = 0.035
#: The part of ZeRO 3's traffic that stays visible: its kernels take multiprocessors and memory from the layers that they hide behind.
#: Assumed, between none and all.
ZERO_3_EXPOSED_RATIO = 0.5


@dataclass(frozen=True)
class LayerSeconds:
    """Where the time of one microbatch in one layer goes, forward and backward; nothing of it hides another part."""

    matmul: float
    attention: float
    elementwise: float
    tensor: float  # all-reduces of tensor parallelism
    context: float  # keys and values inside a domain, as far as attention does not hide them
    expert: float  # all-to-alls of the experts inside a domain

    @property
    def total(self) -> float:
        return self.matmul + self.attention + self.elementwise + self.tensor + self.context + self.expert


def layer_seconds(
    model: Model, plan: Parallelism, gpu: GpuType, *, domain_gpus: int, precision: str = "bf16", recompute: bool = False
) -> LayerSeconds:
    """The mean layer. Tensor parallelism divides all of its work: norms and residuals too (sequence parallelism)."""
    passes, tokens = 4 if recompute else 3, microbatch_tokens(model, plan)
    attention = passes * tokens * model.attention_flops / plan.tensor / attention_flops(gpu)
    moved = passes * tokens * elementwise_bytes(model, precision) / plan.tensor
    scale_up = SCALE_UP_RATIO * gpu.scale_up_bytes_per_second
    context = context_exchange(model, plan, domain_gpus, recompute=recompute).inside_bytes / scale_up
    return LayerSeconds(
        matmul=passes * _matmul_seconds(model, plan, gpu, precision),
        attention=attention,
        elementwise=moved / memory_bytes_per_second(gpu),
        tensor=tensor_bytes(model, plan, recompute=recompute) / scale_up,
        context=max(0.0, context - attention),
        expert=expert_exchange(model, plan, domain_gpus).inside_bytes / scale_up,
    )


def _matmul_seconds(model: Model, plan: Parallelism, gpu: GpuType, precision: str) -> float:
    """One pass of one microbatch through the mean layer, on one GPU.

    A layer has four multiplications (into and out of attention and the feed-forward part), of which the mean width is taken. The tokens of
    all GPUs that share the experts meet at these.
    """
    rate, tokens, hidden = curve(gpu, precision), microbatch_tokens(model, plan), model.hidden
    width = model.common_layer_parameters / model.layers / hidden
    seconds = 2.0 * tokens * width * hidden / plan.tensor / rate.flops(intensity(tokens, width / 4 / plan.tensor, hidden))
    if model.experts:
        rows = tokens * (plan.expert_gpus // plan.tensor) * model.token_experts / model.experts
        columns = 1.5 * model.expert_width / (plan.tensor if plan.expert == 1 else 1)  # of two matrices side by side, and of one
        flops = 2.0 * tokens * model.token_expert_parameters / model.layers / plan.tensor
        seconds += flops / rate.flops(intensity(rows, columns, hidden))
    return seconds


def logits_seconds(model: Model, plan: Parallelism, gpu: GpuType) -> float:
    """The logits of one microbatch and their loss, forward and backward, in bf16."""
    tokens, columns = microbatch_tokens(model, plan), model.vocabulary / plan.tensor
    multiplied = 6.0 * tokens * columns * model.hidden / curve(gpu, "bf16").flops(intensity(tokens, columns, model.hidden))
    return multiplied + LOGIT_BYTES * tokens * columns / memory_bytes_per_second(gpu)


def stage_seconds(layers: int, stages: int, layer: float, logits: float) -> float:
    """One microbatch in the stage that paces the others: one with its share of the layers, or the last, with the logits.

    Layers are spread evenly, or, where that divides, so that embedding and logits each take the place of one (LL3: 126 = 16 * 8 - 2).
    """
    even, (placed, over) = -(-layers // stages) * layer + logits, divmod(layers + 2, stages)
    return even if over or stages == 1 else min(even, max(placed * layer, (placed - 1) * layer + logits))


def training_shape(
    model: Model,
    plan: Parallelism,
    gpu: GpuType,
    *,
    domain_gpus: int,
    precision: str = "bf16",
    recompute: bool = False,
    overlap: bool = True,
    collective: str = "ring",
    bytes_per_second: float = 50e9,
    stack_ratio: float = 1.0,
) -> TrainingShape:
    """What a step of ``model`` under ``plan`` takes on ``gpu``s in scale-up domains of ``domain_gpus``. Raises UnknownPrecision.

    Compute is ``(m t_mb)(1 + (p - 1) / (v m))`` with ``t_mb`` one microbatch through the slowest stage, its tensor-parallel reductions and
    its all-to-alls inside the domain included, and a fixed time a stage. ``stack_ratio`` is how much faster than the fitted kernels the
    whole software computes.

    Copies of weights in one domain are reduced there first; what is left goes round rings over the fabric, each lane with its share.
    ``overlap`` hides that behind the other chunks of the pipeline's first and last round, p microbatches of all but one of the v virtual
    stages; the last chunk's has nothing to hide behind. Without a pipeline the layers are the chunks of the last microbatch. ``collective``
    is ring, tree, or auto: the faster at ``bytes_per_second`` a lane. With ZeRO 3 weights are gathered before each pass and gradients
    reduced after it, in every microbatch.

    Stages send b s h / t bytes a microbatch and virtual stage to the next one and as much back (MLM section 4.1), hidden behind compute.
    Keys and values that go to other domains hide behind attention. All-to-alls of the experts are not hidden.
    """
    layer = layer_seconds(model, plan, gpu, domain_gpus=domain_gpus, precision=precision, recompute=recompute)
    microbatch_seconds = stage_seconds(model.layers, plan.pipeline, layer.total, logits_seconds(model, plan, gpu)) / stack_ratio
    microbatches, stage_layers = plan.microbatches, model.layers / plan.pipeline
    common, experts = common_reduction(model, plan, domain_gpus), expert_reduction(model, plan, domain_gpus)
    times = _zero_times(plan)
    inside_seconds = times * (common.inside_bytes + experts.inside_bytes) / (SCALE_UP_RATIO * gpu.scale_up_bytes_per_second)
    common, shared_bytes = _shared_first(common, plan, domain_gpus)
    if collective == "auto":
        reduced = common.reduced_bytes + (experts.reduced_bytes if experts.outside > 1 else 0.0)
        collective = faster(reduced, common.outside, bytes_per_second, NIC_SECONDS)
    size = COLLECTIVE_BYTES[collective]
    exposed, overlap_seconds = _exposed(plan, model, microbatch_seconds, overlap=overlap)
    sent_bytes = activation_bytes(model, plan) / plan.tensor * microbatches * plan.interleave
    replica_gpus = plan.replica_gpus(domain_gpus)
    context = context_exchange(model, plan, domain_gpus, recompute=recompute)
    return TrainingShape(
        compute_seconds=microbatches * microbatch_seconds * (1 + plan.bubble_ratio)
        + STAGE_SECONDS * plan.pipeline
        + max(exposed * inside_seconds, inside_seconds - overlap_seconds),
        ring_bytes=times * (size(common.reduced_bytes, common.outside) + size(experts.reduced_bytes, experts.outside)),
        overlap_seconds=overlap_seconds,
        latency_seconds=0.0,
        model_flops=step_flops(model, plan.sequences),
        hops=COLLECTIVE_HOPS[collective](common.outside),
        collective=collective,
        replica_gpus=replica_gpus,
        stage_gpus=plan.stage_gpus(domain_gpus),
        pipeline_bytes=sent_bytes if plan.pipeline > 1 and replica_gpus > domain_gpus else 0.0,
        pipeline_overlap_seconds=microbatches * microbatch_seconds,
        expert_gpus=plan.expert,
        expert_bytes=microbatches * stage_layers * expert_exchange(model, plan, domain_gpus).outside_bytes + shared_bytes,
        exposed_ratio=exposed,
        context_gpus=plan.sequence_gpus if context.outside_bytes else 1,
        context_bytes=microbatches * stage_layers * context.outside_bytes,
        context_overlap_seconds=microbatches * stage_layers * layer.attention,
        peak_ratio=peak_flops(gpu, precision) / gpu.bf16_flops,
        state_bytes=STATE_BYTES * model.parameters,
        step_tokens=float(plan.sequences * model.sequence),
    )


def _zero_times(plan: Parallelism) -> float:
    """How often a step moves the bytes of a reduction: once, or for ZeRO 3 the gradients and twice the parameters in every microbatch."""
    if plan.zero < 3:
        return 1.0
    return plan.microbatches * (GRADIENT_BYTES + 2 * PARAMETER_BYTES) / (GRADIENT_BYTES + PARAMETER_BYTES)


def _shared_first(common: Reduction, plan: Parallelism, domain_gpus: int) -> tuple[Reduction, float]:
    """Where the GPUs of one group of experts are in several domains, these reduce the weights that they have in common among themselves.

    That leaves a reduction between groups, and the bytes that a lane sends inside its group.
    """
    domains = plan.expert_gpus / plan.tensor / common.inside
    if plan.expert_gpus <= domain_gpus or domains <= 1:
        return common, 0.0
    inner = (domains - 1) / domains * 2 * common.reduced_bytes
    return Reduction(common.weights, common.inside * domains, common.outside / domains), inner


def _exposed(plan: Parallelism, model: Model, microbatch_seconds: float, *, overlap: bool) -> tuple[float, float]:
    """The part of the reductions that nothing hides, and the seconds behind which the rest can hide."""
    if not overlap:
        return 1.0, 0.0
    if plan.zero >= 3:
        return ZERO_3_EXPOSED_RATIO, plan.microbatches * microbatch_seconds
    if plan.pipeline == 1:
        return 1 / model.layers, microbatch_seconds * (1 - 1 / model.layers)
    return 1 / plan.interleave, plan.pipeline * microbatch_seconds * (1 - 1 / plan.interleave)


def step_seconds(shape: TrainingShape, bytes_per_second: float, hop_seconds: float = NIC_SECONDS) -> float:
    """Seconds of a step whose lanes get ``bytes_per_second`` each; infinite at 0 bytes per second unless nothing is sent."""
    seconds = shape.compute_seconds
    for size, latency, overlap, exposed in (
        (shape.ring_bytes, shape.hops * hop_seconds + shape.latency_seconds, shape.overlap_seconds, shape.exposed_ratio),
        (2.0 * shape.pipeline_bytes, 0.0, shape.pipeline_overlap_seconds, 0.0),
        (shape.context_bytes, 0.0, shape.context_overlap_seconds, 0.0),
        (shape.expert_bytes, 0.0, 0.0, 0.0),
    ):
        if size > 0.0:
            taken = (size / bytes_per_second if bytes_per_second else math.inf) + latency
            seconds += max(0.0, exposed * taken, taken - overlap)
    return seconds
