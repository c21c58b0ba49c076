"""GraphML (graphml.graphdrawing.org), which holds the whole graph. A value that looks like a number is a number.

Read with expat, event by event, for the lines; a document type, which could define entities that expand without end, is refused. The
``<default>`` of a key holds for every element that it is for and that says nothing itself. Directed edges are cables all the same, parallel
ones are lanes.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import networkx as nx

from topology.cluster import Cluster
from topology.formats.assembly import Drawn, Path, assemble
from topology.formats.attributes import plain
from topology.formats.defaults import Defaults
from topology.formats.encoding import decode_xml
from topology.formats.errors import FormatError

_NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
_TYPES = {bool: "boolean", int: "long", float: "double"}
#: Attributes that are texts even where they look like numbers.
_TEXTS = ("name", "site", "names", "tier", "hostlist")
#: Elements inside elements, those of drawings included.
_DEEPEST = 64


def read(data: bytes, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    reader = _Reader(source)
    reader.parse(decode_xml(data, source))

    def line(path: Path) -> int:
        if path[0] == "graph":
            return reader.graph_lines.get(str(path[1]), reader.graph_line) if len(path) > 1 else reader.graph_line
        lines = reader.node_lines if path[0] == "nodes" else reader.edge_lines
        return lines[int(path[1])]

    drawn = Drawn(reader.graph, reader.nodes, reader.edges, line, parallel=True, fallback=reader.fallback())
    return assemble(source, drawn, defaults)


class _Key(NamedTuple):
    """A ``<key>``: the attribute that it names, its type, what it is for, and the text of its ``<default>``."""

    attribute: str
    kind: str
    of: str
    default: str | None


class _Reader:
    """What the events of the parser add up to: attributes of the graph, of its nodes and of its edges, with the line of each."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.graph: dict[str, Any] = {}
        self.nodes: list[tuple[Any, dict[str, Any]]] = []
        self.edges: list[tuple[Any, Any, bool, dict[str, Any]]] = []
        self.graph_line = 1
        self.graph_lines: dict[str, int] = {}
        self.node_lines: list[int] = []
        self.edge_lines: list[int] = []
        self._directed = False  # edges that do not say
        self._keys: dict[str, _Key] = {}
        self._key_open = ""
        self._open: list[str] = []
        self._foreign = 0  # how deep in what is not GraphML's: inside <data>, <default>, <desc>
        self._data: str | None = None  # the key whose text is being read
        self._text: list[str] = []
        self._parser = expat.ParserCreate("utf-8")
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

    def fallback(self) -> dict[str, dict[str, Any]]:
        """The defaults of the keys, by what they are for."""
        given: dict[str, dict[str, Any]] = {"graph": {}, "nodes": {}, "edges": {}}
        for key in self._keys.values():
            for element, name in (("graph", "graph"), ("nodes", "node"), ("edges", "edge")):
                if key.default is not None and key.of in (name, "all"):
                    given[element][key.attribute] = _value(key, key.default)
        return given

    def _refuse(self, message: str) -> FormatError:
        return FormatError(message, self.source, self._parser.CurrentLineNumber)

    def _doctype(self, *_: Any) -> None:
        raise self._refuse("a document type is not allowed: no entities, no DTD")

    def _characters(self, text: str) -> None:
        if self._data is not None and self._foreign == 1:
            self._text.append(text)

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        name = element.rpartition(":")[2]
        parent = self._open[-1] if self._open else ""
        self._open.append(name)
        if len(self._open) > _DEEPEST:
            raise self._refuse("nested too deeply")
        if self._foreign:  # drawings, as yEd puts them into <data>
            self._foreign += 1
            return
        if (name == "graphml") != (parent == ""):
            raise self._refuse("not GraphML: the outermost element must be <graphml>")
        if name == "key":
            self._key(attributes)
        elif name == "graph":
            self._graph(attributes, parent)
        elif name == "node":
            self.nodes.append((self._needed(attributes, "id", "node"), {}))
            self.node_lines.append(self._parser.CurrentLineNumber)
        elif name == "edge":
            directed = attributes.get("directed", str(self._directed).lower()) in ("true", "1")
            self.edges.append((self._needed(attributes, "source", "edge"), self._needed(attributes, "target", "edge"), directed, {}))
            self.edge_lines.append(self._parser.CurrentLineNumber)
        elif name in ("data", "default", "desc"):
            self._foreign, self._text = 1, []
            self._data = self._needed(attributes, "key", "data") if name == "data" else self._key_open if name == "default" else None
        elif name == "hyperedge":
            raise self._refuse("<hyperedge> is not read: a cable has two ends")

    def _needed(self, attributes: dict[str, str], key: str, element: str) -> str:
        if key not in attributes:
            raise self._refuse(f"<{element}> has no {key}")
        return attributes[key]

    def _key(self, attributes: dict[str, str]) -> None:
        known = self._key_open = self._needed(attributes, "id", "key")
        if known in self._keys:
            raise self._refuse(f"key {known!r} appears twice")
        attribute = attributes.get("attr.name") or attributes.get("yfiles.type") or known
        self._keys[known] = _Key(attribute, attributes.get("attr.type", "string"), attributes.get("for", "all"), None)

    def _graph(self, attributes: dict[str, str], parent: str) -> None:
        if parent != "graphml" or "" in self.graph_lines:
            raise self._refuse("one <graph> is needed, directly in <graphml>")
        self._directed = attributes.get("edgedefault", "undirected") == "directed"
        self.graph_line = self.graph_lines[""] = self._parser.CurrentLineNumber

    def _end(self, element: str) -> None:
        name = self._open.pop()
        if not self._foreign:
            return
        self._foreign -= 1
        if self._foreign or self._data is None:
            return
        known, self._data = self._data, None
        parent, text = self._open[-1], "".join(self._text)
        if name == "default":
            if parent != "key":
                raise self._refuse(f"<default> in <{parent}>")
            self._keys[known] = self._keys[known]._replace(default=text)
            return
        if known not in self._keys:
            raise self._refuse(f"<data key={known!r}>: no <key> has this id")
        self._datum(parent, self._keys[known], text)

    def _datum(self, parent: str, key: _Key, text: str) -> None:
        if parent == "node":
            holder = self.nodes[-1][1]
        elif parent == "edge":
            holder = self.edges[-1][3]
        elif parent == "graph":
            holder = self.graph
        elif parent in ("port", "graphml"):  # Gephi and yEd: nothing about the cluster
            return
        else:
            raise self._refuse(f"<data> in <{parent}>")
        if key.attribute in holder:
            raise self._refuse(f"{key.attribute} is given twice")
        holder[key.attribute] = _value(key, text)
        if parent == "graph":
            self.graph_lines[key.attribute] = self._parser.CurrentLineNumber


def _value(key: _Key, text: str) -> Any:
    """Numbers where the text is one (unless the attribute is a text), lists and records where it is JSON of one."""
    text = text.strip()
    if key.attribute in _TEXTS or (key.kind == "string" and key.attribute in ("group", "id")):
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
