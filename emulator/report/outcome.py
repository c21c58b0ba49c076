"""The outcome of a run, as columns: everything that summary.json, the Parquet files, the HTML page and the terminal table are made from.

The session fills an ``Outcome`` at the end of a run (or at any moment of a live one); nothing here computes. Times are int64 nanoseconds
from the scenario's start.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.engine.job_control import JobState
from emulator.engine.queue_control import SitesView
from emulator.engine.snapshot import Snapshot
from emulator.report.links import TierLoad
from emulator.scheduler.policy import OutsideAccount
from emulator.scheduler.reasons import KINDS
from emulator.workload.jobs import LEVEL_NAMES
from topology.cluster import TIERS

Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

#: ``JobTable.state`` indexes this. Never reorder: the digest holds these numbers.
STATES: tuple[JobState, ...] = (
    JobState.PENDING,
    JobState.RUNNING,
    JobState.FINISHED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.INFEASIBLE,
    JobState.REJECTED,
)

#: ``JobTable.placement_level`` indexes this; -1 for a job that never had a placement.
PLACEMENT_LEVELS: tuple[str, ...] = ("gpu", *LEVEL_NAMES, "cluster")

#: ``JobTable.start_ns`` and ``end_ns`` where there is none yet.
NEVER = -1


@dataclass(frozen=True, eq=False)
class JobTable:
    """Every job the run was asked for, the rejected and infeasible included. Shape (jobs,) each; any order, ids unique.

    ``start_ns`` is the first start, ``end_ns`` the moment the job left for good. ``gpu_seconds`` is what it held (milli-GPUs as fractions)
    up to the run's end; ``lost_gpu_seconds`` is the part of it that produced nothing that lasted: work after the last checkpoint before an
    interruption, and restarting.
    """

    job_id: Int64
    gpus: Int32
    queue: Int32  # index into queues
    tenant: Int32  # index into tenants
    kind: Int8  # workload.jobs.JobKind
    priority: Int32  # that of its queue included
    host_type: Int8  # index into gpu_types; ANY_TYPE for one that was never bound
    estimate_ns: Int64  # the submitter's estimate; ENDLESS for a service without an end
    deadline_ns: Int64  # when it should have ended; NO_DEADLINE where it has none
    source_row: Int64  # of the trace: its line, or the number of its object; NO_ROW where there is none
    submit_ns: Int64
    start_ns: Int64  # NEVER where it has not started
    end_ns: Int64  # NEVER where it has not ended
    state: Int8  # index into STATES
    reason: Int32  # index into reasons; -1 for none
    preemptions: Int32
    restarts: Int32
    ran_ns: Int64  # how long it held its GPUs, all its runs together
    gpu_seconds: Float64
    lost_gpu_seconds: Float64
    placement_level: Int8  # index into PLACEMENT_LEVELS, of the last placement; -1 for none
    energy_joules: Float64  # engine.job_energy
    tokens: Float64  # that it trained on, of steps that lasted; 0 where a step's are not known
    network_slowdown_ratio: Float64  # running time over that on an idle fabric; 1 if the job does not use the fabric
    queues: tuple[str, ...] = ("default",)
    tenants: tuple[str, ...] = ("default",)
    reasons: tuple[str, ...] = ()
    gpu_types: tuple[str, ...] = ()  # GPU model by host type
    hosts: Callable[[], tuple[str, ...]] | None = (
        None  # makes the hostlists of the last placements, by row, for who writes them; "" for none
    )
    names: tuple[str, ...] | None = None  # by row
    min_gpus: Int32 | None = None  # the fewest that it may run with, ``gpus`` of a job of one size; None: all are

    def __len__(self) -> int:
        return len(self.job_id)


class Sample(NamedTuple):
    """The cluster at one publication."""

    time_seconds: float
    pending_jobs: int
    running_jobs: int
    pending_gpus: int
    gpus_busy: int
    gpus_idle: int
    gpus_down: int
    gpus_cordoned: int
    gpus_planned: int
    gpus_starting: int
    gpus_restarting: int
    gpus_stalled: int
    gpus_detecting: int
    gpus_draining: int
    gpus_paused: int
    power_clock_ratio: float
    power_cap_watts: float
    racks_in_service: int
    gpu_utilization_ratio: float
    power_watts: float
    switch_power_watts: float
    facility_power_watts: float
    pending_jobs_by_reason: tuple[int, ...]  # by kind of KINDS
    link_load_ratio: tuple[float, ...]  # by tier of TIERS
    link_peak_ratio: tuple[float, ...]


def sample(snapshot: Snapshot) -> Sample:
    """The sample of a publication's snapshot; tiers that the cluster lacks count 0."""
    gpus = snapshot.gpus_by_state
    return Sample(
        time_seconds=snapshot.clock.emulated_seconds,
        pending_jobs=snapshot.jobs_by_state.get("pending", 0),
        running_jobs=snapshot.jobs_by_state.get("running", 0),
        pending_gpus=sum(queue.pending_gpus for queue in snapshot.queues),
        gpus_busy=gpus.get("busy", 0),
        gpus_idle=gpus.get("idle", 0),
        gpus_down=gpus.get("down", 0),
        gpus_cordoned=sum([gpus.get(state, 0) for state in ("cordoned", "maintenance", "reserved")]),
        gpus_planned=gpus.get("planned", 0),
        gpus_starting=snapshot.held_gpus_by_phase.get("starting", 0),
        gpus_restarting=snapshot.held_gpus_by_phase.get("restarting", 0),
        gpus_stalled=snapshot.held_gpus_by_phase.get("stalled", 0),
        gpus_detecting=snapshot.held_gpus_by_phase.get("detecting", 0),
        gpus_draining=snapshot.held_gpus_by_phase.get("draining", 0),
        gpus_paused=snapshot.held_gpus_by_phase.get("paused", 0),
        power_clock_ratio=snapshot.power_clock_ratio,
        power_cap_watts=snapshot.cluster.power_cap_watts,
        racks_in_service=snapshot.cluster.racks_in_service,
        gpu_utilization_ratio=snapshot.gpu_utilization_ratio,
        power_watts=snapshot.power_watts,
        switch_power_watts=snapshot.switch_power_watts,
        facility_power_watts=snapshot.facility_power_watts,
        pending_jobs_by_reason=tuple(snapshot.pending_jobs_by_reason.get(kind, 0) for kind in KINDS),
        link_load_ratio=tuple(snapshot.link_load_ratio.get(tier, 0.0) for tier in TIERS),
        link_peak_ratio=tuple(snapshot.link_peak_ratio.get(tier, 0.0) for tier in TIERS),
    )


