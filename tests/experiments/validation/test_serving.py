"""Rows of serving: the published ones within their bars, files of the same form, and what is wrong with them."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.cli import main
from emulator.experiments.validation import fit_serving
from emulator.experiments.validation.fields import RowsError
from emulator.experiments.validation.serving import compare_published_serving, compare_serving, compare_throughput, published_serving
from emulator.experiments.validation.serving_rows import NEEDED, OPTIONAL, parse_serving_rows
from emulator.workload.serving.stacks import STACKS
from emulator.workload.training import MODELS
from topology.catalog import GPUS

GOOD = {
    "system": "h100_sxm", "model": "Llama-3.1-70B", "precision": "fp8", "backend": "vllm", "backend_version": "",
    "isl": "1024", "osl": "1024", "tp": "4", "pp": "1", "attn_dp": "1", "moe_tp": "4", "moe_ep": "1",
    "concurrency": "8", "ttft_ms": "96.3", "tpot_ms": "12.11",
}  # fmt: skip


def text(*rows: dict[str, str]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def test_published_rows_are_within_their_bars() -> None:
    """All of them, none left out."""
    comparison = compare_published_serving()
    assert [one.rows for one in comparison.quantiles] == [75, 75, 75]
    assert all(one.within for one in comparison.quantiles)
    assert all(one.within for one in comparison.sweeps)


def test_published_throughput_is_within_its_bars() -> None:
    rows = list(compare_throughput())
    assert len(rows) == 21
    assert [row.id for row in rows if not row.within] == []


@pytest.mark.parametrize("key", fit_serving.keys(), ids=" ".join)
def test_what_the_fit_finds_is_what_is_held(key: fit_serving.Key) -> None:
    assert fit_serving.fit(key) == STACKS[key]


def test_no_share_is_above_1() -> None:
    for stack in STACKS.values():
        assert 0 < stack.memory_ratio <= 1
        assert 0 < stack.multiply_ratio <= 1


def test_a_longer_floor_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bars can fail."""
    key = ("H100-SXM5-80GB", "fp8", "vllm", "dense")
    monkeypatch.setitem(STACKS, key, replace(STACKS[key], floor_seconds=2 * STACKS[key].floor_seconds))
    assert not compare_serving([row for row in published_serving() if row.gpu.startswith("H100")]).within


def test_a_sweep_saturates_where_the_memory_is_full() -> None:
    """H100, TP 2, 70B in fp8 (2 * 80 GB * 0.93 - 73 GB) over 327,680 B are 232,000 tokens, 150 requests of 1,540 in the mean."""
    points = [(32, 200), (64, 300), (128, 500), (256, 9_000)]
    rows = [GOOD | {"tp": "2", "concurrency": str(places), "ttft_ms": str(ms)} for places, ms in points]
    comparison = compare_serving(parse_serving_rows(text(*rows), "rows.csv"))
    (sweep,) = comparison.sweeps
    assert (sweep.published, sweep.ours) == (3, 3)
    assert [one.rows for one in comparison.quantiles] == [3, 3, 4]  # what is saturated has a throughput alone


#: Changes of a good row, and what the message must hold beside the place.
WRONG = {
    "unknown GPU": ({"system": "tpu_v5"}, ["system", "tpu_v5", "H100-SXM5-80GB"]),
    "unknown model": ({"model": "gpt-9"}, ["model", "gpt-9", "llama3.1-70b"]),
    "precision that this GPU has not": ({"precision": "fp4"}, ["precision", "fp4", "bf16, fp8"]),
    "unknown engine": ({"backend": "ollama"}, ["backend", "ollama", "vllm"]),
    "a model that does not fit": ({"tp": "1", "precision": "bf16"}, ["tp", "141.", "74.4 GB", "more GPUs"]),
    "a request that does not fit": ({"isl": "900000"}, ["isl", "901,024", "up to"]),
    "one token": ({"osl": "1"}, ["osl", "two tokens", "2 to"]),
    "no tokens": ({"isl": "0"}, ["isl", "whole number"]),
    "stages that do not divide": ({"pp": "3"}, ["tp", "makes a replica of 12 GPUs", "at most 8"]),
    "no concurrency": ({"concurrency": ""}, ["concurrency", "whole number"]),
    "too much of it": ({"concurrency": "1000000"}, ["concurrency", "10,000"]),
    "no time": ({"tpot_ms": ""}, ["tpot_ms", "empty"]),
    "a negative time": ({"ttft_ms": "-3"}, ["ttft_ms", "-3"]),
    "an endless time": ({"ttft_ms": "inf"}, ["ttft_ms", "inf"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_row_is_said(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes, words = WRONG[name]
    path = tmp_path / "rows.csv"
    path.write_text(text(GOOD, GOOD | changes))
    assert main(["validate", "--rows", str(path)]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"gigawatt: error: --rows: {path}:3: ")
    assert "allowed: " in message
    for word in words:
        assert word in message


def test_rows_of_a_file_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text(GOOD, GOOD | {"concurrency": "16", "ttft_ms": "121.4", "tpot_ms": "13.192"}))
    assert main(["validate", "--rows", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["id"], row["quantity"]) for row in found["rows"]][:3] == [("1", "TTFT, ms"), ("2", "TTFT, ms"), ("1", "TPOT, ms")]
    assert [one["quantity"] for one in found["quantiles"]] == ["TTFT", "TPOT", "output tokens/s"]
    assert found["median_abs_error_ratio"] < 0.05
    path.write_text(text(GOOD | {"tpot_ms": "30"}))
    assert main(["validate", "--rows", str(path), "--json"]) == 1
    assert not json.loads(capsys.readouterr().out)["quantiles"][1]["within"]


NAMES = [*list(MODELS)[-5:], *list(GPUS)[:4]]
cells = st.sampled_from(["", "1", "8", "0", "-1", "nan", "1e9", "n/a", "fp8", "fp4", *NAMES]) | st.text(max_size=6)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from([*NEEDED, *OPTIONAL]), cells))
def test_any_row_is_compared_or_refused(changes: dict[str, str]) -> None:
    try:
        rows = parse_serving_rows(text({**dict.fromkeys(OPTIONAL, ""), **GOOD, **changes}), "rows.csv")
    except RowsError as error:
        assert "allowed" in str(error) or "no CSV" in str(error)  # noqa: PT017 - refused or compared, as the row has it
        return
    assert all(0 < row.ours < 1e12 for row in compare_serving(rows).rows)
