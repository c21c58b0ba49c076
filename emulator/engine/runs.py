"""What running jobs hold and when they will end: their power and activity, their orders to the racks, and the next event of each run.

How a run goes on, and where its time goes, is ``emulator.jobs``' business; here it is wired to the network, the meter and the racks.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Final

from emulator.draws.ahead import Ahead
from emulator.engine.broken_hosts import BrokenHosts
from emulator.engine.clocked_draws import ClockedDraws
from emulator.engine.meter import Meter
from emulator.engine.network import Network
from emulator.engine.orders import RackOrderBuffer
from emulator.engine.replicas import Replicas
from emulator.engine.settings import EngineSettings
from emulator.engine.slow_hosts import SlowHosts
from emulator.engine.spread import Spread, Zones
from emulator.engine.storage import Storage
from emulator.engine.straggling import Straggling
from emulator.engine.swings import JobSwings
from emulator.jobs.life import COUNTED_PHASES, Phase
from emulator.power.clocks import FULL, Parts, draw_milliwatts, parts_at, speed_at
from emulator.racks.messages import RackOrder
from emulator.racks.power import gpu_milliwatts
from emulator.scheduler.free import Row
from emulator.scheduler.ledger import Ledger
from emulator.scheduler.table import ENDLESS, NEVER
from emulator.workload.jobs import JobKind
from topology.cluster import Cluster

#: Draws of a GPU by its type and activity that are remembered, since jobs are alike.
DRAWS_KEPT = 10_000
#: Events that have been overtaken are thrown away together where they are more than the running jobs and these.
STALE_KEPT = 1_000


class RunEvent(IntEnum):
    """What happens next to a run. At one instant the first goes first."""

    AT_WORK = 0  # it has started
    DONE = 1
    TIME_LIMIT = 2
    NOTICED = 3  # that it hangs
    DRAINED = 4  # it has saved what it could
    PACE = 5  # it begins to fail slow, or no longer does


#: Named once: to look up a member of an enum takes longer than what is done with it here.
DONE: Final = RunEvent.DONE
RERATE: Final = RackOrder.RERATE
WORKING: Final = Phase.WORKING
CHECKPOINT: Final = Phase.CHECKPOINT


class Runs:
    """One run of a job is from its start to its end, interruption or preemption. What becomes of a job after that is the engine's.

    ``draw`` is milliwatts per GPU and ``active`` SM activity in millionths of a GPU, by slot of a running job.
    """

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        network: Network,
        meter: Meter,
        orders: RackOrderBuffer,
        slow: SlowHosts,
        zones: Zones,
        settings: EngineSettings,
    ) -> None:
        self._cluster, self._table, self._network, self._meter, self._orders = cluster, ledger.table, network, meter, orders
        self._settings, self._lives, self.cycle_ns = settings, ledger.table.lives, settings.cycle_ns
        self.broken_hosts = BrokenHosts(ledger, meter)
        self.replicas: Replicas | None = None  # jobs that are replicas of services are told to it
        self._ledger = ledger
        self._straggling = Straggling(ledger, network, settings.stragglers, settings.seed, slow)
        self._storage = Storage(cluster, settings.costs.checkpoint, settings.faults)
        start_up = settings.costs.start_up
        self._start_up = None if start_up is None else Ahead(partial(start_up.drawn_ns, settings.seed))
        self._phases: dict[int, Phase] = {}  # slot of a running job -> where its GPUs are counted
        #: GPUs that running jobs hold, by what they do; one that several jobs share counts for each.
        self.gpus_by_phase: dict[Phase, int] = dict.fromkeys(COUNTED_PHASES, 0)
        self.active: dict[int, int] = {}
        self.draw: dict[int, int] = {}
        self._zones = zones
        self._spread: dict[int, Spread] = {}  # slot of a running job -> its GPUs by zone
        self.clock = [FULL] * zones.count  # by zone: a place in power.clocks.MEASURED
        self.clocked: ClockedDraws | None = None  # while a cap may act
        self.swings = JobSwings(len(cluster.site_names), settings.communication_power_ratio, ledger.table)
        self.power_wait_milli_gpu_ns = 0  # so far, of what is accounted for while a cap may act: power_wait and paused
        self._gpu_milliwatts: dict[tuple[int, float], int] = {}
        self._tenants: dict[Row, int] = {}  # shared GPU -> fractional jobs on it
        self._events: list[tuple[int, int, int, int, int]] = []  # (when, job id, RunEvent, slot, version)
        self._stalls: list[tuple[int, int, int, int]] = []  # (when it gives up, order, slot, version) of stalled jobs
        self._stalled = 0

    # -- when ---------------------------------------------------------------------------------------------------------------------

    def next_ns(self) -> int:
        """When anything happens to a run next at present speeds; NEVER if nothing will."""
        return min(self._next_event_ns(), self._straggling.next_ns())

    def _next_event_ns(self) -> int:
        events, versions = self._events, self._table.version
        while events and versions[events[0][3]] != events[0][4]:
            heappop(events)
        return events[0][0] if events else NEVER

    def take(self) -> tuple[int, int, int]:
        """What happens next, of which ``next_ns`` has just told: when, to whose run, and what (a ``RunEvent``)."""
        if self._straggling.next_ns() < self._next_event_ns():
            at_ns, slot = self._straggling.take()
            return at_ns, slot, RunEvent.PACE
        at_ns, _, what, slot, _ = heappop(self._events)
        return at_ns, slot, what

    def change_pace(self, slot: int, at_ns: int) -> None:
        """The job begins to fail slow, or a host of it does, or no longer."""
        if self._network.has(slot):
            self._straggling.change(slot, at_ns)
            self.set_speed(slot, self._network.speed(slot), at_ns)
        elif self._table.shape[slot] < 0 and slot not in self._lives.out:
            self.progress(slot, at_ns)
            self._pace(slot, self._straggling.speed_on(self._table.rows[slot]))
            self._rerate(slot, at_ns)
            self._expect(slot)

    def change_hosts(self, hosts: Iterable[int], at_ns: int) -> None:
        """These hosts are slower, or no longer."""
        for slot in sorted({slot for host in hosts for slot in self._ledger.jobs_on(host)}, key=self._table.job_id.__getitem__):
            self.change_pace(slot, at_ns)

    def time_limit_ns(self, slot: int) -> int:
        """How long one run of the job may take, whatever passes in it; NEVER where there is no limit, as for a service without an end."""
        factor, estimate_ns = self._settings.time_limit_factor, self._table.estimate_ns[slot]
        if factor is None or estimate_ns == ENDLESS:
            return NEVER
        return estimate_ns if factor == 1.0 else max(1, int(estimate_ns * factor))

    def next_stall_ns(self) -> int:
        """The first instant at which a stalled job gives up; the entry may be of a job that has gone on since."""
        return self._stalls[0][0] if self._stalls else NEVER

    def take_stalls(self, until_ns: int) -> Iterator[int | None]:
        """Take the entries due by ``until_ns``: the job that gives up, or None for one that has gone on since."""
        while self._stalls and self._stalls[0][0] <= until_ns:
            _, _, slot, version = heappop(self._stalls)
            yield slot if self._table.version[slot] == version and slot in self.draw else None

    # -- runs ---------------------------------------------------------------------------------------------------------------------

    def start(self, slot: int, rows: list[Row], at_ns: int, *, warm: bool = False) -> None:
        """A job begins to run on ``rows``; ``warm``: on hosts that had everything but its work ready."""
        table, lives, costs = self._table, self._lives, self._settings.costs
        table.work_at_pace(slot)
        trains, gpus = table.kind[slot] == JobKind.TRAINING, table.size_gpus[slot]
        if lives.again[slot]:
            ahead_ns = costs.restart_ns(gpus, trains=trains, warm=warm)
        else:
            ahead_ns = self._start_up.of(table.job_id[slot]) if trains and self._start_up is not None else 0
        service = None if self.replicas is None else self.replicas.service_of(slot)
        read_ns = 0
        if service is not None and at_ns:  # those of the start are warm
            read_ns = self._storage.read_ns(rows, service.weight_bytes, gpus)
            ahead_ns = service.cold_start_ns + read_ns
        saving = None
        if every := table.checkpoint_ns[slot] or (0 if table.kind[slot] == JobKind.SERVICE else costs.checkpoint.interval_ns):
            state_bytes = table.shapes[table.shape[slot]].state_bytes if table.shape[slot] >= 0 else 0.0
            saving = self._storage.open(slot, rows, every, state_bytes, gpus)
        lives.start(slot, at_ns, ahead_ns, saving)
        self._spread[slot] = self._zones.spread(rows)
        if table.shape[slot] >= 0:
            self._network.add(at_ns, slot, rows)
            self._straggling.begin(slot, rows, at_ns)
        self._pace(slot, self._network.speed(slot) if table.shape[slot] >= 0 else self._straggling.speed_on(rows))
        self._meter.held_milli_gpus.change(at_ns, gpus * table.milli_gpus[slot])
        draw = self._note_load(slot)
        shared = table.milli_gpus[slot] < 1000 and self._share_tenants(rows[0], 1) > 1
        self._orders.add(at_ns, RackOrder.RERATE if shared else RackOrder.OCCUPY, rows, draw)
        self._draw_more(slot, at_ns, draw)
        self._expect(slot)
        if service is not None and self.replicas is not None:
            self.replicas.placed(slot, rows, self._clock_of(slot), read_ns)
            if not ahead_ns:
                self.replicas.ready(slot, at_ns)

    def read_ns(self, slot: int, size: float) -> int:
        """How long the job would read so many bytes from storage."""
        return self._storage.read_ns(self._table.rows[slot], size, self._table.size_gpus[slot])

    def set_start(self, slot: int, at_ns: int, ahead_ns: int) -> None:
        """Of the job's start, so much is still to come."""
        self.progress(slot, at_ns)
        self._lives.ahead_ns[slot] = ahead_ns
        self._expect(slot)

    def begin_work(self, slot: int, at_ns: int) -> None:
        """It has started, and draws what work draws from now on."""
        self.progress(slot, at_ns)
        self._rerate(slot, at_ns)
        self._expect(slot)
        if self.replicas is not None and slot in self.replicas.of:
            self.replicas.ready(slot, at_ns)

    def hang(self, slot: int, at_ns: int, until_ns: int) -> None:
        """A fault stops the job, which is noticed at ``until_ns``. Until then it holds its GPUs, which wait for each other."""
        self.progress(slot, at_ns)
        self._lives.lose_work(slot, self._table.duration_ns[slot])
        self._leave_work(slot, at_ns, Phase.DETECTING, until_ns)

    def hangs(self, slot: int) -> bool:
        """Whether a fault has stopped the job already: nobody has noticed, or it is about to be restarted where it is."""
        return self._lives.out.get(slot, Phase.DRAINING) != Phase.DRAINING

    def await_restart(self, slot: int, at_ns: int) -> None:
        """A fault has stopped the job, which has been noticed; it keeps its GPUs until it is restarted (``move``)."""
        self.progress(slot, at_ns)
        if not self.hangs(slot):
            self._lives.lose_work(slot, self._table.duration_ns[slot])
        self._leave_work(slot, at_ns, Phase.RESTARTING, NEVER)

    def drain(self, slot: int, at_ns: int, until_ns: int) -> None:
        """The job is asked to stop. It works no longer, and saves what it did; at ``until_ns`` it is to give back its GPUs."""
        self.progress(slot, at_ns)
        self._leave_work(slot, at_ns, Phase.DRAINING, until_ns)

    def _leave_work(self, slot: int, at_ns: int, phase: Phase, until_ns: int) -> None:
        """The run, which has been brought to ``at_ns``, is in this phase until then, or until somebody says otherwise (NEVER)."""
        self._lives.out[slot] = phase
        self._no_longer_serves(slot, at_ns)
        self._leave_network(slot, at_ns)
        self._rerate(slot, at_ns)
        self._expect(slot, until_ns)

    def halt(self, slot: int, at_ns: int, *, loses: bool = False) -> None:
        """A run ends: its power and its flows are given back, and its time accounted for. The GPUs are the scheduler's to free.

        ``loses``: what was not saved is lost; otherwise the job is done, saves as it stops, or needs nothing any more.
        """
        table = self._table
        self.progress(slot, at_ns)
        self.broken_hosts.leave(slot, at_ns)
        if loses:  # of a job that hangs it is lost already
            self._lives.lose_work(slot, table.duration_ns[slot])
        table.version[slot] += 1
        self._meter.held_milli_gpus.change(at_ns, -table.size_gpus[slot] * table.milli_gpus[slot])
        self._meter.active_micro_gpus -= self.active.pop(slot)
        self.gpus_by_phase[self._phases.pop(slot)] -= table.size_gpus[slot]
        draw = self.draw.pop(slot)
        self.swings.drop(slot)
        if self.clocked is not None:
            self.clocked.drop(slot)
        if table.milli_gpus[slot] < 1000 and self._share_tenants(table.rows[slot][0], -1):
            self._orders.add(at_ns, RERATE, table.rows[slot], -draw)
        else:
            self._orders.add(at_ns, RackOrder.RELEASE, table.rows[slot], draw)
        self._draw_more(slot, at_ns, -draw)
        del self._spread[slot]
        self._no_longer_serves(slot, at_ns)
        self._leave_network(slot, at_ns)
        self._storage.close(slot)
        self._lives.stop(slot, at_ns - table.start_ns[slot])

    def _no_longer_serves(self, slot: int, at_ns: int) -> None:
        if self.replicas is not None and slot in self.replicas.of:
            self.replicas.gone(slot, at_ns)

    def _leave_network(self, slot: int, at_ns: int) -> None:
        if self._table.shape[slot] >= 0 and self._network.has(slot):
            self._network.remove(at_ns, slot)

    def move(self, before: Mapping[int, tuple[list[Row], int, int]], at_ns: int, *, warm: bool = False) -> None:
        """Runs of these jobs end as they were (placement, start and size), their work saved, and others begin as the table has them."""
        table = self._table
        for slot, was in before.items():
            now = table.rows[slot], table.start_ns[slot], table.size_gpus[slot]
            table.rows[slot], table.start_ns[slot], table.size_gpus[slot] = was
            self.halt(slot, at_ns)
            table.rows[slot], table.start_ns[slot], table.size_gpus[slot] = now
        for slot in before:
            self.start(slot, table.rows[slot], at_ns, warm=warm)

    def progress(self, slot: int, at_ns: int) -> None:
        """Bring the run to ``at_ns``."""
        lives = self._lives
        waited_ns = lives.power_wait_ns[slot] + lives.paused_ns[slot]
        lives.dynamic_energy[slot] += self.draw[slot] * self._table.size_gpus[slot] * (at_ns - lives.since_ns[slot])
        self._meter.active_micro_gpu_ns += self.active[slot] * lives.progress(slot, at_ns)
        waited_ns = lives.power_wait_ns[slot] + lives.paused_ns[slot] - waited_ns
        if waited_ns:
            self.power_wait_milli_gpu_ns += waited_ns * self._table.size_gpus[slot] * self._table.milli_gpus[slot]

    def set_speed(self, slot: int, speed: float, at_ns: int) -> None:
        """The network gives the job another speed from now on, at the full clock."""
        self.progress(slot, at_ns)
        self._network.set_speed(slot)
        self._pace(slot, speed)
        self._rerate(slot, at_ns)
        self._expect(slot)

    def _pace(self, slot: int, full_clock_speed: float) -> None:
        """A job's speed is what the network leaves it, and what its clock leaves of that. Of a replica it is its steps that get slower."""
        serves = self.replicas is not None and slot in self.replicas.of
        computing = 0.0 if serves else self._network.computing(slot)
        self._lives.set_speed(slot, speed_at(full_clock_speed, computing, self._clock_of(slot)), full_clock_speed)

    def _clock_of(self, slot: int) -> int:
        """A job in several zones has the lowest of their clocks."""
        spread = self._spread[slot]
        return self.clock[spread[0][0]] if len(spread) == 1 else max([self.clock[zone] for zone, _ in spread])

    # -- for want of power ---------------------------------------------------------------------------------------------------------

    def set_clocks(self, clocks: Sequence[int], at_ns: int) -> None:
        """The GPUs of each zone run at this clock from now on."""
        changed = {zone for zone, (now, then) in enumerate(zip(self.clock, clocks, strict=True)) if now != then}
        everywhere = len(changed) == self._zones.count
        slots = [slot for slot in self.draw if everywhere or any(zone in changed for zone, _ in self._spread[slot])]
        self.clock, lives = list(clocks), self._lives
        for slot in slots:
            begins = lives.ahead_ns[slot] > 0  # it may be at work once it was brought up to now
            self.progress(slot, at_ns)
            self._pace(slot, lives.network_speed(slot))
            if begins or self.clocked is None:
                self._rerate(slot, at_ns)
            else:
                self._reclock(slot, at_ns, self.clocked)
            if slot not in lives.out and lives.speed[slot] > 0.0:  # else what is to come does not depend on the clock
                self._expect(slot)
            if self.replicas is not None:
                self.replicas.set_clock(slot, at_ns, self._clock_of(slot))

    def _reclock(self, slot: int, at_ns: int, clocked: ClockedDraws) -> None:
        """As ``_rerate`` where nothing but the clock has changed."""
        table, clock = self._table, self._clock_of(slot)
        draw, computing = clocked.redraw(slot, clock)
        self._note_active(slot, computing)
        change, self.draw[slot] = draw - self.draw[slot], draw
        if table.shape[slot] >= 0 and slot not in self._lives.paused:
            full = self._full_draw(table.host_type[slot], table.utilization[slot]) * table.milli_gpus[slot] // 1000
            self.swings.note(slot, full, self._parts(slot), clock, self._zones.by_site(self._spread[slot]))
        if change:
            self._orders.add(at_ns, RERATE, table.rows[slot], change)
            self._draw_more(slot, at_ns, change)

    def pause(self, slot: int, at_ns: int, *, paused: bool) -> None:
        """It stands still and draws nothing, on the GPUs that it holds, or goes on. One that hangs goes on hanging."""
        self.progress(slot, at_ns)
        (self._lives.paused.add if paused else self._lives.paused.discard)(slot)
        self._rerate(slot, at_ns)
        if paused:
            self._no_longer_serves(slot, at_ns)
        elif self.replicas is not None and slot in self.replicas.of and not self._lives.ahead_ns[slot]:
            self.replicas.ready(slot, at_ns)
        if slot not in self._lives.out:
            self._expect(slot)

    def watch_clocks(self) -> ClockedDraws:
        """From now on ``clocked`` is kept."""
        if self.clocked is None:
            self.clocked = ClockedDraws(self._zones.count, self._settings.communication_power_ratio)
            for slot in self.draw:
                self._note_load(slot)
        return self.clocked

    def stand_still(self, slot: int, at_ns: int, down_ns: int) -> None:
        """A flap shorter than a cycle stops the job for this time; several at once do not add up."""
        if slot in self._lives.out:
            return
        self.progress(slot, at_ns)
        if self._lives.stand_still(slot, at_ns + down_ns):
            self._expect(slot)  # its power stays: it waits for less than a cycle

    def _expect(self, slot: int, until_ns: int = NEVER) -> None:
        """(Re)compute what will happen to a run next. ``until_ns``: of one that is out of its work, for how long."""
        table, lives = self._table, self._lives
        version = table.version[slot] = table.version[slot] + 1
        job_id, speed, what, at_ns = table.job_id[slot], lives.speed[slot], DONE, NEVER
        if slot in lives.out:
            what, at_ns = RunEvent.DRAINED if lives.out[slot] == Phase.DRAINING else RunEvent.NOTICED, until_ns
        elif slot in lives.paused:
            pass
        elif lives.ahead_ns[slot]:
            what, at_ns = RunEvent.AT_WORK, lives.since_ns[slot] + lives.ahead_ns[slot]
        elif not table.duration_ns[slot] and table.kind[slot] == JobKind.SERVICE:  # a service that runs until it is cancelled
            return
        elif speed > 0.0:
            if lives.remaining_ns[slot] <= NEVER // 4 * speed:  # else far behind the clock's end
                at_ns = min(NEVER, lives.end_ns(slot))
        else:
            self._stalled += 1
            heappush(self._stalls, (lives.since_ns[slot] + self._settings.stall_timeout_ns, self._stalled, slot, version))
        if self._settings.time_limit_factor is not None:
            limit_ns = min(NEVER, table.start_ns[slot] + self.time_limit_ns(slot))
            if limit_ns < at_ns:
                what, at_ns = RunEvent.TIME_LIMIT, limit_ns
        if at_ns != NEVER:
            heappush(self._events, (at_ns, job_id, what, slot, version))
            if len(self._events) > 2 * len(self.draw) + STALE_KEPT:  # most of them are of what was expected before
                self._events = [event for event in self._events if table.version[event[3]] == event[4]]
                heapify(self._events)

    # -- power and GPUs -----------------------------------------------------------------------------------------------------------

    def _note_load(self, slot: int) -> int:
        """Note the activity of a running job's GPUs, and their dynamic milliwatts each, which it returns: as they compute, less where they
        wait for the network, and none where they wait for storage or are paused.
        """
        table = self._table
        milli_gpus, utilization = table.milli_gpus[slot], table.utilization[slot]
        self._note_phase(slot)
        parts, clock, full_milliwatts = self._parts(slot), self._clock_of(slot), self._full_draw(table.host_type[slot], utilization)
        paused = slot in self._lives.paused
        self._note_active(slot, 0.0 if paused else parts_at(parts, clock).computing)
        ratio = self._settings.communication_power_ratio
        draw = self.draw[slot] = 0 if paused else draw_milliwatts(full_milliwatts, parts, ratio, milli_gpus, clock)
        if table.shape[slot] >= 0:
            full = 0 if paused else full_milliwatts * milli_gpus // 1000
            self.swings.note(slot, full, parts, clock, self._zones.by_site(self._spread[slot]))
        if self.clocked is not None:
            self.clocked.note(slot, full_milliwatts, parts, milli_gpus, self._spread[slot], draw, paused=paused)
        return draw

    def _note_active(self, slot: int, computing: float) -> None:
        """The run computes for this part of its time."""
        table = self._table
        active = int(table.size_gpus[slot] * table.milli_gpus[slot] * 1000 * table.utilization[slot] * computing)
        self._meter.active_micro_gpus += active - self.active.get(slot, 0)
        self.active[slot] = active

    def _note_phase(self, slot: int) -> None:
        """Count the run's GPUs where it is now."""
        now, gpus = self._lives.phase(slot), self._table.size_gpus[slot]
        now = WORKING if now == CHECKPOINT else now
        before = self._phases.get(slot)
        if now != before:
            if before is not None:
                self.gpus_by_phase[before] -= gpus
            self._phases[slot] = now
            self.gpus_by_phase[now] += gpus

    def _parts(self, slot: int) -> Parts:
        """The parts of its time in which a run computes at the full clock, and in which it waits for the network, if it is not paused. It
        does neither while it starts, and while it writes checkpoints; these are so short that their mean will do.
        """
        lives = self._lives
        if slot in lives.out:
            return Parts(0.0, 1.0) if lives.out[slot] == Phase.DETECTING else Parts(0.0, 0.0)
        if lives.ahead_ns[slot]:
            return Parts(0.0, 0.0)
        computing, saving = self._network.computing(slot), lives.saving.get(slot)
        working = 1.0 if saving is None else saving.every_ns / (saving.every_ns + saving.write_ns)
        return Parts(computing * working, (1.0 - computing) * working)

    def set_utilization(self, slot: int, utilization: float, at_ns: int) -> None:
        """Its GPUs are so busy from now on."""
        self.progress(slot, at_ns)
        self._table.utilization[slot] = utilization
        self._rerate(slot, at_ns)

    def _rerate(self, slot: int, at_ns: int) -> None:
        """What the run draws has changed."""
        change = -self.draw[slot]
        change += self._note_load(slot)
        if change:
            self._orders.add(at_ns, RERATE, self._table.rows[slot], change)
            self._draw_more(slot, at_ns, change)

    def _draw_more(self, slot: int, at_ns: int, milliwatts: int) -> None:
        """Each of its GPUs draws so much more, or less."""
        for site, gpus in self._zones.by_site(self._spread[slot]):
            self._meter.hosts[site].change(at_ns, milliwatts * gpus)

    def _full_draw(self, host_type: int, utilization: float) -> int:
        """Dynamic milliwatts of a GPU that computes all the time."""
        kind = host_type, utilization
        full = self._gpu_milliwatts.get(kind)
        if full is None:
            if len(self._gpu_milliwatts) == DRAWS_KEPT:
                self._gpu_milliwatts.clear()
            full = gpu_milliwatts(self._cluster.host_types[host_type], utilization, self._settings.power_gamma)
            self._gpu_milliwatts[kind] = full
        return full

    def _share_tenants(self, gpu: Row, change: int) -> int:
        """Count the fractional jobs on one GPU; returns how many there are after the change."""
        tenants = self._tenants[gpu] = self._tenants.get(gpu, 0) + change
        if not tenants:
            del self._tenants[gpu]
        return tenants

    def shared_gpu_surplus(self) -> int:
        """Running fractional jobs beyond one per GPU, which a plain count of their GPUs would count again."""
        return sum(self._tenants.values()) - len(self._tenants)

    def held_gpus(self, slots: Collection[int]) -> int:
        """GPUs that these running jobs hold; one that several share counts once."""
        table = self._table
        whole = sum(table.size_gpus[slot] for slot in slots if table.milli_gpus[slot] == 1000)
        return whole + len({table.rows[slot][0] for slot in slots if table.milli_gpus[slot] < 1000})
