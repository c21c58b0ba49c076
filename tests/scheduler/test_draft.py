"""Policies of others, job by job on the draft: they decide as the built-in ones do, and their mistakes are told with their place."""

import random
from pathlib import Path

import pytest

from emulator.scheduler.draft import Draft
from emulator.scheduler.policy import Policy, PolicyError
from emulator.scheduler.table import State
from tests.scheduler.drive import PLANS, make_cluster, make_scheduler, plan_at, run_engine, submit
from tests.scheduler.oracle import Job
from tests.scheduler.test_partitions import mixed_jobs, two_types
from tests.scheduler.test_simulations import CASES, feasible, random_faults, random_jobs


def in_turn(draft: Draft) -> None:
    """``fifo`` as somebody else would write it, for clusters of one type."""
    for job in draft.waiting():
        if not draft.try_start(job):
            break


@pytest.mark.parametrize("case", CASES)
def test_fifo_job_by_job_is_fifo(case: str) -> None:
    for seed, name in enumerate(PLANS):
        draw = random.Random(f"{case} {seed}")
        cluster = make_cluster(name)
        jobs = [job for job in random_jobs(draw, cluster, 40, 10, **CASES[case]) if feasible(cluster, job)]
        faults = random_faults(draw, cluster, 600, cluster.host_count // 3)
        ours = run_engine(cluster, jobs, Policy("mine", in_turn, file=__file__), "topology", 10, faults)
        assert ours[:2] == run_engine(cluster, jobs, "fifo", "topology", 10, faults)[:2]


def test_all_partitions_are_seen() -> None:
    """Whatever fits starts, in both partitions, and nothing starts twice."""

    def all_that_fits(draft: Draft) -> None:
        for job in draft.waiting():
            draft.try_start(job)

    jobs, types = mixed_jobs(random.Random(3), "leaves", CASES["plain"], 10)
    starts, _, engine = run_engine(two_types("leaves"), jobs, Policy("mine", all_that_fits, file=__file__), "topology", 10, types=types)
    assert sorted(number for _, number, _ in starts) == sorted(job.number for job in jobs)
    assert set(engine.table.state) == {State.FINISHED}
    assert len(set(engine.table.host_type)) == 2


def test_what_a_policy_sees() -> None:
    """16 hosts of 8 GPUs; at 5 s one job runs and two wait, one of them for half a GPU."""
    seen: list[object] = []

    def look(draft: Draft) -> None:
        waiting = draft.waiting()
        if len(waiting) == 1:
            assert draft.try_start(waiting[0])
            seen.append((draft.free_gpus(), [job.job_id for job in draft.running()]))
        else:
            seen.append((draft.now_seconds, [(job.job_id, job.gpus, job.gpu_share, job.estimate_seconds) for job in waiting]))
            seen.append([(job.job_id, job.start_seconds, job.kind) for job in draft.running()])
            assert not draft.try_start(waiting[0]), "it needs all"

    scheduler = make_scheduler(make_cluster("hgx"), policy=Policy("mine", look, file=__file__))
    submit(scheduler, Job(1, 0, 120, 100))
    plan_at(scheduler, 2)
    submit(scheduler, Job(2, 5, 128, 50), Job(3, 5, 1, 30, milli=500))
    plan_at(scheduler, 5)
    assert seen == [(8, [1]), (5.0, [(2, 128, 1.0, 50.0), (3, 1, 0.5, 30.0)]), [(1, 2.0, "gang")]]


def test_it_is_asked_again_when_it_said_so() -> None:
    scheduler = make_scheduler(make_cluster("hgx"), policy=Policy("mine", lambda draft: draft.ask_again(60), file=__file__))
    submit(scheduler, Job(1, 0, 8, 10))
    assert plan_at(scheduler, 5) == ([], [], 65)


def test_mistakes_are_told_with_their_line(tmp_path: Path) -> None:
    def twice(draft: Draft) -> None:
        (job,) = draft.waiting()
        draft.try_start(job)
        draft.try_start(job)

    def divides(_draft: Draft) -> None:
        print(1 / 0)

    line = twice.__code__.co_firstlineno
    for plan, told in (
        (twice, f"policy mine, line {line + 3}: breaks the rule pending: job 1 does not wait: it is running"),
        (divides, f"policy mine, line {line + 6}: ZeroDivisionError: division by zero"),
    ):
        scheduler = make_scheduler(make_cluster("hgx"), policy=Policy("mine", plan, file=__file__))
        submit(scheduler, Job(1, 0, 8, 10))
        with pytest.raises(PolicyError) as caught:
            plan_at(scheduler, 0)
        assert str(caught.value) == told
    shelf = make_scheduler(make_cluster("hgx"), policy=Policy("ours", divides))
    with pytest.raises(ZeroDivisionError):
        plan_at(shelf, 0)
