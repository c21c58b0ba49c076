"""A policy that keeps a copy of the run by the messages alone decides as one that sees the run itself."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.scheduler.calendar import HostReservation, Running
from emulator.scheduler.elastic import Elastic
from emulator.scheduler.outside import Gone, Outside, View
from emulator.scheduler.outside_actions import Decisions, Hold, Preempt, Resize, Start
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import OutsideAccount, Policy
from emulator.scheduler.settings import SchedulerSettings
from emulator.scheduler.sites import Dataset, Weights
from emulator.service import policy_messages
from emulator.v1.policy_service_pb2 import Action, PlanRequest, PlanResponse
from emulator.v1.policy_service_pb2 import Decisions as Answer
from emulator.workload.jobs import SECOND, Locality
from tests.engine.random_work import Manner, run_work
from tests.engine.random_work import cluster as busy_cluster
from tests.engine.small import fingerprint
from tests.engine.test_elastic import elastic_work
from tests.policy_programs import mirror
from tests.scheduler.drive import make_cluster, run_engine
from tests.scheduler.test_dispatch import NAMES, sites_of, three_sites
from tests.scheduler.test_partitions import mixed_jobs, two_types
from tests.scheduler.test_simulations import CASES, feasible, random_faults, random_jobs
from tests.scheduler.test_windows import random_reservations
from topology.cluster import Cluster


class Wire:
    """The example's server without a network: everything passes through bytes."""

    def __init__(self, cluster: Cluster, name: str, cycle: int, settings: SchedulerSettings) -> None:
        self.account = OutsideAccount(name)
        self.messages = policy_messages.CycleMessages(cluster.block.first_host.tolist())
        self.sent = 0
        self._requests: list[PlanRequest] = [
            policy_messages.opening(cluster, settings, scenario="", seed=1, cycle_ns=cycle * SECOND, options={"policy": name})
        ]
        self._answers = mirror(self._received())
        assert next(self._answers).opened.protocol_version == policy_messages.PROTOCOL_VERSION

    def _received(self) -> Iterator[PlanRequest]:
        while True:
            yield PlanRequest.FromString(self._requests.pop(0).SerializeToString())

    def ask(self, view: View) -> Decisions:
        self.sent += 1
        self._requests += self.messages.of(view, self.sent)
        answer = PlanResponse.FromString(next(self._answers).SerializeToString()).decisions
        assert answer.sequence == self.sent
        assert not self._requests
        return policy_messages.decisions(answer)

    def policy(self) -> Policy:
        def notice(text: str) -> None:
            raise AssertionError(text)

        return Outside(self.ask, POLICIES["easy"], self.account, notice).policy(self.account.name)


def same(cluster: Cluster, name: str, jobs: list, cycle: int, faults: list, preempt_after: int | None, types: dict | None = None) -> None:  # type: ignore[type-arg]
    settings = SchedulerSettings(preemption=preempt_after is not None, preempt_after_ns=(preempt_after or 0) * SECOND)
    wire = Wire(cluster, name, cycle, settings)
    ours = run_engine(cluster, list(jobs), wire.policy(), "topology", cycle, faults, preempt_after, types)
    theirs = run_engine(cluster, list(jobs), name, "topology", cycle, faults, preempt_after, types)
    assert ours[:2] == theirs[:2]
    assert not wire.account.refused
    assert wire.sent > 10


