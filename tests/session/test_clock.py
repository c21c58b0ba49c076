"""The clock of a live session: pace, pause, step, speed, and the cycle in which an input acts."""

import math
import threading
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from emulator.engine.errors import InvalidRequest, WrongState
from emulator.engine.job_control import JobState
from emulator.report import collect
from emulator.runtime.session import Session
from emulator.scenario import ScenarioError
from emulator.scenario.models import Scenario
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.session.conftest import BUSY, events_of


def jobs(count: int = 1, **columns: int) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 95 * SECOND} | columns)


def test_live_at_full_speed_gives_the_digest_of_a_batch_run(session: Callable[..., Session]) -> None:
    batch = session(BUSY).run_to_end()
    live = session(BUSY)
    live.start()
    assert live.wait(120)
    outcome = live.outcome()
    assert outcome.digest == batch.digest
    assert (outcome.emulated_ns, outcome.events, outcome.interrupted) == (6 * 3600 * SECOND, batch.events, False)
    assert len(batch.jobs) > 50


def test_neither_pauses_steps_nor_reads_change_the_digest(session: Callable[..., Session]) -> None:
    expected = session(BUSY).run_to_end()
    live = session(BUSY)
    live.pause()
    live.start()
    random = np.random.default_rng(1)
    while not (clock := live.clock()).finished and clock.emulated_seconds < 3000:
        live.step(int(random.integers(1, 20)))
        live.racks()
        live.links(limit=5)
        live.snapshot()
    live.attach_metrics("127.0.0.1:1", lambda snapshot, readings: None)
    live.resume()
    live.set_speed(math.inf)
    assert live.wait(120)
    assert live.outcome().digest == expected.digest


def test_step_runs_so_many_cycles_and_only_while_paused(paused: Callable[..., Session]) -> None:
    made = paused()
    assert made.clock().emulated_seconds == 0.0
    assert made.step(1).emulated_seconds == 0.0  # the first cycle is at 0
    assert made.step(1).emulated_seconds == 10.0
    assert made.step(4).emulated_seconds == 50.0
    assert made.clock().paused
    with pytest.raises(InvalidRequest, match="cycles is 0"):
        made.step(0)
    made.set_speed(1e-6)
    made.resume()
    with pytest.raises(WrongState, match="Pause first"):
        made.step(1)


def test_a_step_beyond_the_end_ends_it(paused: Callable[..., Session]) -> None:
    made = paused()
    clock = made.step(100_000)
    assert (clock.emulated_seconds, clock.finished) == (3600.0, True)
    assert made.wait(60)
    with pytest.raises(WrongState, match="has ended"):
        made.step(1)


