"""Which cables and switches fail or flap, and when. Events are drawn ahead, one at a time, of all parts of a kind together."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import NamedTuple

from emulator.draws import Stream
from emulator.draws.poisson import arrivals

SECOND_NS = 1_000_000_000
#: "Per month" in the sources below.
MONTH_NS = 30 * 86_400 * SECOND_NS


@dataclass(frozen=True)
class LinkFaultSettings:
    """Rates per part, and (shortest, longest) seconds of what follows, drawn evenly.

    Rates: Alibaba HPN (SIGCOMM'24) saw 0.057 % of its NIC-ToR links fail in a month and 0.051 % of its ToR switches go down; that other
    cables and switches fail alike is assumed. It also saw 5,000 to 60,000 link flaps a day without saying of how many links, so the rate of
    flaps is 0 unless given. Repairs: 0.5 to 2 h for a cable or transceiver, 1 to 4 h for a switch, and 1 to 30 s of a flap are assumed
    (ByteRobust detects a port's flap within 30 s).

    Raises ValueError for rates below 0 and for ranges that are none.
    """

    enabled: bool = False  # host faults already have a cause "network_switch_or_cable"
    cable_percent_per_month: float = 0.057
    switch_percent_per_month: float = 0.051
    flaps_per_cable_month: float = 0.0
    cable_repair_seconds: tuple[float, float] = (1800.0, 7200.0)
    switch_repair_seconds: tuple[float, float] = (3600.0, 14400.0)
    flap_seconds: tuple[float, float] = (1.0, 30.0)

    def __post_init__(self) -> None:
        for name in ("cable_percent_per_month", "switch_percent_per_month", "flaps_per_cable_month"):
            if not 0.0 <= getattr(self, name) <= 1e6:
                raise ValueError(f"fabric.faults.{name}: {getattr(self, name)} is not a rate; allowed: 0 to a million")
        for name in ("cable_repair_seconds", "switch_repair_seconds", "flap_seconds"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high < 1e9:
                raise ValueError(f"fabric.faults.{name}: {low} to {high} s is no range; allowed: two times above 0 s, the shorter first")


class DrawnFault(NamedTuple):
    """One fault by chance, from ``time_ns`` on for ``duration_ns``."""

    time_ns: int
    target: str  # cable | switch | flap (of a cable)
    number: int  # of the cable or switch, counted over the cluster
    duration_ns: int


def drawn_faults(settings: LinkFaultSettings, seed: int, cables: int, switches: int) -> Iterator[DrawnFault]:
    """The faults of ``cables`` cables and ``switches`` switches in order of time, without an end (none where they are not enabled)."""
    if not settings.enabled:
        return iter(())
    return merge(
        _process(seed, "cable", Stream.CABLE_FAULT, cables, settings.cable_percent_per_month / 100.0, settings.cable_repair_seconds),
        _process(seed, "switch", Stream.SWITCH_FAULT, switches, settings.switch_percent_per_month / 100.0, settings.switch_repair_seconds),
        _process(seed, "flap", Stream.LINK_FLAP, cables, settings.flaps_per_cable_month, settings.flap_seconds),
    )


def _process(seed: int, target: str, stream: Stream, parts: int, monthly: float, seconds: tuple[float, float]) -> Iterator[DrawnFault]:
    if not parts or not monthly:
        return
    for one in arrivals(seed, stream, parts, MONTH_NS / (monthly * parts)):
        lasts = seconds[0] + (seconds[1] - seconds[0]) * one.chance
        yield DrawnFault(one.time_ns, target, one.part, max(1, round(lasts * SECOND_NS)))
