"""The section ``power``: series inline and in files, events, cooling, and what people get wrong."""

from pathlib import Path

import pytest

from emulator.engine.power_settings import FACILITY, BatterySettings, OverCap, PowerSettings, Reduction, RowCaps
from emulator.power.cooling import Cooling, pue_at, wue_at
from emulator.power.heat import Limits
from emulator.scenario import ScenarioError, build_cluster, load
from emulator.scenario.build_power import build_power
from emulator.scenario.files import as_json, files_of
from emulator.scenario.models import Scenario

HOUR = 3600 * 10**9
TEXT = """
name: small
cluster: {host: hgx-h100, hosts: 8, hosts_per_rack: 4, switch: qm9700, site: memphis}
workload: {kind: none}
"""


def built(tmp_path: Path, power: str, *overrides: str) -> PowerSettings:
    file = tmp_path / "small.yaml"
    file.write_text(f"{TEXT}power: {power}\n")
    scenario = load(file, overrides)
    assert Scenario.model_validate(as_json(scenario)) == scenario
    return build_power(scenario, build_cluster(scenario))


def test_a_cap_acts_by_the_clock_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    made = built(tmp_path, "{cap: 100kW}")
    assert (made.over_cap, [(place, series.values) for place, series in made.caps]) == (OverCap.CLOCK, [(FACILITY, (10**8,))])
    assert built(tmp_path, "{cap: 1W, over_cap: none}").over_cap == OverCap.NONE


def test_series_of_all_kinds(tmp_path: Path) -> None:
    (tmp_path / "wind.csv").write_text("time,value\n0,90000\n1h,80kW\n7200,70.5kW\n")
    made = built(
        tmp_path,
        "{supply: {path: wind.csv, repeat: 3h}, cooling: evaporative, outdoor: {points: [[0s, 10], [12h, 30]], repeat: 24h},"
        " carbon: {points: [[0s, 300.5]]}}",
    )
    ((place, supply),) = made.caps
    assert (place, supply.times_ns, supply.values, supply.period_ns) == (
        FACILITY,
        (0, HOUR, 2 * HOUR),
        (90_000_000, 80_000_000, 70_500_000),
        3 * HOUR,
    )
    assert [made.pue.at(at * HOUR) for at in (0, 12, 24)] == [pue_at(Cooling.EVAPORATIVE, one) for one in (10.0, 30.0, 10.0)]
    assert made.wue.at(13 * HOUR) == wue_at(Cooling.EVAPORATIVE, 30.0)
    assert made.carbon.at(0) == 300.5
    assert [file.name for file in files_of(load(tmp_path / "small.yaml"))] == ["wind.csv"]


def test_events_and_the_caps_of_sites(tmp_path: Path) -> None:
    made = built(
        tmp_path,
        "{events: [{at: 1h, duration: 3h, reduce: 25%}, {at: 2h, duration: 1h, to: 50kW, site: memphis}]}",
        "scheduler.sites.caps={memphis: 90kW}",
    )
    assert made.reductions == (Reduction(HOUR, FACILITY, 3 * HOUR, 0.25), Reduction(2 * HOUR, 0, HOUR, None, 50_000_000))
    assert [(place, series.values) for place, series in made.caps] == [(0, (90_000_000,))]


def test_caps_of_rows_and_of_a_site(tmp_path: Path) -> None:
    made = built(tmp_path, "{site_caps: {memphis: 70kW}, rows: {level: rack, cap: 30kW, caps: {r00001: 28.5kW}}}")
    assert [(place, series.values) for place, series in made.caps] == [(0, (70_000_000,))]
    assert made.rows == RowCaps("rack", ("r00000", "r00001"), (0, 4), (30_000_000, 28_500_000))
    single = built(tmp_path, "{rows: {level: pod, caps: {p000: 60kW}}}").rows
    assert single is not None
    assert (single.names, single.milliwatts) == (("p000",), (60_000_000,))


def test_heat_follows_the_weather(tmp_path: Path) -> None:
    weather = "outdoor: {points: [[0s, 20], [12h, 45]], repeat: 24h}"
    made = built(tmp_path, f"{{cooling: dry, {weather}, heat: {{throttle_celsius: 80}}}}", "faults.units.cooling_unit.racks=1").heat
    assert made is not None
    assert (made.limits, made.unit_first_host) == (Limits(47.0, 80.0, 25.0), (0, 4))
    assert [made.inlet.at(at * HOUR) for at in (0, 12, 24)] == [25.0, 30.0, 25.0]
    assert built(tmp_path, f"{{cooling: dry, {weather}}}").heat is None


def test_a_battery_acts_where_it_is_told_to(tmp_path: Path) -> None:
    text = "{cap: 90kW, smoothing: {battery: 20kW, battery_duration: 30m"
    assert built(tmp_path, f"{text}, battery_acts: true}}}}", "clock.cycle=5s").battery == BatterySettings(
        20_000_000, 10_000_000 * HOUR, 5 * 10**9
    )
    assert built(tmp_path, f"{text}}}}}").battery is None


