"""What is wrong with a file, and where."""

from typing import Any

from topology.vocabulary import TopologyError


class FormatError(TopologyError):
    """A file that is not one of its format, or that says what no cluster is; ``line`` counts from 1, 0 where there is none to tell."""

    def __init__(self, message: str, source: str, line: int = 0) -> None:
        super().__init__(f"{source}:{line}: {message}" if line else f"{source}: {message}")
        self.source = source
        self.line = line


def shown(value: Any) -> str:
    """A value as it stands in an error, cut where it is long."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of more than 40 digits"
    return text if len(text) <= 60 else text[:57] + "..."
