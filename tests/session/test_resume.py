"""A session that goes on from its journal: where it was, with what it had promised, to the result that it would have had."""

import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.errors import InvalidRequest, NeverFits, QueueFull, WrongState
from emulator.engine.fault_control import FaultRequest
from emulator.engine.job_control import JobState
from emulator.report.progress import Progress
from emulator.runtime import answers
from emulator.runtime.answers import from_json, to_json
from emulator.runtime.opening import open_replay, open_session
from emulator.scenario import Scenario
from emulator.store.errors import JournalError
from emulator.store.journal import Input, Journal
from emulator.workload.jobs import SECOND, JobColumns, TrainingShape, job_columns
from tests.session.conftest import BUSY, QUIET, events_of


def jobs(count: int = 1, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 95 * SECOND} | columns)


@pytest.fixture
def crashed(tmp_path: Path) -> Callable[[], Path]:
    """The directory as a crash at this moment would leave it; nobody holds it."""

    def copy() -> Path:
        shutil.copytree(tmp_path / "state", tmp_path / "crashed", dirs_exist_ok=True)
        return tmp_path / "crashed"

    return copy


def live_until(made: Any, seconds: float, every: Callable[[int], object] = lambda number: None) -> None:
    number = 0
    while made.clock().emulated_seconds < seconds:
        number += 1
        every(number)


def test_a_crash_changes_nothing(
    session: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path, crashed: Callable[[], Path]
) -> None:
    """Jobs, cancellations, holds, cordons and faults before and after; also of jobs that the generator made."""
    made = session(BUSY, state_dir=tmp_path / "state")
    made.set_speed(4_000.0)
    made.start()
    shape = TrainingShape(1.0, 47.5e9, 0.3, 1e-4, 1e15)
    three = jobs(3, gpus=[1, 16, 64], kind=[0, 1, 0], shape=[-1, 0, -1], shapes=(shape,), names=("a", "b", "c"))

    def disturb(number: int) -> None:
        made.submit(three, f"r{number}")
        if number % 7 == 0:
            made.inject_fault(FaultRequest("host", str(number % 32), 100.0), request_id=f"f{number}")
            made.cordon(number % 8, cordoned=number % 2 == 0, request_id=f"c{number}")
        running = made.jobs(states=frozenset({JobState.PENDING, JobState.RUNNING}), limit=1)
        if running and running[0].job_id < 10**9:
            with suppress(WrongState):  # it has ended since
                made.cancel(running[0].job_id, f"x{number}")
        for job in made.jobs(states=frozenset({JobState.PENDING}), limit=4):
            with suppress(WrongState):
                (made.release if job.reason == "on hold" else made.hold)(job.job_id, f"h{number}-{job.job_id}")
                held.add(job.job_id)
                made.set_priority(job.job_id, number % 5, f"p{number}-{job.job_id}")

    held = set[int]()
    live_until(made, 6_000, disturb)
    assert held
    made.pause()
    told = made.clock().emulated_seconds
    directory = crashed()
    made.close()

    progress: list[Progress] = []
    again: Any = open_session(scenario(BUSY), state_dir=directory, resuming=progress.append)
    with closing(again):
        assert again.clock().emulated_seconds >= told
        assert (progress[0].until_seconds or 0.0) >= told
        assert again.submit(three, "r1").job_ids == [10**9, 10**9 + 1, 10**9 + 2]
        again.set_speed(4_000.0)
        again.start()
        live_until(again, 12_000, lambda number: again.submit(jobs()))
        again.set_speed(float("inf"))
        assert again.wait(120)
        digest = again.outcome().digest
        ids = [job.job_id for job in again.jobs(limit=10**6)]
        assert len(set(ids)) == len(ids)
    with closing(Journal.copy(directory)) as journal:
        records = list(journal.inputs())
        assert records[-1].payload == {"digest": digest}
        stamps = [record.stamp_ns for record in records]
        assert stamps == sorted(stamps)
        with closing(open_replay(journal, actors="inline")) as replayed:
            outcome = replayed.replay(journal)
    assert (outcome.digest, outcome.interrupted) == (digest, False)


