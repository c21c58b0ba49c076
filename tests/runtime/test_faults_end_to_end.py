"""Faults of the fabric through whole sessions, worked out by hand: what goes around, what slows down and what stalls, the same on actors.

Every job takes steps of ``small.SHAPE``: at a share s of a lane its speed is s. Cycles are 10 s; the job starts at 0 with 1,000 s of work,
and its fault is there from 20 to 420 s.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from emulator.engine.fault_control import FaultRequest
from emulator.engine.job_control import JobView
from emulator.runtime.opening import open_session
from emulator.scenario.load import load
from emulator.workload.jobs import SECOND, JobKind, job_columns
from tests.engine.small import SHAPE
from topology.cables import cable_ends

COMMON = """
name: faults
clock: {cycle: 10s, until: 2h, speed: max}
workload: {kind: none}
faults: {enabled: false}
jobs: {restart_overhead: 60s, restart: overhead, start_up: none, stall_timeout: 200s}
"""
#: Three groups of one switch and one host each, 4 global cables between any two. 8 lanes leave host 0 for host 1: 4 take the direct
#: cables, 4 go by way of group 2.
GROUPS = (
    "cluster: {builder: dragonfly, host: hgx-h100, hosts: 3, hosts_per_rack: 1, switch: qm9700, group_switches: 1, "
    "switch_host_ports: 8, chassis_switches: 1, global_links_per_pair: 4}"
)
#: One group of three switches, joined likewise by local cables.
GROUP = (
    "cluster: {builder: dragonfly, host: hgx-h100, hosts: 3, hosts_per_rack: 1, switch: qm9700, group_switches: 3, "
    "switch_host_ports: 8, chassis_switches: 1, local_links_per_pair: 4}"
)
#: Three sites of one host: 8 lanes' worth of cables between a and b and from each gateway, 4 by way of c.
SITES = """
cluster:
  parts:
    - {name: a, host: hgx-h100, hosts: 1, hosts_per_rack: 1, switch: qm9700, site: a}
    - {name: b, host: hgx-h100, hosts: 1, hosts_per_rack: 1, switch: qm9700, site: b}
    - {name: c, host: hgx-h100, hosts: 1, hosts_per_rack: 1, switch: qm9700, site: c}
  wan:
    gateway_bandwidth: 3.2Tbps
    links:
      - {between: [a, b], distance_km: 100, bandwidth: 3.2Tbps}
      - {between: [b, c], distance_km: 100, bandwidth: 1.6Tbps}
      - {between: [a, c], distance_km: 100, bandwidth: 1.6Tbps}
"""
#: Two pairs of hosts; every NIC has a port of half its speed in each of two planes.
PLANES = "cluster: {host: hgx-h100, hosts: 4, hosts_per_rack: 1, switch: qm9700, planes: 2, array_hosts: 2}"
#: Four hosts under two leaves with a spine.
PAIRS = "cluster: {host: hgx-h100, hosts: 4, hosts_per_rack: 1, switch: qm9700, array_hosts: 2}"


class Case(NamedTuple):
    cluster: str
    gpus: int
    target: str
    name: str
    speed: float  # while the fault is there
    ends: float  # seconds
    remaining: float = 0.0
    restarts: int = 0


#: Half speed for 400 s costs 200 s. A stall of 200 s ends at 220 s: from there 60 s of overhead and all of the work anew.
CASES = {
    "a global link: all 8 lanes by way of group 2, which has 4 cables": Case(GROUPS, 16, "link", "leaf-00000/leaf-00001", 0.5, 1200.0),
    "the switch on the way around: all 8 on the 4 direct cables": Case(GROUPS, 16, "switch", "leaf-00002", 0.5, 1200.0),
    "a local link: by way of the third switch": Case(GROUP, 16, "link", "leaf-00000/leaf-00001", 0.5, 1200.0),
    "a WAN link: by way of site c": Case(SITES, 16, "link", "gateway-00000/gateway-00001", 0.5, 1200.0),
    "a quarter of a gateway's lanes": Case(SITES, 16, "link", "spine-00000/gateway-00000", 0.75, 1100.0, remaining=0.75),
    "a plane: the ports of the other": Case(PLANES, 32, "plane", "0", 0.5, 1200.0),
    "a ToR of two: the other's ports": Case(PLANES, 32, "switch", "leaf-00000", 0.5, 1200.0),
    "a NIC: its job stalls, gives up and starts on the other hosts": Case(PAIRS, 16, "nic", "r00000-h00:3", 0.0, 1280.0, restarts=1),
}


def play(tmp_path: Path, case: Case, actors: object) -> tuple[str, list[float], JobView]:
    """The digest of the run, job 0's speed before, in and after the fault, and how job 0 ended."""
    path = tmp_path / "scenario.yaml"
    path.write_text(f"{COMMON}runtime: {{actors: {actors}}}\n{case.cluster}\n")
    session = open_session(load(str(path)))
    try:
        session.pause()
        session.start()
        work = {"kind": int(JobKind.TRAINING), "shape": 0, "shapes": (SHAPE,), "submit_ns": 0, "duration_ns": 1000 * SECOND}
        job_id = session.submit(job_columns(1, gpus=case.gpus, **work)).job_ids[0]
        speeds = []
        for cycles in (2, 1, 15, 26):
            session.step(cycles)
            speeds.append(session.job(job_id).speed_ratio)
            assert all(link.utilization_ratio <= 0.95 * link.healthy_ratio + 1e-9 for link in session.links(limit=1000))
            if len(speeds) == 1:
                session.inject_fault(FaultRequest(case.target, case.name, 400, case.remaining))
        session.resume()
        assert session.wait(60)
        job = session.job(job_id)
        return session.outcome().digest, speeds, job
    finally:
        session.close()


