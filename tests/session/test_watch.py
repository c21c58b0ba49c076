"""Watching a live session."""

import threading
from collections.abc import Callable, Iterable

import pytest

from emulator.engine.errors import NotFound, WrongState
from emulator.engine.job_control import JobEvent, JobState
from emulator.runtime import watch
from emulator.runtime.session import Session
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.session.conftest import as_it_is, events_of


def jobs(count: int = 1, **columns: list[int]) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 15 * SECOND} | columns)


def seen(events: Iterable[JobEvent | None]) -> list[tuple[int, int, str]]:
    return [(event.sequence, event.job.job_id, event.job.state.value) for event in events if event is not None]


def test_a_watch_is_a_snapshot_and_then_every_change(paused: Callable[..., Session]) -> None:
    made = paused()
    a, b = made.submit(jobs(2, gpus=[64, 64])).job_ids
    made.step(1)
    events = events_of(made, job_ids={a, b})
    first = [next(events), next(events)]
    assert seen(first) == [(2, a, "running"), (2, b, "pending")]
    made.step(10)
    assert seen(events) == [(3, a, "finished"), (4, b, "running"), (5, b, "finished")]


def test_a_watch_is_resumed_behind_any_sequence(paused: Callable[..., Session]) -> None:
    made = paused()
    a, b = made.submit(jobs(2, gpus=[64, 64])).job_ids
    made.step(10)
    every = [(0, a, "pending"), (1, b, "pending"), (2, a, "running"), (3, a, "finished"), (4, b, "running"), (5, b, "finished")]
    for after in range(5):
        assert seen(events_of(made, job_ids={a, b}, after_sequence=after)) == every[after + 1 :]
    assert seen(events_of(made, job_ids={b}, after_sequence=0)) == [row for row in every[1:] if row[1] == b]
    with pytest.raises(WrongState, match="change 6 is no longer kept"):
        events_of(made, after_sequence=6)
    assert [event.at_seconds for event in events_of(made, job_ids={a, b}, after_sequence=0) if event] == [0.0, 0.0, 15.0, 20.0, 35.0]


def test_watching_jobs_that_have_ended_gives_their_state_and_ends(paused: Callable[..., Session]) -> None:
    made = paused()
    a = made.submit(jobs()).job_ids[0]
    made.step(10)
    assert [event.job.state for event in events_of(made, job_ids={a}) if event] == [JobState.FINISHED]
    with pytest.raises(NotFound, match="no job 7"):
        events_of(made, job_ids={7})


def test_a_watch_of_everything_ends_with_the_session_and_misses_nothing(session: Callable[..., Session]) -> None:
    made = session()
    made.pause()
    made.start()
    events = events_of(made)
    ids = made.submit(jobs(50)).job_ids
    made.resume()
    told = seen(events)
    assert made.wait(60)
    assert [sequence for sequence, _, _ in told] == list(range(150))
    assert sorted(job for _, job, state in told if state == "finished") == ids


def test_a_watcher_that_is_too_slow_is_told_so(paused: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "HISTORY", 4)
    made = paused()
    events = events_of(made, job_ids=frozenset(made.submit(jobs()).job_ids))
    next(events)
    made.submit(jobs(10))
    made.step(10)
    with pytest.raises(WrongState, match="too slow"):
        list(events)
    with pytest.raises(WrongState, match="is no longer kept"):
        events_of(made, after_sequence=0)


def test_many_watchers_see_the_same(session: Callable[..., Session]) -> None:
    made = session(endless=True)
    made.pause()
    made.start()
    ids = frozenset(made.submit(jobs(40)).job_ids)
    told: list[list[tuple[int, int, str]]] = [[] for _ in range(30)]
    threads = [threading.Thread(target=lambda rows=rows: rows.extend(seen(events_of(made, job_ids=ids)))) for rows in told]
    for thread in threads:
        thread.start()
    made.resume()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    for rows in told:
        assert {job: state for _, job, state in rows} == dict.fromkeys(ids, "finished")
        sequences = [sequence for sequence, _, _ in rows[len(ids) :]]
        assert sequences == sorted(set(sequences))


def test_closing_ends_every_watch(paused: Callable[..., Session]) -> None:
    made = paused()
    events = events_of(made)
    thread = threading.Thread(target=lambda: list(events))
    thread.start()
    made.close()
    thread.join(60)
    assert not thread.is_alive()


def test_what_is_told_is_made_once_however_many_watch(paused: Callable[..., Session]) -> None:
    """Of 20 jobs and 40 changes: watches that begin in one cycle share a snapshot, and a change is made for all of them."""
    made = paused()
    made.submit(jobs(20))
    made.step(1)  # all are known: 8 run
    told: list[int] = []

    def form(event: JobEvent) -> int:
        told.append(event.sequence)
        return event.job.job_id

    watches = [made.watch(form) for _ in range(5)]
    known = [[job for _ in range(2) for job in one.take(1000)] for one in watches]
    assert known == [known[0]] * 5
    assert len(told) == len(known[0]) == 20
    del told[:]
    unread = made.watch(form)
    made.step(10)
    changes = [one.take(1000) for one in watches]
    assert changes == [changes[0]] * 5
    assert len(changes[0]) == 20 + 12  # 20 ends and 12 starts
    assert sorted(told) == list(range(28, 60))
    assert unread.needs_turn


def test_changes_that_a_snapshot_has_are_not_told_again(paused: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot is made in batches of one job, with a cycle between: no job's state goes back."""
    monkeypatch.setattr(watch, "SNAPSHOT_BATCH", 1)
    made = paused()
    made.submit(jobs(6, gpus=[64] * 6))
    made.step(1)
    seen_by_job: dict[int, list[str]] = {}
    given = made.watch(as_it_is)
    while given.needs_turn:
        made.step(1)
        for event in given.take(1):
            seen_by_job.setdefault(event.job.job_id, []).append(event.job.state.value)
    made.step(20)
    while events := given.take(1000):
        for event in events:
            seen_by_job.setdefault(event.job.job_id, []).append(event.job.state.value)
    assert len(seen_by_job) == 6
    for states in seen_by_job.values():
        assert states == sorted(set(states), key=["pending", "running", "finished"].index)
        assert states[-1] == "finished"
