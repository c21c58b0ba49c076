"""What a job does about a fault: it waits for other GPUs, or keeps its own, with spares for broken hosts, or goes on with fewer."""

from typing import Any

import numpy as np
import pytest

from emulator.engine import views
from emulator.engine.commands import BreakHosts, Cordon
from emulator.engine.engine import Engine
from emulator.engine.gpu_time import HELD, held_time
from emulator.jobs.costs import WARM_SPEEDUP, Costs
from emulator.racks.faults import CAUSES, RESET, FaultSettings, Scope, causes
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobColumns, JobKind, Recovery, job_columns
from tests.engine.small import clos, ends, engine, hosts_of, run, run_until
from tests.engine.test_properties import check_sums
from tests.scheduler.test_every_policy import gpus_are_held_once

FAULT = 105 * SECOND
FAULTS = FaultSettings(host_rate_per_1000_node_days=1e-6, by_scope=True)


def seed_of(scope: Scope, *, reset: bool = False) -> int:
    """One with which the first fault of host 0 has a cause of this scope, and is repaired by a reset, or is not."""
    drawn = ((seed, CAUSES[int(causes(FAULTS, seed, np.array([0]), np.array([0]))[0])]) for seed in range(1000))
    return next(seed for seed, cause in drawn if cause.scope == scope and (cause.repair_seconds == RESET) == reset)


def gang(hosts: int = 3, **columns: Any) -> JobColumns:
    """Of 1,000 s of work, with a checkpoint each 20 s."""
    return job_columns(1, **{"submit_ns": 0, "gpus": 8 * hosts, "duration_ns": 1000 * SECOND, "checkpoint_ns": 20 * SECOND} | columns)


def struck(jobs: JobColumns, scope: Scope, recovery: Recovery, *, hosts: int = 5, reset: bool = False, **settings: Any) -> Engine:
    """A fault takes host 0, or a part of it, at 105 s, when 100 s of the work are saved. A restart takes 40 s."""
    return engine(
        clos(hosts),
        [jobs],
        faults=FAULTS,
        seed=seed_of(scope, reset=reset),
        fail_at={0: FAULT},
        until_ns=90_000 * SECOND,
        recovery=recovery,
        costs=settings.pop("costs", Costs(40 * SECOND)),
        **settings,
    )


def phases(made: Engine) -> dict[str, float]:
    """Seconds of job 0."""
    table = made.table
    milli_gpus = 1000 * table.size_gpus[0] * SECOND
    return {name: time / milli_gpus for name, time in zip(HELD, held_time(table, [0], made.now_ns), strict=True) if time}


def test_after_a_fault_of_a_process_the_gang_restarts_where_it_is() -> None:
    made = struck(gang(), Scope.PROCESS, Recovery.IN_PLACE)
    run_until(made, 100 * SECOND)
    before = made.table.rows[0]
    run_until(made, 110 * SECOND)
    assert made.table.state[0] == State.RUNNING
    assert made.table.rows[0] == before
    view = views.job_view(made, 0)
    assert (view.phase, view.reason) == ("restarting", made.chronicle.reasons[0])
    assert views.explanation(made, 0).text.startswith(
        "runs on r[00000-00002]-h00; it restarts until 150 s (restarted in place, after a process on host r00000-h00 failed: "
    )
    run(made)
    assert ends(made) == {0: 110 + 40 + 900}
    assert (made.chronicle.restarts, made.table.restarts[0], made.chronicle.preemptions, made.chronicle.migrations) == (1, 1, 0, 0)
    assert phases(made) == {"productive": 1000, "redone": 5, "restarting": 5 + 40}


def test_a_gang_in_place_waits_for_the_reset_of_a_gpu_and_nobody_is_given_its_gpus() -> None:
    made = struck(gang(), Scope.GPU, Recovery.IN_PLACE, reset=True)
    run_until(made, 690 * SECOND)
    assert made.table.lives.phase(0).name == "RESTARTING"
    assert "it waits for a host to be repaired" in views.explanation(made, 0).text
    check_sums(made)
    assert made.has_work()
    run(made)
    (end,) = ends(made).values()
    assert 105 + 600 + 940 <= end <= 105 + 1800 + 950, "10 to 30 min"
    assert hosts_of(made, 0) == [0, 1, 2]
    assert phases(made)["restarting"] == end - 105 - 900


