"""``run`` and ``up`` around a session that emulates nothing."""

import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.cli import live, sessions
from emulator.cli.options import Request
from emulator.report.files import FILES
from tests.cli.conftest import Run
from tests.cli.fake_session import FakeSession

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeSession], list[Request]]:
    """Makes every command open the session given; the requests it came with."""
    requests: list[Request] = []

    def use(session: FakeSession) -> list[Request]:
        def open_session(request: Request, resuming: object = None) -> FakeSession:
            requests.append(request)
            return session

        monkeypatch.setattr(sessions, "open_session", open_session)
        return requests

    return use


def test_run_prints_the_summary_and_closes(gigawatt: Run, opened: Callable[..., list[Request]]) -> None:
    session = FakeSession()
    opened(session)
    code, out, err = gigawatt("run laptop")
    assert code == 0
    assert "laptop, seed 1, policy easy" in out
    assert session.calls == ["run_to_end", "close"]
    assert err == ""


def test_json_is_the_summary_alone_and_the_files_agree(gigawatt: Run, opened: Callable[..., list[Request]], tmp_path: Path) -> None:
    opened(FakeSession())
    code, out, err = gigawatt("run laptop --json -o", tmp_path / "out")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    assert err.startswith("gigawatt: wrote ")


def test_every_option_becomes_a_scenario_value(gigawatt: Run, opened: Callable[..., list[Request]], tmp_path: Path) -> None:
    requests = opened(FakeSession())
    trace = tmp_path / "a: #b.csv"
    trace.write_text("")
    code, _, err = gigawatt(
        "run laptop --policy fifo --placement consolidate --until 48h --seed 7 --actors 2 --set clock.cycle=1s --set cluster.gpus=128 "
        "--format philly --trace-option virtual_cluster=2869ce --trace-option from=2017-10-01 --trace",
        trace,
    )
    assert (code, err) == (0, "")
    (request,) = requests
    loaded = sessions.load_scenario(request.scenario, request.settings)
    assert (loaded.scheduler.policy, loaded.scheduler.placement, loaded.seed, loaded.runtime.actors) == ("fifo", "consolidate", 7, 2)
    assert (loaded.clock.cycle, loaded.clock.until) == (10**9, 48 * 3600 * 10**9)
    assert loaded.cluster.gpus == 128
    assert (loaded.workload.kind, loaded.workload.format, loaded.workload.path) == ("trace", "philly", str(trace))
    assert loaded.workload.options == {"virtual_cluster": "2869ce", "from": "2017-10-01"}
    assert not request.to_end_of_work


@pytest.mark.parametrize(
    ("more", "expected"),
    [([], True), (["--until", "1h"], False), (["--set", "clock.until=1h"], False)],
)
def test_a_trace_runs_to_the_end_of_its_work(
    gigawatt: Run, opened: Callable[..., list[Request]], tmp_path: Path, more: list[str], expected: bool
) -> None:
    requests = opened(FakeSession())
    (tmp_path / "t").write_text("")
    assert gigawatt("run laptop --format csv --trace", tmp_path / "t", *more)[0] == 0
    assert requests[0].to_end_of_work is expected


@pytest.mark.parametrize(("more", "expected"), [("", True), ("--until 1h", False), ("--set clock.until=1h", False)])
def test_a_live_run_without_an_end_goes_on(gigawatt: Run, opened: Callable[..., list[Request]], more: str, expected: bool) -> None:
    requests = opened(FakeSession())
    assert gigawatt(f"up laptop --port 0 --metrics-port 0 -q {more}")[0] == 0
    assert (requests[0].endless, requests[0].to_end_of_work) == (expected, False)


def test_an_interrupted_batch_is_130_and_closes(gigawatt: Run, opened: Callable[..., list[Request]]) -> None:
    session = FakeSession(interrupted=True)
    opened(session)
    code, out, err = gigawatt("run laptop")
    assert (code, out, err) == (130, "", "gigawatt: interrupted\n")
    assert session.calls[-1] == "close"


def test_a_disk_that_fills_up_still_prints_the_summary(
    gigawatt: Run, opened: Callable[..., list[Request]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(FakeSession())

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("emulator.report.files.to_json", full_disk)
    code, out, err = gigawatt("run laptop -o", tmp_path / "out")
    assert code == 1
    assert "policy easy" in out
    assert "No space left on device" in err


def test_up_serves_while_it_runs(gigawatt: Run, opened: Callable[..., list[Request]], monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession(ends=False)
    opened(session)
    seen: dict[str, str] = {}

    def look(addresses: live.Served, *, to_stderr: bool) -> None:
        with urllib.request.urlopen(f"http://{addresses.metrics}/metrics") as answer:
            seen["metrics"] = answer.read().decode()
        with urllib.request.urlopen(f"http://{addresses.metrics}/sd") as answer:
            seen["targets"] = answer.read().decode()
        from emulator.service.client import Client

        with Client(addresses.api) as client:
            seen["cluster"] = client.cluster().name
        seen["shards"] = ",".join(addresses.shard_metrics)
        announce(addresses, to_stderr=to_stderr)
        session.ended.set()

    announce = live.announce
    monkeypatch.setattr(live, "announce", look)
    code, out, err = gigawatt("up laptop --port 0 --metrics-port 0 --quiet")
    assert (code, err) == (0, "")
    assert "gigawatt_" in seen["metrics"]
    assert session.head[0] in seen["targets"]
    assert seen["cluster"] == "laptop"
    assert seen["shards"] == "127.0.0.1:50001,127.0.0.1:50002"
    for shown in ("API        127.0.0.1:", "/metrics and 2 more", "/sd", "--duration 1h --api 127.0.0.1:"):
        assert shown in out
    assert session.calls == ["start", "stop", "close"]


def test_up_for_a_while_ends_by_itself_with_0(gigawatt: Run, opened: Callable[..., list[Request]]) -> None:
    session = FakeSession(ends=False)
    opened(session)
    code, out, err = gigawatt("up laptop --for 100ms --port 0 --metrics-port 0 --json -q")
    assert code == 0
    assert json.loads(out)["scenario"] == "laptop"
    assert "API " in err
    assert session.calls == ["start", "stop", "close"]


def test_a_port_that_is_taken_is_said_before_anything_starts(gigawatt: Run, opened: Callable[..., list[Request]]) -> None:
    session = FakeSession()
    requests = opened(session)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option in ("--port", "--metrics-port"):
            code, _, err = gigawatt("up laptop", option, port)
            assert code == 2
            assert f"{option}: cannot listen on 127.0.0.1:{port}" in err
    assert (requests, session.calls) == ([], [])


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what is to run in the background
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup would have it ignore
from emulator.cli import main, sessions
from tests.cli.fake_session import FakeSession
sessions.open_session = lambda request, resuming=None: FakeSession(ends=False)
sys.exit(main(["up", "laptop", "--port", "0", "--metrics-port", "0"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_live_run_with_its_summary(number: signal.Signals) -> None:
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    guard = threading.Timer(60, program.kill)
    guard.start()
    try:
        assert program.stdout is not None
        for line in program.stdout:
            if line.startswith("Ctrl-C"):
                break
        program.send_signal(number)
        out, err = program.communicate()
    finally:
        guard.cancel()
        program.kill()
    assert program.returncode == 130
    assert "laptop, seed 1, policy easy" in out
    assert "interrupted: the figures" in err
    assert "Traceback" not in err
