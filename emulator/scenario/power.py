"""The section ``power``: caps, what happens above them, cooling and the weather, carbon, and requests to draw less."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from emulator.engine.bounds import CLOCK_END_NS
from emulator.power.heat import FAILED_UNIT_KELVIN, THROTTLE_CELSIUS
from emulator.scenario.section import Real, Section, as_tuple
from emulator.scenario.units import NANOSECONDS, Duration, Power, parse_duration

DAY = NANOSECONDS["d"]
#: Values of a series, and requests.
MOST_POINTS, MOST_EVENTS = 100_000, 1_000
PUE, WUE = 1.2, 0.27

Celsius = Annotated[Real, Field(ge=-90, le=60)]
GramsPerKwh = Annotated[Real, Field(ge=0, le=10_000)]
CapPower = Annotated[Power, Field(ge=0, le=1e15)]
RowPower = Annotated[Power, Field(ge=1, le=1e15)]


def _as_part(value: Any) -> Any:
    """``25%`` as 0.25."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            pass
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{value!r:.80} is no part: write a percentage, e.g. 25%")


Part = Annotated[float, BeforeValidator(_as_part), Field(ge=0.001, le=1)]


def _as_pairs(value: Any) -> Any:
    return tuple(map(as_tuple, as_tuple(value)))


class SeriesSettings(Section):
    """``points``: pairs of a time and the value from then on; or the same in a CSV file with the columns time and value."""

    path: str | None = None
    repeat: Annotated[Duration, Field(ge=NANOSECONDS["s"], le=CLOCK_END_NS)] | None = None  # begin anew after so long

    @model_validator(mode="after")
    def _has_either(self) -> Self:
        points = getattr(self, "points", ())
        if bool(points) == (self.path is not None):
            raise ValueError("a series has either points or a path")
        times = [time for time, _ in points]
        if points and (times[0] != 0 or any(one >= other for one, other in pairwise(times))):
            raise ValueError("the times of points begin with 0s and rise")
        if points and self.repeat is not None and self.repeat <= times[-1]:
            raise ValueError("repeat is longer than the last time")
        return self


class PowerSeries(SeriesSettings):
    """Of powers."""

    points: Annotated[tuple[tuple[Duration, CapPower], ...], BeforeValidator(_as_pairs), Field(max_length=MOST_POINTS)] = ()


class TemperatureSeries(SeriesSettings):
    """Of degrees Celsius."""

    points: Annotated[tuple[tuple[Duration, Celsius], ...], BeforeValidator(_as_pairs), Field(max_length=MOST_POINTS)] = ()


class CarbonSeries(SeriesSettings):
    """Of grams of CO2 per kWh at the meter."""

    points: Annotated[tuple[tuple[Duration, GramsPerKwh], ...], BeforeValidator(_as_pairs), Field(max_length=MOST_POINTS)] = ()


class PowerEvent(Section):
    """A request of the grid: draw less than at ``at`` by ``reduce``, or at most ``to``, for ``duration``."""

    at: Annotated[Duration, Field(ge=0, le=CLOCK_END_NS)]
    duration: Annotated[Duration, Field(gt=0, le=CLOCK_END_NS)]
    reduce: Part | None = None
    to: CapPower | None = None
    site: Annotated[str, Field(min_length=1, max_length=253)] | None = None  # by default the whole facility

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.reduce is None) == (self.to is None):
            raise ValueError("an event has either reduce (a percentage of what is drawn then) or to (a power)")
        return self


class RowSettings(Section):
    """Caps on what the hosts of each unit of a level draw, as its busbar counts it: IT power, without PUE and without switches."""

    level: Literal["rack", "leaf", "pod", "building"]
    cap: RowPower | None = None  # of each unit
    caps: dict[Annotated[str, Field(min_length=1, max_length=253)], RowPower] = Field(default_factory=dict)  # of single ones, by name

    @model_validator(mode="after")
    def _has_caps(self) -> Self:
        if self.cap is None and not self.caps:
            raise ValueError("rows have no cap; allowed: cap (of each), caps (of single ones by name), or both")
        return self


