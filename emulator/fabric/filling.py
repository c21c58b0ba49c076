"""Progressive filling one bottleneck at a time: the loop of the max-min solver, which runs as Python and compiled, with the same bits."""

import numpy as np
from numpy.typing import NDArray

#: A link's remaining weight is summed again once it has fallen this far below the last sum, so that the rounding errors of many
#: subtractions stay within some ten times that of one.
WORN = 1.0 / 16.0

Floats = list[float] | NDArray[np.float64]
Ints = list[int] | NDArray[np.int64]
Flags = list[bool] | NDArray[np.bool_]


def fill(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one loop over bare arrays: what numba compiles
    start: Ints,
    link: Ints,
    weight: Floats,
    cap: Floats,
    by_cap: Ints,
    capacity: Floats,
    rate: Floats,
    unfrozen: Flags,
    link_start: Ints,
    cursor: Ints,
    link_row: Ints,
    link_weight: Floats,
    entries_left: Ints,
    weight_left: Floats,
    summed: Floats,
    used: Floats,
    level: Floats,
    order: Ints,
    heap: Ints,
    batch: Ints,
) -> None:
    """Write the max-min rates of all unfrozen rows to ``rate``. Only what lists and arrays both have is used here, to be compiled as it is.

    Row i has the entries ``start[i]:start[i + 1]`` of ``link`` and ``weight``; ``by_cap`` are the unfrozen rows with a finite cap, lowest
    first. Per link: ``link_start`` (links + 1,) and its copy ``cursor``, how many entries and how much weight are ``_left``, ``summed``
    (the same weight), ``used`` (0), ``level`` (capacity over weight). ``order`` are the links with entries by (level, id). ``link_row`` and
    ``link_weight`` (entries,), ``heap`` (links,) and ``batch`` (rows,) are room to work in.

    A link's level is what each unit of its unfrozen weight would get of what the frozen rows leave. It never falls, so the one
    that is kept may be too low: the first link, by the level kept, whose level is still the one kept has the lowest of all. Links whose
    level has risen wait on a binary heap, the others in ``order``. Of equal levels the risen come first, then the lower id: a rule that
    asks nothing of other components.
    """
    for row in range(len(start) - 1):
        for entry in range(start[row], start[row + 1]):
            place = cursor[link[entry]]
            cursor[link[entry]] = place + 1
            link_row[place] = row
            link_weight[place] = weight[entry]
    taken, size, capped = 0, 0, 0  # of ``order``, on the heap, of ``by_cap``
    while taken < len(order) or size > 0:
        waits = size > 0 and (taken == len(order) or level[heap[0]] <= level[order[taken]])
        first = heap[0] if waits else order[taken]
        frozen, leaves, rises = 0, False, False
        if capped < len(by_cap) and cap[by_cap[capped]] <= level[first]:
            row = by_cap[capped]
            capped += 1
            if unfrozen[row]:
                unfrozen[row] = False
                rate[row] = cap[row]
                batch[0] = row
                frozen = 1
        elif entries_left[first] == 0:
            leaves = True
        else:
            if weight_left[first] < WORN * summed[first]:
                total = 0.0
                for place in range(link_start[first], link_start[first + 1]):
                    if unfrozen[link_row[place]]:
                        total += link_weight[place]
                weight_left[first] = summed[first] = total
            now = max(capacity[first] - used[first], 0.0) / weight_left[first]
            if now > level[first]:
                level[first] = now
                rises = True
            else:
                for place in range(link_start[first], link_start[first + 1]):
                    row = link_row[place]
                    if unfrozen[row]:
                        unfrozen[row] = False
                        rate[row] = now
                        batch[frozen] = row
                        frozen += 1
                leaves = True
        for index in range(frozen):
            row = batch[index]
            for entry in range(start[row], start[row + 1]):
                used[link[entry]] += weight[entry] * rate[row]
                weight_left[link[entry]] -= weight[entry]
                entries_left[link[entry]] -= 1
        if waits and (leaves or rises):  # down the heap
            if leaves:
                size -= 1
                first = heap[size]
            hole, below = 0, 1
            while below < size:
                other = below + 1
                if other < size and (
                    level[heap[other]] < level[heap[below]] or (level[heap[other]] == level[heap[below]] and heap[other] < heap[below])
                ):
                    below = other
                if level[first] < level[heap[below]] or (level[first] == level[heap[below]] and first < heap[below]):
                    break
                heap[hole] = heap[below]
                hole, below = below, 2 * below + 1
            heap[hole] = first
        elif leaves or rises:
            taken += 1
            if rises:  # up the heap
                hole = size
                size += 1
                while hole > 0:
                    above = (hole - 1) // 2
                    if level[heap[above]] < level[first] or (level[heap[above]] == level[first] and heap[above] < first):
                        break
                    heap[hole] = heap[above]
                    hole = above
                heap[hole] = first
