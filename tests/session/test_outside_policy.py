"""Sessions whose policy is a program of its own: the answer of the built-in one, and a run that goes on when it is not as it should be."""

import logging
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.job_control import JobState
from emulator.engine.reservation_control import ReservationRequest
from emulator.report.summary import summary
from emulator.runtime.opening import open_replay, open_session
from emulator.runtime.session import Session
from emulator.scenario import load
from emulator.scheduler.policy import PolicyUnreachable
from emulator.service import policy_client
from emulator.store.journal import Journal
from emulator.v1.policy_service_pb2 import Decisions, Opened, PlanRequest, PlanResponse
from emulator.workload.jobs import SECOND, job_columns
from tests.policy_programs import Plan, after, decides, mirror, opened, says, served
from tests.session.conftest import BUSY, QUIET

ROOT = Path(__file__).parents[2]
PRESETS = {"laptop": "8927ebcb", "eagle": "c0192503"}


@pytest.fixture
def by(session: Callable[..., Session]) -> Iterator[Callable[..., Session]]:
    """A session of the busy scenario by a program, which runs until the test ends."""
    stop = []

    def make(plan: Plan, *settings: str, text: str = BUSY, **options: Any) -> Session:
        server = served(plan)
        address = server.__enter__()
        stop.append(server)
        return session(text, f"scheduler.policy={address}", *settings, **options)

    yield make
    for server in stop:
        server.__exit__(None, None, None)


def digest_of(made: Session) -> str:
    return made.run_to_end().digest


@pytest.fixture
def built_in(session: Callable[..., Session]) -> str:
    return digest_of(session(BUSY))


@pytest.mark.parametrize("preset", PRESETS)
def test_one_that_mirrors_easy_has_its_digest(preset: str) -> None:
    with served(mirror) as address:
        made = open_session(load(preset, ["clock.until=6h", "runtime.actors=inline", f"scheduler.policy={address}"]))
        try:
            outcome = made.run_to_end()
            values = summary(outcome)
        finally:
            made.close()
    assert outcome.digest.startswith(PRESETS[preset])
    assert values["outside_policy"] == {"cycles": values["outside_policy"]["cycles"], "refused": {}, "fallback": None}
    assert values["outside_policy"]["cycles"] > 100


