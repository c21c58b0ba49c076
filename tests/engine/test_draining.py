"""Jobs that are asked to stop and have a time of grace: they save what they did, and nobody gets in between."""

from typing import Any

import numpy as np
import pytest

from emulator.engine import views
from emulator.engine.commands import BreakHosts, Cancel
from emulator.engine.engine import Engine
from emulator.engine.gpu_time import HELD, job_time
from emulator.jobs.costs import CheckpointCosts, Costs, Writing
from emulator.scheduler.calendar import HostReservation, Running
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, job_columns
from tests.engine.small import clos, ends, engine, run, run_until
from tests.engine.test_properties import check_sums

#: 0.84 GB a GPU at 0.04 GB/s: a checkpoint takes 21 s.
COSTS = Costs(0, checkpoint=CheckpointCosts(Writing.BLOCKING, gpu_bytes_per_second=0.04e9))
GRACE = 40 * SECOND


def made_for(policy: str = "priority", later: int = 0, **settings: Any) -> Engine:
    """Two hosts. Jobs 0 and 1 have one each; job 2, for both and of a higher priority, comes at 100 s. Job 0 saves each 1,000 s of work,
    job 1 never does. ``later``: of jobs with 8 GPUs and a higher priority still, which come at 110 s.
    """
    jobs = job_columns(
        3 + later,
        submit_ns=np.array([0, 0, 100] + [110] * later) * SECOND,
        gpus=[8, 8, 16] + [8] * later,
        duration_ns=np.array([500, 500, 200] + [50] * later) * SECOND,
        priority=[0, 0, 9] + [10] * later,
        checkpoint_ns=np.array([1000, 0, 0] + [0] * later) * SECOND,
    )
    given: dict[str, Any] = {"costs": COSTS, "grace_ns": GRACE, "preemption": True} | settings
    return engine(clos(2), [jobs], policy=policy, **given)


def seconds(made: Engine, slot: int) -> dict[str, float]:
    return {name: time / SECOND for name, time in zip(HELD, job_time(made.table, slot, made.now_ns), strict=True) if time}


@pytest.mark.parametrize("policy", ["fifo", "priority", "easy", "conservative"])
def test_a_job_saves_before_it_makes_room_and_both_give_back_together(policy: str) -> None:
    made = made_for(policy)
    run_until(made, 100 * SECOND)
    assert [made.table.lives.phase(slot).name for slot in (0, 1)] == ["DRAINING"] * 2
    assert "; it saves what it did, and stops at 121 s: preempted for job 2 of priority 9, above 0" in views.explanation(made, 0).text
    assert made.chronicle.preemptions == 0
    check_sums(made)
    run(made)
    assert made.chronicle.preemptions == 2
    assert ends(made) == {2: 130 + 200, 0: 330 + 400, 1: 330 + 500}
    assert seconds(made, 0) == {"productive": 500, "draining": 21}
    assert seconds(made, 1) == {"productive": 500, "redone": 100, "draining": 21}


def test_what_cannot_be_saved_in_time_is_lost() -> None:
    made = run(made_for(grace_ns=10 * SECOND))
    assert ends(made) == {2: 110 + 200, 0: 310 + 500, 1: 310 + 500}
    assert seconds(made, 0) == {"productive": 500, "redone": 100, "draining": 10}


def test_without_grace_or_with_nothing_to_save_they_stop_at_once() -> None:
    for settings in ({"grace_ns": 0}, {"costs": Costs(0)}):
        made = run(made_for(**settings))
        assert ends(made)[2] == 300
        assert "draining" not in seconds(made, 0)


def test_a_fault_meanwhile_ends_it() -> None:
    made = made_for()
    made.post(BreakHosts(0, 1, 60 * SECOND), 110 * SECOND)
    run(made)
    assert made.table.restarts[0] + made.table.restarts[1] == 1
    assert set(ends(made)) == {0, 1, 2}


@pytest.mark.parametrize("running", [Running.REQUEUE, Running.KILL])
def test_a_reservation_waits_for_it(running: Running) -> None:
    hosts = HostReservation("upkeep", (0, 1), "hosts 0 and 1", 100 * SECOND, 600 * SECOND, maintenance=True, running=running)
    jobs = job_columns(
        2, submit_ns=0, gpus=8, duration_ns=500 * SECOND, estimate_ns=50 * SECOND, checkpoint_ns=np.array([1000, 0]) * SECOND
    )
    made = engine(clos(2), [jobs], costs=COSTS, grace_ns=GRACE, reservations=(hosts,))
    run(made)
    killed = running == Running.KILL
    assert [made.table.state[slot] == State.FAILED for slot in (0, 1)] == [killed] * 2
    assert seconds(made, 0)["draining"] == 21
    assert "draining" not in seconds(made, 1)
    assert seconds(made, 0).get("redone", 0) == 0
    if killed:
        assert made.table.end_ns == [121 * SECOND, 100 * SECOND]


def test_it_saves_and_is_cancelled() -> None:
    made = made_for()
    made.post(Cancel(0), 110 * SECOND)
    run_until(made, 110 * SECOND)
    assert made.table.state[0] == State.CANCELLED
    run(made)
    assert set(ends(made)) == {1, 2}


def test_nobody_is_asked_twice_or_stopped_for_another_meanwhile() -> None:
    """Job 3 comes at 110 s, when both drain for job 2: it waits as job 2 does, and goes first at 130 s."""
    made = run(made_for(later=1))
    assert seconds(made, 0) == {"productive": 500, "draining": 21}
    assert made.chronicle.preemptions == 2
    assert ends(made)[3] == 130 + 50
