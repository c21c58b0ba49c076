"""Policies of others on the command line: from an empty folder, with their mistakes told and what ran written."""

import json
from pathlib import Path

import pytest

from emulator.scheduler.policies import POLICIES
from tests.cli.conftest import Run
from tests.integration.program import ROOT

RUN = "run laptop --until 2h --actors inline --quiet"
IN_TURN = """
def plan(draft):
    for job in draft.waiting():
        if not draft.try_start(job):
            return
"""
LATE = """
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.placement import Placement
from emulator.scheduler.placements import PLACEMENTS

def place(free, ask):
    return PLACEMENTS["topology" if ask.job_id < 60 else "{name}"].place(free, ask)

counted = Placement("", place, PLACEMENTS["{name}"].scorer)
"""


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_that_mirrors_fifo_has_its_digest(gigawatt: Run, empty: Path) -> None:
    (empty / "mine.py").write_text(IN_TURN)
    mine, fifo = (json.loads(gigawatt(f"{RUN} --json --policy", policy)[1]) for policy in ("mine.py:plan", "fifo"))
    assert mine["digest"] == fifo["digest"]
    assert (mine["policy"], fifo["policy"]) == ("mine.py:plan", "fifo")


@pytest.mark.parametrize("name", ["fgd", "gpu-clustering"])
def test_a_placement_that_asks_one_of_the_shelf_has_its_digest(gigawatt: Run, empty: Path, name: str) -> None:
    """Those look at the tasks on hosts and at all that has arrived: both are counted for a placement from a file, too."""
    (empty / "late.py").write_text(LATE.format(name=name))
    of_file, of_scorer = (json.loads(gigawatt(f"{RUN} --json --placement", f"late.py:{one}")[1])["digest"] for one in ("place", "counted"))
    assert of_file == of_scorer


def test_the_example_with_its_option(gigawatt: Run) -> None:
    code, out, _ = gigawatt(f"{RUN} --json --policy-option patience_hours=0.1 --policy", f"{ROOT}/examples/saf.py:plan")
    assert code == 0
    assert json.loads(out)["jobs"]["started"] > 0


def test_mistakes_before_the_run(gigawatt: Run, empty: Path) -> None:
    (empty / "mine.py").write_text(IN_TURN)
    unknown = (
        "--policy fido: scheduler.policy: there is no policy 'fido', did you mean fifo?; "
        f"allowed: {', '.join(POLICIES)}, FILE.py:FUNCTION, or grpc://HOST:PORT"
    )
    for options, told in (
        ("--policy mine.py:plan --policy-option a=1", "policy mine.py:plan has no option 'a'; it has none"),
        ("--policy other.py:plan", "policy other.py:plan: other.py cannot be read: No such file or directory; allowed: a Python file"),
        ("--policy fido", unknown),
        ("--policy-option a", "--policy-option: 'a' is not a pair; allowed: key=value"),
    ):
        code, out, err = gigawatt(f"{RUN} {options}")
        assert (code, out) == (2, "")
        assert err.startswith(f"gigawatt: error: {told}")


def test_a_mistake_in_the_run(gigawatt: Run, empty: Path) -> None:
    (empty / "mine.py").write_text(IN_TURN.replace("return", "return 1 / 0"))
    code, out, err = gigawatt(f"{RUN} -o out --policy mine.py:plan")
    assert code == 1
    assert err.endswith("gigawatt: error: the emulation ended early: policy mine.py:plan, line 5: ZeroDivisionError: division by zero\n")
    summary = json.loads((empty / "out" / "summary.json").read_text())
    assert summary["interrupted"]
    assert summary["jobs"]["running"] > 0
    assert "policy mine.py:plan" in out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (
            "grpc://localhost:1",
            1,
            "policy grpc://localhost:1: nothing answers at localhost:1: the connection is refused; allowed: a program",
        ),
        ("grpc://localhost", 2, "'grpc://localhost' is no address of a policy; allowed: grpc://HOST:PORT, e.g. grpc://localhost:50051"),
        ("grpc://localhost:65536", 2, "allowed: grpc://HOST:PORT"),
        ("grpc://a:1 --policy-option deadline=0s", 2, "option deadline: 0s is not allowed; allowed: more than 0, up to 24h"),
        ("grpc://a:1 --policy-option deadline=soon", 2, "option deadline: 'soon' is not a duration"),
        ("grpc://a:1 --policy-option fallback=best", 2, "option fallback: there is no policy 'best'; allowed: carbon-aware, "),
    ],
)
def test_a_program_that_cannot_be_had(gigawatt: Run, words: str, code: int, told: str) -> None:
    ended, out, err = gigawatt(f"{RUN} --policy {words}")
    assert (ended, out) == (code, "")
    assert told in err
    assert err.startswith("gigawatt: error: ")
    assert err.count("\n") == 1
