"""The operations of a step, against the papers that count them."""

import pytest

from emulator.experiments.validation.figures import published_teraflops
from emulator.workload.training import MODELS, Model, peak_flops, step_flops
from emulator.workload.training.kernels import UnknownPrecision
from topology.catalog import GPUS

#: Narayanan et al., SC'21, Table 1: billions of parameters, GPUs, achieved TFLOPS per GPU, aggregate PFLOPS.
MEGATRON_TABLE_1 = [
    (1.7, 32, 137, 4.4),
    (3.6, 64, 138, 8.8),
    (7.5, 128, 142, 18.2),
    (18.4, 256, 135, 34.6),
    (39.1, 512, 138, 70.8),
    (76.1, 1024, 140, 143.8),
    (145.6, 1536, 148, 227.1),
    (310.1, 1920, 155, 297.4),
    (529.6, 2520, 163, 410.2),
    (1008.0, 3072, 163, 502.0),
]


def gpt(billions: float) -> Model:
    return MODELS[f"gpt-{billions:g}b"]


@pytest.mark.parametrize("row", MEGATRON_TABLE_1)
def test_parameters_and_aggregate_flops_of_megatron(row: tuple[float, int, int, float]) -> None:
    """Equation 2 gives the printed sizes; the printed aggregate is that of all GPUs (both printed to 0.1 and 1 TFLOPS)."""
    billions, gpus, teraflops, petaflops = row
    assert round(gpt(billions).parameters / 1e9, 1) == billions
    assert gpus * (teraflops - 0.5) / 1000 - 0.05 <= petaflops <= gpus * (teraflops + 0.5) / 1000 + 0.05


def test_the_package_carries_this_table() -> None:
    carried = {row.id: (row.gpus, row.teraflops) for row in published_teraflops() if row.id.startswith("D3")}
    assert carried == {f"D3-{billions:g}b": (gpus, float(teraflops)) for billions, gpus, teraflops, _ in MEGATRON_TABLE_1}


def test_step_flops_is_equation_3() -> None:
    """F = 96 B s l h^2 (1 + s / 6h + V / 16lh), written out for the model of 145.6 billion parameters."""
    model = gpt(145.6)
    batch, s, layers, h, vocabulary = 2304, 2048, 80, 12288, 51200
    expected = 96 * batch * s * layers * h**2 * (1 + s / (6 * h) + vocabulary / (16 * layers * h))
    assert step_flops(model, batch, recompute=True) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("parameters", "tokens", "gpus", "teraflops", "days"), [(175e9, 300e9, 1024, 140, 34), (1008e9, 450e9, 3072, 163, 84)]
)
def test_time_to_train_is_equation_4(parameters: float, tokens: float, gpus: int, teraflops: int, days: int) -> None:
    """T = 8 T P / (n X): 34 days for GPT-3 and 84 for a trillion parameters; ours counts attention and logits too, a few percent more."""
    assert 8 * tokens * parameters / (gpus * teraflops * 1e12) / 86_400 == pytest.approx(days, rel=0.01)
    model = gpt(1008.0)
    per_token = step_flops(model, 1, recompute=True) / model.sequence
    assert 1.0 < per_token / (8 * model.parameters) < 1.04


def test_megascale_counts_as_its_rows_do() -> None:
    """49.0k tokens/s at 65.3 % MFU of 256 A100 (arXiv 2402.15627, Table 2) are 1.065e12 operations a token, half of attention masked."""
    model = MODELS["megascale-175b"]
    assert step_flops(model, 1) / model.sequence == pytest.approx(256 * 312e12 * 0.653 / 49.0e3, rel=0.005)


def test_llama_counts_as_megatron_bridge_does() -> None:
    """822 TFLOP/s at 326 tokens/s: it counts causal attention once (published rows of the performance summary 26.06)."""
    model = MODELS["llama3.1-405b"]
    assert step_flops(model, 1) / model.sequence * 326 / 1e12 == pytest.approx(822, rel=0.005)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_mixture_computes_its_active_parameters_alone(name: str) -> None:
    """6 operations a token and active weight, and attention and logits on top."""
    model = MODELS[name]
    per_token = step_flops(model, 1) / model.sequence
    active = model.layer_parameters + model.vocabulary * model.hidden
    assert 1.0 <= per_token / (6 * active) < 1.8
    assert model.layer_parameters < model.parameters
    assert 0 <= model.token_expert_parameters < model.layer_parameters
    assert model.source


@pytest.mark.parametrize(
    ("name", "parameters", "active"),
    [
        ("mixtral-8x7b", 46.7e9, 12.9e9),  # arXiv 2401.04088
        ("deepseek-v3", 671e9, 37e9),  # arXiv 2412.19437
        ("qwen3-235b-a22b", 235e9, 22e9),  # arXiv 2505.09388
        ("grok-1-like", 314e9, 0.27 * 314e9),  # xAI: a quarter of the weights, "25 %"
        ("gpt3-175b", 175e9, 175e9),
    ],
)
def test_sizes_are_the_published_ones(name: str, parameters: float, active: float) -> None:
    model = MODELS[name]
    assert model.parameters == pytest.approx(parameters, rel=0.01)
    assert model.layer_parameters + 2 * model.vocabulary * model.hidden == pytest.approx(active, rel=0.02)


def test_experts_make_up_a_mixtures_size() -> None:
    """Experts, attention and embeddings together give the published total, within what the tables leave out (routers, norms)."""
    for name in ("mixtral-8x7b", "deepseek-v3", "qwen3-235b-a22b", "grok-1-like"):
        model = MODELS[name]
        rest = model.common_layer_parameters + 2 * model.vocabulary * model.hidden
        assert model.expert_parameters + rest == pytest.approx(model.parameters, rel=0.02), name


@pytest.mark.parametrize(
    ("gpu", "bf16", "fp8", "nvfp4"),
    [
        ("A100-SXM-80GB", 312, None, None),
        ("H100-SXM5-80GB", 989, 1979, None),
        ("H200-SXM-141GB", 989, 1979, None),
        ("B200-SXM-180GB", 2250, 4500, 9000),
        ("GB200-186GB", 2500, 5000, 10000),
        ("GB300-288GB", 2500, 5000, 15000),
    ],
)
def test_peaks_are_dense(gpu: str, bf16: float, fp8: float | None, nvfp4: float | None) -> None:
    """Data sheets print twice these "with sparsity": 1,979 for the bf16 of an H100, 3,958 for its fp8."""
    for precision, peak in (("bf16", bf16), ("fp8", fp8), ("nvfp4", nvfp4)):
        if peak is None:
            with pytest.raises(UnknownPrecision, match="allowed: bf16"):
                peak_flops(GPUS[gpu], precision)
        else:
            assert peak_flops(GPUS[gpu], precision) == peak * 1e12


def test_nvlink_is_counted_in_one_direction() -> None:
    """900 GB/s and 1.8 TB/s are of both directions together."""
    one_way = {"A100-SXM-80GB": 300, "H100-SXM5-80GB": 450, "GB200-186GB": 900}
    assert {gpu: GPUS[gpu].scale_up_bytes_per_second / 1e9 for gpu in one_way} == one_way
