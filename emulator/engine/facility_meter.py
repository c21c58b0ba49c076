"""Energy at the meter, water and carbon of each site: IT energy times what each of its joules costs at that time, in whole numbers.

The factors change only at cycles, and then the energy up to there is booked at the old ones, so the sums are exact whatever is read when.
"""

from typing import NamedTuple

from emulator.engine.meter import Integral, Meter

#: Milliwatt nanoseconds, which are picojoules, of a kilowatt-hour; and of a joule.
_PER_KWH, _PER_JOULE = 3.6e18, 1e12
_MILLION = 1_000_000


class Factors(NamedTuple):
    """In millionths: energy at the meter over that of IT; litres per kWh of IT; and grams of CO2 per kWh at the meter."""

    pue: int
    wue: int
    carbon: int


def factors(pue: float, wue_litres_per_kwh: float, carbon_grams_per_kwh: float) -> Factors:
    """To the nearest millionth."""
    return Factors(round(pue * _MILLION), round(wue_litres_per_kwh * _MILLION), round(carbon_grams_per_kwh * _MILLION))


class Used(NamedTuple):
    """By one site, from 0 on: whole numbers of picojoules, and of millionths of them, of litres and of grams."""

    it: int
    facility: int
    water: int
    carbon: int

    @property
    def facility_joules(self) -> float:
        return self.facility / (_PER_JOULE * _MILLION)

    @property
    def water_litres(self) -> float:
        return self.water / (_PER_KWH * _MILLION)

    @property
    def carbon_grams(self) -> float:
        return self.carbon / (_PER_KWH * _MILLION * _MILLION)


def total(used: list[Used]) -> Used:
    """Of several sites."""
    return Used(*[sum(column) for column in zip(*used, strict=True)])


class FacilityMeter:
    """What each site has used. ``turn`` where factors change. ``net`` is what batteries take at its meter, less what they give."""

    def __init__(self, meter: Meter, now: Factors) -> None:
        self._meter, self._now = meter, now
        self._booked = [Used(0, 0, 0, 0) for _ in meter.hosts]
        self.net = [Integral() for _ in meter.hosts]  # milliwatts
        self._net_booked = [0 for _ in meter.hosts]

    def turn(self, at_ns: int, now: Factors) -> None:
        """From ``at_ns`` on the factors are these; nothing has changed power after it."""
        self._booked = [self.used(site, at_ns) for site in range(len(self._booked))]
        self._net_booked = [net.until(at_ns) for net in self.net]
        self._now = now

    def used(self, site: int, at_ns: int) -> Used:
        """By a site from 0 to ``at_ns``, which no change lies after."""
        before, now = self._booked[site], self._now
        it = self._meter.site_milliwatt_ns(site, at_ns)
        facility = (it - before.it) * now.pue + (self.net[site].until(at_ns) - self._net_booked[site]) * _MILLION
        return Used(it, before.facility + facility, before.water + (it - before.it) * now.wue, before.carbon + facility * now.carbon)

    def all(self, at_ns: int) -> list[Used]:
        """By site."""
        return [self.used(site, at_ns) for site in range(len(self._booked))]
