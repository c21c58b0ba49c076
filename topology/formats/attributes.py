"""The graph vocabulary of `topology.vocabulary`, attribute by attribute: what each may be. Formats of whole graphs check with it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from math import isfinite
from typing import Any

import networkx as nx
import numpy as np

from topology import catalog
from topology.catalog import GpuType, HostType, SwitchType
from topology.formats.defaults import Defaults
from topology.formats.errors import FormatError
from topology.formats.parallel import Cables
from topology.formats.words import meant
from topology.hostlist import expand, fold
from topology.vocabulary import NODE_TIERS

_MOST_WHOLE = 2**31 - 1
_LONGEST_TEXT = 100_000
#: Attributes that one note names.
_MOST_PASSED = 20

Check = Callable[[Any], Any]  # the value as the graph has it; raises ValueError saying what is allowed
Path = tuple[str | int, ...]


def _whole(least: int) -> Check:
    def check(value: Any) -> int:
        number = whole(value)
        if type(number) is not int or not least <= number <= _MOST_WHOLE:
            raise ValueError(f"a whole number from {least} to {_MOST_WHOLE} is needed")
        return number

    return check


def whole(value: Any) -> Any:
    """2.0 as 2, for many programs write every number so; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _real(*, zero: bool, most: float = 1e300) -> Check:
    def check(value: Any) -> float:
        number = float(value) if type(value) in (int, float) and abs(value) <= most else -1.0
        if not isfinite(number) or number < 0 or (number == 0 and not zero):
            raise ValueError(f"a number {'of at least' if zero else 'above'} 0 is needed" + (f", {most:g} at most" if most < 1e300 else ""))
        return number

    return check


def _rate(value: Any) -> float:
    """1 byte/s to 8 Pb/s: beyond it a unit is mistaken."""
    rate = float(_real(zero=False)(value))
    if not 1.0 <= rate <= 1e15:
        raise ValueError("bytes per second from 1 to 1e15 are needed")
    return rate


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT or not value.isprintable():
        raise ValueError("printable text is needed")
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of texts is needed")
    return value


def _hostlist(value: Any) -> str:
    """As text, whatever it is."""
    text = fold(_texts(value)) if isinstance(value, list) else _text(value)
    expand(text)
    return text


def _one_of(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)} is needed")
        return value

    return check


def _group(value: Any) -> Any:
    value = whole(value)
    if type(value) is int and abs(value) <= _MOST_WHOLE:
        return value
    return _text(value)


def _record(kind: type[Any], find: Callable[[str], Any]) -> Check:
    """A name in the catalog, or a record of its own with every field."""

    def check(value: Any) -> Any:
        if isinstance(value, str):
            find(value)
            return value
        return _built(kind, value)

    return check


def _built(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"a name in the catalog or a record with {', '.join(field.name for field in fields(kind))} is needed")
    names = {field.name for field in fields(kind)}
    if set(value) != names:
        wrong = sorted(map(str, names.symmetric_difference(value)))
        raise ValueError(
            f"the record needs exactly {', '.join(field.name for field in fields(kind))}; missing or unknown: {', '.join(wrong)}"
        )
    built: dict[str, Any] = {}
    for field in fields(kind):
        given = value[field.name]
        try:
            if field.name == "gpu":
                built[field.name] = _built(GpuType, given)
            elif field.type in (int, "int"):
                built[field.name] = _whole(1)(given)
            elif field.type in (float, "float") or (field.name == "fp8_flops" and given is not None):
                built[field.name] = _real(zero=field.name in ("latency_seconds", "idle_watts", "watts"))(given)
            else:
                built[field.name] = given if field.name == "fp8_flops" else _text(given)
        except ValueError as error:
            raise ValueError(f"{field.name}: {error}") from None
    return kind(**built)


_HOST = _record(HostType, catalog.host)
_SWITCH = _record(SwitchType, catalog.switch)

