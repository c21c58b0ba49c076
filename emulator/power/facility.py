"""Between IT power and the meter of the site: PUE, what a cap at the meter leaves for IT, and water."""


def facility_milliwatts(it_milliwatts: int, pue: float) -> int:
    """Power at the meter: cooling and conversion included (P_facility = PUE P_IT)."""
    return round(it_milliwatts * pue)


def it_cap_milliwatts(cap_milliwatts: int, pue: float) -> int:
    """The most that IT may draw so that the facility draws at most ``cap_milliwatts``."""
    found = int(cap_milliwatts / pue) + 1
    while facility_milliwatts(found, pue) > cap_milliwatts:
        found -= 1
    return found


def water_litres(it_joules: float, wue_litres_per_kwh: float) -> float:
    """Water that evaporates to cool away this much IT energy."""
    return it_joules / 3.6e6 * wue_litres_per_kwh
