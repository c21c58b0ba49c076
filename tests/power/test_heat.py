"""Heat: the published temperatures, and the bound against trying every clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.power.clocks import CLOCKS, FULL, LOWEST
from emulator.power.cooling import Cooling
from emulator.power.heat import RISE_KELVIN, Limits, gpu_celsius, highest_clock, inlet_celsius


@pytest.mark.parametrize(("cooling", "celsius"), [(Cooling.DRY, 72.0), (Cooling.CLOSED_LOOP, 50.0)])
def test_the_measured_temperatures_at_their_inlet(cooling: Cooling, celsius: float) -> None:
    assert gpu_celsius(Limits(RISE_KELVIN[cooling]), 25.0, FULL) == pytest.approx(celsius)


@pytest.mark.parametrize("cooling", [Cooling.EVAPORATIVE, Cooling.DRY, Cooling.CLOSED_LOOP])
def test_nothing_throttles_in_weather_that_the_plant_is_sized_for(cooling: Cooling) -> None:
    limits = Limits(RISE_KELVIN[cooling])
    assert inlet_celsius(cooling, -20.0) == inlet_celsius(cooling, 40.0) == inlet_celsius(cooling, 43.0) - 3.0
    assert highest_clock(limits, inlet_celsius(cooling, 40.0)) == FULL
    assert FULL < highest_clock(limits, inlet_celsius(cooling, 40.0) + limits.failed_unit_kelvin) < LOWEST, "but without its cooling unit"


@given(st.floats(10, 70), st.floats(0, 120), st.floats(50, 120))
def test_the_bound_is_the_highest_clock_that_is_cool_enough(rise: float, inlet: float, throttle: float) -> None:
    limits = Limits(rise, throttle)
    bound = highest_clock(limits, inlet)
    for clock in range(CLOCKS):
        if clock < bound:
            assert gpu_celsius(limits, inlet, clock) > throttle
    assert bound == LOWEST or gpu_celsius(limits, inlet, bound) <= throttle
