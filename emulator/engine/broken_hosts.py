"""GPUs of broken hosts that jobs still hold: jobs that hang, and jobs that a fault of another GPU has left alone. These are not down."""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_

from emulator.engine.meter import Meter
from emulator.scheduler.ledger import Ledger


class BrokenHosts:
    """The meter's count of GPUs that are down: those of broken hosts which no job holds."""

    def __init__(self, ledger: Ledger, meter: Meter) -> None:
        self._ledger, self._meter = ledger, meter
        #: Broken host -> slot of a job on it -> mask of the GPUs that it holds there, or parts of.
        self._held: dict[int, dict[int, int]] = {}
        self._broken: set[int] = set()

    def breaks(self, host: int, at_ns: int, slots: Iterable[int]) -> None:
        """A host breaks, or more of one that is broken; the jobs in ``slots`` stay on it."""
        if host in self._broken:
            self.repaired(host, at_ns)
        self._broken.add(host)
        held = {slot: self._ledger.mask_on(slot, host) for slot in slots}
        if held:
            self._held[host] = held
        self._meter.down_gpus.change(at_ns, self._ledger.gpus_of((host,)) - _gpus(held))

    def repaired(self, host: int, at_ns: int) -> None:
        """A host is whole again."""
        self._broken.discard(host)
        held = self._held.pop(host, {})
        self._meter.down_gpus.change(at_ns, _gpus(held) - self._ledger.gpus_of((host,)))

    def leave(self, slot: int, at_ns: int) -> None:
        """A job gives back its GPUs: those of broken hosts are down."""
        for host in [host for host, held in self._held.items() if slot in held]:
            held = self._held[host]
            before = _gpus(held)
            del held[slot]
            self._meter.down_gpus.change(at_ns, before - _gpus(held))
            if not held:
                del self._held[host]

    def gpus(self, partition: int | None = None) -> int:
        """How many jobs still hold, in one partition or in all."""
        of = self._ledger.partition_of_host
        return sum([_gpus(held) for host, held in self._held.items() if partition in (None, of(host).number)])


def _gpus(held: Mapping[int, int]) -> int:
    """One that several jobs share counts once."""
    return reduce(or_, held.values(), 0).bit_count()
