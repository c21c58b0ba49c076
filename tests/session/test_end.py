"""The end of a session: by itself, asked for, by an error; and that nobody waits for ever."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from emulator.engine.errors import WrongState
from emulator.engine.fault_control import FaultRequest
from emulator.engine.loop import Loop
from emulator.engine.power_control import PowerCapRequest
from emulator.engine.shards import Answers, Window
from emulator.runtime.session import Session
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.session.conftest import QUIET, as_it_is, events_of


def jobs(count: int = 1, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 95 * SECOND} | columns)


Call = Callable[[Session, int], object]
READS: dict[str, Call] = {
    "job": lambda made, job: made.job(job),
    "jobs": lambda made, job: made.jobs(),
    "explain": lambda made, job: made.explain(job),
    "watch": lambda made, job: list(events_of(made, job_ids={job})),
    "queues": lambda made, job: made.queues(),
    "cluster": lambda made, job: made.cluster(),
    "racks": lambda made, job: made.racks(),
    "links": lambda made, job: made.links(),
    "clock": lambda made, job: made.clock(),
    "pause": lambda made, job: made.pause(),
    "resume": lambda made, job: made.resume(),
    "set_speed": lambda made, job: made.set_speed(2.0),
    "snapshot": lambda made, job: made.snapshot(),
}
CHANGES: dict[str, Call] = {
    "submit": lambda made, job: made.submit(jobs()),
    "cancel": lambda made, job: made.cancel(job),
    "hold": lambda made, job: made.hold(job),
    "release": lambda made, job: made.release(job),
    "set_priority": lambda made, job: made.set_priority(job, 1),
    "cordon": lambda made, job: made.cordon(0, cordoned=True),
    "inject_fault": lambda made, job: made.inject_fault(FaultRequest("host", "0", 1.0)),
    "cap_power": lambda made, job: made.cap_power(PowerCapRequest(1e9)),
    "step": lambda made, job: made.step(1),
}


@pytest.fixture
def ended(session: Callable[..., Session]) -> tuple[Session, int]:
    """A session of one job that came to its end, and the job."""
    made = session()
    made.pause()
    made.start()
    job = made.submit(jobs()).job_ids[0]
    made.resume()
    assert made.wait(60)
    return made, job


@pytest.mark.parametrize("name", READS)
def test_after_the_end_reads_are_answered(ended: tuple[Session, int], name: str) -> None:
    READS[name](*ended)
    ended[0].stop()
    READS[name](*ended)


@pytest.mark.parametrize("name", CHANGES)
def test_after_the_end_nothing_is_accepted_that_would_never_act(ended: tuple[Session, int], name: str) -> None:
    with pytest.raises(WrongState, match="has ended"):
        CHANGES[name](*ended)


@pytest.mark.parametrize("name", READS | CHANGES)
def test_after_close_every_call_says_that_it_is_closed(ended: tuple[Session, int], name: str) -> None:
    made, job = ended
    made.close()
    with pytest.raises(WrongState, match="the session is closed"):
        (READS | CHANGES)[name](made, job)
    with pytest.raises(WrongState, match="closed"):
        made.start()
    assert made.wait(60)
    made.stop()
    made.close()
    assert made.progress().ended == 1


class Dying:
    """A loop whose next step is an error."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)

    def step(self) -> None:
        raise ZeroDivisionError


@pytest.fixture
def broken(session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> tuple[Session, int]:
    """A session whose shards fail at the cycle after the first, and a job of it."""
    made = session()
    made.pause()
    made.start()
    job = made.submit(jobs()).job_ids[0]
    made.step(1)

    def fail(window: Window) -> Answers:
        raise RuntimeError("the actors are gone")

    monkeypatch.setattr(made._engine.shards, "advance", fail)
    made.inject_fault(FaultRequest("host", "0", 1.0))
    made.resume()
    return made, job


def test_what_ends_the_engine_is_told_by_wait_and_by_every_call(broken: tuple[Session, int]) -> None:
    made, job = broken
    with pytest.raises(RuntimeError, match="the actors are gone"):
        made.wait(60)
    for call in (READS | CHANGES).values():
        with pytest.raises(WrongState, match="ended with an error: RuntimeError: the actors are gone"):
            call(made, job)
    with pytest.raises(RuntimeError, match="the actors are gone"):
        made.wait(0.0)
    made.stop()
    assert made.outcome().interrupted  # what ran is not lost
    made.close()
    made.close()


def test_a_watch_ends_when_the_engine_dies(session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told of all changes and waits for the next one when the engine dies."""
    made = session()
    made.pause()
    made.start()
    watch, woken = made.watch(as_it_is), threading.Event()
    while watch.take(1):
        pass
    assert watch.wait(woken.set)
    monkeypatch.setattr(made, "_loop", Dying(made._loop))
    made.resume()
    assert woken.wait(60)
    with pytest.raises(WrongState, match="ended with an error: ZeroDivisionError"):
        watch.take(1)
    assert watch.ended


def test_a_step_ends_when_the_engine_dies(session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    made = session()
    made.pause()
    made.start()
    monkeypatch.setattr(made, "_loop", Dying(made._loop))
    with pytest.raises(WrongState, match="ZeroDivisionError"):
        made.step(5)


def test_calls_in_flight_are_answered_while_it_closes(session: Callable[..., Session]) -> None:
    """Threads that call without a pause, and others that close, over and over: every one comes to an end."""
    for _ in range(20):
        made = session(QUIET, endless=True)
        made.start()
        said: list[str] = []

        def call(made: Session = made, said: list[str] = said) -> None:
            try:
                while True:
                    made.clock()
                    made.submit(jobs())
                    made.progress()
            except WrongState as error:
                said.append(str(error))

        callers = [threading.Thread(target=call) for _ in range(6)]
        enders = [threading.Thread(target=made.close) for _ in range(3)] + [threading.Thread(target=made.stop)]
        for thread in callers + enders:
            thread.start()
        for thread in callers + enders:
            thread.join(60)
        assert not any(thread.is_alive() for thread in callers + enders)
        assert len(said) == 6
        assert all("closed" in text or "ended" in text for text in said)


def test_before_the_start_calls_are_answered_too(session: Callable[..., Session]) -> None:
    made = session()
    job = made.submit(jobs()).job_ids[0]
    assert made.clock().emulated_seconds == 0.0
    with pytest.raises(WrongState, match="never started"):
        made.step(1)
    with pytest.raises(WrongState, match="has not been started"):
        made.wait()
    assert made.wait(0.0) is False
    made.start()
    made.start()
    assert made.wait(60)
    assert made.job(job).start_seconds == 0.0


def test_a_session_that_was_never_started_can_be_stopped(session: Callable[..., Session]) -> None:
    made = session()
    made.stop()
    assert made.outcome().emulated_ns == 0
    assert made.wait()
    made.start()
    made.close()


def test_a_batch_run_ends_once_and_is_not_live(session: Callable[..., Session]) -> None:
    made = session()
    assert made.run_to_end().emulated_ns == 3600 * SECOND
    with pytest.raises(WrongState, match="has ended"):
        made.submit(jobs())
    made.stop()
    made.close()
    with pytest.raises(WrongState):
        made.run_to_end()
