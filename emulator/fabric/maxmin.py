"""Max-min fair rates with caps, by progressive filling on arrays."""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int = NDArray[np.integer]


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
        rates[order] = _fill(sorted_start, link[entry], weight[entry], cap=cap[order], capacity=capacity)
        return rates
    return _fill(start, link, weight, cap=cap, capacity=capacity)


def _fill(start: Int, link: Int, weight: Float64, *, cap: Float64, capacity: Float64) -> Float64:
    counts = np.diff(start)
    rate = np.array(cap, dtype=np.float64)  # flows without links run at their cap
    # Below, a row is a flow with links. Entries stand in order of flow, and stay while their link has an unfrozen flow.
    rows, links = np.flatnonzero(counts), len(capacity)
    row_cap, row_rate = rate[rows], np.zeros(len(rows))
    entry_link, entry_row = np.asarray(link, dtype=np.intp), np.repeat(np.arange(len(rows)), counts[rows])
    frozen_load, free_weight = np.zeros(len(entry_link)), np.array(weight, dtype=np.float64)
    # The unfrozen rows, how many entries each has, and these entries' links.
    open_row, open_size, open_link = np.arange(len(rows)), counts[rows], entry_link
    level = np.empty(links)
    while len(open_row):
        used = np.bincount(entry_link, frozen_load, links)
        left = np.bincount(entry_link, free_weight, links)
        level.fill(np.inf)
        np.divide(np.maximum(capacity - used, 0.0), left, out=level, where=left > 0.0)
        begin = np.cumsum(open_size) - open_size
        open_level, open_cap = level.take(open_link), row_cap[open_row]
        lowest = np.minimum.reduceat(open_level, begin)
        done = open_cap <= lowest
        lowest = np.minimum(open_cap, lowest)
        tight = np.ones(links, dtype=bool)  # no unfrozen flow of the link is held lower elsewhere
        tight[open_link[np.repeat(lowest, open_size) < open_level]] = False
        done[np.searchsorted(begin, np.flatnonzero(tight.take(open_link)), side="right") - 1] = True
        frozen = np.zeros(len(rows), dtype=bool)
        frozen[open_row[done]] = True
        row_rate[open_row[done]] = lowest[done]
        fresh = np.flatnonzero(frozen.take(entry_row))
        frozen_load[fresh] = free_weight[fresh] * row_rate[entry_row[fresh]]
        free_weight[fresh] = 0.0
        open_link = open_link[np.repeat(~done, open_size)]
        open_row, open_size = open_row[~done], open_size[~done]
        if 2 * len(open_link) < len(entry_link):  # more often costs more than it saves
            needed = np.zeros(links, dtype=bool)
            needed[open_link] = True
            kept = needed.take(entry_link)
            if 4 * np.count_nonzero(kept) < 3 * len(kept):
                entry_link, entry_row = entry_link[kept], entry_row[kept]
                frozen_load, free_weight = frozen_load[kept], free_weight[kept]
    rate[rows] = row_rate
    return rate
