"""Counter-based random numbers: an entity's luck depends on its own numbers and on nothing else.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11). The key is the seed; the counter is
(stream, entity, counter), so any draw can be made anywhere, in any order, by any actor, with the same result.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.draws.exact import log
from emulator.draws.normal import normal_quantile
from emulator.draws.philox import philox, philox_one

#: Draws are made in pieces of this size, which stay in the cache. Twice as large, each array would be 128 KiB, from which size on the C
#: library gets memory from the system and gives it back every time.
_PIECE = 8_192
#: Up to this number draws are faster one by one than as arrays.
_FEW = 12


class Stream(IntEnum):
    """What a draw is for. Never renumber: results depend on it."""

    HOST_FAULT = 1
    HOST_FAULT_CAUSE = 2
    HOST_REPAIR = 3
    ARRIVAL = 6
    JOB_SIZE = 7
    JOB_DURATION = 8
    JOB_KIND = 9
    JOB_TENANT = 10
    HOST_TYPE = 11
    CABLE_FAULT = 20
    SWITCH_FAULT = 21
    LINK_FLAP = 22
    PLACEMENT = 40
    INFLATE = 41
    JOB_START_UP = 50
    FAULT_PLACE = 51
    HOST_SPEED = 60
    FAIL_SLOW = 61
    UNIT_FAULT = 70
    LEMON = 71
    REQUEST_LENGTH = 80
    REQUEST_COUNT = 81
    REQUEST = 82
    REQUEST_BURST = 83
    REQUEST_SESSION = 84
    REQUEST_POOL = 85
    REQUEST_PATIENCE = 88
    REQUEST_KEPT = 89
    REQUEST_PRIORITY = 90
    REQUEST_WAY = 91
    REQUEST_THINK = 92
    ROUTE = 86


def bits(seed: int, stream: int, entity: ArrayLike, counter: ArrayLike) -> NDArray[np.uint64]:
    """64 random bits per (entity, counter), broadcast together.

    ``seed`` and ``entity`` are taken modulo 2**64, ``stream`` and ``counter`` modulo 2**32. A single draw costs a few microseconds.
    """
    key = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    if isinstance(entity, int) and isinstance(counter, int):
        x0, x1, _, _ = philox_one((entity & 0xFFFFFFFF, (entity >> 32) & 0xFFFFFFFF, counter & 0xFFFFFFFF, stream & 0xFFFFFFFF), key)
        return np.asarray(x1 << 32 | x0, np.uint64)
    entities, counters = np.broadcast_arrays(np.asarray(entity).astype(np.uint64), np.asarray(counter).astype(np.uint64))
    shape, entities, counters = entities.shape, entities.reshape(-1), counters.reshape(-1)
    out = np.empty(entities.size, np.uint64)
    if out.size <= _FEW:
        for place, (one, count) in enumerate(zip(entities.tolist(), counters.tolist(), strict=True)):
            x0, x1, _, _ = philox_one((one & 0xFFFFFFFF, one >> 32, count & 0xFFFFFFFF, stream & 0xFFFFFFFF), key)
            out[place] = x1 << 32 | x0
        return out.reshape(shape)
    for start in range(0, out.size, _PIECE):
        e, c = entities[start : start + _PIECE], counters[start : start + _PIECE] & np.uint64(0xFFFFFFFF)
        low, high, _, _ = philox((e & np.uint64(0xFFFFFFFF), e >> np.uint64(32), c, np.full_like(c, stream & 0xFFFFFFFF)), key)
        out[start : start + _PIECE] = high << np.uint64(32) | low
    return out.reshape(shape)


def words(seed: int, stream: int, entity: ArrayLike, counter: ArrayLike) -> NDArray[np.uint64]:
    """Four independent words of 32 random bits for each (entity, counter), as rows: for the price of one call of ``bits``.

    The first two are what ``bits`` makes its 64 of: low, high.
    """
    key = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    entities, counters = np.broadcast_arrays(np.asarray(entity).astype(np.uint64), np.asarray(counter).astype(np.uint64))
    entities, counters = entities.reshape(-1), counters.reshape(-1)
    out = np.empty((4, entities.size), np.uint64)
    if entities.size <= _FEW:
        for place, (one, count) in enumerate(zip(entities.tolist(), counters.tolist(), strict=True)):
            out[:, place] = philox_one((one & 0xFFFFFFFF, one >> 32, count & 0xFFFFFFFF, stream & 0xFFFFFFFF), key)
        return out
    for start in range(0, entities.size, _PIECE):
        e, c = entities[start : start + _PIECE], counters[start : start + _PIECE] & np.uint64(0xFFFFFFFF)
        block = philox((e & np.uint64(0xFFFFFFFF), e >> np.uint64(32), c, np.full_like(c, stream & 0xFFFFFFFF)), key)
        for row, word in zip(out, block, strict=True):
            row[start : start + _PIECE] = word
    return out


def uniform(seed: int, stream: int, entity: ArrayLike, counter: ArrayLike) -> NDArray[np.float64]:
    """Uniform in (0, 1): never 0, so that a logarithm is always finite; 52 bits."""
    mantissa = bits(seed, stream, entity, counter) >> np.uint64(12)
    return (mantissa.astype(np.float64) + 0.5) * 2.0**-52


def below(count: int, seed: int, stream: int, entity: int, counter: int) -> int:
    """One whole number from 0 to ``count`` - 1, each as likely."""
    return int(bits(seed, stream, entity, counter)) * count >> 64


def exponential(seed: int, stream: int, entity: ArrayLike, counter: ArrayLike) -> NDArray[np.float64]:
    """Exponential with mean 1; the same bits on every processor."""
    return -log(uniform(seed, stream, entity, counter))


def normal(seed: int, stream: int, entity: ArrayLike, counter: ArrayLike) -> NDArray[np.float64]:
    """Standard normal by inversion, one draw each; the same bits on every processor."""
    return normal_quantile(uniform(seed, stream, entity, counter))
