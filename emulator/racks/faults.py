"""Which faults a host has, and when. Faults are drawn ahead, so hosts without a fault cost nothing.

A host's k-th fault is a function of (seed, host, k): its up time before it is exponential (Poisson faults), its cause follows the counts of
Llama 3's Table 5 and its repair time is uniform within the range of its cause. The clock of the next fault runs only
while the host is up. Some hosts may fail more often than others, and new ones more often than later: `Hazard`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, exponential, uniform
from emulator.racks.hazard import Hazard, intervals

Int64 = NDArray[np.int64]

NEVER = np.iinfo(np.int64).max
#: When a host is whole for which no crew has been sent yet.
WAITING = NEVER - 1
DAY_NS = 86_400_000_000_000
SECOND_NS = 1_000_000_000


class Scope(IntEnum):
    """What a fault takes down. What is larger takes more."""

    NOTHING = -1
    PROCESS = 0  # one job on the host; nothing is broken, and the host goes on
    GPU = 1  # the jobs on one GPU; the host is given to nobody until it is repaired, and its other jobs go on
    HOST = 2  # the host, and all jobs on it


#: What it takes to bring a host back: (shortest, longest) seconds.
Repair = tuple[float, float]
RESTART: Repair = (60.0, 300.0)  # nothing is broken: new processes (assumed; what the job itself loses is accounted for by the engine)
RESET: Repair = (600.0, 1800.0)  # a GPU reset or a reboot, and health checks, which RSC runs every 5 min (arXiv 2410.21680); assumed
CABLE: Repair = (1800.0, 7200.0)  # a cable or transceiver reseated or swapped, or the port moved (assumed)
SERVICE: Repair = (3600.0, 14400.0)  # a part swapped, such as a compute tray of an NVL72 rack: 1 to 4 h (assumed)


#: Seconds until it is noticed that a fault has stopped a job, with automatic inspection (ByteRobust, arXiv 2509.16293, table 3): a
#: process or kernel that has crashed says so, a GPU or driver is seen to be gone, a NIC or port is polled, a switch is given time.
CRASHED, GPU_GONE, NIC_GONE, SWITCH_GONE = 2.0, 10.0, 30.0, 60.0
#: Nothing but NCCL's watchdog ends the job (its default). Wrong numbers are found later still, by evaluation (assumed: an hour).
WATCHDOG, WRONG_NUMBERS = 600.0, 3_600.0


@dataclass(frozen=True)
class Cause:
    """Why hosts fail: its share of all faults is ``count`` over the sum of the counts."""

    name: str
    count: int  # of the 419 unexpected interruptions in 54 days on 16,384 H100
    repair_seconds: Repair
    detection_seconds: float  # until it is noticed that a job hangs
    scope: Scope  # what it takes down, where ``FaultSettings.by_scope``


#: Llama 3, arXiv 2407.21783, Table 5: its counts, since two of its printed percentages disagree with them. The causes without a count are
#: not in the table: what a user or a fault script injects, and what is drawn otherwise. Never reorder: reports and results hold the index.
CAUSES = (
    Cause("faulty_gpu", 148, SERVICE, GPU_GONE, Scope.GPU),
    Cause("gpu_hbm3_memory", 72, RESET, GPU_GONE, Scope.GPU),
    Cause("software_bug", 54, RESTART, CRASHED, Scope.PROCESS),
    Cause("network_switch_or_cable", 35, CABLE, SWITCH_GONE, Scope.HOST),
    Cause("host_maintenance", 32, SERVICE, CRASHED, Scope.HOST),
    Cause("gpu_sram_memory", 19, RESET, GPU_GONE, Scope.GPU),
    Cause("gpu_system_processor", 17, RESET, GPU_GONE, Scope.GPU),
    Cause("nic", 7, SERVICE, NIC_GONE, Scope.HOST),
    Cause("nccl_watchdog_timeout", 7, RESTART, WATCHDOG, Scope.PROCESS),
    Cause("silent_data_corruption", 6, SERVICE, WRONG_NUMBERS, Scope.GPU),
    Cause("gpu_thermal_or_sensor", 6, RESET, GPU_GONE, Scope.GPU),
    Cause("ssd", 3, SERVICE, CRASHED, Scope.HOST),
    Cause("power_supply", 3, SERVICE, NIC_GONE, Scope.HOST),
    Cause("server_chassis", 2, SERVICE, NIC_GONE, Scope.HOST),
    Cause("io_expansion_board", 2, SERVICE, GPU_GONE, Scope.HOST),
    Cause("dependency", 2, RESTART, CRASHED, Scope.PROCESS),
    Cause("cpu", 2, SERVICE, CRASHED, Scope.HOST),
    Cause("system_memory", 2, SERVICE, CRASHED, Scope.HOST),
    Cause("injected", 0, SERVICE, GPU_GONE, Scope.HOST),
    # Of units of several hosts (`racks.unit_faults`).
    Cause("rack_power", 0, SERVICE, NIC_GONE, Scope.HOST),
    Cause("leaf_outage", 0, SERVICE, SWITCH_GONE, Scope.HOST),
    Cause("cooling_unit", 0, SERVICE, NIC_GONE, Scope.HOST),
    Cause("power_feed", 0, SERVICE, NIC_GONE, Scope.HOST),
    Cause("nvlink_switch_tray", 0, SERVICE, GPU_GONE, Scope.HOST),
    Cause("nvlink_backplane", 0, SERVICE, GPU_GONE, Scope.HOST),
    # Errors of GPU memory that are contained (``MEMORY_ERRORS``): the process dies, or a row is remapped before anything stops.
    Cause("gpu_memory_contained", 0, RESTART, CRASHED, Scope.PROCESS),
    Cause("gpu_memory_remapped", 0, RESTART, CRASHED, Scope.NOTHING),
    # Of hosts that go on: a health check suspects one, or it is slow (`racks.unit_faults`).
    Cause("suspect_host", 0, SERVICE, CRASHED, Scope.HOST),
    Cause("slow_host", 0, RESTART, CRASHED, Scope.NOTHING),
)
#: Places in CAUSES.
CAUSE_OF: Mapping[str, int] = {cause.name: number for number, cause in enumerate(CAUSES)}
INJECTED = CAUSE_OF["injected"]

#: Llama 3's 72 stops by HBM3 in 21.2 million GPU hours, told apart. Delta (SC'25) has an uncorrectable error each 88,768 h of an H100: 239
#: in that time, of which the other 167 stopped nothing. And of its errors that stop, 14 were contained (XID 94) and 19 were not (XID 95).
MEMORY_ERRORS: Mapping[str, int] = {"gpu_hbm3_memory": 41, "gpu_memory_contained": 31, "gpu_memory_remapped": 167}

#: First counter of the draws for injected faults that come without a repair time, apart from those for the host's own faults.
_INJECTED_COUNTER = 1 << 31


@dataclass(frozen=True)
class FaultSettings:
    """How often hosts fail and how long they stay down. Raises ValueError for a wrong rate, repair time or cause."""

    enabled: bool = True
    #: Faults per 1,000 hosts and day of up time. Llama 3: 419 unexpected ones in 54 days on 2,048 hosts. (RSC-1 6.50, RSC-2 2.34.)
    host_rate_per_1000_node_days: float = 3.79
    #: Mean repair time by cause, for causes that shall not have the range in `CAUSES`; times are then uniform from 0.5 to 1.5 times the
    #: mean.
    repair_seconds: Mapping[str, float] = field(default_factory=dict)
    #: Whether a fault takes down what its cause says; otherwise each takes down the whole host.
    by_scope: bool = False
    #: Whether errors of GPU memory that are contained are drawn too, as ``MEMORY_ERRORS`` has it; the rate counts what stops a job.
    all_memory_errors: bool = False
    #: Which hosts fail more often, and when.
    hazard: Hazard = field(default_factory=Hazard)
    #: Whether somebody has to come for repairs with hands, and these wait for that (`engine.crews`).
    crews: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.host_rate_per_1000_node_days <= 1e6:
            raise ValueError(f"faults.host_rate_per_1000_node_days: {self.host_rate_per_1000_node_days} is outside 0 to 1,000,000")
        for name, mean in self.repair_seconds.items():
            if name not in CAUSE_OF:
                raise ValueError(f"faults.repair: unknown cause {name!r}; allowed: {', '.join(CAUSE_OF)}")
            if not 0 < mean <= 1e8:
                raise ValueError(f"faults.repair.{name}: {mean} seconds is outside (0, 1e8]")

    @cached_property
    def scopes(self) -> NDArray[np.int8]:
        """What a fault takes down, by cause: a ``Scope``."""
        return np.array([cause.scope if self.by_scope or cause.scope == Scope.NOTHING else Scope.HOST for cause in CAUSES], np.int8)

    @cached_property
    def waits(self) -> NDArray[np.bool_]:
        """Whose repair waits for somebody to come, shape (causes,): where a part or cable is swapped."""
        return np.array([self.crews and cause.repair_seconds in (CABLE, SERVICE) for cause in CAUSES])

    @cached_property
    def cause_edges(self) -> NDArray[np.float64]:
        """The counts of the causes, added up, shape (causes,)."""
        told_apart = MEMORY_ERRORS if self.all_memory_errors else {}
        return np.cumsum([told_apart.get(cause.name, cause.count) for cause in CAUSES]).astype(np.float64)

    @cached_property
    def mean_up_ns(self) -> float:
        """Of a host with no other hazard than all have."""
        stopping = sum(cause.count for cause in CAUSES)
        return 1000 * DAY_NS / self.host_rate_per_1000_node_days * (stopping / float(self.cause_edges[-1]))

    @cached_property
    def repair_ranges(self) -> NDArray[np.float64]:
        """(shortest, longest) seconds by cause, shape (causes, 2)."""
        given = {name: (mean * 0.5, mean * 1.5) for name, mean in self.repair_seconds.items()}
        return np.array([given.get(cause.name, cause.repair_seconds) for cause in CAUSES])


def up_ns(settings: FaultSettings, seed: int, host: Int64, number: Int64, age_ns: Int64 | None = None) -> Int64:
    """Up time before fault ``number`` of each ``host`` (cluster-wide numbers), at least 1 ns; NEVER when faults are off.

    ``age_ns``: for how long each has been up in all by then; None: long enough to be no longer new.
    """
    if not settings.enabled or settings.host_rate_per_1000_node_days == 0:
        return np.full(len(host), NEVER, np.int64)
    drawn = exponential(seed, Stream.HOST_FAULT, host, number) * settings.mean_up_ns
    interval = intervals(settings.hazard, seed, host, drawn, age_ns)
    return np.where(interval < 2.0**62, np.rint(np.clip(interval, 1.0, 2.0**62)).astype(np.int64), NEVER)


def causes(settings: FaultSettings, seed: int, host: Int64, number: Int64) -> NDArray[np.int16]:
    """Index into CAUSES of fault ``number`` of each host."""
    edges = settings.cause_edges
    drawn = uniform(seed, Stream.HOST_FAULT_CAUSE, host, number) * edges[-1]
    index: NDArray[np.int16] = np.searchsorted(edges, drawn, side="right").astype(np.int16)
    return index


def repair_ns(settings: FaultSettings, seed: int, host: Int64, number: Int64, cause: NDArray[np.int16]) -> Int64:
    """Time to repair fault ``number`` of each host, of that cause, at least 1 ns."""
    low, high = settings.repair_ranges[cause].T
    seconds = low + (high - low) * uniform(seed, Stream.HOST_REPAIR, host, number)
    whole: Int64 = np.maximum(np.rint(seconds * SECOND_NS).astype(np.int64), 1)
    return whole


def injected_repair_ns(settings: FaultSettings, seed: int, host: Int64, number: Int64, cause: int) -> Int64:
    """Drawn time to repair injected fault ``number`` (counted apart) of each host."""
    return repair_ns(settings, seed, host, number + _INJECTED_COUNTER, np.full(len(host), cause, np.int16))


def later(time_ns: Int64, wait_ns: Int64) -> Int64:
    """``time_ns + wait_ns``, NEVER where that is beyond 2**62 or either is."""
    return np.where((wait_ns > NEVER // 2) | (time_ns > NEVER // 2 - wait_ns), NEVER, time_ns + np.minimum(wait_ns, NEVER // 2))