@pytest.mark.parametrize("scope", [Scope.GPU, Scope.HOST])
def test_a_gang_in_place_that_loses_a_part_waits_for_another_host(scope: Scope) -> None:
    made = run(struck(gang(), scope, Recovery.IN_PLACE))
    assert ends(made) == {0: 110 + 40 + 900}
    assert hosts_of(made, 0) == [1, 2, 3]
    assert "restarting" in phases(made)
    assert made.chronicle.started == 2


def test_a_host_that_is_cordoned_meanwhile_takes_nobody_back() -> None:
    made = struck(gang(), Scope.PROCESS, Recovery.IN_PLACE)
    made.post(Cordon(1, 2, True), 100 * SECOND)
    run(made)
    assert hosts_of(made, 0) == [0, 2, 3]
    assert made.chronicle.started == 2


def test_a_spare_stands_in_for_a_broken_host_and_the_restart_is_warm() -> None:
    """5 hosts, of which the middle and the last are spares: 50 of 1,024 GPUs make 2 of 40."""
    made = struck(gang(), Scope.HOST, Recovery.SPARES, spares_per_1024_gpus=52)
    assert made.scheduler.ledger.withheld(Withheld.SPARE) == {1, 4}
    run_until(made, 0)
    assert hosts_of(made, 0) == [0, 2, 3]
    run_until(made, 110 * SECOND)
    assert hosts_of(made, 0) == [1, 2, 3], "the nearest"
    assert "restarted with spare r00001-h00, after host r00000-h00 failed: " in views.explanation(made, 0).text
    run(made)
    assert ends(made) == {0: pytest.approx(110 + 40 / WARM_SPEEDUP + 900, abs=1e-8)}
    run_until(made, 90_000 * SECOND)
    assert made.scheduler.ledger.withheld(Withheld.SPARE) == {0, 4}, "the repaired host takes its place"
    assert made.meter.down_gpus.value == 0


def test_where_there_are_too_few_spares_the_gang_waits_again() -> None:
    made = struck(gang(), Scope.HOST, Recovery.SPARES, spares_per_1024_gpus=1, hosts=6)
    assert made.scheduler.ledger.withheld(Withheld.SPARE) == {5}
    made.post(BreakHosts(1, 2, 500 * SECOND), 100 * SECOND)
    run_until(made, 120 * SECOND)
    assert made.scheduler.ledger.withheld(Withheld.SPARE) == set()
    assert hosts_of(made, 0) == [2, 3, 4], "the second fault found no spare, and the gang had to wait"


def test_an_elastic_job_goes_on_with_what_is_left_and_grows_back() -> None:
    """At 110 s it has 900 s of work for 24 GPUs left, and goes on with 16: it has work for 1,350 s more, and the host is away for an
    hour at least.
    """
    made = struck(gang(min_gpus=8), Scope.HOST, Recovery.ELASTIC, hosts=3)
    run_until(made, 110 * SECOND)
    assert hosts_of(made, 0) == [1, 2]
    assert made.table.size_gpus[0] == 16
    assert made.chronicle.resizes == 1
    check_sums(made)
    assert "with 16 of 24 GPUs (went on with fewer than 24 GPUs, after host r00000-h00 failed: " in views.explanation(made, 0).text
    run(made)
    held = dict(zip(HELD, held_time(made.table, [0], made.now_ns), strict=True))
    assert held["productive"] == pytest.approx(1000 * 24 * 1000 * SECOND, rel=1e-9)
    assert ends(made) == {0: 110 + 40 + 1350}


