"""How fast a GPU computes: one curve per GPU and precision for matrix multiplications, one rate for attention, the memory for the rest.

A multiplication of (m, k) by (k, n) moves at least ``mk + kn + mn`` numbers for its ``2 m n k`` operations. Its intensity

    I = 1 / (1/m + 1/n + 1/k)

is those operations over the bytes of as many bf16 numbers, so it grows with each of the three sizes, and the smallest rules it. The rate is

    ceiling * share * I / (I + half)

where ``ceiling`` is the best that was measured for a large multiplication alone, ``share`` the part of it that training reaches for very
large ones (power, casts and launches take the rest), and ``half`` the intensity at which half of that is reached. Narrow multiplications
(few tokens a GPU, small experts, much tensor parallelism) are slower by that curve and by nothing else.

Sources: MAMF (maximum achievable matmul FLOPS tables, see ``topology.catalog``); AIC the GEMM tables of NVIDIA's ``aiconfigurator-core``
(Apache-2.0): the best of each; FIT ``python -m emulator.experiments.validation.fit`` on the published rows of ``gigawatt validate``.
"""

from dataclasses import dataclass, replace

from emulator.workload.training.model import Model
from topology.catalog import GpuType

#: Formats of the numbers that matrices are multiplied in. The tensor cores of mxfp8 and fp8 are the same.
PRECISIONS = ("bf16", "fp8", "nvfp4")
ALIASES = {"mxfp8": "fp8", "fp8-cs": "fp8", "fp8-mx": "fp8"}
#: Attention's own products run at half of the measured bf16 ceiling, whatever the matrices are multiplied in. On an H100 that is 427 TF:
#: FlashAttention-3 (Shah et al., arXiv 2407.08608) reaches some 600 forward and 480 backward, where it does 2.5 times the forward's work
#: and two are counted.
ATTENTION_RATIO = 0.5
#: Part of the memory's peak bandwidth that element-wise kernels reach. Assumed; copies are measured at 85 to 92 %.
MEMORY_RATIO = 0.8
#: Numbers of the hidden width that a layer reads and writes per token and pass, beside one for each number that its multiplications give:
#: two norms, two residuals, rotary embedding; and for every expert of a token its copies there and back. Counted from a layer's kernels.
ELEMENTWISE_HIDDEN, ELEMENTWISE_COPIES = 8.0, 2.0
#: Below bf16 every input of a multiplication is read once more, for its scale, and written in two orientations of a byte each; a layer's
#: inputs are half as wide as its outputs.
CAST_RATIO = 1.0
#: Bytes that softmax and cross-entropy read and write for each logit, forward and backward, in fp32 and bf16. Counted from their kernels.
LOGIT_BYTES = 12
#: Kernels that compute all of attention (MLM's) also keep its scores in memory: written, read and written by softmax, read. With dropout of
#: its own it would be 6; 4 fits MLM's small models better.
SCORE_PASSES = 4.0
ACTIVATION_BYTES = 2  # bf16


class UnknownPrecision(ValueError):
    """No format of that name, or none on that GPU; the message says which there are."""


@dataclass(frozen=True)
class Curve:
    """The rate of matrix multiplications over their intensity."""

    ceiling_flops: float
    share: float
    half_intensity: float

    def flops(self, intensity: float) -> float:
        """Operations per second at ``intensity``."""
        return self.ceiling_flops * self.share * intensity / (intensity + self.half_intensity)


def peak_flops(gpu: GpuType, precision: str) -> float:
    """The dense peak of the data sheet. Raises UnknownPrecision."""
    peak = {"bf16": gpu.bf16_flops, "fp8": gpu.fp8_flops, "nvfp4": gpu.fp4_flops}.get(ALIASES.get(precision, precision))
    if peak is None:
        known = [name for name in PRECISIONS if name == "bf16" or getattr(gpu, f"{name.removeprefix('nv')}_flops")]
        raise UnknownPrecision(f"{gpu.name} has no {precision!r:.40}; allowed: {', '.join(known)}")
    return peak


