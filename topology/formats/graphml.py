"""GraphML (graphml.graphdrawing.org): holds the whole graph. Numbers are what looks like one.

Read with expat, event by event, for the lines; a document type (where entities and their bombs live) is refused.
"""

import json
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import networkx as nx

from topology.cluster import Cluster
from topology.formats.attributes import Path, assemble, plain
from topology.formats.defaults import Defaults
from topology.formats.errors import FormatError

_NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
_TYPES = {bool: "boolean", int: "long", float: "double"}
#: Attributes that are texts even where they look like numbers.
_TEXTS = ("name", "site", "names", "tier", "hostlist")


def read(text: str, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    reader = _Reader(source)
    reader.parse(text)

    def line(path: Path) -> int:
        if path[0] == "graph":
            return reader.graph_lines.get(str(path[1]), reader.graph_line) if len(path) > 1 else reader.graph_line
        lines = reader.node_lines if path[0] == "nodes" else reader.edge_lines
        return lines[int(path[1])]

    return assemble(source, reader.graph, reader.nodes, reader.edges, defaults, line)


class _Reader:
    """What the events of the parser add up to: attributes of the graph, of its nodes and of its edges, with the line of each."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.graph: dict[str, Any] = {}
        self.nodes: list[tuple[Any, dict[str, Any]]] = []
        self.edges: list[tuple[Any, Any, dict[str, Any]]] = []
        self.graph_line = 1
        self.graph_lines: dict[str, int] = {}
        self.node_lines: list[int] = []
        self.edge_lines: list[int] = []
        self._keys: dict[str, tuple[str, str]] = {}  # id -> (attribute, type)
        self._open: list[str] = []
        self._data: str | None = None
        self._text: list[str] = []
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.buffer_text = True

    def parse(self, text: str) -> None:
        try:
            self._parser.Parse(text, True)
        except expat.ExpatError as error:
            raise FormatError(f"bad XML: {expat.errors.messages.get(error.code, error)}", self.source, error.lineno) from None
        except UnicodeEncodeError as error:
            raise self._refuse(f"bad XML: not Unicode text at character {error.start}") from None
        if not self.graph_lines.get(""):
            raise self._refuse("not GraphML: there is no <graph>")

    def _refuse(self, message: str) -> FormatError:
        return FormatError(message, self.source, self._parser.CurrentLineNumber)

    def _doctype(self, *_: Any) -> None:
        raise self._refuse("a document type is not allowed: no entities, no DTD")

    def _characters(self, text: str) -> None:
        if self._data is not None:
            self._text.append(text)

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        name = element.rpartition(":")[2]
        parent = self._open[-1] if self._open else ""
        self._open.append(name)
        if len(self._open) > 8:
            raise self._refuse("nested too deeply")
        if (name == "graphml") != (parent == ""):
            raise self._refuse("not GraphML: the outermost element is <graphml>")
        if name == "key":
            self._key(attributes)
        elif name == "graph":
            self._graph(attributes, parent)
        elif name == "node":
            self.nodes.append((self._needed(attributes, "id", "node"), {}))
            self.node_lines.append(self._parser.CurrentLineNumber)
        elif name == "edge":
            if attributes.get("directed", "false") != "false":
                raise self._refuse("a directed edge: cables are undirected")
            self.edges.append((self._needed(attributes, "source", "edge"), self._needed(attributes, "target", "edge"), {}))
            self.edge_lines.append(self._parser.CurrentLineNumber)
        elif name == "data":
            self._data = self._needed(attributes, "key", "data")
            self._text = []
        elif name in ("hyperedge", "port"):
            raise self._refuse(f"<{name}> is not read: a cable has two ends")

    def _needed(self, attributes: dict[str, str], key: str, element: str) -> str:
        if key not in attributes:
            raise self._refuse(f"<{element}> has no {key}")
        return attributes[key]

    def _key(self, attributes: dict[str, str]) -> None:
        known = self._needed(attributes, "id", "key")
        if known in self._keys:
            raise self._refuse(f"key {known!r} is there twice")
        self._keys[known] = (attributes.get("attr.name", known), attributes.get("attr.type", "string"))

    def _graph(self, attributes: dict[str, str], parent: str) -> None:
        if parent != "graphml" or "" in self.graph_lines:
            raise self._refuse("one <graph> is needed, directly in <graphml>")
        if attributes.get("edgedefault", "undirected") != "undirected":
            raise self._refuse("edgedefault is not undirected: cables are")
        self.graph_line = self.graph_lines[""] = self._parser.CurrentLineNumber

    def _end(self, element: str) -> None:
        name = self._open.pop()
        if name != "data" or self._data is None:
            return
        if self._data not in self._keys:
            raise self._refuse(f"<data key={self._data!r}>: no <key> has this id")
        key, kind = self._keys[self._data]
        parent, self._data = self._open[-1], None
        value = self._value(key, kind, "".join(self._text))
        if parent == "node":
            holder = self.nodes[-1][1]
        elif parent == "edge":
            holder = self.edges[-1][2]
        elif parent == "graph":
            holder = self.graph
        else:
            raise self._refuse(f"<data> in <{parent}>")
        if key in holder:
            raise self._refuse(f"{key} is given twice")
        holder[key] = value
        if parent == "graph":
            self.graph_lines[key] = self._parser.CurrentLineNumber

    def _value(self, key: str, kind: str, text: str) -> Any:
        """Numbers where the text is one (unless the attribute is a text), lists and records where it is JSON of one."""
        text = text.strip()
        if key in _TEXTS or (kind == "string" and key in ("group", "id")):
            return text
        try:
            if text[:1] in ("[", "{"):
                return json.loads(text)
            return int(text) if text.lstrip("-").isdecimal() else float(text)
        except (ValueError, RecursionError):
            return text


def write(graph: nx.Graph, cluster: Cluster) -> str:
    """One node or edge a line."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: nx.Graph) -> Iterator[str]:
    keys: dict[tuple[str, str], str] = {}
    kinds: dict[tuple[str, str], str] = {}
    for domain, holders in (
        ("graph", [graph.graph]),
        ("node", (data for _, data in graph.nodes(data=True))),
        ("edge", (data for _, _, data in graph.edges(data=True))),
    ):
        for data in holders:
            for key, value in plain(data).items():
                keys.setdefault((domain, key), f"d{len(keys)}")
                kind = _TYPES.get(type(value), "string")
                kinds[domain, key] = kind if kinds.get((domain, key), kind) == kind else "string"

    def cells(domain: str, values: dict[str, Any]) -> str:
        return "".join(f'<data key="{keys[domain, key]}">{escape(_word(value))}</data>' for key, value in plain(values).items())

    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<graphml xmlns="{_NAMESPACE}">'
    for (domain, key), known in keys.items():
        yield f'<key id="{known}" for="{domain}" attr.name={quoteattr(key)} attr.type="{kinds[domain, key]}"/>'
    yield '<graph edgedefault="undirected">'
    yield cells("graph", graph.graph)
    for node, values in graph.nodes(data=True):
        yield f"<node id={quoteattr(str(node))}>{cells('node', values)}</node>"
    for low, high, values in graph.edges(data=True):
        yield f"<edge source={quoteattr(str(low))} target={quoteattr(str(high))}>{cells('edge', values)}</edge>"
    yield "</graph>"
    yield "</graphml>"


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else value if isinstance(value, str) else repr(value)
