"""Requests to draw less: met within a cycle, lifted when they are over, with what they cost; and energy that adds up by site."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine.commands import CapPower
from emulator.engine.engine import Engine
from emulator.engine.gpu_time import HELD, held_time
from emulator.engine.power_settings import FACILITY, OverCap, PowerSettings, Reduction
from emulator.power.clocks import FULL
from emulator.power.facility import facility_milliwatts
from emulator.power.series import NEVER, Series, constant
from emulator.workload.jobs import SECOND
from tests.engine.random_work import Manner, run_work, work
from tests.engine.small import clos, engine, fingerprint, run_until
from tests.engine.test_power_caps import PUE, gang

HOUR = 3600 * SECOND


def settings_of(*reductions: Reduction, raise_seconds: int = 0) -> PowerSettings:
    return PowerSettings(OverCap.CLOCK, (), constant(PUE), raise_seconds * SECOND, reductions)


def full_cluster(*reductions: Reduction) -> Engine:
    """Two hosts, wholly computing for ten hours."""
    return engine(clos(2), [gang(16, 36_000)], power=settings_of(*reductions), until_ns=10 * HOUR)


def test_a_quarter_less_for_three_hours() -> None:
    """Met in the cycle of the request; the report's energy and GPU time are those of the two runs' difference."""
    asked = Reduction(2 * HOUR, FACILITY, 3 * HOUR, 0.25)
    made, plain = full_cluster(asked), full_cluster()
    before = plain.power.facility_milliwatts
    run_until(plain, 0)
    drawn = before()
    for at in (2 * HOUR - 10 * SECOND, 2 * HOUR, 5 * HOUR - 10 * SECOND, 5 * HOUR):
        run_until(made, at)
        expected = drawn if at in (2 * HOUR - 10 * SECOND, 5 * HOUR) else drawn - int(drawn * 0.25)
        assert made.power.facility_milliwatts() <= expected
    assert made.runs.clock == [FULL], "lifted in its cycle"
    (response,) = made.power.response.responses
    assert (response.begin_ns, response.end_ns, made.power.response.in_force) == (2 * HOUR, 5 * HOUR, [])
    assert (response.before_milliwatts, response.cap_milliwatts) == (drawn, drawn - int(drawn * 0.25))
    assert response.most_milliwatts <= response.cap_milliwatts
    for one in (made, plain):
        run_until(one, 6 * HOUR)
        one.idle_to(6 * HOUR)
    used = [one.power.facility.used(0, 6 * HOUR).facility for one in (plain, made)]
    assert response.before_milliwatts * 3 * HOUR * 10**6 - response.energy == pytest.approx(used[0] - used[1], rel=1e-9)
    time = dict(zip(HELD, held_time(made.table, [0], 6 * HOUR), strict=True))
    assert response.lost == time["power_wait"] + time["paused"] > 0


def test_to_a_power_at_a_time_of_its_own() -> None:
    """Two at once: the least holds, and each ends by itself. The second, below what stands, pauses all and cannot be met."""
    made = full_cluster(Reduction(HOUR, FACILITY, 2 * HOUR, None, 18_000_000), Reduction(2 * HOUR, FACILITY, HOUR // 2, None, 1_000_000))
    run_until(made, HOUR)
    assert 0 < made.power.facility_milliwatts() <= 18_000_000
    run_until(made, 2 * HOUR)
    assert made.power.paused == {0}
    run_until(made, 3 * HOUR - SECOND)
    assert made.power.facility_milliwatts() <= 18_000_000
    assert not made.power.paused
    run_until(made, 3 * HOUR)
    assert made.runs.clock == [FULL]
    first, second = made.power.response.responses
    assert first.most_milliwatts <= first.cap_milliwatts
    assert second.most_milliwatts > second.cap_milliwatts
    assert made.power.over.until(made.now_ns) == HOUR // 2


def test_a_cap_that_is_asked_for_and_lifted_while_it_runs() -> None:
    made = full_cluster()
    run_until(made, 0)
    made.post(CapPower(FACILITY, 18_000_000, None), HOUR)
    made.post(CapPower(0, None, None), 2 * HOUR)
    made.post(CapPower(FACILITY, None, None), 3 * HOUR)
    run_until(made, 2 * HOUR)
    assert made.power.facility_milliwatts() <= 18_000_000
    assert made.power.response.responses[0].end_ns == NEVER, "what is lifted at the site is another"
    run_until(made, 3 * HOUR)
    assert (made.runs.clock, made.power.response.responses[0].end_ns) == ([FULL], 3 * HOUR)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 100),
    begins=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 2000), st.sampled_from([0.1, 0.3, 0.6])), max_size=3),
    shards=st.sampled_from([1, 3]),
)
def test_energy_water_and_carbon_add_up(seed: int, begins: list[tuple[int, int, float]], shards: int) -> None:
    """Sites in whole numbers against the racks' energy and the factors' steps, each worked out from readings at the steps."""
    pue = Series((0, 1000 * SECOND, 2000 * SECOND), (1.1, 1.3, 1.2))
    reductions = tuple([Reduction(at * SECOND, FACILITY, lasts * SECOND, part) for at, lasts, part in begins])
    power = PowerSettings(OverCap.CLOCK, (), pue, 0, reductions, constant(0.5), constant(300.0))
    marks: list[tuple[int, int, int]] = []

    def look(made: Engine, _: int) -> None:
        it = made.meter.site_milliwatt_ns(0, made.now_ns)
        marks.append((made.now_ns, it, made.power.facility.used(0, made.now_ns).facility))

    made = run_work(work(seed), seed, "easy", Manner(shards=shards, look=look, power=power))
    used = made.power.facility.used(0, made.now_ns)
    racks = sum(float(shard.energy_joules.sum()) for shard in made.read().racks)
    assert used.it / 1e12 == pytest.approx(racks + made.meter.switches_joules(made.now_ns), rel=1e-12)
    assert used.water == used.it * 500_000
    assert used.carbon == used.facility * 300_000_000
    for (one_ns, it, facility), (other_ns, later, further) in pairwise(marks):
        factors = {round(pue.at(at) * 1e6) for at in (one_ns, max(one_ns, other_ns - 1))}
        if len(factors) == 1:
            assert further - facility == (later - it) * factors.pop()
    again = run_work(work(seed), seed, "easy", Manner(shards=4 - shards, power=power))
    assert fingerprint(again) == fingerprint(made)
    assert again.power.response.responses == made.power.response.responses


def test_facility_power_is_that_of_the_pue_of_the_time() -> None:
    power = PowerSettings(OverCap.NONE, (), Series((0, HOUR), (1.1, 1.5)))
    made = engine(clos(2), [gang(16, 36_000)], power=power, until_ns=10 * HOUR)
    run_until(made, HOUR - SECOND)
    it = made.meter.power_milliwatts
    assert made.power.facility_milliwatts() == facility_milliwatts(it, 1.1)
    run_until(made, HOUR)
    assert made.power.facility_milliwatts() == facility_milliwatts(it, 1.5)
