"""What a live session accepts and refuses."""

import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emulator.engine.errors import InvalidRequest, NeverFits, NotFound, QueueFull, WrongState
from emulator.engine.fault_control import FaultRequest
from emulator.engine.job_control import JobState
from emulator.runtime.session import Session
from emulator.runtime.submissions import jobs_of, payload_of
from emulator.workload.jobs import API_FIRST_ID as FIRST_ID
from emulator.workload.jobs import LEVEL_NAMES, SECOND, JobColumns, job_columns
from tests.session.conftest import events_of


def jobs(count: int = 1, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 95 * SECOND} | columns)


def test_a_repeated_request_gets_the_first_answer_and_is_done_once(paused: Callable[..., Session]) -> None:
    made = paused()
    first = made.submit(jobs(3), "a")
    made.step(3)
    assert made.submit(jobs(3), "a").job_ids == first.job_ids == [FIRST_ID, FIRST_ID + 1, FIRST_ID + 2]
    assert len(made.jobs()) == 3
    cancelled = made.cancel(FIRST_ID, "b")
    made.step(1)
    assert made.cancel(FIRST_ID, "b") == cancelled  # though it has been cancelled since
    said = made.inject_fault(FaultRequest("host", "1", 5), request_id="c")
    assert made.inject_fault(FaultRequest("host", "1", 5), request_id="c") == said
    made.step(1)
    assert made.cluster().gpus_down == 8
    assert made.cordon(0, cordoned=True, request_id="d") == made.cordon(0, cordoned=True, request_id="d")


@pytest.mark.parametrize(
    "again",
    [
        lambda made: made.submit(jobs(3), "a"),
        lambda made: made.submit(jobs(2, gpus=4), "a"),
        lambda made: made.submit(jobs(2, slice_gpus=4, slice_level=2), "a"),
        lambda made: made.submit(jobs(2, names=("x", "y")), "a"),
        lambda made: made.submit(jobs(2, queues=("other",)), "a"),
        lambda made: made.cancel(FIRST_ID, "a"),
        lambda made: made.hold(FIRST_ID, "a"),
        lambda made: made.release(FIRST_ID, "a"),
        lambda made: made.set_priority(FIRST_ID, 1, "a"),
        lambda made: made.cordon(0, cordoned=True, request_id="a"),
        lambda made: made.inject_fault(FaultRequest("host", "0", 1), request_id="a"),
    ],
)
def test_a_request_id_is_for_one_request(paused: Callable[..., Session], again: Callable[[Session], object]) -> None:
    made = paused()
    made.submit(jobs(2), "a")
    with pytest.raises(InvalidRequest, match="request_id 'a' was used for another request") as error:
        again(made)
    assert (error.value.field, error.value.allowed) == ("request_id", "a new one for each new request")
    assert len(made.jobs()) == 2


def test_without_a_request_id_the_same_again_is_another(paused: Callable[..., Session]) -> None:
    made = paused()
    assert made.submit(jobs()).job_ids != made.submit(jobs()).job_ids


def test_a_full_queue_takes_what_it_has_room_for_and_a_refusal_is_not_remembered(paused: Callable[..., Session]) -> None:
    """The limit is 5, counting what was accepted for the next cycle. Of 8 hosts 4 jobs of 2 hosts each run."""
    made = paused("scheduler.pending_limit=5")
    assert made.submit(jobs(3, gpus=16)).errors == {}
    part = made.submit(jobs(4, gpus=16), "part")
    assert part.job_ids == [FIRST_ID + 3, FIRST_ID + 4, -1, -1]
    assert {index: type(error) for index, error in part.errors.items()} == {2: QueueFull, 3: QueueFull}
    refused = part.errors[2]
    assert isinstance(refused, QueueFull)
    assert refused.retry_seconds > 0
    with pytest.raises(QueueFull, match=r"5 jobs are pending, which is the limit \(scheduler.pending_limit\)"):
        made.submit(jobs(1, gpus=16), "late")
    made.step(1)  # four of the five start
    assert made.submit(jobs(1, gpus=16), "late").errors == {}
    assert made.submit(jobs(4, gpus=16), "part").job_ids == part.job_ids
    made.step(100)
    assert [view.state for view in made.jobs()] == [JobState.FINISHED] * 6


