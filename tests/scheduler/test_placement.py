"""Where gangs go: the rules in numbers, and against the plain search on random states of every kind of cluster."""

import random

import pytest

from emulator.scheduler.free import FreeIndex, mask_bits
from emulator.scheduler.placement import Ask, could_ever_fit
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.placements.consolidate import place as consolidate
from emulator.scheduler.placements.topology import place as topology
from emulator.workload.jobs import LEVEL_NAMES
from tests.scheduler.drive import PLANS, make_cluster
from tests.scheduler.oracle import Plain, lowest
from topology.cluster import Cluster

LEAF, POD, RACK, DOMAIN, HOST, BUILDING, SITE = map(LEVEL_NAMES.index, ("leaf", "pod", "rack", "domain", "host", "building", "site"))


def index_with(name: str, used: tuple[int, ...]) -> FreeIndex:
    """A cluster of which ``used`` GPUs are held on host 0, 1, ... (the rest of the hosts held wholly)."""
    index = FreeIndex(make_cluster(name))
    hosts = index.host_count
    for host, count in enumerate([*used, *[index.gpus_per_host] * (hosts - len(used))]):
        if count:
            block = index.host_block[host]
            index.take([(block, 1 << (host - index.first_host[block]), (1 << count) - 1)])
    return index


def by_host(index: FreeIndex, rows: list[tuple[int, int, int]] | None) -> dict[int, int] | None:
    """Host -> GPUs taken there; None where there is no placement."""
    if rows is None:
        return None
    return {index.first_host[block] + bit: gpus.bit_count() for block, hosts, gpus in rows for bit in mask_bits(hosts)}


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (1, {1: 1}),  # 1 free on hosts 1 and 4: the first
        (2, {3: 2}),  # 3 free on host 3 is the fewest that holds 2
        (3, {3: 3}),
        (4, {0: 4}),  # 6 free on host 0, 8 on the whole ones
        (7, {2: 7}),  # whole hosts only: the first
        (8, {2: 8}),
        (9, {2: 8, 5: 1}),  # most free first: the remainder goes to the next whole host, though part of one would do
        (16, {2: 8, 5: 8}),
        (17, {2: 8, 5: 8, 6: 1}),
        (24, {2: 8, 5: 8, 6: 8}),
        (25, {2: 8, 5: 8, 6: 8, 0: 1}),  # no whole host is left: the most free, host 0 with 6
        (30, {2: 8, 5: 8, 6: 8, 0: 6}),
        (31, None),  # 7 more are on no host
        (32, None),  # 24 + 6 + 3 + 1 + 1 = 35 GPUs are free, but 3 hosts are whole
    ],
)
def test_consolidate(gpus: int, expected: dict[int, int] | None) -> None:
    """Free on hosts 0 to 6: 6, 1, 8, 3, 1, 8, 8."""
    index = index_with("hgx", (2, 7, 0, 5, 7, 0, 0))
    assert by_host(index, consolidate(index, Ask(gpus))) == expected
    assert index.fits(gpus) == (expected is not None)


def test_consolidate_takes_the_first_of_equal_split_hosts_for_a_remainder() -> None:
    """Free on hosts 0 to 3: 3, 5, 5, 8. 12 GPUs are the whole host 3 and 4 of host 1, which has as many as host 2 and more than host 0."""
    index = index_with("hgx", (5, 3, 3, 0))
    assert by_host(index, consolidate(index, Ask(12))) == {3: 8, 1: 4}


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (8, {8: 8}),  # 1 host free in leaf 2 is the fewest
        (16, {0: 8, 1: 8}),  # 2 free in leaf 0 and 3
        (24, {4: 8, 5: 8, 6: 8}),
        (32, {4: 8, 5: 8, 6: 8, 8: 8}),  # no leaf has 4: the most of one leaf, then best fit for the rest
        (40, {4: 8, 5: 8, 6: 8, 0: 8, 1: 8}),
        (12, {8: 8, 9: 4}),  # leaf 2 holds it with the split host 9 and has the fewest whole hosts
        (20, {0: 8, 1: 8, 3: 4}),  # leaf 0 holds it with split host 3 (4 free), leaf 3 does not
        (15, {0: 8, 1: 7}),  # no split host has 7: the second whole host of the fullest leaf that has two
    ],
)
def test_topology(gpus: int, expected: dict[int, int]) -> None:
    """Leaves of 4 hosts. Free: 8, 8, 0, 4 | 8, 8, 8, 0 | 8, 6, 0, 0 | 8, 8, 0, 0."""
    index = index_with("leaves", (0, 0, 8, 4, 0, 0, 0, 8, 0, 2, 8, 8, 0, 0))
    assert by_host(index, topology(index, Ask(gpus))) == expected


