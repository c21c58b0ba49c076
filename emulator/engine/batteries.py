"""Batteries that carry what sites draw above their caps for as long as their energy lasts, and charge where caps leave room.

Each site has one. Between two instants at which rates are set it charges or discharges at one power, so its energy is a line. A battery
that is ready lets its site, and the facility, draw so much more than the cap; the meter sees the cap. It is ready until its energy might
not last to the next cycle at its full power, and again when it is full: so it never runs empty between two cycles. All whole numbers.
"""

from collections.abc import Mapping, Sequence

from emulator.engine.meter import Integral
from emulator.engine.power_settings import FACILITY, UNCAPPED, BatterySettings
from emulator.power.series import NEVER


class Batteries:
    """By site. Energy is in hundredths of milliwatt nanoseconds, so that the part which charging stores is a whole number.

    ``net`` is power at the meter: above 0 charging, below it discharging.
    """

    def __init__(self, settings: BatterySettings, net: Sequence[Integral]) -> None:
        self._settings, self.net = settings, net
        self.full = 100 * settings.energy
        #: What it takes to carry until the next cycle, and what a milliwatt stores in one.
        self._least, self._crumb = 100 * settings.milliwatts * settings.cycle_ns, settings.stored_percent * settings.cycle_ns
        self.stored = [self.full for _ in net]
        self.least_stored = self.full
        self.ready = [self.full >= self._least for _ in net]
        self._since_ns = 0
        self.charged = self.discharged = 0  # so far, in milliwatt nanoseconds at the meter

    def settle(self, at_ns: int) -> None:
        """Bring the energy to ``at_ns``."""
        passed_ns, self._since_ns = at_ns - self._since_ns, at_ns
        for site, net in enumerate(self.net):
            self.charged += max(0, net.value) * passed_ns
            self.discharged += max(0, -net.value) * passed_ns
            self.stored[site] += net.value * passed_ns * (self._settings.stored_percent if net.value > 0 else 100)
        self.least_stored = min(self.least_stored, *self.stored)

    def turn(self, at_ns: int) -> bool:
        """In a cycle: which of them are ready from now on. Returns whether that is another answer."""
        self.settle(at_ns)
        before = list(self.ready)
        for site, stored in enumerate(self.stored):
            self.ready[site] = stored >= self._least and (self.ready[site] or self.full - stored < self._crumb)
        return self.ready != before

    def carries(self, place: int) -> int:
        """Milliwatts at the meter that a site, or the facility, may draw above its cap."""
        return self._settings.milliwatts * (sum(self.ready) if place == FACILITY else self.ready[place])

    def set_rates(self, at_ns: int, drawn: Sequence[int], together: int, caps: Mapping[int, int]) -> None:
        """From ``at_ns``, to which they have been brought, sites draw ``drawn``, all of them ``together``, under these caps at the meter:
        what a site draws above its own its battery gives, what all draw above theirs the first ones do that can, and what is left charges.
        """
        most, gives = self._settings.milliwatts, [0] * len(drawn)
        whole = caps.get(FACILITY, UNCAPPED)
        for site, milliwatts in enumerate(drawn):
            if self.ready[site]:
                gives[site] = min(most, max(0, milliwatts - caps.get(site, UNCAPPED)))
        for site, ready in enumerate(self.ready):
            if ready:
                gives[site] += min(most - gives[site], max(0, together - sum(gives) - whole))
        room = max(0, whole - (together - sum(gives)))
        for site, net in enumerate(self.net):
            takes = 0
            if not gives[site]:
                takes = min(most, room, max(0, caps.get(site, UNCAPPED) - drawn[site]), (self.full - self.stored[site]) // self._crumb)
                room -= takes
            net.change(at_ns, takes - gives[site] - net.value)

    def next_ns(self) -> int:
        """The last instant before one of them is full, or ready no longer, at present rates; NEVER if none will be."""
        due = NEVER
        for stored, net in zip(self.stored, self.net, strict=True):
            if net.value > 0:
                left_ns = (self.full - stored) // (net.value * self._settings.stored_percent) - self._settings.cycle_ns
                due = min(due, self._since_ns + max(0, left_ns))
            elif net.value < 0:
                due = min(due, self._since_ns + max(0, stored - self._least) // (100 * -net.value))
        return due
