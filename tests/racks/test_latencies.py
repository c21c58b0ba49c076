"""Counts in bins against the times themselves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emulator.racks.latencies import BINS, EDGES_PS, LONGEST_PS, PS_PER_SECOND, SHORTEST_PS, bin_of, quantile_seconds, quantiles

TIMES = st.lists(st.integers(SHORTEST_PS + 1, LONGEST_PS), min_size=1, max_size=200)


@given(TIMES, st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_within_two_percent(times: list[int], quantile: float) -> None:
    """Of the smallest time that so many stay within."""
    counts = np.bincount(bin_of(np.array(times)), minlength=BINS)
    exact = sorted(times)[max(0, int(np.ceil(quantile * len(times) - 1e-9)) - 1)] / PS_PER_SECOND
    found = quantile_seconds(counts, quantile)
    assert found is not None
    assert abs(found - exact) <= 0.0201 * exact


@given(TIMES, TIMES)
def test_counts_add_up_in_any_order(some: list[int], others: list[int]) -> None:
    apart = [np.bincount(bin_of(np.array(times)), minlength=BINS) for times in (some, others)]
    assert np.array_equal(apart[1] + apart[0], np.bincount(bin_of(np.array(some + others)), minlength=BINS))


def test_edges_rise_by_two_percent() -> None:
    steps = EDGES_PS[1:] / EDGES_PS[:-1]
    assert steps.min() > 1.0199
    assert steps.max() <= 1.02 + 1e-9


def test_nothing_has_no_quantile() -> None:
    assert quantile_seconds(np.zeros(BINS, np.int64), 0.5) is None
    assert quantiles(np.zeros(BINS, np.int64)) == {"p50": None, "p90": None, "p99": None}


def test_what_is_beyond_the_bins_is_in_the_outermost() -> None:
    assert bin_of(np.array([0, SHORTEST_PS])).tolist() == [0, 0]
    assert bin_of(np.array([2 * LONGEST_PS])).tolist() == [BINS - 1]
