"""The engine's side of the fabric: which flows the running jobs have, when the planes must be asked, and what a share does to a job."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emulator.fabric.contend import contendable_links
from emulator.fabric.messages import FabricReport, FlowOrder, FlowOrders, FlowRows, Order, pack_orders
from emulator.fabric.rings import RingFlow, RingMap
from emulator.fabric.settings import FabricSettings
from emulator.fabric.spanning import solve_open
from emulator.scheduler.free import Row
from emulator.scheduler.table import JobTable
from emulator.workload.training import speed_ratio, step_seconds
from topology.cluster import Cluster

#: Send orders to planes and have their reports: one barrier.
Advance = Callable[[Mapping[int, FlowOrders]], Mapping[int, FabricReport]]


class Network:
    """Flows of training jobs, one a job, and the orders to the planes that wait at the head.

    A plane is asked for rates only when a flow that could meet a full link comes or goes, or a link's capacity changes; every other flow
    runs at its cap, and its order travels with the next message. The cap is the lane's payload rate, or the part of it that a degraded
    endpoint link under the job's GPUs leaves: a ring is as fast as its slowest lane, and a step waits for all rails.
    """

    def __init__(self, cluster: Cluster, settings: FabricSettings, table: JobTable, plane_count: int) -> None:
        self._table = table
        self._rings = RingMap(cluster, settings)
        self._cluster = cluster
        self._plane_of_link = cluster.links.plane
        self._contendable: NDArray[np.bool_] = contendable_links(cluster, settings)
        self._flows: dict[int, tuple[RingFlow, ...]] = {}  # slot -> its pieces, by plane
        self._caps: dict[int, float] = {}  # slot -> cap, where a degraded endpoint link lowers it
        self._rates: dict[int, float] = {}  # slot -> rate, where one was told that is not the cap
        self._recapped: set[int] = set()  # slots whose cap has changed since the speeds were last asked for
        self._computing: dict[int, float] = {}  # slot of a running training job -> part of its step that computes
        self._waiting: list[list[Order]] = [[] for _ in range(plane_count)]
        self._scales: dict[int, float] = {}  # link -> part of its healthy capacity, where that is not all
        self._endpoint_scales: dict[int, float] = {}  # those of them that are endpoint links
        self.changes = 0  # of flows and capacities so far: what a reading of the planes is as of
        self.asks: set[int] = set()  # planes whose rates may change

    @property
    def full_bytes_per_second(self) -> float:
        """What each lane of a flow gets when nothing contends."""
        return self._rings.lane_bytes_per_second

    def add(self, at_ns: int, slot: int, rows: Sequence[Row]) -> None:
        """A training job started on ``rows``."""
        self._flows[slot] = self._rings.flows(rows)
        self._computing[slot] = self._computing_at(slot, self.full_bytes_per_second)
        self._cap(slot, rows)
        self._order_flow(at_ns, slot)

    def remove(self, at_ns: int, slot: int) -> None:
        """The job stopped."""
        for piece in self._flows.pop(slot):
            self._order(piece, Order(at_ns, FlowOrder.REMOVE, self._table.job_id[slot]))
        self._rates.pop(slot, None)
        self._caps.pop(slot, None)
        self._recapped.discard(slot)
        del self._computing[slot]

    def _cap(self, slot: int, rows: Sequence[Row]) -> bool:
        """Work out the cap of the job's flow; True where it is now another."""
        full = self.full_bytes_per_second
        before = self._caps.pop(slot, full)
        if self._flows[slot] and self._endpoint_scales:
            scales = (self._endpoint_scales.get(link, 1.0) for link in self._rings.endpoint_lanes(rows)[0].tolist())
            if (worst := min(scales, default=1.0)) < 1.0:
                self._caps[slot] = worst * full
        if before == self._caps.get(slot, full):
            return False
        self._rates.pop(slot, None)  # the planes tell the new one where it is below the cap
        self._recapped.add(slot)
        self.asks.update(piece.plane for piece in self._flows[slot])
        return True

    def _order_flow(self, at_ns: int, slot: int) -> None:
        """(Re)place the job's flow in every plane that has a piece of it."""
        cap, pieces = self._caps.get(slot, self.full_bytes_per_second), self._flows[slot]
        self._rates.pop(slot, None)
        spans = sum(len(piece.links) > 0 for piece in pieces) > 1
        for piece in pieces:
            order = Order(at_ns, FlowOrder.ADD, self._table.job_id[slot], cap, piece.lanes, piece.links, piece.weights, spans)
            self._order(piece, order)

    def _order(self, piece: RingFlow, order: Order) -> None:
        self.changes += 1
        self._waiting[piece.plane].append(order)
        if self._contendable[piece.links].any():
            self.asks.add(piece.plane)

    def scale_link(self, at_ns: int, link: int, remaining_ratio: float) -> None:
        """The link keeps this part of its healthy capacity. Of an endpoint link the jobs above it feel that in their caps."""
        plane = int(self._plane_of_link[link])
        self.changes += 1
        endpoint = self._cluster.links.tier[link] == 0
        for scales in (self._scales, self._endpoint_scales) if endpoint else (self._scales,):
            scales[link] = remaining_ratio
            if remaining_ratio == 1.0:
                del scales[link]
        self._waiting[plane].append(Order(at_ns, FlowOrder.SCALE_LINK, link, remaining_ratio))
        self.asks.add(plane)
        if endpoint:
            domain = self._cluster.level("domain").first_host[self._cluster.links.u[link] :][:2]
            first, last = np.searchsorted(self._cluster.block.first_host, (domain[0], domain[1] - 1), side="right") - 1
            for slot in sorted(self._flows, key=self._table.job_id.__getitem__):
                if any(first <= row[0] <= last for row in self._table.rows[slot]) and self._cap(slot, self._table.rows[slot]):
                    self._order_flow(at_ns, slot)

    def take_asked(self) -> dict[int, FlowOrders]:
        """The orders of the planes that must be asked now."""
        asked = {plane: pack_orders(self._waiting[plane]) for plane in sorted(self.asks)}
        for plane in asked:
            self._waiting[plane] = []
        self.asks.clear()
        return asked

    def take_all(self) -> dict[int, FlowOrders]:
        """The orders of every plane that has some. No plane must be asked: those come first."""
        taken = {plane: pack_orders(orders) for plane, orders in enumerate(self._waiting) if orders}
        for plane in taken:
            self._waiting[plane] = []
        return taken

    def share(self, at_ns: int, advance: Advance) -> Iterator[tuple[int, float]]:
        """Let the planes share themselves anew. Jobs whose speed is not what it was, by job id, with the new one (1: as if alone)."""
        touched = self._recapped
        self._recapped = set()
        opened: dict[int, FlowRows] = {}
        for plane, report in sorted(advance(self.take_asked()).items()):
            if report.contendable_changed:
                self._contendable = self._contendable.copy()
                links = np.flatnonzero(self._plane_of_link == plane)
                self._contendable[2 * links] = self._contendable[2 * links + 1] = False
                self._contendable[report.contendable] = True
            touched.update(self._take_rates(report.flow, report.rate))
            if len(report.open):
                opened[plane] = report.open
        if opened:
            touched.update(self._take_rates(*solve_open(opened, self._planes_that_may_hold, self._teller(at_ns, advance)), tell_ns=at_ns))
        for _, slot in sorted((self._table.job_id[slot], slot) for slot in touched):
            speed = self._speed(slot)
            if speed != self._table.speed[slot]:
                yield slot, speed

    def _take_rates(self, job_ids: NDArray[np.int64], rates: NDArray[np.float64], tell_ns: int = -1) -> set[int]:
        """Note the rates that are not what was known, and tell the planes from ``tell_ns`` on where it was not they who told."""
        changed = set()
        for job_id, rate in zip(job_ids.tolist(), rates.tolist(), strict=True):
            slot = self._table.slot_of[job_id]
            if slot not in self._flows or rate == self.rate(slot):
                continue
            self._rates[slot] = rate
            changed.add(slot)
            if tell_ns >= 0:
                self.changes += 1
                for piece in self._flows[slot]:
                    self._waiting[piece.plane].append(Order(tell_ns, FlowOrder.SET_RATE, job_id, rate))
        return changed

    def _planes_that_may_hold(self, job_id: int) -> list[int]:
        """The planes in which the job's flow crosses a link that could be full."""
        pieces = self._flows[self._table.slot_of[job_id]]
        return [piece.plane for piece in pieces if self._contendable[piece.links].any()]

    def _teller(self, at_ns: int, advance: Advance) -> Callable[[Mapping[int, list[int]]], Mapping[int, FlowRows]]:
        def ask(missing: Mapping[int, list[int]]) -> Mapping[int, FlowRows]:
            for plane, job_ids in missing.items():
                self._waiting[plane].extend(Order(at_ns, FlowOrder.TELL, job_id) for job_id in job_ids)
            self.asks.update(missing)
            return {plane: report.open for plane, report in advance(self.take_asked()).items()}

        return ask

    def rate(self, slot: int) -> float:
        """Bytes per second that each lane of the job gets."""
        return self._rates.get(slot, self._caps.get(slot, self.full_bytes_per_second))

    def flows_of(self, slot: int) -> tuple[RingFlow, ...]:
        """The flows of a running job; none for jobs that do not train."""
        return self._flows.get(slot, ())

    def link_loads(self, running: Iterable[int]) -> NDArray[np.float64]:
        """Bytes per second on every link, of its busier direction, shape (links,)."""
        loads = np.zeros(2 * len(self._plane_of_link))
        lanes = np.zeros(len(self._plane_of_link))
        for slot in sorted(running):
            if self.flows_of(slot):
                rate = self.rate(slot)
                for flow in self._flows[slot]:
                    loads[flow.links] += flow.weights * rate
                link, count = self._rings.endpoint_lanes(self._table.rows[slot])
                lanes[link] += count * rate
        busier: NDArray[np.float64] = np.maximum(loads.reshape(-1, 2).max(axis=1), lanes)
        return busier

    def link_scales(self) -> dict[int, float]:
        """Links that do not have their healthy capacity, and the part of it that they have."""
        return dict(self._scales)

    def _speed(self, slot: int) -> float:
        shape, rate = self._table.shapes[self._table.shape[slot]], self.rate(slot)
        if rate <= 0.0 < shape.ring_bytes:
            return 0.0
        return float(speed_ratio(shape, rate, self.full_bytes_per_second))

    def set_speed(self, slot: int) -> None:
        """The job now runs at its current rate."""
        self._computing[slot] = self._computing_at(slot, self.rate(slot))

    def _computing_at(self, slot: int, rate: float) -> float:
        shape = self._table.shapes[self._table.shape[slot]]
        return min(1.0, shape.compute_seconds / float(step_seconds(shape, rate)))

    def computing(self, slot: int) -> float:
        """The part of its time that a running job's GPUs compute rather than wait for the network."""
        return self._computing.get(slot, 1.0)
