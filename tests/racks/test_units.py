"""Groups of hosts that fail together: which hosts, what they are called, how often."""

import numpy as np
import pytest

from emulator.racks.faults import CAUSES, Scope
from emulator.racks.unit_faults import OF_HOSTS, OF_KIND, YEAR_NS, UnitFaultSettings, drawn_unit_faults
from emulator.racks.units import KINDS, Units, units
from tests.engine.small import clos
from topology.lookup import UnknownName

CLUSTER = clos(72, host="gb200-nvl72", hosts_per_rack=18)
EACH = {"cooling_unit": 3, "power_feed": 2}


def spans(found: Units) -> list[tuple[int, int]]:
    return list(zip(found.first_host.tolist(), found.end_host.tolist(), strict=True))


def test_which_hosts_a_unit_has() -> None:
    racks = [(0, 18), (18, 36), (36, 54), (54, 72)]
    assert spans(units(CLUSTER, "rack")) == racks
    assert spans(units(CLUSTER, "switch_tray")) == racks
    assert spans(units(CLUSTER, "cooling_unit", EACH)) == [(0, 54), (54, 72)]
    assert spans(units(CLUSTER, "power_feed", EACH)) == [(0, 36), (36, 72)]
    assert len(units(clos(8), "backplane")) == 0, "domains of one host have none"


@pytest.mark.parametrize("kind", KINDS)
def test_each_unit_is_found_by_its_name_and_its_number(kind: str) -> None:
    found = units(CLUSTER, kind, EACH)
    names = [found.name(number) for number in range(len(found))]
    assert len(set(names)) == len(names) > 0
    for number, name in enumerate(names):
        assert found.find(name) == found.find(str(number)) == number
    for wrong in (str(len(found)), "-1", "", "蛇", names[0] + "x", "9" * 30):
        with pytest.raises(UnknownName):
            found.find(wrong)


def test_faults_come_at_the_given_rate_and_strike_units_evenly() -> None:
    """Within four standard deviations of Poisson, over 40 seeds of a year."""
    settings = UnitFaultSettings(per_unit_year={"rack": 6.0, "power_feed": 2.0})
    by_kind = {kind: units(CLUSTER, kind, EACH) for kind in ("rack", "power_feed")}
    counts: dict[tuple[str, int], int] = {}
    for seed in range(40):
        last = 0
        for fault in drawn_unit_faults(settings, seed, by_kind):
            assert fault.time_ns >= last
            last = fault.time_ns
            if fault.time_ns > YEAR_NS:
                break
            counts[fault.kind, fault.number] = counts.get((fault.kind, fault.number), 0) + 1
            cause, (low, high) = OF_KIND[fault.kind]
            assert CAUSES[fault.cause].name == cause
            assert low * 1e9 <= fault.repair_ns <= high * 1e9
    for (kind, _), count in counts.items():
        expected = 40 * settings.per_unit_year[kind]
        assert abs(count - expected) < 4 * np.sqrt(expected)
    assert len(counts) == 6


def test_every_kind_of_unit_has_a_cause_that_takes_whole_hosts() -> None:
    scopes = {cause.name: cause.scope for cause in CAUSES}
    assert {scopes[OF_KIND[kind][0]] for kind in KINDS} == {Scope.HOST}
    assert set(OF_KIND) == {*KINDS, *OF_HOSTS}


@pytest.mark.parametrize("wrong", [{"per_unit_year": {"moon": 1.0}}, {"per_unit_year": {"rack": -1.0}}, {"repair_seconds": {"rack": 0.0}}])
def test_wrong_settings(wrong: dict[str, dict[str, float]]) -> None:
    with pytest.raises(ValueError, match=r"faults\.units\."):
        UnitFaultSettings(**wrong)  # type: ignore[arg-type]
