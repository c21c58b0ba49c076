"""Every policy on the shelf with every placement, on random small clusters: nothing breaks a rule, nobody is lost, nobody starves."""

import random

import pytest

from emulator.scenario.policies import find, find_placement
from emulator.scheduler.placement import Placement
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.rules import Refused
from emulator.scheduler.scheduler import Scheduler
from emulator.workload.jobs import SECOND
from tests.scheduler.drive import HGX, end, make_cluster, make_scheduler, plan_at, submit
from tests.scheduler.oracle import Job
from tests.scheduler.test_quota_runs import Rules, Run, keeps_to_the_rules, random_rules, standing
from topology import catalog
from topology.clos import ClosPlan, build
from topology.cluster import Cluster
from topology.compile import compile_cluster

NVL72 = catalog.host("gb200-nvl72")


def random_cluster(draw: random.Random) -> Cluster:
    """Of 8 to 60 hosts in racks of 2 to 18."""
    host = draw.choice([HGX, NVL72])
    per_rack = 18 if host is NVL72 else draw.choice((2, 3, 4, 8))
    hosts = draw.randint(8, 60)
    return compile_cluster(build(ClosPlan("random", host, catalog.switch("qm9700"), hosts, per_rack, rail_optimised=host is NVL72)))


def random_case(seed: int) -> Rules:
    draw = random.Random(seed)
    rules = random_rules(draw)
    one_type = len(rules.cluster.host_types) == 1
    return rules._replace(cluster=random_cluster(draw)) if one_type else rules


CASES = [random_case(seed) for seed in range(20)]


def gpus_are_held_once(scheduler: Scheduler) -> None:
    """Reckoned from the placements alone."""
    table, ledger = scheduler.table, scheduler.ledger
    held: dict[tuple[int, int], int] = {}
    for slot in scheduler.running:
        gpus = 0
        for block, hosts, mask in table.rows[slot]:
            gpus += hosts.bit_count() * mask.bit_count()
            for host in (ledger.first_host[block] + bit for bit in range(hosts.bit_length()) if hosts >> bit & 1):
                for gpu in (bit for bit in range(mask.bit_length()) if mask >> bit & 1):
                    held[host, gpu] = held.get((host, gpu), 0) + table.milli_gpus[slot]
        assert gpus == table.size_gpus[slot], f"job {table.job_id[slot]} has all its GPUs"
    assert all(milli_gpus <= 1000 for milli_gpus in held.values()), "no GPU is given out twice"


def try_out(scheduler: Scheduler, draw: random.Random, now: int) -> None:
    """Stops and starts at random, all taken back."""
    draft = scheduler.draft
    draft.begin(now * SECOND)
    before, mark = standing(scheduler), draft.mark()
    for partition in scheduler.partitions:
        for slot in sorted(partition.running)[:3]:
            draft.preempt(slot, suspend=draw.random() < 0.5)
        for slot in sorted(partition.waiting())[:3]:
            rows = draft.choose(partition, slot) if partition.waits(slot) else None
            if rows is not None:
                try:
                    draft.start(slot, rows)
                except Refused:
                    draft.wait_for_quota(partition, slot)
    draft.undo(mark)
    assert standing(scheduler) == before


@pytest.mark.parametrize("policy", POLICIES)
def test_no_rule_is_broken_and_undo_restores(policy: str) -> None:
    started = 0
    for seed, rules in enumerate(CASES):
        for placement in PLACEMENTS:
            draw = random.Random(f"{seed} {placement}")
            options = {"seed": seed} if placement == "random" else {}
            run = Run(with_placement(rules, policy, find_placement(placement, options)), seed, [queue.name for queue in rules.queues])
            for _ in range(8):
                done, _ = run.cycle()
                started += len(done)
                keeps_to_the_rules(rules, run)
                gpus_are_held_once(run.scheduler)
            try_out(run.scheduler, draw, run.now + 1)
    assert started > 100


def with_placement(rules: Rules, policy: str, placement: Placement) -> Scheduler:
    return rules.scheduler(find(policy, {}), placement=placement)


def starts_of_the_large_job(age_weight: float) -> list[int]:
    """At which minute a job of the whole cluster starts that small ones of a higher priority come before, a new one each minute."""
    scheduler = make_scheduler(make_cluster("hgx"), 60, policy=find("priority", {"age_weight": age_weight, "age_max_hours": 1}))
    submit(scheduler, Job(10**6, 0, 128, 600))
    for minute in range(240):
        for slot in [slot for slot in scheduler.running if scheduler.table.start_ns[slot] == (minute - 10) * 60 * SECOND]:
            end(scheduler, slot, 60 * minute)
        submit(scheduler, Job(minute, 60 * minute, 8, 600, priority=1))
        if 10**6 in plan_at(scheduler, 60 * minute)[0]:
            return [minute]
    return []


def test_nobody_starves_under_ageing() -> None:
    assert starts_of_the_large_job(0.0) == [], "without ageing it does"
    assert 30 <= starts_of_the_large_job(2000.0)[0] <= 60, "it comes before fresh ones after half an hour"
