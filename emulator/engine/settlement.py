"""Settlement: what happened since the cycle before, completions, faults and repairs, at its exact times and in their order."""

from collections.abc import Callable

import numpy as np

from emulator.engine.chronicle import Chronicle
from emulator.engine.ends import Ends
from emulator.engine.exchange import Exchange
from emulator.engine.host_faults import HostFaults
from emulator.engine.installed import InstalledRacks
from emulator.engine.meter import Meter
from emulator.engine.power_caps import PowerCaps
from emulator.engine.runs import RunEvent, Runs
from emulator.engine.stops import Stops
from emulator.engine.times import in_words
from emulator.racks.faults import Scope
from emulator.racks.messages import HostEvent
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import State


class Settlement:
    """``on_sent`` is called with an instant by which crews were sent to hosts: the shards are to know when these are whole."""

    def __init__(
        self,
        exchange: Exchange,
        scheduler: Scheduler,
        runs: Runs,
        racks: InstalledRacks,
        host_faults: HostFaults,
        *,
        power: PowerCaps,
        meter: Meter,
        stops: Stops,
        ends: Ends,
        chronicle: Chronicle,
    ) -> None:
        self._exchange, self._scheduler, self._runs, self._racks, self._host_faults = exchange, scheduler, runs, racks, host_faults
        self._power, self._meter, self._stops, self._ends, self._chronicle = power, meter, stops, ends, chronicle
        self.on_sent: Callable[[int], None] | None = None

    def run(self, at_ns: int) -> None:
        """Settle everything that happened up to ``at_ns``."""
        self._chronicle.events += self._racks.commission(at_ns)
        if self._exchange.next_ns <= at_ns:
            self.settle_shards(at_ns, self._exchange.due(at_ns))
        self._settle_runs(at_ns)

    def settle_shards(self, at_ns: int, shards: list[int]) -> None:
        """Have these shards run up to ``at_ns``, and settle what they report."""
        answers = self._exchange.ask(at_ns, shards)
        reports = [answers.racks[shard] for shard in shards]
        names = ("time_ns", "event", "host", "cause", "scope", "repair_ns")
        columns = (np.concatenate([getattr(report, name) for report in reports]) for name in names)
        for time_ns, event, host, cause, scope, repair_ns in sorted(zip(*(column.tolist() for column in columns), strict=True)):
            self._settle_runs(time_ns)
            self._chronicle.events += 1
            if event == HostEvent.FAULT:
                for slot, reason, detection_ns in self._host_faults.breaks(host, time_ns, cause, Scope(scope), repair_ns):
                    self._stops.interrupt(slot, time_ns, reason, detection_ns)
                self._host_faults.settle(host, time_ns, Scope(scope))
            else:
                self._host_faults.repaired(host, time_ns)
                self._power.act_at_once(time_ns)
                self._meter.note_peak()
        if self._host_faults.sent and self.on_sent is not None:
            self.on_sent(at_ns)

    def _settle_runs(self, at_ns: int) -> None:
        runs = self._runs
        while runs.next_ns() <= at_ns:
            event_ns, slot, what = runs.take()
            if what == RunEvent.AT_WORK:
                runs.begin_work(slot, event_ns)
                self._power.act_at_once(event_ns)
                self._meter.note_peak()
            elif what == RunEvent.NOTICED:
                self._stops.stop_again(slot, event_ns)
            elif what == RunEvent.PACE:
                self._chronicle.events += 1
                runs.change_pace(slot, event_ns)
            elif what == RunEvent.DRAINED:
                self._stops.drained(slot, event_ns)
            elif what == RunEvent.TIME_LIMIT:
                self._stops.stop(slot, event_ns, loses=True)
                self._chronicle.reasons[slot] = f"reached its time limit of {in_words(runs.time_limit_ns(slot))}"
                self._ends.end(slot, event_ns, State.FAILED)
            else:
                runs.halt(slot, event_ns)
                self._scheduler.finish(slot, at_ns=event_ns)
                self._scheduler.table.lives.remaining_ns[slot] = 0
                self._ends.end(slot, event_ns, State.FINISHED)
