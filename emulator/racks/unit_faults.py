"""Which groups of hosts fail as a whole, and when: racks, leaves, cooling units, power feeds, and the NVLink of a domain.

Drawn at the head, one event at a time: a unit may have racks of several shards. Rates are 0 unless given: Llama 3's table, by which hosts
fail, has what struck one cluster from whatever side. Rates for those who want them are in docs/faults.md, each with its source. FT-HSDP
(arXiv 2602.00277) saw rates at 100,000 GPUs that were worse than linear, which faults of single hosts cannot be.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from typing import NamedTuple

from emulator.draws import Stream
from emulator.draws.poisson import Arrival, arrivals
from emulator.racks.faults import CAUSE_OF, DAY_NS, SECOND_NS
from emulator.racks.units import RACKS_EACH, Units

YEAR_NS = 365 * DAY_NS

#: Cause of each kind of unit, and (shortest, longest) seconds of its repair. A rack is back in 1 to 6 h, a PDU in about 6 h, a cluster that
#: overheated in 1 to 2 days (Dean, LADIS 2009); NVIDIA's partners service a switch tray in 1 to 4 h and a backplane in 8 to 24 h (an
#: operator's practice). A leaf like a switch: 1 to 4 h, assumed.
OF_KIND: Mapping[str, tuple[str, tuple[float, float]]] = {
    "rack": ("rack_power", (3_600.0, 21_600.0)),
    "leaf": ("leaf_outage", (3_600.0, 14_400.0)),
    "cooling_unit": ("cooling_unit", (86_400.0, 172_800.0)),
    "power_feed": ("power_feed", (10_800.0, 32_400.0)),
    "switch_tray": ("nvlink_switch_tray", (3_600.0, 14_400.0)),
    "backplane": ("nvlink_backplane", (28_800.0, 86_400.0)),
    "suspect": ("suspect_host", (3_600.0, 14_400.0)),
    "slow": ("slow_host", (2_160.0, 6_480.0)),
}
#: Kinds that are of single hosts: one that a health check suspects, whose jobs go on, and one that is slow. GREYHOUND (ATC'25): 16 of 27
#: jobs of 512 GPUs and more met a slow-down, of 72 min in the mean, and took 1.34 times as long.
OF_HOSTS = ("suspect", "slow")
#: Kinds of units whose hosts are given to nobody first, and repaired when their jobs are gone: such a rack is drained.
WITHDRAWN = frozenset({"switch_tray", "suspect"})

#: The part of its speed that a slow host has, where nobody says another: 1 / 1.34 (GREYHOUND).
SLOW_RATIO = 0.75


@dataclass(frozen=True)
class UnitFaultSettings:
    """By kind of unit. Raises ValueError for a kind, rate or range that is none."""

    enabled: bool = True
    per_unit_year: Mapping[str, float] = field(default_factory=dict)
    repair_seconds: Mapping[str, float] = field(default_factory=dict)  # the mean, where not as in ``OF_KIND``: drawn from half of it on
    slow_ratio: float = SLOW_RATIO  # of its speed that a slow host has
    racks_each: Mapping[str, int] = field(default_factory=lambda: RACKS_EACH)  # of cooling units and power feeds

    def __post_init__(self) -> None:
        for kind, rate in self.per_unit_year.items():
            if kind not in OF_KIND or not 0.0 <= rate <= 1e6:
                raise ValueError(f"faults.units.{kind}.per_year: {rate} is no rate; allowed: 0 to a million, of {', '.join(OF_KIND)}")
        if not 0.0 < self.slow_ratio <= 1.0:
            raise ValueError(f"faults.slow.speed: {self.slow_ratio} is outside (0, 1]")
        for kind, mean in self.repair_seconds.items():
            if not 0.0 < mean < 1e8:
                raise ValueError(f"faults.units.{kind}.repair: {mean} seconds is outside (0, 1e8]")


class UnitFault(NamedTuple):
    """A unit fails at ``time_ns``, and its repair takes ``repair_ns``."""

    time_ns: int
    kind: str
    number: int
    cause: int
    repair_ns: int


def drawn_unit_faults(settings: UnitFaultSettings, seed: int, units: Mapping[str, Units]) -> Iterator[UnitFault]:
    """The faults of ``units`` (by kind) in order of time, without an end."""
    processes = []
    for place, kind in enumerate(OF_KIND):
        rate, count = settings.per_unit_year.get(kind, 0.0), len(units[kind]) if kind in units else 0
        if settings.enabled and rate and count:
            cause, usual = OF_KIND[kind]
            found = arrivals(seed, Stream.UNIT_FAULT, count, YEAR_NS / (rate * count), place)
            mean = settings.repair_seconds.get(kind)
            processes.append(_faults(found, kind, CAUSE_OF[cause], usual if mean is None else (0.5 * mean, 1.5 * mean)))
    return merge(*processes)


def _faults(found: Iterator[Arrival], kind: str, cause: int, seconds: tuple[float, float]) -> Iterator[UnitFault]:
    for one in found:
        lasts = seconds[0] + (seconds[1] - seconds[0]) * one.chance
        yield UnitFault(one.time_ns, kind, one.part, cause, max(1, round(lasts * SECOND_NS)))
