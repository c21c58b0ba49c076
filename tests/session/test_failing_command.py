"""The last line of defence: an input that meets an error of the emulator fails alone, is counted and logged, and again in a replay."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from emulator.engine.commands import Cordon, CutLinks
from emulator.engine.fault_control import FaultRequest
from emulator.engine.link_health import Cut
from emulator.report.summary import summary
from emulator.runtime.session import Session
from emulator.workload.jobs import SECOND, job_columns


def broken(made: Session) -> None:
    """Posts inputs that no check has seen: faults of a link and of a cable that there are not, a cordon of no host."""
    made._engine.post(CutLinks((Cut(10**9),), 600 * SECOND), made._stamp_ns())
    made._engine.post(CutLinks((Cut(0, (10**6,)),), 600 * SECOND), made._stamp_ns())
    made._engine.post(Cordon(10**6, 10**6 + 1, True), made._stamp_ns())


def jobs(count: int = 4) -> Any:
    return job_columns(count, submit_ns=0, gpus=8, duration_ns=600 * SECOND, estimate_ns=600 * SECOND)


def test_it_fails_alone_and_is_counted(paused: Callable[..., Session], caplog: pytest.LogCaptureFixture) -> None:
    made = paused()
    made.submit(jobs())
    broken(made)
    made.submit(jobs())
    made.set_speed(math.inf)
    made.resume()
    assert made.wait(60)
    snapshot = made.snapshot()
    assert snapshot.commands_failed == 3
    assert snapshot.jobs_by_state["finished"] == 8
    assert [record.exc_info is not None for record in caplog.records if "an input failed at 0 s" in record.getMessage()] == [True] * 3


def test_it_fails_the_same_way_again(paused: Callable[..., Session]) -> None:
    def run() -> Any:
        made = paused()
        broken(made)
        made.submit(jobs())
        made.set_speed(math.inf)
        made.resume()
        assert made.wait(60)
        return summary(made.outcome())["digest"]

    assert run() == run()


def test_a_broken_machine_is_no_error_of_a_command(paused: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulation ends, and wait() tells why."""
    made = paused()
    made.inject_fault(FaultRequest("host", "0", 60.0))
    monkeypatch.setattr(made._engine.shards, "advance", lambda window: (_ for _ in ()).throw(RuntimeError("the machine is gone")))
    made.resume()
    with pytest.raises(RuntimeError, match="the machine is gone"):
        made.wait(60)
