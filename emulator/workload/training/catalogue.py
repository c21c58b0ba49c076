"""The models that have a name, each with its source.

Source keys: MLM (arXiv 2104.04473, Table 1), GPT3 (Brown et al., arXiv 2005.14165, Table 2.1), MGS (MegaScale, NSDI'24, arXiv 2402.15627),
LL2 (Llama 2, arXiv 2307.09288, and its config.json), LL3 (arXiv 2407.21783, Table 3; 405B on 16 million tokens a batch, Table 4), DSV
(DeepSeek-V3, arXiv 2412.19437, sections 2.1 and 4.2), MIX (Mixtral, arXiv 2401.04088, Table 1), QW3 (Qwen3, arXiv 2505.09388, Table 2, and
the published config.json), GRK (xAI's release of Grok-1).
"""

from emulator.workload.training.model import Model

#: A mixture's batch where none is published: assumed.
ASSUMED_BATCH_TOKENS = 4e6


def megatron_model(name: str, layers: int, hidden: int, heads: int, *, sequence: int = 2048, vocabulary: int = 51_200) -> Model:
    """A GPT of MLM: P = 12 l h^2 (1 + 13 / 12h + (V + s) / 12lh) (equation 2); its kernels computed all of attention."""
    return _gpt(name, layers, hidden, heads, sequence=sequence, vocabulary=vocabulary, causal=False, source="MLM Table 1")


def _gpt(
    name: str,
    layers: int,
    hidden: int,
    heads: int,
    *,
    sequence: int = 2048,
    vocabulary: int = 51_200,
    causal: bool = True,
    batch_tokens: float = 4e6,
    source: str,
) -> Model:
    layer_parameters = 12.0 * layers * hidden**2
    parameters = layer_parameters * (1 + 13 / (12 * hidden) + (vocabulary + sequence) / (12 * layers * hidden))
    return Model(
        name,
        parameters,
        layer_parameters,
        layers,
        hidden,
        heads,
        sequence,
        vocabulary,
        causal=causal,
        batch_tokens=batch_tokens,
        source=source,
    )


def _llama(name: str, parameters: float, layers: int, hidden: int, heads: int, *, batch_tokens: float) -> Model:
    vocabulary = 128_256
    return Model(
        name,
        parameters,
        parameters - 2.0 * vocabulary * hidden,
        layers,
        hidden,
        heads,
        8_192,
        vocabulary,
        batch_tokens=batch_tokens,
        kv_width=8 * hidden / heads,
        source="LL3 Table 3" if batch_tokens == _405B_BATCH_TOKENS else "LL3 Table 3; its batch is assumed",
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
    expert_layers: int,
    experts: int,
    expert_width: int,
    token_experts: int,
    source: str,
    kv_width: float,
    head_width: float = 0.0,
    batch_tokens: float = ASSUMED_BATCH_TOKENS,
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
        head_width=head_width,
        kv_width=kv_width,
        source=source,
    )


_405B_BATCH_TOKENS = 16e6
_LLAMAS = ((8.03e9, 32, 4096, 32, 4e6), (70.6e9, 80, 8192, 64, 8e6), (405.9e9, 126, 16384, 128, _405B_BATCH_TOKENS))
_SIZES = ("8b", "70b", "405b")
#: Mixtures. DSV: 256 routed experts in 58 of 61 layers, 8 for a token on at most 4 hosts, 15,360 sequences a step; heads of 192 for queries
#: and 128 for values, and 576 numbers a token as keys and values (section 2.1.1).
_MIXTURES = (
    _mixture(
        "mixtral-8x7b", 46.7e9, 12.9e9, 32, 4096, 32, sequence=32_768, vocabulary=32_000,
        expert_layers=32, experts=8, expert_width=14_336, token_experts=2, kv_width=1024, source="MIX; its batch is assumed",
    ),
    _mixture(
        "deepseek-v3", 671e9, 37e9, 61, 7168, 128, sequence=4096, vocabulary=129_280, batch_tokens=15_360 * 4096,
        expert_layers=58, experts=256, expert_width=2048, token_experts=8, token_domains=4, head_width=160, kv_width=288, source="DSV",
    ),
    _mixture(
        "qwen3-235b-a22b", 235.1e9, 22.1e9, 94, 4096, 64, sequence=4096, vocabulary=151_936,
        expert_layers=94, experts=128, expert_width=1536, token_experts=8, head_width=128, kv_width=512, source="QW3; its batch is assumed",
    ),
    _mixture(
        "grok-1-like", 314e9, 84.5e9, 64, 6144, 48, sequence=8192, vocabulary=131_072,
        expert_layers=64, experts=8, expert_width=32_768, token_experts=2, head_width=128, kv_width=1024,
        source="GRK; its batch is assumed",
    ),
)  # fmt: skip
_MEGATRON = (
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
)
#: Dense models with grouped keys and values.
_DENSE = (
    Model("llama2-70b", 69e9, 69e9 - 2.0 * 32_000 * 8192, 80, 8192, 64, 4096, 32_000, kv_width=1024, source="LL2"),
    Model("qwen3-32b", 32.8e9, 32.8e9 - 2.0 * 151_936 * 5120, 64, 5120, 64, 32_768, 151_936, head_width=128, kv_width=1024, source="QW3"),
)
_ALL = (
    *_MEGATRON,
    *(_llama(f"llama3-{size}", *shape[:4], batch_tokens=shape[4]) for size, shape in zip(_SIZES, _LLAMAS, strict=True)),
    *(_llama(f"llama3.1-{size}", *shape[:4], batch_tokens=shape[4]) for size, shape in zip(_SIZES, _LLAMAS, strict=True)),
    _gpt("gpt3-175b", 96, 12288, 96, batch_tokens=3.2e6, source="GPT3; its vocabulary as MLM pads it"),
    _gpt("megascale-175b", 96, 12288, 96, batch_tokens=6144 * 2048, source="MGS Table 1"),
    *_DENSE,
    *_MIXTURES,
)
MODELS: dict[str, Model] = {model.name: model for model in _ALL}
#: What generated jobs train: one model of each size.
GENERATED = (*(model.name for model in _MEGATRON), *(f"llama3-{size}" for size in _SIZES), "mixtral-8x7b", "deepseek-v3")