def test_a_job_that_can_never_fit_is_refused_alone_and_in_a_batch(paused: Callable[..., Session]) -> None:
    made = paused()
    result = made.submit(jobs(4, gpus=[8, 65, 64, 16], require_level=[-1, -1, -1, LEVEL_NAMES.index("host")]))
    assert result.job_ids == [FIRST_ID, -1, FIRST_ID + 1, -1]
    assert {index: str(error) for index, error in result.errors.items()} == {
        1: "65 GPUs never fit on this cluster of 64 GPUs",
        3: "16 GPUs inside one host never fit: each host holds 8 GPUs",
    }
    alone = made.submit(jobs(gpus=65))
    assert alone.job_ids == [-1]
    assert isinstance(alone.errors[0], NeverFits)
    assert alone.errors[0].field == "gpus"


def test_slices_are_shown_and_kept_and_impossible_ones_refused(paused: Callable[..., Session]) -> None:
    made = paused()
    rack = LEVEL_NAMES.index("rack")
    result = made.submit(jobs(4, gpus=[32, 48, 36, 32], slice_gpus=[16, 48, 12, 16], slice_level=[rack, rack, rack, 0]))
    assert {index: (str(error), error.field) for index, error in result.errors.items() if isinstance(error, NeverFits)} == {
        1: ("slices of 48 GPUs inside one rack never fit: the largest holds 32 GPUs", "slice_gpus"),
        2: ("slices of 12 GPUs are neither a part of a host nor whole hosts: a host has 8 GPUs", "slice_gpus"),
        3: ("slices of 16 GPUs inside one host never fit: the largest holds 8 GPUs", "slice_gpus"),
    }
    made.step(1)
    view = made.job(result.job_ids[0])
    assert (view.state, view.slice_gpus, view.slice_level) == (JobState.RUNNING, 16, "rack")


def test_journals_without_slices_are_read() -> None:
    payload = payload_of(jobs(2, gpus=[8, 16]))
    older = {name: column for name, column in payload.items() if not name.startswith("slice_")}
    assert len(older) == len(payload) - 2
    read = jobs_of(json.loads(json.dumps(older)))
    assert (read.slice_gpus.tolist(), read.slice_level.tolist()) == ([0, 0], [-1, -1])
    cut = jobs_of(json.loads(json.dumps(payload_of(jobs(slice_gpus=4, slice_level=2)))))
    assert (cut.slice_gpus.tolist(), cut.slice_level.tolist()) == ([4], [2])


def test_sizes_are_in_the_journal_and_older_ones_have_none() -> None:
    payload = payload_of(jobs(2, gpus=[8, 16], min_gpus=[4, 0]))
    assert jobs_of(json.loads(json.dumps(payload))).min_gpus.tolist() == [4, 0]
    del payload["min_gpus"]
    assert jobs_of(json.loads(json.dumps(payload))).min_gpus.tolist() == [0, 0]


def test_names_queues_and_shapes_of_the_accepted_stay_with_them(paused: Callable[..., Session]) -> None:
    made = paused()
    result = made.submit(jobs(3, gpus=[8, 65, 8], names=("a", "b", "c"), queue=[0, 0, 1], queues=("x", "y")))
    views = [made.job(job) for job in result.job_ids if job >= 0]
    assert [(view.name, view.queue) for view in views] == [("a", "x"), ("c", "y")]
    assert [view.name for view in made.jobs(queue="y")] == ["c"]
    with pytest.raises(NotFound, match="no queue 'z'"):
        made.jobs(queue="z")


def test_cancel_takes_what_waits_and_what_runs_but_not_what_has_ended(paused: Callable[..., Session]) -> None:
    made = paused()
    running, waiting, fresh = made.submit(jobs(3, gpus=[64, 64, 8])).job_ids
    made.step(2)
    made.cancel(running)
    made.cancel(waiting)
    assert made.job(running).state == JobState.RUNNING  # acts in the next cycle
    made.step(1)
    assert [made.job(job).state for job in (running, waiting, fresh)] == [JobState.CANCELLED, JobState.CANCELLED, JobState.RUNNING]
    assert made.job(running).end_seconds == 20.0
    with pytest.raises(WrongState, match=f"job {running} is cancelled"):
        made.cancel(running)
    unborn = made.submit(jobs()).job_ids[0]
    made.cancel(unborn)
    made.step(1)
    assert made.job(unborn).state == JobState.CANCELLED
    for method in (made.cancel, made.hold, made.release, made.job, made.explain):
        with pytest.raises(NotFound, match="no job 12345"):
            method(12345)


