"""``gigawatt topology export``, ``import`` and ``check``."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Run
from topology.formats import FORMATS

_EXAMPLES = Path(__file__).parents[1] / "topology" / "formats" / "examples"


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    path = tmp_path / "topology.conf"
    path.write_text((_EXAMPLES / "slurm" / "guide-1.conf").read_text())
    return path


def test_a_users_cluster_runs_like_a_preset(gigawatt: Run, cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = cluster.parent / "mine.yaml"
    code, out, err = gigawatt("topology import --host hgx-h200 -o", scenario, cluster)
    assert (code, out) == (0, "")
    assert "8 hosts, 64 GPUs, leaf units: 4, pods: 2" in err
    assert "Assumed: host hgx-h200" in err
    written = yaml.safe_load(scenario.read_text())["cluster"]
    assert written["path"] == "topology.conf"  # seen from the scenario's folder
    (cluster.parent / "elsewhere").mkdir()
    monkeypatch.chdir(cluster.parent / "elsewhere")
    code, out, _ = gigawatt("topology show -o json", scenario)
    assert code == 0
    shown = json.loads(out)
    assert (shown["gpus"], shown["switches"]) == (64, {"leaf": 4, "spine": 2, "core": 1})
    assert any("hgx-h200" in sentence for sentence in shown["assumptions"])
    code, out, err = gigawatt("run --until 30m --actors inline --json -q", scenario)
    assert (code, err) == (0, "")
    assert json.loads(out)


def test_the_power_shown_is_that_of_hosts_and_switches_as_in_the_picture(gigawatt: Run, tmp_path: Path) -> None:
    """Of colossus: 12,500 hosts of at most 8.4 kW and 3,920 switches of 940 W, at a PUE of 1.2; the picture has it in MW."""
    picture = tmp_path / "colossus.svg"
    power = json.loads(gigawatt("topology show colossus -o json --picture", picture)[1])["power"]
    assert power["switch_watts"] == 3_920 * 940
    assert power["measured_maximum_watts"] == 12_500 * 8_400 + 3_920 * 940
    assert power["facility_maximum_watts"] == pytest.approx(1.2 * power["measured_maximum_watts"])
    assert power["rated_watts"] - power["idle_watts"] == pytest.approx(12_500 * (10_200 - 1_900))
    assert "at most 109 MW, the facility 130 MW" in picture.read_text()


def test_counts_of_a_table_are_for_reading(gigawatt: Run) -> None:
    code, out, _ = gigawatt("topology show colossus")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["host", "12,500"] in rows
    assert ["rack", "1,563"] in rows


@pytest.mark.parametrize("form", FORMATS)
def test_export_says_what_is_lost_and_is_imported_again(gigawatt: Run, form: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    code, out, err = gigawatt(f"topology export laptop --format {form} -o", path)
    assert (code, out) == (0, "")
    assert ("does not hold" in err) == (form not in ("node-link", "graphml"))
    assert gigawatt(f"topology export laptop --format {form}")[1] == path.read_text()
    code, out, err = gigawatt("topology import --switch qm9700 --hosts-per-rack 4", path)
    assert code == 0
    assert yaml.safe_load(out)["cluster"]["format"] == form
    assert "32 hosts, 256 GPUs" in err


def test_check(gigawatt: Run, cluster: Path) -> None:
    code, out, err = gigawatt("topology check laptop")
    assert (code, out, err) == (0, "", "gigawatt: laptop: nothing is odd\n")
    assert gigawatt("topology check laptop -o json")[:2] == (0, "[]\n")
    code, out, err = gigawatt("topology check -o json", cluster)
    assert (code, err) == (0, "")
    assert {"kind": "note", "about": "single point of failure", "finding": "2 pod units of 2 have one switch above: s6."} in json.loads(out)


def test_check_fails_where_it_cannot_run(gigawatt: Run, tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    gigawatt("topology export laptop -o", path)
    text = json.loads(path.read_text())
    text["nodes"].append({"id": "spare", "tier": "leaf"})
    path.write_text(json.dumps(text))
    code, out, err = gigawatt("topology check -o json", path)
    assert (code, json.loads(out)[0]["finding"]) == (1, "spare has no host below.")
    assert err == f"gigawatt: error: {path}: 1 error\n"


@pytest.mark.parametrize(
    ("line", "code", "problem"),
    [
        ("topology import nothing.conf", 3, "nothing.conf: there is no such file"),
        ("topology check nothing.conf", 3, "there is no such file"),
        ("topology export laptop --format toml", 2, "allowed: node-link, graphml"),
        ("topology export nosuch", 2, "no scenario called 'nosuch'"),
        ("topology import {cluster} --format toml", 2, "is not a format"),
        ("topology import {cluster} --host hgx-h1000", 2, "--host: no host called 'hgx-h1000', did you mean hgx-h100"),
        ("topology import {cluster} --hosts-per-rack 0", 2, "allowed: 1 or more"),
        ("topology import {cluster} --host gb200-nvl72 --hosts-per-rack 8", 2, "not whole domains of 18"),
        ("topology import {cluster} --format slurm-yaml", 2, "topology.conf:"),
        ("topology import {cluster} -o {cluster}", 2, "is the file that is read"),
        ("topology import {cluster} -o /nowhere/x.yaml", 1, "cannot be written"),
        ("topology import .", 2, "it is a directory"),
    ],
)
def test_errors(gigawatt: Run, cluster: Path, line: str, code: int, problem: str) -> None:
    got, out, err = gigawatt(line.format(cluster=cluster))
    assert got == code, err
    assert problem in err
    assert err.count("\n") == 1
    assert out == ""


def test_a_scenario_of_a_bad_file_says_where(gigawatt: Run, cluster: Path) -> None:
    scenario = cluster.parent / "mine.yaml"
    gigawatt("topology import -o", scenario, cluster)
    cluster.write_text(cluster.read_text().replace("tux[2-3]", "tux[2-"))
    code, _, err = gigawatt("topology show", scenario)
    assert code == 2
    assert f"{cluster}:4: '[' without ']'" in err
