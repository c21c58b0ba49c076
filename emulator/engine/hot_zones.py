"""Which zones are how hot, and what clock that leaves them: by the weather, and by cooling units that have failed."""

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from emulator.engine.meter import Integral
from emulator.engine.power_settings import HeatSettings
from emulator.engine.spread import Zones
from emulator.power.heat import gpu_celsius, highest_clock
from emulator.power.series import NEVER


class HotZones:
    """``bounds``, shape (zones,), are the highest clocks that heat allows. Several faults of one unit heat it no more than one."""

    def __init__(self, settings: HeatSettings, zones: Zones) -> None:
        self._limits, self._series, self._zones = settings.limits, settings.inlet, zones
        self._failed: dict[int, range] = {}  # fault -> zones without their cooling unit
        self._ends: list[tuple[int, int]] = []  # (when it is over, fault)
        self._inlet = 0.0
        self.bounds: NDArray[np.int64] = np.zeros(zones.count, dtype=np.int64)
        #: 1 while heat bounds a clock.
        self.throttling = Integral()
        self.hottest_celsius: float | None = None  # so far, of a GPU that computed; None: none did
        self.now_celsius = 0.0  # of a GPU that computes all the time in the hottest zone

    def turn(self, at_ns: int) -> None:
        """The weather is as it is at ``at_ns`` from now on."""
        self._inlet = self._series.at(at_ns)
        self._bound()

    def next_change_ns(self, at_ns: int) -> int:
        """When the weather changes next."""
        return self._series.next_ns(at_ns)

    def begin(self, fault: int, first_host: int, end_host: int, until_ns: int) -> None:
        """A cooling unit of these hosts has failed."""
        self._failed[fault] = range(self._zones.of_host(first_host), self._zones.of_host(end_host - 1) + 1)
        heappush(self._ends, (until_ns, fault))
        self._bound()

    def end(self, fault: int) -> None:
        """It works again."""
        del self._failed[fault]
        self._bound()

    def next_ns(self) -> int:
        """When the next fault is over; NEVER if there is none. It may have been ended before."""
        return self._ends[0][0] if self._ends else NEVER

    def take(self) -> int:
        """The fault of which ``next_ns`` told."""
        return heappop(self._ends)[1]

    def _bound(self) -> None:
        self.bounds[:] = highest_clock(self._limits, self._inlet)
        for zones in self._failed.values():
            self.bounds[zones.start : zones.stop] = highest_clock(self._limits, self._inlet + self._limits.failed_unit_kelvin)

    def note(self, at_ns: int, clocks: Sequence[int], *, computing: bool) -> None:
        """The clocks of the zones at the end of a cycle, and whether anything runs."""
        bound = bool(self.bounds.any())
        if bound != bool(self.throttling.value):
            self.throttling.change(at_ns, 1 if bound else -1)
        found = gpu_celsius(self._limits, self._inlet, min(clocks))
        for zones in self._failed.values():
            inlet = self._inlet + self._limits.failed_unit_kelvin
            found = max(found, gpu_celsius(self._limits, inlet, min(clocks[zones.start : zones.stop])))
        self.now_celsius = found
        if computing:
            self.hottest_celsius = found if self.hottest_celsius is None else max(self.hottest_celsius, found)
