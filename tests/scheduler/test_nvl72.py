"""NVL72 blocks: racks of 18 trays of 4 GPUs, two of them spares."""

from collections import Counter

import pytest

from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.placement import Ask
from emulator.scheduler.placements.nvl72 import place
from emulator.scheduler.placements.topology import place as topology
from emulator.workload.jobs import LEVEL_NAMES
from tests.scheduler.drive import make_cluster

DOMAIN = LEVEL_NAMES.index("domain")


def racks(*used: int) -> FreeIndex:
    """Five racks, of which so many trays are in use."""
    index = FreeIndex(make_cluster("nvl72"))
    for domain, trays in enumerate(used):
        if trays:
            index.take([(domain, (1 << trays) - 1, index.full)])
    return index


def trays(rows: list[Row] | None) -> dict[int, int] | None:
    """Trays by domain."""
    if rows is None:
        return None
    held: Counter[int] = Counter()
    for domain, hosts, _ in rows:
        held[domain] += hosts.bit_count()
    return dict(held)


@pytest.mark.parametrize(
    ("used", "gpus", "expected"),
    [
        ((), 64, {0: 16}),
        ((), 72, {0: 18}),  # no other way to keep it in one domain
        ((), 128, {0: 16, 1: 16}),  # not 18 and 14
        ((), 192, {0: 16, 1: 16, 2: 16}),
        ((), 320, {0: 16, 1: 16, 2: 16, 3: 16, 4: 16}),
        ((), 324, {0: 18, 1: 18, 2: 18, 3: 18, 4: 9}),  # there is no room beside the spares: as topology
        ((10, 4), 8, {0: 2}),  # best fit in a broken domain
        ((10, 4), 24, {0: 6}),
        ((10, 4), 28, {1: 7}),  # 8 are free in domain 0, two of them spares
        ((10, 4), 160, {2: 16, 3: 16, 1: 8}),  # whole domains first, the last by best fit: 12 are left beside the spares of domain 1
        ((10, 4), 152, {2: 16, 3: 16, 0: 6}),
        ((16, 16, 16, 16, 16), 8, {0: 2}),  # only spares are left
        ((16, 16, 16, 16, 16), 12, {0: 2, 1: 1}),
        ((17, 16, 16, 16, 17), 4, {0: 1}),
    ],
)
def test_where_jobs_go(used: tuple[int, ...], gpus: int, expected: dict[int, int]) -> None:
    assert trays(place(racks(*used), Ask(gpus))) == expected


@pytest.mark.parametrize(
    ("used", "segment", "count", "expected"),
    [
        ((), 8, 5, {0: 16, 1: 16, 2: 8}),
        ((), 6, 4, {0: 12, 1: 12}),  # three segments of 6 would leave no spares
        ((), 18, 2, {0: 18, 1: 18}),  # and those of 18 cannot
        ((9, 3), 8, 3, {2: 16, 1: 8}),  # of 15 in domain 1 13 are no spares
        ((), 16, 1, {0: 16}),
    ],
)
def test_segments(used: tuple[int, ...], segment: int, count: int, expected: dict[int, int]) -> None:
    ask = Ask(4 * segment * count, slice_gpus=4 * segment, slice_level=DOMAIN)
    assert trays(place(racks(*used), ask)) == expected


def test_a_job_that_starts_again_after_a_fault_has_a_spare_tray_in_its_domain() -> None:
    index = racks(0, 0, 18, 18, 18)
    ask = Ask(128)
    rows = place(index, ask)
    assert trays(rows) == {0: 16, 1: 16}
    index.withdraw(3)
    assert trays(place(index, ask)) == {0: 16, 1: 16}
    assert trays(topology(index, ask)) == {1: 18, 0: 14}


def test_the_number_of_spares_is_an_option() -> None:
    assert trays(place(racks(), Ask(128), spares=0)) == {0: 18, 1: 14} == trays(topology(racks(), Ask(128)))
    assert trays(place(racks(), Ask(128), spares=10)) == {0: 8, 1: 8, 2: 8, 3: 8}


@pytest.mark.parametrize("gpus", [1, 3, 4, 5, 6, 27, 70, 131])
def test_parts_of_trays(gpus: int) -> None:
    """All GPUs are placed, on whole trays and one in part; a split tray is used before a whole one is broken."""
    index = racks(10, 4)
    index.take([(0, 1 << 10, 0b0111)])
    rows = place(index, Ask(gpus))
    assert rows is not None
    assert sum(hosts.bit_count() * mask.bit_count() for _, hosts, mask in rows) == gpus
    if gpus == 1:
        assert rows == [(0, 1 << 10, 0b1000)]
    index.take(rows)


def test_where_domains_are_hosts_it_is_topology() -> None:
    index = FreeIndex(make_cluster("leaves"))
    index.take([(0, 0b1, index.full)])
    for gpus in (1, 4, 8, 24, 32, 100):
        assert place(index, Ask(gpus)) == topology(index, Ask(gpus))
