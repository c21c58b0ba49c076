"""The scheduler alone at scale, under the policies of the shelf: gangs with topology, large gangs on many hosts, and a long backlog.

The limits are CPU times, since the published figures beside them are times too: Kueue's own test of topology-aware scheduling takes 401 s
(``test/performance/scheduler/configs/tas``, 15,000 workloads), and kube-scheduler places 492 to 975 pods a second on 5,000 nodes in 50
racks. Theirs are of live systems with an API server, so they are for scale only.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import product
from statistics import median

import pytest

from emulator.scenario.build import build_cluster
from emulator.scenario.load import load
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.scheduler.table import NEVER
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES, SECOND, JobColumns, job_columns
from topology import catalog
from topology.clos import ClosPlan, build
from topology.cluster import Cluster
from topology.compile import compile_cluster

GPUS_PER_HOST = 8
RACK, POD = LEVEL_NAMES.index("rack"), LEVEL_NAMES.index("pod")
CYCLE_NS = SECOND
#: Jobs that wait, and the most CPU seconds of a cycle; of a policy that makes a reservation for each job, others.
BACKLOG, MOST_SECONDS = 100_000, 0.25
OTHERS = {"conservative": (10_000, 1.0)}
#: In the long queues of the gangs these would spend their time on reservations; their limit is that of the backlog.
QUICK = [name for name in POLICIES if name not in OTHERS]
#: How many cycles are timed, with how many ends and arrivals in each.
CYCLES, EVENTS = 20, 10


def cluster_of(hosts: int, hosts_per_rack: int, leaf_oversubscription: float) -> Cluster:
    """Racks whose hosts share all their leaves."""
    plan = ClosPlan(
        name="scale",
        host=catalog.host("hgx-h100"),
        switch=catalog.switch("sn5600"),
        hosts=hosts,
        hosts_per_rack=hosts_per_rack,
        array_hosts=hosts_per_rack,
        leaf_oversubscription=leaf_oversubscription,
    )
    return compile_cluster(build(plan))


def scheduler_of(cluster: Cluster, policy: str, placement: str = "topology") -> Scheduler:
    return Scheduler(cluster, SchedulerSettings(POLICIES[policy], PLACEMENTS[placement], pending_limit=10 * BACKLOG), CYCLE_NS)


def gangs(hosts: Sequence[int], required: Iterable[int], preferred: Iterable[int], every_seconds: float, draw: random.Random) -> JobColumns:
    """Gangs of whole hosts that arrive at even intervals, and run for 10 to 30 s, which their users know to within a factor of 2."""
    duration_ns = [draw.randrange(10, 31) * SECOND for _ in hosts]
    return job_columns(
        len(hosts),
        submit_ns=[int(number * every_seconds) * SECOND for number in range(len(hosts))],
        gpus=[GPUS_PER_HOST * count for count in hosts],
        duration_ns=duration_ns,
        estimate_ns=[ns + draw.randrange(ns) for ns in duration_ns],
        require_level=list(required),
        prefer_level=list(preferred),
    )


def run_all(scheduler: Scheduler, jobs: JobColumns) -> float:
    """Run the jobs to their ends: CPU seconds. Time goes from one cycle in which something happens to the next."""
    table = scheduler.table
    coming = scheduler.add(jobs)[::-1]
    ends: list[tuple[int, int]] = []
    end_of: dict[int, int] = {}  # of the running jobs; in ``ends`` are also those of runs that were stopped before
    begun, now_ns, ended = time.process_time(), 0, 0
    while coming or ends or (scheduler.pending_jobs and now_ns < NEVER):  # some policies wait for a better time
        while ends and ends[0][0] <= now_ns:
            end_ns, slot = heappop(ends)
            if end_of.get(slot) == end_ns:
                del end_of[slot]
                scheduler.release(slot, at_ns=end_ns)
                ended += 1
        while coming and table.submit_ns[coming[-1]] <= now_ns:
            scheduler.arrive(coming.pop())
        draft = scheduler.plan(now_ns)
        for slot in draft.preempted:
            table.lives.remaining_ns[slot] = end_of.pop(slot) - now_ns
            scheduler.requeue(slot)
        for slot, _ in draft.starts:
            end_of[slot] = now_ns + table.lives.remaining_ns[slot]
            heappush(ends, (end_of[slot], slot))
        due_ns = now_ns + 1 if draft.preempted else draft.reconsider_at_ns
        due_ns = min(due_ns, *(end_ns for end_ns, _ in ends[:1]), *(table.submit_ns[slot] for slot in coming[-1:]), NEVER)
        now_ns = max(now_ns + CYCLE_NS, -(-due_ns // CYCLE_NS) * CYCLE_NS) if due_ns < NEVER else NEVER
    spent = time.process_time() - begun
    assert ended == len(jobs), "every gang fits on the cluster when it is empty"
    return spent


@pytest.mark.parametrize("policy", QUICK)
def test_gangs_with_topology(policy: str, row: Callable[..., None]) -> None:
    """The mix of Kueue's test on its 10 racks of 64 hosts, a host for each pod: 4, 8 or 16 in a rack or, the larger ones, in a block."""
    draw = random.Random(1)
    kinds = [(4, RACK, ANY_LEVEL)] * 10 + [(8, RACK, ANY_LEVEL)] * 6 + [(16, RACK, ANY_LEVEL)] * 4
    kinds += [(4, ANY_LEVEL, RACK)] * 6 + [(8, POD, ANY_LEVEL)] * 4 + [(16, POD, RACK)] * 3 + [(32, POD, RACK)] * 2
    chosen = draw.choices(kinds, k=15_000)
    hosts, required, preferred = zip(*chosen, strict=True)
    load_seconds = 20 * sum(hosts) / 640 / len(hosts)
    jobs = gangs(hosts, required, preferred, load_seconds, draw)  # as much work as the hosts can do, so that a queue grows
    spent = run_all(scheduler_of(cluster_of(640, 64, 1.0), policy), jobs)
    row("15,000 gangs with topology on 640 hosts", policy=policy, cpu_s=spent, most_s=4.0, kueue_s=401)
    assert spent <= 4.0


