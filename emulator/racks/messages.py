"""Messages to and from a rack shard, as columns.

Every message is plain numpy, so that it travels to a Ray actor in one pickle. Times are emulated int64 nanoseconds. Orders may carry
times before the shard's present (the head learns of a fault, then says when the gang's other GPUs were freed): energy is a sum of
exact integers, so the order of arrival changes nothing. No order lies after the end of the window that it comes with; BREAK_HOST and
MEND_HOST not before the shard's present either. Jobs that share a GPU occupy and release it each for itself.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class RackOrder(IntEnum):
    """What an order of `RackOrders` does to the hosts that it names."""

    OCCUPY = 0  # a job takes gpu_mask on every host of host_mask; milliwatts more per GPU
    RELEASE = 1  # the exact reverse
    BREAK_HOST = 2  # a fault from outside, of ``cause`` and ``scope``; value_ns is its repair time, 0 for a drawn one
    MEND_HOST = 3  # what is broken is whole at value_ns; 0: now
    RERATE = 4  # same GPUs, milliwatts changes by this much per GPU (may be negative)


class HostEvent(IntEnum):
    """What a host reports of itself: it has failed, or it is back."""

    FAULT = 0
    REPAIR = 1


@dataclass(frozen=True, eq=False)
class RackOrders:
    """Shape (orders,) each. ``block`` and ``host_mask`` name hosts: bit i is host ``block_first_host[block] + i``."""

    time_ns: NDArray[np.int64]
    kind: NDArray[np.int8]
    block: NDArray[np.int32]
    host_mask: NDArray[np.uint64]
    gpu_mask: NDArray[np.uint64]  # bit g is GPU g of each of those hosts
    milliwatts: NDArray[np.int64]  # dynamic power per GPU above idle
    value_ns: NDArray[np.int64]
    cause: NDArray[np.int16]  # of BREAK_HOST: index into racks.faults.CAUSES
    scope: NDArray[np.int8]  # of BREAK_HOST: racks.faults.Scope

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, eq=False)
class RackReport:
    """Events up to ``until_ns`` in order of (time, kind, host), and a promise: nothing else before ``next_event_ns``."""

    until_ns: int
    time_ns: NDArray[np.int64]
    event: NDArray[np.int8]  # HostEvent
    host: NDArray[np.int32]  # cluster-wide number
    cause: NDArray[np.int16]  # index into racks.faults.CAUSES
    scope: NDArray[np.int8]  # racks.faults.Scope
    repair_ns: NDArray[np.int64]  # of a fault: from then on until the host is whole, or what a crew needs once it is there
    next_event_ns: int  # 2**63 - 1: never


@dataclass(frozen=True, eq=False)
class RackReadings:
    """One shard at one instant, per rack in rack order. Reading changes nothing."""

    at_ns: int
    first_rack: int
    power_milliwatts: NDArray[np.int64]
    energy_joules: NDArray[np.float64]
    gpus: NDArray[np.int32]
    gpus_busy: NDArray[np.int32]
    gpus_down: NDArray[np.int32]
    hosts_down: NDArray[np.int32]
    faults: NDArray[np.int64]  # since the start
