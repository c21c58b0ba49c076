"""A rack shard: the hosts of a block of whole racks, run from event to event.

Orders in, reports out; no clock, no Ray. A shard's answers depend on the orders it was given and on nothing else: not on how they were
grouped into messages, nor on how the racks were cut into shards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emulator.racks.buildout import Buildout, in_service_ns
from emulator.racks.energy import Meters
from emulator.racks.faults import NEVER, FaultSettings, Scope
from emulator.racks.host_faults import HostEvents, HostFaults
from emulator.racks.messages import HostEvent, RackOrder, RackOrders, RackReadings, RackReport
from emulator.racks.occupancy import Occupancy, hosts_of
from emulator.racks.power import idle_milliwatts
from emulator.racks.served import Served
from topology.cluster import BLOCK_HOSTS, Cluster

Arrays = dict[str, NDArray[Any]]

#: What an order does to the count of jobs on its GPUs, and to their power; by RackOrder.
_TAKES = np.array([1, -1, 0, 0, 0], np.int16)
_DRAWS = np.array([1, -1, 0, 0, 1], np.int64)


@dataclass(frozen=True)
class RackSettings:
    """The racks' settings in a scenario."""

    faults: FaultSettings = field(default_factory=FaultSettings)
    buildout: Buildout | None = None
    services: tuple[Served, ...] = ()
    pool_level: str = "site"  # a unit of it holds a pool of each service, and is whole in one shard where anything serves

    @property
    def whole_level(self) -> str:
        """The level of which no unit is cut."""
        return self.pool_level if self.services else "rack"


class RackSpan(Protocol):
    """Racks and hosts of a shard, ends exclusive; ``engine.shards.ShardRange`` is one."""

    @property
    def first_rack(self) -> int: ...
    @property
    def end_rack(self) -> int: ...
    @property
    def first_host(self) -> int: ...
    @property
    def end_host(self) -> int: ...


