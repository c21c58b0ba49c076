"""Poisson and gamma variates, exact in their distribution and with the same bits on every processor.

Both reject some of their draws. Attempt k of an entity takes draws of its own counters, so what one entity needs moves no other.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.draws import normal, uniform, words
from emulator.draws.exact import exp, log, power

#: Below this mean a count is searched for from 0 up, above it is drawn by rejection (Hoermann gives the limit).
_SEARCHED = 10.0
#: The largest mean: counts above it would not fit an array of requests anyway.
LARGEST_MEAN = 2.0**40
#: ln n! of 0 to 9. Above, Stirling's series with four terms errs by less than 1e-12.
_LOG_FACTORIALS = np.array(
    [0.0, 0.0, 0.6931471805599453, 1.791759469228055, 3.1780538303479458,
     4.787491742782046, 6.579251212010101, 8.525161361065415, 10.60460290274525, 12.801827480081469]
)  # fmt: skip
_HALF_LOG_TAU = 0.9189385332046727


def log_factorial(n: ArrayLike) -> NDArray[np.float64]:
    """Ln n! of whole numbers from 0."""
    n = np.asarray(n, np.float64)
    x = np.maximum(n, 10.0) + 1.0
    inverse = 1.0 / x
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    stirling = (x - 0.5) * log(x) - x + _HALF_LOG_TAU + series
    return np.asarray(np.where(n < 10.0, _LOG_FACTORIALS[np.minimum(n, 9.0).astype(np.int64)], stirling))


def poisson(seed: int, stream: int, entity: ArrayLike, mean: ArrayLike) -> NDArray[np.int64]:
    """One Poisson count for each entity, with its mean from 0 to LARGEST_MEAN."""
    entities, means = np.broadcast_arrays(np.asarray(entity).astype(np.uint64), np.asarray(mean, np.float64))
    shape, entities, means = entities.shape, entities.reshape(-1), means.reshape(-1)
    counts = np.zeros(len(means), np.int64)
    few = np.flatnonzero((means > 0.0) & (means < _SEARCHED))
    if len(few):
        counts[few] = _searched(uniform(seed, stream, entities[few], 0), means[few])
    many = np.flatnonzero(means >= _SEARCHED)
    if len(many):
        counts[many] = _rejected(seed, stream, entities[many], means[many])
    return counts.reshape(shape)


def _uniform(low: NDArray[np.uint64], high: NDArray[np.uint64]) -> NDArray[np.float64]:
    """In (0, 1), of two words of 32 bits."""
    return np.asarray(((high << np.uint64(20) | low >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)


def _searched(chance: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.int64]:
    """By inversion: the least count whose distribution function is not below ``chance``."""
    counts = np.zeros(len(mean), np.int64)
    term = exp(-mean)
    below, number = term.copy(), 0
    while True:
        more = chance > below
        # Terms far out vanish beside 1, so that the sum may stay just below a chance next to 1.
        more &= term > 1e-18
        if not more.any():
            return counts
        number += 1
        counts[more] = number
        term = term * mean / number
        below = below + term


def _rejected(seed: int, stream: int, entities: NDArray[np.uint64], mean: NDArray[np.float64]) -> NDArray[np.int64]:
    """Hoermann, "The transformed rejection method for generating Poisson random variables" (1993), algorithm PTRS."""
    b = 0.931 + 2.53 * np.sqrt(mean)
    a = -0.059 + 0.02483 * b
    steep = 1.1239 + 1.1328 / (b - 3.4)
    quick = 0.9277 - 3.6224 / (b - 2.0)
    log_mean = log(mean)
    counts = np.zeros(len(mean), np.int64)
    open_, attempt = np.arange(len(mean)), 0
    while len(open_):
        word = words(seed, stream, entities[open_], attempt)
        u, v = _uniform(word[0], word[1]) - 0.5, _uniform(word[2], word[3])
        size = 0.5 - np.abs(u)
        here_a, here_b, here_mean = a[open_], b[open_], mean[open_]
        k = np.floor((2.0 * here_a / size + here_b) * u + here_mean + 0.43)
        sure = (size >= 0.07) & (v <= quick[open_])
        possible = (k >= 0.0) & (k < 2.0**52) & ~((size < 0.013) & (v > size))
        whole = np.where(possible, k, 0.0)
        left = log(v * steep[open_] / (here_a / (size * size) + here_b))
        taken = sure | (possible & (left <= whole * log_mean[open_] - here_mean - log_factorial(whole)))
        counts[open_[taken]] = k[taken].astype(np.int64)
        open_, attempt = open_[~taken], attempt + 1
    return counts


def gamma(seed: int, stream: int, entity: ArrayLike, shape: float) -> NDArray[np.float64]:
    """One gamma variate of mean 1 and variance 1 / shape for each entity.

    Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000); a shape below 1 by their boost.
    """
    entities = np.asarray(entity).astype(np.uint64)
    out, entities = np.zeros(entities.size), entities.reshape(-1)
    d = (shape if shape >= 1.0 else shape + 1.0) - 1.0 / 3.0
    c = 1.0 / float(np.sqrt(9.0 * d))
    open_, attempt = np.arange(len(entities)), 0
    while len(open_):
        x = normal(seed, stream, entities[open_], 2 * attempt + 1)
        u = uniform(seed, stream, entities[open_], 2 * attempt + 2)
        base = 1.0 + c * x
        positive = base > 0.0
        cube = np.where(positive, base * base * base, 1.0)
        taken = positive & (log(u) < 0.5 * x * x + d - d * cube + d * log(cube))
        out[open_[taken]] = d * cube[taken] / shape
        open_, attempt = open_[~taken], attempt + 1
    if shape < 1.0:
        out *= power(uniform(seed, stream, entities, 0), 1.0 / shape)
    return out.reshape(np.asarray(entity).shape)
