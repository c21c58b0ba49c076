"""What is broken in a live emulation: injected, listed, mended, and repeated from the journal."""

from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.engine.commands import BreakHosts, CutLinks
from emulator.engine.errors import InvalidRequest, NotFound
from emulator.engine.fault_control import FaultRequest, FaultView
from emulator.engine.hardware_control import HostState
from emulator.engine.link_health import Cut
from emulator.runtime.opening import open_replay
from emulator.runtime.session import Session
from emulator.store.journal import Journal
from emulator.workload.jobs import SECOND, job_columns

#: A rack of 18 trays, four GPUs each.
NVL72 = "cluster={host: gb200-nvl72, hosts: 36, hosts_per_rack: 18, switch: quantum-x800}"


def shown(made: Session) -> list[tuple[int, str, str, float, float | None, str, int]]:
    return [
        (fault.fault_id, fault.target, fault.name, fault.since_seconds, fault.until_seconds, fault.takes, fault.host_count)
        for fault in made.faults()
    ]


def states(made: Session) -> str:
    """A letter a host."""
    return "".join(host.state[0] for host in made.hosts()[0])


def test_every_kind_is_listed_with_what_it_takes_until_it_is_over(paused: Callable[..., Session]) -> None:
    made = paused()
    made.submit(job_columns(3, submit_ns=0, gpus=[8, 4, 4], duration_ns=10_000 * SECOND))
    made.step(1)
    assert made.faults() == []
    made.inject_fault(FaultRequest("process", "0", 50.0))
    made.inject_fault(FaultRequest("gpu", "1#2", 50.0, cause="gpu_hbm3_memory"))
    made.inject_fault(FaultRequest("host", "r00001-h00", 70.0))
    made.inject_fault(FaultRequest("cable", "leaf-00000/spine-00000#1", 35.0, 0.25, cause="network_switch_or_cable"))
    made.inject_fault(FaultRequest("nic", "r00000-h02:3", 90.0, flap_seconds=1.0, every_seconds=20.0))
    made.step(1)
    assert shown(made) == [
        (1, "gpu", "r00000-h01#2", 10.0, 60.0, "a GPU", 1),
        (2, "host", "r00001-h00", 10.0, 80.0, "the host", 1),
        (3, "cable", "leaf-00000/spine-00000#1", 10.0, 45.0, "1 cable, which keep 25%", 0),
        (4, "nic", "r00000-h02:3", 10.0, 100.0, "1 cable, again and again", 0),
    ]
    assert [fault.cause for fault in made.faults()] == ["gpu_hbm3_memory", "injected", "network_switch_or_cable", "injected"]
    jobs = made.jobs()
    assert [job.restarts for job in jobs] == [1, 1, 0], "the process's job, and the one on GPU 2"
    assert made.faults()[0].job_ids == (jobs[1].job_id,)
    assert states(made) == "hdhhdhhh"
    made.step(10)
    assert made.faults() == []
    assert states(made) == "h" * 8


@pytest.mark.parametrize(
    ("target", "name", "called", "down"),
    [
        ("rack", "r00001", "r00001", "hhhhdddd"),
        ("leaf", "leaf-00001", "leaf-00000", "d" * 8),
        ("leaf", "0", "leaf-00000", "d" * 8),
        ("cooling_unit", "cooling-00000", "cooling-00000", "d" * 8),
        ("power_feed", "0", "feed-00000", "d" * 8),
    ],
)
def test_the_hosts_of_a_unit_go_down_together(paused: Callable[..., Session], target: str, name: str, called: str, down: str) -> None:
    made = paused()
    assert made.inject_fault(FaultRequest(target, name, 25.0)).startswith(f"{target.replace('_', ' ')} {called} fails at 0 s")
    made.step(1)
    assert states(made) == down
    assert [(fault.target, fault.name, fault.host_count) for fault in made.faults()] == [(target, called, down.count("d"))]
    assert made.clear_fault(called).endswith("is mended at 10 s")
    made.step(1)
    assert (states(made), made.faults()) == ("h" * 8, [])


def test_a_host_with_two_faults_is_whole_when_both_are_over(paused: Callable[..., Session]) -> None:
    made = paused()
    made.inject_fault(FaultRequest("host", "0", 45.0))
    made.inject_fault(FaultRequest("rack", "0", 1000.0))
    made.step(1)
    assert [fault.host_count for fault in made.faults()] == [1, 4]
    made.clear_fault("2")
    made.step(1)
    assert (states(made), [fault.fault_id for fault in made.faults()]) == ("dhhhhhhh", [1])
    made.step(4)
    assert (states(made), made.faults()) == ("h" * 8, [])


def test_a_flap_that_is_cleared_flaps_no_more(paused: Callable[..., Session]) -> None:
    made = paused()
    made.inject_fault(FaultRequest("switch", "0", 3000.0, flap_seconds=12.0, every_seconds=20.0))
    made.step(1)
    assert made.link_count(unhealthy=True) > 0
    assert shown(made)[0][4] == 3000.0
    made.clear_fault("1")
    made.step(1)
    assert (made.link_count(unhealthy=True), made.faults()) == (0, [])
    made.step(5)
    assert made.link_count(unhealthy=True) == 0


