"""Racks that come into service while jobs wait for them; and hosts of two types under one engine."""

from dataclasses import replace

import numpy as np
import pytest

from emulator.engine.commands import BreakHosts, Cordon
from emulator.engine.engine import Engine
from emulator.engine.hardware import rack_views
from emulator.engine.views import cluster_view, explanation, gpus_by_model, gpus_by_state
from emulator.racks.buildout import Buildout, first_racks
from emulator.racks.faults import FaultSettings
from emulator.racks.power import gpu_milliwatts, idle_milliwatts
from emulator.scenario import build_cluster, load
from emulator.scheduler.table import State
from emulator.telemetry.table import GPU_STATES
from emulator.workload.jobs import SECOND, JobColumns, job_columns
from tests.engine.small import clos, engine, fingerprint, hosts_of, run, run_until
from topology import catalog

H100 = catalog.host("hgx-h100")


def states(made: Engine) -> list[int]:
    return [gpus_by_state(made)[state] for state in ("busy", "idle", "down", "cordoned", "planned")]


def test_jobs_wait_for_the_racks_that_they_need() -> None:
    """Eight racks of one host, two there at the start, one more each 100 s: 32 GPUs after 200 s, 64 after 600 s."""
    gpus, durations = [32, 64, 72], [1000 * SECOND, 100 * SECOND, SECOND]
    jobs = job_columns(3, submit_ns=0, gpus=gpus, duration_ns=durations)
    made = engine(clos(8), [jobs], buildout=Buildout(2, 600 * SECOND))
    run_until(made, 150 * SECOND)
    assert made.table.state == [State.PENDING, State.PENDING, State.INFEASIBLE]
    assert states(made) == [0, 24, 0, 0, 40]
    assert len(made.racks) == 3
    why = explanation(made, 0)
    assert why.text == "needs 32 GPUs, 24 are free; 5 hosts are not in service yet"
    assert why.numbers["hosts_planned"] == 5
    run(made)
    assert made.table.first_start_ns[:2] == [200 * SECOND, 1200 * SECOND]
    assert hosts_of(made, 0) == [0, 1, 2, 3]
    assert made.now_ns == 1300 * SECOND
    assert states(made) == [0, 64, 0, 0, 0]


def test_gpu_seconds_and_energy_are_those_of_what_was_there() -> None:
    made = engine(clos(8), buildout=Buildout(2, 600 * SECOND), until_ns=1000 * SECOND)
    run(made)
    in_service = 2 * 1000 + sum(1000 - 100 * (rack + 1) for rack in range(6))
    assert made.meter.gpu_seconds(made.now_ns) == 8 * in_service
    assert made.meter.hosts_joules(made.now_ns) == pytest.approx(H100.idle_watts * in_service)
    assert made.meter.idle_gpu_ns == 8 * in_service * SECOND
    assert sum(reading.energy_joules.sum() for reading in made.read().racks) == pytest.approx(H100.idle_watts * in_service)
    assert made.cycles == 6, "a cycle for each rack that came, and no other"


def test_what_is_not_there_cannot_break_and_may_be_cordoned() -> None:
    made = engine(clos(4), buildout=Buildout(1, 300 * SECOND), until_ns=1000 * SECOND)
    made.post(BreakHosts(0, 4, 50 * SECOND), 10 * SECOND)
    made.post(Cordon(2, 3, cordoned=True), 10 * SECOND)
    run_until(made, 10 * SECOND)
    assert states(made) == [0, 0, 8, 0, 24]
    run_until(made, 200 * SECOND)
    assert states(made) == [0, 16, 0, 8, 8]
    racks = rack_views(made, made.read(), -1, 10)
    assert [rack.in_service for rack in racks] == [True, True, True, False]
    assert [rack.power_watts for rack in racks] == [H100.idle_watts] * 3 + [0.0]
    view = cluster_view(made)
    assert (view.racks, view.racks_in_service, view.gpus, view.gpus_planned) == (4, 3, 32, 8)


def random_jobs() -> JobColumns:
    """Two hundred jobs over four hours, of 1 to 64 GPUs."""
    draw = np.random.default_rng(7)
    submit = np.sort(draw.integers(0, 4 * 3600, 200)) * SECOND
    gpus = draw.choice([1, 3, 4, 8, 16, 32, 64], 200)
    return job_columns(200, submit_ns=submit, gpus=gpus, duration_ns=draw.integers(30, 3000, 200) * SECOND, checkpoint_ns=60 * SECOND)


