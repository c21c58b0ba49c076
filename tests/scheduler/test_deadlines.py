"""Deadlines by hand: who met one, and by how much it was missed."""

import numpy as np

from emulator.scheduler import deadlines
from emulator.scheduler.deadlines import NO_DEADLINE
from emulator.scheduler.job import job_of
from emulator.workload.jobs import SECOND, job_columns
from tests.scheduler.drive import PLANS, make_cluster, make_scheduler


def test_a_deadline_is_met_by_those_alone_who_finish_by_then() -> None:
    #        finished: in time, at it, late; failed in time; running: late, not yet; rejected without an end; without a deadline
    due = np.array([100, 100, 100, 100, 49, 50, 100, NO_DEADLINE])
    end = np.array([99, 100, 101, 10, -1, -1, -1, 5])
    finished = np.array([1, 1, 1, 0, 0, 0, 0, 1], dtype=bool)
    ended = np.array([1, 1, 1, 1, 0, 0, 1, 1], dtype=bool)
    kept = deadlines.kept(due, end, finished=finished, ended=ended, now_ns=50)
    assert kept.met.tolist() == [True, True, False, False, False, False, False, False]
    assert kept.missed.tolist() == [False, False, True, True, True, False, True, False]
    assert deadlines.lateness_ns(due, end)[:3].tolist() == [-1, 0, 1]


def test_it_counts_from_the_submission_and_leaves_with_its_job() -> None:
    scheduler = make_scheduler(make_cluster(next(iter(PLANS))))
    jobs = job_columns(2, submit_ns=[5 * SECOND, 7 * SECOND], gpus=8, duration_ns=SECOND, deadline_ns=[0, 60 * SECOND])
    first, second = scheduler.add(jobs)
    assert scheduler.table.deadline_ns == {second: 67 * SECOND}
    told = [job_of(scheduler.table, slot, running=False).deadline_seconds for slot in (first, second)]
    assert told == [None, 67.0]
    scheduler.table.drop([first, second])
    assert not scheduler.table.deadline_ns
    (third,) = scheduler.add(job_columns(1, job_id=[9], submit_ns=0, gpus=8, duration_ns=SECOND))
    assert third in (first, second)
    assert not scheduler.table.deadline_ns