def test_steps_asked_for_at_once_come_one_after_the_other(paused: Callable[..., Session]) -> None:
    made = paused()
    made.step(1)
    threads = [threading.Thread(target=made.step, args=(3,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.clock().emulated_seconds == 300.0


def test_an_input_acts_in_the_first_cycle_that_was_not_run(paused: Callable[..., Session]) -> None:
    """Paused before cycle 0: there. After it: at 10 s. Paused at 50 s: at 60 s. The job of 95 s ends to the nanosecond."""
    made = paused()
    first = made.submit(jobs()).job_ids[0]
    made.step(1)
    second = made.submit(jobs()).job_ids[0]
    assert made.job(second).state == JobState.PENDING
    made.step(5)
    third = made.submit(jobs()).job_ids[0]
    made.step(20)
    views = [made.job(job) for job in (first, second, third)]
    assert [(view.submit_seconds, view.start_seconds, view.end_seconds) for view in views] == [
        (0.0, 0.0, 95.0),
        (10.0, 10.0, 105.0),
        (60.0, 60.0, 155.0),
    ]


def test_the_clock_stands_while_paused_and_never_goes_back(session: Callable[..., Session]) -> None:
    made = session()
    made.set_speed(1000.0)
    made.start()
    reached = 0.0
    while reached < 30.0:
        now = made.clock().emulated_seconds
        assert now >= reached
        reached = now
    at = made.pause().emulated_seconds
    assert at >= reached
    assert [made.clock().emulated_seconds for _ in range(3)] == [at] * 3
    assert made.clock().lag_seconds == 0.0
    stepped = made.step(1).emulated_seconds
    assert stepped == math.ceil(at / 10) * 10
    assert made.resume().emulated_seconds >= stepped


def test_a_paced_clock_stamps_inputs_behind_what_it_reads(session: Callable[..., Session]) -> None:
    made = session()
    made.set_speed(50.0)
    made.start()
    ids = []
    for _ in range(20):
        before = made.clock().emulated_seconds
        ids.append(made.submit(jobs(gpus=1, duration_ns=SECOND)).job_ids[0])
        after = made.clock().emulated_seconds
        submit = made.job(ids[-1]).submit_seconds
        assert before <= submit < after + 10.0
        assert submit % 10 == 0
    made.set_speed(math.inf)
    assert made.wait(60)
    for job in ids:
        assert made.job(job).start_seconds == made.job(job).submit_seconds


@pytest.mark.parametrize("speed", [1e-6, 1e9, math.inf])
def test_the_clock_runs_at_both_ends_of_its_speeds(session: Callable[..., Session], speed: float) -> None:
    made = session()
    made.set_speed(speed)
    made.start()
    assert made.clock().speed == speed
    assert made.submit(jobs()).errors == {}
    made.pause()
    made.step(3)
    assert made.clock().emulated_seconds >= 20.0


@pytest.mark.parametrize("speed", [0.0, -1.0, 5e-324, 0.99e-6, 1.01e9, 1e300, -math.inf, math.nan])
def test_what_is_no_speed(session: Callable[..., Session], speed: float) -> None:
    with pytest.raises(InvalidRequest, match="speed is") as caught:
        session().set_speed(speed)
    assert caught.value.allowed.startswith("0.000001 to 1,000,000,000")


def test_a_stopped_session_ends_where_its_clock_stood(paused: Callable[..., Session]) -> None:
    made = paused()
    made.submit(jobs(duration_ns=1000 * SECOND))
    made.step(21)
    made.stop()
    outcome = made.outcome()
    assert (outcome.emulated_ns, outcome.interrupted) == (200 * SECOND, True)
    assert outcome.jobs.gpu_seconds.tolist() == [8 * 200.0]
    assert made.clock().finished


def test_stop_ends_at_the_boundary_that_a_paced_clock_has_reached(session: Callable[..., Session]) -> None:
    made = session()
    made.set_speed(1000.0)
    made.start()
    while made.clock().emulated_seconds < 50.0:
        pass
    at = made.pause().emulated_seconds
    made.stop()
    assert made.outcome().emulated_ns == at // 10 * 10 * SECOND


def test_an_endless_session_goes_on_without_work(session: Callable[..., Session]) -> None:
    made = session(endless=True)
    made.start()
    assert not made.wait(0.0)
    job = made.submit(jobs()).job_ids[0]
    states = [event.job.state for event in events_of(made, job_ids={job})]
    assert states[-1] == JobState.FINISHED
    made.stop()
    assert made.outcome().interrupted is False
    with pytest.raises(WrongState, match="has an end"):
        made.run_to_end()


def test_the_scenario_says_what_is_wrong_with_it(scenario: Callable[..., Scenario]) -> None:
    with pytest.raises(ScenarioError):
        scenario("name: x\ncluster: {hosts: 1}\nclock: {speed: -1}\n")


def test_the_achieved_speed_is_that_of_the_last_ten_seconds(session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute at 408x, then twelve seconds at 60x, by a wall clock of ours."""
    wall = 0.0
    monkeypatch.setattr(collect, "time", SimpleNamespace(monotonic=lambda: wall))
    collector, emulated_ns = session()._collector, 0
    for second in range(72):
        wall, emulated_ns = wall + 1.0, emulated_ns + (408 if second < 60 else 60) * SECOND
        collector.mark_speed(emulated_ns)
        if second == 59:
            assert collector.achieved_speed(emulated_ns) == 408.0
    assert collector.achieved_speed(emulated_ns) == 60.0


def test_the_power_cap_and_the_facility_are_told_in_watts(paused: Callable[..., Session]) -> None:
    made = paused("power.cap=150MW", "power.pue=1.2")
    assert made.cluster().power_cap_watts == made.snapshot().cluster.power_cap_watts == 150e6
    snapshot = made.snapshot()
    assert snapshot.power_watts == made.cluster().power_watts > 0
    assert snapshot.facility_power_watts == pytest.approx(1.2 * snapshot.power_watts)
