"""Every event of small runs, in order, against what the runs came to."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from emulator.engine.backoff import Backoff
from emulator.engine.commands import Cancel, CutLinks, Hold, SetPriority
from emulator.engine.link_health import Cut
from emulator.jobs.costs import CheckpointCosts, Costs, Writing
from emulator.report import events
from emulator.report.events import EventLog, events_table
from emulator.report.spool import Spool
from emulator.workload.jobs import SECOND, JobColumns, JobKind, Recovery, job_columns
from tests.engine.small import clos, engine, run, run_until


def gangs(count: int, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 95 * SECOND} | columns)


def rows(log: EventLog) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = events_table(log.columns()).to_pylist()
    return found


def short(log: EventLog) -> list[tuple[Any, ...]]:
    return [(row["time_seconds"], row["kind"], row["job_id"] if row["job_id"] is not None else row["element"]) for row in rows(log)]


def test_a_run_by_hand() -> None:
    """Two hosts. Job 0 is interrupted by a fault, then preempted for job 3; job 4 is held and released; job 5 never fits."""
    jobs = gangs(6, gpus=[8, 8, 8, 8, 1, 99], submit_ns=np.array([0, 0, 100, 105, 105, 105]) * SECOND, milli_gpus=[1000] * 4 + [250, 1000])
    made = engine(clos(2), [jobs], policy="easy", preemption=True, fail_at={0: 42 * SECOND}, restart_overhead_ns=0)
    log = EventLog(made, Spool())
    for command, at in ((Cancel(1), 60), (Hold(4, held=True), 120), (Hold(4, held=False), 130), (SetPriority(3, 5), 140), (Cancel(4), 150)):
        made.post(command, at * SECOND)
    run(made)
    assert short(log) == [
        (0, "submitted", 0), (0, "submitted", 1), (0, "started", 0), (0, "started", 1),
        (42, "fault", "r00000-h00"), (42, "interrupted", 0), (42, "requeued", 0), (60, "cancelled", 1), (60, "started", 0),
        (100, "submitted", 2), (110, "submitted", 3), (110, "submitted", 4), (110, "infeasible", 5),
        (120, "held", 4), (130, "released", 4), (140, "reprioritised", 3), (140, "preempted", 0), (140, "requeued", 0),
        (140, "started", 3), (150, "cancelled", 4), (235, "finished", 3), (240, "started", 0), (335, "finished", 0),
        (340, "started", 2), (435, "finished", 2),
    ]  # fmt: skip
    by_kind = {row["kind"]: row for row in rows(log)}
    cause = by_kind["fault"]["reason"]
    assert (by_kind["fault"]["gpus"], by_kind["held"]["gpus"]) == (8.0, 0.25)
    assert by_kind["interrupted"]["reason"] == f"host r00000-h00 failed: {cause}"
    assert by_kind["preempted"]["reason"] == "preempted for job 3 of priority 5, above 0"
    assert by_kind["infeasible"]["reason"] == "99 GPUs never fit on this cluster of 16 GPUs"
    assert not log._seen  # nothing is kept of jobs that have ended


def test_a_job_is_requeued_when_its_back_off_is_over() -> None:
    """Job 0 backs off from 42 s until 142 s, job 1 from 43 s; it is held meanwhile, so it is back in its queue once it is released."""
    jobs = gangs(2, gpus=[8, 8], submit_ns=0, milli_gpus=1000)
    backoff = Backoff(100 * SECOND, 2.0, 1000 * SECOND)
    made = engine(clos(4), [jobs], fail_at={0: 42 * SECOND, 1: 43 * SECOND}, restart_overhead_ns=0, requeue_backoff=backoff)
    log = EventLog(made, Spool())
    made.post(Hold(1, held=True), 60 * SECOND)
    made.post(Hold(1, held=False), 200 * SECOND)
    run(made)
    happened = [event for event in short(log) if event[1] in ("interrupted", "requeued", "held", "released", "started") and event[0]]
    assert happened == [
        (42, "interrupted", 0), (43, "interrupted", 1), (60, "held", 1), (150, "requeued", 0), (150, "started", 0),
        (200, "released", 1), (200, "started", 1),
    ]  # fmt: skip


def test_faults_of_the_fabric_and_repairs() -> None:
    made = engine(clos(6), [gangs(1)], fail_at={1: 30 * SECOND})
    log = EventLog(made, Spool())
    cuts = tuple(Cut(link, (), 0.5) for link in range(6))
    made.post(CutLinks(cuts, 10 * SECOND), 10 * SECOND)
    run_until(made, 30_000 * SECOND)
    told = rows(log)
    assert [row["kind"] for row in told] == ["submitted", "started", "fault", "repair", "fault", "finished", "repair"]
    down, whole = told[2:4]
    assert (down["time_seconds"], whole["time_seconds"], down["gpus"], down["job_id"]) == (10.0, 20.0, 0.0, None)
    assert down["element"] == whole["element"]
    assert down["element"].endswith(" and 2 more")
    assert (told[-1]["element"], told[-1]["reason"]) == (told[4]["element"], "") == ("r00001-h00", "")


def test_what_is_put_by_comes_back_in_order_and_agrees_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy run whose events come in chunks of seven; where no job is held, its counts are those of the engine."""
    monkeypatch.setattr(events, "EVENTS_AT_ONCE", 7)
    jobs = gangs(
        60,
        submit_ns=np.arange(60) * 7 * SECOND,
        gpus=np.arange(60) % 5 * 4 + 4,
        priority=np.arange(60) % 4,
        duration_ns=(np.arange(60) % 9 + 1) * 50 * SECOND,
    )
    made = engine(clos(3), [jobs], policy="priority", preemption=True, fail_at={0: 100 * SECOND, 2: 333 * SECOND})
    log = EventLog(made, Spool())
    run(made)
    assert len(log._rows) < 7
    told = rows(log)
    times = [row["time_seconds"] for row in told]
    assert times == sorted(times)
    counts = Counter(row["kind"] for row in told)
    assert counts["submitted"] == counts["finished"] == 60
    assert (counts["started"], counts["preempted"], counts["interrupted"]) == (
        made.chronicle.started,
        made.chronicle.preemptions,
        made.chronicle.restarts,
    )
    assert counts["preempted"]
    assert counts["fault"] == sum(made.host_faults.counts)
    assert rows(log) == told  # may be asked for again


