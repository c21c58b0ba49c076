"""Jobs that keep their GPUs after a fault (``Recovery``): restarted where they are, with spares for broken hosts, or on what is left.

Restarts are decided in the cycle after the fault has been noticed, before the policy plans. Holdings are the ledger's: where it refuses (a
host is cordoned meanwhile, a window is near), the job gives back its GPUs and waits again, as with ``Recovery.REQUEUE``.
"""

from collections.abc import Iterator, Sequence

from emulator.engine.host_faults import HostFaults
from emulator.engine.runs import Runs
from emulator.scheduler.free import Row, mask_bits
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.ranges import rows_of
from emulator.scheduler.rules import Refused
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.spares import Spares
from emulator.workload.jobs import Recovery
from topology.describe import hostlist


class Restarting:
    """``default`` is what is done with jobs that do not say what they want."""

    def __init__(self, scheduler: Scheduler, runs: Runs, faults: HostFaults, spares: Spares, default: Recovery) -> None:
        self._scheduler, self._ledger, self._table = scheduler, scheduler.ledger, scheduler.table
        self._runs, self._faults, self._spares, self._default = runs, faults, spares, default
        #: Slot -> the version of its run: another means that the run is over, for whatever reason.
        self._waiting: dict[int, int] = {}

    @property
    def waits(self) -> bool:
        """Whether there may be jobs that wait for their hosts to be repaired."""
        return bool(self._waiting)

    def takes(self, slot: int, at_ns: int) -> bool:
        """Whether the job, of which it has been noticed that a fault stopped it, keeps its GPUs to be restarted."""
        if self._way(slot) == Recovery.REQUEUE or self._table.lives.speed[slot] == 0.0:  # without a network it is no better off here
            return False
        rows = self._rows_again(slot)
        if rows is None or rows:
            self._runs.await_restart(slot, at_ns)
            self._waiting[slot] = self._table.version[slot]
            return True
        return False

    def run(self, at_ns: int) -> Iterator[tuple[int, str, bool]]:
        """Restart those that can be. Yields each that waits no longer, what its user is told, and whether it has another size; "": it is to
        give back its GPUs.
        """
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        for slot in sorted(waiting, key=self._table.job_id.__getitem__):
            if self._table.version[slot] != waiting[slot]:
                continue
            rows = self._rows_again(slot)
            if rows is None:
                self._waiting[slot] = waiting[slot]
            else:
                before = self._table.size_gpus[slot]
                told = self._restart(slot, rows, at_ns) if rows else ""
                yield slot, told, self._table.size_gpus[slot] != before

    def _way(self, slot: int) -> Recovery:
        return self._table.recovery.get(slot, self._default)

    def _broken_hosts(self, slot: int) -> list[int]:
        """Those of the job's that are down."""
        return [host for host in sorted(self._ledger.withheld(Withheld.DOWN)) if self._ledger.mask_on(slot, host)]

    def _rows_again(self, slot: int) -> list[Row] | None:
        """Where the job would go on: none where it cannot, None where it may once its hosts are repaired."""
        broken = self._broken_hosts(slot)
        if not broken:
            return self._table.rows[slot]
        match self._way(slot):
            case Recovery.IN_PLACE:
                return None if all(self._faults.comes_back(host) for host in broken) else []
            case Recovery.SPARES:
                stand_ins = self._spares.stand_ins(broken)
                return self._placed(dict(zip(broken, stand_ins, strict=True)), slot) if stand_ins else []
            case Recovery.ELASTIC:
                return self._left(slot, broken)
        return []

    def _masks(self, slot: int) -> dict[int, int]:
        """Of each host of the job the GPUs that it holds."""
        return {host: self._ledger.mask_on(slot, host) for host in self._scheduler.hosts_of(self._table.rows[slot])}

    def _placed(self, instead: dict[int, int], slot: int) -> list[Row]:
        """The job's placement with other hosts in place of some."""
        masks = {instead.get(host, host): mask for host, mask in self._masks(slot).items()}
        return rows_of(self._ledger, [(host, 1, masks[host]) for host in sorted(masks)])

    def _left(self, slot: int, broken: Sequence[int]) -> list[Row]:
        """The largest of the job's sizes on those of its hosts that are left, the first ones; none where none of them is small enough."""
        left = {host: mask for host, mask in sorted(self._masks(slot).items()) if host not in broken}
        sizes, per_host = self._table.sizes.get(slot), self._ledger.partition_of(slot).free.gpus_per_host
        allowed = () if sizes is None else sizes.up_to(sum(mask.bit_count() for mask in left.values()), per_host)
        more = allowed[-1] if allowed else 0
        kept = []
        for host, held in left.items():
            mask = sum(1 << gpu for gpu in mask_bits(held)[:more])
            if mask:
                kept.append((host, 1, mask))
            more -= mask.bit_count()
        return rows_of(self._ledger, kept)

    def _restart(self, slot: int, rows: list[Row], at_ns: int) -> str:
        """The job goes on there. Returns what its user is told; "" where the ledger refuses."""
        table, ledger = self._table, self._ledger
        before = table.rows[slot], table.start_ns[slot], table.size_gpus[slot]
        hosts = set(self._scheduler.hosts_of(before[0]))
        new = [host for host in self._scheduler.hosts_of(rows) if host not in hosts]
        mark = ledger.mark()
        self._spares.use(new)
        ledger.lift(slot, at_ns)
        try:
            ledger.start(slot, rows, at_ns)
        except Refused:
            for _ in ledger.undo(mark):
                pass
            self._spares.put_back(new)
            return ""
        self._runs.move({slot: before}, at_ns, warm=bool(new))
        self._scheduler.note_size(slot, before[2])
        if new:
            return f"restarted with spare {hostlist(ledger.cluster, sorted(new))}"
        return "restarted in place" if table.size_gpus[slot] == before[2] else f"went on with fewer than {before[2]} GPUs"
