"""Why jobs wait: each kind of reason word for word, and on random clusters against what can be counted host by host."""

import random
from collections import Counter

import pytest

from emulator.scheduler.backlog import pending_by_reason
from emulator.scheduler.draft import Draft
from emulator.scheduler.explain import Reason, explain_pending, lacks
from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.job import job_of
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.outlook import Outlook, outlook, told
from emulator.scheduler.partition import Partition
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy, PolicyError
from emulator.scheduler.reasons import KINDS
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES, SECOND
from tests.scheduler.drive import PLANS, end, make_cluster, make_scheduler, plan_at, submit
from tests.scheduler.oracle import Job
from tests.scheduler.test_partitions import two_types
from tests.scheduler.test_quota_runs import Run, random_rules
from topology.cluster import Cluster

LEAF, RACK, POD = (LEVEL_NAMES.index(name) for name in ("leaf", "rack", "pod"))


def leaves(policy: str | Policy = "easy") -> Scheduler:
    """10 leaves of 4 hosts of 8 GPUs. Held: 3 hosts of each, and of the last of leaves 0 and 1 half. That leaves 8 whole hosts, no two of
    them in one leaf, and 2 of 4 GPUs.
    """
    scheduler = make_scheduler(make_cluster("leaves"), policy=policy)
    free = scheduler.partitions[0].free
    free.take([*((block, 0b0111, 0xFF) for block in range(10)), (0, 0b1000, 0x0F), (1, 0b1000, 0x0F)])
    return scheduler


def why(scheduler: Scheduler, gpus: int, require: int = ANY_LEVEL, milli: int = 1000) -> Reason:
    """Of a job that waits alone."""
    (slot,) = submit(scheduler, Job(1, 0, gpus, 10, require=require, milli=milli))
    reason = explain_pending(scheduler, slot)
    scheduler.cancel_pending(slot)
    scheduler.table.drop([slot])
    return reason


def test_capacity() -> None:
    scheduler = leaves()
    reason = why(scheduler, 100)
    assert (reason.kind, reason.text, reason.remedy) == ("capacity", "needs 100 GPUs, 72 are free", "fits when 4 more whole hosts are free")
    scheduler.ledger.withhold(39, Withheld.DOWN)
    scheduler.ledger.withhold(35, Withheld.CORDONED)
    scheduler.ledger.withhold(31, Withheld.CORDONED)
    reason = why(scheduler, 49)
    assert reason.text == "needs 49 GPUs, 48 are free; 1 host is down; 2 hosts are cordoned"
    assert reason.remedy == "fits when 1 more whole host is free"
    assert reason.numbers == {
        "gpus_needed": 49, "gpus_free": 48, "whole_hosts_needed": 6, "whole_hosts_free": 5, "whole_hosts_missing": 1,
        "split_hosts_free": 2, "split_gpus_free": 8, "hosts_down": 1, "hosts_cordoned": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gpus", "text", "remedy"),
    [
        (72, "needs 9 whole hosts", "fits when 1 more whole host is free"),
        (70, "needs 8 whole hosts and 6 GPUs on one host", "fits when 1 more whole host, or 6 GPUs of one host, are free"),
    ],
)
def test_fragmentation(gpus: int, text: str, remedy: str) -> None:
    reason = why(leaves(), gpus)
    split = "8 GPUs are free on 2 hosts that also hold other jobs"
    assert reason.text == f"{text}; 72 GPUs are free, but only 8 whole hosts are free; {split}"
    assert (reason.kind, reason.remedy) == ("fragmentation", remedy)


def test_topology() -> None:
    reason = why(leaves(), 24, LEAF)
    assert reason.kind == "topology"
    assert reason.text == "needs 3 whole hosts inside one leaf; 8 whole hosts are free, at most 1 of them in one leaf (the largest has 4)"
    assert reason.remedy == "fits when 2 more whole hosts of one leaf are free"
    of_units = {"units": 10, "units_with_free_hosts": 8, "unit_whole_hosts_free_most": 1, "unit_hosts_most": 4}
    assert of_units.items() <= reason.numbers.items()
    assert why(leaves(), 12, LEAF).remedy == (
        "fits when 1 more whole host, or 4 GPUs of one host, are free in a leaf that has 1 whole host free"
    )