def test_a_cordoned_rack_is_not_used_and_what_runs_there_goes_on(paused: Callable[..., Session]) -> None:
    made = paused()
    first = made.submit(jobs(gpus=32)).job_ids[0]
    made.step(1)
    assert made.job(first).hosts == "r00000-h[00-03]"
    assert made.cordon(0, cordoned=True).cordoned
    made.cordon(1, cordoned=True)
    second = made.submit(jobs(gpus=32)).job_ids[0]
    made.step(1)
    assert made.job(second).state == JobState.PENDING
    assert made.cluster().gpus_cordoned == 32
    made.cordon(1, cordoned=False)
    made.step(1)
    assert made.job(second).hosts == "r00001-h[00-03]"
    made.step(8)
    assert made.job(first).state == JobState.FINISHED
    assert [rack.cordoned for rack in made.racks()] == [True, False]
    with pytest.raises(NotFound, match="no rack 2") as error:
        made.cordon(2, cordoned=True)
    assert (error.value.field, error.value.allowed) == ("rack", "0 to 1")


def test_injected_faults_strike_hosts_racks_and_links_and_pass(paused: Callable[..., Session]) -> None:
    made = paused()
    made.step(1)
    assert made.inject_fault(FaultRequest("rack", "1", 25.0)) == "rack r00001 fails at 10 s for 25 s"
    assert made.inject_fault(FaultRequest("host", "0", 1e-12)).startswith("host r00000-h00 fails")  # a nanosecond at least
    link = made.links(tier="leaf_spine")[0].link
    made.inject_fault(FaultRequest("link", str(link), 25.0, 0.25))
    made.step(1)
    assert made.cluster().gpus_down == 40
    assert made.links(after=link - 1, limit=1)[0].healthy_ratio == 0.25
    made.step(1)
    assert made.cluster().gpus_down == 32
    made.step(2)
    assert made.cluster().gpus_down == 0
    assert made.links(after=link - 1, limit=1)[0].healthy_ratio == 1.0
    assert sum(rack.gpus_down for rack in made.racks()) == 0


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"target": "host", "name": "8"}, "number"),
        ({"target": "host", "name": "-1"}, "number"),
        ({"target": "rack", "name": "2"}, "number"),
        ({"target": "link", "name": "1000000000"}, "number"),
        ({"target": "link", "name": "0", "remaining_ratio": 1.0}, "remaining_ratio"),
        ({"target": "link", "name": "0", "remaining_ratio": float("nan")}, "remaining_ratio"),
        ({"target": "host", "name": "0", "duration_seconds": 0.0}, "duration"),
        ({"target": "host", "name": "0", "duration_seconds": float("nan")}, "duration"),
        ({"target": "host", "name": "0", "duration_seconds": 2e9}, "duration"),
        ({"target": "moon", "name": "0"}, "target"),
    ],
)
def test_faults_that_make_no_sense_are_refused(paused: Callable[..., Session], fault: dict[str, Any], field: str) -> None:
    made = paused()
    with pytest.raises((InvalidRequest, NotFound)) as error:
        made.inject_fault(FaultRequest(**({"duration_seconds": 1.0} | fault)))
    assert error.value.field == field
    assert error.value.allowed


def test_many_threads_at_once_lose_nothing(session: Callable[..., Session]) -> None:
    """Twenty threads submit, read and cancel while the clock runs as fast as it can."""
    made = session(endless=True)
    made.start()
    accepted: list[list[int]] = [[] for _ in range(20)]
    errors = []

    def work(number: int) -> None:
        random = np.random.default_rng(number)
        try:
            for turn in range(15):
                ids = made.submit(jobs(4, gpus=random.choice([1, 2, 8], 4)), f"{number}-{turn}").job_ids
                accepted[number] += ids
                made.job(ids[0])
                made.queues()
                if turn % 5 == 0:
                    made.racks()
                    made.progress()
        except BaseException as error:  # noqa: BLE001 - asserted on by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    ids = sorted(job for ids in accepted for job in ids)
    assert ids == list(range(FIRST_ID, FIRST_ID + 1200))
    list(events_of(made, job_ids=ids))  # ends when they have all ended
    made.stop()
    assert (made.outcome().jobs.state == 2).sum() == 1200


