"""How hot GPUs are, and the highest clock at which they stay below where they throttle: a thermal resistance, in steady state.

    T = T_inlet + rise P / TDP,    P / TDP = idle + (1 - idle) dynamic(clock)

of a GPU that computes all the time. ``rise`` is its thermal resistance times its TDP. Eight H100 (700 W) under load stood at up to 72 C in
air and at up to 50 C with cold plates (Latif et al., arXiv 2507.16781): 47 and 25 K, 0.067 and 0.036 K/W, above an inlet assumed at 25 C.
NVML lowers clocks above the maximum operating temperature (software thermal slowdown), which nvidia-smi has at 87 C for the 700 W Hopper
part, idle at 75 W.

Assumed: hotter GPUs have better cold plates, so their rise at their own TDP is the same; a plant is sized for 40 C outdoors, and above it
everything comes hotter by as much; when one cooling unit fails, the units beside it carry its heat at an inlet 25 K hotter. GPUs follow
within a minute (their time constants are seconds, those of a loop minutes), so from cycle to cycle only the steady state counts.
"""

from dataclasses import dataclass

from emulator.power.clocks import CLOCKS, DYNAMIC_RATIO, FULL, LOWEST
from emulator.power.cooling import PLANTS, Cooling

THROTTLE_CELSIUS = 87.0
FAILED_UNIT_KELVIN = 25.0
#: Above this outdoors, a plant cannot hold the temperature that it supplies.
SIZED_FOR_CELSIUS = 40.0
#: Of a GPU's TDP, when idle.
IDLE_RATIO = 75.0 / 700.0
RISE_KELVIN = {Cooling.EVAPORATIVE: 47.0, Cooling.DRY: 47.0, Cooling.CLOSED_LOOP: 25.0}


@dataclass(frozen=True)
class Limits:
    """``rise_kelvin``: of a GPU at its TDP over its inlet. ``failed_unit_kelvin``: how much hotter that is without its cooling unit."""

    rise_kelvin: float
    throttle_celsius: float = THROTTLE_CELSIUS
    failed_unit_kelvin: float = FAILED_UNIT_KELVIN


def inlet_celsius(cooling: Cooling, outdoor_celsius: float) -> float:
    """Of the air or water that comes to the GPUs. Not for fixed cooling."""
    return PLANTS[cooling].supply_celsius + max(0.0, outdoor_celsius - SIZED_FOR_CELSIUS)


def gpu_celsius(limits: Limits, inlet: float, clock: int) -> float:
    """Of a GPU that computes all the time at a clock."""
    return inlet + limits.rise_kelvin * (IDLE_RATIO + (1.0 - IDLE_RATIO) * DYNAMIC_RATIO[clock])


def highest_clock(limits: Limits, inlet: float) -> int:
    """At which it does not throttle; the lowest where it does at every clock."""
    return next((clock for clock in range(FULL, CLOCKS) if gpu_celsius(limits, inlet, clock) <= limits.throttle_celsius), LOWEST)
