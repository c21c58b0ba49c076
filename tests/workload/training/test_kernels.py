"""The rate of matrix multiplications over their intensity, and what else a layer takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.experiments.validation.figures import MEGASCALE_STACK_RATIO
from emulator.experiments.validation.fit import FITTED, fit, fit_megascale, worst
from emulator.workload.training import MODELS
from emulator.workload.training.kernels import (
    CURVES,
    PRECISIONS,
    UnknownPrecision,
    attention_flops,
    curve,
    elementwise_bytes,
    intensity,
    peak_flops,
)
from topology.catalog import GPUS

sizes = st.floats(1, 1e6)


@given(sizes, sizes, sizes)
def test_intensity_is_operations_over_bytes_of_bf16(m: float, n: float, k: float) -> None:
    assert intensity(m, n, k) == pytest.approx(2 * m * n * k / (2 * (m * k + k * n + m * n)))
    assert intensity(m, n, k) <= min(m, n, k)


@given(st.sampled_from(sorted(CURVES)), st.floats(1, 1e5), st.floats(1, 1e5))
def test_a_larger_multiplication_is_no_slower_and_none_beats_the_ceiling(key: tuple[str, str], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert CURVES[key].flops(low) <= CURVES[key].flops(high) < CURVES[key].ceiling_flops


@pytest.mark.parametrize("gpu", sorted(GPUS))
def test_every_gpu_has_a_curve_for_every_precision_that_it_has(gpu: str) -> None:
    for precision in PRECISIONS:
        try:
            peak = peak_flops(GPUS[gpu], precision)
        except UnknownPrecision:
            continue
        one = curve(GPUS[gpu], precision)
        assert 0.5 <= one.share <= 1.0
        assert one.ceiling_flops < peak
        assert 0.3 < one.flops(3000) / peak < 0.85, "large multiplications of a transformer"
    assert attention_flops(GPUS[gpu]) < 0.5 * GPUS[gpu].bf16_flops


def test_measured_ceilings() -> None:
    """Best multiplications of the measured tables: H100 86 % and 76 % of the peak, GB200 77 %, 70 % and 52 %."""
    shares = {
        key: round(CURVES[key].ceiling_flops / peak_flops(GPUS[key[0]], key[1]), 2)
        for key in CURVES
        if key[0] in ("H100-SXM5-80GB", "GB200-186GB")
    }
    assert shares == {
        ("H100-SXM5-80GB", "bf16"): 0.86,
        ("H100-SXM5-80GB", "fp8"): 0.76,
        ("GB200-186GB", "bf16"): 0.77,
        ("GB200-186GB", "fp8"): 0.70,
        ("GB200-186GB", "nvfp4"): 0.52,
    }


def test_nvfp4_is_faster_by_the_measured_ratio_and_not_by_the_peaks() -> None:
    gpu = GPUS["GB200-186GB"]
    assert curve(gpu, "nvfp4").flops(3000) / curve(gpu, "fp8").flops(3000) == pytest.approx(1.49, abs=0.005)


def test_mxfp8_is_fp8() -> None:
    gpu = GPUS["GB200-186GB"]
    assert curve(gpu, "mxfp8") == curve(gpu, "fp8")
    assert peak_flops(gpu, "MXFP8".lower()) == peak_flops(gpu, "fp8")


@pytest.mark.parametrize("precision", ["", "fp4", "int8", "BF16", "x" * 1000])
def test_an_unknown_precision_says_what_there_is(precision: str) -> None:
    with pytest.raises(UnknownPrecision, match="allowed: bf16, fp8, nvfp4") as caught:
        peak_flops(GPUS["GB200-186GB"], precision)
    assert len(str(caught.value)) < 200


def test_the_bytes_beside_the_multiplications_by_hand() -> None:
    """GPT of hidden size h: 8 h and 12 h numbers; fp8 reads and writes half of the 12 h once more; scores are 4 for each head and token."""
    hidden, heads, sequence = 12288, 96, 2048
    assert elementwise_bytes(MODELS["gpt3-175b"], "bf16") == pytest.approx(2 * 20 * hidden)
    assert elementwise_bytes(MODELS["gpt3-175b"], "fp8") == pytest.approx(2 * 32 * hidden)
    assert elementwise_bytes(MODELS["gpt-145.6b"], "bf16") == pytest.approx(2 * (20 * hidden + 4 * heads * sequence))


@pytest.mark.parametrize("key", sorted(FITTED))
def test_the_constants_are_those_of_the_fit(key: tuple[str, str]) -> None:
    """One number less where one row is fitted; the numbers themselves where there are several."""
    found = fit(key)
    assert worst(key, CURVES[key]) <= worst(key, found) + 1e-9
    assert found == CURVES[key]


def test_megascales_stack_is_that_of_the_fit() -> None:
    assert fit_megascale() == MEGASCALE_STACK_RATIO
