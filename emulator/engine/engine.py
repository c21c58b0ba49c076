"""The cycle: emulated time advances from one scheduling cycle in which something is due to the next.

A cycle at t settles what happened since the cycle before (completions, faults and repairs at their exact times), takes in what
arrived, plans once, and shares the fabric among the flows that changed. At one instant: completions, faults, repairs, commands,
arrivals, then one plan; ties by id. Cost follows events: nothing is done in cycles without one.
"""

from bisect import insort
from collections.abc import Callable, Collection
from dataclasses import replace
from heapq import heappop, heappush

import numpy as np

from emulator.engine.commands import BreakHosts, Cancel, Command, Cordon, CutLinks, StallOut, Submit
from emulator.engine.link_events import LinkEvents
from emulator.engine.link_table import LinkTable, link_table
from emulator.engine.meter import Meter
from emulator.engine.network import Network
from emulator.engine.orders import RackOrderBuffer
from emulator.engine.settings import EngineSettings
from emulator.engine.shards import Answers, Readings, Shards, Window
from emulator.fabric.messages import FabricReadings
from emulator.racks.buildout import in_service_ns
from emulator.racks.faults import CAUSES
from emulator.racks.messages import HostEvent, RackOrder
from emulator.racks.power import gpu_milliwatts, idle_milliwatts
from emulator.scheduler.free import Row
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import SECOND, JobKind, JobSource
from topology.cluster import Cluster
from topology.describe import link_name

#: Rack orders that wait at the head before they are sent even though no window needs them.
ORDERS_KEPT = 65_536


