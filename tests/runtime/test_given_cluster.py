"""Joining Ray clusters that are not ours: raylets started by ``ray start``, with nodes that are lost, alike, different or bare."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runtime.ray_nodes import GIGAWATT, ROOT, free_port, ray_nodes, stop

RUN = ["run", "superpod-h100", "--until", "20m", "--json", "--quiet"]


@pytest.fixture(scope="module")
def digest() -> str:
    """Of the same run in one process."""
    run = subprocess.run([*GIGAWATT, *RUN, "--actors", "inline"], capture_output=True, text=True, check=True, cwd=ROOT)
    return str(json.loads(run.stdout)["digest"])


def one_sentence(run: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """What a refused command said: one line that blames nobody at gigawatt, and nothing of C++."""
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert line.startswith("gigawatt: error: ")
    assert "fault of gigawatt" not in line
    return run.returncode, line.removeprefix("gigawatt: error: ")


@pytest.mark.ray
def test_one_of_its_nodes_joins_a_cluster_by_every_name_of_it(digest: str) -> None:
    with ray_nodes() as nodes:
        nodes.add_all(1, 1)
        given = [
            nodes.run(*RUN, "--address", "auto", "--actors", "2"),
            nodes.run(*RUN, "--address", nodes.address),
            nodes.run(*RUN, RAY_ADDRESS=nodes.address),
        ]
        summaries = [json.loads(run.stdout) for run in given]
        assert [summary["digest"] for summary in summaries] == [digest] * 3
        assert [summary["actors"] for summary in summaries] == [2, 2, 2]
        assert all(run.stderr == "" for run in given)
        # With nothing to run on that cluster, its own Ray is what it starts; the head's /metrics would say the same of either.
        local = nodes.run(*RUN, "--address", "local", "--actors", "1", RAY_ADDRESS=nodes.address)
        assert (json.loads(local.stdout)["digest"], local.stderr) == (digest, "")
        few = one_sentence(nodes.run(*RUN, "--address", "auto", "--actors", "3"))
        assert few == (
            2,
            "the Ray cluster has 2 free CPUs and each of the 3 actors needs one: use --actors 2 or fewer, or add nodes",
        )
        if importlib.util.find_spec("ray._private.authentication") is None:
            return  # this version of Ray has no tokens
        token = one_sentence(nodes.run(*RUN, "--address", nodes.address, RAY_AUTH_TOKEN="1" * 64))
        assert token[0] == 2
        assert "requires its token: set RAY_AUTH_MODE=token" in token[1]


@pytest.mark.ray
def test_nodes_with_addresses_of_their_own(digest: str) -> None:
    """Machines of a real cluster, as namespaces; the last is none of the cluster's."""
    with ray_nodes(namespaces=4) as nodes:
        nodes.add_all(1, 1, 1)
        port = nodes.address.rpartition(":")[2]
        runs = [
            nodes.run(*RUN, "--address", "auto", "--actors", "3"),
            nodes.run(*RUN, "--address", nodes.address, "--actors", "3", on=2),
            nodes.run(*RUN, "--actors", "2", RAY_ADDRESS=f"127.0.0.1:{port}"),  # as KubeRay sets it on the head
        ]
        assert [(json.loads(run.stdout)["digest"], run.stderr) for run in runs] == [(digest, "")] * 3
        code, said = one_sentence(nodes.run(*RUN, "--address", nodes.address, on=3))
        assert code == 2
        assert f"this machine is not a node of the Ray cluster at {nodes.address}" in said
        assert "ray job submit" in said


@pytest.mark.ray
def test_a_submitted_job_uses_the_cluster_that_it_was_submitted_to(digest: str) -> None:
    """``ray job submit`` with nothing but the command: Ray sets RAY_ADDRESS for it."""
    with ray_nodes() as nodes:
        nodes.add(2, dashboard=True)
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "job",
            "submit",
            "--address",
            f"http://127.0.0.1:{nodes.dashboard_port}",
            "--",
        ]
        for _ in range(10):  # the agent that takes jobs may not be up yet
            done = subprocess.run(
                [*command, *GIGAWATT, *RUN, "--actors", "2"],
                env=nodes.environment, cwd=nodes.folder, capture_output=True, text=True, timeout=150, check=False,
            )  # fmt: skip
            if "No available agent to submit job, please try again later" not in done.stderr:
                break
        assert done.returncode == 0, done.stdout + done.stderr
        assert digest in done.stdout
        assert '"actors": 2' in done.stdout


@pytest.mark.ray
@pytest.mark.parametrize(
    ("case", "said"),
    {
        "exact_fit": "same",
        "replaced": "same",
        "joined": "same",
        "none_left": "the nodes of actor 0 are lost, and no replacement joined the Ray cluster within 3 s",
    }.items(),
)
def test_nodes_that_go_and_come(case: str, said: str) -> None:
    """Without a CPU to spare; with none at all until another node joins; with one that joins while none is lost; without any to come."""
    program = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "runtime" / "losing_nodes.py", case],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'runtime'}"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        out, err = program.communicate(timeout=250)
        assert program.returncode == 0, err[-3000:]
        assert out.splitlines()[-1].startswith(said), out + err[-3000:]
        if case == "joined":
            (line,) = err.splitlines()
            assert re.fullmatch(r"actor 0 moves from \S+ \(127\.0\.1\.1\), which had 3 of our actors, to \S+ \(127\.0\.1\.2\)", line)
        elif case != "exact_fit":
            assert "no node of the Ray cluster can take actor 0: waiting up to" in err
    finally:
        stop(program)


@pytest.mark.ray
def test_a_node_with_other_code_or_none_is_refused_by_name(tmp_path: Path) -> None:
    """A head without CPUs, so that the actor has to go to the node in question."""
    altered, bare = tmp_path / "altered", tmp_path / "bare"
    for package in ("emulator", "topology"):
        shutil.copytree(ROOT / package, altered / package, ignore=shutil.ignore_patterns("__pycache__"))
    stub = next((altered / "emulator" / "v1").glob("*_pb2.py"))
    stub.write_text(stub.read_text() + "# another build\n")
    bare.mkdir()
    (bare / "sitecustomize.py").write_text(
        "import sys\nfrom pathlib import Path\nsys.path[:] = [one for one in sys.path if not (Path(one) / 'emulator').is_dir()]\n"
    )
    expected = {
        altered: "127.0.1.2) has other code (gigawatt ",
        bare: "127.0.1.2) has no gigawatt that its Ray can import: install the same build",
    }
    for packages, said in expected.items():
        with ray_nodes() as nodes:
            nodes.add(0)
            nodes.add(1, packages=packages)
            began = time.monotonic()
            code, line = one_sentence(nodes.run(*RUN, "--address", nodes.address))
            print(f"said after {time.monotonic() - began:.1f} s")
            assert code == 2
            assert line.startswith("node ")
            assert said in line


def test_a_stale_ray_address_is_passed_over_and_said(digest: str) -> None:
    environment = os.environ | {"RAY_ADDRESS": f"127.0.0.1:{free_port()}"}
    run = subprocess.run([*GIGAWATT, *RUN, "--actors", "1"], env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert json.loads(run.stdout)["digest"] == digest
    (note,) = run.stderr.splitlines()
    assert note.startswith("RAY_ADDRESS is ignored and a new Ray is started: no Ray cluster answers at 127.0.0.1:")
