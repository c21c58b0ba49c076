"""A fabric plane: its flows, their rates and the load of its links."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emulator.draws.sums import add_runs, add_up
from emulator.fabric.channels import channels
from emulator.fabric.contend import Demand, whole
from emulator.fabric.flow_table import FlowTable
from emulator.fabric.messages import NO_ROWS, FabricReadings, FabricReport, FlowOrder, FlowOrders, FlowRows, LinkReadings
from emulator.fabric.settings import FabricSettings
from emulator.fabric.spanning import solve_rows
from topology.cluster import TIERS, Cluster, Float64, Int64

#: What a snapshot is: plain arrays by name.
PlaneSnapshot = Mapping[str, NDArray[np.generic]]

NO_PLACES: Int64 = np.empty(0, dtype=np.int64)


class FabricPlane:
    """One connected component of the fabric without its endpoints. Pure: orders in, reports out.

    The rates are a function of the flows that are there and the links' health, and of nothing else: not of the order or grouping of
    the orders, nor of what was solved before. Only channels (``fabric.channels``) whose demand, every flow at its cap, exceeds their
    capacity can hold anybody below its cap; an order touches what shares such channels with it, directly or through others, and only that
    is solved again.

    A component that holds a flow with links in other planes is left to the head, which solves it with those planes (``fabric.spanning``).

    Endpoint links are not contended (a lane belongs to one GPU), so a fault of one is the affected jobs' lower cap: the head sends
    their flows again. The plane keeps the fault for its readings.

    Raises ValueError for a plane that the cluster does not have.
    """

    def __init__(self, cluster: Cluster, plane: int, settings: FabricSettings) -> None:
        links = cluster.links
        if not bool((links.plane == plane).any()):
            raise ValueError(f"plane {plane}: cluster {cluster.name} has planes 0 to {int(links.plane.max(initial=-1))}")
        self._cluster, self._plane, self._settings = cluster, plane, settings
        made = channels(cluster, settings)
        self._links = np.flatnonzero((made.plane == plane) & (made.tier > 0))  # ascending; local channel i is self._links[i]
        self._link_of = made.link[self._links]
        self._speed, tier = made.bytes_per_second[self._links], made.tier[self._links]
        #: Links are in order of tier: the directed channels of each that the plane has, by tier.
        ends = 2 * np.searchsorted(tier, np.arange(len(TIERS) + 1))
        self._of_tier = {number: slice(ends[number], ends[number + 1]) for number in range(len(TIERS)) if ends[number] < ends[number + 1]}
        endpoints = (links.plane == plane) & (links.tier == 0)
        self._endpoint_links = set(made.start[np.flatnonzero(endpoints)].tolist())  # their channels
        self._channel_speed = made.bytes_per_second
        self._endpoint_speed = add_up(links.bytes_per_second[endpoints])
        self._lane_speed = max(host.lane_bytes_per_second for host in cluster.host_types)
        self._clear()

    def _clear(self) -> None:
        directed = 2 * len(self._links)
        self._now_ns = 0
        self._table = FlowTable(directed)
        self._demand = Demand(self._speed, self._settings.efficiency)
        self._capacity: tuple[Float64, Float64] | None = None  # as _capacities has it; None: to be made
        self._endpoint_scale: dict[int, float] = {}
        self._load = np.zeros(directed, dtype=np.int64)  # as of the rates that the table calls loaded
        self._carried = np.zeros(directed)  # bytes of flows that are gone
        self._lane_carried = 0.0
        self._peak_demand = np.zeros(directed, dtype=np.int64)
        self._peak_load = np.zeros(directed, dtype=np.int64)  # up to the instant that _loads was last called at
        self._contended = np.zeros(directed + 1, dtype=bool)  # demand exceeds capacity, as of the last solution; the last: of no link

    def advance(self, until_ns: int, orders: FlowOrders) -> FabricReport:
        """Apply ``orders`` in their order and report the rates that changed.

        Raises ValueError for an order after ``until_ns``, the removal of a flow that is not there, and a link of another plane.
        """
        if len(orders) and int(orders.time_ns.max()) > until_ns:
            raise ValueError(f"plane {self._plane}: an order for {int(orders.time_ns.max())} ns in a window that ends at {until_ns} ns")
        touched: list[Int64] = []
        tell: list[int] = []
        local = self._local(orders.link)
        columns = (orders.time_ns, orders.kind, orders.flow, orders.cap, orders.lanes, orders.spans, orders.start[:-1], orders.start[1:])
        for time_ns, kind, flow, cap, lanes, spans, begin, end in zip(*(column.tolist() for column in columns), strict=True):
            if time_ns > self._now_ns:
                self._loads()  # the loads up to here are a state whose peaks count
                self._now_ns = time_ns
            if kind == FlowOrder.SCALE_LINK:
                touched.append(self._rescale(flow, cap))
                continue
            if kind != FlowOrder.ADD and flow not in self._table:
                raise ValueError(f"plane {self._plane}: no flow {flow} to {FlowOrder(kind).name.lower()}")
            if kind == FlowOrder.TELL:
                tell.append(flow)
            elif kind == FlowOrder.SET_RATE:
                self._table.set_rates(np.array([self._table.row_of(flow)]), np.array([cap]), self._now_ns)
            else:
                if flow in self._table:
                    touched.append(self._remove(flow))
                if kind == FlowOrder.ADD:
                    touched.append(self._add(flow, cap, lanes, spans, local[begin:end], orders.weight[begin:end]))
        self._now_ns = max(self._now_ns, until_ns)
        told, open_rows = self._share(np.concatenate(touched) if touched else NO_PLACES, tell)
        return FabricReport(
            until_ns=until_ns,
            flow=self._table.flow[told],
            rate=self._table.rate[told],
            open=open_rows,
        )

    def _local(self, link: NDArray[np.int32]) -> Int64:
        """From directed links of the cluster to those of the plane."""
        if not len(link):
            return NO_PLACES
        ids = link.astype(np.int64)
        place = np.searchsorted(self._links, ids >> 1)
        if not len(self._links) or bool((self._links[np.minimum(place, len(self._links) - 1)] != ids >> 1).any()):
            raise ValueError(f"plane {self._plane}: a flow crosses links that are not the plane's switch links")
        return 2 * place + (ids & 1)

    def _add(self, flow: int, cap: float, lanes: float, spans: bool, links: Int64, weights: Float64) -> Int64:
        if not (math.isfinite(cap) and cap >= 0.0):
            raise ValueError(f"plane {self._plane}: flow {flow} has cap {cap}; allowed: finite and at least 0")
        self._table.add(flow, cap, lanes, spans, links, weights, self._now_ns)
        self._demand.add(links, weights, cap)
        self._peak_demand[links] = np.maximum(self._peak_demand[links], self._demand.bytes_per_second[links])
        return links

    def _remove(self, flow: int) -> Int64:
        table = self._table
        row = table.row_of(flow)
        entries = table.span(row)
        links, weights = table.link[entries].copy(), table.weight[entries]
        sent = float(table.sent_at(np.array([row]), self._now_ns)[0])
        self._carried[links] += weights * sent
        self._lane_carried += float(table.lanes[row]) * sent
        self._demand.remove(links, weights, float(table.cap[row]))
        self._load[links] -= whole(weights * table.loaded[row])
        table.remove(flow)
        return links

    def _rescale(self, link: int, factor: float) -> Int64:
        if not 0.0 <= factor <= 1.0:
            raise ValueError(f"plane {self._plane}: link {link} is scaled by {factor}; allowed: 0 to 1")
        if link in self._endpoint_links:
            self._endpoint_scale[link] = factor
            return NO_PLACES
        place = int(np.searchsorted(self._links, link))
        if place == len(self._links) or self._links[place] != link:
            raise ValueError(f"plane {self._plane}: link {link} is not one of the plane's")
        self._demand.rescale(place, factor)
        self._capacity = None
        return np.array([2 * place, 2 * place + 1])

    def _share(self, touched: Int64, tell: list[int]) -> tuple[Int64, FlowRows]:
        """Solve the components of the touched links again. Returns the rows whose rate has changed, in order of flow, and the open
        components.
        """
        now = self._demand.contended(touched)
        hot = touched[now | self._contended[touched]]
        self._contended[touched] = now
        if not len(hot) and not tell:
            return NO_PLACES, NO_ROWS
        table = self._table
        mark = np.zeros(len(self._contended), dtype=bool)
        mark[hot] = True
        entries = np.flatnonzero((mark | self._contended)[table.link])
        reached = np.zeros(table.rows, dtype=bool)
        reached[table.row[entries[mark[table.link[entries]]]]] = True  # those of a repaired link are solved once more
        if bool((mark > self._contended).any()):
            entries = entries[self._contended[table.link[entries]]]
        mark[:] = False
        reached = table.connected(reached, entries, mark)
        seeds = reached & table.spans[: table.rows]
        if tell:
            seeds |= table.rows_of(tell)
        if not bool(seeds.any()):
            return self._solve(reached, entries), NO_ROWS
        is_open = table.connected(seeds, entries, mark)
        reached &= ~is_open
        rows = self._rows(is_open, entries)[1]
        return self._solve(reached, entries) if bool(reached.any()) else NO_PLACES, replace(
            rows, link=self._global(rows.link.astype(np.int64))
        )

    def _rows(self, wanted: NDArray[np.bool_], entries: NDArray[np.intp]) -> tuple[Int64, FlowRows]:
        """The wanted rows of the table, in order of flow, and their problem over ``entries`` alone, with the plane's own links."""
        table = self._table
        rows = np.flatnonzero(wanted)
        rows = rows[np.argsort(table.flow[rows], kind="stable")]
        rank = np.zeros(table.rows, dtype=np.int64)
        rank[rows] = np.arange(len(rows))
        mine = entries[wanted[table.row[entries]]]
        of = rank[table.row[mine]]
        order = np.argsort(of.astype(np.uint16) if len(rows) < 1 << 16 else of, kind="stable")  # numpy's radix sort is of 16 bits
        mine, of = mine[order], of[order]
        return rows, FlowRows(
            flow=table.flow[rows],
            cap=table.cap[rows],
            start=np.searchsorted(of, np.arange(len(rows) + 1)),
            link=table.link[mine].astype(np.int32),
            weight=table.weight[mine],
            capacity=self._demand.capacity[table.link[mine]],
        )

    def _solve(self, reached: NDArray[np.bool_], entries: NDArray[np.intp]) -> Int64:
        """Give the reached rows, whole components, their rates; the rows whose rate changed, in order of flow."""
        table = self._table
        rows, problem = self._rows(reached, entries)
        rates = solve_rows(problem)
        changed = rates != table.rate[rows]
        table.set_rates(rows[changed], rates[changed], self._now_ns)
        return np.asarray(rows[changed])

    def _loads(self) -> Int64:
        """Bytes per second on every directed link, brought up to date for the flows whose rate has changed since it was last asked for.

        To be called before anything changes at a later instant: at one instant flows come and go before their rates are known, and only
        what then stands is a load.
        """
        table = self._table
        rows = np.flatnonzero(table.loaded[: table.rows] != table.rate[: table.rows])
        if not len(rows):
            return self._load
        entries, sizes = table.spans_of(rows)
        weight = table.weight[entries]
        change = whole(weight * np.repeat(table.rate[rows], sizes)) - whole(weight * np.repeat(table.loaded[rows], sizes))
        links = table.link[entries]
        np.add.at(self._load, links, change)
        self._peak_load[links] = np.maximum(self._peak_load[links], self._load[links])
        table.loaded[rows] = table.rate[rows]
        return self._load

    def _global(self, local: Int64) -> NDArray[np.int32]:
        return np.asarray(2 * self._links[local >> 1] + (local & 1), dtype=np.int32)

    def read(self, at_ns: int, *, loads_only: bool = False) -> FabricReadings:
        """Load, capacity and peak by tier. Rates are constant between orders, so any instant since the last window reads alike.

        ``loads_only``: what has been carried is left out, as NaN; it takes as long as the rest.
        """
        load, peak = np.zeros(len(TIERS)), np.zeros(len(TIERS))
        healthy, of_tier = self._capacities()
        capacity = of_tier.copy()
        loads = self._loads()
        ratio = np.divide(loads, healthy, out=np.zeros(len(healthy)), where=healthy > 0.0)
        for tier, here in self._of_tier.items():
            load[tier] = int(loads[here].sum())
            peak[tier] = ratio[here].max()
        lost = math.fsum((1.0 - factor) * float(self._channel_speed[link]) for link, factor in sorted(self._endpoint_scale.items()))
        table = self._table
        rows = table.sorted_rows()
        rows = rows[table.lanes[rows] > 0]
        load[0] = 2 * int(whole(table.lanes[rows] * whole(table.rate[rows])).sum())
        capacity[0] = 2.0 * (self._endpoint_speed - lost)
        peak[0] = table.rate[rows].max(initial=0.0) / self._lane_speed
        return FabricReadings(
            at_ns=at_ns,
            plane=self._plane,
            load_bytes_per_second=load,
            capacity_bytes_per_second=capacity,
            peak_utilization=peak,
            carried_bytes=np.full(len(TIERS), np.nan) if loads_only else self._carried_by_tier(at_ns),
            flows=len(self._table),
        )

    def _capacities(self) -> tuple[Float64, Float64]:
        """Bytes per second that every directed switch link can carry as it is now, and all those of each tier."""
        if self._capacity is None:
            healthy, of_tier = np.repeat(self._speed * self._demand.scale, 2), np.zeros(len(TIERS))
            for tier, here in self._of_tier.items():
                of_tier[tier] = add_up(healthy[here])
            self._capacity = healthy, of_tier
        return self._capacity

    def _carried_by_tier(self, at_ns: int) -> Float64:
        """Bytes in both directions, shape (tiers,)."""
        moved, table, carried = np.zeros(len(TIERS)), self._table, self._carried_at(at_ns)
        for tier, here in self._of_tier.items():
            moved[tier] = add_up(carried[here])
        rows = table.sorted_rows()
        rows = rows[table.lanes[rows] > 0]
        moved[0] = 2.0 * (self._lane_carried + add_up(table.lanes[rows] * table.sent_at(rows, at_ns)))
        return moved

    def _carried_at(self, at_ns: int) -> Float64:
        """Bytes that every directed link has carried. Rates are summed over time by flow: a change costs its flows, not their links."""
        table = self._table
        rows = table.sorted_rows()
        entries, sizes = table.spans_of(rows)
        sent = table.weight[entries] * np.repeat(table.sent_at(rows, at_ns), sizes)
        return np.asarray(self._carried + np.bincount(table.link[entries], sent, len(self._carried)))

    def read_links(self, at_ns: int) -> LinkReadings:
        """What every switch link of the plane carries and has carried; for endpoint links see ``engine.network``."""
        loads, carried, demand, peak = self._loads(), self._carried_at(at_ns), self._peak_demand, self._peak_load
        ids, first = np.unique(self._link_of, return_index=True)  # channels are in order of link

        def by_link(values: NDArray[np.generic]) -> Float64:
            return add_runs(values.astype(np.float64).reshape(-1, 2), first)

        if not len(ids):
            return LinkReadings(ids, *(np.empty((0, 2)) for _ in range(4)))
        return LinkReadings(ids, by_link(loads), by_link(carried), by_link(demand), by_link(peak))

    def snapshot(self) -> PlaneSnapshot:
        """The whole state that the plane's future depends on, as arrays. A plane restored from it goes on with the same bits."""
        table = self._table
        rows = table.sorted_rows()
        entries, sizes = table.spans_of(rows)
        scaled = sorted(self._endpoint_scale.items())
        return {
            "until_ns": np.array(self._now_ns, dtype=np.int64),
            "flow": table.flow[rows],
            "cap": table.cap[rows],
            "lanes": table.lanes[rows],
            "rate": table.rate[rows],
            "spans": table.spans[rows],
            "sent": table.sent[rows],
            "since_ns": table.since_ns[rows],
            "start": np.concatenate(([0], np.cumsum(sizes))),
            "link": self._global(table.link[entries]),
            "weight": table.weight[entries],
            "scale": self._demand.scale.copy(),
            "endpoint_link": np.array([link for link, _ in scaled], dtype=np.int64),
            "endpoint_scale": np.array([factor for _, factor in scaled], dtype=np.float64),
            "carried": self._carried.copy(),
            "peak_demand": self._peak_demand.copy(),
            "peak_load": self._peak_load.copy(),
            "lane_carried": np.array(self._lane_carried),
        }

    def restore(self, snapshot: PlaneSnapshot) -> None:
        """Take the state of ``snapshot``, which is of the same cluster, plane and settings. Raises ValueError if it is not."""
        if len(snapshot["scale"]) != len(self._links):
            raise ValueError(f"plane {self._plane}: the snapshot has {len(snapshot['scale'])} switch links, the plane {len(self._links)}")
        self._clear()
        columns = {name: snapshot[name].tolist() for name in ("flow", "cap", "lanes", "spans", "start")}
        for place in np.flatnonzero(snapshot["scale"] != 1.0).tolist():
            self._demand.rescale(place, float(snapshot["scale"][place]))
        self._endpoint_scale = dict(zip(snapshot["endpoint_link"].tolist(), snapshot["endpoint_scale"].tolist(), strict=True))
        local, weights = self._local(np.asarray(snapshot["link"], dtype=np.int32)), np.array(snapshot["weight"], dtype=np.float64)
        for index, flow in enumerate(columns["flow"]):
            entries = slice(columns["start"][index], columns["start"][index + 1])
            self._add(flow, columns["cap"][index], columns["lanes"][index], columns["spans"][index], local[entries], weights[entries])
        self._contended[:-1] = self._demand.contended(slice(None))
        self._now_ns = int(snapshot["until_ns"])
        rows = self._table.sorted_rows()
        self._table.rate[rows], self._table.sent[rows], self._table.since_ns[rows] = (
            snapshot[name] for name in ("rate", "sent", "since_ns")
        )
        self._carried, self._lane_carried = np.array(snapshot["carried"], dtype=np.float64), float(snapshot["lane_carried"])
        self._peak_demand, self._peak_load = (np.array(snapshot[name], dtype=np.int64) for name in ("peak_demand", "peak_load"))