@pytest.mark.parametrize("kinds", [1, 2])
def test_the_number_of_shards_changes_nothing(kinds: int) -> None:
    cluster = clos(24, hosts_per_rack=2, array_hosts=4)
    if kinds == 2:
        half = replace(H100, name="half", gpus=4, idle_watts=1234.5)
        kind = (np.arange(len(cluster.block)) % 2).astype(np.int8)
        cluster = replace(cluster, host_types=(H100, half), block_type=kind)
    stormy = FaultSettings(host_rate_per_1000_node_days=2e4)
    results = []
    for shards in (1, 2, 5):
        made = engine(
            cluster,
            [random_jobs()],
            policy="easy",
            faults=stormy,
            shards=shards,
            buildout=Buildout(3, 10_807 * SECOND),
            until_ns=6 * 3600 * SECOND,
        )
        run(made)
        energy = np.concatenate([reading.energy_joules for reading in made.read().racks])
        assert made.meter.hosts_joules(made.now_ns) == pytest.approx(energy.sum(), rel=1e-9)
        results.append((fingerprint(made), energy.tobytes(), sum(made.host_faults.counts)))
    assert results[0] == results[1] == results[2]
    assert results[0][2] > 0


def test_a_switch_draws_from_the_first_rack_below_it_on() -> None:
    """Eight racks of one host under leaves of two, one rack there at the start and one more each 100 s: leaf k comes with rack 2 k, the
    spine with the first. A qm9700 draws 747 W."""
    made = engine(clos(8, rail_optimised=False, array_hosts=2), buildout=Buildout(1, 700 * SECOND), until_ns=1000 * SECOND)
    assert made.cluster.counts.leaf == 4
    assert made.cluster.counts.spine == 1
    draws = []
    for at in (0, 100, 200, 600):
        run_until(made, at * SECOND)
        draws.append(made.meter.switches_milliwatts)
    assert draws == [count * 747_000 for count in (2, 2, 3, 5)]
    run(made)
    assert made.meter.switches_joules(made.now_ns) == pytest.approx(747 * (2 * 1000 + 800 + 600 + 400))
    assert made.meter.power_milliwatts == 5 * 747_000 + 8 * idle_milliwatts(H100)


def test_the_switches_without_hosts_are_there_from_the_start() -> None:
    """A dragonfly's group of storage carries traffic through: its switches have nothing below them."""
    cluster = build_cluster(load("frontier"))
    first = first_racks(cluster)
    hostless = (cluster.links.switches > 0) & ~np.isin(np.arange(len(first)), cluster.links.v[cluster.links.tier == 0])
    assert hostless.any()
    assert not first[hostless].any()


def test_power_and_states_of_two_types() -> None:
    cluster = clos(8, hosts_per_rack=2, array_hosts=4)
    half = replace(H100, name="half", gpus=4, idle_watts=1000.0, peak_watts=3000.0, gpu=replace(H100.gpu, name="H50"))
    cluster = replace(cluster, host_types=(H100, half), block_type=np.array([0, 1], np.int8))
    jobs = job_columns(2, submit_ns=0, gpus=[16, 6], duration_ns=100 * SECOND, utilization=0.5, host_type=[0, 1])
    made = engine(cluster, [jobs], until_ns=200 * SECOND)
    run_until(made, 0)
    idle = 4 * idle_milliwatts(H100) + 4 * 1_000_000
    busy = 16 * gpu_milliwatts(H100, 0.5) + 6 * 250_000
    assert made.meter.hosts_milliwatts == idle + busy
    assert gpus_by_model(made) == {
        **dict(zip(((state, H100.gpu.name) for state in GPU_STATES), (16, 16, 0, 0, 0, 0, 0), strict=True)),
        **dict(zip(((state, "H50") for state in GPU_STATES), (6, 10, 0, 0, 0, 0, 0), strict=True)),
    }
    assert cluster_view(made).gpu_model == f"{H100.gpu.name}+H50"
    run(made)
    assert made.meter.hosts_joules(200 * SECOND) == pytest.approx((idle * 200 + busy * 100) / 1000)
    readings = made.read().racks[0]
    assert readings.energy_joules.sum() == pytest.approx((idle * 200 + busy * 100) / 1000)