def test_a_switch_tray_drains_its_domain_and_is_repaired_when_the_jobs_are_gone(paused: Callable[..., Session]) -> None:
    made = paused(NVL72)
    made.submit(job_columns(3, submit_ns=0, gpus=[8, 72, 72], duration_ns=[55 * SECOND, 1000 * SECOND, 100 * SECOND]))
    made.step(1)
    first = next(host.rack for host in made.hosts()[0] if host.job_ids == (made.jobs()[0].job_id,))
    made.inject_fault(FaultRequest("switch_tray", f"{first}-d00", 30.0))
    made.step(1)
    (fault,) = made.faults()
    assert (fault.takes, fault.until_seconds, fault.host_count, fault.job_ids) == ("18 hosts, when free", None, 18, ())
    assert made.jobs()[0].restarts == 0
    made.step(5)  # the job ends at 55 s, so the repair begins at 60 s
    assert (made.faults()[0].until_seconds, made.faults()[0].takes) == (90.0, "18 hosts")
    assert sorted(host.state for host in made.hosts(rack=first)[0]) == [HostState.DOWN] * 18
    made.step(3)
    assert made.faults() == []
    assert made.cluster().gpus_busy == 144, "the last job has what it waited for"


def test_a_drain_that_is_called_off_gives_the_hosts_back(paused: Callable[..., Session]) -> None:
    made = paused(NVL72)
    made.submit(job_columns(1, submit_ns=0, gpus=144, duration_ns=10_000 * SECOND))
    made.step(1)
    made.inject_fault(FaultRequest("switch_tray", "0", 30.0))
    made.inject_fault(FaultRequest("switch_tray", "0", 60.0))
    made.step(1)
    made.clear_fault("1")
    made.step(1)
    assert states(made) == "c" * 18 + "h" * 18
    made.clear_fault("r00000-d00")
    made.step(1)
    assert (states(made), made.faults()) == ("h" * 36, [])


def test_a_tray_down_leaves_its_rack_with_seventeen(paused: Callable[..., Session]) -> None:
    made = paused(NVL72)
    made.inject_fault(FaultRequest("host", "r00000-h05", 500.0))
    made.submit(job_columns(1, submit_ns=0, gpus=68, duration_ns=100 * SECOND, require_level=1))
    made.step(2)
    assert made.racks()[0].gpus_busy in (0, 68)
    assert made.cluster().gpus_busy == 68


@pytest.mark.parametrize(
    ("fault", "field", "words"),
    [
        (FaultRequest("gpu", "0#8", 1.0), "number", "no GPU 8"),
        (FaultRequest("gpu", "0#-1", 1.0), "number", "no host"),
        (FaultRequest("process", "r9-h0", 1.0), "number", "no host"),
        (FaultRequest("host", "0", 1.0, cause="bad luck"), "cause", "'bad luck'"),
        (FaultRequest("host", "0", 1.0, 0.5), "remaining_ratio", "in part"),
        (FaultRequest("power_feed", "0", 1.0, flap_seconds=1.0, every_seconds=60.0), "flap", "does not flap"),
        (FaultRequest("power_feed", "1", 1.0), "number", "no power feed 1"),
        (FaultRequest("cooling_unit", "feed-00000", 1.0), "number", "no cooling unit"),
        (FaultRequest("leaf", "spine-00000", 1.0), "number", "no host hangs on"),
        (FaultRequest("leaf", "蛇", 1.0), "number", "no switch"),
        (FaultRequest("switch_tray", "0", 1.0), "number", "has no switch tray"),
    ],
)
def test_what_cannot_be_broken(paused: Callable[..., Session], fault: FaultRequest, field: str, words: str) -> None:
    made = paused()
    with pytest.raises((InvalidRequest, NotFound), match=words) as error:
        made.inject_fault(fault)
    assert (error.value.field, bool(error.value.allowed)) == (field, True)


def test_what_cannot_be_mended(paused: Callable[..., Session]) -> None:
    made = paused()
    with pytest.raises(NotFound, match="no fault 1") as error:
        made.clear_fault("1")
    assert error.value.allowed == "none: nothing is broken"
    made.inject_fault(FaultRequest("host", "0", 100.0))
    made.step(1)
    with pytest.raises(NotFound, match="no fault 0") as error:
        made.clear_fault("0")
    assert error.value.allowed == "1 (r00000-h00)"
    made.clear_fault("1", request_id="once")
    made.clear_fault("1", request_id="once")
    made.clear_fault("1")  # it is still there, until the next cycle
    made.step(1)
    assert made.faults() == []


def test_a_journal_repeats_faults_and_their_ends(session: Callable[..., Session], tmp_path: Path) -> None:
    made = session(state_dir=tmp_path / "state")
    made.pause()
    made.start()
    made.submit(job_columns(16, submit_ns=0, gpus=4, duration_ns=400 * SECOND))
    made.step(1)
    for target, name in (("process", "1"), ("gpu", "2#7"), ("rack", "1"), ("power_feed", "0"), ("switch", "1"), ("gpu", "3")):
        made.inject_fault(FaultRequest(target, name, 900.0, cause="nic"))
        made.step(1)
    made.clear_fault("r00001")
    made.clear_fault("3", request_id="c")
    made.step(2)
    before: list[FaultView] = made.faults()
    made.close()
    again = session(state_dir=tmp_path / "state")
    assert again.faults() == before
    assert again.clear_fault("3", request_id="c") == "power feed feed-00000 is mended at 70 s"
    again.start()
    again.wait()
    digest = again.outcome().digest
    again.close()
    journal = Journal.copy(tmp_path / "state")
    repeated = open_replay(journal)
    assert repeated.replay(journal).digest == digest
    repeated.close()
    journal.close()


def test_faults_of_a_journal_of_before_are_taken_up(paused: Callable[..., Session]) -> None:
    """As they were written before faults had a scope."""
    made = paused()
    take_up = made._inputs.faults.take_up
    assert take_up("fault", {"first_host": 3, "end_host": 4, "repair_ns": 5}) == BreakHosts(3, 4, 5)
    assert take_up("fault", {"link": 3, "remaining_ratio": 0.5, "duration_ns": 7}) == CutLinks((Cut(3, (), 0.5),), 7)
