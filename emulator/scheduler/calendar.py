"""Reservations of hosts for a time, as of Slurm's ``scontrol create reservation`` (slurm.schedmd.com/reservations.html), and when they are.

A *reservation* keeps hosts for some, or for nobody (*maintenance*), once or again and again. Each time is a *window*. In a window a host is
withheld from everybody else; before it, from who would still run there when it begins.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from emulator.scheduler.table import NEVER
from emulator.workload.jobs import SECOND

#: Windows of one reservation.
MOST_TIMES = 1000


class Running(StrEnum):
    """What becomes of the jobs that run on its hosts when a window begins."""

    DRAIN = "drain"  # they run on
    REQUEUE = "requeue"  # they go back to their last checkpoints, and wait again
    KILL = "kill"  # they have failed


@dataclass(frozen=True)
class HostReservation:
    """Hosts kept from ``begin_ns`` on for ``duration_ns``, and so every ``every_ns``, ``times`` times in all."""

    name: str
    hosts: tuple[int, ...]  # by number, lowest first
    called: str  # what the hosts are called, as in "rack r00007"
    begin_ns: int
    duration_ns: int
    every_ns: int = 0
    times: int = 1
    maintenance: bool = False
    queues: frozenset[str] = frozenset()  # whose jobs may use it; none: those of all
    tenants: frozenset[str] = frozenset()
    running: Running = Running.DRAIN

    def what(self) -> str:
        """``maintenance of rack r00007``."""
        return f"maintenance of {self.called}" if self.maintenance else f"reservation {self.name} of {self.called}"

    def serves(self, queue: str, tenant: str) -> bool:
        """Whether jobs of the queue and the tenant may use it."""
        return not self.maintenance and (not self.queues or queue in self.queues) and (not self.tenants or tenant in self.tenants)


class Window(NamedTuple):
    """One time of a reservation: its hosts are kept from ``begin_ns`` up to ``end_ns``."""

    begin_ns: int
    end_ns: int
    number: int  # of the reservation
    time: int  # counted from 0

    def told(self, reservation: HostReservation) -> str:
        """``maintenance of rack r00007 from 7,200 s to 21,600 s``."""
        return f"{reservation.what()} from {self.begin_ns / SECOND:,.15g} s to {self.end_ns / SECOND:,.15g} s"


def windows_of(number: int, reservation: HostReservation, cycle_ns: int) -> Iterator[Window]:
    """All windows of a reservation, in order. They are whole cycles: one begins at the cycle before, and ends at the one after, the time
    that is given.
    """
    for time in range(reservation.times):
        begin_ns = reservation.begin_ns + time * reservation.every_ns
        yield Window(begin_ns // cycle_ns * cycle_ns, -(-(begin_ns + reservation.duration_ns) // cycle_ns) * cycle_ns, number, time)


class Calendar:
    """All reservations, and which of their windows are open: ``turn`` moves on."""

    def __init__(self, reservations: Sequence[HostReservation], cycle_ns: int) -> None:
        """Windows of two reservations that have a host in common do not overlap."""
        self._cycle_ns = cycle_ns
        self.reservations: list[HostReservation] = []
        self.number_of: dict[str, int] = {}  # by name
        self.coming: list[Window] = []  # windows that have not begun, the next one first
        self.open: dict[int, Window] = {}  # by reservation
        self.ended: set[int] = set()  # reservations that somebody ended
        self.now_ns = -1  # for those who read
        for reservation in reservations:
            self.add(reservation)

    def add(self, reservation: HostReservation, now_ns: int = -1) -> int:
        """Returns its number. Windows that are over by ``now_ns`` never were; the first of the others begins with the next turn at the
        earliest. Raises ValueError where there is one of the name, even if it is over.
        """
        if reservation.name in self.number_of:
            raise ValueError(f"there is a reservation {reservation.name} already")
        number = self.number_of[reservation.name] = len(self.reservations)
        self.reservations.append(reservation)
        self.coming = sorted(
            [*self.coming, *(window for window in windows_of(number, reservation, self._cycle_ns) if window.end_ns > now_ns)]
        )
        return number

    def end(self, name: str, now_ns: int) -> None:
        """The reservation is over: a window that is open ends with the next turn, and none is to come."""
        number = self.number_of[name]
        self.ended.add(number)
        self.coming = [window for window in self.coming if window.number != number]
        if number in self.open:
            self.open[number] = self.open[number]._replace(end_ns=now_ns)

    def next_ns(self) -> int:
        """When a window begins or ends next; NEVER where all are over."""
        begin_ns = self.coming[0].begin_ns if self.coming else NEVER
        return min([begin_ns, *(window.end_ns for window in self.open.values())])

    def turn(self, now_ns: int) -> tuple[list[Window], list[Window]]:
        """It is ``now_ns``. Returns the windows that have ended and those that have begun since the last time."""
        ended = [window for window in self.open.values() if window.end_ns <= now_ns]
        for window in ended:
            del self.open[window.number]
        place = bisect_left(self.coming, (now_ns + 1,))
        begun, self.coming = [window for window in self.coming[:place] if window.end_ns > now_ns], self.coming[place:]
        self.open.update((window.number, window) for window in begun)
        return ended, begun

    def windows(self, number: int) -> Iterator[Window]:
        """Of one reservation, those that are not over, in order."""
        if number in self.open:
            yield self.open[number]
        yield from (window for window in self.coming if window.number == number)

    def in_the_way(self, host: int, until_ns: int) -> Window | None:
        """The first window of the host that is open or begins before ``until_ns``; None where there is none."""
        windows = (window for window in (*self.open.values(), *self.coming) if window.begin_ns < until_ns)
        return next((window for window in windows if host in self.reservations[window.number].hosts), None)
