"""Max-min fair rates with caps, by progressive filling on arrays."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emulator.fabric.filling import fill

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Int = NDArray[np.integer]

#: Up to this many entries are solved by plain Python, in 0.7 us each: as fast as rounds of numpy. More by compiled code, which takes a
#: process 0.5 s and 130 MiB once (measured), and is then 27 times as fast.
SMALL_ENTRIES = 4000


@cache
def compiled_fill() -> Callable[..., None]:
    """``fill`` as machine code, with the same bits: numba neither reorders nor contracts floating-point operations unless told to.

    Kept on disk where NUMBA_CACHE_DIR says, beside the module or in the user's cache directory; where none will do, every process compiles.
    """
    import numba  # imported here because only runs whose flows contend need it

    ints, floats, flags = numba.int64[::1], numba.float64[::1], numba.boolean[::1]
    signature = numba.void(
        *(ints, ints, floats, floats, ints, floats, floats, flags),
        *(ints, ints, ints, floats, ints, floats, floats, floats, floats, ints, ints, ints),
    )
    try:
        compiled: Callable[..., None] = numba.njit(signature, cache=True)(fill)
    except Exception:  # noqa: BLE001 - nowhere to keep it, a full disk, a damaged file: none of them is worth a run
        compiled = numba.njit(signature)(fill)
    return compiled


def max_min_rates(flow: Int, start: Int, link: Int, weight: Float64, *, cap: Float64, capacity: Float64) -> Float64:
    """The max-min fair rates of flows that share links.

    Parameters
    ----------
    flow
        Ids, shape (flows,), all different. Sums run in order of id, so the answer does not depend on the order of the rows.
    start, link, weight
        Row i loads the links ``link[start[i]:start[i + 1]]``, each with ``weight`` (> 0) times its rate.
    cap
        The most each flow can use, shape (flows,), at least 0; may be infinite.
    capacity
        Of every link, shape (links,), finite and at least 0.

    Returns
    -------
    Rates, shape (flows,). No link carries more than its capacity (up to rounding), and every flow is at its cap or crosses a full link on
    which no flow has a higher rate.

    Raises ValueError for entries that do not fit ``start`` and ``capacity``.

    Notes
    -----
    Progressive filling (Bertsekas and Gallager, Data Networks, 2nd ed., 6.5.2), see ``fill``: the link with the lowest level is full and
    its flows are frozen, or the flow with the lowest cap is, whichever is lower; then again. Ties are broken by id.

    Each step is the first of its own component, in an order of that component's levels and ids alone. So what happens to a flow depends
    only on flows that it is connected to, and the rates of a component have the same bits alone and in company.
    """
    order = np.argsort(flow, kind="stable") if len(flow) > 1 and not bool((flow[1:] > flow[:-1]).all()) else None
    start, link = (np.ascontiguousarray(values, dtype=np.int64) for values in (start, link))
    weight, cap, capacity = (np.ascontiguousarray(values, dtype=np.float64) for values in (weight, cap, capacity))
    if order is None:
        return _solve(start, link, weight, cap=cap, capacity=capacity)
    counts = np.diff(start)[order]
    sorted_start = np.concatenate(([0], np.cumsum(counts)))
    entry = np.arange(sorted_start[-1]) + np.repeat(start[:-1][order] - sorted_start[:-1], counts)
    rates = np.empty(len(flow))
    rates[order] = _solve(sorted_start, link[entry], weight[entry], cap=cap[order], capacity=capacity)
    return rates


def _solve(start: Int64, link: Int64, weight: Float64, *, cap: Float64, capacity: Float64) -> Float64:
    """Rows in order of flow; all arrays contiguous."""
    rate, unfrozen = cap.copy(), np.diff(start) > 0  # flows without links run at their cap
    limited = np.flatnonzero(unfrozen & np.isfinite(cap))
    count = np.bincount(link, minlength=len(capacity))
    if len(count) > len(capacity) or start[-1] != len(link) or len(weight) != len(link):  # compiled code does not look
        raise ValueError(f"{len(link)} links up to {len(count) - 1} and {len(weight)} weights; expected {start[-1]} under {len(capacity)}")
    crossed = np.flatnonzero(count)
    total = np.bincount(link, weight, len(capacity))
    level = np.divide(capacity, total, out=np.zeros(len(capacity)), where=count > 0)
    link_start = np.concatenate(([0], np.cumsum(count)))
    work = (
        *(start, link, weight, cap, limited[np.argsort(cap[limited], kind="stable")], capacity, rate, unfrozen),
        *(link_start, link_start[:-1].copy(), np.empty(len(link), dtype=np.int64), np.empty(len(link)), count, total, total.copy()),
        *(np.zeros(len(capacity)), level, crossed[np.argsort(level[crossed], kind="stable")]),
        *(np.empty(len(crossed), dtype=np.int64), np.empty(len(cap), dtype=np.int64)),
    )
    if len(link) <= SMALL_ENTRIES:
        lists = [array.tolist() for array in work]
        fill(*lists)
        return np.array(lists[6], dtype=np.float64)
    compiled_fill()(*work)
    return rate
