"""What a fault on a host is to the head: who cannot go on, who gets no more of it, what it still draws."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from emulator.draws import Stream
from emulator.draws import below as draw_below
from emulator.engine.broken_hosts import BrokenHosts
from emulator.engine.crews import Crews
from emulator.engine.fault_book import FaultBook, OpenFault
from emulator.engine.installed import InstalledRacks
from emulator.engine.meter import Meter
from emulator.engine.settings import EngineSettings
from emulator.racks.faults import CAUSES, RESET, RESTART, Scope
from emulator.scheduler.ledger import Ledger, Withheld
from emulator.workload.jobs import SECOND, JobKind
from topology.cluster import Cluster

#: How a reason says what has failed.
_WHAT = {Scope.PROCESS: "a process on host", Scope.GPU: "a GPU of host", Scope.HOST: "host"}


class Strike(NamedTuple):
    """What strikes hosts from outside: its entry in the fault book (None: it breaks nothing), and which GPU (-1: one that is drawn)."""

    fault: OpenFault | None
    gpu: int


class HostFaults:
    """``counts``: faults so far, by place in CAUSES. ``dark``: hosts that draw nothing, since the whole of them is broken."""

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        broken: BrokenHosts,
        meter: Meter,
        racks: InstalledRacks,
        book: FaultBook,
        settings: EngineSettings,
    ) -> None:
        self._cluster, self._ledger, self._broken, self._meter, self._racks, self._book = cluster, ledger, broken, meter, racks, book
        self._settings = settings
        #: What the shards report now, where that is no fault of the hosts' own.
        self.strike: Strike | None = None
        sites: list[int] = cluster.level("site").host_unit.tolist()
        self.crews = None if settings.crews is None else Crews(settings.crews, sites)
        #: (host, when it is whole) for which a crew has been sent, and the shards have not been told.
        self.sent: list[tuple[int, int]] = []
        self.counts = [0] * len(CAUSES)
        self.dark: set[int] = set()
        self._cause: dict[int, int] = {}  # host that is down -> why, as its place in CAUSES
        #: Called with a host that is about to be whole again.
        self.before_repair: Callable[[int], None] | None = None
        self._drawn: dict[int, int] = {}  # host -> how many of its faults took less than the host
        #: Called with a host that broke or was repaired, the instant, and the cause's place in CAUSES; -1: it was repaired.
        self.on_host: Callable[[int, int, int], None] | None = None

    def breaks(self, host: int, at_ns: int, cause: int, scope: Scope, repair_ns: int) -> Iterator[tuple[int, str, int]]:
        """A fault. Yields the jobs that cannot go on, why, and how long nobody notices. They are to be stopped; then comes ``settle``."""
        ledger, name = self._ledger, self._cluster.host_name(host)
        self.counts[cause] += 1
        if self.on_host is not None:
            self.on_host(host, at_ns, cause)
        if scope == Scope.NOTHING:
            return
        fault = None if self.strike is None else self.strike.fault
        if scope != Scope.PROCESS:
            ledger.withhold(host, Withheld.DOWN)
            if host not in self._cause or self.comes_back(host):  # what takes longest counts
                self._cause[host] = cause
            if fault is None:
                target, takes = ("gpu", "a GPU") if scope == Scope.GPU else ("host", "the host")
                until_ns = at_ns + repair_ns
                if self.crews is not None and self._settings.faults.waits[cause]:
                    until_ns = self.crews.done_ns(host, at_ns, repair_ns)
                    self.sent.append((host, until_ns))
                fault = self._book.begin(target, name, CAUSES[cause].name, at_ns, until_ns, takes, (host,))
        if scope == Scope.HOST:
            self.dark.add(host)
            self._racks.switch_host(host, at_ns, on=False)
        unit = "" if fault is None or fault.target in ("host", "gpu") else f", with {fault.target.replace('_', ' ')} {fault.name}"
        reason = f"{_WHAT[scope]} {name} failed{unit}: {CAUSES[cause].name}"
        for slot in self._concerned(host, scope, ledger.jobs_on(host)):
            if fault is not None:
                fault.job_ids.add(ledger.table.job_id[slot])
            yield slot, reason, self._detection_ns(slot, cause)

    def settle(self, host: int, at_ns: int, scope: Scope) -> None:
        """The jobs that the fault concerns have been stopped, or hang: those that are still there hold their GPUs."""
        if scope >= Scope.GPU:
            self._broken.breaks(host, at_ns, self._ledger.jobs_on(host))

    def comes_back(self, host: int) -> bool:
        """Whether the host, which is down, needs nothing but new processes or a reset: no part is swapped."""
        cause = self._cause.get(host)
        return cause is not None and CAUSES[cause].repair_seconds in (RESTART, RESET)

    def repaired(self, host: int, at_ns: int) -> None:
        """The host is whole again."""
        self._cause.pop(host, None)
        if self.before_repair is not None:
            self.before_repair(host)
        if host in self.dark:
            self.dark.discard(host)
            self._racks.switch_host(host, at_ns, on=True)
        if self.on_host is not None:
            self.on_host(host, at_ns, -1)
        self._broken.repaired(host, at_ns)
        self._book.mended(host)
        self._ledger.release(host, Withheld.DOWN)

    def _concerned(self, host: int, scope: Scope, slots: list[int]) -> list[int]:
        """Of the jobs on the host: all, those on the GPU that is drawn, or the one that is."""
        if scope == Scope.HOST or not slots:
            return slots
        if self.strike is not None and self.strike.gpu >= 0:
            return [slot for slot in slots if self._ledger.mask_on(slot, host) >> self.strike.gpu & 1]
        number = self._drawn[host] = self._drawn.get(host, 0) + 1
        ledger, seed = self._ledger, self._settings.seed
        if scope == Scope.PROCESS:
            return [slots[draw_below(len(slots), seed, Stream.FAULT_PLACE, host, number)]]
        gpus = self._cluster.host_types[ledger.block_type[ledger.host_block[host]]].gpus
        gpu = draw_below(gpus, seed, Stream.FAULT_PLACE, host, number)
        return [slot for slot in slots if ledger.mask_on(slot, host) >> gpu & 1]

    def _detection_ns(self, slot: int, cause: int) -> int:
        noticed_late = self._settings.costs.detection and self._ledger.table.kind[slot] == JobKind.TRAINING
        return round(CAUSES[cause].detection_seconds * SECOND) if noticed_late else 0
