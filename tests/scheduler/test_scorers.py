"""Scorers of hosts against the plain scores; and as placements: like a search over all hosts, and never less able than ``topology``."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.scheduler.free import FreeIndex, Row, mask_bits
from emulator.scheduler.placement import Ask
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.placements.topology import place as topology
from emulator.scheduler.scored import whole_hosts
from emulator.scheduler.scoring import Hosts, Setting, Task, fitting
from emulator.scheduler.shares import hold, let_go
from emulator.scheduler.typical import Shape, typical
from emulator.workload.jobs import LEVEL_NAMES
from tests.scheduler.drive import PLANS, make_cluster
from tests.scheduler.plain_scores import PlainHost, PlainTask, best_hosts, gpus_on, score, usual

SCORERS = {name: placement.scorer for name, placement in PLACEMENTS.items() if placement.scorer is not None}
MODELS = ("A100", "T4")
#: (GPUs, milli-GPU of each)
sizes = st.sampled_from([(0, 0), (1, 1000), (2, 1000), (4, 1000), (8, 1000), (1, 50), (1, 250), (1, 460), (1, 500), (1, 900)])
cpus = st.integers(0, 12).map(lambda cores: 4_000 * cores)
specs = st.sampled_from(["", "A100", "T4", "A100|T4", "V100", "|"])
plain_tasks = st.builds(lambda size, cpu, spec: PlainTask(size[0], size[1], cpu, spec), sizes, cpus, specs)
rooms = st.lists(st.sampled_from([0, 40, 250, 500, 540, 1000, 1000]), min_size=1, max_size=8)
sorts = st.sets(st.sampled_from(["part", "1-gpu", "2-gpu", "8-gpu"]), max_size=2)
hosts = st.builds(PlainHost, rooms, st.integers(0, 24).map(lambda cores: 4_000 * cores), sorts, st.sampled_from(MODELS))


def models_of(spec: str) -> int:
    return sum(1 << (MODELS.index(model) if model in MODELS else 3) for model in set(spec.split("|")) - {""})


def task_of(plain: PlainTask) -> Task:
    return Task(plain.gpus, plain.milli, plain.cpu, models_of(plain.spec) if plain.gpus else 0)


def sorts_of(plain: PlainHost) -> int:
    return sum(1 if sort == "part" else 1 << int(sort[0]) for sort in plain.sorts)


def columns(plain: list[PlainHost]) -> Hosts:
    return Hosts(
        np.array([host.rooms + [0] * (8 - len(host.rooms)) for host in plain], np.int64),
        np.array([len(host.rooms) for host in plain], np.int64),
        np.array([host.cpu for host in plain], np.int64),
        np.array([sorts_of(host) for host in plain], np.int64),
        np.array([MODELS.index(host.model) for host in plain], np.int64),
    )


@pytest.mark.parametrize("name", SCORERS)
@given(plain=st.lists(hosts, min_size=1, max_size=6), task=plain_tasks, trace=st.lists(plain_tasks, min_size=1, max_size=12))
@settings(max_examples=120, deadline=None)
def test_against_the_plain_scores(name: str, plain: list[PlainHost], task: PlainTask, trace: list[PlainTask]) -> None:
    frequency: dict[Shape, int] = {}
    for one in trace:
        shape = Shape(one.cpu, one.milli, one.gpus, one.spec, task_of(one).models)
        frequency[shape] = frequency.get(shape, 0) + 1
    scorer, given_task, all_hosts = SCORERS[name], task_of(task), columns(plain)
    setting = Setting(typical=typical(frequency))
    fits = fitting(all_hosts, given_task) & (all_hosts.cpu_milli >= given_task.cpu_milli)
    assert fits.tolist() == [host.fits(task) for host in plain]
    holding = np.flatnonzero(fits)
    scores = scorer.score(all_hosts.of(holding), given_task, setting)
    assert scores.tolist() == [score(name, plain[number], task, usual(trace)) for number in holding]
    every = np.full(len(plain), -1)
    every[holding] = scores
    assert scorer.best(every).tolist() == best_hosts(name, plain, task, usual(trace))
    if 0 < task.milli < 1000 and task.gpus and name != "random":
        for number in holding.tolist():
            assert [scorer.gpu(all_hosts.of(np.array([number])), given_task, setting)] == gpus_on(name, plain[number], task, usual(trace))


def test_published_numbers() -> None:
    """Of one host of 8 GPUs, of which one has 500 milli-GPU left and one is idle, for half a GPU."""
    host, half = PlainHost([500, 1000, 0, 0, 0, 0, 0, 0], sorts={"part"}, model="T4"), Task(1, 500)
    found = {name: SCORERS[name].score(columns([host]), half, Setting())[0] for name in SCORERS if name != "fgd"}
    assert found == {
        "best-fit": 93,  # 1 - 1000 / 8000 / 2
        "worst-fit": 100_000,
        "dot-product": 99,  # 1 - 1500 / 8000 * 500 / 8000 / 2
        "gpu-clustering": 95,  # 75 + 25 * 6500 / 8000
        "gpu-packing": 95,  # 100 - 50 / 10
        "random": 0,
    }
    whole = Setting(typical=typical({Shape(0, 1000, 1): 1}))
    # A task of a whole GPU loses nothing by the 500 milli-GPU, and a whole GPU by half of the idle one.
    assert SCORERS["fgd"].score(columns([host]), half, whole).tolist() == [62]  # 100 / (1 + exp(-0.5))
    assert SCORERS["fgd"].gpu(columns([host]), half, whole) == 0


# -- as placements ----------------------------------------------------------------------------------------------------------------


def random_holds(draw: random.Random, index: FreeIndex) -> Iterator[tuple[list[Row], int]]:
    """Jobs that are given whatever is free, so that hosts are in all sorts of states."""
    busy = draw.random()
    for host in range(index.host_count):
        block = index.host_block[host]
        for gpu in range(index.gpus_per_host):
            if draw.random() < busy:
                milli = draw.choice((1000, 1000, 250, 460, 500))
                rows = [(block, 1 << (host - index.first_host[block]), 1 << gpu)]
                hold(index, rows, milli)
                yield rows, milli
        if draw.random() < 0.05:
            index.withdraw(host)


def plain_hosts(index: FreeIndex) -> list[PlainHost]:
    sorts = index.host_states().state_of
    found = []
    for host in range(index.host_count):
        usable = index.free_mask(host) or (host in index.split and index.is_offered(host))
        bits = sorts[host][1] if host in sorts else 0
        rooms = list(index.rooms(host)) if usable else [0] * index.gpus_per_host
        found.append(PlainHost(rooms, sorts={"part" if bit == 0 else f"{bit}-gpu" for bit in mask_bits(bits)}))
    return found


@pytest.mark.parametrize("name", SCORERS)
@pytest.mark.parametrize("plan", ["hgx", "nvl72", "small-racks"])
def test_a_job_of_less_than_a_host_is_as_if_all_hosts_were_scored(name: str, plan: str) -> None:
    draw = random.Random(f"{name} {plan}")
    for _ in range(6):
        index = FreeIndex(make_cluster(plan))
        index.host_states()
        held = list(random_holds(draw, index))
        asked = [draw.choice(((1, 1000), (2, 1000), (1, 460), (1, 500))) for _ in range(30)]
        for gpus, milli in asked:
            index.host_states().ask(gpus, milli)
        trace = usual([PlainTask(gpus, milli) for gpus, milli in asked])
        for job in range(12):
            gpus, milli = draw.choice(((1, 1000), (2, 1000), (3, 1000), (1, 460), (1, 100)))
            task, plain = PlainTask(gpus, milli), plain_hosts(index)
            rows = PLACEMENTS[name].place(index, Ask(gpus, milli, job_id=job))
            best = best_hosts(name, plain, task, trace)
            assert (rows is None) == (not best)
            if rows is None:
                continue
            ((block, hosts, mask),) = rows
            host = index.first_host[block] + hosts.bit_length() - 1
            split = [one for one in best if one in index.split]
            assert host in best
            if name != "random":
                assert host == split[0] if split else host in best
                expected = gpus_on(name, PlainHost(list(plain[host].rooms)), task, trace)
                assert list(mask_bits(mask)) == expected
            hold(index, rows, milli)
            held.append((rows, milli))
            if draw.random() < 0.4:
                let_go(index, *held.pop(draw.randrange(len(held))))
        fresh = FreeIndex(make_cluster(plan))
        for host in range(index.host_count):
            if not index.is_offered(host):
                fresh.withdraw(host)
        fresh.host_states()
        for rows, milli in held:
            hold(fresh, rows, milli)
        assert fresh.host_states().state_of == index.host_states().state_of
        assert fresh.host_states().hosts_in == index.host_states().hosts_in


@pytest.mark.parametrize("plan", PLANS)
def test_every_placement_is_as_able_as_topology(plan: str) -> None:
    """And takes GPUs that are free, each once, in one unit of the level required; taking and giving back restores the index."""
    draw = random.Random(plan)
    cluster = make_cluster(plan)
    for _ in range(12):
        index = FreeIndex(cluster)
        index.host_states()
        list(random_holds(draw, index))
        per_host = index.gpus_per_host
        for name, placement in PLACEMENTS.items():
            gpus = draw.choice((draw.randint(1, 3 * per_host), draw.randint(1, cluster.gpu_count), 6 * per_host))
            milli = draw.choice((1000, 1000, 460)) if gpus == 1 else 1000
            require, prefer = draw.choice((-1, draw.randrange(7))), draw.choice((-1, draw.randrange(7)))
            rows = placement.place(index, Ask(gpus, milli, require, prefer, job_id=draw.randrange(99)))
            able = topology(index, Ask(gpus, milli, require, prefer))
            assert name == "spread" or (rows is None) == (able is None)
            if rows is None:
                continue
            given = [(index.first_host[block] + bit, mask) for block, mask_of, mask in rows for bit in mask_bits(mask_of)]
            assert sum(mask.bit_count() for _, mask in given) == gpus
            assert len({host for host, _ in given}) == len(given)
            for host, mask in given:
                assert index.is_offered(host)
                assert all(index.rooms(host)[gpu] >= milli for gpu in mask_bits(mask))
            level = next((one for one in LEVEL_NAMES[require:] if require >= 0 and one in {known.name for known in cluster.levels}), None)
            if level is not None and gpus > per_host:
                assert len({int(cluster.level(level).host_unit[host]) for host, _ in given}) == 1
            before = index.free_gpus, index.whole, list(index.block_free), dict(index.split), dict(index.host_states().state_of)
            hold(index, rows, milli)
            let_go(index, rows, milli)
            assert before == (index.free_gpus, index.whole, index.block_free, index.split, index.host_states().state_of)


def test_whole_hosts_by_number() -> None:
    index = FreeIndex(make_cluster("leaves"))
    list(random_holds(random.Random(5), index))
    top = len(index.levels) - 1
    everything = [
        index.first_host[block] + bit for block, mask, _ in whole_hosts(index, top, 0, list(range(index.whole))) for bit in mask_bits(mask)
    ]
    free = [host for host in range(index.host_count) if index.free_mask(host) == index.full]
    assert everything == free
    for number, host in enumerate(free):
        ((block, mask, gpus),) = whole_hosts(index, top, 0, [number])
        assert (index.first_host[block] + mask.bit_length() - 1, gpus) == (host, index.full)


def test_draws_are_even() -> None:
    """One GPU of 128 idle ones, 4,000 times: every host and every GPU comes up."""
    index = FreeIndex(make_cluster("hgx"))
    place = PLACEMENTS["random"].place
    found = [place(index, Ask(1, 500, job_id=job)) for job in range(4_000)]
    counts: dict[tuple[int, int, int], int] = {}
    for rows in found:
        assert rows is not None
        counts[rows[0]] = counts.get(rows[0], 0) + 1
    assert len(counts) == 128
    assert 10 <= min(counts.values()) <= max(counts.values()) <= 60  # 31 expected, a standard deviation is 5.6
