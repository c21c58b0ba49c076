"""Files of others, end to end: ``topology import``, ``topology show``, ``run``, and a job that is too large."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.engine.errors import NeverFits
from emulator.runtime.opening import open_session
from emulator.scenario import load
from emulator.workload.jobs import LEVEL_NAMES, SECOND, job_columns
from tests.cli.conftest import Run

Shown = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def shown(gigawatt: Run, tmp_path: Path) -> Shown:
    """Import a text and show what came of it: the counts, and what import said."""

    def show(text: str | bytes, options: str = "") -> tuple[dict[str, Any], str]:
        path = tmp_path / "file"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        code, _, said = gigawatt(f"topology import {options} -o", tmp_path / "mine.yaml", path)
        assert code == 0, said
        code, out, err = gigawatt("topology show -o json", tmp_path / "mine.yaml")
        assert (code, err) == (0, "")
        return json.loads(out), said

    return show


def _graph(**more: Any) -> str:
    nodes = [{"id": "p", "tier": "endpoint"}, {"id": "q", "tier": "endpoint"}, {"id": "sw", "tier": "leaf"}]
    return json.dumps({"directed": False, "multigraph": False, "graph": {}, "nodes": nodes} | more)


@pytest.mark.parametrize(
    ("text", "links"),
    [
        (_graph(edges=[{"source": "p", "target": "sw", "lanes": 4.0}, {"source": "q", "target": "sw", "lanes": 2}]), 6),
        (_graph(multigraph=True, links=[{"source": h, "target": "sw", "key": key, "lanes": 4} for h in "pq" for key in (0, 1)]), 16),
        (
            _graph(
                directed=True, edges=[{"source": "p", "target": "sw"}, {"source": "sw", "target": "p"}, {"source": "sw", "target": "q"}]
            ),
            2,
        ),
        (
            (
                "<?xml version='1.0' encoding='ISO-8859-1'?><graphml>"
                "<key id='t' for='all' attr.name='tier'><default>endpoint</default></key>"
                "<key id='l' for='edge' attr.name='lanes'><default>5</default></key><graph edgedefault='directed'>"
                "<node id='b\xe4r'/><node id='q'/><node id='s'><data key='t'>leaf</data></node>"
                "<edge source='b\xe4r' target='s'/><edge source='q' target='s'/></graph></graphml>"
            ),
            10,
        ),
    ],
)
def test_graphs(text: str, links: int, shown: Shown) -> None:
    counts, _ = shown(text.encode("latin-1"))
    assert (counts["hosts"], counts["links"]["host_leaf"]) == (2, links)


def test_attributes_of_others_are_listed_once(shown: Shown, gigawatt: Run, tmp_path: Path) -> None:
    _, said = shown(_graph(edges=[{"source": h, "target": "sw", "weight": 2, "label": "x"} for h in "pq"]))
    assert said.count("Left out") == 1
    assert "weight of 2 edges, label of 2 edges" in said
    (tmp_path / "file").write_text(_graph(edges=[{"source": h, "target": "sw", "lane": 2} for h in "pq"]))
    code, _, err = gigawatt("topology import", tmp_path / "file")
    assert (code, err.count("\n")) == (2, 1)
    assert "did you mean lanes?" in err


_MIXED = "SwitchName=r0 Nodes=gpu[01-05],cpu[1-40],login1\nSwitchName=r1 Nodes=nas[1-2]\nSwitchName=core Switches=r[0-1]\n"


@pytest.mark.parametrize("option", ["--host gpu[01-05]=hgx-h100", "--gres {folder}/gres.conf", "--nodes {folder}/slurm.conf"])
def test_nodes_without_gpus_are_left_out(option: str, shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "gres.conf").write_text("NodeName=gpu[01-05] Name=gpu Type=h100 File=/dev/nvidia[0-7]\n")
    (tmp_path / "slurm.conf").write_text(
        "NodeName=DEFAULT CPUs=9\nNodeName=cpu[1-40],login1,nas[1-2]\nNodeName=gpu[01-05] Gres=gpu:h100:8\n"
    )
    counts, said = shown(_MIXED, option.format(folder=tmp_path))
    assert (counts["hosts"], counts["gpus"]) == (5, 40)
    assert "Left out: 43 nodes without GPUs" in said
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["cluster"]["host_types"] == {"gpu[01-05]": "hgx-h100"}


def test_several_types_of_hosts(shown: Shown) -> None:
    counts, _ = shown(_MIXED, "--host hgx-h200 --host gpu[01-02]=dgx-b200 --host cpu[1-40],login1,nas[1-2]=none")
    assert counts["host_types"] == {"dgx-b200": 2, "hgx-h200": 3}


_ISLANDS = "SwitchName=hall0 Nodes=a[1-8]\nSwitchName=hall1 Switches=b[0-1]\nSwitchName=b0 Nodes=b[1-4]\nSwitchName=b1 Nodes=b[5-8]\n"


def test_islands_run_and_no_job_spans_them(shown: Shown, gigawatt: Run, tmp_path: Path) -> None:
    counts, said = shown(_ISLANDS)
    assert (counts["hosts"], counts["units"]["site"]) == (16, 2)
    assert "no job runs on two" in said
    trace = tmp_path / "jobs.csv"
    trace.write_text("id,submit_s,gpus,duration_s\n1,0,64,600\n2,0,65,600\n3,0,64,600\n4,10,48,600\n")
    code, out, err = gigawatt(
        f"run {tmp_path / 'mine.yaml'} --trace {trace} --format csv --until 1h --actors inline --json -q -o", tmp_path / "out"
    )
    assert code == 0, err
    jobs = json.loads(out)["jobs"]
    assert (jobs["finished"], jobs["infeasible"]) == (3, 1)
    pq = pytest.importorskip("pyarrow.parquet")
    rows = {row["job_id"]: row for row in pq.read_table(tmp_path / "out" / "jobs.parquet").to_pylist()}
    assert rows[2]["reason"] == "65 GPUs never fit: no job runs on two islands, and each island holds 64 GPUs"


def test_islands_may_be_joined(shown: Shown, gigawatt: Run, tmp_path: Path) -> None:
    counts, said = shown(_ISLANDS, "--islands joined")
    assert (counts["hosts"], counts["units"]["site"]) == (16, 1)
    assert "Assumed: one tier of switches joins" in said
    assert gigawatt("topology import --islands both", tmp_path / "file")[0] == 2


def test_a_job_too_large_for_a_leaf_is_told_the_number(shown: Shown, tmp_path: Path) -> None:
    shown("".join(f"SwitchName=l{n} Nodes=x{n}n[1-{n}]\n" for n in (2, 7, 4)) + "SwitchName=t Switches=l2,l7,l4\n")
    session = open_session(load(str(tmp_path / "mine.yaml"), ["runtime.actors=inline", "workload.kind=none"]), endless=True)
    try:
        wanted = job_columns(1, submit_ns=0, gpus=64, duration_ns=SECOND, require_level=LEVEL_NAMES.index("leaf"))
        (error,) = session.submit(wanted).errors.values()
    finally:
        session.close()
    assert isinstance(error, NeverFits)
    assert (str(error), error.allowed) == ("64 GPUs inside one leaf never fit: the largest leaf (l7) holds 56 GPUs", "at most 56")


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        ("--host n1=nothing", 2, "no host called 'nothing'"),
        ("--host =hgx-h100", 2, "is not one hostlist=type"),
        ("--host a1=hgx-h100,a2=hgx-a100", 2, "is not one hostlist=type"),
        ("--host hgx-h100 --host hgx-a100", 2, "contradicts hgx-h100"),
        ("--host a1=hgx-h100 --host a1=hgx-a100", 2, "contradicts a1=hgx-h100"),
        ("--host none", 2, "no host called 'none'"),
        ("--gres nothing.conf", 3, "--gres: nothing.conf: there is no such file"),
        ("--host zz=hgx-h100", 2, "no node has GPUs"),
    ],
)
def test_wrong_options(options: str, code: int, problem: str, gigawatt: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(_ISLANDS)
    got, out, err = gigawatt(f"topology import {options}", tmp_path / "file")
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert problem in err
