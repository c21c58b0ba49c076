"""Caps on rows: they hold together with those above them, at the highest clocks, against a plain oracle that goes job by job."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine import hardware
from emulator.engine.engine import Engine
from emulator.engine.power_settings import FACILITY, UNCAPPED, OverCap, PowerSettings, RowCaps
from emulator.engine.spread import Zones
from emulator.power.clocks import CLOCKS, FULL, LOWEST, draw_milliwatts
from emulator.power.facility import facility_milliwatts, it_cap_milliwatts
from emulator.power.series import constant
from emulator.power.sharing import lowered
from emulator.racks.power import gpu_milliwatts, idle_milliwatts
from emulator.workload.jobs import SECOND
from tests.engine.random_work import Manner, cluster, run_work, work
from tests.engine.small import clos, engine, fingerprint, hosts_of, run
from tests.engine.test_power_caps import MOST, PUE, STANDING, between, gang
from tests.engine.test_properties import check_sums

KIND = cluster().host_types[0]
ROWS = 7
ROW_STANDING, ROW_MOST = 2 * idle_milliwatts(KIND), 2 * (idle_milliwatts(KIND) + 8 * gpu_milliwatts(KIND, 1.0))


def rows_of(part: float, single: float | None = None) -> RowCaps:
    """Rows of two hosts: all with a cap between what they draw when idle and the most that they do, but the last with none, or another."""
    caps = [ROW_STANDING + int(part * (ROW_MOST - ROW_STANDING))] * ROWS
    caps[-1] = UNCAPPED if single is None else ROW_STANDING + int(single * (ROW_MOST - ROW_STANDING))
    first = tuple(cluster().level("rack").first_host[:-1].tolist())
    return RowCaps("rack", tuple([f"r{row:05d}" for row in range(ROWS)]), first, tuple(caps))


def capped(rows: RowCaps, cap: int | None = None, how: OverCap = OverCap.CLOCK, raise_seconds: int = 0) -> PowerSettings:
    caps = () if cap is None else ((FACILITY, constant(cap)),)
    return PowerSettings(how, caps, constant(PUE), raise_seconds * SECOND, rows=rows)


class Drawn(NamedTuple):
    """By row: a job's GPUs, and its dynamic milliwatts at each clock, if it is not paused."""

    slot: int
    gpus: dict[int, int]
    by_row: dict[int, list[int]]


def drawn(made: Engine) -> list[Drawn]:
    """Of running jobs, in the order in which they are paused."""
    runs, table, ratio, found = made.runs, made.table, made.settings.communication_power_ratio, []
    for slot in sorted(runs.draw, key=lambda slot: (table.priority[slot], -table.start_ns[slot], -table.job_id[slot])):
        full = gpu_milliwatts(KIND, table.utilization[slot])
        each = [draw_milliwatts(full, runs._parts(slot), ratio, table.milli_gpus[slot], clock) for clock in range(CLOCKS)]
        gpus: dict[int, int] = {}
        for block, hosts, mask in table.rows[slot]:
            for place in [place for place in range(64) if hosts >> place & 1]:
                row = (int(made.cluster.block.first_host[block]) + place) // 2
                gpus[row] = gpus.get(row, 0) + mask.bit_count()
        found.append(Drawn(slot, gpus, {row: [count * one for one in each] for row, count in gpus.items()}))
    return found


def by_row(made: Engine) -> list[int]:
    """Milliwatts of the hosts of each row, as the shards have them."""
    hosts, _ = hardware.host_views(made, -1, made.cluster.host_count)
    return [sum(round(host.power_watts * 1000) for host in hosts[2 * row : 2 * row + 2]) for row in range(ROWS)]


