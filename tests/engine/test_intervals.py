"""Checkpoint intervals that follow from what a checkpoint costs and how often the job's hosts fail."""

from math import sqrt

import pytest

from emulator.engine.engine import Engine
from emulator.jobs.costs import CheckpointCosts, Costs, Writing
from emulator.jobs.ettr import daly_interval
from emulator.racks.faults import FaultSettings
from emulator.workload.jobs import DALY, LONGEST_CHECKPOINT_SECONDS, SECOND, YOUNG, JobKind, job_columns
from tests.engine.small import clos, engine, run_until

#: 0.84 GB a GPU at 0.21 GB/s: 4 s.
BLOCKING = CheckpointCosts(Writing.BLOCKING, gpu_bytes_per_second=0.21e9)
#: Of one host: 1,000 s. Nothing breaks meanwhile.
RATE = 86_400.0


def started(rule: int, hosts: int, writing: CheckpointCosts, rate: float = RATE, kind: JobKind = JobKind.GANG) -> Engine:
    job = job_columns(1, submit_ns=0, gpus=hosts * 8, duration_ns=9000 * SECOND, checkpoint_ns=rule, kind=int(kind))
    made = engine(
        clos(8),
        [job],
        faults=FaultSettings(rate > 0, rate or 1.0),
        costs=Costs(checkpoint=writing),
        fail_at=dict.fromkeys(range(8), 10**15),
    )
    run_until(made, 0)
    return made


def every_seconds(made: Engine) -> float:
    return made.table.lives.saving[0].every_ns / SECOND


@pytest.mark.parametrize("hosts", [1, 2, 8])
def test_young_and_daly_for_the_jobs_hosts_and_its_checkpoint(hosts: int) -> None:
    assert every_seconds(started(YOUNG, hosts, BLOCKING)) == pytest.approx(sqrt(2 * 4 * 1000 / hosts), abs=1e-9)
    assert every_seconds(started(DALY, hosts, BLOCKING)) == pytest.approx(daly_interval(1000 / hosts, 4), abs=1e-9)


def test_of_an_asynchronous_checkpoint_the_copy_counts() -> None:
    """0.84 GB at 0.42 GB/s: 2 s."""
    writing = CheckpointCosts(Writing.ASYNCHRONOUS, 0.21e9, 0.42e9)
    assert every_seconds(started(YOUNG, 1, writing)) == pytest.approx(sqrt(2 * 2 * 1000), abs=1e-9)


@pytest.mark.parametrize("rule", [YOUNG, DALY])
def test_what_is_free_is_written_each_second_and_without_faults_each_hour(rule: int) -> None:
    assert every_seconds(started(rule, 1, CheckpointCosts(Writing.FREE))) == 1.0
    assert every_seconds(started(rule, 1, BLOCKING, rate=0.0)) == LONGEST_CHECKPOINT_SECONDS


def test_jobs_that_say_none_have_the_scenarios() -> None:
    writing = CheckpointCosts(Writing.BLOCKING, gpu_bytes_per_second=0.21e9, interval_ns=YOUNG)
    assert every_seconds(started(0, 2, writing)) == pytest.approx(sqrt(4000), abs=1e-9)
    assert every_seconds(started(100 * SECOND, 2, writing)) == 100
    assert not started(0, 1, writing, kind=JobKind.SERVICE).table.lives.saving
    assert not started(0, 1, BLOCKING).table.lives.saving
