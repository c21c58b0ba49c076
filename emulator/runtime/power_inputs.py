"""Caps on power that are asked for while the emulation runs."""

from typing import Any

from emulator.engine.bounds import LONGEST_NS
from emulator.engine.commands import CapPower
from emulator.engine.engine import Engine
from emulator.engine.errors import InvalidRequest, NotFound, WrongState
from emulator.engine.power_control import MOST_WATTS, PowerCapRequest
from emulator.engine.power_settings import FACILITY, OverCap
from emulator.workload.jobs import SECOND


def cap_command(engine: Engine, asked: PowerCapRequest) -> CapPower:
    """Raises NotFound for an unknown site, InvalidRequest for what is no cap, and WrongState where caps do not act."""
    if engine.settings.power.over_cap == OverCap.NONE:
        raise WrongState("caps do not act in this scenario; allowed: with power.over_cap clock or pause", field="watts")
    names = engine.cluster.site_names
    if asked.site and asked.site not in names:
        raise NotFound(f"there is no site {asked.site!r:.80}", field="site", allowed=", ".join(names))
    if not 0 <= asked.watts <= MOST_WATTS:
        raise InvalidRequest(f"watts is {asked.watts:g}", field="watts", allowed=f"0 to {MOST_WATTS:g}")
    if not 0 <= asked.duration_seconds <= LONGEST_NS / SECOND:
        raise InvalidRequest(f"duration is {asked.duration_seconds} s", field="duration", allowed=f"0 to {LONGEST_NS / SECOND:g} s")
    place = names.index(asked.site) if asked.site else FACILITY
    milliwatts = round(asked.watts * 1000) if asked.watts else None
    duration_ns = max(1, round(asked.duration_seconds * SECOND)) if asked.duration_seconds else None
    return CapPower(place, milliwatts, duration_ns)


def told(command: CapPower, asked: PowerCapRequest, stamp_ns: int) -> str:
    """What was done, as a sentence."""
    place, at = asked.site or "the facility", f"from {stamp_ns / SECOND:g} s on"
    if command.milliwatts is None:
        return f"what {place} was asked to draw less is lifted {at}"
    lasts = "" if command.duration_ns is None else f" for {asked.duration_seconds:g} s"
    return f"{place} draws at most {asked.watts:,.0f} W {at}{lasts}"


def payload(command: CapPower) -> dict[str, Any]:
    """What the journal keeps of it."""
    return {"place": command.place, "milliwatts": command.milliwatts, "duration_ns": command.duration_ns}
