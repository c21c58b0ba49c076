"""Hosts that are reserved at times, for some jobs or for nobody: which windows there are, and who may run in them."""

from collections import Counter
from collections.abc import Callable, Sequence

from emulator.scheduler.calendar import Calendar, HostReservation, Window, windows_of
from emulator.scheduler.dispatch import Choice
from emulator.scheduler.free_views import FreeViews
from emulator.scheduler.inside import Inside, refusal
from emulator.scheduler.ledger import Ledger, Withheld
from emulator.scheduler.partition import Partition
from emulator.scheduler.table import JobTable
from emulator.workload.jobs import SECOND


class ReservedHosts:
    """Of one cluster. ``calendar`` is None where no host was ever reserved."""

    def __init__(self, table: JobTable, ledger: Ledger, partitions: Sequence[Partition], cycle_ns: int) -> None:
        self._table, self._ledger, self._partitions, self._cycle_ns = table, ledger, partitions, cycle_ns
        self.calendar: Calendar | None = None
        #: Jobs that wait for the hosts of a reservation.
        self.inside: Inside | None = None

    def add(self, reservation: HostReservation, now_ns: int = -1) -> None:
        """From now on there is this reservation too; ``turn`` comes next. Raises ValueError where there is one of the name."""
        ledger = self._ledger
        if self.calendar is None:
            self.calendar = ledger.calendar = Calendar((), self._cycle_ns)
            self.inside = Inside(self._table, self.calendar)
        number = self.calendar.add(reservation, now_ns)
        for partition in self._partitions:
            mine = frozenset(host for host in reservation.hosts if ledger.partition_of_host(host) is partition)
            if mine and partition.views is None:
                partition.views = FreeViews(partition.free, {number: mine}, self.calendar, ledger.usable)
            elif mine and partition.views is not None:
                partition.views.add(number, mine)

    def turn(self, now_ns: int) -> list[Window]:
        """Withhold the hosts of the windows that begin by ``now_ns``, and offer those of the windows that end. Returns those that begin."""
        calendar, ledger = self.calendar, self._ledger
        assert calendar is not None, "asked where hosts are reserved"
        ended, begun = calendar.turn(now_ns)
        for partition in self._partitions:
            if partition.views is not None:
                partition.views.turn()
                partition.shadow, partition.stirred = None, True
                partition.surprises += 1
        for windows, change in ((ended, ledger.release), (begun, ledger.withhold)):
            for window in windows:
                reservation = calendar.reservations[window.number]
                for host in reservation.hosts:
                    change(host, Withheld.MAINTENANCE if reservation.maintenance else Withheld.RESERVED)
        return begun

    def never(self, slot: int) -> str:
        """Why the job can never run in the reservation that it names; "" where it may, or names none."""
        table, name = self._table, self._table.reservation.get(slot)
        if name is None:
            return ""
        names = table.queues[table.queue[slot]], table.tenants[table.tenant[slot]]
        return self.refused(name, *names, table.size_gpus[slot], table.expected_ns[slot])

    def find(self, name: str) -> HostReservation | None:
        """The reservation of this name, if there is one."""
        calendar = self.calendar
        return None if calendar is None or name not in calendar.number_of else calendar.reservations[calendar.number_of[name]]

    def names_for(self, queue: str, tenant: str) -> list[str]:
        """The names of the reservations that jobs of the queue and the tenant may use."""
        return [] if self.calendar is None else [one.name for one in self.calendar.reservations if one.serves(queue, tenant)]

    def refused(self, name: str, queue: str, tenant: str, gpus: int, estimate_ns: int) -> str:
        """Why such a job is never to run in the reservation of this name; "" where it may."""
        reservation = self.find(name)
        why = refusal(reservation, name, queue, tenant)
        if why or reservation is None or self.calendar is None:
            return why
        if gpus > (most := self._ledger.gpus_of(reservation.hosts)):
            return f"the hosts of reservation {name} have {most:,} GPUs"
        if next(self.calendar.windows(self.calendar.number_of[name]), None) is None:
            return f"reservation {name} is over"
        if estimate_ns > self._longest_ns(reservation) or not estimate_ns:
            return f"reservation {name} lasts {reservation.duration_ns / SECOND:,.15g} s, and the job is to end in it"
        return ""

    def _longest_ns(self, reservation: HostReservation) -> int:
        cycle_ns = self._cycle_ns
        return max(window.end_ns - window.begin_ns for window in windows_of(0, reservation, cycle_ns))

    def types_for(self, slot: int, types: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the host types on which the job could ever run in the reservation that it names."""
        reservation = self.find(self._table.reservation[slot])
        if reservation is None or self.never(slot):
            return ()
        gpus = self._gpus_by(reservation, lambda partition: partition.host_type)
        return tuple([number for number in types if self._table.size_gpus[slot] <= gpus[number]])

    def choices_for(self, slot: int, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        """Those of ``choices`` where the hosts are that the job's reservation has, if they are enough for it."""
        reservation = self.find(self._table.reservation[slot])
        if reservation is None:
            return ()
        gpus = self._gpus_by(reservation, lambda partition: partition.number)
        found = [(site, tuple([one for one in numbers if self._table.size_gpus[slot] <= gpus[one]])) for site, numbers in choices]
        return tuple([Choice(site, numbers) for site, numbers in found if numbers])

    def _gpus_by(self, reservation: HostReservation, key: Callable[[Partition], int]) -> Counter[int]:
        """GPUs of the reservation's hosts, by what ``key`` says of their partition."""
        gpus = Counter[int]()
        for host in reservation.hosts:
            partition = self._ledger.partition_of_host(host)
            gpus[key(partition)] += partition.free.gpus_per_host
        return gpus
