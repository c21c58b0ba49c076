"""A fabric plane: its flows, their rates and the load of its links."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.fabric.contend import SLACK, hose_bound_bytes_per_second, outrun
from emulator.fabric.maxmin import max_min_rates
from emulator.fabric.messages import NO_WEIGHTS, FabricReadings, FabricReport, FlowOrder, FlowOrders
from emulator.fabric.settings import FabricSettings
from emulator.fabric.uplinks import lane_bytes_per_second
from topology.cluster import TIERS, Cluster, Float64, Int64

#: What a snapshot is: plain arrays by name.
PlaneSnapshot = Mapping[str, NDArray[np.generic]]

NO_PLACES: Int64 = np.empty(0, dtype=np.int64)


@dataclass(slots=True)
class _Flow:
    """``links`` are directed and local to the plane; ``demand`` and ``load`` are bytes per second on them at the cap and at the
    rate (or an earlier one, while the plane lists it as unloaded).

    ``narrow_links`` and ``narrow_weights`` are the part of them that could be full.
    """

    cap: float
    lanes: int
    links: Int64
    weights: Float64
    demand: Int64
    load: Int64
    rate: float
    narrow_links: Int64
    narrow_weights: Float64


def _whole(load: Float64) -> Int64:
    """Loads are whole bytes per second: sums of integers do not depend on their order, so they can be kept up to date."""
    return np.rint(load).astype(np.int64)


class FabricPlane:
    """One connected component of the fabric without its endpoints. Pure: orders in, reports out.

    The rates are a function of the flows that are there and the links' health, and of nothing else: not of the order or grouping of
    the orders, nor of what was solved before. Only links whose demand (every flow at its cap) exceeds their capacity can hold anybody
    below its cap; an order touches what shares such links with it, directly or through others, and only that is solved again.

    Endpoint links are not contended (a lane belongs to one GPU), so a fault of one is the affected jobs' lower cap: the head sends
    their flows again. The plane keeps the fault for its readings.

    Raises ValueError for a plane that the cluster does not have.
    """

    def __init__(self, cluster: Cluster, plane: int, settings: FabricSettings) -> None:
        links = cluster.links
        if not bool((links.plane == plane).any()):
            raise ValueError(f"plane {plane}: cluster {cluster.name} has planes 0 to {int(links.plane.max(initial=-1))}")
        self._cluster, self._plane, self._settings = cluster, plane, settings
        self._links = np.flatnonzero((links.plane == plane) & (links.tier > 0))  # ids, ascending; local link i is self._links[i]
        self._speed = links.bytes_per_second[self._links]
        self._tier = links.tier[self._links]
        self._endpoints = int(np.count_nonzero((links.plane == plane) & (links.tier == 0)))
        self._endpoint_speed = float(links.bytes_per_second[(links.plane == plane) & (links.tier == 0)].sum())
        self._lane_speed = lane_bytes_per_second(cluster)
        self._most = np.repeat(hose_bound_bytes_per_second(cluster)[self._links] * settings.efficiency, 2)
        self._clear()

    def _clear(self) -> None:
        directed = 2 * len(self._links)
        self._until_ns = 0
        self._flows: dict[int, _Flow] = {}
        self._contending: set[int] = set()  # flows that cross a contendable link
        self._scale = np.ones(len(self._links))
        self._endpoint_scale: dict[int, float] = {}
        self._demand = np.zeros(directed, dtype=np.int64)
        self._load = np.zeros(directed, dtype=np.int64)
        self._unloaded: dict[int, _Flow] = {}  # flows whose load is that of an earlier rate
        self._lane_load = 0
        self._lane_rates: Counter[float] = Counter()  # flows with lanes, by rate
        self._contended = np.zeros(directed, dtype=bool)  # demand exceeds capacity, as of the last solution
        self._measure()

    def _measure(self) -> None:
        """What follows from the links' health."""
        self._capacity = np.repeat(self._speed * self._scale * self._settings.efficiency, 2)
        self._limit = np.floor(self._capacity * (1.0 + SLACK)).astype(np.int64)
        self._contendable = outrun(self._capacity, self._most)

    def advance(self, until_ns: int, orders: FlowOrders) -> FabricReport:
        """Apply ``orders`` in their order and report the rates that changed.

        Raises ValueError for an order after ``until_ns``, the removal of a flow that is not there, and a link of another plane.
        """
        if len(orders) and int(orders.time_ns.max()) > until_ns:
            raise ValueError(f"plane {self._plane}: an order for {int(orders.time_ns.max())} ns in a window that ends at {until_ns} ns")
        touched: list[Int64] = []
        rescaled = False
        local = self._local(orders.link)
        kinds, ids, caps, lanes, start = (column.tolist() for column in (orders.kind, orders.flow, orders.cap, orders.lanes, orders.start))
        for kind, flow, cap, lane, begin, end in zip(kinds, ids, caps, lanes, start[:-1], start[1:], strict=True):
            if kind == FlowOrder.SCALE_LINK:
                touched.append(self._rescale(flow, cap))
                rescaled = True
                continue
            if kind == FlowOrder.REMOVE and flow not in self._flows:
                raise ValueError(f"plane {self._plane}: no flow {flow} to remove")
            if flow in self._flows:
                touched.append(self._remove(flow))
            if kind == FlowOrder.ADD:
                touched.append(self._add(flow, cap, lane, local[begin:end], orders.weight[begin:end]))
        contendable_changed = rescaled and self._recontend()
        told = self._share(np.concatenate(touched) if touched else NO_PLACES)
        self._until_ns = max(self._until_ns, until_ns)
        return FabricReport(
            until_ns=until_ns,
            flow=np.array(told, dtype=np.int64),
            rate=np.array([self._flows[flow].rate for flow in told], dtype=np.float64),
            contendable=self._global(np.flatnonzero(self._contendable)) if contendable_changed else np.empty(0, dtype=np.int32),
            contendable_changed=contendable_changed,
        )

    def _local(self, link: NDArray[np.int32]) -> Int64:
        """Directed links of the cluster to directed links of the plane."""
        if not len(link):
            return NO_PLACES
        ids = link.astype(np.int64)
        place = np.searchsorted(self._links, ids >> 1)
        if not len(self._links) or bool((self._links[np.minimum(place, len(self._links) - 1)] != ids >> 1).any()):
            raise ValueError(f"plane {self._plane}: a flow crosses links that are not the plane's switch links")
        return 2 * place + (ids & 1)

    def _add(self, flow: int, cap: float, lanes: int, links: Int64, weights: Float64) -> Int64:
        if not (math.isfinite(cap) and cap >= 0.0):
            raise ValueError(f"plane {self._plane}: flow {flow} has cap {cap}; allowed: finite and at least 0")
        if not len(links):
            self._flows[flow] = _Flow(cap, lanes, NO_PLACES, NO_WEIGHTS, NO_PLACES, NO_PLACES, cap, NO_PLACES, NO_WEIGHTS)
        else:
            links, weights = links.copy(), weights.copy()  # not views, which would keep the whole message
            demand, narrow = _whole(weights * cap), self._contendable[links]
            self._flows[flow] = _Flow(cap, lanes, links, weights, demand, demand, cap, links[narrow], weights[narrow])
            self._demand[links] += demand
            self._load[links] += demand
            if bool(narrow.any()):
                self._contending.add(flow)
        self._count_lanes(lanes, cap, 1)
        return links

    def _remove(self, flow: int) -> Int64:
        gone = self._flows.pop(flow)
        self._unloaded.pop(flow, None)
        self._contending.discard(flow)
        self._demand[gone.links] -= gone.demand
        self._load[gone.links] -= gone.load
        self._count_lanes(gone.lanes, gone.rate, -1)
        return gone.links

    def _count_lanes(self, lanes: int, rate: float, sign: int) -> None:
        if lanes:
            self._lane_load += sign * lanes * round(rate)
            self._lane_rates[rate] += sign
            if not self._lane_rates[rate]:
                del self._lane_rates[rate]

    def _rescale(self, link: int, factor: float) -> Int64:
        if not 0.0 <= factor <= 1.0:
            raise ValueError(f"plane {self._plane}: link {link} is scaled by {factor}; allowed: 0 to 1")
        links = self._cluster.links
        if not 0 <= link < len(links) or links.plane[link] != self._plane:
            raise ValueError(f"plane {self._plane}: link {link} is not one of the plane's")
        if links.tier[link] == 0:
            self._endpoint_scale[link] = factor
            return NO_PLACES
        place = int(np.searchsorted(self._links, link))
        self._scale[place] = factor
        return np.array([2 * place, 2 * place + 1])

    def _recontend(self) -> bool:
        """Apply the links' new health; True when other links than before could be full."""
        before = self._contendable
        self._measure()
        if bool((before == self._contendable).all()):
            return False
        either = before | self._contendable  # what crosses a mended link is solved once more
        self._contending.clear()
        for flow, state in self._flows.items():
            narrow = either[state.links]
            state.narrow_links, state.narrow_weights = state.links[narrow], state.weights[narrow]
            if bool(narrow.any()):
                self._contending.add(flow)
        return True

    def _share(self, touched: Int64) -> list[int]:
        """Solve again what the touched links concern; returns the flows whose rate is now another, ascending."""
        now = self._contendable[touched] & (self._demand[touched] > self._limit[touched])
        hot = touched[now | self._contended[touched]]
        self._contended[touched] = now
        if not len(hot):
            return []
        ids = np.array(sorted(self._contending), dtype=np.int64)
        flows = [self._flows[flow] for flow in ids.tolist()]
        if not flows:
            return []
        row = np.repeat(np.arange(len(flows)), [len(flow.narrow_links) for flow in flows])
        link = np.concatenate([flow.narrow_links for flow in flows])
        weight = np.concatenate([flow.narrow_weights for flow in flows])
        reached = np.zeros(len(flows), dtype=bool)
        mark = np.zeros(len(self._load), dtype=bool)
        mark[hot] = True
        reached[row[mark[link]]] = True
        full = self._contended[link]
        row, link, weight = row[full], link[full], weight[full]
        count = -1
        while count != (count := int(np.count_nonzero(reached))):  # flows connected to them through contended links
            mark[link[reached[row]]] = True
            reached[row[mark[link]]] = True
        mine = reached[row]
        used, link = np.unique(link[mine], return_inverse=True)
        rows = np.flatnonzero(reached)
        start = np.concatenate(([0], np.cumsum(np.bincount(row[mine], minlength=len(flows))[rows])))
        caps = np.array([flows[index].cap for index in rows.tolist()])
        rates = max_min_rates(ids[rows], start, link, weight[mine], cap=caps, capacity=self._capacity[used])
        changed = []
        for index, rate in zip(rows.tolist(), rates.tolist(), strict=True):
            flow = flows[index]
            if rate != flow.rate:
                changed.append(int(ids[index]))
                self._set_rate(int(ids[index]), flow, rate)
        return changed

    def _set_rate(self, number: int, flow: _Flow, rate: float) -> None:
        self._unloaded[number] = flow
        self._count_lanes(flow.lanes, flow.rate, -1)
        self._count_lanes(flow.lanes, rate, 1)
        flow.rate = rate

    def _loads(self) -> Int64:
        """Bytes per second on every directed link, brought up to date for the flows whose rate has changed since it was last asked for."""
        for state in self._unloaded.values():
            self._load[state.links] -= state.load
            state.load = _whole(state.weights * state.rate)
            self._load[state.links] += state.load
        self._unloaded.clear()
        return self._load

    def _global(self, local: Int64) -> NDArray[np.int32]:
        return np.asarray(2 * self._links[local >> 1] + (local & 1), dtype=np.int32)

    def read(self, at_ns: int) -> FabricReadings:
        """Load, capacity and peak by tier. Rates are constant between orders, so any instant since the last window reads alike."""
        links = self._cluster.links
        load, capacity, peak = np.zeros(len(TIERS)), np.zeros(len(TIERS)), np.zeros(len(TIERS))
        healthy = np.repeat(self._speed * self._scale, 2)
        loads = self._loads()
        ratio = np.divide(loads, healthy, out=np.zeros(len(healthy)), where=healthy > 0.0)
        tiers = np.repeat(self._tier, 2)
        for tier in np.unique(self._tier).tolist():
            here = tiers == tier
            load[tier] = int(loads[here].sum())
            capacity[tier] = healthy[here].sum()
            peak[tier] = ratio[here].max()
        lost = sum((1.0 - factor) * float(links.bytes_per_second[link]) for link, factor in sorted(self._endpoint_scale.items()))
        load[0], capacity[0] = 2 * self._lane_load, 2.0 * (self._endpoint_speed - lost)
        peak[0] = max(self._lane_rates, default=0.0) / self._lane_speed
        return FabricReadings(
            at_ns=at_ns,
            plane=self._plane,
            load_bytes_per_second=load,
            capacity_bytes_per_second=capacity,
            peak_utilization=peak,
            flows=len(self._flows),
        )

    def link_loads(self) -> tuple[NDArray[np.int32], Float64]:
        """The directed switch links of the plane and the bytes per second on each; for endpoint links see ``RingMap.endpoint_lanes``."""
        return self._global(np.arange(len(self._load))), self._loads().astype(np.float64)

    def snapshot(self) -> PlaneSnapshot:
        """All that the plane's future depends on, as arrays. A plane restored from it goes on with the same bits."""
        ids = sorted(self._flows)
        flows = [self._flows[flow] for flow in ids]
        start = np.zeros(len(flows) + 1, dtype=np.int64)
        np.cumsum([len(flow.links) for flow in flows], out=start[1:])
        scaled = sorted(self._endpoint_scale.items())
        return {
            "until_ns": np.array(self._until_ns, dtype=np.int64),
            "flow": np.array(ids, dtype=np.int64),
            "cap": np.array([flow.cap for flow in flows], dtype=np.float64),
            "lanes": np.array([flow.lanes for flow in flows], dtype=np.int64),
            "rate": np.array([flow.rate for flow in flows], dtype=np.float64),
            "start": start,
            "link": self._global(np.concatenate([NO_PLACES, *(flow.links for flow in flows)])),
            "weight": np.concatenate([NO_WEIGHTS, *(flow.weights for flow in flows)]),
            "scale": self._scale.copy(),
            "endpoint_link": np.array([link for link, _ in scaled], dtype=np.int64),
            "endpoint_scale": np.array([factor for _, factor in scaled], dtype=np.float64),
        }

    def restore(self, snapshot: PlaneSnapshot) -> None:
        """Become the plane that ``snapshot`` was taken of (same cluster, plane and settings). Raises ValueError for another's."""
        if snapshot["scale"].shape != self._scale.shape:
            raise ValueError(f"plane {self._plane}: the snapshot has {len(snapshot['scale'])} switch links, the plane {len(self._scale)}")
        self._clear()
        columns = {name: column.tolist() for name, column in snapshot.items() if name != "weight"}
        self._until_ns = columns["until_ns"]
        self._scale = np.array(snapshot["scale"], dtype=np.float64)
        self._endpoint_scale = dict(zip(columns["endpoint_link"], columns["endpoint_scale"], strict=True))
        self._measure()
        local, weights = self._local(np.asarray(snapshot["link"], dtype=np.int32)), np.array(snapshot["weight"], dtype=np.float64)
        for index, flow in enumerate(columns["flow"]):
            entries = slice(columns["start"][index], columns["start"][index + 1])
            self._add(flow, columns["cap"][index], columns["lanes"][index], local[entries], weights[entries])
            self._set_rate(flow, self._flows[flow], columns["rate"][index])
        self._contended = self._contendable & (self._demand > self._limit)