def curve(gpu: GpuType, precision: str) -> Curve:
    """The curve of a GPU and precision; that of a GPU without one of its own follows from its measured ceiling. Raises UnknownPrecision."""
    peak, precision = peak_flops(gpu, precision), ALIASES.get(precision, precision)
    if known := CURVES.get((gpu.name, precision)):
        return known
    ceiling = gpu.achievable_flops if precision == "bf16" else gpu.achievable_flops * peak / gpu.bf16_flops
    return Curve(ceiling, DEFAULT_SHARE, DEFAULT_HALF)


def attention_flops(gpu: GpuType) -> float:
    """Operations per second of attention's own products."""
    return ATTENTION_RATIO * curve(gpu, "bf16").ceiling_flops


def memory_bytes_per_second(gpu: GpuType) -> float:
    """What element-wise kernels move."""
    return MEMORY_RATIO * gpu.memory_bytes_per_second


def intensity(rows: float, columns: float, depth: float) -> float:
    """Of a multiplication of (rows, depth) by (depth, columns): operations per byte of bf16."""
    return 1.0 / (1.0 / rows + 1.0 / columns + 1.0 / depth)


def elementwise_bytes(model: Model, precision: str) -> float:
    """Bytes that a layer's other kernels read and write per token and pass, in the mean of all layers."""
    multiplied = model.layer_parameters / model.layers / model.hidden
    copies = ELEMENTWISE_COPIES * model.token_experts * model.expert_layers / model.layers
    numbers = (ELEMENTWISE_HIDDEN + copies) * model.hidden + multiplied
    if ALIASES.get(precision, precision) != "bf16":
        numbers += CAST_RATIO * multiplied
    if not model.causal:
        numbers += SCORE_PASSES * model.heads * model.sequence
    return ACTIVATION_BYTES * numbers


_TF = 1e12
#: For accelerators without published training rows: assumed, as the A100's.
DEFAULT_SHARE, DEFAULT_HALF = 0.85, 150.0
#: FIT on MLM Table 1. Ceiling: MAMF.
_A100 = {"bf16": Curve(271.2 * _TF, 0.85, 150.0)}
#: FIT: fp8 on the H100 rows of MLPerf Training and Megatron-Bridge; bf16 on Llama 3's 430 TF (arXiv 2407.21783, Table 4), with the half in
#: proportion to the ceiling, since one row cannot tell two numbers. Ceilings: AIC.
_H100 = {"bf16": Curve(854 * _TF, 0.715, 200.0), "fp8": Curve(1507 * _TF, 1.0, 350.0)}
#: FIT: fp8 on the GB200 rows of MLPerf Training and Megatron-Bridge. nvfp4 differs by the ceiling alone: it speeds up multiplications by
#: the measured 1.49, not by its peak. bf16: share assumed, half in proportion to the ceiling. Ceilings: AIC.
_GB200 = {"bf16": Curve(1929 * _TF, 0.9, 550.0), "fp8": Curve(3493 * _TF, 1.0, 1000.0), "nvfp4": Curve(5202 * _TF, 1.0, 1000.0)}


def _like(curves: dict[str, Curve], ratio: float, **others: float) -> dict[str, Curve]:
    """The curves of a sibling with other ceilings."""
    return {name: replace(one, ceiling_flops=one.ceiling_flops * others.get(name, ratio)) for name, one in curves.items()}


#: By GPU and precision. H200 and H800 are the H100's die. Siblings of the GB200 are assumed from it: B200 by the peaks, 4,500 to 5,000;
#: B300 as the B200, and in nvfp4 by the peaks, 13,500 to 10,000; GB300 by the power, 1,400 to 1,200 W, which bounds large multiplications,
#: and in nvfp4 by the peaks, 15,000 to 10,000.
CURVES: dict[tuple[str, str], Curve] = {
    (gpu, precision): one
    for gpu, curves in {
        "A100-SXM-80GB": _A100,
        "H100-SXM5-80GB": _H100,
        "H800-SXM5-80GB": _H100,
        "H200-SXM-141GB": _H100,
        "B200-SXM-180GB": _like(_GB200, 0.9),
        "B300-SXM-288GB": _like(_GB200, 0.9, nvfp4=1.35),
        "GB200-186GB": _GB200,
        "GB300-288GB": _like(_GB200, 7 / 6, nvfp4=1.5),
    }.items()
    for precision, one in curves.items()
}
