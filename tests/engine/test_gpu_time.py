"""Every GPU second is in one phase, and the phases are those that can be worked out by hand."""

import pytest

from emulator.engine.commands import BreakHosts, Cordon
from emulator.engine.engine import Engine
from emulator.engine.gpu_time import PHASES, gpu_seconds, held_time
from emulator.workload.jobs import SECOND, job_columns
from tests.engine.small import clos, engine, run, training


def parts(made: Engine) -> dict[str, float]:
    return gpu_seconds(held_time(made.table, range(len(made.table)), made.now_ns), made.meter, made.now_ns)


def test_a_job_that_loses_its_host() -> None:
    """Two hosts for 2,000 s. A job of 8 GPUs and 500 s, with a checkpoint every 100 s, runs from 0. At 250 s both hosts break for 600 s:
    the 50 s after its checkpoint are lost. From 850 s on it runs again, first 300 s to restart, then the 300 s that are left."""
    jobs = job_columns(1, submit_ns=0, gpus=8, duration_ns=500 * SECOND, checkpoint_ns=100 * SECOND)
    made = engine(clos(2), [jobs], until_ns=2000 * SECOND, restart_overhead_ns=300 * SECOND)
    made.post(BreakHosts(0, 2, 600 * SECOND), 250 * SECOND)
    run(made)
    down = 2 * 600
    held = 250 + 300 + 300
    assert parts(made) == pytest.approx(
        dict.fromkeys(PHASES, 0.0)
        | {
            "productive": 8 * 500,
            "redone": 8 * 50,
            "restarting": 8 * 300,
            "idle": 8 * (2 * 2000 - down - held),
            "down": 8 * down,
        }
    )
    assert tuple(parts(made)) == PHASES


def test_jobs_that_wait_for_the_network() -> None:
    """Two gangs of 24 GPUs share a trunk that has room for half of each (`test_contention`): job 0 has 1,503 s of work and takes 3,006,
    job 1 has 3,000 and takes 4,505. Six hosts for 5,000 s."""
    cluster = clos(6, array_hosts=2, leaf_oversubscription=2)
    made = engine(cluster, [training(2, gpus=24, duration_ns=[1503 * SECOND, 3000 * SECOND])], until_ns=5000 * SECOND)
    run(made)
    held, work = 24 * (3006 + 4505), 24 * (1503 + 3000)
    idle = 48 * 5000 - held
    assert parts(made) == pytest.approx(dict.fromkeys(PHASES, 0.0) | {"productive": work, "network_wait": held - work, "idle": idle})


def test_what_is_cordoned_or_shared_is_idle() -> None:
    """Two hosts for 100 s, one of them cordoned: a job of a quarter of a GPU holds 25 GPU seconds of the 1,600."""
    jobs = job_columns(1, submit_ns=0, gpus=1, milli_gpus=250, duration_ns=100 * SECOND)
    made = engine(clos(2), [jobs], until_ns=100 * SECOND)
    made.post(Cordon(1, 2, True), 0)
    run(made)
    assert parts(made) == pytest.approx(dict.fromkeys(PHASES, 0.0) | {"productive": 25.0, "idle": 1575.0})
