"""``gigawatt compare``: what it prints and writes, and how it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from emulator.experiments.compare.cells import Cell
from emulator.experiments.compare.one_run import Failed, Ran
from emulator.experiments.compare.run_all import Runs
from tests.cli.conftest import Run
from tests.integration.program import ROOT

COMPARE = "compare laptop --until 1h --actors inline --quiet"
FAILS = "def plan(draft, after=0.0):\n    raise RuntimeError('no idea')\n"
GOES = """
from emulator.scheduler.policies import fifo

def one(draft, go: bool = True):
    if go:
        fifo.plan(draft)

two = one
"""
TRACE = f"--set cluster.gpus=64 --trace {ROOT}/examples/jobs.csv --format csv"


def test_two_policies_and_two_seeds(gigawatt: Run, tmp_path: Path) -> None:
    code, out, err = gigawatt(f"{COMPARE} --policies easy,fifo --seeds 2 --json -o", tmp_path / "out")
    assert code == 0, err
    found = json.loads(out)
    assert [(run["policy"], run["placement"], run["scenario"], run["seed"]) for run in found["runs"]] == [
        (policy, "topology", "laptop", seed) for seed in (1, 2) for policy in ("easy", "fifo")
    ]
    alone = json.loads(gigawatt("run laptop --until 1h --actors inline --quiet --policy fifo --seed 2 --json")[1])
    assert {**found["runs"][3], "digest": ""}.keys() == {**alone, "placement": "", "window": ""}.keys()
    assert found["runs"][3]["digest"] == alone["digest"]
    rows = {(row["policy"], row["metric"]): row for row in found["metrics"]}
    row = rows["fifo", "completion_seconds.mean"]
    means = [run["completion_seconds"]["mean"] for run in found["runs"] if run["policy"] == "fifo"]
    assert row["mean"] == pytest.approx(sum(means) / 2)
    assert row["low"] < row["mean"] < row["high"]
    assert rows["easy", "completion_seconds.mean"]["difference"] is None
    assert (found["failed"], found["interrupted"], found["baseline"]["policy"]) == ([], False, "easy")
    assert json.loads((tmp_path / "out/compare.json").read_text()) == found
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files >= {"compare.html", "compare.md", "metrics.parquet", "runs.parquet", "started.parquet", "laptop-wait.svg"}
    assert parquet.read_table(tmp_path / "out/metrics.parquet").num_rows == len(found["metrics"])
    assert parquet.read_table(tmp_path / "out/runs.parquet").column("digest").to_pylist() == [run["digest"] for run in found["runs"]]
    for name in ("compare.html", "laptop-started.svg"):
        assert "http:" not in (tmp_path / "out" / name).read_text().replace("http://www.w3.org/2000/svg", "")


def test_the_tables(gigawatt: Run) -> None:
    code, out, _ = gigawatt(f"{COMPARE} --policies easy --placements topology,spread --seeds 1,5")
    assert code == 0
    assert "laptop: means" in out
    assert "easy     spread" in out
    assert "Means of 2 runs" in out


def test_differences_are_shown_where_there_are_any(gigawatt: Run) -> None:
    code, out, _ = gigawatt(f"compare {ROOT}/examples/two-racks.yaml {TRACE} --policies fifo,easy --placements spread --actors inline -q")
    assert code == 0
    assert "two-racks: differences from fifo" in out
    assert "One run each" in out


def test_options_of_all_and_of_one(gigawatt: Run, tmp_path: Path) -> None:
    (tmp_path / "goes.py").write_text(GOES)
    one, two = (f"{tmp_path}/goes.py:{name}" for name in ("one", "two"))
    code, out, err = gigawatt(f"{COMPARE} --seeds 1 --json --policies {one},{two} --policy-option {two}.go=no --policy-option go=yes")
    assert code == 0, err
    assert [(run["policy"], run["jobs"]["started"] > 0) for run in json.loads(out)["runs"]] == [(one, True), (two, False)]


def test_placements_have_options_of_their_own(gigawatt: Run) -> None:
    code, out, err = gigawatt(f"{COMPARE} --seeds 1 --json --policies fifo --placements random,topology --placement-option random.seed=5")
    assert code == 0, err
    alone = gigawatt("run laptop --until 1h --actors inline -q --policy fifo --placement random --placement-option seed=5 --json")[1]
    first = json.loads(out)["runs"][0]
    assert (first["placement"], first["digest"]) == ("random", json.loads(alone)["digest"])


def test_a_policy_that_fails_leaves_the_others(gigawatt: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(FAILS)
    code, out, err = gigawatt(f"{COMPARE} --seeds 1 --json --policy-option {bad}:plan.after=1 --policies easy,{bad}:plan")
    assert code == 1
    found = json.loads(out)
    assert [run["policy"] for run in found["runs"]] == ["easy"]
    assert found["failed"][0]["policy"] == f"{bad}:plan"
    assert "line 2: RuntimeError: no idea" in found["failed"][0]["error"]
    assert "gigawatt: error: 1 of 2 runs failed" in err


def test_a_trace_is_cut_into_windows(gigawatt: Run) -> None:
    code, out, err = gigawatt(f"compare laptop {TRACE} --trace-option from=0 --trace-option until=1800 --windows 15m --policies fifo,easy "
        "--actors inline --quiet --json")  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert [(run["window"], run["jobs"]["finished"]) for run in found["runs"]] == [("0 to 900", 5)] * 2 + [("900 to 1800", 3)] * 2
    assert {row["replicates"] for row in found["metrics"] if row["metric"] == "wait_seconds.mean"} == {2}


def test_seeds_of_a_trace_come_with_a_word_of_warning(gigawatt: Run) -> None:
    code, out, err = gigawatt(f"compare laptop {TRACE} --seeds 2 --policies fifo --actors inline --quiet --json")
    assert (code, len(json.loads(out)["runs"])) == (0, 2)
    assert "a trace is the same for every seed" in err


def test_windows_of_traces_that_differ(gigawatt: Run, tmp_path: Path) -> None:
    for name, until in (("a", 1800), ("b", 2700)):
        text = (ROOT / "examples/two-racks.yaml").read_text().replace("name: two-racks", f"name: {name}")
        trace = f"{{kind: trace, path: {ROOT}/examples/jobs.csv, format: csv, options: {{from: 0, until: {until}}}}}"
        (tmp_path / f"{name}.yaml").write_text(f"{text}\nworkload: {trace}\n")
    code, _, err = gigawatt(f"compare {tmp_path}/a.yaml {tmp_path}/b.yaml --policies fifo --windows 15m")
    assert code == 2
    assert "the scenarios' traces have other options from and until" in err


def test_interrupted_it_shows_what_has_run(gigawatt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    every = Runs.__iter__

    def two(runs: Runs) -> Iterator[tuple[int, Ran | Failed]]:
        for number, ended in enumerate(every(runs), start=1):
            yield ended
            if number == 2:
                runs.stop()

    monkeypatch.setattr(Runs, "__iter__", two)
    code, out, err = gigawatt(f"{COMPARE} --policies fifo,easy --seeds 3 --json")
    found = json.loads(out)
    assert (code, found["interrupted"], len(found["runs"])) == (130, True, 2)
    assert "interrupted: the figures cover the 2 runs that ended" in err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "Missing option '--policies'"),
        ("--policies easy,ffo", "there is no policy 'ffo', did you mean fifo?"),
        ("--policies easy,", "has an empty name"),
        ("--policies easy,easy", "has easy twice"),
        ("--policies easy --placements tpology", "there is no placement 'tpology'"),
        ("--policies easy --placements spread,random --placement-option spread.x=1", "placement spread has no option 'x'"),
        ("--policies easy --placement-option x=1", "placement topology has no option 'x'"),
        ("--policies easy --policy-option x=1", "policy easy has no option 'x'"),
        ("--policies easy --policy-option sjf.x=1", "is an option of sjf, which is not compared; allowed: KEY, easy.KEY"),
        ("--policies easy --seeds 0", "'0' names no seeds"),
        ("--policies easy --seeds 1,1", "'1,1' names no seeds"),
        ("--policies easy --windows 7d", "the work is not from a trace"),
        ("--policies easy --actors 0", "is not a number of actors"),
        ("laptop --policies easy", "laptop is given twice"),
        (f"--policies easy {TRACE} --windows 7d", "from is not given"),
        (f"--policies easy {TRACE} --windows 7d --seeds 2", "allowed: one of the two"),
    ],
)
def test_what_is_refused(gigawatt: Run, line: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_run(runs: Any) -> Iterator[tuple[int, Cell]]:
        raise AssertionError("it has begun")

    monkeypatch.setattr(Runs, "__iter__", not_run)
    code, out, err = gigawatt(f"compare laptop {line}")
    assert (code, out) == (2, "")
    assert words in err


def test_two_files_of_the_same_name_are_told_apart(gigawatt: Run, tmp_path: Path) -> None:
    text = (ROOT / "examples/two-racks.yaml").read_text()
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(text)
    code, out, _ = gigawatt(f"compare {tmp_path}/a.yaml {tmp_path}/b.yaml --policies fifo --seeds 1 --until 10m --actors inline -q --json")
    assert code == 0
    assert [run["scenario"] for run in json.loads(out)["runs"]] == [f"{tmp_path}/a.yaml", f"{tmp_path}/b.yaml"]
