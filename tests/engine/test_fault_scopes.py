"""What a fault takes down: a process, a GPU or a host."""

import numpy as np
import pytest

from emulator.engine.engine import Engine
from emulator.engine.views import gpus_by_state
from emulator.racks.faults import CAUSES, FaultSettings, Scope, causes
from emulator.workload.jobs import SECOND, job_columns
from tests.engine.small import clos, ends, engine, run, run_until

FAULT = 100 * SECOND
#: So many faults come that hosts have others after the first; the tests end before.
FAULTS = FaultSettings(host_rate_per_1000_node_days=1e-6, by_scope=True)


def seed_of(scope: Scope) -> int:
    """One with which the first fault of host 0 has a cause of this scope."""
    return next(seed for seed in range(100) if CAUSES[int(causes(FAULTS, seed, np.array([0]), np.array([0]))[0])].scope == scope)


def eight_jobs(scope: Scope) -> Engine:
    """Two hosts. Jobs 0 to 7 have a GPU each of host 0, for 1,000 s, when something on it fails at 100 s."""
    jobs = job_columns(8, submit_ns=0, gpus=1, duration_ns=1000 * SECOND)
    made = engine(clos(2), [jobs], faults=FAULTS, seed=seed_of(scope), fail_at={0: FAULT}, restart_overhead_ns=0, until_ns=90_000 * SECOND)
    run_until(made, 90 * SECOND)
    assert {host for slot in range(8) for host in made.scheduler.hosts_of(made.table.rows[slot])} == {0}
    run_until(made, 100 * SECOND)
    return made


def on_host_0(made: Engine) -> list[int]:
    return [slot for slot in range(8) if slot in made.scheduler.running and 0 in made.scheduler.hosts_of(made.table.rows[slot])]


def test_a_process_takes_one_job_and_the_host_goes_on() -> None:
    made = eight_jobs(Scope.PROCESS)
    assert sum(made.table.restarts) == 1
    assert len(on_host_0(made)) == 8, "it started again where it had been"
    assert gpus_by_state(made)["down"] == 0
    assert "a process on host r00000-h00 failed: " in made.chronicle.reasons[made.table.restarts.index(1)]


def test_a_gpu_takes_its_job_and_the_host_goes_to_nobody_until_it_is_repaired() -> None:
    made = eight_jobs(Scope.GPU)
    assert sum(made.table.restarts) == 1
    assert len(on_host_0(made)) == 7
    assert gpus_by_state(made)["down"] == made.meter.down_gpus.value == 1
    run(made)
    assert sorted(ends(made).values()) == [1000.0] * 7 + [1100.0]
    assert made.meter.down_gpus.value == 0


def test_a_host_takes_all_its_jobs() -> None:
    made = eight_jobs(Scope.HOST)
    assert made.table.restarts == [1] * 8
    assert on_host_0(made) == []
    assert gpus_by_state(made)["down"] == 8


@pytest.mark.parametrize("scope", [Scope.PROCESS, Scope.GPU])
def test_where_scopes_are_not_told_apart_every_fault_takes_the_host(scope: Scope) -> None:
    jobs = job_columns(8, submit_ns=0, gpus=1, duration_ns=1000 * SECOND)
    made = engine(clos(2), [jobs], seed=seed_of(scope), fail_at={0: FAULT})
    run_until(made, FAULT)
    assert made.table.restarts == [1] * 8
