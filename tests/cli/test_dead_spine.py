"""A spine of `superpod-b200` dies, as a person at a terminal sees it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.scenario.load import load
from emulator.service.server import serve
from emulator.workload.jobs import SECOND, JobKind, job_columns
from tests.cli.conftest import Run
from tests.runtime.test_spine import PACKED, STRIDED


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    session = open_session(
        load("superpod-b200", ["workload.kind=none", "faults.enabled=false", "jobs.start_up=none", "runtime.actors=inline"])
    )
    session.pause()
    session.start()
    server = serve(session, "127.0.0.1:0", host_type=session.host_type, payload_ratio=session.payload_ratio)
    monkeypatch.setenv("GIGAWATT_API", server.address)
    yield session
    server.stop()
    session.close()


def test_a_dead_spine_at_the_terminal(gigawatt: Run, served: Session) -> None:
    """The arithmetic is in ``tests/runtime/test_spine.py``: one of 16 spines dead leaves the strided job 15/16 of its speed, and the packed
    one all of it. Down from 600 to 1,200 s: 600 + 562.5 s of work in 1,200 s is a slowdown of 1.032 by then, and less and less after."""

    def run(line: str) -> Any:
        code, out, err = gigawatt(line)
        assert (code, err) == (0, ""), line
        return json.loads(out) if "-o json" in line else out

    jobs = job_columns(
        2, kind=int(JobKind.TRAINING), shape=[0, 1], shapes=(STRIDED, PACKED), submit_ns=0, gpus=512, duration_ns=4000 * SECOND
    )
    served.submit(jobs)
    run("clock step 60")
    strided, packed = (job["job_id"] for job in run("job list -o json"))

    def job(number: int) -> tuple[object, object]:
        view = run(f"job get {number} -o json")
        return view["speed_ratio"], view["network_slowdown_ratio"]

    assert (job(strided), job(packed)) == ((1.0, 1.0), (1.0, 1.0))
    assert run("fault inject switch spine-00000/3 --for 10m") == "switch spine-00000/3 is down at 600 s for 600 s\n"
    run("clock step 60")
    assert job(strided) == (pytest.approx(15 / 16), pytest.approx(1190 / (600 + 590 * 15 / 16)))
    assert job(packed) == (1.0, 1.0)
    table = str(run("job list"))
    assert {"SPEED", "SLOWDOWN", "0.9375"} <= set(table.split())
    assert "93.8% of its speed on an idle fabric: its jobs ask trunk leaf-000" in str(run(f"job explain {strided}"))
    down = run("link list --down -o json")
    assert [(link["tier"], link["healthy_ratio"], link["downs"]) for link in down] == [("leaf_spine", 15 / 16, 1)] * 32
    busiest = run("link list --busiest --limit 3 --tier leaf_spine -o json")
    assert [link["utilization_ratio"] for link in busiest] == [pytest.approx(0.95 * 15 / 16)] * 3
    run("clock step 1")
    assert job(strided) == (1.0, pytest.approx(1200 / 1162.5))
    run("clock step 280")
    assert job(strided) == (1.0, pytest.approx(4000 / 3962.5))
    assert run("link list --down -o json") == []
    run("clock step 20")
    ends = {view["job_id"]: view["end_seconds"] for view in run("job list -o json")}
    assert ends == {strided: pytest.approx(4037.5), packed: 4000.0}
