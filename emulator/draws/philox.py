"""Philox4x32-10, the block function alone, for arrays and for one draw.

Salmon et al., SC'11, and its reference implementation Random123 (``philox.h``), whose known-answer vectors are the test.
"""

import numpy as np
from numpy.typing import NDArray

UInt64 = NDArray[np.uint64]

_M0, _M1 = 0xD2511F53, 0xCD9E8D57  # multipliers, Random123 philox.h
_W0, _W1 = 0x9E3779B9, 0xBB67AE85  # Weyl increments of the key: golden ratio, sqrt(3) - 1
_LOW = 0xFFFFFFFF


def philox(counter: tuple[UInt64, UInt64, UInt64, UInt64], key: tuple[int, int]) -> tuple[UInt64, UInt64, UInt64, UInt64]:
    """Four 32-bit counter words (in uint64 arrays of one shape) to four random 32-bit words."""
    (x0, x1, x2, x3), (key0, key1) = counter, key
    m0, m1, low, shift = np.uint64(_M0), np.uint64(_M1), np.uint64(_LOW), np.uint64(32)
    for _ in range(10):
        product0, product1 = x0 * m0, x2 * m1
        x0, x1, x2, x3 = (
            (product1 >> shift) ^ x1 ^ np.uint64(key0),
            product1 & low,
            (product0 >> shift) ^ x3 ^ np.uint64(key1),
            product0 & low,
        )
        key0, key1 = (key0 + _W0) & _LOW, (key1 + _W1) & _LOW
    return x0, x1, x2, x3


def philox_one(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """As ``philox`` for one counter, in Python integers: an array of one costs thirty times as much."""
    (x0, x1, x2, x3), (key0, key1) = counter, key
    for _ in range(10):
        product0, product1 = x0 * _M0, x2 * _M1
        x0, x1, x2, x3 = (product1 >> 32) ^ x1 ^ key0, product1 & _LOW, (product0 >> 32) ^ x3 ^ key1, product0 & _LOW
        key0, key1 = (key0 + _W0) & _LOW, (key1 + _W1) & _LOW
    return x0, x1, x2, x3
