"""Recognises a file's format by its structure: XML's first letter, the keys of YAML and JSON, the keys of Slurm's lines."""

import re
from collections.abc import Iterator

import yaml

from topology.formats.encoding import decode, looks_like_xml
from topology.formats.errors import FormatError

#: Letters that are looked at: the first keys of a document of 300 MB are enough.
_LOOKED_AT = 100_000
_NODE_LINK = ("directed", "multigraph", "graph", "edges", "links")
_TOPOGRAPH = ("switches", "capacity_blocks", "blocks")
_CONF = (
    ("slurm-tree", re.compile(r"(?im)^[ \t]*([a-z]+[ \t]*=[^#\n]*\s)?SwitchName[ \t]*=")),
    ("slurm-block", re.compile(r"(?im)^[ \t]*([a-z]+[ \t]*=[^#\n]*\s)?BlockName[ \t]*=")),
)


def detect(data: bytes | str) -> str | None:
    """The format of a file's bytes or text, or None."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    if looks_like_xml(data):
        return "graphml"
    try:
        text = decode(data, "")
    except FormatError:
        return None
    if found := _of_document(text[:_LOOKED_AT]):
        return found
    if re.match(r'\s*\{\s*"', text):
        return "node-link"  # or bad JSON, for which its reader has a better error
    return next((name for name, pattern in _CONF if pattern.search(text)), None)


def _of_document(text: str) -> str | None:
    """The format of a YAML or JSON document, which may be cut off."""
    try:
        for listed, key, value in _keys(text):
            if listed:
                if key == "topology":
                    return "slurm-yaml"
            elif key in _NODE_LINK or (key == "nodes" and isinstance(value, yaml.SequenceStartEvent)):
                return "node-link"
            elif key in _TOPOGRAPH or (key == "nodes" and isinstance(value, yaml.MappingStartEvent)):
                return "topograph"
    except (yaml.YAMLError, ValueError, RecursionError, RuntimeError):
        pass  # cut off, or bad: its reader raises the error
    return None


def _keys(text: str) -> Iterator[tuple[bool, str, yaml.Event]]:
    """(whether the document is a list, key, first event of the value) of its mapping, or of the first mapping of its list."""
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    root = next(event for event in events if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent))
    listed = isinstance(root, yaml.SequenceStartEvent)
    mapping = next(events) if listed else root
    if not isinstance(mapping, yaml.MappingStartEvent):
        return
    for key in events:
        if not isinstance(key, yaml.ScalarEvent):
            return
        value = next(events)
        yield listed, key.value, value
        depth = int(isinstance(value, yaml.CollectionStartEvent))
        while depth:
            event = next(events)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
