"""Jobs that name a reservation: they use its hosts alone, while it lasts.

They are in no queue and in no policy's way: outside its windows they wait for the next, and in a window they start before the policy
decides, in order of priority and submission. Nobody passes a job that does not fit on the hosts; passed over are jobs that would not end in
time (Slurm does not start these either) and those without quota.
"""

from bisect import insort

from emulator.scheduler.calendar import Calendar, HostReservation, Window
from emulator.scheduler.draft import Draft
from emulator.scheduler.free import Row
from emulator.scheduler.pending import by_submission
from emulator.scheduler.reasons import Why
from emulator.scheduler.table import JobTable
from emulator.workload.jobs import SECOND


class Inside:
    """Those that wait. They are on hold for everybody else (``table.on_hold``)."""

    def __init__(self, table: JobTable, calendar: Calendar) -> None:
        self._table, self._calendar = table, calendar
        self._waiting: dict[int, list[tuple[int, ...]]] = {}  # by reservation: keys in order
        self._slots: set[int] = set()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, slot: int) -> bool:
        return slot in self._slots

    def push(self, slot: int) -> None:
        self._slots.add(slot)
        insort(self._waiting.setdefault(self._number(slot), []), by_submission(self._table, slot))

    def discard(self, slot: int) -> None:
        if slot in self._slots:
            self._slots.discard(slot)
            self._waiting[self._number(slot)].remove(by_submission(self._table, slot))

    def start_due(self, draft: Draft) -> list[int]:
        """Start those that may. Returns their slots."""
        started = []
        for number, window in sorted(self._calendar.open.items()):
            for *_, slot in list(self._waiting.get(number, ())):
                if not _may_start(draft, slot, window):
                    continue
                rows = _place(draft, slot)
                if rows is None:
                    break
                self.discard(slot)
                self._table.on_hold.discard(slot)
                draft.start(slot, rows)
                started.append(slot)
        return started

    def waiting_for(self, number: int) -> int:
        """How many wait for the reservation."""
        return len(self._waiting.get(number, ()))

    def _number(self, slot: int) -> int:
        return self._calendar.number_of[self._table.reservation[slot]]

    # -- reading --------------------------------------------------------------------------------------------------------------------

    def why(self, slot: int) -> Why:
        """Why the job waits, and what would let it start."""
        number = self._number(slot)
        reservation, expected_ns = self._calendar.reservations[number], self._table.expected_ns[slot]
        windows = list(self._calendar.windows(number))
        if not windows:
            never = f"never does: gigawatt job cancel {self._table.job_id[slot]}"
            return Why(f"{reservation.what()} is over", {}, "reservation", never)
        window = windows[0]
        numbers = {"reserved_from_seconds": window.begin_ns / SECOND, "reserved_until_seconds": window.end_ns / SECOND}
        told = window.told(reservation)
        if number not in self._calendar.open:
            return Why(f"waits for {told}", numbers, "reservation", "may start when that begins")
        if self._calendar.now_ns + expected_ns > window.end_ns:
            begins = f"may start at {windows[1].begin_ns / SECOND:,.15g} s, when it begins again" if windows[1:] else "does not come again"
            text = f"is expected to run for {expected_ns / SECOND:,.15g} s, and so beyond the end of {told}"
            return Why(text, numbers, "reservation", begins)
        first = self._waiting[number][0][-1]
        ahead = "" if first == slot else f"; the first that waits for it is job {self._table.job_id[first]}"
        text = f"needs {self._table.size_gpus[slot]} GPUs of the hosts of {told}{ahead}"
        return Why(text, numbers, "reservation", "may start when others that use it have ended")


def _may_start(draft: Draft, slot: int, window: Window) -> bool:
    """Whether it ends in time on a host type that its quota allows."""
    return any(
        draft.now_ns + draft.table.expected_on(slot, partition.host_type) <= window.end_ns and draft.may_start(partition, slot)
        for partition in draft.ledger.partitions_for(slot)
    )


def _place(draft: Draft, slot: int) -> list[Row] | None:
    for partition in draft.ledger.partitions_for(slot):
        rows = draft.choose(partition, slot) if draft.may_start(partition, slot) else None
        if rows is not None:
            return rows
    return None


def refusal(reservation: HostReservation | None, name: str, queue: str, tenant: str) -> str:
    """Why a job of the queue and the tenant may not use the reservation of this name; "" where it may."""
    if reservation is None:
        return f"there is no reservation {name}"
    if reservation.maintenance:
        return f"reservation {name} is maintenance: nobody may use it"
    return "" if reservation.serves(queue, tenant) else f"reservation {name} is not for queue {queue} and tenant {tenant}"
