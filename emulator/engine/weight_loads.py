"""Weights that starting replicas get from others of their service: over the fabric, in streams from pool to pool.

A load is the last part of a start. In each cycle in which one goes on its stream has the rate of that cycle, which the loads of the stream
divide evenly; what is left at the next cycle goes on at the rate of that. A stream sends for as long as its loads need at the rate that it
had, or that its NICs have at first, so a load that is over within a cycle takes of the cycle what it needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from emulator.engine.kv_streams import DUTY_UNITS, rounded_up
from emulator.engine.network import Network
from emulator.engine.replicas import Replicas
from emulator.engine.runs import Runs
from emulator.engine.service_settings import ServingSettings
from emulator.fabric.stream_lanes import lane_count
from emulator.scheduler.free import Row
from emulator.scheduler.table import NEVER, JobTable, State
from emulator.workload.jobs import SECOND

#: No pool: who loads has not begun.
NONE = -1


@dataclass
class Load:
    """``left_ns`` is how long it will still take at ``rate``, in bytes a second; 0: it has not begun, and that is what storage takes."""

    left_ns: int
    rate: int = 0
    source: int = NONE


class WeightLoads:
    """Of the services whose ``weights_from_peers``. A stream is known to the network by a number above those of all pools."""

    def __init__(self, settings: ServingSettings, replicas: Replicas, table: JobTable, runs: Runs, network: Network) -> None:
        self._settings, self._replicas, self._table, self._runs, self._network = settings, replicas, table, runs, network
        self._cycle_ns = runs.cycle_ns
        self._loads: dict[int, Load] = {}  # by slot
        self._streams: dict[int, tuple[list[int], int]] = {}  # number -> the slots that load in this cycle, and its lanes
        self.next_ns = NEVER  # the next cycle in which a load begins or goes on

    # -- before the fabric is shared ------------------------------------------------------------------------------------------------

    def renew(self, at_ns: int) -> None:
        """Say what the streams of the cycle at ``at_ns`` are."""
        self._loads |= {slot: Load(read_ns) for slot, read_ns in self._replicas.take_placed().items()}
        if not self._loads and not self._streams:
            return
        before, by_number = self._streams, dict[int, list[int]]()
        for slot in self._network.by_job_id(self._loads):
            load = self._loads[slot]
            if not self._starts(slot):
                del self._loads[slot]
            elif slot not in self._table.lives.paused:
                self._runs.progress(slot, at_ns)
                load.left_ns = min(load.left_ns, self._table.lives.ahead_ns[slot])
                if self._fixed_ns(slot) < self._cycle_ns and self._has_source(slot, at_ns):
                    by_number.setdefault(self._number(slot), []).append(slot)
        for number in sorted(before.keys() - by_number.keys()):
            self._network.end_stream(at_ns, number)
        self._streams = {number: self._set(number, slots, before, at_ns) for number, slots in sorted(by_number.items())}

    def _starts(self, slot: int) -> bool:
        """It is a replica that starts, and holds its GPUs."""
        replica, lives = self._replicas.of.get(slot), self._table.lives
        if replica is None or replica.up or replica.leaving or self._table.state[slot] != State.RUNNING:
            return False
        return lives.ahead_ns[slot] > 0 and slot not in lives.out

    def _fixed_ns(self, slot: int) -> int:
        """What is left of its start before it loads."""
        return self._table.lives.ahead_ns[slot] - self._loads[slot].left_ns

    def _has_source(self, slot: int, at_ns: int) -> bool:
        """Whether a pool has what it needs: that from which it has begun to load, or the nearest. Otherwise it is left to storage."""
        load, replica = self._loads[slot], self._replicas.of[slot]
        up = set(self._replicas.services[replica.service].up.values())
        if load.source not in up:
            load.source = self._replicas.nearest(replica.pool, up)
        if load.source == NONE:
            self._leave_to_storage(slot, at_ns)
        return load.source != NONE

    def _leave_to_storage(self, slot: int, at_ns: int) -> None:
        """What is left comes from there; of one that has not begun the time is that already."""
        load, service = self._loads[slot], self._settings.services[self._replicas.of[slot].service]
        if load.rate:
            fixed_ns, left = self._fixed_ns(slot), load.left_ns * load.rate / SECOND
            self._runs.set_start(slot, at_ns, fixed_ns + self._runs.read_ns(slot, min(left, service.weight_bytes)))
        del self._loads[slot]

    def _number(self, slot: int) -> int:
        units, pool = self._replicas.units, self._replicas.of[slot].pool
        return self._replicas.pools + self._loads[slot].source * units + pool % units

    def _set(self, number: int, slots: list[int], before: dict[int, tuple[list[int], int]], at_ns: int) -> tuple[list[int], int]:
        of, source = self._replicas.services[self._replicas.of[slots[0]].service], self._loads[slots[0]].source
        senders = self._rows([slot for slot, pool in of.up.items() if pool == source])
        receivers = self._rows(slots)
        lanes = min(lane_count(senders), lane_count(receivers))
        if number in before:
            rate = (self._network.stream_rate(number) or 0.0) / before[number][1] * lanes
        else:
            kinds = {self._table.host_type[slot] for slot in slots}
            rate = min([self._network.full_bytes_per_second[kind] for kind in sorted(kinds)]) * lanes
        each = int(rate) // len(slots)
        busy_ns = sum([min(self._cycle_ns - self._fixed_ns(slot), self._takes_ns(slot, each)) for slot in slots])
        units = rounded_up(-(-busy_ns * DUTY_UNITS // (len(slots) * self._cycle_ns)))
        self._network.set_stream(at_ns, number, senders, receivers, units / DUTY_UNITS)
        return slots, lanes

    def _rows(self, slots: Sequence[int]) -> list[Row]:
        return [row for slot in slots for row in self._table.rows[slot]]

    def _takes_ns(self, slot: int, rate: int) -> int:
        """How long what is left takes at this rate, rounded up."""
        load = self._loads[slot]
        if not rate:
            return NEVER
        if load.rate:
            return -(-load.left_ns * load.rate // rate)
        return -(-ceil(self._settings.services[self._replicas.of[slot].service].weight_bytes) * SECOND // rate)

    # -- once the rates of the cycle are known --------------------------------------------------------------------------------------

    def retime(self, at_ns: int) -> None:
        """Have the starts of this cycle's loads end when they do at its rates."""
        for number, (slots, _) in self._streams.items():
            rate = int(self._network.stream_rate(number) or 0.0) // len(slots)
            for slot in slots:
                load = self._loads[slot]
                if not self._starts(slot):
                    continue
                if not rate:
                    self._leave_to_storage(slot, at_ns)
                elif rate != load.rate:
                    fixed_ns = self._fixed_ns(slot)
                    load.left_ns, load.rate = self._takes_ns(slot, rate), rate
                    self._runs.set_start(slot, at_ns, fixed_ns + load.left_ns)
        self.next_ns = at_ns + self._cycle_ns if self._streams else NEVER
        loading = {slot for slots, _ in self._streams.values() for slot in slots}
        for slot in self._loads.keys() - loading - self._table.lives.paused:
            begins_ns = at_ns + max(self._cycle_ns, self._fixed_ns(slot))
            self.next_ns = min(self.next_ns, begins_ns // self._cycle_ns * self._cycle_ns)
