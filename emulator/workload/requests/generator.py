"""Requests drawn by a rate: days over time zones, bursts, lengths, and sessions whose turns share a prefix.

Arrivals are a doubly stochastic Poisson process (Cox, "Some statistical methods connected with series of events", JRSS B 17, 1955): the
rate of the clock times a gamma factor of mean 1 for each burst period, the same for all pools. With shape k and period P the counts in
windows of w seconds, in which m come in the mean, have the index of dispersion (variance over mean)

    1 + m / k * f(w / P),   f(x) = 1 - x / 3 up to x = 1, and 1 / x - 1 / (3 x**2) above,

where windows and periods lie to each other as they will; and the gaps between arrivals, if periods are long, the coefficient of variation
sqrt((k + 1) / (k - 1)). `emulator.experiments.validation.fit_requests` fits k and P to traces by it.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, words
from emulator.draws.counts import gamma, poisson
from emulator.workload.day import arrived_by
from emulator.workload.requests.columns import Drawn, Int64, RequestColumns, join_drawn, nothing, without_hashes
from emulator.workload.requests.cursor import SLICE_NS, entity, runs
from emulator.workload.requests.lengths import NAMED_LENGTHS, Lengths
from emulator.workload.requests.sessions import Sessions, follow, hashed

DAY_SECONDS = 86_400.0
#: Nobody asks for more from one pool in a slice; more would not fit a request's number.
_MOST_IN_SLICE = 1 << 31
#: The slice from which requests are numbered. Those before the start have negative slices.
_FIRST_SLICE = -(1 << 20)
#: Sessions that began this many of their mean lengths before the start are over: exp(-6), 1 in 400, is not.
_LEAD_SESSIONS, _MOST_LEAD_SLICES = 6.0, 1 << 18
#: Requests are drawn in pieces of about this size, which stay in the cache.
_PIECE = 8_192

#: The people of the world by UTC offset in hours, millions: United Nations, World Population Prospects 2022, year 2021, by subregion. The
#: offset of a subregion is that of its middle (assumed), and everybody is taken to ask as often (assumed).
WORLD: tuple[tuple[float, float], ...] = (
    (-6.0, 596.0),  # North America
    (-4.0, 434.0),  # South America
    (1.0, 745.0),  # Europe
    (2.0, 1394.0),  # Africa
    (4.0, 366.0),  # Western and Central Asia
    (5.5, 1989.0),  # Southern Asia
    (7.0, 676.0),  # South-eastern Asia
    (8.0, 1664.0),  # Eastern Asia
    (10.0, 44.0),  # Oceania
)


@dataclass(frozen=True)
class GeneratorSettings:
    """What to generate. ``requests_per_second`` is the mean over whole days, later turns of sessions included.

    The rate of a zone swings by ``diurnal_ratio`` around its mean and peaks at ``peak_hour`` of its own clock; ``zones`` are pairs of UTC
    offset in hours and weight, and time 0 is midnight UTC. Bursts: a gamma factor of ``burst_shape`` for every ``burst_period_seconds``,
    a multiple of a slice; shape 0 is none.

    ``session_ratio`` of the requests belong to sessions of ``session_turns`` turns in the mean (geometric), ``think_seconds`` apart in
    the mean (exponential, from one arrival to the next, the answer's time included). The prompt of a turn is the conversation so far and
    the new tokens, which ``lengths`` are of. A session ends when a turn and its answer would have more than ``context_tokens``. Every
    prompt begins with the same ``system_tokens``. Hashes are of blocks of ``block_tokens``, and are left out where nothing is shared.
    """

    requests_per_second: float = 1.0
    lengths: Lengths = NAMED_LENGTHS["azure-conv"]
    diurnal_ratio: float = 0.0
    peak_hour: float = 15.0
    zones: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    burst_shape: float = 0.0
    burst_period_seconds: float = 60.0
    session_ratio: float = 0.0
    session_turns: float = 4.0
    think_seconds: float = 60.0
    context_tokens: int = 131_072
    system_tokens: int = 0
    block_tokens: int = 512

    def __post_init__(self) -> None:
        slice_seconds = SLICE_NS / 1e9
        periods = self.burst_period_seconds / slice_seconds
        checks = (
            ("requests_per_second", 0.0 <= self.requests_per_second <= 1e8, "from 0 to 1e8"),
            ("diurnal_ratio", 0.0 <= self.diurnal_ratio < 1.0, "from 0, below 1"),
            ("peak_hour", 0.0 <= self.peak_hour <= 24.0, "0 to 24"),
            ("zones", _zones_good(self.zones), "pairs of a UTC offset from -24 to 24 hours and a weight from 0 to 1e12, not all 0"),
            ("burst_shape", self.burst_shape == 0.0 or 0.01 <= self.burst_shape <= 1e6, "0, or from 0.01 to 1e6"),
            (
                "burst_period_seconds",
                1.0 <= periods <= 1e6 and periods == np.floor(periods),
                f"a multiple of {slice_seconds:g} up to {1e6 * slice_seconds:g}",
            ),
            ("session_ratio", 0.0 <= self.session_ratio <= 1.0, "from 0 to 1"),
            ("session_turns", 1.0 <= self.session_turns <= 1000.0, "from 1 to 1000"),
            ("think_seconds", 0.0 < self.think_seconds <= 86_400.0, "above 0, at most 86400"),
            ("context_tokens", 2 <= self.context_tokens <= 1 << 24, f"2 to {1 << 24}"),
            ("system_tokens", 0 <= self.system_tokens < self.context_tokens, "from 0, below context_tokens"),
            ("block_tokens", 1 <= self.block_tokens <= 1 << 20, f"1 to {1 << 20}"),
        )
        for name, good, allowed in checks:
            if not good:
                raise ValueError(f"{name}: {getattr(self, name)!r} (allowed: {allowed})")


def _zones_good(zones: tuple[tuple[float, float], ...]) -> bool:
    return bool(zones) and all(abs(offset) <= 24.0 and 0.0 <= weight <= 1e12 for offset, weight in zones) and any(w for _, w in zones)


@dataclass(frozen=True)
class Generator:
    """The requests of one service by its settings."""

    settings: GeneratorSettings
    _rates: dict[tuple[int, int, int, int], NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)  # the last ones

    @property
    def block_tokens(self) -> int:
        return self.settings.block_tokens

    @cached_property
    def _sessions(self) -> Sessions | None:
        s = self.settings
        if not s.session_ratio:
            return None
        return Sessions(s.lengths, s.session_ratio, s.session_turns, s.think_seconds, s.context_tokens - s.system_tokens)

    @property
    def lead_slices(self) -> int:
        s = self.settings
        if not s.session_ratio:
            return 0
        return min(_MOST_LEAD_SLICES, int(np.ceil(_LEAD_SESSIONS * s.session_turns * s.think_seconds * 1e9 / SLICE_NS)))

    @property
    def _shares_prefixes(self) -> bool:
        return bool(self.settings.session_ratio or self.settings.system_tokens)

    def expected(self, first: int, last: int) -> NDArray[np.float64]:
        """Requests of the whole service in slices ``first`` up to ``last`` by the clock alone, later turns of sessions not counted."""
        s = self.settings
        day = np.arange(first, last + 1, dtype=np.int64) * (SLICE_NS / 1e9 / DAY_SECONDS)
        total = np.zeros(last - first)
        weights = 0.0
        for offset, weight in s.zones:
            total += weight * np.diff(arrived_by(day, s.diurnal_ratio, (s.peak_hour - offset) / 24.0))
            weights += weight
        beginnings = 1.0 if self._sessions is None else self._sessions.beginnings
        return np.asarray(total / weights * (DAY_SECONDS * s.requests_per_second * beginnings))

    def factors(self, seed: int, service: int, first: int, last: int) -> NDArray[np.float64]:
        """By what bursts multiply the rate in slices ``first`` up to ``last``, for all pools."""
        s = self.settings
        if not s.burst_shape:
            return np.ones(last - first)
        slices = round(s.burst_period_seconds * 1e9) // SLICE_NS
        period = np.arange(first, last, dtype=np.int64) // slices
        which = np.arange(period[0], period[-1] + 1).astype(np.uint64)
        drawn = gamma(seed, Stream.REQUEST_BURST, entity(service, 0) + which, s.burst_shape)
        return np.asarray(drawn[period - period[0]])

    def _rate(self, seed: int, service: int, first: int, last: int) -> NDArray[np.float64]:
        """Requests expected in slices, bursts included; kept, since all pools ask for the same slices."""
        asked = (seed, service, first, last)
        if asked not in self._rates:
            self._rates.clear()
            self._rates[asked] = self.expected(first, last) * self.factors(seed, service, first, last)
        return self._rates[asked]

    def slices(self, seed: int, service: int, pool: int, first: int, last: int, low: float, high: float) -> Drawn:
        """As ``Source`` has it."""
        mean = (high - low) * self._rate(seed, service, first, last)
        slices = np.arange(first, last, dtype=np.int64)
        entities = entity(service, pool) + slices.astype(np.uint64)
        counts = poisson(seed, Stream.REQUEST_COUNT, entities, mean)
        if int(counts.max(initial=0)) >= _MOST_IN_SLICE:
            raise ValueError(f"requests of a pool in {SLICE_NS // 10**9} s: {int(counts.max())} (allowed: below {_MOST_IN_SLICE})")
        parts = []
        ends = np.cumsum(counts)
        start = 0
        while start < len(slices):  # so many slices that a piece has about _PIECE requests
            before = int(ends[start] - counts[start])
            end = max(start + 1, int(np.searchsorted(ends, before + _PIECE, side="right")))
            if ends[end - 1] > before:
                parts.append(self._piece(seed, slices[start:end], entities[start:end], counts[start:end]))
            start = end
        drawn = join_drawn(parts) if parts else nothing()
        if self._sessions is not None and len(drawn):
            drawn = follow(self._sessions, drawn, seed, entity(service, pool))
        if self.settings.system_tokens:
            drawn = Drawn(drawn.arrival_ns, drawn.prompt + self.settings.system_tokens, drawn.output, drawn.key, drawn.number)
        return drawn

    def _piece(self, seed: int, slices: Int64, entities: NDArray[np.uint64], counts: Int64) -> Drawn:
        """The first requests of all that come in some slices, in order."""
        run, within = runs(counts)
        word = words(seed, Stream.REQUEST, entities[run], within.view(np.uint64))
        part = ((word[0] << np.uint64(20) | word[3] >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        arrival_ns = (part * SLICE_NS).astype(np.int64)
        arrival_ns += (slices * SLICE_NS)[run]
        arrival_ns.sort()
        prompt, output = self.settings.lengths.draw(word[1], word[2])
        number = ((slices - _FIRST_SLICE) << 32)[run] | within
        return Drawn(arrival_ns, prompt, output, number, number)

    def columns(self, seed: int, service: int, pool: int, drawn: Drawn) -> RequestColumns:
        """As ``Source`` has it."""
        if not self._shares_prefixes:
            return without_hashes(drawn)
        return hashed(drawn, seed, entity(service, pool), entity(service, 0), self.settings.system_tokens, self.settings.block_tokens)