GRAPH: Mapping[str, Check] = {
    "name": _text,
    "host": _HOST,
    "switch": _SWITCH,
    "hosts_per_rack": _whole(1),
    "site": _text,
    "worst_pod_to_pod_ratio": _real(zero=False, most=1.0),
    "assumptions": _texts,
    "names": _one_of("given"),
    "islands": _one_of("apart"),
}
NODE: Mapping[str, Check] = {
    "tier": _one_of(*NODE_TIERS),
    "hosts": _whole(1),
    "host": _HOST,
    "site": _text,
    "hosts_per_rack": _whole(1),
    "hostlist": _hostlist,
    "switches": _whole(1),
    "switch": _SWITCH,
    "group": _group,
}
EDGE: Mapping[str, Check] = {
    "lanes": _whole(1),
    "rail": _whole(0),
    "rails": _whole(1),
    "lane_bytes_per_second": _rate,
    "latency_seconds": _real(zero=True),
    "distance_km": _real(zero=True),
}
_ALL = frozenset({*GRAPH, *NODE, *EDGE})


def plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes in JSON's types; those that are None are as if not there."""
    return {key: _plain(key, value) for key, value in attributes.items() if value is not None}


def _plain(key: str, value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if key == "hostlist" and not isinstance(value, str):
        return fold(list(map(str, value)))
    return value.item() if isinstance(value, np.generic) else list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Drawn:
    """A graph as a file of whole graphs has it, nothing checked.

    ``line`` is the line of a path in the file: of ("graph", key), ("nodes", number, key) or ("edges", number, key). ``parallel``: the file may
    have several edges between two nodes. ``fallback`` has attributes of what says nothing of them itself: by "graph", "nodes" and "edges".
    """

    graph: Mapping[str, Any]
    nodes: Iterable[tuple[Any, Mapping[str, Any]]]
    edges: Iterable[tuple[Any, Any, bool, Mapping[str, Any]]]  # (source, target, whether it is directed, attributes)
    line: Callable[[Path], int]
    parallel: bool = False
    fallback: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    passed: tuple[str, ...] = ()  # what else of the file is not read, in a few words each


def assemble(source: str, drawn: Drawn, defaults: Defaults) -> nx.Graph:
    """The graph of a file's nodes and edges, each attribute checked; those that are not ours are passed over with one note.

    Raises FormatError: also for a word that is nearly one of ours.
    """
    return _Assembly(source, drawn, defaults).graph()


class _Assembly:
    """The graph as it grows, and what is passed over on the way."""

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
        cables = Cables(drawn.parallel)
        for number, (low, high, directed, values) in enumerate(drawn.edges):
            ends = self._ends(result, number, whole(low), whole(high))
            cables.add(*ends, directed, self._checked(f"edge {ends[0]} - {ends[1]}", values, EDGE, "edges", number), number)
        for low, high, values in cables.trunks(self._refuse):
            result.add_edge(low, high, **values)
        result.graph["assumptions"] += [*self._notes(), *cables.notes()]
        return result

    def _refuse(self, message: str, *path: str | int) -> FormatError:
        return FormatError(message, self._source, self._drawn.line(path))

    def _add_node(self, result: nx.Graph, number: int, name: Any, attributes: Mapping[str, Any]) -> None:
        if not (type(name) is int or (isinstance(name, str) and name and name.isprintable() and len(name) <= 253)):
            problem = "is not a node's id: printable text of at most 253 characters, or a whole number"
            raise self._refuse(f"{shown(name)} {problem}", "nodes", number)
        if name in result:
            raise self._refuse(f"node {shown(name)} is there twice", "nodes", number)
        values = self._checked(f"node {name}", attributes, NODE, "nodes", number)
        if "tier" not in values:
            raise self._refuse(f"node {name} has no tier: one of {', '.join(NODE_TIERS)} is needed", "nodes", number)
        result.add_node(name, **values)

    def _ends(self, result: nx.Graph, number: int, low: Any, high: Any) -> tuple[Any, Any]:
        for end in (low, high):
            if type(end) not in (int, str) or end not in result:
                raise self._refuse(f"an edge ends at {shown(end)}, which is no node", "edges", number)
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
                    raise self._refuse(f"{what} has an attribute {shown(key)}: {word} is meant, or another name is needed", *path, key)
                if key in given or key not in _ALL:
                    self._passed[element][key] += 1
                continue
            try:
                values[key] = check(value)
            except ValueError as error:
                raise self._refuse(f"{what}: {key} is {shown(value)}: {error}", *path, key) from None
        return values

    def _notes(self) -> Iterator[str]:
        """One sentence for all that is passed over."""
        passed = [
            f"{shown(key)[1:-1]} of {_elements(element, count)}"
            for element, keys in self._passed.items()
            for key, count in keys.items()
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


def shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of more than 40 digits"
    return text if len(text) <= 60 else text[:57] + "..."
