"""PUE and WUE by kind of cooling and outdoor temperature: heat, fans and compressors in closed form.

    PUE = 1 + distribution + fans and pumps + part / COP,    COP = efficiency (T_cold / (T_out + lift - T_cold))

with temperatures in kelvin: where the outdoor air cannot take all heat at the temperature at which it comes, compressors lift a part of it,
none up to ``free_celsius`` and all of it ``RAMP_KELVIN`` above. A tower evaporates 1 kg for each 2.442 MJ of heat, 1.47 litres a kWh, for
the part of the heat that is not sensible, and as much again of its blow-down as its cycles of concentration leave.

The form is textbook; the numbers are assumed, within what is published: 1.15 to 1.25 is planned for AI halls with liquid cooling, and
Microsoft's fleet has a WUE of 0.27 to 0.30 litres per kWh (2024 and 2025).
"""

from dataclasses import dataclass
from enum import StrEnum

KELVIN = 273.15
#: Heat of evaporation at 25 C: litres (kilograms) a kWh.
EVAPORATED_LITRES_PER_KWH = 3.6 / 2.442
#: Losses of transformers and of the uninterruptible supply, over IT.
DISTRIBUTION = 0.05
#: Compressors: part of Carnot's COP, how much hotter than the air they reject, and over how many kelvin they take over.
EFFICIENCY, LIFT_KELVIN, RAMP_KELVIN = 0.45, 12.0, 10.0
#: Of a tower: water drawn over water evaporated, which is C / (C - 1) with 5 cycles of concentration.
DRAWN_OVER_EVAPORATED = 1.25
#: Of a tower: the part of the heat that leaves by evaporation at 0 and at 35 C, linear between.
EVAPORATING_COLD, EVAPORATING_HOT, HOT_CELSIUS = 0.6, 0.95, 35.0


class Cooling(StrEnum):
    """How the heat of a site leaves it."""

    FIXED = "fixed"  # the PUE and WUE of the scenario, whatever the weather
    EVAPORATIVE = "evaporative"  # towers
    DRY = "dry"  # air-cooled, with compressors in summer
    CLOSED_LOOP = "closed-loop"  # warm water to the chips, dry coolers outside: nothing evaporates


@dataclass(frozen=True)
class Plant:
    """``fans``: of fans and pumps, over IT. ``supply_celsius``: of what cools the machines."""

    fans: float
    supply_celsius: float
    free_celsius: float


PLANTS = {
    Cooling.EVAPORATIVE: Plant(0.05, 25.0, 28.0),
    Cooling.DRY: Plant(0.06, 25.0, 17.0),
    Cooling.CLOSED_LOOP: Plant(0.06, 40.0, 32.0),
}


def pue_at(cooling: Cooling, celsius: float) -> float:
    """At an outdoor temperature. Not for fixed cooling."""
    plant = PLANTS[cooling]
    part = min(1.0, max(0.0, (celsius - plant.free_celsius) / RAMP_KELVIN))
    lift = max(5.0, celsius + LIFT_KELVIN - plant.supply_celsius)
    cop = EFFICIENCY * (plant.supply_celsius + KELVIN) / lift
    return 1.0 + DISTRIBUTION + plant.fans + part / cop


def wue_at(cooling: Cooling, celsius: float) -> float:
    """Litres per kWh of IT at an outdoor temperature."""
    if cooling != Cooling.EVAPORATIVE:
        return 0.0
    warm = min(1.0, max(0.0, celsius / HOT_CELSIUS))
    part = EVAPORATING_COLD + (EVAPORATING_HOT - EVAPORATING_COLD) * warm
    return EVAPORATED_LITRES_PER_KWH * part * DRAWN_OVER_EVAPORATED