@pytest.mark.parametrize("name", CASES)
def test_what_a_fault_costs(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    _, speeds, job = play(tmp_path, case, "inline")
    assert speeds[:3] == [1.0, pytest.approx(case.speed), pytest.approx(case.speed)]
    assert speeds[3] == 1.0
    assert job.end_seconds == pytest.approx(case.ends)
    assert job.restarts == case.restarts
    if not case.restarts:
        assert job.network_slowdown_ratio == pytest.approx(case.ends / 1000)


@pytest.mark.ray
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("a global", "a WAN link", "a plane"))])
def test_two_actors_agree(tmp_path: Path, name: str) -> None:
    assert play(tmp_path, CASES[name], "inline")[:2] == play(tmp_path, CASES[name], 2)[:2]


@pytest.mark.parametrize("target", ["cable", "switch"])
def test_hashed_flows_leave_a_dead_cable_or_switch_and_share_what_is_left(tmp_path: Path, target: str) -> None:
    """Under ECMP a job is as fast as its worst cable: 1 over the most of its lanes on one. What is dead carries none of them, and nothing
    stalls while other cables are left: 32 up from each leaf, 4 to each of 8 spines."""
    path = tmp_path / "scenario.yaml"
    path.write_text(f"{COMMON}runtime: {{actors: inline}}\n{PAIRS[:-1]}, even_striping: true}}\nfabric: {{routing: ecmp}}\n")
    session = open_session(load(str(path)))
    try:
        session.pause()
        session.start()
        work = {"kind": int(JobKind.TRAINING), "shape": 0, "shapes": (SHAPE,), "submit_ns": 0, "duration_ns": 1000 * SECOND}
        job_id = session.submit(job_columns(1, gpus=32, **work)).job_ids[0]
        session.step(2)
        network, slot = session._engine.network, session._engine.table.slot_of[job_id]

        def loaded() -> tuple[float, set[int]]:
            (piece,) = network.pieces_of(slot)
            return float(piece.weights.max()), set((piece.links >> 1).tolist())

        most, used = loaded()
        assert session.job(job_id).speed_ratio == pytest.approx(1.0 / most)
        link = session.links(tier="leaf_spine")[0]
        first = int(network.channels.start[link.link])
        cable = min(used) - first
        spines = cable_ends(session.topology, link.link)[1]
        name = f"{link.name}#{cable}" if target == "cable" else f"{link.upper}/{spines[cable]}"
        dead = {cable} if target == "cable" else set(np.flatnonzero(spines == spines[cable]).tolist())
        session.inject_fault(FaultRequest(target, name, 100))
        session.step(1)
        worse, left = loaded()
        assert not {first + one for one in dead} & left
        assert session.job(job_id).speed_ratio == pytest.approx(1.0 / worse)
        assert session.links(unhealthy=True)[0].healthy_ratio == 1.0 - len(dead) / len(spines)
        session.step(11)
        assert loaded() == (most, used)
        assert session.job(job_id).speed_ratio == pytest.approx(1.0 / most)
    finally:
        session.close()