def test_what_was_told_is_not_taken_back(
    paused: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path, crashed: Callable[[], Path]
) -> None:
    """A client saw a job end; after the crash that job has ended, and nothing can be made to act before."""
    made = paused(state_dir=tmp_path / "state")
    job = made.submit(jobs()).job_ids[0]
    made.step(20)
    seen, told = made.job(job), made.clock().emulated_seconds
    assert (seen.state, told) == (JobState.FINISHED, 190.0)
    again: Any = open_session(scenario(), state_dir=crashed())
    with closing(again):
        assert again.clock().emulated_seconds == told
        assert again.job(job) == seen
        again.submit(jobs())
        assert again._inputs.last_stamp_ns == 200 * SECOND


def test_an_idle_clock_that_was_read_does_not_go_back(
    session: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path, crashed: Callable[[], Path]
) -> None:
    made = session(QUIET, endless=True, state_dir=tmp_path / "state")
    made.set_speed(1e6)
    made.start()
    live_until(made, 500_000.0)
    made.pause()
    told = made.clock().emulated_seconds
    with closing(open_session(scenario(), endless=True, state_dir=crashed())) as again:
        assert told <= again.clock().emulated_seconds <= told + 1e6 * 10


def test_a_watch_goes_on_behind_a_crash_with_the_numbers_that_it_had(
    paused: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path, crashed: Callable[[], Path]
) -> None:
    made = paused(state_dir=tmp_path / "state")
    ids = frozenset(made.submit(jobs(3, gpus=64)).job_ids)
    made.step(15)
    before = list(islice(events_of(made, job_ids=ids, after_sequence=0), 4))
    again: Any = open_session(scenario(), state_dir=crashed())
    with closing(again):
        assert list(islice(events_of(again, job_ids=ids, after_sequence=0), 4)) == before


def test_first_answers_are_given_again_after_a_crash(
    paused: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path, crashed: Callable[[], Path]
) -> None:
    made = paused("scheduler.pending_limit=3", state_dir=tmp_path / "state")
    asked = jobs(6, gpus=[8, 65, 66, 8, 8, 8])
    first = made.submit(asked, "submit")
    assert [index for index, error in first.errors.items() if isinstance(error, NeverFits)] == [1, 2]
    assert [index for index, error in first.errors.items() if isinstance(error, QueueFull)] == [5]
    held, released = made.hold(10**9 + 1, "hold"), made.release(10**9 + 1, "release")
    raised = made.set_priority(10**9 + 1, 5, "priority")
    made.step(1)
    cancelled = made.cancel(10**9, "cancel")
    cordoned = made.cordon(1, cordoned=True, request_id="cordon")
    fault = made.inject_fault(FaultRequest("host", "3", 1.5), request_id="fault")
    made.step(3)
    again: Any = open_session(scenario(QUIET, "scheduler.pending_limit=3"), state_dir=crashed())
    with closing(again):
        repeated = again.submit(asked, "submit")
        assert repeated.job_ids == first.job_ids
        assert {i: (type(e), str(e), e.allowed) for i, e in repeated.errors.items()} == {
            i: (type(e), str(e), e.allowed) for i, e in first.errors.items()
        }
        assert repeated.errors[5].retry_seconds == 5.0
        assert again.cancel(10**9, "cancel") == cancelled
        assert (again.hold(10**9 + 1, "hold"), again.release(10**9 + 1, "release")) == (held, released)
        assert again.set_priority(10**9 + 1, 5, "priority") == raised
        assert again.job(10**9 + 1).priority == 5
        assert again.cordon(1, cordoned=True, request_id="cordon") == cordoned
        assert again.inject_fault(FaultRequest("host", "3", 1.5), request_id="fault") == fault
        assert len(again._journal) == 7
        with pytest.raises(InvalidRequest, match="was used for another request"):
            again.submit(jobs(), "submit")


def test_only_the_last_answers_are_remembered(
    paused: Callable[..., Any],
    scenario: Callable[..., Scenario],
    tmp_path: Path,
    crashed: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "REQUESTS_KEPT", 2)
    made = paused(state_dir=tmp_path / "state")
    ids = [made.submit(jobs(), name).job_ids[0] for name in "abc"]
    again: Any = open_session(scenario(), state_dir=crashed())
    with closing(again):
        assert [again.submit(jobs(), name).job_ids[0] for name in "cb"] == [ids[2], ids[1]]
        assert again.submit(jobs(), "a").job_ids[0] == 10**9 + 3