def test_a_share_of_a_gpu() -> None:
    scheduler = make_scheduler(make_cluster("hgx"))
    scheduler.partitions[0].free.take([(0, 0xFFFF, 0xFF)])
    reason = why(scheduler, 1, milli=250)
    assert reason.text == "needs 0.25 of a GPU; no GPU is free, and no shared one has that much left"
    assert (reason.kind, reason.remedy) == ("capacity", "fits when a GPU is free, or 0.25 of a shared one")


def test_turn_behind_a_head_without_and_with_a_reservation() -> None:
    """128 GPUs, of which 64 are held until 100 s; the first in the queue needs 96."""
    jobs = Job(1, 0, 64, 100), Job(2, 0, 96, 50), Job(3, 0, 64, 200)
    for policy, text in (
        ("fifo", "would fit, but 1 job is ahead of it; the first, job 2, waits for 96 GPUs"),
        ("easy", "would fit, but would delay job 2, which is first, needs 96 GPUs and is to start at 100 s"),
    ):
        scheduler = make_scheduler(make_cluster("hgx"), policy=policy)
        _, first, behind = submit(scheduler, *jobs)
        assert plan_at(scheduler, 0)[0] == [1]
        reason = explain_pending(scheduler, behind)
        assert (reason.kind, reason.text, reason.position) == ("priority", text, 1)
        assert reason.remedy.startswith("may start when job 2 has started, or")
        assert reason.numbers["head_gpus"] == 96
        assert explain_pending(scheduler, first).text == "needs 96 GPUs, 64 are free"
        found = outlook(scheduler, first, 0)
        assert found == Outlook(100 * SECOND, reserved=policy == "easy")
    assert told(Outlook(100 * SECOND, reserved=True), 0)[0] == "is to start at 100 s, by the running jobs' estimates"
    assert told(Outlook(3600 * SECOND, reserved=False), 1)[0] == (
        "by the running jobs' estimates at 3,600 s at the earliest, if no job ahead of it (there is 1) takes the room"
    )
    assert told(Outlook(NEVER, reserved=False), 1) == ("by their estimates no running job makes room for it", {})


@pytest.mark.parametrize("policy", ["power-aware", "carbon-aware", Policy("mine", lambda draft: None, file=__file__)])
def test_under_a_policy_with_rules_of_its_own_nobody_is_promised_a_start(policy: str | Policy) -> None:
    scheduler = make_scheduler(make_cluster("hgx"), policy=policy)
    first, second = submit(scheduler, Job(1, 0, 8, 50), Job(2, 0, 8, 50))
    for slot in (first, second):
        assert explain_pending(scheduler, slot).text.startswith("would fit now; when it starts is up to the policy ")


def test_what_a_policy_says_stays_until_the_job_starts() -> None:
    def plan(draft: Draft) -> None:
        for job in draft.waiting():
            if draft.now_seconds < 2:
                draft.explain(job, "the sun does not shine", light_ratio=draft.now_seconds)
            elif draft.now_seconds < 3:
                draft.explain(job, "no power", kind="power", watts=7.0)
            else:
                draft.try_start(job)

    scheduler = make_scheduler(make_cluster("hgx"), policy=Policy("sunny", plan, file=__file__))
    (slot,) = submit(scheduler, Job(1, 0, 8, 100))
    plan_at(scheduler, 1)
    assert explain_pending(scheduler, slot) == Reason("policy", "the sun does not shine", {"light_ratio": 1.0}, 0)
    assert pending_by_reason(scheduler)[0]["policy"] == 1
    plan_at(scheduler, 2)
    assert explain_pending(scheduler, slot) == Reason("power", "no power", {"watts": 7.0}, 0)
    assert pending_by_reason(scheduler)[1] == dict.fromkeys(KINDS, 0.0) | {"power": 8.0}
    assert plan_at(scheduler, 3)[0] == [1]
    assert not scheduler.draft.whys


