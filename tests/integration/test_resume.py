"""``gigawatt up --state`` and ``gigawatt replay`` as their users start them."""

import json
import math
import signal
import subprocess
from pathlib import Path

import pytest

from emulator.service.client import Client, ClientError
from emulator.service.spec import JobSpec
from tests.integration.crashes import crash
from tests.integration.program import COMMAND, ROOT, live, run
from tests.prometheus import wait_until

SCENARIO = """
name: small
cluster: {host: hgx-h100, hosts: 32, hosts_per_rack: 4, switch: qm9700}
clock: {cycle: 10s, until: 12h, speed: 600}
workload: {kind: generated, generated: {load: 0.8}}
runtime: {actors: inline}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return path


def command(*arguments: object, seconds: float = 120) -> tuple[int, str, str]:
    done = subprocess.run([*COMMAND, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.timeout(600)
def test_a_head_that_is_killed_over_and_over_loses_nothing(tmp_path: Path) -> None:
    report = crash(
        tmp_path, ["eagle", "--speed", "20000", "--until", "3d", "--actors", "inline", "-q"], crashes=3, seed=5, longest_seconds=1.5
    )
    assert report.accepted > 0


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_on_ray_too(tmp_path: Path) -> None:
    report = crash(tmp_path, ["laptop", "--speed", "20000", "--until", "5d", "--actors", "1", "-q"], crashes=1, seed=2, longest_seconds=2.0)
    assert report.accepted > 0


def test_stopping_resuming_finishing_and_replaying(tmp_path: Path, scenario: Path) -> None:
    state, out = tmp_path / "state", tmp_path / "out"
    with live(tmp_path, scenario, "--until", "12h", "--state", state, "-q", "-o", out) as session:
        with Client(session.address("API")) as client:
            job = client.submit(JobSpec(gpus=8, duration_seconds=7200.0), request_id="one").job_id
            wait_until(lambda: client.clock().emulated_seconds > 1200, 60, "twenty emulated minutes")
        code, _, err = command("up", scenario, "--until", "12h", "--state", state, "--port", 0, "--metrics-port", 0, "-q")
        used = f"gigawatt: error: {state} is in use by process {session.process.pid}; allowed: another directory, or this one"
        assert (code, err) == (2, f"{used} when that has ended\n")
        session.process.send_signal(signal.SIGTERM)
        assert session.process.wait(60) == 130
    stopped = json.loads((out / "summary.json").read_text())
    summary, err = run("replay", state, "-o", tmp_path / "replayed", "-q")
    assert summary["digest"] == stopped["digest"]
    for name in ("jobs.parquet", "links.parquet"):
        assert (tmp_path / "replayed" / name).read_bytes() == (out / name).read_bytes()

    with live(tmp_path, scenario, "--until", "12h", "--state", state, "-o", out) as session:
        with Client(session.address("API")) as client:
            assert client.submit(JobSpec(gpus=8, duration_seconds=7200.0), request_id="one").job_id == job
            client.set_speed(math.inf)
        assert session.process.wait(120) == 0
        assert "gigawatt: resuming: 0" in session.printed
    ended = json.loads((out / "summary.json").read_text())
    assert (ended["emulated_seconds"], ended["interrupted"]) == (43200.0, False)

    code, _, err = command("up", scenario, "--until", "12h", "--state", state, "--port", 0, "--metrics-port", 0, "-q")
    assert (code, err) == (
        2,
        f"gigawatt: error: the session in {state} ended at 43200 s; allowed: `gigawatt replay {state}`, or another directory\n",
    )
    summary, err = run("replay", state, "-o", tmp_path / "replayed", "-q")
    assert summary["digest"] == ended["digest"]
    for name in ("jobs.parquet", "links.parquet", "timeline.parquet"):
        assert (tmp_path / "replayed" / name).read_bytes() == (out / name).read_bytes()


def test_a_digest_that_does_not_come_out_again_is_an_error(tmp_path: Path, scenario: Path) -> None:
    import sqlite3

    with live(tmp_path, scenario, "--state", tmp_path / "state", "--speed", "max", "--until", "1h", "-q") as session:
        assert session.process.wait(120) == 0
    with sqlite3.connect(tmp_path / "state" / "journal.sqlite") as journal:
        value = journal.execute("SELECT value FROM about WHERE key = 'scenario'").fetchone()[0]
        other = json.dumps(json.loads(value) | {"seed": 2})
        journal.execute("UPDATE about SET value = ? WHERE key = 'scenario'", (other,))
    journal.close()
    code, out, err = command("replay", tmp_path / "state", "-q", "--json")
    assert code == 1
    assert json.loads(out)["seed"] == 2
    assert " and was " in err


def test_a_full_disk_under_the_state_takes_nothing_from_the_results(tmp_path: Path, scenario: Path) -> None:
    """No file may grow beyond so many bytes: what is accepted is kept, the rest is refused, and the files of ``-o`` are written."""
    arguments = [
        "up",
        str(scenario),
        "--state",
        str(tmp_path / "state"),
        "-o",
        str(tmp_path / "out"),
        "--port",
        "0",
        "--metrics-port",
        "0",
        "-q",
    ]
    log = tmp_path / "log"
    with log.open("w") as written:
        process = subprocess.Popen(
            ["sh", "-c", 'ulimit -f 1200 && exec "$@"', "sh", *COMMAND, *arguments],  # blocks of 512 bytes
            cwd=ROOT,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "Ctrl-C" in log.read_text() or process.poll() is not None, 60, "it to be up")
        address = next(line.split()[1] for line in log.read_text().splitlines() if line.startswith("API"))
        accepted = []
        with Client(address) as client:
            refused = ""
            for number in range(5000):
                spec = JobSpec(gpus=1, duration_seconds=60.0, name="x" * 200)
                try:
                    accepted.append(client.submit(spec, request_id=f"{number}").job_id)
                except ClientError as error:
                    refused = str(error)
                    break
            assert refused.startswith("the request was not accepted, because the journal could not store it: ")
            before = client.clock().emulated_seconds
            wait_until(lambda: client.clock().emulated_seconds > before + 600, 60, "the clock to go on")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "the end is not in the journal, the inputs are: " in log.read_text()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["jobs"]["submitted"] >= len(accepted) > 10
    with live(tmp_path, scenario, "--state", tmp_path / "state", "-q") as session, Client(session.address("API")) as client:
        assert client.job(accepted[-1]).job_id == accepted[-1]


def test_what_a_watch_says_at_its_end(tmp_path: Path, scenario: Path) -> None:
    """It tells an emulation that has ended from a connection that broke."""
    said = {}
    for number in (signal.SIGTERM, signal.SIGKILL):
        with live(tmp_path, scenario, "--speed", "60", "-q") as session:
            api = session.address("API")
            with Client(api) as client:
                job = client.submit(JobSpec(gpus=8, duration_seconds=86_400.0)).job_id
            watches = [
                subprocess.Popen(
                    [*COMMAND, "job", "watch", *ids, "--api", api], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
                for ids in ((), (str(job),))
            ]
            for watch in watches:
                assert watch.stdout is not None
                while f"job {job} " not in watch.stdout.readline():
                    pass
            session.process.send_signal(number)
            ends = [watch.communicate(timeout=60) for watch in watches]
            said[number] = [(watch.returncode, err) for watch, (_, err) in zip(watches, ends, strict=True)]
    assert said[signal.SIGTERM][0] == (0, "gigawatt: the emulation has ended\n")
    code, err = said[signal.SIGTERM][1]
    assert code == 1
    assert err.startswith(f"gigawatt: error: the emulation has ended, and job {job} is ")
    for code, err in said[signal.SIGKILL]:
        assert code == 1
        assert err.startswith("gigawatt: error: the connection to ")
        assert " broke before the watch was over" in err
