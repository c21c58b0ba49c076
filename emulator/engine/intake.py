"""Intake: what comes in with a cycle. Faults and repairs first, then what has its time, commands, and jobs of the source."""

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator

from emulator.engine.chronicle import Chronicle
from emulator.engine.commands import (
    Ask,
    BreakHosts,
    Cancel,
    CapPower,
    ClearFaults,
    Command,
    Cordon,
    CutLinks,
    EndReservation,
    GoAway,
    Hold,
    Reserve,
    ScaleService,
    SetPriority,
    SlowDown,
    Submit,
)
from emulator.engine.ends import NEVER_SATISFIED, Ends
from emulator.engine.faults import Faults
from emulator.engine.power_caps import PowerCaps
from emulator.engine.power_settings import Reduction
from emulator.engine.reservation_windows import ReservationWindows
from emulator.engine.runs import Runs
from emulator.engine.stops import Stops
from emulator.scheduler.explain_sites import no_site
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import JobSource

#: What a command may end with without ending the emulation: errors of numbers, of look-ups and of the program.
COMMAND_ERRORS = (ArithmeticError, LookupError, ValueError, TypeError, AttributeError, AssertionError)


class Intake:
    """The inbox, and the jobs of ``source`` that are to come."""

    def __init__(
        self,
        source: JobSource | None,
        scheduler: Scheduler,
        runs: Runs,
        faults: Faults,
        *,
        power: PowerCaps,
        windows: ReservationWindows,
        stops: Stops,
        ends: Ends,
        chronicle: Chronicle,
    ) -> None:
        self._source, self._scheduler, self._table, self._runs, self._faults = source, scheduler, scheduler.table, runs, faults
        self._power, self._windows, self._stops, self._ends, self._chronicle = power, windows, stops, ends, chronicle
        self._arrivals: deque[int] = deque()  # slots of jobs to come, the next one first
        self._inbox: list[tuple[int, int, Command]] = []  # (stamp, sequence, command), sorted
        self._sequence = 0
        self.posted_jobs = 0  # jobs of inputs whose cycle is still to come
        #: Called with a service that is to have so many replicas, and the cycle.
        self.on_scale: Callable[[int, int, int], None] = _nobody
        #: Called with a command that failed, its cycle and the error.
        self.on_command_failed: Callable[[Command, int, Exception], None] | None = None

    def post(self, command: Command, stamp_ns: int) -> None:
        """Take an input that acts in the cycle ``stamp_ns``, which is not over."""
        self._sequence += 1
        insort(self._inbox, (stamp_ns, self._sequence, command))
        if isinstance(command, Submit):
            self.posted_jobs += len(command.slots)

    def posted_slots(self) -> Iterator[int]:
        """Jobs of inputs whose cycle is still to come."""
        return (slot for _, _, command in self._inbox if isinstance(command, Submit) for slot in command.slots)

    def next_ns(self) -> int:
        """When the next job arrives, or the next input acts; NEVER where there is none."""
        return min(self._next_arrival_ns(), self._inbox[0][0] if self._inbox else NEVER)

    def _next_arrival_ns(self) -> int:
        while not self._arrivals and self._source is not None:
            batch = next(self._source, None)
            if batch is None:
                self._source = None
            elif len(batch):
                self._arrivals.extend(self._scheduler.add(batch))
        return self._table.submit_ns[self._arrivals[0]] if self._arrivals else NEVER

    def run(self, at_ns: int) -> None:
        """Take in what is due by ``at_ns``."""
        if self._faults.next_ns() <= at_ns:
            struck = self._faults.run(at_ns)  # which counts what it stops
            self._chronicle.events += struck
        if self._runs.next_stall_ns() <= at_ns:
            for stalled in self._runs.take_stalls(at_ns):
                self._chronicle.events += 1
                if stalled is not None:
                    self._stops.give_up(stalled, at_ns)
        if self._scheduler.dispatcher is not None:
            self._scheduler.dispatcher.book(at_ns)
        if self._windows.next_ns <= at_ns:
            self._windows.turn(at_ns)
        if self._scheduler.room.next_ns() <= at_ns:
            self._admit_due(at_ns)
        while self._inbox and self._inbox[0][0] <= at_ns:
            self._attempt(self._inbox.pop(0)[2], at_ns)
        while self._next_arrival_ns() <= at_ns:
            self._arrive(self._arrivals.popleft(), at_ns)
        if self._scheduler.dispatcher is not None:
            self._chronicle.events += self._scheduler.dispatch(at_ns)

    def take_asked(self, at_ns: int) -> list[Ask | GoAway]:
        """Take what clients of services want by ``at_ns``: it comes before the replicas run up to then."""
        asked = [command for stamp, _, command in self._inbox if stamp <= at_ns and isinstance(command, Ask | GoAway)]
        if asked:
            self._inbox = [entry for entry in self._inbox if entry[0] > at_ns or not isinstance(entry[2], Ask | GoAway)]
        return asked

    def _admit_due(self, at_ns: int) -> None:
        due = self._scheduler.admit_due(at_ns)
        self._chronicle.events += len(due)
        for slot in due:
            if self._table.first_start_ns[slot] >= 0:
                self._stops.tell_back(slot, at_ns)

    def arrive(self, slot: int, at_ns: int) -> None:
        """A job is submitted that the limit of the queue does not concern."""
        self._arrive(slot, at_ns, accepted=True)

    def _arrive(self, slot: int, at_ns: int, *, accepted: bool = False) -> None:
        scheduler, reasons = self._scheduler, self._chronicle.reasons
        self._chronicle.events += 1
        self._chronicle.submitted += 1
        state = scheduler.arrive(slot, accepted=accepted)
        if state == State.CANCELLED:
            self._table.end_ns[slot] = at_ns
            reasons[slot] = NEVER_SATISFIED
        if state != State.PENDING and (never := scheduler.reserved.never(slot)):
            reasons[slot] = never
        elif state == State.INFEASIBLE and scheduler.dispatcher is not None and (fitting := scheduler.fitting_sites(slot)):
            reasons[slot] = no_site(scheduler.dispatcher, slot, fitting)
        if state != State.PENDING:
            self._ends.count(slot, state)
        self._chronicle.changed(slot, at_ns)
        if state != State.PENDING:
            self._ends.tell_dependents(slot, at_ns)

    # -- commands -------------------------------------------------------------------------------------------------------------------

    def _attempt(self, command: Command, at_ns: int) -> None:
        """An error inside one command is that command's alone: it is counted, told, and a replay of it does the same.

        A lost shard or a broken machine (a RuntimeError, an OSError) is no error of a command's.
        """
        try:
            self._act(command, at_ns)
        except COMMAND_ERRORS as error:
            self._chronicle.commands_failed += 1
            if self.on_command_failed is not None:
                self.on_command_failed(command, at_ns, error)

    def _act(self, command: Command, at_ns: int) -> None:
        self._chronicle.events += 1
        match command:
            case Submit(slots):
                self.posted_jobs -= len(slots)
                for slot in slots:
                    self._arrive(slot, at_ns, accepted=True)
            case ScaleService(service, replicas):
                self.on_scale(service, replicas, at_ns)
            case Cancel() | Hold() | SetPriority():
                if command.job_id in self._table.slot_of:
                    self._act_on(self._table.slot_of[command.job_id], command, at_ns)
            case _:
                self._act_on_hosts(command, at_ns)

    def _act_on(self, slot: int, command: Cancel | Hold | SetPriority, at_ns: int) -> None:
        match command:
            case Cancel():
                self._stops.cancel(slot, at_ns)
            case Hold(_, held):
                self._hold(slot, at_ns, held=held)
            case SetPriority(_, priority):
                if self._scheduler.set_priority(slot, priority):
                    self._chronicle.changed(slot, at_ns)

    def _hold(self, slot: int, at_ns: int, *, held: bool) -> None:
        if self._table.state[slot] == State.PENDING and held != self._scheduler.room.is_held(slot):
            (self._scheduler.put_on_hold if held else self._scheduler.take_off_hold)(slot)
            self._chronicle.changed(slot, at_ns)

    def _act_on_hosts(self, command: Command, at_ns: int) -> None:
        """A command that is about hosts and links."""
        match command:
            case Cordon(first_host, end_host, cordoned):
                change = self._scheduler.ledger.withhold if cordoned else self._scheduler.ledger.release
                for host in range(first_host, end_host):
                    change(host, Withheld.CORDONED)
            case BreakHosts() | SlowDown() | CutLinks() | ClearFaults():
                self._faults.act(command, at_ns)
            case Reserve(reservation):
                self._windows.add(reservation, at_ns)
            case EndReservation(name):
                self._windows.end(name, at_ns)
            case CapPower(place, milliwatts, duration_ns):
                self._power.reduce(Reduction(at_ns, place, duration_ns, None, milliwatts), at_ns)


def _nobody(service: int, replicas: int, at_ns: int) -> None:
    raise ValueError(f"there is no service {service} to have {replicas} replicas at {at_ns} ns")