def test_a_policy_explains_only_who_waits_and_in_known_kinds() -> None:
    def plan(draft: Draft) -> None:
        for job in draft.waiting():
            draft.try_start(job)
            draft.explain(job, "why not")

    scheduler = make_scheduler(make_cluster("hgx"), policy=Policy("odd", plan, file=__file__))
    submit(scheduler, Job(1, 0, 8, 100))
    with pytest.raises(PolicyError, match=r"policy odd, line \d+: breaks the rule pending: job 1 does not wait"):
        scheduler.plan(0)
    (slot,) = submit(scheduler, Job(2, 0, 8, 100))
    with pytest.raises(ValueError, match="kind is 'mood'; allowed: quota, capacity, "):
        scheduler.draft.explain(job_of(scheduler.table, slot, running=False), "no", kind="mood")


# -- hold and release ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "carbon-aware"])  # which waits for cleaner power
def test_a_job_on_hold_is_in_nobodys_way_and_comes_back_to_its_place(policy: str) -> None:
    """128 GPUs: job 1 needs all of them, 2 and 3 half each, for longer by their estimates than job 1."""
    scheduler = make_scheduler(make_cluster("hgx"), policy=policy)
    first, second, third = submit(scheduler, Job(1, 0, 128, 50), Job(2, 0, 128, 100), Job(3, 0, 128, 200))
    scheduler.put_on_hold(first)
    assert explain_pending(scheduler, first) == Reason("hold", "on hold", {}, -1, "may start once it is released: gigawatt job release 1")
    with pytest.raises(Refused, match="job 1 is on hold") as refused:
        scheduler.ledger.start(first, [(0, 0xFFFF, 0xFF)], 0)
    assert refused.value.rule == Rule.HOLD
    assert plan_at(scheduler, 0)[0] == [2]
    assert scheduler.pending_jobs == scheduler.counts[0].pending_jobs == 2
    assert scheduler.waits(first)
    scheduler.take_off_hold(first)
    assert not scheduler.table.on_hold
    end(scheduler, second, 10)
    scheduler.table.state[second] = State.FINISHED
    assert plan_at(scheduler, 10)[0] == [1]
    scheduler.put_on_hold(third)
    scheduler.cancel_pending(third)
    assert not scheduler.table.on_hold
    assert scheduler.pending_jobs == 0


@pytest.mark.parametrize("policy", ["fifo", "sjf", "easy", "drf"])
def test_who_is_on_hold_changes_nothing_for_others(policy: str) -> None:
    """A run with jobs that come, are held before the next cycle and never released is the run without them."""
    draw = random.Random(policy)
    jobs = [Job(number, 0, draw.choice([1, 8, 16, 40, 128]), draw.randrange(5, 60), priority=draw.randrange(2)) for number in range(60)]
    starts: list[list[list[int]]] = []
    for with_held in (False, True):
        scheduler = make_scheduler(make_cluster("hgx"), policy=policy)
        slots = submit(scheduler, *(job for job in jobs if with_held or job.number % 3))
        for slot in slots:
            if scheduler.table.job_id[slot] % 3 == 0:
                scheduler.put_on_hold(slot)
        starts.append(_run_out(scheduler))
    assert starts[0] == starts[1]
    assert sum(map(len, starts[0])) == 40


def _run_out(scheduler: Scheduler) -> list[list[int]]:
    """Cycles of a second until nobody waits who may start; who started in each."""
    table, starts = scheduler.table, list[list[int]]()
    for now in range(5_000):
        for slot in sorted(scheduler.running):
            if table.start_ns[slot] + table.duration_ns[slot] <= now * SECOND:
                end(scheduler, slot, now)
                table.state[slot] = State.FINISHED
        starts.append(plan_at(scheduler, now)[0])
        if not scheduler.running:
            return starts
    raise AssertionError("it does not end")


