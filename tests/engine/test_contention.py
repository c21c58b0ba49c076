"""Training jobs and the fabric, through the whole engine: shares, and what a degraded link does."""

from typing import Any

import numpy as np
import pytest

from emulator.engine.commands import Cordon, scale_link
from emulator.engine.engine import Engine
from emulator.engine.hardware import link_views
from emulator.workload.jobs import SECOND
from tests.engine.small import LANE, clos, endpoint_link, ends, engine, hosts_of, run, run_until, training

#: Leaves of two hosts: 16 lanes down, 8 up, so that one gang that crosses a leaf's trunk fills it and two must share it.
TWO_TO_ONE: dict[str, Any] = {"array_hosts": 2, "leaf_oversubscription": 2}


def shared_trunk(**columns: Any) -> Engine:
    """Two gangs of three hosts in order of number: job 0 on 0, 1, 2 and job 1 on 3, 4, 5; leaf 1 has hosts 2 and 3, one of each."""
    return engine(clos(6, **TWO_TO_ONE), [training(2, gpus=24, **columns)])


def test_two_jobs_share_a_trunk_and_one_alone_has_it_all() -> None:
    """The arithmetic.

    Leaf 1 has 2 hosts of 8 NICs at 50 GB/s below and 8 cables of 50 GB/s above; 0.95 is payload: 380 GB/s in each direction. Of each
    job 8 rings (one a rail) leave leaf 1 and come back, so 8 x + 8 y <= 380 GB/s, and max-min gives x = y = 23.75 GB/s a lane, half
    of a lane's 47.5. Leaf 0 has both hosts of job 0: its 8 rings at 23.75 take 190 of 380 GB/s.

    A step takes 1 s at full share; at half the ring takes 2 s of which 1 is hidden: 1 + (2 - 1) = 2 s, speed 0.5.

    Job 0 has 1,503 s of work: at speed 0.5 it ends at 3,006 s. Job 1 has 3,000 s; what job 0 leaves is its from the next cycle on,
    3,010 s, when it has done 1,505. The other 1,495 at full speed end at 4,505 s.
    """
    made = shared_trunk(duration_ns=[1503 * SECOND, 3000 * SECOND])
    run_until(made, 0)
    assert (hosts_of(made, 0), hosts_of(made, 1)) == ([0, 1, 2], [3, 4, 5])
    assert [made.network.rate(slot) for slot in (0, 1)] == [23.75e9, 23.75e9]
    assert made.table.lives.speed[:2] == [0.5, 0.5]
    tier = {view.lower: view.utilization_ratio for view in link_views(made, -1, 100, "leaf_spine")}
    assert sorted(tier.values()) == pytest.approx([0.475, 0.475, 0.95])  # leaf 1's trunk carries all the payload that it can
    assert ends(run(made)) == {0: 3006.0, 1: 4505.0}

    alone = engine(clos(6, **TWO_TO_ONE), [training(gpus=24, duration_ns=1503 * SECOND)])
    assert ends(run(alone)) == {0: 1503.0}


def test_a_job_that_comes_later_takes_its_share_from_its_first_cycle_on() -> None:
    """Job 1 is submitted at 95 s and starts at 100. Job 0 has done 100 of its 1,000 s then, the other 900 take 1,800: it ends at 1,900 s.
    Job 1 has done 900 of its 2,000 s by then, and the other 1,100 end at 3,000 s."""
    made = shared_trunk(duration_ns=[1000 * SECOND, 2000 * SECOND], submit_ns=[0, 95 * SECOND])
    assert ends(run(made)) == {0: 1900.0, 1: 3000.0}


def test_three_jobs_of_different_weight_share_by_lane() -> None:
    """Leaf 0 (hosts 0, 1, 2) has 24 lanes down and 8 up: 380 GB/s of payload. Jobs 0 and 1 have 12 GPUs each, 8 in the leaf and 4
    outside: 4 rings each. Job 2 has a whole host on either side: 8 rings. Max-min is over lanes' rates: 4 x + 4 x + 8 x = 380 gives x =
    23.75 GB/s to each, half speed, though job 2 has twice the traffic of the others; 4 x + 4 x = 380 is x = 47.5, a whole lane.

    Jobs 0 and 1 start at 0 and 10 s and run at full speed until job 2 starts at 20 s. Its 100 s of work end at 220 s. Job 0 has done
    20 + 100 of its 400 s then and ends at 500 s; job 1 has done 10 + 100 of its 500 s and ends at 610 s.
    """
    cluster = clos(6, array_hosts=3, leaf_oversubscription=3)
    work = np.array([400, 500, 100]) * SECOND
    made = engine(cluster, [training(3, gpus=[12, 12, 16], duration_ns=work, submit_ns=np.array([0, 10, 20]) * SECOND)])
    made.post(Cordon(0, 6, True), 0)
    for number in range(3):
        for host in (number, number + 3):
            made.post(Cordon(host, host + 1, False), number * 10 * SECOND)
    run_until(made, 20 * SECOND)
    assert [hosts_of(made, job) for job in range(3)] == [[0, 3], [1, 4], [2, 5]]
    assert [made.network.rate(slot) for slot in range(3)] == [23.75e9] * 3
    assert ends(run(made)) == {0: 500.0, 1: 610.0, 2: 220.0}


