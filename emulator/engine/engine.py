"""The cycle: emulated time advances from one scheduling cycle in which something is due to the next.

A cycle at t settles what happened since the cycle before (completions, faults and repairs at their exact times), takes in what
arrived, plans once, and shares the fabric among the flows that changed. At one instant: completions, faults, repairs, commands,
arrivals, then one plan; ties by id. Cost follows events: nothing is done in cycles without one.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from emulator.engine.commands import (
    BreakHosts,
    Cancel,
    CapPower,
    ClearFaults,
    Command,
    Cordon,
    CutLinks,
    EndReservation,
    Hold,
    Reserve,
    SetPriority,
    SlowDown,
    Submit,
)
from emulator.engine.draining import Draining, Stop
from emulator.engine.fault_book import FaultBook
from emulator.engine.faults import Faults
from emulator.engine.host_faults import HostFaults
from emulator.engine.installed import InstalledRacks
from emulator.engine.link_events import LinkEvents
from emulator.engine.link_table import LinkTable, link_table
from emulator.engine.meter import Integral, Meter
from emulator.engine.network import Network
from emulator.engine.orders import RackOrderBuffer
from emulator.engine.power_caps import PowerCaps
from emulator.engine.power_settings import Reduction
from emulator.engine.prospect import Prospect
from emulator.engine.restarting import Restarting
from emulator.engine.runs import RunEvent, Runs
from emulator.engine.settings import EngineSettings
from emulator.engine.shards import Answers, Readings, Shards, Window
from emulator.engine.slow_hosts import SlowHosts
from emulator.engine.spread import Zones
from emulator.engine.times import in_words
from emulator.engine.waits import Waits
from emulator.fabric.messages import FabricReadings
from emulator.racks.faults import Scope
from emulator.racks.messages import HostEvent
from emulator.scheduler.calendar import Running
from emulator.scheduler.explain_sites import no_site
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.spares import Spares
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import SECOND, JobSource
from topology.cluster import Cluster
from topology.describe import link_name

#: Rack orders that wait at the head before they are sent even though no window needs them.
ORDERS_KEPT = 65_536

#: What a command may end with without ending the emulation: errors of numbers, of look-ups and of the program.
COMMAND_ERRORS = (ArithmeticError, LookupError, ValueError, TypeError, AttributeError, AssertionError)


#: How a job ends that depends on one that ended otherwise than it was to (Slurm's kill_invalid_depend).
NEVER_SATISFIED = "dependency never satisfied"


class Engine:
    """One emulation. Pure except for ``shards``, which may run anywhere. Not thread-safe: one owner calls it.

    ``on_change(slot, at_ns)`` is called for each job whose state changed, with the instant at which it did.

    Of the jobs that have ended the last ``settings.ended_kept`` stay in the table. The others are given to ``retire``, some at a time and
    in the order of their ends, and when it returns their slots are free for others; where it is None, all stay.
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
        self._passed_ns = -1  # cycles up to here are over
        self.cycles = 0
        self.events = 0
        self.submitted = 0
        self.posted_jobs = 0  # jobs of inputs whose cycle is still to come
        self.started = 0
        self.preemptions = 0
        self.migrations = 0
        self.resizes = 0
        self.restarts = 0
        self.ended = dict.fromkeys((State.FINISHED, State.FAILED, State.CANCELLED, State.INFEASIBLE, State.REJECTED), 0)
        self.waits = Waits()
        self.reasons: dict[int, str] = {}  # slot -> how it ended, where the state alone does not say it
        self._ended_slots: deque[int] = deque()  # of the jobs in the table, in the order of their ends
        self.retire: Callable[[Sequence[int]], None] | None = None
        self.retired = 0
        self.on_change = on_change
        self.commands_failed = 0
        #: Called with a command that failed, its cycle and the error.
        self.on_command_failed: Callable[[Command, int, Exception], None] | None = None
        #: Called with a job that was preempted or interrupted, and the instant at which it is in its queue again.
        self.on_requeue: Callable[[int, int], None] | None = None
        sites = len(cluster.site_names)
        self.meter = Meter([Integral() for _ in range(sites)], [Integral() for _ in range(sites)])
        zones = Zones(cluster, settings.power.edges)
        self.racks = InstalledRacks(cluster, scheduler, self.meter, settings.buildout, zones)
        self._orders = RackOrderBuffer(shards.ranges, scheduler.ledger.first_host)
        slow = SlowHosts()
        self.runs = Runs(cluster, scheduler.ledger, network, self.meter, self._orders, slow, zones, settings)
        self.power = PowerCaps(settings.power, cluster, self.meter, self.racks.standing_milliwatts, zones, self.runs, self.table)
        self.fault_book = FaultBook()
        self.host_faults = HostFaults(cluster, scheduler.ledger, self.runs.broken_hosts, self.meter, self.racks, self.fault_book, settings)
        spares = Spares(cluster, scheduler.ledger, settings.spares_per_1024_gpus)
        self.host_faults.before_repair = spares.note_repair
        self.draining = Draining(self.table, self.runs, settings.grace_ns)
        self.restarting = Restarting(scheduler, self.runs, self.host_faults, spares, settings.recovery)
        if scheduler.settings.placement.asks_fabric:
            scheduler.draft.prospect = Prospect(network, scheduler.draft).probe
        self._source = source
        self._arrivals: deque[int] = deque()  # slots of jobs to come, the next one first
        self._inbox: list[tuple[int, int, Command]] = []  # (stamp, sequence, command), sorted
        self.links = LinkEvents(cluster, network, scheduler.ledger, settings.link_faults, settings.seed, settings.cycle_ns, self.fault_book)
        at_head = self.fault_book, self.host_faults, self.links, self._orders
        self.faults = Faults(cluster, scheduler.ledger, *at_head, self._settle_shards, self.runs.stand_still, slow=slow, settings=settings)
        self.faults.on_slow = self.runs.change_hosts
        self.faults.hot = self.power.heat
        self._sequence = 0
        self._reconsider_ns = NEVER
        #: When hosts are reserved, or no longer; NEVER where that is over.
        self._window_ns = NEVER if scheduler.reserved.calendar is None else scheduler.reserved.calendar.next_ns()
        self._plane_readings: tuple[FabricReadings, ...] = ()
        self._planes_read = -1  # network.changes when they were read
        self._promises = [0] * len(shards.ranges)  # by shard: when its next event is that concerns anyone else
        self._next_promise_ns = 0  # the first of these
        self._ask_shards(0, list(range(len(self._promises))))

    # -- time -----------------------------------------------------------------------------------------------------------------------

    def next_cycle_ns(self) -> int:
        """The next cycle in which something is due; NEVER if nothing will be due without an input."""
        due = min(
            self._next_arrival_ns(),
            self.runs.next_ns(),
            self._reconsider_ns,
            self._next_promise_ns,
            self.runs.next_stall_ns(),
            self.racks.next_ns(),
            self.scheduler.next_ns(),
            self._window_ns,
            self.faults.next_ns(),
            self.power.next_ns(),
            self._inbox[0][0] if self._inbox else NEVER,
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
        if self._inbox or self._arrivals or self.restarting.waits or self.runs.next_ns() != NEVER or self._next_arrival_ns() != NEVER:
            return True
        stalled = self.runs.next_stall_ns() != NEVER
        if (stalled or self.links.waiting) and self.scheduler.running:  # a stalled job goes on when its link is repaired
            return True
        if self.scheduler.may_admit() or (self.scheduler.reserved.inside and self._window_ns != NEVER):
            return True
        if self.table.lives.paused and self.power.next_ns() != NEVER:
            return True
        if any(why.until_ns != NEVER for why in self.scheduler.draft.whys.values()):
            return True
        withheld = self.scheduler.ledger.withheld
        hosts_to_come = withheld(Withheld.DOWN, Withheld.PLANNED, Withheld.DRAINED, Withheld.BURN_IN)
        to_come = hosts_to_come or self.links.waiting or self._window_ns != NEVER
        return self.scheduler.pending_jobs > len(self.table.on_hold) and bool(to_come)

    def finish(self, until_ns: int) -> None:
        """Settle up to ``until_ns`` without planning: the end of the emulation."""
        self._note_time(until_ns)
        self._settle(until_ns)
        self.now_ns = self._passed_ns = until_ns
        for slot in self.scheduler.running:
            self.runs.progress(slot, until_ns)
        self.power.finish(until_ns)

    def idle_to(self, at_ns: int) -> None:
        """Move the clock to ``at_ns``, up to which nothing is due, for those who read it."""
        self._note_time(at_ns)
        self.now_ns = self._passed_ns = at_ns

    def run_cycle(self, at_ns: int) -> None:
        """The cycle at ``at_ns``, which is ``next_cycle_ns()`` or earlier."""
        before = self.events
        self._note_time(at_ns)
        self._settle(at_ns)
        self.now_ns = self._passed_ns = at_ns
        self.power.turn_due(at_ns)
        self._intake(at_ns)
        if self.events != before or self._reconsider_ns <= at_ns:
            self._plan(at_ns)
        if self.network.stale:
            self._share(at_ns)
        self.events += self.power.act(at_ns)
        self.cycles += 1
        self._let_retire()

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
        self._sequence += 1
        insort(self._inbox, (stamp_ns, self._sequence, command))
        if isinstance(command, Submit):
            self.posted_jobs += len(command.slots)

    def posted_slots(self) -> Iterator[int]:
        """Jobs of inputs whose cycle is still to come."""
        return (slot for _, _, command in self._inbox if isinstance(command, Submit) for slot in command.slots)

    def _next_arrival_ns(self) -> int:
        while not self._arrivals and self._source is not None:
            batch = next(self._source, None)
            if batch is None:
                self._source = None
            elif len(batch):
                self._arrivals.extend(self.scheduler.add(batch))
        return self.table.submit_ns[self._arrivals[0]] if self._arrivals else NEVER

    def _intake(self, at_ns: int) -> None:
        if self.faults.next_ns() <= at_ns:
            self.events += self.faults.run(at_ns)
        if self.runs.next_stall_ns() <= at_ns:
            for stalled in self.runs.take_stalls(at_ns):
                self.events += 1
                if stalled is not None:
                    self._give_up(stalled, at_ns)
        if self.scheduler.dispatcher is not None:
            self.scheduler.dispatcher.book(at_ns)
        if self._window_ns <= at_ns:
            self._turn_windows(at_ns)
        if self.scheduler.room.next_ns() <= at_ns:
            self._admit_due(at_ns)
        while self._inbox and self._inbox[0][0] <= at_ns:
            self._attempt(self._inbox.pop(0)[2], at_ns)
        while self._next_arrival_ns() <= at_ns:
            self._arrive(self._arrivals.popleft(), at_ns)
        if self.scheduler.dispatcher is not None:
            self.events += self.scheduler.dispatch(at_ns)

    def _admit_due(self, at_ns: int) -> None:
        due = self.scheduler.admit_due(at_ns)
        self.events += len(due)
        for slot in due:
            if self.table.first_start_ns[slot] >= 0:
                self._tell_back(slot, at_ns)

    def _arrive(self, slot: int, at_ns: int, *, accepted: bool = False) -> None:
        self.events += 1
        self.submitted += 1
        state = self.scheduler.arrive(slot, accepted=accepted)
        if state == State.CANCELLED:
            self.table.end_ns[slot] = at_ns
            self.reasons[slot] = NEVER_SATISFIED
        if state != State.PENDING and (never := self.scheduler.reserved.never(slot)):
            self.reasons[slot] = never
        elif state == State.INFEASIBLE and self.scheduler.dispatcher is not None and (fitting := self.scheduler.fitting_sites(slot)):
            self.reasons[slot] = no_site(self.scheduler.dispatcher, slot, fitting)
        if state != State.PENDING:
            self.ended[state] += 1
            self._ended_slots.append(slot)
        self._changed(slot, at_ns)
        if state != State.PENDING and self.scheduler.room.concerns_others(slot):
            self._tell_dependents(slot, at_ns)

    def _attempt(self, command: Command, at_ns: int) -> None:
        """An error inside one command is that command's alone: it is counted, told, and a replay of it does the same.

        A lost shard or a broken machine (a RuntimeError, an OSError) is no error of a command's.
        """
        try:
            self._act(command, at_ns)
        except COMMAND_ERRORS as error:
            self.commands_failed += 1
            if self.on_command_failed is not None:
                self.on_command_failed(command, at_ns, error)

    def _act(self, command: Command, at_ns: int) -> None:
        self.events += 1
        match command:
            case Submit(slots):
                self.posted_jobs -= len(slots)
                for slot in slots:
                    self._arrive(slot, at_ns, accepted=True)
            case Cancel() | Hold() | SetPriority():
                if command.job_id in self.table.slot_of:
                    self._act_on(self.table.slot_of[command.job_id], command, at_ns)
            case _:
                self._act_on_hosts(command, at_ns)

    def _act_on_hosts(self, command: Command, at_ns: int) -> None:
        """A command that is about hosts and links."""
        match command:
            case Cordon(first_host, end_host, cordoned):
                change = self.scheduler.ledger.withhold if cordoned else self.scheduler.ledger.release
                for host in range(first_host, end_host):
                    change(host, Withheld.CORDONED)
            case BreakHosts() | SlowDown() | CutLinks() | ClearFaults():
                self.faults.act(command, at_ns)
            case Reserve(reservation):
                self.scheduler.reserved.add(reservation, at_ns)
                self._turn_windows(at_ns)
            case EndReservation(name):
                if self.scheduler.reserved.calendar is not None and name in self.scheduler.reserved.calendar.number_of:
                    self.scheduler.reserved.calendar.end(name, at_ns)
                    self._turn_windows(at_ns)
            case CapPower(place, milliwatts, duration_ns):
                self.power.reduce(Reduction(at_ns, place, duration_ns, None, milliwatts), at_ns)

    def _turn_windows(self, at_ns: int) -> None:
        """Reservations begin and end; those that say so stop what runs on their hosts."""
        calendar = self.scheduler.reserved.calendar
        assert calendar is not None, "a window has its time"
        self.events += 1
        ledger = self.scheduler.ledger
        for window in self.scheduler.reserved.turn(at_ns):
            reservation = calendar.reservations[window.number]
            if reservation.running == Running.DRAIN:
                continue
            slots = dict.fromkeys(slot for host in reservation.hosts for slot in ledger.jobs_on(host))
            for slot in slots:
                self.reasons[slot] = f"stopped: {window.told(reservation)}"
                kill = reservation.running == Running.KILL
                if not self._ask_to_stop([slot], at_ns, kill=kill):
                    self._put_out(slot, at_ns, Stop(loses=True, kill=kill))
        self._window_ns = calendar.next_ns()

    def _ask_to_stop(self, slots: Sequence[int], at_ns: int, *, kill: bool = False) -> bool:
        """Ask jobs to stop, which may save before; False where they can as well be stopped at once."""
        if not self.draining.ask(slots, at_ns, kill=kill):
            return False
        self.events += len(slots)
        for slot in slots:
            self._changed(slot, at_ns)
        return True

    def _put_out(self, slot: int, at_ns: int, stop: Stop) -> None:
        """A job that was in the way of others stops."""
        self._stop(slot, at_ns, loses=stop.loses)
        self.events += 1
        if stop.kill:
            self._end(slot, at_ns, State.FAILED)
        else:
            self.table.preemptions[slot] += 1
            self.preemptions += 1
            self._requeue(slot, at_ns)

    def _act_on(self, slot: int, command: Cancel | Hold | SetPriority, at_ns: int) -> None:
        match command:
            case Cancel():
                self._cancel(slot, at_ns)
            case Hold(_, held):
                self._hold(slot, at_ns, held=held)
            case SetPriority(_, priority):
                if self.scheduler.set_priority(slot, priority):
                    self._changed(slot, at_ns)

    def _give_up(self, slot: int, at_ns: int) -> None:
        """The job has waited for the network for as long as it may."""
        link = self.network.dead_link(slot)
        what = f"trunk {link_name(self.cluster, link)} is down" if link >= 0 else "no bandwidth"
        self._interrupt(slot, at_ns, f"stalled for {self.settings.stall_timeout_ns / SECOND:g} s: {what}")

    # -- settle ---------------------------------------------------------------------------------------------------------------------

    def _settle(self, at_ns: int) -> None:
        """Settle everything that happened up to ``at_ns``, at its exact times."""
        self.events += self.racks.commission(at_ns)
        if self._next_promise_ns <= at_ns:
            self._settle_shards(at_ns, [shard for shard, promise in enumerate(self._promises) if promise <= at_ns])
        self._settle_runs(at_ns)

    @property
    def planned_gpus(self) -> int:
        """GPUs that have not come into service yet."""
        return self.cluster.gpu_count - self.meter.gpus

    def _settle_shards(self, at_ns: int, shards: list[int]) -> None:
        answers = self._ask_shards(at_ns, shards)
        reports = [answers.racks[shard] for shard in shards]
        names = ("time_ns", "event", "host", "cause", "scope", "repair_ns")
        columns = (np.concatenate([getattr(report, name) for report in reports]) for name in names)
        for time_ns, event, host, cause, scope, repair_ns in sorted(zip(*(column.tolist() for column in columns), strict=True)):
            self._settle_runs(time_ns)
            self.events += 1
            if event == HostEvent.FAULT:
                for slot, reason, detection_ns in self.host_faults.breaks(host, time_ns, cause, Scope(scope), repair_ns):
                    self._interrupt(slot, time_ns, reason, detection_ns)
                self.host_faults.settle(host, time_ns, Scope(scope))
            else:
                self.host_faults.repaired(host, time_ns)
                self.power.act_at_once(time_ns)
                self.meter.note_peak()
        if self.host_faults.sent:
            self.faults.tell_sent(at_ns)

    def _ask_shards(self, at_ns: int, shards: list[int]) -> Answers:
        answers = self.shards.advance(Window(at_ns, racks={shard: self._orders.take(shard) for shard in shards}))
        for shard, report in answers.racks.items():
            self._promises[shard] = report.next_event_ns
        self._next_promise_ns = min(self._promises)
        return answers

    def _settle_runs(self, at_ns: int) -> None:
        while self.runs.next_ns() <= at_ns:
            event_ns, slot, what = self.runs.take()
            if what == RunEvent.AT_WORK:
                self.runs.begin_work(slot, event_ns)
                self.power.act_at_once(event_ns)
                self.meter.note_peak()
            elif what == RunEvent.NOTICED:
                self._stop_again(slot, event_ns)
            elif what == RunEvent.PACE:
                self.events += 1
                self.runs.change_pace(slot, event_ns)
            elif what == RunEvent.DRAINED:
                self._put_out(slot, event_ns, self.draining.take(slot))
            elif what == RunEvent.TIME_LIMIT:
                self._stop(slot, event_ns, loses=True)
                self.reasons[slot] = f"reached its time limit of {in_words(self.runs.time_limit_ns(slot))}"
                self._end(slot, event_ns, State.FAILED)
            else:
                self.runs.halt(slot, event_ns)
                self.scheduler.finish(slot, at_ns=event_ns)
                self.table.lives.remaining_ns[slot] = 0
                self._end(slot, event_ns, State.FINISHED)

    def _end(self, slot: int, at_ns: int, state: State) -> None:
        self._note_end(slot, at_ns, state)
        if self.scheduler.room.concerns_others(slot):
            self._tell_dependents(slot, at_ns)

    def _note_end(self, slot: int, at_ns: int, state: State) -> None:
        self.table.end_ns[slot] = at_ns
        self.table.state[slot] = state
        self.ended[state] += 1
        self._ended_slots.append(slot)
        self.events += 1
        self._changed(slot, at_ns)

    def _tell_dependents(self, slot: int, at_ns: int) -> None:
        """The job has ended, which concerns others: those that can never start because of it end with it, and those that depend on
        them.
        """
        ended = deque((slot,))
        while ended:
            for unmet in self.scheduler.note_end(ended.popleft()):
                self.scheduler.cancel_pending(unmet)
                self.reasons[unmet] = NEVER_SATISFIED
                self._note_end(unmet, at_ns, State.CANCELLED)
                ended.append(unmet)

    def _let_retire(self) -> None:
        """The jobs that ended longest ago leave, where they are too many. Between two cycles: nothing has a slot in its hands then."""
        settings, slots = self.settings, self._ended_slots
        while self.retire is not None and len(slots) >= settings.ended_kept + settings.retired_at_once:
            leaving = [slots.popleft() for _ in range(settings.retired_at_once)]
            self.retire(leaving)
            for slot in leaving:
                self.reasons.pop(slot, None)
            self.table.drop(leaving)
            self.retired += len(leaving)

    def _stop(self, slot: int, at_ns: int, *, loses: bool = False) -> None:
        """The job's run ends: give back its GPUs, its power and its flows, and account for the run. ``loses``: as ``Runs.halt``."""
        self.runs.halt(slot, at_ns, loses=loses)
        self.scheduler.release(slot, at_ns=at_ns)

    def _interrupt(self, slot: int, at_ns: int, reason: str, detection_ns: int = 0) -> None:
        """The job cannot go on. Once that is noticed it goes back to its last checkpoint, and into the queue again."""
        if self.runs.hangs(slot):
            return
        self.reasons[slot] = reason
        if detection_ns:
            self.events += 1
            self.runs.hang(slot, at_ns, at_ns + detection_ns)
            self.power.act_at_once(at_ns)
            self._changed(slot, at_ns)
        else:
            self._stop_again(slot, at_ns)

    def _stop_again(self, slot: int, at_ns: int) -> None:
        """The job was interrupted, which has been noticed."""
        self.table.restarts[slot] += 1
        self.restarts += 1
        self.events += 1
        if self.table.restarts[slot] > self.settings.max_restarts:
            self._stop(slot, at_ns, loses=True)
            self._end(slot, at_ns, State.FAILED)
        elif not self.restarting.takes(slot, at_ns):
            self._give_back(slot, at_ns)

    def _give_back(self, slot: int, at_ns: int) -> None:
        """The job was interrupted, and gives back its GPUs."""
        self._stop(slot, at_ns, loses=True)
        self._requeue(slot, at_ns, self.settings.requeue_backoff.until_ns(at_ns, self.table.restarts[slot]))

    def _restart(self, at_ns: int) -> None:
        """Restart the jobs that have kept their GPUs after a fault, where that can be."""
        for slot, told, resized in self.restarting.run(at_ns):
            self.events += 1
            self.resizes += resized
            if told:
                self.reasons[slot] = f"{told}, after {self.reasons[slot]}"
                self._changed(slot, at_ns)
            else:
                self._give_back(slot, at_ns)

    def _requeue(self, slot: int, at_ns: int, until_ns: int = 0) -> None:
        """The job, which was stopped, waits again; until ``until_ns``, where it is given, it is on hold."""
        self.scheduler.requeue(slot, until_ns)
        self._changed(slot, at_ns)
        self._tell_back(slot, at_ns)

    def _tell_back(self, slot: int, at_ns: int) -> None:
        inside = self.scheduler.reserved.inside
        if self.on_requeue is not None and (slot not in self.table.on_hold or (inside is not None and slot in inside)):
            self.on_requeue(slot, at_ns)

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

    def _hold(self, slot: int, at_ns: int, *, held: bool) -> None:
        if self.table.state[slot] == State.PENDING and held != self.scheduler.room.is_held(slot):
            (self.scheduler.put_on_hold if held else self.scheduler.take_off_hold)(slot)
            self._changed(slot, at_ns)

    # -- plan and share -------------------------------------------------------------------------------------------------------------

    def _plan(self, at_ns: int) -> None:
        self._restart(at_ns)
        plan = self.scheduler.plan(at_ns)
        # GPUs that a preemption left over, and the preempted jobs, are for the next cycle's plan.
        self._reconsider_ns = min(plan.reconsider_at_ns, at_ns + 1) if plan.preempted else plan.reconsider_at_ns
        table = self.table
        for slot in plan.preempted:
            self.runs.halt(slot, at_ns, loses=slot not in plan.suspended)
            table.preemptions[slot] += 1
            self.preemptions += 1
            self.events += 1
            self.reasons[slot] = plan.causes.get(slot) or f"preempted by the policy {self.scheduler.policy.name}"
            self._requeue(slot, at_ns)
        for slots in plan.asked:
            self.reasons |= {slot: plan.causes[slot] for slot in slots}
            self._ask_to_stop([slot for slot in slots if table.state[slot] == State.RUNNING], at_ns)
        if plan.migrated:
            self.runs.move(plan.migrated, at_ns)
            for slot, (_, _, gpus) in plan.migrated.items():
                self.events += 1
                if table.size_gpus[slot] == gpus:
                    self.migrations += 1
                else:
                    self.resizes += 1
                    self.reasons[slot] = plan.causes.get(slot) or f"resized from {gpus} GPUs by the policy {self.scheduler.policy.name}"
                self._changed(slot, at_ns)
        for slot, rows in plan.starts:
            self.events += 1
            self.started += 1
            if table.first_start_ns[slot] < 0:
                table.first_start_ns[slot] = at_ns
                self.waits.add(at_ns - table.submit_ns[slot])
            self.runs.start(slot, rows, at_ns)
            self._changed(slot, at_ns)
        if self._orders.size > ORDERS_KEPT:
            self._ask_shards_quietly(at_ns)

    def _ask_shards_quietly(self, at_ns: int) -> None:
        """Send the orders that wait. Everything due by now is settled, so the reports hold only the times of the next events."""
        self._ask_shards(at_ns, self._orders.waiting_shards())

    def _share(self, at_ns: int) -> None:
        """Have the planes compute new shares, and run the jobs whose share changed at their new speed."""
        for slot, speed in self.network.share(at_ns, lambda planes: self.shards.advance(Window(at_ns, planes=planes)).planes):
            self.events += 1
            self.runs.set_speed(slot, speed, at_ns)

    # -- reading --------------------------------------------------------------------------------------------------------------------

    def read(self, *, publish: bool = False) -> Readings:
        """Readings of every shard and plane as of now. Does not change the result."""
        waiting = self._orders.waiting_shards()
        if waiting:
            self._ask_shards(self.now_ns, waiting)
        self._send_flows()
        return self.shards.publish(self.now_ns) if publish else self.shards.read(self.now_ns)

    def read_planes(self) -> tuple[FabricReadings, ...]:
        """As ``read``, but of the fabric alone. Planes are asked only if a flow has changed, since loads are constant in between."""
        if self._planes_read != self.network.changes:
            read = self.shards.advance(Window(self.now_ns, planes=self.network.take_all(), read_planes=True)).readings
            self._plane_readings = tuple(read[plane] for plane in sorted(read))
            self._planes_read = self.network.changes
        return tuple(replace(plane, at_ns=self.now_ns) for plane in self._plane_readings)

    def read_links(self) -> LinkTable:
        """What every link carries and has carried. Does not change the result."""
        self._send_flows()
        planes = self.shards.read_links(self.now_ns)
        return link_table(self.network, self.links.health, planes, self.scheduler.running, self.racks.links_ns, self.now_ns)

    def _send_flows(self) -> None:
        """Send the flows that wait. None of them can change a rate, otherwise the planes would have been asked already."""
        planes = self.network.take_all()
        if planes:
            self.shards.advance(Window(self.now_ns, planes=planes))

    def _changed(self, slot: int, at_ns: int) -> None:
        if self.on_change is not None:
            self.on_change(slot, at_ns)