def test_an_answer_is_the_same_from_json(paused: Callable[..., Any]) -> None:
    made = paused()
    job = made.submit(jobs()).job_ids[0]
    assert from_json("cancel", to_json(made.job(job)), ()) == made.job(job)
    assert from_json("cordon", to_json(made.racks()[0]), ()) == made.racks()[0]
    assert from_json("fault", to_json("host 3 fails"), ()) == "host 3 fails"


def test_a_session_that_was_stopped_goes_on(paused: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    made = paused(state_dir=tmp_path / "state")
    job = made.submit(jobs()).job_ids[0]
    made.step(3)
    made.submit(jobs(2, gpus=64))  # accepted, for a cycle that is not run any more
    made.stop()
    stopped = made.outcome().digest
    made.close()
    with closing(Journal.copy(tmp_path / "state")) as journal, closing(open_replay(journal)) as replayed:
        outcome = replayed.replay(journal)
        assert (outcome.digest, outcome.interrupted, outcome.emulated_ns) == (stopped, True, 20 * SECOND)
    again: Any = open_session(scenario(), state_dir=tmp_path / "state")
    with closing(again):
        assert (again.job(job).state, again.clock().emulated_seconds) == (JobState.RUNNING, 20.0)
        again.start()
        assert again.wait(60)
        assert [row.state for row in again.jobs()] == [JobState.FINISHED] * 3
    kinds = [row.kind for row in records(tmp_path / "state")]
    assert kinds == ["submit", "submit", "stop", "end"]


def records(directory: Path) -> list[Input]:
    with closing(Journal.copy(directory)) as journal:
        return list(journal.inputs())


def test_a_session_that_came_to_its_end_is_over(session: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    made = session(state_dir=tmp_path / "state")
    made.start()
    assert made.wait(60)
    made.close()
    with pytest.raises(JournalError, match=r"ended at 3600 s; allowed: `gigawatt replay \S+state`, or another directory"):
        open_session(scenario(), state_dir=tmp_path / "state")


def test_a_crash_between_the_end_and_its_record(
    session: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path, crashed: Callable[[], Path]
) -> None:
    made = session(state_dir=tmp_path / "state")
    made.submit(jobs())
    made._note_end = lambda: None
    made.start()
    assert made.wait(60)
    again: Any = open_session(scenario(), state_dir=crashed())
    with closing(again):
        again.start()
        assert again.wait(60)
        assert again.outcome().digest == made.outcome().digest
    assert records(tmp_path / "crashed")[-1].kind == "end"


@pytest.mark.parametrize(
    ("settings", "options", "said"),
    [
        (["seed=7"], {}, "seed was 1 and is now 7"),
        (["scheduler.policy=fifo"], {}, "scheduler.policy was 'easy' and is now 'fifo'"),
        (["clock.cycle=5s"], {}, "clock.cycle was '10s' and is now '5s'"),
        (["scheduler.queues=[{name: default}, {name: b}]"], {}, "scheduler.queues.1.name was not there and is now 'b'"),
        ([], {"endless": True}, r"its end was 3600 s \(--until\) and is now open \(no --until\)"),
        (["clock.until=2h"], {}, r"its end was 3600 s \(--until\) and is now 7200 s"),
    ],
)
def test_another_session_is_refused_with_the_first_difference(
    session: Callable[..., Any],
    scenario: Callable[..., Scenario],
    tmp_path: Path,
    settings: list[str],
    options: dict[str, Any],
    said: str,
) -> None:
    session(state_dir=tmp_path / "state").close()
    with pytest.raises(JournalError, match=f"holds a session that differs: {said}"):
        open_session(scenario(QUIET, *settings), state_dir=tmp_path / "state", **options)
    open_session(scenario(), state_dir=tmp_path / "state").close()


def test_what_changes_no_result_may_differ(session: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    session(state_dir=tmp_path / "state").close()
    changed = ("clock.speed=60", "telemetry.detail=pod", "runtime.health_check_period=1s", "description=a day")
    open_session(scenario(QUIET, *changed), state_dir=tmp_path / "state").close()


def test_a_trace_that_has_changed_is_refused_by_name(
    scenario: Callable[..., Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "jobs.csv"
    trace.write_text("id,submit_s,duration_s,gpus\n1,0,60,8\n2,30,60,8\n")
    settings = ("workload.kind=trace", "workload.format=csv", f"workload.path={trace}")
    made = open_session(scenario(QUIET, *settings), state_dir=tmp_path / "state")
    made.start()
    assert made.wait(60)
    digest = made.outcome().digest
    made.close()
    shutil.copytree(tmp_path / "state", tmp_path / "whole")
    monkeypatch.chdir("/")
    with closing(Journal.copy(tmp_path / "state")) as journal, closing(open_replay(journal)) as replayed:
        assert replayed.replay(journal).digest == digest
    length = trace.stat().st_size
    for change, size in (("1,0,60,9", False), ("1,0,600,8", True)):
        trace.write_text(trace.read_text().replace("1,0,60,8", change))
        sizes = f": it had {length} bytes and has {length + 1}" if size else ""
        with closing(Journal.copy(tmp_path / "state")) as journal, pytest.raises(JournalError) as refused:
            open_replay(journal)
        assert f"the file {trace} has changed since the session began{sizes}; allowed" in str(refused.value)
        with pytest.raises(JournalError, match=rf"differs: the file {trace} has changed"):
            open_session(scenario(QUIET, *settings), state_dir=tmp_path / "state")
        trace.write_text(trace.read_text().replace(change, "1,0,60,8"))
    trace.unlink()
    with closing(Journal.copy(tmp_path / "state")) as journal, pytest.raises(JournalError, match=r"jobs.csv: no such file"):
        open_replay(journal)


def test_another_version_of_gigawatt_is_said(session: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    made = session(state_dir=tmp_path / "state")
    made._journal.recorded = replace(made._journal.recorded, version="0.0.1")
    made._journal._database.execute("UPDATE about SET value = '\"0.0.1\"' WHERE key = 'version'")
    made.close()
    with closing(open_session(scenario(), state_dir=tmp_path / "state")) as again:
        assert again.notes == (
            f"{tmp_path / 'state' / 'journal.sqlite'}: it was written by gigawatt 0.0.1, so what is repeated may come out differently",
        )


def test_what_ends_the_resuming_lets_go_of_the_directory(
    paused: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path, crashed: Callable[[], Path]
) -> None:
    made = paused(state_dir=tmp_path / "state")
    made.submit(jobs())
    made.step(3)
    directory = crashed()

    def interrupted(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_session(scenario(), state_dir=directory, resuming=interrupted)
    assert [row.kind for row in records(directory)] == ["submit"]
    open_session(scenario(), state_dir=directory).close()


def test_a_mark_that_cannot_be_written_does_not_stop_the_emulation(
    session: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = session(state_dir=tmp_path / "state")
    made.pause()
    made.start()
    made._journal._database.execute("DROP TABLE about")
    made.resume()
    assert made.wait(60)
    assert caplog.text.count("a crash now would set the emulation back to") == 1
    assert made.outcome().emulated_ns == 3600 * SECOND
    assert made.unkept is not None


def test_events_are_those_of_the_whole_session_after_a_crash_and_of_its_replay(
    paused: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path, crashed: Callable[[], Path]
) -> None:
    made = paused(state_dir=tmp_path / "state", events=True)
    first = made.submit(jobs(3)).job_ids[0]
    made.step(2)
    made.inject_fault(FaultRequest("host", "0", 50.0))
    made.step(3)
    again: Any = open_session(scenario(QUIET), state_dir=crashed(), events=True)
    again.pause()
    again.start()
    tables = []
    for one in (made, again):
        with closing(one):
            one.cancel(first)
            one.step(30)
            one.stop()
            tables.append(one.outcome().events_table().to_pylist())
    with closing(Journal.copy(tmp_path / "state")) as journal, closing(open_replay(journal, events=True)) as replayed:
        outcome = replayed.replay(journal)
        assert outcome.events_table is not None
        tables.append(outcome.events_table().to_pylist())
    assert tables[0] == tables[1] == tables[2]
    kinds = [row["kind"] for row in tables[0]]
    assert {"submitted", "started", "fault", "interrupted", "cancelled", "finished", "repair"} <= set(kinds)
    assert kinds.count("submitted") == 3