def test_who_does_not_cross_the_trunk_is_not_slowed() -> None:
    """Job 2 has both hosts of leaf 3 and never leaves it: 777 s of work take 777 s, whatever jobs 0 and 1 do to leaf 1's trunk."""
    made = engine(clos(8, **TWO_TO_ONE), [training(3, gpus=[24, 24, 16], duration_ns=np.array([1000, 1000, 777]) * SECOND)])
    assert ends(run(made)) == {0: 2000.0, 1: 2000.0, 2: 777.0}


def test_a_degraded_trunk_is_shared_too() -> None:
    """From 100 to 500 s leaf 1's trunk has half: 190 GB/s over 16 lanes, a quarter of a lane each. Work done: 50 s by 100, 400 / 4 =
    100 more by 500, the other 850 of 1,000 at half speed take 1,700 s: 2,200 s."""
    made = shared_trunk(duration_ns=1000 * SECOND)
    trunk = int(np.flatnonzero(made.cluster.links.tier == 1)[1])
    made.post(scale_link(trunk, 0.5, 400 * SECOND), 100 * SECOND)
    assert ends(run(made)) == {0: 2200.0, 1: 2200.0}


def test_a_trunk_without_capacity_stalls_its_jobs_until_it_is_mended() -> None:
    made = shared_trunk(duration_ns=1000 * SECOND)
    trunk = int(np.flatnonzero(made.cluster.links.tier == 1)[1])
    made.post(scale_link(trunk, 0.0, 400 * SECOND), 100 * SECOND)
    run_until(made, 100 * SECOND)
    assert made.table.lives.speed[:2] == [0.0, 0.0]
    assert made.has_work()
    assert ends(run(made)) == {0: 2400.0, 1: 2400.0}


# -- a fault on an endpoint link ------------------------------------------------------------------------------------------------------


def two_gangs(**settings: Any) -> Engine:
    """Job 0 on hosts 0 and 1, job 1 on hosts 2 and 3, each under its own leaf: nothing contends. 1,000 s of work each."""
    return engine(clos(4, **TWO_TO_ONE), [training(2, gpus=16, duration_ns=1000 * SECOND)], **settings)


@pytest.mark.parametrize(("remaining", "end"), [(0.5, 1100.0), (0.25, 1150.0), (0.0, 1200.0)])
def test_an_endpoint_link_that_is_degraded_slows_the_job_on_it(remaining: float, end: float) -> None:
    """Host 1's link keeps a part r from 100 to 300 s. All rings of job 0 pass there, so it runs at speed r: 100 + 200 r s of work are
    done at 300 s, the rest follows at full speed and ends at 300 + 900 - 200 r. Job 1 has nothing to do with it."""
    made = two_gangs()
    link = endpoint_link(made.cluster, 1)
    made.post(scale_link(link, remaining, 200 * SECOND), 100 * SECOND)
    run_until(made, 100 * SECOND)
    assert made.table.lives.speed[:2] == [remaining, 1.0]
    assert made.network.rate(0) == remaining * LANE
    assert link_views(made, link - 1, 1, "")[0].healthy_ratio == remaining
    assert ends(run(made)) == {0: end, 1: 1000.0}
    assert made.links.health.scales == {}


def test_a_stalled_job_draws_what_waiting_for_the_network_draws() -> None:
    made = two_gangs()
    made.post(scale_link(endpoint_link(made.cluster, 1), 0.0, 200 * SECOND), 100 * SECOND)
    run_until(made, 0)
    before = made.meter.power_milliwatts
    assert made.meter.active_micro_gpus == 32_000_000
    run_until(made, 100 * SECOND)
    assert made.meter.active_micro_gpus == 16_000_000
    full = made.runs.draw[1]
    assert before - made.meter.power_milliwatts == 16 * (full - int(full * made.settings.communication_power_ratio))


def test_a_job_that_starts_on_a_degraded_link_has_its_part_from_the_start() -> None:
    """The link keeps a half from 0 to 500 s, the job starts in that very cycle: 250 s of work by then, 750 more: 1,250 s."""
    made = two_gangs()
    made.post(scale_link(endpoint_link(made.cluster, 1), 0.5, 500 * SECOND), 0)
    assert ends(run(made)) == {0: 1250.0, 1: 1000.0}

    late = engine(clos(4, **TWO_TO_ONE), [training(gpus=16, duration_ns=1000 * SECOND, submit_ns=95 * SECOND)])
    late.post(scale_link(endpoint_link(late.cluster, 0), 0.5, 500 * SECOND), 0)
    assert ends(run(late)) == {0: 100.0 + 1200.0}  # from 100 to 500 s 200 s of work, then 800