def plain_wanted(made: Engine, now: list[int]) -> tuple[list[int], set[int]]:
    """The clocks and the pauses that the rule asks for: rows first, then the facility, then who is paused."""
    jobs, how, rows = drawn(made), made.settings.power.over_cap, made.settings.power.rows
    assert rows is not None
    base = [now[row] - sum(made.runs.draw[job.slot] * job.gpus.get(row, 0) for job in jobs) for row in range(ROWS)]
    allowed = it_cap_milliwatts(made.power.caps.get(FACILITY, 10**15), PUE) - made.meter.switches_milliwatts

    def draws(row: int, clock: int, stopped: set[int]) -> int:
        return base[row] + sum(job.by_row[row][clock] for job in jobs if row in job.by_row and job.slot not in stopped)

    def together(clocks: list[int], stopped: set[int]) -> int:
        return sum(draws(row, clock, stopped) for row, clock in enumerate(clocks))

    steps = [FULL] if how == OverCap.PAUSE else range(CLOCKS)
    clocks = [next((clock for clock in steps if draws(row, clock, set()) <= rows.milliwatts[row]), steps[-1]) for row in range(ROWS)]
    lower = ([max(clock, shared) for clock in clocks] for shared in steps)
    clocks = next((each for each in lower if together(each, set()) <= allowed), [max(clock, steps[-1]) for clock in clocks])
    stopped: set[int] = set()
    for job in jobs:
        over = [row for row in range(ROWS) if draws(row, clocks[row], stopped) > rows.milliwatts[row]]
        over = list(range(ROWS)) if together(clocks, stopped) > allowed else over
        if any(job.by_row[row][clocks[row]] for row in over if row in job.by_row):
            stopped.add(job.slot)
    return clocks, stopped


@pytest.mark.parametrize("how", [OverCap.CLOCK, OverCap.PAUSE])
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 300),
    part=st.sampled_from([0.05, 0.2, 0.5, 0.8]),
    single=st.sampled_from([None, 0.02, 0.4]),
    whole=st.sampled_from([None, 0.1, 0.5]),
)
def test_the_caps_of_rows_hold_in_every_cycle(how: OverCap, seed: int, part: float, single: float | None, whole: float | None) -> None:
    rows, cap = rows_of(part, single), None if whole is None else between(whole)
    acted = []

    def look(made: Engine, _: int) -> None:
        now = by_row(made)
        assert all(drawn <= cap for drawn, cap in zip(now, rows.milliwatts, strict=True))
        assert cap is None or made.power.facility_milliwatts() <= cap
        assert (made.runs.clock, made.power.paused) == plain_wanted(made, now)
        acted.append(made.power.acting.value)
        if len(acted) % 10 == 0:
            check_sums(made)

    run_work(work(seed), seed, "easy", Manner(look=look, power=capped(rows, cap, how)))
    assert any(acted) or part > 0.2, "or the property says little"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 300), part=st.sampled_from([0.05, 0.3, 0.6]), shards=st.sampled_from([2, 3, 7]), wait=st.sampled_from([0, 300]))
def test_the_answer_depends_on_nothing_else(seed: int, part: float, shards: int, wait: int) -> None:
    power = capped(rows_of(part), between(0.5), raise_seconds=wait)
    one = run_work(work(seed), seed, "easy", Manner(power=power))
    other = run_work(work(seed), seed, "easy", Manner(shards, 7 * SECOND, [5, 20], look=lambda made, _: check_sums(made), power=power))
    assert fingerprint(one) == fingerprint(other)
    assert one.runs.power_wait_milli_gpu_ns == other.runs.power_wait_milli_gpu_ns


@pytest.mark.parametrize("cap", [None, between(0.3)])
def test_rows_that_never_bind_change_nothing(cap: int | None) -> None:
    """Neither with nor without another cap, which then acts on zones of racks as it does on sites."""
    caps = () if cap is None else ((FACILITY, constant(cap)),)
    free = run_work(work(3), 3, "easy", Manner(power=PowerSettings(OverCap.CLOCK, caps, constant(PUE), 0)))
    under = run_work(work(3), 3, "easy", Manner(power=capped(rows_of(1.0), cap)))
    assert fingerprint(free) == fingerprint(under)
    assert (under.runs.clocked is None) == (cap is None)


