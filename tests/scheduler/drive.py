"""Drives the real engine and scheduler with jobs of the oracle's, and the clusters to do it on."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from emulator.engine.engine import Engine
from emulator.engine.network import Network
from emulator.engine.settings import EngineSettings
from emulator.engine.shards import Answers, ShardRange, Shards, Window
from emulator.fabric.channels import channels
from emulator.fabric.settings import FabricSettings
from emulator.jobs.costs import Costs
from emulator.racks.faults import Scope
from emulator.racks.messages import HostEvent, RackReport
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import ANY_TYPE, SECOND, JobColumns, Locality, job_columns
from tests.scheduler.oracle import Job, Plain, Simulation
from topology import catalog
from topology.catalog import HostType, SwitchType
from topology.clos import ClosPlan, build
from topology.cluster import Cluster
from topology.compile import compile_cluster

HGX, NVL72 = catalog.host("hgx-h100"), catalog.host("gb200-nvl72")
#: Small stand-ins: 2 NICs a host and switches of 8 ports, so that 48 hosts have three tiers.
TWO_NICS = replace(HGX, name="two-nics", nics=2)
EIGHT_PORTS = replace(catalog.switch("qm9700"), name="eight-ports", radix=8)
#: (time, host, down).
Fault = tuple[int, int, bool]
#: (time, job, (host, mask of GPUs) of each host).
Start = tuple[int, int, tuple[tuple[int, int], ...]]
QM9700, SN5600, X800 = catalog.switch("qm9700"), catalog.switch("sn5600"), catalog.switch("quantum-x800")
PLAIN: dict[str, Any] = {"rail_optimised": False}

#: Name -> host, switch, hosts, hosts a rack, and what is special about it.
PLANS: dict[str, tuple[HostType, SwitchType, int, int, dict[str, Any]]] = {
    "hgx": (HGX, SN5600, 16, 8, {}),  # one block
    "hgx-128": (HGX, SN5600, 128, 8, {}),  # two blocks of 64 hosts in racks of 8: 1,024 GPUs
    "leaves": (HGX, QM9700, 40, 4, PLAIN),  # 10 leaves of 4 hosts
    "pods": (TWO_NICS, EIGHT_PORTS, 48, 2, PLAIN),  # 24 leaves of 2 hosts in 6 pods
    "small-racks": (HGX, QM9700, 40, 3, {"array_hosts": 16}),  # racks of 3 in arrays of 16
    "nvl72": (NVL72, QM9700, 18 * 5, 18, {}),  # domain = rack = block of 18 hosts of 4 GPUs
    "two-domain-racks": (NVL72, X800, 18 * 5 - 7, 36, {}),  # racks of two domains, the last domain partial
    "wide-racks": (HGX, X800, 130, 70, {}),  # racks of 70 hosts, in blocks of 64 and 6
    "buildings": (TWO_NICS, EIGHT_PORTS, 48, 2, PLAIN | {"buildings": 2}),
}


@cache
def make_cluster(name: str) -> Cluster:
    host, switch, hosts, per_rack, more = PLANS[name]
    return compile_cluster(build(ClosPlan(name, host, switch, hosts, per_rack, **more)))


class ScriptedShards:
    """Shards that do nothing but report the faults of a script."""

    def __init__(self, cluster: Cluster, faults: Sequence[Fault]) -> None:
        self.ranges = (ShardRange(0, len(cluster.level("rack")), 0, cluster.host_count),)
        self.plane_count = 1
        self._faults = sorted((time * SECOND, HostEvent.FAULT if down else HostEvent.REPAIR, host) for time, host, down in faults)

    def advance(self, window: Window) -> Answers:
        now = [fault for fault in self._faults if fault[0] <= window.until_ns]
        self._faults = self._faults[len(now) :]
        time, event, host = np.array(now, dtype=np.int64).reshape(-1, 3).T
        coming = self._faults[0][0] if self._faults else 2**63 - 1
        zeros, whole = np.zeros(len(now), np.int16), np.full(len(now), Scope.HOST, np.int8)
        report = RackReport(window.until_ns, time, event.astype(np.int8), host.astype(np.int32), zeros, whole, 0 * time, coming)
        return Answers(dict.fromkeys(window.racks, report), {})


class NoNetwork:
    asks: frozenset[int] = frozenset()
    stale = False

    def __init__(self, cluster: Cluster) -> None:
        self.channels = channels(cluster, FabricSettings())

    def computing(self, slot: int) -> float:
        return 1.0


def columns(jobs: Sequence[Job], types: dict[int, int] | None = None, wishes: dict[int, Locality] | None = None) -> JobColumns:
    """The oracle's jobs, in order of submission; ``types`` has the host type of each job that names one, by number, and ``wishes`` its
    site and dataset.
    """

    def column(name: str) -> NDArray[np.int64]:
        return np.array([getattr(job, name) for job in jobs], dtype=np.int64)

    names = {"job_id": "number", "gpus": "gpus", "milli_gpus": "milli", "priority": "priority", "require_level": "require"}
    names |= {"prefer_level": "prefer", "preemptible": "preemptible", "tenant": "tenant"}
    names |= {"slice_gpus": "slice_gpus", "slice_level": "slice_level"}
    times = {"submit_ns": "submit", "duration_ns": "duration", "estimate_ns": "estimate", "deadline_ns": "deadline"}
    values = {name: column(ours) for name, ours in names.items()}
    values["host_type"] = np.array([(types or {}).get(job.number, ANY_TYPE) for job in jobs], dtype=np.int64)
    reserved = tuple(sorted({job.reservation for job in jobs} - {""}))
    values["reservation"] = np.array([reserved.index(job.reservation) if job.reservation else -1 for job in jobs], dtype=np.int64)
    tenants = tuple(f"tenant-{number}" for number in range(max((job.tenant for job in jobs), default=0) + 1))
    if wishes:
        values["locality"] = np.array([list(wishes).index(job.number) if job.number in wishes else -1 for job in jobs], dtype=np.int64)
    given = {"tenants": tenants, "reservations": reserved, "localities": tuple((wishes or {}).values())}
    return job_columns(len(jobs), **given, **values, **{name: column(ours) * SECOND for name, ours in times.items()})


def make_scheduler(cluster: Cluster, cycle: int = 1, **settings: Any) -> Scheduler:
    policy, placement = settings.pop("policy", "easy"), settings.pop("placement", "topology")
    return Scheduler(
        cluster, SchedulerSettings(POLICIES.get(policy, policy), PLACEMENTS.get(placement, placement), **settings), cycle * SECOND
    )


def run_engine(
    cluster: Cluster,
    jobs: list[Job],
    policy: str | Policy,
    rule: str,
    cycle: int = 1,
    faults: Sequence[Fault] = (),
    preempt_after: int | None = None,
    types: dict[int, int] | None = None,
    *,
    cycles: list[int] | None = None,
    wishes: dict[int, Locality] | None = None,
    **settings: Any,
) -> tuple[list[Start], list[tuple[int, int]], Engine]:
    """As ``Simulation.run``: (starts, preemptions, engine); a start is (time, job, hosts and masks). ``cycles``: to be filled with
    the times of all cycles. ``wishes``: what jobs say about sites, by number; ``settings``: of the scheduler."""
    preemption: dict[str, Any] = {} if preempt_after is None else {"preemption": True, "preempt_after_ns": preempt_after * SECOND}
    scheduler = make_scheduler(cluster, cycle, policy=policy, placement=rule, **settings, **preemption)
    starts: list[Start] = []
    preempted: list[tuple[int, int]] = []

    def note(slot: int, _at_ns: int) -> None:
        table = scheduler.table
        if table.state[slot] == State.RUNNING:
            first = scheduler.ledger.first_host
            place = [
                (first[block] + bit, gpus)
                for block, hosts, gpus in table.rows[slot]
                for bit in range(hosts.bit_length())
                if hosts >> bit & 1
            ]
            starts.append((engine.now_ns // SECOND, table.job_id[slot], tuple(sorted(place))))
        elif table.state[slot] == State.PENDING and engine.chronicle.reasons.get(slot, "").startswith("preempted"):
            engine.chronicle.reasons[slot] = ""
            preempted.append((engine.now_ns // SECOND, table.job_id[slot]))

    jobs = sorted(jobs, key=lambda job: (job.submit, job.number))
    engine_settings = EngineSettings(cycle_ns=cycle * SECOND, costs=Costs(0), max_restarts=10**9)
    # Of both protocols, what the engine asks here.
    shards, network = cast(Shards, ScriptedShards(cluster, faults)), cast(Network, NoNetwork(cluster))
    engine = Engine(cluster, scheduler, shards, network, iter([columns(jobs, types, wishes)]), engine_settings, note)
    while engine.has_work() and (at := engine.next_cycle_ns()) < 2**62:
        engine.run_cycle(at)
        if cycles is not None:
            cycles.append(at // SECOND)
    return starts, preempted, engine


def check(
    cluster: Cluster,
    jobs: list[Job],
    policy: str,
    rule: str,
    cycle: int = 1,
    faults: Sequence[Fault] = (),
    preempt_after: Any = None,
    every_cycle: bool = True,
) -> tuple[Engine, Simulation]:
    """Start by start, host by host, GPU by GPU."""
    starts, preempted, engine = run_engine(cluster, jobs, policy, rule, cycle, faults, preempt_after)
    copies = [Job(**{name: getattr(job, name) for name in Job.__dataclass_fields__}) for job in jobs]
    expected = Simulation(Plain.of(cluster), copies, policy, rule, cycle, list(faults), preempt_after, every_cycle).run()
    for ours, theirs in zip(starts, expected.log, strict=False):
        assert ours == theirs
    assert starts == expected.log
    assert preempted == expected.preempted
    return engine, expected


def workload(
    count: int,
    gpus: int,
    load: float,
    seed: int,
    sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64),
    weights: tuple[float, ...] = (0.40, 0.15, 0.12, 0.20, 0.07, 0.04, 0.02),
) -> list[Job]:
    """The common gang workload: Poisson arrivals, lognormal durations (median 600 s, sigma 1.2, clipped to 30..14,400 s)."""
    draw = random.Random(seed)
    mean_gang = sum(size * weight for size, weight in zip(sizes, weights, strict=True))
    rate = load * gpus / (mean_gang * 600.0 * math.exp(1.2 * 1.2 / 2))
    now = 0.0
    jobs = []
    for number in range(count):
        now += draw.expovariate(rate)
        gang = draw.choices(sizes, weights)[0]
        seconds = int(min(14_400, max(30, draw.lognormvariate(math.log(600.0), 1.2))))
        jobs.append(Job(number, int(now), gang, seconds))
    return jobs


def submit(scheduler: Scheduler, *jobs: Job) -> list[int]:
    """Add jobs of the oracle's and let them arrive; returns their slots."""
    slots = scheduler.add(columns(jobs))
    for slot in slots:
        scheduler.arrive(slot)
    return slots


def plan_at(scheduler: Scheduler, seconds: int) -> tuple[list[int], list[int], float | None]:
    """One cycle: (ids of the jobs started, ids of the jobs preempted, seconds at which to look again or None). The preempted wait again."""
    plan = scheduler.plan(seconds * SECOND)
    for slot in plan.preempted:
        scheduler.requeue(slot)
    ids = scheduler.table.job_id
    again = None if plan.reconsider_at_ns == NEVER else plan.reconsider_at_ns / SECOND
    return [ids[slot] for slot, _ in plan.starts], [ids[slot] for slot in plan.preempted], again


def end(scheduler: Scheduler, slot: int, seconds: int) -> None:
    """The running job ends."""
    scheduler.release(slot, at_ns=seconds * SECOND)
