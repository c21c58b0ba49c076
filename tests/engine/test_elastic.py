"""Jobs that may run with fewer GPUs than they ask for: their sizes, what they take, and that nothing is lost when they change."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine import views
from emulator.engine.commands import BreakHosts
from emulator.engine.engine import Engine
from emulator.engine.gpu_time import HELD, gpu_seconds, held_time
from emulator.engine.moments import slowdown
from emulator.scheduler.draft import Draft
from emulator.scheduler.elastic import Elastic
from emulator.scheduler.policy import Policy
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.sizes import largest, sizes_of
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobColumns, TrainingShape, job_columns
from tests.engine.random_work import Manner, Work, run_work, work
from tests.engine.small import clos, ends, engine, fingerprint, run, run_until, training
from tests.engine.test_properties import check_sums
from tests.scheduler.test_every_policy import gpus_are_held_once

OVERHEAD = 40


def gangs(gpus: list[int], min_gpus: list[int], seconds: list[int], submit: list[int] | int = 0) -> JobColumns:
    times = np.array(seconds) * SECOND
    return job_columns(len(gpus), submit_ns=np.array(submit) * SECOND, gpus=gpus, min_gpus=min_gpus, duration_ns=times)


def sizes_held(made: Engine) -> dict[int, int]:
    return {made.table.job_id[slot]: made.table.size_gpus[slot] for slot in made.scheduler.running}


# -- sizes --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("least", "most", "cut", "per_host", "expected"),
    [
        (8, 32, 0, 8, [8, 16, 24, 32]),  # whole hosts
        (4, 8, 0, 8, [4, 5, 6, 7, 8]),
        (12, 16, 0, 8, [12, 13, 14, 15, 16]),  # 12 are no whole hosts, so parts of hosts are allowed
        (16, 64, 16, 8, [16, 32, 48, 64]),  # slices
        (12, 24, 12, 8, [12, 24]),
    ],
)
def test_sizes_are_whole_hosts_and_slices(least: int, most: int, cut: int, per_host: int, expected: list[int]) -> None:
    sizes = sizes_of(least, most, cut, None)
    assert sizes is not None
    assert list(sizes.up_to(most, per_host)) == expected
    assert [gpus for gpus in range(2 * most) if sizes.allows(gpus, per_host)] == expected


def test_sizes_of_training_are_whole_replicas() -> None:
    shape = TrainingShape(1.0, 0.0, 0.0, 0.0, 0.0, replica_gpus=16, expert_gpus=32)
    sizes = sizes_of(32, 128, 0, shape)
    assert sizes is not None
    assert list(sizes.up_to(100, 8)) == [32, 64, 96]
    assert sizes_of(120, 128, 0, shape) is None, "there is none below 128"


@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 4), st.integers(0, 200))
def test_the_largest_that_fits_is_found(first: int, count: int, step: int, room: int) -> None:
    sizes = range(first, first + count * step, step)
    found = largest(sizes, lambda gpus: [(gpus, 1, 1)] if gpus <= room else None)
    fitting = [gpus for gpus in sizes if gpus <= room]
    assert found == ([(fitting[-1], 1, 1)] if fitting else None)


# -- the size at the start ----------------------------------------------------------------------------------------------------------


def test_a_job_starts_with_what_is_free_and_takes_longer_in_proportion() -> None:
    """4 hosts: job 0 has 16 GPUs until 1,000 s; job 1 asks for 32, or 8 at least, and gets 16: twice 600 s."""
    made = run(engine(clos(4), [gangs([16, 32], [0, 8], [1000, 600])]))
    assert ends(made) == {0: 1000, 1: 1200}
    assert made.table.first_start_ns[1] == 0
    held = held_time(made.table, range(2), made.now_ns)
    assert held[0] == 1000 * (16 * 1000 + 32 * 600) * SECOND
    assert made.table.estimate_ns[1] == 1200 * SECOND, "and is expected to"


def test_a_job_waits_for_the_least_of_its_sizes_and_says_so() -> None:
    made = engine(clos(4), [gangs([24, 32], [0, 16], [1000, 600])])
    run_until(made, 0)
    why = views.explanation(made, 1)
    assert why.text == "needs 16 GPUs at least: 8 are free"
    assert why.numbers["gpus_needed"] == 16
    run(made)
    assert ends(made) == {0: 1000, 1: 1600}, "then with all of them"


def test_easy_reserves_for_the_least_and_expects_the_time_that_it_takes() -> None:
    """Job 1 needs 16 GPUs at 1,000 s, when 24 come free: 8 GPUs may be held beyond that, and 16 may not."""
    jobs = gangs([24, 32, 8, 8], [0, 16, 0, 0], [1000, 600, 5000, 900])
    made = engine(clos(4), [jobs], policy="easy")
    run_until(made, 0)
    assert sizes_held(made) == {0: 24, 2: 8}
    shadow = made.scheduler.partitions[0].shadow
    assert shadow is not None
    assert shadow.time_ns == 1000 * SECOND
    run_until(made, 1000 * SECOND)
    assert sizes_held(made)[1] == 24, "all that is free"


def test_easy_starts_a_job_behind_the_head_with_its_minimum_where_more_would_delay_it() -> None:
    """6 hosts, of which job 0 has 4 until 1,000 s. Where job 1 needs 32 GPUs then, job 2 may have 16 beyond that; where 40, only 8."""
    jobs = gangs([32, 40, 16, 8], [0, 32, 8, 0], [1000, 600, 5000, 5000])
    made = engine(clos(6), [jobs], policy="easy")
    run_until(made, 0)
    assert sizes_held(made) == {0: 32, 2: 16}
    jobs = gangs([32, 40, 16, 8], [0, 40, 8, 0], [1000, 600, 5000, 5000])
    made = engine(clos(6), [jobs], policy="easy")
    run_until(made, 0)
    assert sizes_held(made) == {0: 32, 2: 8}


@pytest.mark.parametrize(("seconds", "end"), [(400, 400), (600, 1800)])
def test_conservative_starts_with_the_largest_size_that_delays_nobody(seconds: int, end: int) -> None:
    """6 hosts: 24 GPUs are free until job 1 has 40 of 48, from 500 s on. Job 2 has them all where it ends by then, otherwise the 8 that
    nobody needs.
    """
    made = run(engine(clos(6), [gangs([24, 40, 24], [0, 0, 8], [500, 500, seconds])], policy="conservative"))
    assert ends(made) == {0: 500, 1: 1000, 2: end}


@pytest.mark.parametrize("policy", ["easy", "conservative", "las"])
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 100))
def test_with_never_all_is_as_without_a_minimum(policy: str, seed: int) -> None:
    given_work, elastic = elastic_work(seed)
    expected = run_work(given_work, seed, policy, Manner())
    made = run_work(elastic, seed, policy, Manner(), Elastic.NEVER)
    assert fingerprint(made) == fingerprint(expected)
    assert made.chronicle.events == expected.chronicle.events


def elastic_work(seed: int) -> tuple[Work, Work]:
    """Random work of one size, and the same with a minimum for about half of its jobs."""
    plain = work(seed)
    draw = np.random.default_rng(seed)
    gpus = plain.jobs.gpus
    least = np.where(
        (plain.jobs.milli_gpus == 1000) & (draw.random(len(gpus)) < 0.5), np.maximum(1, gpus // draw.integers(1, 5, len(gpus))), 0
    )
    return plain, replace(plain, jobs=replace(plain.jobs, min_gpus=np.where(least < gpus, least, 0).astype(np.int32)))


# -- sizes that change --------------------------------------------------------------------------------------------------------------


def test_running_jobs_shrink_for_one_that_waits_and_grow_again() -> None:
    """4 hosts. Job 0 asks for 32 GPUs, or 8 at least, and has 3,200 s of work; job 1, for 16 GPUs, comes at 100 s. So job 0 goes on with 8
    at 100 s, as everywhere after 40 s to restart. 10 min later it takes the 8 that are left, and 10 min later all of them, since job 1 has
    ended. By 1,300 s it has done 100 s, 560 / 4 s and 560 / 2 s of its work.
    """
    made = engine(clos(4), [gangs([32, 16], [8, 0], [3200, 1000], [0, 100])], elastic=Elastic.ALWAYS, restart_overhead_ns=OVERHEAD * SECOND)
    run_until(made, 100 * SECOND)
    assert sizes_held(made) == {0: 8, 1: 16}
    assert "with 8 of 32 GPUs (shrank from 32 GPUs, for job 1)" in views.explanation(made, 0).text
    assert views.job_view(made, 0).held_gpus == 8
    run(made)
    assert ends(made) == {1: 1100, 0: 1300 + OVERHEAD + 3200 - 520}
    assert (made.chronicle.resizes, made.chronicle.migrations, made.chronicle.preemptions) == (3, 0, 0)
    held = dict(zip(HELD, held_time(made.table, range(2), made.now_ns), strict=True))
    assert held["productive"] == pytest.approx(1000 * SECOND * (32 * 3200 + 16 * 1000), rel=1e-12)
    assert held["redone"] == 0
    assert held["restarting"] == pytest.approx(1000 * SECOND * OVERHEAD * (8 + 16 + 32), rel=1e-9)


def test_nobody_shrinks_in_vain_and_nobody_grows_too_soon() -> None:
    """Job 1 needs 32 GPUs, of which job 0 cannot give back 8. Job 2 leaves 16 GPUs at 300 s, which job 3 has until 500 s."""
    made = engine(clos(4), [gangs([32, 32], [8, 0], [3200, 100], [0, 100])], elastic=Elastic.ALWAYS)
    run_until(made, 3000 * SECOND)
    assert sizes_held(made) == {0: 32}
    assert made.chronicle.resizes == 0
    made = engine(clos(4), [gangs([16, 32], [0, 8], [300, 3200])], elastic=Elastic.ALWAYS)
    run_until(made, 599 * SECOND)
    assert sizes_held(made) == {1: 16}
    run_until(made, 600 * SECOND)
    assert sizes_held(made) == {1: 32}, "10 min after its start"


def test_a_job_that_loses_a_host_starts_again_with_what_is_left() -> None:
    made = engine(clos(4), [gangs([32], [8], [3200])], elastic=Elastic.ALWAYS, restart_overhead_ns=OVERHEAD * SECOND)
    made.post(BreakHosts(0, 1, 600 * SECOND), 100 * SECOND)
    run_until(made, 150 * SECOND)
    assert sizes_held(made) == {0: 24}
    run(made)
    assert made.chronicle.restarts == 1
    assert made.chronicle.resizes == 1, "it grows once the host is back"
    assert made.table.size_gpus[0] == 32


def test_a_training_job_works_in_proportion_to_its_replicas_and_waits_for_the_network_that_it_has() -> None:
    """On one host the ring needs no trunk; the speed of a job on several is what the network makes of its rows (`test_contention`)."""
    jobs = replace(training(1, gpus=48, duration_ns=1000 * SECOND), min_gpus=np.array([8], np.int32))
    cluster = clos(6, array_hosts=2, leaf_oversubscription=2)
    made = engine(cluster, [jobs])
    for host in range(2, 6):
        made.scheduler.ledger.withhold(host, next(iter(made.scheduler.ledger._withheld)))
    run_until(made, 0)
    assert sizes_held(made) == {0: 16}
    assert made.table.duration_ns[0] == 3000 * SECOND
    assert made.table.lives.speed[0] == made.network.speed(0)
    run(made)
    assert slowdown(made, 0, made.now_ns) >= 1.0
    assert made.table.lives.work_ns[0] == 3000 * SECOND


def resizing(draw: random.Random) -> Policy:
    """Starts what fits, and gives running jobs any of their sizes; takes some of that back, and tries what is not allowed."""

    def plan(draft: Draft) -> None:
        for job in draft.waiting():
            draft.try_start(job)
        table = draft.table
        before, mark, undone = standing(draft), draft.mark(), draw.random() < 0.5
        for _ in range(1 + undone):
            for partition in draft.ledger.partitions:
                for slot in sorted(partition.running):
                    if slot in table.sizes and table.start_ns[slot] < draft.now_ns and draw.random() < 0.4:
                        resize(draft, slot, draw)
            if not undone:
                break
            draft.undo(mark)
            assert standing(draft) == before, "all as it was"
            undone = False

    def resize(draft: Draft, slot: int, draw: random.Random) -> None:
        table, partition = draft.table, draft.ledger.partition_of(slot)
        sizes = list(table.sizes[slot].up_to(table.gpus[slot], partition.free.gpus_per_host))
        mark = draft.mark()
        draft.lift(slot)
        rows = draft.choose(partition, slot, draw.choice(sizes))
        draft.undo(mark)
        if rows is None:
            return
        block, hosts, mask = rows[0]
        if not table.sizes[slot].allows(table.size_gpus[slot], partition.free.gpus_per_host):
            raise AssertionError("a size that is not allowed")
        if table.sizes[slot].step(8) % 8 == 0:
            state = standing(draft)
            with pytest.raises(Refused) as refused:
                draft.resize(slot, [(block, hosts & -hosts, mask & -mask)])
            assert refused.value.rule == Rule.SIZE
            assert standing(draft) == state
        draft.resize(slot, rows, "at random")

    return Policy("resizing", plan, file=__file__)


def standing(draft: Draft) -> object:
    table, ledger = draft.table, draft.ledger
    running = sorted(slot for partition in ledger.partitions for slot in partition.running)
    return (
        [(slot, sorted(table.rows[slot]), table.size_gpus[slot], table.start_ns[slot], table.expected_ns[slot]) for slot in running],
        [(partition.free.free_gpus, list(partition.free.block_free), dict(partition.free.split)) for partition in ledger.partitions],
        sorted(draft.migrated),
    )


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_however_sizes_change_work_is_gpu_time_and_nothing_is_lost(seed: int) -> None:
    draw = random.Random(seed)
    count = 8
    gpus = [draw.choice([4, 8, 16, 24, 40, 64]) for _ in range(count)]
    least = [draw.choice([0, *range(1, size)]) for size in gpus]
    seconds = [draw.randrange(100, 1500) for _ in range(count)]
    submit = sorted(draw.randrange(600) for _ in range(count))
    made = engine(clos(8), [gangs(gpus, least, seconds, submit)], policy=resizing(draw), restart_overhead_ns=OVERHEAD * SECOND)
    overhead = 0
    while made.has_work():
        made.run_cycle(made.next_cycle_ns())
        gpus_are_held_once(made.scheduler)
        check_sums(made)
        overhead += sum(
            made.table.size_gpus[slot]
            for slot in made.scheduler.running
            if slot in made.table.sizes and made.table.lives.ahead_ns[slot] and made.table.start_ns[slot] == made.now_ns
        )
    assert set(made.table.state) == {State.FINISHED}
    held = dict(zip(HELD, held_time(made.table, range(count), made.now_ns), strict=True))
    assert held["productive"] == pytest.approx(1000 * SECOND * sum(a * b for a, b in zip(gpus, seconds, strict=True)), rel=1e-9)
    assert held["network_wait"] == pytest.approx(0, abs=1e6)
    assert held["redone"] == 0
    assert held["restarting"] <= 1000 * SECOND * OVERHEAD * overhead * (1 + 1e-9)
    parts = gpu_seconds(held.values(), made.meter, made.now_ns)
    assert sum(parts.values()) == pytest.approx(made.meter.gpu_seconds(made.now_ns), rel=1e-9)


@pytest.mark.parametrize("policy", ["fifo", "easy", "conservative", "las"])
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 100))
def test_books_add_up_with_faults_preemption_and_contention(policy: str, seed: int) -> None:
    def look(made: Engine, due_ns: int) -> None:
        check_sums(made, due_ns)
        gpus_are_held_once(made.scheduler)

    made = run_work(elastic_work(seed)[1], seed, policy, Manner(look=look), Elastic.ALWAYS)
    table = made.table
    for slot, sizes in table.sizes.items():
        per_host = made.scheduler.partitions[0].free.gpus_per_host
        assert table.state[slot] == State.FUTURE or sizes.allows(table.size_gpus[slot], per_host)
        if table.state[slot] == State.FINISHED:  # a nanosecond at each change of size, of speed, and of the size that it is counted in
            assert -200 <= table.duration_ns[slot] - (table.lives.work_ns[slot] - table.lives.lost_ns[slot]) <= 200
    again = run_work(elastic_work(seed)[1], seed, policy, Manner(shards=3, cuts=[5, 9]), Elastic.ALWAYS)
    assert fingerprint(again) == fingerprint(made)


def test_the_random_work_changes_sizes() -> None:
    both = [run_work(elastic_work(seed)[1], seed, "easy", Manner(), Elastic.ALWAYS) for seed in range(4)]
    assert sum(made.chronicle.resizes for made in both) > 10
    assert sum(made.chronicle.restarts for made in both) > 5
