"""Sums of arrays of floats in an order that is ours, and what is made of such sums.

In what order ``np.sum``, ``np.mean``, ``@`` and ``np.einsum`` add is the affair of numpy and the BLAS library, and ``np.interp`` may fuse a
multiplication with an addition, depending on how it was compiled. Here every addition and multiplication is one of whole arrays, element by
element. Sums of integers need none of this, and of Python floats ``math.fsum`` is exact in any order. ``np.cumsum``, ``np.bincount`` and
``np.add.at`` add one after the other by their definition.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


def add_up(values: ArrayLike) -> float:
    """The sum of all elements; 0 of none. Order as for ``add_along``."""
    return float(add_along(np.asarray(values, np.float64).reshape(-1), 0))


def add_along(values: Float64, axis: int) -> Float64:
    """The sums along an axis, which is gone from the result.

    The second half is added to the first until one element is left (where their number is odd, the last is added to the first as well), so
    rounding errors grow with the logarithm of the length alone.
    """
    rest = values if axis == 0 else np.moveaxis(values, axis, 0)
    length = len(rest)
    if length < 2:
        return rest[0].copy() if length else np.zeros(rest.shape[1:])
    sums = rest[: length // 2] + rest[length // 2 : length // 2 * 2]
    if length % 2:
        sums[0] += rest[-1]
    length //= 2
    while length > 1:
        half = length // 2
        sums[:half] += sums[half : 2 * half]
        if length % 2:
            sums[0] += sums[length - 1]
        length = half
    return np.asarray(sums[0])


def add_runs(values: Float64, first: NDArray[np.int64]) -> Float64:
    """The sums of runs of rows: run i has the rows from ``first[i]`` up to ``first[i + 1]`` or the end, at least one. Ascending."""
    sizes = np.diff(first, append=len(values))
    found = values[first]
    for step in range(1, int(sizes.max(initial=0))):
        longer = np.flatnonzero(sizes > step)
        found[longer] += values[first[longer] + step]
    return found


def matrix_product(left: Float64, right: Float64) -> Float64:
    """The matrix product, broadcast as ``@`` does: shapes (..., rows, inner) and (..., inner, columns)."""
    found = left[..., :, 0, None] * right[..., 0, None, :]
    for inner in range(1, left.shape[-1]):
        found += left[..., :, inner, None] * right[..., inner, None, :]
    return found


def interpolate(x: ArrayLike, points: Float64, values: Float64) -> Float64:
    """The piecewise linear function through (points, values), two or more, ascending; beyond the ends it stays at their values."""
    at = np.clip(np.asarray(x, np.float64), points[0], points[-1])
    low = np.minimum(np.searchsorted(points, at, side="right") - 1, len(points) - 2)
    slope = np.diff(values) / np.diff(points)
    return np.where(at == points[-1], values[-1], slope[low] * (at - points[low]) + values[low])
