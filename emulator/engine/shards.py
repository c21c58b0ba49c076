"""What the engine needs of the place where shards run. ``emulator.runtime`` has the implementations (in-process, Ray)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from emulator.fabric.messages import FabricReadings, FabricReport, FlowOrders, LinkReadings
from emulator.racks.messages import RackOrders, RackReadings, RackReport
from emulator.racks.serving_messages import ServingOrders, ServingReadings, ServingReport


@dataclass(frozen=True)
class ShardRange:
    """A rack shard holds racks ``first_rack`` up to ``end_rack``, which are hosts ``first_host`` up to ``end_host``, in whole blocks."""

    first_rack: int
    end_rack: int
    first_host: int
    end_host: int


@dataclass(frozen=True)
class Window:
    """One message to the shards: run to ``until_ns`` with these orders. Shards and planes not named are left alone."""

    until_ns: int
    racks: Mapping[int, RackOrders] = field(default_factory=dict)  # shard -> orders
    planes: Mapping[int, FlowOrders] = field(default_factory=dict)  # plane -> orders
    serving: Mapping[int, ServingOrders] = field(default_factory=dict)  # shard -> orders to its replicas
    read_planes: bool = False  # the loads of every plane are also read, at ``until_ns``


@dataclass(frozen=True)
class Answers:
    """What the shards and planes named in a window say at its end, by their number."""

    racks: Mapping[int, RackReport]
    planes: Mapping[int, FabricReport]
    readings: Mapping[int, FabricReadings] = field(default_factory=dict)  # by plane, where they were asked for
    serving: Mapping[int, ServingReport] = field(default_factory=dict)


@dataclass(frozen=True)
class Readings:
    """Everything that there is to read, at one instant."""

    racks: tuple[RackReadings, ...]  # by shard
    planes: tuple[FabricReadings, ...]  # by plane
    serving: tuple[ServingReadings, ...] = ()  # by shard; none where nothing serves


class ShardsLost(RuntimeError):
    """Shards are lost and could not be rebuilt, so the emulation cannot go on. The message says why."""


class Shards(Protocol):
    """Rack shards and fabric planes, wherever they run. One call is one barrier."""

    @property
    def ranges(self) -> tuple[ShardRange, ...]:
        """The rack shards, in rack order."""
        ...

    @property
    def plane_count(self) -> int: ...

    def advance(self, window: Window) -> Answers:
        """Run the named shards and planes to the window's end."""
        ...

    def read(self, at_ns: int) -> Readings:
        """Readings of everything. Changes nothing; every order up to ``at_ns`` has been sent before."""
        ...

    def read_links(self, at_ns: int) -> tuple[LinkReadings, ...]:
        """What the switch links of each plane carry and have carried, by plane."""
        ...

    def publish(self, at_ns: int) -> Readings:
        """As ``read``, and shards that serve their own metrics publish them."""
        ...

    def metrics_addresses(self) -> tuple[str, ...]:
        """host:port of each actor's own /metrics; empty in-process."""
        ...

    def end(self) -> None:
        """The run is ending: wait for nothing for long any more. A signal handler may call it."""
        ...

    def remote_usage(self) -> tuple[float, int]:
        """CPU seconds and bytes of memory of the shards' processes that this one did not start: those on a given Ray cluster."""
        ...

    def close(self) -> None: ...
