"""What holds for every workload: energy and GPU time add up, and the answer depends on nothing but the inputs."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine import hardware, views
from emulator.engine.engine import Engine
from emulator.engine.fault_book import Effect
from emulator.engine.gpu_time import gpu_seconds, held_time
from emulator.engine.hardware_control import HostState
from emulator.engine.moments import slowdown
from emulator.racks.power import switch_milliwatts
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND
from tests.engine.random_work import UNTIL, Manner, Work, run_work, work
from tests.engine.small import fingerprint

POLICIES = ["fifo", "easy"]
seeds = st.integers(0, 300)


@cache
def work_of(seed: int) -> Work:
    return work(seed)


@cache
def plain(seed: int, policy: str) -> Engine:
    return run_work(work_of(seed), seed, policy, Manner())


def check_sums(made: Engine, _: int = 0) -> None:
    """The head's books against the shards', at any instant between two cycles."""
    readings = made.read()
    power = sum(int(shard.power_milliwatts.sum()) for shard in readings.racks)
    assert power == made.meter.hosts_milliwatts
    assert made.meter.power_milliwatts - power == int(switch_milliwatts(made.cluster.links).sum())
    energy = np.concatenate([shard.energy_joules for shard in readings.racks])
    assert float(energy.sum()) == pytest.approx(made.meter.hosts_joules(made.now_ns), rel=1e-12)
    assert made.meter.peak_milliwatts >= 0
    gpus = views.gpus_by_state(made)
    assert gpus["busy"] == sum(int(shard.gpus_busy.sum()) for shard in readings.racks)
    assert gpus["down"] == sum(int(shard.gpus_down.sum()) for shard in readings.racks)
    assert min(gpus.values()) >= 0
    hosts, count = hardware.host_views(made, -1, made.cluster.host_count)
    assert len(hosts) == count == made.cluster.host_count
    assert sum(round(host.power_watts * 1000) for host in hosts) == power
    broken = sum(host.gpus - host.gpus_busy for host in hosts if host.state == HostState.DOWN)
    assert broken == gpus["down"], "what a job that hangs holds there is not down yet"
    assert sum(host.gpus_busy for host in hosts) == gpus["busy"]
    assert {job for host in hosts for job in host.job_ids} == {made.table.job_id[slot] for slot in made.scheduler.running}
    assert sum(gpus.values()) == made.cluster.gpu_count
    assert gpus["down"] == made.meter.down_gpus.value
    for plane in readings.planes:
        assert plane.flows == sum(bool(made.network.pieces_of(slot)) for slot in made.scheduler.running)
    active = sum(made.runs.active.values())
    assert active == made.meter.active_micro_gpus
    faults, ledger = made.fault_book.open.values(), made.scheduler.ledger
    assert set(ledger.withheld(Withheld.DOWN)) == {host for one in faults if one.effect == Effect.DOWN for host in one.hosts}
    assert set(ledger.withheld(Withheld.DRAINED)) == {host for one in faults if one.effect == Effect.WITHDRAWN for host in one.hosts}
    held = sum(made.table.size_gpus[slot] * made.table.milli_gpus[slot] for slot in made.scheduler.running)
    assert held == made.meter.held_milli_gpus.value


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_energy_and_gpu_time_add_up_at_every_cycle(policy: str, seed: int) -> None:
    made = run_work(work_of(seed), seed, policy, Manner(look=check_sums))
    table = made.table
    milli_ns = 0
    for slot, state in enumerate(table.state):
        ran = table.lives.run_ns[slot] + (made.now_ns - table.start_ns[slot] if state == State.RUNNING else 0)
        milli_ns += table.gpus[slot] * table.milli_gpus[slot] * ran
        assert table.lives.lost_ns[slot] <= table.lives.work_ns[slot]
        if state == State.FINISHED:  # what lasted of its work is all it had to do, but for a nanosecond at each change of speed
            assert 0 <= table.duration_ns[slot] - (table.lives.work_ns[slot] - table.lives.lost_ns[slot]) <= 50
    assert milli_ns == made.meter.held_milli_gpus.until(made.now_ns)
    assert made.now_ns == UNTIL
    check_sums(made)
    parts = gpu_seconds(held_time(table, range(len(table)), made.now_ns), made.meter, made.now_ns)
    assert sum(parts.values()) == pytest.approx(made.meter.gpu_seconds(made.now_ns), rel=1e-12)
    assert parts["idle"] >= made.meter.idle_gpu_ns / SECOND - 1e-6  # which counts whole free GPUs, from the next cycle on
    assert min(parts.values()) >= 0.0


def test_the_workloads_have_everything_in_them() -> None:
    """Or the properties would say little."""
    both = [plain(seed, policy) for seed in range(8) for policy in POLICIES]
    assert sum(made.chronicle.restarts for made in both) > 50
    assert sum(made.chronicle.preemptions for made in both) > 10
    slowed = [slot for made in both for slot in range(len(made.table)) if slowdown(made, slot, made.now_ns) > 1.01]
    assert len(slowed) > 20
    assert sum(made.chronicle.ended[State.FAILED] for made in both) > 0
    assert sum(made.chronicle.ended[State.CANCELLED] for made in both) > 5
    assert sum(made.links.faults["injected"] for made in both) > 5


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    shards=st.sampled_from([1, 2, 3, 7]),
    publish=st.sampled_from([1, 7, 60, 900, 10_000]),
    cuts=st.lists(st.integers(1, 29), max_size=6),
    inputs_at_once=st.booleans(),
    reads=st.integers(0, 2**32),
)
def test_the_answer_depends_on_the_inputs_alone(
    policy: str, seed: int, shards: int, publish: int, cuts: list[int], inputs_at_once: bool, reads: int
) -> None:
    """Not on the shards, on publications, on reads at random moments, on how the source is cut, on when inputs were handed in."""
    random = np.random.default_rng(reads)

    def look(made: Engine, due_ns: int) -> None:
        match int(random.integers(8)):
            case 0:
                made.read()
            case 1:
                made.read_planes()
            case 2:  # the clock of a live session goes on between two cycles
                at_ns = made.now_ns + int(random.integers(1, 5)) * 10 * SECOND
                if at_ns < due_ns:
                    made.idle_to(at_ns)
            case 3:
                hardware.link_views(made, -1, 50, "")

    manner = Manner(shards, publish * SECOND, cuts, inputs_at_once, look)
    made = run_work(work_of(seed), seed, policy, manner)
    expected = plain(seed, policy)
    assert fingerprint(made) == fingerprint(expected)
    assert made.chronicle.events == expected.chronicle.events
    for name in ("idle_gpu_ns", "fragmented_gpu_ns", "peak_milliwatts", "active_gpu_seconds"):
        assert getattr(made.meter, name) == getattr(expected.meter, name), name
    for name in ("hosts_joules", "switches_joules", "held_gpu_seconds", "down_gpu_seconds"):
        assert getattr(made.meter, name)(UNTIL) == getattr(expected.meter, name)(UNTIL), name
    # However often loads were looked at, and however orders were bundled, the peak between is the same.
    peaks = [engine.read_links().peak_load_bytes_per_second.tolist() for engine in (made, expected)]
    assert peaks[0] == peaks[1]
    assert made.cycles == expected.cycles
