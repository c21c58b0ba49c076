"""The fit of the kernels' curves to the published rows: ``python -m emulator.experiments.validation.fit``.

Each curve has two numbers, its share and its half. Those are taken whose worst row is the least off, as a part of its bar; the share is at
most 1, since no kernel is faster than the best that was measured. Curves with one row keep the half that is in proportion to the ceiling
(``workload.training.kernels``). The script prints what it found beside what the module holds; a test holds the two together.
"""

from collections.abc import Iterable
from dataclasses import replace

from emulator.experiments.validation.compare import published_rows, tokens_per_second_per_gpu, tolerance
from emulator.experiments.validation.figures import (
    MEGASCALE_STACK_RATIO,
    MEGATRON_TOLERANCE,
    megascale_seconds,
    published_megascale,
    published_teraflops,
    teraflops,
)
from emulator.experiments.validation.rows import plain_precision
from emulator.workload.training.kernels import CURVES, Curve

#: What is fitted, and the halves that are tried; one entry: it is given.
HALVES = [float(half) for half in range(0, 2001, 50)]
FITTED: dict[tuple[str, str], list[float] | None] = {
    ("A100-SXM-80GB", "bf16"): HALVES,
    ("H100-SXM5-80GB", "fp8"): HALVES,
    ("H100-SXM5-80GB", "bf16"): None,
    ("GB200-186GB", "fp8"): HALVES,
}
SHARES = [share / 200 for share in range(100, 201)]


def worst(key: tuple[str, str], curve: Curve) -> float:
    """The largest error of a row of that GPU and precision with ``curve``, as a part of its bar."""
    kept = CURVES[key]
    CURVES[key] = curve
    try:
        return max(abs(error) / bar for error, bar in _errors(*key))
    finally:
        CURVES[key] = kept


def _errors(gpu: str, precision: str) -> Iterable[tuple[float, float]]:
    for row in published_rows():
        if (row.gpu, plain_precision(row)) == (gpu, precision):
            yield tokens_per_second_per_gpu(row) / row.tokens_per_second_per_gpu - 1, tolerance(row)
    for paper in published_teraflops():
        if (paper.gpu, "bf16") == (gpu, precision):
            yield teraflops(paper) / paper.teraflops - 1, MEGATRON_TOLERANCE


def fit(key: tuple[str, str]) -> Curve:
    """The best curve of a GPU and precision."""
    known = CURVES[key]
    halves = FITTED[key] or [known.half_intensity]
    curves = [replace(known, share=share, half_intensity=half) for half in halves for share in SHARES]
    return min(curves, key=lambda curve: worst(key, curve))


def fit_megascale() -> float:
    """How much faster MegaScale's software computes."""

    def off(ratio: float) -> float:
        return max(abs(seconds / megascale_seconds(gpus, sequences, ratio) - 1) for _, gpus, sequences, seconds, _ in published_megascale())

    return min((ratio / 200 for ratio in range(200, 300)), key=off)


def main() -> None:
    """Print every fitted number, found and held."""
    for key in FITTED:
        for word, curve in (("found", fit(key)), ("held", CURVES[key])):
            numbers = f"share {curve.share:g}, half {curve.half_intensity:g}"
            print(f"{key[0]} {key[1]} {word}: {numbers}, the worst row at {worst(key, curve):.2f} of its bar")
    print(f"MegaScale's stack found: {fit_megascale():g}; held: {MEGASCALE_STACK_RATIO:g}")


if __name__ == "__main__":
    main()
