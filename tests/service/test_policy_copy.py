"""What the copy of a run does alone; that it decides as the run would is in test_policy_messages."""

import pytest

from emulator.scheduler.policies import POLICIES
from emulator.scheduler.settings import SchedulerSettings
from emulator.service import policy_messages
from emulator.service.policy_copy import SchedulerCopy
from emulator.v1.policy_service_pb2 import Cycle, HostChoice, RefusedAction, WaitingJobs
from emulator.workload.jobs import SECOND
from tests.scheduler.drive import make_cluster


@pytest.fixture
def copy() -> SchedulerCopy:
    cluster = make_cluster("hgx")
    opening = policy_messages.opening(cluster, SchedulerSettings(), scenario="", seed=1, cycle_ns=SECOND, options={}).opening
    return SchedulerCopy(opening, POLICIES["easy"])


def test_what_is_said_is_ranges_of_hosts_with_masks(copy: SchedulerCopy) -> None:
    jobs = WaitingJobs(
        job_id=[7], gpus=[16], milli_gpus=[1000], estimate_nanoseconds=[60 * SECOND], submit_nanoseconds=[0], priority=[0], queue=[0],
        tenant=[0], require_level=[-1], prefer_level=[-1], choice=[0], preemptible=[False], slice_gpus=[0], slice_level=[-1],
    )  # fmt: skip
    cycle = Cycle(sequence=3, queues=["main"], tenants=["anna"], choices=[HostChoice(host_type=[0], pace=[1.0])], waiting=jobs)
    copy.follow(cycle)
    answer = copy.plan(cycle)
    (action,) = answer.actions
    placement = action.start.placement
    assert (answer.sequence, action.start.job_id) == (3, 7)
    assert (list(placement.host_count), list(placement.gpu_mask)) == ([2], [255])


def test_a_refusal_means_that_it_is_no_copy(copy: SchedulerCopy) -> None:
    with pytest.raises(RuntimeError, match="the copy is not like the run: there is no job 9"):
        copy.follow(Cycle(refused=[RefusedAction(action=0, job_id=9, rule="pending", text="there is no job 9")]))