@pytest.mark.parametrize("policy", QUICK)
def test_large_gangs(policy: str, row: Callable[..., None]) -> None:
    """Gangs of 4 to 1,000 hosts, as many of every order of size; up to a rack's 100 hosts every second one requires a rack."""
    draw = random.Random(1)
    hosts = [round(4 * 250 ** draw.random()) for _ in range(5_000)]
    required = [RACK if count <= 100 and draw.random() < 0.5 else ANY_LEVEL for count in hosts]
    preferred = [ANY_LEVEL if level == RACK else RACK for level in required]
    jobs = gangs(hosts, required, preferred, 20 * sum(hosts) / 5_000 / len(hosts), draw)
    spent = run_all(scheduler_of(cluster_of(5_000, 100, 4.0), policy), jobs)
    placed = sum(hosts) / spent
    row(
        "5,000 hosts in 50 racks, gangs of 4 to 1,000 hosts",
        policy=policy,
        cpu_s=spent,
        hosts_per_cpu_s=placed,
        least=20_000,
        kube="492 to 975",
    )
    assert placed >= 20_000


def backlog(count: int, draw: random.Random) -> JobColumns:
    """Jobs of all sizes, queues, tenants and priorities; one in ten is a share of a GPU, and one in ten requires a level."""
    sizes = draw.choices((1, 2, 4, 8, 12, 16, 32, 64, 256, 1024, 4096), (25, 10, 10, 20, 5, 10, 8, 6, 4, 1.5, 0.5), k=count)
    minutes = [round(10 ** (3 * draw.random())) for _ in range(count)]
    levels = [draw.choice((RACK, POD)) if draw.random() < 0.1 and size <= 64 else ANY_LEVEL for size in sizes]
    names = tuple(f"tenant-{number}" for number in range(50))
    return job_columns(
        count,
        submit_ns=0,
        gpus=sizes,
        milli_gpus=[draw.choice((250, 500)) if size == 1 and draw.random() < 0.4 else 1000 for size in sizes],
        duration_ns=[60 * SECOND * number for number in minutes],
        estimate_ns=[60 * SECOND * number * draw.choice((1, 2, 5)) for number in minutes],
        require_level=levels,
        priority=[draw.randrange(4) for _ in range(count)],
        queue=[draw.randrange(8) for _ in range(count)],
        tenant=[draw.randrange(50) for _ in range(count)],
        queues=tuple(f"queue-{number}" for number in range(8)),
        tenants=names,
    )


#: The default, and two that score hosts by what is free and what runs there.
PLACED = ("topology", "fgd", "gpu-clustering")


@pytest.mark.parametrize(("policy", "placement"), list(product(POLICIES, PLACED)))
def test_backlog(policy: str, placement: str, row: Callable[..., None]) -> None:
    """Cycles of Colossus with 100,000 jobs waiting: in each some jobs end, earlier than expected, and others arrive."""
    waiting, most_seconds = OTHERS.get(policy, (BACKLOG, MOST_SECONDS))
    draw = random.Random(1)
    scheduler = scheduler_of(build_cluster(load("colossus")), policy, placement)
    slots = scheduler.add(backlog(waiting + 20_000, draw))
    coming = iter(slots[waiting + 10_000 :])
    for slot in slots[: waiting + 10_000]:
        scheduler.arrive(slot)
    seconds = []
    for cycle in range(CYCLES + 1):
        ending = draw.sample(sorted(scheduler.running), EVENTS if cycle else 0)
        begun = time.process_time()
        for slot in ending:
            scheduler.release(slot, at_ns=cycle * CYCLE_NS)
            scheduler.arrive(next(coming))
        draft = scheduler.plan(cycle * CYCLE_NS)
        for slot in draft.preempted:
            scheduler.requeue(slot)
        seconds.append(time.process_time() - begun)
    first, *others = seconds
    row(
        "A cycle of colossus with many jobs waiting",
        policy=policy,
        placement=placement,
        waiting=f"{scheduler.pending_jobs:,}",
        started=len(draft.starts),
        cpu_ms=1000 * median(others),
        worst_ms=1000 * max(others),
        most_ms=1000 * most_seconds,
        first_ms=1000 * first,
    )
    assert scheduler.pending_jobs >= waiting
    assert max(others) <= most_seconds
