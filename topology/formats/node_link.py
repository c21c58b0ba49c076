"""Node-link JSON, as networkx writes it (`networkx.node_link_data`): holds the whole graph.

``{"directed": false, "multigraph": false, "graph": {...}, "nodes": [{"id": ..., "tier": ..., ...}], "edges": [{"source": ...,
"target": ..., ...}]}``. Read as well: ``links``, the older name of ``edges``; directed graphs, whose edges are cables all the same; and
multigraphs, whose parallel edges are lanes.
"""

import json
import re
from collections.abc import Callable, Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any

import networkx as nx

from topology.cluster import Cluster
from topology.formats.assembly import Drawn, Path, assemble
from topology.formats.attributes import plain
from topology.formats.defaults import Defaults
from topology.formats.encoding import decode
from topology.formats.errors import FormatError, shown
from topology.formats.words import meant

_BLANK = re.compile(r"[ \t\n\r]*")
_ODD_NUMBER = re.compile(r"\b(NaN|Infinity|\d{4000,})")
_KEYS = ("directed", "multigraph", "graph", "nodes", "edges", "links")
#: Keys that people give to `networkx.node_link_data` in place of its own.
_NAMES, _SOURCES, _TARGETS = ("id", "name", "key", "label"), ("source", "from", "src", "u"), ("target", "to", "dst", "v")
#: Makes the error of a message and the path, in the document, of what it is about.
_Refuse = Callable[..., FormatError]


def read(data: bytes, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    text = decode(data, source)
    document = _parse(text, source)

    def refuse(message: str, *path: str | int) -> FormatError:
        return FormatError(message, source, _line(text, path) if path else 1)

    _check_keys(document, refuse)
    listed = "links" if "links" in document and not document.get("edges") else "edges"
    nodes, edges = _objects(document, "nodes", "id", refuse), _objects(document, listed, "source and target", refuse)
    name = _key_of(nodes, _NAMES)
    ends = _key_of(edges, _SOURCES), _key_of(edges, _TARGETS)
    _check_each_has((name,), "nodes", nodes, refuse)
    _check_each_has(ends, listed, edges, refuse)
    end = _end_reader([node[name] for node in nodes])

    def line(path: Path) -> int:
        return _line(text, (listed if path[0] == "edges" else path[0], *path[1:]))

    directed = document.get("directed", False)
    no_attributes = {*ends, "key"}
    drawn = Drawn(
        graph=_graph_attributes(document, refuse),
        nodes=((node[name], {key: value for key, value in node.items() if key != name}) for node in nodes),
        edges=(
            (end(edge[ends[0]]), end(edge[ends[1]]), directed, {key: value for key, value in edge.items() if key not in no_attributes})
            for edge in edges
        ),
        line=line,
        parallel=document.get("multigraph", False),
        passed=tuple(f"{shown(key)[1:-1]} beside the graph" for key in document if key not in _KEYS),
    )
    return assemble(source, drawn, defaults)


def _check_keys(document: dict[str, Any], refuse: _Refuse) -> None:
    """Raises FormatError at a key that looks like a misspelt one, at a flag that is none, and at two lists of edges."""
    for key in document:
        word = meant(key, _KEYS) if key not in _KEYS else None
        if word is not None:
            raise refuse(f"unknown key {shown(key)}, did you mean {word}? Node-link JSON has {', '.join(_KEYS)}", key)
    for key in ("directed", "multigraph"):
        if not isinstance(document.get(key, False), bool):
            raise refuse(f"{key} must be true or false", key)
    if document.get("links") and document.get("edges"):
        raise refuse("there are both edges and links, which are two names for the same list; allowed: one of them", "links")


def _objects(document: dict[str, Any], key: str, has: str, refuse: _Refuse) -> list[dict[str, Any]]:
    """The list ``key`` of the document, whose items are objects; ``has`` says to people what is in each. Raises FormatError."""
    items = document.get(key)
    if not isinstance(items, list):
        raise refuse(f"{key} is not a list" if key in document else f"there is no list {key!r}")
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise refuse(f"{key}: an object with {has} is needed", key, number)
    return items


def _check_each_has(words: tuple[str, ...], key: str, items: list[dict[str, Any]], refuse: _Refuse) -> None:
    """Raises FormatError at the first item of the list ``key`` that lacks one of the words."""
    for number, item in enumerate(items):
        for word in words:
            if word not in item:
                raise refuse(f"{key}: an object with {word} is needed", key, number)


def _graph_attributes(document: dict[str, Any], refuse: _Refuse) -> dict[str, Any]:
    """The attributes of the graph itself, which networkx 1 wrote as pairs. Raises FormatError."""
    graph = document.get("graph", {})
    if isinstance(graph, list):
        return dict(pair for pair in graph if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str))
    if not isinstance(graph, dict):
        raise refuse("graph is not an object", "graph")
    return graph


