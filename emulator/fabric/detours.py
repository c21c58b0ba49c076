"""Detours of two legs over every other member, in equal parts: Valiant's scheme, between groups and between switches of a group.

All arrays are dense, by source and target: shape (n, n), or (..., n, n) for several groups at once. ``alive`` says which members have a
direct link, in both directions; none has one to itself. ``by_way`` is what each way of a pair carries.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.draws.sums import add_along, matrix_product
from topology.cluster import Float64


def way_counts(alive: NDArray[np.bool_]) -> Float64:
    """How many members each pair can go over: those with live links to both."""
    linked = alive.astype(np.float64)
    return np.asarray(np.where(np.eye(alive.shape[-1], dtype=np.bool_), 0.0, matrix_product(linked, linked)))


def first_legs(by_way: Float64, alive: NDArray[np.bool_]) -> Float64:
    """The load of the links that leave the sources: the part of a source's traffic whose target the link's end can reach."""
    if _complete(alive):
        total = add_along(by_way, axis=-1)[..., None]
        return np.asarray(np.where(alive, np.maximum(0.0, total - by_way), 0.0))
    return np.asarray(np.where(alive, matrix_product(by_way, np.swapaxes(alive, -1, -2).astype(np.float64)), 0.0))


def second_legs(by_way: Float64, alive: NDArray[np.bool_]) -> Float64:
    """The load of the links into the targets."""
    return np.swapaxes(first_legs(np.swapaxes(by_way, -1, -2), alive), -1, -2)


def _complete(alive: NDArray[np.bool_]) -> bool:
    return bool((alive | np.eye(alive.shape[-1], dtype=np.bool_)).all())