def test_an_elastic_job_grows_back_once_the_host_is_repaired() -> None:
    job = gang(min_gpus=8, duration_ns=40_000 * SECOND)
    made = run(struck(job, Scope.HOST, Recovery.ELASTIC, hosts=3))
    assert (made.chronicle.resizes, made.table.size_gpus[0], made.table.restarts[0]) == (2, 24, 1)
    assert "grew from 16 GPUs" in made.chronicle.reasons[0]


def test_a_job_of_one_size_has_nothing_to_shrink_to() -> None:
    made = run(struck(gang(), Scope.HOST, Recovery.ELASTIC))
    assert made.chronicle.started == 2
    assert ends(made) == {0: 110 + 40 + 900}


def test_a_job_says_itself_what_becomes_of_it() -> None:
    made = run(struck(gang(recovery=int(Recovery.IN_PLACE)), Scope.PROCESS, Recovery.REQUEUE))
    assert made.chronicle.started == 1
    made = run(struck(gang(recovery=int(Recovery.REQUEUE)), Scope.PROCESS, Recovery.IN_PLACE))
    assert made.chronicle.started == 2


def test_it_restarts_only_once_the_fault_is_noticed_and_fails_at_the_last() -> None:
    """A process that crashes is noticed after 2 s: the cycle after that is at 110 s."""
    job = gang(kind=int(JobKind.TRAINING))
    made = struck(job, Scope.PROCESS, Recovery.IN_PLACE, costs=Costs(40 * SECOND, detection=True))
    run(made)
    seconds = phases(made)
    assert seconds["detecting"] in (2, 600)
    assert seconds["detecting"] + seconds["restarting"] - 40 == (seconds["detecting"] + 5 + 9.999) // 10 * 10 - 5
    made = run(struck(gang(), Scope.PROCESS, Recovery.IN_PLACE, max_restarts=0))
    assert made.table.state[0] == State.FAILED
    gpus_are_held_once(made.scheduler)
    assert made.scheduler.partitions[0].free.free_gpus == 40


def test_a_gang_that_waits_for_a_reset_can_be_cancelled_and_limited() -> None:
    made = run(struck(gang(), Scope.GPU, Recovery.IN_PLACE, reset=True, time_limit_factor=0.5))
    assert made.table.state[0] == State.FAILED
    assert made.table.end_ns[0] == 500 * SECOND
    assert made.scheduler.partitions[0].free.free_gpus >= 32
    assert not list(made.restarting.run(made.now_ns))


def test_a_repaired_host_stands_by_once_its_other_jobs_have_left() -> None:
    """A GPU of host 0 breaks, and 7 jobs stay there. The spare is gone, so the host is the next one, but it stands in for nobody yet."""
    ones = job_columns(
        9, submit_ns=0, gpus=[1] * 8 + [8], duration_ns=np.array([50_000] * 8 + [1_000_000]) * SECOND, checkpoint_ns=20 * SECOND
    )
    made = struck(ones, Scope.GPU, Recovery.SPARES, hosts=3, spares_per_1024_gpus=1, reset=True)
    run_until(made, 110 * SECOND)
    ledger = made.scheduler.ledger
    assert ledger.withheld(Withheld.SPARE) == set(), "one job went to the spare"
    run_until(made, 2000 * SECOND)
    assert ledger.withheld(Withheld.SPARE) == {0}
    (lone,) = ledger.jobs_on(1)
    assert made.restarting._spares.stand_ins([1]) == []
    assert made.table.state[lone] == State.RUNNING
    run_until(made, 51_000 * SECOND)
    assert made.restarting._spares.stand_ins([1]) == [0]


def test_a_spare_that_is_of_no_use_stays_one() -> None:
    """Host 1 of the gang is cordoned before host 0 breaks, so the ledger refuses the restart."""
    made = struck(gang(), Scope.HOST, Recovery.SPARES, spares_per_1024_gpus=1, hosts=7)
    made.post(Cordon(1, 2, True), 100 * SECOND)
    run_until(made, 120 * SECOND)
    assert made.scheduler.ledger.withheld(Withheld.SPARE) == {6}
    assert hosts_of(made, 0) == [2, 3, 4]