def test_a_job_that_keeps_its_gpus_hangs_and_restarts() -> None:
    """Host 0 fails at 42 s, which is noticed after 2 to 60 s: a spare stands in. Job 1 is then asked to stop, and saves for 21 s."""
    jobs = gangs(
        3,
        gpus=[16, 8, 24],
        submit_ns=np.array([0, 0, 500]) * SECOND,
        duration_ns=np.array([150, 1000, 50]) * SECOND,
        kind=[int(JobKind.TRAINING), 0, 0],
        checkpoint_ns=900 * SECOND,
        priority=[0, 0, 5],
    )
    checkpoint = CheckpointCosts(Writing.BLOCKING, gpu_bytes_per_second=0.04e9)
    made = engine(
        clos(4),
        [jobs],
        policy="easy",
        preemption=True,
        grace_ns=60 * SECOND,
        fail_at={0: 42 * SECOND},
        costs=Costs(0, detection=True, checkpoint=checkpoint),
        recovery=Recovery.SPARES,
        spares_per_1024_gpus=1,
    )
    log = EventLog(made, Spool())
    run(made)
    kinds = [(row["kind"], row["job_id"]) for row in rows(log) if row["job_id"] is not None]
    assert kinds[4:] == [
        ("hung", 0), ("restarted", 0), ("finished", 0), ("submitted", 2), ("draining", 1),
        ("preempted", 1), ("requeued", 1), ("started", 2), ("finished", 2), ("started", 1), ("finished", 1),
    ]  # fmt: skip
    told = {row["kind"]: row["reason"] for row in rows(log)}
    assert told["hung"].startswith("host r00000-h00 failed: ")
    assert told["restarted"] == f"restarted with spare r00003-h00, after {told['hung']}"
    assert told["draining"] == told["preempted"] == "preempted for job 2 of priority 5, above 0"
