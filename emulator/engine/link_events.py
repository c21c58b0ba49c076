"""Faults of the fabric in time: injected and drawn ones begin, flap and end, at scheduling cycles."""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Protocol

from emulator.engine.fault_targets import cable_cuts, switch_count, switch_cuts
from emulator.engine.flaps import time_lost
from emulator.engine.link_health import Change, Cut, LinkHealth
from emulator.engine.network import Network
from emulator.fabric.link_faults import DrawnFault, LinkFaultSettings, drawn_faults
from emulator.scheduler.ledger import Ledger, Withheld
from emulator.scheduler.table import NEVER
from topology.cluster import Cluster
from topology.lookup import cable_at, switch_at


class OnFault(Protocol):
    """Hears of what a fault cuts, when it begins (``down``) and when it ends."""

    def __call__(self, cuts: Sequence[Cut], at_ns: int, *, down: bool) -> None: ...


class LinkEvents:
    """Runs the faults of links from event to event.

    A fault lasts at least to the cycle after it begins, for shares are constant in between. A link that is down for less than a cycle (a
    flap) changes no share: jobs lose the time that ``flaps`` works out.

    Hosts with a rail that has no way out are withheld from placement until it is mended, as a health check would: a job that a dead link
    stopped does not start there again.
    """

    def __init__(self, cluster: Cluster, network: Network, ledger: Ledger, settings: LinkFaultSettings, seed: int, cycle_ns: int) -> None:
        self._cluster, self._network, self._ledger, self._cycle_ns = cluster, network, ledger, cycle_ns
        self.health = LinkHealth(cluster, network.channels)
        self._drawn: Iterator[DrawnFault] = drawn_faults(settings, seed, cluster.links.cables, switch_count(cluster))
        self._next_drawn = next(self._drawn, None)
        #: (time, order, fault that ends; -1: a flap, cuts of a flap, and for how long it is down, how often and until when).
        self._timers: list[tuple[int, int, int, tuple[Cut, ...], tuple[int, int, int]]] = []
        self._number = 0
        #: Called where a fault begins or ends: what it cuts, the instant, and ``down``. A flap shorter than a cycle is none.
        self.on_fault: OnFault | None = None
        self.faults = {"cable": 0, "switch": 0, "flap": 0, "injected": 0}

    def next_ns(self) -> int:
        drawn_ns = self._next_drawn.time_ns if self._next_drawn is not None else NEVER
        return min(drawn_ns, self._timers[0][0]) if self._timers else drawn_ns

    @property
    def waiting(self) -> bool:
        """Whether a present fault will end, or flap again."""
        return bool(self._timers)

    def inject(self, at_ns: int, cuts: tuple[Cut, ...], duration_ns: int, flap_ns: int = 0, every_ns: int = 0) -> Iterator[tuple[int, int]]:
        """Begin a fault that lasts for ``duration_ns``, or flaps during this time: down for ``flap_ns`` every ``every_ns``.

        Yields (slot, ns) of jobs that stand still for a moment.
        """
        self.faults["injected"] += 1
        if flap_ns:
            yield from self._flap(at_ns, at_ns, cuts, (flap_ns, every_ns, at_ns + duration_ns))
        else:
            self._begin(at_ns, cuts, duration_ns)

    def run(self, at_ns: int) -> Iterator[tuple[int, int]]:
        """Run every event up to ``at_ns``, in order. Yields (slot, ns) of jobs that lose time by a flap."""
        while self.next_ns() <= at_ns:
            if self._timers and (self._next_drawn is None or self._timers[0][0] <= self._next_drawn.time_ns):
                due_ns, _, fault, cuts, flap = heappop(self._timers)
                if fault >= 0:
                    self._apply(at_ns, self.health.mend(fault, at_ns))
                    if self.on_fault is not None:
                        self.on_fault(cuts, at_ns, down=False)
                else:
                    yield from self._flap(at_ns, due_ns, cuts, flap)
                continue
            drawn = self._next_drawn
            assert drawn is not None
            self._next_drawn = next(self._drawn, None)
            self.faults[drawn.target] += 1
            if drawn.target == "switch":
                cuts = switch_cuts(self._cluster, *switch_at(self._cluster, drawn.number))
            else:
                cuts = cable_cuts(*cable_at(self._cluster, drawn.number))
            if drawn.target == "flap":
                yield from self._flap(at_ns, at_ns, cuts, (drawn.duration_ns, 0, at_ns))
            else:
                self._begin(at_ns, cuts, drawn.duration_ns)

    def _begin(self, at_ns: int, cuts: tuple[Cut, ...], duration_ns: int) -> None:
        self._number += 1
        change = self.health.apply(self._number, cuts, at_ns)
        heappush(self._timers, (at_ns + duration_ns, self._number, self._number, cuts, (0, 0, 0)))
        self._apply(at_ns, change)
        if self.on_fault is not None:
            self.on_fault(cuts, at_ns, down=True)

    def _flap(self, at_ns: int, due_ns: int, cuts: tuple[Cut, ...], flap: tuple[int, int, int]) -> Iterator[tuple[int, int]]:
        down_ns, every_ns, until_ns = flap
        if every_ns and due_ns + every_ns < until_ns:
            self._number += 1
            heappush(self._timers, (due_ns + every_ns, self._number, -1, cuts, flap))
        if down_ns >= self._cycle_ns:
            self._begin(at_ns, cuts, down_ns)
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
