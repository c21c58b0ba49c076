"""The graph vocabulary of `topology.vocabulary`, attribute by attribute: what each may be. Formats of whole graphs check with it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Any

import networkx as nx
import numpy as np

from topology import catalog
from topology.catalog import GpuType, HostType, SwitchType
from topology.formats.defaults import Defaults
from topology.formats.errors import FormatError
from topology.hostlist import expand, fold

_MOST_WHOLE = 2**31 - 1
_LONGEST_TEXT = 100_000

Check = Callable[[Any], Any]  # the value as the graph has it; raises ValueError saying what is allowed
Path = tuple[str | int, ...]


def _whole(least: int) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= _MOST_WHOLE:
            raise ValueError(f"a whole number from {least} to {_MOST_WHOLE} is needed")
        return value

    return check


def _real(*, zero: bool, most: float = 1e300) -> Check:
    def check(value: Any) -> float:
        number = float(value) if type(value) in (int, float) and abs(value) <= most else -1.0
        if not isfinite(number) or number < 0 or (number == 0 and not zero):
            raise ValueError(f"a number {'of at least' if zero else 'above'} 0 is needed" + (f", {most:g} at most" if most < 1e300 else ""))
        return number

    return check


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
}
NODE: Mapping[str, Check] = {
    "tier": _one_of("endpoint", "leaf", "spine", "core", "inter_building", "wan"),
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
    "lane_bytes_per_second": _real(zero=False),
    "latency_seconds": _real(zero=True),
    "distance_km": _real(zero=True),
}


def plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes in JSON's types; those that are None are as if not there."""
    return {key: _plain(key, value) for key, value in attributes.items() if value is not None}


def _plain(key: str, value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if key == "hostlist" and not isinstance(value, str):
        return fold(list(map(str, value)))
    return value.item() if isinstance(value, np.generic) else list(value) if isinstance(value, tuple) else value


def assemble(
    source: str,
    graph: Mapping[str, Any],
    nodes: Iterable[tuple[Any, Mapping[str, Any]]],
    edges: Iterable[tuple[Any, Any, Mapping[str, Any]]],
    defaults: Defaults,
    line: Callable[[Path], int],
) -> nx.Graph:
    """The graph of a file's nodes and edges, each attribute checked.

    ``line`` is the line of a path in the file: of ("graph", key), ("nodes", number, key) or ("edges", number, key). Raises FormatError.
    """

    def refuse(message: str, *path: str | int) -> FormatError:
        return FormatError(message, source, line(path))

    def checked(what: str, given: Mapping[str, Any], known: Mapping[str, Check], *path: str | int) -> dict[str, Any]:
        values = {}
        for key, value in given.items():
            check = known.get(key)
            if check is None:
                close = get_close_matches(key, known, n=1)
                hint = f", did you mean {close[0]}?" if close else ""
                raise refuse(f"{what} has an unknown attribute {_shown(key)}{hint}; known: {', '.join(known)}", *path, key)
            try:
                values[key] = check(value)
            except ValueError as error:
                raise refuse(f"{what}: {key} is {_shown(value)}: {error}", *path, key) from None
        return values

    result = nx.Graph()
    result.graph.update(_with_defaults(source, checked("the graph", graph, GRAPH, "graph"), defaults))
    for number, (name, attributes) in enumerate(nodes):
        if not (type(name) is int or (isinstance(name, str) and name and name.isprintable() and len(name) <= 253)):
            raise refuse(f"{_shown(name)} is not a node's id: printable text of at most 253 characters, or a whole number", "nodes", number)
        if name in result:
            raise refuse(f"node {_shown(name)} is there twice", "nodes", number)
        values = checked(f"node {name}", attributes, NODE, "nodes", number)
        if "tier" not in values:
            raise refuse(f"node {name} has no tier: one of endpoint, leaf, spine, core, inter_building, wan is needed", "nodes", number)
        result.add_node(name, **values)
    for number, (low, high, attributes) in enumerate(edges):
        for end in (low, high):
            if type(end) not in (int, str) or end not in result:
                raise refuse(f"an edge ends at {_shown(end)}, which is no node", "edges", number)
        if low == high:
            raise refuse(f"an edge joins {low} with itself", "edges", number)
        if result.has_edge(low, high):
            raise refuse(f"edge {low} - {high} is there twice: parallel cables are the attribute lanes", "edges", number)
        result.add_edge(low, high, **checked(f"edge {low} - {high}", attributes, EDGE, "edges", number))
    return result


def _with_defaults(source: str, graph: dict[str, Any], defaults: Defaults) -> dict[str, Any]:
    """The graph's attributes, what is missing from ``defaults`` and noted as assumed."""
    missing = {
        "name": defaults.name,
        "host": defaults.host,
        "switch": defaults.switch,
        "hosts_per_rack": defaults.hosts_per_rack,
        "site": defaults.site,
    }
    missing = {key: value for key, value in missing.items() if key not in graph}
    assumed = [f"{key} {value}" for key, value in missing.items() if key in ("host", "switch", "hosts_per_rack")]
    notes = [f"Assumed: {', '.join(assumed)}: {source} does not say."] if assumed else []
    return missing | graph | {"assumptions": [*graph.get("assumptions", []), *notes]}


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of more than 40 digits"
    return text if len(text) <= 60 else text[:57] + "..."