class Engine:
    """One emulation. Pure but for ``shards``, which may run anywhere; not thread-safe: one owner calls it.

    ``on_change(slot, at_ns)`` is called for each job whose state changed, with the instant at which it did.
    """

    def __init__(
        self,
        cluster: Cluster,
        scheduler: Scheduler,
        shards: Shards,
        network: Network,
        source: JobSource | None,
        settings: EngineSettings,
        on_change: Callable[[int, int], None] | None = None,
    ) -> None:
        self.cluster, self.scheduler, self.shards, self.network, self.settings = cluster, scheduler, shards, network, settings
        self.table = scheduler.table
        self.now_ns = 0
        self._passed_ns = -1  # no cycle up to here will be run any more
        self.cycles = 0
        self.events = 0
        self.submitted = 0
        self.posted_jobs = 0  # by inputs whose cycle has not come
        self.started = 0
        self.preemptions = 0
        self.restarts = 0
        self.faults = [0] * len(CAUSES)
        self.ended = dict.fromkeys((State.FINISHED, State.FAILED, State.CANCELLED, State.INFEASIBLE, State.REJECTED), 0)
        self.waits_ns: list[int] = []
        self.reasons: dict[int, str] = {}  # slot -> how it ended, where the state does not say it all
        self.on_change = on_change
        self._idle = [idle_milliwatts(host_type) for host_type in cluster.host_types]
        self.meter = Meter(0)
        self.meter.install(0, sum(hosts * idle for hosts, idle in zip(cluster.type_hosts, self._idle, strict=True)), cluster.gpu_count)
        self._rack_first: list[int] = cluster.level("rack").first_host.tolist()
        self._to_come = self._plan_racks()
        self._gpu_milliwatts: dict[tuple[int, float], int] = {}
        self._tenants: dict[Row, int] = {}  # shared GPU -> fractional jobs on it
        self._active: dict[int, int] = {}  # slot of a running job -> SM activity, in millionths of a GPU
        self._draw: dict[int, int] = {}  # slot of a running job -> milliwatts per GPU
        self._orders = RackOrderBuffer(shards.ranges, scheduler.first_host)
        self._ends: list[tuple[int, int, int, int]] = []  # (end, job id, slot, version)
        self._source = source
        self._arrivals = range(0)
        self._inbox: list[tuple[int, int, Command]] = []  # (stamp, sequence, command), sorted
        self._timers: list[tuple[int, int, Command]] = []
        self.links = LinkEvents(cluster, network, scheduler, settings.link_faults, settings.seed, settings.cycle_ns)
        self._still_until: dict[int, int] = {}  # slot of a job that a flap stopped -> until when
        self._sequence = 0
        self._reconsider_ns = NEVER
        self._plane_readings: tuple[FabricReadings, ...] = ()
        self._planes_read = -1  # network.changes when they were read
        self._promises = [0] * len(shards.ranges)  # by shard: nothing of it concerns anyone before
        self._ask_shards(0, list(range(len(self._promises))))

    # -- time -----------------------------------------------------------------------------------------------------------------------

    def next_cycle_ns(self) -> int:
        """The next cycle in which something is due; NEVER when nothing will ever be without an input."""
        due = min(self._next_arrival_ns(), self._next_end_ns(), *self._promises, self._reconsider_ns, self.links.next_ns())
        if self._to_come:
            due = min(due, self._to_come[-1][0])
        if self._inbox:
            due = min(due, self._inbox[0][0])
        if self._timers:
            due = min(due, self._timers[0][0])
        if due == NEVER:
            return NEVER
        return self.boundary(max(due, self._passed_ns + 1))

    def open_cycle_ns(self) -> int:
        """The first cycle that has not been passed: the earliest in which an input can still act."""
        return self.boundary(self._passed_ns + 1)

    def boundary(self, time_ns: int) -> int:
        """The first cycle at or after ``time_ns``."""
        return -(-time_ns // self.settings.cycle_ns) * self.settings.cycle_ns

    def has_work(self) -> bool:
        """Whether a job will end, is to come, or waits for something that will happen.

        What is left otherwise stays as it is for ever: services without an end, and jobs for which there will be no room.
        """
        if self._inbox or self._next_end_ns() != NEVER or self._next_arrival_ns() != NEVER:
            return True
        if (self._timers or self.links.waiting) and self.scheduler.running:  # a job may stand still until its link is mended
            return True
        return self.scheduler.pending_jobs > 0 and bool(self.scheduler.down_hosts or self._to_come)

    def finish(self, until_ns: int) -> None:
        """Settle up to ``until_ns`` without planning: the end of the emulation."""
        self._note_time(until_ns)
        self._settle(until_ns)
        self.now_ns = self._passed_ns = until_ns
        for slot in sorted(self.scheduler.running):
            self._progress(slot, until_ns)

    def idle_to(self, at_ns: int) -> None:
        """Nothing is due up to ``at_ns``: let the clock say so, for whoever reads it."""
        self._note_time(at_ns)
        self.now_ns = self._passed_ns = at_ns

    def run_cycle(self, at_ns: int) -> None:
        """The cycle at ``at_ns``, which is ``next_cycle_ns()`` or earlier."""
        before = self.events
        self._note_time(at_ns)
        self._settle(at_ns)
        self.now_ns = self._passed_ns = at_ns
        self._intake(at_ns)
        if self.events != before or self._reconsider_ns <= at_ns:
            self._plan(at_ns)
        if self.network.stale:
            self._share(at_ns)
        self.cycles += 1

    def _note_time(self, at_ns: int) -> None:
        scheduler = self.scheduler
        self.meter.note_cycle(scheduler.free_gpus, scheduler.split_gpus, at_ns - self.now_ns)

    # -- inputs ---------------------------------------------------------------------------------------------------------------------

    def post(self, command: Command, stamp_ns: int) -> None:
        """An input, to act at the cycle ``stamp_ns``. Raises ValueError where that has passed."""
        if stamp_ns < self.open_cycle_ns():
            raise ValueError(f"an input cannot act at {stamp_ns} ns: the next cycle is at {self.open_cycle_ns()} ns")
        self._sequence += 1
        insort(self._inbox, (stamp_ns, self._sequence, command))
        if isinstance(command, Submit):
            self.posted_jobs += len(command.slots)

    def _next_arrival_ns(self) -> int:
        while not self._arrivals and self._source is not None:
            batch = next(self._source, None)
            if batch is None:
                self._source = None
            elif len(batch):
                self._arrivals = self.scheduler.add(batch)
        return self.table.submit_ns[self._arrivals[0]] if self._arrivals else NEVER

    def _intake(self, at_ns: int) -> None:
        if self.links.next_ns() <= at_ns:
            self.events += 1
            for slot, down_ns in self.links.run(at_ns):
                self._stand_still(slot, at_ns, down_ns)
        while self._timers and self._timers[0][0] <= at_ns:
            self._act(heappop(self._timers)[2], at_ns)
        while self._inbox and self._inbox[0][0] <= at_ns:
            self._act(self._inbox.pop(0)[2], at_ns)
        while self._next_arrival_ns() <= at_ns:
            self._arrive(self._arrivals[0], at_ns)
            self._arrivals = self._arrivals[1:]

    def _arrive(self, slot: int, at_ns: int, *, accepted: bool = False) -> None:
        self.events += 1
        self.submitted += 1
        state = self.scheduler.arrive(slot, accepted=accepted)
        if state != State.PENDING:
            self.ended[state] += 1
        self._changed(slot, at_ns)

    def _act(self, command: Command, at_ns: int) -> None:
        self.events += 1
        match command:
            case Submit(slots):
                self.posted_jobs -= len(slots)
                for slot in slots:
                    self._arrive(slot, at_ns, accepted=True)
            case Cancel(slot):
                self._cancel(slot, at_ns)
            case Cordon(first_host, end_host, cordoned):
                self.links.cordon(range(first_host, end_host), cordoned=cordoned)
            case BreakHosts(first_host, end_host, repair_ns):
                rows = self._rows_of_hosts(first_host, end_host)
                self._orders.add(at_ns, RackOrder.BREAK_HOST, rows, 0, repair_ns)
                self._settle_shards(at_ns, sorted({self._orders.shard_of_block[row[0]] for row in rows}))
            case CutLinks(cuts, duration_ns, flap_ns, every_ns):
                for slot, down_ns in self.links.inject(at_ns, cuts, duration_ns, flap_ns, every_ns):
                    self._stand_still(slot, at_ns, down_ns)
            case StallOut(slot, version):
                if self.table.version[slot] == version and self.table.state[slot] == State.RUNNING:
                    link = self.network.dead_link(slot)
                    what = f"link {link_name(self.cluster, link)} is down" if link >= 0 else "no bandwidth"
                    self._interrupt(slot, at_ns, f"stalled for {self.settings.stall_timeout_ns / SECOND:g} s: {what}")

    def _stand_still(self, slot: int, at_ns: int, down_ns: int) -> None:
        """A flap that no share sees stops the job for so long; several at once do not add up."""
        until_ns = at_ns + down_ns
        wait_ns = until_ns - max(at_ns, self._still_until.get(slot, 0))
        if wait_ns <= 0:
            return
        self._still_until[slot] = until_ns
        self._progress(slot, at_ns)
        lost = int(wait_ns * self.table.speed[slot])
        self.table.remaining_ns[slot] += lost
        self.table.work_ns[slot] -= lost
        self._expect_end(slot, at_ns)

    def _rows_of_hosts(self, first_host: int, end_host: int) -> list[Row]:
        """Those of the hosts that are in service."""
        scheduler = self.scheduler
        rows: dict[int, int] = {}
        for host in range(first_host, end_host):
            if host not in scheduler.planned_hosts:
                block = scheduler.host_block[host]
                rows[block] = rows.get(block, 0) | 1 << (host - scheduler.first_host[block])
        return [(block, mask, scheduler.partitions[scheduler.block_type[block]].free.full) for block, mask in rows.items()]

    # -- settle ---------------------------------------------------------------------------------------------------------------------

    def _next_end_ns(self) -> int:
        ends, versions = self._ends, self.table.version
        while ends and versions[ends[0][2]] != ends[0][3]:
            heappop(ends)
        return ends[0][0] if ends else NEVER

    def _settle(self, at_ns: int) -> None:
        """All that happened up to ``at_ns``, at its exact times."""
        while self._to_come and self._to_come[-1][0] <= at_ns:
            self._commission(*self._to_come.pop())
        due = [shard for shard, promise in enumerate(self._promises) if promise <= at_ns]
        if due:
            self._settle_shards(at_ns, due)
        self._settle_ends(at_ns)

    def _plan_racks(self) -> list[tuple[int, int]]:
        """(time, rack) of the racks that are not there at the start, the next last; they are out of service from here on."""
        times = in_service_ns(self.settings.buildout, len(self._rack_first) - 1)
        planned = [(int(times[rack]), int(rack)) for rack in np.flatnonzero(times > 0)]
        for _, rack in planned:
            self.scheduler.plan_hosts(self._hosts_of_rack(rack))
            self.meter.install(0, *(-value for value in self._size_of_rack(rack)))
        return sorted(planned, reverse=True)

    def _commission(self, at_ns: int, rack: int) -> None:
        """A rack comes into service."""
        self.events += 1
        self.scheduler.commission(self._hosts_of_rack(rack))
        self.meter.install(at_ns, *self._size_of_rack(rack))

    def _hosts_of_rack(self, rack: int) -> range:
        return range(self._rack_first[rack], self._rack_first[rack + 1])

    def _size_of_rack(self, rack: int) -> tuple[int, int]:
        """What it draws when idle, in milliwatts, and its GPUs."""
        hosts = self._hosts_of_rack(rack)
        return sum(self.idle_milliwatts(host) for host in hosts), self.scheduler.gpus_of(hosts)

    def idle_milliwatts(self, host: int) -> int:
        """What the host draws while it is up and nothing runs."""
        return self._idle[self.scheduler.block_type[self.scheduler.host_block[host]]]

    @property
    def racks_in_service(self) -> int:
        return len(self._rack_first) - 1 - len(self._to_come)

    @property
    def planned_gpus(self) -> int:
        """GPUs that have not come into service yet."""
        return self.cluster.gpu_count - self.meter.gpus

    def _settle_shards(self, at_ns: int, shards: list[int]) -> None:
        answers = self._ask_shards(at_ns, shards)
        reports = [answers.racks[shard] for shard in shards]
        columns = (np.concatenate([getattr(report, name) for report in reports]) for name in ("time_ns", "event", "host", "cause"))
        for time_ns, event, host, cause in sorted(zip(*(column.tolist() for column in columns), strict=True)):
            self._settle_ends(time_ns)
            self.events += 1
            if event == HostEvent.FAULT:
                self.faults[cause] += 1
                self.meter.change(time_ns, -self.idle_milliwatts(host))
                for slot in sorted(self.scheduler.host_down(host), key=self.table.job_id.__getitem__):
                    self._interrupt(slot, time_ns, f"host {self.cluster.host_name(host)} failed: {CAUSES[cause].name}")
            else:
                self.meter.change(time_ns, self.idle_milliwatts(host))
                self.meter.note_peak()
                self.scheduler.host_up(host)

    def _ask_shards(self, at_ns: int, shards: list[int]) -> Answers:
        answers = self.shards.advance(Window(at_ns, racks={shard: self._orders.take(shard) for shard in shards}))
        for shard, report in answers.racks.items():
            self._promises[shard] = report.next_event_ns
        return answers

    def _settle_ends(self, at_ns: int) -> None:
        ends, table = self._ends, self.table
        while ends and ends[0][0] <= at_ns:
            end_ns, _, slot, version = heappop(ends)
            if table.version[slot] == version:
                self._stop(slot, end_ns)
                table.remaining_ns[slot] = 0
                self._end(slot, end_ns, State.FINISHED)

    def _end(self, slot: int, at_ns: int, state: State) -> None:
        self.table.end_ns[slot] = at_ns
        self.table.state[slot] = state
        self.ended[state] += 1
        self.events += 1
        self._changed(slot, at_ns)

    def _stop(self, slot: int, at_ns: int) -> None:
        """The job's run ends: give back its GPUs, its power and its flows, and account for the run."""
        self._halt(slot, at_ns)
        self.scheduler.release(slot, at_ns=at_ns)

    def _halt(self, slot: int, at_ns: int) -> None:
        table = self.table
        self._progress(slot, at_ns)
        table.version[slot] += 1
        table.run_ns[slot] += at_ns - table.start_ns[slot]
        self.meter.hold(at_ns, -table.gpus[slot] * table.milli_gpus[slot])
        self.meter.active_micro_gpus -= self._active.pop(slot)
        draw = self._draw.pop(slot)
        if table.milli_gpus[slot] < 1000 and self._share_tenants(table.rows[slot][0], -1):
            self._orders.add(at_ns, RackOrder.RERATE, table.rows[slot], -draw)
        else:
            self._orders.add(at_ns, RackOrder.RELEASE, table.rows[slot], draw)
        self.meter.change(at_ns, -draw * table.gpus[slot])
        if table.shape[slot] >= 0:
            self.network.remove(at_ns, slot)
            self._still_until.pop(slot, None)

    def _share_tenants(self, gpu: Row, change: int) -> int:
        """Count the fractional jobs on one GPU; returns how many there are after the change."""
        tenants = self._tenants[gpu] = self._tenants.get(gpu, 0) + change
        if not tenants:
            del self._tenants[gpu]
        return tenants

    def shared_gpu_surplus(self) -> int:
        """Running fractional jobs beyond one per GPU: what a count of their GPUs has too many."""
        return sum(self._tenants.values()) - len(self._tenants)

    def held_gpus(self, slots: Collection[int]) -> int:
        """GPUs that these running jobs hold; one that several share counts once."""
        table = self.table
        whole = sum(table.gpus[slot] for slot in slots if table.milli_gpus[slot] == 1000)
        return whole + len({table.rows[slot][0] for slot in slots if table.milli_gpus[slot] < 1000})

    def _progress(self, slot: int, at_ns: int) -> None:
        """Bring the job's remaining work to ``at_ns``."""
        table = self.table
        passed = at_ns - table.since_ns[slot]
        overhead = min(passed, table.overhead_ns[slot])
        table.overhead_ns[slot] -= overhead
        table.overhead_run_ns[slot] += overhead
        passed -= overhead
        speed = table.speed[slot]
        done = passed if speed == 1.0 else int(passed * speed)
        table.remaining_ns[slot] -= done
        table.work_ns[slot] += done
        table.since_ns[slot] = at_ns
        self.meter.active_micro_gpu_ns += self._active[slot] * passed

    def _interrupt(self, slot: int, at_ns: int, reason: str) -> None:
        """A fault took a GPU of the job: back to its last checkpoint, and into the queue again."""
        self._stop(slot, at_ns)
        self._lose_work(slot)
        self.table.restarts[slot] += 1
        self.restarts += 1
        self.events += 1
        self.reasons[slot] = reason
        if self.table.restarts[slot] > self.settings.max_restarts:
            self._end(slot, at_ns, State.FAILED)
        else:
            self.scheduler.requeue(slot)
            self._changed(slot, at_ns)

    def _lose_work(self, slot: int) -> None:
        """What was done since the last checkpoint is lost; the next run begins with the restart overhead.

        A service without an end has served what it has served.
        """
        table = self.table
        done = table.duration_ns[slot] - table.remaining_ns[slot] if table.duration_ns[slot] else 0
        every = table.checkpoint_ns[slot]
        lost = done % every if every else done
        table.remaining_ns[slot] += lost
        table.lost_ns[slot] += lost
        table.overhead_ns[slot] = self.settings.restart_overhead_ns

    def _cancel(self, slot: int, at_ns: int) -> None:
        state = self.table.state[slot]
        if state == State.PENDING:
            self.scheduler.cancel_pending(slot)
        elif state == State.RUNNING:
            self._stop(slot, at_ns)
        else:
            return
        self.reasons.pop(slot, None)
        self._end(slot, at_ns, State.CANCELLED)

    # -- plan and share -------------------------------------------------------------------------------------------------------------

    def _plan(self, at_ns: int) -> None:
        plan = self.scheduler.plan(at_ns)
        # What a preemption left over, and who was preempted, are for the next cycle's plan.
        self._reconsider_ns = min(plan.reconsider_at_ns, at_ns + 1) if plan.preempted else plan.reconsider_at_ns
        table = self.table
        for slot in plan.preempted:
            self._halt(slot, at_ns)
            self._lose_work(slot)
            table.preemptions[slot] += 1
            self.preemptions += 1
            self.events += 1
            self.reasons[slot] = "preempted by a job of higher priority"
            self.scheduler.requeue(slot)
            self._changed(slot, at_ns)
        for slot, rows in plan.starts:
            self.events += 1
            self.started += 1
            if table.first_start_ns[slot] < 0:
                table.first_start_ns[slot] = at_ns
                self.waits_ns.append(at_ns - table.submit_ns[slot])
            table.since_ns[slot] = at_ns
            table.speed[slot] = 1.0
            if table.shape[slot] >= 0:
                self.network.add(at_ns, slot, rows)
                table.speed[slot] = self.network.speed(slot)
            self.meter.hold(at_ns, table.gpus[slot] * table.milli_gpus[slot])
            self._note_activity(slot)
            draw = self._draw[slot] = self._draw_of(slot)
            shared = table.milli_gpus[slot] < 1000 and self._share_tenants(rows[0], 1) > 1
            self._orders.add(at_ns, RackOrder.RERATE if shared else RackOrder.OCCUPY, rows, draw)
            self.meter.change(at_ns, draw * table.gpus[slot])
            self._expect_end(slot, at_ns)
            self._changed(slot, at_ns)
        if self._orders.size > ORDERS_KEPT:
            self._ask_shards_quietly(at_ns)

    def _ask_shards_quietly(self, at_ns: int) -> None:
        """Send what waits. Everything due by now is settled, so nothing comes back but the promises."""
        self._ask_shards(at_ns, self._orders.waiting_shards())

    def _expect_end(self, slot: int, at_ns: int) -> None:
        """(Re)compute when a running job will end, its remaining work being as of ``at_ns``."""
        table = self.table
        speed = table.speed[slot]
        version = table.version[slot] = table.version[slot] + 1
        if table.kind[slot] == JobKind.SERVICE and table.duration_ns[slot] == 0:  # a service that runs until it is cancelled
            return
        if speed > 0.0:
            remaining = table.remaining_ns[slot]
            wait = remaining if speed == 1.0 else -int(-remaining // speed)
            heappush(self._ends, (at_ns + table.overhead_ns[slot] + wait, table.job_id[slot], slot, version))
        else:
            self._sequence += 1
            heappush(self._timers, (at_ns + self.settings.stall_timeout_ns, self._sequence, StallOut(slot, version)))

    def _note_activity(self, slot: int) -> None:
        table = self.table
        active = int(table.gpus[slot] * table.milli_gpus[slot] * 1000 * table.utilization[slot] * self.network.computing(slot))
        self.meter.active_micro_gpus += active - self._active.get(slot, 0)
        self._active[slot] = active

    def _draw_of(self, slot: int) -> int:
        """Dynamic milliwatts per GPU: as it computes, less where it waits for the network."""
        kind = self.table.host_type[slot], self.table.utilization[slot]
        full = self._gpu_milliwatts.get(kind)
        if full is None:
            host_type = self.cluster.host_types[kind[0]]
            full = self._gpu_milliwatts[kind] = gpu_milliwatts(host_type, kind[1], self.settings.power_gamma)
        computing = self.network.computing(slot)
        part = computing + (1.0 - computing) * self.settings.communication_power_ratio
        return int(full * part * self.table.milli_gpus[slot] / 1000)

    def _share(self, at_ns: int) -> None:
        """Let the planes share themselves anew, and run the jobs whose share changed at their new speed."""
        table = self.table
        for slot, speed in self.network.share(at_ns, lambda planes: self.shards.advance(Window(at_ns, planes=planes)).planes):
            self.events += 1
            self._progress(slot, at_ns)
            table.speed[slot] = speed
            self.network.set_speed(slot)
            self._note_activity(slot)
            draw = self._draw_of(slot)
            change = draw - self._draw[slot]
            self._draw[slot] = draw
            self._orders.add(at_ns, RackOrder.RERATE, table.rows[slot], change)
            self.meter.change(at_ns, change * table.gpus[slot])
            self._expect_end(slot, at_ns)

    # -- reading --------------------------------------------------------------------------------------------------------------------

    def read(self, *, publish: bool = False) -> Readings:
        """Readings of every shard and plane as of now. Changes nothing that counts."""
        waiting = self._orders.waiting_shards()
        if waiting:
            self._ask_shards(self.now_ns, waiting)
        self._send_flows()
        return self.shards.publish(self.now_ns) if publish else self.shards.read(self.now_ns)

    def read_planes(self) -> tuple[FabricReadings, ...]:
        """As ``read``, of the fabric alone. Nothing is asked while no flow has changed: loads are constant in between."""
        if self._planes_read != self.network.changes:
            self._send_flows()
            self._plane_readings = self.shards.read_planes(self.now_ns)
            self._planes_read = self.network.changes
        return tuple(replace(plane, at_ns=self.now_ns) for plane in self._plane_readings)

    def read_links(self) -> LinkTable:
        """What every link carries and has carried. Changes nothing that counts."""
        self._send_flows()
        return link_table(self.network, self.links.health, self.shards.read_links(self.now_ns), self.scheduler.running, self.now_ns)

    def _send_flows(self) -> None:
        """Send the flows that wait: none of them can change a rate, or the planes would have been asked."""
        planes = self.network.take_all()
        if planes:
            self.shards.advance(Window(self.now_ns, planes=planes))

    def _changed(self, slot: int, at_ns: int) -> None:
        if self.on_change is not None:
            self.on_change(slot, at_ns)
