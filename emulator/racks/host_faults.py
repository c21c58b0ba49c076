"""Faults and repairs of the hosts of one shard, drawn and injected, from event to event."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.racks import faults
from emulator.racks.faults import INJECTED, NEVER, WAITING, FaultSettings, Scope
from emulator.racks.messages import HostEvent

Int64 = NDArray[np.int64]

#: Hosts per chunk. The next event is the minimum of the chunks' minima, so a change costs the hosts of one chunk, not those of the shard.
_CHUNK = 1024
#: What a snapshot holds.
_STATE = ("number", "injected", "cause", "scope", "fault_ns", "repair_ns", "age_ns")


@dataclass(frozen=True, eq=False)
class HostEvents:
    """Shape (events,) each; ``host`` counts from the shard's first host."""

    time_ns: Int64
    event: NDArray[np.int8]
    host: Int64
    cause: NDArray[np.int16]
    scope: NDArray[np.int8]
    repair_ns: Int64  # of a fault: how long its repair takes
    down: Int64  # hosts that are down from then on: 1, 0 or -1
    dark: Int64  # hosts the whole of which is

    def __len__(self) -> int:
        return len(self.time_ns)

    @staticmethod
    def join(parts: "list[HostEvents]") -> "HostEvents":
        """All events in order of (time, event, host)."""
        if not parts:
            none = np.empty(0, np.int64)
            return HostEvents(none, none.astype(np.int8), none, none.astype(np.int16), none.astype(np.int8), none, none, none)
        time_ns, event, host, *others = (np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(HostEvents))
        order = np.lexsort((host, event, time_ns))
        return HostEvents(time_ns[order], event[order], host[order], *(column[order] for column in others))


