"""Commands against a running server: tables, JSON, exit codes."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from emulator.engine.errors import QueueFull
from emulator.engine.job_control import JobState
from tests.cli.conftest import Run
from tests.service.conftest import FakeControl

Served = tuple[FakeControl, str]


def test_submit_list_get_explain_hold_release_cancel(gigawatt: Run, served: FakeControl) -> None:
    code, out, err = gigawatt("job submit --gpus 1024 --duration 2h --name pretrain --priority 5 --no-preempt -o json")
    assert (code, err) == (0, "")
    job = json.loads(out)
    assert (job["job_id"], job["gpus"], job["name"], job["priority"], job["state"]) == (0, 1024, "pretrain", 5, "pending")
    (columns,) = served.batches
    assert (columns.duration_ns[0], bool(columns.preemptible[0])) == (7200 * 10**9, False)
    code, out, _ = gigawatt("job list")
    assert code == 0
    assert out.split()[:5] == ["ID", "NAME", "QUEUE", "STATE", "GPUS"]
    assert "pretrain" in out
    assert json.loads(gigawatt("job list --state running -o json")[1]) == []
    assert yaml.safe_load(gigawatt("job get 0 -o yaml")[1])["start_seconds"] is None
    assert "8 of 16 GPUs are free" in gigawatt("job explain 0")[1]
    assert json.loads(gigawatt("job hold 0 -o json")[1])["reason"] == "on hold"
    assert json.loads(gigawatt("job release pretrain -o json")[1])["reason"] == "waits for the next cycle"
    assert json.loads(gigawatt("job priority 0 -7 -o json")[1])["priority"] == -7
    assert json.loads(gigawatt("job priority pretrain 3 -o json")[1])["priority"] == 3
    assert json.loads(gigawatt("job cancel 0 -o json")[1])["state"] == "cancelled"
    assert gigawatt("job priority 0 1")[0] == 1
    for wrong in ("2147483648", "-2147483649", "1.5", "high", "--high"):
        assert gigawatt(f"job priority 0 {wrong}")[0] == 2


def test_a_file_and_options_add_up(gigawatt: Run, served: FakeControl, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("gpus: 16\nduration: 1h30m\ndeadline: 3h\nname: from-file\nutilization: 1\nrequire: leaf\npreemptible: false\n")
    code, out, err = gigawatt("job submit --name mine -o json --file", path)
    assert (code, err) == (0, "")
    assert json.loads(out)["name"] == "mine"
    assert served.batches[0].duration_ns[0] == 5400 * 10**9
    assert served.batches[0].deadline_ns[0] == 3 * 3600 * 10**9
    assert gigawatt("job submit --deadline 2h --file", path)[0] == 0
    assert served.batches[1].deadline_ns[0] == 2 * 3600 * 10**9
    code, _, err = gigawatt("job submit --gpus 8 --duration 1h --deadline 0s")
    assert (code, err) == (2, "gigawatt: error: --deadline: '0s' is not longer than 0; allowed: more than 0, e.g. 24h\n")


def test_training_and_services_can_be_submitted(gigawatt: Run, served: FakeControl) -> None:
    assert json.loads(gigawatt("job submit --gpus 64 --model llama3-8b --steps 100 -o json")[1])["kind"] == "training"
    assert json.loads(gigawatt("job submit --gpus 8 --replicas 3 -o json")[1])["kind"] == "service"
    assert len(served.views) == 4


def test_exit_codes_say_what_was_wrong(gigawatt: Run, served: FakeControl) -> None:
    for line, code, shown in (
        ("job get 99", 3, "no job 99"),
        ("rack cordon 9999", 3, "no rack 9999"),
        ("job submit --gpus 1000000 --duration 1h", 4, "the cluster has 100000 GPUs"),
        ("job submit --gpus 8", 2, "duration"),
        ("job submit --gpus 8 --duration 1h --slice-gpus 3 --slice-level rack", 2, "slice_gpus"),
        ("job submit --gpus 8 --duration 1h --slice-gpus 4", 2, "slice_level"),
        ("job submit --gpus 8 --duration 1h --min-gpus 9", 2, "min_gpus"),
        ("job submit --gpus 0 --duration 1h", 2, "gpus"),
        ("job submit --gpus 99999999999 --duration 1h", 2, "gpus"),
        ("clock step", 1, "pause"),
        ("link list --tier nowhere", 2, "tier"),
    ):  # fmt: skip
        got, out, err = gigawatt(line)
        assert (got, out, err.count("\n")) == (code, "", 1), line
        assert err.startswith("gigawatt: error: ")
        assert shown in err, line


def test_a_full_queue_says_when_to_try_again(gigawatt: Run, served: FakeControl) -> None:
    served.next_error = QueueFull("the queue holds 10 jobs", retry_seconds=2.5)
    code, _, err = gigawatt("job submit --gpus 8 --duration 1h")
    assert code == 1
    assert "try again in 2.5 s" in err


def test_no_answer_in_time_is_5(gigawatt: Run, served: FakeControl) -> None:
    gigawatt("job submit --gpus 8 --duration 1h")
    served.gate = threading.Event()
    try:
        code, _, err = gigawatt("job explain 0 --timeout 0.3")
    finally:
        served.gate.set()
    assert code == 5
    assert "no answer in time" in err


def test_nobody_there_is_1(gigawatt: Run) -> None:
    code, _, err = gigawatt("queue list --api 127.0.0.1:9")
    assert code == 1
    assert "nothing answers at 127.0.0.1:9" in err


@pytest.mark.parametrize(("state", "expected"), [(JobState.FINISHED, 0), (JobState.FAILED, 1)])
def test_watch_prints_changes_and_ends_with_the_job(gigawatt: Run, served: FakeControl, state: JobState, expected: int) -> None:
    gigawatt("job submit --gpus 8 --duration 1h --name x[y]")

    def live() -> None:
        with served.changed:
            while not served.open_watches:  # it does not say when one opens
                served.changed.wait(0.01)
        served.change(0, state=JobState.RUNNING, hosts="r00000-h00")
        served.change(0, state=state, reason="it ended")

    thread = threading.Thread(target=live)
    thread.start()
    code, out, err = gigawatt("job watch 0")
    thread.join()
    assert code == expected
    assert out.splitlines()[0] == "00:00:00  job 0 (x[y])  pending: waits for the next cycle"
    assert out.splitlines()[-1].startswith(f"00:00:00  job 0 (x[y])  {state}")
    assert ("it ended" in err) is (expected == 1)


def test_queues_with_their_quotas(gigawatt: Run, served: FakeControl) -> None:
    code, out, _ = gigawatt("queue list")
    assert code == 0
    heading, _, *lines = out.splitlines()
    assert heading.split()[-7:] == ["HELD", "COHORT", "FLAVOR", "NOMINAL", "USED", "BORROWED", "LENT"]
    assert [line.split() for line in lines[2:]] == [
        ["research", "1", "8", "2", "16", "1", "lab", "*", "8", "16", "8", "0"],
        ["-", "-", "-", "-", "-", "-", "-", "hgx-h100", "64", "16", "0", "8"],
    ]
    code, out, _ = gigawatt("queue get research")
    assert code == 0
    assert [line.split()[-1] for line in out.splitlines() if "limit" in line] == ["10.5", "-", "-", "0"]
    rows = json.loads(gigawatt("queue list", "-o", "json")[1])
    assert rows[2]["quotas"][1]["flavor"] == "hgx-h100"


@pytest.mark.parametrize(
    ("line", "check"),
    [
        ("queue list", lambda rows: [row["name"] for row in rows] == ["default", "inference", "research"]),
        ("rack list --limit 3", lambda rows: [row["rack"] for row in rows] == [0, 1, 2]),
        ("link list --limit 1500", lambda rows: len(rows) == 1500),
        ("link list --tier leaf_spine --limit 2", lambda rows: [row["link"] for row in rows] == [1, 3]),
        ("rack cordon 3", lambda rack: rack["cordoned"] is True),
        ("rack uncordon 3", lambda rack: rack["cordoned"] is False),
        ("clock show", lambda clock: clock["cycle_seconds"] == 10.0),
        ("clock pause", lambda clock: clock["paused"] is True),
        ("clock resume", lambda clock: clock["paused"] is False),
        ("clock speed 60", lambda clock: clock["speed"] == 60.0),
        ("clock speed max", lambda clock: clock["speed"] == "max"),
    ],
)
def test_the_other_commands(gigawatt: Run, served: FakeControl, line: str, check: Callable[..., bool]) -> None:
    code, out, err = gigawatt(line, "-o", "json")
    assert (code, err) == (0, "")
    assert check(json.loads(out))
    code, out, err = gigawatt(line)
    assert (code, err) == (0, "")
    assert out


def test_step_and_fault(gigawatt: Run, served: FakeControl) -> None:
    gigawatt("clock pause")
    assert json.loads(gigawatt("clock step 3 -o json")[1])["emulated_seconds"] == 30.0
    assert gigawatt("fault inject link 7 --for 30m --remaining 0.5")[1] == "link 7 is down for 1800 s and keeps 0.5\n"


def test_dependencies_and_arrays_can_be_submitted(gigawatt: Run, served: FakeControl, tmp_path: Path) -> None:
    code, out, err = gigawatt("job submit -g 8 -d 1h --name a --array 3 --array-parallel 2 --after 12,13 --after-any 14 -o json")
    assert (code, err, json.loads(out)["name"]) == (0, "", "a[0]")
    path = tmp_path / "job.yaml"
    for text in ("after: 12", "after: [12]", "after: '12'"):
        path.write_text(f"gpus: 8\nduration: 1h\n{text}\n")
        assert gigawatt("job submit --file", path)[0] == 0
    assert [batch.afters for batch in served.batches] == [(((12, False), (13, False), (14, True)),), *[(((12, False),),)] * 3]
    for text in ("after: x", "after: [true]", "after: 1.5", "after: '12;13'"):
        path.write_text(f"gpus: 8\nduration: 1h\n{text}\n")
        code, _, err = gigawatt("job submit --file", path)
        assert (code, err.count("\n"), "is no list of ids; allowed: ids of jobs, as 12,13" in err) == (2, 1, True), err
    assert "--after" in gigawatt("job submit -g 8 -d 1h --after x")[2]
