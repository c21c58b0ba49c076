"""Flows that span planes: a component of the max-min problem is collected from all its planes and solved as one.

A plane holds the links of one connected part of the fabric, and a flow with links in several of them has one rate: a step waits for all of
its lanes. A plane can solve alone what touches none but its own links. A component with a flow that spans planes is *open*: the plane
reports its rows, then the planes in which those flows could be held back report theirs, until nothing is added, and the rows are solved as
one problem. ``max_min_rates`` answers as a function of the flows and the links alone, so the rates have the same bits however the links are
divided over planes and the planes over actors.

This runs at the head and not in the plane with most rows, because sending the rows on to a plane would be a second round trip. Components
without such a flow are solved in the planes: on a fabric whose rails meet these are all components.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from emulator.fabric.maxmin import max_min_rates
from emulator.fabric.messages import FlowRows
from topology.cluster import Float64, Int64

#: Ask planes (number -> flows) for the components of flows.
Ask = Callable[[Mapping[int, list[int]]], Mapping[int, FlowRows]]


def solve_open(told: Mapping[int, FlowRows], planes_of: Callable[[int], Iterable[int]], ask: Ask) -> tuple[Int64, Float64]:
    """The rates of all flows of open components: their ids, ascending, and bytes per second per lane, both of shape (flows,).

    ``told`` is what the planes have reported by themselves, and ``planes_of`` names the planes in which a flow could meet a full link.
    """
    parts = [told[plane] for plane in sorted(told)]
    known = {plane: set(rows.flow.tolist()) for plane, rows in told.items()}
    fresh = sorted(set().union(*known.values()))
    while fresh:
        missing: dict[int, list[int]] = {}
        for flow in fresh:
            for plane in planes_of(flow):
                if flow not in known.setdefault(plane, set()):
                    missing.setdefault(plane, []).append(flow)
        answers = ask(missing) if missing else {}
        before = set().union(*known.values())
        for plane in sorted(answers):
            parts.append(answers[plane])
            known[plane] |= set(answers[plane].flow.tolist())
        fresh = sorted(set().union(*known.values()) - before)
    return _solve(parts)


def _solve(parts: list[FlowRows]) -> tuple[Int64, Float64]:
    """Rows of one flow are joined over the parts; no link is in two of them, because a part holds whole components of a plane."""
    ids, first = np.unique(np.concatenate([part.flow for part in parts]), return_index=True)
    entry_flow = np.concatenate([np.repeat(part.flow, np.diff(part.start)) for part in parts])
    order = np.argsort(entry_flow, kind="stable")
    joined = FlowRows(
        flow=ids,
        cap=np.concatenate([part.cap for part in parts])[first],
        start=np.searchsorted(entry_flow[order], np.append(ids, np.iinfo(np.int64).max)),
        link=np.concatenate([part.link for part in parts])[order],
        weight=np.concatenate([part.weight for part in parts])[order],
        capacity=np.concatenate([part.capacity for part in parts])[order],
    )
    return ids, solve_rows(joined)


def solve_rows(rows: FlowRows) -> Float64:
    """Max-min fair rates of ``rows``, whole components; shape (flows,)."""
    used = np.zeros(int(rows.link.max(initial=-1)) + 1, dtype=np.bool_)
    used[rows.link] = True
    number = np.cumsum(used) - 1
    link = number[rows.link]
    capacity = np.empty(int(np.count_nonzero(used)))
    capacity[link] = rows.capacity
    return max_min_rates(rows.flow, rows.start, link, rows.weight, cap=rows.cap, capacity=capacity)
