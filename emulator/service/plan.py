"""From a training workload and its number of GPUs to the shape of its steps, by the formulas of ``workload.training``."""

from dataclasses import replace

from emulator.engine.bounds import LONGEST_STEP_SECONDS, LONGEST_YEARS, MOST_STEP_FLOPS, SHORTEST_STEP_SECONDS
from emulator.engine.errors import InvalidRequest
from emulator.service.gpu_types import Plan
from emulator.v1 import job_pb2
from emulator.workload.jobs import TrainingShape
from emulator.workload.training import (
    MODELS,
    Model,
    Parallelism,
    UnknownPrecision,
    choose_parallelism,
    peak_flops,
    step_seconds,
    training_shape,
)
from topology.catalog import HostType

#: Llama 3's (arXiv 2407.21783, table 3), where a model does not say.
DEFAULT_VOCABULARY = 128_256
#: Width of an attention head in nearly all published models, where a model does not say how many heads it has.
HEAD_WIDTH = 128


def planner(host_type: HostType, lane_bytes_per_second: float, collective: str = "ring") -> Plan:
    """Plans training for the GPUs and scale-up domains of ``host_type``, each GPU with a lane of the fabric at that payload rate.

    ``collective`` (ring, tree, or auto) is that of models which do not name one.
    """

    def plan(training: job_pb2.TrainingWorkload, gpus: int) -> tuple[TrainingShape, float]:
        if training.WhichOneof("plan") == "step":
            shape = _step_shape(training.step, gpus)
        else:
            model = model_of(training.model)
            parallelism = parallelism_of(training.model, model, gpus, host_type)
            shape = training_shape(
                model,
                parallelism,
                host_type.gpu,
                domain_gpus=host_type.domain_gpus,
                precision=precision_of(training.model, host_type),
                recompute=training.model.recompute,
                collective=training.model.collective or collective,
                bytes_per_second=lane_bytes_per_second,
            )
        seconds = step_seconds(shape, lane_bytes_per_second)
        if not (SHORTEST_STEP_SECONDS <= seconds <= 10 * LONGEST_STEP_SECONDS and shape.model_flops <= MOST_STEP_FLOPS):
            allowed = f"sizes whose step takes {SHORTEST_STEP_SECONDS:g} s to {10 * LONGEST_YEARS} years"
            raise InvalidRequest(f"model makes steps of {seconds:g} s", field="model", allowed=allowed)
        return shape, seconds

    return plan


def _step_shape(step: job_pb2.TrainingStep, gpus: int) -> TrainingShape:
    shape = TrainingShape(
        step.compute_seconds,
        step.ring_bytes,
        step.overlap_seconds,
        step.latency_seconds,
        step.model_flops,
        hops=step.hops,
        collective=step.collective or "ring",
        replica_gpus=step.replica_gpus or 1,
        stage_gpus=step.stage_gpus or 1,
        pipeline_bytes=step.pipeline_bytes,
        expert_gpus=step.expert_gpus or 1,
        expert_bytes=step.expert_bytes,
        state_bytes=step.state_bytes,
        step_tokens=step.step_tokens,
        pipeline_overlap_seconds=step.pipeline_overlap_seconds,
        exposed_ratio=step.exposed_ratio,
        context_gpus=step.context_gpus or 1,
        context_bytes=step.context_bytes,
        context_overlap_seconds=step.context_overlap_seconds,
        peak_ratio=step.peak_ratio or 1.0,
    )
    for field, size, whole in (
        ("replica_gpus", shape.replica_gpus, gpus),
        ("stage_gpus", shape.stage_gpus, shape.replica_gpus),
        ("expert_gpus", shape.expert_gpus, gpus),
        ("context_gpus", shape.context_gpus, gpus),
    ):
        if whole % size:
            what = "replica_gpus" if field == "stage_gpus" else "GPUs of the job"
            raise InvalidRequest(f"step.{field} is {size}", field=f"step.{field}", allowed=f"a divisor of {whole:,}, the {what}")
    return shape


