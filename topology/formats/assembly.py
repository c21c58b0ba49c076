"""From a file's nodes and edges to a graph, checked attribute by attribute; shared by the formats that hold whole graphs."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import networkx as nx

from topology.formats.attributes import EDGE, GRAPH, NODE, Check, whole
from topology.formats.defaults import Defaults
from topology.formats.errors import FormatError, shown
from topology.formats.parallel import Cables
from topology.formats.words import meant
from topology.vocabulary import NODE_TIERS

Path = tuple[str | int, ...]

_ALL = frozenset({*GRAPH, *NODE, *EDGE})
#: Attributes that one note names.
_MOST_PASSED = 20


@dataclass(frozen=True)
class Drawn:
    """A graph as a file of whole graphs has it, nothing checked.

    ``line`` is the line of a path in the file: of ("graph", key), ("nodes", number, key) or ("edges", number, key). ``parallel``: the file
    may have several edges between two nodes. ``fallback`` are attributes of what says nothing of them itself, by "graph", "nodes", "edges".
    """

    graph: Mapping[str, Any]
    nodes: Iterable[tuple[Any, Mapping[str, Any]]]
    edges: Iterable[tuple[Any, Any, bool, Mapping[str, Any]]]  # (source, target, whether it is directed, attributes)
    line: Callable[[Path], int]
    parallel: bool = False
    fallback: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    passed: tuple[str, ...] = ()  # what else of the file is not read, in a few words each


def assemble(source: str, drawn: Drawn, defaults: Defaults) -> nx.Graph:
    """The graph of a file's nodes and edges, each attribute checked; unknown attributes are skipped with one note.

    Raises FormatError, also for a name that is nearly one of the vocabulary's.
    """
    return _Assembly(source, drawn, defaults).graph()


class _Assembly:
    """The graph as it grows, and what has been skipped so far."""

    def __init__(self, source: str, drawn: Drawn, defaults: Defaults) -> None:
        self._source, self._drawn, self._defaults = source, drawn, defaults
        self._passed: dict[str, Counter[str]] = {"graph": Counter(), "nodes": Counter(), "edges": Counter()}

    def graph(self) -> nx.Graph:
        drawn = self._drawn
        result = nx.Graph()
        given = {key: value for key, value in drawn.graph.items() if (key, value) != ("name", "")}  # as networkx writes it
        attributes = self._checked("the graph", given, GRAPH, "graph")
        result.graph.update(_with_defaults(self._source, attributes, self._defaults))
        for number, (name, values) in enumerate(drawn.nodes):
            self._add_node(result, number, whole(name), values)
        cables = Cables(result, drawn.parallel)
        for number, (low, high, directed, values) in enumerate(drawn.edges):
            ends = self._ends(result, number, whole(low), whole(high))
            cables.add(*ends, directed, self._checked(f"edge {ends[0]} - {ends[1]}", values, EDGE, "edges", number), number)
        cables.join(self._refuse)
        result.graph["assumptions"] += [*self._notes(), *cables.notes()]
        return result

    def _refuse(self, message: str, *path: str | int) -> FormatError:
        return FormatError(message, self._source, self._drawn.line(path))

    def _add_node(self, result: nx.Graph, number: int, name: Any, attributes: Mapping[str, Any]) -> None:
        if not (type(name) is int or (isinstance(name, str) and name and name.isprintable() and len(name) <= 253)):
            problem = "is not a node's id: printable text of at most 253 characters, or a whole number"
            raise self._refuse(f"{shown(name)} {problem}", "nodes", number)
        if name in result:
            raise self._refuse(f"node {shown(name)} appears twice", "nodes", number)
        values = self._checked(f"node {name}", attributes, NODE, "nodes", number)
        if "tier" not in values:
            raise self._refuse(f"node {name} has no tier; allowed: {', '.join(NODE_TIERS)}", "nodes", number)
        result.add_node(name, **values)

    def _ends(self, result: nx.Graph, number: int, low: Any, high: Any) -> tuple[Any, Any]:
        for end in (low, high):
            if type(end) not in (int, str) or end not in result:
                raise self._refuse(f"an edge ends at {shown(end)}, but there is no such node", "edges", number)
        if low == high:
            raise self._refuse(f"an edge joins {low} with itself", "edges", number)
        return low, high

    def _checked(self, what: str, given: Mapping[str, Any], known: Mapping[str, Check], *path: str | int) -> dict[str, Any]:
        element = str(path[0])
        values = {}
        fallback = self._drawn.fallback.get(element, {})
        for key, value in ({**fallback, **given} if fallback else given).items():
            check = known.get(key)
            if check is None:
                word = meant(key, known) if key not in _ALL else None
                if word is not None:
                    raise self._refuse(
                        f"{what} has an unknown attribute {shown(key)}, did you mean {word}? Rename it if it is an attribute of your own",
                        *path,
                        key,
                    )
                if key in given or key not in _ALL:
                    self._passed[element][key] += 1
                continue
            try:
                values[key] = check(value)
            except ValueError as error:
                raise self._refuse(f"{what}: {key} is {shown(value)}: {error}", *path, key) from None
        return values

    def _notes(self) -> Iterator[str]:
        """One sentence for everything that was skipped."""
        passed = [
            f"{shown(key)[1:-1]} of {_elements(element, count)}" for element, keys in self._passed.items() for key, count in keys.items()
        ]
        passed += self._drawn.passed
        if passed:
            more = len(passed) - _MOST_PASSED
            rest = f" and {more} more" if more > 0 else ""
            yield f"Left out: attributes of {self._source} that say nothing here: {', '.join(passed[:_MOST_PASSED])}{rest}."


def _elements(element: str, count: int) -> str:
    return "the graph" if element == "graph" else f"{count:,} {element if count > 1 else element.removesuffix('s')}"


def _with_defaults(source: str, graph: dict[str, Any], defaults: Defaults) -> dict[str, Any]:
    """The graph's attributes, what is missing from ``defaults`` and noted as assumed."""
    missing = {
        "name": defaults.name,
        "host": defaults.host_type.name,
        "switch": defaults.switch,
        "hosts_per_rack": defaults.hosts_per_rack(defaults.host_type),
        "site": defaults.site,
    }
    missing = {key: value for key, value in missing.items() if key not in graph}
    assumed = [f"{key} {value}" for key, value in missing.items() if key in ("host", "switch", "hosts_per_rack")]
    notes = [f"Assumed: {', '.join(assumed)}: {source} does not say."] if assumed else []
    return missing | graph | {"assumptions": [*graph.get("assumptions", []), *notes]}
