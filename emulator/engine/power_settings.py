"""What a scenario says of power that the engine acts on."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from emulator.power.heat import Limits
from emulator.power.series import Series, constant
from emulator.workload.jobs import SECOND

#: The place of the whole facility, where others are numbers of sites.
FACILITY = -1
#: Above every cap.
UNCAPPED = 2**62


class OverCap(StrEnum):
    """What happens when more would be drawn than a cap allows."""

    NONE = "none"  # nothing: the cap is shown, and known to policies
    CLOCK = "clock"  # the GPUs' clock is lowered, and below the lowest jobs are paused
    PAUSE = "pause"  # jobs are paused


@dataclass(frozen=True)
class Reduction:
    """From ``at_ns`` on a place is to draw at most ``to_milliwatts`` at the meter, or ``part`` less than it does then; with neither, what
    was asked of it before is lifted. ``duration_ns``: None is until it is lifted.
    """

    at_ns: int
    place: int = FACILITY
    duration_ns: int | None = None
    part: float | None = None
    to_milliwatts: int | None = None


@dataclass(frozen=True)
class RowCaps:
    """Caps on the hosts of the units of a level, as what feeds them counts: IT power, without PUE and without switches.

    Unit i is called ``names[i]``, has the hosts from ``first_host[i]`` to the next, and draws at most ``milliwatts[i]`` (or UNCAPPED).
    """

    level: str
    names: tuple[str, ...]
    first_host: tuple[int, ...]
    milliwatts: tuple[int, ...]


@dataclass(frozen=True)
class HeatSettings:
    """``inlet``: degrees Celsius of what cools the GPUs, over time. ``unit_first_host``: of each cooling unit."""

    limits: Limits
    inlet: Series[float]
    unit_first_host: tuple[int, ...]


@dataclass(frozen=True)
class BatterySettings:
    """Of each site: ``milliwatts`` at the meter for ``energy`` (milliwatt nanoseconds). ``stored_percent`` of what it takes is stored, the
    whole loss of a round trip: utilities' batteries in the United States gave back 82 % in 2019 (EIA, Power Plant Operations Report).
    """

    milliwatts: int
    energy: int
    cycle_ns: int
    stored_percent: int = 82


@dataclass(frozen=True)
class PowerSettings:
    """``caps``: milliwatts at the meter, by site or FACILITY; of several for one place the least counts. ``raise_ns``: the least time
    between a change of clocks or pauses and a raise. ``pue``, ``wue`` (litres per kWh of IT) and ``carbon`` (grams per kWh at the meter)
    over time.
    """

    over_cap: OverCap = OverCap.NONE
    caps: tuple[tuple[int, Series[int]], ...] = ()
    pue: Series[float] = field(default_factory=lambda: constant(1.0))
    raise_ns: int = 300 * SECOND
    reductions: tuple[Reduction, ...] = ()
    wue: Series[float] = field(default_factory=lambda: constant(0.0))
    carbon: Series[float] = field(default_factory=lambda: constant(0.0))
    rows: RowCaps | None = None
    heat: HeatSettings | None = None  # None: GPUs never throttle
    battery: BatterySettings | None = None  # None: none acts

    @property
    def edges(self) -> list[NDArray[np.int64]]:
        """First hosts of what has clocks of its own, below the sites."""
        found = [] if self.rows is None else [self.rows.first_host]
        found += [] if self.heat is None else [self.heat.unit_first_host]
        return [np.array(hosts, dtype=np.int64) for hosts in found]
