"""What finished jobs took, and predictions from it: by hand, and in whole runs against a plain version."""

import random
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from emulator.scheduler.history import CORRECTIONS_NS, SERVICES_KEPT, History, Predictions
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy
from emulator.scheduler.table import ENDLESS, JobTable, State
from emulator.workload.jobs import SECOND
from tests.scheduler.drive import PLANS, columns, make_cluster, run_engine
from tests.scheduler.oracle import Job, Plain, Simulation
from tests.scheduler.plain_reservations import Conservative
from tests.scheduler.test_simulations import feasible, random_jobs

STEPS = (60, 300, 900, 1800, 3600, 7200, 18_000, 36_000, 72_000, 180_000, 360_000)


def table_of(*jobs: Job) -> JobTable:
    table = JobTable()
    table.extend(columns(jobs), {}, State.PENDING)
    return table


def test_the_mean_of_the_last_two_of_the_same_tenant() -> None:
    table = table_of(*(Job(number, 0, 8, 1, 1000, tenant=number == 3) for number in range(4)))
    history = History(table)
    assert history.prediction_ns(0) == 1000 * SECOND
    said = []
    for slot, run in enumerate((100, 300, 500, 70)):
        table.lives.run_ns[slot] = run * SECOND
        history.book(slot)
        said.append([history.prediction_ns(slot) // SECOND for slot in (0, 3)])
    assert said == [[100, 1000], [200, 1000], [400, 1000], [400, 70]]
    assert list(history.services_ms) == [8 * run * 1000 for run in (100, 300, 500, 70)]
    table.estimate_ns[1], table.estimate_ns[2] = 350 * SECOND, ENDLESS
    assert history.prediction_ns(1) == 350 * SECOND
    assert history.prediction_ns(2) == ENDLESS
    for _ in range(SERVICES_KEPT):
        history.book(0)
    assert set(history.services_ms) == {800_000}


def test_corrections_rise_in_the_steps_of_the_paper_up_to_the_estimate() -> None:
    assert [step // SECOND for step in CORRECTIONS_NS] == list(STEPS)
    table = table_of(Job(0, 0, 8, 1, 10_000), Job(1, 0, 8, 1, 10_000))
    history = History(table)
    table.lives.run_ns[1] = 100 * SECOND
    history.book(1)
    predictions = Predictions(table, history)
    predictions.predict(0)
    seen = []
    while predictions.correct(0, table.expected_ns[0]):
        seen.append(table.expected_ns[0] // SECOND)
    assert seen == [160, 460, 1360, 3160, 6760, 10_000]
    predictions.predict(0)
    assert predictions.correct(0, 500 * SECOND), "several at once"
    assert table.expected_ns[0] == 1360 * SECOND


def with_options(policy: str, **options: Any) -> Policy:
    plan: Any = POLICIES[policy].plan
    return replace(POLICIES[policy], plan=partial(plan, **options))


@dataclass
class Predicted(Simulation):
    """Jobs' estimates are those of the policy; without faults, so a job that stops has finished."""

    said: dict[int, int] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)
    took: list[tuple[int, int]] = field(default_factory=list)  # tenant, run time

    def stop(self, job: Job, at: int) -> None:
        self.took.append((job.tenant, at - job.start))
        super().stop(job, at)

    def predict(self, now: int) -> None:
        for job in self.queue:
            if job.number not in self.said:
                self.said[job.number] = job.estimate
                last = [time for tenant, time in self.took if tenant == job.tenant][-2:]
                if last:
                    job.estimate = max(1, min(job.estimate, sum(last) // len(last)))
                self.first[job.number] = job.estimate
        for job in self.running:
            job.estimate = self.first[job.number]
            for step in STEPS:
                if job.start + job.estimate <= now:
                    job.estimate = min(self.said[job.number], job.estimate + step)

    def decide(self, now: int) -> None:
        self.predict(now)
        super().decide(now)


@dataclass
class PredictedConservative(Predicted, Conservative):
    pass


@pytest.mark.parametrize("policy", ["easy", "conservative"])
def test_policies_with_predictions_equal_plain_versions(policy: str) -> None:
    for seed, name in enumerate(PLANS):
        draw = random.Random(f"predicted {seed}")
        cluster = make_cluster(name)
        jobs = [job for job in random_jobs(draw, cluster, 60, 30, estimates=(1.0, 2.0, 10.0, 50.0)) if feasible(cluster, job)]
        for job in jobs:
            job.tenant = draw.choice((0, 0, 1, 2))
            job.duration += job.duration % 2  # means of two are whole seconds
        given = with_options(policy, estimates="predicted")
        starts, _, engine = run_engine(cluster, jobs, given, "topology", 30)
        copies = [Job(**{name: getattr(job, name) for name in Job.__dataclass_fields__}) for job in jobs]
        plain = Predicted if policy == "easy" else PredictedConservative
        expected = plain(Plain.of(cluster), copies, policy, "topology", 30).run()
        for ours, theirs in zip(starts, expected.log, strict=False):
            assert ours == theirs, name
        assert starts == expected.log, name
        table = engine.table
        assert any(expected_ns < estimate_ns for expected_ns, estimate_ns in zip(table.expected_ns, table.estimate_ns, strict=True))
        said = {job.number: job.estimate * SECOND for job in jobs}
        assert all(table.estimate_ns[slot] == said[job_id] for job_id, slot in table.slot_of.items())


@pytest.mark.parametrize(("services", "second"), [("learned", 1500), ("given", 7800)])
def test_tiresias_learns_from_what_finished(services: str, second: int) -> None:
    """Job 0 took 10 minutes. Job 1 has had more than that when job 3 arrives, so job 2, of which more is to be hoped for, runs instead."""
    tiresias = with_options("tiresias", services=services, thresholds_gpu_hours=[1e6], promote_knob=0.0)
    jobs = [Job(0, 0, 128, 600), Job(1, 10, 128, 7200), Job(2, 20, 128, 600), Job(3, 1500, 1, 60)]
    starts, _, _ = run_engine(make_cluster("hgx"), jobs, tiresias, "topology", 60)
    assert next(time for time, job, _ in starts if job == 2) == second
