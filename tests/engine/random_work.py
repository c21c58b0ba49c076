"""Small random workloads with everything in them: contention, faults, preemption, priorities, shares of GPUs, commands."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from emulator.engine.commands import BreakHosts, Cancel, ClearFaults, Command, Cordon, SlowDown, Submit, scale_link
from emulator.engine.engine import Engine
from emulator.engine.loop import Loop
from emulator.engine.power_settings import PowerSettings
from emulator.jobs.costs import CheckpointCosts, Costs, StartUp, Writing
from emulator.racks.faults import CAUSES, FaultSettings, Scope
from emulator.scheduler.elastic import Elastic
from emulator.scheduler.policy import Policy
from emulator.workload.jobs import SECOND, JobColumns, JobKind, TrainingShape, job_columns
from tests.engine.small import LANE, clos, engine
from topology.cluster import Cluster

HOSTS = 14
UNTIL = 3600 * SECOND + 3  # not a multiple of the cycle
#: Every host fails about every 50 minutes, for some minutes.
FAULTS = FaultSettings(
    host_rate_per_1000_node_days=3e4, repair_seconds=dict.fromkeys((cause.name for cause in CAUSES), 240.0), by_scope=True
)
API_ID = 10**9


@cache
def cluster() -> Cluster:
    """Seven leaves of two hosts, as many racks, trunks that a gang fills: cut into shards anywhere between."""
    return clos(HOSTS, hosts_per_rack=2, array_hosts=2, leaf_oversubscription=2)


@dataclass(frozen=True, eq=False)
class Work:
    """``posted`` are commands with their stamps; jobs of a source, and jobs of the API with theirs."""

    jobs: JobColumns
    api: list[tuple[int, JobColumns]]
    posted: list[tuple[int, Command]]


def work(seed: int) -> Work:
    random = np.random.default_rng(seed)
    api = [
        (int(stamp) * 10 * SECOND, _jobs(random, 3, submit_ns=int(stamp) * 10 * SECOND, first_id=API_ID + 3 * number))
        for number, stamp in enumerate(np.sort(random.integers(0, 250, 3)))
    ]
    submit = np.sort(random.integers(0, 2500, 30)) * SECOND
    posted: list[tuple[int, Command]] = []
    for stamp in np.sort(random.integers(0, 300, 8)).tolist():
        first = int(random.integers(HOSTS - 3))
        span = first, first + int(random.integers(1, 4))
        choice = int(random.integers(4))
        link = int(random.integers(len(cluster().links)))
        ratio = float(random.choice([0.0, 0.3, 0.5]))
        lasts = int(random.integers(1, 900)) * SECOND
        command = (
            Cordon(*span, bool(random.integers(2))), BreakHosts(*span, lasts),
            scale_link(link, ratio, lasts), scale_link(link, ratio, lasts)
        )[choice]  # fmt: skip
        posted.append((stamp * 10 * SECOND, command))
    posted += _strikes(np.random.default_rng([seed, 1]))
    return Work(_jobs(random, 30, submit_ns=submit, first_id=0), api, posted)


def _strikes(random: np.random.Generator) -> Iterator[tuple[int, Command]]:
    """Faults of any scope, one upon the other on some hosts, hosts that are withdrawn or slow, and the ends of some of these."""
    for stamp in random.integers(0, 300, 10).tolist():
        first, lasts = int(random.integers(4)), int(random.integers(1, 900)) * SECOND
        span = first, first + int(random.integers(1, 4))
        scope = Scope(int(random.choice([Scope.PROCESS, Scope.GPU, Scope.HOST])))
        command: Command = BreakHosts(*span, lasts, cause=int(random.integers(len(CAUSES))), scope=scope, gpu=int(random.integers(-1, 8)))
        choice = int(random.integers(6))
        if choice == 0:
            command = BreakHosts(*span, lasts, "rack", "some", withdraw=True)
        elif choice == 1:
            command = SlowDown(*span, lasts, 0.5, "host", "some")
        elif choice == 2:
            command = ClearFaults(tuple(random.integers(1, 60, 20).tolist()))
        yield stamp * 10 * SECOND, command


def _jobs(random: np.random.Generator, count: int, *, submit_ns: object, first_id: int) -> JobColumns:
    gpus = random.choice([1, 2, 4, 8, 12, 16, 24, 40, 60], count)
    milli = np.where((gpus == 1) & (random.random(count) < 0.8), random.choice([200, 250, 500], count), 1000)
    trains = (gpus > 8) & (random.random(count) < 0.8)
    shapes = tuple(TrainingShape(1.0, LANE * ring, 1.0, 1e-4, 1e15) for ring in (0.4, 1.0, 1.7))
    seconds = random.integers(1, 900, count)
    return job_columns(
        count,
        job_id=first_id + np.arange(count),
        submit_ns=submit_ns,
        gpus=gpus,
        milli_gpus=milli,
        duration_ns=seconds * SECOND + random.integers(0, 2, count) * random.integers(0, SECOND, count),
        estimate_ns=(seconds * random.choice([1, 1, 3], count) + 1) * SECOND,
        kind=np.where(trains, int(JobKind.TRAINING), int(JobKind.GANG)),
        shape=np.where(trains, random.integers(0, 3, count), -1),
        shapes=shapes,
        priority=random.choice([0, 0, 0, 5, 9], count),
        preemptible=random.random(count) < 0.8,
        checkpoint_ns=random.choice([0, 60, 200], count) * SECOND,
        utilization=random.choice([0.3, 0.77, 1.0], count),
    )


def chunks(jobs: JobColumns, cuts: list[int]) -> Iterator[JobColumns]:
    """``jobs`` as a source that gives them in parts."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(jobs)}), len(jobs)]
    for begin, end in pairwise(edges):
        columns = {name: value[begin:end] for name, value in vars(jobs).items() if isinstance(value, np.ndarray)}
        yield job_columns(end - begin, **columns, shapes=jobs.shapes)