def test_the_worst_of_several_faults_counts() -> None:
    """On host 0's link: a half from 100 to 500 s, a quarter from 200 to 300 s and four fifths from 250 to 270 s; on host 1's: a half
    from 400 to 600 s. Work done: 100 by 100, 50 more by 200, 25 by 300, 100 by 500, 50 by 600: 325 s. The other 675 end at 1,275 s."""
    made = two_gangs()
    first, second = endpoint_link(made.cluster, 0), endpoint_link(made.cluster, 1)
    made.post(scale_link(first, 0.5, 400 * SECOND), 100 * SECOND)
    made.post(scale_link(first, 0.25, 100 * SECOND), 200 * SECOND)
    made.post(scale_link(first, 0.8, 20 * SECOND), 250 * SECOND)
    made.post(scale_link(second, 0.5, 200 * SECOND), 400 * SECOND)
    assert ends(run(made)) == {0: 1275.0, 1: 1000.0}


def test_nothing_is_left_of_a_job_that_ends_on_a_degraded_link() -> None:
    made = two_gangs()
    made.post(scale_link(endpoint_link(made.cluster, 0), 0.5, 5000 * SECOND), 0)
    run_until(made, 3000 * SECOND)
    assert ends(made) == {0: 2000.0, 1: 1000.0}
    assert (made.network._caps, made.network._rates, made.network._computing) == ({}, {}, {})


def test_what_a_capped_job_leaves_of_a_trunk_is_the_others() -> None:
    """Jobs 0 and 1 share leaf 1's trunk; host 0's link keeps a quarter, so job 0 takes 8 * 11.875 = 95 of 380 GB/s, and job 1 gets the
    other 285: 35.625 GB/s a lane, three quarters. When the link is mended at 1,000 s both are back at a half."""
    made = shared_trunk(duration_ns=2000 * SECOND)
    made.post(scale_link(endpoint_link(made.cluster, 0), 0.25, 900 * SECOND), 100 * SECOND)
    run_until(made, 100 * SECOND)
    assert made.table.lives.speed[:2] == pytest.approx([0.25, 0.75])
    run_until(made, 1000 * SECOND)
    assert made.table.lives.speed[:2] == [0.5, 0.5]
    assert made.table.lives.work_ns[0] == (50 + 225) * SECOND


def test_a_job_inside_one_domain_does_not_use_its_endpoint_link() -> None:
    made = engine(clos(4, **TWO_TO_ONE), [training(2, gpus=[8, 16], duration_ns=1000 * SECOND)])
    for host in range(3):
        made.post(scale_link(endpoint_link(made.cluster, host), 0.5, 500 * SECOND), 0)
    assert ends(run(made)) == {0: 1000.0, 1: 1250.0}


def test_one_rail_of_many_holds_the_whole_job_up() -> None:
    """Rails do not meet: eight planes, a flow in each. Rail 3 of host 0 keeps a half; a step waits for its slowest rail."""
    cluster = clos(4, rails_meet=False, array_hosts=2)
    made = engine(cluster, [training(gpus=32, duration_ns=1000 * SECOND)])
    assert made.shards.plane_count == 8
    link = int(np.flatnonzero((cluster.links.tier == 0) & (cluster.links.u == 0) & (cluster.links.rail_first == 3))[0])
    made.post(scale_link(link, 0.5, 200 * SECOND), 100 * SECOND)
    run_until(made, 100 * SECOND)
    assert made.network.rate(0) == LANE / 2
    loads = [plane.load_bytes_per_second[0] for plane in made.read_planes()]
    assert loads == [loads[0]] * 8  # one flow over all planes: a step waits for its slowest rail
    assert ends(run(made)) == {0: 1100.0}


def test_a_fault_under_a_rack_sized_domain_slows_every_job_of_the_domain_that_leaves_it() -> None:
    """NVL72: 18 trays of 4 GPUs a domain. Job 0 has 16 trays of domain 0; job 1 the other two and two of domain 1; job 2 the other 16 of
    domain 1. Rail 0 under domain 0 keeps a half: only job 1 rides on it."""
    cluster = clos(36, host="gb200-nvl72", hosts_per_rack=18)
    made = engine(cluster, [training(3, gpus=[64, 16, 64], duration_ns=1000 * SECOND)])
    link = int(np.flatnonzero((cluster.links.tier == 0) & (cluster.links.u == 0) & (cluster.links.rail_first == 0))[0])
    made.post(scale_link(link, 0.5, 200 * SECOND), 100 * SECOND)
    assert ends(run(made)) == {0: 1000.0, 1: 1100.0, 2: 1000.0}


def test_a_job_that_loses_a_host_leaves_its_cap_behind() -> None:
    """Host 0's link keeps a half from 0 on; job 0 loses host 0 at 105 s with no checkpoint and starts anew on hosts 1 and 2 at 110 s."""
    made = engine(clos(4, **TWO_TO_ONE), [training(gpus=16, duration_ns=1000 * SECOND)], fail_at={0: 105 * SECOND}, restart_overhead_ns=0)
    made.post(scale_link(endpoint_link(made.cluster, 0), 0.5, 10**6 * SECOND), 0)
    run_until(made, 110 * SECOND)
    assert hosts_of(made, 0) == [1, 2]
    assert made.table.lives.speed[0] == 1.0
    assert made.network._caps == {0: LANE}
    run_until(made, 2000 * SECOND)
    assert ends(made) == {0: 1110.0}
