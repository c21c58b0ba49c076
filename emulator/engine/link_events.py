"""Faults of the fabric in time: injected and drawn ones begin, flap and end, at scheduling cycles."""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple, Protocol

from emulator.engine.commands import CutLinks
from emulator.engine.fault_book import Effect, FaultBook
from emulator.engine.fault_targets import cable_cuts, switch_count, switch_cuts
from emulator.engine.flaps import time_lost
from emulator.engine.link_health import Change, Cut, LinkHealth
from emulator.engine.network import Network
from emulator.fabric.link_faults import DrawnFault, LinkFaultSettings, drawn_faults
from emulator.racks.faults import CAUSES
from emulator.scheduler.ledger import Ledger, Withheld
from emulator.scheduler.table import NEVER
from topology.cluster import Cluster
from topology.describe import cable_name, link_name, switch_name
from topology.lookup import cable_at, switch_at


class OnFault(Protocol):
    """Hears of what a fault cuts, when it begins (``down``) and when it ends."""

    def __call__(self, cuts: Sequence[Cut], at_ns: int, *, down: bool) -> None: ...


class _Timer(NamedTuple):
    """Something due: a fault ends, or a part flaps again. ``order`` tells those of one instant apart."""

    time_ns: int
    order: int
    fault: int  # that ends, as ``LinkHealth`` counts them; -1: a flap
    cuts: tuple[Cut, ...]
    flap: tuple[int, int, int]  # for how long it is down, how often (0: once) and until when
    entry: int  # of the fault book


