"""Windows of reserved hosts in a whole engine: what becomes of jobs that run there, and what is shown of hosts, GPUs and jobs."""

from typing import Any

import pytest

from emulator.engine.engine import Engine
from emulator.engine.hardware import host_state, rack_views
from emulator.engine.views import explanation, gpus_by_state, job_view
from emulator.scheduler.backlog import pending_by_reason
from emulator.scheduler.calendar import HostReservation, Running
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.engine.small import clos, engine, run, run_until

HOUR = 3600 * SECOND


def kept(hosts: tuple[int, ...], begin_ns: int, duration_ns: int, **more: Any) -> HostReservation:
    return HostReservation(more.pop("name", "kept"), hosts, "rack r00001", begin_ns, duration_ns, **more)


def jobs(*hosts_and_hours: tuple[int, float, float], **columns: Any) -> JobColumns:
    """(hosts, estimate in hours, duration in hours) of each, submitted at 0."""
    hosts, estimate, duration = zip(*hosts_and_hours, strict=True)
    times = {"estimate_ns": [int(e * HOUR) for e in estimate], "duration_ns": [int(d * HOUR) for d in duration]}
    return job_columns(len(hosts), submit_ns=0, gpus=[8 * one for one in hosts], **times, **columns)


def make(*batches: JobColumns, reservations: tuple[HostReservation, ...], **more: Any) -> Engine:
    """Four hosts, each a rack."""
    return engine(clos(4), batches, reservations=reservations, restart_overhead_ns=0, **more)


