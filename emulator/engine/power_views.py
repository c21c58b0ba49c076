"""The power of an engine, as the API shows it."""

from emulator.engine.demand_response import told_place
from emulator.engine.engine import Engine
from emulator.engine.power_control import PowerPlaceView, PowerView
from emulator.engine.power_settings import FACILITY
from emulator.power.clocks import CLOCK_RATIO
from emulator.workload.jobs import SECOND


def power_view(engine: Engine) -> PowerView:
    """As of the last cycle."""
    power = engine.power
    names, places = engine.cluster.site_names, (FACILITY, *range(len(engine.cluster.site_names)))
    return PowerView(
        tuple(
            [
                PowerPlaceView(
                    told_place(place, names),
                    power.metered_milliwatts(place) / 1e3,
                    power.caps.get(place, 0) / 1e3,
                    CLOCK_RATIO[power.clock_of(place)],
                )
                for place in places
            ]
        ),
        power.pue,
        len(power.paused),
        power.acting.until(engine.now_ns) / SECOND,
    )
