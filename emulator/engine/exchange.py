"""The exchange with the shards: orders go out, and reports say until when nothing of theirs concerns anyone else.

Orders wait at the head until a window needs them (lookahead; Chandy, Misra, Bryant); so do flows that can change no rate.
"""

from collections.abc import Mapping
from dataclasses import replace

from emulator.engine.network import Network
from emulator.engine.orders import RackOrderBuffer
from emulator.engine.shards import Answers, Readings, Shards, Window
from emulator.fabric.messages import FabricReadings, FabricReport, FlowOrders, LinkReadings
from emulator.racks.serving_messages import ServingOrders, ServingReport

#: Rack orders that wait at the head before they are sent even though no window needs them.
ORDERS_KEPT = 65_536


class Exchange:
    """``next_ns`` is when the first event of a shard is that concerns anyone else."""

    def __init__(self, shards: Shards, network: Network, orders: RackOrderBuffer) -> None:
        self._shards, self._network, self._orders = shards, network, orders
        self._plane_readings: tuple[FabricReadings, ...] = ()
        self._planes_read = -1  # network.changes when they were read
        self._promises = [0] * len(shards.ranges)  # by shard: when its next event is that concerns anyone else
        self.next_ns = 0

    def ask_all(self, at_ns: int) -> None:
        """Ask every shard, as at the start."""
        self.ask(at_ns, list(range(len(self._promises))))

    def due(self, at_ns: int) -> list[int]:
        """The shards of which something is due by ``at_ns``."""
        return [shard for shard, promise in enumerate(self._promises) if promise <= at_ns]

    def ask(self, at_ns: int, shards: list[int]) -> Answers:
        """Have these shards run up to ``at_ns``, with all orders that wait for them."""
        answers = self._shards.advance(Window(at_ns, racks={shard: self._orders.take(shard) for shard in shards}))
        for shard, report in answers.racks.items():
            self._promises[shard] = report.next_event_ns
        self.next_ns = min(self._promises)
        return answers

    def send_many(self, at_ns: int) -> None:
        """Send the orders that wait where they are many. Everything due by now is settled, so the reports hold only the times of the
        next events.
        """
        if self._orders.size > ORDERS_KEPT:
            self.ask(at_ns, self._orders.waiting_shards())

    def share(self, at_ns: int, planes: Mapping[int, FlowOrders]) -> Mapping[int, FabricReport]:
        """Have these planes compute the shares of their flows."""
        return self._shards.advance(Window(at_ns, planes=planes)).planes

    def serve(self, at_ns: int, orders: Mapping[int, ServingOrders]) -> list[ServingReport]:
        """Have the replicas of these shards run up to ``at_ns``. Their reports, by shard."""
        answers = self._shards.advance(Window(at_ns, serving=orders)).serving
        return [answers[shard] for shard in sorted(answers)]

    # -- reading --------------------------------------------------------------------------------------------------------------------

    def read(self, at_ns: int, *, publish: bool = False) -> Readings:
        """Readings of every shard and plane. Does not change the result."""
        waiting = self._orders.waiting_shards()
        if waiting:
            self.ask(at_ns, waiting)
        self._send_flows(at_ns)
        return self._shards.publish(at_ns) if publish else self._shards.read(at_ns)

    def read_planes(self, at_ns: int) -> tuple[FabricReadings, ...]:
        """As ``read``, but of the fabric alone. Planes are asked only if a flow has changed, since loads are constant in between."""
        if self._planes_read != self._network.changes:
            read = self._shards.advance(Window(at_ns, planes=self._network.take_all(), read_planes=True)).readings
            self._plane_readings = tuple(read[plane] for plane in sorted(read))
            self._planes_read = self._network.changes
        return tuple(replace(plane, at_ns=at_ns) for plane in self._plane_readings)

    def read_links(self, at_ns: int) -> tuple[LinkReadings, ...]:
        """What every link carries and has carried, by plane. Does not change the result."""
        self._send_flows(at_ns)
        return self._shards.read_links(at_ns)

    def _send_flows(self, at_ns: int) -> None:
        """Send the flows that wait. None of them can change a rate, otherwise the planes would have been asked already."""
        planes = self._network.take_all()
        if planes:
            self._shards.advance(Window(at_ns, planes=planes))
