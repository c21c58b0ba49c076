"""Batteries that act: caps hold at the meter, energy stays between nothing and full, and what is worked out by hand comes out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine.batteries import Batteries
from emulator.engine.engine import Engine
from emulator.engine.meter import Integral
from emulator.engine.power_settings import FACILITY, BatterySettings, OverCap, PowerSettings, Reduction
from emulator.power.facility import facility_milliwatts
from emulator.power.series import Series, constant
from emulator.workload.jobs import SECOND
from tests.engine.random_work import Manner, run_work, work
from tests.engine.small import clos, engine, fingerprint, run
from tests.engine.test_power_caps import MOST, PUE, STANDING, between, gang
from tests.engine.test_properties import check_sums

CYCLE = 10 * SECOND


def battery(milliwatts: int, seconds: int) -> BatterySettings:
    return BatterySettings(milliwatts, milliwatts * seconds * SECOND, CYCLE)


def carried(cap: Series[int], of: BatterySettings, how: OverCap = OverCap.CLOCK, *asked: Reduction) -> PowerSettings:
    return PowerSettings(how, ((FACILITY, cap),), constant(PUE), 0, asked, battery=of)


@pytest.mark.parametrize("how", [OverCap.CLOCK, OverCap.PAUSE])
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 300),
    part=st.sampled_from([0.05, 0.3, 0.6]),
    power=st.sampled_from([0.05, 0.3, 2.0]),
    seconds=st.sampled_from([20, 35, 300, 3000]),
    shards=st.sampled_from([2, 7]),
)
def test_caps_hold_at_the_meter_and_energy_is_kept(how: OverCap, seed: int, part: float, power: float, seconds: int, shards: int) -> None:
    cap = Series((0, 900 * SECOND, 1700 * SECOND), (between(part), MOST + 10**6, between(part)))
    given = battery(int(power * (MOST - STANDING)), seconds)
    acted, last = [], [(0, 0)]

    def look(made: Engine, _: int) -> None:
        power, batteries = made.power, made.power.batteries
        assert batteries is not None
        assert power.facility_milliwatts() <= cap.at(made.now_ns)
        assert abs(batteries.net[0].value) <= given.milliwatts
        assert 0 <= batteries.stored[0] <= 100 * given.energy
        assert batteries.least_stored >= 0
        it = made.meter.site_milliwatt_ns(0, made.now_ns) * round(PUE * 1_000_000)
        used = power.facility.used(0, made.now_ns).facility
        (seen_ns, before), last[0] = last[0], (made.now_ns, used)
        assert used - before <= (cap.at(seen_ns) + 1) * (made.now_ns - seen_ns) * 1_000_000, "nor between two cycles"
        assert used - it == batteries.net[0].until(made.now_ns) * 1_000_000
        acted.append(batteries.net[0].value)
        if len(acted) % 20 == 0:
            check_sums(made)

    settings = carried(cap, given, how)
    one = run_work(work(seed), seed, "easy", Manner(look=look, power=settings))
    batteries = one.power.batteries
    assert batteries is not None
    batteries.settle(one.now_ns)
    assert batteries.stored[0] == 100 * given.energy + 82 * batteries.charged - 100 * batteries.discharged
    assert batteries.charged - batteries.discharged == batteries.net[0].until(one.now_ns)
    other = run_work(work(seed), seed, "easy", Manner(shards, 7 * SECOND, [5, 20], look=lambda made, _: check_sums(made), power=settings))
    assert fingerprint(one) == fingerprint(other)
    assert other.power.batteries is not None
    assert other.power.batteries.stored == batteries.stored
    assert min(acted) < 0 or part > 0.2, "or the property says little"


def test_a_battery_carries_for_as_long_as_its_energy_lasts() -> None:
    """A job draws twice what the cap leaves above idle; the battery gives the other half for 100 s, less the cycle that it keeps."""
    small = clos(2)
    quiet = engine(small)
    full = quiet.meter.power_milliwatts + 16 * quiet.runs._full_draw(0, 1.0)
    cap = facility_milliwatts(quiet.meter.power_milliwatts + 8 * quiet.runs._full_draw(0, 1.0), PUE)
    over = facility_milliwatts(full, PUE) - cap
    made = engine(small, [gang(16, 1000)], power=carried(constant(cap), battery(over, 100)))
    clocks = []
    while made.has_work():
        made.run_cycle(made.next_cycle_ns())
        clocks.append((made.now_ns // SECOND, made.runs.clock[0]))
    assert clocks[0] == (0, 0)
    first = next(at for at, clock in clocks if clock)
    assert first == 100, "at 90 s it still lasts for a cycle"
    plain = run(engine(small, [gang(16, 1000)], power=PowerSettings(OverCap.CLOCK, ((FACILITY, constant(cap)),), constant(PUE), 0)))
    saved = plain.table.end_ns[0] - made.table.end_ns[0]
    assert saved > 20 * SECOND


def test_a_request_is_met_by_the_battery_alone_and_it_charges_again() -> None:
    small = clos(2)
    quiet = engine(small)
    full = facility_milliwatts(quiet.meter.power_milliwatts + 16 * quiet.runs._full_draw(0, 1.0), PUE)
    asked = Reduction(100 * SECOND, FACILITY, 600 * SECOND, 0.25)
    given = battery(full, 1000)
    made = run(engine(small, [gang(16, 4000)], power=carried(constant(2 * full), given, OverCap.CLOCK, asked)))
    made.finish(made.now_ns)
    assert made.table.end_ns[0] == 4000 * SECOND, "nothing was slowed"
    (response,) = made.power.response.responses
    assert response.most_milliwatts <= response.cap_milliwatts
    assert response.lost == 0
    batteries = made.power.batteries
    assert batteries is not None
    assert batteries.discharged == (full - response.cap_milliwatts) * 600 * SECOND
    assert 100 * given.energy - batteries.stored[0] < 82 * CYCLE, "it is full again"
    assert batteries.charged == pytest.approx(batteries.discharged / 0.82, rel=1e-6)


@given(st.data())
def test_the_rates_bring_every_place_under_its_cap(data: st.DataObject) -> None:
    """Three sites, whatever they draw that caps and batteries together allow; what is charged leaves room too."""
    most = 100
    drawn = data.draw(st.lists(st.integers(0, 500), min_size=3, max_size=3))
    caps = {site: max(0, drawn[site] - data.draw(st.integers(-200, most))) for site in range(3) if data.draw(st.booleans())}
    if data.draw(st.booleans()):
        caps[FACILITY] = max(0, sum(drawn) - data.draw(st.integers(-400, 3 * most)))
    net = [Integral() for _ in range(3)]
    batteries = Batteries(battery(most, 100), net)
    batteries.stored = [data.draw(st.sampled_from([one, one // 2])) for one in batteries.stored]
    batteries.set_rates(0, drawn, sum(drawn), caps)
    rates = [one.value for one in net]
    assert all(abs(rate) <= most for rate in rates)
    assert all(drawn[site] + rates[site] <= cap for site, cap in caps.items() if site != FACILITY)
    assert sum(drawn) + sum(rates) <= caps.get(FACILITY, 10**9)
    if not caps:
        assert rates == [most if stored < batteries.full else 0 for stored in batteries.stored]
    least = sum(max(0, drawn[site] - caps.get(site, 10**9)) for site in range(3))
    gives = -sum(min(0, rate) for rate in rates)
    assert gives == max(least, sum(drawn) - caps.get(FACILITY, 10**9)), "and no more is given than that takes"


def test_a_battery_that_is_never_asked_changes_nothing() -> None:
    cap = MOST + 10**6
    free = run_work(work(3), 3, "easy", Manner(power=PowerSettings(OverCap.CLOCK, ((FACILITY, constant(cap)),), constant(PUE), 0)))
    under = run_work(work(3), 3, "easy", Manner(power=carried(constant(cap), battery(10**8, 3600))))
    assert fingerprint(free) == fingerprint(under)
