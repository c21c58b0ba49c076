"""A transformer by its shape, and the floating-point operations of a training step.

Source key: MLM Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM", SC'21, arXiv
2104.04473.
"""

from dataclasses import dataclass


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
    head_width: float = 0.0  # mean width of a head's queries and values; 0: hidden / heads
    kv_width: float = 0.0  # of the keys (or values) of all heads together, as they are sent to other GPUs; 0: the queries' width
    source: str = ""  # of these numbers

    @property
    def attention_width(self) -> float:
        """Width of the queries of all heads together."""
        return self.heads * self.head_width if self.head_width else float(self.hidden)

    @property
    def expert_width(self) -> float:
        """Width of one expert of three matrices (SwiGLU)."""
        matrices = 3 * self.expert_layers * self.experts * self.hidden
        return self.expert_parameters / matrices if matrices else 0.0

    @property
    def token_expert_parameters(self) -> float:
        """Weights of the experts that one token passes through, in all layers."""
        return self.expert_parameters * self.token_experts / self.experts if self.experts else 0.0

    @property
    def common_layer_parameters(self) -> float:
        """Matmul weights of the layers that every token passes through."""
        return self.layer_parameters - self.token_expert_parameters

    @property
    def attention_flops(self) -> float:
        """Of one token in one layer, forward: scores and values, each 2 s per element of width; half of them where causal."""
        return 4.0 * self.attention_width * self.sequence * (0.5 if self.causal else 1.0)


def step_flops(model: Model, sequences: float, *, recompute: bool = False) -> float:
    """Floating point operations of one step over ``sequences`` sequences, forward and backward.

    6 per weight and token, 12 l h s per token for attention (half of it where causal), 6 h V for the logits; with full activation
    recomputation the layers' forward pass comes twice: 8 and 16. For a GPT of MLM that is its equation 3,
    F = 96 B s l h^2 (1 + s / 6h + V / 16lh).
    """
    passes = 4 if recompute else 3
    attention = model.layers * model.attention_flops
    per_token = passes * (2 * model.layer_parameters + attention) + 6 * model.hidden * model.vocabulary
    return sequences * model.sequence * per_token
