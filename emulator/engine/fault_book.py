"""What is broken now: one entry a fault, from when it strikes until it is over."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum


class Effect(IntEnum):
    """What a fault is to its hosts."""

    DOWN = 0  # all of them, or a GPU of each
    WITHDRAWN = 1  # they are whole, and given to nobody until their jobs are gone
    SLOW = 2
    CUT = 3  # nothing: it is a fault of the fabric
    HOT = 4  # they are up, and without their cooling unit


@dataclass
class OpenFault:
    """A fault that is not over. ``hosts`` are those on which it is not; of a fault of the fabric there are none."""

    number: int  # from 1 on, in the order in which faults strike
    target: str
    name: str
    cause: str
    since_ns: int
    until_ns: int  # as far as is known; NEVER: not yet
    takes: str  # what it takes down, in words
    hosts: set[int] = field(default_factory=set)
    job_ids: set[int] = field(default_factory=set)  # that it stopped
    effect: Effect = Effect.DOWN


class FaultBook:
    """``open``: by number, in order. A host may be in several; it is whole when the last of them is over."""

    def __init__(self) -> None:
        self.open: dict[int, OpenFault] = {}
        self._of_host: dict[int, list[int]] = {}
        self._last = 0

    def begin(
        self,
        target: str,
        name: str,
        cause: str,
        since_ns: int,
        until_ns: int,
        takes: str,
        hosts: Iterable[int] = (),
        effect: Effect = Effect.DOWN,
    ) -> OpenFault:
        """A fault has struck."""
        self._last += 1
        fault = self.open[self._last] = OpenFault(self._last, target, name, cause, since_ns, until_ns, takes, set(hosts), effect=effect)
        for host in fault.hosts:
            self._of_host.setdefault(host, []).append(fault.number)
        return fault

    def of_host(self, host: int) -> list[OpenFault]:
        """The faults that have the host down, the first one first."""
        return [fault for fault in map(self.open.__getitem__, self._of_host.get(host, ())) if fault.effect == Effect.DOWN]

    def until_without(self, host: int, number: int) -> int:
        """When the host is whole if the fault ``number`` ends now: 0 where it has no other."""
        return max((fault.until_ns for fault in self.of_host(host) if fault.number != number), default=0)

    def end(self, number: int) -> None:
        """The fault is over."""
        for host in self.open.pop(number).hosts:
            self._forget(host, number)

    def mended(self, host: int) -> None:
        """The host is whole: so ends every fault that has no other host left."""
        for fault in self.of_host(host):
            fault.hosts.discard(host)
            self._forget(host, fault.number)
            if not fault.hosts:
                del self.open[fault.number]

    def _forget(self, host: int, number: int) -> None:
        numbers = self._of_host.get(host, [])
        if number in numbers:
            numbers.remove(number)
            if not numbers:
                del self._of_host[host]