class LinkEvents:
    """Runs the faults of links from event to event.

    A fault lasts at least to the cycle after it begins, for shares are constant in between. A link that is down for less than a cycle (a
    flap) changes no share: jobs lose the time that ``flaps`` works out.

    Hosts with a rail that has no way out are withheld from placement until it is mended, as a health check would: a job that a dead link
    stopped does not start there again.
    """

    def __init__(
        self,
        cluster: Cluster,
        network: Network,
        ledger: Ledger,
        settings: LinkFaultSettings,
        seed: int,
        cycle_ns: int,
        book: FaultBook | None = None,
    ) -> None:
        self._cluster, self._network, self._ledger, self._cycle_ns = cluster, network, ledger, cycle_ns
        self._book = FaultBook() if book is None else book
        self.health = LinkHealth(cluster, network.channels)
        self._drawn: Iterator[DrawnFault] = drawn_faults(settings, seed, cluster.links.cables, switch_count(cluster))
        self._next_drawn = next(self._drawn, None)
        self._timers: list[_Timer] = []
        self._number = 0
        #: Called where a fault begins or ends: what it cuts, the instant, and ``down``. A flap shorter than a cycle is none.
        self.on_fault: OnFault | None = None
        self.faults = {"cable": 0, "switch": 0, "flap": 0, "injected": 0}

    def next_ns(self) -> int:
        drawn_ns = self._next_drawn.time_ns if self._next_drawn is not None else NEVER
        return min(drawn_ns, self._timers[0].time_ns) if self._timers else drawn_ns

    @property
    def waiting(self) -> bool:
        """Whether a present fault will end, or flap again."""
        return bool(self._timers)

    def inject(self, at_ns: int, command: CutLinks) -> Iterator[tuple[int, int]]:
        """Begin a fault, which may flap. Yields (slot, ns) of jobs that stand still for a moment."""
        self.faults["injected"] += 1
        target = command.target, command.name or link_name(self._cluster, command.cuts[0].link), CAUSES[command.cause].name
        if command.flap_ns:
            until_ns = at_ns + command.duration_ns
            entry = self._book.begin(
                *target, at_ns, until_ns, f"{_cables(self._cluster, command.cuts)}, again and again", effect=Effect.CUT
            ).number
            yield from self._flap(at_ns, at_ns, command.cuts, (command.flap_ns, command.every_ns, until_ns), entry)
            self._end_entry(entry)
        else:
            self._begin(at_ns, command.cuts, command.duration_ns, target)

    def clear(self, entry: int, at_ns: int) -> None:
        """End the fault of this entry of the fault book."""
        mine = [timer for timer in self._timers if timer.entry == entry]
        self._timers = [timer for timer in self._timers if timer.entry != entry]
        heapify(self._timers)
        for timer in sorted(mine):
            if timer.fault >= 0:
                self._mend(timer, at_ns)
        self._end_entry(entry)

    def run(self, at_ns: int) -> Iterator[tuple[int, int]]:
        """Run every event up to ``at_ns``, in order. Yields (slot, ns) of jobs that lose time by a flap."""
        while self.next_ns() <= at_ns:
            if self._timers and (self._next_drawn is None or self._timers[0].time_ns <= self._next_drawn.time_ns):
                timer = heappop(self._timers)
                if timer.fault >= 0:
                    self._mend(timer, at_ns)
                else:
                    yield from self._flap(at_ns, timer.time_ns, timer.cuts, timer.flap, timer.entry)
                self._end_entry(timer.entry)
                continue
            drawn = self._next_drawn
            assert drawn is not None
            self._next_drawn = next(self._drawn, None)
            self.faults[drawn.target] += 1
            if drawn.target == "switch":
                switch = switch_at(self._cluster, drawn.number)
                cuts, target = switch_cuts(self._cluster, *switch), ("switch", switch_name(self._cluster, *switch), "drawn")
            else:
                cable = cable_at(self._cluster, drawn.number)
                cuts, target = cable_cuts(*cable), ("cable", cable_name(self._cluster, *cable), drawn.target)
            if drawn.target == "flap" and drawn.duration_ns < self._cycle_ns:
                yield from self._flap(at_ns, at_ns, cuts, (drawn.duration_ns, 0, at_ns), 0)
            else:
                self._begin(at_ns, cuts, drawn.duration_ns, target)

    def _begin(self, at_ns: int, cuts: tuple[Cut, ...], duration_ns: int, target: tuple[str, str, str] | int) -> None:
        """``target``: what the book calls it and why, or the entry that it has there."""
        self._number += 1
        change = self.health.apply(self._number, cuts, at_ns)
        until_ns = at_ns + duration_ns
        if not isinstance(target, int):
            target = self._book.begin(*target, at_ns, until_ns, _cables(self._cluster, cuts), effect=Effect.CUT).number
        heappush(self._timers, _Timer(until_ns, self._number, self._number, cuts, (0, 0, 0), target))
        self._apply(at_ns, change)
        if self.on_fault is not None:
            self.on_fault(cuts, at_ns, down=True)

    def _mend(self, timer: _Timer, at_ns: int) -> None:
        self._apply(at_ns, self.health.mend(timer.fault, at_ns))
        if self.on_fault is not None:
            self.on_fault(timer.cuts, at_ns, down=False)

    def _end_entry(self, entry: int) -> None:
        """The fault is over, unless something of it is still to come."""
        if entry in self._book.open and not any(timer.entry == entry for timer in self._timers):
            self._book.end(entry)

    def _flap(self, at_ns: int, due_ns: int, cuts: tuple[Cut, ...], flap: tuple[int, int, int], entry: int) -> Iterator[tuple[int, int]]:
        down_ns, every_ns, until_ns = flap
        if every_ns and due_ns + every_ns < until_ns:
            self._number += 1
            heappush(self._timers, _Timer(due_ns + every_ns, self._number, -1, cuts, flap, entry))
        if down_ns >= self._cycle_ns:
            self._begin(at_ns, cuts, down_ns, entry)
            return
        self.health.note_flap(cuts, down_ns)
        yield from time_lost(self._cluster, self._network, self.health, cuts, down_ns)

    def _apply(self, at_ns: int, change: Change) -> None:
        if change.scales or change.hosts:
            self._network.scale(at_ns, change.scales, change.hosts, self.health.host_rails)
        if change.hosts:
            unreachable, before = self.health.unreachable_hosts(), set(self._ledger.withheld(Withheld.UNREACHABLE))
            for host in sorted(unreachable - before):
                self._ledger.withhold(host, Withheld.UNREACHABLE)
            for host in sorted(before - unreachable):
                self._ledger.release(host, Withheld.UNREACHABLE)


def _cables(cluster: Cluster, cuts: Sequence[Cut]) -> str:
    """What the fault takes down, in words."""
    count = sum(len(cut.cables) or int(cluster.links.lanes[cut.link]) for cut in cuts)
    kept = max((cut.remaining_ratio for cut in cuts), default=0.0)
    return f"{count:,} cable{'' if count == 1 else 's'}{f', which keep {kept:.0%}' if kept else ''}"