def test_a_row_slows_its_own_jobs_alone() -> None:
    """Two gangs, each on a host that is a row; one row may draw half of its dynamic power."""
    small = clos(2)
    kind = small.host_types[0]
    half = idle_milliwatts(kind) + 4 * gpu_milliwatts(kind, 1.0)
    rows = RowCaps("rack", ("r00000", "r00001"), (0, 1), (half, UNCAPPED))
    made = run(engine(small, [gang(8, job_id=0), gang(8, job_id=1)], power=PowerSettings(OverCap.CLOCK, (), constant(PUE), 0, rows=rows)))
    ends = {hosts_of(made, slot)[0]: made.table.end_ns[slot] / SECOND for slot in (0, 1)}
    assert ends[0] > 1200
    assert ends[1] == 1000
    assert made.power.rows is not None
    assert made.power.rows.most_milliwatts.tolist() == [made.power.rows.most_milliwatts[0], ROW_MOST // 2]
    assert made.power.rows.most_milliwatts[0] <= half


def test_a_job_in_two_rows_runs_at_the_lower_clock() -> None:
    small = clos(2)
    kind = small.host_types[0]
    half = idle_milliwatts(kind) + 4 * gpu_milliwatts(kind, 1.0)
    caps = [(half, UNCAPPED), (half, half)]
    ends = []
    for cap in caps:
        rows = RowCaps("rack", ("r00000", "r00001"), (0, 1), cap)
        ends.append(run(engine(small, [gang(16)], power=PowerSettings(OverCap.CLOCK, (), constant(PUE), 0, rows=rows))).table.end_ns[0])
    assert ends[0] == ends[1] > 1200 * SECOND


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_lowered_is_the_highest_that_holds(data: st.DataObject) -> None:
    """Against trying every clock, one group at a time."""
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    zones = sum(sizes)
    falls = st.lists(st.integers(0, 9), min_size=CLOCKS, max_size=CLOCKS)
    draws = np.cumsum(np.array([data.draw(falls) for _ in range(zones)])[:, ::-1], axis=1)[:, ::-1].astype(np.int64)
    clocks = np.array(data.draw(st.lists(st.integers(FULL, LOWEST), min_size=zones, max_size=zones)))
    allowed = np.array([data.draw(st.integers(-5, 200 * size)) for size in sizes], dtype=np.int64)
    first = np.cumsum([0, *sizes[:-1]])
    found = lowered(draws, clocks, first, allowed)
    for start, size, most in zip(first.tolist(), sizes, allowed.tolist(), strict=True):
        own = range(start, start + size)
        for shared in range(CLOCKS):
            levels = [max(shared, int(clocks[zone])) for zone in own]
            if sum(int(draws[zone, level]) for zone, level in zip(own, levels, strict=True)) <= most or shared == LOWEST:
                assert [int(found[zone]) for zone in own] == levels
                break


@given(seed=st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_zones_count_every_gpu_once(seed: int) -> None:
    """Also where a block, as hosts of several racks are one, is cut."""
    draw = np.random.default_rng(seed)
    large = clos(96, hosts_per_rack=4)
    edges = np.sort(draw.choice(np.arange(0, 96, 4), 5, replace=False)).astype(np.int64)
    zones, whole = Zones(large, [edges]), Zones(large)
    assert len(large.block) < len(large.level("rack")), "or no block is cut"
    rows = [
        (block, int(draw.integers(1, 2**32)) & ((1 << hosts) - 1), 0xFF)
        for block, hosts in enumerate(np.diff(large.block.first_host).tolist())
    ]
    expected = [0] * zones.count
    for block, mask, _ in rows:
        for place in [place for place in range(64) if mask >> place & 1]:
            expected[zones.of_host(int(large.block.first_host[block]) + place)] += 8
    assert dict(zones.spread(rows)) == {zone: gpus for zone, gpus in enumerate(expected) if gpus}
    assert zones.by_site(zones.spread(rows)) == whole.spread(rows)


def test_the_cluster_of_these_tests() -> None:
    assert len(cluster().level("rack")) == ROWS
    assert facility_milliwatts(ROWS * ROW_MOST, PUE) < MOST
    assert facility_milliwatts(ROWS * ROW_STANDING, PUE) < STANDING
