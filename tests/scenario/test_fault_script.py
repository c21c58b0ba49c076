"""Faults that a scenario says one by one: in the scenario, in a script, in a log of failures."""

from pathlib import Path

import pytest

from emulator.engine.commands import BreakHosts, CutLinks
from emulator.engine.fault_requests import Asking
from emulator.racks.faults import CAUSES, INJECTED, Scope
from emulator.racks.units import RACKS_EACH
from emulator.runtime.opening import open_session
from emulator.scenario import Scenario, build_cluster
from emulator.scenario.fault_script import FaultScript, fault_script
from emulator.scenario.files import as_json, files_of
from emulator.scenario.load import ScenarioError, load
from emulator.workload.jobs import SECOND

HOUR = 3600 * SECOND
TEXT = """
name: scripted
cluster: {host: hgx-h100, hosts: 8, hosts_per_rack: 4, switch: qm9700}
clock: {cycle: 10s, until: 2h}
workload: {kind: none}
runtime: {actors: inline}
faults:
  enabled: false
"""


#: As `sacctmgr -P show event` prints it.
SACCTMGR = """Cluster|NodeName|TimeStart|TimeEnd|State|Reason|User
c||2024-01-01T00:00:00|2024-01-01T01:00:00||Cluster registered TRES|slurm(1)
c|r00001-h02|2024-01-01T02:00:00|2024-01-01T03:30:00|DOWN*|Not responding|slurm(1)
c|r00000-h00|2024-01-01T02:00:10|Unknown|DRAIN|gpu_hbm3_memory|root(0)
"""


def scenario(tmp_path: Path, script: str = "", rows: str | bytes | None = None, *more: str) -> Scenario:
    path = tmp_path / "scenario.yaml"
    if rows is not None:
        (tmp_path / "faults.csv").write_bytes(rows.encode() if isinstance(rows, str) else rows)
        script = "faults.csv"
    path.write_text(f"{TEXT}  script: {script}\n" if script else TEXT)
    return load(path, list(more))


def script_of(made: Scenario) -> FaultScript:
    return fault_script(made, Asking(build_cluster(made), made.clock.cycle, RACKS_EACH))


def told(script: FaultScript) -> list[tuple[int, str, str, int]]:
    """(seconds, target, name, seconds) of each."""
    return [
        (
            at_ns // SECOND,
            command.target,
            command.name,
            (command.repair_ns if isinstance(command, BreakHosts) else command.duration_ns) // SECOND,
        )
        for at_ns, command in script.commands
    ]


def test_a_list_in_the_scenario(tmp_path: Path) -> None:
    script = script_of(
        scenario(
            tmp_path,
            """
    - {at: 1h, kind: power-feed, name: 0, duration: 2h, cause: power_supply}
    - {at: 10m, kind: gpu, name: "r00001-h03#7"}
    - {at: 10m, kind: cable, name: leaf-00000/spine-00000#3, remaining: 0.5, duration: 5m}
    - {at: 0s, kind: switch, name: 1, flap: 2s, every: 30s, duration: 5m}""",
        )
    )
    assert told(script) == [
        (0, "switch", "leaf-00001", 300),
        (600, "gpu", "r00001-h03#7", 3600),
        (600, "cable", "leaf-00000/spine-00000#3", 300),
        (3600, "power_feed", "feed-00000", 7200),
    ]
    gpu, feed = script.commands[1][1], script.commands[3][1]
    assert isinstance(gpu, BreakHosts)
    assert isinstance(feed, BreakHosts)
    assert (gpu.scope, gpu.gpu, gpu.cause) == (Scope.GPU, 7, INJECTED)
    assert (feed.first_host, feed.end_host, CAUSES[feed.cause].name) == (0, 8, "power_supply")
    flap = script.commands[0][1]
    assert isinstance(flap, CutLinks)
    assert (flap.flap_ns, flap.every_ns) == (2 * SECOND, 30 * SECOND)


def test_a_script_in_a_file_says_the_same(tmp_path: Path) -> None:
    rows = """time,kind,name,cause,duration,remaining,flap,every
1h,power-feed,0,power_supply,2h,,,
600,gpu,r00001-h03#7,,,,,
10m,cable,leaf-00000/spine-00000#3,,300,0.5,,
0,switch,1,,5m,,2s,30s
"""
    made = scenario(tmp_path, rows=rows)
    assert told(script_of(made)) == [
        (0, "switch", "leaf-00001", 300),
        (600, "gpu", "r00001-h03#7", 3600),
        (600, "cable", "leaf-00000/spine-00000#3", 300),
        (3600, "power_feed", "feed-00000", 7200),
    ]
    assert files_of(made) == [tmp_path / "faults.csv"]
    assert Scenario.model_validate(as_json(made)).faults.script_file == str(tmp_path / "faults.csv")


