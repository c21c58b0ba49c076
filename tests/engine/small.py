"""Small clusters and whole engines on them, for schedules that can be worked out by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from emulator.engine.engine import Engine
from emulator.engine.loop import Loop
from emulator.engine.network import Network
from emulator.engine.settings import EngineSettings
from emulator.fabric.settings import FabricSettings
from emulator.jobs.costs import Costs
from emulator.racks.faults import FaultSettings
from emulator.racks.shard import RackSettings
from emulator.runtime.inline import InlineShards
from emulator.scheduler.elastic import Elastic
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobColumns, JobKind, TrainingShape, job_columns
from topology import catalog
from topology.clos import ClosPlan, build
from topology.cluster import Cluster
from topology.compile import compile_cluster

NO_FAULTS = FaultSettings(enabled=False)

#: A step computes 1 s, of which the ring's first second is hidden, and the ring takes 1 s at full share of a lane of 400 Gb/s (50 GB/s,
#: 0.95 of it payload). At a share s of that the step takes 1 + max(0, 1 / s - 1) = 1 / s seconds, so the job's speed is s.
LANE = 47.5e9
SHAPE = TrainingShape(compute_seconds=1.0, ring_bytes=LANE, overlap_seconds=1.0, latency_seconds=0.0, model_flops=1e15)


def clos(hosts: int, *, host: str = "hgx-h100", hosts_per_rack: int = 1, **plan: Any) -> Cluster:
    """HGX hosts with eight rails unless another host is named; ``array_hosts`` of them to a leaf."""
    made = ClosPlan(
        name="small", host=catalog.host(host), switch=catalog.switch("qm9700"), hosts=hosts, hosts_per_rack=hosts_per_rack, **plan
    )
    return compile_cluster(build(made))


def training(count: int = 1, **columns: Any) -> JobColumns:
    """Training jobs of ``SHAPE``."""
    return job_columns(count, **{"kind": int(JobKind.TRAINING), "shape": 0, "shapes": (SHAPE,), "submit_ns": 0} | columns)


def engine(
    cluster: Cluster,
    batches: Sequence[JobColumns] = (),
    *,
    policy: str | Policy = "fifo",
    placement: str = "consolidate",
    preemption: bool = False,
    pending_limit: int = 200_000,
    shards: int = 1,
    faults: FaultSettings = NO_FAULTS,
    seed: int = 1,
    fail_at: dict[int, int] | None = None,
    **settings: Any,
) -> Engine:
    """A whole engine over in-process shards. ``fail_at``: the instants (ns) of the hosts' first faults, in place of drawn ones.
    ``settings`` are of the engine, ``restart_overhead_ns`` of its costs, and ``reservations`` of the scheduler."""
    fabric = FabricSettings()
    scheduler = Scheduler(
        cluster,
        SchedulerSettings(
            POLICIES[policy] if isinstance(policy, str) else policy,
            placement=PLACEMENTS[placement],
            preemption=preemption,
            grace_ns=int(settings.get("grace_ns", 0)),
            pending_limit=pending_limit,
            elastic=settings.pop("elastic", Elastic.START),
            reservations=settings.pop("reservations", ()),
        ),
        int(settings.get("cycle_ns", 10 * SECOND)),
    )
    places = InlineShards(cluster, RackSettings(faults, settings.get("buildout")), fabric, seed, shards)
    for host, time_ns in (fail_at or {}).items():
        for span, rack_shard in zip(places.ranges, places._racks, strict=True):
            if span.first_host <= host < span.end_host:
                rack_shard.hosts.fault_ns[host - span.first_host] = time_ns
                rack_shard.hosts._refresh(np.array([host - span.first_host]))
    network = Network(cluster, fabric, scheduler.table, places.plane_count)
    if "restart_overhead_ns" in settings:
        settings["costs"] = Costs(settings.pop("restart_overhead_ns"))
    return Engine(cluster, scheduler, places, network, iter(batches), EngineSettings(faults=faults, **settings))


def run(made: Engine, *, endless: bool = False) -> Engine:
    """To its end."""
    loop = Loop(made, lambda: None, endless=endless)
    while not loop.finished:
        loop.step()
    return made


def run_until(made: Engine, until_ns: int) -> None:
    """Every cycle up to and including ``until_ns``."""
    while made.next_cycle_ns() <= until_ns:
        made.run_cycle(made.next_cycle_ns())


def ends(made: Engine) -> dict[int, float]:
    """Seconds at which each finished job ended, by id."""
    table = made.table
    return {table.job_id[s]: table.end_ns[s] / SECOND for s in range(len(table)) if table.state[s] == State.FINISHED}


def hosts_of(made: Engine, job_id: int) -> list[int]:
    return sorted(made.scheduler.hosts_of(made.table.rows[made.table.slot_of[job_id]]))


def endpoint_link(cluster: Cluster, host: int) -> int:
    """The (first) link of a host that is a domain of its own."""
    return int(np.flatnonzero((cluster.links.tier == 0) & (cluster.links.u == host))[0])


def fingerprint(made: Engine) -> tuple[object, ...]:
    """All that the digest of a run is made from."""
    table = made.table
    jobs = [
        (
            table.job_id[s], table.submit_ns[s], table.first_start_ns[s], table.end_ns[s], table.gpus[s], table.preemptions[s],
            table.restarts[s], table.state[s], tuple(sorted(table.rows[s])),
        )
        for s in range(len(table))
        if table.state[s] != State.FUTURE
    ]  # fmt: skip
    energy = np.concatenate([shard.energy_joules for shard in made.read().racks])
    return tuple(sorted(jobs)), energy.tobytes()