def model_of(given: job_pb2.TrainingModel) -> Model:
    """The model that ``given`` names or describes. Raises InvalidRequest with the field below the workload."""
    if given.name and given.name not in MODELS:
        raise _wrong("name", repr(given.name[:80]), f"none, or one of {', '.join(sorted(MODELS))}")
    if not given.name:
        for field in ("parameters", "layers", "hidden_size", "sequence_length"):
            if not given.HasField(field):
                raise _wrong(field, "missing", "must be given for a model without a name")
    known = MODELS.get(given.name) or Model("custom", 0.0, 0.0, 0, 0, 0, 0, DEFAULT_VOCABULARY)
    hidden = given.hidden_size or known.hidden
    parameters, vocabulary = given.parameters or known.parameters, given.vocabulary_size or known.vocabulary
    changed = any(given.HasField(field) for field in ("parameters", "hidden_size", "vocabulary_size"))
    layer_parameters = parameters - 2.0 * vocabulary * hidden if changed or not given.name else known.layer_parameters
    grown = parameters / known.parameters if known.experts else 1.0  # a mixture keeps its proportions
    if known.experts:
        layer_parameters = known.layer_parameters * grown
    if layer_parameters <= 0:
        least = f"more than {2 * vocabulary * hidden:,}, the embeddings of {vocabulary:,} entries"
        raise _wrong("parameters", f"{parameters:g}", least)
    return replace(
        known,
        parameters=parameters,
        layer_parameters=layer_parameters,
        layers=given.layers or known.layers,
        hidden=hidden,
        heads=given.attention_heads or known.heads or max(1, round(hidden / HEAD_WIDTH)),
        sequence=given.sequence_length or known.sequence,
        vocabulary=vocabulary,
        expert_parameters=known.expert_parameters * grown,
        expert_layers=min(known.expert_layers, given.layers or known.layers),
    )


def precision_of(given: job_pb2.TrainingModel, host_type: HostType) -> str:
    """What matrices are multiplied in. Raises InvalidRequest where the GPUs cannot."""
    precision = given.precision or "bf16"
    try:
        peak_flops(host_type.gpu, precision)
    except UnknownPrecision as error:
        raise _wrong("precision", repr(precision[:40]), str(error).rpartition("allowed: ")[2]) from error
    return precision


def parallelism_of(given: job_pb2.TrainingModel, model: Model, gpus: int, host_type: HostType) -> Parallelism:
    """How ``gpus`` share ``model``. Raises InvalidRequest with the field below the workload."""
    domain_gpus = host_type.domain_gpus
    if given.HasField("tensor_parallel") or given.HasField("pipeline_parallel"):
        tensor, pipeline, interleave = given.tensor_parallel or 1, given.pipeline_parallel or 1, given.interleave or 1
        expert, context = given.expert_parallel or 1, given.context_parallel or 1
    else:
        batch_tokens = float(given.global_batch_size) * model.sequence or model.batch_tokens
        chosen = choose_parallelism(replace(model, batch_tokens=batch_tokens), gpus, host_type.gpu, domain_gpus=domain_gpus)
        if chosen is None:
            raise _wrong("parameters", f"{model.parameters:g}", f"what fits in the memory of {gpus:,} {host_type.gpu.name}, or more GPUs")
        tensor, pipeline, interleave = chosen.tensor, chosen.pipeline, given.interleave or chosen.interleave
        expert, context = given.expert_parallel or chosen.expert, given.context_parallel or chosen.context
    if tensor > domain_gpus:
        raise _wrong("tensor_parallel", tensor, f"at most {domain_gpus}, the GPUs of a scale-up domain")
    if pipeline * interleave > model.layers:
        field = "interleave" if pipeline <= model.layers else "pipeline_parallel"
        raise _wrong(field, interleave if field == "interleave" else pipeline, f"at most {model.layers} layers over all stages")
    if gpus % (tensor * pipeline):
        field = "tensor_parallel" if given.tensor_parallel > 1 else "pipeline_parallel"
        raise _wrong(field, getattr(given, field), f"tensor_parallel * pipeline_parallel that divides the {gpus:,} GPUs of the job")
    if gpus % (tensor * context * pipeline) or context > model.sequence:
        allowed = f"context_parallel whose product with tensor_parallel and pipeline_parallel divides the {gpus:,} GPUs of the job"
        raise _wrong("context_parallel", context, f"{allowed}, at most {model.sequence:,}, the tokens of a sequence")
    data = gpus // (tensor * context * pipeline)
    if expert > 1 and not model.experts:
        raise _wrong("expert_parallel", expert, f"none: {model.name} has no experts")
    if expert > 1 and (expert % tensor or expert // tensor > model.experts or gpus % (expert * pipeline)):
        allowed = (
            f"1, or tensor_parallel times at most {model.experts} experts, where its product with pipeline_parallel divides {gpus:,} GPUs"
        )
        raise _wrong("expert_parallel", expert, allowed)
    micro = given.micro_batch_size or 1
    if not given.HasField("global_batch_size"):
        microbatches = max(1, pipeline, round(model.batch_tokens / (model.sequence * data * micro)))
    elif given.global_batch_size % (data * micro):
        raise _wrong("global_batch_size", given.global_batch_size, f"a multiple of {data * micro:,} (data parallelism * micro_batch_size)")
    else:
        microbatches = given.global_batch_size // (data * micro)
    return Parallelism(tensor, pipeline, data, microbatches, micro, interleave, expert, context, given.zero_stage or 1)


def _wrong(field: str, value: object, allowed: str) -> InvalidRequest:
    return InvalidRequest(f"model.{field} is {value}", field=f"model.{field}", allowed=allowed)