@pytest.mark.parametrize(
    ("rows", "more", "expected"),
    [
        ("node,start,end\n3,100,400\nr00001-h00,50,80\n", (), [(50, "r00001-h00", 30), (100, "r00000-h03", 300)]),
        ("Hostname;Started;Repaired\n3;2h;3h\n", (), [(7200, "r00000-h03", 3600)]),
        (
            "node,start,end,cause\n1,2024-01-01 12:00:00,2024-01-01T13:00:00Z,dimm\n2,2024-01-01 11:59:00,2024-01-02,ssd\n",
            (),
            [(0, "r00000-h02", 43_260), (60, "r00000-h01", 3600)],
        ),
        (
            "node,start,end\n1,1704110400,1704114000\n2,1704106800,1704110500\n0,1704100000,1704100001\n",
            ("faults.script_from='2024-01-01 12:00:00'",),
            [(0, "r00000-h01", 3600), (0, "r00000-h02", 100)],
        ),
        (
            SACCTMGR,
            (),
            [(0, "r00001-h02", 5400), (10, "r00000-h00", 315_360_000)],
        ),
        ("node,start,end\n7,5,\n", (), [(5, "r00001-h03", 315_360_000)]),
    ],
)
def test_a_log_of_failures(tmp_path: Path, rows: str, more: tuple[str, ...], expected: list[tuple[int, str, int]]) -> None:
    script = script_of(scenario(tmp_path, "", rows, *more))
    assert [(at, name, seconds) for at, _, name, seconds in told(script)] == expected
    assert script.source is not None
    assert (script.source.kept, script.source.as_dict()["read"]) == (len(expected), rows.count("\n") - 1)
    assert script.source.dropped == ({"of no node": 1} if "||" in rows else {"over before the start": 1} if "1704100001" in rows else {})
    if "dimm" in rows:
        assert script.source.as_dict()["notes"] == [
            "time counts from 2024-01-01T11:59:00, the first failure; faults.script_from says otherwise",
            "1 of the kept rows: of causes that are not ours, which count as injected",
        ]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "faults.csv: the file is empty"),
        ("what,when\n", "faults.csv:1: node: the header lacks this column"),
        ("time,kind\n", "faults.csv:1: name: the header lacks this column"),
        ("time,kind,name\n1s,host\n", "faults.csv:2: 2 fields"),
        ("time,kind,name\nsoon,host,0\n", "faults.csv:2: time: 'soon' is not a time"),
        ("time,kind,name\n-5,host,0\n", "faults.csv:2: time: '-5' is not a time"),
        ("time,kind,name\n1e99,host,0\n", "faults.csv:2: time: '1e99'"),
        ("time,kind,name\n\n0,moon,0\n", "faults.csv:3: kind: target is 'moon'"),
        ("time,kind,name\n0,host,8\n", "faults.csv:2: name: no host 8"),
        ("time,kind,name,cause\n0,host,0,luck\n", "faults.csv:2: cause: cause is 'luck'"),
        ("time,kind,name,duration\n0,host,0,0\n", "faults.csv:2: duration: a fault lasts for no time"),
        ("time,kind,name,duration\n0,host,0,11000d\n", "faults.csv:2: duration: duration is"),
        ("time,kind,name,remaining\n0,host,0,0.5\n", "faults.csv:2: remaining: a host does not break in part"),
        ("time,kind,name,remaining\n0,link,0,2\n", "faults.csv:2: remaining: '2' is out of range"),
        ("time,kind,name,flap\n0,link,0,2s\n", "faults.csv:2: flap: down for 2 s every 0 s"),
        ("node,start,end\n0,10,5\n", "faults.csv:2: end: '5' is not after the start"),
        ("node,start,end\n99,10,50\n", "faults.csv:2: node: no host 99"),
        ("node,node,start\n0,0,1\n", "faults.csv:1: node: the column appears twice"),
        (b"node,start\n\xff\xfe,1\n", "faults.csv:2: not text"),
        (b"node,start\n0\0,1\n", "NUL"),
    ],
)
def test_a_wrong_file_is_refused_by_line_and_field(tmp_path: Path, rows: str | bytes, words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        script_of(scenario(tmp_path, rows=rows))
    assert words in str(error.value)
    assert "faults.script" in str(error.value)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("[{kind: host, name: 0}]", "faults.script.0.at: missing"),
        ("[{at: 1, kind: host, name: 0}]", "not a duration"),
        ("[{at: 1s, kind: host, name: 99}]", "faults.script.0.name: no host 99"),
        ("[{at: 1s, kind: moon, name: 0}]", "faults.script.0.kind: target is 'moon'"),
        ("[{at: 1s, kind: host, name: 0, cause: luck}]", "faults.script.0.cause"),
        ("[{at: 1s, kind: host, name: 0, flap: 1s}]", "flap and every go together"),
        ("[{at: 1s, kind: host, name: 0, duration: 0s}]", "duration"),
        ("[{at: 1s, kind: host, name: 0, moon: 1}]", "unknown key"),
        ("7", "script"),
        ("nowhere.csv", "cannot be read"),
        ("''", "script"),
    ],
)
def test_a_wrong_script_is_refused(tmp_path: Path, script: str, words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        script_of(scenario(tmp_path, script))
    assert words in str(error.value)


def test_a_start_that_is_no_date(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="script_from is 'soon'"):
        script_of(scenario(tmp_path, "", "node,start,end\n0,1,2\n", "faults.script_from=soon"))


def test_a_script_acts_as_what_is_injected_at_its_times(tmp_path: Path) -> None:
    made = open_session(scenario(tmp_path, "[{at: 15s, kind: rack, name: r00001, duration: 25s}, {at: 1h, kind: gpu, name: 0}]"))
    made.pause()
    made.start()
    made.step(2)
    assert made.faults() == []
    made.step(1)
    assert [(fault.name, fault.since_seconds, fault.until_seconds) for fault in made.faults()] == [("r00001", 20.0, 45.0)]
    made.step(3)
    assert made.faults() == []
    made.set_speed(float("inf"))
    made.resume()
    made.wait()
    assert made.snapshot().faults["injected"] == 5
    made.close()
