"""What a job sees of the free GPUs of a partition whose hosts are reserved at times: those that no window takes away before it has ended.

``Partition.free`` has what is offered now. A job that would still run when a window begins sees less than that: an index of its own, in
which the hosts of the window are not offered. There is one for each set of reservations that has to be told apart, made when it is first
asked for; holdings change in all of them. Most of the time no job runs into a window, and all see ``Partition.free``.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nsmallest
from typing import NamedTuple

from emulator.scheduler.calendar import Calendar, Window
from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.shares import hold, let_go
from emulator.scheduler.table import NEVER

#: By so many beginnings and ends of windows a start is looked for behind them.
MOST_SPANS = 16
#: The reservations whose hosts are not offered.
Closed = frozenset[int]


class Span(NamedTuple):
    """Who starts from ``begin_ns`` on and before ``end_ns`` sees ``free``."""

    begin_ns: int
    end_ns: int
    free: FreeIndex


class FreeViews:
    """Of one partition. ``usable``: whether a host may be used but for windows."""

    def __init__(self, free: FreeIndex, hosts: Mapping[int, frozenset[int]], calendar: Calendar, usable: Callable[[int], bool]) -> None:
        """``hosts`` are those of the partition, by reservation."""
        self._free, self._calendar, self._usable = free, calendar, usable
        self._hosts = dict(hosts)
        self._windows: dict[Window, list[Row]] = {}  # that are not over
        self._views: dict[Closed | int, FreeIndex] = {}  # an int: of those who use this reservation
        #: When the next window begins; who ends by then sees what is offered now. NEVER: all do.
        self.first_ns = NEVER
        self._first_end_ns = NEVER  # of the windows that are open
        self._begins: list[int] = []
        self._closed: list[Closed] = [frozenset()]  # after none, one, two of the windows to come have begun too
        self.turn()

    def turn(self) -> None:
        """A window has begun or ended, or there is another reservation."""
        self._views.clear()
        self._reserved = sorted(set().union(*self._hosts.values()))
        closed = frozenset(number for number in self._calendar.open if number in self._hosts)
        self._closed, self._begins = [closed], []
        for window in self._calendar.coming:
            if window.number in self._hosts:
                closed = closed if window.number in closed else closed | {window.number}
                self._begins.append(window.begin_ns)
                self._closed.append(closed)
        now_and_then = (*self._calendar.open.values(), *self._calendar.coming)
        self._windows = {
            window: _whole_hosts(self._free, self._hosts[window.number]) for window in now_and_then if window.number in self._hosts
        }
        self.first_ns = self._begins[0] if self._begins else NEVER
        self._first_end_ns = min((self._calendar.open[number].end_ns for number in self._closed[0]), default=NEVER)

    def add(self, number: int, hosts: frozenset[int]) -> None:
        """Of another reservation; ``turn`` comes next."""
        self._hosts[number] = hosts

    # -- what is seen ---------------------------------------------------------------------------------------------------------------

    def until(self, until_ns: int) -> FreeIndex:
        """What a job sees that starts now and is expected to run until then."""
        return self._free if until_ns <= self.first_ns else self._view(self.closed(until_ns))

    def closed(self, until_ns: int) -> Closed:
        """The reservations whose hosts such a job does not see."""
        return self._closed[bisect_left(self._begins, until_ns)]

    def all_open(self) -> FreeIndex:
        """What a job would see were there no reservations."""
        return self._view(frozenset())

    def inside(self, number: int) -> FreeIndex:
        """What a job sees that uses the reservation, which may have no host here."""
        view = self._views.get(number)
        if view is None:
            view = self._views[number] = self._free.copy()
            for host in self._free.hosts():
                self._show(view, number, host)
        return view

    def windows(self) -> dict[Window, list[Row]]:
        """All windows that are not over, and their hosts in this partition."""
        return self._windows

    def is_clear(self, at_ns: int, expected_ns: int) -> bool:
        """Whether all who start up to ``at_ns`` see what is offered now."""
        return at_ns + expected_ns <= self.first_ns and at_ns < self._first_end_ns

    def spans(self, from_ns: int, expected_ns: int, cycle_ns: int) -> Iterator[Span]:
        """What a job sees that starts at a cycle from ``from_ns`` on and is expected to run for ``expected_ns``; the last span is open, or
        ends where the search does.
        """
        windows = self._windows
        changes = {window.end_ns for window in windows}
        changes.update(((window.begin_ns - expected_ns) // cycle_ns + 1) * cycle_ns for window in windows)
        times = [from_ns, *nsmallest(MOST_SPANS, (time_ns for time_ns in changes if time_ns > from_ns))]
        for begin_ns, end_ns in zip(times, [*times[1:], NEVER], strict=True):
            closed = {window.number for window in windows if window.begin_ns < begin_ns + expected_ns and window.end_ns > begin_ns}
            yield Span(begin_ns, end_ns, self._view(frozenset(closed)))

    def _view(self, closed: Closed) -> FreeIndex:
        if closed == self._closed[0]:
            return self._free
        view = self._views.get(closed)
        if view is None:
            view = self._views[closed] = self._free.copy()
            for host in self._reserved:
                self._show(view, closed, host)
        return view

    def _show(self, view: FreeIndex, closed: Closed | int, host: int) -> None:
        inside = isinstance(closed, int)
        kept = any(host in self._hosts.get(number, ()) for number in ((closed,) if isinstance(closed, int) else closed))
        (view.offer if self._usable(host) and kept == inside else view.withdraw)(host)

    # -- what changes ---------------------------------------------------------------------------------------------------------------

    def note_host(self, host: int) -> None:
        """It may be used, or may not be, for another reason than a window."""
        for closed, view in self._views.items():
            self._show(view, closed, host)

    def hold(self, rows: list[Row], milli_gpus: int) -> None:
        """A job takes ``rows``."""
        for view in self._views.values():
            hold(view, rows, milli_gpus)

    def let_go(self, rows: list[Row], milli_gpus: int) -> None:
        """A job gives them back."""
        for view in self._views.values():
            let_go(view, rows, milli_gpus)


def _whole_hosts(free: FreeIndex, hosts: Iterable[int]) -> list[Row]:
    masks: dict[int, int] = {}
    for host in sorted(hosts):
        block = free.host_block[host]
        masks[block] = masks.get(block, 0) | 1 << (host - free.first_host[block])
    return [(block, mask, free.full) for block, mask in masks.items()]
