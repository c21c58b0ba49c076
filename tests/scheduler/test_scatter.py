"""Spreading: as even as what is free allows, at every level, and never less able to place than packing."""

import random

import pytest

from emulator.scheduler.free import FreeIndex, mask_bits
from emulator.scheduler.placement import Ask
from emulator.scheduler.placements.spread import place as spread
from emulator.scheduler.placements.topology import place as topology
from emulator.workload.jobs import LEVEL_NAMES
from tests.scheduler.drive import PLANS, make_cluster
from tests.scheduler.test_placement import by_host, index_with, random_state

LEAF, POD, RACK = map(LEVEL_NAMES.index, ("leaf", "pod", "rack"))


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (8, {8: 8}),  # one host has nothing to be spread over: best fit
        (16, {0: 8, 4: 8}),  # leaves 1 and 0 have the most (3, then 2 before leaf 3's 2)
        (32, {0: 8, 4: 8, 8: 8, 12: 8}),  # one of each
        (40, {0: 8, 4: 8, 5: 8, 8: 8, 12: 8}),
        (56, {0: 8, 1: 8, 4: 8, 5: 8, 8: 8, 12: 8, 13: 8}),  # leaf 2 has no second: the others give two
        (64, {0: 8, 1: 8, 4: 8, 5: 8, 6: 8, 8: 8, 12: 8, 13: 8}),
        (20, {0: 8, 4: 8, 3: 4}),  # the remainder on the split host with the fewest free
        (15, {0: 8, 4: 7}),  # no split host has 7
        (72, None),
    ],
)
def test_hosts_are_dealt_over_the_leaves(gpus: int, expected: dict[int, int] | None) -> None:
    """Leaves of 4 hosts. Free: 8, 8, 0, 4 | 8, 8, 8, 0 | 8, 6, 0, 0 | 8, 8, 0, 0."""
    index = index_with("leaves", (0, 0, 8, 4, 0, 0, 0, 8, 0, 2, 8, 8, 0, 0))
    assert by_host(index, spread(index, Ask(gpus))) == expected


def test_a_level_required_holds_it_all() -> None:
    """Leaf 1 has the most whole hosts, leaf 0 has two, no leaf has four."""
    index = index_with("leaves", (0, 0, 8, 8, 0, 0, 0, 8))
    assert by_host(index, spread(index, Ask(16, require_level=LEAF))) == {4: 8, 5: 8}
    assert spread(index, Ask(32, require_level=LEAF)) is None
    assert (
        by_host(index, spread(index, Ask(32, require_level=POD)))
        == by_host(index, spread(index, Ask(32, prefer_level=LEAF)))
        == {0: 8, 1: 8, 4: 8, 5: 8}
    )


@pytest.mark.parametrize("name", PLANS)
def test_even_at_every_level_and_as_able_as_packing(name: str) -> None:
    draw = random.Random(name)
    cluster = make_cluster(name)
    for _ in range(60):
        index, plain = random_state(draw, cluster)
        gpus = draw.choice((draw.randint(1, 3 * plain.per_host), draw.randint(1, cluster.gpu_count), 6 * plain.per_host))
        require = draw.choice((-1, -1, draw.randrange(7)))
        rows = spread(index, Ask(gpus, require_level=require))
        assert (rows is None) == (topology(index, Ask(gpus, require_level=require)) is None)
        if rows is None:
            continue
        placed = by_host(index, rows)
        assert placed is not None
        assert sum(placed.values()) == gpus
        free_before = {depth: list(level.counts) for depth, level in enumerate(index.levels)}
        index.take(rows)  # raises nothing, takes what was free
        if gpus <= plain.per_host or (require != -1 and index.depths[require] == 0) or gpus % plain.per_host:
            continue
        for depth in range(len(index.levels) - 1):
            taken = [before - after for before, after in zip(free_before[depth], index.levels[depth].counts, strict=True)]
            above = index.levels[depth + 1]
            for unit in range(len(above.counts)):
                family = range(above.first_child[unit], above.first_child[unit + 1])
                spared = [taken[child] for child in family if taken[child] < free_before[depth][child]]
                # No unit that has hosts left gave two fewer than another of its family.
                if sum(taken[child] for child in family) and (require == -1 or depth + 1 < index.depths[require]):
                    assert max(taken[child] for child in family) - min(spared, default=10**9) <= 1


def test_masks_do_not_overlap() -> None:
    index = FreeIndex(make_cluster("pods"))
    rows = spread(index, Ask(11 * index.gpus_per_host + 3))
    assert rows is not None
    hosts = [index.first_host[block] + bit for block, mask, _ in rows for bit in mask_bits(mask)]
    assert len(hosts) == len(set(hosts)) == 12
