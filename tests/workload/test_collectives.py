import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.workload.collectives import (
    bus_bytes_per_second,
    exchange_seconds,
    faster,
    hierarchical_seconds,
    neighbour_seconds,
    ring_seconds,
    tree_bytes,
    tree_hops,
    tree_seconds,
)

HOP = 10e-6


def test_by_hand() -> None:
    """8 members, 1 GB, 50 GB/s, 10 us a hop. Ring: 14 hops and 1.75 GB. Double tree: 6 hops and 2 GB. All-to-all: 7 hops and 0.875 GB."""
    assert ring_seconds(1e9, 8, 50e9, HOP) == pytest.approx(140e-6 + 0.035)
    assert tree_seconds(1e9, 8, 50e9, HOP) == pytest.approx(60e-6 + 0.040)
    assert exchange_seconds(1e9, 8, 50e9, HOP) == pytest.approx(70e-6 + 0.0175)
    assert neighbour_seconds(1e9, 50e9, HOP) == pytest.approx(10e-6 + 0.02)


def test_a_tree_of_few_members_is_lighter() -> None:
    """Two members exchange halves on either tree: S. Three have three edges of S / 2 at most."""
    assert [tree_bytes(1.0, members) for members in (1, 2, 3, 4, 100)] == [0.0, 1.0, 1.5, 2.0, 2.0]


def test_hierarchical_is_its_three_phases() -> None:
    """4 hosts of 8: reduce-scatter and all-gather of 7/8 GB at 360 GB/s each, and 1/8 GB round a ring of 4: 1.5 / 8 GB and 6 hops."""
    seconds = hierarchical_seconds(1e9, domain=8, domains=4, scale_up=360e9, bandwidth=50e9, hop_seconds=HOP)
    assert seconds == pytest.approx(2 * 0.875e9 / 360e9 + 1.5e9 / 8 / 50e9 + 6 * HOP)


def test_bus_bandwidth_of_a_ring_without_latency_is_the_lane() -> None:
    """nccl-tests' reason for the factor: it is the same at any number of members."""
    for members in (2, 8, 1000):
        assert bus_bytes_per_second(1e9, members, ring_seconds(1e9, members, 50e9, 0.0)) == pytest.approx(50e9)


@given(st.floats(1, 1e12), st.integers(2, 100_000), st.floats(1e9, 1e11), st.floats(1e-7, 1e-3))
def test_the_choice_is_the_faster(size: float, members: int, bandwidth: float, hop: float) -> None:
    chosen = {"ring": ring_seconds, "tree": tree_seconds}[faster(size, members, bandwidth, hop)](size, members, bandwidth, hop)
    assert chosen == min(ring_seconds(size, members, bandwidth, hop), tree_seconds(size, members, bandwidth, hop))


def test_small_messages_of_many_go_by_tree_and_large_ones_round_the_ring() -> None:
    assert faster(1e6, 1024, 50e9, HOP) == "tree"
    assert faster(1e11, 8, 50e9, HOP) == "ring"


@given(st.integers(1, 2**40), st.sampled_from([0.0, 0.25, 0.5]))
def test_a_tree_is_as_deep_as_its_members_need(members: int, more: float) -> None:
    """2 * ceil(log2(members)) hops, exactly, also beside powers of two."""
    depth = tree_hops(members + more) / 2
    assert depth == int(depth)
    assert 2 ** int(depth) >= members + more
    assert members + more == 1 or 2 ** (int(depth) - 1) < members + more
