"""Which links each of many flows loads, as one sparse matrix, and which flows hang together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from topology.cluster import Float64, Int64

Mask = NDArray[np.bool_]


class Entries(NamedTuple):
    """Row i, a flow, loads the links ``link[start[i]:start[i + 1]]`` with ``weight``, as ``max_min_rates`` takes them."""

    start: Int64  # (rows + 1,)
    link: Int64
    weight: Float64


def entries_of(links: Sequence[Int64], weights: Sequence[Float64]) -> Entries:
    """Row i loads ``links[i]`` with ``weights[i]``."""
    start = np.zeros(len(links) + 1, dtype=np.int64)
    if not links:
        return Entries(start, np.empty(0, dtype=np.int64), np.empty(0))
    np.cumsum([len(row) for row in links], out=start[1:])
    return Entries(start, np.concatenate(links), np.concatenate(weights))


def on_links(entries: Entries, wanted: Mask) -> Entries:
    """The entries on some of the links, shape of ``wanted``: (links,); rows may be left empty."""
    kept = wanted.take(entries.link)
    if bool(kept.all()):
        return entries
    before = np.zeros(len(kept) + 1, dtype=np.int64)
    np.cumsum(kept, out=before[1:])
    return Entries(before[entries.start], entries.link[kept], entries.weight[kept])


def connected_rows(entries: Entries, links: Mask) -> Mask:
    """The rows that load one of ``links``, or a link that such a row loads, and so on, shape (rows,)."""
    rows, counts = len(entries.start) - 1, np.diff(entries.start)
    reached, marked, filled = np.zeros(rows, dtype=bool), links.copy(), np.flatnonzero(counts)
    found, before = 0, -1
    while found != before:
        reached[filled] = np.logical_or.reduceat(marked.take(entries.link), entries.start[filled]) if len(filled) else False
        before, found = found, int(np.count_nonzero(reached))
        if found == len(filled):
            break
        marked[entries.link[np.repeat(reached, counts)]] = True
    return reached


def of_rows(entries: Entries, rows: Mask) -> Entries:
    """The entries of some of the rows, which keep their order; shape of ``rows``: (rows,)."""
    if bool(rows.all()):
        return entries
    counts = np.diff(entries.start)
    kept = np.repeat(rows, counts)
    return Entries(np.concatenate(([0], np.cumsum(counts[rows]))), entries.link[kept], entries.weight[kept])
