"""What a table prints can be pasted into the next command, and a list that is cut says so."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.scenario.load import load
from emulator.service.server import serve
from tests.cli.conftest import Run

Line = Callable[..., str]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    session = open_session(load("laptop", ["workload.kind=none", "faults.enabled=false", "runtime.actors=inline"]))
    session.pause()
    session.start()
    server = serve(session, "127.0.0.1:0", host_type=session.host_type)
    monkeypatch.setenv("GIGAWATT_API", server.address)
    yield session
    server.stop()
    session.close()


@pytest.fixture
def run(gigawatt: Run, session: Session) -> Line:
    """A command line that has to work and has nothing to add on stderr: its stdout."""

    def run(line: str, *more: object) -> str:
        code, out, err = gigawatt(line, *more)
        assert (code, err) == (0, ""), (line, more, err)
        return out

    return run


def column(table: str, heading: str) -> list[str]:
    """The cells under ``heading``; columns are two or more spaces apart and cells have no such gap in them."""
    head, _, *rows = table.splitlines()
    place = re.split(r"\s{2,}", head.strip()).index(heading)
    return [re.split(r"\s{2,}", row.strip())[place] for row in rows if row.strip()]


def of(text: str) -> Any:
    return json.loads(text)


def test_racks_go_by_what_their_table_prints(run: Line) -> None:
    table = run("rack list")
    for rack in (column(table, "NAME")[-1], column(table, "RACK")[-1]):
        assert of(run(f"rack get {rack} -o json"))["name"] == "r00007"
        assert of(run(f"rack cordon {rack} -o json"))["cordoned"] is True
        run("clock step")
        assert {host["state"] for host in of(run(f"host list --rack {rack} -o json"))} == {"cordoned"}
        assert of(run(f"rack uncordon {rack} -o json"))["cordoned"] is False
        run("clock step")
    assert run("fault inject rack r00007 --for 1h") == "rack r00007 fails at 40 s for 3600 s\n"
    run("clock step")
    assert column(run("host list --state down"), "NAME") == [f"r00007-h0{place}" for place in range(4)]
    assert of(run("rack get 7 -o json"))["gpus_down"] == 32


def test_hosts_and_their_jobs(run: Line) -> None:
    job = of(run("job submit --gpus 40 --duration 1h --name five-hosts -o json"))["job_id"]
    run("clock step 2")
    held = of(run("job get five-hosts -o json"))["hosts"]
    rows = of(run("host list -o json", held))
    assert [row["job_ids"] for row in rows] == [[job]] * 5
    assert {row["gpus_busy"] for row in rows} == {8}
    assert column(run("host list", held), "JOBS") == [str(job)] * 5
    one = of(run(f"host get {rows[-1]['name']} -o json"))
    assert one == rows[-1]
    assert of(run(f"host get {one['host']} -o json")) == one
    watts = sum(row["power_watts"] for row in of(run(f"host list --rack {one['rack']} -o json")))
    assert of(run(f"rack get {one['rack']} -o json"))["power_watts"] == pytest.approx(watts)
    told = run("fault inject host --for 1h --", held).splitlines()
    assert [line.split(" fails")[0] for line in told] == [f"host {row['name']}" for row in rows]
    run("clock step")
    assert {(row["state"], row["power_watts"], len(row["job_ids"])) for row in of(run("host list -o json", held))} == {("down", 0.0, 0)}


def test_trunks_cables_switches_and_nics(run: Line, gigawatt: Run) -> None:
    """Each name that `link list` prints is one of a trunk, and has its cables, switches and NICs in it."""
    table = run("link list --tier leaf_spine --limit 3")
    names, numbers = column(table, "NAME"), column(table, "TRUNK")
    for name, number in zip(names, numbers, strict=True):
        by_name = run(f"link get {name} -o json")
        assert run(f"link get {number} -o json") == by_name
        assert of(by_name)["name"] == name
    trunk, cables = names[0], of(run(f"link get {names[0]} -o json"))["lanes"]
    lower, upper = trunk.split("/")
    assert run(f"fault inject trunk {trunk}") == f"trunk {trunk} is down at 0 s for 3600 s\n"
    assert run(f"fault inject link {names[1]}") == f"trunk {names[1]} is down at 0 s for 3600 s\n"
    assert run(f"fault inject link {names[2]}#0") == f"cable {names[2]}#0 is down at 0 s for 3600 s\n"
    assert run(f"fault inject cable {trunk}#{cables - 1}") == f"cable {trunk}#{cables - 1} is down at 0 s for 3600 s\n"
    run("clock step")
    down = column(run("link list --down"), "NAME")
    assert names == down
    whole = {name: of(run(f"link get {name} -o json"))["healthy_ratio"] for name in down}
    assert whole == {names[0]: 0.0, names[1]: 0.0, names[2]: pytest.approx(1 - 1 / cables)}
    assert run(f"fault inject switch {lower}").startswith(f"switch {lower} is down")
    code, _, err = gigawatt(f"fault inject switch {upper}")
    assert (code, f"{upper} is a bank of" in err) == (3, True)
    first = of(run("link list --limit 1 -o json"))[0]
    nic = first["name"].split("/")[0]
    assert run(f"fault inject nic {nic if ':' in nic else nic + ':0'}").startswith("NIC r00000-h00:0 is down")


def test_jobs_go_by_name(run: Line, gigawatt: Run) -> None:
    for name in ("twin", "twin", "alone", "with blanks in it"):
        run("job submit --gpus 8 --duration 1h --name", name)
    table = run("job list")
    ids = column(table, "ID")
    assert ids == [str(10**9 + place) for place in range(4)]  # as commands take them: nothing between the digits
    for word in ("alone", "with blanks in it"):
        got = of(run("job get -o json --", word))
        assert (got["name"], str(got["job_id"]) in ids) == (word, True)
        assert of(run("job explain -o json --", word))["job_id"] == got["job_id"]
    for verb in ("get", "cancel", "explain", "watch"):
        code, out, err = gigawatt(f"job {verb} twin")
        assert (code, out) == (2, ""), verb
        assert f"2 jobs are called 'twin'; allowed: an id, newest first: {ids[1]}, {ids[0]}" in err
        assert gigawatt(f"job {verb} nobody")[0] == 3
        assert gigawatt(f"job {verb}", "")[0] == 2 or verb == "watch"
    assert of(run(f"job get {ids[0]} -o json"))["name"] == "twin"
    assert of(run("job cancel alone -o json"))["name"] == "alone"
    run("clock step")
    code, out, err = gigawatt("job watch alone")
    assert (code, "(alone)  cancelled" in out, "cancelled" in err) == (1, True, True)
    run("job submit --gpus 256 --duration 1h --name all-of-it")
    run("job submit --gpus 256 --duration 1h --name behind-it")
    run("clock step")
    told = run("job explain behind-it")
    head = re.search(r"head_job_id +(\S+)", told)
    if head is not None:
        assert of(run(f"job get {head[1]} -o json"))["job_id"] == int(head[1])


def test_more_of_one_name_than_anybody_reads(run: Line, gigawatt: Run) -> None:
    for _ in range(12):
        run("job submit --gpus 8 --duration 1h --name same")
    code, _, err = gigawatt("job get same")
    assert (code, "12 jobs are called 'same'" in err) == (2, True)
    assert f"newest first: {10**9 + 11}, " in err
    assert "and 2 older ones" in err


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_a_list_that_is_cut_says_so(gigawatt: Run, session: Session, output: str) -> None:
    total = session.link_count()
    assert total > 100
    code, out, err = gigawatt(f"link list -o {output}")
    assert (code, err) == (0, f"gigawatt: 100 of {total:,} shown; --limit {total} shows all\n")
    rows = {"table": len(out.splitlines()) - 2, "json": out.count('"link":'), "yaml": out.count("link: ")}
    assert rows[output] == 100
    if output == "json":
        assert isinstance(of(out), list)
    for line in (f"link list --limit {total}", "link list --limit 3", "rack list", "host list", "link list --down", "job list"):
        code, _, err = gigawatt(f"{line} -o {output}")
        assert (code, err) == (0, ""), line


def test_filters_count_as_well(gigawatt: Run, run: Line, session: Session) -> None:
    tier = session.link_count(tier="host_leaf")
    assert tier > 100
    assert f"100 of {tier:,} shown" in gigawatt("link list --tier host_leaf")[2]
    for _ in range(101):
        run("job submit --gpus 8 --duration 1h")
    assert "100 of 101 shown" in gigawatt("job list")[2]
    assert gigawatt("job list --state running")[2] == ""


@pytest.mark.parametrize(
    ("line", "code", "shown"),
    [
        ("host get r00000-h04", 3, "no host r00000-h04; allowed: 0 to 31 by number, or a name like r00007-h03"),
        ("rack get r00008", 3, "no rack r00008; allowed: 0 to 7 by number, or a name like r00007"),
        ("rack cordon r00008", 3, "no rack r00008"),
        ("rack cordon 8", 3, "no rack 8"),
        ("link get leaf-00000/leaf-00001", 3, "no trunk leaf-00000/leaf-00001"),
        ("host list r00000-h[00-09]", 3, "no host r00000-h04"),
        ("host list r00000-h[00", 2, "allowed: a hostlist such as r00000-h[00-03]"),
        ("host list --rack r00009", 3, "no rack r00009"),
        ("host list --state happy", 2, "happy"),
        ("fault inject host r00000-h[02-09]", 3, "no host r00000-h04"),
        ("fault inject rack r[00007-00009]", 3, "no rack r00008"),
        ("queue get nowhere", 3, "no queue 'nowhere'"),
        ("host get", 2, "HOST"),
    ],
)
def test_names_of_nothing(gigawatt: Run, session: Session, line: str, code: int, shown: str) -> None:
    got, out, err = gigawatt(line)
    assert (got, out) == (code, ""), err
    assert shown in err
    assert session.hosts()[0][2].state == "healthy"  # nothing was broken on the way to the error


def test_the_cluster_counts_cables_and_trunks_apart(run: Line, session: Session) -> None:
    cluster = session.topology
    shown = of(run("cluster show -o json"))
    assert (shown["links"], shown["trunks"]) == (int(cluster.links.lanes.sum()), len(cluster.links))
    table = run("cluster show")
    assert re.search(rf"^cables +{shown['links']:,}\s*$", table, re.MULTILINE)
    assert re.search(rf"^trunks +{shown['trunks']:,}\s*$", table, re.MULTILINE)


TREE = """SwitchName=edge1 Nodes=tux[0-3]
SwitchName=edge2 Nodes=tux[4-7]
SwitchName=top Switches=edge[1-2]
"""


def test_names_of_an_imported_file(gigawatt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts, switches, trunks and NICs are called as the file calls them, and go by these names."""
    (tmp_path / "topology.conf").write_text(TREE)
    made = tmp_path / "mine.yaml"
    code, _, err = gigawatt("topology import", tmp_path / "topology.conf", "--host", "hgx-h100", "-o", made)
    assert code == 0, err
    session = open_session(load(str(made), ["workload.kind=none", "faults.enabled=false", "runtime.actors=inline"]))
    session.pause()
    session.start()
    server = serve(session, "127.0.0.1:0", host_type=session.host_type)
    monkeypatch.setenv("GIGAWATT_API", server.address)
    try:
        assert gigawatt("job submit --gpus 24 --duration 1h --name three")[0] == 0
        assert gigawatt("clock step 2")[0] == 0
        hosts = of(gigawatt("job get three -o json")[1])["hosts"]
        assert re.fullmatch(r"tux\[\d-\d\]", hosts)
        assert column(gigawatt("host list", hosts)[1], "BUSY") == ["8"] * 3
        assert column(gigawatt("host list")[1], "NAME") == [f"tux{number}" for number in range(8)]
        assert of(gigawatt("host get tux6 -o json")[1])["host"] == 6
        for name in column(gigawatt("link list")[1], "NAME"):
            assert of(gigawatt("link get -o json", name)[1])["name"] == name
        assert gigawatt("fault inject host tux6 --for 5m")[1].startswith("host tux6 fails at ")
        assert gigawatt("fault inject nic tux5:3 --for 5m")[1].startswith("NIC tux5:3 is down at ")
        trunk = column(gigawatt("link list --tier leaf_spine")[1], "NAME")[0]
        assert gigawatt(f"fault inject cable {trunk}#1 --for 5m")[1].startswith(f"cable {trunk}#1 is down at ")
        assert gigawatt("clock step")[0] == 0
        assert column(gigawatt("host list --state down")[1], "NAME") == ["tux6"]
        code, _, err = gigawatt("host get r00000-h00")
        assert (code, "no host r00000-h00; allowed: 0 to 7 by number, or a name like tux7" in err) == (3, True)
    finally:
        server.stop()
        session.close()
