"""A parallelism where only the model and the GPUs are given."""

from collections.abc import Iterator

from emulator.workload.training.communication import GRADIENT_BYTES, PARAMETER_BYTES
from emulator.workload.training.model import Model
from emulator.workload.training.parallelism import Parallelism
from topology.catalog import GpuType

#: Widest expert parallelism that is chosen by default: DeepSeek-V3 trains 256 experts on 64 GPUs (arXiv 2412.19437).
WIDEST_EXPERT_PARALLEL = 64
#: Most tokens of a sequence on a GPU, beyond which context parallelism shares them: Llama 3's, at sequences of 8,192 without and of
#: 131,072 with context parallelism 16 (arXiv 2407.21783, Table 4).
MOST_TOKENS = 8_192
#: The part of a GPU's memory that weights, gradients and optimizer state may take; activations take the rest. Assumed.
STATE_MEMORY_RATIO = 0.6
#: Optimizer state per parameter, sharded over the replicas: fp32 master copy and Adam's two moments (Rajbhandari et al., ZeRO, SC'20).
OPTIMIZER_BYTES = 12


def choose_parallelism(model: Model, gpus: int, gpu: GpuType, *, domain_gpus: int, interleave: int = 4) -> Parallelism | None:
    """The least model parallelism whose state fits in memory on ``gpus``, tensor before pipeline; None if none fits.

    Context parallelism follows from the sequence. Tensor parallelism stays in a domain and within 8, and divides the heads; pipeline stages
    divide the layers into at most that many. A replica gets as many one-sequence microbatches as the global batch leaves it, and at least
    as many as it has stages. Experts are spread over 2, 4, ... up to 64 GPUs before tensor or pipeline parallelism grows (DeepSeek-V3 has
    none of the former).
    """
    context = _context(model.sequence)
    for tensor, pipeline in (
        *((tensor, 1) for tensor in (1, 2, 4)),
        *((8, pipeline) for pipeline in range(1, model.layers + 1)),
    ):
        replica = tensor * context * pipeline
        if gpus % replica or tensor > domain_gpus or model.heads % tensor:
            continue
        data = gpus // replica
        for expert in _expert_degrees(model, tensor, context * data):
            microbatches = max(1, pipeline, round(model.batch_tokens / (model.sequence * data)))
            virtual = 1 if pipeline == 1 else max(1, min(interleave, model.layers // pipeline))
            plan = Parallelism(tensor, pipeline, data, microbatches, interleave=virtual, expert=expert, context=context)
            if state_bytes(model, plan) <= STATE_MEMORY_RATIO * gpu.memory_bytes:
                return plan
    return None


def state_bytes(model: Model, plan: Parallelism) -> float:
    """What weights, gradients and optimizer state take on one GPU; with ZeRO 3 all of it is sharded over the replicas."""
    common = (model.parameters - model.expert_parameters) / (plan.tensor * plan.pipeline)
    mixture = model.expert_parameters / (plan.expert_gpus * plan.pipeline)
    common_copies = plan.context * plan.data  # which shard the optimizer's state
    mixture_copies = plan.tensor * common_copies / plan.expert_gpus
    whole = PARAMETER_BYTES + GRADIENT_BYTES
    if plan.zero >= 3:
        return (common / common_copies + mixture / mixture_copies) * (whole + OPTIMIZER_BYTES)
    return (common + mixture) * whole + (common / common_copies + mixture / mixture_copies) * OPTIMIZER_BYTES


def _context(sequence: int) -> int:
    context = 1
    while sequence > context * MOST_TOKENS:
        context *= 2
    return context


def _expert_degrees(model: Model, tensor: int, copies: int) -> Iterator[int]:
    """Ways to spread a stage's experts over its GPUs, the least first."""
    yield 1
    expert = 2 * tensor
    while expert <= WIDEST_EXPERT_PARALLEL and expert // tensor <= model.experts and copies % (expert // tensor) == 0:
        yield expert
        expert *= 2