@pytest.mark.parametrize("running", list(Running))
def test_what_becomes_of_jobs_that_take_longer_than_they_say(running: Running) -> None:
    """Two jobs of 4 hours that say 1 hour; the hosts of one are in maintenance from the second to the third hour."""
    window = kept((0, 1), 2 * HOUR, HOUR, maintenance=True, running=running)
    made = run(make(jobs((2, 1, 4), (2, 1, 4), checkpoint_ns=HOUR // 2), reservations=(window,), policy="easy"))
    table = made.table
    assert table.end_ns[1] == 4 * HOUR
    match running:
        case Running.DRAIN:
            assert (table.end_ns[0], table.preemptions[0]) == (4 * HOUR, 0)
        case Running.REQUEUE:
            assert (table.state[0], table.preemptions[0], table.restarts[0]) == (State.FINISHED, 1, 0)
            assert (table.start_ns[0], table.end_ns[0]) == (3 * HOUR, 5 * HOUR)  # it goes on from its checkpoint when the hosts are back
        case Running.KILL:
            assert (table.state[0], table.end_ns[0]) == (State.FAILED, 2 * HOUR)
            assert job_view(made, 0).reason == "stopped: maintenance of rack r00001 from 7,200 s to 10,800 s"


def test_hosts_and_gpus_have_states_of_their_own() -> None:
    windows = kept((1,), HOUR, HOUR, maintenance=True), kept((2, 3), HOUR, 2 * HOUR, name="lab")
    made = make(jobs((1, 0.5, 10), (1, 0.5, 0.5)), reservations=windows)
    run_until(made, HOUR + HOUR // 2)
    assert [host_state(made, host).value for host in range(4)] == ["healthy", "maintenance", "reserved", "reserved"]
    states = {"busy": 8, "idle": 0, "down": 0, "cordoned": 0, "planned": 0, "maintenance": 8, "reserved": 16}
    assert gpus_by_state(made) == states
    assert rack_views(made, made.read(), 0, 1)[0].reserved == "maintenance of rack r00001 from 3,600 s to 7,200 s"
    made.scheduler.ledger.withhold(1, Withheld.DOWN)
    assert gpus_by_state(made)["maintenance"] == 0
    run_until(made, 4 * HOUR)
    assert [host_state(made, host).value for host in range(4)] == ["healthy", "down", "healthy", "healthy"]


def test_a_job_says_which_window_it_waits_for() -> None:
    made = make(jobs((3, 9, 9), (3, 1, 1)), reservations=(kept((1, 2), 2 * HOUR, 4 * HOUR, maintenance=True),), policy="fifo")
    run_until(made, 0)
    why = explanation(made, 0)
    assert why.kind == "reservation"
    assert why.text == "is expected to run for 32,400 s, and would fit but for maintenance of rack r00001 from 7,200 s to 21,600 s"
    assert why.remedy.startswith("may start when that is over, at 21,600 s, or when enough other hosts are free; by the running jobs'")
    assert why.numbers["earliest_start_seconds"] == 21600
    counts, _ = pending_by_reason(made.scheduler)
    assert (counts["reservation"], counts["priority"]) == (1, 1)
    made = run(make(jobs((3, 9, 9), (3, 1, 1)), reservations=(kept((1, 2), 2 * HOUR, 4 * HOUR, maintenance=True),), policy="easy"))
    assert made.table.start_ns[:2] == [6 * HOUR, 0], "EASY starts the short one before the window"


def test_the_ledger_refuses_a_job_over_a_window_and_undo_restores_what_is_seen() -> None:
    made = make(jobs((4, 3, 3), (1, 3, 3)), reservations=(kept((1,), 2 * HOUR, HOUR),))
    run_until(made, 0)
    scheduler = made.scheduler
    partition, draft = scheduler.partitions[0], scheduler.draft
    with pytest.raises(Refused, match="host r00001-h00 is not for job 1: reservation kept of rack r00001 from") as caught:
        draft.start(1, [(0, 0b10, 0xFF)] if partition.free.first_host[1] > 1 else [(1, 1, 0xFF)])
    assert caught.value.rule == Rule.RESERVED
    seen = draft.free_for(partition, 1)
    before, mark = (seen.free_gpus, partition.free.free_gpus), draft.mark()
    rows = draft.choose(partition, 1)
    assert rows is not None
    draft.start(1, rows)
    assert (seen.free_gpus, partition.free.free_gpus) == (before[0] - 8, before[1] - 8)
    draft.undo(mark)
    assert (seen.free_gpus, partition.free.free_gpus) == before


def test_jobs_that_use_a_reservation() -> None:
    """In order, on its hosts, in its time; and what those say that wait or may not."""
    lab = kept((2, 3), HOUR, 2 * HOUR, name="lab", queues=frozenset({"class"}), every_ns=24 * HOUR, times=2)
    given = [(1, 1.5, 1.5), (2, 1, 1), (1, 0.25, 0.25), (1, 3, 3), (1, 1, 1), (1, 1, 1), (3, 1, 1)]
    names = {"reservation": [0, 0, 0, 0, 1, 0, 0], "reservations": ("lab", "none")}
    queues = {"queue": [0, 0, 0, 0, 0, 1, 0], "queues": ("class", "default")}
    made = make(jobs(*given, **names, **queues), reservations=(lab,))
    run_until(made, 0)
    view = [job_view(made, slot) for slot in range(7)]
    assert [one.state.value for one in view] == ["pending"] * 3 + ["infeasible"] * 4
    assert view[0].reason == "waits for reservation lab of rack r00001 from 3,600 s to 10,800 s"
    assert view[3].reason == "reservation lab lasts 7,200 s, and the job is to end in it"
    assert view[4].reason == "there is no reservation none"
    assert view[5].reason == "reservation lab is not for queue default and tenant default"
    assert view[6].reason == "the hosts of reservation lab have 16 GPUs"
    assert pending_by_reason(made.scheduler)[0]["reservation"] == 3
    run_until(made, 2 * HOUR)
    table = made.table
    assert table.start_ns[0] == HOUR
    assert explanation(made, 1).text == "needs 16 GPUs of the hosts of reservation lab of rack r00001 from 3,600 s to 10,800 s"
    assert table.state[2] == State.PENDING, "nobody passes the one that does not fit"
    run(made)
    assert table.start_ns[2] == int(2.5 * HOUR), "the second no longer ends in time, so it is passed over"
    assert table.start_ns[1] == 25 * HOUR
