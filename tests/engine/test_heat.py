"""Heat that lowers clocks: by the weather, and of the racks whose cooling unit has failed alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine.commands import BreakHosts, ClearFaults
from emulator.engine.engine import Engine
from emulator.engine.fault_book import Effect
from emulator.engine.power_settings import FACILITY, HeatSettings, OverCap, PowerSettings
from emulator.power.clocks import FULL, LOWEST, SLOWDOWN
from emulator.power.heat import Limits, gpu_celsius, highest_clock
from emulator.power.series import Series, constant
from emulator.racks.faults import CAUSE_OF
from emulator.racks.units import units
from emulator.workload.jobs import SECOND
from tests.engine.random_work import Manner, cluster, run_work, work
from tests.engine.small import clos, engine, fingerprint, hosts_of, run
from tests.engine.test_power_caps import PUE, between, gang
from tests.engine.test_properties import check_sums
from topology.cluster import Cluster

LIMITS = Limits(47.0)
COOL, HOT = 25.0, 48.0
UNIT = CAUSE_OF["cooling_unit"]


def heated(machine: Cluster, inlet: Series[float], cap: int | None = None, racks: int = 2) -> PowerSettings:
    first = tuple(units(machine, "cooling_unit", {"cooling_unit": racks}).first_host.tolist())
    caps = () if cap is None else ((FACILITY, constant(cap)),)
    how = OverCap.NONE if cap is None else OverCap.CLOCK
    return PowerSettings(how, caps, constant(PUE), 0, heat=HeatSettings(LIMITS, inlet, first))


def fails(machine: Cluster, number: int, seconds: int) -> BreakHosts:
    unit = units(machine, "cooling_unit", {"cooling_unit": 2})
    first, end = int(unit.first_host[number]), int(unit.end_host[number])
    return BreakHosts(first, end, seconds * SECOND, "cooling_unit", unit.name(number), UNIT)


def test_hot_weather_slows_what_computes_as_the_curve_says() -> None:
    """An hour of heat, which begins when the job has done 1,000 s of its work."""
    small = clos(4)
    bound = highest_clock(LIMITS, HOT)
    assert FULL < bound < LOWEST
    weather = Series((0, 1000 * SECOND, 4600 * SECOND), (COOL, HOT, COOL))
    made = run(engine(small, [gang(32, 10_000)], power=heated(small, weather)))
    lost = 3600 - 3600 / SLOWDOWN[bound]
    assert made.table.end_ns[0] / SECOND == pytest.approx(10_000 + lost, abs=1e-3)
    heat = made.power.heat
    assert heat is not None
    assert heat.throttling.until(made.now_ns) == 3600 * SECOND
    assert heat.hottest_celsius == max(gpu_celsius(LIMITS, COOL, FULL), gpu_celsius(LIMITS, HOT, bound)) <= LIMITS.throttle_celsius
    assert made.power.acting.until(made.now_ns) == 0, "no cap acted"
    assert made.runs.power_wait_milli_gpu_ns == pytest.approx(32_000 * lost * SECOND, rel=1e-6)


def test_a_failed_cooling_unit_slows_its_own_racks_and_takes_nothing_down() -> None:
    small = clos(4)
    made = engine(small, [gang(8, 1000, job_id=0), gang(8, 1000, job_id=1), gang(8, 1000, job_id=2)], power=heated(small, constant(COOL)))
    made.post(fails(small, 1, 500), 100 * SECOND)
    run(made)
    slow = SLOWDOWN[highest_clock(LIMITS, COOL + LIMITS.failed_unit_kelvin)]
    for job in range(3):
        expected = 1000 + (500 - 500 / slow if hosts_of(made, job)[0] >= 2 else 0)
        assert made.table.end_ns[job] / SECOND == pytest.approx(expected, abs=1e-3)
    assert sorted(hosts_of(made, job)[0] >= 2 for job in range(3)) == [False, False, True]
    assert (made.chronicle.restarts, made.fault_book.open, made.host_faults.counts[UNIT]) == (0, {}, 1)


def test_what_is_cleared_is_cool_again() -> None:
    small = clos(4)
    made = engine(small, [gang(32, 1000)], power=heated(small, constant(COOL)))
    made.post(fails(small, 1, 5000), 100 * SECOND)
    made.post(ClearFaults((1,)), 300 * SECOND)
    run(made)
    slow = SLOWDOWN[highest_clock(LIMITS, COOL + LIMITS.failed_unit_kelvin)]
    assert made.table.end_ns[0] / SECOND == pytest.approx(1000 + 200 - 200 / slow, abs=1e-3)


def test_without_heat_a_cooling_unit_takes_its_hosts_down() -> None:
    small = clos(4)
    made = engine(small, [gang(32, 1000)])
    made.post(fails(small, 1, 50), 100 * SECOND)
    run(made)
    assert made.chronicle.restarts == 1


def test_cool_weather_changes_nothing() -> None:
    free = run_work(work(3), 3, "easy", Manner())
    cool = run_work(work(3), 3, "easy", Manner(power=heated(cluster(), constant(COOL))))
    assert fingerprint(free) == fingerprint(cool)
    assert cool.runs.clocked is None


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 300), part=st.sampled_from([None, 0.05, 0.3]), shards=st.sampled_from([2, 7]), unit=st.integers(0, 3))
def test_heat_and_caps_hold_together_and_on_any_shards(seed: int, part: float | None, shards: int, unit: int) -> None:
    weather = Series((0, 500 * SECOND, 1500 * SECOND), (COOL, HOT, COOL + 10), 2000 * SECOND)
    cap = None if part is None else between(part)
    power, seen = heated(cluster(), weather, cap), []

    def begin(made: Engine) -> None:
        made.post(fails(cluster(), unit, 900), 1200 * SECOND)

    def look(made: Engine, _: int) -> None:
        assert cap is None or made.power.facility_milliwatts() <= cap
        heat = made.power.heat
        assert heat is not None
        without = {host // 4 for fault in made.fault_book.open.values() if fault.effect == Effect.HOT for host in fault.hosts}
        assert not without or (without == {unit} and 1200 * SECOND <= made.now_ns < 2100 * SECOND), "some faults are cleared before"
        for zone, clock in enumerate(made.runs.clock):
            failed = zone in without
            inlet = weather.at(made.now_ns) + (LIMITS.failed_unit_kelvin if failed else 0.0)
            assert gpu_celsius(LIMITS, inlet, clock) <= LIMITS.throttle_celsius or clock == LOWEST
            assert cap is not None or clock == highest_clock(LIMITS, inlet)
        seen.append(bool(heat.bounds.any()))
        if len(seen) % 20 == 0:
            check_sums(made)

    one = run_work(work(seed), seed, "easy", Manner(begin=begin, look=look, power=power))
    other = run_work(work(seed), seed, "easy", Manner(shards, 7 * SECOND, [5, 20], begin=begin, power=power))
    assert fingerprint(one) == fingerprint(other)
    assert any(seen)
