"""Edges between the same two nodes: parallel edges are lanes of one trunk, and two opposite edges are the two directions of one cable."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import networkx as nx

#: What makes the path of an edge's number an error with its line.
Refuse = Callable[..., Exception]

_Edge = tuple[bool, dict[str, Any], int]  # (whether it runs against the first between its nodes, attributes, number in the file)
#: Of attributes that an edge does not have (`topology.vocabulary`).
_DEFAULTS = {"lanes": 1, "rail": 0}


class Cables:
    """Puts the edges of a file into a graph, as trunks. ``parallel``: several between two nodes are allowed, in one direction."""

    def __init__(self, graph: nx.Graph, parallel: bool) -> None:
        self._graph = graph
        self._parallel = parallel
        self._starts: set[tuple[Hashable, Hashable]] = set()  # directed edges that are the first between their nodes
        self._more: dict[tuple[Hashable, Hashable], list[_Edge]] = {}  # what is not the first between its nodes
        self._directed = self._both_ways = self._joined = 0

    def add(self, low: Hashable, high: Hashable, directed: bool, values: dict[str, Any], number: int) -> None:
        """Edge ``number`` of the file."""
        self._directed += directed
        if self._graph.has_edge(low, high):
            reversed_ends = (high, low) in self._starts or (high, low) in self._more
            key = (high, low) if reversed_ends else (low, high)
            self._more.setdefault(key, []).append((directed and (high, low) in self._starts, values, number))
            return
        if directed:
            self._starts.add((low, high))
        self._graph.add_edge(low, high, **values)

    def join(self, refuse: Refuse) -> None:
        """Make one trunk of the edges between the same nodes. Raises what ``refuse`` makes of a message and a path."""
        for (low, high), more in self._more.items():
            first: dict[str, Any] = self._graph.edges[low, high]
            first.update(self._all_of(f"{low} - {high}", [(False, dict(first), 0), *more], refuse))

    def _all_of(self, name: str, edges: list[_Edge], refuse: Refuse) -> dict[str, Any]:
        ways = [[edge for edge in edges if edge[0] == back] for back in (False, True)]
        trunks = [self._trunk(name, way, refuse) for way in ways if way]
        if len(trunks) > 1 and (differ := _difference(*trunks)):
            problem = f"edges {name} and back differ in {differ}, but they are the two directions of the same cables and must be equal"
            raise refuse(problem, "edges", ways[1][0][2])
        self._both_ways += len(trunks) > 1
        self._joined += max(map(len, ways)) > 1
        return trunks[0]

    def _trunk(self, name: str, edges: list[_Edge], refuse: Refuse) -> dict[str, Any]:
        """Lanes of parallel edges add up; rails are the same for all of them, or one set after the other."""
        _, first, _ = edges[0]
        if len(edges) == 1:
            return first
        if not self._parallel:
            raise refuse(f"edge {name} appears twice: parallel cables are the attribute lanes", "edges", edges[1][2])
        for _, values, at in edges[1:]:
            if differ := _difference(_without_rails(first), _without_rails(values)):
                raise refuse(f"parallel edges {name} differ in {differ}, but the cables of a trunk must be equal", "edges", at)
        lanes = sum(values.get("lanes", 1) for _, values, _ in edges)
        trunk = {**first, "lanes": lanes}
        rails = {(values.get("rail"), values.get("rails")) for _, values, _ in edges}
        if len(rails) == 1:
            return trunk
        spans = sorted((values.get("rail", 0), values.get("rails", 1), values.get("lanes", 1)) for _, values, _ in edges)
        each = {lanes / rails for _, rails, lanes in spans}
        if any(low + count != after for (low, count, _), (after, _, _) in pairwise(spans)) or len(each) > 1:
            problem = "carry neither the same rails nor rails one after the other with as many lanes each"
            raise refuse(f"parallel edges {name} {problem}", "edges", edges[1][2])
        return {**trunk, "rail": spans[0][0], "rails": sum(count for _, count, _ in spans)}

    def notes(self) -> Iterator[str]:
        if self._directed:
            both = f"; {self._both_ways:,} pairs of nodes with edges both ways have each cable once" if self._both_ways else ""
            yield f"Assumed: {self._directed:,} directed edges are cables, which carry both ways{both}."
        if self._joined:
            yield f"Assumed: parallel edges between {self._joined:,} pairs of nodes are lanes of one trunk each."


def _without_rails(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ("lanes", "rail", "rails")}


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The attributes in which two edges differ; one that is not there is as its default."""
    return ", ".join(sorted(key for key in {*one, *other} if one.get(key, _DEFAULTS.get(key)) != other.get(key, _DEFAULTS.get(key))))