class HeatSettings(Section):
    """GPUs that get too hot lower their clock (emulator.power.heat); a failed cooling unit heats its racks and does not take them down."""

    throttle_celsius: Annotated[Real, Field(ge=50, le=120)] = THROTTLE_CELSIUS
    failed_unit_kelvin: Annotated[Real, Field(ge=0, le=100)] = FAILED_UNIT_KELVIN  # how much hotter what cools comes then


class SmoothingSettings(Section):
    """What smooths the swings of synchronous jobs, as the summary reports it (emulator.power.swings); it changes no energy, but where the
    battery acts.
    """

    gpu_floor: Annotated[float, BeforeValidator(_as_part), Field(ge=0, le=1)] = 0.0  # of what a GPU draws computing; GB200: 20 to 90 %
    gpu_joules: Annotated[Real, Field(ge=0, le=1e6)] = 0.0  # stored in the power supplies for each GPU; GB300: 65
    peak_reduction: Annotated[float, BeforeValidator(_as_part), Field(ge=0, le=1)] = 0.3  # by these at most; GB300: 30 %
    battery: CapPower = 0.0  # of each site
    battery_duration: Annotated[Duration, Field(ge=0, le=30 * DAY)] = parse_duration("1h")  # for which it gives that
    battery_acts: bool = False  # it carries what is drawn above caps and requests, and charges below them


class PowerSettings(Section):
    """Power of the site. The power of a host is that of its type in the catalog."""

    cap: Annotated[Power, Field(ge=1, le=1e15)] | None = None  # of the whole facility
    site_caps: dict[Annotated[str, Field(min_length=1, max_length=253)], RowPower] = Field(default_factory=dict)  # of a site, by name
    rows: RowSettings | None = None
    #: What happens above a cap, those of sites that jobs are dispatched by (scheduler.sites.caps) too: clock lowers the GPUs' clock and
    #: pauses jobs below the lowest.
    over_cap: Literal["none", "clock", "pause"] = "clock"
    #: Between a change of clocks or pauses and a raise; a cap is met at once. Assumed.
    raise_after: Annotated[Duration, Field(ge=0, le=DAY)] = parse_duration("5m")
    supply: PowerSeries | None = None  # what the facility gets over time: a cap that changes
    events: Annotated[tuple[PowerEvent, ...], BeforeValidator(as_tuple), Field(max_length=MOST_EVENTS)] = ()
    gamma: Annotated[Real, Field(ge=0.01, le=10)] = 1.0  # exponent of utilization in a GPU's draw; 1: linear, as RAPS
    cooling: Literal["fixed", "evaporative", "dry", "closed-loop"] = "fixed"  # fixed: pue and wue_litres_per_kwh; else by the weather
    outdoor: TemperatureSeries | None = None
    heat: HeatSettings | None = None
    pue: Annotated[Real, Field(ge=1, le=5)] = PUE  # liquid-cooled AI: 1.15 to 1.25, a planning value
    wue_litres_per_kwh: Annotated[Real, Field(ge=0, le=100)] = WUE  # Microsoft's 2025 figure
    carbon: CarbonSeries | None = None
    smoothing: SmoothingSettings = SmoothingSettings()

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if (self.cooling == "fixed") != (self.outdoor is None):
            raise ValueError("cooling by the weather and outdoor go together: the one needs the other")
        if self.cooling != "fixed" and (self.pue, self.wue_litres_per_kwh) != (PUE, WUE):
            raise ValueError(f"cooling {self.cooling} has its own pue and wue_litres_per_kwh; allowed: neither (--set power.pue=null)")
        if self.heat is not None and self.cooling == "fixed":
            raise ValueError("heat needs cooling by the weather; allowed: cooling evaporative, dry or closed-loop, with outdoor")
        if self.smoothing.battery_acts and (self.over_cap == "none" or not self.smoothing.battery):
            raise ValueError("smoothing.battery_acts needs a battery, and an over_cap; allowed: clock, pause")
        if self.over_cap == "none" and (self.events or self.supply is not None or self.rows is not None):
            raise ValueError("events, supply and rows need an over_cap; allowed: clock, pause")
        return self


#: The keys of the section that are series.
SERIES = ("supply", "outdoor", "carbon")
