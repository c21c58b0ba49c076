"""Faults of cables, switches, planes and NICs: what they do to jobs, to hosts, and to the links' counters."""

from typing import Any

import numpy as np
import pytest

from emulator.engine import network
from emulator.engine.commands import Cordon, CutLinks
from emulator.engine.engine import Engine
from emulator.engine.fault_targets import cuts_of
from emulator.engine.hardware import link_views
from emulator.engine.views import cluster_view
from emulator.fabric.link_faults import LinkFaultSettings
from emulator.scheduler.ledger import Withheld
from emulator.workload.jobs import SECOND
from tests.engine.small import clos, endpoint_link, ends, engine, fingerprint, hosts_of, run, run_until, training
from topology import catalog
from topology.compile import compile_cluster
from topology.dragonfly import DragonflyPlan
from topology.dragonfly import build as build_dragonfly
from topology.lookup import UnknownName

TWO_TO_ONE: dict[str, Any] = {"array_hosts": 2, "leaf_oversubscription": 2}


def gangs(hosts: int = 4, count: int = 1, **settings: Any) -> Engine:
    """Gangs of two hosts with 1,000 s of work."""
    return engine(clos(hosts, **TWO_TO_ONE), [training(count, gpus=16, duration_ns=1000 * SECOND)], **settings)


def break_(made: Engine, target: str, name: str, *, at: int, lasts: int, **flap: int) -> None:
    _, cuts = cuts_of(made.cluster, target, name)
    made.post(CutLinks(cuts, lasts * SECOND, *(int(flap[key] * SECOND) for key in ("flap", "every") if flap)), at * SECOND)


def test_a_stalled_job_gives_up_and_does_not_start_on_the_dead_nic_again() -> None:
    """Host 0's NIC of rail 0 dies at 100 s for an hour. Job 0 stands still and gives up at 100 + 600 s; host 0 has been withdrawn, so it
    starts anew on hosts 1 and 2, without a checkpoint: 300 s of restart overhead and 1,000 of work from the cycle at 700 s."""
    made = gangs()
    break_(made, "nic", f"{made.cluster.host_name(0)}:0", at=100, lasts=3600)
    run_until(made, 690 * SECOND)
    assert (made.table.lives.speed[0], hosts_of(made, 0)) == (0.0, [0, 1])
    run_until(made, 700 * SECOND)
    assert hosts_of(made, 0) == [1, 2]
    assert (
        made.chronicle.reasons[0]
        == f"stalled for 600 s: trunk {link_views(made, endpoint_link(made.cluster, 0) - 1, 1, '')[0].name} is down"
    )
    assert made.scheduler.ledger.withheld(Withheld.UNREACHABLE) == {0}
    run_until(made, 3690 * SECOND)
    assert ends(made) == {0: 2000.0}
    run_until(made, 3700 * SECOND)
    assert made.scheduler.ledger.withheld(Withheld.UNREACHABLE) == set()


def test_a_stall_that_ends_in_time_is_only_time_lost() -> None:
    made = gangs()
    break_(made, "nic", "0", at=100, lasts=500)
    assert ends(run(made)) == {0: 1500.0}
    assert made.chronicle.restarts == 0


def test_a_host_that_somebody_has_cordoned_stays_so_when_its_nic_is_mended() -> None:
    made = gangs(6)
    break_(made, "nic", "16", at=100, lasts=100)  # rail 0 of host 2
    made.post(Cordon(2, 3, True), 150 * SECOND)
    break_(made, "nic", "24", at=100, lasts=100)
    made.post(Cordon(3, 4, True), 120 * SECOND)
    made.post(Cordon(3, 4, False), 160 * SECOND)
    run_until(made, 160 * SECOND)
    assert made.scheduler.ledger.withheld(Withheld.UNREACHABLE) == {2, 3}
    run_until(made, 200 * SECOND)
    assert made.scheduler.ledger.withheld(Withheld.CORDONED, Withheld.UNREACHABLE) == {2}


def test_a_flap_shorter_than_a_cycle_costs_its_time() -> None:
    """Cycles of 10 s. Job 0's NIC flaps at 100, 130, 160 and 190 s, 2 s each; job 1's does not. 8 s of work are lost."""
    made = gangs(4, 2)
    link = endpoint_link(made.cluster, 0)
    break_(made, "nic", "0", at=100, lasts=100, flap=2, every=30)
    assert ends(run(made)) == {0: 1008.0, 1: 1000.0}
    view = link_views(made, link - 1, 1, "")[0]
    assert (view.downs, view.down_seconds, view.healthy_ratio) == (4, 8.0 / view.lanes, 1.0)


