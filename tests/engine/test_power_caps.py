"""Caps that act: they hold at every instant, at the highest clock and with the fewest pauses, and cost what the curve says."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine.engine import Engine
from emulator.engine.gpu_time import HELD, held_time
from emulator.engine.power_settings import FACILITY, OverCap, PowerSettings
from emulator.power.clocks import CLOCKS, DYNAMIC_RATIO, FULL, LOWEST, SLOWDOWN, draw_milliwatts
from emulator.power.facility import facility_milliwatts
from emulator.power.series import Series, constant
from emulator.racks.power import idle_milliwatts, most_milliwatts, switch_milliwatts
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobColumns, JobKind, TrainingShape, job_columns
from tests.engine.random_work import Manner, cluster, run_work, work
from tests.engine.small import clos, engine, fingerprint, run
from tests.engine.test_properties import check_sums
from topology import catalog
from topology.clos import ClosPlan, build
from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.sites import Part, Wan, WanLink, compose

PUE = 1.2
MOST = facility_milliwatts(most_milliwatts(cluster()), PUE)
STANDING = facility_milliwatts(14 * idle_milliwatts(cluster().host_types[0]) + int(switch_milliwatts(cluster().links).sum()), PUE)


def capped(cap: int, how: OverCap = OverCap.CLOCK, raise_seconds: int = 0, place: int = FACILITY) -> PowerSettings:
    return PowerSettings(how, ((place, constant(cap)),), constant(PUE), raise_seconds * SECOND)


def between(part: float) -> int:
    """A cap between what the cluster draws when idle and the most that it does."""
    return STANDING + int(part * (MOST - STANDING))


def gang(gpus: int, seconds: int = 1000, **columns: Any) -> JobColumns:
    return job_columns(1, **{"submit_ns": 0, "gpus": gpus, "duration_ns": seconds * SECOND, "utilization": 1.0} | columns)


def plain_wanted(made: Engine) -> tuple[int, set[int]]:
    """The clock and the pauses that the rule asks for, worked out job by job at one site."""
    runs, table, ratio = made.runs, made.table, made.settings.communication_power_ratio
    cap, how = made.power.caps[FACILITY], made.settings.power.over_cap

    def draws(slot: int, clock: int) -> int:
        kind = made.cluster.host_types[table.host_type[slot]]
        full = round((kind.peak_watts - kind.idle_watts) * 1000 / kind.gpus * table.utilization[slot])
        return table.size_gpus[slot] * draw_milliwatts(full, runs._parts(slot), ratio, table.milli_gpus[slot], clock)

    base = made.meter.power_milliwatts - sum(runs.draw[slot] * table.size_gpus[slot] for slot in runs.draw)
    clocks = [FULL] if how == OverCap.PAUSE else range(CLOCKS)
    for clock in clocks:
        if facility_milliwatts(base + sum(draws(slot, clock) for slot in runs.draw), PUE) <= cap:
            return clock, set()
    clock, stopped = clocks[-1], set()
    for slot in sorted(runs.draw, key=lambda slot: (table.priority[slot], -table.start_ns[slot], -table.job_id[slot])):
        if draws(slot, clock):
            stopped.add(slot)
        if facility_milliwatts(base + sum(draws(other, clock) for other in runs.draw if other not in stopped), PUE) <= cap:
            break
    return clock, stopped


@pytest.mark.parametrize("how", [OverCap.CLOCK, OverCap.PAUSE])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 300), part=st.sampled_from([0.0, 0.02, 0.1, 0.25, 0.5, 0.75]))
def test_a_cap_holds_in_every_cycle_at_the_highest_clock(how: OverCap, seed: int, part: float) -> None:
    cap, acted = between(part), []

    def look(made: Engine, _: int) -> None:
        assert made.power.facility_milliwatts() <= cap
        assert (made.runs.clock[0], made.power.paused) == plain_wanted(made)
        acted.append(made.power.acting.value)
        if len(acted) % 10 == 0:
            check_sums(made)

    made = run_work(work(seed), seed, "easy", Manner(look=look, power=capped(cap, how)))
    assert facility_milliwatts(made.meter.peak_milliwatts, PUE) <= cap, "nor between two cycles"
    assert any(acted) or part > 0.2, "or the property says little"


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 300),
    part=st.sampled_from([0.02, 0.1, 0.25, 0.5]),
    shards=st.sampled_from([2, 3, 7]),
    wait=st.sampled_from([0, 60, 300]),
)
def test_the_answer_depends_on_nothing_else(seed: int, part: float, shards: int, wait: int) -> None:
    power, cap = capped(between(part), raise_seconds=wait), between(part)

    def look(made: Engine, _: int) -> None:
        assert made.power.facility_milliwatts() <= cap
        made.read()

    one = run_work(work(seed), seed, "easy", Manner(power=power))
    other = run_work(work(seed), seed, "easy", Manner(shards, 7 * SECOND, [5, 20], look=look, power=power))
    assert fingerprint(one) == fingerprint(other)
    assert (one.power.acting.until(one.now_ns), one.runs.power_wait_milli_gpu_ns) == (
        other.power.acting.until(other.now_ns),
        other.runs.power_wait_milli_gpu_ns,
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 300), part=st.sampled_from([0.02, 0.1, 0.25, 0.5]))
def test_the_time_of_jobs_adds_up_under_a_cap(seed: int, part: float) -> None:
    """Held time is the sum of its phases, to the nanosecond, and finished jobs have done their work once."""
    made = run_work(work(seed), seed, "easy", Manner(power=capped(between(part))))
    table = made.table
    total = 0
    for slot, state in enumerate(table.state):
        time = dict(zip(HELD, held_time(table, [slot], made.now_ns), strict=True))
        assert min(time.values()) >= -60 * table.size_gpus[slot] * table.milli_gpus[slot], "but for a nanosecond at each change of speed"
        total += sum(time.values())
        if state == State.FINISHED:
            done = table.lives.work_ns[slot] - table.lives.lost_ns[slot]
            assert 0 <= table.duration_ns[slot] - done <= 2000
    assert total == made.meter.held_milli_gpus.until(made.now_ns)


def test_a_cap_that_never_binds_changes_nothing() -> None:
    free, under = (run_work(work(3), 3, "easy", Manner(power=power)) for power in (PowerSettings(), capped(MOST)))
    assert fingerprint(free) == fingerprint(under)
    assert under.runs.clocked is None


@pytest.mark.parametrize("clock", [1, 4, 10, LOWEST])
def test_what_a_clock_costs_and_saves_is_the_curve(clock: int) -> None:
    """One job that only computes on all of the cluster, under a cap that this clock just meets."""
    made = engine(cluster(), [gang(112)], power=PowerSettings())
    dynamic = made.runs._full_draw(0, 1.0) * 112
    cap = STANDING + facility_milliwatts(round(dynamic * DYNAMIC_RATIO[clock]), PUE) + 2000
    made = run(engine(cluster(), [gang(112)], power=capped(cap)))
    assert made.power.lowest_clock == clock
    assert made.table.end_ns[0] == pytest.approx(1000 * SECOND * SLOWDOWN[clock], rel=1e-9)
    time = dict(zip(HELD, held_time(made.table, [0], made.now_ns), strict=True))
    assert time["power_wait"] / time["productive"] == pytest.approx(SLOWDOWN[clock] - 1, rel=1e-6)
    assert made.runs.power_wait_milli_gpu_ns == time["power_wait"]
    assert facility_milliwatts(made.meter.peak_milliwatts, PUE) == pytest.approx(cap, rel=1e-4)


def test_only_what_computes_takes_longer() -> None:
    """A step that computes for 1 s and waits for 1 s: at a slowdown s it takes 1 + s."""
    shape = TrainingShape(compute_seconds=1.0, ring_bytes=47.5e9, overlap_seconds=0.0, latency_seconds=0.0, model_flops=1e15, hops=0)
    job = gang(112, kind=int(JobKind.TRAINING), shape=0, shapes=(shape,))
    made = run(engine(cluster(), [job], power=capped(between(0.4))))
    slow = SLOWDOWN[made.power.lowest_clock]
    assert made.power.lowest_clock > FULL
    assert made.table.end_ns[0] / SECOND / 1000 == pytest.approx((1 + slow) / 2, rel=1e-3)


def test_the_lowest_priority_is_paused_first_and_goes_on_when_there_is_room() -> None:
    """Two gangs of the whole of their hosts; the cap leaves room for the dynamic power of one at the full clock."""
    small = clos(2)
    first, second = gang(8, 1000, job_id=0, priority=1), gang(8, 1000, job_id=1, priority=0)
    quiet = engine(small)
    cap = facility_milliwatts(quiet.meter.power_milliwatts + 8 * quiet.runs._full_draw(0, 1.0), PUE)
    made = run(engine(small, [first, second], power=capped(cap, OverCap.PAUSE)))
    assert [made.table.end_ns[slot] / SECOND for slot in (0, 1)] == [1000, 2000]
    time = dict(zip(HELD, held_time(made.table, [1], made.now_ns), strict=True))
    assert (time["paused"], time["productive"]) == (8000 * 1000 * SECOND, 8000 * 1000 * SECOND)
    assert made.table.restarts[1] == 0, "it stalls for longer than the network may"
    assert made.power.acting.until(made.now_ns) == 1000 * SECOND


def test_a_cap_below_what_stands_pauses_all_until_it_rises() -> None:
    small = clos(2)
    rising = Series((0, 600 * SECOND), (1, 10**12))
    power = PowerSettings(OverCap.CLOCK, ((FACILITY, rising),), constant(PUE), 0)
    made = run(engine(small, [gang(16, 100)], power=power))
    assert made.table.end_ns[0] == 700 * SECOND


def test_a_clock_is_lowered_at_once_and_raised_after_a_while() -> None:
    """The second job runs from 100 s to some 150 s. The clock goes down with it, and up again 300 s after that."""
    small = clos(2)
    quiet = engine(small)
    both = facility_milliwatts(quiet.meter.power_milliwatts + 16 * quiet.runs._full_draw(0, 1.0), PUE)
    cap = both - 2_000_000
    jobs = [gang(8, 2000, job_id=0), gang(8, 50, job_id=1, submit_ns=100 * SECOND)]
    made = engine(small, jobs, power=capped(cap, raise_seconds=300))
    lowered = []
    while made.has_work() and made.next_cycle_ns() < 3000 * SECOND:
        made.run_cycle(made.next_cycle_ns())
        lowered.append((made.now_ns // SECOND, made.runs.clock[0]))
    changes = [row for row, before in zip(lowered, [(0, FULL), *lowered], strict=False) if row[1] != before[1]]
    assert [at for at, _ in changes] == [100, 400]
    assert changes[1][1] == FULL


def sites() -> Cluster:
    """Two sites of four hosts."""
    plans = [
        ClosPlan(name=name, host=catalog.host("hgx-h100"), switch=catalog.switch("qm9700"), hosts=4, hosts_per_rack=1, site=name)
        for name in ("east", "west")
    ]
    return compile_cluster(
        compose(
            "two",
            [Part(plan.name, build(plan), plan.name, 1.0) for plan in plans],
            Wan(1e12, (WanLink(("east", "west"), 800.0, 5e11),)),
            (),
        )
    )


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([1, 4, 8, 16, 32, 40]), st.integers(10, 900), st.integers(0, 900), st.integers(0, 2)),
        min_size=3,
        max_size=12,
    ),
    st.tuples(*[st.sampled_from([0.05, 0.3, 0.6, 2.0])] * 3),
)
def test_caps_of_sites_and_of_all_hold_together(rows: Sequence[tuple[int, int, int, int]], parts: tuple[float, float, float]) -> None:
    """Jobs may lie at both sites."""
    both = sites()
    quiet = engine(both)
    dynamic = 32 * quiet.runs._full_draw(0, 1.0)
    standing = [quiet.meter.site_milliwatts(site) for site in range(2)]
    limits = {site: facility_milliwatts(standing[site] + int(parts[site] * dynamic), PUE) for site in range(2)}
    limits[FACILITY] = facility_milliwatts(sum(standing) + int(parts[2] * 2 * dynamic), PUE)
    rows = sorted(rows, key=lambda row: row[2])
    gpus, seconds, submit, priority = zip(*rows, strict=True)
    jobs = job_columns(
        len(rows), job_id=np.arange(len(rows)), gpus=np.array(gpus), duration_ns=np.array(seconds) * SECOND,
        submit_ns=np.array(submit) * SECOND, priority=np.array(priority), utilization=1.0,
    )  # fmt: skip
    power = PowerSettings(OverCap.CLOCK, tuple((place, constant(cap)) for place, cap in limits.items()), constant(PUE), 0)
    made = engine(both, [jobs], power=power, until_ns=4000 * SECOND)
    while made.next_cycle_ns() <= 4000 * SECOND:
        made.run_cycle(made.next_cycle_ns())
        drawn = [facility_milliwatts(made.meter.site_milliwatts(site), PUE) for site in range(2)]
        assert all(drawn[site] <= limits[site] for site in range(2))
        assert made.power.facility_milliwatts() <= limits[FACILITY]
        check_sums(made)
