"""The cycle: emulated time advances from one scheduling cycle in which something is due to the next.

A cycle at t settles what happened since the cycle before (completions, faults and repairs at their exact times), takes in what
arrived, plans once, and shares the fabric among the flows that changed. At one instant: completions, faults, repairs, commands,
arrivals, then one plan; ties by id. Cost follows events: nothing is done in cycles without one.
"""

from collections.abc import Callable

from emulator.engine.chronicle import Chronicle
from emulator.engine.commands import Ask, Command
from emulator.engine.draining import Draining
from emulator.engine.ends import Ends
from emulator.engine.exchange import Exchange
from emulator.engine.fault_book import FaultBook
from emulator.engine.faults import Faults
from emulator.engine.host_faults import HostFaults
from emulator.engine.installed import InstalledRacks
from emulator.engine.intake import Intake
from emulator.engine.link_events import LinkEvents
from emulator.engine.link_table import LinkTable, link_table
from emulator.engine.meter import Integral, Meter
from emulator.engine.network import Network
from emulator.engine.orders import RackOrderBuffer
from emulator.engine.power_caps import PowerCaps
from emulator.engine.prospect import Prospect
from emulator.engine.replicas import Replicas
from emulator.engine.reservation_windows import ReservationWindows
from emulator.engine.restarting import Restarting
from emulator.engine.runs import Runs
from emulator.engine.services import Services
from emulator.engine.settings import EngineSettings
from emulator.engine.settlement import Settlement
from emulator.engine.shards import Readings, Shards
from emulator.engine.slow_hosts import SlowHosts
from emulator.engine.spread import Zones
from emulator.engine.stops import Stops
from emulator.fabric.messages import FabricReadings
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.spares import Spares
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import JobSource
from topology.cluster import Cluster