def test_a_level_required_waits_and_a_level_preferred_does_not() -> None:
    """Free: 3 whole hosts in leaf 1, 2 in leaf 0."""
    index = index_with("leaves", (0, 0, 8, 8, 0, 0, 0, 8))
    for rule in (consolidate, topology):
        assert by_host(index, rule(index, Ask(24, require_level=LEAF))) == {4: 8, 5: 8, 6: 8}
        assert rule(index, Ask(32, require_level=LEAF)) is None
        assert by_host(index, rule(index, Ask(32, prefer_level=LEAF))) == {4: 8, 5: 8, 6: 8, 0: 8}
        assert by_host(index, rule(index, Ask(40, require_level=POD, prefer_level=LEAF))) == {4: 8, 5: 8, 6: 8, 0: 8, 1: 8}


def test_a_required_level_uses_the_split_hosts_in_it() -> None:
    """12 GPUs in one leaf: leaf 1 has a whole host and 4 GPUs of another; leaf 0 has a whole host alone."""
    index = index_with("leaves", (0, 8, 8, 8, 0, 4, 8, 8))
    assert by_host(index, topology(index, Ask(12, require_level=LEAF))) == {4: 8, 5: 4}


def test_small_racks_count_only_when_named() -> None:
    """Racks of 3 hosts in arrays of 16. Free: host 2 of rack 0, 3 and 4 of rack 1, 6 to 8 of rack 2."""
    index = index_with("small-racks", (8, 8, 0, 0, 0, 8, 0, 0, 0))
    assert by_host(index, topology(index, Ask(16))) == {2: 8, 3: 8}
    assert (
        by_host(index, topology(index, Ask(16, prefer_level=RACK)))
        == by_host(index, topology(index, Ask(16, require_level=RACK)))
        == {3: 8, 4: 8}
    )
    assert by_host(index, consolidate(index, Ask(16, prefer_level=RACK))) == {3: 8, 4: 8}
    assert topology(index, Ask(32, require_level=RACK)) is None
    assert by_host(index, topology(index, Ask(32, prefer_level=RACK))) == {2: 8, 3: 8, 4: 8, 6: 8}


@pytest.mark.parametrize(
    ("cluster", "level", "most"),
    [
        ("leaves", HOST, 8), ("leaves", DOMAIN, 8), ("leaves", RACK, 32), ("leaves", LEAF, 32), ("leaves", POD, 320), ("leaves", SITE, 320),
        ("pods", LEAF, 16), ("pods", POD, 64), ("pods", BUILDING, 384), ("pods", SITE, 384),
        ("buildings", POD, 64), ("buildings", BUILDING, 192), ("buildings", SITE, 384),
        ("small-racks", RACK, 24), ("small-racks", LEAF, 128),
        ("nvl72", HOST, 4), ("nvl72", DOMAIN, 72), ("nvl72", RACK, 72),
        ("two-domain-racks", DOMAIN, 72), ("two-domain-racks", RACK, 144), ("two-domain-racks", LEAF, 332),
        ("wide-racks", RACK, 560), ("wide-racks", LEAF, 1040),
        ("hgx", -1, 128),
    ],
)  # fmt: skip
def test_what_can_never_fit_and_what_fits_an_empty_cluster(cluster: str, level: int, most: int) -> None:
    """The largest unit of the level, in GPUs. One GPU more can never fit; all of it fits now, on the empty cluster."""
    index = FreeIndex(make_cluster(cluster))
    assert could_ever_fit(index, most, level)
    assert not could_ever_fit(index, most + 1, level)
    for rule in (placement.place for placement in PLACEMENTS.values()):
        placed = by_host(index, rule(index, Ask(most, require_level=level)))
        assert placed is not None
        assert sum(placed.values()) == most
        assert rule(index, Ask(most + 1, require_level=level)) is None