@pytest.mark.parametrize(
    ("power", "told"),
    [
        ("{smoothing: {battery_acts: true}}", r"power: smoothing.battery_acts needs a battery, and an over_cap"),
        ("{over_cap: none, smoothing: {battery: 1MW, battery_acts: true}}", r"smoothing.battery_acts needs a battery, and an over_cap"),
        ("{smoothing: {battery: 1MW, battery_duration: 5s, battery_acts: true}}", r"battery_duration: is 5s; allowed where it acts: two"),
        ("{heat: {}}", r"power: heat needs cooling by the weather; allowed: cooling evaporative"),
        ("{heat: {throttle_celsius: 20}}", r"power.heat.throttle_celsius: .*greater than or equal to 50"),
        ("{heat: {failed_unit_kelvin: lots}}", r"power.heat.failed_unit_kelvin: "),
        ("{rows: {level: rack}}", r"power.rows: rows have no cap; allowed: cap"),
        ("{rows: {level: host, cap: 5kW}}", r"power.rows.level: .*'rack', 'leaf', 'pod' or 'building'"),
        ("{rows: {level: building, cap: 5MW}}", r"power.rows.level: building: this cluster has none of whole racks; allowed: rack, leaf"),
        ("{rows: {level: rack, cap: 1kW}}", r"power.rows.cap: is 1,000W; allowed: at least [0-9,]+W, which r00000 draws"),
        ("{rows: {level: rack, caps: {r00001: 1kW}}}", r"power.rows.caps.r00001: is 1,000W; allowed: at least"),
        ("{rows: {level: rack, caps: {r00002: 40kW}}}", r"power.rows.caps: r00002 is no rack of this cluster; allowed: r00000 to r00001"),
        ("{rows: {level: rack, cap: 30}}", r"power.rows.cap: 30 is not a power"),
        ("{over_cap: none, rows: {level: rack, cap: 30kW}}", r"rows need an over_cap"),
        ("{site_caps: {utah: 1MW}}", r"power.site_caps.utah: is no site of this cluster; allowed: memphis"),
        ("{site_caps: {memphis: 1kW}}", r"power.site_caps.memphis: is 1,000W; allowed: at least [0-9,]+W"),
        ("{cap: 1kW}", r"power.cap: is 1,000W; allowed: at least [0-9,]+W, which is drawn while nothing runs, or over_cap: none"),
        ("{over_cap: throttle}", r"power.over_cap: .*'none', 'clock' or 'pause'"),
        ("{supply: {path: none.csv}}", r"power.supply.path: .*none.csv: cannot be read: No such file"),
        ("{supply: {path: .}}", r"power.supply.path: .*cannot be read: it is a directory"),
        ("{supply: {}}", r"power.supply: a series has either points or a path"),
        ("{supply: {points: [[1h, 1MW]]}}", r"power.supply: the times of points begin with 0s and rise"),
        ("{supply: {points: [[0s, 1MW], [1h, 2MW]], repeat: 1h}}", r"power.supply: repeat is longer than the last time"),
        ("{supply: {points: [[0s, 5]]}}", r"power.supply.points.0.1: 5 is not a power"),
        ("{supply: {points: 5}}", r"power.supply.points: 5 is not a list"),
        ("{carbon: {points: [[0s, -1]]}}", r"power.carbon.points.0.1: .*greater than or equal to 0"),
        ("{over_cap: none, events: [{at: 0s, duration: 1h, reduce: 10%}]}", r"events, supply and rows need an over_cap"),
        ("{events: [{at: 0s, duration: 1h}]}", r"power.events.0: an event has either reduce .* or to"),
        ("{events: [{at: 0s, duration: 1h, reduce: 25, to: 1MW}]}", r"power.events.0.reduce: "),
        ("{events: [{at: 0s, duration: 1h, reduce: lots}]}", r"power.events.0.reduce: 'lots' is no part: write a percentage, e.g. 25%"),
        ("{events: [{at: 0s, duration: 1h, reduce: 5%, site: mars}]}", r"power.events.0.site: 'mars' is no site of .*; allowed: memphis"),
        ("{cooling: dry}", r"power: cooling by the weather and outdoor go together"),
        ("{cooling: dry, pue: 1.3, outdoor: {points: [[0s, 20]]}}", r"power: cooling dry has its own pue and wue_litres_per_kwh"),
        ("{outdoor: {points: [[0s, 99]]}, cooling: dry}", r"power.outdoor.points.0.1: .*less than or equal to 60"),
        ("{smoothing: {gpu_floor: 150%}}", r"power.smoothing.gpu_floor: 150% is too much; allowed: at most 100%"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_where(tmp_path: Path, power: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        built(tmp_path, power)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: the header is missing; allowed: time,value"),
        ("hour,load\n0,1\n", "line 1: the header is hour,load; allowed: time,value"),
        ("time,value\n0,1MW,2\n", "line 2: "),
        ("time,value\nsoon,1MW\n", "line 2: 'soon' is not a duration"),
        ("time,value\n0,1MW\n1h,much\n", "line 3: .*'much' is not a power"),
        ("time,value\n5,1MW\n", "a series has a value at 0"),
        ("time,value\n0,1MW\n0,2MW\n", "the times of a series rise"),
        ("time,value\n", "a series has a value at 0"),
        ("time,value\n0,nanW\n", "line 2: "),
    ],
)
def test_a_file_that_is_no_series(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "wind.csv").write_text(text)
    with pytest.raises(ScenarioError, match=f"power.supply: .*wind.csv: {told}"):
        built(tmp_path, "{supply: {path: wind.csv}}")


def test_a_file_of_no_text(tmp_path: Path) -> None:
    (tmp_path / "wind.csv").write_bytes(b"\xff\xfe\x00time")
    with pytest.raises(ScenarioError, match="is no CSV file"):
        built(tmp_path, "{supply: {path: wind.csv}}")
