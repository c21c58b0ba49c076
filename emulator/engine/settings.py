"""What the engine needs to know beyond the cluster, the scheduler and the shards."""

from dataclasses import dataclass, field

from emulator.engine.backoff import NO_BACKOFF, Backoff
from emulator.engine.power_settings import PowerSettings
from emulator.engine.service_settings import ServingSettings
from emulator.fabric.link_faults import LinkFaultSettings
from emulator.jobs.costs import Costs
from emulator.jobs.stragglers import Stragglers
from emulator.racks.buildout import Buildout
from emulator.racks.faults import FaultSettings
from emulator.racks.unit_faults import UnitFaultSettings
from emulator.workload.jobs import SECOND, Recovery

#: Of the jobs that have ended, so many stay with the engine, the last ones; the others leave (``Ends.retire``), so many at once.
ENDED_KEPT, RETIRED_AT_ONCE = 10_000, 4_096


@dataclass(frozen=True)
class EngineSettings:
    """Times are emulated nanoseconds.

    ``costs``: what the life of a job costs beside its work. ``communication_power_ratio`` is the draw of a GPU that
    waits for the network, as a part of its dynamic power while computing (0.5 to 0.6 is what training power traces show; assumed).
    """

    cycle_ns: int = 10 * SECOND
    until_ns: int | None = None  # None: until nothing is left to do
    publish_ns: int = 300 * SECOND  # between two samples of the timeline
    costs: Costs = field(default_factory=Costs)
    stragglers: Stragglers = field(default_factory=Stragglers)
    stall_timeout_ns: int = 600 * SECOND  # a job that has had no bandwidth for this time is interrupted (NCCL's watchdog: 10 min)
    max_restarts: int = 100  # a job interrupted more often has failed
    requeue_backoff: Backoff = NO_BACKOFF
    recovery: Recovery = Recovery.REQUEUE  # of jobs that do not say what becomes of them after a fault
    grace_ns: int = 0  # that a job has to save what it did, once it is asked to stop
    spares_per_1024_gpus: int = 0  # hosts that stand by to replace broken ones
    #: A run that takes longer than the job's estimate times this is ended (Slurm's TIMEOUT); None: jobs may run as long as they like.
    time_limit_factor: float | None = None
    communication_power_ratio: float = 0.55
    power_gamma: float = 1.0  # exponent of utilization in a GPU's draw
    power: PowerSettings = field(default_factory=PowerSettings)
    buildout: Buildout | None = None  # None: every rack is there from the start
    faults: FaultSettings = field(default_factory=FaultSettings)  # of hosts, which the racks draw: what each takes down
    crews: int | None = None  # repairs with hands at once, at a site; None: as many as there are
    unit_faults: UnitFaultSettings = field(default_factory=UnitFaultSettings)
    link_faults: LinkFaultSettings = field(default_factory=LinkFaultSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    seed: int = 1  # of the drawn faults of units and links
    ended_kept: int = ENDED_KEPT
    retired_at_once: int = RETIRED_AT_ONCE
