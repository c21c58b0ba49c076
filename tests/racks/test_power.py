"""Power against the catalog and energy against whole numbers of any size."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.power.facility import facility_milliwatts, water_litres
from emulator.racks.energy import Meters
from emulator.racks.power import component_watts, gpu_milliwatts, idle_milliwatts
from topology import catalog

H100 = catalog.host("hgx-h100")
YEAR_NS = 365 * 86_400 * 10**9


def test_a_host_at_full_utilization_draws_its_measured_maximum() -> None:
    full = idle_milliwatts(H100) + H100.gpus * gpu_milliwatts(H100, 1.0)
    assert full == pytest.approx(H100.peak_watts * 1000, abs=H100.gpus / 2)
    assert gpu_milliwatts(H100, 0.0) == 0


def test_gamma_bends_the_curve_between_the_ends() -> None:
    assert gpu_milliwatts(H100, 0.25, gamma=0.5) == pytest.approx(gpu_milliwatts(H100, 0.5), abs=1)
    assert gpu_milliwatts(H100, 1.0, gamma=0.5) == gpu_milliwatts(H100, 1.0)


@pytest.mark.parametrize("utilization", [-0.1, 1.1, float("nan")])
def test_utilization_is_a_ratio(utilization: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        gpu_milliwatts(H100, utilization)


def test_colossus_evaporates_a_million_gallons_a_day() -> None:
    """150 MW for a day at 1.05 litres per kWh (facts of the site; 3.785 litres a gallon)."""
    assert water_litres(150e6 * 86_400, 1.05) / 3.785 == pytest.approx(1e6, rel=0.01)
    assert facility_milliwatts(125_000_000_000, 1.2) == 150_000_000_000


def test_power_and_energy_of_a_day() -> None:
    """150 MW is power: "150 MW per hour" is none. In a day it is 3.6 GWh, and 500 TWh a year would be 57 GW."""
    assert pytest.approx(3.6) == 150e6 * 86_400 / 3.6e12
    assert pytest.approx(57e9, rel=0.01) == 500e12 / 8760
    assert water_litres(3.6e6, 1.05) == 1.05


def test_the_nodes_of_frontier() -> None:
    """RAPS' figures, 7.28 and 28.20 MW, are those of its 9,472 slots; 9,408 nodes are installed, and draw 0.6 % less."""
    node, rosetta = catalog.host("frontier-node"), catalog.switch("rosetta")
    slots = component_watts(node, 74 * 128, 74 * 32, rosetta.watts, 25)
    installed = component_watts(node, 9_408, 74 * 32, rosetta.watts, 25)
    assert [round(watts / 1e6, 2) for watts in slots] == [7.28, 28.20]
    assert [round(watts / 1e6, 2) for watts in installed] == [7.24, 28.02]


changes = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-500_000_000, 500_000_000), st.integers(0, 20 * YEAR_NS)), min_size=1, max_size=30
)


@given(changes, st.integers(0, 10**10), st.randoms(use_true_random=False))
def test_energy_is_exact_in_any_order_for_years(rows: list[tuple[int, int, int]], extra_ns: int, random: Any) -> None:
    """Half a megawatt a change, for 20 years: far beyond 64 bits in milliwatt nanoseconds."""
    end = max(time for _, _, time in rows) + extra_ns
    at_once, piecemeal = Meters(3), Meters(3)
    at_once.change(*(np.array(column) for column in zip(*rows, strict=True)))
    shuffled = rows[:]
    random.shuffle(shuffled)
    for row in shuffled:
        piecemeal.change(*(np.array([value]) for value in row))
    assert at_once.joules(end).tobytes() == piecemeal.joules(end).tobytes()
    for meter in range(3):
        exact = sum((Fraction(milliwatts * (end - time), 10**12) for m, milliwatts, time in rows if m == meter), Fraction(0))
        assert float(at_once.joules(end)[meter]) == pytest.approx(float(exact), rel=1e-15, abs=1e-12)


def test_no_overflow_among_many_equal_changes() -> None:
    """Partial sums wrap around; the answer does not."""
    count, at = 100_000, 3 * YEAR_NS + 999_999_999
    meters = Meters(1)
    meters.change(np.zeros(count, np.int64), np.full(count, 150_000_000), np.full(count, at))
    meters.change(np.zeros(count - 1, np.int64), np.full(count - 1, -150_000_000), np.full(count - 1, at + 1))
    assert meters.joules(at + 10**9)[0] == pytest.approx(150_000.0 + (count - 1) * 150_000_000 * 1e-12, rel=1e-15)
