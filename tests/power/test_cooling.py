"""PUE and WUE by the weather: shapes, and within what is published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.power.cooling import EVAPORATED_LITRES_PER_KWH, PLANTS, Cooling, pue_at, wue_at
from emulator.power.facility import facility_milliwatts, it_cap_milliwatts

weather = st.floats(-40.0, 55.0)


@given(kind=st.sampled_from(sorted(PLANTS)), cold=weather, warm=weather)
def test_heat_never_helps(kind: Cooling, cold: float, warm: float) -> None:
    cold, warm = sorted((cold, warm))
    assert 1.0 < pue_at(kind, cold) <= pue_at(kind, warm) < 1.6
    assert 0.0 <= wue_at(kind, cold) <= wue_at(kind, warm)


def test_free_cooling_is_within_the_planning_range_for_liquid_cooling() -> None:
    """1.15 to 1.25, and less than that at best."""
    assert pue_at(Cooling.CLOSED_LOOP, 20.0) == pytest.approx(1.11)
    assert 1.15 < pue_at(Cooling.CLOSED_LOOP, 40.0) < 1.25
    assert 1.15 < pue_at(Cooling.DRY, 25.0) < 1.25


def test_only_towers_evaporate() -> None:
    """All of a kWh of heat evaporates 1.47 litres; a closed loop none (Abilene)."""
    assert pytest.approx(1.474, abs=0.001) == EVAPORATED_LITRES_PER_KWH
    assert wue_at(Cooling.CLOSED_LOOP, 40.0) == wue_at(Cooling.DRY, 40.0) == 0.0
    assert 1.0 < wue_at(Cooling.EVAPORATIVE, 10.0) < wue_at(Cooling.EVAPORATIVE, 50.0) == pytest.approx(1.474 * 0.95 * 1.25, rel=1e-3)


@given(cap=st.integers(0, 10**13), pue=st.floats(1.0, 5.0))
def test_what_a_cap_leaves_is_the_most(cap: int, pue: float) -> None:
    it = it_cap_milliwatts(cap, pue)
    assert facility_milliwatts(it, pue) <= cap < facility_milliwatts(it + 1, pue)