def _end_reader(names: list[Any]) -> Callable[[Any], Any]:
    """Makes of an edge's source or target the name of its node, given the names of all nodes in order."""
    ids = {name for name in names if isinstance(name, str | int)}
    texts = not any(isinstance(known, int) for known in ids)

    def end(value: Any) -> Any:
        """Where all names are texts, a number is one of them, or (networkx 1 wrote it so) a place in the list."""
        if not texts or type(value) is not int:
            return value
        return str(value) if str(value) in ids or not 0 <= value < len(names) else names[value]

    return end


def _key_of(items: list[dict[str, Any]], candidates: tuple[str, ...]) -> str:
    """Which of the keys that networkx has been asked to write the first item has."""
    return next((key for key in candidates if items and key in items[0]), candidates[0])


def write(graph: nx.Graph, cluster: Cluster) -> str:
    """One node or edge a line."""
    nodes = (json.dumps({"id": node, **plain(data)}) for node, data in graph.nodes(data=True))
    edges = (json.dumps({"source": low, "target": high, **plain(data)}) for low, high, data in graph.edges(data=True))
    between = ",\n"
    return "\n".join(
        [
            '{\n"directed": false,\n"multigraph": false,',
            f'"graph": {json.dumps(plain(graph.graph), indent=1)},',
            f'"nodes": [\n{between.join(nodes)}\n],',
            f'"edges": [\n{between.join(edges)}\n]\n}}\n',
        ]
    )


class _Twice(ValueError):
    """An object has a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(result := dict(pairs)) < len(pairs):
        raise _Twice
    return result


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON number")


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        try:
            document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        except _Twice:
            json.loads(text, parse_constant=_no_constant)  # what comes after the repeated key may be no JSON
            path, at = _twice(text)
            raise FormatError(f"{'.'.join(map(str, path))} is given twice", source, text.count("\n", 0, at) + 1) from None
    except FormatError:
        raise
    except JSONDecodeError as error:
        raise FormatError(f"bad JSON: {error.msg}", source, error.lineno) from None
    except RecursionError:
        raise FormatError("bad JSON: nested too deeply", source, 1) from None
    except ValueError:
        odd = _ODD_NUMBER.search(text)  # it may also be inside a text, but the first is a good guess
        number = odd[0][:20] if odd else "a number"
        line = text.count("\n", 0, odd.start()) + 1 if odd else 1
        raise FormatError(f"bad JSON: {number} is not finite or has too many digits", source, line) from None
    if not isinstance(document, dict):
        raise FormatError("not node-link JSON: an object with nodes and edges is needed", source, 1)
    return document


def _line(text: str, path: Path) -> int:
    """Line of a path, or of the innermost part of it that exists. Only errors need it, so the text is searched again."""
    best = 0
    at, depth = _blank(text, 0), 0
    while depth < len(path):
        found = next((start for step, start in _children(text, at) if step == path[depth]), None)
        if found is None:
            break
        at = best = found
        depth += 1
    return text.count("\n", 0, best) + 1


def _blank(text: str, at: int) -> int:
    """The next place that is not blank."""
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _children(text: str, at: int) -> Iterator[tuple[str | int, int]]:
    """(key or index, start of the value) of what is in the object or list that starts at ``at``; the text is good JSON."""
    decoder = JSONDecoder()
    if text[at] not in "{[":
        return
    named, number = text[at] == "{", 0
    at = _blank(text, at + 1)
    while text[at] not in "}]":
        step: str | int = number
        if named:
            step, at = decoder.raw_decode(text, at)
            at = _blank(text, _blank(text, at) + 1)
        yield step, at
        number += 1
        at = _blank(text, decoder.raw_decode(text, at)[1])
        if text[at] == ",":
            at = _blank(text, at + 1)


def _twice(text: str) -> tuple[Path, int]:
    """The first path that appears twice, and where."""
    pending: list[tuple[Path, int]] = [((), _blank(text, 0))]
    while pending:
        path, at = pending.pop()
        seen: set[str | int] = set()
        inner = []
        for step, start in _children(text, at):
            if step in seen:
                return (*path, step), start
            seen.add(step)
            inner.append(((*path, step), start))
        pending += reversed(inner)
    return (), 0
