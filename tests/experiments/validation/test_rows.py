"""Files of rows: what is read from them, and what is wrong with them, by file, line and field; never a traceback."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.cli import main
from emulator.experiments.validation.compare import compare_training
from emulator.experiments.validation.fields import RowsError
from emulator.experiments.validation.rows import NEEDED, OPTIONAL, parse_rows
from emulator.workload.training import MODELS
from topology.catalog import GPUS, HOSTS

GOOD = {
    "id": "X1",
    "model": "llama3.1-405b",
    "gpu": "H100-SXM5-80GB",
    "gpus": "512",
    "precision": "fp8",
    "global_batch_sequences": "1152",
    "sequence": "8192",
    "tp": "8",
    "pp": "8",
    "cp": "2",
    "vp": "8",
    "ep": "1",
    "micro_batch": "1",
    "step_seconds_median": "55.10",
    "tokens_per_second_per_gpu": "334.5",
    "start_up_seconds": "588",
    "source": "a log",
}


def text(*rows: dict[str, str]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def test_a_row_is_read() -> None:
    (row,) = parse_rows(text(GOOD), "rows.csv")
    assert (row.id, row.model, row.gpu, row.gpus, row.precision) == ("X1", "llama3.1-405b", "H100-SXM5-80GB", 512, "fp8")
    plan = row.plan
    assert (plan.tensor, plan.pipeline, plan.context, plan.data, plan.microbatches, plan.interleave) == (8, 8, 2, 4, 288, 8)
    assert (plan.zero, row.tokens_per_second_per_gpu, row.source) == (1, 334.5, "a log")


def test_tokens_follow_from_the_step_where_they_are_not_given() -> None:
    (row,) = parse_rows(text(GOOD | {"tokens_per_second_per_gpu": ""}), "rows.csv")
    assert row.tokens_per_second_per_gpu == pytest.approx(1152 * 8192 / 55.10 / 512)


def test_a_parallelism_is_chosen_where_none_is_given() -> None:
    fewest = {name: GOOD[name] for name in (*NEEDED, "step_seconds_median")} | {"model": "llama3.1-8b"}
    (row,) = parse_rows(text(fewest | {"gpus": "128"}), "rows.csv")
    assert (row.id, row.plan.tensor, row.plan.data, row.plan.microbatches) == ("1", 2, 64, 18)
    with pytest.raises(RowsError, match=r"global_batch_sequences.*multiple of the replicas"):
        parse_rows(text(fewest), "rows.csv")
    with pytest.raises(RowsError, match=r"gpus.*cannot hold"):
        parse_rows(text(fewest | {"model": "llama3.1-405b", "gpus": "8"}), "rows.csv")


def test_names_may_be_written_as_their_tables_do() -> None:
    (row,) = parse_rows(
        text(GOOD | {"model": "LLAMA3.1_405B", "gpu": "gb200", "precision": "MXFP8", "vp": "n/a", "gpus": "1,024"} | {"tp": "4"}),
        "rows.csv",
    )
    assert (row.model, row.gpu, row.precision, row.gpus, row.plan.interleave) == ("llama3.1-405b", "GB200-186GB", "mxfp8", 1024, 6)


@pytest.mark.parametrize("name", ["GB300", "gb300-279gb", "GB300-288GB"])
def test_a_gpu_may_have_another_memory_printed(name: str) -> None:
    assert parse_rows(text(GOOD | {"gpu": name}), "rows.csv")[0].gpu == "GB300-288GB"


def test_what_does_not_fit_is_sharded() -> None:
    """70B on one GPU without model parallelism is FSDP."""
    given = {
        "model": "llama3.1-70b",
        "gpu": "GB200",
        "gpus": "64",
        "global_batch_sequences": "256",
        "tp": "1",
        "pp": "1",
        "cp": "1",
        "vp": "1",
    }
    (row,) = parse_rows(text(GOOD | given | {"micro_batch": "2"}), "rows.csv")
    assert row.plan.zero == 3


def test_a_source_that_is_the_same_is_that_of_the_row_before() -> None:
    rows = [GOOD, GOOD | {"id": "X2", "gpus": "1024", "source": "same; 2 runs"}, GOOD | {"id": "X3", "gpus": "2048", "source": "another"}]
    assert [row.series for row in parse_rows(text(*rows), "rows.csv")] == ["a log", "a log", "another"]
    assert [loss.gpus for loss in compare_training(parse_rows(text(*rows), "rows.csv")).losses] == [1024]


#: Changes of a good row, and what the message must hold beside the place.
WRONG = {
    "unknown model": ({"model": "gpt-9"}, ["model", "gpt-9", "llama3.1-405b"]),
    "no model": ({"model": ""}, ["model", "deepseek-v3"]),
    "unknown GPU": ({"gpu": "TPU"}, ["gpu", "TPU", "H100-SXM5-80GB"]),
    "another board": ({"gpu": "H100-PCIE-80GB"}, ["gpu", "PCIE", "H100-SXM5-80GB"]),
    "part of a GPU's name": ({"gpu": "H"}, ["gpu", "H100-SXM5-80GB"]),
    "precision that no GPU has": ({"precision": "int3"}, ["precision", "int3", "bf16, fp8"]),
    "precision that this GPU has not": ({"precision": "nvfp4"}, ["precision", "nvfp4", "bf16, fp8"]),
    "fp8 on an A100": ({"gpu": "A100"}, ["precision", "fp8", "allowed: bf16"]),
    "no GPUs": ({"gpus": "0"}, ["gpus", "'0'", "1 to"]),
    "negative GPUs": ({"gpus": "-8"}, ["gpus", "-8", "1 to"]),
    "GPUs beyond all bounds": ({"gpus": "9" * 30}, ["gpus", "999", "1 to"]),
    "half a GPU": ({"gpus": "512.5"}, ["gpus", "512.5", "whole number"]),
    "other digits": ({"gpus": "\uff15\uff11\uff12"}, ["gpus", "whole number"]),
    "GPUs that do not divide": ({"gpus": "500"}, ["gpus", "500", "128"]),
    "no sequence": ({"sequence": ""}, ["sequence", "whole number"]),
    "a batch that does not divide": ({"global_batch_sequences": "1153"}, ["global_batch_sequences", "1153", "multiple of 4"]),
    "tensor parallelism over hosts": ({"tp": "16", "cp": "1"}, ["tp", "16", "at most 8"]),
    "tensor parallelism that does not divide the heads": ({"tp": "3", "gpus": "384"}, ["tp", "3", "divisor of 128"]),
    "more stages than layers": ({"vp": "64"}, ["vp", "64", "129"]),
    "pipeline longer than the model": ({"pp": "256", "tp": "1", "cp": "2", "vp": "1"}, ["pp", "256", "129"]),
    "experts of a dense model": ({"ep": "8"}, ["ep", "8", "allowed: 1"]),
    "neither step nor tokens": (
        {"step_seconds_median": "", "tokens_per_second_per_gpu": ""},
        ["tokens_per_second_per_gpu", "step_seconds_median"],
    ),
    "a step of nothing": ({"step_seconds_median": "0"}, ["step_seconds_median", "'0'", "0.000001"]),
    "a negative rate": ({"tokens_per_second_per_gpu": "-1"}, ["tokens_per_second_per_gpu", "-1"]),
    "no number": ({"tokens_per_second_per_gpu": "nan"}, ["tokens_per_second_per_gpu", "nan"]),
    "endless": ({"tokens_per_second_per_gpu": "inf"}, ["tokens_per_second_per_gpu", "inf"]),
    "words": ({"step_seconds_median": "fast"}, ["step_seconds_median", "fast"]),
    "start-up of nothing": ({"start_up_seconds": "soon"}, ["start_up_seconds", "soon"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_row_is_said(name: str) -> None:
    changes, words = WRONG[name]
    with pytest.raises(RowsError) as caught:
        parse_rows(text(GOOD, GOOD | {"id": "X2"} | changes), "rows.csv")
    message = str(caught.value)
    assert message.startswith("rows.csv:3: ")
    assert "allowed: " in message
    assert len(message) < 900
    for word in words:
        assert word in message


#: Whole files, and what the message must hold.
FILES: dict[str, tuple[bytes, list[str]]] = {
    "nothing": (b"", ["model", "missing"]),
    "a header alone": (text(GOOD).splitlines()[0].encode(), ["no rows"]),
    "no header": (b"1,2,3\n4,5,6\n", [":1:", "model", "missing"]),
    "a column too many": (b"model,gpu,gpus,precision,global_batch_sequences,sequence,colour\n", [":1:", "colour", "unknown"]),
    "a column twice": (b"model,gpu,gpus,precision,global_batch_sequences,sequence,gpu\n", [":1:", "gpu", "twice"]),
    "a field too few": (text(GOOD).encode() + b"X2,llama3.1-405b\n", [":3:", "2 fields", "17"]),
    "an id twice": (text(GOOD, GOOD).encode(), [":3:", "X1", "twice"]),
    "an open quote": (text(GOOD).encode() + b'"X2,llama', ["no CSV"]),
    "no text": (b"\xff\xfe\x00\x01" * 100, [":1:", "UTF-8"]),
    "NUL bytes": (b"\x00" * 100, ["rows.csv"]),
    "a field without an end": (b"model,gpu,gpus,precision,global_batch_sequences,sequence\n" + b"x" * 200_000, ["no CSV"]),
    "too large": (b"model,gpu\n" + b"x,y\n" * (2 << 20), ["MiB"]),
    "JSON": (b'{"rows": []}', ["model", "missing"]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, words = FILES[name]
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    assert main(["validate", "--rows", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"gigawatt: error: --rows: {path}")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


@pytest.mark.parametrize(("path", "word"), [("/nope.csv", "No such file"), ("/dev/null", "is no file"), ("/", "is no file"), ("", "empty")])
def test_what_is_no_file_is_refused(path: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--rows", path]) == 2
    assert word in capsys.readouterr().err


def test_rows_outside_their_bars_end_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text(GOOD, GOOD | {"id": "", "tokens_per_second_per_gpu": "500"}), encoding="utf-8-sig")
    assert main(["validate", "--rows", str(path), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["id"], row["within"]) for row in rows] == [("X1", True), ("2", False)]


cells = st.sampled_from(
    ["", "1", "8", "0", "-1", "x", "nan", "1e9", "72", "128", "n/a", *list(MODELS)[:3], *list(GPUS)[:3], "fp8"]
) | st.text(max_size=8)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*NEEDED, *OPTIONAL]), cells))
def test_any_row_is_compared_or_refused(changes: dict[str, str]) -> None:
    try:
        rows = parse_rows(text(GOOD | changes), "rows.csv")
    except RowsError as error:
        assert "allowed" in str(error) or "no CSV" in str(error)  # noqa: PT017 - refused or compared, as the row has it
        return
    (row,) = compare_training(rows).rows
    assert 0 < row.ours < 1e12


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([name for name in MODELS if not name.startswith("gpt-")]),
    st.sampled_from(sorted({host.gpu.name for host in HOSTS.values()})),
    st.sampled_from(["bf16", "fp8", "nvfp4"]),
    st.sampled_from([64, 256, 1024, 16_384]),
)
def test_any_model_runs_on_any_gpu(model: str, gpu: str, precision: str, gpus: int) -> None:
    """And at no more than the peak of the precision."""
    given = {
        "model": model,
        "gpu": gpu,
        "gpus": str(gpus),
        "precision": precision,
        "global_batch_sequences": "32768",
        "tp": "4",
        "cp": "1",
        "vp": "1",
    }
    try:
        (row,) = parse_rows(text(GOOD | given | {"pp": "4", "sequence": "4096"}), "rows.csv")
    except RowsError as error:
        assert "precision" in str(error) or "scale-up domain" in str(error)  # noqa: PT017 - likewise
        return
    (found,) = compare_training([row]).rows
    peak = {"bf16": GPUS[gpu].bf16_flops, "fp8": GPUS[gpu].fp8_flops, "nvfp4": GPUS[gpu].fp4_flops}[precision]
    assert peak is not None
    active = MODELS[model].layer_parameters
    assert 0 < 6 * active * found.ours / peak < 0.65