#: Everything that the life of a job costs. Storage is short for many at once.
COSTS = Costs(
    restart_overhead_ns=40 * SECOND,
    start_up=StartUp(20.0, 0.5, 5.0, 90.0),
    restart_by_size=True,
    detection=True,
    checkpoint=CheckpointCosts(Writing.ASYNCHRONOUS, 0.1e9, 2e9, 4e9),
)


@dataclass
class Manner:
    """How a workload is run, which must not matter."""

    shards: int = 1
    publish_ns: int = 300 * SECOND
    cuts: list[int] = field(default_factory=list)
    inputs_at_once: bool = True
    look: Callable[[Engine, int], None] | None = None  # called between cycles with the instant before which nothing is due
    begin: Callable[[Engine], None] | None = None  # called before the first cycle
    power: PowerSettings = field(default_factory=PowerSettings)


def run_work(given: Work, seed: int, policy: str | Policy, manner: Manner, elastic: Elastic = Elastic.START, **more: Any) -> Engine:
    """To ``UNTIL``. A policy that is no name is run as ``easy`` is. ``more`` are settings of the engine."""
    easy = policy == "easy" or isinstance(policy, Policy)
    made = engine(
        cluster(),
        list(chunks(given.jobs, manner.cuts)),
        policy=policy,
        placement="topology" if easy else "consolidate",
        preemption=easy,
        shards=manner.shards,
        faults=FAULTS,
        seed=seed,
        until_ns=UNTIL,
        publish_ns=manner.publish_ns,
        elastic=elastic,
        costs=more.pop("costs", COSTS),
        max_restarts=more.pop("max_restarts", 4),
        power=more.pop("power", manner.power),
        **more,
    )
    if manner.begin is not None:
        manner.begin(made)
    inputs: list[tuple[int, JobColumns | Command]] = sorted([*given.api, *given.posted], key=lambda row: row[0])
    loop = Loop(made, made.read, endless=False)  # type: ignore[arg-type]  # what is read is not looked at
    while not loop.finished:
        while inputs and (manner.inputs_at_once or inputs[0][0] <= loop.next_ns()):
            stamp_ns, command = inputs.pop(0)
            if isinstance(command, JobColumns):
                slots = made.scheduler.add(command)
                made.post(Submit(slots), stamp_ns)
                made.post(Cancel(int(command.job_id[0])), stamp_ns + 200 * SECOND)
            else:
                made.post(command, stamp_ns)
        loop.step()
        if manner.look is not None and not loop.finished:
            manner.look(made, min([UNTIL, made.next_cycle_ns(), *(stamp_ns for stamp_ns, _ in inputs)]))
    return made
