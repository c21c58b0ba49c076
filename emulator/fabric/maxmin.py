"""Max-min fair rates with caps, by progressive filling on arrays."""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int = NDArray[np.integer]


def max_min_rates(flow: Int, start: Int, link: Int, weight: Float64, cap: Float64, capacity: Float64) -> Float64:
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
        Of every link, shape (links,), at least 0.

    Returns
    -------
    Rates, shape (flows,). No link carries more than its capacity (up to rounding), and every flow is at its cap or crosses a full link on
    which no flow has a higher rate.

    Notes
    -----
    Progressive filling (Bertsekas and Gallager, Data Networks, 2nd ed., 6.5.2). A link's *level* is what each of its unfrozen flows would
    get of what the frozen ones leave. A round freezes at once every flow whose cap is no higher than the levels it crosses, and every
    link whose level is the lowest for all of its unfrozen flows: levels never fall, so neither can end lower or higher.

    A level is recomputed as (capacity - sum of frozen loads in order of flow) / weight left, never accumulated. What a round does to
    a flow depends only on flows that it is connected to, so the rates of a component have the same bits alone and in company.
    """
    if len(flow) > 1 and not bool((flow[1:] > flow[:-1]).all()):
        order = np.argsort(flow, kind="stable")
        counts = np.diff(start)[order]
        sorted_start = np.concatenate(([0], np.cumsum(counts)))
        entry = np.arange(sorted_start[-1]) + np.repeat(np.asarray(start)[:-1][order] - sorted_start[:-1], counts)
        rates = np.empty(len(flow))
        rates[order] = _fill(sorted_start, link[entry], weight[entry], cap[order], capacity)
        return rates
    return _fill(start, link, weight, cap, capacity)


def _fill(start: Int, link: Int, weight: Float64, cap: Float64, capacity: Float64) -> Float64:
    counts = np.diff(start)
    rate = np.array(cap, dtype=np.float64)  # flows without links run at their cap
    # Rows below are the flows with links; a row leaves when it is frozen, an entry when its link has no unfrozen flow.
    rows = np.flatnonzero(counts)
    entry_row = np.repeat(np.arange(len(rows)), counts[rows])
    entry_link, entry_weight = np.asarray(link), np.asarray(weight)
    row_cap, row_start = rate[rows], np.concatenate(([0], np.cumsum(counts[rows])))[:-1]
    frozen_rate = np.zeros(len(rows))  # 0 while unfrozen
    unfrozen = np.ones(len(rows), dtype=bool)
    active_link, active_row, active_start = entry_link, entry_row, row_start  # entries of unfrozen rows
    active = np.arange(len(rows))
    level = np.empty(len(capacity))
    while len(active):
        used = np.bincount(entry_link, entry_weight * frozen_rate[entry_row], len(capacity))
        left = np.bincount(entry_link, entry_weight * unfrozen[entry_row], len(capacity))
        level.fill(np.inf)
        np.divide(np.maximum(capacity - used, 0.0), left, out=level, where=left > 0.0)
        entry_level = level[active_link]
        lowest = np.minimum.reduceat(entry_level, active_start)
        fits = row_cap[active] <= lowest
        lowest = np.where(fits, row_cap[active], lowest)
        tight = np.ones(len(capacity), dtype=bool)  # no unfrozen flow of the link is held lower elsewhere
        sizes = np.diff(np.append(active_start, len(active_link)))
        tight[active_link[np.repeat(lowest, sizes) < entry_level]] = False
        done = fits | np.logical_or.reduceat(tight[active_link], active_start)
        frozen = active[done]
        frozen_rate[frozen] = lowest[done]
        unfrozen[frozen] = False
        keep = ~done
        keep_entry = np.repeat(keep, sizes)
        active, active_link, sizes = active[keep], active_link[keep_entry], sizes[keep]
        active_start = np.concatenate(([0], np.cumsum(sizes)))[:-1]
        alive = np.zeros(len(capacity), dtype=bool)
        alive[active_link] = True
        keep_entry = alive[entry_link]
        entry_link, entry_weight, entry_row = entry_link[keep_entry], entry_weight[keep_entry], entry_row[keep_entry]
    rate[rows] = frozen_rate
    return rate