class Engine:
    """One emulation. Pure except for ``shards``, which may run anywhere. Not thread-safe: one owner calls it. ``on_change`` is the
    chronicle's.
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
        self.table = table = scheduler.table
        self.now_ns = 0
        self._passed_ns = -1  # cycles up to here are over
        self.cycles = 0
        self._reconsider_ns = NEVER
        self.chronicle = chronicle = Chronicle(on_change)
        sites = len(cluster.site_names)
        self.meter = meter = Meter([Integral() for _ in range(sites)], [Integral() for _ in range(sites)])
        zones = Zones(cluster, settings.power.edges)
        self.racks = InstalledRacks(cluster, scheduler, meter, settings.buildout, zones)
        orders = RackOrderBuffer(shards.ranges, scheduler.ledger.first_host)
        self._exchange = Exchange(shards, network, orders)
        slow = SlowHosts()
        self.runs = runs = Runs(cluster, scheduler.ledger, network, meter, orders, slow, zones, settings)
        self.power = PowerCaps(settings.power, cluster, meter, self.racks.standing_milliwatts, zones, runs, table)
        self.fault_book = FaultBook()
        self.host_faults = HostFaults(cluster, scheduler.ledger, runs.broken_hosts, meter, self.racks, self.fault_book, settings)
        spares = Spares(cluster, scheduler.ledger, settings.spares_per_1024_gpus)
        self.host_faults.before_repair = spares.note_repair
        self.draining = Draining(table, runs, settings.grace_ns)
        self.restarting = Restarting(scheduler, runs, self.host_faults, spares, settings.recovery)
        if scheduler.settings.placement.asks_fabric:
            scheduler.draft.prospect = Prospect(network, scheduler.draft).probe
        self.ends = ends = Ends(scheduler, chronicle, kept=settings.ended_kept, at_once=settings.retired_at_once)
        self._stops = stops = Stops(
            scheduler,
            runs,
            network,
            self.power,
            draining=self.draining,
            restarting=self.restarting,
            ends=ends,
            chronicle=chronicle,
            settings=settings,
        )
        self._settlement = Settlement(
            self._exchange,
            scheduler,
            runs,
            self.racks,
            self.host_faults,
            power=self.power,
            meter=meter,
            stops=stops,
            ends=ends,
            chronicle=chronicle,
        )
        self.links = LinkEvents(cluster, network, scheduler.ledger, settings.link_faults, settings.seed, settings.cycle_ns, self.fault_book)
        at_head = self.fault_book, self.host_faults, self.links, orders
        settle = self._settlement.settle_shards
        self.faults = Faults(cluster, scheduler.ledger, *at_head, settle, runs.stand_still, slow=slow, settings=settings)
        self.faults.on_slow = runs.change_hosts
        self.faults.hot = self.power.heat
        self._settlement.on_sent = self.faults.tell_sent
        self._windows = ReservationWindows(scheduler, stops, chronicle)
        self.intake = Intake(
            source,
            scheduler,
            runs,
            self.faults,
            power=self.power,
            windows=self._windows,
            stops=stops,
            ends=ends,
            chronicle=chronicle,
        )
        serving = settings.serving
        self.services: Services | None = None
        if serving.services:
            runs.replicas = Replicas(serving, cluster, table, shards.ranges)
            arrive, seed = self.intake.arrive, settings.seed
            self.services = Services(
                serving,
                runs.replicas,
                scheduler,
                runs,
                self._exchange,
                stops=stops,
                ends=ends,
                arrive=arrive,
                network=network,
                seed=seed,
            )
            ends.on_end = self.services.ended
            self.intake.on_scale = self.services.set_replicas
        self._exchange.ask_all(0)

    # -- time -----------------------------------------------------------------------------------------------------------------------

    def next_cycle_ns(self) -> int:
        """The next cycle in which something is due; NEVER if nothing will be due without an input."""
        due = min(
            self.intake.next_ns(),
            self.runs.next_ns(),
            self._reconsider_ns,
            self._exchange.next_ns,
            self.runs.next_stall_ns(),
            self.racks.next_ns(),
            self.scheduler.next_ns(),
            self._windows.next_ns,
            self.faults.next_ns(),
            self.power.next_ns(),
            NEVER if self.services is None else self.services.due_ns(),
            NEVER if self.services is None else self.services.weight_loads.next_ns,
        )
        if due == NEVER:
            return NEVER
        return self.boundary(due if due > self._passed_ns else self._passed_ns + 1)

    def open_cycle_ns(self) -> int:
        """The first cycle that is not over: the earliest in which an input can still act."""
        return self.boundary(self._passed_ns + 1)

    def boundary(self, time_ns: int) -> int:
        """The first cycle at or after ``time_ns``."""
        return -(-time_ns // self.settings.cycle_ns) * self.settings.cycle_ns

    def has_work(self) -> bool:
        """Whether a job will end, will arrive, or waits for something that will happen.

        Otherwise the remaining jobs never change: services without an end, and jobs on hold or for which there will be no room.
        """
        if self.services is not None:  # which are there until the end
            return True
        if self.restarting.waits or self.runs.next_ns() != NEVER or self.intake.next_ns() != NEVER:
            return True
        stalled = self.runs.next_stall_ns() != NEVER
        if (stalled or self.links.waiting) and self.scheduler.running:  # a stalled job goes on when its link is repaired
            return True
        if self.scheduler.may_admit() or (self.scheduler.reserved.inside and self._windows.next_ns != NEVER):
            return True
        if self.table.lives.paused and self.power.next_ns() != NEVER:
            return True
        if any(why.until_ns != NEVER for why in self.scheduler.draft.whys.values()):
            return True
        withheld = self.scheduler.ledger.withheld
        hosts_to_come = withheld(Withheld.DOWN, Withheld.PLANNED, Withheld.DRAINED, Withheld.BURN_IN)
        to_come = hosts_to_come or self.links.waiting or self._windows.next_ns != NEVER
        return self.scheduler.pending_jobs > len(self.table.on_hold) and bool(to_come)

    def finish(self, until_ns: int) -> None:
        """Settle up to ``until_ns`` without planning: the end of the emulation."""
        self._note_time(until_ns)
        self._settlement.run(until_ns)
        self.now_ns = self._passed_ns = until_ns
        if self.services is not None:
            self.services.serve(until_ns)
        for slot in self.scheduler.running:
            self.runs.progress(slot, until_ns)
        self.power.finish(until_ns)

    def idle_to(self, at_ns: int) -> None:
        """Move the clock to ``at_ns``, up to which nothing is due, for those who read it."""
        self._note_time(at_ns)
        self.now_ns = self._passed_ns = at_ns

    def run_cycle(self, at_ns: int) -> None:
        """The cycle at ``at_ns``, which is ``next_cycle_ns()`` or earlier."""
        before = self.chronicle.events
        self._note_time(at_ns)
        self._settlement.run(at_ns)
        self.now_ns = self._passed_ns = at_ns
        self.power.turn_due(at_ns)
        turned = self.services is not None and self._serve(self.services, at_ns)
        self.intake.run(at_ns)
        if self.chronicle.events != before or self._reconsider_ns <= at_ns:
            self._plan(at_ns)
        if self.services is not None:
            self.services.load_fabric(at_ns)
        if self.network.stale:
            self._share(at_ns)
        self.chronicle.events += self.power.act(at_ns)
        if self.services is not None:
            self.services.share(at_ns)
            self.chronicle.events += turned  # nothing to plan for, but there is something new to read
        self.cycles += 1
        self.ends.let_retire()

    def _serve(self, services: Services, at_ns: int) -> bool:
        """Have replicas serve, and look at them, where it is time for that; whether there is something new."""
        for asked in self.intake.take_asked(at_ns):
            if isinstance(asked, Ask):
                services.ask(asked)
            else:
                services.go_away(asked.number, asked.at_ns)
        if services.next_ns <= at_ns:
            self.chronicle.events += services.turn(at_ns)
            return True
        if services.due_ns() <= at_ns:
            services.serve(at_ns)
        return False

    def _note_time(self, at_ns: int) -> None:
        self.runs.swings.note_most()
        self.meter.note_cycle(*self.scheduler.free_gpus(), at_ns - self.now_ns)
        if self.scheduler.reserved.calendar is not None:
            self.scheduler.reserved.calendar.now_ns = at_ns

    # -- inputs ---------------------------------------------------------------------------------------------------------------------

    def post(self, command: Command, stamp_ns: int) -> None:
        """Take an input that acts in the cycle ``stamp_ns``. Raises ValueError if that cycle is over."""
        if stamp_ns < self.open_cycle_ns():
            raise ValueError(f"an input cannot act at {stamp_ns} ns: the next cycle is at {self.open_cycle_ns()} ns")
        self.intake.post(command, stamp_ns)

    # -- plan and share -------------------------------------------------------------------------------------------------------------

    def _plan(self, at_ns: int) -> None:
        self._stops.restart(at_ns)
        plan = self.scheduler.plan(at_ns)
        # GPUs that a preemption left over, and the preempted jobs, are for the next cycle's plan.
        self._reconsider_ns = min(plan.reconsider_at_ns, at_ns + 1) if plan.preempted else plan.reconsider_at_ns
        table, chronicle = self.table, self.chronicle
        for slot in plan.preempted:
            self.runs.halt(slot, at_ns, loses=slot not in plan.suspended)
            chronicle.reasons[slot] = plan.causes.get(slot) or f"preempted by the policy {self.scheduler.policy.name}"
            self._stops.note_preemption(slot, at_ns)
        for slots in plan.asked:
            chronicle.reasons |= {slot: plan.causes[slot] for slot in slots}
            self._stops.ask([slot for slot in slots if table.state[slot] == State.RUNNING], at_ns)
        if plan.migrated:
            self.runs.move(plan.migrated, at_ns)
            for slot, (_, _, gpus) in plan.migrated.items():
                chronicle.events += 1
                if table.size_gpus[slot] == gpus:
                    chronicle.migrations += 1
                else:
                    chronicle.resizes += 1
                    chronicle.reasons[slot] = (
                        plan.causes.get(slot) or f"resized from {gpus} GPUs by the policy {self.scheduler.policy.name}"
                    )
                chronicle.changed(slot, at_ns)
        for slot, rows in plan.starts:
            chronicle.events += 1
            chronicle.started += 1
            if table.first_start_ns[slot] < 0:
                table.first_start_ns[slot] = at_ns
                chronicle.waits.add(at_ns - table.submit_ns[slot])
            self.runs.start(slot, rows, at_ns)
            chronicle.changed(slot, at_ns)
        self._exchange.send_many(at_ns)

    def _share(self, at_ns: int) -> None:
        """Have the planes compute new shares, and run the jobs whose share changed at their new speed."""
        for slot, speed in self.network.share(at_ns, lambda planes: self._exchange.share(at_ns, planes)):
            self.chronicle.events += 1
            self.runs.set_speed(slot, speed, at_ns)

    # -- reading --------------------------------------------------------------------------------------------------------------------

    @property
    def planned_gpus(self) -> int:
        """GPUs that have not come into service yet."""
        return self.cluster.gpu_count - self.meter.gpus

    def read(self, *, publish: bool = False) -> Readings:
        """Readings of every shard and plane as of now. Does not change the result."""
        return self._exchange.read(self.now_ns, publish=publish)

    def read_planes(self) -> tuple[FabricReadings, ...]:
        """As ``read``, but of the fabric alone."""
        return self._exchange.read_planes(self.now_ns)

    def read_links(self) -> LinkTable:
        """What every link carries and has carried. Does not change the result."""
        planes = self._exchange.read_links(self.now_ns)
        return link_table(self.network, self.links.health, planes, self.scheduler.running, self.racks.links_ns, self.now_ns)