class RackShard:
    """The racks of ``span``, which begins and ends with whole racks and whole blocks (ValueError otherwise)."""

    def __init__(self, cluster: Cluster, span: RackSpan, settings: RackSettings, seed: int) -> None:
        rack, block = cluster.level("rack"), cluster.block
        self.span, self.now_ns = span, 0
        rack_first = rack.first_host[span.first_rack : span.end_rack + 1].astype(np.int64)
        self._first_block, end_block = (int(np.searchsorted(block.first_host, host)) for host in (span.first_host, span.end_host))
        block_first = block.first_host[self._first_block : end_block + 1].astype(np.int64)
        for name, edges in (("rack", rack_first), ("block", block_first)):
            if (int(edges[0]), int(edges[-1])) != (span.first_host, span.end_host):
                raise ValueError(f"hosts {span.first_host} to {span.end_host} are not whole {name}s")
        #: First host of each rack and block, counted from the shard's own first host, with the end.
        self._rack_first, self._block_first = rack_first - span.first_host, block_first - span.first_host
        self._rack_hosts = np.diff(rack_first)
        block_type = cluster.block_type[self._first_block : end_block]
        gpus = np.array([host_type.gpus for host_type in cluster.host_types], np.int32)[block_type]
        idle = np.array([idle_milliwatts(host_type) for host_type in cluster.host_types], np.int64)[block_type]
        self._block_gpus, hosts = gpus.astype(np.uint64), np.diff(block_first)
        #: GPUs and idle milliwatts of every host.
        self._host_gpus, self._host_idle = np.repeat(gpus, hosts), np.repeat(idle, hosts)
        self._last_bit = (np.diff(block_first) - 1).astype(np.uint64)  # of the host masks of each block
        self._piece_start, self._piece_rack, self._piece_mask = _pieces(self._rack_first, self._block_first)
        self.meters = Meters(len(self._rack_hosts))
        self.occupancy = Occupancy(self._host_gpus)
        #: When each rack comes into service; what it draws from then on.
        self._in_service_ns = in_service_ns(settings.buildout, len(rack))[span.first_rack : span.end_rack]
        self._rack_idle = np.add.reduceat(self._host_idle, self._rack_first[:-1], dtype=np.int64)
        self.hosts = HostFaults(
            span.first_host, len(self._host_gpus), settings.faults, seed, np.repeat(self._in_service_ns, self._rack_hosts)
        )
        #: Hosts that are down, and faults since the start, per rack.
        self.hosts_down = np.zeros(len(self._rack_hosts), np.int64)
        self.faults = np.zeros(len(self._rack_hosts), np.int64)
        there = np.flatnonzero(self._in_service_ns == 0)
        self.meters.change(there, self._rack_idle[there], np.zeros(len(there), np.int64))

    def advance(self, until_ns: int, orders: RackOrders) -> RackReport:
        """Run to ``until_ns``, with ``orders`` up to then. Starts, ends and re-ratings may lie in the past; BREAK_HOST and MEND_HOST not.

        Raises ValueError for an order that names what the shard does not have or comes too late or too early, before anything changed.
        """
        local = self._check(until_ns, orders)
        self._take(orders, local)
        events = self._run(until_ns, orders, local)
        self._count(events)
        self.now_ns = until_ns
        return RackReport(
            until_ns=until_ns,
            time_ns=events.time_ns,
            event=events.event,
            host=(events.host + self.span.first_host).astype(np.int32),
            cause=events.cause,
            scope=events.scope,
            repair_ns=events.repair_ns,
            next_event_ns=self.hosts.next_ns(),
        )

    def read(self, at_ns: int) -> RackReadings:
        """Readings at ``at_ns``, which is the present or later but before the next event (ValueError otherwise)."""
        if not self.now_ns <= at_ns < self.hosts.next_ns():
            raise ValueError(f"readings are known from {self.now_ns} ns to {self.hosts.next_ns()} ns, not at {at_ns} ns: advance first")
        meters = self._meters_at(at_ns)
        busy = self.occupancy.busy()
        down = np.where(self.hosts.repair_ns[: len(self._host_gpus)] == NEVER, 0, self._host_gpus - busy)
        return RackReadings(
            at_ns=at_ns,
            first_rack=self.span.first_rack,
            power_milliwatts=meters.power.copy(),
            energy_joules=meters.joules(at_ns),
            gpus=np.where(self._in_service_ns <= at_ns, self._per_rack(self._host_gpus), 0).astype(np.int32),
            gpus_busy=self._per_rack(busy),
            gpus_down=self._per_rack(down),
            hosts_down=self.hosts_down.astype(np.int32),
            faults=self.faults.copy(),
        )

    def _per_rack(self, hosts: NDArray[np.integer]) -> NDArray[np.int32]:
        return np.add.reduceat(hosts, self._rack_first[:-1], dtype=np.int32)

    def _meters_at(self, at_ns: int) -> Meters:
        """The meters with the racks in service at that time, computed as a closed form of time and not stored."""
        come = np.flatnonzero((self._in_service_ns > 0) & (self._in_service_ns <= at_ns))
        if not len(come):
            return self.meters
        meters = Meters(len(self._rack_hosts))
        meters.load(self.meters.arrays())
        meters.change(come, self._rack_idle[come], self._in_service_ns[come])
        return meters

    def snapshot(self) -> Arrays:
        """The whole state as arrays of its own; a shard made alike and restored from it goes on to the same bits."""
        own: Arrays = {"now_ns": np.asarray(self.now_ns, np.int64), "hosts_down": self.hosts_down, "faults": self.faults}
        return {name: array.copy() for name, array in (own | self.meters.arrays() | self.occupancy.arrays() | self.hosts.arrays()).items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take the state of ``snapshot``. Raises KeyError where an array is missing."""
        self.now_ns = int(arrays["now_ns"])
        self.hosts_down, self.faults = arrays["hosts_down"].copy(), arrays["faults"].copy()
        for part in (self.meters, self.occupancy, self.hosts):
            part.load(arrays)

    def _check(self, until_ns: int, orders: RackOrders) -> NDArray[np.int64]:
        """The shard's own number of each order's block."""
        if until_ns >= NEVER:
            raise ValueError(f"a window ends before {NEVER} ns, which means never")
        if until_ns < self.now_ns:
            raise ValueError(f"the shard is at {self.now_ns} ns, which is after the window's end, {until_ns} ns")
        local = orders.block.astype(np.int64) - self._first_block
        if not len(orders):
            return local
        if local.min() < 0 or local.max() >= len(self._block_first) - 1:
            end_block = self._first_block + len(self._block_first) - 1
            raise ValueError(
                f"an order names block {int(orders.block[np.argmax(np.abs(local))])}; the shard has {self._first_block} to {end_block - 1}"
            )
        if np.any(orders.host_mask >> self._last_bit[local] > 1):
            raise ValueError("an order's host_mask has hosts beyond the end of its block")
        beyond = orders.gpu_mask >> (self._block_gpus[local] - np.uint64(1)) > 1
        if beyond.any():
            raise ValueError(f"an order's gpu_mask has GPUs beyond the host's {self._block_gpus[local][beyond][0]}")
        if orders.time_ns.max() > until_ns:
            raise ValueError(f"an order at {orders.time_ns.max()} ns lies after the window's end, {until_ns} ns")
        commands = (orders.kind == RackOrder.BREAK_HOST) | (orders.kind == RackOrder.MEND_HOST)
        if np.any(commands & (orders.time_ns < self.now_ns)):
            raise ValueError(f"a host cannot be broken or mended at {orders.time_ns[commands].min()} ns: the shard is at {self.now_ns} ns")
        return local

    def _take(self, orders: RackOrders, local: NDArray[np.int64]) -> None:
        """Apply starts, ends and re-ratings: sums, so their order does not matter."""
        takes, draws = _TAKES[orders.kind], _DRAWS[orders.kind]
        rows = np.flatnonzero(takes)
        self.occupancy.change(self._block_first[local[rows]], orders.host_mask[rows], orders.gpu_mask[rows], takes[rows])
        rows = np.flatnonzero(draws)
        per_host = draws[rows] * orders.milliwatts[rows] * np.bitwise_count(orders.gpu_mask[rows]).astype(np.int64)
        first = self._piece_start[local[rows]]
        counts = self._piece_start[local[rows] + 1] - first
        order = np.repeat(np.arange(len(rows)), counts)
        piece = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts) + first[order]
        hosts = np.bitwise_count(orders.host_mask[rows][order] & self._piece_mask[piece]).astype(np.int64)
        touched = hosts > 0
        order, piece, hosts = order[touched], piece[touched], hosts[touched]
        self.meters.change(self._piece_rack[piece], per_host[order] * hosts, orders.time_ns[rows][order])

    def _run(self, until_ns: int, orders: RackOrders, local: NDArray[np.int64]) -> HostEvents:
        """Run faults and repairs up to ``until_ns``; commands act in order of (time, kind), after the events of their instant."""
        events: list[HostEvents] = []
        commands = np.flatnonzero((orders.kind == RackOrder.BREAK_HOST) | (orders.kind == RackOrder.MEND_HOST))
        keys = (orders.cause, orders.scope, orders.value_ns, orders.host_mask, local, orders.kind, orders.time_ns)
        for row in commands[np.lexsort(tuple(key[commands] for key in keys))]:
            time_ns = int(orders.time_ns[row])
            events += self.hosts.run(time_ns)
            hosts = hosts_of(self._block_first[local[row : row + 1]], orders.host_mask[row : row + 1])[1]
            value_ns = int(orders.value_ns[row])
            if orders.kind[row] == RackOrder.BREAK_HOST:
                events.append(self.hosts.break_hosts(time_ns, hosts, value_ns, int(orders.cause[row]), Scope(orders.scope[row])))
            else:
                events.append(self.hosts.mend_hosts(time_ns, hosts, value_ns))
        return HostEvents.join(events + self.hosts.run(until_ns))

    def _count(self, events: HostEvents) -> None:
        """Count faults and hosts that are down. A host draws nothing while the whole of it is."""
        if not len(events):
            return
        rack = np.searchsorted(self._rack_first, events.host, side="right") - 1
        np.add.at(self.faults, rack[events.event == HostEvent.FAULT], 1)
        np.add.at(self.hosts_down, rack, events.down)
        self.meters.change(rack, -events.dark * self._host_idle[events.host], events.time_ns)


def _pieces(
    rack_first: NDArray[np.int64], block_first: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
    """What each block shares with each rack: pieces ``start[b]:start[b + 1]`` of block b, each a rack and a mask of the block's hosts."""
    edges = np.union1d(rack_first, block_first)
    first, count = edges[:-1], np.diff(edges)
    block = np.searchsorted(block_first, first, side="right") - 1
    rack = np.searchsorted(rack_first, first, side="right") - 1
    ones = np.uint64(2**BLOCK_HOSTS - 1) >> (BLOCK_HOSTS - count).astype(np.uint64)
    return np.searchsorted(block, np.arange(len(block_first))), rack, ones << (first - block_first[block]).astype(np.uint64)
