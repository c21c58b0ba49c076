"""GPUs of broken hosts that jobs hold which hang: they are held, and not down, until that is noticed."""

from collections.abc import Iterable

from emulator.engine.meter import Meter
from emulator.scheduler.ledger import Ledger
from emulator.scheduler.table import JobTable


class Hangs:
    """The meter's count of GPUs that are down, of which each GPU is a part once, or held, or neither."""

    def __init__(self, table: JobTable, ledger: Ledger, meter: Meter) -> None:
        self._table, self._ledger, self._meter = table, ledger, meter
        self._held: dict[int, dict[int, int]] = {}  # broken host -> slot of a job that hangs -> GPUs that it holds there

    def breaks(self, host: int, at_ns: int, slots: Iterable[int]) -> None:
        """A host breaks, on which the jobs in ``slots`` hang."""
        held = {slot: self._gpus_on(slot, host) for slot in slots}
        if held:
            self._held[host] = held
        self._meter.down_gpus.change(at_ns, self._ledger.gpus_of((host,)) - sum(held.values()))

    def repaired(self, host: int, at_ns: int) -> None:
        held = self._held.pop(host, {})
        self._meter.down_gpus.change(at_ns, sum(held.values()) - self._ledger.gpus_of((host,)))

    def leave(self, slot: int, at_ns: int) -> None:
        """The job gives back its GPUs: those of broken hosts are down."""
        for host in [host for host, held in self._held.items() if slot in held]:
            held = self._held[host]
            self._meter.down_gpus.change(at_ns, held.pop(slot))
            if not held:
                del self._held[host]

    def gpus(self, partition: int | None = None) -> int:
        """How many there are, of one partition or of all."""
        of = self._ledger.partition_of_host
        return sum([gpus for host, held in self._held.items() if partition in (None, of(host).number) for gpus in held.values()])

    def _gpus_on(self, slot: int, host: int) -> int:
        """A part of a GPU counts as one here, as it does where GPUs are counted by state."""
        block = self._ledger.host_block[host]
        bit = 1 << (host - self._ledger.first_host[block])
        return sum([gpus.bit_count() for row, hosts, gpus in self._table.rows[slot] if row == block and hosts & bit])