# -- random states ------------------------------------------------------------------------------------------------------------------


def _plain_kind(cluster: Cluster, partition: Partition, gpus: int, level: int) -> str:
    """By the definitions, from the free GPUs of each host."""
    per_host = partition.free.gpus_per_host
    free = {host: partition.free.free_mask(host).bit_count() for host in range(cluster.host_count)}
    whole, rest = divmod(gpus, per_host)

    def fits(hosts: list[int]) -> bool:
        idle = sum(free[host] == per_host for host in hosts)
        return idle > whole or (idle == whole and (not rest or any(rest <= free[host] < per_host for host in hosts)))

    if sum(free.values()) < gpus:
        return "capacity"
    if not fits(list(free)):
        return "fragmentation"
    if level == ANY_LEVEL or -(-gpus // per_host) == 1:
        return ""
    units: dict[int, list[int]] = {}
    there = [one.name for one in cluster.levels]
    name = next(name for name in LEVEL_NAMES[level:] if name in there)
    for host, unit in enumerate(cluster.level(name).host_unit.tolist()):
        units.setdefault(unit, []).append(host)
    return "" if any(map(fits, units.values())) else "topology"


@pytest.mark.parametrize("name", PLANS)
def test_kinds_and_numbers_are_what_counting_host_by_host_gives(name: str) -> None:
    cluster, draw = make_cluster(name), random.Random(name)
    per_host = cluster.host_types[0].gpus
    seen, remedies = Counter[str](), 0
    for _ in range(12):
        scheduler = make_scheduler(cluster, policy=draw.choice(["fifo", "easy"]))
        free = scheduler.partitions[0].free
        rows = []
        for host in draw.sample(range(cluster.host_count), draw.randrange(cluster.host_count)):
            block = free.host_block[host]
            rows.append((block, 1 << (host - free.first_host[block]), draw.choice([free.full, draw.randrange(1, free.full + 1)])))
        free.take(rows)
        held = [row for row in rows if row[2] == free.full]
        for number in range(20):
            gpus, level = draw.randint(1, cluster.gpu_count), draw.choice([ANY_LEVEL, RACK, LEAF, POD])
            gpus = min(gpus, draw.choice([gpus, 3 * per_host, 6 * per_host]))
            (slot,) = submit(scheduler, Job(number, 0, gpus, 10, require=level))
            if scheduler.table.state[slot] == State.PENDING:
                reason = explain_pending(scheduler, slot)
                kind = _plain_kind(cluster, scheduler.partitions[0], gpus, level)
                assert reason.kind == (kind or "priority")
                seen[reason.kind] += 1
                if kind == "topology":
                    _check_units(cluster, scheduler.partitions[0], level, reason)
                elif kind and len(held) > reason.numbers["whole_hosts_missing"]:
                    remedies += 1
                    _check_remedy(free, gpus, level, int(reason.numbers["whole_hosts_missing"]), held)
                scheduler.cancel_pending(slot)
    assert {"capacity", "topology", "priority"} <= set(seen)
    assert remedies


def _check_remedy(free: FreeIndex, gpus: int, level: int, missing: int, held: list[Row]) -> None:
    """With so many of the held hosts, and one for the rest where no host has it, such a job fits, levels apart; with fewer it does not."""
    fewer = held[: max(0, missing - 1)]
    free.give(fewer)
    assert lacks(free, gpus, 1000, level) in ("capacity", "fragmentation")
    free.take(fewer)
    rest = gpus % free.gpus_per_host
    enough = held[: missing + (rest > 0 and free.split_host(rest) < 0)]
    free.give(enough)
    assert lacks(free, gpus, 1000, level) in ("", "topology")
    free.take(enough)


def _check_units(cluster: Cluster, partition: Partition, level: int, reason: Reason) -> None:
    free = partition.free
    there = [one.name for one in cluster.levels]
    unit = cluster.level(next(name for name in LEVEL_NAMES[level:] if name in there)).host_unit.tolist()
    whole = Counter(unit[host] for host in range(cluster.host_count) if free.free_mask(host) == free.full)
    assert reason.numbers["units"] == len(set(unit))
    assert reason.numbers["units_with_free_hosts"] == len(whole)
    assert reason.numbers["unit_whole_hosts_free_most"] == max(whole.values(), default=0)
    assert reason.numbers["unit_hosts_most"] == max(Counter(unit).values())


def test_the_backlog_is_the_sum_of_the_reasons() -> None:
    """With quotas, limits, strict queues and jobs on hold, also under policies with an order of their own, and with several host types."""
    seen = sum(map(_seen_in_backlog, range(8)), Counter[str]())
    assert {"quota", "capacity", "hold", "priority"} <= set(seen)


def _seen_in_backlog(seed: int) -> Counter[str]:
    draw = random.Random(seed)
    rules = random_rules(draw)
    scheduler = rules.scheduler(draw.choice(["fifo", "easy", "drf"]))
    run, seen = Run(scheduler, seed, [queue.name for queue in rules.queues]), Counter[str]()
    for _ in range(40):
        table = scheduler.table
        for slot in sorted(table.on_hold | set(scheduler.queued()), key=table.job_id.__getitem__):
            if draw.random() < 0.05:
                (scheduler.take_off_hold if slot in table.on_hold else scheduler.put_on_hold)(slot)
        run.cycle()
        jobs, gpus = Counter[str](), Counter[str]()
        for slot in {*table.on_hold, *scheduler.queued()}:
            kind = explain_pending(scheduler, slot).kind
            jobs[kind] += 1
            gpus[kind] += table.gpus[slot] * table.milli_gpus[slot]
        assert pending_by_reason(scheduler) == ({kind: jobs[kind] for kind in KINDS}, {kind: gpus[kind] / 1000 for kind in KINDS})
        assert sum(jobs.values()) == scheduler.pending_jobs == sum(count.pending_jobs for count in scheduler.counts)
        seen += jobs
    return seen


@pytest.mark.parametrize("name", ["hgx", "pods", "small-racks", "nvl72"])
def test_the_first_in_a_strict_queue_starts_when_it_is_told(name: str) -> None:
    """Where estimates are exact and nobody comes in between."""
    cluster, draw = make_cluster(name), random.Random(name)
    checked = 0
    for _ in range(8):
        scheduler = make_scheduler(cluster, policy="fifo")
        jobs = (
            Job(number, 0, draw.randint(1, cluster.gpu_count // 3), draw.randint(1, 60), require=draw.choice([ANY_LEVEL, RACK, LEAF]))
            for number in range(40)
        )
        submit(scheduler, *jobs)
        plan_at(scheduler, 0)
        first = scheduler.partitions[0].pending.head()
        if first < 0:
            continue
        found = outlook(scheduler, first, 0)
        assert found is not None
        _run_out(scheduler)
        assert scheduler.table.start_ns[first] == found.at_ns
        checked += 1
    assert checked > 4


def test_a_job_of_two_types_has_a_reason_for_each() -> None:
    cluster = two_types("leaves")
    scheduler = make_scheduler(cluster, policy="fifo")
    for partition in scheduler.partitions:
        partition.free.take([(block, mask, partition.free.full) for block, mask in enumerate(partition.free.block_free) if mask])
    (slot,) = submit(scheduler, Job(1, 0, 4, 10))
    reason = explain_pending(scheduler, slot)
    one, two = (partition.name for partition in scheduler.partitions)
    assert reason.text == f"needs 4 GPUs, 0 are free in {one}; needs 4 GPUs, 0 are free in {two}"
    assert reason.remedy == f"fits when 4 GPUs of one host in {one} are free; or fits when 1 more whole host in {two} is free"
