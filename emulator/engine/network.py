"""The engine's side of the fabric: which flows the running jobs have, when the planes must be asked, and what a share does to a job."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from emulator.engine.shards import Answers
from emulator.fabric.contend import contendable_links
from emulator.fabric.messages import FlowOrder, FlowOrders, Order, pack_orders
from emulator.fabric.rings import RingFlow, RingMap
from emulator.fabric.settings import FabricSettings
from emulator.scheduler.free import Row
from emulator.scheduler.table import JobTable
from emulator.workload.training import speed_ratio, step_seconds
from topology.cluster import Cluster


class Network:
    """Flows of training jobs, and the orders to the planes that wait at the head.

    A plane is asked for rates only when a flow that could meet a full link comes or goes, or a link's capacity changes; every other flow
    runs at its cap, and its order travels with the next message. The cap is the lane's payload rate, or the part of it that a degraded
    endpoint link under the job's GPUs leaves: a ring is as fast as its slowest lane.
    """

    def __init__(self, cluster: Cluster, settings: FabricSettings, table: JobTable, plane_count: int) -> None:
        self._table = table
        self._rings = RingMap(cluster, settings)
        self._cluster = cluster
        self._plane_of_link = cluster.links.plane
        self._contendable: NDArray[np.bool_] = contendable_links(cluster, settings)
        self._flows: dict[int, tuple[RingFlow, ...]] = {}  # slot -> flows
        self._caps: dict[tuple[int, int], float] = {}  # (slot, plane) -> cap, where a degraded endpoint link lowers it
        self._rates: dict[tuple[int, int], float] = {}  # (slot, plane) -> rate, where the plane has told one
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
        flows = self._flows[slot] = self._rings.flows(rows)
        self._computing[slot] = self._computing_at(slot, self.full_bytes_per_second)
        self._cap(slot, rows)
        for flow in flows:
            self._order_flow(at_ns, slot, flow)

    def remove(self, at_ns: int, slot: int) -> None:
        """The job stopped."""
        for flow in self._flows.pop(slot):
            self._order(flow, Order(at_ns, FlowOrder.REMOVE, self._table.job_id[slot]))
            self._rates.pop((slot, flow.plane), None)
            self._caps.pop((slot, flow.plane), None)
        self._recapped.discard(slot)
        del self._computing[slot]

    def _cap(self, slot: int, rows: Sequence[Row]) -> bool:
        """Work out the caps of the job's flows; True where one of them is now another."""
        before = {flow.plane: self._caps.pop((slot, flow.plane), self.full_bytes_per_second) for flow in self._flows[slot]}
        if before and self._endpoint_scales:
            for link in self._rings.endpoint_lanes(rows)[0].tolist():
                plane, scale = int(self._plane_of_link[link]), self._endpoint_scales.get(link)
                if scale is not None and plane in before:
                    self._caps[slot, plane] = min(self._caps.get((slot, plane), math.inf), scale * self.full_bytes_per_second)
        changed = [plane for plane, cap in before.items() if cap != self._caps.get((slot, plane), self.full_bytes_per_second)]
        for plane in changed:
            self._rates.pop((slot, plane), None)  # the plane tells the new one where it is below the cap
            self.asks.add(plane)
        if changed:
            self._recapped.add(slot)
        return bool(changed)

    def _order_flow(self, at_ns: int, slot: int, flow: RingFlow) -> None:
        cap = self._caps.get((slot, flow.plane), self.full_bytes_per_second)
        self._order(flow, Order(at_ns, FlowOrder.ADD, self._table.job_id[slot], cap, flow.lanes, flow.links, flow.weights))

    def _order(self, flow: RingFlow, order: Order) -> None:
        self.changes += 1
        self._waiting[flow.plane].append(order)
        if self._contendable[flow.links].any():
            self.asks.add(flow.plane)

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
                    for flow in self._flows[slot]:
                        if flow.plane == plane:
                            self._order_flow(at_ns, slot, flow)

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

    def speeds(self, answers: Answers) -> Iterator[tuple[int, float]]:
        """Jobs whose speed is not what it was, by job id, with the new one (1: as if alone)."""
        touched = {(self._table.job_id[slot], slot) for slot in self._recapped}
        self._recapped.clear()
        for plane, report in sorted(answers.planes.items()):
            if report.contendable_changed:
                self._contendable = self._contendable.copy()
                links = np.flatnonzero(self._plane_of_link == plane)
                self._contendable[2 * links] = self._contendable[2 * links + 1] = False
                self._contendable[report.contendable] = True
            for job_id, rate in zip(report.flow.tolist(), report.rate.tolist(), strict=True):
                slot = self._table.slot_of[job_id]
                if slot in self._flows:
                    self._rates[slot, plane] = rate
                    touched.add((job_id, slot))
        for _, slot in sorted(touched):
            speed = self._speed(slot)
            if speed != self._table.speed[slot]:
                yield slot, speed

    def rate(self, slot: int) -> float:
        """Bytes per second that each lane of the job's rings gets; its slowest plane counts, since a step waits for all rails."""
        full = self.full_bytes_per_second
        told, caps = self._rates, self._caps
        return min((told.get((slot, flow.plane), caps.get((slot, flow.plane), full)) for flow in self._flows[slot]), default=full)

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
