"""What a step of a replica takes, and how many blocks of KV memory it has: a roofline over a floor.

    t = floor layers + max(weights, multiplications) + KV + attention + all-reduces + all-to-alls + c running

The floor is what no bandwidth buys: launches, synchronisation, sampling. Weights are read once a step, whatever the number of tokens; of a
mixture, those of the experts that its tokens are sent to. A decode reads the keys and values of its context, a prompt's tokens attend to
those before them. A layer of tensor parallelism reduces twice. Where attention is spread over groups, tokens go to the GPUs of their
experts and come back. The last term is what the engine does for each request in the step; each of the groups does it for its own.

Five numbers are fitted for each GPU, precision and engine (``workload.serving.stacks``); the shares below are the same for all.

**At a lower clock** what multiplies takes longer: multiplications and attention. Memory and links have clocks of their own, and the floor
is assumed to be the host's.

**A pipeline** of p stages has p groups of requests under way, one behind the other. So a step, in which all requests of the replica get
a token, takes as long as one group takes through all stages: the multiplications, KV and so on of a p-th of the tokens, but the floor and
the weights of all layers. A prompt's tokens are spread over the groups; what that hides of its own way is ``StepCosts.fill_ps``.

**Over several domains** tokens are reduced, and go to experts and from stage to stage, over the fabric (``fabric_bytes``).

**Speculation**: a cheap draft proposes k tokens, the model verifies them at once, and in the mean (1 - a^(k+1)) / (1 - a) are right
(Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", ICML'23, equation 1; a is the part of drafted tokens that
is accepted). It is a factor here: tokens come one by one, each after that part of the time of a step of k + 1 tokens a request and of its
k drafts, each of which costs a part of such a step (their c).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.draws.exact import power
from emulator.workload.serving.stacks import Stack
from emulator.workload.training import Model, inside_copies, other_domains, peak_flops
from topology.catalog import GpuType

Int64 = NDArray[np.int64]

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
#: Of a number of a token that is sent to an expert; it comes back as an activation (DeepSeek-V3, arXiv 2412.19437, section 3.2).
DISPATCH_BYTES = {"bf16": 2.0, "fp8": 1.0, "nvfp4": 1.0}
#: Of each way over the fabric: assumed. DeepEP's latencies of small batches are those of their bytes.
CROSSING_SECONDS = 5e-6
#: Tokens of one block of KV memory (vLLM's default).
BLOCK_TOKENS = 16
PS = 1e12


@dataclass(frozen=True)
class ServingPlan:
    """GPUs of a replica: ``tensor`` times ``attention_data`` for each of ``pipeline`` stages, in ``domains`` scale-up domains, whole ones
    where there are several (``plan_of``). Experts are spread over all GPUs of a stage.
    """

    tensor: int = 1
    attention_data: int = 1
    pipeline: int = 1
    domains: int = 1

    @property
    def stage_gpus(self) -> int:
        return self.tensor * self.attention_data

    @property
    def gpus(self) -> int:
        return self.stage_gpus * self.pipeline

    @property
    def stage_domains(self) -> int:
        return max(1, self.domains // self.pipeline)

    @property
    def tensor_domains(self) -> int:
        """In which one tensor group lies."""
        return max(1, self.tensor * self.domains // self.gpus)


class PlanDoesNotFit(ValueError):
    """GPUs that do not divide into domains as they must; the message has the numbers."""


def plan_of(tensor: int, attention_data: int, pipeline: int, domain_gpus: int) -> ServingPlan:
    """Within a domain of so many GPUs, or over whole domains, of which a tensor group and a stage have a whole number or a whole part.
    Raises PlanDoesNotFit.
    """
    gpus = tensor * attention_data * pipeline
    if gpus <= domain_gpus:
        return ServingPlan(tensor, attention_data, pipeline)
    domains = gpus // domain_gpus
    if gpus % domain_gpus or (tensor % domain_gpus and domain_gpus % tensor) or (pipeline % domains and domains % pipeline):
        raise PlanDoesNotFit(
            f"a replica of {gpus} GPUs, {tensor} x {attention_data} in each of {pipeline} stages; allowed: at most {domain_gpus}, those of "
            "a domain, or whole domains, with tensor groups and stages that each have a whole number of them or a whole part of one"
        )
    return ServingPlan(tensor, attention_data, pipeline, domains)


@dataclass(frozen=True)
class Speculation:
    """``tokens`` are drafted for each step, of which each is right, if those before it are, with the probability ``acceptance``; a draft
    takes the part ``draft_ratio`` of a step.
    """

    tokens: int = 0
    acceptance: float = 0.0
    draft_ratio: float = 0.0

    @property
    def width(self) -> int:
        """Tokens of a request in a step."""
        return self.tokens + 1

    @property
    def step_ratio(self) -> float:
        """Of the time of a step and its drafts, what each token of the answer takes."""
        right, expected = 1.0, 1.0
        for _ in range(self.tokens):
            right *= self.acceptance
            expected += right
        return (1.0 + self.tokens * self.draft_ratio) / expected


@dataclass(frozen=True)
class KvRoom:
    """KV memory of a replica."""

    blocks: int

    @property
    def tokens(self) -> int:
        return self.blocks * BLOCK_TOKENS


@dataclass(frozen=True, eq=False)
class StepCosts:
    """What a step takes at one clock, in whole picoseconds.

    A step in which n decode, and for which p tokens of prompts are computed, takes

        decode_base + decode[n] + table[n width + p] - table[n width] + running (requests) + kv (contexts) + attention (pairs)

    and one in which nobody decodes, ``base + table[p]`` and so on. ``table_ps`` and ``decode_ps`` have the shape (budget + 1,), and are
    the same without speculation, as are the bases. ``kv_ps`` is for each token of a context that a decode reads, and ``attention_ps``
    for each pair of a prompt's token with one that it attends to. ``weights_ps`` and ``decode_weights_ps``: what is left of the tables
    beside multiplying: the reading of weights as far as multiplying does not hide it, all-reduces and all-to-alls.
    """

    base_ps: int
    table_ps: Int64
    running_ps: int
    kv_ps: int
    attention_ps: int
    weights_ps: Int64
    decode_base_ps: int
    decode_ps: Int64
    decode_weights_ps: Int64
    width: int = 1
    stages: int = 1
    decode_ratio: float = 1.0

    @staticmethod
    def plain(base_ps: int, table_ps: Int64, running_ps: int, kv_ps: int, attention_ps: int, weights_ps: Int64) -> "StepCosts":
        """Without speculation, in one stage."""
        return StepCosts(base_ps, table_ps, running_ps, kv_ps, attention_ps, weights_ps, base_ps, table_ps, weights_ps)

    def crossing_ps(self, token_ps: int) -> tuple[int, int]:
        """Where what a token of a step sends over the fabric takes ``token_ps``: of each token of a prompt, and of each who decodes."""
        return token_ps, round(token_ps * self.width * self.decode_ratio)

    def fill_ps(self, prompt_tokens: Int64) -> Int64:
        """What the first token of a prompt is later than the step that ends with it: the way of its last part through the stages, of
        which its step has a p-th.
        """
        if self.stages == 1:
            return np.zeros_like(prompt_tokens)
        return (self.stages - 1) * self.table_ps[np.minimum(prompt_tokens, len(self.table_ps) - 1)]


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


def fabric_bytes(model: Model, precision: str, plan: ServingPlan) -> float:
    """That each GPU of a replica sends to other domains for a token of a step, in the mean: two all-reduces a layer of what a domain has
    reduced (2 (d - 1) / d of it, in equal parts by its GPUs); the token to its experts and back (``other_domains``); from stage to stage.
    """
    reduced = 2 * model.layers * 2 * (plan.tensor_domains - 1) * ACTIVATION_BYTES
    exchanged, crossings = 0.0, min(plan.pipeline, plan.domains) - 1
    if _exchanges(model, plan) and plan.stage_domains > 1:
        exchanged = model.expert_layers * (DISPATCH_BYTES[precision] + ACTIVATION_BYTES) * other_domains(model, plan.stage_domains)
    return (reduced + exchanged + crossings * ACTIVATION_BYTES) * model.hidden / plan.gpus


def _exchanges(model: Model, plan: ServingPlan) -> bool:
    """Tokens go to experts. Where attention is not spread every GPU has every token, and all-reduces add up what experts make of it."""
    return model.experts > 0 and plan.attention_data > 1


def _fabric_ways(model: Model, plan: ServingPlan) -> int:
    """Over the fabric in a step, one behind the other."""
    reduced = 2 * 2 * model.layers if plan.tensor_domains > 1 else 0
    exchanged = 2 * model.expert_layers if _exchanges(model, plan) and plan.stage_domains > 1 else 0
    return reduced + exchanged + min(plan.pipeline, plan.domains) - 1


@dataclass(frozen=True)
class ReplicaSteps:
    """A replica, as far as its steps go: ``costs`` has what they take, for up to ``budget`` tokens."""

    model: Model
    gpu: GpuType
    precision: str
    plan: ServingPlan
    stack: Stack
    budget: int
    speculation: Speculation = Speculation()

    def costs(self, slowdown: float = 1.0) -> StepCosts:
        """``slowdown``: how much longer multiplying takes at the clock."""
        plan, tokens = self.plan, np.arange(self.budget + 1, dtype=np.float64)
        table, weights = self._tables(tokens, slowdown)
        base, running, kv, pair = self._scalars(slowdown)
        width, ratio = self.speculation.width, self.speculation.step_ratio
        decode, decode_weights = self._tables(np.minimum(tokens * width, self.budget), slowdown) if width > 1 else (table, weights)
        return StepCosts(
            base_ps=round(base * PS),
            table_ps=_whole(table),
            running_ps=round(running * ratio * PS),
            kv_ps=round(kv * ratio * PS),
            attention_ps=round(pair * PS),
            weights_ps=_whole(weights),
            decode_base_ps=round(base * ratio * PS),
            decode_ps=_whole(decode * ratio),
            decode_weights_ps=_whole(decode_weights * ratio),
            width=width,
            stages=plan.pipeline,
            decode_ratio=ratio,
        )

    def _tables(self, tokens: NDArray[np.float64], slowdown: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Seconds by tokens: in all, and beside multiplying."""
        model, gpu, plan, stack = self.model, self.gpu, self.plan, self.stack
        tokens = tokens / plan.pipeline
        read = _read_bytes(model, self.precision, plan, tokens) / (stack.memory_ratio * gpu.memory_bytes_per_second)
        active = 2.0 * (model.layer_parameters + model.vocabulary * model.hidden)
        multiplied = tokens * active / (plan.stage_gpus * stack.multiply_ratio * peak_flops(gpu, self.precision)) * slowdown
        sent, together = np.zeros(len(tokens)), plan.tensor // plan.tensor_domains
        if together > 1:
            each = 2.0 * model.layers * model.hidden * ACTIVATION_BYTES * 2.0 * (together - 1) / together
            sent = tokens / plan.attention_data * each / (LINK_RATIO * gpu.scale_up_bytes_per_second)
        if _exchanges(model, plan):
            copies = inside_copies(model, plan.stage_gpus // plan.stage_domains, together)
            each = model.expert_layers * model.hidden * (DISPATCH_BYTES[self.precision] + ACTIVATION_BYTES) * copies
            sent = sent + tokens / plan.stage_gpus * each / (LINK_RATIO * gpu.scale_up_bytes_per_second)
        return np.maximum(read, multiplied) + sent, np.maximum(read - multiplied, 0.0) + sent

    def _scalars(self, slowdown: float) -> tuple[float, float, float, float]:
        """Seconds of a step, of each request in it, of each token of a context, and of each pair of attention."""
        model, gpu, plan, stack = self.model, self.gpu, self.plan, self.stack
        kv = kv_bytes_per_token(model, stack.kv_precision) / (plan.gpus * KV_RATIO * gpu.memory_bytes_per_second)
        pair = 4.0 * model.attention_width * model.layers / (plan.gpus * ATTENTION_RATIO * gpu.bf16_flops) * slowdown
        base = stack.floor_seconds * model.layers + _fabric_ways(model, plan) * CROSSING_SECONDS
        return base, stack.running_seconds / (plan.attention_data * plan.pipeline), kv, pair


def _whole(seconds: NDArray[np.float64]) -> Int64:
    return np.rint(seconds * PS).astype(np.int64)


def _read_bytes(model: Model, precision: str, plan: ServingPlan, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that each GPU of a stage reads in a step of so many tokens, if it had all layers."""
    experts = model.expert_parameters * WEIGHT_BYTES[precision]
    common = weight_bytes(model, precision) - experts - WEIGHT_BYTES["bf16"] * model.vocabulary * model.hidden  # embedding is looked up
    missed = 1.0 - model.token_experts / model.experts if model.experts else 1.0  # an expert, by a token
    met = 1.0 - power(missed, tokens)
    return common / plan.tensor + experts * met / plan.stage_gpus


def _resident_bytes(model: Model, precision: str, plan: ServingPlan) -> float:
    experts = model.expert_parameters * WEIGHT_BYTES[precision]
    return experts + (weight_bytes(model, precision) - experts) * plan.attention_data