def trunk_of(made: Engine, number: int = 1) -> str:
    """Name of the trunk of a leaf."""
    return link_views(made, int(np.flatnonzero(made.cluster.links.tier == 1)[number]) - 1, 1, "")[0].name


def test_a_flap_of_one_cable_of_a_full_trunk_costs_its_part_of_the_time() -> None:
    """Leaf 1's trunk has 8 cables for 16 lanes of jobs 0 and 1: half a lane each (`test_contention`). A cable that is down for 4 s leaves 7
    of 8: half a second of standing still each, so the jobs end half a second later than without."""
    jobs = [training(2, gpus=24, duration_ns=1000 * SECOND)]
    plain, flapped = (engine(clos(6, **TWO_TO_ONE), jobs) for _ in range(2))
    break_(flapped, "cable", f"{trunk_of(flapped)}#3", at=100, lasts=10, flap=4, every=20)
    before, after = ends(run(plain)), ends(run(flapped))
    assert after == {job: pytest.approx(end + 0.5) for job, end in before.items()}


def test_a_flap_of_a_whole_trunk_stops_who_needs_it_and_one_of_a_cable_that_is_not_needed_nobody() -> None:
    """Job 0 is on hosts 0 to 2: its 8 lanes fill the 8 cables of leaf 1's trunk. Where that has 16, 8 of them may go."""
    made = engine(clos(4, **TWO_TO_ONE), [training(1, gpus=24, duration_ns=1000 * SECOND)])
    break_(made, "link", trunk_of(made), at=100, lasts=10, flap=4, every=20)
    assert ends(run(made)) == {0: 1004.0}
    made = gangs()  # hosts 0 and 1, under one leaf
    break_(made, "link", trunk_of(made), at=100, lasts=10, flap=4, every=20)
    assert ends(run(made)) == {0: 1000.0}
    made = engine(clos(4, array_hosts=2), [training(1, gpus=24, duration_ns=1000 * SECOND)])  # 16 cables for 8 lanes
    for cable in range(8):
        break_(made, "cable", f"{trunk_of(made)}#{cable}", at=100, lasts=10, flap=4, every=20)
    assert ends(run(made)) == {0: 1000.0}


def test_flaps_keep_their_rhythm_between_cycles() -> None:
    """Every 25 s from 100 s, for 100 s: at 100, 125, 150 and 175 s, which are the cycles at 100, 130, 150 and 180."""
    made = gangs()
    break_(made, "nic", "0", at=100, lasts=100, flap=2, every=25)
    run_until(made, 200 * SECOND)
    assert link_views(made, endpoint_link(made.cluster, 0) - 1, 1, "")[0].downs == 4
    assert ends(run(made)) == {0: 1008.0}


def test_a_long_flap_is_a_fault_again_and_again() -> None:
    """Down for 20 s every 50 s from 100 to 200 s: at 100 and 150, 40 s lost."""
    made = gangs()
    break_(made, "nic", "0", at=100, lasts=100, flap=20, every=50)
    assert ends(run(made)) == {0: 1040.0}


def test_a_cable_of_a_trunk_takes_its_part_of_it_and_a_plane_all() -> None:
    """Leaf 1's trunk has 8 cables for 16 lanes of jobs 0 and 1 (`test_contention`): half a lane each. With 2 of them dead, 6/8 of that."""
    made = engine(clos(6, **TWO_TO_ONE), [training(2, gpus=24, duration_ns=4000 * SECOND)])
    trunk = int(np.flatnonzero(made.cluster.links.tier == 1)[1])
    name = link_views(made, trunk - 1, 1, "")[0].name
    break_(made, "cable", f"{name}#0", at=100, lasts=100)
    break_(made, "cable", f"{name}#5", at=100, lasts=200)
    break_(made, "cable", f"{name}#5", at=150, lasts=20)  # a cable that is down already
    break_(made, "plane", "0", at=400, lasts=50)
    run_until(made, 100 * SECOND)
    assert made.table.lives.speed[:2] == [0.375, 0.375]
    assert link_views(made, trunk - 1, 1, "")[0].healthy_ratio == 0.75
    run_until(made, 200 * SECOND)
    assert made.table.lives.speed[:2] == [0.4375, 0.4375]
    run_until(made, 300 * SECOND)
    assert made.table.lives.speed[:2] == [0.5, 0.5]
    run_until(made, 400 * SECOND)
    assert made.table.lives.speed[:2] == [0.0, 0.0]
    run_until(made, 500 * SECOND)
    view = link_views(made, trunk - 1, 1, "")[0]
    assert (view.downs, view.down_seconds) == (4, 100 * 2 / 8 + 100 / 8 + 50)
    trunks, endpoints = (made.links.health.by_tier(made.now_ns)[tier] for tier in ("leaf_spine", "host_leaf"))
    leaves, ends_ = (int((made.cluster.links.tier == tier).sum()) for tier in (1, 0))
    assert (trunks.not_whole, trunks.downs, trunks.down_seconds) == (0, 3 + leaves, 37.5 + 50 * leaves)
    assert (endpoints.downs, endpoints.down_seconds) == (ends_, 50 * ends_)


