"""The placement that asks the fabric, in the whole engine, on leaves with fewer cables up than NICs below."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emulator.engine.commands import Cordon, scale_link
from emulator.engine.engine import Engine
from emulator.engine.prospect import Prospect
from emulator.scheduler.free import Row
from emulator.scheduler.placement import Ask
from emulator.scheduler.placements import PLACEMENTS
from emulator.workload.jobs import LEVEL_NAMES, SECOND, JobColumns, JobKind, job_columns
from tests.engine.small import SHAPE, clos, engine, fingerprint, hosts_of, run, run_until, training

#: Leaves of two hosts: 16 lanes down, 8 up, so that one gang that crosses a leaf's trunk fills it and two must share it.
TWO_TO_ONE: dict[str, Any] = {"array_hosts": 2, "leaf_oversubscription": 2}
#: Leaves of four hosts: 32 lanes down, 8 up.
FOUR_TO_ONE: dict[str, Any] = {"array_hosts": 4, "leaf_oversubscription": 4}


def slowdowns(made: Engine) -> list[float]:
    """Of each job, by slot: what it ran over the work that it did."""
    table = made.table
    return [ran / work for ran, work in zip(table.lives.run_ns, table.lives.work_ns, strict=True)]


def test_it_leaves_a_trunk_that_is_full() -> None:
    """Both jobs take three hosts. ``topology`` gives job 1 the host that job 0 leaves over in leaf 1, and both run at half speed on its
    trunk; with one of leaf 3 instead nobody is slowed."""
    for placement, hosts, expected in (("topology", [3, 4, 5], [2.0, 2.0]), ("contention-aware", [4, 5, 6], [1.0, 1.0])):
        made = engine(clos(8, **TWO_TO_ONE), [training(2, gpus=24, duration_ns=1000 * SECOND)], placement=placement)
        run_until(made, 0)
        assert hosts_of(made, 0) == [0, 1, 2]
        assert hosts_of(made, 1) == hosts
        assert slowdowns(run(made)) == expected


def test_a_job_of_an_earlier_cycle_counts_as_one_of_the_same_cycle_does() -> None:
    made = engine(
        clos(8, **TWO_TO_ONE),
        [training(2, gpus=24, duration_ns=1000 * SECOND, submit_ns=[0, 95 * SECOND])],
        placement="contention-aware",
    )
    run_until(made, 100 * SECOND)
    assert hosts_of(made, 1) == [4, 5, 6]


def test_a_job_that_does_not_use_the_fabric_is_packed() -> None:
    jobs = job_columns(
        2, submit_ns=0, gpus=24, duration_ns=1000 * SECOND, kind=[int(JobKind.TRAINING), int(JobKind.GANG)], shape=[0, -1], shapes=(SHAPE,)
    )
    made = engine(clos(8, **TWO_TO_ONE), [jobs], placement="contention-aware")
    run_until(made, 0)
    assert hosts_of(made, 1) == [3, 4, 5]


def test_where_every_place_is_as_good_it_is_that_of_topology() -> None:
    cluster = clos(12, array_hosts=4)
    for placement in ("topology", "contention-aware"):
        made = engine(cluster, [training(3, gpus=[40, 24, 20], duration_ns=1000 * SECOND)], placement=placement)
        run_until(made, 0)
        assert [hosts_of(made, job) for job in range(3)] == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9, 10]]


def test_a_required_level_holds() -> None:
    """All of leaf 0's hosts but one, and all of leaf 1's, are in one pod; nothing outside of it is asked about."""
    made = engine(clos(8, **TWO_TO_ONE), [], placement="contention-aware")
    index = made.scheduler.partitions[0].free
    asked: list[Any] = []

    def probe(rows: Sequence[Any]) -> float:
        asked.append(rows)
        return 0.5

    place = PLACEMENTS["contention-aware"].place
    assert place(index, Ask(16, require_level=LEVEL_NAMES.index("leaf"), probe=probe)) == PLACEMENTS["topology"].place(index, Ask(16))
    assert len(asked) == 5  # the place of topology, and those in each of the four leaves
    assert all(len(rows) == 1 for rows in asked)


def test_the_share_that_the_head_expects() -> None:
    """Leaf 1's trunk has 8 cables. Job 0 asks for all of them, so job 1 would get half there; a whole lane with leaf 3; and where that
    trunk has a quarter left, a quarter. Nothing of a dead one."""
    made = engine(clos(8, **TWO_TO_ONE), [training(2, gpus=24, duration_ns=1000 * SECOND, submit_ns=[0, 95 * SECOND])])
    run_until(made, 0)
    index = made.scheduler.partitions[0].free
    slot = made.table.slot_of[1]

    def share(*hosts: int) -> float:
        probe = Prospect(made.network, made.scheduler.draft).probe(slot)
        assert probe is not None
        return probe([(index.host_block[host], 1 << (host - index.first_host[index.host_block[host]]), index.full) for host in hosts])

    made.scheduler.draft.begin(10 * SECOND)  # what was decided at 0 is in the network
    assert share(3, 4, 5) == pytest.approx(0.5, rel=1e-8)
    assert share(4, 5, 6) == share(4, 5) == share(4) == 1.0
    trunks = np.flatnonzero(made.cluster.links.tier == 1)
    for remaining in (0.25, 0.0):
        made.post(scale_link(int(trunks[3]), remaining, 500 * SECOND), made.open_cycle_ns())
        made.run_cycle(made.open_cycle_ns())
        made.scheduler.draft.begin(made.now_ns)
        assert share(4, 5, 6) == pytest.approx(remaining, rel=1e-8)


def test_what_was_undone_does_not_count() -> None:
    made = engine(clos(8, **TWO_TO_ONE), [training(2, gpus=24, duration_ns=1000 * SECOND)], placement="contention-aware")
    made.post(Cordon(0, 8, True), 0)
    run_until(made, 0)
    scheduler = made.scheduler
    for host in range(8):
        scheduler.ledger.release(host, next(iter(scheduler.ledger.reasons_of(host))))
    draft, partition = scheduler.draft, scheduler.partitions[0]
    draft.begin(10 * SECOND)
    first, second = (made.table.slot_of[job] for job in (0, 1))
    alone = draft.choose(partition, second)
    mark = draft.mark()
    rows = draft.choose(partition, first)
    assert rows is not None
    draft.start(first, rows)
    beside = draft.choose(partition, second)
    draft.undo(mark)
    assert draft.choose(partition, second) == alone
    assert sorted(scheduler.hosts_of(beside or [])) == [4, 5, 6]


def test_a_job_that_is_migrated_counts_where_it_goes() -> None:
    """From leaf 1 to leaf 3, where job 1 would meet it then. While it is off its hosts it counts nowhere."""
    made = engine(clos(8, **TWO_TO_ONE), [training(2, gpus=24, duration_ns=1000 * SECOND, submit_ns=[0, 95 * SECOND])])
    run_until(made, 0)
    draft, index = made.scheduler.draft, made.scheduler.partitions[0].free
    prospect = Prospect(made.network, draft)

    def rows(*hosts: int) -> list[Row]:
        return [(index.host_block[host], 1 << (host - index.first_host[index.host_block[host]]), index.full) for host in hosts]

    def shares() -> list[float]:
        probe = prospect.probe(made.table.slot_of[1])
        assert probe is not None
        return [round(probe(rows(*hosts)), 6) for hosts in ((3, 4, 5), (4, 5, 6))]

    draft.begin(10 * SECOND)
    assert shares() == [0.5, 1.0]
    draft.lift(made.table.slot_of[0])
    assert shares() == [1.0, 1.0]
    draft.set_down(made.table.slot_of[0], rows(1, 6, 7))
    assert shares() == [1.0, 0.5]


def jobs_of(seed: int) -> JobColumns:
    draw = np.random.default_rng(seed)
    shape = replace(SHAPE, overlap_seconds=0.5)
    return training(
        60, gpus=draw.choice([40, 48, 72], 60), duration_ns=draw.integers(300, 3000, 60) * SECOND,
        submit_ns=np.sort(draw.integers(0, 6000, 60)) * SECOND, shapes=(shape,),
    )  # fmt: skip


def test_on_a_thin_fabric_jobs_are_slowed_less_than_by_packing_and_the_number_of_shards_changes_nothing() -> None:
    """Random jobs of 5, 6 and 9 hosts on 32 hosts in leaves of four. Over 12 seeds the mean excess over 1 is 0.63 of that of packing."""
    cluster = clos(32, **FOUR_TO_ONE)
    means = {}
    for placement in ("topology", "contention-aware"):
        made = [run(engine(cluster, [jobs_of(seed)], placement=placement, policy="easy")) for seed in range(3)]
        means[placement] = [float(np.mean(slowdowns(one))) for one in made]
        if placement == "contention-aware":
            sharded = run(engine(cluster, [jobs_of(0)], placement=placement, policy="easy", shards=3))
            assert fingerprint(sharded) == fingerprint(made[0])
    excess = {placement: sum(mean) - len(mean) for placement, mean in means.items()}
    assert excess["contention-aware"] < 0.8 * excess["topology"]
    assert all(ours < packed for ours, packed in zip(means["contention-aware"], means["topology"], strict=True))
