"""Caps on the power of rows, sites and the whole facility, held at the end of every cycle: by the GPUs' clock, then by pausing jobs.

After everything that a cycle decides, and whenever a start or a repair between two cycles would break a cap, the clock of each zone
becomes the highest at which every cap holds: one clock for all GPUs of a site, or of a row where rows have caps (``power.clocks``). Rows
come first, then sites, then the facility, and what a cap takes away it takes from the zones with the highest clock. Where the lowest
clock is not low enough, jobs are paused, which draw nothing then: those of the lowest priority first, of these the last to start. It is
all arithmetic on whole milliwatts, so a cap holds exactly.

What heat leaves a zone (``hot_zones``) bounds its clock from the start, whatever the caps are.

A clock is lowered at once and raised, and a job goes on, when ``raise_ns`` have passed since the last change: else each small job that
comes or goes would give all others another speed.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from emulator.engine.batteries import Batteries
from emulator.engine.demand_response import Books, DemandResponse
from emulator.engine.facility_meter import FacilityMeter, Factors, factors
from emulator.engine.hot_zones import HotZones
from emulator.engine.meter import Integral, Meter
from emulator.engine.power_settings import FACILITY, UNCAPPED, OverCap, PowerSettings, Reduction
from emulator.engine.rows import Group, Int64, Rows
from emulator.engine.runs import Runs
from emulator.engine.spread import Zones
from emulator.power.clocks import CLOCK_RATIO, FULL
from emulator.power.facility import facility_milliwatts, it_cap_milliwatts
from emulator.power.sharing import lowered
from emulator.racks.power import most_milliwatts
from emulator.scheduler.table import JobTable
from topology.cluster import Cluster


class PowerCaps:
    """Knows what each cap allows now and sees that it holds: ``act`` at the end of a cycle, ``act_at_once`` between two."""

    def __init__(
        self, settings: PowerSettings, cluster: Cluster, meter: Meter, standing: Int64, zones: Zones, runs: Runs, table: JobTable
    ) -> None:
        self._settings, self._meter, self._zones, self._runs, self._table = settings, meter, zones, runs, table
        self._standing = standing  # milliwatts of hosts that are up, when idle, by zone
        self._sites, self._most = range(len(cluster.site_names)), most_milliwatts(cluster)
        self._first_of_site = np.searchsorted(zones.site, self._sites)
        self.rows = None if settings.rows is None else Rows(settings.rows, cluster, zones)
        self.heat = None if settings.heat is None else HotZones(settings.heat, zones)
        self._acts = settings.rows is not None or settings.heat is not None or settings.battery is not None  # also without a cap
        self._changed_ns = -settings.raise_ns  # when a clock or a pause last changed
        self._waits = False  # for ``raise_ns`` to pass
        #: 1 while a clock is lowered or a job paused; its integral is how long, in nanoseconds.
        self.acting = Integral()
        self.lowest_clock = FULL
        #: Called when the caps begin to act (with why), or cease to ("").
        self.on_change: Callable[[str, int], None] | None = None
        #: 1 while more is drawn than allowed, which happens only where all jobs are paused.
        self.over = Integral()
        self.response = DemandResponse(settings.reductions)
        self.facility = FacilityMeter(meter, self._factors(0))
        self.batteries = None if settings.battery is None else Batteries(settings.battery, self.facility.net)
        self.turn(0)

    def _factors(self, at_ns: int) -> Factors:
        settings = self._settings
        return factors(settings.pue.at(at_ns), settings.wue.at(at_ns), settings.carbon.at(at_ns))

    # -- what is allowed ------------------------------------------------------------------------------------------------------------

    def turn(self, at_ns: int) -> None:
        """Caps and PUE are as they are at ``at_ns`` from now on."""
        settings = self._settings
        self.pue = settings.pue.at(at_ns)
        self.facility.turn(at_ns, self._factors(at_ns))
        if self.response.next_ns() <= at_ns:
            self.response.turn(at_ns, self._books(self.response.places(at_ns), at_ns))
        #: At the meter, and of IT, by site or FACILITY; only those that there are.
        self.caps: dict[int, int] = {}
        for place, series in settings.caps:
            self.caps[place] = min(series.at(at_ns), self.caps.get(place, UNCAPPED))
        for response in self.response.in_force:
            self.caps[response.asked.place] = min(response.cap_milliwatts, self.caps.get(response.asked.place, UNCAPPED))
        self._allow()
        changes = [series.next_ns(at_ns) for series in (settings.pue, settings.wue, settings.carbon)]
        if self.heat is not None:
            self.heat.turn(at_ns)
            changes.append(self.heat.next_change_ns(at_ns))
        self._next_ns = min([*changes, *[series.next_ns(at_ns) for _, series in settings.caps]])

    def _allow(self) -> None:
        """Of IT, with what batteries carry."""
        carries = {place: 0 if self.batteries is None else self.batteries.carries(place) for place in self.caps}
        self._it_caps = {place: it_cap_milliwatts(cap + carries[place], self.pue) for place, cap in self.caps.items()}

    def turn_due(self, at_ns: int) -> None:
        """``turn``, if something of it changes."""
        if self.next_ns() <= at_ns:
            self.turn(at_ns)

    def _books(self, places: Iterable[int], at_ns: int) -> dict[int, Books]:
        """Of places, up to now: what running jobs have waited is accounted for first."""
        for slot in self._runs.draw:
            self._runs.progress(slot, at_ns)
        return {place: self._book(place, at_ns) for place in places}

    def _book(self, place: int, at_ns: int) -> Books:
        sites = self._sites if place == FACILITY else (place,)
        energy = sum([self.facility.used(site, at_ns).facility for site in sites])
        return Books(energy, self.metered_milliwatts(place), self._runs.power_wait_milli_gpu_ns)

    def reduce(self, asked: Reduction, at_ns: int) -> None:
        """One more request, which acts in this cycle."""
        self.response.add(asked)
        self.turn(at_ns)

    def facility_milliwatts(self) -> int:
        """Drawn at the meter now."""
        return self.metered_milliwatts(FACILITY)

    def metered_milliwatts(self, place: int) -> int:
        """The same of a site, or of all; what batteries take or give included."""
        net = self.facility.net if place == FACILITY else [self.facility.net[place]]
        return facility_milliwatts(self._drawn(place), self.pue) + sum([one.value for one in net])

    def next_ns(self) -> int:
        """When a cap or the PUE changes next, or a clock may be raised; NEVER if nothing of it will be."""
        due = min(self._next_ns, self.response.next_ns())
        if self.batteries is not None:
            due = min(due, self.batteries.next_ns())
        return min(due, self._changed_ns + self._settings.raise_ns) if self._waits else due

    def finish(self, at_ns: int) -> None:
        """The emulation ends."""
        if self.batteries is not None:
            self.batteries.settle(at_ns)
        self.response.finish(at_ns, self._books({response.asked.place for response in self.response.in_force}, at_ns))

    # -- acting ---------------------------------------------------------------------------------------------------------------------

    def act(self, at_ns: int) -> bool:
        """See that the caps hold. To be called after all that changes power at ``at_ns``. Returns whether anything changed."""
        if not self._acts and not self.caps and self._runs.clocked is None:
            return False
        if self.batteries is not None and self.batteries.turn(at_ns):
            self._allow()
        changed = self._act(at_ns)
        self._set_rates(at_ns)
        if self.heat is not None:
            self.heat.note(at_ns, self._runs.clock, computing=bool(self._runs.draw))
        over = self._runs.clocked is not None and self._is_over()
        if over != bool(self.over.value):
            self.over.change(at_ns, 1 if over else -1)
        if self.rows is not None and self._runs.clocked is not None:
            self.rows.note(self._rows_drawn(self.rows), self._runs.clock)
        for response in self.response.in_force:
            place = response.asked.place
            self.response.note(place, self.metered_milliwatts(place))
        return changed

    def _is_over(self) -> bool:
        if self._settings.over_cap == OverCap.NONE:
            return False
        if any(self._drawn(place) > cap for place, cap in self._it_caps.items()):
            return True
        return self.rows is not None and bool((self._rows_drawn(self.rows) > self.rows.caps).any())

    def _rows_drawn(self, rows: Rows) -> Int64:
        """Milliwatts of each row, while ``clocked`` is kept."""
        clocked = self._runs.clocked
        assert clocked is not None, "kept while a cap may act"
        return rows.drawn(self._standing + np.array(clocked.drawn, dtype=np.int64))

    def _act(self, at_ns: int) -> bool:
        self._waits = False
        runs = self._runs
        if not (self._may_bind() or self.paused or any(clock != FULL for clock in runs.clock)):
            runs.clocked = None
            return False
        runs.watch_clocks()
        clocks, paused = self._wanted()
        if at_ns < self._changed_ns + self._settings.raise_ns:
            self._waits = any(then < now for then, now in zip(clocks, runs.clock, strict=True)) or not self.paused <= paused
            clocks = [max(then, now) for then, now in zip(clocks, runs.clock, strict=True)]
            paused = paused | self.paused
        if clocks == runs.clock and paused == self.paused:
            return False
        self._changed_ns = at_ns
        if clocks != runs.clock:
            runs.set_clocks(clocks, at_ns)
        for slot in self._by_job_id(paused ^ self.paused):
            runs.pause(slot, at_ns, paused=slot in paused)
        self.lowest_clock = max(self.lowest_clock, *clocks)
        acts = bool(paused) or (bool(self._groups()) and any(clock > bound for clock, bound in zip(clocks, self._bounds(), strict=True)))
        if acts != bool(self.acting.value):
            self.acting.change(at_ns, 1 if acts else -1)
            if self.on_change is not None:
                self.on_change(self.told() if acts else "", at_ns)
        return True

    def _may_bind(self) -> bool:
        """Whether heat bounds a clock, or the machine could draw more than a cap that acts."""
        if self.heat is not None and self.heat.bounds.any():
            return True
        binds = any(cap < self._most for cap in self._it_caps.values()) or (self.rows is not None and self.rows.bind)
        return binds and self._settings.over_cap != OverCap.NONE

    def act_at_once(self, at_ns: int) -> None:
        """The same between two cycles, where something has begun to draw more: only if a cap does not hold.

        Of a job that begins to work at this instant the draw is known only once its clock was set: hence again, until nothing changes.
        """
        while self._runs.clocked is not None and self._is_over():
            if not self._act(at_ns):
                break
        if self.batteries is not None:
            self.batteries.settle(at_ns)
            self._set_rates(at_ns)

    def _set_rates(self, at_ns: int) -> None:
        if self.batteries is not None:
            drawn = [facility_milliwatts(self._drawn(site), self.pue) for site in self._sites]
            self.batteries.set_rates(at_ns, drawn, facility_milliwatts(self._drawn(FACILITY), self.pue), self.caps)

    def _drawn(self, place: int) -> int:
        """IT milliwatts of a site or of all."""
        return self._meter.power_milliwatts if place == FACILITY else self._meter.site_milliwatts(place)

    def clock_of(self, place: int) -> int:
        """The lowest clock of a site, or of all."""
        sites, clock = self._zones.site, self._runs.clock
        return max(clock if place == FACILITY else [one for one, site in zip(clock, sites, strict=True) if site == place])

    @property
    def paused(self) -> set[int]:
        """Slots of the jobs that are paused."""
        return self._table.lives.paused

    def told(self) -> str:
        """What the caps do now, as a sentence."""
        clocks = sorted(set(self._runs.clock))
        text = f"clock at {' to '.join([f'{CLOCK_RATIO[clock]:.1%}' for clock in reversed(clocks[:: max(1, len(clocks) - 1)])])}"
        return f"{text}, {len(self.paused)} jobs paused" if self.paused else text

    def why(self) -> str:
        """What clocks are lowered for."""
        return "because of heat" if self.heat is not None and not self.acting.value else "for want of power"

    # -- which clocks, and who is paused --------------------------------------------------------------------------------------------

    def _wanted(self) -> tuple[list[int], set[int]]:
        """By zone the highest clock at which the caps hold, and the jobs that must be paused beside."""
        clocked = self._runs.clocked
        assert clocked is not None, "kept while a cap may act"
        draws = self._standing[:, None] + clocked.with_paused()
        clocks, groups = np.array(self._bounds(), dtype=np.int64), self._groups()
        if self._settings.over_cap != OverCap.PAUSE:
            for group in groups:
                clocks = lowered(draws, clocks, group.first, group.allowed)
        drawn, over = draws[np.arange(len(clocks)), clocks], dict[int, int]()
        for group in groups:
            excess = np.add.reduceat(drawn, group.first, dtype=np.int64) - group.allowed
            over |= {group.place + int(number): int(excess[number]) for number in np.flatnonzero(excess > 0)}
        chosen: list[int] = clocks.tolist()
        if not over:
            return chosen, set()
        if over.get(FACILITY, 0) >= int((drawn - self._standing).sum(dtype=np.int64)):  # also with all of them paused
            return chosen, clocked.drawing(chosen)
        return chosen, self._to_pause(over, chosen)

    def _bounds(self) -> Sequence[int]:
        """The highest clocks that heat leaves the zones."""
        return [FULL] * self._zones.count if self.heat is None else self.heat.bounds.tolist()

    def _groups(self) -> list[Group]:
        """Zones that have caps together which act: rows, sites, all. What switches draw is not for hosts to draw."""
        groups, caps, switches = list[Group](), self._it_caps, self._meter.switches
        if self._settings.over_cap == OverCap.NONE:
            return groups
        if self.rows is not None:
            groups.append(Group(len(self._sites), self.rows.first, self.rows.caps))
        if any(place != FACILITY for place in caps):
            allowed = [caps.get(site, UNCAPPED) - switches[site].value for site in self._sites]
            groups.append(Group(0, self._first_of_site, np.array(allowed, dtype=np.int64)))
        if FACILITY in caps:
            allowed = [caps[FACILITY] - self._meter.switches_milliwatts]
            groups.append(Group(FACILITY, np.zeros(1, np.int64), np.array(allowed, dtype=np.int64)))
        return groups

    def _to_pause(self, over: dict[int, int], clocks: Sequence[int]) -> set[int]:
        """Until nowhere more is drawn than allowed: ``over`` by so much, if nothing were paused."""
        table, clocked, first_row = self._table, self._runs.clocked, len(self._sites)
        assert clocked is not None, "kept while a cap may act"
        found: set[int] = set()
        for slot in sorted(self._runs.draw, key=lambda slot: (table.priority[slot], -table.start_ns[slot], -table.job_id[slot])):
            drawn: dict[int, int] = {}
            for zone, milliwatts in clocked.at(slot, clocks).items():
                row = [] if self.rows is None else [first_row + self.rows.of_zone[zone]]
                for place in (FACILITY, self._zones.site[zone], *row):
                    if place in over:
                        drawn[place] = drawn.get(place, 0) + milliwatts
            if any(over[place] > 0 for place in drawn):
                found.add(slot)
                for place, milliwatts in drawn.items():
                    over[place] -= milliwatts
                if max(over.values()) <= 0:
                    break
        return found

    def _by_job_id(self, slots: Iterable[int]) -> list[int]:
        return sorted(slots, key=self._table.job_id.__getitem__)
