"""The windows of reservations: when they begin and end, and what becomes of jobs that run on their hosts."""

from emulator.engine.chronicle import Chronicle
from emulator.engine.draining import Stop
from emulator.engine.stops import Stops
from emulator.scheduler.calendar import HostReservation, Running
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import NEVER


class ReservationWindows:
    """``next_ns`` is when hosts are reserved, or no longer; NEVER where that is over."""

    def __init__(self, scheduler: Scheduler, stops: Stops, chronicle: Chronicle) -> None:
        self._reserved, self._ledger, self._stops, self._chronicle = scheduler.reserved, scheduler.ledger, stops, chronicle
        self.next_ns = NEVER if self._reserved.calendar is None else self._reserved.calendar.next_ns()

    def add(self, reservation: HostReservation, at_ns: int) -> None:
        """There is another reservation."""
        self._reserved.add(reservation, at_ns)
        self.turn(at_ns)

    def end(self, name: str, at_ns: int) -> None:
        """The reservation of this name is over; nothing happens where there is none."""
        calendar = self._reserved.calendar
        if calendar is not None and name in calendar.number_of:
            calendar.end(name, at_ns)
            self.turn(at_ns)

    def turn(self, at_ns: int) -> None:
        """Reservations begin and end; those that say so stop what runs on their hosts."""
        calendar = self._reserved.calendar
        assert calendar is not None, "a window has its time"
        self._chronicle.events += 1
        for window in self._reserved.turn(at_ns):
            reservation = calendar.reservations[window.number]
            if reservation.running == Running.DRAIN:
                continue
            slots = dict.fromkeys(slot for host in reservation.hosts for slot in self._ledger.jobs_on(host))
            for slot in slots:
                self._chronicle.reasons[slot] = f"stopped: {window.told(reservation)}"
                kill = reservation.running == Running.KILL
                if not self._stops.ask([slot], at_ns, kill=kill):
                    self._stops.put_out(slot, at_ns, Stop(loses=True, kill=kill))
        self.next_ns = calendar.next_ns()
