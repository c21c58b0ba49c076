"""The engine's side of the fabric: the flows of jobs and streams, when planes must be asked, and how a share changes a job's speed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emulator.engine.streams import STREAM_FIRST_ID, Stream
from emulator.engine.ways_out import HostRails, WaysOut, slowest_lane, ways_by_block
from emulator.fabric.channels import Channels
from emulator.fabric.contend import Demand, whole
from emulator.fabric.messages import FabricReport, FlowOrder, FlowOrders, FlowRows, Order, pack_orders
from emulator.fabric.settings import FabricSettings
from emulator.fabric.spanning import solve_open
from emulator.fabric.stream_lanes import lane_count
from emulator.fabric.traffic import Piece, Traffic, TrafficMap
from emulator.scheduler.free import Row
from emulator.scheduler.table import JobTable
from emulator.workload.jobs import SECOND
from emulator.workload.training import step_seconds
from topology.cluster import Cluster, Float64

#: Sends orders to planes and returns their reports: one barrier.
Advance = Callable[[Mapping[int, FlowOrders]], Mapping[int, FabricReport]]

#: Placements for which the bytes of stopped jobs are kept apart; beyond, they become those of their links.
CLOSED_ROWS = 65_536


class Network:
    """Flows of training jobs, one per job, and of streams, and the orders to planes that wait at the head.

    A flow is known by the slot of its job, or that of stream n by ~n, which is below 0.

    A plane is asked for rates only when a flow that meets a contended channel comes or goes, or the capacity of one changes; every other
    flow runs at its cap, and its order travels with the next message. The cap is the lane's payload rate, or the part of it that degraded
    links at its endpoints leave: a ring is as fast as its slowest lane, and a step waits for all rails.
    """

    def __init__(self, cluster: Cluster, settings: FabricSettings, table: JobTable, plane_count: int) -> None:
        self._cluster, self._table = cluster, table
        self._map = TrafficMap(cluster, settings)
        self._channels = self._map.channels
        self._demand = Demand(self._channels.bytes_per_second, settings.efficiency)
        self.hashed = settings.routing == "ecmp"
        self._group_demand = np.zeros(self._map.groups**2, dtype=np.int64)  # bytes per second between groups that decide on detours
        self._turning = False  # the demand or the links between groups have changed
        self._unplaced: set[int] = set()  # slots whose flow no plane has yet, until the detours are known
        self._traffic: dict[int, Traffic] = {}  # of running training jobs, by slot
        self._caps: dict[int, float] = {}  # slot -> bytes per second per lane that it can use
        self._ideal: dict[int, float] = {}  # slot -> seconds of a step with whole lanes under one leaf
        self._rates: dict[int, float] = {}  # slot -> rate, for flows with a rate below their cap
        self._recapped: set[int] = set()  # slots whose cap or traffic has changed since they were last given a speed
        self._late: dict[int, float] = {}  # slot -> seconds that its steps take longer than what they compute and send
        self._computing: dict[int, float] = {}  # slot of a running training job -> part of its step that computes
        self._sent: dict[int, tuple[float, int]] = {}  # slot -> bytes that each lane had sent, and when
        self._closed: dict[Row, float] = {}  # bytes that each lane on these GPUs has sent for jobs that have stopped
        self._carried = np.zeros((len(cluster.links), 2))  # bytes up and down endpoint links that are no longer in it
        self._streams: dict[int, Stream] = {}
        self._stirred = set[int]()  # keys of streams of which the rate may have changed since somebody took them
        self._waiting: list[list[Order]] = [[] for _ in range(plane_count)]
        self._scales: dict[int, float] = {}  # channel -> remaining part of its healthy capacity, for channels that have lost some
        self._ways_out: WaysOut = {}
        self._asks: set[int] = set()  # planes whose rates may change
        self.changes = 0  # number of changes of flows and capacities so far, to know whether a reading of the planes is current

    @property
    def full_bytes_per_second(self) -> tuple[float, ...]:
        """What each lane of a flow gets when nothing contends, by host type."""
        return self._map.caps

    @property
    def channels(self) -> Channels:
        return self._channels

    @property
    def stale(self) -> bool:
        """Whether the speed of a job may have changed."""
        return bool(self._asks or self._recapped or self._turning)

    def add(self, at_ns: int, slot: int, rows: Sequence[Row]) -> None:
        """A training job started on ``rows``."""
        shape = self._table.shapes[self._table.shape[slot]]
        traffic = self._traffic[slot] = self._map.traffic(rows, shape)
        self._ideal[slot] = step_seconds(shape, traffic.cap, self._map.ideal_hop_seconds(rows))
        self._caps[slot] = self._cap_of(rows, traffic, self._ways_out)
        self._sent[slot] = 0.0, at_ns
        if len(traffic.groups.pair):
            self._ask_for_groups(slot, 1)
            self._unplaced.add(slot)
            self._recapped.add(slot)
        else:
            self._place(at_ns, slot)
        self.set_speed(slot)

    def has(self, slot: int) -> bool:
        """Whether the job sends: it trains, and nothing has stopped it."""
        return slot in self._traffic

    def remove(self, at_ns: int, slot: int) -> None:
        """The job stopped."""
        self._ask_for_groups(slot, -1)
        if slot in self._unplaced:
            self._unplaced.discard(slot)
        else:
            self._withdraw(at_ns, slot)
        if self._traffic[slot].pieces:
            for row in self._table.rows[slot]:
                self._closed[row] = self._closed.get(row, 0.0) + self._sent_at(slot, at_ns)
            if len(self._closed) > CLOSED_ROWS:
                closed = sorted(self._closed.items())
                load = self._map.endpoint_load([row for row, _ in closed], np.array([bytes_sent for _, bytes_sent in closed]))
                self._carried += load[:, None]
                self._closed.clear()
        del self._traffic[slot], self._sent[slot], self._caps[slot], self._computing[slot], self._ideal[slot]
        self._rates.pop(slot, None)
        self._late.pop(slot, None)
        self._recapped.discard(slot)

    # -- streams --------------------------------------------------------------------------------------------------------------------

    def set_stream(self, at_ns: int, number: int, senders: Sequence[Row], receivers: Sequence[Row], ratio: float) -> None:
        """Stream ``number`` runs between these rows from now on, during the part ``ratio`` of the time; or it does so already."""
        key, ends = ~number, (tuple(sorted(senders)), tuple(sorted(receivers)))
        before = self._streams.get(key)
        if before is not None and (before.senders, before.receivers) == ends:
            if before.ratio == ratio:
                return
            whole_traffic = before.whole
        else:
            whole_traffic = self._map.stream(*ends)
        if before is not None:
            self.end_stream(at_ns, number)
        stream = self._streams[key] = Stream(*ends, ratio, whole_traffic)
        self._traffic[key], self._caps[key], self._sent[key] = stream.traffic(), stream.cap(self._ways_out), (0.0, at_ns)
        self._stirred.add(key)
        if len(self._traffic[key].groups.pair):
            self._ask_for_groups(key, 1)
            self._unplaced.add(key)
        else:
            self._place(at_ns, key)

    def end_stream(self, at_ns: int, number: int) -> None:
        """There is no such stream any more, if there was."""
        key = ~number
        if key not in self._streams:
            return
        self._ask_for_groups(key, -1)
        if key in self._unplaced:
            self._unplaced.discard(key)
        else:
            self._withdraw(at_ns, key)
        for link, way, lanes in self._ends_of(key):
            self._carried[link, way] += lanes * self._sent_at(key, at_ns)
        for of in (self._streams, self._traffic, self._caps, self._sent):
            del of[key]
        self._rates.pop(key, None)
        self._stirred.add(key)

    def stir_stream(self, number: int) -> None:
        """Somebody is to look at the rate of this stream again."""
        self._stirred.add(~number)

    def take_stirred(self) -> list[int]:
        """Streams that have come, gone or changed their rate since this was last asked for, ascending."""
        stirred, self._stirred = self._stirred, set()
        return sorted([~key for key in stirred])

    def stream_rate(self, number: int) -> float | None:
        """Bytes per second of all lanes of a stream while it sends. None: there is no such stream."""
        stream = self._streams.get(~number)
        return None if stream is None else stream.lanes * self.rate(~number)

    def _ends_of(self, key: int) -> list[tuple[NDArray[np.int64], int, Float64]]:
        """The endpoint links of a stream's senders (0: up) and receivers (1: down), and the lanes on each of them in the mean."""
        stream, found = self._streams[key], []
        for way, rows in enumerate((stream.senders, stream.receivers)):
            link, gpus = self._map.endpoint_lanes(rows)
            found.append((link, way, gpus * (stream.ratio * stream.lanes / lane_count(rows))))
        return found

    def _flow_id(self, key: int) -> int:
        """By which planes know a flow."""
        return self._table.job_id[key] if key >= 0 else STREAM_FIRST_ID + ~key

    def _key_of(self, flow: int) -> int | None:
        return self._table.slot_of.get(flow) if flow < STREAM_FIRST_ID else ~(flow - STREAM_FIRST_ID)

    def _rows_of(self, key: int) -> Sequence[Row]:
        if key >= 0:
            return self._table.rows[key]
        return *self._streams[key].senders, *self._streams[key].receivers

    def _traffic_of(self, key: int) -> tuple[Traffic, float]:
        """The traffic of a flow as links are now, and its cap."""
        if key < 0:
            before = self._streams[key]
            stream = self._streams[key] = replace(before, whole=self._map.stream(before.senders, before.receivers))
            return stream.traffic(), stream.cap(self._ways_out)
        rows = self._table.rows[key]
        traffic = self._map.traffic(rows, self._table.shapes[self._table.shape[key]])
        return traffic, self._cap_of(rows, traffic, self._ways_out)

    # -- flows ----------------------------------------------------------------------------------------------------------------------

    def _ask_for_groups(self, slot: int, sign: int) -> None:
        """Count (or, with -1, no longer) what the job asks for between groups."""
        groups = self._traffic[slot].groups
        if len(groups.pair):
            self._group_demand[groups.pair] += sign * whole(groups.lanes * self._caps[slot])
            self._turning = True

    def _turn(self) -> set[int]:
        """Find the detours for the demand of all jobs; returns the slots whose traffic changes."""
        changed = np.zeros(len(self._group_demand), dtype=np.bool_)
        changed[self._map.turn(self._group_demand)] = True
        self._turning = False
        if not changed.any():
            return set()
        return {slot for slot, traffic in self._traffic.items() if changed[traffic.groups.pair].any()}

    def _place_all(self, at_ns: int) -> None:
        """The flows as the demand of all jobs now has them: by what groups a dragonfly's take detours."""
        if not self._turning:
            return
        for slot in self.by_job_id(self._turn()):
            self._send_again(at_ns, slot)
        for slot in self.by_job_id(self._unplaced):
            self._place(at_ns, slot)
        self._unplaced.clear()

    def _cap_of(self, rows: Sequence[Row], traffic: Traffic, ways: WaysOut) -> float:
        """The job's cap. A ring is as fast as its slowest lane, so it is the least that is left of a rail on one of the job's hosts."""
        if not traffic.pieces or not ways:
            return traffic.cap
        return slowest_lane(rows, ways) * traffic.cap

    def _place(self, at_ns: int, slot: int) -> None:
        """Put the flow into every plane that has a piece of it."""
        flow, cap, pieces = self._flow_id(slot), self._caps[slot], self._traffic[slot].pieces
        self._rates.pop(slot, None)
        spans = sum(len(piece.links) > 0 for piece in pieces) > 1
        for piece in pieces:
            self.changes += 1
            self._waiting[piece.plane].append(Order(at_ns, FlowOrder.ADD, flow, cap, piece.lanes, piece.links, piece.weights, spans))
            self._demand.add(piece.links, piece.weights, cap)
            self._ask_about(piece)

    def _withdraw(self, at_ns: int, slot: int) -> None:
        """Take the flow out of the planes."""
        for piece in self._traffic[slot].pieces:
            self.changes += 1
            self._waiting[piece.plane].append(Order(at_ns, FlowOrder.REMOVE, self._flow_id(slot)))
            self._ask_about(piece)
            self._demand.remove(piece.links, piece.weights, self._caps[slot])

    def _ask_about(self, piece: Piece) -> None:
        if bool(self._demand.contended(piece.links).any()):
            self._asks.add(piece.plane)

    def scale(self, at_ns: int, scales: Mapping[int, float], hosts: set[int], host_rails: HostRails) -> None:
        """Scale channels to a part of their healthy capacity. Switches route around it, and the flows that change are sent again.

        ``host_rails`` is what is left of every (host, rail) that has not all of its way out, and ``hosts`` those for which it has changed.
        """
        if hosts:
            self._ways_out = ways_by_block(self._cluster, host_rails)
        inside = False
        for channel, scale in sorted(scales.items()):
            self.changes += 1
            self._scales[channel] = scale
            if scale == 1.0:
                del self._scales[channel]
            plane, both = int(self._channels.plane[channel]), slice(2 * channel, 2 * channel + 2)
            self._waiting[plane].append(Order(at_ns, FlowOrder.SCALE_LINK, channel, scale))
            inside |= self._map.split_ports or bool(self._channels.tier[channel] > 0)
            if self._channels.tier[channel] > 0:
                before = bool(self._demand.contended(both).any())
                self._demand.rescale(channel, scale)
                if before or bool(self._demand.contended(both).any()):
                    self._asks.add(plane)
        concerned = self._jobs_of(hosts)
        if inside:
            concerned |= self._jobs_on(self._map.reroute(self._scales))
            if self._map.groups:
                concerned |= self._turn()
                self._turning = bool(self._unplaced)
        for slot in self.by_job_id(concerned):
            self._send_again(at_ns, slot)

    def _jobs_of(self, hosts: set[int]) -> set[int]:
        """Flows with GPUs of these hosts' blocks."""
        if not hosts:
            return set()
        blocks = set((np.searchsorted(self._cluster.block.first_host, sorted(hosts), side="right") - 1).tolist())
        return {slot for slot in self._traffic if any(row[0] in blocks for row in self._rows_of(slot))}

    def _jobs_on(self, links: NDArray[np.integer]) -> set[int]:
        """Flows whose traffic loads one of these links."""
        if not len(links):
            return set()
        mark = np.zeros(len(self._cluster.links), dtype=np.bool_)
        mark[links] = True
        channel = mark[self._channels.link]
        return {slot for slot, traffic in self._traffic.items() if any(channel[piece.links >> 1].any() for piece in traffic.pieces)}

    def by_job_id(self, slots: Iterable[int]) -> list[int]:
        """Streams come last."""
        return sorted(slots, key=self._flow_id)

    def demand_and_capacity(self) -> tuple[NDArray[np.int64], Float64]:
        """Payload bytes per second: asked of each channel up and down, shape (channels, 2), and what either way has, (channels,)."""
        return self._demand.bytes_per_second.reshape(-1, 2), self._demand.capacity[::2]

    def worst_of_jobs(self, by_channel: Float64) -> Iterator[tuple[int, float]]:
        """(slot, value) of the jobs that load a channel with a value above 0; the highest value of each job."""
        for slot, traffic in self._traffic.items():
            worst = max((float(by_channel[piece.links >> 1].max(initial=0.0)) for piece in traffic.pieces), default=0.0)
            if worst > 0.0 and slot >= 0:
                yield slot, worst

    def part_lost_at_hosts(self, host_rails: HostRails) -> dict[int, float]:
        """By slot, the part of its rate that a job would lose with these NIC capacities; only jobs that would lose some."""
        lost, ways = {}, ways_by_block(self._cluster, host_rails)
        for slot in self._jobs_of({host for host, _ in host_rails}):
            if slot < 0:
                continue
            rate = self.rate(slot)
            left = self._cap_of(self._table.rows[slot], self._traffic[slot], ways)
            if left < rate:
                lost[slot] = 1.0 - left / rate
        return lost

    def _send_again(self, at_ns: int, slot: int) -> None:
        """Send the flow again if the links' health has changed it."""
        traffic, cap = self._traffic_of(slot)
        if cap == self._caps[slot] and _same(traffic, self._traffic[slot]):
            return
        placed = slot not in self._unplaced
        if placed:
            self._withdraw(at_ns, slot)
        self._sent[slot] = self._sent_at(slot, at_ns), at_ns
        if cap != self._caps[slot]:
            self._ask_for_groups(slot, -1)
        self._caps[slot], before = cap, self._caps[slot]
        self._traffic[slot] = traffic
        if cap != before:
            self._ask_for_groups(slot, 1)
        self._recapped.add(slot)
        if placed:
            self._place(at_ns, slot)

    def take_asked(self) -> dict[int, FlowOrders]:
        """The orders of the planes that must be asked now."""
        asked = {plane: pack_orders(self._waiting[plane]) for plane in sorted(self._asks)}
        for plane in asked:
            self._waiting[plane] = []
        self._asks.clear()
        return asked

    def take_all(self) -> dict[int, FlowOrders]:
        """The orders for every plane that has some. No plane may be waiting to be asked: ``take_asked`` comes first."""
        taken = {plane: pack_orders(orders) for plane, orders in enumerate(self._waiting) if orders}
        for plane in taken:
            self._waiting[plane] = []
        return taken

    def share(self, at_ns: int, advance: Advance) -> Iterator[tuple[int, float]]:
        """Have the planes compute new shares. Returns the jobs whose speed has changed, by job id, with the new speed (1: as if alone)."""
        self._place_all(at_ns)
        touched, self._recapped = self._recapped, set()
        opened: dict[int, FlowRows] = {}
        asked = self.take_asked()
        for plane, report in sorted(advance(asked).items()) if asked else ():
            touched |= self._take_rates(report.flow, report.rate, at_ns)
            if len(report.open):
                opened[plane] = report.open
        if opened:
            solved = solve_open(opened, self._planes_that_hold, self._teller(at_ns, advance))
            touched |= self._take_rates(*solved, at_ns, tell=True)
        for slot in self.by_job_id(touched):
            if slot < 0:
                self._stirred.add(slot)
                continue
            speed = self.speed(slot)
            if speed != self._table.lives.network_speed(slot):
                yield slot, speed

    def _take_rates(self, flows: NDArray[np.int64], rates: Float64, at_ns: int, *, tell: bool = False) -> set[int]:
        """Note the rates that have changed, and ``tell`` them to the planes that did not compute them themselves."""
        changed = set()
        for flow, rate in zip(flows.tolist(), rates.tolist(), strict=True):
            slot = self._key_of(flow)
            if slot is None or slot not in self._traffic or rate == self.rate(slot):
                continue
            self._sent[slot] = self._sent_at(slot, at_ns), at_ns
            self._rates[slot] = rate
            changed.add(slot)
            if tell:
                self.changes += 1
                for piece in self._traffic[slot].pieces:
                    self._waiting[piece.plane].append(Order(at_ns, FlowOrder.SET_RATE, flow, rate))
        return changed

    def _planes_that_hold(self, flow: int) -> list[int]:
        """The planes in which a flow crosses a contended channel."""
        key = self._key_of(flow)
        pieces = self._traffic[key].pieces if key is not None else ()
        return [piece.plane for piece in pieces if bool(self._demand.contended(piece.links).any())]

    def _teller(self, at_ns: int, advance: Advance) -> Callable[[Mapping[int, list[int]]], Mapping[int, FlowRows]]:
        def ask(missing: Mapping[int, list[int]]) -> Mapping[int, FlowRows]:
            for plane, flows in missing.items():
                self._waiting[plane].extend(Order(at_ns, FlowOrder.TELL, flow) for flow in flows)
            self._asks.update(missing)
            return {plane: report.open for plane, report in advance(self.take_asked()).items()}

        return ask

    def rate(self, slot: int) -> float:
        """Bytes per second that each lane of the flow gets."""
        return self._rates.get(slot, self._caps[slot])

    def pieces_of(self, slot: int) -> tuple[Piece, ...]:
        """What a running job loads; empty for jobs that do not train or do not leave a domain."""
        traffic = self._traffic.get(slot)
        return traffic.pieces if traffic is not None else ()

    def asks_for(self, slot: int) -> tuple[tuple[Piece, ...], float]:
        """What a running job loads, and its cap in bytes per second per lane; nothing for one that does not train."""
        return self.pieces_of(slot), self._caps.get(slot, 0.0)

    def would_load(self, slot: int, rows: Sequence[Row]) -> tuple[tuple[Piece, ...], float, float]:
        """The same of a training job if it ran on ``rows``, and its cap there if all links were healthy."""
        traffic = self._map.traffic(rows, self._table.shapes[self._table.shape[slot]])
        return traffic.pieces, self._cap_of(rows, traffic, self._ways_out), traffic.cap

    def _sent_at(self, slot: int, at_ns: int) -> float:
        """Bytes that each lane of a flow has sent since it started."""
        sent, since_ns = self._sent[slot]
        return sent + self.rate(slot) * ((at_ns - since_ns) / SECOND)

    def endpoint_links(self, running: Iterable[int], at_ns: int) -> tuple[Float64, Float64]:
        """Bytes per second now, and bytes since the start, of endpoint links up and down, shape (links, 2); 0 for others.

        What has been carried counts as if a NIC's ports had been healthy all the time: a dead one's part is not moved to the others.
        """
        held = [(row, slot) for slot in self.by_job_id(running) if self.pieces_of(slot) for row in self._table.rows[slot]]
        rows, closed = [row for row, _ in held], sorted(self._closed.items())
        rates = np.array([self.rate(slot) for _, slot in held])
        sent = np.array([self._sent_at(slot, at_ns) for _, slot in held] + [bytes_sent for _, bytes_sent in closed])
        carried = self._carried + self._map.endpoint_load(rows + [row for row, _ in closed], sent)[:, None]
        loads = np.repeat(self._map.endpoint_load(rows, rates, now=True)[:, None], 2, axis=1)
        for key in self.by_job_id(self._streams):
            for link, way, lanes in self._ends_of(key):
                loads[link, way] += lanes * self.rate(key)
                carried[link, way] += lanes * self._sent_at(key, at_ns)
        return loads, carried

    def dead_link(self, slot: int) -> int:
        """A dead link that the job's traffic needs; -1 if there is none."""
        dead = {channel for channel, scale in self._scales.items() if scale == 0.0}
        needed = [channel for piece in self.pieces_of(slot) for channel in np.unique(piece.links >> 1).tolist() if channel in dead]
        if not needed and self.pieces_of(slot):  # a lane's own way out: of a link for several lanes a part
            ends = self._channels.start[self._map.endpoint_lanes(self._table.rows[slot])[0]].tolist()
            needed = [channel for channel in ends if self._scales.get(channel, 1.0) < 1.0]
        return int(self._channels.link[min(needed)]) if needed else -1

    def fullest_link(self, slot: int) -> tuple[int, float]:
        """Of the links that the job loads, the one with the highest ratio of demand (each flow at its cap) to capacity, and the ratio; -1
        if none.
        """
        channels = [piece.links for piece in self.pieces_of(slot) if len(piece.links)]
        if not channels:
            return -1, 0.0
        directed = np.concatenate(channels)
        ratio = self._demand.bytes_per_second[directed] / np.maximum(self._demand.capacity[directed], 1.0)
        most = int(ratio.argmax())
        return int(self._channels.link[directed[most] >> 1]), float(ratio[most])

    def speed(self, slot: int) -> float:
        """The speed of a running job, relative to healthy lanes under one leaf."""
        if self.rate(slot) <= 0.0 and self._traffic[slot].pieces:
            return 0.0
        return min(1.0, self._ideal[slot] / self._step_seconds(slot))

    def _step_seconds(self, slot: int) -> float:
        """Of a running job's steps at its current rate."""
        shape = self._table.shapes[self._table.shape[slot]]
        return step_seconds(shape, self.rate(slot), self._traffic[slot].hop_seconds) + self._late.get(slot, 0.0)

    def ideal_seconds(self, slot: int) -> float:
        """Of a running job's steps with whole lanes under one leaf, where nothing is late."""
        return self._ideal[slot]

    def set_late(self, slot: int, seconds: float) -> None:
        """The running job's steps take so much longer from now on, whatever its rate."""
        self._late[slot] = seconds
        self.set_speed(slot)

    def set_speed(self, slot: int) -> None:
        """The job now runs at its current rate."""
        shape = self._table.shapes[self._table.shape[slot]]
        self._computing[slot] = min(1.0, shape.compute_seconds / self._step_seconds(slot))

    def computing(self, slot: int) -> float:
        """The part of its time that a running job's GPUs compute rather than wait for the network."""
        return self._computing.get(slot, 1.0)


def _same(one: Traffic, other: Traffic) -> bool:
    return len(one.pieces) == len(other.pieces) and all(
        a.plane == b.plane and a.lanes == b.lanes and np.array_equal(a.links, b.links) and np.array_equal(a.weights, b.weights)
        for a, b in zip(one.pieces, other.pieces, strict=True)
    )
