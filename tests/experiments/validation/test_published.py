"""The published figures beside ours: every row within its bar, the bars themselves, and docs/validity.md up to date."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.cli import main
from emulator.experiments.validation.compare import Row, compare_training, published_rows, tokens_per_second_per_gpu, tolerance
from emulator.experiments.validation.figures import compare_all, published_megascale, published_teraflops
from emulator.experiments.validation.page import markdown
from emulator.experiments.validation.rows import TrainingRow

DOCS = Path(__file__).parents[3] / "docs" / "validity.md"
COMPARED = compare_all()
TRAINING = published_rows()


ALONE = [row for row in COMPARED.rows if not row.in_quantile]


@pytest.mark.parametrize("row", ALONE, ids=lambda row: row.id)
def test_a_row_is_within_its_bar(row: Row) -> None:
    assert row.within, f"{row.published} published, {row.ours} ours"
    assert row.source


def test_scaling_losses_are_within_two_points() -> None:
    assert len(COMPARED.losses) == 7
    for loss in COMPARED.losses:
        assert loss.tolerance == 0.02
        assert loss.within, loss


def mean_error(prefixes: str) -> float:
    errors = [row.error_ratio for row in ALONE if row.id[0] in prefixes and not row.id.startswith("TRT")]
    return sum(errors) / len(errors)


def test_the_means_are_within_four_percent() -> None:
    """Of Megatron-LM's ten, and of the dense fp8 rows."""
    megatron = [row.error_ratio for row in COMPARED.rows if row.id.startswith("D3")]
    assert len(megatron) == 10
    assert abs(sum(megatron) / 10) < 0.04
    assert abs(mean_error("TGB")) < 0.04
    dense = [abs(row.error_ratio) for row in ALONE if row.id[0] in "TGB" and not row.id.startswith("TRT")]
    assert sum(dense) / len(dense) < 0.04


def test_bars_are_those_agreed() -> None:
    bars = {row.id: row.tolerance_ratio for row in COMPARED.rows}
    assert bars["D2"] == bars["D4-mttf"] == bars["D4-ettr"] == 0.02
    assert bars["D6-idle"] == bars["D6-peak"] == bars["D6-water"] == 0.01
    assert bars["T1"] == bars["G1"] == bars["B2"] == 0.07
    assert bars["D1"] == 0.20
    assert {bars[row.id] for row in COMPARED.rows if row.id.startswith(("D3", "MGS"))} == {0.08}


def row(name: str) -> TrainingRow:
    return next(row for row in TRAINING if row.id == name)


@pytest.mark.parametrize(
    ("gpu", "precision", "bar"),
    [("H200-SXM-141GB", "fp8", 0.08), ("B200-SXM-180GB", "fp8", 0.08), ("GB300-288GB", "nvfp4", 0.12), ("GB200-186GB", "mxfp8", 0.07)],
)
def test_bars_of_other_rows(gpu: str, precision: str, bar: float) -> None:
    assert tolerance(replace(row("T1"), gpu=gpu, precision=precision)) == bar


def test_a_published_table_says_when_it_is_wrong_to_double_the_bf16_rate() -> None:
    """fp8 is 1.83 times bf16 on an H100 in the published 405B runs, and not 2 times for everything that a step does."""
    fp8 = row("T1")
    ratio = tokens_per_second_per_gpu(fp8) / tokens_per_second_per_gpu(replace(fp8, precision="bf16"))
    assert 1.5 < ratio < 2.0


def test_nvfp4_speeds_up_multiplications_alone() -> None:
    """1.49 on the multiplications is less on the step."""
    fp8 = row("T8")
    ratio = tokens_per_second_per_gpu(replace(fp8, precision="nvfp4")) / tokens_per_second_per_gpu(fp8)
    assert 1.2 < ratio < 1.45


def test_losses_are_neither_of_the_bubble_alone_nor_of_the_whole_reduction() -> None:
    """3.3 of the 11.4 points that 8,192 H100 lose are the bubble 7 / (8 m); the whole all-reduce would make 21."""
    bubble = 1 - (1 + 7 / (8 * 288)) / (1 + 7 / (8 * 24))
    assert bubble == pytest.approx(0.033, abs=0.001)
    loss = next(loss for loss in COMPARED.losses if loss.gpus == 8192)
    assert 0.094 < loss.ours < 0.134


def test_llama_3_had_64_replicas() -> None:
    """Table 4 prints 4 replicas in one row; the GPUs say otherwise: 8 * 16 * 64 = 8,192, with 16.8 million tokens a step."""
    (published,) = (row for row in published_teraflops() if row.id == "D2")
    assert (published.plan.data, published.plan.microbatches) == (64, 32)
    assert published.sequences * 8192 == pytest.approx(16e6, rel=0.05)


def test_megascale_at_12288_gpus_is_not_a_row() -> None:
    """It prints 55.2 % MFU and 2,166.3 PFLOPS together; 55.2 % of 12,288 A100 are 2,116."""
    petaflops = 0.552 * 12_288 * 0.312
    assert petaflops == pytest.approx(2116, abs=1)
    assert all(gpus != 12_288 for _, gpus, *_ in published_megascale())


def test_series_keep_sources_apart() -> None:
    """Megatron-Bridge's 1,024 H100 are no point of MLPerf's series."""
    assert [(loss.from_gpus, loss.gpus) for loss in compare_training(TRAINING).losses] == [
        (512, 2048),
        (512, 8192),
        (512, 2496),
        (256, 512),
    ]


def test_gpus_alone_make_a_series() -> None:
    given = [row("T1"), replace(row("T2"), plan=replace(row("T2").plan, tensor=4, data=32, microbatches=36))]
    assert compare_training(given).losses == ()


def test_the_page_is_up_to_date() -> None:
    """Written by `python -m emulator.experiments.validation.page docs/validity.md`."""
    assert DOCS.read_text(encoding="utf-8") == markdown()


def test_the_command_prints_what_it_promises(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["rows", "median_abs_error_ratio", "p90_abs_error_ratio", "scaling", "quantiles", "saturation"]
    keys = ["id", "quantity", "published", "ours", "error_ratio", "tolerance_ratio", "within", "source"]
    assert all(list(row) == keys for row in found["rows"])
    ids = [(row["id"], row["quantity"]) for row in found["rows"]]
    assert len(ids) == len(set(ids)) == len(COMPARED.rows)
    errors = sorted(abs(row["error_ratio"]) for row in found["rows"])
    assert errors[0] <= found["median_abs_error_ratio"] <= found["p90_abs_error_ratio"] <= errors[-1]
    for row in found["rows"]:
        assert row["error_ratio"] == pytest.approx(row["ours"] / row["published"] - 1)
        assert row["within"] == (abs(row["error_ratio"]) <= row["tolerance_ratio"])


def test_every_format_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    main(["validate", "-o", "json"])
    found = json.loads(capsys.readouterr().out)
    main(["validate", "-o", "yaml"])
    assert yaml.safe_load(capsys.readouterr().out) == found
    assert main(["validate"]) == 0
    table = capsys.readouterr()
    assert all(row["id"] in table.out for row in found["rows"])
    assert f"{len(ALONE)} of {len(ALONE)} rows within their bars, and 225 of serving within those of their errors" in table.err
