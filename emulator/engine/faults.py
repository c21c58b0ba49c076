"""Faults that the shards do not draw: of units, of the fabric, and injected ones. They strike, and end early where somebody says so."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

from emulator.engine.commands import BreakHosts, ClearFaults, CutLinks, SlowDown
from emulator.engine.fault_book import Effect, FaultBook, OpenFault
from emulator.engine.host_faults import HostFaults, Strike
from emulator.engine.hot_zones import HotZones
from emulator.engine.link_events import LinkEvents
from emulator.engine.orders import RackOrderBuffer
from emulator.engine.settings import EngineSettings
from emulator.engine.slow_hosts import SlowHosts
from emulator.racks.faults import CAUSES, Scope
from emulator.racks.messages import RackOrder
from emulator.racks.unit_faults import OF_HOSTS, WITHDRAWN, drawn_unit_faults
from emulator.racks.units import units
from emulator.scheduler.free import Row
from emulator.scheduler.ledger import Ledger, Withheld
from emulator.scheduler.table import NEVER
from topology.cluster import Cluster
from topology.describe import hostlist

#: Has shards run up to an instant, and settles what they report.
Settle = Callable[[int, list[int]], None]


class Faults:
    """``settle`` is the engine's, ``stand_still`` that of its runs, which know by ``slow`` how fast hosts are. What a fault is to jobs and
    the meter is ``HostFaults``' business.
    """

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        book: FaultBook,
        host_faults: HostFaults,
        links: LinkEvents,
        orders: RackOrderBuffer,
        settle: Settle,
        stand_still: Callable[[int, int, int], None],
        *,
        slow: SlowHosts,
        settings: EngineSettings,
    ) -> None:
        self._cluster, self._ledger, self._book, self._host_faults, self._links = cluster, ledger, book, host_faults, links
        self._orders, self._settle, self._stand_still = orders, settle, stand_still
        #: Faults that wait for the jobs on their hosts to go, by number.
        self._withdrawn: dict[int, BreakHosts] = {}
        self.slow = slow
        #: Called with hosts that have another speed from an instant on (``SlowHosts.slowest`` says which a job has).
        self.on_slow: Callable[[Iterable[int], int], None] | None = None
        #: Where it is known how hot GPUs are, a failed cooling unit heats them; else their hosts go down with it.
        self.hot: HotZones | None = None
        self._slow_ratio = settings.unit_faults.slow_ratio
        drawn, self._units = settings.unit_faults, {}
        if drawn.enabled:
            self._units = {
                kind: units(cluster, "host" if kind in OF_HOSTS else kind, drawn.racks_each)
                for kind, rate in drawn.per_unit_year.items()
                if rate
            }
        self._drawn = drawn_unit_faults(drawn, settings.seed, self._units)
        self._next_drawn = next(self._drawn, None)

    def next_ns(self) -> int:
        """When something is due of itself, 0 where that is at once; NEVER if nothing is."""
        if self._withdrawn and any(self._is_free(number) for number in self._withdrawn):
            return 0
        hot_ns = NEVER if self.hot is None else self.hot.next_ns()
        return min(self._links.next_ns(), self.slow.next_ns(), hot_ns, NEVER if self._next_drawn is None else self._next_drawn.time_ns)

    def run(self, at_ns: int) -> int:
        """Do what is due by ``at_ns``. Returns how many faults that were."""
        count = 0
        if self._links.next_ns() <= at_ns:
            count += 1
            self._stop_for_a_moment(self._links.run(at_ns), at_ns)
        while self._next_drawn is not None and self._next_drawn.time_ns <= at_ns:
            fault, unit, count = self._next_drawn, self._units[self._next_drawn.kind], count + 1
            self._next_drawn = next(self._drawn, None)
            first, end, name = int(unit.first_host[fault.number]), int(unit.end_host[fault.number]), unit.name(fault.number)
            target = "host" if fault.kind in OF_HOSTS else fault.kind
            if fault.kind == "slow":
                self._slow_down(SlowDown(first, end, fault.repair_ns, self._slow_ratio, target, name, fault.cause), at_ns)
            else:
                withdraw, crew = fault.kind in WITHDRAWN, self._host_faults.crews is not None
                self._break(BreakHosts(first, end, fault.repair_ns, target, name, fault.cause, withdraw=withdraw, crew=crew), at_ns)
        for ends in (self.slow, self.hot):
            while ends is not None and ends.next_ns() <= at_ns:
                number, count = ends.take(), count + 1
                if number in self._book.open:
                    self._clear(self._book.open[number], at_ns)
        for number in [number for number in self._withdrawn if self._is_free(number)]:
            self._strike_withdrawn(number, at_ns)
            count += 1
        return count

    def tell_sent(self, at_ns: int) -> None:
        """Tell the shards when hosts are whole to which crews have been sent."""
        sent, self._host_faults.sent = sorted(self._host_faults.sent, key=itemgetter(1, 0)), []
        for until_ns, hosts in groupby(sent, itemgetter(1)):
            self._add(at_ns, RackOrder.MEND_HOST, [host for host, _ in hosts], until_ns)
        self._settle(at_ns, sorted({self._orders.shard_of_block[self._ledger.host_block[host]] for host, _ in sent}))

    def act(self, command: BreakHosts | SlowDown | CutLinks | ClearFaults, at_ns: int) -> None:
        """Do as the command says, at ``at_ns``."""
        match command:
            case BreakHosts():
                self._break(command, at_ns)
            case SlowDown():
                self._slow_down(command, at_ns)
            case CutLinks():
                self._stop_for_a_moment(self._links.inject(at_ns, command), at_ns)
            case ClearFaults(numbers):
                for number in numbers:
                    if number in self._book.open:
                        self._clear(self._book.open[number], at_ns)

    def _stop_for_a_moment(self, jobs: Iterable[tuple[int, int]], at_ns: int) -> None:
        """(Slot, ns) of jobs that a flap stops."""
        for slot, down_ns in jobs:
            self._stand_still(slot, at_ns, down_ns)

    def _break(self, command: BreakHosts, at_ns: int) -> None:
        hosts = self._in_service(command)
        if not hosts:
            return
        if command.target == "cooling_unit" and self.hot is not None:
            self._heat_up(self.hot, self._with_crew(command, hosts[0], at_ns), hosts, at_ns)
            return
        fault = None
        if command.scope >= Scope.GPU:
            name = command.name or (self._cluster.host_name(hosts[0]) if len(hosts) == 1 else hostlist(self._cluster, hosts))
            takes = "a GPU" if command.scope == Scope.GPU else "the host" if len(hosts) == 1 else f"{len(hosts):,} hosts"
            if not command.withdraw:
                command = self._with_crew(command, hosts[0], at_ns)
            until_ns = at_ns + command.repair_ns if command.repair_ns else NEVER
            fault = self._book.begin(command.target or "host", name, CAUSES[command.cause].name, at_ns, until_ns, takes, hosts)
        if not command.withdraw or fault is None:
            self._strike(command, fault, hosts, at_ns)
            return
        fault.effect, fault.until_ns, fault.takes = Effect.WITHDRAWN, NEVER, f"{takes}, when free"
        self._withdrawn[fault.number] = command
        for host in hosts:
            self._ledger.withhold(host, Withheld.DRAINED)

    def _in_service(self, command: BreakHosts | SlowDown) -> list[int]:
        planned = self._ledger.withheld(Withheld.PLANNED)
        return [host for host in range(command.first_host, command.end_host) if host not in planned]

    def _with_crew(self, command: BreakHosts, host: int, at_ns: int) -> BreakHosts:
        """With the time until a crew has come and done the work, where one has to come."""
        crews = self._host_faults.crews
        return replace(command, repair_ns=crews.done_ns(host, at_ns, command.repair_ns) - at_ns) if command.crew and crews else command

    def _slow_down(self, command: SlowDown, at_ns: int) -> None:
        hosts, until_ns = self._in_service(command), at_ns + command.duration_ns
        if hosts:
            takes = f"{'the host' if len(hosts) == 1 else f'{len(hosts):,} hosts'}, at {command.ratio:.0%} of the speed"
            fault = self._book.begin(
                command.target, command.name, CAUSES[command.cause].name, at_ns, until_ns, takes, hosts, effect=Effect.SLOW
            )
            self.slow.begin(fault.number, hosts, command.ratio, until_ns)
            self._host_faults.counts[command.cause] += 1
            if self.on_slow is not None:
                self.on_slow(hosts, at_ns)

    def _heat_up(self, hot: HotZones, command: BreakHosts, hosts: Iterable[int], at_ns: int) -> None:
        until_ns = at_ns + command.repair_ns if command.repair_ns else NEVER
        cause, takes = CAUSES[command.cause].name, "the cooling of its hosts, which go on"
        fault = self._book.begin(command.target, command.name, cause, at_ns, until_ns, takes, hosts, effect=Effect.HOT)
        hot.begin(fault.number, command.first_host, command.end_host, until_ns)
        self._host_faults.counts[command.cause] += 1

    def _strike(self, command: BreakHosts, fault: OpenFault | None, hosts: Iterable[int], at_ns: int) -> None:
        self._host_faults.strike = Strike(fault, command.gpu)
        try:
            self._order(at_ns, RackOrder.BREAK_HOST, hosts, command.repair_ns, command.cause, command.scope)
        finally:
            self._host_faults.strike = None

    def _is_free(self, number: int) -> bool:
        """Whether nothing runs any more on the hosts of a fault that waits for that."""
        return not self._ledger.is_held(self._book.open[number].hosts)

    def _strike_withdrawn(self, number: int, at_ns: int) -> None:
        """The jobs are gone: the repair begins."""
        fault = self._book.open[number]
        hosts = sorted(fault.hosts)
        command = self._with_crew(self._withdrawn[number], hosts[0], at_ns)
        fault.effect, fault.until_ns, fault.takes = Effect.DOWN, at_ns + command.repair_ns, fault.takes.removesuffix(", when free")
        self._strike(command, fault, hosts, at_ns)
        self._offer(number, hosts)

    def _offer(self, number: int, hosts: Iterable[int]) -> None:
        """What waited for the jobs of these hosts does so no longer."""
        del self._withdrawn[number]
        others = {host for other in self._withdrawn for host in self._book.open[other].hosts}
        for host in hosts:
            if host not in others:
                self._ledger.release(host, Withheld.DRAINED)

    def _clear(self, fault: OpenFault, at_ns: int) -> None:
        """A host that has another fault stays down until that one is over."""
        if fault.number in self._withdrawn:
            self._offer(fault.number, sorted(fault.hosts))
            self._book.end(fault.number)
            return
        if fault.effect == Effect.CUT:
            self._links.clear(fault.number, at_ns)
            return
        if fault.effect == Effect.HOT and self.hot is not None:
            self.hot.end(fault.number)
            self._book.end(fault.number)
            return
        if fault.effect == Effect.SLOW:
            self.slow.end(fault.number, fault.hosts)
            self._book.end(fault.number)
            if self.on_slow is not None:
                self.on_slow(sorted(fault.hosts), at_ns)
            return
        whole_ns = {host: self._book.until_without(host, fault.number) for host in sorted(fault.hosts)}
        self._book.end(fault.number)
        for until_ns, hosts in groupby(sorted(whole_ns, key=lambda host: (whole_ns[host], host)), whole_ns.__getitem__):
            if until_ns != NEVER:
                self._order(at_ns, RackOrder.MEND_HOST, list(hosts), until_ns)

    def _order(self, at_ns: int, kind: RackOrder, hosts: Iterable[int], value_ns: int, cause: int = 0, scope: Scope = Scope.HOST) -> None:
        """An order that acts now."""
        self._settle(at_ns, self._add(at_ns, kind, hosts, value_ns, cause, scope))

    def _add(
        self, at_ns: int, kind: RackOrder, hosts: Iterable[int], value_ns: int, cause: int = 0, scope: Scope = Scope.HOST
    ) -> list[int]:
        """An order for the next message to the shards, which it returns."""
        rows = self._rows(hosts)
        self._orders.add(at_ns, kind, rows, 0, value_ns, cause, scope)
        return sorted({self._orders.shard_of_block[row[0]] for row in rows})

    def _rows(self, hosts: Iterable[int]) -> list[Row]:
        ledger = self._ledger
        rows: dict[int, int] = {}
        for host in hosts:
            block = ledger.host_block[host]
            rows[block] = rows.get(block, 0) | 1 << (host - ledger.first_host[block])
        return [(block, mask, ledger.partitions[ledger.block_partition[block]].free.full) for block, mask in rows.items()]
