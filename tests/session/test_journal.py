"""Accepted means kept: the journal of a live session, whatever happens to the session."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.errors import WrongState
from emulator.engine.fault_control import FaultRequest
from emulator.racks.faults import INJECTED, Scope
from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.scenario.models import Scenario
from emulator.store.errors import JournalError
from emulator.store.journal import Input, Journal
from emulator.workload.jobs import SECOND, JobColumns, TrainingShape, job_columns
from tests.session.conftest import BUSY

ROOT = Path(__file__).resolve().parents[2]


def jobs(count: int = 1, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 95 * SECOND} | columns)


def inputs_of(directory: Path) -> list[Input]:
    with closing(Journal.copy(directory)) as journal:
        return list(journal.inputs())


def test_the_journal_has_what_was_accepted_and_nothing_else(paused: Callable[..., Session], tmp_path: Path) -> None:
    made = paused(state_dir=tmp_path / "state")
    made.submit(jobs(2, gpus=[8, 65]), "a")
    made.submit(jobs(2, gpus=[8, 65]), "a")
    made.submit(jobs(gpus=65))
    made.step(1)
    made.cancel(10**9, "b")
    made.cordon(1, cordoned=True)
    made.inject_fault(FaultRequest("host", "3", 1.5))
    made.inject_fault(FaultRequest("link", "3", 2.5, 0.5))
    with pytest.raises(Exception, match="no job 7"):
        made.cancel(7)
    made.step(1)
    made.close()
    rows = inputs_of(tmp_path / "state")
    assert [(row.stamp_ns // SECOND, row.kind, row.request_id) for row in rows] == [
        (0, "submit", "a"),
        (10, "cancel", "b"),
        (10, "cordon", ""),
        (10, "fault", ""),
        (10, "fault", ""),
        (10, "stop", ""),
    ]
    assert (rows[0].payload["job_id"], rows[0].payload["gpus"], rows[0].payload["submit_ns"]) == ([10**9], [8], [0])
    kept = {
        "target": "host",
        "name": "r00000-h03",
        "cause": INJECTED,
        "scope": int(Scope.HOST),
        "gpu": -1,
        "withdraw": False,
        "crew": False,
    }
    assert rows[3].payload == {"first_host": 3, "end_host": 4, "repair_ns": 1_500_000_000} | kept


def test_the_journal_is_enough_to_repeat_the_session(
    session: Callable[..., Session], scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    """Inputs at moments that the wall clock chose; a batch run that is given the journal's comes to the same digest."""
    live = session(BUSY, state_dir=tmp_path / "state")
    live.set_speed(40_000.0)
    live.start()
    shape = TrainingShape(1.0, 47.5e9, 0.3, 1e-4, 1e15)
    number = 0
    while live.clock().emulated_seconds < 12_000:
        number += 1
        live.submit(jobs(3, gpus=[1, 16, 64], kind=[0, 1, 0], shape=[-1, 0, -1], shapes=(shape,), names=("a", "b", "c")))
        if number % 7 == 0:
            live.inject_fault(FaultRequest("host", str(number % 32), 100.0))
            live.inject_fault(FaultRequest("link", str(number % 40), 100.0, 0.3))
            live.cordon(number % 8, cordoned=number % 2 == 0)
    live.set_speed(float("inf"))
    assert live.wait(120)
    live.close()
    rows = inputs_of(tmp_path / "state")
    assert len({row.stamp_ns for row in rows}) > 10
    assert live._outcome is not None
    assert (rows[-1].kind, rows[-1].payload) == ("end", {"digest": live._outcome.digest})

    again = open_session(scenario(BUSY))
    for row in rows:
        again._inputs.take_up(row)
    assert again.run_to_end().digest == rows[-1].payload["digest"]
    again.close()


@pytest.mark.parametrize(("kind", "payload"), [("cancel", {"job_id": 5}), ("cordon", {"host": 1}), ("dance", {}), ("submit", {})])
def test_a_record_that_cannot_be_taken_up_is_named(session: Callable[..., Session], kind: str, payload: dict[str, int]) -> None:
    with pytest.raises(JournalError, match="input 3 of the journal cannot be applied"):
        session()._inputs.take_up(Input(0, kind, payload, sequence=3))


def test_what_cannot_be_kept_is_not_accepted(paused: Callable[..., Session], tmp_path: Path) -> None:
    made = paused(state_dir=tmp_path / "state")
    assert made._journal is not None
    made._journal._database.execute("DROP TABLE input")
    with pytest.raises(WrongState, match="the request was not accepted, because the journal could not store it"):
        made.submit(jobs(), "a")
    with pytest.raises(WrongState, match="the request was not accepted"):
        made.cordon(0, cordoned=True)
    assert made.jobs() == []
    made.step(1)
    assert made.racks()[0].cordoned is False
    made.stop()
    assert "no such table" in str(made.unkept)  # and the results are there all the same
    assert made.outcome().emulated_ns == 0


def scenario_file(tmp_path: Path) -> Path:
    return tmp_path / "scenario.yaml"


CHILD = """
import sys
from contextlib import closing
from pathlib import Path
from emulator.runtime.opening import open_session
from emulator.scenario.load import load
from emulator.workload.jobs import SECOND, job_columns
session = open_session(load(sys.argv[1]), endless=True, state_dir=Path(sys.argv[2]))
session.start()
while True:
    result = session.submit(job_columns(5, submit_ns=0, gpus=1, duration_ns=SECOND))
    print(*result.job_ids, flush=True)
"""


def test_every_acknowledged_job_is_in_the_journal_of_a_killed_process(scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    """SIGKILL in the middle of submitting. What was printed was accepted; of what was not, at most the batch in hand may be there."""
    scenario()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(scenario_file(tmp_path)), str(tmp_path / "state")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    told: list[int] = []
    for line in child.stdout:
        told += map(int, line.split())
        if len(told) >= 500:
            os.kill(child.pid, signal.SIGKILL)
            break
    for line in child.stdout.read().splitlines():
        told += map(int, line.split())
    assert child.wait() == -signal.SIGKILL
    kept = [job for row in inputs_of(tmp_path / "state") for job in row.payload["job_id"]]
    assert kept[: len(told)] == told
    assert len(kept) - len(told) <= 5
    assert kept == list(range(10**9, 10**9 + len(kept)))
