"""The tables of names and of faults in docs/cli.md, on the preset that the page names (tests/docs runs the page's commands)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.cli.faults import Target
from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.scenario.load import load
from emulator.service.server import serve
from tests.cli.conftest import Run

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
PRESET = "superpod-b200"
#: The targets as the page has them.
IN_ORDER = (
    *(Target.PROCESS, Target.GPU, Target.HOST, Target.TRAY, Target.SUSPECT, Target.SLOW, Target.RACK, Target.LEAF, Target.COOLING_UNIT),
    *(Target.POWER_FEED, Target.SWITCH_TRAY, Target.BACKPLANE, Target.TRUNK, Target.CABLE, Target.LINK, Target.SWITCH, Target.PLANE),
    Target.NIC,
)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    session = open_session(load(PRESET, ["workload.kind=none", "faults.enabled=false", "runtime.actors=inline"]))
    session.pause()
    session.start()
    server = serve(session, "127.0.0.1:0", host_type=session.host_type, host_types=session.host_types)
    monkeypatch.setenv("GIGAWATT_API", server.address)
    yield session
    server.stop()
    session.close()


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without marks of code."""
    lines = PAGE[PAGE.index(f"\n{heading}\n") :].split("\n\n|", 1)[1].split("\n\n", 1)[0].splitlines()
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_names_are_those_of_the_preset(gigawatt: Run, session: Session) -> None:
    gigawatt("job submit --gpus 8 --duration 1h --name pretrain")
    verbs = {
        "rack": "rack get",
        "host": "host get",
        "hosts": "host list",
        "trunk": "link get",
        "job": "job get",
        "switch": "fault inject switch",
        "switch of a bank": "fault inject switch",
        "cable": "fault inject cable",
        "NIC": "fault inject nic",
        "plane": "fault inject plane",
    }
    rows = {what: name for what, _, name in table("### Names")}
    assert set(rows) - set(verbs) == {"site", "scale-up domain of several hosts", "pod, or group of a dragonfly"}
    for what, verb in verbs.items():
        code, out, err = gigawatt(verb, rows[what])
        assert (code, err) == (0, ""), what
        assert rows[what] in out or what in ("hosts", "plane"), (what, out)
    assert json.loads(gigawatt("rack get r00012 -o json")[1])["site"] == rows["site"]


def test_the_faults_do_what_the_table_says(gigawatt: Run, session: Session) -> None:
    rows = table("### Faults")
    assert [name for target, _, _ in rows for name in target.split(", ")] == [target.value for target in IN_ORDER]
    for target, name, _ in rows:
        for given in re.findall(r"(?:^|hostlist )((?:[rls0]|cooling|feed)[^ ,]*)", name):
            code, out, err = gigawatt(f"fault inject {target.split(', ')[0]}", given)
            assert (code, err) == (0, ""), (target, given)
            assert re.search(r" (is down|fails|has 75% of its speed|at the earliest) at 0 s for 3600 s", out), (target, out)
