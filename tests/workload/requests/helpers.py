"""What tests of requests share."""

from collections.abc import Iterable

import numpy as np

from emulator.workload.requests import Arrivals, RequestColumns, Source, join

SECOND = 10**9
COLUMNS = ("arrival_ns", "prompt", "output", "hash_start", "hashes", "key", "priority")


def same(one: RequestColumns, other: RequestColumns) -> bool:
    """Whether all columns are equal."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)


def taken(
    source: Source, cuts: Iterable[int], seed: int = 1, service: int = 0, pool: int = 0, share: tuple[float, float] = (0.0, 1.0)
) -> RequestColumns:
    """What a pool of this share gets, cut there."""
    cursor = Arrivals(source, seed, service, pool)
    return join([cursor.take(cut, *share) for cut in cuts])
