"""Node-link JSON, as networkx writes it (`networkx.node_link_data`): holds the whole graph.

``{"directed": false, "multigraph": false, "graph": {...}, "nodes": [{"id": ..., "tier": ..., ...}], "edges": [{"source": ...,
"target": ..., ...}]}``; ``links``, the older name of ``edges``, is read as well.
"""

import json
import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any

import networkx as nx

from topology.cluster import Cluster
from topology.formats.attributes import Path, assemble, plain
from topology.formats.defaults import Defaults
from topology.formats.errors import FormatError

_BLANK = re.compile(r"[ \t\n\r]*")
_ENDS = ("source", "target", "key")


def read(text: str, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    document = _parse(text, source)
    listed = "links" if "links" in document and "edges" not in document else "edges"

    def line(path: Path) -> int:
        return _line(text, (listed if path[0] == "edges" else path[0], *path[1:]))

    def refuse(message: str, *path: str | int) -> FormatError:
        return FormatError(message, source, line(path) if path else 1)

    for key, value in document.items():
        if key not in ("directed", "multigraph", "graph", "nodes", "edges", "links"):
            raise refuse(f"unknown key {key!r}: node-link JSON has directed, multigraph, graph, nodes and edges", key)
        if key in ("directed", "multigraph") and value is not False:
            raise refuse(f"{key} must be false: cables are undirected, parallel ones are the edge attribute lanes", key)
    if not isinstance(document.get("graph", {}), dict):
        raise refuse("graph is not an object", "graph")
    for key in ("nodes", listed):
        if not isinstance(document.get(key), list):
            raise refuse(f"{key} is not a list" if key in document else f"there is no list {key!r}")
        for number, item in enumerate(document[key]):
            for needed in ("id",) if key == "nodes" else _ENDS[:2]:
                if not isinstance(item, dict) or needed not in item:
                    raise FormatError(f"{key}: an object with {needed} is needed", source, _line(text, (key, number)))
    nodes = ((node["id"], {key: value for key, value in node.items() if key != "id"}) for node in document["nodes"])
    edges = ((edge["source"], edge["target"], {key: value for key, value in edge.items() if key not in _ENDS}) for edge in document[listed])
    return assemble(source, document.get("graph", {}), nodes, edges, defaults, line)


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
    raise ValueError(f"{word} is not a number of JSON")


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except JSONDecodeError as error:
        raise FormatError(f"bad JSON: {error.msg}", source, error.lineno) from None
    except _Twice:
        path, at = _twice(text)
        raise FormatError(f"{'.'.join(map(str, path))} is given twice", source, text.count("\n", 0, at) + 1) from None
    except RecursionError:
        raise FormatError("bad JSON: nested too deeply", source, 1) from None
    except ValueError as error:
        raise FormatError(f"bad JSON: {str(error).split(':')[0]}", source, 1) from None
    if not isinstance(document, dict):
        raise FormatError("not node-link JSON: an object with nodes and edges is needed", source, 1)
    return document


def _line(text: str, path: Path) -> int:
    """Line of a path, or of the innermost part of it that there is. Only errors need it, so the text is looked through again."""
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
    """The first path that there is twice, and where."""
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
