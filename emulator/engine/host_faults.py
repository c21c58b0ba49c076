"""What a fault on a host is to the head: who cannot go on, who gets no more of it, what it still draws."""

from collections.abc import Callable, Iterator

from emulator.draws import Stream
from emulator.draws import below as draw_below
from emulator.engine.broken_hosts import BrokenHosts
from emulator.engine.installed import InstalledRacks
from emulator.engine.meter import Meter
from emulator.engine.settings import EngineSettings
from emulator.racks.faults import CAUSES, RESET, RESTART, Scope
from emulator.scheduler.ledger import Ledger, Withheld
from emulator.workload.jobs import SECOND, JobKind
from topology.cluster import Cluster

#: How a reason says what has failed.
_WHAT = {Scope.PROCESS: "a process on host", Scope.GPU: "a GPU of host", Scope.HOST: "host"}


class HostFaults:
    """``counts``: faults so far, by place in CAUSES. ``dark``: hosts that draw nothing, since the whole of them is broken."""

    def __init__(
        self, cluster: Cluster, ledger: Ledger, broken: BrokenHosts, meter: Meter, racks: InstalledRacks, settings: EngineSettings
    ) -> None:
        self._cluster, self._ledger, self._broken, self._meter, self._racks = cluster, ledger, broken, meter, racks
        self._settings = settings
        self._scopes = [Scope(scope) for scope in settings.faults.scopes.tolist()]
        self.counts = [0] * len(CAUSES)
        self.dark: set[int] = set()
        self._cause: dict[int, int] = {}  # host that is down -> why, as its place in CAUSES
        #: Called with a host that is about to be whole again.
        self.before_repair: Callable[[int], None] | None = None
        self._drawn: dict[int, int] = {}  # host -> how many of its faults took less than the host
        #: Called with a host that broke or was repaired, the instant, and the cause's place in CAUSES; -1: it was repaired.
        self.on_host: Callable[[int, int, int], None] | None = None

    def breaks(self, host: int, at_ns: int, cause: int) -> Iterator[tuple[int, str, int]]:
        """A fault. Yields the jobs that cannot go on, why, and how long nobody notices. They are to be stopped; then comes ``settle``."""
        scope, ledger = self._scopes[cause], self._ledger
        self.counts[cause] += 1
        slots = ledger.jobs_on(host)
        if scope != Scope.PROCESS:
            ledger.withhold(host, Withheld.DOWN)
            self._cause[host] = cause
        if scope == Scope.HOST:
            self.dark.add(host)
            self._meter.hosts_milliwatts.change(at_ns, -self._racks.idle_milliwatts(host))
        if self.on_host is not None:
            self.on_host(host, at_ns, cause)
        reason = f"{_WHAT[scope]} {self._cluster.host_name(host)} failed: {CAUSES[cause].name}"
        for slot in self._concerned(host, scope, slots):
            yield slot, reason, self._detection_ns(slot, cause)

    def settle(self, host: int, at_ns: int, cause: int) -> None:
        """The jobs that the fault concerns have been stopped, or hang: those that are still there hold their GPUs."""
        if self._scopes[cause] != Scope.PROCESS:
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
            self._meter.hosts_milliwatts.change(at_ns, self._racks.idle_milliwatts(host))
        if self.on_host is not None:
            self.on_host(host, at_ns, -1)
        self._broken.repaired(host, at_ns)
        self._ledger.release(host, Withheld.DOWN)

    def _concerned(self, host: int, scope: Scope, slots: list[int]) -> list[int]:
        """Of the jobs on the host: all, those on the GPU that is drawn, or the one that is."""
        if scope == Scope.HOST or not slots:
            return slots
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
