"""What each dimension of parallelism sends, and where: inside a scale-up domain, or over the fabric.

Source keys: MLM Narayanan et al., SC'21, arXiv 2104.04473; LL3 "The Llama 3 Herd of Models", arXiv 2407.21783; DSV DeepSeek-V3, arXiv
2412.19437; NCCL nccl-tests doc/PERFORMANCE.md.
"""

from dataclasses import dataclass
from math import prod

from emulator.workload.training.kernels import ACTIVATION_BYTES
from emulator.workload.training.model import Model
from emulator.workload.training.parallelism import Parallelism

#: Bus bandwidth of an all-reduce inside a scale-up domain over its one-way link rate: 8 A100 reach 230-250 of 300 GB/s, 8 H100 370
#: of 450 without in-switch reduction (published nccl-tests results).
SCALE_UP_RATIO = 0.8
#: Gradients are reduce-scattered in fp32 and parameters gathered in bf16 (LL3 section 3.3.2; ZeRO stage 1).
GRADIENT_BYTES, PARAMETER_BYTES = 4, 2


@dataclass(frozen=True)
class Reduction:
    """How the copies of weights that are ``weights`` a GPU meet once: ``inside`` of them in a domain, then ``outside`` groups of these."""

    weights: float
    inside: float
    outside: float

    @property
    def inside_bytes(self) -> float:
        """What a GPU sends in its domain: gradients scattered and parameters gathered."""
        return (self.inside - 1) / self.inside * self.weights * (GRADIENT_BYTES + PARAMETER_BYTES)

    @property
    def reduced_bytes(self) -> float:
        """What a lane all-reduces over the fabric. With gradients and parameters in one dtype of b bytes that is b a weight (NCCL)."""
        return 0.5 * self.weights * (GRADIENT_BYTES + PARAMETER_BYTES) / self.inside


@dataclass(frozen=True)
class Exchange:
    """Bytes that a GPU sends to others of its group in one layer and microbatch: in its domain, and to other domains."""

    inside_bytes: float
    outside_bytes: float


def microbatch_tokens(model: Model, plan: Parallelism) -> float:
    """Tokens of a microbatch that one tensor-parallel group works on."""
    return plan.microbatch_sequences * model.sequence / plan.context


def activation_bytes(model: Model, plan: Parallelism) -> float:
    """Of these tokens between two layers: b s h."""
    return ACTIVATION_BYTES * microbatch_tokens(model, plan) * model.hidden


def tensor_bytes(model: Model, plan: Parallelism, *, recompute: bool) -> float:
    """Of tensor parallelism in one layer: all-reduces of b s h, two forward and two backward (MLM section 3.2), two more when recomputing.

    With sequence parallelism they are reduce-scatters and all-gathers of the same volume (Korthikanti et al., arXiv 2205.05198).
    """
    reductions = 6 if recompute else 4
    return reductions * 2 * (plan.tensor - 1) / plan.tensor * activation_bytes(model, plan)


def context_exchange(model: Model, plan: Parallelism, domain_gpus: int, *, recompute: bool) -> Exchange:
    """Of context parallelism: keys and values of the others' tokens, forward and backward, and their gradients (LL3 section 3.3.2)."""
    inside = min(plan.context, max(1, domain_gpus // plan.tensor))
    width = (model.kv_width or model.attention_width) / plan.tensor
    each = (4 if recompute else 3) * 2 * ACTIVATION_BYTES * width * microbatch_tokens(model, plan)
    return Exchange((inside - 1) * each, (plan.context - inside) * each)


def other_domains(model: Model, domains: float) -> float:
    """Of ``domains`` that share the experts of a layer, to how many others a token is sent, in the mean: with k experts at random
    (d - 1) (1 - (1 - 1/d)^k); limited routing bounds it. To each goes one copy, which is handed on inside (DSV section 3.2).
    """
    others = (domains - 1) * (1 - prod([1 - 1 / domains] * model.token_experts))
    return others if model.token_domains is None else min(others, model.token_domains)


def inside_copies(model: Model, inside: float, tensor: int) -> float:
    """Of a token for the experts on other GPUs of ``inside`` in a domain, of which ``tensor`` have it already: one for each expert."""
    return model.token_experts * (inside - tensor) / inside


def expert_exchange(model: Model, plan: Parallelism, domain_gpus: int) -> Exchange:
    """Of a layer of experts, in the mean of all layers: every token to its experts and back, in both passes: four all-to-alls."""
    group, tensor = plan.expert_gpus, plan.tensor
    if not model.experts or group <= tensor:
        return Exchange(0.0, 0.0)
    inside = min(group, domain_gpus)
    each = 4 * activation_bytes(model, plan) / tensor * model.expert_layers / model.layers
    return Exchange(each * inside_copies(model, inside, tensor), each * other_domains(model, group / inside))


def common_reduction(model: Model, plan: Parallelism, domain_gpus: int) -> Reduction:
    """Of the weights that every token passes through: over the data and context ranks."""
    copies = plan.data * plan.context
    inside = max(1.0, min(copies, domain_gpus // plan.tensor))
    weights = (model.parameters - model.expert_parameters) / (plan.tensor * plan.pipeline)
    return Reduction(weights, inside, copies / inside)


def expert_reduction(model: Model, plan: Parallelism, domain_gpus: int) -> Reduction:
    """Of the experts: over the groups of GPUs with all experts."""
    copies = plan.sequence_gpus * plan.data / plan.expert_gpus
    inside = max(1.0, min(copies, domain_gpus // plan.expert_gpus))
    return Reduction(model.expert_parameters / (plan.expert_gpus * plan.pipeline), inside, copies / inside)