def test_every_tier_of_cables_counts() -> None:
    """3 host cables of 8 lanes, 3 local ones of 4."""
    plan = DragonflyPlan(
        "d", catalog.host("hgx-h100"), catalog.switch("qm9700"), hosts=3, hosts_per_rack=1, group_switches=3, switch_host_ports=8,
        chassis_switches=1, local_links_per_pair=4,
    )  # fmt: skip
    assert cluster_view(engine(compile_cluster(build_dragonfly(plan)))).links == 3 * 8 + 3 * 4


def test_links_count_the_bytes_of_running_and_of_ended_jobs() -> None:
    """Job 0, hosts 0 and 1 under leaf 0, ends at 1,000 s: nothing crosses the trunk, and every NIC carries 47.5 GB/s a lane meanwhile."""
    made = gangs()
    link = endpoint_link(made.cluster, 0)
    lanes = made.cluster.links.lanes[link]
    run_until(made, 0)
    made.idle_to(400 * SECOND)
    assert link_views(made, link - 1, 1, "")[0].carried_up_bytes == lanes * 47.5e9 * 400
    run(made)
    view = link_views(made, link - 1, 1, "")[0]
    assert (view.carried_up_bytes, view.carried_down_bytes, view.utilization_ratio) == (lanes * 47.5e12, lanes * 47.5e12, 0.0)
    assert all(view.carried_up_bytes == 0.0 for view in link_views(made, -1, 100, "leaf_spine"))


def test_bytes_of_many_placements_are_kept_by_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the bytes of stopped jobs are no longer kept apart by their placements, links have carried the same."""
    apart = run(gangs()).read_links().carried_bytes
    monkeypatch.setattr(network, "CLOSED_ROWS", 0)
    made = run(gangs())
    assert not made.network._closed
    assert apart.max() > 0.0
    np.testing.assert_allclose(made.read_links().carried_bytes, apart, rtol=1e-12)


def test_drawn_faults_do_not_depend_on_shards_and_hit_jobs() -> None:
    faults = LinkFaultSettings(enabled=True, cable_percent_per_month=9e5, switch_percent_per_month=9e5, flaps_per_cable_month=9000.0)
    runs = [gangs(4, 2, shards=shards, link_faults=faults, stall_timeout_ns=60 * SECOND) for shards in (1, 2)]
    for made in runs:
        run_until(made, 300 * SECOND)
    assert runs[0].links.faults == runs[1].links.faults
    assert min(runs[0].links.faults[kind] for kind in ("cable", "switch", "flap")) > 0
    assert fingerprint(runs[0])[0] == fingerprint(runs[1])[0]
    assert runs[0].chronicle.restarts == runs[1].chronicle.restarts > 0


@pytest.mark.parametrize(
    ("target", "name", "message"),
    [
        ("link", "99999", "0 to"),
        ("link", "leaf-1/spine", "no link"),
        ("cable", "leaf-00000/spine-00000#99", "0 to 7"),
        ("switch", "spine-00000/7", "switch"),
        ("switch", "rack-1", "no switch"),
        ("plane", "5", "plane"),
        ("nic", "r00000-h09:1", "no host"),
        ("nic", "r00000-h00:8", "rail"),
        ("gpu", "1", "target"),
    ],
)
def test_what_is_not_there_is_refused(target: str, name: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        cuts_of(clos(4, **TWO_TO_ONE), target, name)