class HostFaults:
    """The hosts ``first_host`` up to ``first_host + count``. A host is up where its ``repair_ns`` is NEVER; WAITING: until it is said when.

    ``since_ns`` is when each comes into service, shape (count,): its first up time begins then.

    A host has one fault at a time. Another that strikes while it is down makes it stay down at least as long, and takes what it takes of
    what is left; of a host that is down as a whole nothing is left.

    ``fault_ns`` is the time of a host's next drawn fault while it is up, and while it is down the up time that is left until then.
    """

    def __init__(self, first_host: int, count: int, settings: FaultSettings, seed: int, since_ns: Int64 | None = None) -> None:
        self.first_host, self.count, self.settings, self.seed = first_host, count, settings, seed
        #: How many of its drawn faults each host has had.
        self.number = np.zeros(count, np.int32)
        #: How many faults without a repair time of their own were injected.
        self.injected = np.zeros(count, np.int32)
        #: Why the host is down, or was last; an index into CAUSES. And what of it.
        self.cause = np.zeros(count, np.int16)
        self.scope = np.zeros(count, np.int8)
        padded = -(-count // _CHUNK) * _CHUNK
        #: Of the next drawn fault, and of the repair under way; padded to whole chunks with NEVER.
        self.fault_ns = np.full(padded, NEVER, np.int64)
        self.repair_ns = np.full(padded, NEVER, np.int64)
        #: For how long each will have been up at its next drawn fault, NEVER of hosts that were there at the start; none where all were.
        new = np.zeros(count, bool) if since_ns is None else since_ns > 0
        self.age_ns = np.where(new, 0, NEVER).astype(np.int64) if new.any() else np.zeros(0, np.int64)
        first_ns = self._up_ns(np.arange(count), np.zeros(count, np.int64))
        self.fault_ns[:count] = first_ns if since_ns is None else faults.later(since_ns, first_ns)
        self._due_ns = self._chunk_due(slice(None))

    def next_ns(self) -> int:
        """Time of the next event; NEVER without one."""
        return int(self._due_ns.min())

    def run(self, until_ns: int) -> list[HostEvents]:
        """Every fault and repair up to ``until_ns``. A host's events are in order; those of several hosts are not."""
        events = []
        while (chunks := np.flatnonzero(self._due_ns <= until_ns)).size:
            hosts = (chunks[:, None] * _CHUNK + np.arange(_CHUNK)).reshape(-1)
            fault_ns, repair_ns = self.fault_ns[hosts], self.repair_ns[hosts]
            up = repair_ns == NEVER
            failing, mending = hosts[up & (fault_ns <= until_ns)], hosts[~up & (repair_ns <= until_ns)]
            if failing.size:
                events.append(self._fail(failing))
            if mending.size:
                events.append(self._mend(mending))
            self._due_ns[chunks] = self._chunk_due(chunks)
        return events

    def break_hosts(self, time_ns: int, hosts: Int64, repair_ns: int, cause: int = INJECTED, scope: Scope = Scope.HOST) -> HostEvents:
        """Strike ``hosts`` at ``time_ns``; what breaks is repaired ``repair_ns`` later (0: drawn)."""
        left = np.where(self.repair_ns[hosts] == NEVER, np.int8(Scope.NOTHING), self.scope[hosts])  # what is broken already
        struck, up, dark = left < Scope.HOST, self.repair_ns[hosts] == NEVER, np.zeros(len(hosts), np.int64)
        wait = np.full(len(hosts), repair_ns, np.int64)
        if scope >= Scope.GPU:
            if not repair_ns:
                numbers = self.injected[hosts].astype(np.int64)
                wait = faults.injected_repair_ns(self.settings, self.seed, hosts + self.first_host, numbers, cause)
                self.injected[hosts] += 1
            until = np.where(up, time_ns + wait, np.maximum(self.repair_ns[hosts], time_ns + wait))
            self.fault_ns[hosts[up]] = _between(time_ns, self.fault_ns[hosts[up]])
            self.repair_ns[hosts] = until
            self.cause[hosts[left < scope]], self.scope[hosts[left < scope]] = cause, scope
            self._refresh(hosts)
            wait = until - time_ns
            dark[:] = scope == Scope.HOST
        else:
            up = np.zeros(len(hosts), bool)
        rows = np.flatnonzero(struck)
        return _events(time_ns, HostEvent.FAULT, hosts[rows], cause, scope, wait[rows], up[rows], dark[rows])

    def mend_hosts(self, time_ns: int, hosts: Int64, at_ns: int = 0) -> HostEvents:
        """Have what is broken of ``hosts`` whole at ``at_ns``, or at ``time_ns`` if that is later; those that are up are left alone."""
        down = hosts[self.repair_ns[hosts] != NEVER]
        self.repair_ns[down] = max(time_ns, at_ns)
        events = self._mend(down if at_ns <= time_ns else down[:0])
        self._refresh(down)
        return events

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, by name; ``load`` takes it back."""
        return {name: getattr(self, name) for name in _STATE}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name in self.arrays():
            setattr(self, name, arrays[name].copy())
        self._due_ns = self._chunk_due(slice(None))

    def _fail(self, hosts: Int64) -> HostEvents:
        time_ns, numbers, names = self.fault_ns[hosts], self.number[hosts].astype(np.int64), hosts + self.first_host
        cause = faults.causes(self.settings, self.seed, names, numbers)
        scope = self.settings.scopes[cause]
        goes_on = scope < Scope.GPU
        repair_ns = np.where(goes_on, 0, faults.repair_ns(self.settings, self.seed, names, numbers, cause))
        again = self._up_ns(hosts, numbers + 1)
        mended = np.where(self.settings.waits[cause], WAITING, faults.later(time_ns, repair_ns))
        self.repair_ns[hosts] = np.where(goes_on, NEVER, mended)
        self.fault_ns[hosts] = np.where(goes_on, faults.later(time_ns, again), again)
        self.number[hosts] += 1
        self.cause[hosts], self.scope[hosts] = cause, scope
        return _events(time_ns, HostEvent.FAULT, hosts, cause, scope, repair_ns, ~goes_on, scope == Scope.HOST)

    def _up_ns(self, hosts: Int64, numbers: Int64) -> Int64:
        """Up time before drawn fault ``numbers`` of each host, which ages by as much."""
        names = hosts + self.first_host
        if not len(self.age_ns):
            return faults.up_ns(self.settings, self.seed, names, numbers)
        up_ns = faults.up_ns(self.settings, self.seed, names, numbers, self.age_ns[hosts])
        self.age_ns[hosts] = faults.later(self.age_ns[hosts], up_ns)
        return up_ns

    def _mend(self, hosts: Int64) -> HostEvents:
        time_ns, scope = self.repair_ns[hosts], self.scope[hosts]
        self.repair_ns[hosts] = NEVER
        self.fault_ns[hosts] = faults.later(time_ns, self.fault_ns[hosts])
        ones = np.ones(len(hosts), np.int64)
        return _events(time_ns, HostEvent.REPAIR, hosts, self.cause[hosts], scope, 0, -ones, np.where(scope == Scope.HOST, -1, 0))

    def _refresh(self, hosts: Int64) -> None:
        chunks = np.unique(hosts // _CHUNK)
        self._due_ns[chunks] = self._chunk_due(chunks)

    def _chunk_due(self, chunks: Int64 | slice) -> Int64:
        shape = (-1, _CHUNK)
        fault_ns, repair_ns = self.fault_ns.reshape(shape)[chunks], self.repair_ns.reshape(shape)[chunks]
        due: Int64 = np.where(repair_ns == NEVER, fault_ns, repair_ns).min(axis=1)
        return due


def _events(time_ns: Int64 | int, event: HostEvent, hosts: Int64, *others: NDArray[Any] | int) -> HostEvents:
    """Events of ``hosts``, with columns or one value for all of ``cause``, ``scope``, ``repair_ns``, ``down`` and ``dark``."""
    kinds = (np.int64, np.int8, np.int64, np.int16, np.int8, np.int64, np.int64, np.int64)
    given = (time_ns, event, hosts, *others)
    return HostEvents(*(np.broadcast_to(np.asarray(one).astype(kind), len(hosts)) for one, kind in zip(given, kinds, strict=True)))


def _between(time_ns: int, later_ns: Int64) -> Int64:
    """From ``time_ns`` to ``later_ns``; NEVER where that is."""
    return np.where(later_ns == NEVER, NEVER, later_ns - time_ns)