@pytest.mark.parametrize("policy", ["easy", "fifo", "sjf", "las", "largest-first"])
@pytest.mark.parametrize("case", CASES)
def test_the_copy_decides_as_the_run_would(case: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts fail, jobs are preempted and interrupted, and views take several messages."""
    monkeypatch.setattr(policy_messages, "JOBS_AT_ONCE", 2)
    for seed, name in enumerate(("hgx", "leaves", "small-racks", "nvl72")):
        draw, cluster, cycle = random.Random(f"{case} {seed}"), make_cluster(name), 1 + 9 * (seed % 2)
        jobs = [job for job in random_jobs(draw, cluster, 60, cycle, **CASES[case]) if feasible(cluster, job)]
        faults = random_faults(draw, cluster, max(job.submit for job in jobs) + 20 * cycle, 3)
        same(cluster, policy, jobs, cycle, faults, cycle if "priorities" in CASES[case] else None)


@pytest.mark.parametrize("name", ["leaves", "hgx-128"])
def test_of_two_types_too(name: str) -> None:
    jobs, types = mixed_jobs(random.Random(name), name, CASES["all"], 10)
    same(two_types(name), "easy", jobs, 10, [], None, types)


@pytest.mark.parametrize("elastic", [Elastic.START, Elastic.ALWAYS])
@pytest.mark.parametrize("seed", range(4))
def test_sizes_change_as_they_would(seed: int, elastic: Elastic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs shrink for others as the copy says, the run has them grow again, hosts fail and jobs are preempted."""
    monkeypatch.setattr(policy_messages, "JOBS_AT_ONCE", 2)
    given = elastic_work(seed)[1]
    wire = Wire(busy_cluster(), "easy", 10, SchedulerSettings(preemption=True, elastic=elastic))
    ours = run_work(given, seed, wire.policy(), Manner(), elastic)
    theirs = run_work(given, seed, "easy", Manner(), elastic)
    assert fingerprint(ours) == fingerprint(theirs)
    assert (ours.chronicle.resizes, ours.chronicle.reasons) == (theirs.chronicle.resizes, theirs.chronicle.reasons)
    assert not wire.account.refused
    assert wire.sent > 10
    if elastic is Elastic.ALWAYS:
        assert ours.chronicle.resizes > 0


@pytest.mark.parametrize("policy", ["easy", "conservative", "fifo", "las"])
@pytest.mark.parametrize("running", Running)
def test_windows_are_known_before_they_begin(policy: str, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts are reserved and fail, jobs take longer than they say, and some run in reservations: nothing is refused."""
    monkeypatch.setattr(policy_messages, "JOBS_AT_ONCE", 2)
    inside = 0
    for seed, name in enumerate(("hgx", "leaves", "small-racks", "nvl72")):
        draw, cluster = random.Random(f"{policy} {seed}"), make_cluster(name)
        jobs = [job for job in random_jobs(draw, cluster, 60, 10, **CASES["all"]) if feasible(cluster, job)]
        faults = random_faults(draw, cluster, max(job.submit for job in jobs) + 200, 3)
        drawn = random_reservations(draw, cluster)
        reservations = tuple(replace(one, running=running, maintenance=number > 0) for number, one in enumerate(drawn))
        for job in jobs:
            if draw.random() < 0.2 and job.gpus * job.milli <= 8000:
                job.reservation, job.estimate = reservations[0].name, 10
        wire = Wire(cluster, policy, 10, SchedulerSettings(preemption=True, preempt_after_ns=10 * SECOND))
        more: dict[str, Any] = {"reservations": reservations}
        ours = run_engine(cluster, list(jobs), wire.policy(), "topology", 10, faults, 10, **more)
        theirs = run_engine(cluster, list(jobs), policy, "topology", 10, faults, 10, **more)
        assert ours[:2] == theirs[:2]
        assert not wire.account.refused
        assert wire.sent > 10
        known = {job.number for job in jobs if job.reservation}
        inside += sum(job in known for _, job, _ in ours[0])
    assert inside > 5


@pytest.mark.parametrize("policy", ["easy", "fifo", "conservative", "las"])
def test_every_site_decides_as_it_would(policy: str, tmp_path: Path) -> None:
    """Jobs are dispatched by the run, wait for data on its way, move to other sites, and run in reservations of one; hosts fail."""
    cluster, moved = three_sites(tmp_path), 0
    for seed in range(4):
        draw = random.Random(f"{policy} {seed}")
        jobs = [job for job in random_jobs(draw, cluster, 120, 10, **CASES["all"]) if job.gpus <= 24 and feasible(cluster, job)]
        wishes = {job.number: Locality(prefer_site=draw.choice(("", *NAMES)), dataset=draw.choice(("", "a"))) for job in jobs}
        reservations = (HostReservation("lab", (6, 7), "hosts", 100 * SECOND, 200 * SECOND, 300 * SECOND, 5),)
        for job in jobs:
            if draw.random() < 0.1 and job.gpus * job.milli <= 8000:
                job.reservation, job.estimate = "lab", 10
        data = (Dataset("a", 20 * 10**9, (seed % 3,)),)
        sites = sites_of(every_ns=20 * SECOND, move_after_ns=60 * SECOND, datasets=data, weights=Weights(prefer=seed - 1.0))
        faults = random_faults(draw, cluster, max(job.submit for job in jobs) + 200, 3)
        wire = Wire(cluster, policy, 10, SchedulerSettings(preemption=True, preempt_after_ns=10 * SECOND, sites=sites))
        more: dict[str, Any] = {"sites": sites, "wishes": wishes, "reservations": reservations}
        ours = run_engine(cluster, list(jobs), wire.policy(), "topology", 10, faults, 10, **more)
        theirs = run_engine(cluster, list(jobs), policy, "topology", 10, faults, 10, **more)
        assert ours[:2] == theirs[:2]
        assert not wire.account.refused
        assert wire.sent > 10
        dispatcher = ours[2].scheduler.dispatcher
        assert dispatcher is not None
        moved += sum(one.moved_away for one in dispatcher.counts)
    assert moved > 0


def test_actions_are_what_was_said() -> None:
    answer = Answer(sequence=1, reconsider_at_nanoseconds=0)
    answer.actions.add(group=4).start.job_id = 1
    placed = answer.actions.add().start
    placed.job_id, placed.stop_unless_started = 2, True
    placed.placement.first_host[:], placed.placement.host_count[:], placed.placement.gpu_mask[:] = [3, 9], [2, 1], [255, 2**64 - 1]
    answer.actions.add().preempt.job_id = 3
    answer.actions.add().hold.reason = "x" * 1000
    resized = answer.actions.add(group=7).resize
    resized.job_id, resized.gpus, resized.reason = 4, 16, "y" * 1000
    moved = answer.actions.add().resize
    moved.placement.first_host[:], moved.placement.host_count[:], moved.placement.gpu_mask[:] = [3], [2], [255]
    assert policy_messages.decisions(answer) == Decisions(
        [
            Start(1, None, group=4), Start(2, [(3, 2, 255), (9, 1, 2**64 - 1)], must=True), Preempt(3), Hold(0, "x" * 500),
            Resize(4, 16, None, "y" * 500, group=7), Resize(0, 0, [(3, 2, 255)]),
        ],
        0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (Action(), "action 0 of its answer is none; allowed: start, preempt, hold, resize"),
        (
            Action(start={"placement": {"first_host": [1], "host_count": [1, 2]}}),  # type: ignore[arg-type]
            "action 0 of its answer has a placement with columns of 1, 2, 0 entries; allowed: equal lengths",
        ),
        (
            Action(resize={"placement": {"first_host": [1], "host_count": [1, 2]}}),  # type: ignore[arg-type]
            "action 0 of its answer has a placement with columns of 1, 2, 0 entries; allowed: equal lengths",
        ),
    ],
)
def test_an_action_that_is_none_is_no_answer(action: Action, told: str) -> None:
    with pytest.raises(Gone, match=told):
        policy_messages.decisions(Answer(actions=[action]))
