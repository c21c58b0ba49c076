"""Numbers in (0, 1) for numbered jobs, random for each job but even in the long run, so that a day has the load that was asked for.

A day has a handful of the jobs that hold most of its GPU time; drawn independently, the load of a day would scatter by some 10 %. Here
the pair (size, duration) of job i is a point of a two-dimensional (0, 2)-sequence in base 2 (Sobol 1967; Niederreiter 1992): any
aligned run of 2**k jobs has exactly one in every elementary interval. The sequence is shifted by random bits of the seed (which keeps
that property) and shuffled within blocks, so that neighbours are unrelated. Arrivals are those of a Poisson process given their
number in each block. All of it is a function of (seed, job number) alone.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, bits, uniform

#: Jobs that are shuffled among themselves: random within, even beyond.
BLOCK = 256
#: Job numbers may be negative (the days before the start), so the sequence is entered here: a multiple of every power of two in use.
_OFFSET = 1 << 31


def _reversed_bits(index: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The van der Corput sequence: bit k of the index has weight 2**-(k + 1)."""
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF)):
        index = ((index >> np.uint32(shift)) & np.uint32(mask)) | ((index & np.uint32(mask)) << np.uint32(shift))
    return (index >> np.uint32(16)) | (index << np.uint32(16))


def _second_dimension(index: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Sobol's second dimension (primitive polynomial x + 1): direction number k + 1 is v ^ (v >> 1) of number k."""
    point = np.zeros_like(index)
    direction = 1 << 31
    for bit in range(32):
        point ^= ((index >> np.uint32(bit)) & np.uint32(1)) * np.uint32(direction)
        direction ^= direction >> 1
    return point


def points(seed: int, first: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two coordinates of jobs ``first`` up to ``first + count``, each of shape (count,); both must be multiples of BLOCK."""
    numbers = np.arange(first, first + count)
    order = np.argsort(bits(seed, Stream.JOB_SIZE, numbers, 0).reshape(-1, BLOCK), axis=1, kind="stable")
    shuffled = (numbers.reshape(-1, BLOCK)[:, :1] + order).ravel()
    index = (shuffled + _OFFSET).astype(np.uint32)
    shift = bits(seed, Stream.JOB_SIZE, 0, 1).astype(np.uint64)
    one = _reversed_bits(index) ^ np.uint32(shift & np.uint64(0xFFFFFFFF))
    two = _second_dimension(index) ^ np.uint32(shift >> np.uint64(32))
    return (one.astype(np.float64) + 0.5) * 2.0**-32, (two.astype(np.float64) + 0.5) * 2.0**-32


def arrivals(seed: int, first: int, count: int) -> NDArray[np.float64]:
    """When jobs arrive, in order, counted in mean gaps between jobs: job i around i. Arguments as for ``points``."""
    numbers = np.arange(first, first + count)
    within = np.sort(uniform(seed, Stream.ARRIVAL, numbers, 0).reshape(-1, BLOCK), axis=1)
    return np.asarray((numbers.reshape(-1, BLOCK)[:, :1] + within * BLOCK).ravel())
