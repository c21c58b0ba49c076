"""YAML with the line of everything in it, so that an error can say where it is."""

from collections.abc import Iterator
from typing import Any

import yaml

Path = tuple[str | int, ...]

_TEXT = "tag:yaml.org,2002:str"


class YamlError(ValueError):
    """Bad YAML, or YAML that no configuration file has; ``line`` counts from 1, 0 where there is none to tell."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Stops at ``most_nodes`` while it reads, and not when it has read everything."""

    def __init__(self, text: str, most_nodes: int) -> None:
        super().__init__(text)
        self._budget = self._most = most_nodes

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._budget -= 1
        if self._budget < 0:
            raise YamlError(f"more than {self._most} values", self.line + 1)
        return super().compose_node(parent, index)


def typed(text: str, most_nodes: int) -> tuple[Any, dict[Path, int]]:
    """The document of ``text`` in YAML's own types, and the line of every path in it. Keys are texts. Raises YamlError."""
    return _read(text, most_nodes, texts=False)


def texts(text: str, most_nodes: int) -> tuple[Any, dict[Path, int]]:
    """As `typed`, but every scalar is the text that stands there (``0001`` is no octal number, ``no`` no falsehood), null is empty text."""
    return _read(text, most_nodes, texts=True)


def _children(node: yaml.Node) -> Iterator[tuple[str | int, yaml.Node, int]]:
    """(key or index, node, line) of what is in a mapping or a list; keys become texts. Raises YamlError at a key that is no plain word."""
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                raise YamlError("a key is a plain word", line)
            key.tag = _TEXT
            yield key.value, child, line
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield index, child, child.start_mark.line + 1


def _read(text: str, most_nodes: int, *, texts: bool) -> tuple[Any, dict[Path, int]]:
    lines: dict[Path, int] = {}
    budget = most_nodes

    def walk(node: yaml.Node, path: Path) -> None:
        nonlocal budget
        budget -= 1
        if budget < 0:
            raise YamlError(f"more than {most_nodes} values")
        for step, child, line in _children(node):
            inner = (*path, step)
            if inner in lines:
                raise YamlError(f"{'.'.join(map(str, inner))} is given twice (first in line {lines[inner]})", line)
            lines[inner] = line
            walk(child, inner)
        if texts and isinstance(node, yaml.ScalarNode):
            node.tag = _TEXT
            node.value = "" if node.value in ("~", "null") else node.value

    try:
        loader = _Loader(text, most_nodes)
        node = loader.get_single_node()
        if node is None:
            return None, lines
        walk(node, ())
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(f"bad YAML: {error.problem or error.context}", mark.line + 1 if mark else 1) from None
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(f"bad YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None
