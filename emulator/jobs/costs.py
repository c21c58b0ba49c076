"""What the life of a job costs beside its work: starting, restarting, writing checkpoints, and noticing that it hangs.

Sources: RSC is Kokolis et al., HPCA'25, arXiv 2410.21680; FTH is "Training LLMs with Fault Tolerant HSDP on 100,000 GPUs", arXiv
2602.00277, figure 2; MLP the result logs of MLPerf Training v4.1 and v5.0; BLM the training of BLOOM-176B (arXiv 2211.05100).
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, normal
from emulator.draws.exact import exp
from emulator.jobs.ettr import daly_interval, young_interval
from emulator.jobs.saving import Saving
from emulator.workload.jobs import LONGEST_CHECKPOINT_SECONDS, SECOND, YOUNG

#: Seconds until a job of so many GPUs is up again after a fault: FTH, cold recovery and NCCL's initialisation. Below the first point in
#: proportion to it, but not under RESTART_LEAST (assumed).
RESTART_GPUS = np.array([16_384.0, 22_000.0, 64_000.0, 98_000.0])
RESTART_SECONDS = np.array([217.0, 330.0, 700.0, 1_100.0])
RESTART_LEAST = 30.0
#: A site's storage for each of its GPUs: 2 TB/s for 16,384 (Llama 3, arXiv 2407.21783, section 3.3.1).
STORAGE_BYTES_PER_GPU_SECOND = 0.122e9
#: So many times as fast as otherwise a job restarts whose broken hosts are replaced by spares, which stand by checked and set up:
#: ByteRobust (arXiv 2509.16293) at 16,384 GPUs. That it is so at other sizes is assumed.
WARM_SPEEDUP = 10.9


class Writing(StrEnum):
    """How checkpoints are written."""

    BLOCKING = "blocking"  # the job stands still until the checkpoint is in storage
    ASYNCHRONOUS = "asynchronous"  # until it is in the hosts' memory; it goes to storage while work goes on
    FREE = "free"  # it takes no time, and is safe at once


#: Named once: to look up a member of an enum takes longer than to compare with it.
BLOCKING: Final = Writing.BLOCKING
ASYNCHRONOUS: Final = Writing.ASYNCHRONOUS
FREE: Final = Writing.FREE


@dataclass(frozen=True)
class StartUp:
    """Containers, communicators and compiling, before a training job's first step: lognormal, cut at both ends.

    MLP: 250 to 1,100 s from 512 to 8,192 GPUs, without growth with size; median 465 s, log-sd 0.37.
    """

    median_seconds: float = 465.0
    log_sd: float = 0.37
    least_seconds: float = 250.0
    most_seconds: float = 1_100.0

    @property
    def mean_seconds(self) -> float:
        """Of the lognormal, before it is cut."""
        return self.median_seconds * float(exp(0.5 * self.log_sd * self.log_sd))

    def drawn_ns(self, seed: int, job_ids: NDArray[np.int64]) -> list[int]:
        """Of the first start of each of these jobs."""
        seconds = self.median_seconds * exp(self.log_sd * normal(seed, Stream.JOB_START_UP, job_ids, 0))
        drawn: list[int] = np.rint(np.clip(seconds, self.least_seconds, self.most_seconds) * SECOND).astype(np.int64).tolist()
        return drawn


@dataclass(frozen=True)
class CheckpointCosts:
    """Bytes a second of a GPU's share of its host's way to storage, and of all of a site's storage; 0 of storage: it is never short.
    ``interval_ns``: that of jobs that say none, in their words (``JobColumns.checkpoint_ns``).

    BLM wrote 2.3 TB from 384 GPUs in 40 s: 0.15 GB/s a GPU. Llama 3's storage took 2 TB/s from 16,384 GPUs (arXiv 2407.21783, section
    3.3.1), 0.12 GB/s a GPU. The copy to the host's memory goes over PCIe: 25 GB/s a GPU (assumed; half of PCIe 5.0 x16).
    ``state_bytes_per_gpu`` is for jobs that do not say what they save: 14 bytes for each of 60 million parameters.
    """

    writing: Writing = Writing.BLOCKING
    gpu_bytes_per_second: float = 0.15e9
    copy_bytes_per_second: float = 25e9
    storage_bytes_per_second: float = 0.0
    state_bytes_per_gpu: float = 0.84e9
    interval_ns: int = 0

    def every_ns(self, rule: int, size: float, gpus: int, others_bytes_per_second: float, mean_to_failure: float) -> int:
        """The work between two checkpoints of a run on ``gpus``: ``rule`` itself, or the interval of YOUNG or DALY for what a checkpoint
        keeps it from work and the seconds between its faults. It is at least a second (assumed), since what is free would be written
        without end, and at most LONGEST_CHECKPOINT_SECONDS.
        """
        if rule > 0:
            return rule
        blocked = 0.0
        if self.writing == ASYNCHRONOUS:
            blocked = size / (self.copy_bytes_per_second * gpus)
        elif self.writing == BLOCKING:
            blocked = size / self.burst(gpus, others_bytes_per_second)
        interval = LONGEST_CHECKPOINT_SECONDS
        if mean_to_failure < inf:
            interval = (young_interval if rule == YOUNG else daly_interval)(mean_to_failure, blocked)
        return round(min(LONGEST_CHECKPOINT_SECONDS, max(1.0, interval)) * SECOND)

    def saving(self, every_ns: int, size: float, gpus: int, others_bytes_per_second: float) -> Saving:
        """How a run on ``gpus`` writes ``size`` bytes after each ``every_ns`` of work, while others write that much in the mean."""
        if self.writing == FREE:
            return Saving(every_ns)
        write_ns = round(size / self.burst(gpus, others_bytes_per_second) * SECOND)
        if self.writing == BLOCKING:
            return Saving(every_ns, write_ns)
        copy_ns = round(size / (self.copy_bytes_per_second * gpus) * SECOND)
        return Saving(every_ns, copy_ns + max(0, write_ns - every_ns), min(write_ns, every_ns))  # the next one waits for the last

    def burst(self, gpus: int, others_bytes_per_second: float) -> float:
        """Bytes a second that a job gets while it writes: its own way's, or what others leave of the storage in the mean, and at least its
        part of the storage when all want as much as they can.
        """
        own, storage = self.gpu_bytes_per_second * gpus, self.storage_bytes_per_second
        if not storage:
            return own
        return min(own, max(storage - others_bytes_per_second, storage * own / (own + others_bytes_per_second)))


@dataclass(frozen=True)
class Costs:
    """``restart_overhead_ns`` is that of jobs that say nothing of what they do (RSC's u0, 5 to 20 min). Of training jobs ``start_up`` is
    the first start, and ``restart_by_size`` asks for the restarts of FTH; without either they are as other jobs, and start at once.
    ``detection``: whether it takes time to notice that a fault has stopped a training job (``racks.faults.Cause``).
    """

    restart_overhead_ns: int = 300 * SECOND
    start_up: StartUp | None = None
    restart_by_size: bool = False
    detection: bool = False
    checkpoint: CheckpointCosts = CheckpointCosts(Writing.FREE)

    def restart_ns(self, gpus: int, *, trains: bool, warm: bool = False) -> int:
        """How long a job that ran before is not at work after it has started again; reading its checkpoint is a part of it. ``warm``: its
        other hosts were kept, and those that are new to it were spares.
        """
        cold_ns = round(restart_seconds(gpus) * SECOND) if trains and self.restart_by_size else self.restart_overhead_ns
        return round(cold_ns / WARM_SPEEDUP) if warm else cold_ns


def restart_seconds(gpus: int) -> float:
    """FTH's table; linear between its points, and beyond the last."""
    if gpus <= RESTART_GPUS[0]:
        return max(RESTART_LEAST, float(RESTART_SECONDS[0] * gpus / RESTART_GPUS[0]))
    place = min(len(RESTART_GPUS) - 1, int(np.searchsorted(RESTART_GPUS, gpus)))
    low, high = float(RESTART_GPUS[place - 1]), float(RESTART_GPUS[place])
    before, after = float(RESTART_SECONDS[place - 1]), float(RESTART_SECONDS[place])
    return before + (after - before) * (gpus - low) / (high - low)
