"""A YAML file whose scalars are texts, with accessors that raise errors with the line."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from topology.formats.errors import FormatError
from topology.yaml_lines import Path, YamlError, texts

#: A file with more values than this is no topology, or expands without end by aliases: about 40 MB of lists. A hostlist is one value.
MOST_VALUES = 200_000


class Document:
    """``value`` is the whole: lists, mappings and texts. Raises FormatError where it is no YAML."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        try:
            self.value, self._lines = texts(text, MOST_VALUES)
        except YamlError as error:
            raise FormatError(str(error), source, error.line or 1) from None

    def line(self, path: Path) -> int:
        """Line of a path, or of the innermost part of it that has one."""
        return next((self._lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self._lines), 1)

    def refuse(self, message: str, path: Path) -> FormatError:
        return FormatError(message, self.source, self.line(path))

    def text(self, value: Any, path: Path) -> str:
        if not isinstance(value, str):
            raise self.refuse(f"{path[-1] if path else 'the file'} must be a single value", path)
        return value

    def items(self, value: Any, path: Path, needed: str) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise self.refuse(needed, path)
        return value

    def section(self, value: Any, path: Path, known: Sequence[str], what: str) -> dict[str, Any]:
        """A mapping with no keys but those known."""
        if not isinstance(value, dict):
            raise self.refuse(f"{what} must be a mapping with {', '.join(known)}", path)
        for key in value:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                hint = f", did you mean {close[0]}?" if close else ""
                raise self.refuse(f"{what} has an unknown key {key[:40]!r}{hint}; known: {', '.join(known)}", (*path, key))
        return value
