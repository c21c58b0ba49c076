"""Counter-based random numbers: an entity's luck depends on its own numbers and on nothing else.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11). The key is the seed; the counter is
(stream, entity, counter), so any draw can be made anywhere, in any order, by any actor, with the same result.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


class Stream(IntEnum):
    """What a draw is for. Never renumber: results depend on it."""

    HOST_FAULT = 1
    HOST_FAULT_CAUSE = 2
    HOST_REPAIR = 3
    LINK_FAULT = 4
    LINK_REPAIR = 5
    ARRIVAL = 6
    JOB_SIZE = 7
    JOB_DURATION = 8
    JOB_KIND = 9
    JOB_TENANT = 10
    JOB_PRIORITY = 11
    INFLATE = 12


def bits(seed: int, stream: int, entity: ArrayLike, counter: ArrayLike) -> NDArray[np.uint64]:
    """64 random bits per (entity, counter), broadcast together.

    ``seed`` and ``entity`` are taken modulo 2**64, ``stream`` and ``counter`` modulo 2**32.
    """
    entity64, counter64 = np.broadcast_arrays(
        np.asarray(entity).astype(np.uint64), np.asarray(counter).astype(np.uint64)
    )
    x0 = entity64 & _LOW
    x1 = entity64 >> _SHIFT
    x2 = counter64 & _LOW
    x3 = np.full_like(x0, stream & 0xFFFFFFFF)
    key0, key1 = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    for _ in range(10):
        product0, product1 = x0 * _M0, x2 * _M1
        x0, x1, x2, x3 = (
            (product1 >> _SHIFT) ^ x1 ^ np.uint64(key0),
            product1 & _LOW,
            (product0 >> _SHIFT) ^ x3 ^ np.uint64(key1),
            product0 & _LOW,
        )
        key0, key1 = (key0 + _W0) & 0xFFFFFFFF, (key1 + _W1) & 0xFFFFFFFF
    return (x1 << _SHIFT) | x0


def uniform(seed: int, stream: int, entity: ArrayLike, counter: ArrayLike) -> NDArray[np.float64]:
    """Uniform in (0, 1): never 0, so that a logarithm is always finite; 52 bits."""
    mantissa = bits(seed, stream, entity, counter) >> np.uint64(12)
    return (mantissa.astype(np.float64) + 0.5) * 2.0**-52


def exponential(seed: int, stream: int, entity: ArrayLike, counter: ArrayLike) -> NDArray[np.float64]:
    """Exponential with mean 1."""
    return -np.log(uniform(seed, stream, entity, counter))


def normal(seed: int, stream: int, entity: ArrayLike, counter: ArrayLike) -> NDArray[np.float64]:
    """Standard normal (Box-Muller, one of the pair; the second uniform is drawn at counter + 2**31)."""
    counters = np.asarray(counter).astype(np.uint64)
    radius = np.sqrt(-2.0 * np.log(uniform(seed, stream, entity, counters)))
    angle = uniform(seed, stream, entity, counters + np.uint64(1 << 31))
    return np.asarray(radius * np.cos(2.0 * np.pi * angle))