@pytest.mark.parametrize("recovery", ["in-place", "spares", "elastic"])
def test_it_is_told_of_jobs_that_keep_their_gpus_after_a_fault(
    by: Callable[..., Session], session: Callable[..., Session], built_in: str, recovery: str
) -> None:
    settings = f"jobs.recovery={recovery}", "jobs.spares=8"
    inside = session(BUSY, *settings).run_to_end()
    assert inside.digest != built_in
    outside = by(mirror, *settings).run_to_end()
    assert outside.outside is not None
    assert (outside.outside.fallback, outside.outside.refused) == ("", {})
    assert outside.digest == inside.digest


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_example_in_javascript_is_the_one_in_python_without_its_patience(session: Callable[..., Session]) -> None:
    program = subprocess.Popen(["node", ROOT / "examples" / "policy_server.mjs", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        port = program.stdout.readline().split()[-1]
        ours = session(BUSY, f"scheduler.policy=grpc://127.0.0.1:{port}").run_to_end()
    finally:
        program.kill()
        program.wait()
    patience = "scheduler.policy_options.patience_hours=1000"
    assert ours.digest == digest_of(session(BUSY, f"scheduler.policy={ROOT / 'examples' / 'saf.py'}:plan", patience))
    assert ours.outside is not None
    assert (ours.outside.fallback, ours.outside.refused) == ("", {})


def test_names_of_tenants_and_queues_are_the_runs(by: Callable[..., Session], session: Callable[..., Session], tmp_path: Path) -> None:
    (tmp_path / "named.py").write_text(
        "def plan(draft):\n"
        "    for job in sorted(draft.waiting(), key=lambda job: (job.queue, job.tenant, job.job_id)):\n"
        "        draft.try_start(job)\n"
    )
    named = f"{tmp_path / 'named.py'}:plan"
    inside = session(BUSY, f"scheduler.policy={named}").run_to_end()
    assert len(inside.jobs.tenants) > 5
    assert digest_of(by(mirror, f"scheduler.policy_options.policy={named}")) == inside.digest


def forever(requests: Iterator[PlanRequest]) -> Iterator[PlanResponse]:
    """Waits for the end of the stream, and says nothing."""
    for _ in requests:
        pass
    yield from ()


def fails(requests: Iterator[PlanRequest]) -> Iterator[PlanResponse]:
    next(requests)
    raise ValueError("I cannot go on")
    yield


def ends(requests: Iterator[PlanRequest]) -> Iterator[PlanResponse]:
    next(requests)
    yield from ()


def columns_differ(request: PlanRequest) -> PlanResponse:
    answer = decides(request)
    answer.actions.add().start.placement.first_host.append(1)
    return PlanResponse(decisions=answer)


#: What a program does after 50 cycles, and what is said of it.
ODD: dict[str, tuple[Plan, str]] = {
    "ends": (ends, "it has ended the stream"),
    "fails": (fails, "it failed with UNKNOWN: Exception iterating responses: I cannot go on"),
    "opens again": (says(lambda _: opened()), "it does not answer a cycle with decisions"),
    "says nothing": (says(lambda _: PlanResponse()), "it does not answer a cycle with decisions"),
    "answers another cycle": (
        says(lambda request: PlanResponse(decisions=Decisions(sequence=request.cycle.sequence + 1))),
        "it answers cycle 52 where it was told of cycle 51",
    ),
    "columns of unequal length": (
        says(columns_differ),
        "action 0 of its answer has a placement with columns of 1, 0, 0 entries; allowed: equal lengths",
    ),
    "never answers": (forever, "it has not answered for 0.3 s"),
}


@pytest.mark.parametrize("what", ODD)
def test_when_it_is_gone_the_run_goes_on_and_says_so(
    what: str, by: Callable[..., Session], built_in: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It mirrors `easy`, and so does who decides in its place: the digest is the same."""
    plan, told = ODD[what]
    caplog.set_level(logging.WARNING)
    made = by(after(50, plan), *(["scheduler.policy_options.deadline=300ms"] if what == "never answers" else []))
    assert digest_of(made) == built_in
    outside = summary(made.outcome())["outside_policy"]
    assert (outside["cycles"], outside["refused"]) == (51, {})
    gone_seconds = outside["fallback"].pop("from_seconds")
    assert gone_seconds > 0
    assert outside["fallback"] == {"policy": "easy", "reason": told}
    assert f"policy {made.outcome().policy}: {told}; from {gone_seconds:g} s on easy decides" in caplog.messages
    assert made.snapshot().policy_fallback


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (ends, "it has ended the stream"),
        (forever, "it has not answered for 0.3 s"),
        (fails, "it failed with UNKNOWN: Exception iterating responses: I cannot go on"),
        (says(lambda _: opened()), ""),
        (lambda _: iter([PlanResponse(decisions=Decisions())]), "it does not answer the opening with opened"),
        (lambda _: iter([PlanResponse(opened=Opened(protocol_version=2))]), "it speaks version 2 of the protocol; allowed: 1"),
    ],
)
def test_one_that_does_not_open_is_no_policy(plan: Plan, told: str, by: Callable[..., Session]) -> None:
    if not told:
        by(plan, "scheduler.policy_options.deadline=300ms")
        return
    with pytest.raises(PolicyUnreachable, match=rf"^policy grpc://127\.0\.0\.1:\d+: {told}"):
        by(plan, "scheduler.policy_options.deadline=300ms")


def test_what_it_is_told_of_the_run(by: Callable[..., Session]) -> None:
    openings = []

    def plan(requests: Iterator[PlanRequest]) -> Iterator[PlanResponse]:
        openings.append(next(requests).opening)
        yield opened()

    options = ("scheduler.policy_options.weight=0.5", "scheduler.policy_options.deadline=5s", "seed=7", "scheduler.preemption=true")
    by(plan, *options)
    (opening,) = openings
    assert (opening.scenario, opening.seed, opening.cycle_nanoseconds, dict(opening.options)) == ("busy", 7, 10 * SECOND, {"weight": "0.5"})
    assert [(one.name, one.gpus) for one in opening.host_types] == [("hgx-h100", 8)]
    assert (opening.hosts, opening.block_first_host[-1], len(opening.block_host_type)) == (32, 32, len(opening.block_first_host) - 1)
    assert {level.name: len(level.first_host) - 1 for level in opening.levels}["rack"] == 8
    assert (opening.preemption, opening.preempt_after_nanoseconds) == (True, 7200 * SECOND)


def test_one_that_leaves_placement_to_the_run(by: Callable[..., Session], session: Callable[..., Session]) -> None:
    """First in, first out, in one message a cycle, without knowing where anything is."""
    waiting: dict[int, tuple[int, int]] = {}

    def answer(request: PlanRequest) -> PlanResponse:
        decisions, jobs = decides(request), request.cycle.waiting
        for started in request.cycle.started:
            del waiting[started.job_id]
        waiting.update(zip(jobs.job_id, zip((-one for one in jobs.priority), jobs.submit_nanoseconds, strict=True), strict=True))
        for job_id in sorted(waiting, key=lambda job_id: (waiting[job_id], job_id)):
            start = decisions.actions.add().start
            start.job_id, start.stop_unless_started = job_id, True
        return PlanResponse(decisions=decisions)

    # What starts and fails before the next message is in started and in left, and waits again after both.
    assert digest_of(by(says(answer))) == digest_of(session(BUSY, "scheduler.policy=fifo"))


def test_a_refused_action_is_counted(by: Callable[..., Session]) -> None:
    def answer(request: PlanRequest) -> PlanResponse:
        decisions = decides(request)
        decisions.actions.add().start.job_id = 10**15
        return PlanResponse(decisions=decisions)

    made = by(says(answer), "clock.until=1h")
    outside = summary(made.run_to_end())["outside_policy"]
    assert outside["refused"] == {"pending": outside["cycles"]}
    assert made.snapshot().policy_refused == {"pending": outside["cycles"]}
    assert made.outcome().jobs.start_ns.max() == -1


def test_an_interrupted_run_does_not_wait_for_it(by: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_client, "INTERRUPTED_SECONDS", 0.0)
    asked = threading.Event()

    def plan(requests: Iterator[PlanRequest]) -> Iterator[PlanResponse]:
        next(requests)
        asked.set()
        yield from forever(requests)

    made = by(after(5, plan))

    def interrupt() -> None:
        asked.wait()
        made.interrupt()

    threading.Thread(target=interrupt).start()
    outcome = made.run_to_end()
    assert outcome.interrupted
    assert outcome.outside is not None
    assert outcome.outside.why == "it had not answered when the run was interrupted"


def test_a_live_session_that_goes_on_from_its_journal_asks_again(
    by: Callable[..., Session], tmp_path: Path, session: Callable[..., Session]
) -> None:
    """The whole run is asked for anew, so a policy that is a function of what it is told decides as before."""
    made = by(mirror, "clock.until=2h", state_dir=tmp_path / "state")
    made.set_speed(4_000.0)
    made.start()
    while made.clock().emulated_seconds < 600:
        made.submit(job_columns(1, submit_ns=0, gpus=8, duration_ns=95 * SECOND))
    seen = made.clock().emulated_seconds
    shutil.copytree(tmp_path / "state", tmp_path / "crashed")
    address = made._emulation.scenario.scheduler.policy
    made.stop()
    again = session(BUSY, f"scheduler.policy={address}", "clock.until=2h", "clock.speed=max", state_dir=tmp_path / "crashed")
    assert again.clock().emulated_seconds >= seen
    again.start()
    assert again.wait(60)
    outcome = again.outcome()
    again.close()
    with closing(Journal.copy(tmp_path / "crashed")) as journal, closing(open_replay(journal)) as replayed:
        assert replayed.replay(journal).digest == outcome.digest
    asked = outcome.outside
    assert asked is not None
    assert (asked.fallback, asked.refused) == ("", {})


def test_one_is_told_of_another_priority(by: Callable[..., Session], session: Callable[..., Session]) -> None:
    def digest_with_priorities(made: Session) -> tuple[str, int]:
        made.pause()
        made.start()
        changed = 0
        made.submit(job_columns(80, submit_ns=0, gpus=32, duration_ns=200 * SECOND))
        for number in range(8):
            made.step(5)
            for job in made.jobs(states=frozenset({JobState.PENDING}), limit=50)[number % 3 :: 3]:
                made.set_priority(job.job_id, job.job_id % 7)
                changed += 1
        made.set_speed(float("inf"))
        made.resume()
        assert made.wait(60)
        return made.outcome().digest, changed

    plain, changed = digest_with_priorities(session(BUSY))
    assert changed > 20
    assert digest_with_priorities(by(mirror)) == (plain, changed)


def test_one_resizes_a_job_for_another(by: Callable[..., Session]) -> None:
    """64 GPUs, which the first job has. It shrinks to 40 for the second, in one group with its start; what is no size of it is refused."""
    ids: list[int] = []
    refused: list[tuple[str, str]] = []
    placed: list[tuple[int, int]] = []

    def answer(request: PlanRequest) -> PlanResponse:
        decisions, cycle = decides(request), request.cycle
        refused.extend((one.rule, one.text) for one in cycle.refused)
        placed.extend((one.job_id, sum(one.placement.host_count)) for one in cycle.started)
        for job_id, least in zip(cycle.waiting.job_id, cycle.waiting.min_gpus, strict=True):
            ids.append(job_id)
            if not least:
                for gpus in (12, 40):
                    resize = decisions.actions.add(group=gpus).resize
                    resize.job_id, resize.gpus, resize.reason = ids[0], gpus, f"for job {job_id}"
            decisions.actions.add(group=0 if least else 40).start.job_id = job_id
        return PlanResponse(decisions=decisions)

    made = by(says(answer), text=QUIET)
    made.pause()
    made.start()
    first = made.submit(job_columns(1, submit_ns=0, gpus=64, min_gpus=8, duration_ns=2000 * SECOND)).job_ids[0]
    made.step(2)
    second = made.submit(job_columns(1, submit_ns=0, gpus=24, duration_ns=100 * SECOND)).job_ids[0]
    made.step(2)
    views = {job.job_id: job for job in made.jobs(limit=10)}
    assert (views[first].held_gpus, views[second].state) == (40, JobState.RUNNING)
    assert f"for job {second}" in made.explain(first).text
    made.submit(job_columns(1, submit_ns=0, gpus=64, min_gpus=8, duration_ns=SECOND))
    made.step(2)
    assert placed == [(first, 8), (first, 5), (second, 3)]
    assert refused == [("size", f"job {first} asks for 64 GPUs, or fewer in steps of 8 down to 8, and is given 12")]
    outside = summary(made.outcome())
    assert (outside["jobs"]["preemptions"], outside["outside_policy"]["refused"]) == (0, {"size": 1})
    made.stop()


def test_one_is_told_of_reservations_that_are_made_and_ended(by: Callable[..., Session], session: Callable[..., Session]) -> None:
    """What mirrors `easy` has its digest, and nothing that it does is refused: no job is put over a window."""

    def digest_with_reservations(made: Session) -> tuple[str, int]:
        made.pause()
        made.start()
        made.submit(job_columns(60, submit_ns=0, gpus=24, duration_ns=900 * SECOND))
        made.step(3)
        made.reserve(ReservationRequest("night", 1200.0, hosts=("r00001", "r00002"), start_seconds=900.0, maintenance=True))
        made.reserve(ReservationRequest("lab", 1800.0, hosts=("r00005",), start_seconds=600.0, every_seconds=4000.0, times=3))
        made.step(5)
        names = {"reservation": [0] * 4, "reservations": ("lab",)}
        inside = made.submit(job_columns(4, submit_ns=0, gpus=16, duration_ns=1000 * SECOND, **names)).job_ids
        made.step(90)
        made.end_reservation("night")
        made.step(20)
        made.end_reservation("lab")
        made.set_speed(float("inf"))
        made.resume()
        assert made.wait(60)
        return made.outcome().digest, sum(made.job(job_id).start_seconds is not None for job_id in inside)

    expected, inside = digest_with_reservations(session(BUSY))
    assert inside > 0
    made = by(mirror)
    assert digest_with_reservations(made) == (expected, inside)
    outside = made.outcome().outside
    assert outside is not None
    assert (outside.fallback, outside.refused) == ("", {})


def test_a_window_to_come_is_told_before_it_begins(by: Callable[..., Session]) -> None:
    """A job that the policy puts over a window is refused with the rule, though its hosts are offered; the others it may have."""
    told: list[Any] = []

    def answer(request: PlanRequest) -> PlanResponse:
        decisions, cycle = decides(request), request.cycle
        told.extend(cycle.reservations)
        told.extend((one.rule, one.text) for one in cycle.refused)
        for job_id, estimate_ns in zip(cycle.waiting.job_id, cycle.waiting.estimate_nanoseconds, strict=True):
            for first in (0, 4):  # in the window, and beside it
                start = decisions.actions.add().start
                start.job_id = job_id
                start.placement.first_host[:], start.placement.host_count[:], start.placement.gpu_mask[:] = [first], [1], [255]
            assert estimate_ns == 3600 * SECOND
        return PlanResponse(decisions=decisions)

    made = by(
        says(answer), "scheduler.reservations=[{name: night, hosts: r00000, start: 30m, duration: 1h, every: 1d, times: 2}]", text=QUIET
    )
    made.pause()
    made.start()
    for _ in range(2):
        made.submit(job_columns(1, submit_ns=0, gpus=8, duration_ns=3600 * SECOND))
        made.step(2)
    first, *refused = told
    assert (first.name, list(first.hosts.first_host), list(first.hosts.host_count), first.times) == ("night", [0], [4], 2)
    assert (first.begin_nanoseconds, first.duration_nanoseconds) == (1800 * SECOND, 3600 * SECOND)
    assert first.every_nanoseconds == 86_400 * SECOND
    window = "reservation night of rack r00000 from 1,800 s to 5,400 s"
    assert refused == [("reserved", f"host r00000-h00 is not for job {made.jobs(limit=1)[0].job_id}: {window}")]
    assert made.jobs(limit=1)[0].state == JobState.RUNNING
    made.stop()


@pytest.mark.parametrize("more", [(), ("scheduler.preemption=true", "faults.host_rate_per_1000_node_days=500")])
def test_one_decides_at_every_site(more: tuple[str, ...]) -> None:
    """Jobs are dispatched to sites by the run, wait for their data, and move; what mirrors `easy` has its digest."""

    def digest(*settings: str) -> tuple[str, Any, Any]:
        settings = ("clock.until=8h", "runtime.actors=inline", "workload.generated.load=1.0", *more, *settings)
        made = open_session(load(str(ROOT / "examples" / "three-sites.yaml"), list(settings)))
        try:
            outcome = made.run_to_end()
        finally:
            made.close()
        values = summary(outcome)
        return outcome.digest, values["sites"], values["outside_policy"]

    expected, sites, _ = digest()
    assert all(site["dispatched_jobs"] > 0 and site["received_bytes"] > 0 for site in sites["by_site"].values())
    with served(mirror) as address:
        ours, same, outside = digest(f"scheduler.policy={address}")
    assert (ours, same) == (expected, sites)
    assert (outside["refused"], outside["fallback"]) == ({}, None)


def test_a_job_of_another_site_is_refused(by: Callable[..., Session]) -> None:
    """The program is told at which site a job waits, and what is free there; on hosts of another it does not start."""
    told: list[Any] = []
    refused: list[tuple[str, str]] = []

    def plan(requests: Iterator[PlanRequest]) -> Iterator[PlanResponse]:
        for request in requests:
            if request.HasField("opening"):
                opening = request.opening
                levels = {level.name: list(level.first_host) for level in opening.levels}
                told.append((list(opening.sites), levels["site"]))
                yield opened()
                continue
            decisions, cycle = decides(request), request.cycle
            refused.extend((one.rule, one.text) for one in cycle.refused)
            told.extend((site, list(cycle.site_free_gpus), list(cycle.free_gpus)) for site in cycle.waiting.site)
            for job_id, site in zip(cycle.waiting.job_id, cycle.waiting.site, strict=True):
                for host in (levels["site"][1 - site], levels["site"][site]):
                    start = decisions.actions.add().start
                    start.job_id = job_id
                    start.placement.first_host[:], start.placement.host_count[:], start.placement.gpu_mask[:] = [host], [1], [255]
            yield PlanResponse(decisions=decisions)

    part = "host: hgx-h100, switch: sn5600, hosts_per_rack: 4"
    parts = f"[{{name: a, site: east, hosts: 4, {part}}}, {{name: b, site: west, hosts: 8, {part}}}]"
    cluster = f"{{parts: {parts}, wan: {{gateway_bandwidth: 6.4Tbps, distance_km: 1000}}}}"
    text = QUIET.replace("cluster: {host: hgx-h100, hosts: 8, hosts_per_rack: 4, switch: qm9700}", f"cluster: {cluster}")
    made = by(plan, "scheduler.sites.dispatch=global", text=text)
    made.pause()
    made.start()
    for _ in range(2):
        made.submit(job_columns(1, submit_ns=0, gpus=8, duration_ns=3600 * SECOND))
        made.step(10)
    (names, first_hosts), (first, by_site, by_type), *_ = told
    assert (names, first_hosts, by_site, by_type) == (["east", "west"], [0, 4, 12], [32, 64], [96])
    assert refused[0][0] == "type"
    assert f"asks for hgx-h100 at {names[first]} hosts and is given hgx-h100 at {names[1 - first]} ones" in refused[0][1]
    assert [job.state for job in made.jobs(limit=9)] == [JobState.RUNNING] * 2
    made.stop()
