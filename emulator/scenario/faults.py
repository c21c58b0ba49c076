"""Faults of hosts: the section ``faults``. What each number rests on: `emulator.racks.faults`, docs/faults.md."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from emulator.engine.bounds import CLOCK_END_NS, LONGEST_NS
from emulator.racks.unit_faults import SLOW_RATIO
from emulator.racks.units import RACKS_EACH
from emulator.scenario.section import Int, Rate, Real, Section, as_tuple
from emulator.scenario.units import YEAR, Duration, parse_duration

#: Faults of a script that stands in the scenario; a file may have more.
MOST_SCRIPTED = 10_000


def _as_name(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class ScriptedFault(Section):
    """Something fails at ``at`` for ``duration``, as `gigawatt fault inject KIND NAME` would have it fail."""

    at: Annotated[Duration, Field(ge=0, le=CLOCK_END_NS)]
    kind: Annotated[str, Field(min_length=1, max_length=40)]
    name: Annotated[str, BeforeValidator(_as_name), Field(min_length=1, max_length=1000)]
    cause: Annotated[str, Field(max_length=100)] = ""  # "": injected
    duration: Annotated[Duration, Field(gt=0, le=LONGEST_NS)] = parse_duration("1h")
    remaining: Annotated[Real, Field(ge=0, lt=1)] = 0.0  # share of its capacity that a part of the fabric keeps
    flap: Annotated[Duration, Field(gt=0, le=LONGEST_NS)] | None = None
    every: Annotated[Duration, Field(gt=0, le=LONGEST_NS)] | None = None

    @model_validator(mode="after")
    def _flaps_whole(self) -> Self:
        if (self.flap is None) != (self.every is None):
            raise ValueError("flap and every go together: how long it is down each time, and from one time to the next")
        return self


class UnitFaults(Section):
    """How often a unit of several hosts fails as a whole, and the mean of its repair (default: `emulator.racks.unit_faults`)."""

    per_year: Annotated[Rate, Field(ge=0, le=1e6)] = 0.0
    repair: Annotated[Duration, Field(ge=1, le=3 * YEAR)] | None = None


class CoolingUnitFaults(UnitFaults):
    """The same, of a cooling unit with so many racks of a site; assumed."""

    racks: Annotated[Int, Field(ge=1, le=1_000_000)] = RACKS_EACH["cooling_unit"]


class PowerFeedFaults(UnitFaults):
    """The same, of a power feed."""

    racks: Annotated[Int, Field(ge=1, le=1_000_000)] = RACKS_EACH["power_feed"]


class UnitSettings(Section):
    """Kinds of units. A switch tray and a backplane are those of a domain of several hosts (NVL72)."""

    rack: UnitFaults = UnitFaults()
    leaf: UnitFaults = UnitFaults()
    cooling_unit: CoolingUnitFaults = CoolingUnitFaults()
    power_feed: PowerFeedFaults = PowerFeedFaults()
    switch_tray: UnitFaults = UnitFaults()
    backplane: UnitFaults = UnitFaults()


class LemonSettings(Section):
    """Hosts that fail ``factor`` times as often as others; the rate of faults stays the mean of all."""

    ratio: Annotated[Real, Field(ge=0, le=1)] = 0.0  # RSC: 40 of some 3,000 nodes
    factor: Annotated[Real, Field(ge=1, le=10_000)] = 10.0  # assumed


class NewHostSettings(Section):
    """Of racks that a buildout brings: they fail ``factor`` times as often at first, like others when they have been up for ``settle``."""

    factor: Annotated[Real, Field(ge=1, le=10_000)] = 1.0
    settle: Annotated[Duration, Field(ge=1, le=YEAR)] = parse_duration("30d")  # assumed
    burn_in: Annotated[Duration, Field(ge=0, le=YEAR)] = 0  # that a rack is tried out before it is given to jobs


class SuspectSettings(Section):
    """Hosts that a health check suspects: given to no new job, and repaired when their jobs are gone."""

    per_1000_node_days: Annotated[Rate, Field(ge=0, le=1e6)] = 0.0
    repair: Annotated[Duration, Field(ge=1, le=3 * YEAR)] | None = None  # mean; default: 1 to 4 h


class SlowSettings(Section):
    """Hosts that are slow for a time."""

    per_1000_node_days: Annotated[Rate, Field(ge=0, le=1e6)] = 0.0
    speed: Annotated[Real, Field(ge=0.001, le=1)] = SLOW_RATIO  # GREYHOUND, ATC'25: 1.34 times as long
    duration: Annotated[Duration, Field(ge=1, le=3 * YEAR)] | None = None  # mean; default: 72 min, the same source


class FaultSettings(Section):
    """Host faults: one Poisson process a host, causes by their published shares. And what fails when, by a script."""

    enabled: bool = True  # of those that are drawn
    #: arXiv 2407.21783 (Llama 3), 419 unexpected interruptions in 54 days of 2,048 hosts; RSC-1 has 6.50, RSC-2 2.34 (arXiv 2410.21680).
    host_rate_per_1000_node_days: Annotated[Rate, Field(ge=0, le=1e6)] = 3.79
    scope: Literal["by-cause", "host"] = "by-cause"  # a process, a GPU or a host is down; host: always the whole of it
    #: Mean repair time by cause, instead of the default: `emulator.racks.faults`.
    repair: dict[str, Annotated[Duration, Field(ge=1, le=3 * YEAR)]] = Field(default_factory=dict)
    #: all: also errors of GPU memory that stop no job, or only a process (Delta, SC'25).
    memory_errors: Literal["stopping", "all"] = "stopping"
    lemons: LemonSettings = LemonSettings()
    new_hosts: NewHostSettings = NewHostSettings()
    suspects: SuspectSettings = SuspectSettings()
    slow: SlowSettings = SlowSettings()
    crews: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None  # repairs with hands at once, at a site; default: no limit
    units: UnitSettings = UnitSettings()  # that fail as a whole
    #: Faults one by one; and a CSV file of them: a script, or a log of failures (node, start, end). ``script: FILE`` means the file.
    script: Annotated[tuple[ScriptedFault, ...], BeforeValidator(as_tuple), Field(max_length=MOST_SCRIPTED)] = ()
    script_file: Annotated[str, Field(min_length=1)] | None = None
    script_from: str | None = None  # the date, or Unix time, of the file that is the start

    @model_validator(mode="before")
    @classmethod
    def _script_is_a_file(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("script"), str) and value.get("script_file") is None:
            return {key: one for key, one in value.items() if key != "script"} | {"script_file": value["script"]}
        return value
