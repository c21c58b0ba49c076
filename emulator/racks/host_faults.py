"""Faults and repairs of the hosts of one shard, drawn and injected, from event to event."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.racks import faults
from emulator.racks.faults import INJECTED, NEVER, FaultSettings, Scope
from emulator.racks.messages import HostEvent

Int64 = NDArray[np.int64]

#: Hosts per chunk. The next event is the minimum of the chunks' minima, so a change costs the hosts of one chunk, not those of the shard.
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class HostEvents:
    """Shape (events,) each; ``host`` counts from the shard's first host."""

    time_ns: Int64
    event: NDArray[np.int8]
    host: Int64
    cause: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.time_ns)

    @staticmethod
    def join(parts: "list[HostEvents]") -> "HostEvents":
        """All events in order of (time, event, host)."""
        if not parts:
            return HostEvents(np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.int64), np.empty(0, np.int16))
        time_ns, event, host, cause = (
            np.concatenate(columns) for columns in zip(*((p.time_ns, p.event, p.host, p.cause) for p in parts), strict=True)
        )
        order = np.lexsort((host, event, time_ns))
        return HostEvents(time_ns[order], event[order], host[order], cause[order])


class HostFaults:
    """The hosts ``first_host`` up to ``first_host + count``. A host is up where its ``repair_ns`` is NEVER.

    ``since_ns`` is when each comes into service, shape (count,): its first up time begins then.

    Invariant: while a host is down its ``fault_ns`` lies after its ``repair_ns``, so the earlier of the two is always what comes next.
    """

    def __init__(self, first_host: int, count: int, settings: FaultSettings, seed: int, since_ns: Int64 | None = None) -> None:
        self.first_host, self.count, self.settings, self.seed = first_host, count, settings, seed
        #: How many of its drawn faults each host has had.
        self.number = np.zeros(count, np.int32)
        #: How many faults without a repair time of their own were injected.
        self.injected = np.zeros(count, np.int32)
        #: Why the host is down, or was last; an index into CAUSES.
        self.cause = np.zeros(count, np.int16)
        padded = -(-count // _CHUNK) * _CHUNK
        #: Time of the next drawn fault, and of the repair under way; padded to whole chunks with NEVER.
        self.fault_ns = np.full(padded, NEVER, np.int64)
        self.repair_ns = np.full(padded, NEVER, np.int64)
        first_ns = faults.up_ns(settings, seed, np.arange(first_host, first_host + count), np.zeros(count, np.int64))
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
            failing = hosts[(fault_ns < repair_ns) & (fault_ns <= until_ns)]
            mending = hosts[(repair_ns < fault_ns) & (repair_ns <= until_ns)]
            if failing.size:
                events.append(self._fail(failing))
            if mending.size:
                events.append(self._mend(mending))
            self._due_ns[chunks] = self._chunk_due(chunks)
        return events

    def break_hosts(self, time_ns: int, hosts: Int64, repair_ns: int) -> HostEvents:
        """Take ``hosts`` down at ``time_ns`` for ``repair_ns`` (0: drawn). One that is down already stays so at least as long."""
        if repair_ns:
            wait = np.full(len(hosts), repair_ns, np.int64)
        else:
            wait = faults.injected_repair_ns(self.settings, self.seed, hosts + self.first_host, self.injected[hosts].astype(np.int64))
            self.injected[hosts] += 1
        was_down_until = self.repair_ns[hosts]
        up = was_down_until == NEVER
        until = np.where(up, time_ns + wait, np.maximum(was_down_until, time_ns + wait))
        self.fault_ns[hosts] = faults.later(self.fault_ns[hosts], until - np.where(up, time_ns, was_down_until))
        self.repair_ns[hosts] = until
        self.cause[hosts[up]] = INJECTED
        self._refresh(hosts)
        return self._events(np.full(int(up.sum()), time_ns, np.int64), HostEvent.FAULT, hosts[up])

    def mend_hosts(self, time_ns: int, hosts: Int64) -> HostEvents:
        """End the faults of ``hosts`` at ``time_ns``; those that are up are left alone."""
        down = hosts[self.repair_ns[hosts] != NEVER]
        saved = self.repair_ns[down] - time_ns
        self.fault_ns[down] = np.where(self.fault_ns[down] == NEVER, NEVER, self.fault_ns[down] - saved)
        self.repair_ns[down] = time_ns
        events = self._mend(down)
        self._refresh(down)
        return events

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, by name; ``load`` takes it back."""
        return {name: getattr(self, name) for name in ("number", "injected", "cause", "fault_ns", "repair_ns")}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name in self.arrays():
            setattr(self, name, arrays[name].copy())
        self._due_ns = self._chunk_due(slice(None))

    def _fail(self, hosts: Int64) -> HostEvents:
        time_ns, numbers, names = self.fault_ns[hosts], self.number[hosts].astype(np.int64), hosts + self.first_host
        cause = faults.causes(self.seed, names, numbers)
        mended = faults.later(time_ns, faults.repair_ns(self.settings, self.seed, names, numbers, cause))
        goes_on = self.settings.scopes[cause] == Scope.PROCESS
        self.repair_ns[hosts] = np.where(goes_on, NEVER, mended)
        again = faults.up_ns(self.settings, self.seed, names, numbers + 1)
        self.fault_ns[hosts] = faults.later(np.where(goes_on, time_ns, mended), again)
        self.number[hosts] += 1
        self.cause[hosts] = cause
        return self._events(time_ns, HostEvent.FAULT, hosts)

    def _mend(self, hosts: Int64) -> HostEvents:
        time_ns = self.repair_ns[hosts]
        self.repair_ns[hosts] = NEVER
        return self._events(time_ns, HostEvent.REPAIR, hosts)

    def _events(self, time_ns: Int64, event: HostEvent, hosts: Int64) -> HostEvents:
        return HostEvents(time_ns, np.full(len(hosts), event, np.int8), hosts, self.cause[hosts])

    def _refresh(self, hosts: Int64) -> None:
        chunks = np.unique(hosts // _CHUNK)
        self._due_ns[chunks] = self._chunk_due(chunks)

    def _chunk_due(self, chunks: Int64 | slice) -> Int64:
        shape = (-1, _CHUNK)
        due: Int64 = np.minimum(self.fault_ns.reshape(shape)[chunks].min(axis=1), self.repair_ns.reshape(shape)[chunks].min(axis=1))
        return due