def random_state(draw: random.Random, cluster: Cluster) -> tuple[FreeIndex, Plain]:
    """The same random occupation in the index and in plain masks."""
    index, plain = FreeIndex(cluster), Plain.of(cluster)
    busy = draw.random()
    for host in range(cluster.host_count):
        block, bit = index.host_block[host], 1 << (host - index.first_host[index.host_block[host]])
        if draw.random() < busy:
            gpus = plain.full if draw.random() < 0.6 else draw.randint(1, plain.full)
            index.take([(block, bit, gpus)])
            plain.take([(host, gpus)])
        if draw.random() < 0.05:
            index.withdraw(host)
            plain.offered[host] = False
    return index, plain


@pytest.mark.parametrize("name", PLANS)
def test_against_the_plain_search(name: str) -> None:
    draw = random.Random(name)
    cluster = make_cluster(name)
    for _ in range(60):
        index, plain = random_state(draw, cluster)
        for _ in range(8):
            gpus = draw.choice((draw.randint(1, 3 * plain.per_host), draw.randint(1, cluster.gpu_count), 6 * plain.per_host))
            require, prefer = draw.choice((-1, draw.randrange(7))), draw.choice((-1, -1, draw.randrange(7)))
            for rule, place in (("consolidate", consolidate), ("topology", topology)):
                rows = place(index, Ask(gpus, require_level=require, prefer_level=prefer))
                expected = plain.place(rule, gpus, 1000, require, prefer)
                assert (rows is None) == (expected is None)
                pairs = [(index.first_host[block] + bit, mask) for block, hosts, mask in rows or () for bit in mask_bits(hosts)]
                assert sorted(pairs) == sorted(expected or ())
                assert rows is None or could_ever_fit(index, gpus, require)


@pytest.mark.parametrize("name", PLANS)
def test_no_finer_unit_holds_it_and_no_fewer_sub_units_do(name: str) -> None:
    """By brute force, for whole hosts: the unit found is the innermost, and greedy filling crosses the fewest sub-units possible."""
    draw = random.Random(name)
    cluster = make_cluster(name)
    for _ in range(100):
        index, plain = random_state(draw, cluster)
        whole = len(plain.wholes(range(cluster.host_count)))
        if not whole:
            continue
        hosts = draw.randint(1, whole)
        placed = by_host(index, topology(index, Ask(hosts * plain.per_host)))
        assert placed is not None
        chosen = set(placed)
        depth = next(depth for depth, units in enumerate(plain.levels) if any(plain.holds(unit, hosts, 0) for unit in units))
        assert sum(1 for unit in plain.levels[depth] if chosen & set(unit)) == 1
        if depth:
            unit = next(unit for unit in plain.levels[depth] if chosen & set(unit))
            free = sorted((len(plain.wholes(part)) for part in plain.levels[depth - 1] if part[0] in unit), reverse=True)
            fewest = next(count for count in range(1, len(free) + 1) if sum(free[:count]) >= hosts)
            assert sum(1 for part in plain.levels[depth - 1] if chosen & set(part)) == fewest


def test_lowest_gpus_of_a_host_are_taken() -> None:
    index = index_with("hgx", (0,))
    index.take([(0, 1, 0b10010)])
    assert consolidate(index, Ask(3)) == [(0, 1, lowest(0b11101101, 3))] == [(0, 1, 0b1101)]
