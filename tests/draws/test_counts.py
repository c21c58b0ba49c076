"""Poisson and gamma variates against their distributions as scipy has them."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from emulator.draws import Stream, bits, words
from emulator.draws.counts import gamma, log_factorial, poisson

DRAWS = 100_000
#: So improbable is a distance from the distribution that would fail; seeds are fixed, so that no test fails by chance.
LEAST = 1e-4


@pytest.mark.parametrize("mean", [0.02, 0.7, 4.0, 9.99, 10.0, 10.5, 37.0, 400.0, 12_345.6])
def test_counts_are_poisson(mean: float) -> None:
    """Chi-squared over classes of counts that some fifty draws or more should fall into."""
    drawn = poisson(5, Stream.REQUEST_COUNT, np.arange(DRAWS), mean)
    law = stats.poisson(mean)
    edges = np.unique(law.ppf(np.linspace(0.0005, 0.9995, 60)))
    ends = np.concatenate(([-1], edges, [np.inf]))
    expected = np.diff(law.cdf(ends)) * DRAWS
    found = np.array([np.count_nonzero((drawn > low) & (drawn <= high)) for low, high in pairwise(ends)])
    enough = expected > 5
    assert stats.chi2.sf(((found - expected)[enough] ** 2 / expected[enough]).sum(), enough.sum() - 1) > LEAST


def test_a_mean_of_nothing_gives_nothing() -> None:
    assert poisson(1, 81, np.arange(1000), 0.0).max() == 0
    assert poisson(1, 81, np.arange(0), 0.0).shape == (0,)


@pytest.mark.parametrize("mean", [1e6, 1e9, 2.0**40])
def test_large_means_have_mean_and_variance(mean: float) -> None:
    drawn = poisson(6, Stream.REQUEST_COUNT, np.arange(DRAWS), mean).astype(float)
    assert abs(drawn.mean() - mean) < 5 * np.sqrt(mean / DRAWS)
    assert drawn.var() / mean == pytest.approx(1.0, abs=0.03)


def test_a_count_depends_on_its_own_entity_alone() -> None:
    means = np.array([3.0, 500.0, 11.0, 0.0, 9.9] * 40)
    whole = poisson(7, 81, np.arange(200), means)
    one_by_one = [int(poisson(7, 81, np.array([entity]), means[entity])[0]) for entity in range(200)]
    assert whole.tolist() == one_by_one


@pytest.mark.parametrize("shape", [0.05, 0.5, 1.0, 3.0, 19.0, 81.1, 1e6])
def test_gamma_variates_are_gamma(shape: float) -> None:
    drawn = gamma(8, Stream.REQUEST_BURST, np.arange(DRAWS), shape)
    assert stats.kstest(drawn, stats.gamma(shape, scale=1 / shape).cdf).pvalue > LEAST


def test_log_factorials() -> None:
    numbers = np.concatenate((np.arange(300), [10**6, 10**9]))
    exact = stats.poisson(1.0).logpmf(numbers)  # -1 - ln n!
    assert log_factorial(numbers) == pytest.approx(-1.0 - exact, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("count", [1, 12, 13, 40_000])
def test_words_begin_as_bits(count: int) -> None:
    entity = np.arange(count, dtype=np.uint64) * np.uint64(2**61 + 12345)
    found = words(2**63 + 9, 82, entity, 7)
    assert ((found[1] << np.uint64(32) | found[0]) == bits(2**63 + 9, 82, entity, 7)).all()
    if count > 1000:
        assert (np.abs(np.corrcoef(found.astype(float)) - np.eye(4)) < 0.03).all()
        assert found.astype(float).mean(axis=1) == pytest.approx(2.0**31, rel=0.02)
