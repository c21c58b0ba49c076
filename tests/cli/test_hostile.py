"""What is wrong with the input is said in one line, with the place and what is allowed; never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]

#: Command line, and what the message must hold.
WRONG = {
    "unknown preset": ("run nope", ["nope", "colossus", "laptop"]),
    "missing scenario file": ("run ./missing.yaml", ["missing.yaml", "No such file"]),
    "directory as scenario": ("run /tmp/", ["/tmp", "directory"]),
    "no scenario": ("run", ["SCENARIO"]),
    "set without =": ("run laptop --set foo", ["--set", "foo", "key=value"]),
    "set of an unknown section": ("run laptop --set nope.x=1", ["nope", "unknown key", "cluster"]),
    "set of an unknown key": ("run laptop --set clock.cicle=1s", ["--set clock.cicle=1s", "cycle"]),
    "set of a bad value": ("run laptop --set clock.cycle=soon", ["--set clock.cycle=soon", "duration"]),
    "set of a wrong type": ("run laptop --set seed=abc", ["--set seed=abc", "integer"]),
    "set of a size that no host has": ("run laptop --set cluster.gpus=7", ["gpus is 7", "multiple of 8"]),
    "bad until": ("run laptop --until soon", ["--until", "soon", "24h"]),
    "until of nothing": ("run laptop --until 0s", ["--until", "more than 0"]),
    "negative until": ("run laptop --until=-1h", ["--until", "-1h"]),
    "endless until": ("run laptop --until 999999999999d", ["--until", "century"]),
    "unknown policy": ("run laptop --policy magic", ["--policy magic", "fifo", "easy"]),
    "unknown placement": ("run laptop --placement magic", ["--placement magic", "consolidate"]),
    "negative seed": ("run laptop --seed -1", ["--seed -1", "greater than or equal to 0"]),
    "seed that is no number": ("run laptop --seed x", ["--seed", "integer"]),
    "no actors": ("run laptop --actors 0", ["--actors", "auto, inline"]),
    "half an actor": ("run laptop --actors 1.5", ["--actors", "auto, inline"]),
    "Ray for nobody": ("run laptop --actors inline --address auto", ["--address", "inline"]),
    "missing trace": ("run laptop --trace missing.csv --format philly", ["--trace", "missing.csv", "does not exist"]),
    "directory as trace": ("run laptop --trace /tmp --format philly", ["--trace", "/tmp", "directory"]),
    "trace without format": ("run laptop --trace {trace}", ["--trace", "--format", "philly"]),
    "unknown trace format": ("run laptop --trace {trace} --format tarot", ["--format", "tarot", "philly", "swf"]),
    "format without trace": ("run laptop --format philly", ["--format", "--trace"]),
    "trace option without =": ("run laptop --trace {trace} --format philly --trace-option x", ["--trace-option", "key=value"]),
    "output below nothing": ("run laptop -o /nope/out", ["-o", "/nope"]),
    "output that is a file": ("run laptop -o {trace}", ["-o", "file"]),
    "output that cannot be written": ("run laptop -o /proc/out", ["-o", "/proc/out"]),
    "unknown option": ("run laptop --frobnicate", ["--frobnicate"]),
    "unknown command": ("frobnicate", ["frobnicate"]),
    "bad speed": ("up laptop --speed fast", ["--speed", "fast", "max"]),
    "backward speed": ("up laptop --speed -1", ["--speed", "-1", "0.000001"]),
    "no such port": ("up laptop --port 70000", ["--port", "70000", "65535"]),
    "not this machine's address": ("up laptop --host 192.0.2.1", ["--port", "192.0.2.1"]),
    "bad for": ("up laptop --for ever", ["--for", "ever"]),
    "topology of nothing": ("topology show nope", ["nope", "colossus"]),
    "unknown output": ("presets -o xml", ["xml", "json"]),
    "bad address": ("queue list --api http://x/", ["--api", "host:port"]),
    "job without GPUs": ("job submit", ["--gpus", "1 or more"]),
    "job with a bad duration": ("job submit --gpus 8 --duration long", ["--duration", "long"]),
    "fault that keeps a rack": ("fault inject rack 1 --remaining 0.5", ["--remaining", "link"]),
    "speed that is no number": ("clock speed fast", ["fast", "max"]),
    "negative job": ("job get -- -5", ["ID", "0"]),
    "no steps": ("clock step 0", ["CYCLES", "1"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_exit_2_and_one_line(gigawatt: Run, tmp_path: Path, name: str) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("timestamp,duration,num_gpus\n")
    line, shown = WRONG[name]
    code, out, err = gigawatt(line.format(trace=trace))
    assert (code, out) == (2, "")
    assert err.startswith("gigawatt: error: ")
    assert err.count("\n") == 1
    assert [text for text in shown if text not in err] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "not a scenario"),
        ("- 1\n", "not a scenario"),
        ("name: [\n", "bad YAML"),
        ("name: x\ncluster: {hosts: 1, hosts: 2}\n", "given twice"),
        ("name: x\ncluster:\n  hosts: many\n", "3: cluster.hosts"),
        ("name: x\ncluster:\n  gpus: 8\nclok: {}\n", "4: clok"),
        ("name: x\n", "cluster: missing"),
        ("\x00\x01", "bad YAML"),
    ],
)
def test_a_malformed_scenario_names_file_and_line(gigawatt: Run, tmp_path: Path, text: str, shown: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    code, out, err = gigawatt("topology show", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{path}:" in err
    assert shown in err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gpus: eight\n", "gpus: 'eight' is not a whole number"),
        ("gpus: true\n", "gpus: True is not a whole number"),
        ("gpus: 8\nnodes: 1\n", "nodes: unknown; allowed: gpus"),
        ("gpus: 8\nduration: 3600\n", "duration: 3600 is not a duration"),
        ("gpus: 8\ntraining: 5\n", "training: 5 is not a mapping"),
        ("gpus: 8\ntraining: {layres: 5}\n", "training.layres: unknown; allowed: name"),
        ("[8]\n", "holds no mapping"),
        ("{", "neither JSON nor YAML"),
        ("", "holds no mapping"),
    ],
)
def test_a_malformed_job_file_names_the_word(gigawatt: Run, tmp_path: Path, text: str, shown: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    code, out, err = gigawatt("job submit --file", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(path) in err
    assert shown in err


def test_a_fault_of_ours_is_one_line_and_debug_shows_it(gigawatt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("on\npurpose")

    monkeypatch.setattr("emulator.scenario.presets", broken)
    code, _, err = gigawatt("presets")
    assert (code, err.count("\n")) == (1, 1)
    assert "RuntimeError: on purpose" in err
    code, _, err = gigawatt("--debug presets")
    assert code == 1
    assert "Traceback" in err
    assert gigawatt("presets")[2].count("\n") == 1, "the next command line is asked anew"


def run_program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "emulator.cli", *arguments],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_program_itself() -> None:
    failed = run_program("run", "nope")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("gigawatt: error: no scenario called 'nope'")
    assert "\x1b" not in run_program("presets", NO_COLOR="1").stdout


def test_a_reader_that_goes_away_is_no_error_message() -> None:
    done = subprocess.run(
        f"{sys.executable} -m emulator.cli presets -o json | true",
        shell=True, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    heavy = {"ray", "numpy", "grpc", "pyarrow", "networkx", "yaml"}
    code = f"import sys; from emulator.cli import main; main(['run', '--help']); print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