def test_a_job_on_hold_waits_for_its_release_and_comes_back_to_its_place(paused: Callable[..., Session]) -> None:
    made = paused()
    running, first, second = made.submit(jobs(3, gpus=64)).job_ids
    answer = made.hold(first, "h")
    assert (answer.state, made.hold(first, "h")) == (JobState.PENDING, answer)
    made.step(2)
    assert (made.job(first).reason, made.explain(first).kind, made.explain(first).position) == ("on hold", "hold", -1)
    assert made.explain(first).remedy == f"may start once it is released: gigawatt job release {first}"
    assert made.snapshot().pending_jobs_by_reason["hold"] == 1
    made.hold(first)  # on hold already
    with pytest.raises(WrongState, match=f"job {running} is running; allowed: a pending job") as error:
        made.hold(running)
    assert error.value.field == "job_id"
    with pytest.raises(NotFound):
        made.release(7)
    made.step(10)
    assert [made.job(job).state for job in (running, first, second)] == [JobState.FINISHED, JobState.PENDING, JobState.RUNNING]
    third = made.submit(jobs(gpus=64)).job_ids[0]
    made.release(first, "r")
    made.release(first)
    made.step(10)
    assert [made.job(job).state for job in (first, second, third)] == [JobState.RUNNING, JobState.FINISHED, JobState.PENDING]
    made.hold(third)
    made.step(1)
    made.cancel(third)
    made.step(1)
    assert made.job(third).state == JobState.CANCELLED
    with pytest.raises(WrongState, match="is cancelled; allowed: a pending job"):
        made.release(third)
    assert made.snapshot().jobs_by_state["pending"] == 0


def test_a_job_gets_another_priority(paused: Callable[..., Session]) -> None:
    made = paused()
    running, first, second = made.submit(jobs(3, gpus=64)).job_ids
    answer = made.set_priority(second, 2, "p")
    assert (answer.priority, made.set_priority(second, 2, "p")) == (0, answer)
    with pytest.raises(InvalidRequest, match="was used for another request"):
        made.set_priority(second, 3, "p")
    watch = events_of(made, job_ids=[second])
    assert next(watch).job.priority == 0
    made.step(2)
    assert made.job(second).priority == 2
    assert next(watch).job.priority == 0  # it was submitted
    assert next(watch).job.priority == 2
    assert [made.explain(job).position for job in (second, first)] == [-1, 1]  # it came in with that priority, and started first
    made.set_priority(first, -(2**31))
    made.step(1)
    assert made.job(first).priority == -(2**31)
    with pytest.raises(NotFound):
        made.set_priority(7, 1)
    made.cancel(running)
    made.step(1)
    with pytest.raises(WrongState, match=f"job {running} is cancelled; allowed: a pending or running job"):
        made.set_priority(running, 1)


def test_a_queue_adds_its_priority_within_32_bits(paused: Callable[..., Session]) -> None:
    made = paused("scheduler.queues=[{name: urgent, priority: 2000000000}]")
    first, second = made.submit(jobs(2, queues=("urgent",), priority=[2**31 - 1, 1])).job_ids
    made.step(1)
    assert [made.job(job).priority for job in (first, second)] == [2**31 - 1, 2_000_000_001]
    made.set_priority(second, -5)
    made.set_priority(first, 2**31 - 1)
    made.step(1)
    assert [made.job(job).priority for job in (first, second)] == [2**31 - 1, 1_999_999_995]
    made.stop()
    assert made.outcome().jobs.priority.tolist() == [2**31 - 1, 1_999_999_995]


def test_watches_are_told_of_holds(paused: Callable[..., Session]) -> None:
    made = paused()
    job = made.submit(jobs(duration_ns=15 * SECOND)).job_ids[0]
    made.hold(job)
    watch = events_of(made, job_ids=[job])
    next(watch)
    made.step(1)
    made.release(job)
    made.step(4)
    told = [(str(event.job.state), event.job.reason) for event in watch]
    assert told == [("pending", ""), ("pending", "on hold"), ("pending", ""), ("running", ""), ("finished", "")]
