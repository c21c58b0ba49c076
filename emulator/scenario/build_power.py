"""The section ``power`` as the engine takes it, with the caps of ``scheduler.sites`` and the series in files."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from emulator.engine.power_settings import FACILITY, BatterySettings, HeatSettings, OverCap, PowerSettings, Reduction
from emulator.power.cooling import Cooling, pue_at, wue_at
from emulator.power.facility import facility_milliwatts
from emulator.power.heat import RISE_KELVIN, Limits, inlet_celsius
from emulator.power.series import Series, constant
from emulator.racks.units import units
from emulator.scenario.build_rows import row_caps
from emulator.scenario.load import ScenarioError
from emulator.scenario.models import Scenario
from emulator.scenario.power import MOST_POINTS, CapPower, CarbonSeries, Celsius, GramsPerKwh, PowerSeries, TemperatureSeries
from emulator.scenario.units import parse_duration
from emulator.scheduler.sites import standing_milliwatts
from topology.cluster import Cluster
from topology.files import read_whole

#: Bytes of a file with a series.
MOST_BYTES = 16_000_000
_COLUMNS = ["time", "value"]
_SeriesSettings = PowerSeries | TemperatureSeries | CarbonSeries


def build_power(scenario: Scenario, cluster: Cluster) -> PowerSettings:
    """Raises ScenarioError naming the field: a cap below what is drawn while nothing runs, an unknown site, a file that is no series."""
    given = scenario.power
    outdoor = _series(scenario, "outdoor", given.outdoor, TypeAdapter(Celsius), float)
    cooling, pue, wue = Cooling(given.cooling), constant(given.pue), constant(given.wue_litres_per_kwh)
    if outdoor is not None:
        pue = Series(outdoor.times_ns, tuple([pue_at(cooling, celsius) for celsius in outdoor.values]), outdoor.period_ns)
        wue = Series(outdoor.times_ns, tuple([wue_at(cooling, celsius) for celsius in outdoor.values]), outdoor.period_ns)
    carbon = carbon_series(scenario)
    supply = _series(scenario, "supply", given.supply, TypeAdapter(CapPower), lambda watts: round(watts * 1000))
    caps: list[tuple[int, Series[int]]] = []
    if given.cap is not None:
        caps.append((FACILITY, constant(round(given.cap * 1000))))
    if supply is not None:
        caps.append((FACILITY, supply))
    for name, watts in ({} if scenario.scheduler.sites is None else scenario.scheduler.sites.caps).items():
        caps.append((cluster.site_names.index(name), constant(round(watts * 1000))))
    caps += _site_caps(scenario, cluster, max(pue.values))
    over_cap = OverCap(given.over_cap)
    if over_cap != OverCap.NONE and given.cap is not None and cluster_standing_milliwatts(cluster, max(pue.values)) > given.cap * 1000:
        least = f"at least {cluster_standing_milliwatts(cluster, max(pue.values)) / 1000:,.0f}W, which is drawn while nothing runs"
        raise ScenarioError(f"scenario {scenario.name}: power.cap: is {given.cap:,.0f}W; allowed: {least}, or over_cap: none")
    return PowerSettings(
        over_cap,
        tuple(caps),
        pue,
        given.raise_after,
        _reductions(scenario, cluster),
        wue,
        constant(0.0) if carbon is None else carbon,
        row_caps(scenario, cluster),
        None if outdoor is None else _heat(scenario, cluster, cooling, outdoor),
        _battery(scenario),
    )


def _battery(scenario: Scenario) -> BatterySettings | None:
    given, cycle_ns = scenario.power.smoothing, scenario.clock.cycle
    if not given.battery_acts:
        return None
    if given.battery_duration < 2 * cycle_ns:
        field = f"scenario {scenario.name}: power.smoothing.battery_duration"
        least = f"two scheduling cycles ({cycle_ns / 5e8:g}s) or more"
        raise ScenarioError(f"{field}: is {given.battery_duration / 1e9:g}s; allowed where it acts: {least}")
    milliwatts = round(given.battery * 1000)
    return BatterySettings(milliwatts, milliwatts * given.battery_duration, cycle_ns)


def _heat(scenario: Scenario, cluster: Cluster, cooling: Cooling, outdoor: Series[float]) -> HeatSettings | None:
    given = scenario.power.heat
    if given is None:
        return None
    inlet = Series(outdoor.times_ns, tuple([inlet_celsius(cooling, celsius) for celsius in outdoor.values]), outdoor.period_ns)
    found = units(cluster, "cooling_unit", {"cooling_unit": scenario.faults.units.cooling_unit.racks})
    limits = Limits(RISE_KELVIN[cooling], given.throttle_celsius, given.failed_unit_kelvin)
    return HeatSettings(limits, inlet, tuple(found.first_host.tolist()))


def _site_caps(scenario: Scenario, cluster: Cluster, pue: float) -> list[tuple[int, Series[int]]]:
    found, standing = list[tuple[int, Series[int]]](), standing_milliwatts(cluster).tolist()
    for name, watts in scenario.power.site_caps.items():
        field = f"scenario {scenario.name}: power.site_caps.{name:.80}"
        if name not in cluster.site_names:
            raise ScenarioError(f"{field}: is no site of this cluster; allowed: {', '.join(cluster.site_names)}")
        site = cluster.site_names.index(name)
        if scenario.power.over_cap != "none" and facility_milliwatts(standing[site], pue) > watts * 1000:
            least = f"at least {facility_milliwatts(standing[site], pue) / 1000:,.0f}W, which it draws while nothing runs"
            raise ScenarioError(f"{field}: is {watts:,.0f}W; allowed: {least}, or over_cap: none")
        found.append((site, constant(round(watts * 1000))))
    return found


def carbon_series(scenario: Scenario) -> Series[float] | None:
    """Grams of CO2 per kWh at the meter; None where the scenario says nothing of it. Raises ScenarioError."""
    return _series(scenario, "carbon", scenario.power.carbon, TypeAdapter(GramsPerKwh), float)


def cluster_standing_milliwatts(cluster: Cluster, pue: float) -> int:
    """What the facility draws while no job runs."""
    return facility_milliwatts(int(standing_milliwatts(cluster).sum()), pue)


def _reductions(scenario: Scenario, cluster: Cluster) -> tuple[Reduction, ...]:
    found = []
    for number, event in enumerate(scenario.power.events):
        if event.site is not None and event.site not in cluster.site_names:
            text = f"{event.site!r:.80} is no site of this cluster; allowed: {', '.join(cluster.site_names)}"
            raise ScenarioError(f"scenario {scenario.name}: power.events.{number}.site: {text}")
        place = FACILITY if event.site is None else cluster.site_names.index(event.site)
        to = None if event.to is None else round(event.to * 1000)
        found.append(Reduction(event.at, place, event.duration, event.reduce, to))
    return tuple(found)


def _series(
    scenario: Scenario, field: str, given: _SeriesSettings | None, value: TypeAdapter[Any], whole: Callable[[Any], Any]
) -> Series[Any] | None:
    """None where it is not given."""
    if given is None:
        return None
    points = given.points
    try:
        if given.path is not None:
            points = _read(given.path, value, "W" if field == "supply" else "")
        return Series(tuple([time for time, _ in points]), tuple([whole(one) for _, one in points]), given.repeat or 0)
    except OSError as error:
        reason = getattr(error, "strerror", None) or error
        raise ScenarioError(f"scenario {scenario.name}: power.{field}.path: {given.path}: cannot be read: {reason}") from None
    except ValueError as error:
        raise ScenarioError(f"scenario {scenario.name}: power.{field}: {given.path}: {error}") from None


def _read(path: str, value: TypeAdapter[Any], unit: str) -> tuple[Any, ...]:
    """The points in a CSV file. Times are durations, or numbers of seconds; a value that is a number has ``unit``. Raises ValueError
    naming the line.
    """
    try:
        rows = list(csv.reader(io.StringIO(read_whole(Path(path), MOST_BYTES).decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"is no CSV file: {error}") from None
    if not rows or [name.strip() for name in rows[0]] != _COLUMNS:
        raise ValueError(f"line 1: the header is {','.join(rows[0]) if rows else 'missing'!s:.80}; allowed: {','.join(_COLUMNS)}")
    if len(rows) > MOST_POINTS + 1:
        raise ValueError(f"has {len(rows) - 1:,} values; allowed: at most {MOST_POINTS:,}")
    points = []
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        try:
            time, given = row
            points.append((_time(time.strip()), value.validate_python(_number(given.strip(), unit))))
        except ValidationError as error:
            raise ValueError(f"line {line}: {error.errors()[0]['msg']}, got {given!r:.80}") from None
        except ValueError as error:
            raise ValueError(f"line {line}: {error}") from None
    return tuple(points)


def _time(text: str) -> int:
    return parse_duration(f"{text}s" if text.replace(".", "", 1).isdecimal() else text)


def _number(text: str, unit: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return f"{text}{unit}" if unit else number
