"""Live queues with quotas: jobs held back are listed, explained, cancelled and carried over a crash."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.job_control import JobState
from emulator.engine.queue_control import QuotaView
from emulator.runtime.opening import open_replay, open_session
from emulator.scenario import Scenario
from emulator.store.journal import Journal
from emulator.workload.jobs import SECOND, job_columns
from tests.session.conftest import QUIET

#: 64 GPUs; a takes back what it has lent to b.
QUOTAS = (
    QUIET
    + """
scheduler:
  cohorts: [{name: lab}]
  queues:
  - {name: a, cohort: lab, quota: 32, lending_limit: 24, preemption: {reclaim_within_cohort: any}}
  - {name: b, cohort: lab, quota: 16, borrowing_limit: 24}
  tenant_limits: {by_name: {eve: {max_running_jobs: 1}}}
"""
)


def test_jobs_held_back_live_and_after_a_crash(session: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    made = session(QUOTAS, state_dir=tmp_path / "state")
    made.pause()
    made.start()

    def submit(queue: str, gpus: int, tenant: str = "t") -> int:
        jobs = job_columns(
            1, gpus=[gpus], submit_ns=[0], duration_ns=[900 * SECOND], estimate_ns=[900 * SECOND], queues=(queue,), tenants=(tenant,)
        )
        return int(made.submit(jobs).job_ids[0])

    fits, second, third, fourth = (submit("b", 16) for _ in range(4))
    live = [submit("new", 1, "eve") for _ in range(2)]
    made.step(2)
    states = [made.job(job).state for job in (fits, second, third, fourth, *live)]
    waits, runs = JobState.PENDING, JobState.RUNNING
    assert states == [runs, runs, waits, waits, runs, waits]
    queues = {queue.name: queue for queue in made.queues()}
    assert queues["b"].quotas == (QuotaView("*", 16.0, 32.0, 16.0, 0.0, 8.0, 24.0, None),)
    assert queues["a"].quotas == (QuotaView("*", 32.0, 0.0, 0.0, 16.0, 16.0, None, 24.0),)
    assert [(queues[name].held_jobs, queues[name].cohort) for name in ("a", "b", "new")] == [(0, "lab"), (2, "lab"), (1, "")]
    why = made.explain(third)
    assert (why.kind, why.numbers["quota_missing_gpus"]) == ("quota", 8.0)
    assert made.explain(live[1]).text == "tenant eve has 1 running jobs, of 1 that it may have"
    assert made.explain(live[1]).remedy == "may start when a job of tenant eve ends"
    made.cancel(third)
    taken_back = submit("a", 32)
    made.step(3)
    assert made.job(third).state == JobState.CANCELLED
    assert made.job(taken_back).state == JobState.RUNNING
    shutil.copytree(tmp_path / "state", tmp_path / "crashed")
    made.resume()
    assert made.wait(60)
    digest = made.outcome().digest

    again: Any = open_session(scenario(QUOTAS), state_dir=tmp_path / "crashed")
    with closing(again):
        again.start()
        assert again.wait(60)
        assert again.outcome().digest == digest
        assert {again.job(job).state for job in (fits, second, fourth, *live, taken_back)} == {JobState.FINISHED}
    with closing(Journal.copy(tmp_path / "crashed")) as journal, closing(open_replay(journal, actors="inline")) as replayed:
        assert replayed.replay(journal).digest == digest


@pytest.mark.parametrize("policy", ["easy", "sjf", "conservative", "priority"])
@pytest.mark.parametrize("strategy", ["best-effort-fifo", "strict-fifo"])
def test_a_job_that_is_held_for_quota_gets_another_priority(paused: Callable[..., Any], policy: str, strategy: str) -> None:
    """Of 64 GPUs the queue has 8: one job of it runs for 95 s, and then the one that was submitted last."""
    made = paused(f"scheduler.policy={policy}", f"scheduler.queues=[{{name: a, quota: 8, queueing_strategy: {strategy}}}]")
    ids = made.submit(job_columns(4, submit_ns=0, gpus=8, duration_ns=95 * SECOND, queues=("a",))).job_ids
    made.step(3)
    assert [made.explain(job).kind for job in ids[1:]] == ["quota"] * 3
    made.set_priority(ids[3], 1)
    made.step(1)
    assert made.explain(ids[3]).position == 0
    made.set_priority(ids[1], -1)
    made.step(60)
    started = [made.job(job).start_seconds for job in ids]
    assert sorted(range(4), key=started.__getitem__) == [0, 3, 2, 1]