@dataclass(frozen=True, eq=False)
class Timeline:
    """Samples as columns, shape (samples,), in order of time.

    The link columns have the shape (samples, tiers of TIERS), that of reasons (samples, kinds of KINDS).
    """

    time_seconds: Float64
    pending_jobs: Int64
    running_jobs: Int64
    pending_gpus: Int64
    gpus_busy: Int64
    gpus_idle: Int64
    gpus_down: Int64
    gpus_cordoned: Int64  # or reserved
    gpus_planned: Int64
    gpus_starting: Int64  # these five are busy: what their jobs do
    gpus_restarting: Int64
    gpus_stalled: Int64
    gpus_detecting: Int64
    gpus_draining: Int64
    gpus_paused: Int64
    power_clock_ratio: Float64  # of the GPUs' full clock, the lowest of all sites
    power_cap_watts: Float64  # of the facility; 0: none
    racks_in_service: Int64
    gpu_utilization_ratio: Float64
    power_watts: Float64  # IT: hosts and switches
    switch_power_watts: Float64
    facility_power_watts: Float64
    pending_jobs_by_reason: Int64
    link_load_ratio: Float64
    link_peak_ratio: Float64

    def __len__(self) -> int:
        return len(self.time_seconds)


def timeline(samples: Iterable[Sample]) -> Timeline:
    """``samples`` as columns."""
    rows = list(samples)
    columns: dict[str, Any] = {}
    for place, name in enumerate(Sample._fields):
        values = [row[place] for row in rows]
        if name.startswith("link_"):
            columns[name] = np.array(values, dtype=np.float64).reshape(len(rows), len(TIERS))
        elif name.endswith("_by_reason"):
            columns[name] = np.array(values, dtype=np.int64).reshape(len(rows), len(KINDS))
        else:
            columns[name] = np.array(values, dtype=np.float64 if name.endswith(("_seconds", "_ratio", "_watts")) else np.int64)
    return Timeline(**columns)


@dataclass(frozen=True, eq=False)
class Outcome:
    """One run. Every number of the summary is here or is arithmetic on what is here (``report.summary`` has the formulas)."""

    scenario: str
    seed: int
    policy: str
    digest: str  # report.digest
    actors: int  # 0: in-process
    gpus: int
    hosts: int
    racks: int
    links: int  # cables
    emulated_ns: int  # where the run ended
    wall_seconds: float  # of the emulation, start-up of the runtime included
    cpu_seconds: float  # over all processes
    peak_rss_bytes: int  # over all processes, shared pages once (PSS)
    events: int
    jobs: JobTable
    timeline: Timeline
    capacity_gpu_seconds: float  # integral of the GPUs in service, broken ones included
    training_peak_flops: float  # what the GPUs that training jobs held could have done, dense, each by its model and precision; for MFU
    model_flops: float  # done by training jobs in the run, lost work not counted
    active_gpu_seconds: float  # integral of SM activity over held GPUs
    idle_gpu_seconds: float  # integral of GPUs that are healthy, not cordoned and free
    fragmented_gpu_seconds: float  # the part of it on hosts that also hold a job
    peak_power_watts: float  # IT, the highest at any instant
    it_energy_joules: float
    switch_energy_joules: float  # the part of it that the switches used
    facility_energy_joules: float
    water_litres: float
    tiers: Mapping[str, TierLoad]  # load of the links by name of their tier, from the hosts up
    gpu_seconds: Mapping[str, float]  # by phase of a job's life, idle, down: engine.gpu_time
    trunks: int = 0  # cables between the same two nodes count as one
    interrupted: bool = False  # ended before its time, by a signal
    outside: OutsideAccount | None = None  # of a policy outside
    resizes: int = 0  # of running jobs
    sites: SitesView | None = None  # None: jobs are not dispatched to sites
    power: Mapping[str, Any] | None = None  # report.power
    inference: Mapping[str, Any] | None = None  # report.serving; None where nothing serves
    requests_table: Callable[[], Any] | None = None  # makes that of ``requests.parquet``
    sources: tuple[Mapping[str, Any], ...] = ()  # workload.jobs.SourceReport.as_dict
    link_table: Callable[[], Any] | None = None  # makes the pyarrow.Table of ``links.parquet``, for who writes it
    events_table: Callable[[], Any] | None = None  # that of ``events.parquet``; None where no events were kept
    picture: Callable[[], str] | None = None  # draws the machine and its load as SVG, for who writes the page
